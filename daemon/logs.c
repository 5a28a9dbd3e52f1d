/* Container logs: append, resume, read, rotate, delete.
 *
 * Layout: <folder>/<uid>/<container>.<n>, n counting up; each file is a row of records, each with a
 * header (magic, size, sequence, time, stream, checksum). Invariant: sequences rise within a container;
 * a torn record can only be the last of the last segment and is cut off when the file is opened again.
 * Syncing runs on a thread of its own, everything else on the main loop. */
#include "daemon/logs.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_MAGIC 0x424c4f47u /* "GOLB" on disk */
#define RECORD_MAX (64 * 1024)

typedef struct {
    guint32 magic;
    guint32 size;
    guint64 sequence;
    gint64 wall_us;
    guint64 gap;
    guint32 checksum; /* of everything else in the header, and the data */
    guint8 stream;
    guint8 zero[3];
} Header;

G_STATIC_ASSERT(sizeof(Header) == 40);

/* A container's log being written. */
typedef struct {
    char *prefix; /* owned; "<uid>/<container>" */
    BerthFd fd;
    guint first, last; /* segment numbers that exist */
    gsize size;        /* of the last segment */
    guint64 sequence;
    gboolean dirty;
} Writer;

struct BerthLogs {
    BerthFd folder;
    gsize segment_bytes;
    guint segments;
    GHashTable *writers; /* prefix -> Writer, owned */
    guint sync_timer;
    GThreadPool *syncer;
};

struct BerthLogCursor {
    BerthLogs *logs; /* borrowed, outlives this */
    char *prefix;    /* owned */
    guint segment;
    goffset offset;
    BerthFd fd;
    guint8 *buffer; /* owned; RECORD_MAX */
};

static guint32
checksum_record(const Header *header, const guint8 *data)
{
    /* FNV-1a (Fowler, Noll, Vo): finds torn writes; nobody attacks his own log. */
    Header copy = *header;
    copy.checksum = 0;
    guint32 sum = 2166136261u;
    const guint8 *bytes = (const guint8 *)&copy;
    for (gsize i = 0; i < sizeof copy; i++) {
        sum = (sum ^ bytes[i]) * 16777619u;
    }
    for (gsize i = 0; i < header->size; i++) {
        sum = (sum ^ data[i]) * 16777619u;
    }
    return sum;
}

static void
free_writer(gpointer data)
{
    Writer *writer = data;
    berth_fd_clear(&writer->fd);
    g_free(writer->prefix);
    g_free(writer);
}

static void
sync_and_close(gpointer data, gpointer unused)
{
    BerthFd fd = GPOINTER_TO_INT(data) - 1;
    fdatasync(fd);
    berth_fd_clear(&fd);
}

/**
 * berth_logs_set_bounds:
 * @segment_bytes: a segment is closed when it reached this size
 * @segments: how many segments of a container are kept; at least 2
 *
 * Holds for what is written from now on: a log that is too long shrinks with its next segment.
 */
void
berth_logs_set_bounds(BerthLogs *logs, gsize segment_bytes, guint segments)
{
    logs->segment_bytes = segment_bytes;
    logs->segments = MAX(segments, 2);
}

/**
 * berth_logs_new:
 * @folder: made when absent, 0700
 * @segment_bytes, @segments: as berth_logs_set_bounds() has them
 */
BerthLogs *
berth_logs_new(const char *folder, gsize segment_bytes, guint segments, GError **error)
{
    if (g_mkdir_with_parents(folder, 0700) != 0) {
        berth_error_set_errno(error, errno, "can't make the folder '%s'", folder);
        return NULL;
    }
    g_auto(BerthFd) fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't open the folder '%s'", folder);
        return NULL;
    }
    BerthLogs *logs = g_new0(BerthLogs, 1);
    logs->folder = berth_fd_steal(&fd);
    berth_logs_set_bounds(logs, segment_bytes, segments);
    logs->writers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_writer);
    logs->syncer = g_thread_pool_new(sync_and_close, NULL, 1, FALSE, NULL);
    return logs;
}

void
berth_logs_free(BerthLogs *logs)
{
    if (logs->sync_timer != 0) {
        g_source_remove(logs->sync_timer);
    }
    g_hash_table_destroy(logs->writers);
    g_thread_pool_free(logs->syncer, FALSE, TRUE);
    berth_fd_clear(&logs->folder);
    g_free(logs);
}

