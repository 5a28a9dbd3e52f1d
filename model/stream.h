/* berth.stream.v1: the byte streams of exec, attach and console inside a WebSocket. One codec for both
 * ends (daemon and CLI), without I/O: bytes in, callbacks and bytes out.
 *
 * Each message is binary; its first byte is the channel:
 *   0 stdin   client -> server
 *   1 stdout  server -> client
 *   2 stderr  server -> client
 *   3 control both ways, the rest is one JSON object with "type":
 *       client: start {command[], env[], workdir, user, container, tty, stdin, columns, rows, resume,
 *                      history}, must be the first message (command only for exec);
 *               resize {columns, rows}; signal {name: "TERM"}; eof (of stdin)
 *       server: started {id}; exit {code} (128+n for signal n) and error {code, detail, hint, exit}
 *               end the stream: the server closes the WebSocket after them; exit of an error is
 *               what a shell would end with (127: no such program)
 *       both:   credit {bytes}: the sender of this can take so many more bytes of channels 0-2
 *
 * Flow control: at the beginning each side may send BERTH_STREAM_WINDOW bytes of data; from then on as many as
 * it was granted. Who sends more is cut off. Control messages cost nothing but are at most
 * BERTH_STREAM_CONTROL_MAX bytes.
 *
 * Pure; one thread per stream. Start reading at berth_stream_feed(). */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

#define BERTH_STREAM_PROTOCOL "berth.stream.v1"
#define BERTH_STREAM_WINDOW (256 * 1024)
#define BERTH_STREAM_CONTROL_MAX (256 * 1024)
#define BERTH_STREAM_MESSAGE_MAX (64 * 1024) /* data bytes in one message */

typedef enum {
    BERTH_STREAM_STDIN = 0,
    BERTH_STREAM_STDOUT = 1,
    BERTH_STREAM_STDERR = 2,
    BERTH_STREAM_CONTROL = 3,
} BerthStreamChannel;

typedef enum { BERTH_STREAM_CLIENT, BERTH_STREAM_SERVER } BerthStreamRole;

typedef struct BerthStream BerthStream;

/**
 * BerthStreamEvents: what came in, called from within berth_stream_feed().
 * @data: @channel is 0 at a server, 1 or 2 at a client; @size > 0
 * @control: @type is its "type"; @message borrowed. "credit" is handled inside and not reported
 * @granted: more may be sent: berth_stream_credit()
 * @closed: the other side closed the WebSocket in order
 */
typedef struct {
    void (*data)(BerthStreamChannel channel, const void *bytes, gsize size, gpointer user_data);
    void (*control)(const char *type, const json_t *message, gpointer user_data);
    void (*granted)(gpointer user_data);
    void (*closed)(guint code, gpointer user_data);
} BerthStreamEvents;

BerthStream *berth_stream_new(BerthStreamRole role, const BerthStreamEvents *events,
                              gpointer user_data);
void berth_stream_free(BerthStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthStream, berth_stream_free)

/* Bytes that came from the socket, in pieces of any size. INVALID: the peer broke the protocol; close. */
gboolean berth_stream_feed(BerthStream *stream, const void *bytes, gsize size, GError **error);

/* How many data bytes may be sent now. */
gsize berth_stream_credit(const BerthStream *stream);
/* Queues up to @size bytes of @channel, no more than the credit. Returns: how many were taken. */
gsize berth_stream_send(BerthStream *stream, BerthStreamChannel channel, const void *bytes,
                        gsize size);
/* Tells the peer that @size received bytes were disposed of, so it may send as many more. Small grants are
 * gathered. */
void berth_stream_grant(BerthStream *stream, gsize size);
/* @message: (transfer full): an object with "type". */
void berth_stream_send_control(BerthStream *stream, json_t *message);
/* Queues a WebSocket ping (keeps idle connections alive through proxies) or the close frame. */
void berth_stream_ping(BerthStream *stream);
void berth_stream_close(BerthStream *stream, guint code, const char *reason);

/* Bytes for the socket: borrowed until the next call; berth_stream_consume() tells how many were written. */
gconstpointer berth_stream_output(BerthStream *stream, gsize *size);
void berth_stream_consume(BerthStream *stream, gsize size);
/* Both close frames passed and everything was written: the socket can be closed. */
gboolean berth_stream_is_done(const BerthStream *stream);

/* ---- the opening handshake (RFC 6455, section 4) ---- */

/* (transfer full): 16 random bytes as base64: a client's Sec-WebSocket-Key. */
char *berth_stream_key_new(void);
/* (transfer full): the Sec-WebSocket-Accept that answers @key. */
char *berth_stream_key_accept(const char *key);
/* (transfer full): a client's whole request head. @target: "/v1/projects/default/pods/web:exec".
 * @authorization: (nullable): "Bearer …". */
char *berth_stream_format_request(const char *target, const char *host, const char *key,
                                  const char *authorization);
/* Reads the head of the server's answer from @bytes.
 * @used: bytes of the head; 0 with TRUE: incomplete, come back with more
 * @status: the HTTP status; anything but 101 is an ordinary answer whose body (problem+json) follows
 * Errors: INVALID: no HTTP, a wrong accept key or sub-protocol. */
gboolean berth_stream_parse_answer(const char *bytes, gsize size, const char *key, gsize *used,
                                   guint *status, GError **error);

G_END_DECLS
