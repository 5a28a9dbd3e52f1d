/* HTTP on the main loop: listeners, connections with caps and deadlines, requests and their answers.
 *
 * The server knows HTTP, not routes: each complete request goes to one handler. One request per
 * connection: the answer carries `Connection: close`, so no byte behind a request is ever read as another one.
 * Each head is read and judged by server-gate.c before libmicrohttpd sees it, over TLS too (server-tls.c).
 *
 * Main loop only; no threads. Start reading at berth_server_new() and BerthRequest. */
#pragma once

#include "base/clock.h"
#include "daemon/auth.h"
#include "daemon/config.h"

#include <jansson.h>

G_BEGIN_DECLS

/* The largest body but for uploads, and head of a request, in bytes. */
#define BERTH_BODY_MAX (1024 * 1024)
#define BERTH_HEAD_MAX (16 * 1024)

typedef struct BerthServer BerthServer;
typedef struct BerthRequest BerthRequest;

/**
 * BerthServerOps: what the server asks its owner; all on the main loop.
 * @head: (nullable): a request's head is there, its body is not. Return TRUE to take the body in
 *     pieces through @body (an upload), FALSE to have it collected (at most BERTH_BODY_MAX). It may
 *     answer at once; the body is then skipped.
 * @body: (nullable): the next bytes of an upload
 * @handle: the request is complete. Answer now, or keep @request (it lives until answered) and answer later
 * @gone: (nullable): the client left or the deadline passed before the answer; the request must not be
 *     used any more
 */
typedef struct {
    gboolean (*head)(BerthRequest *request, gpointer data);
    void (*body)(BerthRequest *request, const void *bytes, gsize size, gpointer data);
    void (*handle)(BerthRequest *request, gpointer data);
    void (*gone)(BerthRequest *request, gpointer data);
} BerthServerOps;

/* Limits; {0} members take the defaults of server.c. */
typedef struct {
    guint connections, connections_per_peer; /* beyond: 503, 429 with Retry-After */
    guint streams, streams_per_peer;         /* of these, streams and WebSockets; likewise */
    gsize held, held_per_peer; /* bytes of bodies and answers beyond 16 KiB each; likewise */
    guint head_timeout_s, body_bytes_per_s;
} BerthServerLimits;

BerthServer *berth_server_new(const BerthServerOps *ops, gpointer data, BerthClock *clock,
                              const BerthServerLimits *limits, GError **error);
void berth_server_free(BerthServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthServer, berth_server_free)

/* Opens what @config names: the unix socket (or the sockets systemd passed), and TCP with TLS. */
gboolean berth_server_listen(BerthServer *server, const BerthConfig *config, GError **error);
gboolean berth_server_listen_unix(BerthServer *server, const char *path, GError **error);
/* @fd: a listening unix socket; taken over. */
gboolean berth_server_listen_fd(BerthServer *server, int fd, GError **error);

typedef struct {
    guint connections, streams;
    gsize held; /* bytes of bodies, answers and chunks beyond the first 16 KiB of each */
    guint64 accepted, refused, requests, answered[6]; /* by first digit of the status */
} BerthServerFigures;
const BerthServerFigures *berth_server_figures(const BerthServer *server);

/* ---- the request; everything returned is borrowed from it ---- */

const char *berth_request_method(const BerthRequest *request);
/* The path as sent, still percent-encoded, without the query. */
const char *berth_request_path(const BerthRequest *request);
/* Segments of the path, each decoded on its own ("%2F" stays within one), NULL-terminated. NULL when the path
 * can't be decoded (bad escape, NUL, not UTF-8): that is answered 400 before any handler runs. */
const char *const *berth_request_segments(const BerthRequest *request);
const char *berth_request_query(const BerthRequest *request, const char *name); /* decoded; NULL */
/* Calls @each for each query parameter in order. */
void berth_request_query_each(const BerthRequest *request,
                              void (*each)(const char *name, const char *value, gpointer data),
                              gpointer data);
const char *berth_request_header(const BerthRequest *request, const char *name);
const char *
berth_request_id(const BerthRequest *request); /* 16 hex digits; in each answer's head */
const BerthActor *berth_request_actor(const BerthRequest *request);
GString *berth_request_body(const BerthRequest *request); /* never NULL */
/* The body was read: its memory is for others. The next berth_request_body() is empty. */
void berth_request_drop_body(BerthRequest *request);
gint64 berth_request_content_length(const BerthRequest *request); /* -1: not said */
BerthServer *berth_request_server(const BerthRequest *request);

/* What the handler keeps with the request; @destroy runs when the request ends. */
void berth_request_set_data(BerthRequest *request, gpointer data, GDestroyNotify destroy);
gpointer berth_request_data(const BerthRequest *request);

/* ---- answers: exactly one of these, once ---- */

/* Headers go before the answer. @value must be one line. */
void berth_request_add_header(BerthRequest *request, const char *name, const char *value);
/* @json: (transfer none) (nullable): NULL answers without a body. */
void berth_request_answer_json(BerthRequest *request, guint status, const json_t *json);
void berth_request_answer_text(BerthRequest *request, guint status, const char *media_type,
                               const char *text);
/* problem+json; status and title by the error's code, or @status when not 0. */
void berth_request_answer_error(BerthRequest *request, guint status, const GError *error);

/**
 * BerthStreamSource: a body of unknown length, pulled when the connection has room.
 * @next: (transfer full): the next bytes; NULL with @end FALSE: nothing now, berth_request_wake()
 *     when there is something; NULL with @end TRUE: finished
 * @idle: (nullable): called when nothing was sent for 15 s: bytes to send then, or NULL
 * @free: called when the stream ended for whatever reason
 *
 * A client that takes nothing for 30 s while there is something to send is cut off.
 */
typedef struct {
    GBytes *(*next)(gpointer data, gboolean *end);
    GBytes *(*idle)(gpointer data);
    void (*free)(gpointer data);
} BerthStreamSource;

void berth_request_answer_stream(BerthRequest *request, guint status, const char *media_type,
                                 const BerthStreamSource *source, gpointer data);
void berth_request_wake(BerthRequest *request);

/* 101: the connection becomes a byte stream. @upgraded gets the non-blocking socket @fd, bytes that came already,
 * and @close to be called once with @closing when done (it closes the socket). */
typedef void (*BerthUpgraded)(int fd, const void *early, gsize early_size, void (*close)(gpointer),
                              gpointer closing, gpointer data);
void berth_request_answer_upgrade(BerthRequest *request, BerthUpgraded upgraded, gpointer data);

G_END_DECLS
