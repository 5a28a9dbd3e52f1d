/* The host's hypervisor knows the machine type. */
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->machine != 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthProfile *p = berth_profile(ask->snapshot, host);
    for (guint i = 0; i < p->n_machines; i++) {
        if (p->machines[i] == ask->machine) {
            return TRUE;
        }
    }
    return berth_refuse(refusal, ask->request->machine, 0, 0);
}

const BerthRule berth_rule_machine = {
    .code = "machine",
    .doc = "The host's hypervisor knows the machine type.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
