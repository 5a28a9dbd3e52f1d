/* The berth program itself, in pipes and in a pseudo-terminal, against a scripted daemon. */
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <gio/gio.h>

#include "base/json.h"
#include "model/stream.h"
#include "tests/unit/cli/responder.h"

#define POD(phase, more)                                                                           \
    "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\",\"project\":\"default\",\"uid\":\"u1\","     \
    "\"generation\":1},\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"i\"}]},"           \
    "\"status\":{"                                                                                 \
    "\"phase\":\"" phase "\"" more "}}"

/* What the scripted process does, and what it saw. */
typedef struct {
    BerthStream *stream;
    int fd;
    gboolean echo;       /* send back what comes, until eof; then end with `code` */
    const char *trigger; /* end with `code` when stdin has this */
    const char *signal;  /* end with `code` on this signal */
    gboolean cut;        /* close without a word after "begin" was sent */
    int code;
    GString *log; /* control messages, as JSON lines */
    GString *stdin_bytes;
    GString *unsent; /* output that waits for credit */
    gboolean ended;
    const char *watch; /* lines of the watch */
} Script;

static void
flush(Script *script)
{
    gsize size;
    const void *bytes;
    while ((bytes = berth_stream_output(script->stream, &size)) != NULL && size > 0) {
        ssize_t sent = send(script->fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        berth_stream_consume(script->stream, (gsize)sent);
    }
}

static void
finish(Script *script)
{
    if (!script->ended && script->unsent->len == 0) {
        script->ended = TRUE;
        berth_stream_send_control(script->stream,
                                  json_pack("{s:s, s:i}", "type", "exit", "code", script->code));
        berth_stream_close(script->stream, 1000, "");
    }
}

static void
send_unsent(Script *script)
{
    gsize sent = berth_stream_send(script->stream, BERTH_STREAM_STDOUT, script->unsent->str,
                                   script->unsent->len);
    g_string_erase(script->unsent, 0, (gssize)sent);
}

static void
on_data(BerthStreamChannel channel, const void *bytes, gsize size, gpointer user_data)
{
    Script *script = user_data;
    g_string_append_len(script->stdin_bytes, bytes, (gssize)size);
    berth_stream_grant(script->stream, size);
    if (script->echo) {
        g_string_append_len(script->unsent, bytes, (gssize)size);
        send_unsent(script);
    }
    if (script->trigger != NULL && strstr(script->stdin_bytes->str, script->trigger) != NULL) {
        finish(script);
    }
}

static gboolean eof_seen(const Script *script);

static void
on_control(const char *type, const json_t *message, gpointer user_data)
{
    Script *script = user_data;
    g_autofree char *line = berth_json_format(message);
    g_string_append_printf(script->log, "%s\n", line);
    if (strcmp(type, "start") == 0) {
        berth_stream_send_control(script->stream,
                                  json_pack("{s:s, s:s}", "type", "started", "id", "1"));
        berth_stream_send(script->stream, BERTH_STREAM_STDOUT, "begin\n", 6);
        berth_stream_send(script->stream, BERTH_STREAM_STDERR, "trouble\n", 8);
        flush(script);
        if (script->cut) {
            shutdown(script->fd, SHUT_RDWR);
        }
    }
    if (strcmp(type, "signal") == 0 &&
        g_strcmp0(script->signal, berth_json_string(message, "name")) == 0) {
        finish(script);
    } else if (strcmp(type, "signal") == 0) {
        berth_stream_send(script->stream, BERTH_STREAM_STDOUT, "heard\n", 6);
        flush(script);
    }
    if (strcmp(type, "eof") == 0 && script->echo) {
        finish(script);
    }
}

static gboolean
eof_seen(const Script *script)
{
    return strstr(script->log->str, "\"eof\"") != NULL;
}

static void
on_granted(gpointer user_data)
{
    Script *script = user_data;
    send_unsent(script);
    if (script->echo && eof_seen(script)) {
        finish(script);
    }
}

static void
on_closed(guint code, gpointer user_data)
{
}

static char *
header_of(const char *request, const char *name)
{
    const char *start = strcasestr(request, name);
    start += strlen(name);
    return g_strstrip(g_strndup(start, strcspn(start, "\r\n")));
}

static void
serve_stream(int fd, const char *request, Script *script)
{
    static const BerthStreamEvents events = {on_data, on_control, on_granted, on_closed};
    g_autofree char *key = header_of(request, "Sec-WebSocket-Key:");
    g_autofree char *accept_key = berth_stream_key_accept(key);
    g_autofree char *head = g_strdup_printf(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: " BERTH_STREAM_PROTOCOL "\r\n\r\n",
        accept_key);
    responder_write(fd, head);
    script->fd = fd;
    script->stream = berth_stream_new(BERTH_STREAM_SERVER, &events, script);
    char buffer[16 * 1024];
    ssize_t got;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0 &&
           berth_stream_feed(script->stream, buffer, (gsize)got, NULL)) {
        flush(script);
    }
    berth_stream_free(script->stream);
}

