/* Anti-affinity of weight 0: never in the place of a workload it names. */
#include "sched/relation.h"

static gboolean
asked(const BerthAsk *ask)
{
    for (guint i = 0; i < ask->request->n_relations; i++) {
        if (ask->request->relations[i].kind == BERTH_RELATION_APART &&
            ask->request->relations[i].weight == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    for (guint i = 0; i < ask->request->n_relations; i++) {
        const BerthRelation *r = &ask->request->relations[i];
        if (r->kind == BERTH_RELATION_APART && r->weight == 0 &&
            berth_relation_is_near(ask, i, host)) {
            return berth_refuse(refusal, r->group != NULL ? r->group : r->label.value, 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_anti_affinity = {
    .code = "anti-affinity",
    .doc = "No workload it must be apart from is in the host's place.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
