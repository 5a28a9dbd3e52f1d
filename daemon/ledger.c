/* Objects become requests and hosts of the scheduler here, and decisions become names again.
 *
 * Invariant: what is charged to a host is what its records say: workloads by uid with their overhead,
 * foreign domains by "foreign/<host>/<uuid>". Nothing else calls the scheduler's ledger. */
#include "daemon/ledger.h"

#include "base/error.h"
#include "sched/explain.h"

#include <string.h>

#define RELATIONS_MAX 64

struct BerthFleetLedger {
    BerthSnapshot *snapshot;
    gint64 overcommit_cpu_percent, overcommit_memory_percent;
    BerthCapacity reserve;
    gint64 pod_overhead_mib, vm_overhead_mib;
    GHashTable *capacities; /* host -> BerthCapacity*, for display */
};

/** Returns: (transfer full): a ledger without hosts. */
BerthFleetLedger *
berth_ledger_new(void)
{
    BerthFleetLedger *ledger = g_new0(BerthFleetLedger, 1);
    ledger->snapshot = berth_snapshot_new();
    ledger->capacities = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return ledger;
}

void
berth_ledger_free(BerthFleetLedger *ledger)
{
    berth_snapshot_free(ledger->snapshot);
    g_hash_table_destroy(ledger->capacities);
    g_free(ledger);
}

/** Takes over-commit, reserves and overheads; hosts that are put afterwards follow them. */
void
berth_ledger_set_settings(BerthFleetLedger *ledger, const BerthSettingsSpec *settings)
{
    ledger->overcommit_cpu_percent = settings->overcommit_cpu_percent;
    ledger->overcommit_memory_percent = settings->overcommit_memory_percent;
    ledger->reserve = settings->host_reserve;
    ledger->pod_overhead_mib = settings->pod_overhead_mib;
    ledger->vm_overhead_mib = settings->vm_overhead_mib;
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static GArray *
read_labels(const json_t *labels)
{
    GArray *array = g_array_new(FALSE, FALSE, sizeof(BerthLabel));
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)labels, key, value) {
        BerthLabel label = {key, json_string_value(value)};
        g_array_append_val(array, label);
    }
    return array;
}

static GPtrArray *
read_names(const json_t *list)
{
    GPtrArray *names = g_ptr_array_new();
    size_t i;
    json_t *entry;
    json_array_foreach (list, i, entry) {
        const char *name = json_is_string(entry)
                               ? json_string_value(entry)
                               : json_string_value(json_object_get(entry, "name"));
        if (name != NULL) {
            g_ptr_array_add(names, (gpointer)name);
        }
    }
    return names;
}

static gint64
json_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static gint64
bounded(gint64 has, gint64 limit)
{
    return limit > 0 ? MIN(has, limit) : has;
}

static GArray *
read_taints(const BerthHostSpec *spec)
{
    GArray *taints = g_array_new(FALSE, FALSE, sizeof(BerthTaint));
    for (guint i = 0; spec->taints != NULL && i < spec->taints->len; i++) {
        const BerthTaintSpec *given = spec->taints->pdata[i];
        BerthTaint taint = {given->key, given->value, BERTH_TAINT_REFUSE};
        g_array_append_val(taints, taint);
    }
    return taints;
}

static gint64
free_pool_mib(const json_t *inventory, const BerthHostSpec *spec)
{
    gint64 disk_mib = json_int(inventory, "pool_mib");
    return MAX(0, bounded(disk_mib, spec->limit.disk_mib) - spec->reserve.disk_mib);
}

/**
 * berth_ledger_put_host:
 * @host: a Host whose status has an inventory
 * @ready: whether it may get workloads now
 *
 * Makes the scheduler see @host as its spec and inventory say; what is charged to it stays.
 */