static void
serve(int fd, const char *request, gpointer user_data)
{
    Script *script = user_data;
    if (strstr(request, "Upgrade: websocket") != NULL) {
        serve_stream(fd, request, script);
    } else if (g_str_has_prefix(request, "GET /v1/watch")) {
        responder_write(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n");
        responder_write(fd, script->watch);
        char rest;
        (void)!read(fd, &rest, 1);
    } else if (g_str_has_prefix(request, "GET /v1/images")) {
        responder_answer(
            fd, 200, "application/json",
            "{\"items\":[{\"kind\":\"Image\",\"metadata\":{\"name\":\"i\"},\"spec\":{\"type\":"
            "\"oci\",\"reference\":\"i\"},\"status\":{\"phase\":\"Ready\"}}]}");
    } else if (strstr(request, "s?limit=") != NULL) {
        responder_answer(fd, 200, "application/json", "{\"items\":[]}");
    } else if (g_str_has_prefix(request, "POST /v1/projects/default/pods ")) {
        g_string_append_printf(script->log, "%s\n", strstr(request, "\r\n\r\n") + 4);
        responder_answer(fd, 201, "application/json", POD("Pending", ""));
    } else if (g_str_has_prefix(request, "DELETE ")) {
        g_string_append(script->log, "deleted\n");
        responder_answer(fd, 202, "application/json", POD("Deleting", ""));
    } else if (strstr(request, "/pods/web ") != NULL && strstr(script->log->str, "gone") == NULL) {
        if (strstr(script->log->str, "deleted") != NULL) {
            g_string_append(script->log, "gone\n"); /* the next one who asks is told so */
        }
        responder_answer(fd, 200, "application/json", POD("Running", ""));
    } else {
        responder_answer(fd, 404, "application/problem+json",
                         "{\"code\":\"not-found\",\"detail\":\"there is no such thing\"}");
    }
}

static void
script_init(Script *script)
{
    *script = (Script){
        .log = g_string_new(NULL), .stdin_bytes = g_string_new(NULL), .unsent = g_string_new(NULL)};
}

static void
script_clear(Script *script)
{
    g_string_free(script->log, TRUE);
    g_string_free(script->stdin_bytes, TRUE);
    g_string_free(script->unsent, TRUE);
}

static const char *
program(void)
{
    static char *path;
    const char *build = g_getenv("TOP_BUILDDIR");
    if (path == NULL) {
        path = g_build_filename(build != NULL ? build : ".", "berth", NULL);
    }
    return path;
}

/* ---- pipes ---- */

static int
run_in_pipes(Responder *responder, const char *const *words, GBytes *input, GBytes **out,
             GBytes **err)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_ptr_array_add(argv, (gpointer)program());
    g_ptr_array_add(argv, (gpointer) "-c");
    g_ptr_array_add(argv, (gpointer)responder_path(responder));
    for (; *words != NULL; words++) {
        g_ptr_array_add(argv, (gpointer)*words);
    }
    g_ptr_array_add(argv, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocess) process = g_subprocess_newv(
        (const char *const *)argv->pdata,
        (input != NULL ? G_SUBPROCESS_FLAGS_STDIN_PIPE : G_SUBPROCESS_FLAGS_NONE) |
            G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE,
        &error);
    g_assert_no_error(error);
    g_assert_true(g_subprocess_communicate(process, input, NULL, out, err, &error));
    g_assert_true(g_subprocess_get_if_exited(process));
    return g_subprocess_get_exit_status(process);
}

static void
assert_bytes(GBytes *bytes, const char *wanted)
{
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);
    g_autofree char *text = g_strndup(data != NULL ? data : "", size);
    g_assert_cmpstr(text, ==, wanted);
}

