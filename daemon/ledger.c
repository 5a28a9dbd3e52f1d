/* Objects become requests and hosts of the scheduler here, and decisions become names again.
 *
 * Invariant: what is charged to a host is what its records say: workloads by uid with their overhead,
 * foreign domains by "foreign/<host>/<uuid>". Nothing else calls the scheduler's ledger. */
#include "daemon/ledger-private.h"

#include "base/error.h"
#include "base/json.h"
#include "sched/explain.h"
#include "sched/fleet-json.h"

/* On larger fleets a placement's reasons are not worked out for the record; ":why" says them. */
#define EXPLAINED_HOSTS_MAX 4096
/* So many hosts' refusals are recorded with a workload; of more only the groups. */
#define RECORDED_HOSTS_MAX 16

/* Two tries of one workload are so far apart at least, and at most. */
#define BACKOFF_MIN_US (100 * 1000)
#define BACKOFF_MAX_US (5 * G_USEC_PER_SEC)

/**
 * berth_ledger_new:
 * @clock: borrowed; outlives the ledger
 *
 * Returns: (transfer full): a ledger without hosts.
 */
BerthFleetLedger *
berth_ledger_new(BerthClock *clock)
{
    BerthFleetLedger *ledger = g_new0(BerthFleetLedger, 1);
    ledger->clock = clock;
    ledger->waiting = berth_waiting_new(BACKOFF_MIN_US, BACKOFF_MAX_US);
    ledger->snapshot = berth_snapshot_new();
    ledger->book = ledger_book_new();
    ledger->cpus = ledger_cpus_new();
    ledger->devices = ledger_devices_new();
    ledger->reserved = ledger_reservations_new();
    ledger->held = ledger_holds_new();
    return ledger;
}

void
berth_ledger_free(BerthFleetLedger *ledger)
{
    berth_snapshot_free(ledger->snapshot);
    ledger_book_free(ledger->book);
    ledger_cpus_free(ledger->cpus);
    ledger_devices_free(ledger->devices);
    g_hash_table_destroy(ledger->reserved);
    g_hash_table_unref(ledger->held);
    berth_waiting_free(ledger->waiting);
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
    berth_snapshot_set_survivable(ledger->snapshot, settings->survive_host_loss);
    ledger_wake(ledger, BERTH_WAKE_ALL);
}

/* ---- hosts ----------------------------------------------------------------------------------- */

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
        BerthTaint taint = {given->key, given->value,
                            g_str_equal(given->effect, "PreferNoSchedule") ? BERTH_TAINT_AVOID
                                                                           : BERTH_TAINT_REFUSE};
        g_array_append_val(taints, taint);
    }
    return taints;
}

/* What the host's own spec says wins over Settings, also when it is less. */
static BerthCapacity
reserve_of(const BerthFleetLedger *ledger, const BerthObject *host)
{
    const json_t *given = json_object_get(host->spec, "reserve");
    BerthCapacity reserve = ((const BerthHostSpec *)host->spec_data)->reserve;
    if (json_object_get(given, "vcpus") == NULL) {
        reserve.vcpus = ledger->reserve.vcpus;
    }
    if (json_object_get(given, "memory_mib") == NULL) {
        reserve.memory_mib = ledger->reserve.memory_mib;
    }
    if (json_object_get(given, "disk_mib") == NULL) {
        reserve.disk_mib = ledger->reserve.disk_mib;
    }
    return reserve;
}

static gint64
free_pool_mib(const json_t *inventory, const BerthHostSpec *spec, gint64 reserve_mib)
{
    return MAX(0, bounded(json_int(inventory, "pool_mib"), spec->limit.disk_mib) - reserve_mib);
}

static gint64
count_dedicated(const BerthFleetLedger *ledger, const char *host)
{
    gint64 count = 0;
    for (guint cell = 0; cell < BERTH_CELLS_MAX; cell++) {
        count += ledger_cpus_count(ledger->cpus, host, cell);
    }
    return count;
}

static gint64
part_of(gint64 whole, gint64 part, gint64 total)
{
    return total <= 0 ? 0 : whole * part / total;
}

/* The NUMA cells as the inventory lists them, each with its part of what may be used of the host; huge pages that
 * nobody set aside are none. More cells than can be counted are one. @vcpus: those that are shared. @pages: gets
 * what they point to. */
