/* The guest link with a hostile guest: it is cut off, it costs bounded memory, and its text is data. Rows G1 to G4
 * of the catalogue of failures. */
#include "tests/unit/drivers/guest-wire.h"

#include <string.h>

static void
feed(Wire *wire, const void *data, gsize size)
{
    if (wire->channel != NULL) {
        wire->watch->received(data, size, wire->watch_data);
    }
}

static void
feed_frame(Wire *wire, guint8 type, guint32 stream, guint32 sequence, guint32 acked,
           const BerthWriter *writer)
{
    guint8 bytes[BERTH_FRAME_MAX];
    BerthFrame frame = {type, stream, sequence, acked, writer->data, writer->used};
    feed(wire, bytes, berth_frame_encode(&frame, bytes));
}

/* Answers the greeting as a sound guest would, by echoing what the daemon said. */
static void
answer_hello(Wire *wire)
{
    BerthFrame frame;
    guint8 payload[256];
    BerthWriter writer;
    g_autofree BerthDecoder *decoder = g_new0(BerthDecoder, 1);
    berth_decoder_feed(decoder, wire->to_guest->data, wire->to_guest->len);
    g_assert_true(berth_decoder_next(decoder, &frame));
    g_assert_cmpuint(frame.type, ==, BERTH_FRAME_HELLO);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_MAJOR, 1);
    berth_write_u64(&writer, BERTH_TAG_NONCE, berth_frame_u64(&frame, BERTH_TAG_NONCE, 0));
    berth_write_u64(&writer, BERTH_TAG_ATTEMPT, berth_frame_u64(&frame, BERTH_TAG_ATTEMPT, 0));
    berth_write_u64(&writer, BERTH_TAG_BOOT_NONCE, 77);
    g_byte_array_set_size(wire->to_guest, 0);
    feed_frame(wire, BERTH_FRAME_HELLO, 0, 0, 0, &writer);
}

static Wire *
hostile_wire(guint32 seed)
{
    Wire *wire = wire_new(seed, FALSE);
    answer_hello(wire);
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_READY);
    return wire;
}

static void
assert_cut_by(Wire *wire, const char *part)
{
    g_assert_cmpuint(wire->brokens, ==, 1);
    g_assert_nonnull(strstr(wire->error, part));
    g_assert_null(wire->channel);
    wire_free(wire);
}

static void
test_cuts_a_guest_that_sends_no_frames(void)
{
    Wire *wire = hostile_wire(20);
    guint8 huge[64];
    memset(huge, 0xff, sizeof huge); /* announces 4 GiB in any field there is */
    feed(wire, huge, sizeof huge);
    assert_cut_by(wire, "no frame");
}

static void
test_cuts_a_half_frame_after_its_time(void)
{
    Wire *wire = hostile_wire(21);
    guint8 bytes[BERTH_FRAME_MAX], payload[1000] = {0};
    BerthFrame frame = {BERTH_FRAME_STATE, 0, 1, 0, payload, sizeof payload};
    gsize size = berth_frame_encode(&frame, bytes);
    for (gsize i = 0; i < size - 1 && wire->brokens == 0; i++) { /* a byte a minute */
        feed(wire, bytes + i, 1);
        wire_pass_time(wire, G_USEC_PER_SEC);
    }
    assert_cut_by(wire, "did not finish a frame");
}

static void
test_greeting_of_another_session_is_not_believed(void)
{
    Wire *wire = wire_new(22, FALSE);
    guint8 payload[256];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_MAJOR, 1);
    berth_write_u64(&writer, BERTH_TAG_NONCE, 12345);
    berth_write_u64(&writer, BERTH_TAG_ATTEMPT, 1);
    feed_frame(wire, BERTH_FRAME_HELLO, 0, 0, 0, &writer);
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_CONNECTING);
    g_assert_cmpuint(berth_link_counters(wire->link)->unknown, ==, 1);
    wire_free(wire);
}

