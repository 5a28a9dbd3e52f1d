/* Which live migrations are worth making: every workload that holds a place is told to the planner, with
 * the reason when it can't move. */
#include "daemon/what-if.h"

#include "drivers/domain-xml.h"

/* Why @object can't be moved while it runs, or NULL. */
static const char *
tell_fixed(const BerthObject *object)
{
    if (berth_workload_of(object)->profile == BERTH_PROFILE_MICROVM) {
        return "a microvm machine can't be migrated";
    }
    if (berth_workload_of(object)->devices != NULL && berth_workload_of(object)->devices->len > 0) {
        return "it has devices of its host";
    }
    return berth_workload_status_of(object)->phase == BERTH_PHASE_RUNNING ? NULL
                                                                          : "it does not run";
}

static void
clear_movable(gpointer movable)
{
    berth_workload_needs_clear(&((BerthLedgerMovable *)movable)->needs);
}

/* BerthLedgerMovable; to be freed before the main loop runs again. */
static GArray *
list_movables(BerthWhatIf *what_if)
{
    const BerthKind *const kinds[] = {&berth_kind_vm, &berth_kind_pod};
    GArray *movables = g_array_new(FALSE, FALSE, sizeof(BerthLedgerMovable));
    g_array_set_clear_func(movables, clear_movable);
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, what_if->control->catalog, kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            if (berth_ledger_host_of(what_if->ledger, object->uid) != NULL) {
                BerthLedgerMovable movable = {.object = object, .fixed = tell_fixed(object)};
                berth_workload_needs_init(&movable.needs, what_if->control, object);
                g_array_append_val(movables, movable);
            }
        }
    }
    return movables;
}

static gboolean
know_hosts(BerthWhatIf *what_if, char **names, GError **error)
{
    g_auto(GStrv) known = berth_ledger_hosts(what_if->ledger);
    for (guint i = 0; names != NULL && names[i] != NULL; i++) {
        if (!g_strv_contains((const char *const *)known, names[i])) {
            g_autofree char *place = g_strdup_printf("/empty_hosts/%u", i);
            berth_what_if_unknown_host(names[i], place, error);
            return FALSE;
        }
    }
    return TRUE;
}

/**
 * berth_what_if_rebalance:
 *
 * Returns: (transfer full): RebalanceAnswer. Errors: NOT_FOUND with the pointer of the host that nobody
 * knows.
 */
json_t *
berth_what_if_rebalance(BerthWhatIf *what_if, const BerthRebalanceQuestion *question,
                        GError **error)
{
    if (!know_hosts(what_if, question->empty_hosts, error)) {
        return NULL;
    }
    g_autoptr(GArray) movables = list_movables(what_if);
    json_t *plan = berth_ledger_rebalance(
        what_if->ledger, (const BerthLedgerMovable *)movables->data, movables->len, question);
    gint64 revision = berth_catalog_revision(what_if->control->catalog);
    json_object_set_new(plan, "revision", json_integer((json_int_t)revision));
    return plan;
}
