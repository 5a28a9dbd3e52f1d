/* Numbered frames in a fixed buffer. Invariant: data[0..used) are whole frames with the sequences
 * next - count … next - 1, and data[0..sent) ends at a frame's border. */
#include "guest/lane.h"

#include <errno.h>
#include <string.h>

/** Begins a session. */
void
berth_lane_init(BerthLane *lane)
{
    lane->next = 1;
    lane->received = 0;
    lane->told = 0;
    lane->count = 0;
    lane->used = 0;
    lane->sent = 0;
}

/** Returns: TRUE when a frame with @payload_size bytes can be put now. */
bool
berth_lane_has_room(const BerthLane *lane, size_t payload_size)
{
    return lane->count < BERTH_UNACKED_FRAMES &&
           lane->used + BERTH_HEADER_SIZE + payload_size <= sizeof lane->data;
}

/** Returns: TRUE when everything that was put has been acknowledged. */
bool
berth_lane_is_idle(const BerthLane *lane)
{
    return lane->count == 0;
}

/** Numbers and keeps a frame. Returns: 0, or -EAGAIN when the credit is used up. */
int
berth_lane_put(BerthLane *lane, uint8_t type, uint32_t stream, const void *payload, size_t size)
{
    if (!berth_lane_has_room(lane, size)) {
        return -EAGAIN;
    }
    BerthFrame frame = {
        .type = type,
        .stream = stream,
        .sequence = lane->next,
        .acked = lane->received,
        .payload = payload,
        .size = size,
    };
    lane->used += berth_frame_encode(&frame, lane->data + lane->used);
    lane->count++;
    lane->next++;
    return 0;
}

/**
 * berth_lane_take:
 * @size: (out): its bytes
 *
 * Returns: (nullable): the next frame to write, valid until the next call on @lane; NULL: none.
 */
const uint8_t *
berth_lane_take(BerthLane *lane, size_t *size)
{
    if (lane->sent == lane->used) {
        return NULL;
    }
    uint8_t *frame = lane->data + lane->sent;
    berth_frame_set_acked(frame, lane->received);
    *size = berth_frame_encoded_size(frame);
    lane->sent += *size;
    lane->told = lane->received;
    return frame;
}

static void
drop_first(BerthLane *lane)
{
    size_t size = berth_frame_encoded_size(lane->data);
    lane->used -= size;
    lane->sent -= size < lane->sent ? size : lane->sent;
    lane->count--;
    memmove(lane->data, lane->data + size, lane->used);
}

/* The other side has everything up to @acked. Only what was sent can have arrived. */
static int
forget_until(BerthLane *lane, uint32_t acked, bool sent_only)
{
    int32_t kept_before = (int32_t)(acked - (lane->next - lane->count));
    if (kept_before >= (int32_t)lane->count) {
        return -EPROTO;
    }
    while (lane->count > 0 && (int32_t)(acked - berth_frame_encoded_sequence(lane->data)) >= 0) {
        if (sent_only && lane->sent == 0) {
            return -EPROTO;
        }
        drop_first(lane);
    }
    return 0;
}

/** Takes note of what @frame's header acknowledges and whether it is new. */
BerthLaneVerdict
berth_lane_accept(BerthLane *lane, const BerthFrame *frame)
{
    if (forget_until(lane, frame->acked, true) < 0) {
        return BERTH_LANE_BROKEN;
    }
    if (frame->sequence == 0) {
        return BERTH_LANE_NEW;
    }
    int32_t ahead = (int32_t)(frame->sequence - lane->received);
    if (ahead <= 0) {
        return BERTH_LANE_DUPLICATE;
    }
    if (ahead > 1) {
        return BERTH_LANE_BROKEN;
    }
    lane->received = frame->sequence;
    return BERTH_LANE_NEW;
}

/**
 * berth_lane_resume:
 * @received: what the other side says it has of ours
 *
 * After a break: forgets what arrived, sends the rest again. Returns: 0, or -EPROTO when @received was
 * never put.
 */
int
berth_lane_resume(BerthLane *lane, uint32_t received)
{
    if (forget_until(lane, received, false) < 0) {
        return -EPROTO;
    }
    lane->sent = 0;
    lane->told = lane->received;
    return 0;
}