static char *
segment_path(const char *prefix, guint segment)
{
    return g_strdup_printf("%s.%u", prefix, segment);
}

/* The lowest and highest segment of @prefix; FALSE when it has none. */
static gboolean
find_segments(BerthLogs *logs, const char *prefix, guint *first, guint *last)
{
    g_autofree char *uid = g_path_get_dirname(prefix);
    g_autofree char *container = g_path_get_basename(prefix);
    g_autofree char *folder = g_strdup_printf("/proc/self/fd/%d/%s", logs->folder, uid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    gsize length = strlen(container);
    gboolean found = FALSE;
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        guint64 number;
        if (strncmp(name, container, length) != 0 || name[length] != '.' ||
            !g_ascii_string_to_unsigned(name + length + 1, 10, 0, G_MAXUINT32, &number, NULL)) {
            continue;
        }
        *first = found ? MIN(*first, (guint)number) : (guint)number;
        *last = found ? MAX(*last, (guint)number) : (guint)number;
        found = TRUE;
    }
    return found;
}

/* Reads the record at @offset of @fd. Returns its whole length, 0 at the end or before a torn one. */
static gsize
read_record(int fd, goffset offset, Header *header, guint8 *buffer)
{
    if (pread(fd, header, sizeof *header, offset) != (gssize)sizeof *header ||
        header->magic != RECORD_MAGIC || header->size > RECORD_MAX) {
        return 0;
    }
    if (pread(fd, buffer, header->size, offset + (goffset)sizeof *header) != (gssize)header->size ||
        checksum_record(header, buffer) != header->checksum) {
        return 0;
    }
    return sizeof *header + header->size;
}

/* Finds the last valid record of an existing segment and cuts off what is torn behind it. */
static void
recover_segment(Writer *writer)
{
    g_autofree guint8 *buffer = g_malloc(RECORD_MAX);
    Header header;
    goffset offset = 0;
    gsize length;
    while ((length = read_record(writer->fd, offset, &header, buffer)) > 0) {
        offset += (goffset)length;
        writer->sequence = header.sequence;
    }
    writer->size = (gsize)offset;
    if (ftruncate(writer->fd, offset) != 0) {
        g_warning("can't cut a torn record off the log '%s': %s", writer->prefix,
                  g_strerror(errno));
    }
}

