/* A host takes new workloads only while it is ready, not cordoned and not draining. */
#include "sched/rules.h"

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    guint8 state = ask->snapshot->state[host];
    if (state == BERTH_HOST_READY) {
        return TRUE;
    }
    return berth_refuse(refusal,
                        !(state & BERTH_HOST_READY)     ? "not-ready"
                        : (state & BERTH_HOST_DRAINING) ? "draining"
                                                        : "cordoned",
                        0, 0);
}

const BerthRule berth_rule_state = {
    .code = "state",
    .doc = "The host is ready, not cordoned and not draining.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_UNCORDON,
    .admits = admits,
};
