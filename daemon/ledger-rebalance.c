/* Live migrations worth making: the workloads of a copy as the planner of sched/ wants them, and its plan
 * as JSON. */
#include "daemon/ledger-private.h"

#include <math.h>

#include "sched/rebalance.h"

/* Hosts that the question wants empty; unknown names are left out. */
static GArray *
find_hosts(const BerthFleetLedger *copy, char **names)
{
    GArray *hosts = g_array_new(FALSE, FALSE, sizeof(guint32));
    for (; names != NULL && *names != NULL; names++) {
        guint32 host = berth_snapshot_find_host(copy->snapshot, *names);
        if (host != BERTH_HOST_NONE) {
            g_array_append_val(hosts, host);
        }
    }
    return hosts;
}

static json_t *
write_subject(const BerthLedgerMovable *workload)
{
    const BerthObject *object = workload->object;
    return json_pack("{s:s, s:s, s:s}", "kind", object->kind->name, "project", object->project,
                     "name", object->name);
}

static json_t *
write_moves(const BerthFleetLedger *copy, const BerthRebalance *plan,
            const BerthLedgerMovable *workloads)
{
    json_t *list = json_array();
    for (guint i = 0; i < plan->moves->len; i++) {
        const BerthMove *move = &g_array_index(plan->moves, BerthMove, i);
        json_t *json = write_subject(&workloads[move->workload]);
        json_object_set_new(json, "from",
                            json_string(berth_snapshot_host_name(copy->snapshot, move->from)));
        json_object_set_new(
            json, "to",
            json_string(berth_snapshot_host_name(copy->snapshot, move->placement.host)));
        json_object_set_new(json, "reason", json_string(berth_move_reason_name(move->reason)));
        json_object_set_new(json, "copy_s", json_integer((json_int_t)ceil(move->copy_s)));
        json_array_append_new(list, json);
    }
    return list;
}

static json_t *
write_stuck(const BerthFleetLedger *copy, const BerthRebalance *plan,
            const BerthLedgerMovable *workloads)
{
    json_t *list = json_array();
    for (guint i = 0; i < plan->stuck->len; i++) {
        const BerthStuck *stuck = &g_array_index(plan->stuck, BerthStuck, i);
        json_t *json = write_subject(&workloads[stuck->workload]);
        json_object_set_new(json, "host",
                            json_string(berth_snapshot_host_name(copy->snapshot, stuck->host)));
        json_object_set_new(json, "why", json_string(stuck->why));
        json_array_append_new(list, json);
    }
    return list;
}

static json_t *
plan_moves(BerthFleetLedger *copy, const BerthMovable *movables, guint n,
           const BerthLedgerMovable *workloads, const BerthRebalanceQuestion *question)
{
    g_autoptr(GArray) empty = find_hosts(copy, question->empty_hosts);
    BerthRebalanceGoal goal = {.forbidden = (const guint32 *)empty->data,
                               .n_forbidden = empty->len,
                               .repair_only = question->repair_only,
                               .moves_max = (guint)question->moves_max,
                               .link_mib_s = question->link_mib_s};
    g_autoptr(BerthRebalance) plan = berth_rebalance_plan(copy->snapshot, movables, n, &goal);
    return json_pack(
        "{s:b, s:o, s:o, s:I, s:I, s:I}", "limited", plan->moves->len >= (guint)question->moves_max,
        "moves", write_moves(copy, plan, workloads), "stuck", write_stuck(copy, plan, workloads),
        "cost_before_s", (json_int_t)llround(plan->cost_before), "cost_after_s",
        (json_int_t)llround(plan->cost_after), "copy_s", (json_int_t)ceil(plan->copy_s));
}

/* A guest without a model sees all of its host's CPU, so it can go to where all of that is: what every host has need
 * not be asked for. @counts: of berth_snapshot_count_features(). Returns: (transfer full) (nullable): names, borrowed */
static GPtrArray *
list_features(const BerthFleetLedger *copy, const BerthObject *object, GHashTable *counts)
{
    char *const *wanted = berth_workload_of(object)->cpu_features;
    guint32 charge = berth_snapshot_find_charge(copy->snapshot, object->uid);
    if (charge == BERTH_CHARGE_NONE || berth_workload_of(object)->cpu_model != NULL) {
        return NULL;
    }
    g_autoptr(GPtrArray) all = berth_snapshot_cpu_features(
        copy->snapshot, berth_snapshot_charge_host(copy->snapshot, charge));
    GPtrArray *list = g_ptr_array_new();
    for (guint i = 0; i < all->len; i++) {
        guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, all->pdata[i]));
        if (count < berth_snapshot_host_count(copy->snapshot)) {
            g_ptr_array_add(list, all->pdata[i]);
        }
    }
    for (; wanted != NULL && *wanted != NULL; wanted++) {
        g_ptr_array_add(list, *wanted);
    }
    return list;
}

/**
 * berth_ledger_rebalance:
 * @copy: a copy; as it was afterwards
 * @workloads: those without a charge are passed over
 *
 * Disks in the host's pool count as copied. What a guest rewrites while it is copied is not known and
 * counts as nothing.
 *
 * Returns: (transfer full): the members of RebalanceAnswer but the revision
 */
json_t *
berth_ledger_rebalance(BerthFleetLedger *copy, const BerthLedgerMovable *workloads, guint n,
                       const BerthRebalanceQuestion *question)
{
    g_autofree LedgerAsk *asks = g_new0(LedgerAsk, n);
    g_autofree BerthMovable *movables = g_new0(BerthMovable, n);
    g_autoptr(GHashTable) counts = berth_snapshot_count_features(copy->snapshot);
    g_autoptr(GPtrArray) lists = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    for (guint i = 0; i < n; i++) {
        ledger_ask_fill(&asks[i], copy, workloads[i].object, &workloads[i].needs);
        GPtrArray *features = list_features(copy, workloads[i].object, counts);
        if (features != NULL) {
            g_ptr_array_add(lists, features);
            asks[i].request.cpu_features = (const char *const *)features->pdata;
            asks[i].request.n_cpu_features = features->len;
        }
        movables[i] = (BerthMovable){.request = &asks[i].request,
                                     .local_disk_mib = workloads[i].needs.disk_mib,
                                     .fixed = workloads[i].fixed};
    }
    json_t *json = plan_moves(copy, movables, n, workloads, question);
    for (guint i = 0; i < n; i++) {
        ledger_ask_clear(&asks[i]);
    }
    return json;
}
