/* Connections, caps and deadlines. Invariant: every connection is in `connections` from accept to
 * close, has a phase, and each phase that waits for the client has an absolute deadline.
 *
 * libmicrohttpd never accepts: it is given connections (server-gate.c for the unix socket). Its epoll
 * descriptor is one GSource. Start reading at server_accept(). */
#include "daemon/server-private.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/log.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

gint64
server_now(BerthServer *server)
{
    return berth_clock_monotonic_us(server->clock);
}

/* ---- connections ---- */

static void
free_connection(gpointer data)
{
    Connection *connection = data;
    if (!connection->handed_over && connection->fd >= 0) {
        close(connection->fd);
    }
    if (connection->head != NULL) {
        g_string_free(connection->head, TRUE);
    }
    g_clear_pointer(&connection->actor, berth_actor_free);
    g_free(connection);
}

static void
drop_connection(Connection *connection)
{
    BerthServer *server = connection->server;
    if (connection->front != NULL) {
        tls_connection_ended(connection->front);
    }
    peer_leave(connection);
    server->figures.connections--;
    if (g_hash_table_lookup(server->by_fd, GINT_TO_POINTER(connection->fd)) == connection) {
        g_hash_table_remove(server->by_fd, GINT_TO_POINTER(connection->fd));
    }
    g_hash_table_remove(server->connections, connection);
}

void
connection_close(Connection *connection)
{
    g_assert(!connection->handed_over);
    drop_connection(connection);
}

void
connection_forget(Connection *connection)
{
    drop_connection(connection);
}

/* Makes both directions fail, so that libmicrohttpd ends the connection by itself. */
void
connection_abort(Connection *connection)
{
    shutdown(connection->fd, SHUT_RDWR);
    connection->ending = TRUE;
    if (connection->request != NULL) {
        request_tell_gone(connection->request);
        connection->request->aborted = TRUE;
        request_resume(connection->request);
    }
}

void
connection_set_phase(Connection *connection, Phase phase)
{
    connection->phase = phase;
    connection->since_us = server_now(connection->server);
}

/* From here on the socket is libmicrohttpd's. */
gboolean
connection_hand_over(Connection *connection)
{
    BerthServer *server = connection->server;
    struct sockaddr address = {.sa_family = AF_UNIX};
    g_hash_table_replace(server->by_fd, GINT_TO_POINTER(connection->fd), connection);
    connection->handed_over = TRUE;
    if (MHD_add_connection(server->daemon, connection->fd, &address, sizeof(sa_family_t)) !=
        MHD_YES) {
        drop_connection(connection); /* it has closed the socket */
        return FALSE;
    }
    server_run_soon(server);
    return TRUE;
}

/* ---- deadlines ---- */

static gint64
deadline_of(const Connection *connection)
{
    const BerthServerLimits *limits = &connection->server->limits;
    const BerthRequest *request = connection->request;
    gint64 grace = (gint64)limits->head_timeout_s * G_USEC_PER_SEC;
    switch (connection->phase) {
    case PHASE_HEAD:
        return connection->since_us + grace;
    case PHASE_BODY:
        return connection->since_us + grace +
               (gint64)(request->received / limits->body_bytes_per_s) * G_USEC_PER_SEC;
    case PHASE_ANSWER:
        return connection->since_us + STREAM_STALL_US +
               (gint64)(request->answer_size / ANSWER_BYTES_PER_S) * G_USEC_PER_SEC;
    default:
        return G_MAXINT64;
    }
}

static void
expire(Connection *connection)
{
    BerthServer *server = connection->server;
    server->figures.refused++;
    berth_log(BERTH_LOG_DEBUG, "a slow or absent client was cut off", "peer",
              connection->actor->peer, NULL);
    if (connection->handed_over) {
        connection_abort(connection);
    } else {
        gate_refuse(connection->fd, 408, "timeout", "the request's head did not come in time",
                    FALSE);
        connection_close(connection);
    }
}

static int
unread_bytes(const Connection *connection)
{
    int unread = 0;
    return ioctl(connection->fd, FIONREAD, &unread) == 0 ? unread : 0;
}

/* Bytes that came and were not read yet wait for us, not for the client. (The gate only peeks, so what it holds
 * says nothing; see gate_look().) */
static gboolean
is_late(const Connection *connection, gint64 now)
{
    gboolean incoming = connection->phase == PHASE_HEAD || connection->phase == PHASE_BODY;
    return now >= deadline_of(connection) &&
           !(connection->handed_over && incoming && unread_bytes(connection) > 0);
}

/* Whether the client ended its side in the middle of a body: seen in two sweeps, because between them whatever had
 * come by the first one was surely read. */
static gboolean
is_cut_short(Connection *connection)
{
    if (connection->phase != PHASE_BODY || unread_bytes(connection) > 0) {
        return FALSE;
    }
    guint64 received = connection->request->received + 1;
    gboolean again = connection->ended_after == received;
    connection->ended_after = received;
    return again;
}

/* Whether the client left, or will never send the rest. The gate's edges alone don't tell: one may have come
 * before the phase in which it matters. */
