/* Keeps off hosts whose avoiding taints the request does not tolerate. */
#include "sched/taint.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->snapshot->avoided > 0;
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthProfile *p = berth_profile(ask->snapshot, host);
    for (guint i = 0; i < p->n_taints; i++) {
        if (p->taint_effects[i] == BERTH_TAINT_AVOID &&
            !berth_taint_is_tolerated(ask, &p->taints[i])) {
            return 0;
        }
    }
    return BERTH_SCORE_MAX;
}

const BerthRule berth_rule_avoid = {
    .code = "avoid",
    .doc = "Hosts without an avoiding taint come first.",
    .reach = BERTH_REACH_FACTS,
    .asked = asked,
    .score = score,
};
