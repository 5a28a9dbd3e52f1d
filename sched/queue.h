/* Workloads that wait for a place: who is tried next, and which event could help whom. Pure: time and
 * events are handed in. */
#pragma once

#include "sched/explain.h"

G_BEGIN_DECLS

/* Events that may help a waiting workload; also why it waits. */
typedef enum {
    BERTH_WAKE_CAPACITY = 1 << 0,  /* something was released, or capacity grew */
    BERTH_WAKE_HOST = 1 << 1,      /* a host came, became ready, or was uncordoned */
    BERTH_WAKE_FACTS = 1 << 2,     /* labels, networks, pools, taints of a host changed */
    BERTH_WAKE_WORKLOADS = 1 << 3, /* a workload came or went that relations may speak of */
    BERTH_WAKE_QUOTA = 1 << 4,     /* a quota was raised, or a project released something */
} BerthWake;

typedef struct BerthQueue BerthQueue;

BerthQueue *berth_queue_new(gint64 backoff_min_us, gint64 backoff_max_us);
void berth_queue_free(BerthQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthQueue, berth_queue_free)

void berth_queue_set_weight(BerthQueue *queue, const char *project, double weight);
void berth_queue_set_total(BerthQueue *queue, gint64 cpu_millis, gint64 memory_mib,
                           gint64 device_millis);
void berth_queue_charge(BerthQueue *queue, const char *project, gint64 cpu_millis,
                        gint64 memory_mib, gint64 device_millis);

void berth_queue_add(BerthQueue *queue, const char *uid, const char *project, gint priority,
                     gint64 now_us);
gboolean berth_queue_remove(BerthQueue *queue, const char *uid);
const char *berth_queue_next(BerthQueue *queue, gint64 now_us);
void berth_queue_refused(BerthQueue *queue, const char *uid, guint wakes, gint64 now_us);
guint berth_queue_wake(BerthQueue *queue, guint wakes);
gint64 berth_queue_due(const BerthQueue *queue, gint64 now_us);
guint berth_queue_length(const BerthQueue *queue);
guint berth_queue_wakes_of(const BerthExplanation *explanation);

G_END_DECLS
