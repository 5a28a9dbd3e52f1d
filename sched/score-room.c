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

static void
most(const BerthAsk *ask, const guint32 *hosts, guint n, gint64 *scores)
{
    double costs[BERTH_PORTION];
    berth_room_least_costs(ask, hosts, n, costs);
    for (guint i = 0; i < n; i++) {
        scores[i] = costs[i] == INFINITY ? -1 : score_of(costs[i], ask->scale);
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
