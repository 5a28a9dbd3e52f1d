/* libmicrohttpd's side of a request: its callbacks, in the order they come. Invariant: a request that the
 * handler keeps is suspended; it is resumed exactly once, by an answer or an abort.
 *
 * Start reading at handle_access(). */
#include "daemon/server-private.h"

#include "base/error.h"
#include "base/random.h"

#include <string.h>

#define CONNECTION_MEMORY (32 * 1024)
/* Connections that were ended to make room, and that libmicrohttpd has not closed yet. */
#define CONNECTIONS_ENDING 256
/* A body beyond the limit is skipped up to this factor so that the refusal can be read, then cut. */
#define SKIP_FACTOR 8

/* ---- the target ---- */

/* Decodes %XX in @text; NULL when it is malformed, holds a NUL or is not UTF-8. */
static char *
decode(const char *text, gssize size, gboolean plus_is_space)
{
    g_autofree char *copy = g_strndup(text, (gsize)size);
    if (plus_is_space) {
        g_strdelimit(copy, "+", ' ');
    }
    for (const char *percent = strchr(copy, '%'); percent != NULL;
         percent = strchr(percent + 1, '%')) {
        if (!g_ascii_isxdigit(percent[1]) || !g_ascii_isxdigit(percent[2])) {
            return NULL;
        }
    }
    g_autofree char *decoded = g_uri_unescape_string(copy, NULL); /* NULL for %00 */
    return decoded != NULL && g_utf8_validate(decoded, -1, NULL) ? g_steal_pointer(&decoded) : NULL;
}

static void
free_text(gpointer text)
{
    g_free(text);
}

static gboolean
split_path(BerthRequest *request)
{
    const char *question = strchr(request->target, '?');
    request->path = question != NULL
                        ? g_strndup(request->target, (gsize)(question - request->target))
                        : g_strdup(request->target);
    g_auto(GStrv) raw = g_strsplit(request->path + 1, "/", -1);
    g_autoptr(GPtrArray) segments = g_ptr_array_new_with_free_func(free_text);
    for (char **segment = raw; *segment != NULL; segment++) {
        char *decoded = decode(*segment, (gssize)strlen(*segment), FALSE);
        if (decoded == NULL) {
            return FALSE;
        }
        g_ptr_array_add(segments, decoded);
    }
    g_ptr_array_add(segments, NULL);
    g_ptr_array_set_free_func(segments, NULL);
    request->segments = (char **)g_ptr_array_free(g_steal_pointer(&segments), FALSE);
    return TRUE;
}

void
berth_request_query_each(const BerthRequest *request,
                         void (*each)(const char *name, const char *value, gpointer data),
                         gpointer data)
{
    const char *question = strchr(request->target, '?');
    if (question == NULL) {
        return;
    }
    g_auto(GStrv) pairs = g_strsplit(question + 1, "&", 256);
    for (char **pair = pairs; *pair != NULL; pair++) {
        const char *equals = strchr(*pair, '=');
        gssize name_size = equals != NULL ? equals - *pair : (gssize)strlen(*pair);
        g_autofree char *name = decode(*pair, name_size, TRUE);
        g_autofree char *value =
            equals != NULL ? decode(equals + 1, (gssize)strlen(equals + 1), TRUE) : g_strdup("");
        if (**pair != '\0') {
            each(name != NULL ? name : "%", value != NULL ? value : "%", data);
        }
    }
}

typedef struct {
    BerthRequest *request;
    const char *name;
    const char *found;
} QuerySearch;

/* Decoded values are kept with the request, in its list of texts. */
static void
match_query(const char *name, const char *value, gpointer data)
{
    QuerySearch *search = data;
    if (search->found == NULL && strcmp(name, search->name) == 0) {
        char *kept = g_strdup(value);
        g_ptr_array_add(search->request->texts, kept);
        search->found = kept;
    }
}

const char *
berth_request_query(const BerthRequest *request, const char *name)
{
    QuerySearch search = {(BerthRequest *)request, name, NULL};
    berth_request_query_each(request, match_query, &search);
    return search.found;
}

/* ---- life ---- */

static void *
begin_request(void *data, const char *uri, struct MHD_Connection *mhd)
{
    BerthServer *server = data;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    BerthRequest *request = g_new0(BerthRequest, 1);
    request->server = server;
    request->connection = info->socket_context;
    request->connection->request = request;
    request->target = g_strdup(uri);
    request->body = g_string_new(NULL);
    request->headers = g_ptr_array_new_with_free_func(free_text);
    request->texts = g_ptr_array_new_with_free_func(free_text);
    request->began_us = server_now(server);
    g_snprintf(request->id, sizeof request->id, "%016" G_GINT64_MODIFIER "x",
               berth_random_u64(berth_random_system()));
    return request;
}

