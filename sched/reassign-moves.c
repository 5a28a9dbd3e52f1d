/*
 * The moves of the reassignment search: shift, swap, exchange with the best of a few, and ejection.
 * Each draws a candidate, prices it, and makes it when the change in cost is at most the limit and
 * all hard constraints hold. Pure; all randomness comes from the search's own dice.
 *
 * Sources of the ideas: shift, swap and the rearrangement around big processes are the
 * neighbourhoods of Gavranović and Buljubašić, "An efficient local search with noising strategy for
 * Google Machine Reassignment problem" (2016); pricing in O(resources + dependencies) is as in
 * Portal, Ritt, Borba and Buriol, "Simulated annealing for the machine reassignment problem" (2016).
 */
#include "sched/reassign-search.h"

/* One draw in this many proposes going home, or ignores the restriction to large processes; a power
 * of two. */
#define SELDOM 16
/* Machines looked at in a sweep. */
#define IMPROVE_TARGETS 24
/* Partners looked at in one exchange. */
#define PARTNERS 4
/* Processes that may leave to make room for one, and the places tried for each. */
#define EJECTIONS_MAX 32
#define REFUGES 10
#define REFUGES_MAX 40

/* Half of the draws favour large processes: where these are decides the most. */
static inline guint32
draw_process(BerthReassign *x)
{
    guint64 bits = roll(x);
    guint64 among = (bits & (SELDOM - 1)) != 0 ? x->active : x->movable;
    guint64 rank = ((bits >> 32) * among) >> 32;
    if (bits & SELDOM) {
        rank = (rank * (bits >> 16 & 0xffff)) >> 16;
    }
    return x->order[rank];
}

static inline guint32
draw_machine(BerthReassign *x, guint32 process)
{
    guint64 bits = roll(x);
    if ((bits & (SELDOM - 1)) == 0) {
        return x->state->home[process];
    }
    gsize first = x->target_first[process], count = x->target_first[process + 1] - first;
    return count > 0 ? g_array_index(x->targets, guint32, first + (((bits >> 32) * count) >> 32))
                     : (guint32)(((bits >> 32) * x->model->machines) >> 32);
}

/* A process of similar size: the distance in rank is log-uniform. */
static inline guint32
draw_similar(BerthReassign *x, guint32 process)
{
    guint64 bits = roll(x);
    guint32 far = x->stride[bits >> 54], rank = x->rank[process];
    far -= (guint32)((((bits >> 8) & 0xffff) * (far / 2)) >> 16);
    gboolean down = bits & 1;
    if (down ? rank + far >= x->movable : rank < far) {
        down = !down;
    }
    guint32 at = down ? rank + far : rank - far;
    return at < x->movable ? x->order[at] : draw_process(x);
}

static inline guint32
draw_partner(BerthReassign *x, guint32 process)
{
    guint32 how = roll_below(x, 4);
    if (how == 0) {
        return draw_process(x);
    }
    if (how == 1) {
        const BerthReassignCrew *crew = &x->state->crew[draw_machine(x, process)];
        return crew->count > 0 ? crew->processes[roll_below(x, crew->count)] : process;
    }
    return draw_similar(x, process);
}

static inline double
shift_delta(const BerthReassignState *s, guint32 process, guint32 to)
{
    guint32 from = s->at[process];
    return cost_without(s, from, process) - s->machine_cost[from] + cost_with(s, to, process) -
           s->machine_cost[to] + move_cost(s, process, to) - move_cost(s, process, from) +
           berth_reassign_state_service_delta(s, process, to);
}

/**
 * berth_reassign_try_shift:
 * @limit: the most by which the cost may grow
 *
 * Returns: whether one process went to another machine
 */
gboolean
berth_reassign_try_shift(BerthReassign *x, double limit)
{
    BerthReassignState *s = x->state;
    guint32 p = draw_process(x), to = draw_machine(x, p);
    if (to == s->at[p] || service_present(s, x->model->service[p], to) || !fits(s, to, p)) {
        return FALSE;
    }
    if (shift_delta(s, p, to) > limit || !berth_reassign_state_allows(s, p, to)) {
        return FALSE;
    }
    berth_reassign_state_relocate(s, p, to);
    mark_changed(x, p);
    return TRUE;
}

/**
 * berth_reassign_improve:
 *
 * Takes @process to the cheapest of a few machines, when that is cheaper than where it is.
 *
 * Returns: whether it went
 */
gboolean
berth_reassign_improve(BerthReassign *x, guint32 process)
{
    BerthReassignState *s = x->state;
    guint32 from = s->at[process], best = from;
    double gain = s->machine_cost[from] - cost_without(s, from, process), least = 0;
    for (guint i = 0; i < IMPROVE_TARGETS && gain > 0; i++) {
        guint32 to = draw_machine(x, process);
        if (to == from || service_present(s, x->model->service[process], to) ||
            !fits(s, to, process)) {
            continue;
        }
        double delta = shift_delta(s, process, to);
        if (delta < least && berth_reassign_state_allows(s, process, to)) {
            least = delta;
            best = to;
        }
    }
    if (best != from) {
        berth_reassign_state_relocate(s, process, best);
        mark_changed(x, process);
    }
    return best != from;
}

