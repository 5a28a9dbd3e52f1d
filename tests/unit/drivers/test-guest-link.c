/* Both real ends of the guest link, joined by a wire that the test cuts where it likes: commands are
 * done once, logs arrive complete and in order, and a hostile guest costs bounded memory. */
#include "base/error.h"
#include "drivers/guest-link.h"
#include "guest/core.h"

#include <string.h>
#include <stdio.h>
#include <unistd.h>

typedef struct Wire Wire;

typedef struct {
    BerthChannel base;
    Wire *wire;
} FakeChannel;

/* One pod with two scripted containers; container 0's log is what say() wrote. */
struct Wire {
    BerthManualClock clock;
    BerthSeededRandom random;
    GRand *rand;
    BerthCore *core; /* NULL: the test plays the guest by hand */
    BerthLink *link;
    FakeChannel *channel;
    const BerthChannelWatch *watch;
    gpointer watch_data;
    GByteArray *to_guest, *to_daemon;
    gboolean ack_logs, ack_output;
    /* the guest's world */
    guint starts, configures, powered_off;
    int last_signal;
    guint signals, signals_sent; /* numbered 1 … 60 over and over, so that order shows */
    gboolean signals_in_order;
    GString *input;
    gsize input_limit;
    gboolean input_ended;
    guint said;
    /* what the daemon heard */
    guint64 next_sequence, gaps, lost_until;
    GString *log[3], *output[3];
    guint readies, resumed, brokens, closeds, exec_starts;
    gboolean unreachable; /* the host of the guest: no channel can be had */
    guint opens;
    int exec_code, container_code;
    guint container_ended;
    BerthLinkHello hello;
    char *error;
    BerthLinkUsage usage;
};

/* ---- the scripted runtime ----------------------------------------------------------------------- */

static int64_t
fake_monotonic_us(void *runtime)
{
    return ((Wire *)runtime)->clock.monotonic_us;
}

static int64_t
fake_wall_us(void *runtime)
{
    return ((Wire *)runtime)->clock.wall_us;
}

static int
fake_configure(void *runtime, const BerthPod *pod, char *text, size_t size)
{
    Wire *wire = runtime;
    wire->configures++;
    g_assert_cmpstr(pod->hostname, ==, "box");
    g_assert_cmpuint(pod->container_count, ==, 2);
    g_assert_cmpuint(strlen(pod->containers[0].config), ==, 20000);
    return 0;
}

static void
fake_start(void *runtime, const BerthPod *pod, unsigned container)
{
    ((Wire *)runtime)->starts++;
}

static void
fake_exec(void *runtime, const BerthPod *pod, const BerthPodExec *exec)
{
    g_assert_cmpstr(exec->process, ==, "{\"user\":{}}");
    ((Wire *)runtime)->starts++;
}

static void
fake_signal(void *runtime, uint32_t process, int signum)
{
    Wire *wire = runtime;
    wire->last_signal = signum;
    wire->signals_in_order = wire->signals_in_order && signum == 1 + (int)(wire->signals % 60);
    wire->signals++;
}

static void
fake_resize(void *runtime, uint32_t process, unsigned rows, unsigned columns)
{
}

static long
fake_input(void *runtime, uint32_t process, const uint8_t *data, size_t size)
{
    Wire *wire = runtime;
    size = MIN(size, wire->input_limit);
    wire->input_limit -= size;
    g_string_append_len(wire->input, (const char *)data, (gssize)size);
    return (long)size;
}

static void
fake_input_end(void *runtime, uint32_t process)
{
    ((Wire *)runtime)->input_ended = TRUE;
}

static void
fake_output_wanted(void *runtime, uint32_t process)
{
}

static int
fake_usage(void *runtime, unsigned container, BerthPodUsage *usage)
{
    *usage = (BerthPodUsage){.cpu_us = 7, .memory_bytes = G_MAXUINT64, .pids = container};
    return 0;
}

static void
fake_power_off(void *runtime)
{
    ((Wire *)runtime)->powered_off++;
}

static const BerthRuntime runtime_ops = {
    .monotonic_us = fake_monotonic_us,
    .wall_us = fake_wall_us,
    .configure = fake_configure,
    .start = fake_start,
    .exec = fake_exec,
    .signal = fake_signal,
    .resize = fake_resize,
    .input = fake_input,
    .input_end = fake_input_end,
    .output_wanted = fake_output_wanted,
    .usage = fake_usage,
    .power_off = fake_power_off,
};

/* ---- the wire ----------------------------------------------------------------------------------- */

static void
fake_send(BerthChannel *channel, GBytes *bytes)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(bytes, &size);
    g_byte_array_append(((FakeChannel *)channel)->wire->to_guest, data, (guint)size);
}

static void
fake_close(BerthChannel *channel)
{
    Wire *wire = ((FakeChannel *)channel)->wire;
    wire->channel = NULL;
    g_byte_array_set_size(wire->to_guest, 0);
    if (wire->core != NULL) {
        berth_core_link_down(wire->core);
    }
    g_free(channel);
}

