/* The daemon's log: one structured line per event on stderr, "key=value" behind the message, so that
 * journald and grep both like it. Lines are escaped: nothing from outside can begin a new one. Thread-safe. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    BERTH_LOG_ERROR,
    BERTH_LOG_WARNING,
    BERTH_LOG_INFO,
    BERTH_LOG_DEBUG,
} BerthLogLevel;

void berth_log_set_level(BerthLogLevel level);
gboolean berth_log_parse_level(const char *name, BerthLogLevel *level);

/* @message: a short constant phrase, followed by pairs of key and value (both char *; a NULL value
 * is left out) and a NULL: berth_log(BERTH_LOG_INFO, "pod started", "pod", name, "host", host, NULL). */
void berth_log(BerthLogLevel level, const char *message, ...) G_GNUC_NULL_TERMINATED;
/* The same with an error as "error", and its code and hint. */
void berth_log_error(BerthLogLevel level, const GError *error, const char *message,
                     ...) G_GNUC_NULL_TERMINATED;
/* (transfer full): the line, without priority and time; for tests. */
char *berth_log_format(const char *message, ...) G_GNUC_NULL_TERMINATED;

G_END_DECLS
