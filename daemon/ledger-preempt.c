/* Room that is made by stopping lesser workloads, and kept meanwhile for the one that it is made for.
 *
 * What a victim holds stays charged under its uid, also when it is off, released or deleted, until the one
 * that asked takes the place, and so does what is free and needed beside it, also of the project's quota: nobody
 * else gets it. Held charges are nobody's victims a second time. */
#include "daemon/ledger-private.h"

#include "sched/group.h"

typedef struct {
    char *asker, *host;       /* owned */
    gint64 vcpus, memory_mib; /* charged to the host */
    gboolean dedicated;       /* the vCPUs are dedicated ones */
    char *project;    /* owned; the victim's, which the charge counts for; NULL: it is free room */
    char *claimer;    /* owned; the asker's project, of whose quota … */
    BerthGiven claim; /* … this is claimed beside what is charged */
} Hold;

static void
free_hold(gpointer data)
{
    Hold *hold = data;
    g_free(hold->asker);
    g_free(hold->host);
    g_free(hold->project);
    g_free(hold->claimer);
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
    g_free(room);
}

static GPtrArray *
list_rooms(const BerthSnapshot *s, const BerthPreemption *found, guint n)
{
    GPtrArray *rooms = g_ptr_array_new_with_free_func(free_room);
    for (guint i = 0; i < n; i++) {
        BerthRoom *room = g_new(BerthRoom, 1);
        *room = (BerthRoom){g_strdup(berth_snapshot_host_name(s, found->placements[i].host)),
                            g_ptr_array_new_with_free_func(g_free)};
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
                           ? list_rooms(ledger->snapshot, &found, asked.n)
                           : NULL;
    berth_preemption_clear(&found);
    return rooms;
}

/** Keeps what @victim holds on @host for @asker; known already: nothing. */
void
berth_ledger_hold(BerthFleetLedger *ledger, const char *asker, const char *host,
                  const BerthVictim *victim)
{
    Hold *hold = g_new(Hold, 1);
    *hold = (Hold){.asker = g_strdup(asker),
                   .host = g_strdup(host),
                   .vcpus = victim->vcpus,
                   .memory_mib = victim->memory_mib,
                   .project = g_strdup(victim->project)};
    g_hash_table_replace(ledger->held, g_strdup(victim->uid), hold);
    berth_snapshot_set_rank(ledger->snapshot, victim->uid, G_MAXINT, FALSE);
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
        if (g_strcmp0(hold->host, host) == 0 && hold->vcpus + hold->memory_mib > 0 &&
            berth_ledger_host_of(ledger, uid) == NULL) {
            BerthRequest request = {.uid = uid,
                                    .project = hold->project,
                                    .cpu_millis = hold->vcpus * 1000,
                                    .dedicated = hold->dedicated,
                                    .memory_mib = hold->memory_mib};
            berth_snapshot_charge_on(ledger->snapshot, &request, index);
        }
    }
}

/* Takes @needed off @given as far as it goes. Returns: what is missing. */
static BerthGiven
take(const BerthGiven *needed, BerthGiven *given)
{
    BerthGiven taken = {MIN(needed->vcpus, given->vcpus),
                        MIN(needed->memory_mib, given->memory_mib),
                        MIN(needed->workloads, given->workloads)};
    given->vcpus -= taken.vcpus;
    given->memory_mib -= taken.memory_mib;
    given->workloads -= taken.workloads;
    return (BerthGiven){needed->vcpus - taken.vcpus, needed->memory_mib - taken.memory_mib,
                        needed->workloads - taken.workloads};
}

static void
claim(BerthFleetLedger *ledger, const Hold *hold, int sign)
{
    if (hold->claimer != NULL) {
        berth_snapshot_claim(ledger->snapshot, hold->claimer, sign * hold->claim.vcpus * 1000,
                             sign * hold->claim.memory_mib, sign * hold->claim.workloads);
    }
}

/**
 * berth_ledger_hold_rest:
 * @on_host, @in_project: (inout): what victims on @host, or those of @asker's project, give back and nobody else of
 *   the party needs; less what @asker takes of it
 *
 * Keeps what @asker needs beside that: it is free now, and somebody lesser in line would take it while the victims
 * stop. Then their room is not enough, others are stopped, and so on for ever.
 */
void
berth_ledger_hold_rest(BerthFleetLedger *ledger, const BerthObject *asker, const char *host,
                       BerthGiven *on_host, BerthGiven *in_project)
{
    BerthGiven needed = {berth_workload_of(asker)->vcpus, berth_ledger_memory_mib(ledger, asker),
                         1};
    BerthGiven room = take(&needed, on_host);
    char *rest = g_strconcat(asker->uid, "/rest", NULL);
    Hold *hold = g_new(Hold, 1);
    *hold = (Hold){.asker = g_strdup(asker->uid),
                   .host = g_strdup(host),
                   .vcpus = room.vcpus,
                   .dedicated = berth_workload_of(asker)->dedicated_cpus,
                   .memory_mib = room.memory_mib,
                   .claimer = g_strdup(asker->project),
                   .claim = take(&needed, in_project)};
    g_assert(!ledger_is_held(ledger, rest));
    g_hash_table_insert(ledger->held, rest, hold);
    claim(ledger, hold, 1);
    berth_ledger_charge_holds(ledger, host);
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
