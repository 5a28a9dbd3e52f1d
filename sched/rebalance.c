/*
 * The planner of live migrations. Pure; borrows the caller's snapshot for trials and puts it back.
 * Start at berth_rebalance_plan.
 *
 * A plan is built move by move, each made on the trial fleet before the next is looked for. So every
 * move is judged against the fleet as it will be at that time, and the order needs no second pass:
 * while one workload is copied it is charged at both ends, because its old place is given to nobody
 * before the next move. First what must leave or breaks a rule, with room made for it where nothing
 * else helps; then the best move for balance, host by host, until none is worth its copying.
 *
 * Calm: the plan ends where no single move is worth its cost, and a second run looks at exactly these
 * moves from exactly that fleet. (Annealing as in reassign.c finds cheaper fleets, but has no such
 * end: it would propose something new each time.)
 */
#include "sched/rebalance.h"

#include "sched/evaluate.h"
#include "sched/rebalance-fleet.h"

/* How many workloads may leave one host to make room for one. */
#define LEAVERS_MAX 4
/* How many hosts are tried for that. */
#define ROOM_HOSTS_MAX 16

typedef struct {
    BerthRebalanceFleet fleet;
    BerthRebalance *plan;
    gboolean *settled; /* [hosts] no move from here is worth it, as far as known */
} Planner;

/* A place found for a workload. */
typedef struct {
    BerthPlacement placement;
    double cost; /* of both hosts afterwards, less before; seconds */
} Place;

const char *
berth_move_reason_name(BerthMoveReason reason)
{
    static const char *const names[] = {"drain", "rule", "make-room", "balance"};
    return names[reason];
}

static const BerthRequest *
request_of(const Planner *p, guint workload)
{
    return p->fleet.workloads[workload].request;
}

static gboolean
is_full(const Planner *p)
{
    return p->plan->moves->len >= p->fleet.goal.moves_max;
}

static guint
count_broken(BerthRebalanceFleet *f, const GArray *workloads)
{
    guint broken = 0;
    for (guint i = 0; i < workloads->len; i++) {
        broken += berth_rebalance_fleet_is_broken(f, g_array_index(workloads, guint, i));
    }
    return broken;
}

/* Whether the workloads whose hard rules look at @workload are no worse off with it at @placement. */
static gboolean
spares_others(Planner *p, guint workload, const BerthPlacement *placement)
{
    BerthRebalanceFleet *f = &p->fleet;
    g_autoptr(GArray) watchers = berth_rebalance_fleet_list_watchers(f, workload);
    if (watchers->len == 0) {
        return TRUE;
    }
    BerthPlacement here = f->placement[workload];
    guint before = count_broken(f, watchers);
    berth_rebalance_fleet_move(f, workload, placement);
    guint after = count_broken(f, watchers);
    berth_rebalance_fleet_move(f, workload, &here);
    return after <= before;
}

/* Change of the fleet's cost when the asking workload, lifted from @from, comes to @to. */
static double
cost_change(const BerthRebalanceFleet *f, const BerthAsk *ask, guint32 from, guint32 to)
{
    return berth_rebalance_fleet_cost_with(f, from, 0, 0) - f->cost[from] +
           berth_rebalance_fleet_cost_with(f, to, ask->cpu_millis, ask->memory_mib) - f->cost[to];
}

/* A host and what it would cost there, or how little is missing. */
typedef struct {
    guint32 host;
    double cost;
} Offer;

static int
compare_offers(gconstpointer a, gconstpointer b)
{
    const Offer *x = a, *y = b;
    return x->cost != y->cost ? (x->cost < y->cost ? -1 : 1)
                              : (x->host > y->host) - (x->host < y->host);
}

/* The hosts that are cheaper than @limit for a lifted workload, cheapest first, rules not asked. */
static GArray *
list_offers(const BerthRebalanceFleet *f, const BerthAsk *ask, guint32 from, guint32 avoid,
            double limit)
{
    GArray *offers = g_array_new(FALSE, FALSE, sizeof(Offer));
    for (guint32 h = 0; h < f->hosts; h++) {
        if (h == from || h == avoid || !berth_host_is_schedulable(f->snapshot, h)) {
            continue;
        }
        Offer offer = {h, cost_change(f, ask, from, h)};
        if (offer.cost < limit) {
            g_array_append_val(offers, offer);
        }
    }
    g_array_sort(offers, compare_offers);
    return offers;
}

