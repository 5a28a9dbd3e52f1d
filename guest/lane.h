/* One direction of numbered frames: kept until acknowledged, sent again after a break, accepted once.
 * Both ends have one; it never holds more than the credit of protocol.h. No I/O. */
#pragma once

#include "guest/protocol.h"

typedef struct {
    uint32_t next;     /* sequence of the next frame that is put; begins at 1 */
    uint32_t received; /* of the other side: everything up to here has arrived */
    uint32_t told;     /* the last `received` that went out */
    unsigned count;    /* frames in data */
    size_t used;       /* bytes in data: encoded frames, oldest first */
    size_t sent;       /* bytes of data that went out since the last break */
    uint8_t data[BERTH_UNACKED_BYTES];
} BerthLane;

typedef enum {
    BERTH_LANE_NEW,       /* in order: act on it */
    BERTH_LANE_DUPLICATE, /* arrived before: drop it */
    BERTH_LANE_BROKEN,    /* something is missing, or acknowledged what was never sent */
} BerthLaneVerdict;

void berth_lane_init(BerthLane *lane);
int berth_lane_put(BerthLane *lane, uint8_t type, uint32_t stream, const void *payload,
                   size_t size);
bool berth_lane_has_room(const BerthLane *lane, size_t payload_size);
bool berth_lane_is_idle(const BerthLane *lane);
const uint8_t *berth_lane_take(BerthLane *lane, size_t *size);
BerthLaneVerdict berth_lane_accept(BerthLane *lane, const BerthFrame *frame);
int berth_lane_resume(BerthLane *lane, uint32_t received);
