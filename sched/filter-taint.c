/* Taints of effect refuse keep away what does not tolerate them. */
#include "sched/taint.h"

/**
 * berth_taint_is_tolerated:
 *
 * Returns: whether a toleration without a key, or with the taint's key and no or the same value, is
 * in the request
 */
gboolean
berth_taint_is_tolerated(const BerthAsk *ask, const BerthFact *taint)
{
    for (guint i = 0; i < ask->request->n_tolerations; i++) {
        if ((ask->toleration_keys[i] == 0 || ask->toleration_keys[i] == taint->key) &&
            (ask->toleration_values[i] == 0 || ask->toleration_values[i] == taint->value)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
asked(const BerthAsk *ask)
{
    return ask->snapshot->refusing > 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthProfile *p = berth_profile(ask->snapshot, host);
    for (guint i = 0; i < p->n_taints; i++) {
        if (p->taint_effects[i] == BERTH_TAINT_REFUSE &&
            !berth_taint_is_tolerated(ask, &p->taints[i])) {
            return berth_refuse(
                refusal, berth_symbols_name(&ask->snapshot->symbols, p->taints[i].key), 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_taint = {
    .code = "taint",
    .doc = "The request tolerates every refusing taint of the host.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
