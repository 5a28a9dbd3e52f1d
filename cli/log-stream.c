/* Log records (one JSON object a line: time, stream, data or data64, or a gap) to where the container
 * wrote them. Invariant: into a pipe go the container's bytes and nothing else. Main thread. */
#include "cli/log-stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "cli/escape.h"

typedef struct {
    FILE *file;
    gboolean clean;      /* it is a terminal, and control characters are not to be obeyed */
    gboolean line_begun; /* the last byte was no line end */
} Sink;

typedef struct {
    const BerthLogPlan *plan;
    Sink sinks[2]; /* stdout, stderr */
} Printer;

/* ESC [ digits and semicolons m: colours. Returns its length; 0: something else. */
static gsize
colour_length(const char *data, gsize size)
{
    if (size < 3 || data[0] != '\033' || data[1] != '[') {
        return 0;
    }
    gsize i = 2;
    while (i < size && i < 20 && (g_ascii_isdigit(data[i]) || data[i] == ';')) {
        i++;
    }
    return i < size && data[i] == 'm' ? i + 1 : 0;
}

/**
 * berth_log_clean:
 * @data: @size bytes of a program's output
 *
 * Returns: (transfer full): the same for a terminal: lines, tabs and colours stay, what else a terminal
 * could act on is shown as \x1b and the like. A carriage return before a line end is dropped.
 */
char *
berth_log_clean(const char *data, gsize size)
{
    GString *out = g_string_sized_new(size);
    for (gsize i = 0; i < size;) {
        gsize colour = colour_length(data + i, size - i);
        gunichar c = g_utf8_get_char_validated(data + i, (gssize)(size - i));
        gboolean valid = c != (gunichar)-1 && c != (gunichar)-2 && data[i] != '\0';
        if (colour > 0) {
            g_string_append_len(out, data + i, (gssize)colour);
            i += colour;
        } else if (data[i] == '\n' || data[i] == '\t') {
            g_string_append_c(out, data[i++]);
        } else if (data[i] == '\r' && i + 1 < size && data[i + 1] == '\n') {
            i++;
        } else if (valid && !berth_escape_is_unsafe(c)) {
            g_string_append_unichar(out, c);
            i = (gsize)(g_utf8_next_char(data + i) - data);
        } else {
            g_string_append_printf(out, "\\x%02x", (guchar)data[i++]);
        }
    }
    return g_string_free(out, FALSE);
}

static void
write_part(Sink *sink, const char *data, gsize size)
{
    if (sink->clean) {
        g_autofree char *text = berth_log_clean(data, size);
        fputs(text, sink->file);
    } else {
        fwrite(data, 1, size, sink->file);
    }
    sink->line_begun = size > 0 && data[size - 1] != '\n';
}

/* With times, each line gets that of the record in which it began. */
static void
write_lines(Sink *sink, const char *time, const char *data, gsize size)
{
    while (size > 0) {
        const char *end = memchr(data, '\n', size);
        gsize part = end != NULL ? (gsize)(end + 1 - data) : size;
        if (!sink->line_begun) {
            g_autofree char *safe = berth_escape_text(time);
            fprintf(sink->file, "%s ", safe);
        }
        write_part(sink, data, part);
        data += part;
        size -= part;
    }
}

static gboolean
print_record(Printer *printer, const json_t *record, GError **error)
{
    const char *stream = berth_json_string(record, "stream");
    const json_t *text = json_object_get(record, "data");
    const char *base64 = berth_json_string(record, "data64");
    if (g_strcmp0(stream, "gap") == 0) {
        berth_print_warning("%" G_GINT64_FORMAT " bytes of the log were lost here",
                            berth_json_integer(record, "bytes", 0));
        return TRUE;
    }
    gsize size = json_string_length(text);
    g_autofree guchar *decoded = base64 != NULL ? g_base64_decode(base64, &size) : NULL;
    const char *data = decoded != NULL ? (const char *)decoded : json_string_value(text);
    if (data == NULL) {
        return TRUE; /* a kind of record that is newer than we are */
    }
    Sink *sink = &printer->sinks[g_strcmp0(stream, "stderr") == 0];
    if (printer->plan->timestamps) {
        write_lines(sink, berth_json_string(record, "time"), data, size);
    } else {
        write_part(sink, data, size);
    }
    if (fflush(sink->file) != 0) {
        berth_error_set_errno(error, errno, "cannot write the log");
        return FALSE;
    }
    return TRUE;
}

static gboolean
on_line(const char *line, gpointer user_data, GError **error)
{
    if (line == NULL) {
        return !berth_fd_is_abandoned(STDOUT_FILENO); /* logs -f web | grep -m1 ready */
    }
    if (*line == '\0') {
        return TRUE;
    }
    g_autoptr(json_t) record = berth_client_parse(line, strlen(line), error);
    return record != NULL && print_record(user_data, record, error);
}

/** Prints the log at @path until its end, ^C, or for ever when it is followed. */
gboolean
berth_log_stream(BerthSession *session, const char *path, const BerthLogPlan *plan, GError **error)
{
    Printer printer = {plan,
                       {{stdout, !plan->raw && isatty(STDOUT_FILENO), FALSE},
                        {stderr, !plan->raw && isatty(STDERR_FILENO), FALSE}}};
    return berth_client_lines(session->client, path, on_line, &printer, error);
}