void
request_tell_gone(BerthRequest *request)
{
    if (request->stage == STAGE_HANDLING && !request->answered && !request->gone_told) {
        request->gone_told = TRUE;
        if (request->server->ops.gone != NULL) {
            request->server->ops.gone(request, request->server->data);
        }
    }
}

void
request_free(BerthRequest *request)
{
    request_tell_gone(request);
    peer_forget_turn(request);
    peer_hold(request, 0);
    if (request->throttled) {
        g_queue_remove(&request->server->throttled, request);
    }
    if (request->source != NULL) {
        request->source->free(request->source_data);
        request->server->figures.streams--;
    }
    if (request->destroy != NULL) {
        request->destroy(request->data);
    }
    if (request->response != NULL) {
        MHD_destroy_response(request->response);
    }
    g_clear_pointer(&request->chunk, g_bytes_unref);
    request->connection->request = NULL;
    /* What is left is the close; it has a deadline, too. */
    connection_set_phase(request->connection, PHASE_HEAD);
    g_string_free(request->body, TRUE);
    g_ptr_array_unref(request->headers);
    g_ptr_array_unref(request->texts);
    g_strfreev(request->segments);
    g_free(request->method);
    g_free(request->path);
    g_free(request->target);
    g_free(request);
}

static void
complete_request(void *data, struct MHD_Connection *mhd, void **context,
                 enum MHD_RequestTerminationCode code)
{
    if (*context != NULL) {
        request_free(*context);
        *context = NULL;
    }
}

static void
follow_connection(void *data, struct MHD_Connection *mhd, void **context,
                  enum MHD_ConnectionNotificationCode code)
{
    BerthServer *server = data;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        Connection *connection =
            g_hash_table_lookup(server->by_fd, GINT_TO_POINTER(info->connect_fd));
        g_hash_table_remove(server->by_fd, GINT_TO_POINTER(info->connect_fd));
        connection->mhd = mhd;
        *context = connection;
    } else if (*context != NULL) {
        connection_forget(*context);
        *context = NULL;
    }
}

/* ---- the head ---- */

/* Returns: whether the request goes on; it is answered otherwise. */
static gboolean
accept_head(BerthRequest *request)
{
    g_autoptr(GError) error = NULL;
    if (!tls_identify(request, &error)) {
        berth_request_add_header(request, "WWW-Authenticate", "Bearer");
        berth_request_answer_error(request, 401, error);
        return FALSE;
    }
    if (!split_path(request)) {
        berth_error_set(&error, BERTH_ERROR_INVALID,
                        "the path is not percent-encoded UTF-8 without NUL");
        berth_request_answer_error(request, 400, error);
        return FALSE;
    }
    return TRUE;
}

static void
refuse_size(BerthRequest *request)
{
    g_autoptr(GError) error = NULL;
    berth_error_set(&error, BERTH_ERROR_INVALID, "the body is larger than %d bytes",
                    BERTH_BODY_MAX);
    berth_request_answer_error(request, 413, error);
}

/* Whether the client sends a body before it looks for an answer. One that is not too large is read and thrown away, or the
 * connection would end while it is sent, and many clients tell of that instead of the answer. */
static gboolean
must_read_body(BerthRequest *request)
{
    gint64 length = berth_request_content_length(request);
    return length > 0 && length <= BERTH_BODY_MAX &&
           berth_request_header(request, MHD_HTTP_HEADER_EXPECT) == NULL;
}

static enum MHD_Result
receive_head(BerthRequest *request, const char *method)
{
    BerthServer *server = request->server;
    request->stage = STAGE_READING;
    request->method = g_strdup(method);
    server->figures.requests++;
    connection_set_phase(request->connection, PHASE_BODY);
    if (accept_head(request)) {
        request->uploading = server->ops.head != NULL && server->ops.head(request, server->data);
        if (!request->uploading && !request->answered &&
            berth_request_content_length(request) > BERTH_BODY_MAX) {
            refuse_size(request);
        }
    }
    return request->answered && !must_read_body(request) ? request_queue(request) : MHD_YES;
}

/* The body was read, or has no room: what it took is free for others. */
void
berth_request_drop_body(BerthRequest *request)
{
    g_string_free(request->body, TRUE);
    request->body = g_string_new(NULL);
    peer_hold(request, 0);
}

static enum MHD_Result
receive_body(BerthRequest *request, const char *bytes, size_t *size)
{
    BerthServer *server = request->server;
    request->received += *size;
    if (request->answered && !request->uploading) {
        *size = 0;
        return MHD_YES;
    }
    if (request->uploading) {
        server->ops.body(request, bytes, *size, server->data);
    } else if (request->body->len + *size > BERTH_BODY_MAX) {
        request->too_large = TRUE;
    } else if (request->no_room == 0) {
        request->no_room = peer_hold(request, request->body->len + *size);
        if (request->no_room == 0) {
            g_string_append_len(request->body, bytes, (gssize)*size);
        } else {
            berth_request_drop_body(request);
        }
    }
    *size = 0;
    gboolean endless =
        request->too_large && request->received > (guint64)BERTH_BODY_MAX * SKIP_FACTOR;
    return endless ? MHD_NO : MHD_YES;
}

