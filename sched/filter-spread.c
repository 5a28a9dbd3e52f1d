/* Spread of weight 0: a place may hold at most max_skew members more than the emptiest schedulable
 * place, counting the one that is being placed. */
#include "sched/relation.h"

static gboolean
asked(const BerthAsk *ask)
{
    for (guint i = 0; i < ask->request->n_spreads; i++) {
        if (ask->request->spreads[i].weight == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    for (guint i = 0; i < ask->request->n_spreads; i++) {
        const BerthSpread *spread = &ask->request->spreads[i];
        if (spread->weight != 0) {
            continue;
        }
        guint here = berth_relation_count(ask, i, host) + 1;
        guint allowed = ask->spread_least[i] + MAX(1, spread->max_skew);
        if (here > allowed) {
            return berth_refuse(refusal, spread->group, here, allowed);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_spread = {
    .code = "spread",
    .doc = "The group stays spread within its maximum skew.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
