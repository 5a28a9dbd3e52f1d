/* Runs the rules for one host: filters in order until one refuses, then every way of placing within
 * the host is scored and the best kept; the earliest among equals. */
#include "sched/evaluate.h"

#include <string.h>

#include "sched/place.h"

extern const BerthRule berth_rule_vcpu, berth_rule_memory;

/* Ranks are 1 to one more than this; 0 is refused. */
#define RANK_STEPS 65534

static void
add_filters(BerthPlan *plan, const BerthAsk *ask)
{
    for (guint i = 0; berth_rules[i] != NULL; i++) {
        const BerthRule *rule = berth_rules[i];
        if (rule->admits != NULL && !(ask->waived >> i & 1) &&
            (rule->asked == NULL || rule->asked(ask))) {
            plan->filters[plan->n_filters++] = i;
            plan->vcpu |= rule == &berth_rule_vcpu;
            plan->memory |= rule == &berth_rule_memory;
        }
    }
}

/**
 * berth_plan_init:
 *
 * Selects the filters and scores that concern the request; costs a call per rule once, not per host.
 */
void
berth_plan_init(BerthPlan *plan, const BerthAsk *ask, const BerthPolicy *policy)
{
    *plan = (BerthPlan){0};
    add_filters(plan, ask);
    for (guint i = 0; i < BERTH_WEIGHTS_MAX && policy->weights[i].rule != NULL; i++) {
        const BerthRule *rule = policy->weights[i].rule;
        if (rule->asked == NULL || rule->asked(ask)) {
            plan->full += (gint64)policy->weights[i].weight * BERTH_SCORE_MAX;
            plan->scores[plan->n_scores] = rule;
            plan->weights[plan->n_scores++] = policy->weights[i].weight;
        }
    }
}

/**
 * berth_evaluate_filters:
 * @refusal: (out) (optional): filled by the rule that refused
 *
 * Returns: place in the table of the first rule that refuses @host, or -1
 */
gint
berth_evaluate_filters(const BerthAsk *ask, const BerthPlan *plan, guint32 host,
                       BerthRefusal *refusal)
{
    for (guint i = 0; i < plan->n_filters; i++) {
        const BerthRule *rule = berth_rules[plan->filters[i]];
        if (!rule->admits(ask, host, refusal)) {
            if (refusal != NULL) {
                refusal->host = host;
                refusal->code = rule->code;
            }
            return plan->filters[i];
        }
    }
    return -1;
}

/**
 * berth_evaluate_scores:
 * @scored: (out): the parts
 *
 * Returns: weighted sum of the scores for that way of placing, at least 1
 */
gint64
berth_evaluate_scores(const BerthAsk *ask, const BerthPlan *plan, guint32 host,
                      const BerthPlacement *placement, BerthScored *scored)
{
    gint64 total = 1;
    for (guint i = 0; i < plan->n_scores; i++) {
        gint64 part = plan->scores[i]->score(ask, host, placement);
        total += part * plan->weights[i];
        if (scored->n_parts < BERTH_SCORE_PARTS_MAX) {
            scored->parts[scored->n_parts++] = (BerthScorePart){
                plan->scores[i]->code, part * 1000 / BERTH_SCORE_MAX, plan->weights[i]};
        }
    }
    return MAX(1, total);
}

typedef struct {
    guint n;
    BerthPlacement ways[BERTH_WAYS_MAX];
    gint64 best;
    BerthPlacement best_way;
} Choice;

/* Scores the collected ways and keeps the best; the earliest among equals. */
static void
score_portion(Choice *choice, const BerthAsk *ask, const BerthPlan *plan, guint32 host)
{
    gint64 totals[BERTH_WAYS_MAX], parts[BERTH_WAYS_MAX];
    for (guint w = 0; w < choice->n; w++) {
        totals[w] = 1;
    }
    for (guint i = 0; i < plan->n_scores; i++) {
        const BerthRule *rule = plan->scores[i];
        if (rule->score_ways != NULL) {
            rule->score_ways(ask, host, choice->ways, choice->n, parts);
        }
        for (guint w = 0; w < choice->n; w++) {
            gint64 part =
                rule->score_ways != NULL ? parts[w] : rule->score(ask, host, &choice->ways[w]);
            totals[w] += part * plan->weights[i];
        }
    }
    for (guint w = 0; w < choice->n; w++) {
        if (MAX(1, totals[w]) > choice->best) {
            choice->best = MAX(1, totals[w]);
            choice->best_way = choice->ways[w];
        }
    }
    choice->n = 0;
}

