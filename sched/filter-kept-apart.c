/* The other side of anti-affinity: one that is there already must be apart from what comes. */
#include "sched/apart.h"
#include "sched/relation.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->kept_apart != NULL;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthSnapshot *s = ask->snapshot;
    const gpointer here[] = {berth_relation_key(s, host, BERTH_SCOPE_HOST),
                             berth_relation_key(s, host, BERTH_SCOPE_RACK),
                             berth_relation_key(s, host, BERTH_SCOPE_ZONE)};
    for (guint i = 0; i < ask->kept_apart->len; i++) {
        const BerthApartPlace *place = &g_array_index(ask->kept_apart, BerthApartPlace, i);
        if (place->key == here[0] || place->key == here[1] || place->key == here[2]) {
            return berth_refuse(refusal, berth_symbols_name(&s->symbols, place->name), 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_kept_apart = {
    .code = "kept-apart",
    .doc = "No workload in the host's place must be apart from it.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_NONE,
    .asked = asked,
    .admits = admits,
};
