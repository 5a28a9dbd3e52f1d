/* See api-fixture.h. */
#include "tests/unit/daemon/api-fixture.h"

#include "base/fd.h"
#include "daemon/log.h"
#include "daemon/routes.h"
#include "daemon/server.h"
#include "tests/folder.h"

#include <errno.h>
#include <arpa/inet.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the API's process ---- */

static gboolean
quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static void
answer_content(gpointer data, BerthObject *image, const char *path, BerthAnswer answer,
               gpointer user_data)
{
    unlink(path);
    answer("", NULL, user_data);
}

static void
answer_why(gpointer data, BerthObject *object, BerthAnswer answer, gpointer user_data)
{
    answer("{\"host\":null}", NULL, user_data);
}

/* An exec that says its command on stderr, then sends its input back, and ends with 7 at its end. */
typedef struct {
    BerthStreamHandle handle;
    BerthStreamPeer *peer;
    GString *err, *out; /* what waits for credit */
    gsize credit;
    gboolean eof;
} Echo;

static void
echo_part(Echo *echo, guint channel, GString *text)
{
    gsize part = MIN(text->len, echo->credit);
    if (part > 0) {
        echo->credit -= part;
        echo->peer->ops->output(echo->peer, channel, text->str, part);
        g_string_erase(text, 0, (gssize)part);
    }
}

static void
echo_flush(Echo *echo)
{
    gsize before = echo->out->len;
    echo_part(echo, 2, echo->err);
    echo_part(echo, 1, echo->out);
    if (before > echo->out->len) {
        echo->peer->ops->grant_input(echo->peer, before - echo->out->len);
    }
    if (echo->eof && echo->out->len == 0) {
        echo->peer->ops->finished(echo->peer, 7, NULL);
    }
}

static void
echo_input(BerthStreamHandle *handle, const void *data, gsize size)
{
    g_string_append_len(((Echo *)handle)->out, data, (gssize)size);
    echo_flush((Echo *)handle);
}

static void
echo_eof(BerthStreamHandle *handle)
{
    ((Echo *)handle)->eof = TRUE;
    echo_flush((Echo *)handle);
}

static void
echo_grant(BerthStreamHandle *handle, gsize size)
{
    ((Echo *)handle)->credit += size;
    echo_flush((Echo *)handle);
}

static void
echo_resize(BerthStreamHandle *handle, guint columns, guint rows)
{
}

static void
echo_signal(BerthStreamHandle *handle, const char *name)
{
}

static void
echo_close(BerthStreamHandle *handle, gboolean lost)
{
    g_string_free(((Echo *)handle)->err, TRUE);
    g_string_free(((Echo *)handle)->out, TRUE);
    g_free(handle);
}

static BerthStreamHandle *
open_echo(gpointer data, BerthObject *object, const BerthStreamQuery *query, BerthStreamPeer *peer,
          GError **error)
{
    static const BerthStreamHandleOps ops = {echo_input,  echo_eof,    echo_grant,
                                             echo_resize, echo_signal, echo_close};
    Echo *echo = g_new0(Echo, 1);
    echo->handle.ops = &ops;
    echo->peer = peer;
    peer->ops->started(peer, "e1");
    echo->err = g_string_new(query->argv[0]);
    echo->out = g_string_new(NULL);
    return &echo->handle;
}

static void
raise_descriptor_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = MIN(limit.rlim_max, 65536);
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void
listen_on(BerthServer *server, const ApiFixture *api)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthConfig) config = berth_config_new();
    g_free(config->socket);
    config->socket = g_strdup(api->socket);
    if (api->port != 0) {
        config->tcp = g_strdup_printf("127.0.0.1:%u", api->port);
        config->tls_certificate = g_build_filename(api->folder, "certificate.pem", NULL);
        config->tls_key = g_build_filename(api->folder, "key.pem", NULL);
        config->token_file = g_build_filename(api->folder, "tokens", NULL);
    }
    berth_server_listen(server, config, &error);
    g_assert_no_error(error);
}

