/* Room that is made by stopping lesser workloads, and kept meanwhile for the one that it is made for.
 *
 * What a victim holds stays charged under its uid, also when it is off, released or deleted, until the one
 * that asked takes the place, and so does what is free and needed beside it, also of the project's quota: nobody
 * else gets it. Held charges are nobody's victims a second time. */
#include "daemon/ledger-private.h"

#include "base/json.h"
#include "sched/holding.h"

typedef struct {
    char *asker, *host; /* owned */
    json_t *holding;    /* owned: what is held of the host, as of a record */
    char *claimer;      /* owned; NULL for victims; the asker's project, of whose quota … */
    json_t *claim;      /* … this is claimed beside what is charged; owned */
} Hold;

static void
free_hold(gpointer data)
{
    Hold *hold = data;
    g_free(hold->asker);
    g_free(hold->host);
    json_decref(hold->holding);
    g_free(hold->claimer);
    json_decref(hold->claim);
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

static void
free_room(gpointer data)
{
    BerthRoom *room = data;
    g_free(room->host);
    g_ptr_array_unref(room->victims);
    json_decref(room->rest);
    g_free(room);
}

static GPtrArray *
list_rooms(const BerthFleetLedger *ledger, const BerthPreemption *found, guint n)
{
    const BerthSnapshot *s = ledger->snapshot;
    GPtrArray *rooms = g_ptr_array_new_with_free_func(free_room);
    for (guint i = 0; i < n; i++) {
        BerthRoom *room = g_new(BerthRoom, 1);
        *room = (BerthRoom){g_strdup(berth_snapshot_host_name(s, found->placements[i].host)),
                            g_ptr_array_new_with_free_func(g_free),
                            json_incref(json_array_get(found->rests, i))};
        ledger_devices_name(ledger->devices, room->host, json_object_get(room->rest, "holding"));
        g_ptr_array_add(rooms, room);
    }
    for (guint v = 0; v < found->n_victims; v++) {
        BerthRoom *room = rooms->pdata[found->askers[v]];
        g_ptr_array_add(room->victims, g_strdup(berth_snapshot_charge_uid(s, found->victims[v])));
    }
    return rooms;
}

/**
 * berth_ledger_preempt:
 * @party: refused just now
 *
 * Returns: (transfer full) (nullable): of BerthRoom, for each of the party: where all of them would have room if
 * the victims were stopped, with the fellows' victims on the same host; nothing is changed
 */
GPtrArray *
berth_ledger_preempt(BerthFleetLedger *ledger, const BerthParty *party)
{
    g_auto(LedgerParty) asked = {0};
    BerthPreemption found;
    ledger_party_fill(&asked, ledger, party);
    GPtrArray *rooms = berth_preempt_plan(ledger->snapshot, asked.requests, asked.n,
                                          berth_policy_default(), &found)
                           ? list_rooms(ledger, &found, asked.n)
                           : NULL;
    berth_preemption_clear(&found);
    return rooms;
}

/**
 * berth_ledger_holding:
 *
 * Returns: (transfer full) (nullable): what @uid holds of its host, for a record: amounts, cells, dedicated CPUs and
 *   devices by address; NULL when it is not charged
 */
json_t *
berth_ledger_holding(const BerthFleetLedger *ledger, const char *uid)
{
    guint32 charge = berth_snapshot_find_charge(ledger->snapshot, uid);
    if (charge == BERTH_CHARGE_NONE) {
        return NULL;
    }
    guint32 host = berth_snapshot_charge_host(ledger->snapshot, charge);
    json_t *holding = berth_holding_of(ledger->snapshot, charge);
    json_t *cpus = ledger_cpus_list(ledger->cpus, uid);
    if (cpus != NULL) {
        json_object_set_new(holding, "cpus", cpus);
    }
    ledger_devices_name(ledger->devices, berth_snapshot_host_name(ledger->snapshot, host), holding);
    return holding;
}

/* Charges what @hold says to its host, once the host is there. */
static void
charge_hold(BerthFleetLedger *ledger, const char *uid, const Hold *hold)
{
    guint32 index = berth_snapshot_find_host(ledger->snapshot, hold->host);
    if (index == BERTH_HOST_NONE || json_object_size(hold->holding) == 0 ||
        berth_ledger_host_of(ledger, uid) != NULL) {
        return;
    }
    const json_t *cpus = json_object_get(hold->holding, "cpus");
    ledger_devices_find(ledger->devices, uid, hold->host, hold->holding);
    berth_holding_charge(ledger->snapshot, uid, index, hold->holding);
    ledger_book_hold(ledger->book, uid, hold->host, hold->holding);
    if (cpus != NULL) {
        ledger_cpus_note(ledger->cpus, uid, hold->host, cpus);
    }
}

/** Charges what is held on @host for victims that have left since: after a restart, no other record says it. */
void
berth_ledger_charge_holds(BerthFleetLedger *ledger, const char *host)
{
    GHashTableIter iter;
    gpointer uid, value;
    g_hash_table_iter_init(&iter, ledger->held);
    while (g_hash_table_iter_next(&iter, &uid, &value)) {
        if (g_str_equal(((const Hold *)value)->host, host)) {
            charge_hold(ledger, uid, value);
        }
    }
}

/* A copy of @holding, which the ledger may change: devices get the slots that they have in this life. */
static Hold *
hold(BerthFleetLedger *ledger, const char *uid, const char *asker, const char *host,
     const json_t *holding)
{
    Hold *hold = g_new0(Hold, 1);
    hold->asker = g_strdup(asker);
    hold->host = g_strdup(host);
    hold->holding = holding == NULL ? json_object() : json_deep_copy(holding);
    g_hash_table_replace(ledger->held, g_strdup(uid), hold);
    return hold;
}

/**
 * berth_ledger_hold:
 * @holding: (nullable): from berth_ledger_holding()
 *
 * Keeps what the victim @uid holds on @host for @asker.
 */
void
berth_ledger_hold(BerthFleetLedger *ledger, const char *asker, const char *host, const char *uid,
                  const json_t *holding)
{
    charge_hold(ledger, uid, hold(ledger, uid, asker, host, holding));
    berth_snapshot_set_rank(ledger->snapshot, uid, G_MAXINT, FALSE);
}

static void
claim(BerthFleetLedger *ledger, const Hold *hold, int sign)
{
    if (hold->claimer != NULL) {
        berth_snapshot_claim(ledger->snapshot, hold->claimer,
                             sign * berth_json_integer(hold->claim, "cpu_millis", 0),
                             sign * berth_json_integer(hold->claim, "memory_mib", 0),
                             sign * berth_json_integer(hold->claim, "device_millis", 0),
                             sign * berth_json_integer(hold->claim, "workloads", 0));
    }
}

/**
 * berth_ledger_hold_rest:
 * @rest: (nullable): of a BerthRoom
 *
 * Keeps what @asker needs beside what is held of its victims: it is free now, and somebody lesser in line would take
 * it while the victims stop. Then their room is not enough, others are stopped, and so on for ever.
 */
void
berth_ledger_hold_rest(BerthFleetLedger *ledger, const BerthObject *asker, const char *host,
                       const json_t *rest)
{
    g_autofree char *uid = g_strconcat(asker->uid, "/rest", NULL);
    g_assert(!ledger_is_held(ledger, uid));
    Hold *made = hold(ledger, uid, asker->uid, host, json_object_get(rest, "holding"));
    made->claimer = g_strdup(asker->project);
    made->claim = json_incref(json_object_get(rest, "claim"));
    claim(ledger, made, 1);
    charge_hold(ledger, uid, made);
}

/** Returns: (transfer full): what is kept, by uid: {for, host, holding}, as it is charged. */
json_t *
ledger_holds_export(const BerthFleetLedger *ledger)
{
    json_t *all = json_object();
    GHashTableIter iter;
    gpointer uid, value;
    g_hash_table_iter_init(&iter, ledger->held);
    while (g_hash_table_iter_next(&iter, &uid, &value)) {
        const Hold *hold = value;
        json_t *holding = berth_ledger_holding(ledger, uid);
        json_object_set_new(all, uid,
                            json_pack("{s:s, s:s, s:o*}", "for", hold->asker, "host", hold->host,
                                      "holding", holding));
    }
    return all;
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
    const Hold *hold = g_hash_table_lookup(ledger->held, uid);
    if (hold == NULL) {
        return;
    }
    claim(ledger, hold, -1);
    g_hash_table_remove(ledger->held, uid);
    if (!gone || !berth_ledger_release(ledger, uid)) {
        ledger_wake(ledger, BERTH_WAKE_QUOTA);
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
