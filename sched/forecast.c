/* Trying things out: a copy of the snapshot is changed and asked with the very code that places, so a
 * plan and the apply that follows give the same hosts. */
#include "sched/forecast.h"

#include <math.h>

#include "sched/apart.h"
#include "sched/fleet.h"
#include "sched/mix.h"
#include "sched/reserved.h"
#include "sched/spare.h"

#define COPY_COLUMN(to, from, column)                                                              \
    to->column = g_memdup2(from->column, sizeof(*from->column) * from->room)

static void
copy_runs(BerthRuns *to, const BerthRuns *from)
{
    to->items = g_array_copy(from->items);
    to->holes = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_array_unref);
    GHashTableIter iter;
    gpointer length, holes;
    g_hash_table_iter_init(&iter, from->holes);
    while (g_hash_table_iter_next(&iter, &length, &holes)) {
        g_hash_table_insert(to->holes, length, g_array_copy(holes));
    }
}

static void
copy_symbols(BerthSymbols *to, const BerthSymbols *from)
{
    berth_symbols_init(to);
    for (guint i = 1; i < from->names->len; i++) {
        berth_symbols_intern(to, g_ptr_array_index(from->names, i));
    }
}

static BerthProfile *
copy_profile(const BerthProfile *from)
{
    BerthProfile *to = g_memdup2(from, sizeof(*from));
    guint words = from->n_models + from->n_features + from->n_machines + from->n_networks +
                  2 * from->n_labels + 3 * from->n_taints + 1;
    to->key = g_bytes_ref(from->key);
    to->models = g_memdup2(from->models, words * sizeof(guint32));
    to->features = to->models + to->n_models;
    to->machines = to->features + to->n_features;
    to->networks = to->machines + to->n_machines;
    to->labels = (BerthFact *)(to->networks + to->n_networks);
    to->taints = g_memdup2(from->taints, sizeof(BerthFact) * (from->n_taints + 1));
    to->taint_effects = g_memdup2(from->taint_effects, from->n_taints + 1);
    return to;
}

static void
copy_charges(BerthSnapshot *to, const BerthSnapshot *from)
{
    to->charges = g_array_copy(from->charges);
    to->free_charges = g_array_copy(from->free_charges);
    to->by_uid = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < to->charges->len; i++) {
        BerthCharge *charge = berth_charge(to, i);
        charge->uid = g_strdup(charge->uid);
        charge->stocks = g_memdup2(charge->stocks, sizeof(BerthStockUse) * charge->n_stocks);
        charge->slots = g_memdup2(charge->slots, sizeof(BerthSlotUse) * charge->n_slots);
        charge->labels = g_memdup2(charge->labels, sizeof(BerthFact) * charge->n_labels);
        charge->aparts = g_memdup2(charge->aparts, sizeof(BerthApart) * charge->n_aparts);
        if (charge->uid != NULL) {
            g_hash_table_insert(to->by_uid, charge->uid, GUINT_TO_POINTER(i + 1));
        }
    }
}

static GHashTable *
copy_table(GHashTable *from, gsize size, gboolean owned)
{
    GHashTable *to = g_hash_table_new_full(NULL, NULL, NULL, owned ? g_free : NULL);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, from);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        g_hash_table_insert(to, key, owned ? g_memdup2(value, size) : value);
    }
    return to;
}

static void
copy_columns(BerthSnapshot *to, const BerthSnapshot *from)
{
    COPY_COLUMN(to, from, name);
    COPY_COLUMN(to, from, state);
    COPY_COLUMN(to, from, profile);
    COPY_COLUMN(to, from, zone);
    COPY_COLUMN(to, from, rack);
    COPY_COLUMN(to, from, cpu_cap);
    COPY_COLUMN(to, from, cpu_free);
    COPY_COLUMN(to, from, mem_cap);
    COPY_COLUMN(to, from, mem_free);
    COPY_COLUMN(to, from, charge_head);
    COPY_COLUMN(to, from, charge_count);
    COPY_COLUMN(to, from, cell_first);
    COPY_COLUMN(to, from, stock_first);
    COPY_COLUMN(to, from, slot_first);
    COPY_COLUMN(to, from, n_cells);
    COPY_COLUMN(to, from, n_stocks);
    COPY_COLUMN(to, from, n_slots);
    COPY_COLUMN(to, from, images);
    COPY_COLUMN(to, from, worth);
    for (guint32 h = 0; h < from->end; h++) {
        to->worth[h].bound = NAN;
        if (from->images[h] != NULL) {
            to->images[h] =
                g_memdup2(from->images[h], sizeof(BerthSymbol) * (from->images[h][0] + 1));
        }
    }
}

/**
 * berth_snapshot_copy:
 *
 * Returns: (transfer full): a snapshot that decides as this one does; cost: its size
 */
