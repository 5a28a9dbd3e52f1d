/* What is reserved for other projects stays free in the fleet. Sums of the fleet, so the same answer for every host; what
 * the project's own reservation covers is its due, also where more was promised than there is. */
#include "sched/reserved.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->snapshot->reserved != NULL;
}

static gboolean
keeps(gint64 need, gint64 has_free, gint64 open, gint64 own, const char *dimension,
      BerthRefusal *refusal)
{
    gint64 have = has_free - (open - own);
    return need <= MAX(own, have) || berth_refuse(refusal, dimension, need, have);
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    static const BerthShare nobody;
    const BerthReserved *r = ask->snapshot->reserved;
    const BerthShare *share = berth_snapshot_share(ask->snapshot, ask->project);
    share = share != NULL ? share : &nobody;
    return keeps(berth_ask_cpu_in_all(ask), r->free_cpu_millis, r->open_cpu_millis,
                 berth_share_open_cpu_millis(share), "cpu_millis", refusal) &&
           keeps(berth_ask_memory_in_all(ask), r->free_memory_mib, r->open_memory_mib,
                 berth_share_open_memory_mib(share), "memory_mib", refusal);
}

const BerthRule berth_rule_unreserved = {
    .code = "unreserved",
    .doc = "What is reserved for other projects stays free in the fleet.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_NONE,
    .asked = asked,
    .admits = admits,
    .everywhere = TRUE,
};
