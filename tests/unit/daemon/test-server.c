/* The server under bad clients: ambiguous and malformed requests, slow and silent ones, floods; and what good
 * clients notice of it. Rows A1, A2, A3, S6, S7 of the catalogue of failures. */
#include "tests/unit/daemon/api-fixture.h"

#include "base/fd.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define PODS "/v1/projects/default/pods"
#define POD                                                                                        \
    "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"docker.io/library/busybox:1\"}]}}"
/* Peak resident memory of the API's process under everything below, in KiB. Sanitizers need more. */
#if defined(__SANITIZE_ADDRESS__)
#define PEAK_KIB (1024 * 1024)
#define P99_US (400 * 1000)
#else
#define PEAK_KIB (128 * 1024)
#define P99_US (100 * 1000)
#endif

static ApiFixture *api;

static void
assert_answer(const char *request, gssize size, guint status)
{
    g_autoptr(ApiAnswer) answer = api_raw(api, request, size);
    if (answer->status != status) {
        g_test_message("%s\n->\n%s\n%s", request, answer->head, answer->body);
    }
    g_assert_cmpuint(answer->status, ==, status);
    g_autofree char *close = api_header(answer, "Connection");
    g_assert_cmpstr(close, ==, "close");
}

/* ---- A2: one reading, or 400 and a close ---- */

