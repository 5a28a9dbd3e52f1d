/* Frames survive any cut of the byte stream, nothing else is taken for one, and what this release
 * writes stays readable: golden/guest-protocol-1.0.frames. */
#include "guest/lane.h"
#include "guest/protocol.h"

#include <glib.h>
#include <string.h>

static gsize
make_frame(guint8 *out, guint8 type, guint32 stream, guint32 sequence, const char *text)
{
    guint8 payload[BERTH_PAYLOAD_MAX];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_RUN, 7);
    berth_write_text(&writer, BERTH_TAG_TEXT, text);
    BerthFrame frame = {type, stream, sequence, 3, payload, writer.used};
    return berth_frame_encode(&frame, out);
}

static void
assert_frame(const BerthFrame *frame, guint8 type, guint32 stream, guint32 sequence,
             const char *text)
{
    char got[64];
    g_assert_cmpuint(frame->type, ==, type);
    g_assert_cmpuint(frame->stream, ==, stream);
    g_assert_cmpuint(frame->sequence, ==, sequence);
    g_assert_cmpuint(frame->acked, ==, 3);
    g_assert_cmpuint(berth_frame_u64(frame, BERTH_TAG_RUN, 0), ==, 7);
    g_assert_cmpint(berth_frame_text(frame, BERTH_TAG_TEXT, got, sizeof got), ==, 0);
    g_assert_cmpstr(got, ==, text);
}

static void
test_reads_frames_cut_at_each_byte(void)
{
    guint8 bytes[512];
    gsize size = make_frame(bytes, BERTH_FRAME_STATE, 4, 9, "first");
    size += make_frame(bytes + size, BERTH_FRAME_LOG, 5, 0, "second");
    g_autofree BerthDecoder *decoder = g_new0(BerthDecoder, 1);
    for (gsize cut = 0; cut <= size; cut++) {
        BerthFrame frame;
        guint got = 0;
        for (int part = 0; part < 2; part++) {
            const guint8 *from = part == 0 ? bytes : bytes + cut;
            gsize length = part == 0 ? cut : size - cut;
            g_assert_cmpuint(berth_decoder_feed(decoder, from, length), ==, length);
            while (berth_decoder_next(decoder, &frame)) {
                assert_frame(&frame, got == 0 ? BERTH_FRAME_STATE : BERTH_FRAME_LOG, 4 + got,
                             got == 0 ? 9 : 0, got == 0 ? "first" : "second");
                got++;
            }
        }
        g_assert_cmpuint(got, ==, 2);
        g_assert_false(berth_decoder_is_partial(decoder));
    }
    g_assert_cmpuint(decoder->garbage, ==, 0);
}

static void
test_notices_every_changed_bit(void)
{
    guint8 bytes[256];
    gsize size = make_frame(bytes, BERTH_FRAME_STATE, 4, 9, "text");
    g_autofree BerthDecoder *decoder = g_new0(BerthDecoder, 1);
    for (gsize bit = 0; bit < size * 8; bit++) {
        BerthFrame frame;
        berth_decoder_reset(decoder);
        bytes[bit / 8] ^= (guint8)(1 << bit % 8);
        berth_decoder_feed(decoder, bytes, size);
        g_assert_false(berth_decoder_next(decoder, &frame));
        bytes[bit / 8] ^= (guint8)(1 << bit % 8);
    }
}

static void
test_finds_the_next_frame_behind_the_remains_of_another(void)
{
    guint8 old[512], new[512];
    gsize old_size = make_frame(old, BERTH_FRAME_BLOB, 1, 2, "the beginning of something longer");
    gsize new_size = make_frame(new, BERTH_FRAME_HELLO, 0, 0, "hello");
    g_autofree BerthDecoder *decoder = g_new0(BerthDecoder, 1);
    for (gsize cut = 1; cut < old_size; cut++) {
        BerthFrame frame;
        gboolean found;
        berth_decoder_reset(decoder);
        berth_decoder_feed(decoder, old, cut);
        berth_decoder_feed(decoder, new, new_size);
        found = berth_decoder_next(decoder, &frame);
        if (!found) { /* the new one fits into what the old one announced: time tells */
            berth_decoder_skip(decoder);
            found = berth_decoder_next(decoder, &frame);
        }
        g_assert_true(found);
        assert_frame(&frame, BERTH_FRAME_HELLO, 0, 0, "hello");
    }
}

