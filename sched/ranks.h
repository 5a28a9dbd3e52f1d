/* A rank for each host, with maxima over blocks of hosts and over blocks of those, so that the best is
 * found at a cost that hardly grows with the fleet. */
#pragma once

#include "sched/fleet.h"

G_BEGIN_DECLS

#define BERTH_RANKS_BLOCK 64

typedef struct {
    guint32 room;   /* length of ranks, whole blocks */
    guint16 *ranks; /* owned; 0 = none */
    guint16 *blocks;
    guint16 *tops;
} BerthRanks;

void berth_ranks_init(BerthRanks *ranks, guint32 room);
void berth_ranks_clear(BerthRanks *ranks);
gsize berth_ranks_bytes(const BerthRanks *ranks);
void berth_ranks_set(BerthRanks *ranks, guint32 host, guint16 rank);
void berth_ranks_set_all(BerthRanks *ranks);
guint16 berth_ranks_best(const BerthRanks *ranks);
guint32 berth_ranks_best_host(const BerthRanks *ranks);

G_END_DECLS