static void
test_answers_to_nothing_are_counted_and_dropped(void)
{
    Wire *wire = hostile_wire(23);
    guint8 payload[64];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_STATE, 3);
    berth_write_u64(&writer, BERTH_TAG_OFFSET, 1u << 30);
    feed_frame(wire, BERTH_FRAME_STATE, 99, 1, 0, &writer);
    feed_frame(wire, BERTH_FRAME_OUTPUT, 99, 0, 0, &writer);
    feed_frame(wire, BERTH_FRAME_LOG, 15, 0, 0, &writer);
    feed_frame(wire, BERTH_FRAME_INPUT_ACK, 7, 2, 0, &writer);
    feed_frame(wire, 200, 7, 3, 0, &writer);
    feed_frame(wire, BERTH_FRAME_STATE, 99, 3, 0, &writer); /* again */
    g_assert_cmpuint(berth_link_counters(wire->link)->unknown, ==, 5);
    g_assert_cmpuint(berth_link_counters(wire->link)->duplicate, ==, 1);
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_READY);
    wire_free(wire);
}

static BerthProcessId
ask_for_exec(Wire *wire)
{
    g_autoptr(GError) error = NULL;
    BerthLinkExec wish = {.process = "{}", .user = ""};
    BerthProcessId id = berth_link_exec(wire->link, &wish, &error);
    g_assert_no_error(error);
    g_assert_null(wire->error);
    return id;
}

/* It acknowledges whatever it is told, and that is all it does; returns whether it was told @type. */
static gboolean
nod_for_a_second(Wire *wire, BerthFrameType type)
{
    g_autofree BerthDecoder *decoder = g_new0(BerthDecoder, 1);
    BerthWriter nothing = {0};
    BerthFrame frame;
    gboolean told = FALSE;
    wire_pass_time(wire, G_USEC_PER_SEC);
    berth_decoder_feed(decoder, wire->to_guest->data, wire->to_guest->len);
    g_byte_array_set_size(wire->to_guest, 0);
    while (berth_decoder_next(decoder, &frame)) {
        wire->heard = frame.sequence;
        told = told || frame.type == type;
    }
    feed_frame(wire, BERTH_FRAME_ACK, 0, 0, wire->heard, &nothing);
    return told;
}

static void
assert_waits(Wire *wire, int seconds)
{
    for (int second = 0; second < seconds; second++) {
        g_assert_cmpstr(wire->error, ==, NULL);
        nod_for_a_second(wire, BERTH_FRAME_ACK);
    }
    g_assert_cmpstr(wire->error, ==, NULL);
}

static void
test_gives_up_an_exec_that_the_guest_never_starts(void)
{
    Wire *wire = hostile_wire(31);
    ask_for_exec(wire);
    assert_waits(wire, 29);
    g_assert_true(nod_for_a_second(wire, BERTH_FRAME_SIGNAL)); /* as soon as it is given up */
    g_assert_nonnull(strstr(wire->error, "did not start the command in 30 s"));
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_READY);
    wire_free(wire);
}

static void
feed_output(Wire *wire, BerthProcessId id, guint64 offset, gsize size)
{
    guint8 payload[BERTH_CHUNK_MAX + 64], data[BERTH_CHUNK_MAX] = {0};
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_FD, 1);
    berth_write_u64(&writer, BERTH_TAG_OFFSET, offset);
    berth_write_bytes(&writer, BERTH_TAG_DATA, data, size);
    feed_frame(wire, BERTH_FRAME_OUTPUT, id, 0, 0, &writer);
}

static void
feed_exit(Wire *wire, guint32 process, guint32 sequence, BerthTag announced, guint64 end)
{
    guint8 payload[64];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_STATE, BERTH_PROCESS_EXITED);
    berth_write_u64(&writer, BERTH_TAG_RUN, 1);
    berth_write_u64(&writer, announced, end);
    feed_frame(wire, BERTH_FRAME_STATE, process, sequence, 0, &writer);
}

