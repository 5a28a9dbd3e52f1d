/* Invariant: however the process ends in order, the terminal is as it was found. Main thread. */
#include "cli/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/escape.h"

static struct termios before;
static int raw_fd = -1; /* the terminal that is raw; -1: none */

gboolean
berth_terminal_raw(int fd)
{
    static gboolean registered;
    struct termios raw;
    if (tcgetattr(fd, &before) < 0) {
        return FALSE;
    }
    if (!registered) {
        registered = TRUE;
        atexit(berth_terminal_restore);
    }
    raw = before;
    cfmakeraw(&raw);
    raw_fd = tcsetattr(fd, TCSADRAIN, &raw) < 0 ? -1 : fd;
    return raw_fd >= 0;
}

/** Does nothing when nothing was changed. */
void
berth_terminal_restore(void)
{
    if (raw_fd >= 0) {
        tcsetattr(raw_fd, TCSADRAIN, &before);
        raw_fd = -1;
    }
}

/** Returns: FALSE when neither stdout nor stdin is a terminal with a size. */
gboolean
berth_terminal_size(guint *columns, guint *rows)
{
    static const int fds[] = {STDOUT_FILENO, STDIN_FILENO};
    for (gsize i = 0; i < G_N_ELEMENTS(fds); i++) {
        struct winsize size;
        if (ioctl(fds[i], TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
            *columns = size.ws_col;
            *rows = size.ws_row;
            return TRUE;
        }
    }
    return FALSE;
}

/* ---- progress ---- */

void
berth_progress_begin(BerthProgress *progress, gboolean quiet)
{
    *progress = (BerthProgress){.active = !quiet && isatty(STDERR_FILENO),
                                .started_us = g_get_monotonic_time()};
}

/* Cuts @text to the terminal's width: a line that wraps can't be drawn over. */
static void
cut(char *text)
{
    guint columns = 80, rows;
    berth_terminal_size(&columns, &rows);
    if (g_utf8_strlen(text, -1) >= columns) {
        *g_utf8_offset_to_pointer(text, columns - 1) = '\0';
    }
}

/** Shows the text, when a second has passed and the last one is not younger than 0.1 s. */
void
berth_progress_set(BerthProgress *progress, const char *format, ...)
{
    gint64 now = g_get_monotonic_time();
    if (!progress->active || now - progress->started_us < G_USEC_PER_SEC ||
        now - progress->drawn_us < G_USEC_PER_SEC / 10) {
        return;
    }
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *safe = berth_escape_text(text);
    cut(safe);
    fprintf(stderr, "\r\033[K%s", safe);
    fflush(stderr);
    progress->drawn = TRUE;
    progress->drawn_us = now;
}

/** Takes the line away. Can be called again. */
void
berth_progress_end(BerthProgress *progress)
{
    if (progress->drawn) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
        progress->drawn = FALSE;
    }
}
