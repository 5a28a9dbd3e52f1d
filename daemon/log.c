/* One line per event on stderr. Invariant: a line holds no control character but its own newline, and is
 * written with one write(), so lines of several threads never mix. */
#include "daemon/log.h"

#include "base/error.h"

#include <string.h>
#include <unistd.h>

static BerthLogLevel threshold = BERTH_LOG_INFO;

static const char *const level_names[] = {"error", "warning", "info", "debug", NULL};
/* What journald reads at the beginning of a line (sd-daemon(3)). */
static const int priorities[] = {3, 4, 6, 7};

/* Longer values are cut: a log line is for people. */
#define VALUE_MAX 1024

/** Lets lines of @level and graver ones through. */
void
berth_log_set_level(BerthLogLevel level)
{
    threshold = level;
}

/** Returns: whether @name is a level; @level is set then. */
gboolean
berth_log_parse_level(const char *name, BerthLogLevel *level)
{
    for (guint i = 0; level_names[i] != NULL; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (BerthLogLevel)i;
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
needs_quotes(const char *value)
{
    if (*value == '\0') {
        return TRUE;
    }
    for (const char *next = value; *next != '\0'; next++) {
        if ((guchar)*next <= ' ' || *next == '"' || *next == '\\' || *next == '=' ||
            (guchar)*next >= 0x7f) {
            return TRUE;
        }
    }
    return FALSE;
}

static void
append_escaped(GString *line, const char *value)
{
    gsize size = strnlen(value, VALUE_MAX);
    for (gsize i = 0; i < size; i++) {
        guchar c = (guchar)value[i];
        if (c == '"' || c == '\\') {
            g_string_append_c(line, '\\');
            g_string_append_c(line, (char)c);
        } else if (c < ' ' || c == 0x7f) {
            g_string_append_printf(line, "\\x%02x", c);
        } else {
            g_string_append_c(line, (char)c);
        }
    }
    if (value[size] != '\0') {
        g_string_append(line, "...");
    }
}

static void
append_pair(GString *line, const char *key, const char *value)
{
    if (value == NULL) {
        return;
    }
    g_string_append_printf(line, " %s=", key);
    if (needs_quotes(value)) {
        g_string_append_c(line, '"');
        append_escaped(line, value);
        g_string_append_c(line, '"');
    } else {
        append_escaped(line, value);
    }
}

static void
append_pairs(GString *line, va_list pairs)
{
    for (const char *key = va_arg(pairs, const char *); key != NULL;
         key = va_arg(pairs, const char *)) {
        append_pair(line, key, va_arg(pairs, const char *));
    }
}

static void
write_line(BerthLogLevel level, GString *line)
{
    g_autofree char *prefix = NULL;
    if (g_getenv("JOURNAL_STREAM") != NULL) {
        prefix = g_strdup_printf("<%d>", priorities[level]);
    } else {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
        prefix = g_strdup_printf("%s.%03dZ %s: ", time, g_date_time_get_microsecond(now) / 1000,
                                 level_names[level]);
    }
    g_string_prepend(line, prefix);
    g_string_append_c(line, '\n');
    /* A log that can't be written must not stop the daemon. */
    gssize written G_GNUC_UNUSED = write(STDERR_FILENO, line->str, line->len);
}

/**
 * berth_log:
 * @message: a short constant phrase, then pairs of key and value, then NULL
 */
void
berth_log(BerthLogLevel level, const char *message, ...)
{
    if (level > threshold) {
        return;
    }
    g_autoptr(GString) line = g_string_new(message);
    va_list pairs;
    va_start(pairs, message);
    append_pairs(line, pairs);
    va_end(pairs);
    write_line(level, line);
}

/** As berth_log(), with @error's message, code and hint. */
void
berth_log_error(BerthLogLevel level, const GError *error, const char *message, ...)
{
    if (level > threshold) {
        return;
    }
    g_autoptr(GString) line = g_string_new(message);
    va_list pairs;
    va_start(pairs, message);
    append_pairs(line, pairs);
    va_end(pairs);
    append_pair(line, "error", error->message);
    append_pair(line, "code", berth_error_code_name(berth_error_code_of(error)));
    append_pair(line, "hint", berth_error_hint(error));
    write_line(level, line);
}

/** Returns: (transfer full): the line berth_log() would write, without time, level and newline. */
char *
berth_log_format(const char *message, ...)
{
    GString *line = g_string_new(message);
    va_list pairs;
    va_start(pairs, message);
    append_pairs(line, pairs);
    va_end(pairs);
    return g_string_free(line, FALSE);
}