static int
serve(const ApiFixture *api)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autofree char *database = g_build_filename(api->folder, "berth.db", NULL);
    BerthWorkloadOps ops = {
        .why = answer_why, .exec_open = open_echo, .image_content = answer_content};
    berth_log_set_level(BERTH_LOG_ERROR);
    signal(SIGPIPE, SIG_IGN);
    BerthStore *store = berth_store_sqlite_open(database, &error);
    g_assert_no_error(error);
    BerthCatalog *catalog =
        berth_catalog_new(store, berth_clock_system(), berth_random_system(), &error);
    g_assert_no_error(error);
    berth_catalog_ensure_defaults(catalog);
    berth_catalog_drain(catalog);
    BerthWatchHub *hub = berth_watch_hub_new(catalog);
    BerthRoutes *routes = berth_routes_new(catalog, hub, api->folder, &ops);
    berth_routes_add_verb(routes, &berth_kind_pod, "reboot", NULL, "Restarts the guest.");
    BerthServer *server =
        berth_server_new(berth_routes_server_ops(), routes, berth_clock_system(), NULL, &error);
    g_assert_no_error(error);
    listen_on(server, api);
    guint term = g_unix_signal_add(SIGTERM, quit, loop);
    g_main_loop_run(loop);
    (void)term;
    berth_server_free(server);
    berth_catalog_drain(catalog);
    berth_routes_free(routes);
    berth_watch_hub_free(hub);
    berth_catalog_free(catalog);
    berth_store_free(store);
    return 0;
}

static struct sockaddr_in
tcp_address(const ApiFixture *api)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons(api->port)};
}

/* TCP comes after the unix socket. */
static gboolean
answers(const ApiFixture *api)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct sockaddr_in tcp = tcp_address(api);
    g_strlcpy(address.sun_path, api->socket, sizeof address.sun_path);
    g_auto(BerthFd) unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_auto(BerthFd) tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(unix_fd, (struct sockaddr *)&address, sizeof address) == 0 &&
           (api->port == 0 || connect(tcp_fd, (struct sockaddr *)&tcp, sizeof tcp) == 0);
}

static void
spawn(ApiFixture *api)
{
    unlink(api->socket);
    api->pid = fork();
    g_assert_cmpint(api->pid, >=, 0);
    if (api->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test must not leave it behind */
        exit(serve(api));
    }
    gint64 deadline = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    while (!answers(api)) {
        g_assert_cmpint(waitpid(api->pid, NULL, WNOHANG), ==, 0);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(2000); /* polls for a file, does not order anything */
    }
}

static ApiFixture *
new_fixture(void)
{
    ApiFixture *api = g_new0(ApiFixture, 1);
    api->folder = g_dir_make_tmp("berth-api-XXXXXX", NULL);
    api->socket = g_build_filename(api->folder, "s", NULL);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    return api;
}

ApiFixture *
api_start(void)
{
    ApiFixture *api = new_fixture();
    spawn(api);
    return api;
}

static gboolean
make_credentials(const ApiFixture *api)
{
    g_autofree char *certificate = g_build_filename(api->folder, "certificate.pem", NULL);
    g_autofree char *key = g_build_filename(api->folder, "key.pem", NULL);
    g_autofree char *tokens = g_build_filename(api->folder, "tokens", NULL);
    const char *argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:prime256v1",
                          "-nodes",
                          "-subj",
                          "/CN=localhost",
                          "-keyout",
                          key,
                          "-out",
                          certificate,
                          NULL};
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, API_TOKEN, -1);
    g_autofree char *line = g_strdup_printf("tester %s\n", hash);
    int status = 1;
    return g_file_set_contents_full(tokens, line, -1, G_FILE_SET_CONTENTS_NONE, 0600, NULL) &&
           g_spawn_sync(NULL, (char **)argv, NULL,
                        G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
                            G_SPAWN_STDERR_TO_DEV_NULL,
                        NULL, NULL, NULL, NULL, &status, NULL) &&
           status == 0;
}

/* A port that was free a moment ago. */
static guint16
find_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    g_auto(BerthFd) fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &size), ==, 0);
    return ntohs(address.sin_port);
}

ApiFixture *
api_start_tls(void)
{
    ApiFixture *api = new_fixture();
    if (!make_credentials(api)) {
        folder_remove(api->folder);
        g_free(api->folder);
        g_free(api->socket);
        g_free(api);
        return NULL;
    }
    api->port = find_port();
    spawn(api);
    return api;
}

void
api_stop(ApiFixture *api)
{
    int status = 0;
    kill(api->pid, SIGTERM);
    g_assert_cmpint(waitpid(api->pid, &status, 0), ==, api->pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    folder_remove(api->folder);
    g_free(api->folder);
    g_free(api->socket);
    g_free(api);
}

void
api_crash_and_restart(ApiFixture *api)
{
    kill(api->pid, SIGKILL);
    waitpid(api->pid, NULL, 0);
    spawn(api);
}

gint64
api_peak_kib(const ApiFixture *api)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)api->pid);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    const char *line = strstr(text, "VmHWM:");
    return g_ascii_strtoll(line + strlen("VmHWM:"), NULL, 10);
}

