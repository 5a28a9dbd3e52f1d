/* TLS in front of the gate: a TCP client's bytes go through GnuTLS and a socket pair, whose other end is served
 * like a unix client; so heads over TLS are judged byte by byte, too. Invariants: each way holds at most BLOCK
 * bytes; a front has no say in deadlines but its own two: until the handshake its connection's head has one,
 * and when the server has closed, what is left goes out within LINGER_US.
 *
 * A front outlives its connection (it lingers) or ends before it (the client left): each is told of the other's
 * end. Main loop. Start at dispatch_front(). */
#include "daemon/server-private.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEM_MAX (1024 * 1024)
#define BLOCK (16 * 1024)
#define STEPS 8 /* blocks in one turn of the main loop */
#define LINGER_US (5 * G_USEC_PER_SEC)
#define FRONTS_LINGERING 256
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

typedef struct {
    char bytes[BLOCK];
    gsize from, to;
    gboolean end; /* nothing comes any more */
} Way;

struct TlsFront {
    GSource *source;        /* owned by the main loop */
    BerthServer *server;    /* borrowed */
    Connection *connection; /* borrowed; NULL: it ended */
    int outer, inner;       /* owned: the TCP socket, our end of the pair (-1: closed) */
    gpointer outer_tag, inner_tag;
    gnutls_session_t session;
    gboolean greeted;     /* the handshake is done */
    gboolean half_closed; /* the server knows that the client sends no more */
    gboolean said_bye;    /* the client knows that the server sends no more */
    Way in, out;          /* client to server, server to client */
    gboolean moved;       /* in this step */
    gint64 deadline_us;   /* once the connection ended; before: -1 */
};

typedef struct {
    GSource source;
    TlsFront *front;
} FrontSource;

/* ---- credentials ---- */

static gboolean
read_pem(const char *path, gnutls_datum_t *pem, GError **error)
{
    gsize size = 0;
    char *text = NULL;
    if (!berth_fd_read_file(AT_FDCWD, path, PEM_MAX, &text, &size, error)) {
        return FALSE;
    }
    *pem = (gnutls_datum_t){(guint8 *)text, (unsigned)size};
    return TRUE;
}

static gboolean
take_key_pair(gnutls_certificate_credentials_t credentials, const BerthConfig *config,
              GError **error)
{
    gnutls_datum_t certificate = {0}, key = {0};
    gboolean taken = read_pem(config->tls_certificate, &certificate, error) &&
                     read_pem(config->tls_key, &key, error);
    int problem = taken ? gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key,
                                                              GNUTLS_X509_FMT_PEM)
                        : 0;
    g_free(certificate.data);
    if (key.data != NULL) {
        gnutls_memset(key.data, 0, key.size);
    }
    g_free(key.data);
    if (problem < 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "tls_certificate '%s' and tls_key '%s': %s",
                        config->tls_certificate, config->tls_key, gnutls_strerror(problem));
    }
    return taken && problem >= 0;
}

static gboolean
take_client_ca(gnutls_certificate_credentials_t credentials, const char *path, GError **error)
{
    gnutls_datum_t ca = {0};
    if (path == NULL) {
        return TRUE;
    }
    if (!read_pem(path, &ca, error)) {
        return FALSE;
    }
    int count = gnutls_certificate_set_x509_trust_mem(credentials, &ca, GNUTLS_X509_FMT_PEM);
    g_free(ca.data);
    if (count <= 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "tls_client_ca '%s' holds no certificate",
                        path);
    }
    return count > 0;
}

/* Reads the PEM files of @config; the server keeps what they say. */
gboolean
tls_init(BerthServer *server, const BerthConfig *config, GError **error)
{
    gnutls_certificate_allocate_credentials(&server->tls_credentials);
    server->client_certificates = config->tls_client_ca != NULL;
    return take_key_pair(server->tls_credentials, config, error) &&
           take_client_ca(server->tls_credentials, config->tls_client_ca, error);
}

/* ---- who it is ---- */

static char *
common_name(gnutls_session_t session)
{
    guint count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t certificate;
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(&certificate) != 0) {
        return NULL;
    }
    char name[256];
    size_t size = sizeof name;
    char *found = NULL;
    if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
        gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name,
                                      &size) == 0 &&
        strlen(name) == size && size > 0) {
        found = g_utf8_make_valid(name, (gssize)size);
    }
    gnutls_x509_crt_deinit(certificate);
    return found;
}

/* A certificate counts only when it verifies against tls_client_ca. */
static char *
name_from_certificate(gnutls_session_t session)
{
    guint flaws = ~0u;
    if (gnutls_certificate_verify_peers2(session, &flaws) != 0 || flaws != 0) {
        return NULL;
    }
    return common_name(session);
}