/* Whether the offered host really takes the workload; it is lifted meanwhile and put back. */
static gboolean
take_offer(Planner *p, guint workload, guint32 host, BerthPlacement *placement)
{
    BerthRebalanceFleet *f = &p->fleet;
    BerthPlacement here = f->placement[workload];
    berth_rebalance_fleet_lift(f, workload);
    g_auto(BerthAsk) ask = {0};
    BerthPlan plan;
    berth_ask_init(&ask, f->snapshot, request_of(p, workload));
    berth_plan_init(&plan, &ask, berth_policy_default());
    gboolean admitted = berth_evaluate(&ask, &plan, host, placement) > 0;
    berth_rebalance_fleet_put(f, workload, &here);
    return admitted && spares_others(p, workload, placement);
}

/* The cheapest host below @limit that takes @workload without harm to others. */
static gboolean
find_place(Planner *p, guint workload, guint32 avoid, double limit, Place *place)
{
    BerthRebalanceFleet *f = &p->fleet;
    BerthPlacement here = f->placement[workload];
    berth_rebalance_fleet_lift(f, workload);
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, f->snapshot, request_of(p, workload));
    g_autoptr(GArray) offers = list_offers(f, &ask, here.host, avoid, limit);
    berth_rebalance_fleet_put(f, workload, &here);
    for (guint i = 0; i < offers->len; i++) {
        const Offer *offer = &g_array_index(offers, Offer, i);
        if (take_offer(p, workload, offer->host, &place->placement)) {
            place->cost = offer->cost;
            return TRUE;
        }
    }
    return FALSE;
}

static void
add_move(Planner *p, guint workload, const BerthPlacement *placement, BerthMoveReason reason)
{
    BerthRebalanceFleet *f = &p->fleet;
    guint32 from = f->placement[workload].host;
    BerthMove move = {workload, from, *placement, reason,
                      berth_rebalance_fleet_copy_s(f, workload)};
    berth_rebalance_fleet_move(f, workload, placement);
    g_array_append_val(p->plan->moves, move);
    memset(p->settled, 0, f->hosts * sizeof *p->settled);
}

/* Takes back the moves after the first @keep. */
static void
drop_moves(Planner *p, guint keep)
{
    GArray *moves = p->plan->moves;
    while (moves->len > keep) {
        const BerthMove *move = &g_array_index(moves, BerthMove, moves->len - 1);
        guint workload = move->workload;
        BerthPlacement back = p->fleet.origin[workload];
        for (guint i = 0; i + 1 < moves->len; i++) {
            const BerthMove *earlier = &g_array_index(moves, BerthMove, i);
            back = earlier->workload == workload ? earlier->placement : back;
        }
        g_array_set_size(moves, moves->len - 1);
        berth_rebalance_fleet_move(&p->fleet, workload, &back);
    }
}

static gboolean
may_leave(const Planner *p, guint workload)
{
    return !berth_rebalance_fleet_is_fixed(&p->fleet, workload) &&
           !berth_rebalance_fleet_must_leave(&p->fleet, workload);
}

/* Those on @host who could leave, by memory: least first, or largest first. */
static GArray *
list_leavers(const Planner *p, guint32 host, gboolean largest_first)
{
    const GArray *crew = p->fleet.crew[host];
    GArray *leavers = g_array_new(FALSE, FALSE, sizeof(guint));
    for (guint i = 0; i < crew->len; i++) {
        guint w = g_array_index(crew, guint, i);
        gint64 size = request_of(p, w)->memory_mib;
        guint at = 0;
        while (at < leavers->len) {
            guint other = g_array_index(leavers, guint, at);
            gint64 theirs = request_of(p, other)->memory_mib;
            if (theirs == size ? other > w : largest_first ? theirs < size : theirs > size) {
                break;
            }
            at++;
        }
        if (may_leave(p, w)) {
            g_array_insert_val(leavers, at, w);
        }
    }
    return leavers;
}

