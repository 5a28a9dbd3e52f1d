/* The gate of all clients: reads heads by peeking, so that libmicrohttpd gets a connection only when
 * its whole head is there and was accepted. Invariant: each byte is looked at once (SO_PEEK_OFF), and a
 * connection holds at most BERTH_HEAD_MAX bytes here.
 *
 * It goes on watching connections after that, edge-triggered, to learn that a waiting client left. */
#include "daemon/server-private.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/problem.h"
#include "daemon/server-head.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#define EVENTS_PER_TURN 64

static void
set_peek_offset(int fd, int offset)
{
    setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
}

/* Answers on the bare socket; what does not fit into its buffer is lost with the connection. */
void
gate_refuse(int fd, guint status, const char *code, const char *detail, gboolean retry)
{
    g_autoptr(json_t) problem = berth_problem_new(code, status, detail, NULL, NULL, NULL);
    g_autofree char *body = berth_json_format(problem);
    g_autofree char *answer = g_strdup_printf(
        "HTTP/1.1 %u %s\r\nContent-Type: application/problem+json\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n%s\r\n%s",
        status, berth_status_title(status), strlen(body), retry ? "Retry-After: 1\r\n" : "", body);
    gssize sent G_GNUC_UNUSED = send(fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    /* Unread bytes at a close would make the kernel take the answer back (reset). */
    shutdown(fd, SHUT_WR);
    char sink[4096];
    for (guint i = 0; i < 16 && recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0; i++) {
    }
}

static void
refuse(Connection *connection, guint status, const char *detail)
{
    connection->server->figures.refused++;
    set_peek_offset(connection->fd, -1);
    gate_refuse(connection->fd, status, status == 431 ? "too-large" : "invalid", detail, FALSE);
    connection_close(connection);
}

static void
judge(Connection *connection, gsize size)
{
    g_autoptr(GError) error = NULL;
    guint status = 400;
    if (!berth_head_check(connection->head->str, size, &status, &error)) {
        refuse(connection, status, error->message);
        return;
    }
    set_peek_offset(connection->fd, -1);
    g_string_free(g_steal_pointer(&connection->head), TRUE);
    connection_hand_over(connection);
}

/* Looks at what came. Edge-triggered: reads until there is nothing, the head is complete, or too long. */
static void
peek(Connection *connection)
{
    char piece[4096];
    for (;;) {
        gssize got = recv(connection->fd, piece, sizeof piece, MSG_PEEK | MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got <= 0) {
            connection_close(connection);
            return;
        }
        g_string_append_len(connection->head, piece, got);
        gsize end =
            berth_head_find_end(connection->head->str, connection->head->len, &connection->scanned);
        if (end > 0 && end <= BERTH_HEAD_MAX) {
            judge(connection, end);
            return;
        }
        if (connection->head->len > BERTH_HEAD_MAX) {
            refuse(connection, 431, "the request's head is larger than 16 KiB");
            return;
        }
    }
}

/* Looks once more before @connection is given up. Returns: whether it left the gate, or is gone. */
gboolean
gate_look(Connection *connection)
{
    BerthServer *server = connection->server;
    peek(connection);
    return !g_hash_table_contains(server->connections, connection) || connection->handed_over;
}

static void
notice_hangup(Connection *connection, guint32 events)
{
    /* A half-closed client may still read. */
    if ((events & (EPOLLHUP | EPOLLERR)) != 0 &&
        (connection->phase == PHASE_WAITING || connection->phase == PHASE_STREAM)) {
        connection_abort(connection);
    }
}

static gboolean
dispatch(int fd, GIOCondition condition, gpointer data)
{
    BerthServer *server = data;
    struct epoll_event events[EVENTS_PER_TURN];
    int count = epoll_wait(server->gate_fd, events, EVENTS_PER_TURN, 0);
    for (int i = 0; i < count; i++) {
        Connection *connection = events[i].data.ptr;
        /* One closed earlier in this turn may be named by a later event. */
        if (!g_hash_table_contains(server->connections, connection)) {
            continue;
        }
        if (connection->handed_over) {
            notice_hangup(connection, events[i].events);
        } else {
            peek(connection);
        }
    }
    return G_SOURCE_CONTINUE;
}

gboolean
gate_init(BerthServer *server, GError **error)
{
    server->gate_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->gate_fd < 0) {
        berth_error_set_errno(error, errno, "can't make an epoll descriptor");
        return FALSE;
    }
    server->gate_source = g_unix_fd_source_new(server->gate_fd, G_IO_IN);
    g_source_set_callback(server->gate_source, G_SOURCE_FUNC(dispatch), server, NULL);
    g_source_attach(server->gate_source, g_main_context_get_thread_default());
    return TRUE;
}

void
gate_clear(BerthServer *server)
{
    if (server->gate_source != NULL) {
        g_source_destroy(server->gate_source);
        g_source_unref(server->gate_source);
    }
    if (server->gate_fd >= 0) {
        close(server->gate_fd);
    }
}

/* Begins to watch @connection; bytes that are there already count as an edge. */
gboolean
gate_add(Connection *connection)
{
    struct epoll_event event = {.events = EPOLLET | EPOLLRDHUP | EPOLLIN, .data.ptr = connection};
    connection->head = g_string_sized_new(1024);
    set_peek_offset(connection->fd, 0);
    return epoll_ctl(connection->server->gate_fd, EPOLL_CTL_ADD, connection->fd, &event) == 0;
}