static void
test_never_gives_a_frame_for_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    g_autofree BerthDecoder *decoder = g_new0(BerthDecoder, 1);
    guint8 noise[4096];
    for (int round = 0; round < 500; round++) {
        BerthFrame frame;
        for (gsize i = 0; i < sizeof noise; i += 4) {
            guint32 word = g_rand_int(rand);
            memcpy(noise + i, &word, 4);
        }
        noise[100] = 0x42, noise[101] = 0x47;
        for (gsize done = 0; done < sizeof noise;) {
            done += berth_decoder_feed(decoder, noise + done, sizeof noise - done);
            g_assert_false(berth_decoder_next(decoder, &frame));
        }
        g_assert_cmpuint(decoder->used, <=, sizeof decoder->data);
    }
}

static void
test_refuses_fields_that_reach_beyond_the_payload(void)
{
    guint8 payload[] = {BERTH_TAG_TEXT, 0, 200, 0, 'x'};
    BerthFrame frame = {.payload = payload, .size = sizeof payload};
    BerthField field;
    char text[4];
    g_assert_false(berth_find_field(&frame, BERTH_TAG_TEXT, &field));
    payload[2] = 1;
    g_assert_true(berth_find_field(&frame, BERTH_TAG_TEXT, &field));
    g_assert_cmpint(berth_field_text(&field, text, 1), <, 0);
    g_assert_cmpint(berth_field_text(&field, text, 2), ==, 0);
    payload[4] = '\0';
    g_assert_cmpint(berth_field_text(&field, text, 2), <, 0);
}

static void
test_writer_notes_what_does_not_fit(void)
{
    guint8 small[12];
    BerthWriter writer;
    berth_writer_init(&writer, small, sizeof small);
    berth_write_u64(&writer, BERTH_TAG_RUN, 1);
    g_assert_false(writer.overflow);
    berth_write_bytes(&writer, BERTH_TAG_DATA, "", 0);
    g_assert_true(writer.overflow);
    g_assert_cmpuint(writer.used, ==, 12);
}

static void
test_lane_holds_no_more_than_its_credit(void)
{
    BerthLane *lane = g_new(BerthLane, 1);
    guint8 payload[4000] = {0};
    berth_lane_init(lane);
    for (int i = 0; i < BERTH_UNACKED_FRAMES; i++) {
        g_assert_cmpint(berth_lane_put(lane, BERTH_FRAME_START, 0, payload, 10), ==, 0);
    }
    g_assert_cmpint(berth_lane_put(lane, BERTH_FRAME_START, 0, payload, 10), <, 0);
    berth_lane_init(lane);
    for (int i = 0; i < 4; i++) {
        g_assert_cmpint(berth_lane_put(lane, BERTH_FRAME_BLOB, 0, payload, sizeof payload), ==, 0);
    }
    g_assert_cmpint(berth_lane_put(lane, BERTH_FRAME_BLOB, 0, payload, sizeof payload), <, 0);
    g_free(lane);
}

static void
test_lane_refuses_acknowledgements_of_what_was_never_sent(void)
{
    BerthLane *lane = g_new(BerthLane, 1);
    gsize size;
    berth_lane_init(lane);
    berth_lane_put(lane, BERTH_FRAME_START, 0, NULL, 0);
    BerthFrame frame = {.type = BERTH_FRAME_ACK, .acked = 1};
    g_assert_cmpint(berth_lane_accept(lane, &frame), ==, BERTH_LANE_BROKEN);
    g_assert_nonnull(berth_lane_take(lane, &size));
    g_assert_cmpint(berth_lane_accept(lane, &frame), ==, BERTH_LANE_NEW);
    g_assert_true(berth_lane_is_idle(lane));
    frame.acked = 2;
    g_assert_cmpint(berth_lane_accept(lane, &frame), ==, BERTH_LANE_BROKEN);
    frame = (BerthFrame){.type = BERTH_FRAME_STATE, .sequence = 2, .acked = 1};
    g_assert_cmpint(berth_lane_accept(lane, &frame), ==, BERTH_LANE_BROKEN);
    frame.sequence = 1;
    g_assert_cmpint(berth_lane_accept(lane, &frame), ==, BERTH_LANE_NEW);
    g_assert_cmpint(berth_lane_accept(lane, &frame), ==, BERTH_LANE_DUPLICATE);
    g_free(lane);
}

