/* Prefers the placing that costs the least room for the requests that usually come; see mix.c. */
#include <math.h>

#include "sched/mix.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return berth_mix_is_known(ask->snapshot->mix);
}

static inline gint64
score_of(double cost, double scale)
{
    return (gint64)(BERTH_SCORE_MAX * (scale / (scale + MAX(0, cost))));
}

static void
score_ways(const BerthAsk *ask, guint32 host, const BerthPlacement *ways, guint n, gint64 *scores)
{
    double costs[BERTH_WAYS_MAX];
    berth_room_costs(ask, host, ways, n, costs);
    for (guint i = 0; i < n; i++) {
        scores[i] = score_of(costs[i], ask->scale);
    }
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    gint64 one;
    score_ways(ask, host, placement, 1, &one);
    return one;
}

/* As score_of in single precision, rounded up. */
static void
most(const BerthAsk *ask, const guint32 *hosts, guint n, gint32 *scores)
{
    float costs[BERTH_PORTION], scale = (float)ask->scale;
    berth_room_least_costs(ask, hosts, n, costs);
    for (guint i = 0; i < n; i++) {
        float cost = costs[i] > 0 ? costs[i] : 0;
        float score = BERTH_SCORE_MAX * 1.000001f * (scale / (scale + cost));
        score = score < BERTH_SCORE_MAX ? score : BERTH_SCORE_MAX;
        scores[i] = costs[i] == INFINITY ? -1 : (gint32)score;
    }
}

const BerthRule berth_rule_room = {
    .code = "room",
    .doc = "The placing that costs least room for the requests that usually come.",
    .reach = BERTH_REACH_LOAD,
    .asked = asked,
    .score = score,
    .score_ways = score_ways,
    .most = most,
};
