/* The ledger: a charge takes from a host exactly what its release gives back.
 * Invariant: see snapshot.c. Charges of one host, and of one group, are linked through the records. */
#include "sched/apart.h"
#include "sched/ask.h"
#include "sched/fleet.h"
#include "sched/mix.h"
#include "sched/place.h"
#include "sched/reserved.h"
#include "sched/spare.h"

static void
take_stock(BerthSnapshot *s, guint32 host, const BerthStockUse *use, int sign)
{
    BerthStock *stocks = berth_stocks(s, host);
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        if (stocks[i].kind == use->kind && stocks[i].key == use->key &&
            stocks[i].cell == use->cell) {
            stocks[i].used += sign * use->amount;
            return;
        }
    }
}

/* Takes @charge from its host's columns (@sign 1) or gives it back (-1). */
void
berth_snapshot_take(BerthSnapshot *s, const BerthCharge *charge, int sign)
{
    guint32 host = charge->host;
    s->cpu_free[host] -= sign * charge->cpu_millis;
    s->mem_free[host] -= sign * charge->memory_mib;
    for (guint i = 0; i < 2; i++) {
        if (charge->cells[i] < s->n_cells[host]) {
            BerthCell *cell = &berth_cells(s, host)[charge->cells[i]];
            cell->cpu_free -= sign * charge->cell_cpu_millis;
            cell->mem_free -= sign * charge->cell_memory_mib;
        }
    }
    for (guint i = 0; i < charge->n_stocks; i++) {
        take_stock(s, host, &charge->stocks[i], sign);
    }
    for (guint i = 0; i < charge->n_slots; i++) {
        if (charge->slots[i].slot < s->n_slots[host]) {
            BerthSlot *slot = &berth_slots(s, host)[charge->slots[i].slot];
            slot->used += sign * charge->slots[i].millis;
            slot->holders += sign;
        }
    }
}

static void
take_share(BerthSnapshot *s, const BerthCharge *charge, int sign)
{
    BerthShare *share = berth_snapshot_share(s, charge->project);
    if (share == NULL) {
        return;
    }
    berth_reserved_count_share(s->reserved, share, -1);
    share->workloads_used += sign;
    share->cpu_used_millis += sign * charge->cpu_millis;
    share->memory_used_mib += sign * charge->memory_mib;
    for (guint i = 0; i < charge->n_slots; i++) {
        share->device_used_millis += sign * charge->slots[i].millis;
    }
    for (guint i = 0; i < charge->n_stocks; i++) {
        if (charge->stocks[i].kind == BERTH_STOCK_HUGEPAGE) {
            share->memory_used_mib +=
                sign * charge->stocks[i].amount * charge->stocks[i].page_kib / 1024;
        } else if (charge->stocks[i].kind == BERTH_STOCK_CPU) {
            share->cpu_used_millis += sign * charge->stocks[i].amount * 1000;
        }
    }
    berth_reserved_count_share(s->reserved, share, 1);
}

/**
 * berth_snapshot_group:
 *
 * Returns: (nullable): the members of @group that are charged somewhere; NULL for symbol 0
 */
BerthGroup *
berth_snapshot_group(const BerthSnapshot *s, BerthSymbol group)
{
    return group == 0 ? NULL : g_hash_table_lookup(s->groups, GUINT_TO_POINTER(group));
}

/**
 * berth_snapshot_share:
 *
 * Returns: (nullable): what @project has and may have, made when it is new; NULL for symbol 0
 */
BerthShare *
berth_snapshot_share(const BerthSnapshot *s, BerthSymbol project)
{
    if (project == 0) {
        return NULL;
    }
    BerthShare *share = g_hash_table_lookup(s->shares, GUINT_TO_POINTER(project));
    if (share == NULL) {
        share = g_new0(BerthShare, 1);
        share->cpu_millis = share->memory_mib = share->device_millis = G_MAXINT64;
        share->workloads = G_MAXINT64;
        g_hash_table_insert(s->shares, GUINT_TO_POINTER(project), share);
    }
    return share;
}

/**
 * berth_snapshot_set_quota:
 * @cpu_millis, @memory_mib, @device_millis, @workloads: the most @project may hold; negative = no
 * limit
 */
