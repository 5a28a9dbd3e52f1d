/* Groups that are placed together or not at all: placement.group with a group_size.
 *
 * When the last member is there, all that have no host are charged in one go; each takes its reservation from the
 * ledger when its own turn comes. A reservation is lost with the daemon: then those without a host are placed
 * together again. Main loop only. */
#include "daemon/control.h"

#include "base/error.h"

/** Returns: whether @object is placed with others only. */
gboolean
berth_workload_has_group(const BerthObject *object)
{
    const BerthPlacementSpec *placement = &berth_workload_of(object)->placement;
    return placement->group != NULL && placement->group_size > 1;
}

static gboolean
is_member(const BerthObject *object, const BerthObject *of)
{
    return object->kind->workload && object->deleting == NULL && object->power == BERTH_POWER_ON &&
           g_strcmp0(object->project, of->project) == 0 &&
           g_strcmp0(berth_workload_of(object)->placement.group,
                     berth_workload_of(of)->placement.group) == 0;
}

static void
sort_in(BerthFleetLedger *ledger, BerthObject *member, GPtrArray *homeless, guint *placed)
{
    if (berth_ledger_host_of(ledger, member->uid) != NULL) {
        ++*placed;
    } else {
        g_ptr_array_add(homeless, member);
    }
}

/* Members of @object's group that shall run: those without a host, and how many have one. @planned: (nullable): of
 * objects that stand for the stored ones of their names. */
static GPtrArray *
list_members(BerthControl *control, BerthFleetLedger *ledger, const BerthObject *object,
             const GPtrArray *planned, guint *placed)
{
    static const BerthKind *const kinds[] = {&berth_kind_pod, &berth_kind_vm};
    GPtrArray *homeless = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    *placed = 0;
    for (guint i = 0; planned != NULL && i < planned->len; i++) {
        BerthObject *member = planned->pdata[i];
        if (is_member(member, object) && g_hash_table_add(seen, member->uid)) {
            sort_in(ledger, member, homeless, placed);
        }
    }
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, control->catalog, kinds[i], object->project);
        for (BerthObject *member; (member = berth_catalog_iter_next(&iter)) != NULL;) {
            if (is_member(member, object) && g_hash_table_add(seen, member->uid)) {
                sort_in(ledger, member, homeless, placed);
            }
        }
    }
    return homeless;
}

/**
 * berth_workload_place_group:
 * @object: a member without a host
 * @planned: (nullable): objects that a plan would write, in place of the stored ones
 * @members: (out) (transfer container): the members without a host; they have their reservation when TRUE
 *   is returned
 * @why: (out) (transfer full): reasons of a refusal as JSON; NULL when the group is not complete
 *
 * Reserves room for every member that has none. Errors: EXHAUSTED; UNAVAILABLE while members are missing.
 */
gboolean
berth_workload_place_group(BerthControl *control, BerthFleetLedger *ledger, BerthObject *object,
                           const GPtrArray *planned, GPtrArray **members, json_t **why,
                           GError **error)
{
    const BerthPlacementSpec *placement = &berth_workload_of(object)->placement;
    guint placed;
    g_autoptr(GPtrArray) homeless = list_members(control, ledger, object, planned, &placed);
    guint wanted = (guint)placement->group_size, there = placed + homeless->len;
    *members = NULL;
    *why = NULL;
    if (there < wanted) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL,
                           "create the others, or set placement.group_size",
                           "group '%s' has %u of %u members; none is placed before all are there",
                           placement->group, there, wanted);
        return FALSE;
    }
    g_autofree BerthNeeds *needs = g_new0(BerthNeeds, homeless->len + 1);
    for (guint i = 0; i < homeless->len; i++) {
        berth_workload_needs_init(&needs[i], control, homeless->pdata[i]);
    }
    gboolean fits = berth_ledger_reserve(ledger, homeless, needs, why, error);
    for (guint i = 0; i < homeless->len; i++) {
        berth_workload_needs_clear(&needs[i]);
    }
    *members = g_steal_pointer(&homeless);
    return fits;
}
