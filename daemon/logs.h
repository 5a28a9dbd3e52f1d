/* Container logs on the daemon's disk: per container a row of segment files of numbered records.
 *
 * Records are (sequence, time, stream, bytes), appended as they come from the guest and acknowledged
 * after the write; files are synced once a second. The last valid record of a container tells where
 * the guest goes on after a broken link or a killed daemon. Main loop only. */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

typedef struct BerthLogs BerthLogs;
typedef struct BerthLogCursor BerthLogCursor;

typedef struct {
    guint64 sequence;
    gint64 wall_us;
    guint8 stream; /* 1 stdout, 2 stderr; 0: a gap of `gap` bytes */
    guint64 gap;
    const guint8 *data; /* borrowed from the reader until the next call */
    gsize size;
} BerthLogRecord;

BerthLogs *berth_logs_new(const char *folder, gsize segment_bytes, guint segments, GError **error);
void berth_logs_set_bounds(BerthLogs *logs, gsize segment_bytes, guint segments);
void berth_logs_free(BerthLogs *logs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthLogs, berth_logs_free)

gboolean berth_logs_append(BerthLogs *logs, const char *uid, const char *container,
                           const BerthLogRecord *record, GError **error);
guint64 berth_logs_last_sequence(BerthLogs *logs, const char *uid, const char *container);
void berth_logs_close(BerthLogs *logs, const char *uid);
void berth_logs_delete(BerthLogs *logs, const char *uid);
void berth_logs_prune(BerthLogs *logs, GHashTable *live_uids);

BerthLogCursor *berth_log_cursor_new(BerthLogs *logs, const char *uid, const char *container);
void berth_log_cursor_free(BerthLogCursor *reader);
gboolean berth_log_cursor_next(BerthLogCursor *reader, BerthLogRecord *record);
void berth_log_cursor_skip_to_tail(BerthLogCursor *reader, guint lines);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthLogCursor, berth_log_cursor_free)

G_END_DECLS
