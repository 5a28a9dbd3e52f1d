/* What would be: a copy of the ledger to try things on with the very functions that place, so that what
 * is said comes true, and how many more of a kind fit. */
#include "daemon/ledger-private.h"

#include "sched/explain.h"
#include "sched/forecast.h"

/** Returns: (transfer full): a ledger that decides as @ledger does; cost: its size. */
BerthFleetLedger *
berth_ledger_copy(const BerthFleetLedger *ledger)
{
    BerthFleetLedger *copy = g_memdup2(ledger, sizeof *ledger);
    copy->snapshot = berth_snapshot_copy(ledger->snapshot);
    copy->book = NULL;
    copy->cpus = ledger_cpus_copy(ledger->cpus);
    copy->devices = ledger_devices_copy(ledger->devices);
    copy->waiting = berth_waiting_copy_rules(ledger->waiting);
    copy->woken = NULL;
    copy->held = g_hash_table_ref(ledger->held);
    copy->reserved = ledger_reservations_new();
    GHashTableIter iter;
    gpointer uid, why;
    g_hash_table_iter_init(&iter, ledger->reserved);
    while (g_hash_table_iter_next(&iter, &uid, &why)) {
        g_hash_table_insert(copy->reserved, g_strdup(uid), json_incref(why));
    }
    return copy;
}

/**
 * berth_ledger_add_like:
 * @name: of the new host
 *
 * Adds an empty, schedulable host that is as @like is. Only for copies.
 *
 * Returns: FALSE when the scheduler knows no host @like
 */
gboolean
berth_ledger_add_like(BerthFleetLedger *copy, const char *like, const char *name)
{
    guint32 host = berth_snapshot_find_host(copy->snapshot, like);
    return host != BERTH_HOST_NONE &&
           berth_forecast_add_like(copy->snapshot, host, name) != BERTH_HOST_NONE;
}

/** Takes the host @name away with all that is charged to it. Only for copies. */
gboolean
berth_ledger_lose_host(BerthFleetLedger *copy, const char *name)
{
    guint32 host = berth_snapshot_find_host(copy->snapshot, name);
    if (host != BERTH_HOST_NONE) {
        berth_forecast_lose(copy->snapshot, host);
    }
    return host != BERTH_HOST_NONE;
}

/** Returns: (transfer full): names of all hosts, in the scheduler's order. */
char **
berth_ledger_hosts(const BerthFleetLedger *ledger)
{
    GStrvBuilder *names = g_strv_builder_new();
    for (guint32 h = 0; h < berth_snapshot_host_end(ledger->snapshot); h++) {
        if (berth_snapshot_host_exists(ledger->snapshot, h)) {
            g_strv_builder_add(names, berth_snapshot_host_name(ledger->snapshot, h));
        }
    }
    char **list = g_strv_builder_end(names);
    g_strv_builder_unref(names);
    return list;
}

/* Hosts by how many they take; the rule that ends it is in "ends". */
static json_t *
write_capacity(BerthFleetLedger *copy, LedgerAsk *ask, guint total, guint limit,
               const guint *per_host)
{
    json_t *hosts = json_array();
    for (guint32 h = 0; h < berth_snapshot_host_end(copy->snapshot); h++) {
        if (per_host[h] > 0) {
            json_array_append_new(hosts, json_pack("{s:s, s:i}", "name",
                                                   berth_snapshot_host_name(copy->snapshot, h),
                                                   "count", (int)per_host[h]));
        }
    }
    json_t *json = json_pack("{s:i, s:b, s:o}", "total", (int)total, "limited", total == limit,
                             "hosts", hosts);
    if (total < limit) {
        g_autoptr(BerthExplanation) e =
            berth_explain(copy->snapshot, &ask->request, berth_policy_default());
        json_object_set_new(json, "ends",
                            berth_explain_to_json(copy->snapshot, e, LEDGER_TOLD_HOSTS_MAX));
    }
    return json;
}

/**
 * berth_ledger_capacity:
 * @copy: a copy; full afterwards
 * @like: a workload; whether it is placed itself doesn't matter
 * @limit: stop counting there
 *
 * Returns: (transfer full): {total, limited, hosts: [{name, count}], ends}: how many more would be placed,
 * one after the other, and why not one more (an explanation; absent when limited)
 */
json_t *
berth_ledger_capacity(BerthFleetLedger *copy, const BerthObject *like, const BerthNeeds *needs,
                      guint limit)
{
    g_auto(LedgerAsk) ask = {0};
    ledger_ask_fill(&ask, copy, like, needs);
    ask.request.uid = NULL;
    g_autofree guint *per_host = g_new0(guint, berth_snapshot_host_end(copy->snapshot) + 1);
    guint total =
        berth_forecast_fill(copy->snapshot, &ask.request, berth_policy_default(), limit, per_host);
    return write_capacity(copy, &ask, total, limit, per_host);
}
