/* Real hosts that fail: libvirtd is killed, stopped, and worked around by hand. Two hosts of a fleet; the
 * runner of the first suffers, the second's must not notice (failures.md H1, H3, H13).
 *
 * tests/integration/test-host-faults.sh starts the fleet and this. FLEET is the fleet's command. */
#include "base/error.h"
#include "drivers/host-runner.h"
#include "drivers/libvirt-events.h"

#include <libvirt/libvirt.h>
#include <signal.h>
#include <string.h>

static const char uuid[] = "fa000000-0000-4000-8000-00000000000a";

typedef struct {
    BerthHostRunner *runner;
    guint connected, disconnected, stuck, loose;
    guint stopped; /* STOPPED events with the reason DESTROYED */
} Peer;

static Peer first, second;

static void
on_state(BerthHostState state, const char *why, gpointer data)
{
    Peer *peer = data;
    peer->connected += state == BERTH_HOST_CONNECTED;
    peer->disconnected += state == BERTH_HOST_DISCONNECTED;
    g_test_message("%s: %s", peer == &first ? "first" : "second", why != NULL ? why : "connected");
}

static void
on_event(const char *domain, BerthDomainEvent event, BerthStopReason reason, gpointer data)
{
    Peer *peer = data;
    peer->stopped += event == BERTH_DOMAIN_EVENT_STOPPED && reason == BERTH_STOP_DESTROYED;
}

static void
on_stuck(const char *domain, gboolean stuck, gpointer data)
{
    Peer *peer = data;
    peer->stuck += stuck;
    peer->loose += !stuck;
}

