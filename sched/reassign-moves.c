/*
 * The moves of the reassignment search: shift, swap, exchange with the best of a few; ejection has a
 * file of its own. A candidate is drawn, priced, and made when the change in cost is at most the limit
 * and all hard constraints hold. Drawing runs a little ahead: on large instances most of the time is
 * waiting for memory, and who is known early can be fetched early. Nine of ten shifts and 97 of 100 swaps
 * lack room, which a glance over all that were drawn finds out; a move that is made has the rest glanced at
 * again. Conflicts are looked up last, since these rows are the ones least often in a cache. Pure; all
 * randomness comes from the search's own dice.
 *
 * Sources of the ideas: shift, swap and the rearrangement around big processes are the
 * neighbourhoods of Gavranović and Buljubašić, "An efficient local search with noising strategy for
 * Google Machine Reassignment problem" (2016); pricing in O(resources + dependencies) is as in
 * Portal, Ritt, Borba and Buriol, "Simulated annealing for the machine reassignment problem" (2016).
 */
#include "sched/reassign-search.h"

/* Machines looked at in a sweep. */
#define IMPROVE_TARGETS 24
/* Partners looked at in one exchange. */
#define PARTNERS 4
/* The largest of so many is the one for which room is made. */
#define FAVOUR 3
#define CACHE_LINE 64

/* Half of the draws favour large processes: where these are decides the most. */
static inline guint32
draw_process(BerthReassign *x)
{
    guint64 bits = roll(x);
    gboolean any = (bits & (BERTH_REASSIGN_SELDOM - 1)) == 0;
    guint64 first = either(any, 0, x->settled);
    guint64 among = either(any, x->field.movable, x->active - x->settled);
    guint64 rank = ((bits >> 32) * among) >> 32;
    guint64 share = either((bits & BERTH_REASSIGN_SELDOM) != 0, bits >> 16 & 0xffff, 0x10000);
    return x->field.order[first + ((rank * share) >> 16)];
}

/* A process of similar size: the distance in rank is log-uniform. */
static inline guint32
draw_similar(BerthReassign *x, guint32 process)
{
    guint64 bits = roll(x);
    guint32 far = x->stride[bits >> 54], rank = x->rank[process];
    far -= (guint32)((((bits >> 8) & 0xffff) * (far / 2)) >> 16);
    gboolean down = bits & 1;
    down ^= (down & (rank + far >= x->field.movable)) | (!down & (rank < far));
    guint32 at = rank + either(down, far, -far);
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
        const BerthReassignCrew *crew = &x->state->crew[draw_machine(x, process)];
        return crew->count > 0 ? crew->processes[roll_below(x, crew->count)] : process;
    }
    return draw_similar(x, process);
}

static inline void
fetch(const void *from, gsize size)
{
    for (gsize i = 0; i < size; i += CACHE_LINE) {
        __builtin_prefetch((const char *)from + i);
    }
}

/* Asks the memory for what a glance needs. */
static inline void
fetch_process(const BerthReassignState *s, guint32 process)
{
    fetch(process_terms(s, process), s->term_pairs * 2 * sizeof(gint32));
    __builtin_prefetch(s->at + process);
    __builtin_prefetch(s->home + process);
}

static inline void
fetch_machine(const BerthReassignState *s, guint32 machine)
{
    fetch(machine_room(s, machine), s->fit_quads * sizeof(BerthQuad));
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
        guint32 among = x->active - x->settled;
        guint32 rank = roll_below(x, among);
        for (guint i = 1; i < FAVOUR; i++) {
            guint32 other = roll_below(x, among);
            rank = MIN(rank, other);
        }
        p = x->field.order[x->settled + rank];
    } else {
        p = draw_process(x);
    }
    draw->process = p;
    fetch_process(s, p);
    if (draw->kind == BERTH_REASSIGN_SWAP) {
        draw->other = draw_partner(x, p);
        fetch_process(s, draw->other);
    } else {
        draw->other = draw_machine(x, p);
        fetch_machine(s, draw->other);
    }
}

/* Asks the memory for what pricing needs. */
static inline void
fetch_prices(const BerthReassign *x, const BerthReassignDraw *draw)
{
    const BerthReassignState *s = x->state;
    guint32 p = draw->process, from = s->at[p], to = draw->other;
    fetch(machine_terms(s, from), s->term_pairs * sizeof(BerthPair));
    if (draw->kind == BERTH_REASSIGN_SWAP) {
        to = s->at[to];
    }
    fetch(machine_terms(s, to), s->term_pairs * sizeof(BerthPair));
    __builtin_prefetch(s->paid + p);
    __builtin_prefetch(x->model->service + p);
    __builtin_prefetch(x->model->machine_move + (gsize)s->home[p] * x->model->machines + to);
}

static inline gboolean
swap_fits(const BerthReassignState *s, guint32 p, guint32 q)
{
    return fits_exchanged(s, s->at[q], p, q) & fits_exchanged(s, s->at[p], q, p);
}