static GArray *
read_cells(const BerthFleetLedger *ledger, const BerthObject *host, const json_t *inventory,
           gint64 vcpus, gint64 memory_mib, GPtrArray *pages)
{
    GArray *cells = g_array_new(FALSE, TRUE, sizeof(BerthHostCell));
    const json_t *list = json_object_get(inventory, "cells");
    gint64 shared = json_int(inventory, "cpus") - count_dedicated(ledger, host->name);
    size_t i, k;
    json_t *cell, *kind;
    if (json_array_size(list) > BERTH_CELLS_MAX) {
        return cells;
    }
    json_array_foreach (list, i, cell) {
        GArray *amounts = g_array_new(FALSE, TRUE, sizeof(BerthAmount));
        json_array_foreach (json_object_get(cell, "huge_pages"), k, kind) {
            BerthAmount amount = {NULL, json_int(kind, "count")};
            if (amount.amount > 0) {
                amount.key = g_strdup_printf("%" G_GINT64_FORMAT, json_int(kind, "size_kib"));
                g_ptr_array_add(pages, (gpointer)amount.key);
                g_array_append_val(amounts, amount);
            }
        }
        guint dedicated = ledger_cpus_count(ledger->cpus, host->name, (guint)i);
        BerthHostCell read = {
            .cpu_millis = part_of(vcpus * 1000, json_int(cell, "cpus") - dedicated, shared),
            .dedicated_cpus = dedicated,
            .memory_mib = part_of(memory_mib, json_int(cell, "memory_mib"),
                                  json_int(inventory, "memory_mib")),
            .n_hugepages = amounts->len,
        };
        read.hugepages = (const BerthAmount *)(gpointer)g_array_free(amounts, FALSE);
        g_ptr_array_add(pages, (gpointer)read.hugepages);
        g_array_append_val(cells, read);
    }
    return cells;
}

static guint32
find_host(BerthFleetLedger *ledger, const char *name)
{
    return berth_snapshot_find_host(ledger->snapshot, name);
}

static void
close_host(BerthFleetLedger *ledger, const char *name)
{
    guint32 index = find_host(ledger, name);
    if (index != BERTH_HOST_NONE) {
        berth_snapshot_set_state(ledger->snapshot, index, 0);
    }
}

/**
 * berth_ledger_put_host:
 * @host: a Host whose status has an inventory
 * @ready: whether it may get workloads now
 * @files: (nullable): sha256 of the files that are there, texts in a fixed order
 *
 * Makes the scheduler see @host as its spec and inventory say; what is charged to it stays. A host that it
 * refuses to count (INVALID) gets nothing new.
 */
gboolean
berth_ledger_put_host(BerthFleetLedger *ledger, const BerthObject *object, gboolean ready,
                      const GPtrArray *files, GError **error)
{
    const BerthHostSpec *spec = object->spec_data;
    const BerthHostStatus *status = object->status_data;
    const json_t *inventory = status->inventory;
    ledger_cpus_offer(ledger->cpus, object->name, inventory, spec->dedicated_cpus);
    ledger_devices_offer(ledger->devices, object->name, inventory, spec->devices);
    g_autoptr(GArray) devices = ledger_devices_list(ledger->devices, object->name);
    gint64 vcpus = MAX(0, bounded(json_int(inventory, "cpus"), spec->limit.vcpus) -
                              count_dedicated(ledger, object->name));
    gint64 memory_mib = bounded(json_int(inventory, "memory_mib"), spec->limit.memory_mib);
    BerthCapacity reserve = reserve_of(ledger, object);
    g_autoptr(GArray) labels = ledger_read_labels(object->labels);
    g_autoptr(GArray) taints = read_taints(spec);
    g_autoptr(GPtrArray) networks = read_names(json_object_get(inventory, "networks"));
    g_autoptr(GPtrArray) machines = read_names(json_object_get(inventory, "machine_types"));
    const json_t *cpus =
        json_object_get(json_object_get(inventory, "guest_cpus"),
                        g_strcmp0(status->acceleration, "kvm") == 0 ? "kvm" : "tcg");
    g_autoptr(GPtrArray) models = read_names(json_object_get(cpus, "models"));
    g_autoptr(GPtrArray) features = read_names(json_object_get(cpus, "features"));
    g_autoptr(GPtrArray) pages = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) cells = read_cells(ledger, object, inventory, vcpus, memory_mib, pages);
    g_autoptr(GArray) counts = ledger_read_counts(spec->resources);
    BerthAmount pool = {"berth", free_pool_mib(inventory, spec, reserve.disk_mib)};
    BerthHost host = {
        .name = object->name,
        .cpu_millis = vcpus * 1000,
        .cpu_reserve_millis = MIN(reserve.vcpus, vcpus) * 1000,
        .cpu_overcommit_pct =
            (guint)(spec->overcommit_cpu_percent > 0 ? spec->overcommit_cpu_percent
                                                     : ledger->overcommit_cpu_percent),
        .memory_mib = memory_mib,
        .memory_reserve_mib = MIN(reserve.memory_mib, memory_mib),
        .memory_overcommit_pct =
            (guint)(spec->overcommit_memory_percent > 0 ? spec->overcommit_memory_percent
                                                        : ledger->overcommit_memory_percent),
        .cells = (const BerthHostCell *)(gpointer)cells->data,
        .n_cells = cells->len,
        .devices = (const BerthHostDevice *)(gpointer)devices->data,
        .n_devices = devices->len,
        .pools = &pool,
        .n_pools = 1,
        .counts = (const BerthAmount *)(gpointer)counts->data,
        .n_counts = counts->len,
        .arch = json_string_value(json_object_get(inventory, "arch")),
        .cpu_models = (const char *const *)models->pdata,
        .n_cpu_models = models->len,
        .cpu_features = (const char *const *)features->pdata,
        .n_cpu_features = features->len,
        .images = files != NULL ? (const char *const *)files->pdata : NULL,
        .n_images = files != NULL ? files->len : 0,
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
    /* The same again must not count as a change: values behind scores follow the number of changes, and a plan
     * or a replay sees none. */
    guint wakes = ledger_book_put_host(ledger->book, &host);
    if (ledger->book != NULL && wakes == 0) {
        return TRUE;
    }
    if (!berth_snapshot_put_host(ledger->snapshot, &host, NULL, error)) {
        ledger_book_remove_host(ledger->book, object->name);
        close_host(ledger, object->name);
        return FALSE;
    }
    ledger_wake(ledger, wakes);
    return TRUE;
}

