/* Guest memory and its overhead fit in the host's ordinary memory after the reserve. */
#include "sched/rules.h"

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    gint64 have = ask->snapshot->mem_free[host];
    return ask->memory_mib <= have || ask->memory_mib == 0 ||
           berth_refuse(refusal, "memory_mib", ask->memory_mib, have);
}

const BerthRule berth_rule_memory = {
    .code = "memory",
    .doc = "The host has enough memory after the reserve, overhead included.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_FREE,
    .admits = admits,
    .placed = TRUE,
};