static const BerthChannelOps channel_ops = {fake_send, fake_close};

static BerthChannel *
fake_open(gboolean force, const BerthChannelWatch *watch, gpointer watch_data, gpointer open_data)
{
    Wire *wire = open_data;
    wire->opens++;
    if (wire->unreachable) {
        return NULL;
    }
    wire->channel = g_new(FakeChannel, 1);
    *wire->channel = (FakeChannel){{&channel_ops}, wire};
    wire->watch = watch;
    wire->watch_data = watch_data;
    return &wire->channel->base;
}

static gsize
some_of(Wire *wire, gsize size)
{
    return (gsize)g_rand_int_range(wire->rand, 1, (gint32)size + 1);
}

/* One random piece each way. Returns FALSE when there was nothing to move. */
static gboolean
move_a_piece(Wire *wire)
{
    guint8 out[3 * BERTH_FRAME_MAX];
    gboolean moved = FALSE;
    if (wire->core != NULL && wire->to_guest->len > 0) {
        gsize size = some_of(wire, wire->to_guest->len);
        berth_core_receive(wire->core, wire->to_guest->data, size);
        g_byte_array_remove_range(wire->to_guest, 0, (guint)size);
        moved = TRUE;
    }
    if (wire->core != NULL && wire->channel != NULL) {
        gsize size = berth_core_transmit(wire->core, out, sizeof out);
        g_byte_array_append(wire->to_daemon, out, (guint)size);
        moved = moved || size > 0;
    }
    if (wire->channel != NULL && wire->to_daemon->len > 0) {
        gsize size = some_of(wire, wire->to_daemon->len);
        g_autofree guint8 *piece = g_memdup2(wire->to_daemon->data, size);
        g_byte_array_remove_range(wire->to_daemon, 0, (guint)size);
        wire->watch->received(piece, size, wire->watch_data);
        moved = TRUE;
    }
    return moved;
}

static void
pass_time(Wire *wire, gint64 us)
{
    berth_manual_clock_advance(&wire->clock, us);
    if (wire->core != NULL) {
        berth_core_tick(wire->core);
    }
    if (wire->link != NULL) {
        berth_link_tick(wire->link);
    }
}

/* Until nothing moves any more, then past the delays of acknowledgements, a few times over. */
static void
settle(Wire *wire)
{
    for (int round = 0; round < 6; round++) {
        while (move_a_piece(wire)) {
        }
        pass_time(wire, 50000);
    }
}

/* The stream ends wherever it happens to be; what is under way is lost, or its head stays behind. */
static void
cut(Wire *wire)
{
    if (wire->channel == NULL) {
        return;
    }
    g_autoptr(GError) error = g_error_new(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE, "cut");
    if (wire->to_daemon->len > 0) {
        g_byte_array_set_size(wire->to_daemon,
                              (guint)g_rand_int_range(wire->rand, 0, (gint32)wire->to_daemon->len));
    }
    if (wire->to_guest->len > 0 && g_rand_boolean(wire->rand)) {
        berth_core_receive(wire->core, wire->to_guest->data, some_of(wire, wire->to_guest->len));
    }
    wire->watch->closed(error, wire->watch_data);
    pass_time(wire, 20 * G_USEC_PER_SEC); /* past any back-off */
}

/* ---- the daemon's ears -------------------------------------------------------------------------- */

static void
on_ready(const BerthLinkHello *hello, gpointer user_data)
{
    Wire *wire = user_data;
    wire->readies++;
    wire->resumed += hello->resumed != FALSE;
    wire->hello = *hello;
}

static void
on_configured(const GError *error, gpointer user_data)
{
    g_assert_no_error(error);
}

static void
on_log(guint container, guint64 sequence, gint64 wall_us, BerthLinkStream stream,
       const guint8 *data, gsize size, gpointer user_data)
{
    Wire *wire = user_data;
    if (stream == BERTH_STREAM_GAP) {
        wire->gaps += size;
        wire->lost_until = sequence;
    } else {
        g_assert_cmpuint(sequence, ==, wire->next_sequence);
        g_string_append_len(wire->log[stream], (const char *)data, (gssize)size);
    }
    wire->next_sequence = sequence + 1;
    if (wire->ack_logs) {
        berth_link_log_ack(wire->link, container, sequence);
    }
}

static void
on_container(guint container, const BerthLinkContainer *state, gpointer user_data)
{
    Wire *wire = user_data;
    if (container == 0 && state->state == BERTH_CONTAINER_EXITED) {
        wire->container_ended++;
        wire->container_code = state->exit_code;
    }
}

static void
on_output(BerthProcessId exec, BerthLinkStream stream, const guint8 *data, gsize size,
          gpointer user_data)
{
    Wire *wire = user_data;
    g_string_append_len(wire->output[stream], (const char *)data, (gssize)size);
    if (wire->ack_output) {
        berth_link_output_ack(wire->link, exec, stream, size);
    }
}

static void
on_exec_started(BerthProcessId exec, gpointer user_data)
{
    ((Wire *)user_data)->exec_starts++;
}