void
berth_snapshot_set_quota(BerthSnapshot *s, const char *project, gint64 cpu_millis,
                         gint64 memory_mib, gint64 device_millis, gint64 workloads)
{
    BerthShare *share = berth_snapshot_share(s, berth_symbols_intern(&s->symbols, project));
    g_return_if_fail(share != NULL);
    share->cpu_millis = cpu_millis < 0 ? G_MAXINT64 : cpu_millis;
    share->memory_mib = memory_mib < 0 ? G_MAXINT64 : memory_mib;
    share->device_millis = device_millis < 0 ? G_MAXINT64 : device_millis;
    share->workloads = workloads < 0 ? G_MAXINT64 : workloads;
    share->limited = cpu_millis >= 0 || memory_mib >= 0 || device_millis >= 0 || workloads >= 0;
    s->has_quota |= share->limited;
}

/**
 * berth_snapshot_claim:
 * @cpu_millis, @memory_mib, @device_millis, @workloads: negative to give it back
 *
 * Counts as held by @project what is going to be charged for it, and is on no host yet.
 */
void
berth_snapshot_claim(BerthSnapshot *s, const char *project, gint64 cpu_millis, gint64 memory_mib,
                     gint64 device_millis, gint64 workloads)
{
    BerthShare *share = berth_snapshot_share(s, berth_symbols_intern(&s->symbols, project));
    g_return_if_fail(share != NULL);
    berth_reserved_count_share(s->reserved, share, -1);
    share->cpu_used_millis += cpu_millis;
    share->memory_used_mib += memory_mib;
    share->device_used_millis += device_millis;
    share->workloads_used += workloads;
    berth_reserved_count_share(s->reserved, share, 1);
}

/**
 * berth_snapshot_set_survivable:
 * @survivable: refuse what would not survive the loss of any one host (N+1)
 */
void
berth_snapshot_set_survivable(BerthSnapshot *s, gboolean survivable)
{
    if (survivable && s->spare == NULL) {
        s->spare = berth_spare_new();
    } else if (!survivable) {
        g_clear_pointer(&s->spare, berth_spare_free);
    }
}

static guint32
new_charge(BerthSnapshot *s)
{
    if (s->free_charges->len > 0) {
        guint32 index = g_array_index(s->free_charges, guint32, s->free_charges->len - 1);
        g_array_set_size(s->free_charges, s->free_charges->len - 1);
        memset(berth_charge(s, index), 0, sizeof(BerthCharge));
        return index;
    }
    g_array_set_size(s->charges, s->charges->len + 1);
    return s->charges->len - 1;
}

static void
link_host(BerthSnapshot *s, guint32 index)
{
    BerthCharge *charge = berth_charge(s, index);
    charge->previous = BERTH_CHARGE_NONE;
    charge->next = s->charge_head[charge->host];
    if (charge->next != BERTH_CHARGE_NONE) {
        berth_charge(s, charge->next)->previous = index;
    }
    s->charge_head[charge->host] = index;
    s->charge_count[charge->host]++;
}

static void
unlink_host(BerthSnapshot *s, const BerthCharge *charge)
{
    if (charge->previous != BERTH_CHARGE_NONE) {
        berth_charge(s, charge->previous)->next = charge->next;
    } else {
        s->charge_head[charge->host] = charge->next;
    }
    if (charge->next != BERTH_CHARGE_NONE) {
        berth_charge(s, charge->next)->previous = charge->previous;
    }
    s->charge_count[charge->host]--;
}

static void
link_group(BerthSnapshot *s, guint32 index)
{
    BerthCharge *charge = berth_charge(s, index);
    if (charge->group == 0) {
        return;
    }
    BerthGroup *group = berth_snapshot_group(s, charge->group);
    if (group == NULL) {
        group = g_new0(BerthGroup, 1);
        group->head = BERTH_CHARGE_NONE;
        g_hash_table_insert(s->groups, GUINT_TO_POINTER(charge->group), group);
    }
    charge->group_previous = BERTH_CHARGE_NONE;
    charge->group_next = group->head;
    if (group->head != BERTH_CHARGE_NONE) {
        berth_charge(s, group->head)->group_previous = index;
    }
    group->head = index;
    group->members++;
}

static void
unlink_group(BerthSnapshot *s, const BerthCharge *charge)
{
    BerthGroup *group = berth_snapshot_group(s, charge->group);
    if (group == NULL) {
        return;
    }
    if (charge->group_previous != BERTH_CHARGE_NONE) {
        berth_charge(s, charge->group_previous)->group_next = charge->group_next;
    } else {
        group->head = charge->group_next;
    }
    if (charge->group_next != BERTH_CHARGE_NONE) {
        berth_charge(s, charge->group_next)->group_previous = charge->group_previous;
    }
    if (--group->members == 0) {
        g_hash_table_remove(s->groups, GUINT_TO_POINTER(charge->group));
    }
}

