/* Ways of placing within a host, lowest cell and lowest slot first, so that equal scores have one
 * answer. Start at berth_place_cells and berth_place_devices. */
#include "sched/place.h"

#include "sched/rules.h"

#include <string.h>

static gint64
stock_free(const BerthAsk *ask, guint32 host, guint cell, BerthStockKind kind, BerthSymbol key)
{
    const BerthStock *stocks = berth_stocks(ask->snapshot, host);
    gint64 have = 0;
    for (guint i = 0; i < ask->snapshot->n_stocks[host]; i++) {
        if (stocks[i].kind == kind && stocks[i].key == key &&
            (cell == BERTH_CELL_NONE || stocks[i].cell == cell)) {
            have += MAX(0, stocks[i].capacity - stocks[i].used);
        }
    }
    return have;
}

/**
 * berth_place_pages_free:
 * @cell: one cell, or BERTH_CELL_NONE for all of the host
 *
 * Returns: free huge pages of the size the request asks for
 */
gint64
berth_place_pages_free(const BerthAsk *ask, guint32 host, guint cell)
{
    return stock_free(ask, host, cell, BERTH_STOCK_HUGEPAGE, ask->page_key);
}

/** Returns: free dedicated CPUs of @cell, or of all of the host with BERTH_CELL_NONE. */
gint64
berth_place_cpus_free(const BerthAsk *ask, guint32 host, guint cell)
{
    return stock_free(ask, host, cell, BERTH_STOCK_CPU, 0);
}

/**
 * berth_place_cell_admits:
 * @parts: into how many cells the request is divided
 *
 * Returns: whether one of @parts equal parts fits in @cell
 */
gboolean
berth_place_cell_admits(const BerthAsk *ask, guint32 host, guint cell, guint parts)
{
    const BerthCell *c = &berth_cells(ask->snapshot, host)[cell];
    gint64 cpu = berth_place_part(ask->cpu_millis, 0, parts);
    gint64 mem = berth_place_part(ask->memory_mib, 0, parts);
    if (c->mem_free < mem || (ask->cpus == 0 && c->cpu_free < cpu)) {
        return FALSE;
    }
    return (ask->pages == 0 ||
            berth_place_pages_free(ask, host, cell) >= berth_place_part(ask->pages, 0, parts)) &&
           (ask->cpus == 0 ||
            berth_place_cpus_free(ask, host, cell) >= berth_place_part(ask->cpus, 0, parts));
}

/* What @cell is short by for one of @parts equal parts, in order of how near it is. */
static gint64
shortage_of(const BerthAsk *ask, guint32 host, guint cell, guint parts)
{
    const BerthCell *c = &berth_cells(ask->snapshot, host)[cell];
    gint64 cpus = ask->cpus == 0 ? 0 : berth_place_cpus_free(ask, host, cell);
    gint64 pages = ask->pages == 0 ? 0 : berth_place_pages_free(ask, host, cell);
    return MAX(0, berth_place_part(ask->cpus, 0, parts) - cpus) * 1000 +
           (ask->cpus > 0 ? 0 : MAX(0, berth_place_part(ask->cpu_millis, 0, parts) - c->cpu_free)) +
           MAX(0, berth_place_part(ask->memory_mib, 0, parts) - c->mem_free) +
           MAX(0, berth_place_part(ask->pages, 0, parts) - pages);
}

/* The cell that is nearest to having room for one of @parts, for two parts the second nearest. */
static guint
nearest_cell(const BerthAsk *ask, guint32 host, guint parts)
{
    gint64 best[2] = {G_MAXINT64, G_MAXINT64};
    guint at[2] = {0, 0};
    for (guint c = 0; c < ask->snapshot->n_cells[host]; c++) {
        gint64 missing = shortage_of(ask, host, c, parts);
        guint rank = missing < best[0] ? 0 : missing < best[1] ? 1 : 2;
        if (rank == 0) {
            best[1] = best[0];
            at[1] = at[0];
        }
        if (rank < 2) {
            best[rank] = missing;
            at[rank] = c;
        }
    }
    return at[parts - 1];
}

