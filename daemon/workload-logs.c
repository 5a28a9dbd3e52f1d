/* Readers of a container's log, at their own pace: that is why nothing is lost or doubled, and why a slow
 * reader holds nobody up. Main loop only. */
#include "daemon/workload-viewer.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

#define CHUNK_MAX (64 * 1024)

typedef struct {
    BerthLogReader base;
    BerthViewer viewer;
    BerthLogCursor *cursor;
    BerthLogQuery query;
    void (*wake)(gpointer user_data);
    gpointer user_data;
} Reader;

static const char *
stream_name(guint8 stream)
{
    return stream == BERTH_STREAM_STDOUT   ? "stdout"
           : stream == BERTH_STREAM_STDERR ? "stderr"
                                           : "gap";
}

static char *
format_time(gint64 wall_us)
{
    g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_utc(wall_us / G_USEC_PER_SEC);
    g_autofree char *text = seconds != NULL ? g_date_time_format(seconds, "%Y-%m-%dT%H:%M:%S")
                                            : g_strdup("1970-01-01T00:00:00");
    return g_strdup_printf("%s.%06dZ", text, (int)(wall_us % G_USEC_PER_SEC));
}

static void
append_record(GString *text, const BerthLogRecord *record)
{
    g_autofree char *time = format_time(record->wall_us);
    json_t *line = json_pack("{s:I, s:s, s:s}", "sequence", (json_int_t)record->sequence, "time",
                             time, "stream", stream_name(record->stream));
    if (record->stream == BERTH_STREAM_GAP) {
        json_object_set_new(line, "bytes", json_integer((json_int_t)record->gap));
    } else {
        json_t *data = json_stringn((const char *)record->data, record->size);
        if (data != NULL) {
            json_object_set_new(line, "data", data);
        } else {
            g_autofree char *base64 = g_base64_encode(record->data, record->size);
            json_object_set_new(line, "data64", json_string(base64));
        }
    }
    g_autofree char *formatted = berth_json_format(line);
    json_decref(line);
    g_string_append(text, formatted);
    g_string_append_c(text, '\n');
}

static GBytes *
next_logs(BerthLogReader *base, gboolean *end, GError **error)
{
    Reader *reader = (Reader *)base;
    g_autoptr(GString) text = g_string_new(NULL);
    BerthLogRecord record;
    while (text->len < CHUNK_MAX / 2 && berth_log_cursor_next(reader->cursor, &record)) {
        if (record.wall_us >= reader->query.since_us) {
            append_record(text, &record);
        }
    }
    int unused;
    *end = FALSE;
    if (text->len > 0) {
        return g_string_free_to_bytes(g_steal_pointer(&text));
    }
    *end = !reader->query.follow || berth_viewer_has_ended(&reader->viewer, &unused);
    return NULL;
}

static void
free_logs(BerthLogReader *base)
{
    Reader *reader = (Reader *)base;
    berth_viewer_clear(&reader->viewer);
    berth_log_cursor_free(reader->cursor);
    g_free(reader);
}

static void
wake_reader(BerthViewer *viewer)
{
    Reader *reader = (Reader *)((char *)viewer - offsetof(Reader, viewer));
    if (reader->wake != NULL) {
        reader->wake(reader->user_data);
    }
}

/** Opens a reader of a container's log, as BerthWorkloadOps.logs_open says. */
BerthLogReader *
berth_workload_logs_open(gpointer data, BerthObject *object, const BerthLogQuery *query,
                         void (*wake)(gpointer user_data), gpointer user_data, GError **error)
{
    static const BerthLogReaderOps ops = {next_logs, free_logs};
    BerthWorkloadController *controller = data;
    guint index;
    const BerthContainerSpec *container =
        berth_workload_find_container(object, query->container, &index, error);
    if (container == NULL) {
        return NULL;
    }
    if (query->container == NULL && ((BerthPodSpec *)object->spec_data)->containers->len > 1) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/container",
                           "berth logs --container CONTAINER NAME",
                           "pod '%s' has several containers; say which", object->name);
        return NULL;
    }
    Reader *reader = g_new0(Reader, 1);
    reader->base.ops = &ops;
    reader->query = *query;
    reader->query.container = NULL;
    reader->wake = wake;
    reader->user_data = user_data;
    reader->cursor = berth_log_cursor_new(controller->control->logs, object->uid, container->name);
    if (query->tail >= 0) {
        berth_log_cursor_skip_to_tail(reader->cursor, (guint)MIN(query->tail, G_MAXINT));
    }
    berth_viewer_init(&reader->viewer, controller, object, container->name, index, wake_reader);
    return &reader->base;
}