static const struct {
    const char *request;
    guint status;
} ambiguous[] = {
    {"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200},
    {"GET /healthz HTTP/1.0\r\n\r\n", 200},
    {"GET /healthz HTTP/1.1\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\nHost: a\n\n", 0},
    {"GET /healthz HTTP/1.1\nHost: a\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", 400},
    {"GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /healthz  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /healthz HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
    {"GET /healthz\r\nHost: a\r\n\r\n", 400},
    {"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    {"GET /healthz http/1.1\r\nHost: a\r\n\r\n", 400},
    {"G@T /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /healthz#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /health\x80z HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\n{}", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\n{}", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\n{}", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n{}", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n"
     "\r\n2\r\n{}\r\n0\r\n\r\n",
     400},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{}", 501},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n{}", 501},
    {"POST /v1/hosts HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     400},
    {"POST /v1/hosts HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"GET /v1/projects/%00/pods HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /v1/hosts/a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /v1/hosts/a%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /v1/hosts/a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /v1/hosts/%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /v1%2Fversion HTTP/1.1\r\nHost: a\r\n\r\n", 404},
    {"GET /v1/projects%2Fdefault HTTP/1.1\r\nHost: a\r\n\r\n", 404},
    {"GET /v1/hosts/a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", 404},
    {"GET /v1/../healthz HTTP/1.1\r\nHost: a\r\n\r\n", 404},
    {"GET //healthz HTTP/1.1\r\nHost: a\r\n\r\n", 404},
    {"GET /healthz/ HTTP/1.1\r\nHost: a\r\n\r\n", 404},
};

static void
test_ambiguous_requests_are_refused(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(ambiguous); i++) {
        if (ambiguous[i].status != 0) {
            assert_answer(ambiguous[i].request, -1, ambiguous[i].status);
        }
    }
    static const char nul[] = "GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    assert_answer(nul, sizeof nul - 1, 400);
    static const char nul_target[] = "GET /heal\0thz HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_answer(nul_target, sizeof nul_target - 1, 400);
}

static void
test_no_byte_behind_a_request_is_read_as_one(void)
{
    static const char two[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
                              "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n";
    g_auto(BerthFd) fd = api_connect(api);
    api_send(fd, two, -1);
    gsize size;
    g_autofree char *bytes = api_read_all(fd, 10000, &size);
    g_assert_nonnull(strstr(bytes, "ok\n"));
    g_assert_null(strstr(bytes, "berthd"));
}

/* A client that sends its body after the head would find the connection closed, and tell of that. */
static void
test_a_refusal_waits_for_the_body(void)
{
    g_auto(BerthFd) fd = api_connect(api);
    api_send(fd, "PATCH /v1/settings HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", -1);
    struct pollfd early = {.fd = fd, .events = POLLIN};
    g_assert_cmpint(poll(&early, 1, 200), ==, 0);
    api_send(fd, "{}", -1);
    gsize size;
    g_autofree char *bytes = api_read_all(fd, 10000, &size);
    g_assert_true(g_str_has_prefix(bytes, "HTTP/1.1 405"));
    /* Who asks first whether to send it is told at once. */
    assert_answer("PATCH /v1/settings HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                  "Expect: 100-continue\r\n\r\n",
                  -1, 405);
}

static void
test_large_heads_are_refused(void)
{
    g_autofree char *filler = g_strnfill(20000, 'a');
    g_autofree char *header =
        g_strdup_printf("GET /healthz HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", filler);
    assert_answer(header, -1, 431);
    g_autofree char *target = g_strdup_printf("GET /%.9000s HTTP/1.1\r\nHost: a\r\n\r\n", filler);
    assert_answer(target, -1, 414);
    g_autoptr(GString) many = g_string_new("GET /healthz HTTP/1.1\r\nHost: a\r\n");
    for (guint i = 0; i < 200; i++) {
        g_string_append_printf(many, "X%u: y\r\n", i);
    }
    g_string_append(many, "\r\n");
    assert_answer(many->str, -1, 431);
}

#define DAMAGED 2674
#define DAMAGED_AT_ONCE 191

static int
send_damaged(GRand *random)
{
    static const char good[] = "PUT " PODS "/fuzz?dry_run=1 HTTP/1.1\r\nHost: a\r\n"
                               "Content-Type: application/json\r\nContent-Length: 76\r\n\r\n" POD;
    char request[sizeof good];
    memcpy(request, good, sizeof good);
    for (gint k = g_rand_int_range(random, 1, 5); k > 0; k--) {
        request[g_rand_int_range(random, 0, (gint)sizeof good - 1)] =
            (char)g_rand_int_range(random, 0, 256);
    }
    int fd = api_connect(api);
    api_send(fd, request, sizeof good - 1);
    shutdown(fd, SHUT_WR);
    return fd;
}

/* Any damage of a good request gets an answer or a close; the server goes on. */
static void
test_damaged_requests_do_no_harm(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(20261124);
    for (guint i = 0; i < DAMAGED; i += DAMAGED_AT_ONCE) {
        int fds[DAMAGED_AT_ONCE];
        for (guint k = 0; k < DAMAGED_AT_ONCE; k++) {
            fds[k] = send_damaged(random);
        }
        for (guint k = 0; k < DAMAGED_AT_ONCE; k++) {
            gsize got;
            g_autofree char *bytes = api_read_all(fds[k], 15000, &got);
            g_autoptr(ApiAnswer) answer = api_parse(bytes, got);
            g_assert_cmpuint(answer->status, !=, 500);
            close(fds[k]);
        }
    }
    g_autoptr(ApiAnswer) alive = api_call(api, "GET", "/healthz", NULL, NULL);
    g_assert_cmpuint(alive->status, ==, 200);
}

/* ---- A1: JSON ---- */

static char *
corpus(const char *name)
{
    const char *folder = g_getenv("BERTH_CORPORA");
    const char *source = g_getenv("TOP_SRCDIR");
    g_autofree char *fallback =
        g_build_filename(source != NULL ? source : "..", "..", "shared", "corpora", NULL);
    return g_build_filename(folder != NULL ? folder : fallback, name, NULL);
}

static void
post_corpus_file(const char *path, const char *name, guint *accepted, guint *refused)
{
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    g_autoptr(GString) request = g_string_new(NULL);
    g_string_append_printf(request,
                           "PUT " PODS "/corpus?dry_run=1 HTTP/1.1\r\nHost: a\r\n"
                           "Content-Length: %zu\r\n\r\n",
                           size);
    g_string_append_len(request, bytes, (gssize)size);
    g_autoptr(ApiAnswer) answer = api_raw(api, request->str, (gssize)request->len);
    /* All are refused as a Pod, but a valid document by its shape and a bad one by its syntax. */
    const char *detail = berth_json_string(answer->json, "detail");
    gboolean syntax = detail != NULL && (strstr(detail, "JSON") != NULL);
    if (answer->status != 400 && answer->status != 413) {
        g_test_message("%s: %s %s", name, answer->head, answer->body);
    }
    g_assert_true(answer->status == 400 || answer->status == 413);
    /* Those without one meaning are refused on purpose: see tests/unit/base/test-json.c. */
    gboolean ambiguous_json =
        strstr(name, "duplicated_key") != NULL || strstr(name, "escaped_null_in_key") != NULL;
    if (name[0] == 'y' && !ambiguous_json) {
        g_test_message("%s: %s", name, detail);
        g_assert_false(syntax);
    } else if (name[0] == 'n') {
        g_assert_true(syntax);
    }
    *(syntax ? refused : accepted) += 1;
}

static void
test_json_corpus(void)
{
    g_autofree char *archive = corpus("json-test-suite.tar.xz");
    if (!g_file_test(archive, G_FILE_TEST_EXISTS)) {
        g_test_skip("no json-test-suite.tar.xz in BERTH_CORPORA");
        return;
    }
    g_autofree char *folder = g_build_filename(api->folder, "json", NULL);
    g_mkdir_with_parents(folder, 0700);
    const char *argv[] = {"tar", "-C", folder, "-xJf", archive, NULL};
    gint status = 0;
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    guint accepted = 0, refused = 0;
    g_autoptr(GQueue) folders = g_queue_new();
    g_queue_push_tail(folders, g_strdup(folder));
    while (!g_queue_is_empty(folders)) {
        g_autofree char *here = g_queue_pop_head(folders);
        g_autoptr(GDir) dir = g_dir_open(here, 0, NULL);
        const char *name;
        while ((name = g_dir_read_name(dir)) != NULL) {
            char *path = g_build_filename(here, name, NULL);
            if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
                g_queue_push_tail(folders, path);
                continue;
            }
            if (g_str_has_suffix(name, ".json") && strchr("yni", name[0]) && name[1] == '_') {
                post_corpus_file(path, name, &accepted, &refused);
            }
            g_free(path);
        }
    }
    g_test_message("%u accepted as JSON, %u refused", accepted, refused);
    g_assert_cmpuint(accepted, >, 90);
    g_assert_cmpuint(refused, >, 180);
}

static void
test_deep_and_large_bodies_are_bounded(void)
{
    g_autofree char *deep = g_strnfill(100000, '[');
    g_autofree char *request = g_strdup_printf(
        "POST " PODS " HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n%s", deep);
    for (guint i = 0; i < 10000; i += 50) { /* 10,000 of them, 50 at a time */
        int fds[50];
        for (guint k = 0; k < 50; k++) {
            fds[k] = api_connect(api);
            api_send(fds[k], request, -1);
        }
        for (guint k = 0; k < 50; k++) {
            gsize got;
            g_autofree char *bytes = api_read_all(fds[k], 20000, &got);
            g_assert_true(g_str_has_prefix(bytes, "HTTP/1.1 400"));
            close(fds[k]);
        }
    }
    g_autofree char *large = g_strdup_printf(
        "POST " PODS " HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", 2 * 1024 * 1024);
    assert_answer(large, -1, 413);
    g_autoptr(GString) chunked =
        g_string_new("POST " PODS " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    g_autofree char *piece = g_strnfill(0x10000, ' ');
    for (guint i = 0; i < 20; i++) {
        g_string_append_printf(chunked, "10000\r\n%s\r\n", piece);
    }
    g_string_append(chunked, "0\r\n\r\n");
    assert_answer(chunked->str, (gssize)chunked->len, 413);
    g_assert_cmpint(api_peak_kib(api), <, PEAK_KIB);
}

/* ---- good clients beside bad ones ---- */

static int
compare_times(gconstpointer a, gconstpointer b)
{
    gint64 one = *(const gint64 *)a, other = *(const gint64 *)b;
    return (one > other) - (one < other);
}

/* Adds the times of @count reads of one object, one after the other. */
static void
be_a_good_client(GArray *times, guint count)
{
    for (guint i = 0; i < count; i++) {
        gint64 began = g_get_monotonic_time();
        g_autoptr(ApiAnswer) answer = api_call(api, "GET", "/v1/projects/default", NULL, NULL);
        gint64 took = g_get_monotonic_time() - began;
        g_assert_cmpuint(answer->status, ==, 200);
        g_array_append_val(times, took);
    }
}

static gint64
percentile_99(GArray *times)
{
    g_array_sort(times, compare_times);
    return g_array_index(times, gint64, times->len * 99 / 100);
}

/* Below 100 ms, stretched as far as others have the CPUs meanwhile. @load: from before. */
static void
assert_p99(GArray *times, ApiLoad *load, const char *beside)
{
    gint64 p99 = percentile_99(times);
    double stretch = api_stretch(api, load);
    g_test_message("p99 of %u reads beside %s: %.1f ms, a CPU 1/%.1f of the time", times->len,
                   beside, (double)p99 / 1000, stretch);
    g_assert_cmpfloat((double)p99, <, P99_US * stretch);
}

/* Half a head each, a byte now and then; all are ended after 10 s. */
static void
test_slow_heads_are_cut_and_nobody_notices(void)
{
    ApiLoad load = {{0}, {0}};
    api_stretch(api, &load);
    int fds[1000];
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = api_connect(api);
        api_send(fds[i], "GET /healthz HTTP/1.1\r\nHost:", -1);
    }
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(gint64));
    gint64 began = g_get_monotonic_time();
    while (g_get_monotonic_time() - began < 11 * G_USEC_PER_SEC) {
        for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
            gssize sent G_GNUC_UNUSED = send(fds[i], "a", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        be_a_good_client(times, 200);
    }
    assert_p99(times, &load, "1,000 slow heads");
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        gsize got;
        g_autofree char *bytes = api_read_all(fds[i], 5000, &got);
        g_assert_true(g_str_has_prefix(bytes, "HTTP/1.1 408"));
        close(fds[i]);
    }
}

/* A body at less than the least rate is ended, too; and so is an answer nobody takes. */
static void
test_slow_bodies_are_cut(void)
{
    ApiLoad load = {{0}, {0}};
    api_stretch(api, &load);
    int fds[100];
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = api_connect(api);
        api_send(fds[i], "POST " PODS " HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", -1);
    }
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(gint64));
    gint64 began = g_get_monotonic_time();
    guint ended = 0;
    while (ended < G_N_ELEMENTS(fds) && g_get_monotonic_time() - began < 20 * G_USEC_PER_SEC) {
        ended = 0;
        for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
            ended += send(fds[i], " ", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0;
        }
        be_a_good_client(times, 100);
    }
    assert_p99(times, &load, "100 slow bodies");
    g_assert_cmpuint(ended, ==, G_N_ELEMENTS(fds));
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        close(fds[i]);
    }
}

