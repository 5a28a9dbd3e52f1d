/* exec, attach and console: a WebSocket on one side, the controllers' stream ops on the other. Invariant: what
 * either side has not disposed of is bounded by the credit of model/stream.h, so nothing here grows. A
 * session writes and ends only in dispatch_session(), never below a callback.
 *
 * Main loop. Start reading at handle_stream(). */
#include "daemon/routes-private.h"

#include "base/json.h"
#include "daemon/log.h"
#include "model/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_TIMEOUT_US (10 * G_USEC_PER_SEC)
#define PING_EVERY_US (30 * G_USEC_PER_SEC)
/* How long the client may take to answer our close frame. */
#define LINGER_US (5 * G_USEC_PER_SEC)

typedef BerthStreamHandle *(*OpenOp)(gpointer data, BerthObject *object,
                                     const BerthStreamQuery *query, BerthStreamPeer *peer,
                                     GError **error);

typedef struct {
    BerthStreamPeer peer; /* first: given to the controller */
    BerthRoutes *routes;  /* borrowed */
    BerthObject *object;  /* reference */
    OpenOp open;
    gboolean needs_command;
    char *actor, *request_id; /* owned */
    Call *call;               /* borrowed; NULL once upgraded */

    int fd;
    void (*close)(gpointer closing);
    gpointer closing;
    GSource *source; /* owned; NULL before the upgrade */
    BerthStream *stream;
    BerthStreamHandle *handle; /* owned until closed; NULL before start */
    gsize offered;             /* output credit the controller has left */
    gboolean started, finished, broken, closed_by_client;
    gint64 deadline_us, ping_us; /* monotonic */
} Session;

typedef struct {
    GSource source;
    Session *session;
    gpointer fd_tag;
} SessionSource;

/* ---- the controller's calls ---- */

/* Makes dispatch_session() run soon. */
static void
kick(Session *session)
{
    if (session->source != NULL) {
        g_source_set_ready_time(session->source, 0);
    }
}

static void
peer_output(BerthStreamPeer *peer, guint channel, const void *data, gsize size)
{
    Session *session = (Session *)peer;
    if (session->finished || session->broken) {
        return;
    }
    if (size > session->offered) {
        g_critical("a stream got %zu bytes with a credit of %zu", size, session->offered);
        session->broken = TRUE;
    } else {
        session->offered -= size;
        berth_stream_send(session->stream, (BerthStreamChannel)channel, data, size);
    }
    kick(session);
}

static void
peer_grant_input(BerthStreamPeer *peer, gsize size)
{
    Session *session = (Session *)peer;
    berth_stream_grant(session->stream, size);
    kick(session);
}

static void
peer_started(BerthStreamPeer *peer, const char *id)
{
    Session *session = (Session *)peer;
    berth_stream_send_control(session->stream,
                              json_pack("{s:s, s:s*}", "type", "started", "id", id));
    kick(session);
}

static json_t *
error_message(const GError *error)
{
    g_autofree char *detail = g_utf8_make_valid(error->message, -1);
    return json_pack("{s:s, s:s, s:s, s:s*}", "type", "error", "code",
                     berth_error_code_name(berth_error_code_of(error)), "detail", detail, "hint",
                     berth_error_hint(error));
}

static void
finish(Session *session, json_t *last)
{
    if (session->finished) {
        json_decref(last);
        return;
    }
    session->finished = TRUE;
    session->deadline_us = g_get_monotonic_time() + LINGER_US;
    berth_stream_send_control(session->stream, last);
    berth_stream_close(session->stream, 1000, "");
    kick(session);
}

static void
peer_finished(BerthStreamPeer *peer, int exit_code, const GError *error)
{
    json_t *last = error != NULL ? error_message(error) : json_pack("{s:s}", "type", "exit");
    json_object_set_new(last, error != NULL ? "exit" : "code", json_integer(exit_code));
    finish((Session *)peer, last);
}

static const BerthStreamPeerOps peer_ops = {
    .output = peer_output,
    .grant_input = peer_grant_input,
    .started = peer_started,
    .finished = peer_finished,
};

/* ---- the client's messages ---- */

