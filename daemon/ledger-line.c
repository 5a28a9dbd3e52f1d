/* Who waits for a place, as the daemon asks: every change of the ledger that could help somebody wakes
 * those it could help, so nobody else has to say it. */
#include "daemon/ledger-private.h"

static gint64
now_us(const BerthFleetLedger *ledger)
{
    return berth_clock_monotonic_us(ledger->clock);
}

static void
tell(BerthFleetLedger *ledger)
{
    if (ledger->woken != NULL && berth_ledger_due(ledger) < G_MAXINT64) {
        ledger->woken(ledger->woken_data);
    }
}

/* Something happened, of BerthWake. */
void
ledger_wake(BerthFleetLedger *ledger, guint wakes)
{
    if (berth_waiting_wake(ledger->waiting, wakes) > 0) {
        tell(ledger);
    }
}

/** Calls @woken (NULL: nobody) whenever somebody was woken or joined; not for copies. */
void
berth_ledger_follow_line(BerthFleetLedger *ledger, BerthLedgerWoken woken, gpointer user_data)
{
    ledger->woken = woken;
    ledger->woken_data = user_data;
}

/** Puts @workload in line, to be tried as soon as those before it were; who is there stays as it is. */
void
berth_ledger_join(BerthFleetLedger *ledger, const BerthObject *workload)
{
    /* Times of creation are whole seconds; within one the store's order decides. */
    g_autofree char *since =
        g_strdup_printf("%s %020" G_GINT64_FORMAT, workload->created, workload->body_revision);
    berth_waiting_add(ledger->waiting, workload->uid, workload->project,
                      (gint)berth_workload_of(workload)->priority, since, now_us(ledger));
    tell(ledger);
}

/** Takes @uid out of the line; nothing when it isn't there. */
void
berth_ledger_leave(BerthFleetLedger *ledger, const char *uid)
{
    if (berth_waiting_remove(ledger->waiting, uid)) {
        tell(ledger);
    }
}

/**
 * berth_ledger_step_aside:
 * @events_help: what another gives back may help, or a changed Network; FALSE: only berth_ledger_call()
 *
 * For one whose turn it is and that lacks something else than room: a free address, or members of its group.
 */
void
berth_ledger_step_aside(BerthFleetLedger *ledger, const char *uid, gboolean events_help)
{
    berth_waiting_refused(ledger->waiting, uid,
                          events_help ? BERTH_WAKE_CAPACITY | BERTH_WAKE_FACTS : 0, now_us(ledger));
}

/** Gives @uid a turn for a reason of its own: its group is complete. */
void
berth_ledger_call(BerthFleetLedger *ledger, const char *uid)
{
    berth_waiting_call(ledger->waiting, uid, now_us(ledger));
    tell(ledger);
}

/** A Network came, went, or has other addresses. */
void
berth_ledger_network_changed(BerthFleetLedger *ledger)
{
    ledger_wake(ledger, BERTH_WAKE_FACTS);
}

/** Returns: (nullable): uid of the one to be placed now; it must be placed, refused or taken out then. */
const char *
berth_ledger_next(BerthFleetLedger *ledger)
{
    return berth_waiting_next(ledger->waiting, ledger->snapshot, now_us(ledger));
}

/** Returns: when berth_ledger_next() has somebody, monotonic; G_MAXINT64: not before an event. */
gint64
berth_ledger_due(const BerthFleetLedger *ledger)
{
    return berth_waiting_due(ledger->waiting);
}

/** Returns: how many are in line. */
guint
berth_ledger_waiting(const BerthFleetLedger *ledger)
{
    return berth_waiting_length(ledger->waiting);
}