/* ---- S6 ---- */

/* @count requests at once on as many connections. Returns: how many were answered with @status. */
static guint
at_once(char **requests, guint count, guint status, guint other)
{
    g_autofree int *fds = g_new(int, count);
    guint matched = 0;
    for (guint i = 0; i < count; i++) {
        fds[i] = api_connect(api);
    }
    for (guint i = 0; i < count; i++) {
        api_send(fds[i], requests[i], -1);
    }
    for (guint i = 0; i < count; i++) {
        gsize got;
        g_autofree char *bytes = api_read_all(fds[i], 30000, &got);
        g_autoptr(ApiAnswer) answer = api_parse(bytes, got);
        if (answer->status != status && answer->status != other) {
            g_test_message("%s\n%s", answer->head, answer->body);
        }
        g_assert_true(answer->status == status || answer->status == other);
        matched += answer->status == status;
        close(fds[i]);
    }
    return matched;
}

static char **
make_requests(const char *method, const char *format, guint count, const char *body)
{
    char **requests = g_new0(char *, count + 1);
    for (guint i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("%s%u", format, i);
        requests[i] = g_strdup_printf("%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
                                      method, path, strlen(body), body);
    }
    return requests;
}

static void
test_a_thousand_creates_at_once(void)
{
    g_auto(GStrv) creates = make_requests("PUT", PODS "/many-", 1000, POD);
    gint64 began = g_get_monotonic_time();
    g_assert_cmpuint(at_once(creates, 1000, 201, 201), ==, 1000);
    g_test_message("1,000 creates at once: %.0f ms",
                   (double)(g_get_monotonic_time() - began) / 1000);
    g_auto(GStrv) deletes = make_requests("DELETE", PODS "/many-", 1000, "");
    g_assert_cmpuint(at_once(deletes, 1000, 200, 200), ==, 1000);
}