/**
 * berth_place_refuse_cells:
 * @parts: cells that the request needs, 1 or 2, which are not there
 *
 * Says in @refusal (nullable) what is missing where least is. Returns: FALSE
 */
gboolean
berth_place_refuse_cells(const BerthAsk *ask, guint32 host, guint parts, BerthRefusal *refusal)
{
    if (refusal == NULL) {
        return FALSE;
    }
    if (ask->snapshot->n_cells[host] < parts) {
        return berth_refuse(refusal, "cells", parts, ask->snapshot->n_cells[host]);
    }
    guint cell = nearest_cell(ask, host, parts);
    const BerthCell *c = &berth_cells(ask->snapshot, host)[cell];
    gint64 cpus = berth_place_part(ask->cpus, 0, parts);
    gint64 cpu = berth_place_part(ask->cpu_millis, 0, parts);
    gint64 mem = berth_place_part(ask->memory_mib, 0, parts);
    if (cpus > berth_place_cpus_free(ask, host, cell)) {
        return berth_refuse(refusal, "cell_dedicated_cpus", cpus,
                            berth_place_cpus_free(ask, host, cell));
    }
    if (cpus == 0 && c->cpu_free < cpu) {
        return berth_refuse(refusal, "cell_cpu_millis", cpu, c->cpu_free);
    }
    if (c->mem_free < mem) {
        return berth_refuse(refusal, "cell_memory_mib", mem, c->mem_free);
    }
    return berth_refuse(refusal, "cell_hugepages", berth_place_part(ask->pages, 0, parts),
                        berth_place_pages_free(ask, host, cell));
}

/* A bit for each cell that takes one of @parts equal parts. */
static guint32
admitting_cells(const BerthAsk *ask, guint32 host, guint parts)
{
    const BerthCell *cells = berth_cells(ask->snapshot, host);
    gint64 cpu = ask->cpu_millis, mem = ask->memory_mib;
    guint32 admitting = 0;
    if (ask->pages > 0 || ask->cpus > 0) {
        for (guint c = 0; c < ask->snapshot->n_cells[host]; c++) {
            admitting |= (guint32)berth_place_cell_admits(ask, host, c, parts) << c;
        }
        return admitting;
    }
    cpu = parts == 2 ? (cpu + 1) / 2 : cpu;
    mem = parts == 2 ? (mem + 1) / 2 : mem;
    for (guint c = 0; c < ask->snapshot->n_cells[host]; c++) {
        admitting |= (guint32)(cells[c].cpu_free >= cpu && cells[c].mem_free >= mem) << c;
    }
    return admitting;
}

/* Whether an earlier cell is as free as this one, so that choosing between them is idle. */
static gboolean
has_equal_before(const BerthAsk *ask, guint32 host, guint cell)
{
    const BerthCell *cells = berth_cells(ask->snapshot, host);
    for (guint c = 0; c < cell && ask->pages == 0 && ask->cpus == 0; c++) {
        if (cells[c].cpu_free == cells[cell].cpu_free &&
            cells[c].mem_free == cells[cell].mem_free && cells[c].cpu_cap == cells[cell].cpu_cap &&
            cells[c].mem_cap == cells[cell].mem_cap) {
            return TRUE;
        }
    }
    return FALSE;
}

static guint
add_single_cells(const BerthAsk *ask, guint32 host, BerthCellPair *pairs)
{
    guint n = 0;
    for (guint32 left = admitting_cells(ask, host, 1); left != 0; left &= left - 1) {
        guint c = (guint)__builtin_ctz(left);
        if (!has_equal_before(ask, host, c)) {
            pairs[n++] = (BerthCellPair){{c, BERTH_CELL_NONE}};
        }
    }
    return n;
}

