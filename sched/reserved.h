/* What is reserved for projects, against what is free in the fleet. See reserved.c. */
#pragma once

#include "sched/fleet.h"

G_BEGIN_DECLS

/**
 * BerthReserved: sums over the fleet; vCPUs and memory as quotas count them, dedicated CPUs and huge pages included
 * @free_cpu_millis, @free_memory_mib: of hosts that take workloads; negative when more is charged than is there
 * @open_cpu_millis, @open_memory_mib: of all projects, what of their reservations they don't hold yet
 * @projects: how many have a reservation
 * @counted: what each host is in the sums with
 */
typedef struct BerthReserved {
    gint64 free_cpu_millis, free_memory_mib;
    gint64 open_cpu_millis, open_memory_mib;
    guint projects;
    GArray *counted; /* owned; of BerthFree, by host */
} BerthReserved;

BerthReserved *berth_reserved_copy(const BerthReserved *reserved);
void berth_reserved_free(BerthReserved *reserved);
void berth_reserved_note_change(BerthSnapshot *snapshot, guint32 host);
void berth_reserved_count_share(BerthReserved *reserved, const BerthShare *share, int sign);

/* What of its reservation the project does not hold yet. */
static inline gint64
berth_share_open_cpu_millis(const BerthShare *share)
{
    return MAX(0, share->reserved_cpu_millis - MAX(0, share->cpu_used_millis));
}

static inline gint64
berth_share_open_memory_mib(const BerthShare *share)
{
    return MAX(0, share->reserved_memory_mib - MAX(0, share->memory_used_mib));
}

G_END_DECLS
