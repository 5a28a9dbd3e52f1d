/* The ways to put a request on one host: which NUMA cells, which devices. */
#pragma once

#include "sched/ask.h"
#include "sched/explain.h"

G_BEGIN_DECLS

#define BERTH_PLACE_CELLS_MAX 160
#define BERTH_PLACE_DEVICES_MAX 64

typedef struct {
    guint8 cells[2];
} BerthCellPair;

typedef struct {
    guint8 slots[BERTH_DEVICES_MAX];
} BerthDeviceSet;

gboolean berth_place_cell_admits(const BerthAsk *ask, guint32 host, guint cell, guint parts);
guint berth_place_cells(const BerthAsk *ask, guint32 host, BerthCellPair *pairs);
guint berth_place_devices(const BerthAsk *ask, guint32 host, BerthDeviceSet *sets);
guint berth_place_count_slots(const BerthAsk *ask, guint32 host, guint need);
gint64 berth_place_pages_free(const BerthAsk *ask, guint32 host, guint cell);
gint64 berth_place_cpus_free(const BerthAsk *ask, guint32 host, guint cell);
gboolean berth_place_refuse_cells(const BerthAsk *ask, guint32 host, guint parts,
                                  BerthRefusal *refusal);
guint berth_place_device_count(const BerthAsk *ask);

/* Whether the vCPUs are of certain cells, or may be. */
static inline gboolean
berth_place_is_bound(const BerthAsk *ask)
{
    return ask->request->numa != BERTH_NUMA_ANY || ask->cpus > 0;
}

/* The @i-th of @parts whole parts of @amount; the first are the larger ones. */
static inline gint64
berth_place_part(gint64 amount, guint i, guint parts)
{
    return (amount + parts - 1 - i) / parts;
}

G_END_DECLS
