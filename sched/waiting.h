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

#define BERTH_WAKE_ALL 0x1f

typedef struct BerthWaiting BerthWaiting;

BerthWaiting *berth_waiting_new(gint64 backoff_min_us, gint64 backoff_max_us);
void berth_waiting_free(BerthWaiting *waiting);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthWaiting, berth_waiting_free)
BerthWaiting *berth_waiting_copy_rules(const BerthWaiting *waiting);

void berth_waiting_set_weight(BerthWaiting *waiting, const char *project, double weight);

void berth_waiting_add(BerthWaiting *waiting, const char *uid, const char *project, gint priority,
                       const char *since, gint64 now_us);
gboolean berth_waiting_remove(BerthWaiting *waiting, const char *uid);
const char *berth_waiting_next(BerthWaiting *waiting, const BerthSnapshot *snapshot, gint64 now_us);
void berth_waiting_refused(BerthWaiting *waiting, const char *uid, guint wakes, gint64 now_us);
void berth_waiting_call(BerthWaiting *waiting, const char *uid, gint64 now_us);
guint berth_waiting_wake(BerthWaiting *waiting, guint wakes);
gint64 berth_waiting_due(const BerthWaiting *waiting);
guint berth_waiting_length(const BerthWaiting *waiting);
guint berth_wakes_of(const BerthExplanation *explanation);

G_END_DECLS