gboolean
berth_ledger_put_host(BerthFleetLedger *ledger, const BerthObject *object, gboolean ready,
                      GError **error)
{
    const BerthHostSpec *spec = object->spec_data;
    const BerthHostStatus *status = object->status_data;
    const json_t *inventory = status->inventory;
    gint64 vcpus = bounded(json_int(inventory, "cpus"), spec->limit.vcpus);
    gint64 memory_mib = bounded(json_int(inventory, "memory_mib"), spec->limit.memory_mib);
    gint64 reserve_vcpus = MAX(spec->reserve.vcpus, ledger->reserve.vcpus);
    gint64 reserve_mib = MAX(spec->reserve.memory_mib, ledger->reserve.memory_mib);
    g_autoptr(GArray) labels = read_labels(object->labels);
    g_autoptr(GArray) taints = read_taints(spec);
    g_autoptr(GPtrArray) networks = read_names(json_object_get(inventory, "networks"));
    g_autoptr(GPtrArray) machines = read_names(json_object_get(inventory, "machine_types"));
    BerthAmount pool = {"berth", free_pool_mib(inventory, spec)};
    BerthHost host = {
        .name = object->name,
        .cpu_millis = vcpus * 1000,
        .cpu_reserve_millis = MIN(reserve_vcpus, vcpus) * 1000,
        .cpu_overcommit_pct =
            (guint)(spec->overcommit_cpu_percent > 0 ? spec->overcommit_cpu_percent
                                                     : ledger->overcommit_cpu_percent),
        .memory_mib = memory_mib,
        .memory_reserve_mib = MIN(reserve_mib, memory_mib),
        .memory_overcommit_pct =
            (guint)(spec->overcommit_memory_percent > 0 ? spec->overcommit_memory_percent
                                                        : ledger->overcommit_memory_percent),
        .pools = &pool,
        .n_pools = 1,
        .arch = json_string_value(json_object_get(inventory, "arch")),
        .machines = (const char *const *)machines->pdata,
        .n_machines = machines->len,
        .networks = (const char *const *)networks->pdata,
        .n_networks = networks->len,
        .labels = (const BerthLabel *)labels->data,
        .n_labels = labels->len,
        .zone = spec->zone,
        .rack = spec->rack,
        .taints = (const BerthTaint *)taints->data,
        .n_taints = taints->len,
        .state = (ready ? BERTH_HOST_READY : 0) | (spec->cordoned ? BERTH_HOST_CORDONED : 0),
    };
    BerthCapacity capacity = {0};
    capacity.disk_mib = pool.amount;
    g_hash_table_replace(ledger->capacities, g_strdup(object->name),
                         g_memdup2(&capacity, sizeof capacity));
    guint32 index;
    return berth_snapshot_put_host(ledger->snapshot, &host, &index, error);
}

static guint32
find_host(BerthFleetLedger *ledger, const char *name)
{
    return berth_snapshot_find_host(ledger->snapshot, name);
}

/** Takes the host @name out; charges on it must have been released. */
void
berth_ledger_remove_host(BerthFleetLedger *ledger, const char *name)
{
    guint32 index = find_host(ledger, name);
    g_autoptr(GError) error = NULL;
    if (index != BERTH_HOST_NONE && !berth_snapshot_remove_host(ledger->snapshot, index, &error)) {
        berth_snapshot_set_state(ledger->snapshot, index, 0);
    }
}

/* ---- workloads ------------------------------------------------------------------------------- */

/* A request and the arrays it points to; strings are borrowed from the object. */
typedef struct {
    BerthRequest request;
    BerthAmount disk;
    GArray *labels, *tolerations, *selectors, *relations;
    GPtrArray *values, *owned;
    BerthSpread spread;
} Ask;

static void
clear_ask(Ask *ask)
{
    g_array_unref(ask->labels);
    g_array_unref(ask->tolerations);
    g_array_unref(ask->selectors);
    g_array_unref(ask->relations);
    g_ptr_array_unref(ask->values);
    g_ptr_array_unref(ask->owned);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Ask, clear_ask)

/* How a relation names one workload: its own label under a key that users cannot write. */
#define NAME_LABEL "berth:name"

static void
add_relations(Ask *ask, const BerthObject *object, char **names, BerthRelationKind kind)
{
    for (guint i = 0; names != NULL && names[i] != NULL; i++) {
        BerthRelation relation = {.kind = kind, .scope = BERTH_SCOPE_HOST};
        if (g_str_has_prefix(names[i], "group=")) {
            relation.group = names[i] + strlen("group=");
        } else {
            char *name = g_strdup_printf("%s/%s", object->project, names[i]);
            g_ptr_array_add(ask->owned, name);
            relation.label = (BerthLabel){NAME_LABEL, name};
        }
        g_array_append_val(ask->relations, relation);
    }
}

static void
add_selectors(Ask *ask, const json_t *host_labels)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)host_labels, key, value) {
        const char **values = g_new0(const char *, 1);
        values[0] = json_string_value(value);
        g_ptr_array_add(ask->owned, values);
        BerthExpression expression = {
            .key = key, .operator= BERTH_OPERATOR_IN, .values = values, .n_values = 1};
        g_array_append_val(ask->selectors, expression);
    }
}

