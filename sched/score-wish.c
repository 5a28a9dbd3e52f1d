/* Soft rules: the weighted share of the request's wishes that the host grants. */
#include "sched/relation.h"
#include "sched/selector.h"

static gboolean
asked(const BerthAsk *ask)
{
    const BerthRequest *r = ask->request;
    guint weight = 0;
    for (guint i = 0; i < r->n_selectors; i++) {
        weight += r->selectors[i].weight;
    }
    for (guint i = 0; i < r->n_relations; i++) {
        weight += r->relations[i].weight;
    }
    for (guint i = 0; i < r->n_spreads; i++) {
        weight += r->spreads[i].weight;
    }
    return weight > 0;
}

/* A soft spread is granted in parts: fully in the emptiest place, less with each member more. */
static gint64
spread_part(const BerthAsk *ask, guint spread, guint32 host)
{
    guint here = berth_relation_count(ask, spread, host);
    guint least = ask->spread_least[spread];
    return BERTH_SCORE_MAX / (1 + (here > least ? here - least : 0));
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthRequest *r = ask->request;
    gint64 granted = 0, all = 0;
    for (guint i = 0; i < r->n_selectors; i++) {
        all += r->selectors[i].weight;
        if (r->selectors[i].weight > 0 && berth_selector_matches(ask, host, i)) {
            granted += (gint64)r->selectors[i].weight * BERTH_SCORE_MAX;
        }
    }
    for (guint i = 0; i < r->n_relations; i++) {
        all += r->relations[i].weight;
        if (r->relations[i].weight > 0 && berth_relation_is_near(ask, i, host) ==
                                              (r->relations[i].kind == BERTH_RELATION_TOGETHER)) {
            granted += (gint64)r->relations[i].weight * BERTH_SCORE_MAX;
        }
    }
    for (guint i = 0; i < r->n_spreads; i++) {
        all += r->spreads[i].weight;
        granted += r->spreads[i].weight > 0 ? r->spreads[i].weight * spread_part(ask, i, host) : 0;
    }
    return granted / MAX(1, all);
}

const BerthRule berth_rule_wish = {
    .code = "wish",
    .doc = "Soft selectors, relations and spreads that the host grants.",
    .reach = BERTH_REACH_FLEET,
    .asked = asked,
    .score = score,
};
