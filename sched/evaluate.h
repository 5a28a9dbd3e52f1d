/* One host, one request: does it fit, where in the host, how good. */
#pragma once

#include "sched/rules.h"

G_BEGIN_DECLS

/**
 * BerthPlan: the rules that have something to say to a request under a policy, in table order
 */
typedef struct {
    guint n_filters;
    guint8 filters[BERTH_RULES_MAX];
    guint n_scores;
    const BerthRule *scores[BERTH_WEIGHTS_MAX];
    gint32 weights[BERTH_WEIGHTS_MAX];
    gboolean vcpu, memory; /* whether those filters are among them */
    gint64
        full; /* what a host that every score likes best would get; 0 = ranks are not asked for */
} BerthPlan;

void berth_plan_init(BerthPlan *plan, const BerthAsk *ask, const BerthPolicy *policy);
gint berth_evaluate_filters(const BerthAsk *ask, const BerthPlan *plan, guint32 host,
                            BerthRefusal *refusal);
gint64 berth_evaluate(const BerthAsk *ask, const BerthPlan *plan, guint32 host,
                      BerthPlacement *placement);
guint16 berth_evaluate_rank(const BerthAsk *ask, const BerthPlan *plan, guint32 host,
                            BerthPlacement *placement);
void berth_evaluate_ranks(const BerthAsk *ask, const BerthPlan *plan, const guint32 *hosts, guint n,
                          guint16 floor, guint16 *ranks);
gint64 berth_evaluate_scores(const BerthAsk *ask, const BerthPlan *plan, guint32 host,
                             const BerthPlacement *placement, BerthScored *scored);

G_END_DECLS