static void
on_exec_exited(BerthProcessId exec, int exit_code, const GError *error, gpointer user_data)
{
    Wire *wire = user_data;
    wire->exec_code = exit_code;
    g_free(wire->error);
    wire->error = error == NULL ? NULL : g_strdup(error->message);
}

static void
on_stats(const BerthLinkUsage *usage, gsize count, gpointer user_data)
{
    g_assert_cmpuint(count, ==, 2);
    ((Wire *)user_data)->usage = usage[1];
}

static void
on_broken(const GError *error, gpointer user_data)
{
    Wire *wire = user_data;
    wire->brokens++;
    g_free(wire->error);
    wire->error = g_strdup(error->message);
}

static void
on_link_closed(const GError *error, gpointer user_data)
{
    Wire *wire = user_data;
    wire->closeds++;
    g_free(wire->error);
    wire->error = error == NULL ? NULL : g_strdup(error->message);
}

static const BerthLinkWatch watch = {
    .ready = on_ready,
    .configured = on_configured,
    .log = on_log,
    .container = on_container,
    .output = on_output,
    .exec_started = on_exec_started,
    .exec_exited = on_exec_exited,
    .stats = on_stats,
    .broken = on_broken,
    .closed = on_link_closed,
};

static void
new_link(Wire *wire, guint64 sequence)
{
    BerthLinkResume resume[] = {{"web", sequence}, {"side", 0}};
    BerthLinkOptions options = {
        .open = fake_open,
        .open_data = wire,
        .clock = &wire->clock.base,
        .random = &wire->random.base,
        .resume = resume,
        .resume_count = sequence > 0 ? 2 : 0,
        .hello_deadline_us = 60 * G_USEC_PER_SEC,
    };
    wire->link = berth_link_new(&options, &watch, wire);
    berth_link_tick(wire->link);
}

static void
new_guest(Wire *wire)
{
    BerthIdentity identity = {.boot_nonce = berth_random_u64(&wire->random.base) | 1,
                              .os_digest = "abc",
                              .kernel = "6.1"};
    wire->core = berth_core_new(&runtime_ops, wire, &identity);
}

static Wire *
wire_new(guint32 seed, gboolean real_guest)
{
    Wire *wire = g_new0(Wire, 1);
    berth_manual_clock_init(&wire->clock, 1700000000000000);
    berth_seeded_random_init(&wire->random, seed);
    wire->rand = g_rand_new_with_seed(seed);
    wire->to_guest = g_byte_array_new();
    wire->to_daemon = g_byte_array_new();
    wire->input = g_string_new(NULL);
    wire->ack_logs = wire->ack_output = TRUE;
    wire->next_sequence = 1;
    wire->input_limit = G_MAXSIZE;
    wire->container_code = wire->exec_code = -1;
    for (int i = 0; i < 3; i++) {
        wire->log[i] = g_string_new(NULL);
        wire->output[i] = g_string_new(NULL);
    }
    if (real_guest) {
        new_guest(wire);
    }
    new_link(wire, 0);
    return wire;
}

static void
wire_free(Wire *wire)
{
    berth_link_free(wire->link);
    berth_core_free(wire->core);
    g_rand_free(wire->rand);
    g_byte_array_unref(wire->to_guest);
    g_byte_array_unref(wire->to_daemon);
    g_string_free(wire->input, TRUE);
    for (int i = 0; i < 3; i++) {
        g_string_free(wire->log[i], TRUE);
        g_string_free(wire->output[i], TRUE);
    }
    g_free(wire->error);
    g_free(wire);
}

static void
configure_with(Wire *wire, gboolean exec_denied)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *big = g_strnfill(20000, 'j');
    BerthLinkContainerPlan containers[] = {
        {.name = "web", .image_serial = "img0", .config = big, .user = "", .stdin_open = TRUE},
        {.name = "side", .image_serial = "img1", .config = "{}", .user = "1:2"},
    };
    BerthLinkConfig config = {.exec_denied = exec_denied,
                              .id = 9,
                              .hostname = "box",
                              .containers = containers,
                              .container_count = 2};
    berth_link_configure(wire->link, &config, &error);
    g_assert_no_error(error);
}

static void
configure(Wire *wire)
{
    configure_with(wire, FALSE);
}

static void
run_pod(Wire *wire)
{
    settle(wire);
    g_assert_cmpuint(wire->readies, ==, 1);
    configure(wire);
    berth_link_start(wire->link, 0, 1);
    settle(wire);
    g_assert_cmpuint(wire->starts, ==, 1);
    berth_core_started(wire->core, 0);
    settle(wire);
}

/* A line of container 0, as far as it is not held back. */
static gboolean
say(Wire *wire)
{
    char line[64];
    int size = g_snprintf(line, sizeof line, "line %u of the log\n", wire->said);
    if (berth_core_output_room(wire->core, 0, 1) < (gsize)size) {
        return FALSE;
    }
    wire->said++;
    berth_core_output(wire->core, 0, 1, (const guint8 *)line, (gsize)size);
    return TRUE;
}

