/* Prefers the placing that costs the least room for the requests that usually come; see mix.c. */
#include "sched/mix.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return berth_mix_is_known(ask->snapshot->mix);
}

static void
score_ways(const BerthAsk *ask, guint32 host, const BerthPlacement *ways, guint n, gint64 *scores)
{
    double costs[BERTH_WAYS_MAX], scale = ask->scale;
    berth_room_costs(ask, host, ways, n, costs);
    for (guint i = 0; i < n; i++) {
        scores[i] = (gint64)(BERTH_SCORE_MAX * (scale / (scale + MAX(0, costs[i]))));
    }
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    gint64 one;
    score_ways(ask, host, placement, 1, &one);
    return one;
}

const BerthRule berth_rule_room = {
    .code = "room",
    .doc = "The placing that costs least room for the requests that usually come.",
    .reach = BERTH_REACH_LOAD,
    .asked = asked,
    .score = score,
    .score_ways = score_ways,
};
