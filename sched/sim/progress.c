/* How far a long run has come, in one line of a terminal; nothing in a pipe. */
#include <stdio.h>
#include <unistd.h>

#include "sched/sim/sim.h"

#define SILENT_US 1000000
#define PAUSE_US 200000

static struct {
    gint64 began_us, drawn_us; /* 0: not yet */
    gboolean shown;
} line;

/** Says what is being done, unless it was said a moment ago or the run is younger than a second. */
void
sim_progress(const char *format, ...)
{
    gint64 now = g_get_monotonic_time();
    line.began_us = line.began_us != 0 ? line.began_us : now;
    if (now - line.began_us < SILENT_US || now - line.drawn_us < PAUSE_US ||
        !isatty(STDERR_FILENO)) {
        return;
    }
    va_list values;
    va_start(values, format);
    g_autofree char *text = g_strdup_vprintf(format, values);
    va_end(values);
    fprintf(stderr, "\r%s\033[K", text);
    fflush(stderr);
    line.drawn_us = now;
    line.shown = TRUE;
}

/** Wipes the line, so that figures or an error can be written. */
void
sim_progress_end(void)
{
    if (line.shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        line.shown = FALSE;
    }
}