static void
assert_whole_log(const Wire *wire)
{
    g_autoptr(GString) expected = g_string_new(NULL);
    for (guint i = 0; i < wire->said; i++) {
        g_string_append_printf(expected, "line %u of the log\n", i);
    }
    g_assert_cmpuint(expected->len, ==, wire->log[1]->len);
    g_assert_cmpstr(expected->str, ==, wire->log[1]->str);
}

/* ---- sound guests ------------------------------------------------------------------------------- */

static void
test_greets_configures_and_runs_to_the_exit_code(void)
{
    Wire *wire = wire_new(1, TRUE);
    run_pod(wire);
    g_assert_cmpstr(wire->hello.kernel, ==, "6.1");
    g_assert_cmpuint(wire->hello.config_id, ==, 0);
    g_assert_cmpuint(wire->configures, ==, 1);
    say(wire);
    berth_core_output(wire->core, 0, 2, (const guint8 *)"oops", 4);
    berth_core_exited(wire->core, 0, 7, FALSE);
    settle(wire);
    assert_whole_log(wire);
    g_assert_cmpstr(wire->log[2]->str, ==, "oops");
    g_assert_cmpint(wire->container_code, ==, 7);
    berth_link_start(wire->link, 0, 1); /* the same run: not again */
    settle(wire);
    g_assert_cmpuint(wire->starts, ==, 1);
    berth_link_start(wire->link, 0, 2);
    settle(wire);
    g_assert_cmpuint(wire->starts, ==, 2);
    wire_free(wire);
}

static void
test_loses_and_doubles_nothing_over_random_cuts(void)
{
    guint32 seeds = g_test_thorough() ? 100000 : 10000;
    for (guint32 seed = 1; seed <= seeds; seed++) {
        Wire *wire = wire_new(seed, TRUE);
        run_pod(wire);
        wire->signals_in_order = TRUE;
        for (int step = 0; step < 60; step++) {
            int what = g_rand_int_range(wire->rand, 0, 20);
            if (what < 9) {
                say(wire);
            } else if (what == 9) {
                cut(wire);
            } else if (what <= 11) {
                berth_link_signal(wire->link, 0, 1 + (int)(wire->signals_sent++ % 60));
            } else if (what == 12) {
                pass_time(wire, 30000);
            } else {
                move_a_piece(wire);
            }
        }
        for (int round = 0; round < 3 && wire->signals < wire->signals_sent; round++) {
            settle(wire);
            pass_time(wire, 11 * G_USEC_PER_SEC);
        }
        g_assert_cmpuint(wire->signals, ==, wire->signals_sent);
        g_assert_true(wire->signals_in_order);
        berth_core_exited(wire->core, 0, 3, FALSE);
        for (int round = 0; round < 3 && wire->container_ended == 0; round++) {
            settle(wire);
            pass_time(wire, 11 * G_USEC_PER_SEC);
        }
        settle(wire);
        assert_whole_log(wire);
        g_assert_cmpint(wire->container_code, ==, 3);
        g_assert_cmpuint(wire->gaps, ==, 0);
        g_assert_cmpuint(wire->readies, ==, wire->resumed + 1);
        wire_free(wire);
    }
}

static void
test_daemon_restart_goes_on_after_what_was_written(void)
{
    for (guint32 seed = 1; seed <= 500; seed++) {
        Wire *wire = wire_new(seed, TRUE);
        run_pod(wire);
        for (int step = 0; step < 40; step++) {
            say(wire);
            move_a_piece(wire);
            if (step == 20) {
                /* killed: what was received but not acknowledged by its log file is forgotten */
                guint64 written = wire->next_sequence - 1;
                berth_link_free(wire->link);
                for (int lines = 0; lines < 5; lines++) {
                    say(wire);
                }
                new_link(wire, written);
            }
        }
        settle(wire);
        g_assert_cmpuint(wire->hello.config_id, ==, 9);
        assert_whole_log(wire);
        g_assert_cmpuint(wire->configures, ==, 1);
        berth_link_stop(wire->link, 0, 1000);
        settle(wire);
        g_assert_cmpint(wire->last_signal, ==, 15);
        wire_free(wire);
    }
}

static void
test_holds_the_container_back_while_nobody_writes_its_log(void)
{
    Wire *wire = wire_new(3, TRUE);
    run_pod(wire);
    wire->ack_logs = FALSE;
    while (say(wire)) {
        move_a_piece(wire);
    }
    settle(wire);
    g_assert_false(say(wire));
    g_assert_cmpuint(wire->log[1]->len, <=, 256 * 1024);
    g_assert_cmpuint(wire->brokens, ==, 0);
    wire->ack_logs = TRUE;
    berth_link_log_ack(wire->link, 0, wire->next_sequence - 1);
    settle(wire);
    g_assert_true(say(wire));
    settle(wire);
    assert_whole_log(wire);
    g_assert_cmpuint(wire->gaps, ==, 0);
    wire_free(wire);
}