/* Whether two processes on different machines may change places as far as conflict and capacity go. */
static inline gboolean
swap_fits(const BerthReassign *x, guint32 p, guint32 q)
{
    const BerthReassignState *s = x->state;
    guint32 a = s->at[p], b = s->at[q], v = x->model->service[p], w = x->model->service[q];
    if (v != w && (service_present(s, v, b) || service_present(s, w, a))) {
        return FALSE;
    }
    return fits_exchanged(s, b, p, q) && fits_exchanged(s, a, q, p);
}

static inline double
swap_delta(const BerthReassignState *s, guint32 p, guint32 q)
{
    guint32 a = s->at[p], b = s->at[q];
    return cost_exchanged(s, a, q, p) - s->machine_cost[a] + cost_exchanged(s, b, p, q) -
           s->machine_cost[b] + move_cost(s, p, b) - move_cost(s, p, a) + move_cost(s, q, a) -
           move_cost(s, q, b);
}

static void
swap(BerthReassign *x, guint32 p, guint32 q)
{
    berth_reassign_state_swap(x->state, p, q);
    mark_changed(x, p);
    mark_changed(x, q);
}

/**
 * berth_reassign_try_swap:
 *
 * Returns: whether two processes changed places
 */
gboolean
berth_reassign_try_swap(BerthReassign *x, double limit)
{
    BerthReassignState *s = x->state;
    guint32 p = draw_process(x), q = draw_partner(x, p);
    if (s->at[p] == s->at[q] || !swap_fits(x, p, q) || swap_delta(s, p, q) > limit ||
        !berth_reassign_state_allows_swap(s, p, q)) {
        return FALSE;
    }
    swap(x, p, q);
    return TRUE;
}

/**
 * berth_reassign_try_exchange:
 *
 * Like a swap, with the best of a few neighbours on one other machine: their data lie close together.
 *
 * Returns: whether two processes changed places
 */
gboolean
berth_reassign_try_exchange(BerthReassign *x, double limit)
{
    BerthReassignState *s = x->state;
    guint32 p = draw_process(x), to = draw_machine(x, p), partner = p;
    const BerthReassignCrew *crew = &s->crew[to];
    if (to == s->at[p] || crew->count == 0) {
        return FALSE;
    }
    double least = G_MAXDOUBLE;
    guint32 at = roll_below(x, crew->count);
    for (guint32 i = MIN(crew->count, PARTNERS); i > 0; i--) {
        guint32 q = crew->processes[at];
        at = at + 1 == crew->count ? 0 : at + 1;
        if (swap_fits(x, p, q)) {
            double delta = swap_delta(s, p, q);
            partner = delta < least ? q : partner;
            least = MIN(least, delta);
        }
    }
    if (least > limit || !berth_reassign_state_allows_swap(s, p, partner)) {
        return FALSE;
    }
    swap(x, p, partner);
    return TRUE;
}

/* An ejection under way: what was done, so that it can be taken back. */
typedef struct {
    BerthReassign *search;
    double before, limit;
    guint32 process, from, to;
    guint32 moved[EJECTIONS_MAX + 2], origin[EJECTIONS_MAX + 2], count;
    gboolean swapped; /* the first entry is a swap with @partner */
    guint32 partner;
} Ejection;

static void
relocate(Ejection *e, guint32 process, guint32 to)
{
    e->moved[e->count] = process;
    e->origin[e->count++] = e->search->state->at[process];
    berth_reassign_state_relocate(e->search->state, process, to);
}

static void
take_back(Ejection *e)
{
    while (e->count > 0) {
        guint32 p = e->moved[--e->count];
        if (e->count == 0 && e->swapped) {
            berth_reassign_state_swap(e->search->state, p, e->partner);
        } else {
            berth_reassign_state_relocate(e->search->state, p, e->origin[e->count]);
        }
    }
}

/* What the cost may still grow, were the target's own cost to vanish. */
static double
budget(const Ejection *e)
{
    const BerthReassignState *s = e->search->state;
    return e->limit - (s->cost - e->before) + s->machine_cost[e->to];
}

