/* The codec of berth.stream.v1 over wslay's event interface. Invariant: nothing is queued beyond the
 * peer's credit, and nothing is accepted beyond ours, so each end's memory is bounded by the window.
 * Start reading at berth_stream_feed(). */
#include "model/stream.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#define WEBSOCKET_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
/* Grants are sent when they amount to this, so a byte read does not cost a message. */
#define GRANT_STEP (BERTH_STREAM_WINDOW / 4)
#define HEAD_MAX (32 * 1024)

struct BerthStream {
    BerthStreamRole role;
    BerthStreamEvents events;
    gpointer user_data;
    wslay_event_context_ptr websocket; /* owned */
    const guint8 *input;               /* during berth_stream_feed() */
    gsize input_left;
    GByteArray *output; /* owned; what the socket has not taken yet */
    gsize send_credit;  /* data bytes the peer takes */
    gsize grant_left;   /* data bytes we still take */
    gsize ungranted;    /* disposed of, not told yet */
    char *violation;    /* owned; why the peer is cut off */
};

static gssize
take_input(wslay_event_context_ptr context, guint8 *buffer, size_t size, int flags, void *data)
{
    BerthStream *stream = data;
    if (stream->input_left == 0) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    gsize part = MIN(size, stream->input_left);
    memcpy(buffer, stream->input, part);
    stream->input += part;
    stream->input_left -= part;
    return (gssize)part;
}

static gssize
put_output(wslay_event_context_ptr context, const guint8 *bytes, size_t size, int flags, void *data)
{
    g_byte_array_append(((BerthStream *)data)->output, bytes, (guint)size);
    return (gssize)size;
}

static int
make_mask(wslay_event_context_ptr context, guint8 *buffer, size_t size, void *data)
{
    return getrandom(buffer, size, 0) == (gssize)size ? 0 : -1;
}

static void
violate(BerthStream *stream, const char *what)
{
    if (stream->violation == NULL) {
        stream->violation = g_strdup(what);
    }
}

static void
receive_credit(BerthStream *stream, const json_t *message)
{
    gint64 bytes = berth_json_integer(message, "bytes", -1);
    if (bytes <= 0 || bytes > BERTH_STREAM_WINDOW ||
        stream->send_credit + (gsize)bytes > BERTH_STREAM_WINDOW) {
        violate(stream, "a credit beyond the window");
        return;
    }
    stream->send_credit += (gsize)bytes;
    if (stream->events.granted != NULL) {
        stream->events.granted(stream->user_data);
    }
}

static void
receive_control(BerthStream *stream, const guint8 *bytes, gsize size)
{
    g_autoptr(json_t) message =
        berth_json_parse_limited((const char *)bytes, size, BERTH_STREAM_CONTROL_MAX, 8, NULL);
    const char *type = berth_json_string(message, "type");
    if (type == NULL) {
        violate(stream, "a control message that is no JSON object with a type");
    } else if (strcmp(type, "credit") == 0) {
        receive_credit(stream, message);
    } else if (stream->events.control != NULL) {
        stream->events.control(type, message, stream->user_data);
    }
}

static void
receive_data(BerthStream *stream, guint8 channel, const guint8 *bytes, gsize size)
{
    gboolean ours = stream->role == BERTH_STREAM_SERVER
                        ? channel == BERTH_STREAM_STDIN
                        : channel == BERTH_STREAM_STDOUT || channel == BERTH_STREAM_STDERR;
    if (!ours) {
        violate(stream, "data on a channel that is not the peer's");
    } else if (size > stream->grant_left) {
        violate(stream, "more data than was granted");
    } else if (size > 0) {
        stream->grant_left -= size;
        stream->events.data((BerthStreamChannel)channel, bytes, size, stream->user_data);
    }
}

static void
receive_message(wslay_event_context_ptr context, const struct wslay_event_on_msg_recv_arg *message,
                void *data)
{
    BerthStream *stream = data;
    if (message->opcode == WSLAY_CONNECTION_CLOSE) {
        if (stream->events.closed != NULL) {
            stream->events.closed(message->status_code, stream->user_data);
        }
        return;
    }
    if (wslay_is_ctrl_frame(message->opcode) || stream->violation != NULL) {
        return;
    }
    if (message->opcode != WSLAY_BINARY_FRAME || message->msg_length < 1) {
        violate(stream, "a message that is not binary or has no channel");
    } else if (message->msg[0] == BERTH_STREAM_CONTROL) {
        receive_control(stream, message->msg + 1, message->msg_length - 1);
    } else {
        receive_data(stream, message->msg[0], message->msg + 1, message->msg_length - 1);
    }
}

