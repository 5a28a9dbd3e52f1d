/* The kinds of requests seen so far and how often, and what a host in a given state is worth to them:
 * how many of each would still fit. What "typical" means to the scores. */
#pragma once

#include "sched/ask.h"

G_BEGIN_DECLS

/* The most kinds remembered, and the most that count as typical; multiples of the vector width. */
#define BERTH_MIX_KINDS_MAX 512
#define BERTH_MIX_TYPICAL_MAX 128

/**
 * BerthRoom: the free state of one host, as the mix looks at it
 * @free, @family, @same: device slots in groups of equal free thousandths and family
 */
typedef struct {
    double cpu, mem;
    guint n_cells;
    double cell_cpu[BERTH_CELLS_MAX], cell_mem[BERTH_CELLS_MAX];
    guint n_slots;
    double free[BERTH_DEVICES_MAX];
    guint32 family[BERTH_DEVICES_MAX];
    double same[BERTH_DEVICES_MAX];
} BerthRoom;

/* Number of the family of the slots in group @k. */
static inline guint
berth_room_family(const BerthRoom *room, guint k)
{
    return __builtin_ctz(room->family[k]);
}

typedef struct BerthMix BerthMix;

BerthMix *berth_mix_new(void);
BerthMix *berth_mix_copy(const BerthMix *mix);
void berth_mix_free(BerthMix *mix);
void berth_mix_observe(BerthMix *mix, const BerthAsk *ask);
gboolean berth_mix_refresh(BerthMix *mix, const BerthSnapshot *snapshot);
gboolean berth_mix_restore(BerthMix *mix, const BerthMix *before, const BerthSnapshot *snapshot);
gboolean berth_mix_is_known(const BerthMix *mix);
void berth_mix_freeze(BerthMix *mix);

void berth_room_read(BerthRoom *room, const BerthSnapshot *snapshot, guint32 host);
void berth_room_place(BerthRoom *room, const BerthAsk *ask, const BerthPlacement *way);
void berth_room_costs(const BerthAsk *ask, guint32 host, const BerthPlacement *ways, guint n,
                      double *costs);
void berth_room_least_costs(const BerthAsk *ask, const guint32 *hosts, guint n, float *costs);
double berth_mix_scale(const BerthMix *mix, const BerthAsk *ask);
double berth_room_fragmented(const BerthMix *mix, const BerthRoom *room);

G_END_DECLS
