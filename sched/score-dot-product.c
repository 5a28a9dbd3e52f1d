/* Baseline: prefers the host whose free vector points least in the request's direction (CPU, memory,
 * devices as shares of the host), the dot product of the openb study. */
#include "sched/rules.h"

static double
device_part(const BerthAsk *ask, guint32 host)
{
    const BerthSnapshot *s = ask->snapshot;
    double left = 0, need = 0;
    for (guint i = 0; i < s->n_slots[host]; i++) {
        left += (1000 - berth_slots(s, host)[i].used) / 1000.0;
    }
    for (guint i = 0; i < ask->request->n_devices; i++) {
        need += ask->request->devices[i].count * ask->request->devices[i].millis / 1000.0;
    }
    return left / 8 * need / 8;
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSnapshot *s = ask->snapshot;
    double cpu = MAX(1, s->cpu_cap[host]), mem = MAX(1, s->mem_cap[host]);
    double dot = s->cpu_free[host] / cpu * (ask->cpu_millis / cpu) +
                 s->mem_free[host] / mem * (ask->memory_mib / mem) + device_part(ask, host);
    return (gint64)((1 - dot / 3) * BERTH_SCORE_MAX * 1024);
}

const BerthRule berth_rule_dot_product = {
    .code = "dot-product",
    .doc = "Baseline: least dot product of free and wanted shares.",
    .reach = BERTH_REACH_LOAD,
    .score = score,
};