static const struct wslay_event_callbacks codec = {
    .recv_callback = take_input,
    .send_callback = put_output,
    .genmask_callback = make_mask,
    .on_msg_recv_callback = receive_message,
};

/**
 * berth_stream_new:
 * @events: copied; .data is required
 *
 * Returns: (transfer full): one end of a stream whose handshake is done.
 */
BerthStream *
berth_stream_new(BerthStreamRole role, const BerthStreamEvents *events, gpointer user_data)
{
    BerthStream *stream = g_new0(BerthStream, 1);
    stream->role = role;
    stream->events = *events;
    stream->user_data = user_data;
    stream->output = g_byte_array_new();
    stream->send_credit = BERTH_STREAM_WINDOW;
    stream->grant_left = BERTH_STREAM_WINDOW;
    int made = role == BERTH_STREAM_SERVER
                   ? wslay_event_context_server_init(&stream->websocket, &codec, stream)
                   : wslay_event_context_client_init(&stream->websocket, &codec, stream);
    g_assert(made == 0);
    wslay_event_config_set_max_recv_msg_length(stream->websocket, BERTH_STREAM_CONTROL_MAX + 1);
    return stream;
}

void
berth_stream_free(BerthStream *stream)
{
    wslay_event_context_free(stream->websocket);
    g_byte_array_unref(stream->output);
    g_free(stream->violation);
    g_free(stream);
}

/* Moves what is queued inside wslay to the output, framed. */
static void
flush(BerthStream *stream)
{
    if (wslay_event_want_write(stream->websocket)) {
        wslay_event_send(stream->websocket);
    }
}

/**
 * berth_stream_feed:
 * @bytes: what came from the socket; any cut
 *
 * Calls the events for every message that is complete. The callbacks may send and grant, but must not
 * free @stream.
 *
 * Errors: INVALID: the peer broke the protocol.
 */
gboolean
berth_stream_feed(BerthStream *stream, const void *bytes, gsize size, GError **error)
{
    stream->input = bytes;
    stream->input_left = size;
    int result = 0;
    while (result == 0 && stream->input_left > 0 && stream->violation == NULL &&
           wslay_event_want_read(stream->websocket)) {
        result = wslay_event_recv(stream->websocket);
    }
    stream->input = NULL;
    stream->input_left = 0;
    flush(stream);
    if (result != 0 && stream->violation == NULL) {
        violate(stream, "a malformed WebSocket frame");
    }
    if (stream->violation != NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the peer sent %s", stream->violation);
        return FALSE;
    }
    return TRUE;
}

gsize
berth_stream_credit(const BerthStream *stream)
{
    return stream->send_credit;
}

static void
queue_message(BerthStream *stream, guint8 channel, const void *bytes, gsize size)
{
    g_autofree guint8 *message = g_malloc(size + 1);
    message[0] = channel;
    if (size > 0) {
        memcpy(message + 1, bytes, size);
    }
    struct wslay_event_msg event = {WSLAY_BINARY_FRAME, message, size + 1};
    /* Refused after a close was queued: nobody would read it. */
    wslay_event_queue_msg(stream->websocket, &event);
    flush(stream);
}

/** Returns: how many of @size bytes were queued: at most the credit. */
gsize
berth_stream_send(BerthStream *stream, BerthStreamChannel channel, const void *bytes, gsize size)
{
    gsize taken = MIN(size, stream->send_credit);
    for (gsize at = 0; at < taken; at += BERTH_STREAM_MESSAGE_MAX) {
        queue_message(stream, (guint8)channel, (const guint8 *)bytes + at,
                      MIN(taken - at, BERTH_STREAM_MESSAGE_MAX));
    }
    stream->send_credit -= taken;
    return taken;
}

/** Lets the peer send @size bytes more, which were received and are disposed of. */
void
berth_stream_grant(BerthStream *stream, gsize size)
{
    stream->ungranted += size;
    if (stream->ungranted >= GRANT_STEP) {
        gsize bytes = stream->ungranted;
        stream->ungranted = 0;
        stream->grant_left += bytes;
        berth_stream_send_control(
            stream, json_pack("{s:s, s:I}", "type", "credit", "bytes", (json_int_t)bytes));
    }
}

/** Queues a control message. @message: (transfer full). */
void
berth_stream_send_control(BerthStream *stream, json_t *message)
{
    g_autofree char *text = berth_json_format(message);
    json_decref(message);
    queue_message(stream, BERTH_STREAM_CONTROL, text, strlen(text));
}

