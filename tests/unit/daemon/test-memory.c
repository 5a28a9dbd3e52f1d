/* What clients can make the API hold in memory: parked bodies, answers that nobody takes, great objects that
 * change all the time, streams that nobody reads, idle connections from everywhere. Each attack has an API of
 * its own, and its peak (VmHWM) stays below BOUND_KIB, which docs/hostile-input.md states. */
#include "tests/unit/daemon/api-fixture.h"

#include "base/fd.h"
#include "model/stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PODS "/v1/projects/default/pods"
/* Sanitizers keep what was freed for a while. */
#if defined(__SANITIZE_ADDRESS__)
#define BOUND_KIB (1536 * 1024)
#else
#define BOUND_KIB (128 * 1024)
#endif
#define MANY 1000
#define FEW 100

/* Runs @attack in a process of its own, and so as another peer, until stop_peer(); returns when it is under way. */
static pid_t
start_peer(const ApiFixture *api, void (*attack)(const ApiFixture *api))
{
    int ready[2];
    char byte;
    g_assert_cmpint(pipe(ready), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        attack(api);
        gssize written G_GNUC_UNUSED = write(ready[1], "r", 1);
        pause();
        _exit(0);
    }
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void
stop_peer(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void
read_one_object(const ApiFixture *api)
{
    g_autoptr(ApiAnswer) answer = api_call(api, "GET", "/v1/projects/default", NULL, NULL);
    if (answer->status != 200) {
        _exit(1);
    }
}

/* Another client is served beside the attack, and the API's memory is in bounds. */
static void
assert_bound(ApiFixture *api, const char *beside)
{
    stop_peer(start_peer(api, read_one_object));
    g_test_message("peak beside %s: %" G_GINT64_FORMAT " KiB", beside, api_peak_kib(api));
    g_assert_cmpint(api_peak_kib(api), <, BOUND_KIB);
}

/* A Pod of about @kib KiB (a multiple of 30), which is never run; @round makes it differ from others. */
static char *
large_pod(guint kib, guint round)
{
    g_autofree char *script = g_strnfill(30 * 1024, 'n');
    g_autoptr(GString) text = g_string_new("{\"spec\":{\"containers\":[{\"name\":\"c\","
                                           "\"image\":\"busybox\",\"args\":[");
    for (guint i = 0; i < kib / 30; i++) {
        g_string_append_printf(text, "\"%s\",", script);
    }
    g_string_append_printf(text, "\"%u\"]}]}}", round);
    return g_strdup(text->str);
}

static void
put_pod(ApiFixture *api, const char *name, const char *body)
{
    g_autofree char *path = g_strconcat(PODS "/", name, NULL);
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", path, NULL, body);
    if (put->status != 200 && put->status != 201) {
        g_error("%s\n%s", put->head, put->body);
    }
}

/* Sends without waiting for a peer that does not read. */
static void
send_some(int fd, const char *bytes, gsize size)
{
    gsize sent = 0;
    struct pollfd poller = {fd, POLLOUT, 0};
    while (sent < size && poll(&poller, 1, 200) == 1) {
        gssize part = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (part < 0 && errno != EAGAIN) {
            return;
        }
        sent += part > 0 ? (gsize)part : 0;
    }
}

/* Until each of @fds has an answer or was closed. */
static void
await_answers(const int *fds, guint count)
{
    for (guint i = 0; i < count; i++) {
        struct pollfd poller = {fds[i], POLLIN, 0};
        g_assert_cmpint(poll(&poller, 1, 400 * 1000), ==, 1);
    }
}

/* How many of @fds were answered with @status; the rest is still open or was closed. All are closed. */
static guint
count_answers(const int *fds, guint count, const char *status)
{
    guint found = 0;
    for (guint i = 0; i < count; i++) {
        char head[64] = "";
        gssize got G_GNUC_UNUSED = recv(fds[i], head, sizeof head - 1, MSG_DONTWAIT);
        found += g_str_has_prefix(head, status);
        close(fds[i]);
    }
    return found;
}

/* Each sends all of a MiB but its last byte. */
static void
test_parked_bodies(void)
{
    ApiFixture *api = api_start();
    int fds[MANY];
    gsize size = 1024 * 1024;
    g_autofree char *body = g_strnfill(size - 1, ' ');
    g_autofree char *head =
        g_strdup_printf("PUT " PODS "/p HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", size);
    for (guint i = 0; i < MANY; i++) {
        fds[i] = api_connect(api);
        send_some(fds[i], head, strlen(head));
        send_some(fds[i], body, size - 1);
    }
    put_pod(api, "good", "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"b\"}]}}");
    for (guint i = 0; i < MANY; i++) {
        send_some(fds[i], " ", 1);
    }
    await_answers(fds, MANY);
    assert_bound(api, "1,000 parked bodies of 1 MiB");
    guint refused = count_answers(fds, MANY, "HTTP/1.1 429");
    g_assert_cmpuint(refused, >, MANY / 2);
    g_assert_cmpuint(refused, <, MANY);
    api_stop(api);
}

/* Lists of 4 MB each that nobody reads. */
static void
test_unread_lists(void)
{
    ApiFixture *api = api_start();
    static const char list[] = "GET " PODS " HTTP/1.1\r\nHost: a\r\n\r\n";
    int fds[FEW];
    g_autofree char *pod = large_pod(90, 0);
    for (guint i = 0; i < 40; i++) {
        g_autofree char *name = g_strdup_printf("large-%u", i);
        put_pod(api, name, pod);
    }
    for (guint i = 0; i < FEW; i++) {
        fds[i] = api_connect(api);
        send_some(fds[i], list, sizeof list - 1);
    }
    await_answers(fds, FEW);
    assert_bound(api, "100 lists of 4 MB that nobody reads");
    g_assert_cmpuint(count_answers(fds, FEW, "HTTP/1.1 429"), >, FEW / 2);
    api_stop(api);
}

/* Writes whose answers are as large as their objects, and stay unread. */
static void
test_unread_writes(void)
{
    ApiFixture *api = api_start();
    int fds[FEW];
    g_autofree char *pod = large_pod(900, 0);
    put_pod(api, "large", pod);
    static const char patch[] =
        "PATCH " PODS "/large HTTP/1.1\r\nHost: a\r\nContent-Type: application/merge-patch+json\r\n"
        "Content-Length: 2\r\n\r\n{}";
    for (guint i = 0; i < FEW; i++) {
        fds[i] = api_connect(api);
        send_some(fds[i], patch, sizeof patch - 1);
    }
    await_answers(fds, FEW);
    assert_bound(api, "100 answers of 900 KB to writes that nobody reads");
    guint answered = count_answers(fds, FEW, "HTTP/1.1 200");
    g_assert_cmpuint(answered, >, 10);
    g_assert_cmpuint(answered, <, FEW * 3 / 4); /* the others are closed */
    api_stop(api);
}

/* Execs whose output nobody takes, with a begun message of the largest size each. */
static void
test_unread_execs(void)
{
    ApiFixture *api = api_start();
    int fds[MANY];
    put_pod(api, "exec", "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"b\"}]}}");
    g_autofree char *key = berth_stream_key_new();
    g_autofree char *request = berth_stream_format_request(PODS "/exec:exec", "test", key, NULL);
    static const BerthStreamEvents none = {0};
    for (guint i = 0; i < MANY; i++) {
        g_autoptr(BerthStream) stream = berth_stream_new(BERTH_STREAM_CLIENT, &none, NULL);
        g_autofree char *input = g_strnfill(BERTH_STREAM_WINDOW, 'i');
        berth_stream_send_control(
            stream, json_pack("{s:s, s:[s], s:b}", "type", "start", "command", "cat", "stdin", 1));
        berth_stream_send(stream, BERTH_STREAM_STDIN, input, BERTH_STREAM_WINDOW);
        gsize size;
        fds[i] = api_connect(api);
        send_some(fds[i], request, strlen(request));
        gconstpointer bytes = berth_stream_output(stream, &size);
        send_some(fds[i], bytes, size);
    }
    await_answers(fds, MANY);
    assert_bound(api, "1,000 execs that nobody reads");
    g_assert_cmpuint(count_answers(fds, MANY, "HTTP/1.1 429"), >, MANY / 2);
    api_stop(api);
}

static void
connect_and_wait(const ApiFixture *api, int ready)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (guint i = 0; i < 1250; i++) {
        api_connect(api);
    }
    gssize written G_GNUC_UNUSED = write(ready, "r", 1);
    pause();
}

static void
watch_without_reading(const ApiFixture *api)
{
    static const char watch[] = "GET /v1/watch?since=0 HTTP/1.1\r\nHost: a\r\n\r\n";
    for (guint i = 0; i < FEW; i++) {
        send_some(api_connect(api), watch, sizeof watch - 1);
    }
}

static void
test_a_large_object_changes_always(void)
{
    ApiFixture *api = api_start();
    pid_t watchers = start_peer(api, watch_without_reading);
    for (guint i = 0; i < 60; i++) {
        g_autofree char *pod = large_pod(900, i);
        put_pod(api, "large", pod);
    }
    assert_bound(api, "60 versions of an object of 900 KB and 100 watchers that don't read");
    stop_peer(watchers);
    api_stop(api);
}

/* 10,000 idle connections from eight processes: a ninth client is served all the same. */
static void
test_idle_from_everywhere(void)
{
    ApiFixture *api = api_start();
    pid_t children[8];
    int ready[2];
    g_assert_cmpint(pipe(ready), ==, 0);
    for (guint i = 0; i < G_N_ELEMENTS(children); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            connect_and_wait(api, ready[1]);
            _exit(0);
        }
    }
    guint served = 0, tried = 0;
    gint64 slowest = 0;
    for (guint up = 0; up < G_N_ELEMENTS(children);) {
        struct pollfd poller = {ready[0], POLLIN, 0};
        gint64 began = g_get_monotonic_time();
        g_autoptr(ApiAnswer) answer = api_call(api, "GET", "/v1/projects/default", NULL, NULL);
        slowest = MAX(slowest, g_get_monotonic_time() - began);
        served += answer->status == 200;
        tried++;
        char byte;
        up += poll(&poller, 1, 0) == 1 && read(ready[0], &byte, 1) == 1;
    }
    g_test_message("%u of %u requests served, the slowest in %.1f ms", served, tried,
                   (double)slowest / 1000);
    g_assert_cmpuint(served, ==, tried);
    assert_bound(api, "10,000 idle connections");
    for (guint i = 0; i < G_N_ELEMENTS(children); i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    close(ready[0]);
    close(ready[1]);
    api_stop(api);
}

#define ADD(path, function) g_test_add_func("/daemon/memory/" path, function)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("parked-bodies-are-bounded", test_parked_bodies);
    ADD("unread-lists-are-bounded", test_unread_lists);
    ADD("unread-answers-to-writes-are-bounded", test_unread_writes);
    ADD("a-large-object-that-always-changes-is-bounded", test_a_large_object_changes_always);
    ADD("unread-execs-are-bounded", test_unread_execs);
    ADD("idle-connections-from-everywhere-shut-nobody-out", test_idle_from_everywhere);
    return g_test_run();
}
