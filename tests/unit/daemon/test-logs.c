/* Container logs survive a torn last record, rotate within their bound, and never repeat. */
#include "daemon/logs.h"

#include <glib/gstdio.h>

#define UID "5d6a2f64-0000-4000-8000-000000000001"

typedef struct {
    char *folder;
    BerthLogs *logs;
} Fixture;

static void
open_logs(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->logs = berth_logs_new(f->folder, 1000, 3, &error);
    g_assert_no_error(error);
}

static void
set_up(Fixture *f, gconstpointer unused)
{
    f->folder = g_dir_make_tmp("berth-logs-XXXXXX", NULL);
    open_logs(f);
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
    berth_logs_delete(f->logs, UID);
    berth_logs_free(f->logs);
    g_assert_cmpint(g_rmdir(f->folder), ==, 0); /* delete left nothing behind */
    g_free(f->folder);
}

static void
append(Fixture *f, guint64 sequence, const char *text)
{
    g_autoptr(GError) error = NULL;
    BerthLogRecord record = {.sequence = sequence,
                             .wall_us = 7,
                             .stream = 1,
                             .data = (const guint8 *)text,
                             .size = strlen(text)};
    berth_logs_append(f->logs, UID, "web", &record, &error);
    g_assert_no_error(error);
}

static char *
read_all(BerthLogCursor *reader)
{
    GString *all = g_string_new(NULL);
    BerthLogRecord record;
    while (berth_log_cursor_next(reader, &record)) {
        g_string_append_len(all, (const char *)record.data, (gssize)record.size);
    }
    return g_string_free(all, FALSE);
}

static void
test_reads_what_was_written_and_drops_repeats(Fixture *f, gconstpointer unused)
{
    append(f, 1, "one\n");
    append(f, 2, "two\n");
    append(f, 2, "two again\n");
    g_autoptr(BerthLogCursor) reader = berth_log_cursor_new(f->logs, UID, "web");
    g_autofree char *first = read_all(reader);
    g_assert_cmpstr(first, ==, "one\ntwo\n");
    append(f, 3, "three\n");
    g_autofree char *later = read_all(reader);
    g_assert_cmpstr(later, ==, "three\n");
}

static void
test_torn_record_is_cut_off_and_sequence_resumes(Fixture *f, gconstpointer unused)
{
    append(f, 1, "whole\n");
    append(f, 2, "torn\n");
    berth_logs_free(f->logs);
    g_autofree char *path = g_build_filename(f->folder, UID, "web.0", NULL);
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    g_assert_true(g_file_set_contents(path, bytes, (gssize)size - 3, NULL));
    open_logs(f);
    g_assert_cmpuint(berth_logs_last_sequence(f->logs, UID, "web"), ==, 1);
    append(f, 2, "again\n");
    g_autoptr(BerthLogCursor) reader = berth_log_cursor_new(f->logs, UID, "web");
    g_autofree char *all = read_all(reader);
    g_assert_cmpstr(all, ==, "whole\nagain\n");
}

static void
test_keeps_at_most_its_segments_and_the_newest_bytes(Fixture *f, gconstpointer unused)
{
    for (guint64 i = 1; i <= 500; i++) {
        g_autofree char *line = g_strdup_printf("line %" G_GUINT64_FORMAT "\n", i);
        append(f, i, line);
    }
    g_autoptr(BerthLogCursor) reader = berth_log_cursor_new(f->logs, UID, "web");
    g_autofree char *all = read_all(reader);
    g_assert_true(g_str_has_suffix(all, "line 499\nline 500\n"));
    g_assert_cmpuint(strlen(all), <, 3 * 1100);
    g_assert_cmpuint(berth_logs_last_sequence(f->logs, UID, "web"), ==, 500);
}

static gsize
bytes_on_disk(Fixture *f)
{
    g_autofree char *path = g_build_filename(f->folder, UID, NULL);
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    gsize size = 0;
    for (const char *name; (name = g_dir_read_name(folder)) != NULL;) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        GStatBuf info;
        g_assert_cmpint(g_stat(file, &info), ==, 0);
        size += (gsize)info.st_size;
    }
    return size;
}

static void
test_new_bounds_hold_for_what_is_written_next(Fixture *f, gconstpointer unused)
{
    guint64 sequence = 0;
    while (sequence < 100) {
        append(f, ++sequence, "a line of a log that grows\n");
    }
    g_assert_cmpuint(bytes_on_disk(f), >, 2000);
    berth_logs_set_bounds(f->logs, 300, 2);
    while (sequence < 130) {
        append(f, ++sequence, "a line of a log that grows\n");
    }
    g_assert_cmpuint(bytes_on_disk(f), <=, 2 * (300 + 100));
}

static void
test_tail_starts_at_the_wanted_line(Fixture *f, gconstpointer unused)
{
    for (guint64 i = 1; i <= 60; i++) {
        g_autofree char *line = g_strdup_printf("line %" G_GUINT64_FORMAT "\n", i);
        append(f, i, line);
    }
    g_autoptr(BerthLogCursor) reader = berth_log_cursor_new(f->logs, UID, "web");
    berth_log_cursor_skip_to_tail(reader, 2);
    g_autofree char *tail = read_all(reader);
    g_assert_cmpstr(tail, ==, "line 59\nline 60\n");
}

#define ADD(path, test) g_test_add("/daemon/logs/" path, Fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("reads-what-was-written-and-drops-repeats", test_reads_what_was_written_and_drops_repeats);
    ADD("torn-record-is-cut-off-and-sequence-resumes",
        test_torn_record_is_cut_off_and_sequence_resumes);
    ADD("keeps-at-most-its-segments-and-the-newest-bytes",
        test_keeps_at_most_its_segments_and_the_newest_bytes);
    ADD("new-bounds-hold-for-what-is-written-next", test_new_bounds_hold_for_what_is_written_next);
    ADD("tail-starts-at-the-wanted-line", test_tail_starts_at_the_wanted_line);
    return g_test_run();
}
