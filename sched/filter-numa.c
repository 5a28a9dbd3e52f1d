/* A workload bound to one cell fits in one; one bound to two fits in halves in two. */
#include "sched/place.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return berth_ask_cells(ask) > 0;
}

static gint64
shortage(gint64 need, gint64 have)
{
    return MAX(0, need - have);
}

/* Says what is missing where least is: for one cell the nearest cell, for two the second nearest. */
static gboolean
refuse(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    guint parts = berth_ask_cells(ask), n = ask->snapshot->n_cells[host];
    const BerthCell *cells = berth_cells(ask->snapshot, host);
    gint64 cpu = (berth_ask_cpu_on(ask, host) + parts - 1) / parts;
    gint64 mem = (ask->memory_mib + parts - 1) / parts;
    if (n < parts) {
        return berth_refuse(refusal, "cells", parts, n);
    }
    gint64 best[2] = {G_MAXINT64, G_MAXINT64};
    guint at[2] = {0, 0};
    for (guint c = 0; c < n; c++) {
        gint64 missing = shortage(cpu, cells[c].cpu_free) + shortage(mem, cells[c].mem_free);
        guint rank = missing < best[0] ? 0 : missing < best[1] ? 1 : 2;
        if (rank == 0) {
            best[1] = best[0];
            at[1] = at[0];
        }
        if (rank < 2) {
            best[rank] = missing;
            at[rank] = c;
        }
    }
    guint cell = at[parts - 1];
    if (cells[cell].cpu_free < cpu) {
        return berth_refuse(refusal, "cell_cpu_millis", cpu, cells[cell].cpu_free);
    }
    if (cells[cell].mem_free < mem) {
        return berth_refuse(refusal, "cell_memory_mib", mem, cells[cell].mem_free);
    }
    return berth_refuse(refusal, "cell_hugepages", (ask->pages + parts - 1) / parts,
                        berth_place_pages_free(ask, host, cell));
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    guint parts = berth_ask_cells(ask), fitting = 0;
    for (guint c = 0; c < ask->snapshot->n_cells[host] && fitting < parts; c++) {
        fitting += berth_place_cell_admits(ask, host, c, parts);
    }
    return fitting == parts || (refusal == NULL ? FALSE : refuse(ask, host, refusal));
}

const BerthRule berth_rule_numa = {
    .code = "numa",
    .doc = "The NUMA cells the request is bound to have room.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
    .placed = TRUE,
};