/* Passes new credit of the client on to the controller. */
static void
offer_output(Session *session)
{
    gsize credit = berth_stream_credit(session->stream);
    if (session->handle != NULL && !session->finished && credit > session->offered) {
        gsize more = credit - session->offered;
        session->offered = credit;
        session->handle->ops->grant_output(session->handle, more);
    }
}

static void
free_text(gpointer text)
{
    g_free(text);
}

/* (transfer full): the strings of @array; NULL when it is absent or holds anything else. */
static char **
string_list(const json_t *array)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(free_text);
    for (gsize i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        const char *text = json_string_value(item);
        if (text == NULL || strlen(text) != json_string_length(item)) {
            return NULL;
        }
        g_ptr_array_add(list, g_strdup(text));
    }
    if (list->len == 0) {
        return NULL;
    }
    g_ptr_array_add(list, NULL);
    g_ptr_array_set_free_func(list, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
}

static void
fail_session(Session *session, BerthErrorCode code, const char *text)
{
    g_autoptr(GError) error = NULL;
    berth_error_set(&error, code, "%s", text);
    finish(session, error_message(error));
}

static guint
small_number(const json_t *message, const char *key)
{
    return (guint)CLAMP(berth_json_integer(message, key, 0), 0, 65535);
}

static void
open_stream(Session *session, const json_t *message)
{
    g_auto(GStrv) argv = string_list(json_object_get(message, "command"));
    g_auto(GStrv) env = string_list(json_object_get(message, "env"));
    if (session->needs_command && argv == NULL) {
        fail_session(session, BERTH_ERROR_INVALID, "command must be a list of strings");
        return;
    }
    BerthStreamQuery query = {
        .container = berth_json_string(message, "container"),
        .argv = session->needs_command ? argv : NULL,
        .env = env,
        .workdir = berth_json_string(message, "workdir"),
        .user = berth_json_string(message, "user"),
        .tty = json_is_true(json_object_get(message, "tty")),
        .want_stdin = json_is_true(json_object_get(message, "stdin")),
        .columns = small_number(message, "columns"),
        .rows = small_number(message, "rows"),
        .resume = berth_json_string(message, "resume"),
        .history = berth_json_integer(message, "history", -1),
        .actor = session->actor,
        .request_id = session->request_id,
    };
    g_autoptr(GError) error = NULL;
    session->handle =
        session->open(session->routes->ops->data, session->object, &query, &session->peer, &error);
    if (session->handle == NULL) {
        finish(session, error_message(error));
        return;
    }
    offer_output(session);
}

static void
take_control(const char *type, const json_t *message, gpointer data)
{
    Session *session = data;
    if (session->finished) {
        return;
    }
    if (!session->started) {
        session->started = TRUE;
        session->deadline_us = G_MAXINT64;
        if (strcmp(type, "start") == 0) {
            open_stream(session, message);
        } else {
            fail_session(session, BERTH_ERROR_INVALID, "the first message must be start");
        }
        return;
    }
    BerthStreamHandle *handle = session->handle;
    const char *name = berth_json_string(message, "name");
    if (handle == NULL) {
        return;
    }
    if (strcmp(type, "eof") == 0) {
        handle->ops->input_eof(handle);
    } else if (strcmp(type, "resize") == 0) {
        handle->ops->resize(handle, small_number(message, "columns"),
                            small_number(message, "rows"));
    } else if (strcmp(type, "signal") == 0 && name != NULL) {
        handle->ops->signal(handle, name);
    }
}

static void
take_data(BerthStreamChannel channel, const void *bytes, gsize size, gpointer data)
{
    Session *session = data;
    if (session->handle == NULL) {
        session->broken = session->broken || !session->finished;
    } else if (!session->finished) {
        session->handle->ops->input(session->handle, bytes, size);
    }
}

static void
take_granted(gpointer data)
{
    offer_output(data);
}

static void
take_closed(guint code, gpointer data)
{
    ((Session *)data)->closed_by_client = TRUE;
}

static const BerthStreamEvents stream_events = {take_data, take_control, take_granted, take_closed};

/* ---- the socket ---- */