static void
test_of_a_thousand_with_one_name_one_wins(void)
{
    static const char named[] =
        "{\"metadata\":{\"name\":\"only\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
        "\"busybox\"}]}}";
    char **requests = g_new0(char *, 1001);
    for (guint i = 0; i < 1000; i++) {
        requests[i] = g_strdup_printf("POST " PODS " HTTP/1.1\r\nHost: a\r\n"
                                      "Content-Length: %zu\r\n\r\n%s",
                                      strlen(named), named);
    }
    g_assert_cmpuint(at_once(requests, 1000, 201, 409), ==, 1);
    g_strfreev(requests);
    /* The same for two kinds that share their names. */
    static const char vm[] = "{\"metadata\":{\"name\":\"both\"},\"spec\":{\"disks\":[{\"name\":"
                             "\"root\",\"size_mib\":64}]}}";
    static const char pod[] = "{\"metadata\":{\"name\":\"both\"},\"spec\":{\"containers\":[{"
                              "\"name\":\"c\",\"image\":\"busybox\"}]}}";
    requests = g_new0(char *, 201);
    for (guint i = 0; i < 200; i++) {
        const char *body = i % 2 == 0 ? vm : pod;
        requests[i] = g_strdup_printf("POST /v1/projects/default/%s HTTP/1.1\r\nHost: a\r\n"
                                      "Content-Length: %zu\r\n\r\n%s",
                                      i % 2 == 0 ? "vms" : "pods", strlen(body), body);
    }
    g_assert_cmpuint(at_once(requests, 200, 201, 409), ==, 1);
    g_strfreev(requests);
}