/** Takes the host @name out; charges on it must have been released. */
void
berth_ledger_remove_host(BerthFleetLedger *ledger, const char *name)
{
    guint32 index = find_host(ledger, name);
    g_autoptr(GError) error = NULL;
    if (index != BERTH_HOST_NONE && !berth_snapshot_remove_host(ledger->snapshot, index, &error)) {
        close_host(ledger, name);
    } else {
        ledger_cpus_remove_host(ledger->cpus, name);
        ledger_devices_remove_host(ledger->devices, name);
    }
    ledger_book_remove_host(ledger->book, name);
    ledger_wake(ledger, BERTH_WAKE_WORKLOADS);
}

/** Takes what @project may hold, 0 in its spec is no limit, what others leave free for it, and its weight among those
 * who wait. */
void
berth_ledger_set_project(BerthFleetLedger *ledger, const BerthObject *project)
{
    const BerthProjectSpec *spec = project->spec_data;
    berth_snapshot_set_quota(ledger->snapshot, project->name,
                             spec->quota_vcpus > 0 ? spec->quota_vcpus * 1000 : -1,
                             spec->quota_memory_mib > 0 ? spec->quota_memory_mib : -1,
                             spec->quota_devices > 0 ? spec->quota_devices * 1000 : -1,
                             spec->quota_workloads > 0 ? spec->quota_workloads : -1);
    berth_snapshot_set_reserved(ledger->snapshot, project->name, spec->reserved_vcpus * 1000,
                                spec->reserved_memory_mib);
    berth_waiting_set_weight(ledger->waiting, project->name, (double)spec->weight);
    ledger_wake(ledger, BERTH_WAKE_QUOTA | BERTH_WAKE_CAPACITY); /* what was reserved is free */
}

/** Takes back what was reserved for the project @name, which is gone. */
void
berth_ledger_remove_project(BerthFleetLedger *ledger, const char *name)
{
    berth_snapshot_set_reserved(ledger->snapshot, name, 0, 0);
    ledger_wake(ledger, BERTH_WAKE_CAPACITY);
}

/* ---- workloads ------------------------------------------------------------------------------- */

static gboolean
drop_charge(BerthFleetLedger *ledger, const char *uid)
{
    ledger_book_release(ledger->book, uid);
    ledger_cpus_release(ledger->cpus, uid);
    ledger_devices_release(ledger->devices, uid);
    g_hash_table_remove(ledger->reserved, uid);
    return berth_snapshot_release(ledger->snapshot, uid);
}

static BerthExplanation *
explain(BerthFleetLedger *ledger, LedgerAsk *ask)
{
    return berth_explain(ledger->snapshot, &ask->request, berth_policy_default());
}

/* What is recorded with the workload. */
static json_t *
brief_json(BerthFleetLedger *ledger, const BerthExplanation *explanation)
{
    return berth_explain_to_json(ledger->snapshot, explanation, RECORDED_HOSTS_MAX);
}

/* A host gives no dedicated CPUs, no devices and no huge pages until somebody sets some aside: nobody would
 * guess that. */
