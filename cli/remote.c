/* One loop around poll(2): the WebSocket, stdin, stdout, stderr, signals.
 *
 * Invariants: nothing here blocks but poll; what waits for a slow stdout is bounded by the stream's window,
 * and the server is granted more only after we wrote. Start reading at berth_remote_run(). */
#include "cli/remote.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/interrupt.h"
#include "cli/problem.h"
#include "cli/terminal.h"
#include "model/stream.h"

#define HEAD_MAX (64 * 1024)
#define PING_MS 15000
/* Presses of ^C that follow each other faster than this mean one thing. */
#define INSIST_US (3 * G_USEC_PER_SEC)

typedef struct {
    int fd;
    GString *pending; /* received, not written yet */
    gboolean broken;  /* its reader is gone */
} Output;

typedef struct {
    const BerthRemotePlan *plan; /* borrowed */
    BerthConnection *connection; /* borrowed */
    BerthStream *stream;         /* owned */
    Output outputs[2];           /* stdout, stderr */
    GString *head;               /* what came before the WebSocket was open; NULL afterwards */
    char *key;                   /* owned; of the handshake */
    gboolean stdin_open;
    gsize detach_matched; /* bytes of the detach keys seen so far */
    guint presses;        /* of ^C, each soon after the one before */
    gint64 pressed_us;    /* monotonic: when the last was */
    gboolean ended, detached;
    int exit_code;
    GError *error; /* owned */
} Remote;

/* ---- what comes ---- */

static void
on_data(BerthStreamChannel channel, const void *bytes, gsize size, gpointer user_data)
{
    Remote *remote = user_data;
    Output *output = &remote->outputs[channel == BERTH_STREAM_STDERR];
    if (output->broken) {
        berth_stream_grant(remote->stream, size);
    } else {
        g_string_append_len(output->pending, bytes, size);
    }
}

static void
on_control(const char *type, const json_t *message, gpointer user_data)
{
    Remote *remote = user_data;
    if (strcmp(type, "exit") == 0) {
        remote->ended = TRUE;
        remote->exit_code = (int)(berth_json_integer(message, "code", 0) & 0xff);
    } else if (strcmp(type, "error") == 0) {
        remote->ended = TRUE;
        remote->exit_code = (int)(berth_json_integer(message, "exit", 0) & 0xff);
        if (remote->error == NULL) {
            berth_problem_set(&remote->error, 500, message, NULL);
        }
    }
}

static void
on_granted(gpointer user_data)
{
}

static void
on_closed(guint code, gpointer user_data)
{
    Remote *remote = user_data;
    if (!remote->ended) {
        remote->ended = TRUE;
        berth_error_set(&remote->error, BERTH_ERROR_UNAVAILABLE,
                        "the daemon closed the stream (%u)", code);
    }
}

/* ---- the opening ---- */

/* Finishes the handshake when its answer is complete; an ordinary answer is an error told by its body. */
static gboolean
open_stream(Remote *remote, gboolean at_end, GError **error)
{
    gsize used = 0;
    guint status = 0;
    if (!berth_stream_parse_answer(remote->head->str, remote->head->len, remote->key, &used,
                                   &status, error)) {
        return FALSE;
    }
    if (used == 0) {
        return TRUE;
    }
    if (status != 101) {
        const char *start = strchr(remote->head->str + used, '{');
        const char *end = strrchr(remote->head->str + used, '}');
        if (!at_end && (start == NULL || end == NULL)) {
            return TRUE; /* the body is still on its way */
        }
        g_autoptr(json_t) problem =
            start != NULL && end > start ? berth_json_parse(start, end + 1 - start, NULL) : NULL;
        return !at_end && problem == NULL ? TRUE : berth_problem_set(error, status, problem, NULL);
    }
    g_autoptr(GString) head = g_steal_pointer(&remote->head);
    return head->len == used ||
           berth_stream_feed(remote->stream, head->str + used, head->len - used, error);
}

