/* Every network of the workload is present on the host. */
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->request->n_networks > 0;
}

static gboolean
is_present(const BerthProfile *profile, BerthSymbol network)
{
    for (guint i = 0; i < profile->n_networks; i++) {
        if (profile->networks[i] == network) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthProfile *profile = berth_profile(ask->snapshot, host);
    for (guint i = 0; i < ask->request->n_networks; i++) {
        if (!is_present(profile, ask->networks[i])) {
            return berth_refuse(refusal, ask->request->networks[i], 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_network = {
    .code = "network",
    .doc = "Every network of the workload is present on the host.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
