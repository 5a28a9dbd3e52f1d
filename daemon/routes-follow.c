/* Streams out: watch and logs; and the controllers' answers to why, xml, plan, capacity, rebalance and fleet. Main
 * loop. */
#include "daemon/routes-private.h"

#include "base/json.h"
#include "daemon/problem.h"

#include <string.h>

static void
wake_request(gpointer data)
{
    berth_request_wake(data);
}

/* ---- watch ---- */

typedef struct {
    BerthWatch *watch; /* owned */
    gboolean ended;
    char *request_id; /* owned */
} WatchStream;

static GBytes *
error_line(WatchStream *stream, const GError *error)
{
    g_autoptr(json_t) line = json_pack("{s:s, s:o}", "type", "error", "error",
                                       berth_problem_from_error(error, 0, stream->request_id));
    g_autofree char *text = berth_json_format(line);
    char *whole = g_strconcat(text, "\n", NULL);
    return g_bytes_new_take(whole, strlen(whole));
}

static GBytes *
next_line(gpointer data, gboolean *end)
{
    WatchStream *stream = data;
    g_autoptr(GError) error = NULL;
    if (stream->ended) {
        *end = TRUE;
        return NULL;
    }
    GBytes *line = berth_watch_next(stream->watch, &error);
    if (error != NULL) {
        stream->ended = TRUE;
        return error_line(stream, error);
    }
    return line;
}

static GBytes *
idle_line(gpointer data)
{
    return berth_watch_bookmark(((WatchStream *)data)->watch);
}

static void
free_watch_stream(gpointer data)
{
    WatchStream *stream = data;
    berth_watch_free(stream->watch);
    g_free(stream->request_id);
    g_free(stream);
}

void
handle_watch(Call *call)
{
    static const BerthStreamSource source = {next_line, idle_line, free_watch_stream};
    gint64 since = -1;
    if (!call_query_integer(call, "since", 0, G_MAXINT64, &since)) {
        return;
    }
    BerthWatchQuery query = {
        .kinds = call_query(call, "kinds"),
        .project = call_query(call, "project"),
        .name = call_query(call, "name"),
        .labels = call_query(call, "label"),
        .since = since,
    };
    g_autoptr(GError) error = NULL;
    BerthWatch *watch =
        berth_watch_new(call->routes->hub, &query, wake_request, call->request, &error);
    if (watch == NULL) {
        call_fail(call, 0, error);
        return;
    }
    WatchStream *stream = g_new0(WatchStream, 1);
    stream->watch = watch;
    stream->request_id = g_strdup(berth_request_id(call->request));
    berth_request_answer_stream(call->request, 200, "application/x-ndjson", &source, stream);
}

/* ---- logs ---- */

static GBytes *
next_log(gpointer data, gboolean *end)
{
    BerthLogReader *reader = data;
    g_autoptr(GError) error = NULL;
    GBytes *bytes = reader->ops->next(reader, end, &error);
    /* The head of the answer is gone: a stream can only end early. */
    *end = *end || error != NULL;
    return bytes;
}

static void
free_log(gpointer data)
{
    BerthLogReader *reader = data;
    reader->ops->free(reader);
}

/* RFC 3339, or seconds before now ("90", "90s", "15m", "2h"). */
static gboolean
parse_since(Call *call, gint64 *since_us)
{
    const char *text = call_query(call, "since");
    if (text == NULL) {
        return TRUE;
    }
    g_autoptr(GDateTime) when = g_date_time_new_from_iso8601(text, NULL);
    char *end = NULL;
    guint64 amount = g_ascii_strtoull(text, &end, 10);
    gint64 unit = *end == '\0' || strcmp(end, "s") == 0 ? 1
                  : strcmp(end, "m") == 0               ? 60
                  : strcmp(end, "h") == 0               ? 3600
                                                        : 0;
    if (when != NULL) {
        *since_us = g_date_time_to_unix(when) * G_USEC_PER_SEC;
    } else if (end != text && unit > 0 && amount < (1u << 30)) {
        *since_us = berth_clock_wall_us(berth_catalog_clock(call->routes->catalog)) -
                    (gint64)amount * unit * G_USEC_PER_SEC;
    } else {
        call_refuse(call, 400, BERTH_ERROR_INVALID, "since=2026-11-23T09:00:00Z or since=15m",
                    "'%s' is no time", text);
        return FALSE;
    }
    return TRUE;
}