static gboolean
take_bytes(Remote *remote, const char *bytes, gsize size, GError **error)
{
    if (remote->head == NULL) {
        return berth_stream_feed(remote->stream, bytes, size, error);
    }
    g_string_append_len(remote->head, bytes, size);
    if (remote->head->len > HEAD_MAX) {
        berth_error_set(error, BERTH_ERROR_CORRUPT, "the server's answer has no end");
        return FALSE;
    }
    return open_stream(remote, FALSE, error);
}

/* Reads all that is there: with TLS, bytes may wait in curl where poll does not see them. */
static gboolean
receive(Remote *remote, GError **error)
{
    char buffer[64 * 1024];
    for (;;) {
        g_autoptr(GError) lost = NULL;
        gssize got = berth_connection_receive(remote->connection, buffer, sizeof buffer, &lost);
        if (got == 0) {
            return TRUE;
        }
        if (got < 0 && remote->ended) {
            return TRUE;
        }
        if (got < 0) {
            if (remote->head != NULL && !open_stream(remote, TRUE, error)) {
                return FALSE;
            }
            g_propagate_error(error, g_steal_pointer(&lost));
            return FALSE;
        }
        if (!take_bytes(remote, buffer, got, error)) {
            return FALSE;
        }
    }
}

static gboolean
flush_stream(Remote *remote, GError **error)
{
    gsize size;
    const void *bytes;
    while ((bytes = berth_stream_output(remote->stream, &size)) != NULL && size > 0) {
        gssize sent = berth_connection_send(remote->connection, bytes, size, error);
        if (sent <= 0) {
            return sent == 0;
        }
        berth_stream_consume(remote->stream, sent);
    }
    return TRUE;
}

/* ---- what goes ---- */

static void
send_simple(Remote *remote, const char *type)
{
    berth_stream_send_control(remote->stream, json_pack("{s:s}", "type", type));
}

static void
send_size(Remote *remote)
{
    guint columns, rows;
    if (remote->plan->tty && berth_terminal_size(&columns, &rows)) {
        berth_stream_send_control(remote->stream,
                                  json_pack("{s:s, s:i, s:i}", "type", "resize", "columns",
                                            (int)columns, "rows", (int)rows));
    }
}

static void
send_start(Remote *remote)
{
    guint columns, rows;
    json_t *message = json_pack("{s:s}", "type", "start");
    json_object_update(message, (json_t *)remote->plan->start);
    json_object_set_new(message, "tty", json_boolean(remote->plan->tty));
    json_object_set_new(message, "stdin", json_boolean(remote->plan->with_stdin));
    if (remote->plan->tty && berth_terminal_size(&columns, &rows)) {
        json_object_set_new(message, "columns", json_integer(columns));
        json_object_set_new(message, "rows", json_integer(rows));
    }
    berth_stream_send_control(remote->stream, message);
}

/* Returns how many of @bytes stand before complete detach keys; the whole size when there are none.
 * Keys that are only begun are passed on: a shell's ^P still works. */
static gsize
find_detach(Remote *remote, const char *bytes, gsize size)
{
    const char *keys = remote->plan->tty ? remote->plan->detach : NULL;
    for (gsize i = 0; keys != NULL && i < size; i++) {
        remote->detach_matched = bytes[i] == keys[remote->detach_matched]
                                     ? remote->detach_matched + 1
                                 : bytes[i] == keys[0] ? 1
                                                       : 0;
        if (keys[remote->detach_matched] == '\0') {
            remote->detached = TRUE;
            return i;
        }
    }
    return size;
}

static void
read_stdin(Remote *remote)
{
    char buffer[16 * 1024];
    gsize room = MIN(sizeof buffer, berth_stream_credit(remote->stream));
    ssize_t got = read(STDIN_FILENO, buffer, room);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (got <= 0) {
        remote->stdin_open = FALSE;
        send_simple(remote, "eof");
        return;
    }
    gsize wanted = find_detach(remote, buffer, got);
    if (wanted > 0) {
        berth_stream_send(remote->stream, BERTH_STREAM_STDIN, buffer, wanted);
    }
}