/* The last sequence of the segments before the last one: a fresh last segment may be empty. */
static void
recover_earlier(BerthLogs *logs, Writer *writer)
{
    for (guint segment = writer->last; writer->sequence == 0 && segment > writer->first;) {
        segment--;
        g_autofree char *path = segment_path(writer->prefix, segment);
        Writer earlier = {.prefix = writer->prefix};
        earlier.fd = openat(logs->folder, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (earlier.fd >= 0) {
            recover_segment(&earlier);
            writer->sequence = earlier.sequence;
            berth_fd_clear(&earlier.fd);
        }
    }
}

static gboolean
open_segment(BerthLogs *logs, Writer *writer, GError **error)
{
    g_autofree char *path = segment_path(writer->prefix, writer->last);
    g_autofree char *uid = g_path_get_dirname(writer->prefix);
    if (mkdirat(logs->folder, uid, 0700) != 0 && errno != EEXIST) {
        berth_error_set_errno(error, errno, "can't make the log folder '%s'", uid);
        return FALSE;
    }
    writer->fd =
        openat(logs->folder, path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (writer->fd < 0) {
        berth_error_set_errno(error, errno, "can't open the log '%s'", path);
        return FALSE;
    }
    return TRUE;
}

static Writer *
ensure_writer(BerthLogs *logs, const char *uid, const char *container, GError **error)
{
    g_autofree char *prefix = g_strdup_printf("%s/%s", uid, container);
    Writer *writer = g_hash_table_lookup(logs->writers, prefix);
    if (writer != NULL) {
        return writer;
    }
    writer = g_new0(Writer, 1);
    writer->fd = -1;
    writer->prefix = g_steal_pointer(&prefix);
    find_segments(logs, writer->prefix, &writer->first, &writer->last);
    if (!open_segment(logs, writer, error)) {
        free_writer(writer);
        return NULL;
    }
    recover_segment(writer);
    recover_earlier(logs, writer);
    g_hash_table_insert(logs->writers, writer->prefix, writer);
    return writer;
}

static void
queue_sync(BerthLogs *logs, Writer *writer)
{
    int copy = fcntl(writer->fd, F_DUPFD_CLOEXEC, 3);
    if (copy >= 0) {
        g_thread_pool_push(logs->syncer, GINT_TO_POINTER(copy + 1), NULL);
    }
    writer->dirty = FALSE;
}

static gboolean
sync_dirty(gpointer data)
{
    BerthLogs *logs = data;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, logs->writers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (((Writer *)value)->dirty) {
            queue_sync(logs, value);
        }
    }
    logs->sync_timer = 0;
    return G_SOURCE_REMOVE;
}

static gboolean
rotate(BerthLogs *logs, Writer *writer, GError **error)
{
    queue_sync(logs, writer);
    berth_fd_clear(&writer->fd);
    writer->last++;
    writer->size = 0;
    while (writer->last - writer->first >= logs->segments) {
        g_autofree char *path = segment_path(writer->prefix, writer->first);
        unlinkat(logs->folder, path, 0);
        writer->first++;
    }
    return open_segment(logs, writer, error);
}

/**
 * berth_logs_append:
 * @uid: of the workload: a UUID, checked by the caller
 * @container: its name: a DNS label, checked by the caller
 * @record: sequence above the last one; up to 64 KiB of data
 *
 * When it returns TRUE the record survives the death of this process, and a second later that of the
 * machine. A repeated sequence is dropped with success. Errors: EXHAUSTED when the disk is full: nothing
 * of the record stays; the caller holds the guest back and tries again.
 */
gboolean
berth_logs_append(BerthLogs *logs, const char *uid, const char *container,
                  const BerthLogRecord *record, GError **error)
{
    g_return_val_if_fail(record->size <= RECORD_MAX, FALSE);
    Writer *writer = ensure_writer(logs, uid, container, error);
    if (writer == NULL) {
        return FALSE;
    }
    if (record->sequence <= writer->sequence) {
        return TRUE;
    }
    if (writer->fd < 0 || writer->size >= logs->segment_bytes) {
        if (!rotate(logs, writer, error)) {
            return FALSE;
        }
    }
    Header header = {.magic = RECORD_MAGIC,
                     .size = (guint32)record->size,
                     .sequence = record->sequence,
                     .wall_us = record->wall_us,
                     .gap = record->gap,
                     .stream = record->stream};
    header.checksum = checksum_record(&header, record->data);
    g_autofree guint8 *whole = g_malloc(sizeof header + record->size);
    memcpy(whole, &header, sizeof header);
    if (record->size > 0) {
        memcpy(whole + sizeof header, record->data, record->size);
    }
    if (!berth_fd_write_all(writer->fd, whole, sizeof header + record->size, error)) {
        if (ftruncate(writer->fd, (goffset)writer->size) != 0) {
            g_prefix_error(error, "can't cut the torn record off either: ");
        }
        return FALSE;
    }
    writer->size += sizeof header + record->size;
    writer->sequence = record->sequence;
    writer->dirty = TRUE;
    if (logs->sync_timer == 0) {
        logs->sync_timer = g_timeout_add_seconds(1, sync_dirty, logs);
    }
    return TRUE;
}

/** Returns: the last sequence safely written for a container; 0 when there is none. */
guint64
berth_logs_last_sequence(BerthLogs *logs, const char *uid, const char *container)
{
    guint first, last;
    g_autofree char *prefix = g_strdup_printf("%s/%s", uid, container);
    if (!g_hash_table_contains(logs->writers, prefix) &&
        !find_segments(logs, prefix, &first, &last)) {
        return 0;
    }
    Writer *writer = ensure_writer(logs, uid, container, NULL);
    return writer == NULL ? 0 : writer->sequence;
}

static gboolean
belongs_to(gpointer key, gpointer value, gpointer uid)
{
    gsize length = strlen(uid);
    return strncmp(key, uid, length) == 0 && ((const char *)key)[length] == '/';
}

/** Closes the files of @uid's containers: it isn't running any more. Its logs stay. */
void
berth_logs_close(BerthLogs *logs, const char *uid)
{
    g_hash_table_foreach_remove(logs->writers, belongs_to, (gpointer)uid);
}

/** Deletes all logs of @uid; absent ones are no error. */
void
berth_logs_delete(BerthLogs *logs, const char *uid)
{
    berth_logs_close(logs, uid);
    g_autofree char *folder = g_strdup_printf("/proc/self/fd/%d/%s", logs->folder, uid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    if (dir == NULL) {
        return;
    }
    for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *path = g_build_filename(uid, name, NULL);
        unlinkat(logs->folder, path, 0);
    }
    unlinkat(logs->folder, uid, AT_REMOVEDIR);
}

/** Deletes the logs of every uid that is not a key of @live_uids: left by a death in mid-delete. */
void
berth_logs_prune(BerthLogs *logs, GHashTable *live_uids)
{
    g_autofree char *folder = g_strdup_printf("/proc/self/fd/%d", logs->folder);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        if (!g_hash_table_contains(live_uids, name)) {
            berth_logs_delete(logs, name);
        }
    }
}

