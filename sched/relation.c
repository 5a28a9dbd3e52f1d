/* Matching of workloads by group or label within a host, rack or zone. A workload never matches
 * itself: when its uid is charged already (it is being moved), that charge is left out. */
#include "sched/relation.h"

/**
 * berth_relation_place:
 *
 * Returns: what tells places of that scope apart; a host without rack or zone is a place of its own
 */
guint64
berth_relation_place(const BerthSnapshot *s, guint32 host, BerthScope scope)
{
    BerthSymbol place = scope == BERTH_SCOPE_RACK   ? s->rack[host]
                        : scope == BERTH_SCOPE_ZONE ? s->zone[host]
                                                    : 0;
    return place != 0 ? (guint64)place << 32 : host;
}

static gboolean
has_label(const BerthCharge *charge, BerthSymbol key, BerthSymbol value)
{
    for (guint i = 0; i < charge->n_labels; i++) {
        if (charge->labels[i].key == key && (value == 0 || charge->labels[i].value == value)) {
            return TRUE;
        }
    }
    return FALSE;
}

/** Returns: whether @charge is of the workload that asks. */
gboolean
berth_relation_is_itself(const BerthAsk *ask, const BerthCharge *charge)
{
    return ask->request->uid != NULL && charge->uid != NULL &&
           g_str_equal(charge->uid, ask->request->uid);
}

/** Returns: whether the relation is to be kept, and says near whom to be. */
gboolean
berth_relation_must_be_near(const BerthAsk *ask, guint relation)
{
    const BerthRelation *r = &ask->request->relations[relation];
    return r->kind == BERTH_RELATION_TOGETHER && r->weight == 0;
}

/** Returns: whether @charge is of a workload that the one that asks must be near, one of those. */
gboolean
berth_relation_is_sought(const BerthAsk *ask, const BerthCharge *charge)
{
    for (guint i = 0; i < ask->request->n_relations; i++) {
        if (berth_relation_must_be_near(ask, i) &&
            (ask->request->relations[i].group != NULL
                 ? charge->group == ask->relation_groups[i]
                 : has_label(charge, ask->relation_keys[i], ask->relation_values[i]))) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
is_in_place(const BerthAsk *ask, const BerthCharge *charge, guint32 host, BerthScope scope)
{
    return berth_relation_place(ask->snapshot, charge->host, scope) ==
           berth_relation_place(ask->snapshot, host, scope);
}

/**
 * berth_relation_key:
 *
 * Returns: what tells places of every scope apart, in sets of them
 */
gpointer
berth_relation_key(const BerthSnapshot *s, guint32 host, BerthScope scope)
{
    return GSIZE_TO_POINTER(berth_relation_place(s, host, scope) << 2 | (scope + 1));
}

/**
 * berth_relation_list_labelled:
 * @relation: one that speaks of a label
 *
 * Returns: (transfer full): keys of the places with such a workload. Cost: all workloads, so once a request
 */
GHashTable *
berth_relation_list_labelled(const BerthAsk *ask, guint relation)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthRelation *r = &ask->request->relations[relation];
    GHashTable *places = g_hash_table_new(NULL, NULL);
    for (guint32 c = 0; c < s->charges->len; c++) {
        const BerthCharge *charge = berth_charge(s, c);
        if (charge->attached &&
            has_label(charge, ask->relation_keys[relation], ask->relation_values[relation]) &&
            !berth_relation_is_itself(ask, charge)) {
            g_hash_table_add(places, berth_relation_key(s, charge->host, r->scope));
        }
    }
    return places;
}

/* Whether a member of the relation's group is in the place of @host, or, with NONE, anywhere. */
static gboolean
find_member(const BerthAsk *ask, guint relation, guint32 host)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthGroup *group = berth_snapshot_group(s, ask->relation_groups[relation]);
    BerthScope scope = ask->request->relations[relation].scope;
    guint32 c = group == NULL ? BERTH_CHARGE_NONE : group->head;
    for (; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->group_next) {
        const BerthCharge *charge = berth_charge(s, c);
        if ((host == BERTH_HOST_NONE || is_in_place(ask, charge, host, scope)) &&
            !berth_relation_is_itself(ask, charge)) {
            return TRUE;
        }
    }
    return FALSE;
}

/**
 * berth_relation_is_near:
 *
 * Returns: whether a workload that the relation speaks of is in the place @host is in
 */
gboolean
berth_relation_is_near(const BerthAsk *ask, guint relation, guint32 host)
{
    const BerthRelation *r = &ask->request->relations[relation];
    return r->group != NULL
               ? find_member(ask, relation, host)
               : g_hash_table_contains(ask->labelled[relation],
                                       berth_relation_key(ask->snapshot, host, r->scope));
}

/**
 * berth_relation_has_members:
 *
 * Returns: whether a workload that the relation speaks of is anywhere
 */
gboolean
berth_relation_has_members(const BerthAsk *ask, guint relation)
{
    return ask->request->relations[relation].group != NULL
               ? find_member(ask, relation, BERTH_HOST_NONE)
               : g_hash_table_size(ask->labelled[relation]) > 0;
}

/**
 * berth_relation_count:
 *
 * Returns: how many members of the spread's group are in the place @host is in
 */
guint
berth_relation_count(const BerthAsk *ask, guint spread, guint32 host)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthGroup *group = berth_snapshot_group(s, ask->spread_groups[spread]);
    guint32 c = group == NULL ? BERTH_CHARGE_NONE : group->head;
    guint n = 0;
    for (; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->group_next) {
        const BerthCharge *charge = berth_charge(s, c);
        n += is_in_place(ask, charge, host, ask->request->spreads[spread].scope) &&
             !berth_relation_is_itself(ask, charge);
    }
    return n;
}