void
berth_stream_ping(BerthStream *stream)
{
    struct wslay_event_msg event = {WSLAY_PING, NULL, 0};
    wslay_event_queue_msg(stream->websocket, &event);
    flush(stream);
}

/** Queues the close frame; @code as in RFC 6455 section 7.4 (1000 is a normal end). */
void
berth_stream_close(BerthStream *stream, guint code, const char *reason)
{
    wslay_event_queue_close(stream->websocket, (guint16)code, (const guint8 *)reason,
                            MIN((reason != NULL ? strlen(reason) : 0), 120));
    flush(stream);
}

gconstpointer
berth_stream_output(BerthStream *stream, gsize *size)
{
    *size = stream->output->len;
    return stream->output->data;
}

void
berth_stream_consume(BerthStream *stream, gsize size)
{
    g_byte_array_remove_range(stream->output, 0, (guint)size);
}

gboolean
berth_stream_is_done(const BerthStream *stream)
{
    return stream->output->len == 0 && wslay_event_get_close_sent(stream->websocket) &&
           wslay_event_get_close_received(stream->websocket);
}

char *
berth_stream_key_new(void)
{
    guint8 raw[16];
    gssize got = getrandom(raw, sizeof raw, 0);
    g_assert(got == sizeof raw);
    return g_base64_encode(raw, sizeof raw);
}

char *
berth_stream_key_accept(const char *key)
{
    g_autofree char *joined = g_strconcat(key, WEBSOCKET_GUID, NULL);
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA1);
    guint8 digest[20];
    gsize size = sizeof digest;
    g_checksum_update(checksum, (const guchar *)joined, (gssize)strlen(joined));
    g_checksum_get_digest(checksum, digest, &size);
    return g_base64_encode(digest, size);
}

char *
berth_stream_format_request(const char *target, const char *host, const char *key,
                            const char *authorization)
{
    return g_strdup_printf(
        "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n%s%s%s\r\n",
        target, host, key, BERTH_STREAM_PROTOCOL, authorization != NULL ? "Authorization: " : "",
        authorization != NULL ? authorization : "", authorization != NULL ? "\r\n" : "");
}

/* (transfer full): the value of the header @name, or NULL. */
static char *
head_value(char **lines, const char *name)
{
    gsize length = strlen(name);
    for (char **line = lines + 1; lines[0] != NULL && *line != NULL; line++) {
        if (g_ascii_strncasecmp(*line, name, length) == 0 && (*line)[length] == ':') {
            return g_strstrip(g_strdup(*line + length + 1));
        }
    }
    return NULL;
}

static gboolean
check_upgrade(char **lines, const char *key, GError **error)
{
    g_autofree char *accept = head_value(lines, "Sec-WebSocket-Accept");
    g_autofree char *protocol = head_value(lines, "Sec-WebSocket-Protocol");
    g_autofree char *expected = berth_stream_key_accept(key);
    if (g_strcmp0(accept, expected) != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the server's WebSocket key does not fit");
        return FALSE;
    }
    if (g_strcmp0(protocol, BERTH_STREAM_PROTOCOL) != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the server speaks '%s' instead of '%s'",
                        protocol != NULL ? protocol : "", BERTH_STREAM_PROTOCOL);
        return FALSE;
    }
    return TRUE;
}

/** See the header. @bytes need not be NUL-terminated. */
gboolean
berth_stream_parse_answer(const char *bytes, gsize size, const char *key, gsize *used,
                          guint *status, GError **error)
{
    const char *end = g_strstr_len(bytes, (gssize)size, "\r\n\r\n");
    *used = 0;
    if (end == NULL) {
        if (size > HEAD_MAX) {
            berth_error_set(error, BERTH_ERROR_INVALID, "the server's answer has no end of head");
        }
        return size <= HEAD_MAX;
    }
    g_autofree char *head = g_strndup(bytes, (gsize)(end - bytes));
    g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
    if (lines[0] == NULL || !g_str_has_prefix(lines[0], "HTTP/1.1 ") ||
        !g_ascii_isdigit(lines[0][9])) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the server's answer is not HTTP/1.1");
        return FALSE;
    }
    guint code = (guint)g_ascii_strtoull(lines[0] + 9, NULL, 10);
    if (code == 101 && !check_upgrade(lines, key, error)) {
        return FALSE;
    }
    *used = (gsize)(end - bytes) + 4;
    *status = code;
    return TRUE;
}
