/* Explanations: every host's first refusing rule, the same in groups, and the smallest change after
 * which the request fits. Reads the same rules as picking, so the two can't disagree.
 * Start at berth_explain. */
#include "sched/explain.h"

#include "sched/evaluate.h"
#include "sched/fix.h"

static void
own_text(BerthExplanation *e, BerthRefusal *refusal)
{
    const char *dimension = refusal->dimension == NULL ? "" : refusal->dimension;
    refusal->dimension = g_string_chunk_insert_const(e->text, dimension);
}

static int
compare_groups(gconstpointer a, gconstpointer b)
{
    const BerthRefusalGroup *x = a, *y = b;
    return x->hosts != y->hosts ? (x->hosts < y->hosts ? 1 : -1)
                                : (x->nearest < y->nearest ? -1 : x->nearest > y->nearest);
}

static void
add_to_group(BerthExplanation *e, const BerthRefusal *r)
{
    for (guint i = 0; i < e->groups->len; i++) {
        BerthRefusalGroup *group = &g_array_index(e->groups, BerthRefusalGroup, i);
        if (group->code == r->code && group->dimension == r->dimension) {
            group->hosts++;
            if (r->short_by < group->least_short_by) {
                group->least_short_by = r->short_by;
                group->nearest = r->host;
            }
            return;
        }
    }
    BerthRefusalGroup group = {r->code, r->dimension, 1, r->short_by, r->host};
    g_array_append_val(e->groups, group);
}

typedef struct {
    gint64 score;
    BerthPlacement placement;
} Candidate;

static void
keep_best_two(Candidate best[2], gint64 score, const BerthPlacement *placement)
{
    if (score > best[0].score) {
        best[1] = best[0];
        best[0] = (Candidate){score, *placement};
    } else if (score > best[1].score) {
        best[1] = (Candidate){score, *placement};
    }
}

static void
look_at_hosts(BerthExplanation *e, const BerthAsk *ask, const BerthPlan *plan, gboolean by_rank,
              Candidate best[2])
{
    for (guint32 host = 0; host < ask->snapshot->end; host++) {
        if (ask->snapshot->name[host] == 0) {
            continue;
        }
        BerthRefusal refusal = {.host = host};
        BerthPlacement placement;
        if (berth_evaluate_filters(ask, plan, host, &refusal) < 0) {
            gint64 score = by_rank ? berth_evaluate_rank(ask, plan, host, &placement)
                                   : berth_evaluate(ask, plan, host, &placement);
            keep_best_two(best, score, &placement);
            continue;
        }
        own_text(e, &refusal);
        g_array_append_val(e->refusals, refusal);
        add_to_group(e, &refusal);
    }
}

static void
fill_scored(BerthScored *scored, const BerthAsk *ask, const BerthPlan *plan, const Candidate *c)
{
    scored->host = BERTH_HOST_NONE;
    if (c->score > 0) {
        scored->host = c->placement.host;
        scored->score = MIN(c->score, G_MAXUINT32);
        berth_evaluate_scores(ask, plan, c->placement.host, &c->placement, scored);
    }
}

/**
 * berth_explain:
 * @snapshot: learns the request's strings, and is otherwise as it was when the call returns
 * @policy: NULL for the default
 *
 * Cost: every rule on every host.
 *
 * Returns: (transfer full): why @request fits nowhere, or why it goes where it goes
 */
BerthExplanation *
berth_explain(BerthSnapshot *snapshot, const BerthRequest *request, const BerthPolicy *policy)
{
    BerthExplanation *e = g_new0(BerthExplanation, 1);
    e->refusals = g_array_new(FALSE, FALSE, sizeof(BerthRefusal));
    e->groups = g_array_new(FALSE, FALSE, sizeof(BerthRefusalGroup));
    e->text = g_string_chunk_new(256);
    g_auto(BerthAsk) ask = {0};
    BerthPlan plan;
    Candidate best[2] = {{0}};
    policy = policy == NULL ? berth_policy_default() : policy;
    berth_ask_init_for_decision(&ask, snapshot, request);
    berth_plan_init(&plan, &ask, policy);
    look_at_hosts(e, &ask, &plan, policy->indexed, best);
    e->fits = best[0].score > 0;
    fill_scored(&e->winner, &ask, &plan, &best[0]);
    fill_scored(&e->runner_up, &ask, &plan, &best[1]);
    g_array_sort(e->groups, compare_groups);
    e->fix.host = BERTH_HOST_NONE;
    if (!e->fits) {
        berth_fix_find(&e->fix, snapshot, &ask, &plan);
        const char *dimension = e->fix.dimension;
        e->fix.dimension = g_string_chunk_insert_const(e->text, dimension != NULL ? dimension : "");
        for (guint i = 0; i < e->fix.n_amounts; i++) {
            e->fix.amounts[i].dimension =
                g_string_chunk_insert_const(e->text, e->fix.amounts[i].dimension);
        }
    }
    return e;
}

void
berth_explanation_free(BerthExplanation *e)
{
    if (e != NULL) {
        g_array_unref(e->refusals);
        g_array_unref(e->groups);
        g_string_chunk_free(e->text);
        g_free(e);
    }
}
