/* What the server's files share: connections, requests, and who calls whom.
 *
 *   server.c          connections, caps and deadlines
 *   server-listen.c   sockets that clients come from
 *   server-peer.c     what clients take from each other: connections, memory, turns
 *   server-gate.c     the unix socket's heads, read by peeking, before libmicrohttpd has the connection
 *   server-request.c  libmicrohttpd's callbacks; the request
 *   server-answer.c   answers and streams
 *   server-tls.c      TLS before the gate; certificates and tokens of TCP clients */
#pragma once

#include "daemon/server.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>

#define STREAM_STALL_US (30 * G_USEC_PER_SEC)
#define STREAM_IDLE_US (15 * G_USEC_PER_SEC)
/* Time for making stream data in one turn of the main loop: readers that catch up with a long history share it,
 * and everybody else waits no longer than this for each turn. */
#define STREAM_BUDGET_US 2000
#define ANSWER_BYTES_PER_S (16 * 1024)

typedef enum {
    PHASE_HEAD,     /* the head is coming; the gate reads it */
    PHASE_BODY,     /* the head was accepted, the body is coming */
    PHASE_WAITING,  /* suspended: the handler is at work */
    PHASE_ANSWER,   /* an answer of known size is going out */
    PHASE_STREAM,   /* a stream is going out */
    PHASE_UPGRADED, /* the socket belongs to a WebSocket */
} Phase;

typedef struct TlsFront TlsFront;

/* One client: a process on the unix socket, an address on TCP. Lives while it has connections. */
typedef struct {
    char *name; /* owned */
    guint connections;
    gsize held;   /* bytes beyond the free ones of each request; see peer_hold() */
    GQueue turns; /* of BerthRequest, borrowed: complete, but others come first */
} Peer;

typedef struct {
    BerthServer *server; /* borrowed */
    Peer *peer;          /* borrowed from server->peers */
    int fd;              /* owned until libmicrohttpd takes it */
    TlsFront *front;     /* borrowed; NULL: a unix client, or it ended */
    gboolean handed_over;
    gboolean ending;   /* aborted: libmicrohttpd ends it in its next turn */
    BerthActor *actor; /* owned; TLS: without a name until it is proved */
    Phase phase;
    gint64 since_us;            /* when the phase began */
    guint64 ended_after;        /* bytes of the body and 1, when its end was seen; 0: not yet */
    GString *head;              /* owned; gate only */
    gsize scanned;              /* bytes of head already searched for its end */
    struct MHD_Connection *mhd; /* borrowed; NULL until libmicrohttpd started it */
    BerthRequest *request;      /* borrowed; NULL until the request line was read */
} Connection;

typedef enum {
    STAGE_NEW,      /* libmicrohttpd has read the request line */
    STAGE_READING,  /* the head was accepted */
    STAGE_HANDLING, /* the handler has it */
    STAGE_QUEUED,   /* the answer is libmicrohttpd's */
} Stage;

struct BerthRequest {
    BerthServer *server;    /* borrowed */
    Connection *connection; /* borrowed */
    Stage stage;
    char *target, *path, **segments; /* owned */
    char *method;                    /* owned */
    char id[17];
    GString *body;
    guint64 received;
    gsize held;       /* bytes counted by peer_hold() */
    gboolean queued;  /* waits for its turn */
    guint no_room;    /* status to refuse with: there is no room for its body */
    gboolean dropped; /* there was no room for its answer */
    gboolean uploading, too_large, suspended, aborted, answered, gone_told;
    gboolean in_handler; /* below a callback of libmicrohttpd: answer on return, don't resume */
    gint64 began_us;

    GPtrArray *texts;              /* of char *: decoded query values handed out */
    GPtrArray *headers;            /* of char *: name, value, name, value, … for the answer */
    struct MHD_Response *response; /* owned until queued */
    guint status;
    guint64 answer_size;

