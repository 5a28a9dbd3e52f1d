/* Prefers the host whose CPU and memory are left evenly used, so that neither is stranded. */
#include "sched/rules.h"

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSnapshot *s = ask->snapshot;
    if (s->cpu_cap[host] <= 0 || s->mem_cap[host] <= 0) {
        return 0;
    }
    gint64 cpu = (s->cpu_free[host] - ask->cpu_millis) * BERTH_SCORE_MAX / s->cpu_cap[host];
    gint64 mem = (s->mem_free[host] - ask->memory_mib) * BERTH_SCORE_MAX / s->mem_cap[host];
    return CLAMP(BERTH_SCORE_MAX - ABS(cpu - mem), 0, BERTH_SCORE_MAX);
}

const BerthRule berth_rule_balance = {
    .code = "balance",
    .doc = "CPU and memory are left evenly used.",
    .reach = BERTH_REACH_LOAD,
    .score = score,
};
