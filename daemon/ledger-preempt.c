/* Room that is made by stopping lesser workloads, and kept meanwhile for the one that it is made for.
 *
 * What a victim holds stays charged under its uid, also when it is off, released or deleted, until the one
 * that asked takes the place, and so does what is free and needed beside it: nobody else gets it. Held
 * charges are nobody's victims a second time. */
#include "daemon/ledger-private.h"

#include "sched/group.h"

typedef struct {
    char *asker, *host; /* owned */
    gint64 vcpus, memory_mib;
} Hold;

static void
free_hold(gpointer data)
{
    Hold *hold = data;
    g_free(hold->asker);
    g_free(hold->host);
    g_free(hold);
}

/* uid of a victim -> Hold */
GHashTable *
ledger_holds_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_hold);
}

gboolean
ledger_is_held(const BerthFleetLedger *ledger, const char *uid)
{
    return g_hash_table_contains(ledger->held, uid);
}

/**
 * berth_ledger_preempt:
 * @workload: refused just now
 * @only_host: (nullable): where its disks are
 * @victims: (out) (transfer full): uids of those that would have to stop, when TRUE is returned
 *
 * Returns: (transfer full) (nullable): the host on which it would have room then; nothing is changed
 */
char *
berth_ledger_preempt(BerthFleetLedger *ledger, const BerthObject *workload, const BerthNeeds *needs,
                     const char *only_host, GPtrArray **victims)
{
    g_auto(LedgerAsk) ask = {0};
    BerthPreemption found;
    char *host = NULL;
    ledger_ask_fill(&ask, ledger, workload, needs);
    if (only_host != NULL) {
        ask.request.host = only_host;
    }
    if (berth_preempt_plan(ledger->snapshot, &ask.request, berth_policy_default(), &found)) {
        *victims = g_ptr_array_new_with_free_func(g_free);
        for (guint i = 0; i < found.n_victims; i++) {
            g_ptr_array_add(
                *victims, g_strdup(berth_snapshot_charge_uid(ledger->snapshot, found.victims[i])));
        }
        host = g_strdup(berth_snapshot_host_name(ledger->snapshot, found.decision.placement.host));
    }
    berth_preemption_clear(&found);
    return host;
}

/**
 * berth_ledger_hold:
 * @vcpus, @memory_mib: what it gives back
 *
 * Keeps what @uid holds on @host for @asker; known already: nothing.
 */
void
berth_ledger_hold(BerthFleetLedger *ledger, const char *asker, const char *host, const char *uid,
                  gint64 vcpus, gint64 memory_mib)
{
    Hold *hold = g_new(Hold, 1);
    *hold = (Hold){g_strdup(asker), g_strdup(host), vcpus, memory_mib};
    g_hash_table_replace(ledger->held, g_strdup(uid), hold);
    berth_snapshot_set_rank(ledger->snapshot, uid, G_MAXINT, FALSE);
}

/** Charges what is held on @host for victims that have left since: after a restart, no record says it. */
void
berth_ledger_charge_holds(BerthFleetLedger *ledger, const char *host)
{
    guint32 index = berth_snapshot_find_host(ledger->snapshot, host);
    GHashTableIter iter;
    gpointer uid, value;
    g_hash_table_iter_init(&iter, ledger->held);
    while (index != BERTH_HOST_NONE && g_hash_table_iter_next(&iter, &uid, &value)) {
        const Hold *hold = value;
        if (g_strcmp0(hold->host, host) == 0 && berth_ledger_host_of(ledger, uid) == NULL) {
            BerthRequest request = {
                .uid = uid, .cpu_millis = hold->vcpus * 1000, .memory_mib = hold->memory_mib};
            berth_snapshot_charge_on(ledger->snapshot, &request, index);
        }
    }
}

/**
 * berth_ledger_hold_rest:
 * @given: what the victims on @host give back together
 *
 * Keeps what @asker needs beside that: it is free now, and somebody lesser in line would take it while the victims
 * stop. Then their room is not enough, others are stopped, and so on for ever.
 */
void
berth_ledger_hold_rest(BerthFleetLedger *ledger, const BerthObject *asker, const char *host,
                       const BerthCapacity *given)
{
    gint64 vcpus = berth_workload_of(asker)->vcpus - given->vcpus;
    gint64 memory_mib = berth_ledger_memory_mib(ledger, asker) - given->memory_mib;
    if (vcpus > 0 || memory_mib > 0) {
        g_autofree char *rest = g_strconcat(asker->uid, "/rest", NULL);
        berth_ledger_hold(ledger, asker->uid, host, rest, MAX(0, vcpus), MAX(0, memory_mib));
        berth_ledger_charge_holds(ledger, host);
    }
}

/** Returns: (transfer full): uids of the victims whose room is kept for @asker. */
GPtrArray *
berth_ledger_held_for(const BerthFleetLedger *ledger, const char *asker)
{
    GPtrArray *uids = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer uid, value;
    g_hash_table_iter_init(&iter, ledger->held);
    while (g_hash_table_iter_next(&iter, &uid, &value)) {
        if (g_str_equal(((Hold *)value)->asker, asker)) {
            g_ptr_array_add(uids, g_strdup(uid));
        }
    }
    return uids;
}

/** Keeps the room of @uid no longer; @gone: it has left, so what it held is free now. */
void
berth_ledger_unhold(BerthFleetLedger *ledger, const char *uid, gboolean gone)
{
    if (g_hash_table_remove(ledger->held, uid) && gone) {
        berth_ledger_release(ledger, uid);
    }
}

/** Takes the priority of @workload, and whether it may be stopped, as its spec says now. */
void
berth_ledger_rerank(BerthFleetLedger *ledger, const BerthObject *workload)
{
    const BerthWorkload *spec = berth_workload_of(workload);
    if (!ledger_is_held(ledger, workload->uid)) {
        berth_snapshot_set_rank(ledger->snapshot, workload->uid, (gint)spec->priority,
                                spec->preemptible);
    }
}
