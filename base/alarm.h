/* Deadlines on the main loop, any number of them behind one source.
 *
 * GLib looks at each of its sources in every turn: with a timer for each guest, whatever happens to one
 * of them costs as much as there are guests. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Rings on the default main context at a time of the machine's monotonic clock; once for each setting. */
typedef struct BerthAlarm BerthAlarm;

BerthAlarm *berth_alarm_new(void (*ring)(gpointer user_data), gpointer user_data);
void berth_alarm_set(BerthAlarm *alarm, gint64 due_us);
void berth_alarm_free(BerthAlarm *alarm);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthAlarm, berth_alarm_free)

G_END_DECLS
