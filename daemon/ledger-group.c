/* Several workloads charged at once or not at all; each takes its place when its own turn comes. */
#include "daemon/ledger-private.h"

#include "base/error.h"
#include "sched/explain.h"
#include "sched/forecast.h"
#include "sched/group.h"

GHashTable *
ledger_reservations_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref);
}

/* The NUMA cells that it is bound to, by their place in the host's inventory. */
static void
note_cells(const BerthPlacement *placement, json_t *why)
{
    json_t *cells = json_array();
    for (guint i = 0; i < G_N_ELEMENTS(placement->cells); i++) {
        if (placement->cells[i] != BERTH_CELL_NONE) {
            json_array_append_new(cells, json_integer(placement->cells[i]));
        }
    }
    if (json_array_size(cells) > 0) {
        json_object_set(why, "cells", cells);
    }
    json_decref(cells);
}

/* The host's CPUs that are its vCPUs' own, by number. */
static void
note_cpus(BerthFleetLedger *ledger, const BerthRequest *request, const BerthPlacement *placement,
          const char *host, json_t *why)
{
    json_t *cpus = request->dedicated
                       ? ledger_cpus_take(ledger->cpus, request->uid, host, placement->cells,
                                          (guint)(request->cpu_millis / 1000))
                       : NULL;
    if (cpus != NULL) {
        json_object_set_new(why, "cpus", cpus);
    }
}

/* Numbers the decision, and writes host, score, cells, CPUs, devices and number to @why. */
void
ledger_note_decision(BerthFleetLedger *ledger, const BerthRequest *request,
                     const BerthDecision *decision, json_t *why)
{
    const char *host = berth_snapshot_host_name(ledger->snapshot, decision->placement.host);
    /* A replay, which asks for one after the other, leaves those where they are that were led there. */
    ledger_book_add(ledger->book, request, host, decision->led ? &decision->placement : NULL);
    ledger->decisions++;
    json_object_set_new(why, "host", json_string(host));
    json_object_set_new(why, "score", json_integer(decision->score));
    note_cells(&decision->placement, why);
    note_cpus(ledger, request, &decision->placement, host, why);
    json_t *devices =
        ledger_devices_take(ledger->devices, request->uid, &decision->placement, host);
    if (devices != NULL) {
        json_object_set_new(why, "devices", devices);
    }
    json_object_set_new(why, "decision", json_integer(ledger->decisions));
}

/* Hands over what was reserved for @uid. */
gboolean
ledger_take_reserved(BerthFleetLedger *ledger, const char *uid, char **host, json_t **why)
{
    gpointer key, value;
    if (!g_hash_table_steal_extended(ledger->reserved, uid, &key, &value)) {
        return FALSE;
    }
    g_free(key);
    *why = value;
    *host = g_strdup(berth_ledger_host_of(ledger, uid));
    return TRUE;
}

/** Returns: whether @uid was placed with its group and did not take its place yet. */
gboolean
berth_ledger_is_reserved(const BerthFleetLedger *ledger, const char *uid)
{
    return g_hash_table_contains(ledger->reserved, uid);
}

/** The strings stay borrowed from @party's members and hosts. */
void
ledger_party_fill(LedgerParty *asked, const BerthFleetLedger *ledger, const BerthParty *party)
{
    guint n = party->members->len;
    *asked = (LedgerParty){n, g_new0(LedgerAsk, n + 1), g_new0(BerthRequest, n + 1)};
    for (guint i = 0; i < n; i++) {
        ledger_ask_fill(&asked->asks[i], ledger, party->members->pdata[i], &party->needs[i]);
        if (party->hosts[i] != NULL) {
            asked->asks[i].request.host = party->hosts[i];
        }
        asked->requests[i] = asked->asks[i].request;
    }
}

void
ledger_party_clear(LedgerParty *asked)
{
    for (guint i = 0; i < asked->n; i++) {
        ledger_ask_clear(&asked->asks[i]);
    }
    g_clear_pointer(&asked->asks, g_free);
    g_clear_pointer(&asked->requests, g_free);
}

/* The first that has no place once the others have theirs; all step aside in the line. */
static void
explain_refusal(BerthFleetLedger *ledger, const GPtrArray *workloads, const BerthRequest *requests,
                json_t **why, GError **error)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(ledger->snapshot);
    g_autofree BerthDecision *decisions = g_new0(BerthDecision, workloads->len);
    guint placed =
        berth_pick_batch(copy, requests, workloads->len, berth_policy_default(), decisions);
    guint first = 0;
    while (first + 1 < workloads->len && decisions[first].placed) {
        first++;
    }
    g_autoptr(BerthExplanation) e = berth_explain(copy, &requests[first], berth_policy_default());
    g_autofree char *summary = berth_explanation_summary(copy, e);
    *why = berth_explain_to_json(copy, e, 0);
    for (guint i = 0; i < workloads->len; i++) {
        berth_waiting_refused(ledger->waiting, requests[i].uid,
                              berth_wakes_of(e) | BERTH_WAKE_CAPACITY,
                              berth_clock_monotonic_us(ledger->clock));
    }
    berth_error_set_at(error, BERTH_ERROR_EXHAUSTED, NULL, "berth host list",
                       "only %u of %u members of its group fit; for '%s' %s", placed,
                       workloads->len, ((BerthObject *)workloads->pdata[first])->name, summary);
}

/**
 * berth_ledger_reserve:
 * @party: none of them is charged yet
 * @why: (out) (transfer full): reasons of a refusal as JSON
 *
 * Charges all or none; berth_ledger_place() then gives each the host it was charged to. Errors: EXHAUSTED.
 */
gboolean
berth_ledger_reserve(BerthFleetLedger *ledger, const BerthParty *party, json_t **why,
                     GError **error)
{
    g_auto(LedgerParty) asked = {0};
    ledger_party_fill(&asked, ledger, party);
    g_autofree BerthDecision *decisions = g_new0(BerthDecision, asked.n + 1);
    if (!berth_pick_group(ledger->snapshot, asked.requests, asked.n, berth_policy_default(),
                          decisions)) {
        explain_refusal(ledger, party->members, asked.requests, why, error);
        return FALSE;
    }
    /* Noted in the order in which they were decided, for a replay. */
    g_autofree guint *order = berth_group_order(ledger->snapshot, asked.requests, asked.n);
    for (guint i = 0; i < asked.n; i++) {
        const BerthRequest *request = &asked.requests[order[i]];
        json_t *reasons = json_object();
        ledger_note_decision(ledger, request, &decisions[order[i]], reasons);
        g_hash_table_replace(ledger->reserved, g_strdup(request->uid), reasons);
    }
    return TRUE;
}