static gboolean
has_op(Call *call, gboolean there)
{
    if (!there) {
        call_refuse(call, 501, BERTH_ERROR_UNAVAILABLE, NULL, "this daemon can't do that");
    }
    return there;
}

void
handle_logs(Call *call)
{
    static const BerthStreamSource source = {next_log, NULL, free_log};
    const BerthWorkloadOps *ops = call->routes->ops;
    BerthObject *object = call_find(call);
    BerthLogQuery query = {.container = call_query(call, "container"), .tail = -1};
    if (object == NULL || !has_op(call, ops != NULL && ops->logs_open != NULL) ||
        !call_query_flag(call, "follow", &query.follow) ||
        !call_query_flag(call, "timestamps", &query.timestamps) ||
        !call_query_integer(call, "tail", -1, G_MAXINT32, &query.tail) ||
        !parse_since(call, &query.since_us)) {
        return;
    }
    g_autoptr(GError) error = NULL;
    BerthLogReader *reader =
        ops->logs_open(ops->data, object, &query, wake_request, call->request, &error);
    if (reader == NULL) {
        call_fail(call, 0, error);
        return;
    }
    berth_request_answer_stream(call->request, 200, "text/plain; charset=utf-8", &source, reader);
}

/* ---- questions to the controllers ---- */

static void
answer_text(const char *text, const GError *error, gpointer data)
{
    Call *call = data;
    gboolean xml = strcmp(call->route->id, "xml") == 0;
    if (error != NULL) {
        call_fail(call, 0, error);
    } else if (call->request != NULL) {
        berth_request_answer_text(call->request, 200, xml ? "application/xml" : "application/json",
                                  text);
    }
    call_unref(call);
}

void
handle_why(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    BerthObject *object = call_find(call);
    if (object != NULL && has_op(call, ops != NULL && ops->why != NULL)) {
        ops->why(ops->data, object, answer_text, call_ref(call));
    }
}

/* Answers with @ask's document about the question in the body. */
static void
ask_about_body(Call *call, void (*ask)(gpointer data, const json_t *question, BerthAnswer answer,
                                       gpointer user_data))
{
    if (!has_op(call, ask != NULL) || !call_read_document(call, TRUE)) {
        return;
    }
    if (!json_is_object(call->document)) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, NULL, "the body must be a JSON object");
        return;
    }
    ask(call->routes->ops->what_if_data, call->document, answer_text, call_ref(call));
}

void
handle_plan(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    ask_about_body(call, ops != NULL ? ops->plan : NULL);
}

void
handle_capacity(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    ask_about_body(call, ops != NULL ? ops->capacity : NULL);
}

void
handle_rebalance(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    ask_about_body(call, ops != NULL ? ops->rebalance : NULL);
}

void
handle_overview(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    if (has_op(call, ops != NULL && ops->overview != NULL)) {
        ops->overview(ops->what_if_data, answer_text, call_ref(call));
    }
}

void
handle_fleet(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    if (has_op(call, ops != NULL && ops->fleet != NULL)) {
        ops->fleet(ops->what_if_data, answer_text, call_ref(call));
    }
}

void
handle_xml(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    BerthObject *object = call_find(call);
    if (object != NULL && has_op(call, ops != NULL && ops->xml != NULL)) {
        ops->xml(ops->data, object, answer_text, call_ref(call));
    }
}
