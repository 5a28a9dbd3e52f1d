/* A guest that turns against its host: PID 1 as it is, but for its link. Once a container has printed
 * "hostile:WAY", this stands between guest/core.c and the port (the linker wraps the two calls), and what
 * goes out is no longer what the core says. Each time the daemon opens the link anew it is greeted as a
 * sound guest would, so that it has a reason to go on listening. libc only, one thread.
 *
 *   noise    bytes that are no frames, before and after the greeting; every other opening has heads that
 *            announce 4 GiB, 65,535 bytes and nothing
 *   half     the head of a frame and half of its body, then silence
 *   version  a greeting in a protocol of the future
 *   replay   frames of its own past, once more for whatever is said to it, and nothing else
 *   deaf     neither reads nor writes any more
 *   flood    log records as fast as they go, without a look at what it has credit for
 *   claims   logs, output and states of others, beside its own sound ones
 *   short    sound, but whatever ends is said to have put out more than is ever sent */
#include "guest/core.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK "hostile:"
#define PAST_MAX (2 * BERTH_FRAME_MAX)

size_t __real_berth_core_transmit(BerthCore *core, uint8_t *out, size_t size);
void __real_berth_core_receive(BerthCore *core, const uint8_t *data, size_t size);
size_t __wrap_berth_core_transmit(BerthCore *core, uint8_t *out, size_t size);
void __wrap_berth_core_receive(BerthCore *core, const uint8_t *data, size_t size);

typedef enum { SOUND, NOISE, HALF, VERSION, REPLAY, DEAF, FLOOD, CLAIMS, SHORT } Way;

static const char *const ways[] = {"sound", "noise", "half",   "version", "replay",
                                   "deaf",  "flood", "claims", "short"};

static struct {
    Way way;
    unsigned openings;
    bool greeted, done;      /* in this opening */
    uint64_t log_sequence;   /* the last that was sent */
    uint64_t nonce, attempt; /* of the daemon's last greeting */
    size_t past_size;
    uint8_t past[PAST_MAX]; /* the last frames that were sent while it was sound */
    BerthDecoder in, out;
} turn;

/* ---- what it learns ---------------------------------------------------------------------------- */

static void
learn_way(const BerthField *data)
{
    const uint8_t *found = memmem(data->data, data->size, MARK, sizeof MARK - 1);
    for (size_t i = 1; found != NULL && i < sizeof ways / sizeof *ways; i++) {
        size_t left = data->size - (size_t)(found - data->data) - (sizeof MARK - 1);
        if (left >= strlen(ways[i]) &&
            memcmp(found + sizeof MARK - 1, ways[i], strlen(ways[i])) == 0) {
            turn.way = (Way)i;
        }
    }
}

static void
learn_from_own(const uint8_t *bytes, size_t size)
{
    BerthFrame frame;
    BerthField data = {0};
    while (size > 0) {
        size_t taken = berth_decoder_feed(&turn.out, bytes, size);
        bytes += taken;
        size -= taken;
        while (berth_decoder_next(&turn.out, &frame)) {
            if (frame.type == BERTH_FRAME_LOG && berth_find_field(&frame, BERTH_TAG_DATA, &data)) {
                turn.log_sequence = berth_frame_u64(&frame, BERTH_TAG_SEQUENCE, 0);
                learn_way(&data);
            }
        }
    }
}

/* The daemon's greeting says what has to be echoed. */
void
__wrap_berth_core_receive(BerthCore *core, const uint8_t *data, size_t size)
{
    BerthFrame frame;
    size_t at = 0;
    while (at < size) {
        at += berth_decoder_feed(&turn.in, data + at, size - at);
        while (berth_decoder_next(&turn.in, &frame)) {
            if (frame.type == BERTH_FRAME_HELLO) {
                turn.nonce = berth_frame_u64(&frame, BERTH_TAG_NONCE, 0);
                turn.attempt = berth_frame_u64(&frame, BERTH_TAG_ATTEMPT, 0);
            }
        }
    }
    turn.done = turn.done && turn.way != CLAIMS && turn.way != REPLAY;
    __real_berth_core_receive(core, data, size);
}

/* ---- what it says instead ---------------------------------------------------------------------- */

static size_t
put_frame(uint8_t *out, BerthFrameType type, uint32_t stream, const BerthWriter *writer)
{
    BerthFrame frame = {(uint8_t)type, stream, 0, 0, writer->data, writer->used};
    return berth_frame_encode(&frame, out);
}

static size_t
make_noise(uint8_t *out, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint32_t word = (uint32_t)random() << 1;
        memcpy(out + i, &word, 4);
    }
    return size & ~(size_t)3;
}

/* A head whose own checksum is right: only what it announces is wrong. */
static size_t
make_huge(uint8_t *out, size_t size)
{
    memset(out, 0xff, size); /* 4 GiB in any field there may be */
    for (size_t i = 0; i + BERTH_HEADER_SIZE <= size; i += 4096) {
        uint16_t length = i % 8192 == 0 ? 65535 : 0;
        memset(out + i, 0, BERTH_HEADER_SIZE);
        memcpy(out + i, &(uint16_t){BERTH_FRAME_MAGIC}, 2);
        out[i + 2] = BERTH_FRAME_LOG;
        memcpy(out + i + 16, &length, 2);
        uint16_t low = (uint16_t)berth_crc32(0, out + i, 18);
        memcpy(out + i + 18, &low, 2);
    }
    return size;
}

static size_t
make_half(uint8_t *out)
{
    static uint8_t body[BERTH_PAYLOAD_MAX];
    BerthWriter writer = {.data = body, .size = sizeof body, .used = sizeof body};
    turn.done = true;
    return put_frame(out, BERTH_FRAME_LOG, 0, &writer) / 2;
}