double
api_stretch(const ApiFixture *api, ApiLoad *load)
{
    const pid_t pids[] = {api->pid, getpid()};
    double stretch = 1;
    for (guint i = 0; i < G_N_ELEMENTS(pids); i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/schedstat", (int)pids[i]);
        g_autofree char *text = NULL;
        char *next = NULL;
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        gint64 on = g_ascii_strtoll(text, &next, 10), off = g_ascii_strtoll(next, NULL, 10);
        double ran = (double)MAX(on - load->on[i], 1);
        stretch = MAX(stretch, (ran + (double)(off - load->off[i])) / ran);
        load->on[i] = on;
        load->off[i] = off;
    }
    return stretch;
}

/* ---- the client ---- */

int
api_connect(const ApiFixture *api)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, api->socket, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

int
api_connect_tcp(const ApiFixture *api)
{
    struct sockaddr_in address = tcp_address(api);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

/* A server that refused early may have closed: what it said is read all the same. */
void
api_send(int fd, const void *bytes, gssize size)
{
    gsize left = size < 0 ? strlen(bytes) : (gsize)size;
    const char *next = bytes;
    while (left > 0) {
        gssize sent = send(fd, next, left, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        next += sent;
        left -= (gsize)sent;
    }
}

char *
api_read_all(int fd, int timeout_ms, gsize *size)
{
    GString *all = g_string_new(NULL);
    char piece[65536];
    struct pollfd poller = {fd, POLLIN, 0};
    while (poll(&poller, 1, timeout_ms) > 0) {
        gssize got = recv(fd, piece, sizeof piece, 0);
        if (got <= 0) {
            break;
        }
        g_string_append_len(all, piece, got);
    }
    *size = all->len;
    return g_string_free(all, FALSE);
}

void
api_answer_free(ApiAnswer *answer)
{
    g_free(answer->head);
    g_free(answer->body);
    json_decref(answer->json);
    g_free(answer);
}

/* Bodies of unknown length come in chunks. */
static char *
join_chunks(const char *body, gsize size)
{
    GString *joined = g_string_new(NULL);
    const char *next = body, *end = body + size;
    while (next < end) {
        gsize length = g_ascii_strtoull(next, NULL, 16);
        const char *data = g_strstr_len(next, end - next, "\r\n");
        if (length == 0 || data == NULL || data + 2 + length > end) {
            break;
        }
        g_string_append_len(joined, data + 2, (gssize)length);
        next = data + 2 + length + 2;
    }
    return g_string_free(joined, FALSE);
}

ApiAnswer *
api_parse(const char *bytes, gsize size)
{
    ApiAnswer *answer = g_new0(ApiAnswer, 1);
    const char *end = g_strstr_len(bytes, (gssize)size, "\r\n\r\n");
    if (end == NULL || !g_str_has_prefix(bytes, "HTTP/1.1 ")) {
        answer->head = g_strndup(bytes, size);
        return answer;
    }
    answer->status = (guint)g_ascii_strtoull(bytes + 9, NULL, 10);
    answer->head = g_strndup(bytes, (gsize)(end - bytes));
    gsize body = size - (gsize)(end + 4 - bytes);
    g_autofree char *coding = api_header(answer, "Transfer-Encoding");
    answer->body = coding != NULL ? join_chunks(end + 4, body) : g_strndup(end + 4, body);
    answer->json = json_loads(answer->body, 0, NULL);
    return answer;
}

ApiAnswer *
api_raw(const ApiFixture *api, const void *request, gssize size)
{
    g_auto(BerthFd) fd = api_connect(api);
    api_send(fd, request, size);
    gsize got;
    g_autofree char *bytes = api_read_all(fd, 60000, &got);
    return api_parse(bytes, got);
}

ApiAnswer *
api_call(const ApiFixture *api, const char *method, const char *target, const char *headers,
         const char *body)
{
    g_autofree char *length =
        body != NULL ? g_strdup_printf("Content-Length: %zu\r\n", strlen(body)) : g_strdup("");
    g_autofree char *request =
        g_strdup_printf("%s %s HTTP/1.1\r\nHost: test\r\n%s%s\r\n%s", method, target, length,
                        headers != NULL ? headers : "", body != NULL ? body : "");
    return api_raw(api, request, -1);
}

char *
api_header(const ApiAnswer *answer, const char *name)
{
    g_auto(GStrv) lines = g_strsplit(answer->head, "\r\n", -1);
    gsize length = strlen(name);
    for (char **line = lines; *line != NULL; line++) {
        if (g_ascii_strncasecmp(*line, name, length) == 0 && (*line)[length] == ':') {
            return g_strstrip(g_strdup(*line + length + 1));
        }
    }
    return NULL;
}