/**
 * berth_reassign_glance:
 * @first: of the draws to look at
 *
 * Leaves those draws open for which there is room, and all exchanges and ejections, and asks the memory for
 * what trying them will need. Kind by kind, since a branch could not be foreseen.
 */
void
berth_reassign_glance(BerthReassign *x, guint first)
{
    const BerthReassignState *s = x->state;
    guint shifts[BERTH_REASSIGN_AHEAD], swaps[BERTH_REASSIGN_AHEAD], n_shifts = 0, n_swaps = 0;
    guint32 open = 0;
    for (guint i = first; i < BERTH_REASSIGN_AHEAD; i++) {
        BerthReassignKind kind = x->draws[i].kind;
        shifts[n_shifts] = swaps[n_swaps] = i;
        n_shifts += kind == BERTH_REASSIGN_SHIFT;
        n_swaps += kind == BERTH_REASSIGN_SWAP;
        open |= (guint32)(kind > BERTH_REASSIGN_SWAP) << i;
    }
    for (guint i = 0; i < n_shifts; i++) {
        guint32 p = x->draws[shifts[i]].process, to = x->draws[shifts[i]].other;
        open |= (guint32)(fits(s, to, p) & (to != s->at[p])) << shifts[i];
    }
    for (guint i = 0; i < n_swaps; i++) {
        guint32 p = x->draws[swaps[i]].process, q = x->draws[swaps[i]].other;
        open |= (guint32)(swap_fits(s, p, q) & (s->at[p] != s->at[q])) << swaps[i];
    }
    x->open = open;
    while (open) {
        fetch_prices(x, &x->draws[__builtin_ctz(open)]);
        open &= open - 1;
    }
}

static gboolean
try_shift(BerthReassign *x, const BerthReassignDraw *draw)
{
    BerthReassignState *s = x->state;
    guint32 p = draw->process, to = draw->other;
    double limit = draw_limit(x, draw);
    if (shift_delta(s, p, to, limit) > limit || service_present(s, x->model->service[p], to) ||
        !berth_reassign_state_allows(s, p, to)) {
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
    double limit = draw_limit(x, draw);
    return swap_delta(s, p, q, limit) <= limit && !swap_conflicts(x, p, q) && swap(x, p, q);
}

/* Needs of a process with which one can be exchanged, for want of room on either side. */
typedef struct {
    BerthQuad least, most;
} NeedBounds;

/* Room for @p on @to bounds them from below, room where @p is from above. */
static inline void
bound_needs(const BerthReassignState *s, guint32 p, guint32 to, NeedBounds *bounds)
{
    guint32 from = s->at[p];
    const BerthQuad *need = process_needs(s, p);
    const BerthQuad *takes = process_counts(s, p, to), *gives = process_counts(s, p, from);
    for (guint32 i = 0; i < s->fit_quads; i++) {
        bounds[i].least = (need[i] & takes[i]) - machine_room(s, to)[i];
        bounds[i].most = (need[i] & gives[i]) + machine_room(s, from)[i];
    }
}

/* Lists in @partners which of a few processes on @to there is room to exchange @p with; returns how many.
 * All are looked at before any is priced, since a branch could not be foreseen. */
static inline guint32
list_partners(BerthReassign *x, guint32 p, guint32 to, guint32 *partners)
{
    const BerthReassignState *s = x->state;
    const BerthReassignCrew *crew = &s->crew[to];
    guint32 count = 0, from = s->at[p], at = roll_below(x, crew->count);
    NeedBounds *bounds = g_newa(NeedBounds, s->fit_quads);
    bound_needs(s, p, to, bounds);
    for (guint32 k = MIN(crew->count, PARTNERS); k > 0; k--) {
        guint32 q = crew->processes[at];
        const BerthQuad *need = process_needs(s, q);
        const BerthQuad *gives = process_counts(s, q, to), *takes = process_counts(s, q, from);
        BerthQuad lacks = {0};
        for (guint32 i = 0; i < s->fit_quads; i++) {
            lacks |= (need[i] & gives[i]) < bounds[i].least;
            lacks |= (need[i] & takes[i]) > bounds[i].most;
        }
        at = at + 1 == crew->count ? 0 : at + 1;
        partners[count] = q;
        count += !any_of(lacks);
    }
    return count;
}

/* Like a swap, with the best of a few neighbours on one other machine: their data lie close
 * together. */
static gboolean
try_exchange(BerthReassign *x, const BerthReassignDraw *draw)
{
    const BerthReassignState *s = x->state;
    guint32 p = draw->process, to = draw->other, partner = p, partners[PARTNERS];
    if (to == s->at[p] || s->crew[to].count == 0) {
        return FALSE;
    }
    guint32 count = list_partners(x, p, to, partners);
    double least = draw_limit(x, draw);
    for (guint32 i = 0; i < count; i++) {
        guint32 q = partners[i];
        double delta = swap_delta(s, p, q, least);
        if (delta <= least && !swap_conflicts(x, p, q)) {
            partner = q;
            least = delta;
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