static const char *
name_from_token(BerthServer *server, const BerthRequest *request)
{
    const char *header = berth_request_header(request, "Authorization");
    if (server->tokens == NULL || header == NULL ||
        g_ascii_strncasecmp(header, "Bearer ", 7) != 0) {
        return NULL;
    }
    return berth_tokens_find(server->tokens, header + 7);
}

/* Gives the actor of a TLS connection its proved name: the certificate's, or the token's. Errors: DENIED. */
gboolean
tls_identify(BerthRequest *request, GError **error)
{
    BerthActor *actor = request->connection->actor;
    if (actor->name == NULL) {
        actor->name = g_strdup(name_from_token(request->server, request));
    }
    if (actor->name == NULL) {
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL,
                           "send a client certificate of the server's CA or a bearer token",
                           "this request has no valid credential");
    }
    return actor->name != NULL;
}

/* ---- the end ---- */

static void
free_front(gpointer data)
{
    TlsFront *front = data;
    if (front->connection != NULL) {
        front->connection->front = NULL;
    }
    g_source_destroy(front->source);
    g_source_unref(front->source);
    gnutls_deinit(front->session);
    close(front->outer);
    if (front->inner >= 0) {
        close(front->inner);
    }
    g_free(front);
}

static gboolean
end_front(TlsFront *front)
{
    g_hash_table_remove(front->server->fronts, front);
    return G_SOURCE_REMOVE;
}

/* The connection ended: what it answered still goes out, unless too many linger already. */
void
tls_connection_ended(TlsFront *front)
{
    guint fronts = g_hash_table_size(front->server->fronts);
    front->connection = NULL;
    if (!front->greeted || fronts > front->server->figures.connections + FRONTS_LINGERING) {
        end_front(front);
    } else {
        front->deadline_us = g_get_monotonic_time() + LINGER_US;
        g_source_set_ready_time(front->source, 0);
    }
}

/* ---- bytes ---- */

static gboolean
is_empty(const Way *way)
{
    return way->from == way->to;
}

/* Returns: whether the front goes on. */
static gboolean
receive_outer(TlsFront *front)
{
    gssize got = gnutls_record_recv(front->session, front->in.bytes, BLOCK);
    if (got > 0) {
        front->in.from = 0;
        front->in.to = (gsize)got;
        front->moved = TRUE;
    } else if (got == 0) {
        front->in.end = TRUE;
    }
    return got >= 0 || got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED;
}

static void
send_inner(TlsFront *front)
{
    Way *in = &front->in;
    gssize sent =
        send(front->inner, in->bytes + in->from, in->to - in->from, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
        in->from += (gsize)sent;
        front->moved = TRUE;
    } else if (errno != EAGAIN && errno != EINTR) {
        in->from = in->to; /* the server has closed; what it answered still goes out */
    }
}

/* The server's end was closed: the pair is done with. */
static void
close_inner(TlsFront *front)
{
    front->out.end = TRUE;
    g_source_remove_unix_fd(front->source, g_steal_pointer(&front->inner_tag));
    close(front->inner);
    front->inner = -1;
}

static void
receive_inner(TlsFront *front)
{
    gssize got = recv(front->inner, front->out.bytes, BLOCK, MSG_DONTWAIT);
    if (got > 0) {
        front->out.from = 0;
        front->out.to = (gsize)got;
        front->moved = TRUE;
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_inner(front);
    }
}

static gboolean
send_outer(TlsFront *front)
{
    Way *out = &front->out;
    gssize sent = gnutls_record_send(front->session, out->bytes + out->from, out->to - out->from);
    out->from += sent > 0 ? (gsize)sent : 0;
    front->moved = front->moved || sent > 0;
    return sent > 0 || sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED;
}

/* One block each way, as far as there is room. Returns: whether the front goes on. */
static gboolean
step(TlsFront *front)
{
    gboolean alive = TRUE;
    front->moved = FALSE;
    if (is_empty(&front->in) && !front->in.end) {
        alive = receive_outer(front);
    }
    if (!is_empty(&front->in) && front->inner >= 0) {
        send_inner(front);
    } else if (front->inner < 0) {
        front->in.from = front->in.to;
    }
    if (front->in.end && is_empty(&front->in) && !front->half_closed && front->inner >= 0) {
        front->half_closed = TRUE;
        shutdown(front->inner, SHUT_WR);
    }
    if (is_empty(&front->out) && front->inner >= 0) {
        receive_inner(front);
    }
    return alive && (is_empty(&front->out) || send_outer(front));
}

/* ---- the source ---- */

/* Returns: whether the handshake goes on, or is done. */
static gboolean
greet(TlsFront *front)
{
    int result = gnutls_handshake(front->session);
    if (result == 0) {
        front->greeted = TRUE;
        if (front->server->client_certificates && front->connection != NULL) {
            front->connection->actor->name = name_from_certificate(front->session);
        }
    }
    return result == 0 || !gnutls_error_is_fatal(result);
}