static void
test_exec_keeps_streams_apart_and_the_exit_code(void)
{
    static const char *const words[] = {"exec", "-i", "-e", "A=1", "web", "cat", "-x", NULL};
    Script script;
    script_init(&script);
    script.echo = TRUE;
    script.code = 7;
    Responder *responder = responder_new(serve, &script);
    g_autoptr(GBytes) input = g_bytes_new_static("hello\n", 6);
    g_autoptr(GBytes) out = NULL;
    g_autoptr(GBytes) err = NULL;
    int code = run_in_pipes(responder, words, input, &out, &err);
    responder_free(responder);
    g_assert_cmpint(code, ==, 7);
    assert_bytes(out, "begin\nhello\n");
    assert_bytes(err, "trouble\n");
    g_assert_nonnull(strstr(script.log->str, "\"command\":[\"cat\",\"-x\"]"));
    g_assert_nonnull(strstr(script.log->str, "\"env\":[\"A=1\"]"));
    g_assert_nonnull(strstr(script.log->str, "\"tty\":false"));
    script_clear(&script);
}

/* Far more than the window in both directions: both sides must grant, and nothing may be lost. */
static void
test_megabytes_pass_both_ways(void)
{
    static const char *const words[] = {"exec", "-i", "web", "cat", NULL};
    gsize size = 20 * BERTH_STREAM_WINDOW + 17;
    guint8 *data = g_malloc(size);
    for (gsize i = 0; i < size; i++) {
        data[i] = (guint8)('a' + i % 23);
    }
    Script script;
    script_init(&script);
    script.echo = TRUE;
    Responder *responder = responder_new(serve, &script);
    g_autoptr(GBytes) input = g_bytes_new_take(data, size);
    g_autoptr(GBytes) out = NULL;
    g_autoptr(GBytes) err = NULL;
    int code = run_in_pipes(responder, words, input, &out, &err);
    responder_free(responder);
    g_assert_cmpint(code, ==, 0);
    g_assert_cmpuint(g_bytes_get_size(out), ==, size + 6);
    g_autoptr(GBytes) echoed = g_bytes_new_from_bytes(out, 6, size);
    g_assert_true(g_bytes_equal(input, echoed));
    script_clear(&script);
}

static void
test_what_cannot_be_run_is_125(void)
{
    static const char *const absent[] = {"exec", "nosuch", "true", NULL};
    static const char *const ports[] = {"run", "-p", "80:80", "i", NULL};
    static const char *const cut[] = {"exec", "web", "true", NULL};
    const char *const *all[] = {absent, ports, cut};
    static const char *const says[] = {"error: there is no pod 'nosuch'", "error: ports cannot be",
                                       "error: the connection to the daemon broke"};
    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        Script script;
        script_init(&script);
        script.cut = TRUE;
        Responder *responder = responder_new(serve, &script);
        g_autoptr(GBytes) out = NULL;
        g_autoptr(GBytes) err = NULL;
        int code = run_in_pipes(responder, all[i], NULL, &out, &err);
        responder_free(responder);
        g_assert_cmpint(code, ==, 125);
        g_autofree char *text = g_strndup(g_bytes_get_data(err, NULL), g_bytes_get_size(err));
        if (strstr(text, says[i]) == NULL) {
            g_error("'%s' does not say '%s'", text, says[i]);
        }
        script_clear(&script);
    }
}

static void
test_run_attaches_when_the_pod_runs(void)
{
    static const char *const words[] = {"run", "--rm", "-i", "--memory", "1g", "i", "cat", NULL};
    Script script;
    script_init(&script);
    script.echo = TRUE;
    script.code = 3;
    script.watch = "{\"type\":\"put\",\"object\":" POD(
        "Starting", "") "}\n"
                        "{\"type\":\"put\",\"object\":" POD("Running", "") "}\n";
    Responder *responder = responder_new(serve, &script);
    g_autoptr(GBytes) input = g_bytes_new_static("x", 1);
    g_autoptr(GBytes) out = NULL;
    g_autoptr(GBytes) err = NULL;
    int code = run_in_pipes(responder, words, input, &out, &err);
    responder_free(responder);
    g_assert_cmpint(code, ==, 3);
    assert_bytes(out, "begin\nx");
    g_assert_nonnull(strstr(script.log->str, "\"remove_when_done\":true"));
    g_assert_nonnull(strstr(script.log->str, "\"memory_mib\":1024"));
    g_assert_nonnull(strstr(script.log->str, "\"history\":-1"));
    g_assert_nonnull(strstr(script.log->str, "gone")); /* it waited for the end */
    script_clear(&script);
}

