/*
 * The moves of the reassignment search: shift, swap, exchange with the best of a few; ejection has a
 * file of its own. A candidate is drawn, priced, and made when the change in cost is at most the limit
 * and all hard constraints hold. Drawing runs a little ahead: on large instances most of the time is
 * waiting for memory, and who is known early can be fetched early. Conflicts are looked up last, since
 * these rows are the ones least often in a cache. Pure; all randomness comes from the search's own dice.
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
#define CACHE_LINE 64
/* Half of the draws favour large processes: where these are decides the most. */
static inline guint32
draw_process(BerthReassign *x)
{
    guint64 bits = roll(x);
    guint64 among = (bits & (SELDOM - 1)) != 0 ? x->active : x->field.movable;
    guint64 rank = ((bits >> 32) * among) >> 32;
    if (bits & SELDOM) {
        rank = (rank * (bits >> 16 & 0xffff)) >> 16;
    }
    return x->field.order[rank];
}

/* One that could ever take @process, or its home. */
guint32
berth_reassign_draw_machine(BerthReassign *x, guint32 process)
{
    guint64 bits = roll(x);
    if ((bits & (SELDOM - 1)) == 0) {
        return x->state->home[process];
    }
    const BerthReassignField *field = &x->field;
    BerthReassignSpan reach = field->reach[process];
    return reach.count > 0 ? field->targets[reach.first + (((bits >> 32) * reach.count) >> 32)]
                           : field->machines[((bits >> 32) * field->machine_count) >> 32];
}

/* A process of similar size: the distance in rank is log-uniform. */
static inline guint32
draw_similar(BerthReassign *x, guint32 process)
{
    guint64 bits = roll(x);
    guint32 far = x->stride[bits >> 54], rank = x->rank[process];
    far -= (guint32)((((bits >> 8) & 0xffff) * (far / 2)) >> 16);
    gboolean down = bits & 1;
    if (down ? rank + far >= x->field.movable : rank < far) {
        down = !down;
    }
    guint32 at = down ? rank + far : rank - far;
    return at < x->field.movable ? x->field.order[at] : draw_process(x);
}

static inline guint32
draw_partner(BerthReassign *x, guint32 process)
{
    guint32 how = roll_below(x, 4);
    if (how == 0) {
        return draw_process(x);
    }
    if (how == 1) {
        const BerthReassignCrew *crew = &x->state->crew[berth_reassign_draw_machine(x, process)];
        return crew->count > 0 ? crew->processes[roll_below(x, crew->count)] : process;
    }
    return draw_similar(x, process);
}

static inline void
fetch_process(const BerthReassignState *s, guint32 process)
{
    const char *terms = (const char *)process_terms(s, process);
    for (gsize i = 0; i < s->term_pairs * 8; i += CACHE_LINE) {
        __builtin_prefetch(terms + i);
    }
    __builtin_prefetch(s->at + process);
    __builtin_prefetch(s->home + process);
    __builtin_prefetch(s->paid + process);
    __builtin_prefetch(s->model->service + process);
}

static inline void
fetch_machine(const BerthReassignState *s, guint32 machine)
{
    const char *terms = (const char *)machine_terms(s, machine);
    for (gsize i = 0; i < s->term_pairs * sizeof(BerthPair); i += CACHE_LINE) {
        __builtin_prefetch(terms + i);
    }
    __builtin_prefetch(s->room + machine * s->fit_quads);
    __builtin_prefetch(s->machine_cost + machine);
    __builtin_prefetch(s->crew + machine);
}

/**
 * berth_reassign_draw:
 * @draw: kind and limit are given, the rest is filled in
 *
 * Draws who could go where, and asks the memory for the rows that pricing it will need.
 */
void
berth_reassign_draw(BerthReassign *x, BerthReassignDraw *draw)
{
    const BerthReassignState *s = x->state;
    guint32 p;
    if (draw->kind == BERTH_REASSIGN_EJECT) {
        /* Large ones more often. */
        guint32 one = roll_below(x, x->active), other = roll_below(x, x->active);
        p = x->field.order[MIN(one, other)];
    } else {
        p = draw_process(x);
    }
    draw->process = p;
    fetch_process(s, p);
    if (draw->kind == BERTH_REASSIGN_SWAP) {
        draw->other = draw_partner(x, p);
        fetch_process(s, draw->other);
    } else {
        draw->other = berth_reassign_draw_machine(x, p);
        fetch_machine(s, draw->other);
    }
}

/**
 * berth_reassign_follow:
 *
 * Asks the memory for the rows that are known once those of berth_reassign_draw have come.
 */