static void
free_session(gpointer data)
{
    Session *session = data;
    g_hash_table_remove(session->routes->sockets, session);
    if (session->source != NULL) {
        g_source_destroy(session->source);
        g_source_unref(session->source);
    }
    g_clear_pointer(&session->stream, berth_stream_free);
    berth_object_unref(session->object);
    g_free(session->actor);
    g_free(session->request_id);
    g_free(session);
}

static void
end_session(Session *session)
{
    BerthStreamHandle *handle = g_steal_pointer(&session->handle);
    gboolean lost = !session->finished && !session->closed_by_client;
    session->finished = TRUE;
    if (handle != NULL) {
        handle->ops->close(handle, lost);
    }
    session->close(session->closing);
    free_session(session);
}

/* Reads what is there, in bounded pieces: others want the main loop too. */
static void
receive(Session *session)
{
    g_autofree char *buffer = g_malloc(64 * 1024);
    gssize got = recv(session->fd, buffer, 64 * 1024, MSG_DONTWAIT);
    g_autoptr(GError) error = NULL;
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        session->broken = TRUE;
    } else if (got > 0 && !berth_stream_feed(session->stream, buffer, (gsize)got, &error)) {
        berth_log_error(BERTH_LOG_INFO, error, "a stream was cut off", "request",
                        session->request_id, NULL);
        session->broken = TRUE;
    }
}

/* Returns: whether something is left to be written. */
static gboolean
transmit(Session *session)
{
    gsize size;
    gconstpointer bytes = berth_stream_output(session->stream, &size);
    while (size > 0) {
        gssize sent = send(session->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            session->broken = session->broken || (errno != EAGAIN && errno != EINTR);
            return TRUE;
        }
        berth_stream_consume(session->stream, (gsize)sent);
        bytes = berth_stream_output(session->stream, &size);
    }
    return FALSE;
}

static gboolean
is_over(const Session *session, gint64 now)
{
    return session->broken || session->closed_by_client || berth_stream_is_done(session->stream) ||
           now >= session->deadline_us;
}