/* Huge pages come from the bound cells in equal parts, or from any that have some; what is too much is of the last
 * one of those. */
static void
use_pages(const BerthAsk *ask, const BerthPlacement *placement, GArray *uses)
{
    const BerthStock *stocks = berth_stocks(ask->snapshot, placement->host);
    guint bound =
        (placement->cells[0] != BERTH_CELL_NONE) + (placement->cells[1] != BERTH_CELL_NONE);
    BerthStockUse use = {ask->page_key, BERTH_STOCK_HUGEPAGE, 0, ask->request->hugepage_kib, 0};
    for (guint i = 0; i < bound; i++) {
        use.cell = placement->cells[i];
        use.amount = berth_place_part(ask->pages, i, bound);
        g_array_append_val(uses, use);
    }
    gint64 left = bound > 0 ? 0 : ask->pages;
    for (guint i = 0; left > 0 && i < ask->snapshot->n_stocks[placement->host]; i++) {
        if (stocks[i].kind == BERTH_STOCK_HUGEPAGE && stocks[i].key == ask->page_key) {
            use.cell = stocks[i].cell;
            use.amount = CLAMP(stocks[i].capacity - stocks[i].used, 0, left);
            left -= use.amount;
            g_array_append_val(uses, use);
        }
    }
    if (left > 0) {
        use.amount = left;
        g_array_append_val(uses, use);
    }
}

/* Dedicated CPUs are always of bound cells, in halves of two. */
static void
use_cpus(const BerthAsk *ask, const BerthPlacement *placement, GArray *uses)
{
    guint bound = placement->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    for (guint i = 0; i < bound; i++) {
        BerthStockUse use = {0, BERTH_STOCK_CPU, placement->cells[i], 0,
                             berth_place_part(ask->cpus, i, bound)};
        g_array_append_val(uses, use);
    }
}

static void
fill_stocks(BerthCharge *charge, const BerthAsk *ask, const BerthPlacement *placement)
{
    const BerthRequest *r = ask->request;
    if (r->n_disks + r->n_counts == 0 && ask->pages == 0 && ask->cpus == 0) {
        return;
    }
    GArray *uses = g_array_new(FALSE, FALSE, sizeof(BerthStockUse));
    for (guint i = 0; i < r->n_disks; i++) {
        BerthStockUse use = {ask->disks[i], BERTH_STOCK_POOL, BERTH_CELL_NONE, 0,
                             r->disks[i].amount};
        g_array_append_val(uses, use);
    }
    for (guint i = 0; i < r->n_counts; i++) {
        BerthStockUse use = {ask->counts[i], BERTH_STOCK_COUNT, BERTH_CELL_NONE, 0,
                             r->counts[i].amount};
        g_array_append_val(uses, use);
    }
    if (ask->pages > 0) {
        use_pages(ask, placement, uses);
    }
    if (ask->cpus > 0) {
        use_cpus(ask, placement, uses);
    }
    charge->n_stocks = uses->len;
    charge->stocks = (BerthStockUse *)(gpointer)g_array_free(uses, FALSE);
}

static void
fill_slots(BerthCharge *charge, const BerthAsk *ask, const BerthPlacement *placement)
{
    charge->n_slots = placement->n_devices;
    if (charge->n_slots == 0) {
        return;
    }
    charge->slots = g_new(BerthSlotUse, charge->n_slots);
    guint at = 0;
    for (guint need = 0; need < ask->request->n_devices; need++) {
        const BerthDeviceNeed *wanted = &ask->request->devices[need];
        for (guint k = 0; k < wanted->count && at < charge->n_slots; k++, at++) {
            charge->slots[at] = (BerthSlotUse){placement->devices[at], wanted->millis};
        }
    }
}