/* poll says that PIPE_BUF bytes fit, so a pipe is never given more at once. */
static void
write_output(Remote *remote, Output *output)
{
    ssize_t wrote = write(output->fd, output->pending->str, MIN(output->pending->len, PIPE_BUF));
    if (wrote < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    output->broken = wrote < 0;
    gsize done = output->broken ? output->pending->len : (gsize)wrote;
    g_string_erase(output->pending, 0, done);
    berth_stream_grant(remote->stream, done);
}

static const char *
signal_name(int signum)
{
    switch (signum) {
    case SIGINT:
        return "INT";
    case SIGTERM:
        return "TERM";
    case SIGHUP:
        return "HUP";
    case SIGQUIT:
        return "QUIT";
    case SIGUSR1:
        return "USR1";
    default:
        return "USR2";
    }
}

/* A program that is PID 1 of its container never sees a signal that it does not catch: "sleep" cannot be
 * interrupted. Who goes on pressing means it. */
static const char *
name_to_send(Remote *remote, int signum)
{
    if (signum != SIGINT) {
        return signal_name(signum);
    }
    gint64 now_us = g_get_monotonic_time();
    remote->presses = now_us - remote->pressed_us < INSIST_US ? remote->presses + 1 : 1;
    remote->pressed_us = now_us;
    if (remote->presses == 2) {
        fprintf(stderr, "\nit does not end by itself; the next ^C kills it\n");
    }
    return remote->presses > 2 ? "KILL" : signal_name(signum);
}

static void
read_signals(Remote *remote, int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == sizeof info) {
        int signum = (int)info.ssi_signo;
        if (signum == SIGWINCH) {
            send_size(remote);
        } else if (remote->plan->forward_signals) {
            berth_stream_send_control(
                remote->stream,
                json_pack("{s:s, s:s}", "type", "signal", "name", name_to_send(remote, signum)));
        } else {
            remote->ended = TRUE;
            remote->exit_code = BERTH_EXIT_SIGNAL + signum;
        }
    }
}

/* ---- the loop ---- */

static gboolean
has_pending(const Remote *remote)
{
    return remote->outputs[0].pending->len > 0 || remote->outputs[1].pending->len > 0;
}

enum { SOCKET, SIGNALS, INPUT, OUTPUT, ERRORS, COUNT };

static void
fill_polls(Remote *remote, struct pollfd *polls, int signals)
{
    gsize waiting = 0;
    berth_stream_output(remote->stream, &waiting);
    gboolean reads = remote->stdin_open && remote->head == NULL && !remote->ended &&
                     berth_stream_credit(remote->stream) > 0;
    polls[SOCKET] = (struct pollfd){berth_connection_fd(remote->connection),
                                    POLLIN | (waiting > 0 ? POLLOUT : 0), 0};
    polls[SIGNALS] = (struct pollfd){signals, POLLIN, 0};
    polls[INPUT] = (struct pollfd){reads ? STDIN_FILENO : -1, POLLIN, 0};
    for (int i = 0; i < 2; i++) {
        const Output *output = &remote->outputs[i];
        polls[OUTPUT + i] = (struct pollfd){output->pending->len > 0 ? output->fd : -1, POLLOUT, 0};
    }
    if (remote->ended) {
        polls[SOCKET].fd = -1; /* nothing more is expected; what is pending gets written */
    }
}

static gboolean
handle_polls(Remote *remote, const struct pollfd *polls, GError **error)
{
    if (polls[SIGNALS].revents != 0) {
        read_signals(remote, polls[SIGNALS].fd);
    }
    if (polls[INPUT].revents != 0) {
        read_stdin(remote);
    }
    for (int i = 0; i < 2; i++) {
        if (polls[OUTPUT + i].revents != 0) {
            write_output(remote, &remote->outputs[i]);
        }
    }
    return polls[SOCKET].revents == 0 || receive(remote, error);
}