static gboolean
has_left(Connection *connection)
{
    struct pollfd poller = {connection->fd, POLLRDHUP, 0};
    if (!connection->handed_over || connection->phase == PHASE_ANSWER ||
        connection->phase == PHASE_UPGRADED || poll(&poller, 1, 0) != 1) {
        return FALSE;
    }
    return (poller.revents & (POLLHUP | POLLERR)) != 0 || is_cut_short(connection);
}

/* Once a second while there are connections. */
static gboolean
sweep(gpointer data)
{
    BerthServer *server = data;
    gint64 now = server_now(server);
    g_autoptr(GPtrArray) late = g_ptr_array_new();
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, server->connections);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        Connection *connection = key;
        if (is_late(connection, now) || has_left(connection)) {
            g_ptr_array_add(late, connection);
        } else if (connection->phase == PHASE_STREAM && connection->request != NULL) {
            request_sweep(connection->request, now);
        }
    }
    for (guint i = 0; i < late->len; i++) {
        Connection *connection = late->pdata[i];
        /* A head that came in time may wait for us, not for its client. */
        if (!connection->handed_over && gate_look(connection)) {
            continue;
        }
        expire(connection);
    }
    if (g_hash_table_size(server->connections) > 0) {
        return G_SOURCE_CONTINUE;
    }
    g_clear_pointer(&server->sweep, g_source_unref);
    return G_SOURCE_REMOVE;
}

static void
arm_sweep(BerthServer *server)
{
    if (server->sweep == NULL) {
        server->sweep = g_timeout_source_new_seconds(1);
        g_source_set_callback(server->sweep, sweep, server, NULL);
        g_source_attach(server->sweep, g_main_context_get_thread_default());
    }
}

/* ---- accepting ---- */

static BerthActor *
actor_from_address(int fd, GError **error)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getpeername(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "a client left before it was accepted");
        return NULL;
    }
    BerthActor *actor = g_new0(BerthActor, 1);
    actor->origin = g_strdup_printf("%s:%s", host, port);
    actor->peer = g_strdup(host);
    return actor;
}

/* Whether there is room for one more of @actor's peer; answers and says no otherwise. */
static gboolean
admit(BerthServer *server, const BerthActor *actor, int fd, gboolean tls)
{
    guint count = peer_connections(server, actor->peer);
    gboolean peer_full = count >= server->limits.connections_per_peer;
    if (!peer_full && (server->figures.connections < server->limits.connections ||
                       peers_make_room(server, actor->peer))) {
        return TRUE;
    }
    server->figures.refused++;
    if (!tls) {
        gate_refuse(fd, peer_full ? 429 : 503, "exhausted",
                    peer_full ? "this client has too many connections"
                              : "the server has too many connections",
                    TRUE);
    }
    return FALSE;
}

/* Makes a connection of a client that was accepted on a TLS or a unix socket; @accepted is taken over. */
void
server_accept(BerthServer *server, int accepted, gboolean tls)
{
    g_auto(BerthFd) fd = accepted;
    g_autoptr(GError) error = NULL;
    server->figures.accepted++;
    g_autoptr(BerthActor) actor =
        tls ? actor_from_address(fd, &error) : berth_actor_from_unix(fd, &error);
    if (actor == NULL || !admit(server, actor, fd, tls)) {
        return;
    }
    Connection *connection = g_new0(Connection, 1);
    connection->server = server;
    connection->fd = -1;
    if (tls && !tls_begin(connection, fd)) {
        g_free(connection);
        return;
    }
    int taken = berth_fd_steal(&fd);
    connection->fd = tls ? connection->fd : taken;
    connection->actor = g_steal_pointer(&actor);
    connection_set_phase(connection, PHASE_HEAD);
    g_hash_table_add(server->connections, connection);
    server->figures.connections++;
    peer_join(connection, connection->actor->peer);
    arm_sweep(server);
    if (!gate_add(connection)) {
        connection_close(connection);
    }
}

/* ---- libmicrohttpd as a GSource ---- */

typedef struct {
    GSource source;
    BerthServer *server;
    struct MHD_Daemon *daemon;
    gpointer fd_tag;
} DaemonSource;

static gboolean
daemon_prepare(GSource *source, int *timeout)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(((DaemonSource *)source)->daemon, &ms) != MHD_YES) {
        *timeout = -1;
        return FALSE;
    }
    *timeout = (int)MIN(ms, 3600 * 1000);
    return ms == 0;
}

static gboolean
daemon_check(GSource *source)
{
    DaemonSource *daemon = (DaemonSource *)source;
    MHD_UNSIGNED_LONG_LONG ms;
    return g_source_query_unix_fd(source, daemon->fd_tag) != 0 ||
           (MHD_get_timeout(daemon->daemon, &ms) == MHD_YES && ms == 0);
}