static void
fill_charge(BerthCharge *charge, BerthSnapshot *s, const BerthAsk *ask,
            const BerthPlacement *placement)
{
    const BerthRequest *r = ask->request;
    charge->uid = g_strdup(r->uid);
    charge->host = placement->host;
    charge->cpu_millis = ask->cpu_millis;
    charge->memory_mib = ask->memory_mib;
    charge->cells[0] = placement->cells[0];
    charge->cells[1] = placement->cells[1];
    guint parts = placement->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    charge->cell_cpu_millis = (charge->cpu_millis + parts - 1) / parts;
    charge->cell_memory_mib = (charge->memory_mib + parts - 1) / parts;
    charge->priority = r->priority;
    charge->preemptible = r->preemptible != FALSE;
    charge->fixed = r->fixed != FALSE;
    charge->group = ask->group;
    charge->project = ask->project;
    charge->image = ask->image;
    charge->n_labels = r->n_labels;
    charge->labels = r->n_labels == 0 ? NULL : g_new(BerthFact, r->n_labels);
    for (guint i = 0; i < r->n_labels; i++) {
        charge->labels[i] = (BerthFact){ask->label_keys[i], ask->label_values[i]};
    }
    berth_aparts_fill(charge, ask);
    fill_stocks(charge, ask, placement);
    fill_slots(charge, ask, placement);
}

/* Counts a charge that is filled in, or was detached. */
void
berth_snapshot_attach(BerthSnapshot *s, guint32 index)
{
    BerthCharge *charge = berth_charge(s, index);
    charge->attached = TRUE;
    link_host(s, index);
    link_group(s, index);
    berth_snapshot_take(s, charge, 1);
    take_share(s, charge, 1);
    berth_aparts_attach(s, index);
    if (charge->uid != NULL) {
        g_hash_table_insert(s->by_uid, charge->uid, GUINT_TO_POINTER(index + 1));
    }
    berth_snapshot_touch(s, charge->host);
}

/* Leaves a charge out of account until it is attached again, or released for good. */
void
berth_snapshot_detach(BerthSnapshot *s, guint32 index)
{
    BerthCharge *charge = berth_charge(s, index);
    charge->attached = FALSE;
    berth_snapshot_take(s, charge, -1);
    take_share(s, charge, -1);
    unlink_host(s, charge);
    unlink_group(s, charge);
    berth_aparts_detach(s, index);
    if (charge->uid != NULL) {
        g_hash_table_remove(s->by_uid, charge->uid);
    }
    berth_snapshot_touch(s, charge->host);
}

/**
 * berth_snapshot_charge:
 * @placement: from a decision on this state of the snapshot, or from a record of an earlier one
 *
 * Writes @request to the ledger of the host, whether or not there is room; its image comes there with it. A
 * uid that is charged already is moved. Cost: the size of the request.
 *
 * Returns: the charge, good until it is released
 */
guint32
berth_snapshot_charge(BerthSnapshot *s, const BerthRequest *request,
                      const BerthPlacement *placement)
{
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, request);
    return berth_snapshot_charge_asked(s, &ask, placement);
}

/* As berth_snapshot_charge, for a request that was read already. */
guint32
berth_snapshot_charge_asked(BerthSnapshot *s, const BerthAsk *ask, const BerthPlacement *placement)
{
    g_return_val_if_fail(berth_snapshot_host_exists(s, placement->host), BERTH_CHARGE_NONE);
    const char *uid = ask->request->uid;
    gboolean moved = uid != NULL && berth_snapshot_release(s, uid);
    if (!moved) {
        berth_mix_observe(s->mix, ask);
    }
    guint32 index = new_charge(s);
    fill_charge(berth_charge(s, index), s, ask, placement);
    berth_snapshot_attach(s, index);
    berth_charge(s, index)->brought =
        berth_snapshot_note_image(s, placement->host, ask->image, TRUE);
    return index;
}

/**
 * berth_snapshot_observe:
 *
 * Tells the mix of an arrival that was not placed; charging tells it of those that were. Once a
 * workload, not once a try.
 */
void
berth_snapshot_observe(BerthSnapshot *s, const BerthRequest *request)
{
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, request);
    berth_mix_observe(s->mix, &ask);
}

/**
 * berth_snapshot_stop_learning:
 *
 * The mix stays what it is; for baselines that are told it beforehand.
 */
void
berth_snapshot_stop_learning(BerthSnapshot *s)
{
    berth_mix_freeze(s->mix);
}

/* Cells and slots for a workload that is there already: as the rules would, else by force. */
static void
force_placement(const BerthAsk *ask, BerthPlacement *placement)
{
    BerthCellPair pairs[BERTH_PLACE_CELLS_MAX];
    BerthDeviceSet sets[BERTH_PLACE_DEVICES_MAX];
    guint32 host = placement->host;
    guint cells = ask->snapshot->n_cells[host];
    if (berth_place_cells(ask, host, pairs) > 0) {
        memcpy(placement->cells, pairs[0].cells, 2);
    } else {
        placement->cells[0] = 0;
        placement->cells[1] =
            ask->request->numa == BERTH_NUMA_TWO && cells > 1 ? 1 : BERTH_CELL_NONE;
    }
    guint n = berth_place_device_count(ask);
    if (n > 0 && berth_place_devices(ask, host, sets) > 0) {
        placement->n_devices = n;
        memcpy(placement->devices, sets[0].slots, n);
    }
}