void
berth_reassign_follow(const BerthReassign *x, const BerthReassignDraw *draw)
{
    const BerthReassignState *s = x->state;
    guint32 from = s->at[draw->process], to = draw->other;
    fetch_machine(s, from);
    if (draw->kind == BERTH_REASSIGN_SWAP) {
        to = s->at[draw->other];
        fetch_machine(s, to);
    }
    __builtin_prefetch(s->presence + x->model->service[draw->process] * s->presence_words +
                       to / 64);
    __builtin_prefetch(x->model->machine_move + (gsize)s->home[draw->process] * x->model->machines +
                       to);
}

static gboolean
try_shift(BerthReassign *x, const BerthReassignDraw *draw)
{
    BerthReassignState *s = x->state;
    guint32 p = draw->process, to = draw->other;
    if (to == s->at[p] || !fits(s, to, p) || shift_delta(s, p, to, draw->limit) > draw->limit ||
        service_present(s, x->model->service[p], to) || !berth_reassign_state_allows(s, p, to)) {
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
        guint32 to = berth_reassign_draw_machine(x, process);
        if (!fits(s, to, process) || to == from ||
            service_present(s, x->model->service[process], to)) {
            continue;
        }
        double delta = shift_delta(s, process, to, least);
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

/* Whether two processes on different machines would each meet one of its service on the other's. */
static inline gboolean
swap_conflicts(const BerthReassign *x, guint32 p, guint32 q)
{
    const BerthReassignState *s = x->state;
    guint32 v = x->model->service[p], w = x->model->service[q];
    return v != w && (service_present(s, v, s->at[q]) || service_present(s, w, s->at[p]));
}

static inline gboolean
swap_fits(const BerthReassignState *s, guint32 p, guint32 q)
{
    return fits_exchanged(s, s->at[q], p, q) && fits_exchanged(s, s->at[p], q, p);
}

/* What the cost grows by when two processes change places; something above @most when it is that. */
static inline double
swap_delta(const BerthReassignState *s, guint32 p, guint32 q, double most)
{
    guint32 a = s->at[p], b = s->at[q];
    double delta = cost_exchanged(s, a, q, p) - s->machine_cost[a] + cost_exchanged(s, b, p, q) -
                   s->machine_cost[b] - s->paid[p] - s->paid[q];
    return delta > most ? delta : delta + move_cost(s, p, b) + move_cost(s, q, a);
}

static gboolean
swap(BerthReassign *x, guint32 p, guint32 q)
{
    if (!berth_reassign_state_allows_swap(x->state, p, q)) {
        return FALSE;
    }
    berth_reassign_state_swap(x->state, p, q);
    mark_changed(x, p);
    mark_changed(x, q);
    return TRUE;
}

static gboolean
try_swap(BerthReassign *x, const BerthReassignDraw *draw)
{
    const BerthReassignState *s = x->state;
    guint32 p = draw->process, q = draw->other;
    return s->at[p] != s->at[q] && swap_fits(s, p, q) &&
           swap_delta(s, p, q, draw->limit) <= draw->limit && !swap_conflicts(x, p, q) &&
           swap(x, p, q);
}

/* Like a swap, with the best of a few neighbours on one other machine: their data lie close
 * together. */
static gboolean
try_exchange(BerthReassign *x, const BerthReassignDraw *draw)
{
    const BerthReassignState *s = x->state;
    guint32 p = draw->process, to = draw->other, partner = p;
    const BerthReassignCrew *crew = &s->crew[to];
    if (to == s->at[p] || crew->count == 0) {
        return FALSE;
    }
    double least = draw->limit;
    guint32 at = roll_below(x, crew->count);
    for (guint32 i = MIN(crew->count, PARTNERS); i > 0; i--) {
        guint32 q = crew->processes[at];
        at = at + 1 == crew->count ? 0 : at + 1;
        if (swap_fits(s, p, q)) {
            double delta = swap_delta(s, p, q, least);
            if (delta <= least && !swap_conflicts(x, p, q)) {
                partner = q;
                least = delta;
            }
        }
    }
    return partner != p && swap(x, p, partner);
}

/**
 * berth_reassign_try:
 *
 * Returns: whether the move was made; it was not where it breaks a rule or costs above its limit
 */
gboolean
berth_reassign_try(BerthReassign *x, const BerthReassignDraw *draw)
{
    switch (draw->kind) {
    case BERTH_REASSIGN_SHIFT:
        return try_shift(x, draw);
    case BERTH_REASSIGN_SWAP:
        return try_swap(x, draw);
    case BERTH_REASSIGN_EXCHANGE:
        return try_exchange(x, draw);
    case BERTH_REASSIGN_EJECT:
    default:
        return berth_reassign_try_eject(x, draw);
    }
}