static guint
add_cell_pairs(const BerthAsk *ask, guint32 host, BerthCellPair *pairs)
{
    guint n = 0;
    for (guint32 left = admitting_cells(ask, host, 2); left != 0; left &= left - 1) {
        for (guint32 others = left & (left - 1); others != 0; others &= others - 1) {
            pairs[n++] =
                (BerthCellPair){{(guint8)__builtin_ctz(left), (guint8)__builtin_ctz(others)}};
        }
    }
    return n;
}

/**
 * berth_place_cells:
 * @pairs: (out): room for BERTH_PLACE_CELLS_MAX
 *
 * Dedicated CPUs bind to cells whatever the request says: to one when one has room, else to two.
 *
 * Returns: how many choices of cells there are; 0 when "numa" or "dedicated" refuses
 */
guint
berth_place_cells(const BerthAsk *ask, guint32 host, BerthCellPair *pairs)
{
    static const BerthCellPair unbound = {{BERTH_CELL_NONE, BERTH_CELL_NONE}};
    guint n = 0;
    BerthNumaPolicy asked = ask->request->numa;
    switch (asked == BERTH_NUMA_ANY && ask->cpus > 0 ? BERTH_NUMA_PREFER_ONE : asked) {
    case BERTH_NUMA_ONE:
        return add_single_cells(ask, host, pairs);
    case BERTH_NUMA_TWO:
        return add_cell_pairs(ask, host, pairs);
    case BERTH_NUMA_PREFER_ONE:
        n = add_single_cells(ask, host, pairs);
        n = n > 0 ? n : add_cell_pairs(ask, host, pairs);
        break;
    case BERTH_NUMA_ANY:
        break;
    }
    if (n == 0 && ask->cpus == 0) {
        pairs[n++] = unbound;
    }
    return n;
}

static inline gboolean
is_whole(const BerthSlot *slot)
{
    return slot->used == 1000 && slot->holders == 1;
}

/* Whether what is given of the slot's IOMMU group keeps @slot from another guest: a whole device takes the group with
 * it, so it wants nothing of it given, and parts want no whole one. */
static gboolean
group_is_held(const BerthAsk *ask, guint32 host, const BerthSlot *slot, gboolean whole)
{
    if (slot->iommu_group < 0) {
        return FALSE;
    }
    const BerthSlot *slots = berth_slots(ask->snapshot, host);
    for (guint i = 0; i < ask->snapshot->n_slots[host]; i++) {
        if (slots[i].iommu_group == slot->iommu_group &&
            (whole ? slots[i].used > 0 : is_whole(&slots[i]))) {
            return TRUE;
        }
    }
    return FALSE;
}

static inline gboolean
slot_serves(const BerthAsk *ask, guint32 host, guint need, guint first_model, const BerthSlot *slot)
{
    const BerthDeviceNeed *wanted = &ask->request->devices[need];
    if (slot->kind != ask->devices[need] || slot->used + (gint)wanted->millis > 1000) {
        return FALSE;
    }
    gboolean shared = wanted->millis < 1000;
    if ((shared && !slot->shareable) || group_is_held(ask, host, slot, !shared)) {
        return FALSE;
    }
    for (guint i = 0; i < wanted->n_models; i++) {
        if (ask->models[first_model + i] == slot->model) {
            return TRUE;
        }
    }
    return wanted->n_models == 0;
}

static guint
first_model_of(const BerthAsk *ask, guint need)
{
    guint first = 0;
    for (guint i = 0; i < need; i++) {
        first += ask->request->devices[i].n_models;
    }
    return first;
}

/**
 * berth_place_count_slots:
 * @need: index into the request's device needs
 *
 * Returns: how many slots of the host could serve that need by itself
 */
guint
berth_place_count_slots(const BerthAsk *ask, guint32 host, guint need)
{
    const BerthSlot *slots = berth_slots(ask->snapshot, host);
    guint model = first_model_of(ask, need), n = 0;
    for (guint i = 0; i < ask->snapshot->n_slots[host]; i++) {
        n += slot_serves(ask, host, need, model, &slots[i]);
    }
    return n;
}