/* ---- the whole ---- */

static void
suspend(BerthRequest *request)
{
    request->suspended = TRUE;
    connection_set_phase(request->connection, PHASE_WAITING);
    MHD_suspend_connection(request->connection->mhd);
}

void
request_resume(BerthRequest *request)
{
    if (request->suspended) {
        request->suspended = FALSE;
        MHD_resume_connection(request->connection->mhd);
        server_run_soon(request->server);
    }
}

static void
refuse_no_room(BerthRequest *request)
{
    g_autoptr(GError) error = peer_hold_error(request->no_room);
    berth_request_answer_error(request, request->no_room, error);
}

/* Also while libmicrohttpd has it suspended: the answer resumes it. */
void
request_handle(BerthRequest *request)
{
    BerthServer *server = request->server;
    gint64 began = server_now(server);
    request->stage = STAGE_HANDLING;
    if (request->too_large) {
        refuse_size(request);
    } else if (request->no_room != 0) {
        refuse_no_room(request);
    } else {
        server->ops.handle(request, server->data);
    }
    server->handle_us -= server_now(server) - began;
}

static enum MHD_Result
handle_whole(BerthRequest *request)
{
    if (request->aborted) {
        return MHD_NO;
    }
    if (request->stage == STAGE_READING && (!request->answered || request->uploading)) {
        if (peer_must_wait(request)) {
            suspend(request);
            return MHD_YES;
        }
        request_handle(request);
    }
    if (request->aborted) {
        return MHD_NO;
    }
    if (request->answered) {
        return request_queue(request);
    }
    suspend(request);
    return MHD_YES;
}

static enum MHD_Result
handle_access(void *data, struct MHD_Connection *mhd, const char *url, const char *method,
              const char *version, const char *upload, size_t *upload_size, void **context)
{
    BerthRequest *request = *context;
    enum MHD_Result result;
    request->in_handler = TRUE;
    if (request->stage == STAGE_NEW) {
        result = receive_head(request, method);
    } else if (*upload_size > 0) {
        result = receive_body(request, upload, upload_size);
    } else {
        result = handle_whole(request);
    }
    request->in_handler = FALSE;
    return result;
}

/* The raw target is decoded here by segment; libmicrohttpd's own decoding would lose %00 and %2F. */
static size_t
keep_escapes(void *data, struct MHD_Connection *mhd, char *text)
{
    return strlen(text);
}

/* On unix sockets libmicrohttpd would log at each answer that it can't set TCP options. */
struct MHD_Daemon *
request_start_daemon(BerthServer *server, GError **error)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE, 0,
        NULL, NULL, handle_access, server, MHD_OPTION_URI_LOG_CALLBACK, begin_request, server,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        complete_request, server, MHD_OPTION_NOTIFY_CONNECTION, follow_connection, server,
        MHD_OPTION_CONNECTION_LIMIT, server->limits.connections + CONNECTIONS_ENDING,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (daemon == NULL) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "libmicrohttpd did not start");
    }
    return daemon;
}

/* ---- what handlers ask ---- */

const char *
berth_request_method(const BerthRequest *request)
{
    return request->method;
}

const char *
berth_request_path(const BerthRequest *request)
{
    return request->path;
}

const char *const *
berth_request_segments(const BerthRequest *request)
{
    return (const char *const *)request->segments;
}

const char *
berth_request_header(const BerthRequest *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection->mhd, MHD_HEADER_KIND, name);
}

const char *
berth_request_id(const BerthRequest *request)
{
    return request->id;
}

const BerthActor *
berth_request_actor(const BerthRequest *request)
{
    return request->connection->actor;
}

GString *
berth_request_body(const BerthRequest *request)
{
    return request->body;
}

gint64
berth_request_content_length(const BerthRequest *request)
{
    const char *length = berth_request_header(request, "Content-Length");
    return length != NULL ? g_ascii_strtoll(length, NULL, 10) : -1;
}

BerthServer *
berth_request_server(const BerthRequest *request)
{
    return request->server;
}

void
berth_request_set_data(BerthRequest *request, gpointer data, GDestroyNotify destroy)
{
    if (request->destroy != NULL) {
        request->destroy(request->data);
    }
    request->data = data;
    request->destroy = destroy;
}

gpointer
berth_request_data(const BerthRequest *request)
{
    return request->data;
}