static void
test_gives_up_output_that_was_announced_and_never_comes(void)
{
    Wire *wire = hostile_wire(32);
    BerthProcessId id = ask_for_exec(wire);
    feed_output(wire, id, 0, 5);
    assert_waits(wire, 40); /* it runs as long as it likes */
    feed_exit(wire, id, 1, BERTH_TAG_STDOUT_END, 1000);
    assert_waits(wire, 29);
    feed_output(wire, id, 5, 1); /* has all its time again, from the acknowledgement on */
    assert_waits(wire, 30);
    nod_for_a_second(wire, BERTH_FRAME_ACK);
    g_assert_cmpstr(wire->error, ==,
                    "the guest announced 1000 bytes of the command's stdout and sent 6; "
                    "nothing came for 30 s");
    g_assert_cmpuint(wire->output[1]->len, ==, 6);
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_READY);
    feed_output(wire, id, 6, 994); /* comes to nobody now */
    g_assert_cmpuint(wire->output[1]->len, ==, 6);
    for (int i = 0; i < 16; i++) { /* nothing of it is left */
        g_clear_pointer(&wire->error, g_free);
        ask_for_exec(wire);
    }
    wire_free(wire);
}

/* Nobody reads at our end: that is no fault of the guest, which may not send the rest. */
static void
test_waits_for_output_that_the_guest_may_not_send(void)
{
    Wire *wire = hostile_wire(33);
    BerthProcessId id = ask_for_exec(wire);
    wire->ack_output = FALSE;
    for (guint64 sent = 0; sent < BERTH_OUTPUT_WINDOW; sent += 2048) {
        feed_output(wire, id, sent, 2048);
    }
    feed_exit(wire, id, 1, BERTH_TAG_STDOUT_END, BERTH_OUTPUT_WINDOW + 1);
    assert_waits(wire, 100);
    berth_link_output_ack(wire->link, id, BERTH_STREAM_STDOUT, BERTH_OUTPUT_WINDOW);
    assert_waits(wire, 29); /* so much at once is acknowledged without delay */
    nod_for_a_second(wire, BERTH_FRAME_ACK);
    g_assert_nonnull(strstr(wire->error, "announced 32769 bytes"));
    wire_free(wire);
}

static void
test_gives_up_log_that_was_announced_and_never_comes(void)
{
    Wire *wire = hostile_wire(34);
    wire_configure(wire, FALSE);
    berth_link_start(wire->link, 0, 1);
    feed_exit(wire, 0, 1, BERTH_TAG_SEQUENCE, 7);
    assert_waits(wire, 29);
    g_assert_cmpuint(wire->container_failed, ==, 0);
    nod_for_a_second(wire, BERTH_FRAME_ACK);
    g_assert_cmpuint(wire->container_failed, ==, 1);
    g_assert_cmpint(wire->container_code, ==, 125);
    g_assert_cmpstr(wire->container_text, ==,
                    "the guest announced log record 7 of the container and sent 0; "
                    "nothing came for 30 s");
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_READY);
    wire_free(wire);
}

static void
test_cuts_an_acknowledgement_of_what_was_never_sent(void)
{
    Wire *wire = hostile_wire(24);
    BerthWriter nothing = {0};
    feed_frame(wire, BERTH_FRAME_ACK, 0, 0, 1000, &nothing);
    assert_cut_by(wire, "out of order");
}

static void
test_cuts_a_flood_of_free_frames(void)
{
    Wire *wire = hostile_wire(25);
    BerthWriter nothing = {0};
    gsize before = wire_memory_in_use();
    for (int i = 0; i < 200000 && wire->brokens == 0; i++) {
        feed_frame(wire, BERTH_FRAME_ACK, 0, 0, 0, &nothing);
    }
    wire_assert_grew_at_most(before, 1024 * 1024);
    assert_cut_by(wire, "floods");
}

static void
test_cuts_log_beyond_its_credit_within_bounded_memory(void)
{
    Wire *wire = hostile_wire(26);
    guint8 payload[BERTH_PAYLOAD_MAX], data[8000] = {0};
    wire_configure(wire, FALSE);
    wire->ack_logs = FALSE;
    gsize before = wire_memory_in_use();
    for (guint64 sequence = 1; sequence < 10000 && wire->brokens == 0; sequence++) {
        BerthWriter writer;
        berth_writer_init(&writer, payload, sizeof payload);
        berth_write_u64(&writer, BERTH_TAG_SEQUENCE, sequence);
        berth_write_u64(&writer, BERTH_TAG_FD, 1);
        berth_write_bytes(&writer, BERTH_TAG_DATA, data, sizeof data);
        feed_frame(wire, BERTH_FRAME_LOG, 0, 0, 0, &writer);
    }
    wire_assert_grew_at_most(before, 2 * 1024 * 1024);
    assert_cut_by(wire, "credit");
}