static void
test_connections_beyond_the_cap_are_told(void)
{
    int fds[1400];
    guint refused = 0;
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = api_connect(api);
    }
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        struct pollfd poller = {fds[i], POLLIN, 0};
        if (i >= 1280 && poll(&poller, 1, 5000) == 1) {
            gsize got;
            g_autofree char *bytes = api_read_all(fds[i], 5000, &got);
            refused +=
                g_str_has_prefix(bytes, "HTTP/1.1 429") && strstr(bytes, "Retry-After") != NULL;
        }
    }
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        close(fds[i]);
    }
    g_assert_cmpuint(refused, >=, 100);
    /* Until the daemon has seen that they hung up, it refuses others, too. */
    guint status = 0;
    for (gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
         status != 200 && g_get_monotonic_time() < end;) {
        g_autoptr(ApiAnswer) alive = api_call(api, "GET", "/healthz", NULL, NULL);
        status = alive->status;
    }
    g_assert_cmpuint(status, ==, 200);
}

/* ---- S7 ---- */

static void
test_watchers_that_never_read_cost_nothing(void)
{
    ApiLoad load = {{0}, {0}};
    api_stretch(api, &load);
    int fds[128];
    guint count = G_N_ELEMENTS(fds);
    for (guint i = 0; i < count; i++) {
        fds[i] = api_connect(api);
        int one = 1;
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &one, sizeof one);
        api_send(fds[i], "GET /v1/watch?since=0 HTTP/1.1\r\nHost: a\r\n\r\n", -1);
    }
    g_autofree char *note = g_strnfill(4000, 'n');
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(gint64));
    gint64 slowest = 0;
    for (guint i = 0; i < 500; i++) { /* 10 MB of changes for each of them */
        g_autofree char *body = g_strdup_printf(
            "{\"metadata\":{\"annotations\":{\"n\":\"%u\",\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\","
            "\"d\":\"%s\",\"e\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
            "\"image\":\"busybox\"}]}}",
            i, note, note, note, note, note);
        gint64 began = g_get_monotonic_time();
        g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/noisy", NULL, body);
        slowest = MAX(slowest, g_get_monotonic_time() - began);
        if (put->status != 200 && put->status != 201) {
            g_test_message("after %.1f s: %s %s", (double)slowest / 1e6, put->head, put->body);
        }
        g_assert_true(put->status == 200 || put->status == 201);
        be_a_good_client(times, 4);
    }
    g_test_message("slowest write: %.1f ms", (double)slowest / 1000);
    assert_p99(times, &load, "128 watchers that never read");
    g_assert_cmpint(slowest, <, 100 * P99_US); /* one may wait for a slow disk */
    g_test_message("peak of the API's process: %" G_GINT64_FORMAT " KiB", api_peak_kib(api));
    g_assert_cmpint(api_peak_kib(api), <, PEAK_KIB);
    for (guint i = 0; i < count; i++) {
        close(fds[i]);
    }
}