static void
watch_sockets(TlsFront *front)
{
    GIOCondition outer = 0, inner = 0;
    if (!front->greeted) {
        outer = gnutls_record_get_direction(front->session) == 0 ? G_IO_IN : G_IO_OUT;
    } else {
        /* After its close_notify a client has nothing to say: what comes is the end of its socket. */
        outer = (is_empty(&front->in) || front->in.end ? G_IO_IN : 0) |
                (is_empty(&front->out) ? 0 : G_IO_OUT);
        inner = (is_empty(&front->in) ? 0 : G_IO_OUT) | (is_empty(&front->out) ? G_IO_IN : 0);
    }
    g_source_modify_unix_fd(front->source, front->outer_tag, outer);
    if (front->inner >= 0) {
        g_source_modify_unix_fd(front->source, front->inner_tag, inner);
    }
}

/* All was sent and the server has closed: says so, then waits for the client to close, so that the last bytes
 * are not lost to a reset. Returns: whether that is over. */
static gboolean
is_over(TlsFront *front)
{
    if (front->inner >= 0 || !is_empty(&front->out)) {
        return FALSE;
    }
    if (!front->said_bye) {
        if (gnutls_bye(front->session, GNUTLS_SHUT_WR) == GNUTLS_E_AGAIN) {
            return FALSE;
        }
        front->said_bye = TRUE;
        shutdown(front->outer, SHUT_WR);
    }
    return front->in.end;
}

static gboolean
client_left(const TlsFront *front)
{
    GIOCondition outer = g_source_query_unix_fd(front->source, front->outer_tag);
    return (outer & (G_IO_HUP | G_IO_ERR)) != 0 || (front->in.end && (outer & G_IO_IN) != 0);
}

/* Returns: whether the front goes on. */
static gboolean
pump(TlsFront *front)
{
    for (guint i = 0; i < STEPS; i++) {
        if (!step(front)) {
            return FALSE;
        }
        if (!front->moved) {
            break;
        }
    }
    return !is_over(front);
}

static gboolean
dispatch_front(GSource *source, GSourceFunc callback, gpointer data)
{
    TlsFront *front = ((FrontSource *)source)->front;
    gboolean late = front->deadline_us >= 0 && g_get_monotonic_time() >= front->deadline_us;
    if (late || client_left(front) || (!front->greeted && !greet(front)) ||
        (front->greeted && !pump(front))) {
        return end_front(front);
    }
    watch_sockets(front);
    gboolean more = front->moved || (front->greeted && is_empty(&front->in) &&
                                     gnutls_record_check_pending(front->session) > 0);
    g_source_set_ready_time(source, more ? 0 : front->deadline_us);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs front_source = {.dispatch = dispatch_front};

static gnutls_session_t
new_session(const BerthServer *server, int fd)
{
    gnutls_session_t session;
    if (gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0) {
        return NULL;
    }
    gnutls_priority_set_direct(session, PRIORITIES, NULL);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, server->tls_credentials);
    gnutls_certificate_server_set_request(
        session, server->client_certificates ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE);
    gnutls_transport_set_int(session, fd);
    gnutls_handshake_set_timeout(session, GNUTLS_INDEFINITE_TIMEOUT); /* the connection has one */
    return session;
}

/* Puts a front between @fd, a TCP client's socket, and @connection, which gets the other end of a pair as its
 * own. Returns FALSE, with @fd left to the caller, when there are no more descriptors. */
gboolean
tls_begin(Connection *connection, int fd)
{
    BerthServer *server = connection->server;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return FALSE;
    }
    TlsFront *front = g_new0(TlsFront, 1);
    front->server = server;
    front->connection = connection;
    front->outer = fd;
    front->inner = pair[0];
    front->session = new_session(server, fd);
    front->deadline_us = -1;
    front->source = g_source_new(&front_source, sizeof(FrontSource));
    ((FrontSource *)front->source)->front = front;
    front->outer_tag = g_source_add_unix_fd(front->source, fd, G_IO_IN);
    front->inner_tag = g_source_add_unix_fd(front->source, front->inner, 0);
    g_source_attach(front->source, g_main_context_get_thread_default());
    g_hash_table_add(server->fronts, front);
    connection->fd = pair[1];
    connection->front = front;
    return TRUE;
}

void
tls_prepare(BerthServer *server)
{
    server->fronts = g_hash_table_new_full(NULL, NULL, free_front, NULL);
}

void
tls_clear(BerthServer *server)
{
    g_hash_table_unref(server->fronts);
    if (server->tls_credentials != NULL) {
        gnutls_certificate_free_credentials(server->tls_credentials);
    }
}