static const char *
hint_of(const BerthExplanation *explanation)
{
    for (guint i = 0; i < explanation->refusals->len; i++) {
        const char *code = g_array_index(explanation->refusals, BerthRefusal, i).code;
        if (g_str_equal(code, "dedicated")) {
            return "name more CPUs in spec.dedicated_cpus of a Host";
        }
        if (g_str_equal(code, "hugepage")) {
            return "set more huge pages of that size aside on a host, by vm.nr_hugepages for "
                   "example";
        }
        if (g_str_equal(code, "device")) {
            return "offer more of the class in spec.devices of a Host";
        }
        if (g_str_equal(code, "cpu-type")) {
            return "status.inventory.guest_cpus of each Host lists what can be asked for";
        }
        if (g_str_equal(code, "count")) {
            return "raise its number in spec.resources of a Host, or stop who has some";
        }
        if (g_str_equal(code, "unreserved")) {
            return "lower reserved_vcpus or reserved_memory_mib of other Projects, or add a host";
        }
    }
    return "see 'berth why NAME', or 'berth host list' for what is free";
}

static gboolean
refuse(BerthFleetLedger *ledger, LedgerAsk *ask, json_t **why, GError **error)
{
    g_autoptr(BerthExplanation) explanation = explain(ledger, ask);
    g_autofree char *summary = berth_explanation_summary(ledger->snapshot, explanation);
    *why = brief_json(ledger, explanation);
    berth_waiting_refused(ledger->waiting, ask->request.uid, berth_wakes_of(explanation),
                          berth_clock_monotonic_us(ledger->clock));
    berth_error_set_at(error, BERTH_ERROR_EXHAUSTED, NULL, hint_of(explanation), "%s", summary);
    return FALSE;
}

/**
 * berth_ledger_place:
 * @workload: not charged yet
 * @only_host: (nullable): where its disks are: no other host is looked at
 * @host: (out) (transfer full): name of the chosen host
 * @why: (out) (transfer full): the decision's reasons as JSON, on success and on refusal
 *
 * Chooses a host and charges it; who is refused steps aside in the line. Errors: EXHAUSTED with what is short by
 * how much.
 */
gboolean
berth_ledger_place(BerthFleetLedger *ledger, const BerthObject *workload, const BerthNeeds *needs,
                   const char *only_host, char **host, json_t **why, GError **error)
{
    g_auto(LedgerAsk) ask = {0};
    BerthDecision decision = {0};
    if (ledger_take_reserved(ledger, workload->uid, host, why)) {
        return TRUE;
    }
    ledger_ask_fill(&ask, ledger, workload, needs);
    if (only_host != NULL) {
        ask.request.host = only_host;
    }
    drop_charge(ledger, workload->uid);
    if (!berth_pick(ledger->snapshot, &ask.request, berth_policy_default(), &decision)) {
        return refuse(ledger, &ask, why, error);
    }
    g_autoptr(BerthExplanation) explanation =
        berth_snapshot_host_count(ledger->snapshot) <= EXPLAINED_HOSTS_MAX ? explain(ledger, &ask)
                                                                           : NULL;
    *why = explanation != NULL ? brief_json(ledger, explanation) : json_object();
    berth_snapshot_charge(ledger->snapshot, &ask.request, &decision.placement);
    ledger_note_decision(ledger, &ask.request, &decision, *why);
    *host = g_strdup(berth_snapshot_host_name(ledger->snapshot, decision.placement.host));
    ledger_wake(ledger, BERTH_WAKE_WORKLOADS);
    return TRUE;
}

/* Whether @record is of a decision for @host: what it does not name was not bound. */
static gboolean
was_decided(const json_t *record, const char *host)
{
    return json_object_get(record, "decision") != NULL &&
           g_strcmp0(berth_json_string(record, "host"), host) == 0;
}

/* To the cells, CPUs and devices that were chosen when it was placed, if its record names some. Returns: those. */
static BerthPlacement
charge_recorded(BerthFleetLedger *ledger, const BerthRequest *request, guint32 host,
                const json_t *record)
{
    const json_t *cells = json_object_get(record, "cells");
    const json_t *cpus = json_object_get(record, "cpus");
    const json_t *devices = json_object_get(record, "devices");
    const char *name = berth_snapshot_host_name(ledger->snapshot, host);
    BerthPlacement placement = {.host = host, .cells = {BERTH_CELL_NONE, BERTH_CELL_NONE}};
    for (guint i = 0; i < G_N_ELEMENTS(placement.cells) && i < json_array_size(cells); i++) {
        placement.cells[i] = (guint8)json_integer_value(json_array_get(cells, i));
    }
    if (devices != NULL) {
        ledger_devices_recall(ledger->devices, request->uid, name, devices, &placement);
    }
    if (json_array_size(cells) > 0 || devices != NULL || was_decided(record, name)) {
        berth_snapshot_charge(ledger->snapshot, request, &placement);
    } else {
        berth_snapshot_charge_on(ledger->snapshot, request, host);
    }
    if (cpus != NULL) {
        ledger_cpus_note(ledger->cpus, request->uid, name, cpus);
    }
    return placement;
}

