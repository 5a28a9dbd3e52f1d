/* The smaller free share of a cell, in doubles as the published baselines compute it. */
#pragma once

#include "sched/rules.h"

G_BEGIN_DECLS

/* Doubles as ordered integers: differences down to 2^-60 survive. */
#define BERTH_DOUBLE_SCALE 1152921504606846976.0

static inline double
berth_cell_share(const BerthSnapshot *s, guint32 host, guint cell)
{
    const BerthCell *c = &berth_cells(s, host)[cell];
    double cpu = c->cpu_cap <= 0 ? 0 : (double)c->cpu_free / c->cpu_cap;
    double mem = c->mem_cap <= 0 ? 0 : (double)c->mem_free / c->mem_cap;
    return MIN(cpu, mem);
}

static inline double
berth_host_share(const BerthSnapshot *s, guint32 host)
{
    double cpu = s->cpu_cap[host] <= 0 ? 0 : (double)s->cpu_free[host] / s->cpu_cap[host];
    double mem = s->mem_cap[host] <= 0 ? 0 : (double)s->mem_free[host] / s->mem_cap[host];
    return MIN(cpu, mem);
}

G_END_DECLS
