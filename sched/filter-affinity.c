/* Affinity of weight 0: where a workload it names already is. With none anywhere the first one founds
 * the place, so a group can begin. */
#include "sched/relation.h"

static gboolean
asked(const BerthAsk *ask)
{
    for (guint i = 0; i < ask->request->n_relations; i++) {
        if (berth_relation_must_be_near(ask, i)) {
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
        if (berth_relation_must_be_near(ask, i) && !berth_relation_is_near(ask, i, host) &&
            berth_relation_has_members(ask, i)) {
            return berth_refuse(refusal, r->group != NULL ? r->group : r->label.value, 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_affinity = {
    .code = "affinity",
    .doc = "Workloads it must be together with are in the host's place, or nowhere yet.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
