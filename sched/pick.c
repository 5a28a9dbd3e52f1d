/* Picking: the best host under the policy, the lowest index among equals, so that equal input has
 * equal output. Start at berth_pick. */
#include "sched/pick.h"

#include "sched/evaluate.h"
#include "sched/index.h"
#include "sched/relation.h"

/* An indexed policy compares hosts by rank, so that the index and a scan have the same answer. */
/* Hosts that are looked at: of one place, or all. */
typedef struct {
    BerthScope scope;
    guint64 place;
} Within;

static gboolean
scan(const BerthAsk *ask, const BerthPlan *plan, gboolean by_rank, const Within *within,
     BerthDecision *decision)
{
    gint64 best = 0;
    BerthPlacement placement;
    for (guint32 host = 0; host < ask->snapshot->end; host++) {
        if (within != NULL &&
            berth_relation_place(ask->snapshot, host, within->scope) != within->place) {
            continue;
        }
        gint64 score = by_rank ? berth_evaluate_rank(ask, plan, host, &placement)
                               : berth_evaluate(ask, plan, host, &placement);
        if (score > best) {
            best = score;
            decision->placement = placement;
        }
    }
    decision->placed = best > 0;
    decision->score = MIN(best, G_MAXUINT32);
    return decision->placed;
}

static gboolean
pick_by_scan(BerthSnapshot *snapshot, const BerthAsk *ask, const BerthPolicy *policy,
             BerthDecision *decision)
{
    BerthPlan plan;
    berth_plan_init(&plan, ask, policy);
    return scan(ask, &plan, policy->indexed, NULL, decision);
}

/**
 * berth_pick_naive:
 *
 * As berth_pick, by looking at every host: what the index is measured and tested against.
 */
gboolean
berth_pick_naive(BerthSnapshot *snapshot, const BerthRequest *request, const BerthPolicy *policy,
                 BerthDecision *decision)
{
    g_auto(BerthAsk) ask = {0};
    memset(decision, 0, sizeof(*decision));
    berth_ask_init_for_decision(&ask, snapshot, request);
    return pick_by_scan(snapshot, &ask, policy == NULL ? berth_policy_default() : policy, decision);
}

static gboolean
pick(BerthSnapshot *snapshot, const BerthAsk *ask, const BerthPolicy *policy,
     BerthDecision *decision)
{
    policy = policy == NULL ? berth_policy_default() : policy;
    memset(decision, 0, sizeof(*decision));
    BerthIndexAnswer answer = berth_index_pick(snapshot, ask, policy, decision);
    return answer == BERTH_INDEX_CANNOT ? pick_by_scan(snapshot, ask, policy, decision)
                                        : answer == BERTH_INDEX_PLACED;
}

/**
 * berth_pick:
 * @snapshot: learns the request's strings; its hosts are not changed
 * @policy: NULL for the default
 * @decision: (out): where it goes
 *
 * Returns: whether there is a place
 */
gboolean
berth_pick(BerthSnapshot *snapshot, const BerthRequest *request, const BerthPolicy *policy,
           BerthDecision *decision)
{
    g_auto(BerthAsk) ask = {0};
    berth_ask_init_for_decision(&ask, snapshot, request);
    return pick(snapshot, &ask, policy, decision);
}

/**
 * berth_pick_and_charge:
 * @charge: (out) (optional): the charge made when it was placed
 *
 * Picks, and writes the placement to the ledger when there is one.
 */
gboolean
berth_pick_and_charge(BerthSnapshot *snapshot, const BerthRequest *request,
                      const BerthPolicy *policy, BerthDecision *decision, guint32 *charge)
{
    g_auto(BerthAsk) ask = {0};
    berth_ask_init_for_decision(&ask, snapshot, request);
    if (!pick(snapshot, &ask, policy, decision)) {
        return FALSE;
    }
    guint32 made = berth_snapshot_charge_asked(snapshot, &ask, &decision->placement);
    if (charge != NULL) {
        *charge = made;
    }
    return TRUE;
}

/**
 * berth_pick_in_place:
 * @place: from berth_relation_place() for @scope
 *
 * As berth_pick_and_charge, on hosts of that place only. Cost: a scan of them.
 */
gboolean
berth_pick_in_place(BerthSnapshot *snapshot, const BerthRequest *request, const BerthPolicy *policy,
                    BerthScope scope, guint64 place, BerthDecision *decision, guint32 *charge)
{
    g_auto(BerthAsk) ask = {0};
    BerthPlan plan;
    const Within within = {scope, place};
    memset(decision, 0, sizeof(*decision));
    berth_ask_init_for_decision(&ask, snapshot, request);
    berth_plan_init(&plan, &ask, policy);
    if (!scan(&ask, &plan, policy->indexed, &within, decision)) {
        return FALSE;
    }
    *charge = berth_snapshot_charge_asked(snapshot, &ask, &decision->placement);
    return TRUE;
}
