/* N+1: refuses what would not survive the loss of any one host; see spare.c. What it admits survives, as far as it is
 * a matter of room, and a few that a perfect packing could save are refused. Asked for by a setting of the fleet. */
#include "sched/rules.h"
#include "sched/spare.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->snapshot->spare != NULL;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    guint32 stranded = berth_spare_find_stranded(ask->snapshot->spare, ask, host);
    return stranded == BERTH_HOST_NONE ||
           berth_refuse(refusal, berth_snapshot_host_name(ask->snapshot, stranded), 0, 0);
}

const BerthRule berth_rule_reserve = {
    .code = "reserve",
    .doc = "Every workload finds another host when any one host is lost.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_NONE,
    .asked = asked,
    .admits = admits,
};