/** Returns: (transfer full): a reader at the oldest record that is kept; it may be empty. */
BerthLogCursor *
berth_log_cursor_new(BerthLogs *logs, const char *uid, const char *container)
{
    BerthLogCursor *reader = g_new0(BerthLogCursor, 1);
    guint last;
    reader->logs = logs;
    reader->prefix = g_strdup_printf("%s/%s", uid, container);
    reader->fd = -1;
    reader->buffer = g_malloc(RECORD_MAX);
    find_segments(logs, reader->prefix, &reader->segment, &last);
    return reader;
}

void
berth_log_cursor_free(BerthLogCursor *reader)
{
    berth_fd_clear(&reader->fd);
    g_free(reader->prefix);
    g_free(reader->buffer);
    g_free(reader);
}

static gboolean
open_reader_segment(BerthLogCursor *reader)
{
    if (reader->fd < 0) {
        g_autofree char *path = segment_path(reader->prefix, reader->segment);
        reader->fd = openat(reader->logs->folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    return reader->fd >= 0;
}

/* Goes to the next segment that exists; skips those that were dropped while reading. */
static gboolean
advance_segment(BerthLogCursor *reader)
{
    guint first = 0, last = 0;
    if (!find_segments(reader->logs, reader->prefix, &first, &last) ||
        MAX(first, reader->segment + 1) > last) {
        return FALSE;
    }
    berth_fd_clear(&reader->fd);
    reader->segment = MAX(first, reader->segment + 1);
    reader->offset = 0;
    return TRUE;
}

/**
 * berth_log_cursor_next:
 * @record: (out): the next record; data valid until the next call
 *
 * Returns: FALSE when there is nothing more for now; a later call goes on with what came meanwhile.
 */
gboolean
berth_log_cursor_next(BerthLogCursor *reader, BerthLogRecord *record)
{
    for (;;) {
        Header header;
        gsize length = open_reader_segment(reader)
                           ? read_record(reader->fd, reader->offset, &header, reader->buffer)
                           : 0;
        if (length > 0) {
            reader->offset += (goffset)length;
            *record = (BerthLogRecord){header.sequence, header.wall_us, header.stream,
                                       header.gap,      reader->buffer, header.size};
            return TRUE;
        }
        if (!advance_segment(reader)) {
            return FALSE;
        }
    }
}

typedef struct {
    guint segment;
    goffset offset;
    guint lines;
} Mark;

/**
 * berth_log_cursor_skip_to_tail:
 * @lines: how many lines at the end are wanted
 *
 * Moves to the first record that still belongs to the last @lines lines. Records are not cut: a record
 * that holds the end of an earlier line is given whole.
 */
void
berth_log_cursor_skip_to_tail(BerthLogCursor *reader, guint lines)
{
    g_autoptr(GArray) marks = g_array_new(FALSE, FALSE, sizeof(Mark));
    BerthLogRecord record;
    for (;;) {
        Mark mark = {reader->segment, reader->offset, 0};
        if (!berth_log_cursor_next(reader, &record)) {
            break;
        }
        if (reader->segment != mark.segment) {
            mark = (Mark){reader->segment, 0, 0};
        }
        for (gsize i = 0; i < record.size; i++) {
            mark.lines += record.data[i] == '\n';
        }
        g_array_append_val(marks, mark);
    }
    guint kept = 0, start = marks->len;
    while (start > 0 && kept < lines) {
        kept += g_array_index(marks, Mark, --start).lines;
    }
    if (start < marks->len) {
        Mark *mark = &g_array_index(marks, Mark, start);
        berth_fd_clear(&reader->fd);
        reader->segment = mark->segment;
        reader->offset = mark->offset;
    }
}