guint
berth_place_device_count(const BerthAsk *ask)
{
    guint n = 0;
    for (guint i = 0; i < ask->request->n_devices; i++) {
        n += ask->request->devices[i].count;
    }
    return n;
}

/* One shared slice: every different state of a slot is a choice. */
static guint
add_slices(const BerthAsk *ask, guint32 host, BerthDeviceSet *sets)
{
    const BerthSlot *slots = berth_slots(ask->snapshot, host);
    guint n = 0;
    for (guint i = 0; i < ask->snapshot->n_slots[host] && n < BERTH_PLACE_DEVICES_MAX; i++) {
        if (!slot_serves(ask, host, 0, 0, &slots[i])) {
            continue;
        }
        gboolean seen = FALSE;
        for (guint k = 0; k < n && !seen; k++) {
            const BerthSlot *other = &slots[sets[k].slots[0]];
            seen = other->used == slots[i].used && other->model == slots[i].model &&
                   (!berth_place_is_bound(ask) || other->cell == slots[i].cell);
        }
        if (!seen) {
            sets[n++] = (BerthDeviceSet){{i}};
        }
    }
    return n;
}

/* The fullest slot that serves @need and is not in @set yet, of @cell when there is one, unless that is
 * BERTH_CELL_NONE; lowest index among equals. */
static gint
fullest_slot(const BerthAsk *ask, guint32 host, guint need, guint model, const BerthDeviceSet *set,
             guint taken, guint8 cell)
{
    const BerthSlot *slots = berth_slots(ask->snapshot, host);
    gint best = -1;
    for (guint i = 0; i < ask->snapshot->n_slots[host]; i++) {
        if (!slot_serves(ask, host, need, model, &slots[i]) ||
            (taken > 0 && memchr(set->slots, (int)i, taken) != NULL)) {
            continue;
        }
        gboolean near = cell == BERTH_CELL_NONE || slots[i].cell == cell;
        if (near && ask->request->devices[need].millis == 1000) {
            return i; /* whole ones are all equally empty */
        }
        gboolean best_near = best >= 0 && (cell == BERTH_CELL_NONE || slots[best].cell == cell);
        if (best < 0 || (near && !best_near) ||
            (near == best_near && slots[i].used > slots[best].used)) {
            best = i;
        }
    }
    return best;
}

/* Several devices, or whole ones: one choice, as many of @cell as it has, unless that is BERTH_CELL_NONE. Needs with
 * named models go first, so that a need without a model doesn't take theirs. FALSE: a slot was taken that another need
 * should have had, or there are too few. */
static gboolean
take_in_turn(const BerthAsk *ask, guint32 host, const guint *at, guint8 cell, BerthDeviceSet *set)
{
    guint taken = 0;
    BerthDeviceSet order = {{0}};
    for (guint pass = 0; pass < 2; pass++) {
        for (guint need = 0; need < ask->request->n_devices; need++) {
            const BerthDeviceNeed *wanted = &ask->request->devices[need];
            if ((wanted->n_models == 0) != (pass == 1)) {
                continue;
            }
            guint model = first_model_of(ask, need);
            for (guint k = 0; k < wanted->count; k++) {
                gint slot = fullest_slot(ask, host, need, model, &order, taken, cell);
                if (slot < 0) {
                    return FALSE;
                }
                order.slots[taken++] = slot;
                set->slots[at[need] + k] = slot;
            }
        }
    }
    return TRUE;
}

/* Devices asked for, one by one, and slots that could serve each: a matching by augmenting paths. */
typedef struct {
    guint n_slots;
    guint need_of[BERTH_DEVICES_MAX]; /* of each device asked for */
    gboolean serves[BERTH_DEVICES_MAX][BERTH_HOST_DEVICES_MAX];
    gboolean seen[BERTH_HOST_DEVICES_MAX];
    gint owner[BERTH_HOST_DEVICES_MAX]; /* device that has the slot, -1: none */
} Matching;