/**
 * berth_snapshot_charge_on:
 * @host: where the workload runs already
 *
 * As berth_snapshot_charge, for what was found running: foreign domains, or records without cells
 * and devices. It is charged even when there is no room.
 */
guint32
berth_snapshot_charge_on(BerthSnapshot *s, const BerthRequest *request, guint32 host)
{
    g_return_val_if_fail(berth_snapshot_host_exists(s, host), BERTH_CHARGE_NONE);
    BerthPlacement placement = {.host = host, .cells = {BERTH_CELL_NONE, BERTH_CELL_NONE}};
    if (request->uid != NULL) {
        berth_snapshot_release(s, request->uid);
    }
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, request);
    force_placement(&ask, &placement);
    return berth_snapshot_charge(s, request, &placement);
}

/**
 * berth_snapshot_adopt:
 * @charge: (transfer full): filled in, with a uid; what it points to is the snapshot's then
 *
 * Charges it as it is; a uid that is charged already is moved.
 */
void
berth_snapshot_adopt(BerthSnapshot *s, const BerthCharge *charge)
{
    berth_snapshot_release(s, charge->uid);
    guint32 index = new_charge(s);
    *berth_charge(s, index) = *charge;
    berth_snapshot_attach(s, index);
}

/**
 * berth_snapshot_release_charge:
 * @charge: from berth_snapshot_charge; not good afterwards
 */
void
berth_snapshot_release_charge(BerthSnapshot *s, guint32 index)
{
    g_return_if_fail(index < s->charges->len);
    BerthCharge *charge = berth_charge(s, index);
    berth_snapshot_detach(s, index);
    g_free(charge->uid);
    g_free(charge->stocks);
    g_free(charge->slots);
    g_free(charge->labels);
    g_free(charge->aparts);
    memset(charge, 0, sizeof(*charge));
    charge->host = BERTH_HOST_NONE;
    g_array_append_val(s->free_charges, index);
}

/* As berth_snapshot_release_charge(), of one that never came, so that its image didn't either. The latest goes first. */
void
berth_snapshot_withdraw_charge(BerthSnapshot *s, guint32 index)
{
    const BerthCharge *charge = berth_charge(s, index);
    if (charge->brought) {
        berth_snapshot_note_image(s, charge->host, charge->image, FALSE);
    }
    berth_snapshot_release_charge(s, index);
}

/**
 * berth_snapshot_set_rank:
 * @priority, @preemptible: as of now; what is charged stays
 *
 * Nothing when @uid is not charged.
 */
void
berth_snapshot_set_rank(BerthSnapshot *s, const char *uid, gint priority, gboolean preemptible)
{
    guint32 index = berth_snapshot_find_charge(s, uid);
    if (index != BERTH_CHARGE_NONE) {
        berth_charge(s, index)->priority = priority;
        berth_charge(s, index)->preemptible = preemptible != FALSE;
    }
}

/**
 * berth_snapshot_release:
 *
 * Returns: whether @uid was charged
 */
gboolean
berth_snapshot_release(BerthSnapshot *s, const char *uid)
{
    guint32 charge = berth_snapshot_find_charge(s, uid);
    if (charge == BERTH_CHARGE_NONE) {
        return FALSE;
    }
    berth_snapshot_release_charge(s, charge);
    return TRUE;
}

/**
 * berth_snapshot_find_charge:
 *
 * Returns: the charge of the workload, or BERTH_CHARGE_NONE
 */
guint32
berth_snapshot_find_charge(const BerthSnapshot *s, const char *uid)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(s->by_uid, uid)) - 1;
}

/** Returns: (nullable): uid of the workload that @charge is of; borrowed. */
const char *
berth_snapshot_charge_uid(const BerthSnapshot *s, guint32 charge)
{
    g_return_val_if_fail(charge < s->charges->len, NULL);
    return berth_charge(s, charge)->uid;
}

guint32
berth_snapshot_charge_host(const BerthSnapshot *s, guint32 charge)
{
    g_return_val_if_fail(charge < s->charges->len, BERTH_HOST_NONE);
    return berth_charge(s, charge)->host;
}