static void
add_spread(Ask *ask, const BerthPlacementSpec *placement)
{
    if (placement->spread == NULL || placement->group == NULL) {
        return;
    }
    BerthScope scope = g_str_equal(placement->spread, "rack")   ? BERTH_SCOPE_RACK
                       : g_str_equal(placement->spread, "zone") ? BERTH_SCOPE_ZONE
                                                                : BERTH_SCOPE_HOST;
    ask->spread = (BerthSpread){.scope = scope, .group = placement->group, .max_skew = 1};
    ask->request.spreads = &ask->spread;
    ask->request.n_spreads = 1;
}

static void
add_tolerations(Ask *ask, const BerthPlacementSpec *placement)
{
    for (guint i = 0; placement->tolerations != NULL && i < placement->tolerations->len; i++) {
        const BerthTolerationSpec *given = placement->tolerations->pdata[i];
        BerthToleration toleration = {given->key, given->value};
        g_array_append_val(ask->tolerations, toleration);
    }
}

static gint64
overhead_mib(const BerthFleetLedger *ledger, const BerthObject *object)
{
    return object->kind == &berth_kind_vm ? ledger->vm_overhead_mib : ledger->pod_overhead_mib;
}

static void
fill_ask(BerthFleetLedger *ledger, const BerthObject *object, gint64 disk_mib, const char *image,
         Ask *ask)
{
    const BerthWorkload *workload = berth_workload_of(object);
    const BerthPlacementSpec *placement = &workload->placement;
    ask->labels = read_labels(object->labels);
    ask->tolerations = g_array_new(FALSE, FALSE, sizeof(BerthToleration));
    ask->selectors = g_array_new(FALSE, FALSE, sizeof(BerthExpression));
    ask->relations = g_array_new(FALSE, FALSE, sizeof(BerthRelation));
    ask->values = g_ptr_array_new();
    ask->owned = g_ptr_array_new_with_free_func(g_free);
    char *name = g_strdup_printf("%s/%s", object->project, object->name);
    g_ptr_array_add(ask->owned, name);
    BerthLabel name_label = {NAME_LABEL, name};
    g_array_append_val(ask->labels, name_label);
    add_relations(ask, object, placement->affinity, BERTH_RELATION_TOGETHER);
    add_relations(ask, object, placement->anti_affinity, BERTH_RELATION_APART);
    add_selectors(ask, placement->host_labels);
    add_tolerations(ask, placement);
    add_spread(ask, placement);
    ask->disk = (BerthAmount){"berth", disk_mib};
    BerthRequest *request = &ask->request;
    request->uid = object->uid;
    request->project = object->project;
    request->group = placement->group;
    request->cpu_millis = workload->vcpus * 1000;
    request->memory_mib = workload->memory_mib;
    request->overhead_mib = overhead_mib(ledger, object);
    request->disks = &ask->disk;
    request->n_disks = disk_mib > 0;
    request->host = placement->host;
    request->labels = (const BerthLabel *)ask->labels->data;
    request->n_labels = ask->labels->len;
    request->selectors = (const BerthExpression *)ask->selectors->data;
    request->n_selectors = ask->selectors->len;
    request->relations = (const BerthRelation *)ask->relations->data;
    request->n_relations = ask->relations->len;
    request->tolerations = (const BerthToleration *)ask->tolerations->data;
    request->n_tolerations = ask->tolerations->len;
    request->priority = (gint)workload->priority;
    request->image = image;
}

/** Returns: MiB that @workload is charged with: guest memory and overhead. */
gint64
berth_ledger_memory_mib(const BerthFleetLedger *ledger, const BerthObject *workload)
{
    return berth_workload_of(workload)->memory_mib + overhead_mib(ledger, workload);
}

/* What somebody reads who asked for a workload that fits nowhere. */
static void
set_refusal(BerthFleetLedger *ledger, Ask *ask, json_t **why, GError **error)
{
    g_autoptr(BerthExplanation) explanation =
        berth_explain(ledger->snapshot, &ask->request, berth_policy_default());
    g_autofree char *summary = berth_explanation_summary(ledger->snapshot, explanation);
    *why = berth_explain_to_json(ledger->snapshot, explanation);
    berth_error_set_at(error, BERTH_ERROR_EXHAUSTED, NULL,
                       "see 'berth why NAME', or 'berth host list' for what is free", "%s",
                       summary);
}

/**
 * berth_ledger_place:
 * @workload: not charged yet
 * @disk_mib: local disk it needs
 * @image: (nullable): digest of its image: hosts that have it are preferred
 * @only_host: (nullable): where its disks are: no other host is looked at
 * @host: (out) (transfer full): name of the chosen host
 * @why: (out) (transfer full): the decision's reasons as JSON, on success and on refusal
 *
 * Chooses a host and charges it. Errors: EXHAUSTED with what is short by how much.
 */
