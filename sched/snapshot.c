/* The snapshot: hosts come, change and go at a cost of what changed, never of the fleet's size.
 * Invariant: free = capacity - the sum of the charges of the host, in every dimension; a forced
 * charge may drive it below zero, which every fit rule then sees.
 * One thread at a time. Start at berth_snapshot_put_host; charges are in charge.c. */
#include "sched/snapshot.h"

#include <math.h>

#include "base/error.h"
#include "sched/apart.h"
#include "sched/fleet.h"
#include "sched/index.h"
#include "sched/mix.h"
#include "sched/profile.h"
#include "sched/reserved.h"
#include "sched/spare.h"
#include "sched/stock.h"

#define CPU_MILLIS_LIMIT ((gint64)G_MAXINT32 / 16)
#define MEMORY_MIB_LIMIT ((gint64)G_MAXINT32 / 16)

/**
 * berth_snapshot_new:
 *
 * Returns: (transfer full): a fleet without hosts
 */
BerthSnapshot *
berth_snapshot_new(void)
{
    BerthSnapshot *s = g_new0(BerthSnapshot, 1);
    berth_symbols_init(&s->symbols);
    s->by_name = g_hash_table_new(NULL, NULL);
    s->free_hosts = g_array_new(FALSE, FALSE, sizeof(guint32));
    berth_runs_init(&s->cells, sizeof(BerthCell));
    berth_runs_init(&s->stocks, sizeof(BerthStock));
    berth_runs_init(&s->slots, sizeof(BerthSlot));
    s->profiles = g_ptr_array_new();
    s->profile_ids = g_hash_table_new(g_bytes_hash, g_bytes_equal);
    s->charges = g_array_new(FALSE, TRUE, sizeof(BerthCharge));
    s->free_charges = g_array_new(FALSE, FALSE, sizeof(guint32));
    s->by_uid = g_hash_table_new(g_str_hash, g_str_equal);
    s->groups = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    s->shares = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    s->mix = berth_mix_new();
    s->aparts = berth_aparts_new();
    return s;
}

static void
free_columns(BerthSnapshot *s)
{
    gpointer columns[] = {s->name,     s->state,       s->profile,      s->zone,
                          s->rack,     s->cpu_cap,     s->cpu_free,     s->mem_cap,
                          s->mem_free, s->charge_head, s->charge_count, s->cell_first,
                          s->n_cells,  s->stock_first, s->n_stocks,     s->slot_first,
                          s->n_slots,  s->images,      s->worth};
    for (guint i = 0; i < G_N_ELEMENTS(columns); i++) {
        g_free(columns[i]);
    }
}

static void
clear_charge(BerthCharge *charge)
{
    g_free(charge->uid);
    g_free(charge->stocks);
    g_free(charge->slots);
    g_free(charge->labels);
    g_free(charge->aparts);
}

void
berth_snapshot_free(BerthSnapshot *s)
{
    if (s == NULL) {
        return;
    }
    for (guint i = 0; i < s->profiles->len; i++) {
        if (g_ptr_array_index(s->profiles, i) != NULL) {
            berth_profile_free(g_ptr_array_index(s->profiles, i));
        }
    }
    for (guint i = 0; i < s->charges->len; i++) {
        clear_charge(berth_charge(s, i));
    }
    for (guint32 host = 0; host < s->end; host++) {
        g_free(s->images[host]);
    }
    free_columns(s);
    g_ptr_array_unref(s->profiles);
    g_hash_table_unref(s->profile_ids);
    g_array_unref(s->charges);
    g_array_unref(s->free_charges);
    g_hash_table_unref(s->by_uid);
    g_hash_table_unref(s->by_name);
    g_hash_table_unref(s->groups);
    g_hash_table_unref(s->shares);
    g_array_unref(s->free_hosts);
    berth_runs_clear(&s->cells);
    berth_runs_clear(&s->stocks);
    berth_runs_clear(&s->slots);
    berth_index_free(s->index);
    berth_spare_free(s->spare);
    berth_reserved_free(s->reserved);
    berth_mix_free(s->mix);
    g_hash_table_unref(s->aparts);
    berth_symbols_clear(&s->symbols);
    g_free(s);
}

#define GROW(column) s->column = g_renew(typeof(*s->column), s->column, room)

static void
grow_columns(BerthSnapshot *s)
{
    guint32 room = MAX(16, s->room + s->room / 2);
    GROW(name);
    GROW(state);
    GROW(profile);
    GROW(zone);
    GROW(rack);
    GROW(cpu_cap);
    GROW(cpu_free);
    GROW(mem_cap);
    GROW(mem_free);
    GROW(charge_head);
    GROW(charge_count);
    GROW(cell_first);
    GROW(n_cells);
    GROW(stock_first);
    GROW(n_stocks);
    GROW(slot_first);
    GROW(n_slots);
    GROW(images);
    GROW(worth);
    s->room = room;
}