/* ---- who leaves ---- */

static gint64
cpu_ticks(void)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)api->pid);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) fields = g_strsplit(strrchr(text, ')'), " ", -1);
    return g_ascii_strtoll(fields[12], NULL, 10) + g_ascii_strtoll(fields[13], NULL, 10);
}

static gint64
connections(void)
{
    g_autoptr(ApiAnswer) answer = api_call(api, "GET", "/metrics", NULL, NULL);
    const char *at = strstr(answer->body, "\nberth_http_connections ");
    return g_ascii_strtoll(at + strlen("\nberth_http_connections "), NULL, 10);
}

/* Clients that leave in the middle of a wait, a watch or a body are forgotten, and nothing spins. */
static void
test_clients_that_leave_are_forgotten(void)
{
    static const char *const requests[] = {
        "PUT " PODS
        "/left HTTP/1.1\r\nHost: a\r\nPrefer: wait=300\r\nContent-Length: 76\r\n\r\n" POD,
        "GET /v1/watch HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT " PODS "/left HTTP/1.1\r\nHost: a\r\nContent-Length: 76\r\n\r\n{",
        "GET /v1/watch HTTP/1.1\r\nHost",
    };
    for (guint i = 0; i < 40; i++) {
        g_auto(BerthFd) fd = api_connect(api);
        api_send(fd, requests[i % G_N_ELEMENTS(requests)], -1);
        if (i % 8 < 4) {
            connections(); /* the server has surely seen it */
        }
    }
    gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (connections() > 1 && g_get_monotonic_time() < deadline) {
    }
    g_assert_cmpint(connections(), ==, 1);
    gint64 before = cpu_ticks();
    struct pollfd none = {-1, 0, 0};
    poll(&none, 1, 1500); /* what is measured is a time of rest */
    g_assert_cmpint(cpu_ticks() - before, <=, 2);
}

#define ADD(path, function) g_test_add_func("/daemon/server/" path, function)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    api = api_start();
    ADD("ambiguous-requests-are-refused", test_ambiguous_requests_are_refused);
    ADD("no-byte-behind-a-request-is-read-as-one", test_no_byte_behind_a_request_is_read_as_one);
    ADD("a-refusal-waits-for-the-body", test_a_refusal_waits_for_the_body);
    ADD("large-heads-are-refused", test_large_heads_are_refused);
    ADD("damaged-requests-do-no-harm", test_damaged_requests_do_no_harm);
    ADD("json-corpus", test_json_corpus);
    ADD("deep-and-large-bodies-are-bounded", test_deep_and_large_bodies_are_bounded);
    ADD("a-thousand-creates-at-once", test_a_thousand_creates_at_once);
    ADD("of-a-thousand-with-one-name-one-wins", test_of_a_thousand_with_one_name_one_wins);
    ADD("connections-beyond-the-cap-are-told", test_connections_beyond_the_cap_are_told);
    ADD("watchers-that-never-read-cost-nothing", test_watchers_that_never_read_cost_nothing);
    ADD("clients-that-leave-are-forgotten", test_clients_that_leave_are_forgotten);
    ADD("slow-heads-are-cut-and-nobody-notices", test_slow_heads_are_cut_and_nobody_notices);
    ADD("slow-bodies-are-cut", test_slow_bodies_are_cut);
    int result = g_test_run();
    api_stop(api);
    return result;
}