gboolean
berth_ledger_place(BerthFleetLedger *ledger, const BerthObject *workload, gint64 disk_mib,
                   const char *image, const char *only_host, char **host, json_t **why,
                   GError **error)
{
    g_auto(Ask) ask = {0};
    BerthDecision decision = {0};
    guint32 charge;
    fill_ask(ledger, workload, disk_mib, image, &ask);
    if (only_host != NULL) {
        ask.request.host = only_host;
    }
    berth_snapshot_release(ledger->snapshot, workload->uid);
    if (!berth_pick_and_charge(ledger->snapshot, &ask.request, berth_policy_default(), &decision,
                               &charge) ||
        !decision.placed) {
        set_refusal(ledger, &ask, why, error);
        return FALSE;
    }
    const char *name = berth_snapshot_host_name(ledger->snapshot, decision.placement.host);
    *host = g_strdup(name);
    *why = json_pack("{s:s, s:i}", "host", name, "score", (int)decision.score);
    return TRUE;
}

/** Charges @workload to @host, where its record says it is; a charge elsewhere is released. */
void
berth_ledger_charge(BerthFleetLedger *ledger, const BerthObject *workload, gint64 disk_mib,
                    const char *host)
{
    g_auto(Ask) ask = {0};
    guint32 index = find_host(ledger, host);
    fill_ask(ledger, workload, disk_mib, NULL, &ask);
    berth_snapshot_release(ledger->snapshot, workload->uid);
    if (index != BERTH_HOST_NONE) {
        berth_snapshot_charge_on(ledger->snapshot, &ask.request, index);
    }
}

/** Charges a domain that Berth did not make by its maximum vCPUs and memory. */
void
berth_ledger_charge_foreign(BerthFleetLedger *ledger, const char *host, const char *uuid,
                            guint vcpus, gint64 memory_mib)
{
    g_autofree char *uid = g_strdup_printf("foreign/%s/%s", host, uuid);
    guint32 index = find_host(ledger, host);
    berth_snapshot_release(ledger->snapshot, uid);
    if (index != BERTH_HOST_NONE) {
        BerthRequest request = {
            .uid = uid, .cpu_millis = (gint64)vcpus * 1000, .memory_mib = memory_mib};
        berth_snapshot_charge_on(ledger->snapshot, &request, index);
    }
}

/** Returns: whether @uid was charged anywhere; it isn't any more. */
gboolean
berth_ledger_release(BerthFleetLedger *ledger, const char *uid)
{
    return berth_snapshot_release(ledger->snapshot, uid);
}

/** Returns: (nullable): the host that @uid is charged to, borrowed. */
const char *
berth_ledger_host_of(BerthFleetLedger *ledger, const char *uid)
{
    guint32 charge = berth_snapshot_find_charge(ledger->snapshot, uid);
    if (charge == BERTH_CHARGE_NONE) {
        return NULL;
    }
    return berth_snapshot_host_name(ledger->snapshot,
                                    berth_snapshot_charge_host(ledger->snapshot, charge));
}

/** Returns: (transfer full): why @workload would be put where, or what it lacks, now. */
json_t *
berth_ledger_explain(BerthFleetLedger *ledger, const BerthObject *workload, gint64 disk_mib,
                     const char *image)
{
    g_auto(Ask) ask = {0};
    fill_ask(ledger, workload, disk_mib, image, &ask);
    g_autoptr(BerthExplanation) explanation =
        berth_explain(ledger->snapshot, &ask.request, berth_policy_default());
    return berth_explain_to_json(ledger->snapshot, explanation);
}

/**
 * berth_ledger_usage:
 * @capacity, @used: (out): vCPUs and MiB after reserve, limit and over-commit
 *
 * Returns: FALSE when @host is not known to the scheduler.
 */
gboolean
berth_ledger_usage(BerthFleetLedger *ledger, const char *host, BerthCapacity *capacity,
                   BerthCapacity *used)
{
    guint32 index = find_host(ledger, host);
    if (index == BERTH_HOST_NONE) {
        return FALSE;
    }
    BerthUsage usage;
    berth_snapshot_host_usage(ledger->snapshot, index, &usage);
    const BerthCapacity *disk = g_hash_table_lookup(ledger->capacities, host);
    *capacity = (BerthCapacity){usage.cpu_millis / 1000, usage.memory_mib,
                                disk != NULL ? disk->disk_mib : 0};
    *used = (BerthCapacity){usage.cpu_used_millis / 1000, usage.memory_used_mib, 0};
    return TRUE;
}