/* The same for the only way there is. */
static gint64
score_one(const BerthAsk *ask, const BerthPlan *plan, const BerthPlacement *way)
{
    gint64 total = 1;
    for (guint i = 0; i < plan->n_scores; i++) {
        const BerthRule *rule = plan->scores[i];
        gint64 part;
        if (rule->score_ways != NULL) {
            rule->score_ways(ask, way->host, way, 1, &part);
        } else {
            part = rule->score(ask, way->host, way);
        }
        total += part * plan->weights[i];
    }
    return MAX(1, total);
}

/* The filters "vcpu" and "memory": they refuse most often, so they come before anything is read. */
static inline gboolean
has_amounts(const BerthAsk *ask, const BerthPlan *plan, guint32 host)
{
    const BerthSnapshot *s = ask->snapshot;
    gint64 cpu = plan->vcpu ? ask->cpu_millis : 0;
    gint64 mem = plan->memory ? ask->memory_mib : 0;
    return (cpu <= s->cpu_free[host] || cpu == 0) && (mem <= s->mem_free[host] || mem == 0);
}

static gboolean
admits(const BerthAsk *ask, const BerthPlan *plan, guint32 host)
{
    for (guint i = 0; i < plan->n_filters; i++) {
        const BerthRule *rule = berth_rules[plan->filters[i]];
        if (!rule->placed && !rule->admits(ask, host, NULL)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Without the filter the request does not bind cells or devices, and asks for no way to be found. */
static BerthAsk
without_waived(const BerthAsk *ask, BerthRequest *request)
{
    BerthAsk free_ask = *ask;
    *request = *ask->request;
    if (ask->waived >> berth_rules_find("numa") & 1) {
        request->numa = BERTH_NUMA_ANY;
    }
    if (ask->waived >> berth_rules_find("device") & 1) {
        request->n_devices = 0;
    }
    free_ask.request = request;
    return free_ask;
}

static gint64
choose_way(const BerthAsk *ask, const BerthPlan *plan, guint32 host, BerthPlacement *placement)
{
    BerthCellPair pairs[BERTH_PLACE_CELLS_MAX];
    BerthDeviceSet sets[BERTH_PLACE_DEVICES_MAX];
    if (!has_amounts(ask, plan, host)) {
        return 0;
    }
    guint n_pairs = berth_place_cells(ask, host, pairs);
    guint n_sets = n_pairs == 0 ? 0 : berth_place_devices(ask, host, sets);
    if (n_sets == 0 || !admits(ask, plan, host)) {
        return 0;
    }
    guint n_devices = berth_place_device_count(ask);
    if (n_pairs * n_sets == 1) {
        *placement = (BerthPlacement){.host = host, .n_devices = n_devices};
        memcpy(placement->cells, pairs[0].cells, sizeof(placement->cells));
        memcpy(placement->devices, sets[0].slots, sizeof(placement->devices));
        return score_one(ask, plan, placement);
    }
    Choice choice;
    choice.n = 0;
    choice.best = 0;
    for (guint p = 0; p < n_pairs; p++) {
        for (guint d = 0; d < n_sets; d++) {
            BerthPlacement *way = &choice.ways[choice.n++];
            *way = (BerthPlacement){.host = host, .n_devices = n_devices};
            memcpy(way->cells, pairs[p].cells, sizeof(way->cells));
            memcpy(way->devices, sets[d].slots, sizeof(way->devices));
            if (choice.n == BERTH_WAYS_MAX) {
                score_portion(&choice, ask, plan, host);
            }
        }
    }
    if (choice.n > 0) {
        score_portion(&choice, ask, plan, host);
    }
    *placement = choice.best_way;
    return choice.best;
}

/**
 * berth_evaluate:
 * @placement: (out): the best way to place it there
 *
 * Returns: its score, at least 1; 0 when a rule refuses @host
 */
gint64
berth_evaluate(const BerthAsk *ask, const BerthPlan *plan, guint32 host, BerthPlacement *placement)
{
    if (ask->snapshot->name[host] == 0) {
        return 0;
    }
    if (ask->waived != 0) {
        BerthRequest request;
        BerthAsk free_ask = without_waived(ask, &request);
        return choose_way(&free_ask, plan, host, placement);
    }
    return choose_way(ask, plan, host, placement);
}

static inline guint16
rank_of(const BerthPlan *plan, gint64 score)
{
    return score == 0 ? 0 : 1 + CLAMP(score * RANK_STEPS / MAX(1, plan->full), 0, RANK_STEPS);
}

/**
 * berth_evaluate_rank:
 * @placement: (out) (optional): the best way to place it there
 *
 * Returns: the score of an indexed policy in 65535 steps, at least 1; 0 when a rule refuses @host. Hosts
 * are compared by rank, ways of placing within a host by score.
 */
guint16
berth_evaluate_rank(const BerthAsk *ask, const BerthPlan *plan, guint32 host,
                    BerthPlacement *placement)
{
    BerthPlacement way;
    return rank_of(plan, berth_evaluate(ask, plan, host, placement != NULL ? placement : &way));
}

/* For each host what no way of placing there scores more than by one rule; negative when there is no
 * way. What a rule says by facts alone it says of every way. */
static void
find_most(const BerthAsk *ask, const BerthRule *rule, const guint32 *hosts, guint n, gint32 *most)
{
    if (rule->most != NULL) {
        rule->most(ask, hosts, n, most);
        return;
    }
    for (guint i = 0; i < n; i++) {
        BerthPlacement any = {.host = hosts[i]};
        gboolean known = rule->reach == BERTH_REACH_FACTS;
        /* One that was removed has no facts. */
        gboolean asked = known && ask->snapshot->name[hosts[i]] != 0;
        most[i] = asked ? (gint32)rule->score(ask, hosts[i], &any) : BERTH_SCORE_MAX;
    }
}

/* As rank_of, rounded up; a multiplication is faster than the division. */
static inline guint16
rank_up_to(gint64 score, double steps)
{
    gint64 rank = score <= 0 ? 0 : 1 + (gint64)((double)score * steps);
    return (guint16)MIN(rank, RANK_STEPS + 1);
}

/**
 * berth_evaluate_ranks:
 * @hosts, @n: at most BERTH_PORTION
 * @floor: ranks from it on are exact; those below are never too low
 * @ranks: (out): as of berth_evaluate_rank
 */
void
berth_evaluate_ranks(const BerthAsk *ask, const BerthPlan *plan, const guint32 *hosts, guint n,
                     guint16 floor, guint16 *ranks)
{
    gint32 most[BERTH_WEIGHTS_MAX][BERTH_PORTION];
    double steps = RANK_STEPS * (1 + 1e-12) / (double)MAX(1, plan->full);
    for (guint k = 0; k < plan->n_scores; k++) {
        find_most(ask, plan->scores[k], hosts, n, most[k]);
    }
    for (guint i = 0; i < n; i++) {
        gint64 total = 1 + plan->full;
        for (guint k = 0; k < plan->n_scores; k++) {
            gint64 missed = (gint64)plan->weights[k] * (BERTH_SCORE_MAX - most[k][i]);
            total -= most[k][i] < 0 ? G_MAXINT64 / 16 : missed;
        }
        ranks[i] = ask->snapshot->name[hosts[i]] == 0 ? 0 : rank_up_to(total, steps);
    }
    for (guint i = 0; i < n; i++) {
        if (ranks[i] >= MAX(1, floor)) {
            ranks[i] = berth_evaluate_rank(ask, plan, hosts[i], NULL);
        }
    }
}
