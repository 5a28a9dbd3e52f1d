/* See guest-wire.h. */
#include "tests/unit/drivers/guest-wire.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct FakeChannel {
    BerthChannel base;
    Wire *wire;
} FakeChannel;

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
gboolean
wire_move_a_piece(Wire *wire)
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

void
wire_pass_time(Wire *wire, gint64 us)
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
void
wire_settle(Wire *wire)
{
    for (int round = 0; round < 6; round++) {
        while (wire_move_a_piece(wire)) {
        }
        wire_pass_time(wire, 50000);
    }
}

/* The stream ends wherever it happens to be; what is under way is lost, or its head stays behind. */
void
wire_cut(Wire *wire)
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
    wire_pass_time(wire, 20 * G_USEC_PER_SEC); /* past any back-off */
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
    } else if (container == 0 && state->state == BERTH_CONTAINER_FAILED) {
        wire->container_failed++;
        wire->container_code = state->exit_code;
        g_free(wire->container_text);
        wire->container_text = g_strdup(state->text);
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

void
wire_connect(Wire *wire, guint64 sequence)
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

void
wire_boot(Wire *wire)
{
    BerthIdentity identity = {.boot_nonce = berth_random_u64(&wire->random.base) | 1,
                              .os_digest = "abc",
                              .kernel = "6.1"};
    wire->core = berth_core_new(&runtime_ops, wire, &identity);
}

Wire *
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
        wire_boot(wire);
    }
    wire_connect(wire, 0);
    return wire;
}

void
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
    g_free(wire->container_text);
    g_free(wire);
}

void
wire_configure(Wire *wire, gboolean exec_denied)
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

void
wire_run_pod(Wire *wire)
{
    wire_settle(wire);
    g_assert_cmpuint(wire->readies, ==, 1);
    wire_configure(wire, FALSE);
    berth_link_start(wire->link, 0, 1);
    wire_settle(wire);
    g_assert_cmpuint(wire->starts, ==, 1);
    berth_core_started(wire->core, 0);
    wire_settle(wire);
}

/* A line of container 0, as far as it is not held back. */
gboolean
wire_say(Wire *wire)
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

void
wire_assert_whole_log(const Wire *wire)
{
    g_autoptr(GString) expected = g_string_new(NULL);
    for (guint i = 0; i < wire->said; i++) {
        g_string_append_printf(expected, "line %u of the log\n", i);
    }
    g_assert_cmpuint(expected->len, ==, wire->log[1]->len);
    g_assert_cmpstr(expected->str, ==, wire->log[1]->str);
}

gsize
wire_memory_in_use(void)
{
    g_autofree char *text = NULL;
    gulong size = 0, resident = 0;
    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%lu %lu", &size, &resident), ==, 2);
    return resident * (gsize)sysconf(_SC_PAGESIZE);
}

void
wire_assert_grew_at_most(gsize before, gsize bytes)
{
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
    g_assert_cmpuint(wire_memory_in_use(), <, before + bytes);
#endif
}
