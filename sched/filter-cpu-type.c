/* The host can run the architecture, CPU model and features asked for. A workload that may migrate
 * asks for a model every host of its cluster offers, so the same rule guards live migration. */
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->arch != 0 || ask->cpu_model != 0 || ask->request->n_cpu_features > 0;
}

static gboolean
lists(const BerthSymbol *symbols, guint n, BerthSymbol wanted)
{
    for (guint i = 0; i < n; i++) {
        if (symbols[i] == wanted) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthProfile *p = berth_profile(ask->snapshot, host);
    if (ask->arch != 0 && ask->arch != p->arch) {
        return berth_refuse(refusal, ask->request->arch, 0, 0);
    }
    if (ask->cpu_model != 0 && !lists(p->models, p->n_models, ask->cpu_model)) {
        return berth_refuse(refusal, ask->request->cpu_model, 0, 0);
    }
    for (guint i = 0; i < ask->request->n_cpu_features; i++) {
        if (!lists(p->features, p->n_features, ask->features[i])) {
            return berth_refuse(refusal, ask->request->cpu_features[i], 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_cpu_type = {
    .code = "cpu-type",
    .doc = "The host's hypervisor offers the architecture, CPU model and features.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