static gboolean
move_out(Planner *p, guint workload, guint32 avoid)
{
    Place place;
    if (!find_place(p, workload, avoid, G_MAXDOUBLE, &place)) {
        return FALSE;
    }
    add_move(p, workload, &place.placement, BERTH_MOVE_MAKE_ROOM);
    return TRUE;
}

/* Moves others away from @host until @workload can come: one small one when that is enough, else the
 * largest ones together. */
static gboolean
make_room_on(Planner *p, guint workload, guint32 host, BerthPlacement *placement)
{
    guint before = p->plan->moves->len;
    g_autoptr(GArray) small = list_leavers(p, host, FALSE);
    for (guint i = 0; i < small->len; i++) {
        if (move_out(p, g_array_index(small, guint, i), host)) {
            if (take_offer(p, workload, host, placement)) {
                return TRUE;
            }
            drop_moves(p, before);
        }
    }
    g_autoptr(GArray) large = list_leavers(p, host, TRUE);
    guint left = 0;
    for (guint i = 0; i < large->len && left < LEAVERS_MAX; i++) {
        left += move_out(p, g_array_index(large, guint, i), host);
        if (left > 1 && take_offer(p, workload, host, placement)) {
            return TRUE;
        }
    }
    drop_moves(p, before);
    return FALSE;
}

/* Whether an empty @host would do: rules about facts alone, not about what runs there. */
static gboolean
could_host(Planner *p, guint workload, guint32 host)
{
    BerthRebalanceFleet *f = &p->fleet;
    if (!berth_host_is_schedulable(f->snapshot, host) || host == f->placement[workload].host) {
        return FALSE;
    }
    g_auto(BerthAsk) ask = {0};
    BerthPlan plan;
    berth_ask_init(&ask, f->snapshot, request_of(p, workload));
    for (guint i = 0; berth_rules[i] != NULL; i++) {
        if (berth_rules[i]->reach != BERTH_REACH_FACTS) {
            ask.waived |= G_GUINT64_CONSTANT(1) << i;
        }
    }
    berth_plan_init(&plan, &ask, berth_policy_default());
    return berth_evaluate_filters(&ask, &plan, host, NULL) < 0 &&
           f->snapshot->mem_cap[host] >= ask.memory_mib &&
           f->snapshot->cpu_cap[host] >= ask.cpu_millis;
}

/* The share of its capacity by which @host is short of what @workload needs. */
static double
shortage(Planner *p, guint workload, guint32 host)
{
    const BerthSnapshot *s = p->fleet.snapshot;
    const BerthRequest *r = request_of(p, workload);
    double cpu = (double)(r->cpu_millis - s->cpu_free[host]) / MAX(1, s->cpu_cap[host]);
    double mem = (double)(r->memory_mib - s->mem_free[host]) / MAX(1, s->mem_cap[host]);
    return MAX(cpu, mem);
}