static void
test_counts_what_a_full_ring_drops_while_the_link_is_down(void)
{
    guint8 block[8000];
    Wire *wire = wire_new(4, TRUE);
    run_pod(wire);
    say(wire);
    settle(wire);
    berth_link_free(wire->link);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 1000; i++) {
        g_assert_cmpuint(berth_core_output_room(wire->core, 0, 1), >=, sizeof block);
        berth_core_output(wire->core, 0, 1, block, sizeof block);
    }
    new_link(wire, 1);
    settle(wire);
    gsize got = wire->log[1]->len - strlen("line 0 of the log\n");
    g_assert_cmpuint(wire->gaps, >, 0);
    g_assert_cmpuint(got + wire->gaps, ==, 1000 * sizeof block);
    g_assert_cmpuint(got, >, 4 * 1000 * 1000);
    g_assert_cmpuint(wire->next_sequence, ==, 1002);
    wire_free(wire);
}

static void
test_execs_have_streams_input_and_an_exit_code(void)
{
    for (guint32 seed = 1; seed <= 200; seed++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) sent = g_string_new(NULL);
        g_autoptr(GString) made = g_string_new(NULL);
        Wire *wire = wire_new(seed, TRUE);
        run_pod(wire);
        BerthLinkExec wish = {.process = "{\"user\":{}}", .user = "", .stdin_open = TRUE};
        BerthProcessId id = berth_link_exec(wire->link, &wish, &error);
        g_assert_no_error(error);
        for (int i = 0; i < 4000; i++) {
            g_string_append_printf(sent, "in %d\n", i);
        }
        gsize offered = berth_link_stdin(wire->link, id, sent->str, sent->len);
        g_assert_cmpuint(offered, ==, sent->len);
        berth_link_stdin_eof(wire->link, id);
        settle(wire);
        g_assert_cmpuint(wire->starts, ==, 2);
        wire->input_limit = 10000;
        berth_core_started(wire->core, id);
        for (int i = 0; i < 200; i++) {
            char line[32];
            int size = g_snprintf(line, sizeof line, "out %d\n", i);
            if (berth_core_output_room(wire->core, id, 1) >= (gsize)size) {
                berth_core_output(wire->core, id, 1, (guint8 *)line, (gsize)size);
                g_string_append(made, line);
            }
            move_a_piece(wire);
            if (i % 50 == 30) {
                cut(wire);
            }
        }
        g_assert_cmpuint(wire->input->len, <=, 10000);
        wire->input_limit = G_MAXSIZE;
        berth_core_input_ready(wire->core, id);
        settle(wire);
        berth_core_exited(wire->core, id, 42, FALSE);
        settle(wire);
        g_assert_cmpstr(wire->input->str, ==, sent->str);
        g_assert_true(wire->input_ended);
        g_assert_cmpstr(wire->output[1]->str, ==, made->str);
        g_assert_cmpuint(wire->exec_starts, ==, 1);
        g_assert_cmpint(wire->exec_code, ==, 42);
        wire_free(wire);
    }
}

static void
test_an_exec_that_nobody_reads_is_held_back_alone(void)
{
    g_autoptr(GError) error = NULL;
    guint8 block[1000] = {0};
    Wire *wire = wire_new(6, TRUE);
    run_pod(wire);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    BerthProcessId id = berth_link_exec(wire->link, &wish, &error);
    settle(wire);
    berth_core_started(wire->core, id);
    wire->ack_output = FALSE;
    gsize total = 0;
    while (berth_core_output_room(wire->core, id, 1) >= sizeof block) {
        berth_core_output(wire->core, id, 1, block, sizeof block);
        total += sizeof block;
        settle(wire);
    }
    g_assert_cmpuint(total, <=, 32768);
    g_assert_true(say(wire));
    settle(wire);
    assert_whole_log(wire);
    wire->ack_output = TRUE;
    berth_link_output_ack(wire->link, id, BERTH_STREAM_STDOUT, total);
    settle(wire);
    g_assert_cmpuint(berth_core_output_room(wire->core, id, 1), ==, 32768);
    g_assert_cmpuint(wire->brokens, ==, 0);
    wire_free(wire);
}

static void
test_execs_of_a_daemon_that_is_gone_are_hung_up(void)
{
    Wire *wire = wire_new(12, TRUE);
    run_pod(wire);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    BerthProcessId old = berth_link_exec(wire->link, &wish, NULL);
    settle(wire);
    berth_core_started(wire->core, old);
    berth_core_output(wire->core, old, 1, (const guint8 *)"for nobody", 10);
    berth_link_free(wire->link);
    new_link(wire, 1);
    settle(wire);
    g_assert_cmpint(wire->last_signal, ==, 1);
    g_assert_cmpuint(berth_core_output_room(wire->core, old, 1), >, 0); /* not held back either */
    pass_time(wire, 11 * G_USEC_PER_SEC);
    g_assert_cmpint(wire->last_signal, ==, 9);
    BerthProcessId new = berth_link_exec(wire->link, &wish, NULL);
    g_assert_cmpuint(new, !=, old);
    settle(wire);
    berth_core_exited(wire->core, old, 137, FALSE);
    settle(wire);
    g_assert_cmpstr(wire->output[1]->str, ==, "");
    g_assert_cmpint(wire->exec_code, ==, -1);
    berth_core_started(wire->core, new);
    berth_core_exited(wire->core, new, 0, FALSE);
    settle(wire);
    g_assert_cmpint(wire->exec_code, ==, 0);
    wire_free(wire);
}

