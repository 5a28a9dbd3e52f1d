/* Prefers the emptier host: the opposite of packing, for fleets that want quiet hosts. */
#include "sched/rules.h"

static gint64
free_share(gint64 left, gint64 whole)
{
    return whole <= 0 ? 0 : CLAMP(left * BERTH_SCORE_MAX / whole, 0, BERTH_SCORE_MAX);
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSnapshot *s = ask->snapshot;
    return (free_share(s->cpu_free[host] - ask->cpu_millis, s->cpu_cap[host]) +
            free_share(s->mem_free[host] - ask->memory_mib, s->mem_cap[host])) /
           2;
}

const BerthRule berth_rule_spread_load = {
    .code = "spread-load",
    .doc = "Emptier hosts are preferred.",
    .reach = BERTH_REACH_LOAD,
    .score = score,
};