/* Tries the hosts that are least short. */
static gboolean
make_room(Planner *p, guint workload, BerthPlacement *placement)
{
    g_autoptr(GArray) offers = g_array_new(FALSE, FALSE, sizeof(Offer));
    for (guint32 h = 0; h < p->fleet.hosts; h++) {
        if (could_host(p, workload, h)) {
            Offer offer = {h, shortage(p, workload, h)};
            g_array_append_val(offers, offer);
        }
    }
    g_array_sort(offers, compare_offers);
    for (guint i = 0; i < MIN(offers->len, ROOM_HOSTS_MAX); i++) {
        if (make_room_on(p, workload, g_array_index(offers, Offer, i).host, placement)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
needs_mending(Planner *p, guint workload)
{
    return berth_rebalance_fleet_must_leave(&p->fleet, workload) ||
           berth_rebalance_fleet_is_broken(&p->fleet, workload);
}

static BerthMoveReason
reason_of(const Planner *p, guint workload)
{
    return berth_rebalance_fleet_must_leave(&p->fleet, workload) ? BERTH_MOVE_DRAIN
                                                                 : BERTH_MOVE_RULE;
}

/* Moves one workload that must; FALSE when it can't be. */
static gboolean
mend(Planner *p, guint workload, gboolean with_room)
{
    Place place;
    if (berth_rebalance_fleet_is_fixed(&p->fleet, workload) || is_full(p)) {
        return FALSE;
    }
    BerthMoveReason reason = reason_of(p, workload);
    if (find_place(p, workload, BERTH_HOST_NONE, G_MAXDOUBLE, &place)) {
        add_move(p, workload, &place.placement, reason);
        return TRUE;
    }
    guint before = p->plan->moves->len;
    if (!with_room || !make_room(p, workload, &place.placement)) {
        return FALSE;
    }
    if (p->plan->moves->len >= p->fleet.goal.moves_max) {
        drop_moves(p, before);
        return FALSE;
    }
    add_move(p, workload, &place.placement, reason);
    return TRUE;
}

static int
compare_memory(gconstpointer a, gconstpointer b, gpointer workloads)
{
    const BerthMovable *w = workloads;
    guint x = *(const guint *)a, y = *(const guint *)b;
    gint64 mx = w[x].request->memory_mib, my = w[y].request->memory_mib;
    return mx != my ? (mx < my ? 1 : -1) : (x > y) - (x < y);
}

static GArray *
list_to_mend(Planner *p)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(guint));
    for (guint w = 0; w < p->fleet.n_workloads; w++) {
        if (needs_mending(p, w)) {
            g_array_append_val(list, w);
        }
    }
    g_array_sort_with_data(list, compare_memory, (gpointer)p->fleet.workloads);
    return list;
}

/* One round over all that must move, largest first; whether anything moved. */
static gboolean
mend_round(Planner *p, gboolean with_room)
{
    g_autoptr(GArray) list = list_to_mend(p);
    gboolean moved = FALSE;
    for (guint i = 0; i < list->len && !is_full(p); i++) {
        guint w = g_array_index(list, guint, i);
        moved |= needs_mending(p, w) && mend(p, w, with_room);
    }
    return moved;
}

/* The easy ones first: they often make the room that the others need. */
static gboolean
mend_all(Planner *p)
{
    guint before = p->plan->moves->len;
    while (mend_round(p, FALSE) || mend_round(p, TRUE)) {
        continue;
    }
    return p->plan->moves->len > before;
}

/* The best move off @host that is worth its copying. */
static gboolean
relieve(Planner *p, guint32 host)
{
    BerthRebalanceFleet *f = &p->fleet;
    double best = 0;
    guint chosen = 0;
    BerthPlacement to;
    for (guint i = 0; i < f->crew[host]->len; i++) {
        guint w = g_array_index(f->crew[host], guint, i);
        double price = berth_rebalance_fleet_copy_s(f, w) + f->goal.gain_min_s;
        Place place;
        if (!berth_rebalance_fleet_is_fixed(f, w) &&
            find_place(p, w, BERTH_HOST_NONE, best - price, &place)) {
            best = place.cost + price;
            chosen = w;
            to = place.placement;
        }
    }
    if (best < 0) {
        add_move(p, chosen, &to, BERTH_MOVE_BALANCE);
    }
    return best < 0;
}

/* The costliest host that is not settled, or BERTH_HOST_NONE. */
static guint32
costliest(const Planner *p)
{
    guint32 host = BERTH_HOST_NONE;
    for (guint32 h = 0; h < p->fleet.hosts; h++) {
        if (!p->settled[h] && p->fleet.crew[h]->len > 0 &&
            (host == BERTH_HOST_NONE || p->fleet.cost[h] > p->fleet.cost[host])) {
            host = h;
        }
    }
    return host;
}

/* Host by host until none has a move that is worth it; a move elsewhere may give one to a host that
 * was settled, so the last round over all of them is one without moves. */
static gboolean
balance(Planner *p)
{
    guint start = p->plan->moves->len, before;
    do {
        before = p->plan->moves->len;
        memset(p->settled, 0, p->fleet.hosts * sizeof *p->settled);
        for (guint32 h; !is_full(p) && (h = costliest(p)) != BERTH_HOST_NONE;) {
            p->settled[h] = !relieve(p, h);
        }
    } while (p->plan->moves->len > before && !is_full(p));
    return p->plan->moves->len > start;
}

/* Why @workload, which must leave, can't. */
static char *
explain_stuck(Planner *p, guint workload)
{
    BerthRebalanceFleet *f = &p->fleet;
    guint32 host = f->placement[workload].host;
    const BerthMovable *m = &f->workloads[workload];
    if (m->fixed != NULL) {
        return g_strdup_printf("it can't be moved live: %s", m->fixed);
    }
    if (!(f->snapshot->state[host] & BERTH_HOST_READY)) {
        return g_strdup_printf("its host \"%s\" does not answer",
                               berth_snapshot_host_name(f->snapshot, host));
    }
    if (is_full(p)) {
        return g_strdup("the plan was cut before its turn");
    }
    BerthPlacement here = f->placement[workload];
    berth_rebalance_fleet_lift(f, workload);
    g_autoptr(BerthExplanation) why = berth_explain(f->snapshot, m->request, NULL);
    char *text = why->fits ? g_strdup("every host that takes it would break a rule of another")
                           : berth_explanation_refusals(why);
    berth_rebalance_fleet_put(f, workload, &here);
    return text;
}

static void
list_stuck(Planner *p)
{
    for (guint w = 0; w < p->fleet.n_workloads; w++) {
        if (needs_mending(p, w)) {
            BerthStuck stuck = {w, p->fleet.placement[w].host, explain_stuck(p, w)};
            g_array_append_val(p->plan->stuck, stuck);
        }
    }
}

static void
clear_stuck(gpointer stuck)
{
    g_free(((BerthStuck *)stuck)->why);
}

static double
sum_cost(const Planner *p)
{
    double sum = 0;
    for (guint32 h = 0; h < p->fleet.hosts; h++) {
        sum += p->fleet.cost[h];
    }
    return sum;
}

/**
 * berth_rebalance_plan:
 * @snapshot: the fleet; used for trials and the same again on return
 * @workloads: those that may be moved or need to be; what is charged besides them stays
 * @goal: what to reach; `{0}` is a good one
 *
 * Costs O(workloads on the hosts concerned x hosts) a move; a place that is chosen is also checked
 * against the workloads whose hard relations or spreads name the one that moves.
 *
 * Returns: (transfer full): the plan; empty when nothing is worth moving
 */
BerthRebalance *
berth_rebalance_plan(BerthSnapshot *snapshot, const BerthMovable *workloads, guint n_workloads,
                     const BerthRebalanceGoal *goal)
{
    BerthRebalance *plan = g_new0(BerthRebalance, 1);
    plan->moves = g_array_new(FALSE, FALSE, sizeof(BerthMove));
    plan->stuck = g_array_new(FALSE, FALSE, sizeof(BerthStuck));
    g_array_set_clear_func(plan->stuck, clear_stuck);
    Planner p = {.plan = plan};
    berth_rebalance_fleet_init(&p.fleet, snapshot, workloads, n_workloads, goal);
    p.settled = g_new0(gboolean, p.fleet.hosts);
    plan->cost_before = sum_cost(&p);
    do {
        mend_all(&p);
    } while (!goal->repair_only && balance(&p));
    list_stuck(&p);
    plan->cost_after = sum_cost(&p);
    for (guint i = 0; i < plan->moves->len; i++) {
        plan->copy_s += g_array_index(plan->moves, BerthMove, i).copy_s;
    }
    berth_rebalance_fleet_clear(&p.fleet);
    g_free(p.settled);
    return plan;
}

void
berth_rebalance_free(BerthRebalance *plan)
{
    if (plan == NULL) {
        return;
    }
    g_array_unref(plan->moves);
    g_array_unref(plan->stuck);
    g_free(plan);
}