/* Says that @host differs from what the index knows. */
void
berth_snapshot_touch(BerthSnapshot *s, guint32 host)
{
    s->version++;
    s->worth[host].bound = NAN;
    if (s->index != NULL) {
        berth_index_note_change(s->index, host);
    }
    if (s->spare != NULL) {
        berth_spare_note_change(s->spare, host);
    }
    if (s->reserved != NULL) {
        berth_reserved_note_change(s, host);
    }
}

static gboolean
check_host(const BerthHost *host, GError **error)
{
    if (host->name == NULL || host->name[0] == '\0') {
        berth_error_set(error, BERTH_ERROR_INVALID, "a host needs a name");
        return FALSE;
    }
    if (host->cpu_millis < 0 || host->cpu_millis > CPU_MILLIS_LIMIT || host->memory_mib < 0 ||
        host->memory_mib > MEMORY_MIB_LIMIT || host->cpu_overcommit_pct > 1600 ||
        host->memory_overcommit_pct > 1600) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "host '%s' has more CPUs, memory or over-commit than can be counted",
                        host->name);
        return FALSE;
    }
    if (host->n_cells > BERTH_CELLS_MAX || host->n_devices > BERTH_HOST_DEVICES_MAX ||
        host->n_pools + host->n_counts > 128) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "host '%s' has more NUMA cells, devices or pools than can be counted",
                        host->name);
        return FALSE;
    }
    return TRUE;
}

static guint32
new_host_index(BerthSnapshot *s)
{
    if (s->free_hosts->len > 0) {
        guint32 index = g_array_index(s->free_hosts, guint32, s->free_hosts->len - 1);
        g_array_set_size(s->free_hosts, s->free_hosts->len - 1);
        return index;
    }
    if (s->end == s->room) {
        grow_columns(s);
    }
    return s->end++;
}

/* Applies the charges of @host to its fresh columns, or takes them out of the old ones. */
static void
account_charges(BerthSnapshot *s, guint32 host, int sign)
{
    for (guint32 c = s->charge_head[host]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        berth_snapshot_take(s, berth_charge(s, c), sign);
        if (sign > 0) {
            berth_snapshot_note_image(s, host, berth_charge(s, c)->image, TRUE);
        }
    }
}

static void
drop_host_columns(BerthSnapshot *s, guint32 host)
{
    berth_runs_remove(&s->cells, s->cell_first[host], s->n_cells[host]);
    berth_runs_remove(&s->stocks, s->stock_first[host], s->n_stocks[host]);
    berth_runs_remove(&s->slots, s->slot_first[host], s->n_slots[host]);
    berth_profile_put(s, s->profile[host]);
    g_clear_pointer(&s->images[host], g_free);
}

/**
 * berth_snapshot_put_host:
 * @host: what the host is now; copied
 * @index: (out) (optional): its index, the same until it is removed
 *
 * Adds the host, or changes it when the name is known: what is charged to it stays charged, and brings its images.
 * Cost: the size of @host and of its charges.
 *
 * Errors: INVALID when amounts are out of range
 */
gboolean
berth_snapshot_put_host(BerthSnapshot *s, const BerthHost *host, guint32 *index, GError **error)
{
    if (!check_host(host, error)) {
        return FALSE;
    }
    guint32 at = berth_snapshot_find_host(s, host->name);
    if (at == BERTH_HOST_NONE) {
        at = new_host_index(s);
        s->name[at] = berth_symbols_intern(&s->symbols, host->name);
        s->charge_head[at] = BERTH_CHARGE_NONE;
        s->charge_count[at] = 0;
        g_hash_table_insert(s->by_name, GUINT_TO_POINTER(s->name[at]), GUINT_TO_POINTER(at + 1));
        s->hosts++;
    } else {
        account_charges(s, at, -1);
        drop_host_columns(s, at);
    }
    berth_snapshot_add_host_columns(s, at, host);
    account_charges(s, at, 1);
    s->facts++;
    berth_snapshot_touch(s, at);
    if (index != NULL) {
        *index = at;
    }
    return TRUE;
}

