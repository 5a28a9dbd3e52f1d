/* Prefers the placing that costs the least room for the requests that usually come; see mix.c. */
#include <math.h>

#include "sched/mix.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return berth_mix_is_known(ask->snapshot->mix);
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSnapshot *s = ask->snapshot;
    BerthRoom room;
    berth_room_read(&room, s, host);
    if (isnan(s->worth[host])) {
        s->worth[host] = berth_room_value(s->mix, &room);
    }
    berth_room_place(&room, ask, placement);
    double cost = s->worth[host] - berth_room_value(s->mix, &room);
    double scale = berth_mix_scale(s->mix, ask);
    return (gint64)(BERTH_SCORE_MAX * (scale / (scale + MAX(0, cost))));
}

const BerthRule berth_rule_room = {
    .code = "room",
    .doc = "The placing that costs least room for the requests that usually come.",
    .reach = BERTH_REACH_LOAD,
    .asked = asked,
    .score = score,
};