static gboolean
dispatch_session(GSource *source, GSourceFunc callback, gpointer data)
{
    SessionSource *own = (SessionSource *)source;
    Session *session = own->session;
    gint64 now = g_get_monotonic_time();
    GIOCondition condition = g_source_query_unix_fd(source, own->fd_tag);
    g_source_set_ready_time(source, -1);
    if ((condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) != 0) {
        receive(session);
        session->ping_us = now + PING_EVERY_US;
    }
    if (now >= session->ping_us) {
        session->ping_us = now + PING_EVERY_US;
        berth_stream_ping(session->stream);
    }
    gboolean left = transmit(session);
    if (is_over(session, now)) {
        end_session(session);
        return G_SOURCE_REMOVE;
    }
    g_source_modify_unix_fd(source, own->fd_tag, left ? G_IO_IN | G_IO_OUT : G_IO_IN);
    /* What was queued meanwhile asked for time 0 again. */
    gint64 next = MIN(session->ping_us, session->deadline_us);
    if (g_source_get_ready_time(source) != 0) {
        g_source_set_ready_time(source, next);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs session_source = {.dispatch = dispatch_session};

static void
begin_session(int fd, const void *early, gsize early_size, void (*close_it)(gpointer),
              gpointer closing, gpointer data)
{
    Session *session = data;
    session->call->session = NULL;
    session->call = NULL;
    session->fd = fd;
    session->close = close_it;
    session->closing = closing;
    GSource *source = g_source_new(&session_source, sizeof(SessionSource));
    SessionSource *own = (SessionSource *)source;
    own->session = session;
    own->fd_tag = g_source_add_unix_fd(source, fd, G_IO_IN);
    session->source = source;
    session->deadline_us = g_get_monotonic_time() + START_TIMEOUT_US;
    session->ping_us = g_get_monotonic_time() + PING_EVERY_US;
    g_source_attach(source, g_main_context_get_thread_default());
    if (early_size > 0 && !berth_stream_feed(session->stream, early, early_size, NULL)) {
        session->broken = TRUE;
    }
    kick(session);
}

void
routes_close_sockets(BerthRoutes *routes)
{
    g_autoptr(GList) sessions = g_hash_table_get_keys(routes->sockets);
    for (GList *each = sessions; each != NULL; each = each->next) {
        Session *session = each->data;
        if (session->source != NULL) {
            end_session(session);
        }
    }
}

/* ---- the opening ---- */

static gboolean
has_word(const char *header, const char *word)
{
    g_auto(GStrv) words = g_strsplit(header != NULL ? header : "", ",", 16);
    for (char **each = words; *each != NULL; each++) {
        if (g_ascii_strcasecmp(g_strstrip(*each), word) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* A page of another site must not open a socket in a browser's name. */
static gboolean
origin_is_ours(const Call *call)
{
    const char *origin = berth_request_header(call->request, "Origin");
    const char *host = berth_request_header(call->request, "Host");
    const char *slashes = origin != NULL ? strstr(origin, "://") : NULL;
    return origin == NULL || (slashes != NULL && g_strcmp0(slashes + 3, host) == 0);
}

static gboolean
check_handshake(Call *call)
{
    BerthRequest *request = call->request;
    const char *key = berth_request_header(request, "Sec-WebSocket-Key");
    if (!has_word(berth_request_header(request, "Upgrade"), "websocket") ||
        !has_word(berth_request_header(request, "Connection"), "upgrade") ||
        g_strcmp0(berth_request_header(request, "Sec-WebSocket-Version"), "13") != 0 ||
        key == NULL || strlen(key) != 24) {
        berth_request_add_header(request, "Upgrade", "websocket");
        berth_request_add_header(request, "Sec-WebSocket-Version", "13");
        call_refuse(call, 426, BERTH_ERROR_INVALID, "berth exec, attach and console do this",
                    "this path is a WebSocket (version 13)");
        return FALSE;
    }
    if (!has_word(berth_request_header(request, "Sec-WebSocket-Protocol"), BERTH_STREAM_PROTOCOL)) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, NULL,
                    "the only sub-protocol here is " BERTH_STREAM_PROTOCOL);
        return FALSE;
    }
    if (!origin_is_ours(call)) {
        call_refuse(call, 403, BERTH_ERROR_DENIED, NULL,
                    "a page of another origin may not do this");
        return FALSE;
    }
    return TRUE;
}

static void
handle_stream(Call *call, OpenOp open, gboolean needs_command)
{
    BerthObject *object = call_find(call);
    if (object == NULL || !check_handshake(call)) {
        return;
    }
    if (open == NULL) {
        call_refuse(call, 501, BERTH_ERROR_UNAVAILABLE, NULL, "this daemon can't do that");
        return;
    }
    Session *session = g_new0(Session, 1);
    session->peer.ops = &peer_ops;
    session->routes = call->routes;
    session->object = berth_object_ref(object);
    session->open = open;
    session->needs_command = needs_command;
    session->actor = g_strdup(berth_request_actor(call->request)->name);
    session->request_id = g_strdup(berth_request_id(call->request));
    session->stream = berth_stream_new(BERTH_STREAM_SERVER, &stream_events, session);
    session->deadline_us = G_MAXINT64;
    g_hash_table_add(call->routes->sockets, session);
    g_autofree char *accept =
        berth_stream_key_accept(berth_request_header(call->request, "Sec-WebSocket-Key"));
    berth_request_add_header(call->request, "Upgrade", "websocket");
    berth_request_add_header(call->request, "Sec-WebSocket-Accept", accept);
    berth_request_add_header(call->request, "Sec-WebSocket-Protocol", BERTH_STREAM_PROTOCOL);
    session->call = call;
    call->session = session;
    berth_request_answer_upgrade(call->request, begin_session, session);
}

/* The request ended before the upgrade: the session never got its socket. */
void
stream_forget(gpointer session)
{
    free_session(session);
}

void
handle_exec(Call *call)
{
    handle_stream(call, call->routes->ops != NULL ? call->routes->ops->exec_open : NULL, TRUE);
}

void
handle_attach(Call *call)
{
    handle_stream(call, call->routes->ops != NULL ? call->routes->ops->attach_open : NULL, FALSE);
}

void
handle_console(Call *call)
{
    handle_stream(call, call->routes->ops != NULL ? call->routes->ops->console_open : NULL, FALSE);
}