/* Gives @twin, a host without anything, the capacity and facts of @host, nothing charged. */
void
berth_snapshot_become_like(BerthSnapshot *s, guint32 twin, guint32 host)
{
    drop_host_columns(s, twin);
    s->cpu_cap[twin] = s->cpu_free[twin] = s->cpu_cap[host];
    s->mem_cap[twin] = s->mem_free[twin] = s->mem_cap[host];
    s->zone[twin] = s->zone[host];
    s->rack[twin] = s->rack[host];
    s->profile[twin] = s->profile[host];
    ((BerthProfile *)g_ptr_array_index(s->profiles, s->profile[host]))->hosts++;
    s->n_cells[twin] = s->n_cells[host];
    s->n_stocks[twin] = s->n_stocks[host];
    s->n_slots[twin] = s->n_slots[host];
    s->cell_first[twin] = berth_runs_add(&s->cells, s->n_cells[host]);
    s->stock_first[twin] = berth_runs_add(&s->stocks, s->n_stocks[host]);
    s->slot_first[twin] = berth_runs_add(&s->slots, s->n_slots[host]);
    for (guint i = 0; i < s->n_cells[host]; i++) {
        BerthCell cell = berth_cells(s, host)[i];
        berth_cells(s, twin)[i] =
            (BerthCell){cell.cpu_cap, cell.cpu_cap, cell.mem_cap, cell.mem_cap};
    }
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        berth_stocks(s, twin)[i] = berth_stocks(s, host)[i];
        berth_stocks(s, twin)[i].used = 0;
    }
    for (guint i = 0; i < s->n_slots[host]; i++) {
        berth_slots(s, twin)[i] = berth_slots(s, host)[i];
        berth_slots(s, twin)[i].used = 0;
        berth_slots(s, twin)[i].holders = 0;
    }
    s->facts++;
    berth_snapshot_touch(s, twin);
}

/**
 * berth_snapshot_remove_host:
 *
 * Errors: NOT_FOUND; CONFLICT while workloads are charged to it
 */
gboolean
berth_snapshot_remove_host(BerthSnapshot *s, guint32 index, GError **error)
{
    if (!berth_snapshot_host_exists(s, index)) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "no host has index %u", index);
        return FALSE;
    }
    if (s->charge_head[index] != BERTH_CHARGE_NONE) {
        berth_error_set(error, BERTH_ERROR_CONFLICT,
                        "host '%s' still has %u workloads: drain it first",
                        berth_snapshot_host_name(s, index), s->charge_count[index]);
        return FALSE;
    }
    drop_host_columns(s, index);
    g_hash_table_remove(s->by_name, GUINT_TO_POINTER(s->name[index]));
    s->name[index] = 0;
    s->n_cells[index] = 0;
    s->n_stocks[index] = 0;
    s->n_slots[index] = 0;
    s->hosts--;
    s->facts++;
    g_array_append_val(s->free_hosts, index);
    berth_snapshot_touch(s, index);
    return TRUE;
}

/**
 * berth_snapshot_set_state:
 * @state: whether it is ready, cordoned, draining
 */
void
berth_snapshot_set_state(BerthSnapshot *s, guint32 index, BerthHostState state)
{
    g_return_if_fail(berth_snapshot_host_exists(s, index));
    if (s->state[index] != (guint8)state) {
        s->state[index] = state;
        berth_snapshot_touch(s, index);
    }
}

static gboolean
has_image(const BerthSnapshot *s, guint32 host, BerthSymbol image)
{
    const BerthSymbol *images = s->images[host];
    for (guint i = 1; images != NULL && i <= images[0]; i++) {
        if (images[i] == image) {
            return TRUE;
        }
    }
    return FALSE;
}

/* As berth_snapshot_set_image(); nothing for symbol 0. Returns: whether that is new. */
gboolean
berth_snapshot_note_image(BerthSnapshot *s, guint32 host, BerthSymbol image, gboolean present)
{
    if (image == 0 || has_image(s, host, image) == present) {
        return FALSE;
    }
    BerthSymbol *old = s->images[host];
    guint n = old == NULL ? 0 : old[0];
    BerthSymbol *fresh = g_new(BerthSymbol, n + 2);
    guint kept = 0;
    for (guint i = 1; i <= n; i++) {
        if (old[i] != image) {
            fresh[++kept] = old[i];
        }
    }
    if (present) {
        fresh[++kept] = image;
    }
    fresh[0] = kept;
    g_free(old);
    s->images[host] = fresh;
    berth_snapshot_touch(s, host);
    return TRUE;
}

/**
 * berth_snapshot_set_image:
 * @digest: image that came to the host or went
 */
void
berth_snapshot_set_image(BerthSnapshot *s, guint32 index, const char *digest, gboolean present)
{
    g_return_if_fail(berth_snapshot_host_exists(s, index));
    berth_snapshot_note_image(s, index, berth_symbols_intern(&s->symbols, digest), present);
}

/**
 * berth_snapshot_find_host:
 *
 * Returns: index of the host called @name, or BERTH_HOST_NONE
 */
