/* Random fleets for the properties: hosts and requests of every dimension, and an independent verifier beside the
 * snapshot. The same seed gives the same fleet. */
#pragma once

#include "base/random.h"
#include "sched/pick.h"
#include "sched/sim/verify.h"

/* A request and what it points to; not to be copied. */
typedef struct {
    BerthRequest request;
    BerthDeviceNeed needs[3];
    BerthRelation relations[2];
    BerthSpread spreads[2];
    BerthAmount disks[2], counts[2];
    BerthExpression selectors[2];
    BerthToleration toleration;
    BerthLabel label;
    const char *networks[2];
    char uid[16], group[8], host[12];
} Wish;

typedef struct {
    guint32 charge;
    guint token; /* the verifier's */
    Wish *wish;  /* owned */
    BerthPlacement placement;
} Live;

/* What a host was last described as. */
typedef struct {
    BerthHost host; /* .name NULL: it is gone */
    char name[12];
    BerthHostCell cells[3];
    BerthAmount pages[3][2];
    BerthHostDevice devices[8];
    BerthAmount pools[2], counts[2];
    BerthLabel labels[2];
    BerthTaint taint;
} Site;

/* Project p0 has a quota; negative: no limit. */
typedef struct {
    gint64 cpu_millis, memory_mib, device_millis, workloads;
} Quota;

typedef struct {
    BerthSeededRandom random;
    BerthSnapshot *snapshot;
    SimVerifier *verifier;
    GPtrArray *sites; /* Site, by index; owned */
    guint hosts_named, wishes;
    gboolean has_cells, has_devices, has_facts, has_relations, survivable;
    gboolean has_quota;
    Quota quota;
    GArray *live; /* Live */
} World;

void world_init(World *world, guint64 seed);
void world_clear(World *world);
guint world_below(World *world, guint bound);
Wish *world_draw(World *world);
void world_place(World *world, Wish *wish, const BerthPlacement *placement);
void world_adopt(World *world, Wish *wish, const BerthPlacement *placement);
void world_release(World *world, guint at);
void world_change(World *world);
void world_set_quota(World *world, Quota quota);
void world_assert_clean(const World *world);
char *world_count(const World *world);
char *world_ledger(const BerthSnapshot *snapshot, gboolean by_cell);
