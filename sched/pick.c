/* Picking: the best host under the policy, the lowest index among equals, so that equal input has
 * equal output. Start at berth_pick. */
#include "sched/pick.h"

#include "sched/evaluate.h"
#include "sched/mix.h"

static gboolean
scan(const BerthAsk *ask, const BerthPlan *plan, BerthDecision *decision)
{
    gint64 best = 0;
    BerthPlacement placement;
    for (guint32 host = 0; host < ask->snapshot->end; host++) {
        gint64 score = berth_evaluate(ask, plan, host, &placement);
        if (score > best) {
            best = score;
            decision->placement = placement;
        }
    }
    decision->placed = best > 0;
    decision->score = best;
    return decision->placed;
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
    BerthPlan plan;
    memset(decision, 0, sizeof(*decision));
    berth_ask_init(&ask, snapshot, request);
    berth_plan_init(&plan, &ask, policy == NULL ? berth_policy_default() : policy);
    berth_mix_refresh(snapshot->mix, snapshot);
    return scan(&ask, &plan, decision);
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
    if (!berth_pick(snapshot, request, policy, decision)) {
        return FALSE;
    }
    guint32 made = berth_snapshot_charge(snapshot, request, &decision->placement);
    if (charge != NULL) {
        *charge = made;
    }
    return TRUE;
}