BerthSnapshot *
berth_snapshot_copy(const BerthSnapshot *from)
{
    BerthSnapshot *to = g_memdup2(from, sizeof(*from));
    copy_symbols(&to->symbols, &from->symbols);
    to->by_name = copy_table(from->by_name, 0, FALSE);
    to->free_hosts = g_array_copy(from->free_hosts);
    copy_columns(to, from);
    copy_runs(&to->cells, &from->cells);
    copy_runs(&to->stocks, &from->stocks);
    copy_runs(&to->slots, &from->slots);
    to->profiles = g_ptr_array_new();
    to->profile_ids = g_hash_table_new(g_bytes_hash, g_bytes_equal);
    for (guint i = 0; i < from->profiles->len; i++) {
        const BerthProfile *profile = g_ptr_array_index(from->profiles, i);
        BerthProfile *copy = profile == NULL ? NULL : copy_profile(profile);
        g_ptr_array_add(to->profiles, copy);
        if (copy != NULL) {
            g_hash_table_insert(to->profile_ids, copy->key, GUINT_TO_POINTER(i + 1));
        }
    }
    copy_charges(to, from);
    to->groups = copy_table(from->groups, sizeof(BerthGroup), TRUE);
    to->shares = copy_table(from->shares, sizeof(BerthShare), TRUE);
    to->mix = berth_mix_copy(from->mix);
    to->aparts = berth_aparts_copy(from->aparts);
    to->index = NULL;
    to->spare = from->spare != NULL ? berth_spare_new() : NULL;
    to->reserved = berth_reserved_copy(from->reserved);
    return to;
}

/**
 * berth_forecast_add_like:
 * @name: of the new host; NULL = one that nobody else can have
 *
 * Adds an empty, schedulable host with the capacity and facts of @host.
 *
 * Returns: its index
 */
guint32
berth_forecast_add_like(BerthSnapshot *s, guint32 host, const char *name)
{
    char made[32];
    g_snprintf(made, sizeof(made), "\001like-%u", s->end);
    BerthHost empty = {.name = name != NULL ? name : made, .state = BERTH_HOST_READY};
    guint32 twin = BERTH_HOST_NONE;
    berth_snapshot_put_host(s, &empty, &twin, NULL);
    g_return_val_if_fail(twin != BERTH_HOST_NONE, BERTH_HOST_NONE);
    berth_snapshot_become_like(s, twin, host);
    return twin;
}

/**
 * berth_forecast_fill:
 * @snapshot: a copy; full of the like of @request afterwards
 * @limit: stop there
 * @per_host: (out) (optional): how many went to each host; as long as there are hosts
 *
 * Returns: how many were placed, one after the other
 */
guint
berth_forecast_fill(BerthSnapshot *snapshot, const BerthRequest *request, const BerthPolicy *policy,
                    guint limit, guint *per_host)
{
    BerthRequest anonymous = *request;
    BerthDecision decision;
    guint n = 0;
    anonymous.uid = NULL;
    while (n < limit && berth_pick_and_charge(snapshot, &anonymous, policy, &decision, NULL)) {
        n++;
        if (per_host != NULL) {
            per_host[decision.placement.host]++;
        }
    }
    return n;
}

/**
 * berth_capacity_like:
 * @limit: stop counting there
 *
 * Returns: how many more workloads like @request would be placed, one after the other
 */
guint
berth_capacity_like(const BerthSnapshot *snapshot, const BerthRequest *request,
                    const BerthPolicy *policy, guint limit)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(snapshot);
    return berth_forecast_fill(copy, request, policy, limit, NULL);
}

/** Takes @host away, with all that is charged to it. */
void
berth_forecast_lose(BerthSnapshot *s, guint32 host)
{
    while (s->charge_head[host] != BERTH_CHARGE_NONE) {
        berth_snapshot_release_charge(s, s->charge_head[host]);
    }
    berth_snapshot_remove_host(s, host, NULL);
}

/**
 * berth_forecast:
 * @change: (nullable): what is assumed to be different
 * @decisions: (out) (array length=n_requests): where each request would go, in order
 *
 * Plays the requests on a copy. An apply of the same requests in the same order on the same fleet
 * puts them on the same hosts.
 *
 * Returns: (transfer full): the fleet as it would be then
 */
BerthSnapshot *
berth_forecast(const BerthSnapshot *snapshot, const BerthChange *change, BerthDecision *decisions,
               const BerthRequest *requests, guint n_requests, const BerthPolicy *policy)
{
    BerthSnapshot *copy = berth_snapshot_copy(snapshot);
    for (guint i = 0; change != NULL && i < change->n_add_like; i++) {
        g_autofree char *name = g_strdup_printf(
            "like-%s-%u", berth_snapshot_host_name(copy, change->add_like[i]), i + 1);
        berth_forecast_add_like(copy, change->add_like[i], name);
    }
    for (guint i = 0; change != NULL && i < change->n_without; i++) {
        berth_forecast_lose(copy, change->without[i]);
    }
    for (guint i = 0; i < n_requests; i++) {
        berth_pick_and_charge(copy, &requests[i], policy, &decisions[i], NULL);
    }
    return copy;
}