/* ---- golden frames of this release -------------------------------------------------------------- */

static void
append_golden(GString *golden, const char *name, const BerthFrame *frame)
{
    guint8 bytes[BERTH_FRAME_MAX];
    gsize size = berth_frame_encode(frame, bytes);
    g_string_append_printf(golden, "%s ", name);
    for (gsize i = 0; i < size; i++) {
        g_string_append_printf(golden, "%02x", bytes[i]);
    }
    g_string_append_c(golden, '\n');
}

static char *
make_golden(void)
{
    guint8 payload[512];
    BerthWriter writer;
    GString *golden = g_string_new(NULL);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_MAJOR, 1);
    berth_write_u64(&writer, BERTH_TAG_MINOR, 0);
    berth_write_u64(&writer, BERTH_TAG_NONCE, 0x1122334455667788);
    berth_write_u64(&writer, BERTH_TAG_ATTEMPT, 2);
    BerthFrame hello = {BERTH_FRAME_HELLO, 0, 0, 5, payload, writer.used};
    append_golden(golden, "hello", &hello);
    BerthFrame ack = {BERTH_FRAME_ACK, 0, 0, 0xfffffffe, NULL, 0};
    append_golden(golden, "ack", &ack);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_RUN, 1);
    BerthFrame start = {BERTH_FRAME_START, 3, 1, 0, payload, writer.used};
    append_golden(golden, "start", &start);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_SEQUENCE, 42);
    berth_write_u64(&writer, BERTH_TAG_WALL_US, 1700000000000000);
    berth_write_u64(&writer, BERTH_TAG_FD, 2);
    berth_write_text(&writer, BERTH_TAG_DATA, "err\n");
    BerthFrame log = {BERTH_FRAME_LOG, 0, 0, 1, payload, writer.used};
    append_golden(golden, "log", &log);
    return g_string_free(golden, FALSE);
}

static void
test_frames_of_release_1_0_have_not_changed(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "unit", "guest", "golden",
                                                  "guest-protocol-1.0.frames", NULL);
    g_autofree char *golden = NULL, *made = make_golden();
    if (g_getenv("BERTH_GOLDEN_WRITE") != NULL) {
        g_assert_true(g_file_set_contents(path, made, -1, NULL));
    }
    g_assert_true(g_file_get_contents(path, &golden, NULL, NULL));
    g_assert_cmpstr(made, ==, golden);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest/protocol/reads-frames-cut-at-each-byte",
                    test_reads_frames_cut_at_each_byte);
    g_test_add_func("/guest/protocol/notices-every-changed-bit", test_notices_every_changed_bit);
    g_test_add_func("/guest/protocol/finds-the-next-frame-behind-the-remains-of-another",
                    test_finds_the_next_frame_behind_the_remains_of_another);
    g_test_add_func("/guest/protocol/never-gives-a-frame-for-noise",
                    test_never_gives_a_frame_for_noise);
    g_test_add_func("/guest/protocol/refuses-fields-that-reach-beyond-the-payload",
                    test_refuses_fields_that_reach_beyond_the_payload);
    g_test_add_func("/guest/protocol/writer-notes-what-does-not-fit",
                    test_writer_notes_what_does_not_fit);
    g_test_add_func("/guest/lane/holds-no-more-than-its-credit",
                    test_lane_holds_no_more_than_its_credit);
    g_test_add_func("/guest/lane/refuses-acknowledgements-of-what-was-never-sent",
                    test_lane_refuses_acknowledgements_of_what_was_never_sent);
    g_test_add_func("/guest/protocol/frames-of-release-1.0-have-not-changed",
                    test_frames_of_release_1_0_have_not_changed);
    return g_test_run();
}
