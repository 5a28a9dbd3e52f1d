/* The terminal: raw mode, its size, and one line of progress. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Puts the terminal at @fd into raw mode until berth_terminal_restore(), which also runs at exit. */
gboolean berth_terminal_raw(int fd);
void berth_terminal_restore(void);
gboolean berth_terminal_size(guint *columns, guint *rows);

/* A line on stderr that is drawn over itself; only on terminals, only for what takes over a second. */
typedef struct {
    gboolean active;
    gint64 started_us, drawn_us;
    gboolean drawn;
} BerthProgress;

void berth_progress_begin(BerthProgress *progress, gboolean quiet);
void berth_progress_set(BerthProgress *progress, const char *format, ...) G_GNUC_PRINTF(2, 3);
void berth_progress_end(BerthProgress *progress);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthProgress, berth_progress_end)

G_END_DECLS