static gboolean
daemon_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    BerthServer *server = ((DaemonSource *)source)->server;
    g_source_set_ready_time(source, -1);
    server->budget_us = STREAM_BUDGET_US;
    peers_begin_turn(server);
    MHD_run(((DaemonSource *)source)->daemon);
    request_resume_throttled(server);
    peers_give_turns(server);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs daemon_source = {
    .prepare = daemon_prepare,
    .check = daemon_check,
    .dispatch = daemon_dispatch,
};

/* libmicrohttpd does not say that a resumed connection wants its next run. */
void
server_run_soon(BerthServer *server)
{
    g_source_set_ready_time(server->daemon_source, 0);
}

static GSource *
attach_daemon(BerthServer *server, struct MHD_Daemon *daemon)
{
    GSource *source = g_source_new(&daemon_source, sizeof(DaemonSource));
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    ((DaemonSource *)source)->server = server;
    ((DaemonSource *)source)->daemon = daemon;
    ((DaemonSource *)source)->fd_tag = g_source_add_unix_fd(source, info->epoll_fd, G_IO_IN);
    g_source_attach(source, g_main_context_get_thread_default());
    return source;
}

/* ---- life ---- */

static void
take_limits(BerthServer *server, const BerthServerLimits *limits)
{
    static const BerthServerLimits defaults = {
        .connections = 2048,
        .connections_per_peer = 1280,
        .streams = 512,
        .streams_per_peer = 128,
        .held = (gsize)64 * 1024 * 1024,
        .held_per_peer = (gsize)32 * 1024 * 1024,
        .head_timeout_s = 10,
        .body_bytes_per_s = 4096,
    };
    const BerthServerLimits *given = limits != NULL ? limits : &defaults;
    server->limits = (BerthServerLimits){
        given->connections ?: defaults.connections,
        given->connections_per_peer ?: defaults.connections_per_peer,
        given->streams ?: defaults.streams,
        given->streams_per_peer ?: defaults.streams_per_peer,
        given->held ?: defaults.held,
        given->held_per_peer ?: defaults.held_per_peer,
        given->head_timeout_s ?: defaults.head_timeout_s,
        given->body_bytes_per_s ?: defaults.body_bytes_per_s,
    };
}

/* The usual soft limit of 1,024 descriptors is below our own caps. */
static void
raise_descriptor_limit(guint wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = MIN(limit.rlim_max, wanted);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/**
 * Returns: (transfer full): a server without listeners yet. @clock: borrowed. Raises the process's
 * limit of open descriptors as far as its own cap of connections needs.
 */
BerthServer *
berth_server_new(const BerthServerOps *ops, gpointer data, BerthClock *clock,
                 const BerthServerLimits *limits, GError **error)
{
    g_autoptr(BerthServer) server = g_new0(BerthServer, 1);
    server->ops = *ops;
    server->data = data;
    server->clock = clock;
    take_limits(server, limits);
    raise_descriptor_limit(2 * server->limits.connections);
    server->listeners = g_ptr_array_new_with_free_func(listener_free);
    server->connections = g_hash_table_new_full(NULL, NULL, free_connection, NULL);
    server->by_fd = g_hash_table_new(NULL, NULL);
    peers_init(server);
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->gate_fd = -1;
    tls_prepare(server);
    server->daemon = gate_init(server, error) ? request_start_daemon(server, error) : NULL;
    if (server->daemon == NULL) {
        return NULL;
    }
    server->daemon_source = attach_daemon(server, server->daemon);
    return g_steal_pointer(&server);
}

static void
end_connections(BerthServer *server)
{
    g_autoptr(GList) all = g_hash_table_get_keys(server->connections);
    for (GList *each = all; each != NULL; each = each->next) {
        Connection *connection = each->data;
        if (connection->handed_over) {
            connection_abort(connection);
        } else {
            connection_close(connection);
        }
    }
    /* WebSockets end in their own sources; the rest when libmicrohttpd runs. */
    for (guint i = 0; i < 1000 && g_hash_table_size(server->connections) > 0; i++) {
        g_main_context_iteration(g_main_context_get_thread_default(), FALSE);
    }
}

static void
stop_daemon(struct MHD_Daemon *daemon, GSource *source)
{
    if (source != NULL) {
        g_source_destroy(source);
        g_source_unref(source);
    }
    if (daemon != NULL) {
        MHD_stop_daemon(daemon);
    }
}

/** Ends all connections and listeners, then frees @server. */
void
berth_server_free(BerthServer *server)
{
    server->stopping = TRUE;
    g_ptr_array_unref(server->listeners);
    end_connections(server);
    stop_daemon(server->daemon, server->daemon_source);
    tls_clear(server);
    if (server->sweep != NULL) {
        g_source_destroy(server->sweep);
        g_source_unref(server->sweep);
    }
    gate_clear(server);
    if (server->spare_fd >= 0) {
        close(server->spare_fd);
    }
    g_clear_pointer(&server->tokens, berth_tokens_free);
    g_hash_table_unref(server->connections);
    g_hash_table_unref(server->by_fd);
    g_hash_table_unref(server->peers);
    g_free(server);
}

const BerthServerFigures *
berth_server_figures(const BerthServer *server)
{
    return &server->figures;
}