static gboolean
loop(Remote *remote, int signals, GError **error)
{
    while ((!remote->ended || has_pending(remote)) && !remote->detached) {
        struct pollfd polls[COUNT];
        if (!remote->ended && remote->head == NULL && !flush_stream(remote, error)) {
            return FALSE;
        }
        fill_polls(remote, polls, signals);
        int ready = poll(polls, COUNT, PING_MS);
        if (ready < 0 && errno != EINTR) {
            berth_error_set_errno(error, errno, "poll");
            return FALSE;
        }
        if (ready == 0 && remote->head == NULL) {
            berth_stream_ping(remote->stream);
        }
        if (ready > 0 && !handle_polls(remote, polls, error)) {
            return FALSE;
        }
    }
    if (remote->head == NULL) {
        berth_stream_close(remote->stream, 1000, "");
        flush_stream(remote, NULL);
    }
    if (remote->error != NULL) {
        g_propagate_error(error, g_steal_pointer(&remote->error));
        return FALSE;
    }
    return TRUE;
}

static gboolean
send_request(BerthSession *session, Remote *remote, GError **error)
{
    remote->key = berth_stream_key_new();
    g_autofree char *request =
        berth_stream_format_request(remote->plan->path, berth_client_host(session->client),
                                    remote->key, berth_client_authorization(session->client));
    gsize size = strlen(request), done = 0;
    while (done < size) {
        gssize sent = berth_connection_send(remote->connection, request + done, size - done, error);
        if (sent < 0) {
            return FALSE;
        }
        done += sent;
        struct pollfd writable = {berth_connection_fd(remote->connection), POLLOUT, 0};
        if (done < size) {
            poll(&writable, 1, PING_MS);
        }
    }
    send_start(remote);
    return TRUE;
}

static void
remote_init(Remote *remote, const BerthRemotePlan *plan, BerthConnection *connection)
{
    static const BerthStreamEvents events = {on_data, on_control, on_granted, on_closed};
    *remote = (Remote){.plan = plan, .connection = connection, .stdin_open = plan->with_stdin};
    remote->stream = berth_stream_new(BERTH_STREAM_CLIENT, &events, remote);
    remote->head = g_string_new(NULL);
    remote->outputs[0] = (Output){STDOUT_FILENO, g_string_new(NULL), FALSE};
    remote->outputs[1] = (Output){STDERR_FILENO, g_string_new(NULL), FALSE};
}

static void
remote_clear(Remote *remote)
{
    berth_stream_free(remote->stream);
    if (remote->head != NULL) {
        g_string_free(remote->head, TRUE);
    }
    g_string_free(remote->outputs[0].pending, TRUE);
    g_string_free(remote->outputs[1].pending, TRUE);
    g_free(remote->key);
    g_clear_error(&remote->error);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Remote, remote_clear)

/**
 * berth_remote_run:
 * @exit_code: (out): what the process ended with, 128+n for signal n; with BERTH_REMOTE_FAILED what a
 *     shell would end with (126, 127), 0 when that is not known
 *
 * Connects the streams until the process ends, the user detaches, or the connection breaks. Output is
 * passed on as it is: it is the program's, and a terminal on the other end needs it so.
 */
BerthRemoteEnd
berth_remote_run(BerthSession *session, const BerthRemotePlan *plan, int *exit_code, GError **error)
{
    fflush(stdout);
    g_autoptr(BerthConnection) connection = berth_client_connect(session->client, error);
    if (connection == NULL) {
        return BERTH_REMOTE_FAILED;
    }
    g_auto(Remote) remote;
    remote_init(&remote, plan, connection);
    if (!send_request(session, &remote, error)) {
        return BERTH_REMOTE_FAILED;
    }
    int signals = berth_interrupt_forward_begin();
    gboolean raw = plan->tty && plan->with_stdin && berth_terminal_raw(STDIN_FILENO);
    gboolean ok = loop(&remote, signals, error);
    if (raw) {
        berth_terminal_restore();
    }
    berth_interrupt_forward_end(signals);
    *exit_code = remote.exit_code;
    return !ok               ? BERTH_REMOTE_FAILED
           : remote.detached ? BERTH_REMOTE_DETACHED
                             : BERTH_REMOTE_EXITED;
}