static gboolean
augment(Matching *m, guint device)
{
    for (guint slot = 0; slot < m->n_slots; slot++) {
        if (!m->serves[m->need_of[device]][slot] || m->seen[slot]) {
            continue;
        }
        m->seen[slot] = TRUE;
        if (m->owner[slot] < 0 || augment(m, (guint)m->owner[slot])) {
            m->owner[slot] = (gint)device;
            return TRUE;
        }
    }
    return FALSE;
}

/* Finds a way whenever there is one; @at: of each need its first device in @set, and how many there are. */
static gboolean
match_all(const BerthAsk *ask, guint32 host, const guint *at, BerthDeviceSet *set)
{
    Matching m = {.n_slots = ask->snapshot->n_slots[host]};
    const BerthSlot *slots = berth_slots(ask->snapshot, host);
    for (guint need = 0; need < ask->request->n_devices; need++) {
        guint model = first_model_of(ask, need);
        for (guint slot = 0; slot < m.n_slots; slot++) {
            m.serves[need][slot] = slot_serves(ask, host, need, model, &slots[slot]);
            m.owner[slot] = -1;
        }
        for (guint k = at[need]; k < at[need + 1]; k++) {
            m.need_of[k] = need;
        }
    }
    for (guint device = 0; device < at[ask->request->n_devices]; device++) {
        memset(m.seen, 0, sizeof m.seen);
        if (!augment(&m, device)) {
            return FALSE;
        }
    }
    for (guint slot = 0; slot < m.n_slots; slot++) {
        if (m.owner[slot] >= 0) {
            set->slots[m.owner[slot]] = (guint8)slot;
        }
    }
    return TRUE;
}

static guint
add_whole(const BerthAsk *ask, guint32 host, guint8 cell, BerthDeviceSet *set)
{
    guint at[BERTH_DEVICES_MAX + 1] = {0};
    for (guint need = 0; need < ask->request->n_devices; need++) {
        at[need + 1] = at[need] + ask->request->devices[need].count;
    }
    *set = (BerthDeviceSet){{0}};
    return take_in_turn(ask, host, at, cell, set) ||
           (ask->request->n_devices > 1 && match_all(ask, host, at, set));
}

/* Of one bound to cells, a choice for each cell, the devices of which come first. */
static guint
add_near(const BerthAsk *ask, guint32 host, BerthDeviceSet *sets)
{
    guint n = 0;
    for (guint cell = 0; cell < ask->snapshot->n_cells[host]; cell++) {
        if (add_whole(ask, host, (guint8)cell, &sets[n]) == 0) {
            return 0;
        }
        gboolean seen = FALSE;
        for (guint k = 0; k < n && !seen; k++) {
            seen = memcmp(&sets[k], &sets[n], sizeof(*sets)) == 0;
        }
        n += !seen;
    }
    return n;
}

/**
 * berth_place_devices:
 * @sets: (out): room for BERTH_PLACE_DEVICES_MAX; slots that are not asked for are 0
 *
 * Returns: how many choices of devices there are; 0 when they don't suffice
 */
guint
berth_place_devices(const BerthAsk *ask, guint32 host, BerthDeviceSet *sets)
{
    const BerthRequest *r = ask->request;
    guint n = berth_place_device_count(ask);
    if (n == 0) {
        sets[0] = (BerthDeviceSet){{0}};
        return 1;
    }
    if (n > BERTH_DEVICES_MAX || r->n_devices > BERTH_DEVICES_MAX) {
        return 0;
    }
    if (n == 1 && r->devices[0].count == 1 && r->devices[0].millis < 1000) {
        return add_slices(ask, host, sets);
    }
    return berth_place_is_bound(ask) ? add_near(ask, host, sets)
                                     : add_whole(ask, host, BERTH_CELL_NONE, sets);
}
