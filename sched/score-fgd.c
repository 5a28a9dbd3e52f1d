/* Baseline: fragmentation gradient descent (Weng et al., USENIX ATC 2023): the placing that adds least
 * fragmented device thousandths, in coarse steps as its published scores have, first host first. */
#include <math.h>

#include "sched/mix.h"
#include "sched/rules.h"

#define STEP 100.0

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    BerthRoom room;
    berth_room_read(&room, ask->snapshot, host);
    double before = berth_room_fragmented(ask->snapshot->mix, &room);
    berth_room_place(&room, ask, placement);
    double less = before - berth_room_fragmented(ask->snapshot->mix, &room);
    return BERTH_SCORE_MAX / 2 + (gint64)floor(less / STEP + 0.5);
}

const BerthRule berth_rule_fgd = {
    .code = "fgd",
    .doc = "Baseline: least fragmentation of devices added.",
    .reach = BERTH_REACH_LOAD,
    .score = score,
};
