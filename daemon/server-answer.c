/* Answers: JSON, text, problems, streams, upgrades. Invariant: an answer is made once and queued once; a
 * stream holds at most the chunk it is sending; what is held is counted (peer_hold()). */
#include "daemon/server-private.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/log.h"
#include "daemon/problem.h"

#include <string.h>

#define STREAM_BLOCK (16 * 1024)
#define THROTTLED_PER_TURN 4

void
berth_request_add_header(BerthRequest *request, const char *name, const char *value)
{
    g_ptr_array_add(request->headers, g_strdup(name));
    g_ptr_array_add(request->headers, g_strdup(value));
}

static gboolean
is_reading(const BerthRequest *request)
{
    const char *method = request->method != NULL ? request->method : "?";
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* One line per request: changes at info, reads at debug. */
static void
log_answer(const BerthRequest *request)
{
    const BerthActor *actor = request->connection->actor;
    g_autofree char *status = g_strdup_printf("%u", request->status);
    g_autofree char *ms =
        g_strdup_printf("%.1f", (double)(server_now(request->server) - request->began_us) / 1000.0);
    berth_log(is_reading(request) ? BERTH_LOG_DEBUG : BERTH_LOG_INFO, "request", "method",
              request->method != NULL ? request->method : "?", "path", request->target, "status",
              status, "actor", actor->name, "origin", actor->origin, "ms", ms, "request",
              request->id, NULL);
}

static void
add_headers(BerthRequest *request, const char *media_type)
{
    struct MHD_Response *response = request->response;
    if (media_type != NULL) {
        MHD_add_response_header(response, "Content-Type", media_type);
    }
    MHD_add_response_header(response, "X-Request-Id", request->id);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (request->upgraded == NULL) {
        MHD_add_response_header(response, "Connection", "close");
    }
    for (guint i = 0; i + 1 < request->headers->len; i += 2) {
        MHD_add_response_header(response, request->headers->pdata[i],
                                request->headers->pdata[i + 1]);
    }
}

/* The answer is complete; it goes out when libmicrohttpd asks next. */
static void
finish_answer(BerthRequest *request, guint status, const char *media_type)
{
    g_return_if_fail(!request->answered);
    request->status = status;
    request->answered = TRUE;
    request->server->figures.answered[MIN(status / 100, 5)]++;
    add_headers(request, media_type);
    log_answer(request);
    if (!request->in_handler) {
        request_resume(request);
    }
}

enum MHD_Result
request_queue(BerthRequest *request)
{
    Connection *connection = request->connection;
    request->stage = STAGE_QUEUED;
    if (request->dropped) {
        g_clear_pointer(&request->response, MHD_destroy_response);
        return MHD_NO;
    }
    connection_set_phase(connection, request->upgraded != NULL ? PHASE_UPGRADED
                                     : request->source != NULL ? PHASE_STREAM
                                                               : PHASE_ANSWER);
    request->sent_us = connection->since_us;
    enum MHD_Result result =
        MHD_queue_response(connection->mhd, request->status, request->response);
    g_clear_pointer(&request->response, MHD_destroy_response);
    return result;
}

/* There is no room for an answer (peer_hold() gave @refused). A read is refused; what a write did can't be
 * taken back, so its answer is dropped with the connection, and its client must look. */
static void
answer_without_room(BerthRequest *request, guint status, guint refused)
{
    if (is_reading(request)) {
        g_autoptr(GError) error = peer_hold_error(refused);
        berth_request_answer_error(request, refused, error);
        return;
    }
    request->dropped = TRUE;
    request->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    finish_answer(request, status, NULL);
}

/* @text: (transfer full). */
static void
answer_bytes(BerthRequest *request, guint status, const char *media_type, char *text)
{
    gsize size = strlen(text);
    berth_request_drop_body(request);
    guint refused = peer_hold(request, size);
    if (refused != 0) {
        g_free(text);
        answer_without_room(request, status, refused);
        return;
    }
    request->answer_size = size;
    request->response = MHD_create_response_from_buffer_with_free_callback(size, text, g_free);
    finish_answer(request, status, media_type);
}

void
berth_request_answer_json(BerthRequest *request, guint status, const json_t *json)
{
    if (json == NULL) {
        request->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        finish_answer(request, status, NULL);
        return;
    }
    g_autofree char *text = berth_json_format(json);
    answer_bytes(request, status, "application/json", g_strconcat(text, "\n", NULL));
}

void
berth_request_answer_text(BerthRequest *request, guint status, const char *media_type,
                          const char *text)
{
    answer_bytes(request, status, media_type, g_strdup(text));
}

void
berth_request_answer_error(BerthRequest *request, guint status, const GError *error)
{
    g_autoptr(json_t) problem = berth_problem_from_error(error, status, request->id);
    g_autofree char *text = berth_json_format(problem);
    guint code = (guint)berth_json_integer(problem, "status", 500);
    if (code == 429 || code == 503) {
        berth_request_add_header(request, "Retry-After", "1");
    }
    if (code >= 500) {
        berth_log_error(BERTH_LOG_WARNING, error, "a request failed", "request", request->id,
                        "path", request->target, NULL);
    }
    answer_bytes(request, code, "application/problem+json", g_strconcat(text, "\n", NULL));
}

/* ---- streams ---- */

static void
take_chunk(BerthRequest *request, GBytes *chunk)
{
    g_clear_pointer(&request->chunk, g_bytes_unref);
    request->chunk = chunk;
    request->chunk_sent = 0;
}

/* Copies what is left of the chunk. Returns: how many bytes. */
static gsize
copy_chunk(BerthRequest *request, char *buffer, gsize room)
{
    if (request->chunk == NULL) {
        return 0;
    }
    gsize size;
    const char *bytes = g_bytes_get_data(request->chunk, &size);
    gsize part = MIN(room, size - request->chunk_sent);
    memcpy(buffer, bytes + request->chunk_sent, part);
    request->chunk_sent += part;
    if (request->chunk_sent == size) {
        take_chunk(request, NULL);
        peer_hold(request, 0);
    }
    return part;
}

/* Fills @buffer as far as the source has something and the turn's budget lasts. */
static gsize
fill(BerthRequest *request, char *buffer, gsize room, gboolean *end)
{
    BerthServer *server = request->server;
    gsize filled = copy_chunk(request, buffer, room);
    while (filled < room && !*end && !request->aborted && server->budget_us > 0) {
        gint64 began = server_now(server);
        GBytes *next = request->source->next(request->source_data, end);
        server->budget_us -= server_now(server) - began;
        if (next == NULL) {
            break;
        }
        if (peer_hold(request, g_bytes_get_size(next)) != 0) {
            g_bytes_unref(next);
            request->aborted = TRUE; /* the reader resumes from what it has */
            break;
        }
        take_chunk(request, next);
        filled += copy_chunk(request, buffer + filled, room - filled);
    }
    return filled;
}

static void
suspend_stream(BerthRequest *request)
{
    request->suspended = TRUE;
    MHD_suspend_connection(request->connection->mhd);
}

static ssize_t
read_stream(void *data, uint64_t position, char *buffer, size_t room)
{
    BerthRequest *request = data;
    gboolean end = FALSE;
    gsize filled = fill(request, buffer, room, &end);
    request->chunk_stalls = filled > 0;
    if (filled > 0) {
        request->sent_us = server_now(request->server);
        return (ssize_t)filled;
    }
    if (request->aborted) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (end) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (request->server->budget_us <= 0 && !request->throttled) {
        request->throttled = TRUE;
        g_queue_push_tail(&request->server->throttled, request);
    }
    suspend_stream(request);
    return 0;
}

/* After a turn: the streams that waited longest go first in the next one. */
void
request_resume_throttled(BerthServer *server)
{
    for (guint i = 0; i < THROTTLED_PER_TURN; i++) {
        BerthRequest *request = g_queue_pop_head(&server->throttled);
        if (request == NULL) {
            break;
        }
        request->throttled = FALSE;
        request_resume(request);
    }
}

static gboolean
refuse_stream(BerthRequest *request)
{
    BerthServer *server = request->server;
    guint count = 0, all = 0;
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, server->connections);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const Connection *other = key;
        const BerthRequest *its = other->request;
        /* One that was answered in this turn is in libmicrohttpd's hands only with the next. */
        gboolean open = other->phase == PHASE_STREAM || other->phase == PHASE_UPGRADED ||
                        (its != NULL && (its->source != NULL || its->upgraded != NULL));
        all += open;
        count += open && other->peer == request->connection->peer;
    }
    gboolean by_peer = count >= server->limits.streams_per_peer;
    if (!by_peer && all < server->limits.streams) {
        return FALSE;
    }
    g_autoptr(GError) error = NULL;
    berth_error_set(&error, BERTH_ERROR_EXHAUSTED, "%s %u open streams already",
                    by_peer ? "this client has" : "all clients together have",
                    by_peer ? count : all);
    g_ptr_array_set_size(request->headers, 0); /* those of a handshake */
    berth_request_answer_error(request, by_peer ? 429 : 503, error);
    return TRUE;
}

