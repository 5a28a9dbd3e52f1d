/* A queue of keys to be looked at: each key at most once, at or after its due time, with back-off per
 * key. Time is passed in by a clock, so a simulation drives it. Main loop only. */
#pragma once

#include "base/clock.h"

G_BEGIN_DECLS

typedef struct BerthQueue BerthQueue;

/* Looks at one key; may add keys, the same one too. @key is borrowed for the call. */
typedef void (*BerthQueueHandler)(const char *key, gpointer user_data);

BerthQueue *berth_queue_new(BerthClock *clock, BerthQueueHandler handler, gpointer user_data);
void berth_queue_free(BerthQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthQueue, berth_queue_free)

void berth_queue_add(BerthQueue *queue, const char *key);
void berth_queue_add_after(BerthQueue *queue, const char *key, gint64 delay_us);
gint64 berth_queue_retry(BerthQueue *queue, const char *key);
void berth_queue_forget(BerthQueue *queue, const char *key);

gint64 berth_queue_due_us(const BerthQueue *queue);
guint berth_queue_run(BerthQueue *queue);
guint berth_queue_length(const BerthQueue *queue);
void berth_queue_attach(BerthQueue *queue);
void berth_queue_detach(BerthQueue *queue);

G_END_DECLS