    const BerthStreamSource *source; /* NULL: no stream */
    gpointer source_data;
    GBytes *chunk; /* owned; being sent */
    gsize chunk_sent;
    gboolean chunk_stalls; /* the reader was last called with something to send */
    gint64 sent_us;
    gboolean throttled; /* suspended because this turn's budget was used up; in server->throttled */

    BerthUpgraded upgraded;
    gpointer upgraded_data;
    struct MHD_UpgradeResponseHandle *upgrade;

    gpointer data;
    GDestroyNotify destroy;
};

struct BerthServer {
    BerthServerOps ops;
    gpointer data;
    BerthClock *clock; /* borrowed */
    BerthServerLimits limits;
    BerthServerFigures figures;
    GPtrArray *listeners;    /* of Listener, owned */
    GHashTable *connections; /* set of Connection, owned */
    GHashTable *by_fd;       /* fd -> Connection, while libmicrohttpd has not started it */
    GHashTable *peers;       /* name -> Peer */
    GQueue turns;            /* of Peer, borrowed: those with requests that wait for their turn */
    gint64 handle_us;        /* left in this turn for handling requests at once */
    struct MHD_Daemon *daemon;
    GSource *daemon_source;
    int gate_fd; /* epoll */
    GSource *gate_source;
    int spare_fd;        /* given up to accept and close one when there are no more fds */
    GSource *sweep;      /* while there are connections */
    gint64 budget_us;    /* left in this turn for making stream data */
    GQueue throttled;    /* of BerthRequest, borrowed: streams that wait for the next turn */
    BerthTokens *tokens; /* owned; NULL: none */
    GHashTable *fronts;  /* set of TlsFront, owned */
    gnutls_certificate_credentials_t tls_credentials; /* owned; NULL: no TLS */
    gboolean client_certificates;
    gboolean stopping;
};

gint64 server_now(BerthServer *server);
void server_run_soon(BerthServer *server);
void server_accept(BerthServer *server, int accepted, gboolean tls);
void listener_free(gpointer listener);
void connection_set_phase(Connection *connection, Phase phase);
void connection_close(Connection *connection);  /* not handed over yet: closes and frees */
void connection_abort(Connection *connection);  /* handed over: makes libmicrohttpd end it */
void connection_forget(Connection *connection); /* libmicrohttpd closed it */
gboolean connection_hand_over(Connection *connection);

void peers_init(BerthServer *server);
void peer_join(Connection *connection, const char *name);
void peer_leave(Connection *connection);
guint peer_connections(BerthServer *server, const char *name);
gboolean peers_make_room(BerthServer *server, const char *name);
guint peer_hold(BerthRequest *request, gsize bytes);
GError *peer_hold_error(guint status);
gboolean peer_must_wait(BerthRequest *request);
void peer_forget_turn(BerthRequest *request);
void peers_begin_turn(BerthServer *server);
void peers_give_turns(BerthServer *server);

gboolean gate_init(BerthServer *server, GError **error);
void gate_clear(BerthServer *server);
gboolean gate_add(Connection *connection);
gboolean gate_look(Connection *connection);
void gate_refuse(int fd, guint status, const char *code, const char *detail, gboolean retry);

struct MHD_Daemon *request_start_daemon(BerthServer *server, GError **error);
void request_free(BerthRequest *request);
void request_handle(BerthRequest *request);
void request_tell_gone(BerthRequest *request);
void request_resume(BerthRequest *request);
enum MHD_Result request_queue(BerthRequest *request);
void request_resume_throttled(BerthServer *server);
void request_sweep(BerthRequest *request, gint64 now);

void tls_prepare(BerthServer *server);
gboolean tls_init(BerthServer *server, const BerthConfig *config, GError **error);
void tls_clear(BerthServer *server);
gboolean tls_begin(Connection *connection, int fd);
void tls_connection_ended(TlsFront *front);
gboolean tls_identify(BerthRequest *request, GError **error);