/* The user is told that it failed: it must not start by surprise when there is room later. */
static void
test_what_cannot_be_placed_is_said_and_taken_back(void)
{
    static const char *const words[] = {"run", "i", NULL};
    Script script;
    script_init(&script);
    /* While others are stopped to make room it is on its way. */
    script.watch = "{\"type\":\"put\",\"object\":" POD(
        "Pending",
        ",\"reason\":{\"code\":\"preempting\",\"message\":\"x "
        "is stopped\"}") "}\n"
                         "{\"type\":\"put\",\"object\":" POD("Pending", ",\"reason\":{\"code\":"
                                                                        "\"no-capacity\","
                                                                        "\"message\":\"h1 is "
                                                                        "short by 2 vCPUs\","
                                                                        "\"hint\":\"berth why "
                                                                        "web\"}") "}\n";
    Responder *responder = responder_new(serve, &script);
    g_autoptr(GBytes) out = NULL;
    g_autoptr(GBytes) err = NULL;
    int code = run_in_pipes(responder, words, NULL, &out, &err);
    responder_free(responder);
    g_assert_cmpint(code, ==, 125);
    assert_bytes(out, "");
    assert_bytes(err, "error: pod 'web' cannot run: h1 is short by 2 vCPUs\n"
                      "hint: it was not kept; berth host list shows what is free, and berth apply "
                      "makes pods that wait for room\n");
    g_assert_nonnull(strstr(script.log->str, "deleted"));
    script_clear(&script);
}

/* ---- a terminal ---- */

typedef struct {
    int fd;
    pid_t pid;
    GString *seen;
} Terminal;

static void
terminal_begin(Terminal *terminal, Responder *responder, const char *const *words)
{
    struct winsize size = {.ws_col = 91, .ws_row = 33};
    terminal->seen = g_string_new(NULL);
    terminal->pid = forkpty(&terminal->fd, NULL, NULL, &size);
    g_assert_cmpint(terminal->pid, >=, 0);
    if (terminal->pid == 0) {
        const char *argv[20] = {program(), "-c", responder_path(responder)};
        for (int i = 0; words[i] != NULL; i++) {
            argv[3 + i] = words[i];
        }
        execv(program(), (char **)argv);
        _exit(99);
    }
}

static void
terminal_expect(Terminal *terminal, const char *text)
{
    char buffer[1024];
    while (strstr(terminal->seen->str, text) == NULL) {
        ssize_t got = read(terminal->fd, buffer, sizeof buffer);
        if (got <= 0) {
            g_error("the terminal ended without '%s': %s", text, terminal->seen->str);
        }
        g_string_append_len(terminal->seen, buffer, got);
    }
}

static void
terminal_type(Terminal *terminal, const char *text)
{
    g_assert_cmpint(write(terminal->fd, text, strlen(text)), ==, (int)strlen(text));
}