/** See the header. */
void
berth_request_answer_stream(BerthRequest *request, guint status, const char *media_type,
                            const BerthStreamSource *source, gpointer data)
{
    if (refuse_stream(request)) {
        source->free(data);
        return;
    }
    berth_request_drop_body(request);
    request->source = source;
    request->source_data = data;
    request->server->figures.streams++;
    request->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                                          read_stream, request, NULL);
    finish_answer(request, status, media_type);
}

void
berth_request_wake(BerthRequest *request)
{
    if (request->stage == STAGE_QUEUED) {
        request_resume(request);
    }
}

/* Once a second for each stream: cuts those that don't read, lets idle ones say so. */
void
request_sweep(BerthRequest *request, gint64 now)
{
    if (!request->suspended) {
        if (request->chunk_stalls && now - request->sent_us >= STREAM_STALL_US) {
            shutdown(request->connection->fd, SHUT_RDWR);
        }
        return;
    }
    if (now - request->sent_us < STREAM_IDLE_US || request->source->idle == NULL) {
        return;
    }
    GBytes *bytes = request->source->idle(request->source_data);
    request->sent_us = now;
    if (bytes != NULL) {
        take_chunk(request, bytes);
        request_resume(request);
    }
}

/* ---- upgrades ---- */

static void
close_upgraded(gpointer handle)
{
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

static void
begin_upgraded(void *data, struct MHD_Connection *mhd, void *context, const char *early,
               size_t early_size, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
    BerthRequest *request = data;
    request->upgraded(fd, early, early_size, close_upgraded, handle, request->upgraded_data);
}

/** See the header. Headers of the handshake go before it by berth_request_add_header(). */
void
berth_request_answer_upgrade(BerthRequest *request, BerthUpgraded upgraded, gpointer data)
{
    if (refuse_stream(request)) {
        return;
    }
    berth_request_drop_body(request);
    request->upgraded = upgraded;
    request->upgraded_data = data;
    request->response = MHD_create_response_for_upgrade(begin_upgraded, request);
    finish_answer(request, MHD_HTTP_SWITCHING_PROTOCOLS, NULL);
}