static void
test_the_guest_itself_denies_exec_when_the_pod_says_so(void)
{
    Wire *wire = wire_new(13, TRUE);
    settle(wire);
    configure_with(wire, TRUE);
    berth_link_start(wire->link, 0, 1);
    settle(wire);
    berth_core_started(wire->core, 0);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    berth_link_exec(wire->link, &wish, NULL);
    settle(wire);
    g_assert_cmpuint(wire->starts, ==, 1);
    g_assert_cmpint(wire->exec_code, ==, 126);
    g_assert_nonnull(strstr(wire->error, "denied"));
    wire_free(wire);
}

static void
test_stops_with_a_time_limit_and_powers_off(void)
{
    Wire *wire = wire_new(5, TRUE);
    run_pod(wire);
    berth_link_shutdown(wire->link, 3000);
    settle(wire);
    g_assert_cmpint(wire->last_signal, ==, 15);
    pass_time(wire, 4 * G_USEC_PER_SEC);
    g_assert_cmpint(wire->last_signal, ==, 9);
    berth_core_exited(wire->core, 0, 137, FALSE);
    settle(wire);
    settle(wire);
    g_assert_cmpint(wire->container_code, ==, 137);
    g_assert_cmpuint(wire->powered_off, ==, 1);
    pass_time(wire, 3 * G_USEC_PER_SEC);
    g_assert_cmpuint(wire->closeds, ==, 1);
    g_assert_null(wire->error);
    wire_free(wire);
}

static void
test_a_rebooted_guest_is_a_new_session_with_the_log_going_on(void)
{
    Wire *wire = wire_new(8, TRUE);
    run_pod(wire);
    say(wire);
    settle(wire);
    berth_core_free(g_steal_pointer(&wire->core));
    cut(wire);
    new_guest(wire);
    settle(wire);
    g_assert_cmpuint(wire->readies, ==, 2);
    g_assert_cmpuint(wire->resumed, ==, 0);
    g_assert_cmpuint(wire->hello.config_id, ==, 0);
    configure(wire);
    berth_link_start(wire->link, 0, 2);
    settle(wire);
    berth_core_started(wire->core, 0);
    say(wire);
    settle(wire);
    assert_whole_log(wire); /* on_log() holds that numbers go on */
    wire_free(wire);
}

static void
test_clamps_statistics(void)
{
    Wire *wire = wire_new(9, TRUE);
    run_pod(wire);
    berth_link_stats(wire->link);
    settle(wire);
    g_assert_cmpuint(wire->usage.container, ==, 1);
    g_assert_cmpuint(wire->usage.cpu_us, ==, 7);
    g_assert_cmpuint(wire->usage.memory_bytes, ==, G_MAXINT64);
    wire_free(wire);
}

static void
test_gives_up_a_guest_that_never_answers(void)
{
    Wire *wire = wire_new(10, FALSE);
    for (int second = 0; second < 70; second++) {
        pass_time(wire, G_USEC_PER_SEC);
        g_assert_cmpuint(wire->to_guest->len, <=, 16384);
    }
    g_assert_cmpuint(wire->closeds, ==, 1);
    g_assert_nonnull(strstr(wire->error, "did not answer"));
    wire_free(wire);
}

static void
test_cuts_a_guest_that_falls_silent(void)
{
    Wire *wire = wire_new(11, TRUE);
    run_pod(wire);
    BerthCore *core = g_steal_pointer(&wire->core);
    for (int second = 0; second < 30 && wire->brokens == 0; second++) {
        pass_time(wire, G_USEC_PER_SEC);
    }
    g_assert_cmpuint(wire->brokens, ==, 1);
    g_assert_nonnull(strstr(wire->error, "has not answered"));
    berth_core_free(core);
    wire_free(wire);
}

/* ---- hostile guests (failures.md G1 to G4) ------------------------------------------------------- */

static gsize
memory_in_use(void)
{
    g_autofree char *text = NULL;
    gulong size = 0, resident = 0;
    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%lu %lu", &size, &resident), ==, 2);
    return resident * (gsize)sysconf(_SC_PAGESIZE);
}

static void
assert_grew_at_most(gsize before, gsize bytes)
{
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
    g_assert_cmpuint(memory_in_use(), <, before + bytes);
#endif
}

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
        pass_time(wire, G_USEC_PER_SEC);
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