static size_t
make_greeting_of_the_future(uint8_t *out)
{
    uint8_t payload[128];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_MAJOR, 99);
    berth_write_u64(&writer, BERTH_TAG_NONCE, turn.nonce);
    berth_write_u64(&writer, BERTH_TAG_ATTEMPT, turn.attempt);
    return put_frame(out, BERTH_FRAME_HELLO, 0, &writer);
}

static size_t
make_past(uint8_t *out)
{
    memcpy(out, turn.past, turn.past_size);
    turn.done = true;
    return turn.past_size;
}

static size_t
make_log(uint8_t *out)
{
    static uint8_t line[BERTH_LOG_RECORD_MAX], payload[BERTH_PAYLOAD_MAX];
    BerthWriter writer;
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_SEQUENCE, ++turn.log_sequence);
    berth_write_u64(&writer, BERTH_TAG_FD, 1);
    berth_write_bytes(&writer, BERTH_TAG_DATA, line, sizeof line);
    return put_frame(out, BERTH_FRAME_LOG, 0, &writer);
}

/* In the name of containers, execs and pods that are not its own. */
static size_t
make_claims(uint8_t *out)
{
    size_t used = 0;
    turn.done = true;
    for (uint32_t i = 1; i < 40; i++) {
        uint8_t payload[256];
        BerthWriter writer;
        berth_writer_init(&writer, payload, sizeof payload);
        berth_write_text(&writer, BERTH_TAG_NAME, "neighbour");
        berth_write_text(&writer, BERTH_TAG_HOSTNAME, "neighbour");
        berth_write_u64(&writer, BERTH_TAG_SEQUENCE, i);
        berth_write_u64(&writer, BERTH_TAG_OFFSET, 0);
        berth_write_u64(&writer, BERTH_TAG_FD, 1);
        berth_write_text(&writer, BERTH_TAG_DATA, "claimed\n");
        BerthFrameType type = i < 16 ? BERTH_FRAME_LOG : BERTH_FRAME_OUTPUT;
        used += put_frame(out + used, type, i < 16 ? i : i * 7919, &writer);
    }
    return used;
}

/* @out holds whole frames. Each stays as long as it is. */
static void
announce_too_much(uint8_t *out, size_t size)
{
    BerthDecoder decoder;
    BerthFrame frame;
    berth_decoder_reset(&decoder);
    for (size_t at = 0, next; at < size; at = next) {
        uint8_t payload[BERTH_PAYLOAD_MAX];
        BerthReader reader;
        BerthField field;
        next = at + berth_frame_encoded_size(out + at);
        berth_decoder_feed(&decoder, out + at, next - at);
        if (!berth_decoder_next(&decoder, &frame) || frame.type != BERTH_FRAME_STATE ||
            berth_frame_u64(&frame, BERTH_TAG_STATE, 0) != BERTH_PROCESS_EXITED) {
            continue;
        }
        memcpy(payload, frame.payload, frame.size);
        berth_reader_init(&reader, &frame);
        while (berth_read_field(&reader, &field)) {
            if (field.tag == BERTH_TAG_STDOUT_END || field.tag == BERTH_TAG_SEQUENCE) {
                berth_store_u64(payload + (field.data - frame.payload),
                                berth_field_u64(&field) + 1000);
            }
        }
        frame.payload = payload;
        berth_frame_encode(&frame, out + at);
    }
}

static size_t
rage(BerthCore *core, uint8_t *out, size_t size)
{
    switch (turn.way) {
    case NOISE:
        return turn.openings % 2 == 0 ? make_noise(out, size) : make_huge(out, size);
    case HALF:
        return turn.done ? 0 : make_half(out);
    case VERSION: /* what was greeted soundly is cut off first, to be greeted again */
        return turn.openings == 0 ? make_huge(out, 4096) : 0;
    case REPLAY:
        return turn.done ? 0 : make_past(out);
    case FLOOD:
        return make_log(out);
    case CLAIMS:
        return turn.done ? __real_berth_core_transmit(core, out, size) : make_claims(out);
    case DEAF:
    case SHORT:
    case SOUND:
        break;
    }
    for (;;) {
        pause();
    }
}

/* Of what the core has to say only its first frame: the greeting. */
static size_t
take_greeting(BerthCore *core, uint8_t *out, size_t size)
{
    size_t used = __real_berth_core_transmit(core, out, size);
    return used == 0 || turn.way == CLAIMS ? used : berth_frame_encoded_size(out);
}

/* Called by guest/link.c for the next bytes to write, @size of at least four frames. */
size_t
__wrap_berth_core_transmit(BerthCore *core, uint8_t *out, size_t size)
{
    if (turn.way == SOUND || turn.way == SHORT) {
        size_t used = __real_berth_core_transmit(core, out, size);
        if (used > 0 && used <= sizeof turn.past) {
            memcpy(turn.past, out, used);
            turn.past_size = used;
        }
        learn_from_own(out, used);
        if (turn.way == SHORT) {
            announce_too_much(out, used);
        }
        turn.greeted = true;
        return used;
    }
    if (!berth_core_is_linked(core)) {
        turn.openings += turn.greeted;
        turn.greeted = turn.done = false;
        return turn.way == NOISE ? make_noise(out, size) : 0;
    }
    if (!turn.greeted) {
        turn.greeted = true;
        return turn.way == VERSION ? make_greeting_of_the_future(out)
                                   : take_greeting(core, out, size);
    }
    return rage(core, out, size);
}