static gboolean
wake(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

#define RUN_UNTIL(condition)                                                                       \
    G_STMT_START {                                                                                 \
        gboolean is_late = FALSE;                                                                  \
        guint patience = g_timeout_add_seconds(90, wake, &is_late);                                \
        while (!(condition)) {                                                                     \
            g_main_context_iteration(NULL, TRUE);                                                  \
            g_assert_false(is_late);                                                               \
        }                                                                                          \
        g_source_remove(patience);                                                                 \
    }                                                                                              \
    G_STMT_END

/* ---- the fleet --------------------------------------------------------------------------------- */

/* Runs FLEET with @arguments. Returns: (transfer full): what it printed. */
static char *
fleet(const char *arguments)
{
    g_autofree char *line = g_strdup_printf("%s %s", g_getenv("FLEET"), arguments);
    g_autoptr(GError) error = NULL;
    char *output = NULL;
    int status = -1;
    g_spawn_command_line_sync(line, &output, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    return g_strstrip(output);
}

static void
run_fleet(const char *arguments)
{
    g_autofree char *output = fleet(arguments);
}

static void
signal_libvirtd(int signum)
{
    g_autofree char *pid = fleet("pid 1 libvirtd");
    g_assert_cmpint(kill((pid_t)g_ascii_strtoll(pid, NULL, 10), signum), ==, 0);
}

static void
open_peer(Peer *peer, const char *number)
{
    static const BerthHostListener listener = {
        .state = on_state, .domain_event = on_event, .stuck = on_stuck};
    g_autofree char *arguments = g_strconcat("uri ", number, NULL);
    g_autofree char *uri = fleet(arguments);
    peer->runner = berth_host_runner_new(berth_host_libvirt_new,
                                         &(BerthHostOptions){.uri = uri, .fleet = "faults"},
                                         berth_clock_system(), &listener, peer, NULL);
    RUN_UNTIL(peer->connected == 1);
}

/* ---- calls ------------------------------------------------------------------------------------- */

typedef struct {
    guint count;
    int code; /* -1: it went well */
    BerthDomainState state;
    int id;
} Outcome;

static void
on_done(BerthHostReply *reply, const GError *error, gpointer data)
{
    Outcome *outcome = data;
    outcome->count++;
    outcome->code = error != NULL ? error->code : -1;
    if (error != NULL) {
        g_test_message("%s", error->message);
    }
    if (reply != NULL && reply->domains != NULL && reply->domains->len == 1) {
        const BerthDomain *domain = reply->domains->pdata[0];
        outcome->state = domain->state;
        outcome->id = domain->id;
    }
}

static void
submit(Peer *peer, BerthHostVerb verb, guint deadline_s, Outcome *outcome)
{
    *outcome = (Outcome){.code = -2};
    const BerthHostCall call = {.verb = verb, .uuid = verb == BERTH_HOST_DOMAIN_LIST ? NULL : uuid};
    berth_host_runner_submit(peer->runner, &call, deadline_s, on_done, outcome);
}

static Outcome
call(Peer *peer, BerthHostVerb verb)
{
    Outcome outcome;
    submit(peer, verb, 60, &outcome);
    RUN_UNTIL(outcome.count == 1);
    return outcome;
}

static void
start_domain(Peer *peer)
{
    BerthDomainMark mark = {.fleet = (char *)"faults",
                            .uid = (char *)uuid,
                            .kind = (char *)"VM",
                            .project = (char *)"default",
                            .name = (char *)"victim"};
    const BerthDomainPlan plan = {
        .uuid = uuid, .name = "victim", .vcpus = 1, .memory_mib = 64, .link = TRUE, .mark = &mark};
    Outcome outcome = {0};
    berth_host_runner_submit(peer->runner,
                             &(BerthHostCall){.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan}, 60,
                             on_done, &outcome);
    RUN_UNTIL(outcome.count == 1);
    g_assert_cmpint(outcome.code, ==, -1);
    g_assert_cmpint(call(peer, BERTH_HOST_DOMAIN_START).code, ==, -1);
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void
test_killed_libvirtd_is_found_again_with_its_guests(void)
{
    Outcome before = call(&first, BERTH_HOST_DOMAIN_GET);
    g_assert_cmpint(before.state, ==, BERTH_DOMAIN_RUNNING);
    for (guint round = 1; round <= 3; round++) {
        guint connected = first.connected, disconnected = first.disconnected;
        signal_libvirtd(SIGKILL);
        RUN_UNTIL(first.disconnected > disconnected);
        run_fleet("daemon 1 libvirtd");
        RUN_UNTIL(first.connected > connected);
        Outcome after = call(&first, BERTH_HOST_DOMAIN_GET);
        g_assert_cmpint(after.code, ==, -1);
        g_assert_cmpint(after.state, ==, BERTH_DOMAIN_RUNNING);
        g_assert_cmpint(after.id, ==, before.id); /* the same start of it */
    }
    g_assert_cmpuint(second.disconnected, ==, 0);
}

static void
test_stopped_libvirtd_costs_its_calls_and_nobody_elses(void)
{
    guint stuck = first.stuck, loose = first.loose;
    signal_libvirtd(SIGSTOP);
    Outcome hung;
    submit(&first, BERTH_HOST_DOMAIN_GET, 2, &hung);
    for (guint i = 0; i < 5; i++) {
        gint64 begin_us = g_get_monotonic_time();
        g_assert_cmpint(call(&second, BERTH_HOST_DOMAIN_LIST).code, ==, -1);
        g_assert_cmpint(g_get_monotonic_time() - begin_us, <, 2 * G_USEC_PER_SEC);
    }
    RUN_UNTIL(hung.count == 1);
    g_assert_cmpint(hung.code, ==, BERTH_ERROR_TIMEOUT);
    g_assert_cmpuint(first.stuck, ==, stuck + 1);
    g_assert_cmpuint(berth_host_runner_stuck_calls(first.runner), ==, 1);
    signal_libvirtd(SIGCONT);
    RUN_UNTIL(first.loose == loose + 1);
    g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_GET).state, ==, BERTH_DOMAIN_RUNNING);
}

/* The whole minute: keepalive gives the connection up, and the host comes back by itself. */
static void
test_libvirtd_stopped_for_long_is_left_and_found_again(void)
{
    guint connected = first.connected, disconnected = first.disconnected;
    signal_libvirtd(SIGSTOP);
    RUN_UNTIL(first.disconnected > disconnected);
    g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_GET).code, ==, BERTH_ERROR_UNAVAILABLE);
    g_assert_cmpint(call(&second, BERTH_HOST_DOMAIN_LIST).code, ==, -1);
    signal_libvirtd(SIGCONT);
    RUN_UNTIL(first.connected > connected);
    g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_GET).state, ==, BERTH_DOMAIN_RUNNING);
    g_assert_cmpuint(second.disconnected, ==, 0);
}

static void
test_what_is_done_by_hand_is_told(void)
{
    first.stopped = 0;
    run_fleet("exec 1 virsh destroy victim");
    gint64 begin_us = g_get_monotonic_time();
    RUN_UNTIL(first.stopped == 1);
    g_assert_cmpint(g_get_monotonic_time() - begin_us, <, 5 * G_USEC_PER_SEC);
    g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_GET).state, ==, BERTH_DOMAIN_SHUTOFF);
}