guint32
berth_snapshot_find_host(const BerthSnapshot *s, const char *name)
{
    gpointer symbol = g_hash_table_lookup(s->symbols.ids, name);
    gpointer index = symbol == NULL ? NULL : g_hash_table_lookup(s->by_name, symbol);
    return GPOINTER_TO_UINT(index) - 1;
}

const char *
berth_snapshot_host_name(const BerthSnapshot *s, guint32 index)
{
    g_return_val_if_fail(index < s->end, NULL);
    return berth_symbols_name(&s->symbols, s->name[index]);
}

guint
berth_snapshot_host_count(const BerthSnapshot *s)
{
    return s->hosts;
}

/* Every host's index is below this; some below it may be of removed hosts. */
guint32
berth_snapshot_host_end(const BerthSnapshot *s)
{
    return s->end;
}

gboolean
berth_snapshot_host_exists(const BerthSnapshot *s, guint32 index)
{
    return index < s->end && s->name[index] != 0;
}

/**
 * berth_snapshot_host_usage:
 * @usage: (out): capacity and what is charged
 */
void
berth_snapshot_host_usage(const BerthSnapshot *s, guint32 index, BerthUsage *usage)
{
    *usage = (BerthUsage){0};
    g_return_if_fail(berth_snapshot_host_exists(s, index));
    usage->cpu_millis = s->cpu_cap[index];
    usage->cpu_used_millis = (gint64)s->cpu_cap[index] - s->cpu_free[index];
    usage->memory_mib = s->mem_cap[index];
    usage->memory_used_mib = (gint64)s->mem_cap[index] - s->mem_free[index];
    usage->workloads = s->charge_count[index];
    for (guint i = 0; i < s->n_slots[index]; i++) {
        usage->device_millis += 1000;
        usage->device_used_millis += berth_slots(s, index)[i].used;
    }
    for (guint i = 0; i < s->n_stocks[index]; i++) {
        const BerthStock *stock = &berth_stocks(s, index)[i];
        if (stock->kind == BERTH_STOCK_POOL) {
            usage->disk_mib += stock->capacity;
            usage->disk_used_mib += stock->used;
        }
    }
}

/**
 * berth_snapshot_cell_usage:
 * @cell: its place among the host's cells
 * @usage: (out): capacity and what is charged
 *
 * Returns: FALSE when the host has no such cell.
 */
gboolean
berth_snapshot_cell_usage(const BerthSnapshot *s, guint32 index, guint cell, BerthCellUsage *usage)
{
    g_return_val_if_fail(berth_snapshot_host_exists(s, index), FALSE);
    if (cell >= s->n_cells[index]) {
        return FALSE;
    }
    const BerthCell *has = &berth_cells(s, index)[cell];
    *usage = (BerthCellUsage){has->cpu_cap, (gint64)has->cpu_cap - has->cpu_free, has->mem_cap,
                              (gint64)has->mem_cap - has->mem_free};
    return TRUE;
}

/** Returns: how many huge pages of @page_kib are free in the cell. */
gint64
berth_snapshot_free_pages(const BerthSnapshot *s, guint32 index, guint cell, gint64 page_kib)
{
    g_return_val_if_fail(berth_snapshot_host_exists(s, index), 0);
    for (guint i = 0; i < s->n_stocks[index]; i++) {
        const BerthStock *stock = &berth_stocks(s, index)[i];
        if (stock->kind == BERTH_STOCK_HUGEPAGE && stock->cell == cell &&
            stock->page_kib == page_kib) {
            return stock->capacity - stock->used;
        }
    }
    return 0;
}

/** Returns: how many of the named resource are free, negative when more are charged than there are. */
gint64
berth_snapshot_free_count(const BerthSnapshot *s, guint32 index, const char *name)
{
    g_return_val_if_fail(berth_snapshot_host_exists(s, index), 0);
    gpointer symbol = g_hash_table_lookup(s->symbols.ids, name);
    return berth_stock_free(s, index, BERTH_STOCK_COUNT, GPOINTER_TO_UINT(symbol));
}

/**
 * berth_snapshot_bytes:
 *
 * Returns: bytes the hosts take (columns, cells, stocks, slots, index), without workloads and names
 */
gsize
berth_snapshot_bytes(const BerthSnapshot *s)
{
    gsize columns = sizeof(BerthSymbol) * 3 + sizeof(guint32) * 4 + sizeof(gint32) * 4 +
                    sizeof(guint16) * 2 + sizeof(guint8) * 3 + sizeof(guint32) * 2 +
                    sizeof(gpointer) + sizeof(BerthWorth);
    gsize runs = s->cells.items->len * sizeof(BerthCell) +
                 s->stocks.items->len * sizeof(BerthStock) +
                 s->slots.items->len * sizeof(BerthSlot);
    return s->end * columns + runs + berth_index_bytes(s->index);
}