/* Finds the cheapest of a few places for @process, which leaves the target; FALSE when there is none. */
static gboolean
evict(Ejection *e, guint32 process, double most)
{
    BerthReassign *x = e->search;
    BerthReassignState *s = x->state;
    gint64 refuge = -1;
    for (guint i = 0; i < REFUGES || (refuge < 0 && i < REFUGES_MAX); i++) {
        guint32 to = i == 0 ? s->home[process] : i == 1 ? e->from : draw_machine(x, process);
        if (to == e->to || service_present(s, x->model->service[process], to) ||
            !fits(s, to, process)) {
            continue;
        }
        double cost = cost_with(s, to, process) - s->machine_cost[to] + move_cost(s, process, to);
        if (cost < most && berth_reassign_state_allows(s, process, to)) {
            most = cost;
            refuge = to;
        }
    }
    if (refuge >= 0) {
        relocate(e, process, (guint32)refuge);
    }
    return refuge >= 0;
}

/* How much of what the target lacks @process would give back, over all resources. */
static double
relief(const Ejection *e, guint32 process)
{
    const BerthReassignState *s = e->search->state;
    const BerthPair *need = process_terms(s, process), *room = machine_free(s, e->to);
    const BerthPairMask *counts = process_counts(s, process, e->to);
    double sum = 0;
    for (guint32 i = 0; i < s->fit_pairs; i++) {
        for (guint k = 0; k < 2; k++) {
            double gives = counts[i][k] ? need[i][k] : 0;
            sum += MIN(gives, MAX(0, -room[i][k])) * e->search->weight[i][k];
        }
    }
    return sum;
}

static gboolean
target_overflows(const Ejection *e)
{
    const BerthReassignState *s = e->search->state;
    const BerthPair *room = machine_free(s, e->to);
    BerthPairMask over = {0, 0};
    for (guint32 i = 0; i < s->fit_pairs; i++) {
        over |= room[i] < 0;
    }
    return (over[0] | over[1]) != 0;
}

/* Somebody whose leaving helps: the one who helps most, or the first from a random place on. */
static gint64
choose_leaver(const Ejection *e)
{
    BerthReassign *x = e->search;
    const BerthReassignCrew *crew = &x->state->crew[e->to];
    gboolean most = roll_below(x, 2);
    guint32 start = roll_below(x, crew->count);
    double best = 0;
    gint64 leaver = -1;
    for (guint32 i = 0; i < crew->count && (most || leaver < 0); i++) {
        guint32 q = crew->processes[(start + i) % crew->count];
        double gives = q == e->process ? 0 : relief(e, q);
        if (gives > best) {
            best = gives;
            leaver = q;
        }
    }
    return leaver;
}

/* The one of the same service on the target changes places with the process, or goes elsewhere. */
static gboolean
settle_conflict(Ejection *e)
{
    BerthReassign *x = e->search;
    const guint32 *service = x->model->service;
    const guint32 *on_target = x->state->crew[e->to].processes;
    while (service[*on_target] != service[e->process]) {
        on_target++;
    }
    guint32 rival = *on_target;
    if (roll_below(x, 2) && fits_exchanged(x->state, e->from, rival, e->process)) {
        berth_reassign_state_swap(x->state, e->process, rival);
        e->moved[e->count] = e->process;
        e->origin[e->count++] = e->from;
        e->swapped = TRUE;
        e->partner = rival;
        return TRUE;
    }
    return evict(e, rival, budget(e) + x->state->machine_cost[e->from]);
}

static gboolean
make_room(Ejection *e)
{
    while (target_overflows(e)) {
        gint64 leaver = e->count < EJECTIONS_MAX ? choose_leaver(e) : -1;
        if (leaver < 0 || !evict(e, (guint32)leaver, budget(e))) {
            return FALSE;
        }
    }
    return e->search->state->cost - e->before <= e->limit;
}

static gboolean
eject(Ejection *e)
{
    BerthReassign *x = e->search;
    if (service_present(x->state, x->model->service[e->process], e->to) && !settle_conflict(e)) {
        return FALSE;
    }
    if (!e->swapped) {
        if (!berth_reassign_state_allows(x->state, e->process, e->to)) {
            return FALSE;
        }
        relocate(e, e->process, e->to);
    }
    return make_room(e);
}

/**
 * berth_reassign_try_eject:
 *
 * Sends a process, large ones more often, to a machine that need not have room: whoever is in the way
 * there goes home or elsewhere first.
 *
 * Returns: whether the whole of it was possible within @limit; else nothing has changed
 */
gboolean
berth_reassign_try_eject(BerthReassign *x, double limit)
{
    BerthReassignState *s = x->state;
    guint32 one = roll_below(x, x->active), other = roll_below(x, x->active);
    guint32 p = x->order[MIN(one, other)], to = draw_machine(x, p);
    Ejection e = {
        .search = x, .before = s->cost, .limit = limit, .process = p, .from = s->at[p], .to = to};
    if (to == e.from || shift_delta(s, p, to) - s->machine_cost[to] > limit) {
        return FALSE;
    }
    if (!eject(&e)) {
        take_back(&e);
        return FALSE;
    }
    for (guint32 i = 0; i < e.count; i++) {
        mark_changed(x, e.moved[i]);
    }
    if (e.swapped) {
        mark_changed(x, e.partner);
    }
    return TRUE;
}
