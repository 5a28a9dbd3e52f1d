/* All alarms of the process, in one order, behind one source of the default main context.
 *
 * Invariant: an alarm is in `order` exactly when its due_us is not NEVER, and the source is ready no later
 * than the first of them. Any thread sets; the main loop rings and frees. */
#include "base/alarm.h"

#define NEVER G_MAXINT64

struct BerthAlarm {
    void (*ring)(gpointer user_data);
    gpointer user_data;
    gint64 due_us;    /* guarded by lock, as all below */
    guint64 sequence; /* of its setting: breaks ties, and bounds a turn */
    GSequenceIter *place;
};

static GMutex lock;
static GSequence *order; /* BerthAlarm*; guarded by lock, as all below */
static GSource *source;
static gint64 source_due_us = NEVER;
static guint64 settings;

static int
compare_alarms(gconstpointer a, gconstpointer b, gpointer unused)
{
    const BerthAlarm *left = a, *right = b;
    if (left->due_us != right->due_us) {
        return left->due_us < right->due_us ? -1 : 1;
    }
    return left->sequence < right->sequence ? -1 : left->sequence > right->sequence;
}

static void
rearm(void)
{
    GSequenceIter *first = g_sequence_get_begin_iter(order);
    gint64 due_us =
        g_sequence_iter_is_end(first) ? NEVER : ((BerthAlarm *)g_sequence_get(first))->due_us;
    if (due_us != source_due_us) {
        source_due_us = due_us;
        g_source_set_ready_time(source, due_us == NEVER ? -1 : due_us);
    }
}

static void
take_out(BerthAlarm *alarm)
{
    if (alarm->place != NULL) {
        g_sequence_remove(alarm->place);
        alarm->place = NULL;
        alarm->due_us = NEVER;
    }
}

/* Returns: (nullable): who is due at @now and was set before @end, no longer waiting. */
static BerthAlarm *
take_due(gint64 now, guint64 end)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    GSequenceIter *first = g_sequence_get_begin_iter(order);
    BerthAlarm *alarm = g_sequence_iter_is_end(first) ? NULL : g_sequence_get(first);
    if (alarm == NULL || alarm->due_us > now || alarm->sequence >= end) {
        rearm();
        return NULL;
    }
    take_out(alarm);
    return alarm;
}

/* Who is set while others ring waits for the next turn, so that nobody keeps the loop. */
static gboolean
dispatch(GSource *base, GSourceFunc callback, gpointer user_data)
{
    g_mutex_lock(&lock);
    guint64 end = settings;
    g_mutex_unlock(&lock);
    gint64 now = g_source_get_time(base);
    for (BerthAlarm *alarm; (alarm = take_due(now, end)) != NULL;) {
        alarm->ring(alarm->user_data);
    }
    return G_SOURCE_CONTINUE;
}

static void
open_source(void)
{
    static GSourceFuncs functions = {.dispatch = dispatch};
    order = g_sequence_new(NULL);
    source = g_source_new(&functions, sizeof(GSource));
    g_source_set_static_name(source, "alarms");
    g_source_attach(source, NULL);
}

/** Returns: (transfer full): an alarm that is not set; freed before what @user_data is. */
BerthAlarm *
berth_alarm_new(void (*ring)(gpointer user_data), gpointer user_data)
{
    BerthAlarm *alarm = g_new0(BerthAlarm, 1);
    alarm->ring = ring;
    alarm->user_data = user_data;
    alarm->due_us = NEVER;
    return alarm;
}

/** Sets @alarm for @due_us instead of what it was set for; G_MAXINT64: for never. Any thread; O(log alarms). */
void
berth_alarm_set(BerthAlarm *alarm, gint64 due_us)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    if (alarm->due_us == due_us) {
        return;
    }
    if (source == NULL) {
        open_source();
    }
    take_out(alarm);
    if (due_us != NEVER) {
        alarm->due_us = due_us;
        alarm->sequence = settings++;
        alarm->place = g_sequence_insert_sorted(order, alarm, compare_alarms, NULL);
    }
    rearm();
}

/** It does not ring any more. Main loop. */
void
berth_alarm_free(BerthAlarm *alarm)
{
    berth_alarm_set(alarm, NEVER);
    g_free(alarm);
}