/* It acknowledges whatever it is told, and that is all it does. */
static void
test_gives_up_an_exec_that_the_guest_never_starts(void)
{
    Wire *wire = hostile_wire(31);
    g_autoptr(GError) error = NULL;
    BerthLinkExec wish = {.process = "{}", .user = ""};
    BerthWriter nothing = {0};
    BerthFrame frame;
    g_autofree BerthDecoder *decoder = g_new0(BerthDecoder, 1);
    guint32 last = 0;
    gboolean killed = FALSE;
    g_assert_cmpuint(berth_link_exec(wire->link, &wish, &error), !=, 0);
    g_assert_no_error(error);
    g_assert_null(wire->error);
    int second = 0;
    for (; second < 100 && !killed; second++) {
        g_assert_null(wire->error);
        pass_time(wire, G_USEC_PER_SEC);
        berth_decoder_feed(decoder, wire->to_guest->data, wire->to_guest->len);
        g_byte_array_set_size(wire->to_guest, 0);
        while (berth_decoder_next(decoder, &frame)) {
            last = frame.sequence;
            killed = killed || frame.type == BERTH_FRAME_SIGNAL;
        }
        feed_frame(wire, BERTH_FRAME_ACK, 0, 0, last, &nothing);
    }
    g_assert_cmpint(second, ==, 30); /* as soon as it is given up */
    g_assert_nonnull(strstr(wire->error, "did not start the command in 30 s"));
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
    gsize before = memory_in_use();
    for (int i = 0; i < 200000 && wire->brokens == 0; i++) {
        feed_frame(wire, BERTH_FRAME_ACK, 0, 0, 0, &nothing);
    }
    assert_grew_at_most(before, 1024 * 1024);
    assert_cut_by(wire, "floods");
}

static void
test_cuts_log_beyond_its_credit_within_bounded_memory(void)
{
    Wire *wire = hostile_wire(26);
    guint8 payload[BERTH_PAYLOAD_MAX], data[8000] = {0};
    configure(wire);
    wire->ack_logs = FALSE;
    gsize before = memory_in_use();
    for (guint64 sequence = 1; sequence < 10000 && wire->brokens == 0; sequence++) {
        BerthWriter writer;
        berth_writer_init(&writer, payload, sizeof payload);
        berth_write_u64(&writer, BERTH_TAG_SEQUENCE, sequence);
        berth_write_u64(&writer, BERTH_TAG_FD, 1);
        berth_write_bytes(&writer, BERTH_TAG_DATA, data, sizeof data);
        feed_frame(wire, BERTH_FRAME_LOG, 0, 0, 0, &writer);
    }
    assert_grew_at_most(before, 2 * 1024 * 1024);
    assert_cut_by(wire, "credit");
}

static void
test_cuts_log_that_jumps_in_its_numbers(void)
{
    Wire *wire = hostile_wire(27);
    guint8 payload[64];
    BerthWriter writer;
    configure(wire);
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
    settle(wire);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    configure(wire);
    berth_link_start(wire->link, 0, 1);
    settle(wire);
    berth_core_started(wire->core, 0);
    BerthProcessId id = berth_link_exec(wire->link, &wish, NULL);
    settle(wire);
    berth_core_failed(wire->core, id, 127, "no \033[31m\n\xff file");
    settle(wire);
    g_assert_cmpstr(wire->error, ==, "no ?[31m?? file");
    g_assert_cmpint(wire->exec_code, ==, 127);
    wire_free(wire);
}

/* Who waited long for a host is there at once when the host is. */
static void
test_hurries_when_the_way_is_open_again(void)
{
    Wire *wire = wire_new(31, TRUE);
    run_pod(wire);
    wire->unreachable = TRUE;
    g_autoptr(GError) error = g_error_new(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE, "gone");
    wire->watch->closed(error, wire->watch_data);
    for (int i = 0; i < 60; i++) {
        pass_time(wire, G_USEC_PER_SEC);
    }
    guint before = wire->opens;
    gint64 now = berth_clock_monotonic_us(&wire->clock.base);
    g_assert_cmpint(berth_link_deadline_us(wire->link), >, now);
    wire->unreachable = FALSE;
    berth_link_hurry(wire->link);
    g_assert_cmpint(berth_link_deadline_us(wire->link), ==, now);
    berth_link_tick(wire->link);
    g_assert_cmpuint(wire->opens, ==, before + 1);
    settle(wire);
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_READY);
    berth_link_hurry(wire->link); /* changes nothing about a link that is there */
    settle(wire);
    g_assert_cmpuint(wire->opens, ==, before + 1);
    wire_free(wire);
}

/* Whatever a guest sends, in whatever pieces, the link lives on or is cut; memory stays bounded. */
static void
test_survives_mutated_streams(void)
{
    for (guint32 seed = 1; seed <= 2000; seed++) {
        Wire *wire = wire_new(seed, TRUE);
        run_pod(wire);
        for (int step = 0; step < 30; step++) {
            say(wire);
            move_a_piece(wire);
            if (wire->to_daemon->len > 0 && g_rand_int_range(wire->rand, 0, 5) == 0) {
                guint at = (guint)g_rand_int_range(wire->rand, 0, (gint32)wire->to_daemon->len);
                wire->to_daemon->data[at] ^= (guint8)(1 << g_rand_int_range(wire->rand, 0, 8));
            }
        }
        for (int round = 0; round < 10; round++) {
            settle(wire);
            pass_time(wire, 10 * G_USEC_PER_SEC);
        }
        settle(wire);
        assert_whole_log(wire); /* a sound guest behind a bad wire still loses nothing */
        wire_free(wire);
    }
}

