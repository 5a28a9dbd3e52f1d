/* Prefers the placing that costs the least room for the requests that usually come; see mix.c. */
#include <math.h>

#include "sched/mix.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return berth_mix_is_known(ask->snapshot->mix);
}

/* The host's state is read once for all ways of placing there. */
static void
score_ways(const BerthAsk *ask, guint32 host, const BerthPlacement *ways, guint n, gint64 *scores)
{
    const BerthSnapshot *s = ask->snapshot;
    BerthRoom before, after;
    berth_room_read(&before, s, host);
    if (isnan(s->worth[host])) {
        s->worth[host] = berth_room_value(s->mix, &before);
    }
    double scale = berth_mix_scale(s->mix, ask);
    for (guint i = 0; i < n; i++) {
        berth_room_copy(&after, &before);
        berth_room_place(&after, ask, &ways[i]);
        double cost = s->worth[host] - berth_room_value(s->mix, &after);
        scores[i] = (gint64)(BERTH_SCORE_MAX * (scale / (scale + MAX(0, cost))));
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