static int
terminal_end(Terminal *terminal)
{
    char buffer[1024];
    int status;
    while (read(terminal->fd, buffer, sizeof buffer) > 0) {
    }
    g_assert_cmpint(waitpid(terminal->pid, &status, 0), ==, terminal->pid);
    close(terminal->fd);
    g_string_free(terminal->seen, TRUE);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static gboolean
is_raw(int fd)
{
    struct termios settings;
    g_assert_cmpint(tcgetattr(fd, &settings), ==, 0);
    return (settings.c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

static void
test_a_terminal_is_raw_and_its_size_goes_along(void)
{
    static const char *const words[] = {"exec", "-it", "web", "sh", NULL};
    Script script;
    script_init(&script);
    script.trigger = "\x03quit";
    script.echo = TRUE;
    script.code = 42;
    Responder *responder = responder_new(serve, &script);
    Terminal terminal;
    terminal_begin(&terminal, responder, words);
    terminal_expect(&terminal, "begin");
    g_assert_true(is_raw(terminal.fd));
    struct winsize size = {.ws_col = 120, .ws_row = 50};
    g_assert_cmpint(ioctl(terminal.fd, TIOCSWINSZ, &size), ==, 0);
    terminal_type(&terminal, "ping");
    terminal_expect(&terminal, "ping");
    terminal_type(&terminal, "\x03quit");
    g_assert_cmpint(terminal_end(&terminal), ==, 42);
    responder_free(responder);
    g_assert_nonnull(strstr(script.log->str, "\"tty\":true"));
    g_assert_nonnull(strstr(script.log->str, "\"columns\":91,\"rows\":33"));
    g_assert_nonnull(strstr(script.log->str, "\"resize\",\"columns\":120,\"rows\":50"));
    script_clear(&script);
}

static void
test_console_ends_with_its_key(void)
{
    static const char *const words[] = {"console", "web", NULL};
    Script script;
    script_init(&script);
    script.echo = TRUE;
    Responder *responder = responder_new(serve, &script);
    Terminal terminal;
    terminal_begin(&terminal, responder, words);
    terminal_expect(&terminal, "begin");
    terminal_type(&terminal, "hi");
    terminal_expect(&terminal, "hi");
    terminal_type(&terminal, "\x1d");
    g_assert_cmpint(terminal_end(&terminal), ==, 0);
    responder_free(responder);
    g_assert_cmpstr(script.stdin_bytes->str, ==, "hi");
    script_clear(&script);
}

static void
test_signals_go_to_the_process(void)
{
    static const char *const words[] = {"exec", "web", "sleep", "60", NULL};
    Script script;
    script_init(&script);
    script.signal = "TERM";
    script.code = 143;
    Responder *responder = responder_new(serve, &script);
    Terminal terminal;
    terminal_begin(&terminal, responder, words);
    terminal_expect(&terminal, "begin");
    terminal_type(&terminal,
                  "\x03"); /* the line discipline makes it SIGINT: passed on, not fatal */
    kill(terminal.pid, SIGTERM);
    g_assert_cmpint(terminal_end(&terminal), ==, 143);
    responder_free(responder);
    g_assert_nonnull(strstr(script.log->str, "{\"type\":\"signal\",\"name\":\"TERM\"}"));
    script_clear(&script);
}

static void
test_the_shell_reads_completes_and_ends(void)
{
    static const char *const words[] = {NULL};
    Script script;
    script_init(&script);
    Responder *responder = responder_new(serve, &script);
    Terminal terminal;
    g_autofree char *cache = g_dir_make_tmp("berth-cli-XXXXXX", NULL);
    g_setenv("XDG_CACHE_HOME", cache, TRUE);
    g_setenv("TERM", "xterm", TRUE);
    terminal_begin(&terminal, responder, words);
    terminal_expect(&terminal, "berth # ");
    terminal_type(&terminal, "domst\tweb\r");
    terminal_expect(&terminal, "running");
    terminal_type(&terminal, "nonsense\r");
    terminal_expect(&terminal, "unknown command");
    terminal_type(&terminal, "quit\r");
    g_assert_cmpint(terminal_end(&terminal), ==, 0);
    responder_free(responder);
    script_clear(&script);
    g_autofree char *history = g_build_filename(cache, "berth", "history", NULL);
    g_autofree char *folder = g_build_filename(cache, "berth", NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(history, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, "domstate"));
    unlink(history);
    rmdir(folder);
    rmdir(cache);
}

static void
test_the_third_interrupt_kills(void)
{
    static const char *const words[] = {"exec", "web", "sleep", "60", NULL};
    Script script;
    script_init(&script);
    script.signal = "KILL";
    script.code = 137;
    Responder *responder = responder_new(serve, &script);
    Terminal terminal;
    terminal_begin(&terminal, responder, words);
    terminal_expect(&terminal, "begin");
    terminal_type(&terminal, "\x03");
    terminal_expect(&terminal, "heard");
    g_assert_null(strstr(terminal.seen->str, "kills it"));
    terminal_type(&terminal, "\x03");
    terminal_expect(&terminal, "the next ^C kills it");
    terminal_type(&terminal, "\x03");
    g_assert_cmpint(terminal_end(&terminal), ==, 137);
    responder_free(responder);
    g_assert_nonnull(strstr(script.log->str, "{\"type\":\"signal\",\"name\":\"INT\"}"));
    script_clear(&script);
}

int
main(int argc, char **argv)
{
    responder_clear_environment();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/remote/exec-keeps-streams-apart-and-the-exit-code",
                    test_exec_keeps_streams_apart_and_the_exit_code);
    g_test_add_func("/cli/remote/megabytes-pass-both-ways", test_megabytes_pass_both_ways);
    g_test_add_func("/cli/remote/what-cannot-be-run-is-125", test_what_cannot_be_run_is_125);
    g_test_add_func("/cli/remote/run-attaches-when-the-pod-runs",
                    test_run_attaches_when_the_pod_runs);
    g_test_add_func("/cli/remote/what-cannot-be-placed-is-said-and-taken-back",
                    test_what_cannot_be_placed_is_said_and_taken_back);
    g_test_add_func("/cli/remote/a-terminal-is-raw-and-its-size-goes-along",
                    test_a_terminal_is_raw_and_its_size_goes_along);
    g_test_add_func("/cli/remote/console-ends-with-its-key", test_console_ends_with_its_key);
    g_test_add_func("/cli/remote/signals-go-to-the-process", test_signals_go_to_the_process);
    g_test_add_func("/cli/remote/the-third-interrupt-kills", test_the_third_interrupt_kills);
    g_test_add_func("/cli/shell/reads-completes-and-ends", test_the_shell_reads_completes_and_ends);
    return g_test_run();
}