static void
test_carries_100_mb_of_log_complete_and_in_order(void)
{
    Wire *wire = wire_new(30, TRUE);
    run_pod(wire);
    guint8 block[8192];
    guint64 made = 0, target = 100 * 1000 * 1000;
    gsize before = memory_in_use();
    GChecksum *sent = g_checksum_new(G_CHECKSUM_SHA1), *got = g_checksum_new(G_CHECKSUM_SHA1);
    while (made < target || wire->next_sequence <= made / sizeof block) {
        while (made < target && berth_core_output_room(wire->core, 0, 1) >= sizeof block) {
            memset(block, (int)(made / sizeof block), sizeof block);
            berth_core_output(wire->core, 0, 1, block, sizeof block);
            g_checksum_update(sent, block, sizeof block);
            made += sizeof block;
        }
        if (!move_a_piece(wire)) {
            pass_time(wire, 20000);
        }
        g_checksum_update(got, (guint8 *)wire->log[1]->str, (gssize)wire->log[1]->len);
        g_string_truncate(wire->log[1], 0);
    }
    g_assert_cmpstr(g_checksum_get_string(sent), ==, g_checksum_get_string(got));
    assert_grew_at_most(before, 8 * 1024 * 1024);
    g_checksum_free(sent);
    g_checksum_free(got);
    wire_free(wire);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/drivers/guest-link/" path, function)
    ADD("greets-configures-and-runs-to-the-exit-code",
        test_greets_configures_and_runs_to_the_exit_code);
    ADD("loses-and-doubles-nothing-over-random-cuts",
        test_loses_and_doubles_nothing_over_random_cuts);
    ADD("daemon-restart-goes-on-after-what-was-written",
        test_daemon_restart_goes_on_after_what_was_written);
    ADD("holds-the-container-back-while-nobody-writes-its-log",
        test_holds_the_container_back_while_nobody_writes_its_log);
    ADD("counts-what-a-full-ring-drops-while-the-link-is-down",
        test_counts_what_a_full_ring_drops_while_the_link_is_down);
    ADD("execs-have-streams-input-and-an-exit-code",
        test_execs_have_streams_input_and_an_exit_code);
    ADD("an-exec-that-nobody-reads-is-held-back-alone",
        test_an_exec_that_nobody_reads_is_held_back_alone);
    ADD("execs-of-a-daemon-that-is-gone-are-hung-up",
        test_execs_of_a_daemon_that_is_gone_are_hung_up);
    ADD("the-guest-itself-denies-exec-when-the-pod-says-so",
        test_the_guest_itself_denies_exec_when_the_pod_says_so);
    ADD("stops-with-a-time-limit-and-powers-off", test_stops_with_a_time_limit_and_powers_off);
    ADD("a-rebooted-guest-is-a-new-session-with-the-log-going-on",
        test_a_rebooted_guest_is_a_new_session_with_the_log_going_on);
    ADD("clamps-statistics", test_clamps_statistics);
    ADD("gives-up-a-guest-that-never-answers", test_gives_up_a_guest_that_never_answers);
    ADD("cuts-a-guest-that-falls-silent", test_cuts_a_guest_that_falls_silent);
    ADD("cuts-a-guest-that-sends-no-frames", test_cuts_a_guest_that_sends_no_frames);
    ADD("cuts-a-half-frame-after-its-time", test_cuts_a_half_frame_after_its_time);
    ADD("greeting-of-another-session-is-not-believed",
        test_greeting_of_another_session_is_not_believed);
    ADD("answers-to-nothing-are-counted-and-dropped",
        test_answers_to_nothing_are_counted_and_dropped);
    ADD("gives-up-an-exec-that-the-guest-never-starts",
        test_gives_up_an_exec_that_the_guest_never_starts);
    ADD("cuts-an-acknowledgement-of-what-was-never-sent",
        test_cuts_an_acknowledgement_of_what_was_never_sent);
    ADD("cuts-a-flood-of-free-frames", test_cuts_a_flood_of_free_frames);
    ADD("cuts-log-beyond-its-credit-within-bounded-memory",
        test_cuts_log_beyond_its_credit_within_bounded_memory);
    ADD("cuts-log-that-jumps-in-its-numbers", test_cuts_log_that_jumps_in_its_numbers);
    ADD("makes-the-guests-text-printable", test_makes_the_guests_text_printable);
    ADD("hurries-when-the-way-is-open-again", test_hurries_when_the_way_is_open_again);
    ADD("survives-mutated-streams", test_survives_mutated_streams);
    ADD("carries-100-mb-of-log-complete-and-in-order",
        test_carries_100_mb_of_log_complete_and_in_order);
#undef ADD
    return g_test_run();
}