/* ---- a guest that does not read ---------------------------------------------------------------- */

typedef struct {
    guint closed;
    int code;
} Ear;

static void
on_received(const guint8 *data, gsize size, gpointer user_data)
{
}

static void
on_channel_closed(const GError *error, gpointer data)
{
    Ear *ear = data;
    ear->closed++;
    ear->code = error != NULL ? error->code : -1;
    g_test_message("channel: %s", error != NULL ? error->message : "ended");
}

static BerthChannel *
open_channel(Ear *ear, const char *port, gboolean force)
{
    static const BerthChannelWatch watch = {on_received, on_channel_closed};
    *ear = (Ear){0, -2};
    return berth_host_runner_channel_open(first.runner, uuid, port, force, &watch, ear);
}

/* Nothing reads the port: the firmware found no disk. The link's connection blocks; nobody else's. */
static void
test_a_guest_that_does_not_read_costs_only_its_lane(void)
{
    g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_START).code, ==, -1);
    Ear link, console, again;
    BerthChannel *link_channel = open_channel(&link, BERTH_LINK_PORT, FALSE);
    BerthChannel *console_channel = open_channel(&console, NULL, FALSE);
    char zeros[1000] = {0};
    for (guint i = 0; i < 250; i++) {
        g_autoptr(GBytes) bytes = g_bytes_new(zeros, sizeof zeros);
        berth_channel_send(link_channel, bytes);
    }
    guint calls = 0;
    while (link.closed == 0) {
        gint64 begin_us = g_get_monotonic_time();
        g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_GET).code, ==, -1);
        /* The lane is stuck for 30 s; a busy machine can take some seconds for a call. */
        g_assert_cmpint(g_get_monotonic_time() - begin_us, <, 10 * G_USEC_PER_SEC);
        g_assert_cmpuint(++calls, <, 100000);
    }
    g_assert_cmpint(link.code, ==, BERTH_ERROR_TIMEOUT);
    g_assert_cmpuint(console.closed, ==, 0);
    berth_channel_close(link_channel);
    /* The next one has a connection of its own; the old one may still hold the port. */
    BerthChannel *next = open_channel(&again, BERTH_LINK_PORT, TRUE);
    for (guint i = 0; i < 10; i++) {
        g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_GET).code, ==, -1);
    }
    g_assert_cmpuint(again.closed, ==, 0);
    berth_channel_close(next);
    berth_channel_close(console_channel);
}

static void
test_power_loss_of_a_host_is_noticed(void)
{
    guint connected = first.connected, disconnected = first.disconnected;
    run_fleet("off 1");
    RUN_UNTIL(first.disconnected > disconnected);
    run_fleet("on 1");
    RUN_UNTIL(first.connected > connected);
    g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_GET).state, ==, BERTH_DOMAIN_SHUTOFF);
    g_assert_cmpint(call(&first, BERTH_HOST_DOMAIN_UNDEFINE).code, ==, -1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (g_getenv("FLEET") == NULL) {
        g_print("1..0 # SKIP run tests/integration/test-host-faults.sh\n");
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* libvirt writes to sockets that the other side has closed */
    berth_libvirt_events_register();
    open_peer(&first, "1");
    open_peer(&second, "2");
    start_domain(&first);
#define ADD(path, test) g_test_add_func("/integration/host/" path, test)
    ADD("killed-libvirtd-is-found-again-with-its-guests",
        test_killed_libvirtd_is_found_again_with_its_guests);
    ADD("stopped-libvirtd-costs-its-calls-and-nobody-elses",
        test_stopped_libvirtd_costs_its_calls_and_nobody_elses);
    ADD("libvirtd-stopped-for-long-is-left-and-found-again",
        test_libvirtd_stopped_for_long_is_left_and_found_again);
    ADD("what-is-done-by-hand-is-told", test_what_is_done_by_hand_is_told);
    ADD("a-guest-that-does-not-read-costs-only-its-lane",
        test_a_guest_that_does_not_read_costs_only_its_lane);
    ADD("power-loss-of-a-host-is-noticed", test_power_loss_of_a_host_is_noticed);
    int failed = g_test_run();
    berth_host_runner_free(first.runner);
    berth_host_runner_free(second.runner);
    return failed;
}
