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

static gboolean
is_itself(const BerthAsk *ask, const BerthCharge *charge)
{
    return ask->request->uid != NULL && charge->uid != NULL &&
           g_str_equal(charge->uid, ask->request->uid);
}

typedef gboolean (*MatchFunc)(const BerthAsk *ask, const BerthCharge *charge, guint32 host,
                              BerthScope scope);

static gboolean
is_in_place(const BerthAsk *ask, const BerthCharge *charge, guint32 host, BerthScope scope)
{
    return berth_relation_place(ask->snapshot, charge->host, scope) ==
           berth_relation_place(ask->snapshot, host, scope);
}

static gboolean
is_anywhere(const BerthAsk *ask, const BerthCharge *charge, guint32 host, BerthScope scope)
{
    return TRUE;
}

/* Whether some charge that the relation speaks of satisfies @match. */
static gboolean
find_match(const BerthAsk *ask, guint relation, guint32 host, MatchFunc match)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthRelation *r = &ask->request->relations[relation];
    if (r->group != NULL) {
        const BerthGroup *group = berth_snapshot_group(s, ask->relation_groups[relation]);
        guint32 c = group == NULL ? BERTH_CHARGE_NONE : group->head;
        for (; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->group_next) {
            if (match(ask, berth_charge(s, c), host, r->scope) &&
                !is_itself(ask, berth_charge(s, c))) {
                return TRUE;
            }
        }
        return FALSE;
    }
    for (guint32 c = 0; c < s->charges->len; c++) {
        const BerthCharge *charge = berth_charge(s, c);
        if (charge->host != BERTH_HOST_NONE &&
            has_label(charge, ask->relation_keys[relation], ask->relation_values[relation]) &&
            match(ask, charge, host, r->scope) && !is_itself(ask, charge)) {
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
    return find_match(ask, relation, host, is_in_place);
}

/**
 * berth_relation_has_members:
 *
 * Returns: whether a workload that the relation speaks of is anywhere
 */
gboolean
berth_relation_has_members(const BerthAsk *ask, guint relation)
{
    return find_match(ask, relation, 0, is_anywhere);
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
             !is_itself(ask, charge);
    }
    return n;
}