static void
test_cuts_log_that_jumps_in_its_numbers(void)
{
    Wire *wire = hostile_wire(27);
    guint8 payload[64];
    BerthWriter writer;
    wire_configure(wire, FALSE);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_SEQUENCE, 5);
    berth_write_u64(&writer, BERTH_TAG_FD, 1);
    feed_frame(wire, BERTH_FRAME_LOG, 0, 0, 0, &writer);
    assert_cut_by(wire, "log record 5");
}

static void
test_makes_the_guests_text_printable(void)
{
    Wire *wire = wire_new(28, TRUE);
    wire_settle(wire);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    wire_configure(wire, FALSE);
    berth_link_start(wire->link, 0, 1);
    wire_settle(wire);
    berth_core_started(wire->core, 0);
    BerthProcessId id = berth_link_exec(wire->link, &wish, NULL);
    wire_settle(wire);
    berth_core_failed(wire->core, id, 127, "no \033[31m\n\xff file");
    wire_settle(wire);
    g_assert_cmpstr(wire->error, ==, "no ?[31m?? file");
    g_assert_cmpint(wire->exec_code, ==, 127);
    wire_free(wire);
}

/* Whatever a guest sends, in whatever pieces, the link lives on or is cut; memory stays bounded. */
static void
test_survives_mutated_streams(void)
{
    for (guint32 seed = 1; seed <= 2000; seed++) {
        Wire *wire = wire_new(seed, TRUE);
        wire_run_pod(wire);
        for (int step = 0; step < 30; step++) {
            wire_say(wire);
            wire_move_a_piece(wire);
            if (wire->to_daemon->len > 0 && g_rand_int_range(wire->rand, 0, 5) == 0) {
                guint at = (guint)g_rand_int_range(wire->rand, 0, (gint32)wire->to_daemon->len);
                wire->to_daemon->data[at] ^= (guint8)(1 << g_rand_int_range(wire->rand, 0, 8));
            }
        }
        for (int round = 0; round < 10; round++) {
            wire_settle(wire);
            wire_pass_time(wire, 10 * G_USEC_PER_SEC);
        }
        wire_settle(wire);
        wire_assert_whole_log(wire); /* a sound guest behind a bad wire still loses nothing */
        wire_free(wire);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/drivers/guest-hostile/" path, function)
    ADD("cuts-a-guest-that-sends-no-frames", test_cuts_a_guest_that_sends_no_frames);
    ADD("cuts-a-half-frame-after-its-time", test_cuts_a_half_frame_after_its_time);
    ADD("greeting-of-another-session-is-not-believed",
        test_greeting_of_another_session_is_not_believed);
    ADD("answers-to-nothing-are-counted-and-dropped",
        test_answers_to_nothing_are_counted_and_dropped);
    ADD("gives-up-an-exec-that-the-guest-never-starts",
        test_gives_up_an_exec_that_the_guest_never_starts);
    ADD("gives-up-output-that-was-announced-and-never-comes",
        test_gives_up_output_that_was_announced_and_never_comes);
    ADD("waits-for-output-that-the-guest-may-not-send",
        test_waits_for_output_that_the_guest_may_not_send);
    ADD("gives-up-log-that-was-announced-and-never-comes",
        test_gives_up_log_that_was_announced_and_never_comes);
    ADD("cuts-an-acknowledgement-of-what-was-never-sent",
        test_cuts_an_acknowledgement_of_what_was_never_sent);
    ADD("cuts-a-flood-of-free-frames", test_cuts_a_flood_of_free_frames);
    ADD("cuts-log-beyond-its-credit-within-bounded-memory",
        test_cuts_log_beyond_its_credit_within_bounded_memory);
    ADD("cuts-log-that-jumps-in-its-numbers", test_cuts_log_that_jumps_in_its_numbers);
    ADD("makes-the-guests-text-printable", test_makes_the_guests_text_printable);
    ADD("survives-mutated-streams", test_survives_mutated_streams);
#undef ADD
    return g_test_run();
}
