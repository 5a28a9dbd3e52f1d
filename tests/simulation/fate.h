/* Time, chance and the record of one simulated run. Linking this takes the process's clocks and randomness
 * over: all code of the process, libraries too, sees a time that moves only when nothing can be done, and
 * random bytes out of the seed. So the daemon runs unchanged, timers and all. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

void fate_begin(guint64 seed, gboolean is_verbose);

/* Lets the default main context run for @us of simulated time, or until @condition holds; returns whether it
 * does. */
void fate_run_us(gint64 us);
gboolean fate_run_until(gboolean (*condition)(gpointer data), gpointer data, gint64 limit_us);

/* Chance: independent of the randomness that the daemon draws. */
guint64 fate_below(guint64 bound);
gboolean fate_chance(guint percent);

/* Whether calls, commits and guests may go wrong now. */
void fate_set_faults(gboolean are_on);
gboolean fate_strikes(guint percent); /* chance(), while faults are on */

/* One line of what happened. The hash of all lines is the run's identity. */
void fate_note(const char *format, ...) G_GNUC_PRINTF(1, 2);
guint64 fate_hash(void);

G_END_DECLS