/** Charges @workload to @host, where its record says it is; a charge elsewhere is released. */
void
berth_ledger_charge(BerthFleetLedger *ledger, const BerthObject *workload, const BerthNeeds *needs,
                    const char *host)
{
    g_auto(LedgerAsk) ask = {0};
    guint32 index = find_host(ledger, host);
    ledger_ask_fill(&ask, ledger, workload, needs);
    drop_charge(ledger, workload->uid);
    if (index != BERTH_HOST_NONE) {
        const json_t *record = berth_workload_status_of(workload)->placement;
        gint64 decision = json_int(record, "decision");
        if (json_object_get(record, "cpus") != NULL) {
            ask.request.cpu_millis =
                1000 * (gint64)json_array_size(json_object_get(record, "cpus"));
        }
        BerthPlacement found = charge_recorded(ledger, &ask.request, index, record);
        ledger->decisions = MAX(ledger->decisions, decision);
        ledger_book_add(ledger->book, &ask.request, host, &found);
    }
}

/** Charges a domain that Berth did not make by its maximum vCPUs and memory; the same again is nothing. */
void
berth_ledger_charge_foreign(BerthFleetLedger *ledger, const char *host, const char *uuid,
                            guint vcpus, gint64 memory_mib)
{
    g_autofree char *uid = g_strdup_printf("foreign/%s/%s", host, uuid);
    guint32 index = find_host(ledger, host);
    BerthRequest request = {.uid = uid,
                            .cpu_millis = (gint64)vcpus * 1000,
                            .memory_mib = memory_mib,
                            .host = host,
                            .fixed = TRUE};
    if (index != BERTH_HOST_NONE && ledger_book_has(ledger->book, &request, host)) {
        return;
    }
    berth_ledger_release(ledger, uid);
    if (index != BERTH_HOST_NONE) {
        const BerthPlacement found = {.host = index, .cells = {BERTH_CELL_NONE, BERTH_CELL_NONE}};
        berth_snapshot_charge_on(ledger->snapshot, &request, index);
        ledger_book_add(ledger->book, &request, host, &found);
    }
}

/** Takes back what berth_ledger_place() just did for @uid: nothing was freed by that, so nobody is woken. */
void
berth_ledger_unplace(BerthFleetLedger *ledger, const char *uid)
{
    drop_charge(ledger, uid);
}

/**
 * berth_ledger_release:
 *
 * Returns: whether @uid was charged anywhere; it isn't any more, and who could use that is woken. FALSE, and it stays
 * charged, while its room is kept for another one.
 */
gboolean
berth_ledger_release(BerthFleetLedger *ledger, const char *uid)
{
    gboolean charged = !ledger_is_held(ledger, uid) && drop_charge(ledger, uid);
    if (charged) {
        ledger_wake(ledger, BERTH_WAKE_CAPACITY | BERTH_WAKE_WORKLOADS | BERTH_WAKE_QUOTA);
    }
    return charged;
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
berth_ledger_explain(BerthFleetLedger *ledger, const BerthObject *workload, const BerthNeeds *needs)
{
    g_auto(LedgerAsk) ask = {0};
    ledger_ask_fill(&ask, ledger, workload, needs);
    g_autoptr(BerthExplanation) explanation =
        berth_explain(ledger->snapshot, &ask.request, berth_policy_default());
    return berth_explain_to_json(ledger->snapshot, explanation, LEDGER_TOLD_HOSTS_MAX);
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
    *capacity = (BerthCapacity){usage.cpu_millis / 1000, usage.memory_mib, usage.disk_mib};
    *used =
        (BerthCapacity){usage.cpu_used_millis / 1000, usage.memory_used_mib, usage.disk_used_mib};
    return TRUE;
}

/** Returns: (transfer full): the fleet file, for 'berth-sim replay', and in "held" what is kept for whom. */
json_t *
berth_ledger_export(const BerthFleetLedger *ledger)
{
    json_t *file = ledger_book_export(ledger->book, ledger->snapshot);
    json_object_set_new(file, "held", ledger_holds_export(ledger));
    return file;
}
