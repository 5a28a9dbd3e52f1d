/* Groups that are placed together or not at all: placement.group with a group_size.
 *
 * When the last member is there, all that have no host are a party: they are charged in one go, and each takes its
 * reservation from the ledger when its own turn comes. A reservation is lost with the daemon: then those without
 * a host are placed together again. Main loop only. */
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

/* A VM keeps the host of its disks. */
static const char *
host_of_disks(const BerthObject *object)
{
    return object->kind == &berth_kind_vm ? berth_workload_status_of(object)->host : NULL;
}

static void
fill(BerthParty *party, BerthControl *control, GPtrArray *members)
{
    party->members = members;
    party->needs = g_new0(BerthNeeds, members->len + 1);
    party->hosts = g_new0(const char *, members->len + 1);
    for (guint i = 0; i < members->len; i++) {
        berth_workload_needs_init(&party->needs[i], control, members->pdata[i]);
        party->hosts[i] = host_of_disks(members->pdata[i]);
    }
}

/** @party becomes @object alone; @host: (nullable): the only one it may go to. */
void
berth_party_init_one(BerthParty *party, BerthControl *control, BerthObject *object,
                     const char *host)
{
    GPtrArray *members = g_ptr_array_new();
    g_ptr_array_add(members, object);
    fill(party, control, members);
    party->hosts[0] = host;
}

/**
 * berth_party_init_group:
 * @object: a member without a host
 * @planned: (nullable): objects that a plan would write, in place of the stored ones
 *
 * @party becomes every member that has no host. Errors: UNAVAILABLE while members are missing.
 */
gboolean
berth_party_init_group(BerthParty *party, BerthControl *control, BerthFleetLedger *ledger,
                       BerthObject *object, const GPtrArray *planned, GError **error)
{
    const BerthPlacementSpec *placement = &berth_workload_of(object)->placement;
    guint placed;
    g_autoptr(GPtrArray) homeless = list_members(control, ledger, object, planned, &placed);
    guint wanted = (guint)placement->group_size, there = placed + homeless->len;
    if (there < wanted) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL,
                           "create the others, or set placement.group_size",
                           "group '%s' has %u of %u members; none is placed before all are there",
                           placement->group, there, wanted);
        return FALSE;
    }
    fill(party, control, g_steal_pointer(&homeless));
    return TRUE;
}

/** @party becomes those of @object's status.preempting.with that have no place yet, each on the host of its record. */
void
berth_party_init_made(BerthParty *party, BerthControl *control, BerthObject *object)
{
    char **with = berth_workload_status_of(object)->preempting.with;
    GPtrArray *members = g_ptr_array_new();
    for (guint i = 0; with[i] != NULL; i++) {
        BerthObject *member = berth_catalog_get_uid(control->catalog, with[i]);
        if (berth_ledger_host_of(control->ledger, with[i]) == NULL) {
            g_ptr_array_add(members, member);
        }
    }
    fill(party, control, members);
    for (guint i = 0; i < members->len; i++) {
        party->hosts[i] = berth_workload_status_of(members->pdata[i])->preempting.host;
    }
}

void
berth_party_clear(BerthParty *party)
{
    for (guint i = 0; party->members != NULL && i < party->members->len; i++) {
        berth_workload_needs_clear(&party->needs[i]);
    }
    g_clear_pointer(&party->members, g_ptr_array_unref);
    g_clear_pointer(&party->needs, g_free);
    g_clear_pointer(&party->hosts, g_free);
}
