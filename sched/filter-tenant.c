/* A host may be kept for one project: its label "berth/project" names it. Depends on who asks, which the index's
 * classes of equal requests don't tell apart, so the answer is never kept. */
#include "sched/rules.h"

static BerthSymbol
kept_for(const BerthAsk *ask)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(ask->snapshot->symbols.ids, "berth/project"));
}

/* No host has the label as long as nobody ever named it. */
static gboolean
asked(const BerthAsk *ask)
{
    return kept_for(ask) != 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthProfile *p = berth_profile(ask->snapshot, host);
    BerthSymbol key = kept_for(ask);
    for (guint i = 0; i < p->n_labels; i++) {
        if (p->labels[i].key == key && p->labels[i].value != ask->project) {
            return berth_refuse(
                refusal, berth_symbols_name(&ask->snapshot->symbols, p->labels[i].value), 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_tenant = {
    .code = "tenant",
    .doc = "A host that its label berth/project keeps for a project takes that project's workloads "
           "only.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_NONE,
    .asked = asked,
    .admits = admits,
};
