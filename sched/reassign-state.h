/*
 * The state of the reassignment search: who is where, and the sums that let a move be priced and
 * checked in O(resources + dependencies of its service). Internal to reassign.c; the pricing is
 * inline because the search calls it tens of millions of times a second.
 *
 * Invariant: cost[m] of a machine record is the sum of the positive parts of its terms, and
 * state->cost is the challenge's full cost of the assignment `at`. All numbers are integers held in
 * doubles below 2^53, so sums are exact and do not depend on the order of the moves.
 *
 * Cost terms. Load cost of resource r on machine m is w * max(0, U - SC); balance cost is
 * w * max(0, target * (C1 - U1) - (C2 - U2)). Both are the positive part of a linear function of
 * what runs on m, so they are one vector of terms a machine and a process is a vector to add. The
 * first of a process's terms are its requirements themselves, so capacity is checked with the same
 * numbers. They fit into 32 bits (berth_reassign_model_validate), and nine of ten looks at a process
 * end with its requirements, so its row is as short as can be; a machine's terms are doubles.
 */
#pragma once

#include "sched/reassign-model.h"

G_BEGIN_DECLS

/* Two doubles at once: SSE2 is the least that x86-64 has; other machines get plain code. */
typedef double BerthPair __attribute__((vector_size(16)));
typedef gint64 BerthPairMask __attribute__((vector_size(16)));
typedef gint32 BerthQuad __attribute__((vector_size(16)));

typedef struct {
    guint32 *processes; /* owned */
    guint32 count, room;
} BerthReassignCrew;

typedef struct {
    const BerthReassignModel *model; /* borrowed, outlives this */
    guint32 term_pairs;              /* terms in pairs, an even number */
    guint32 fit_quads;               /* resources in quads */
    BerthPair *machine;              /* [machines][term_pairs] */
    BerthPair *term_weight;          /* [term_pairs] cost of a unit of a term above zero */
    gint32 *process;                 /* [processes][2 * term_pairs] */
    BerthQuad *room;                 /* [machines][fit_quads] free capacity */
    BerthQuad *bare;                 /* as @room, when only transient needs at home count */
    BerthQuad *counts;    /* [2][fit_quads] what a process takes away from home; at home */
    double *machine_cost; /* [machines] */

    const guint32 *home;     /* [processes] the assignment given; owned copy */
    guint32 *at;             /* [processes] */
    double *paid;            /* [processes] move_cost of where it is */
    guint32 *slot;           /* [processes] place in its machine's crew */
    BerthReassignCrew *crew; /* [machines] */

    gsize presence_words; /* words of a service's row of machine bits */
    guint64 *presence;    /* [services][machines] as bits */

    guint32 *moved;       /* [services] processes away from home */
    guint32 *moved_count; /* [0 .. largest service] services with that many moved */
    guint32 moved_max;

    guint32 *spread_row;                  /* [services] row in spread_counts or G_MAXUINT32 */
    guint16 *spread_counts;               /* [rows][locations] */
    guint32 *spread_seen;                 /* [services] distinct locations in use */
    guint32 *depend_row;                  /* [services] row in depend_counts or G_MAXUINT32 */
    guint16 *depend_counts;               /* [rows][neighbourhoods] */
    guint32 *dependent_first, *dependent; /* reverse of the model's dependency lists */

    double cost;
} BerthReassignState;

BerthReassignState *berth_reassign_state_new(const BerthReassignModel *model, const guint32 *home);
void berth_reassign_state_free(BerthReassignState *state);
void berth_reassign_state_relocate(BerthReassignState *state, guint32 process, guint32 to);
void berth_reassign_state_swap(BerthReassignState *state, guint32 p, guint32 q);
void berth_reassign_state_restore(BerthReassignState *state, const guint32 *processes,
                                  guint32 count, const guint32 *to);
gboolean berth_reassign_state_allows(BerthReassignState *state, guint32 process, guint32 to);
gboolean berth_reassign_state_allows_swap(BerthReassignState *state, guint32 p, guint32 q);
gboolean berth_reassign_state_could_fit(const BerthReassignState *state, guint32 machine,
                                        guint32 process);
double berth_reassign_state_service_delta(const BerthReassignState *state, guint32 process,
                                          guint32 to);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthReassignState, berth_reassign_state_free)

static inline BerthPair *
machine_terms(const BerthReassignState *s, guint32 machine)
{
    return s->machine + (gsize)machine * s->term_pairs;
}

static inline BerthQuad *
machine_room(const BerthReassignState *s, guint32 machine)
{
    return s->room + (gsize)machine * s->fit_quads;
}

static inline const gint32 *
process_terms(const BerthReassignState *s, guint32 process)
{
    return s->process + (gsize)process * s->term_pairs * 2;
}

static inline const BerthQuad *
process_needs(const BerthReassignState *s, guint32 process)
{
    return (const BerthQuad *)process_terms(s, process);
}

/* Which of its needs @process takes from the room of @machine when it runs there: at home the
 * transient resources are taken whether it runs there or not. */
static inline const BerthQuad *
process_counts(const BerthReassignState *s, guint32 process, guint32 machine)
{
    return s->counts + (s->home[process] == machine) * s->fit_quads;
}

/* The pair @i of terms. */
static inline BerthPair
pair_of(const gint32 *terms, guint32 i)
{
    return (BerthPair){terms[2 * i], terms[2 * i + 1]};
}

static inline BerthPair
positive(BerthPair v)
{
    return (BerthPair)((BerthPairMask)v & (v > 0));
}

static inline double
pair_sum(BerthPair sum)
{
    return sum[0] + sum[1];
}

static inline gboolean
any_of(BerthQuad mask)
{
    BerthPairMask words = (BerthPairMask)mask;
    return (words[0] | words[1]) != 0;
}

/* Cost of @machine if @process were added. */
static inline double
cost_with(const BerthReassignState *s, guint32 machine, guint32 process)
{
    const BerthPair *x = machine_terms(s, machine);
    const gint32 *d = process_terms(s, process);
    BerthPair sum = {0, 0};
    for (guint32 i = 0; i < s->term_pairs; i++) {
        sum += positive(x[i] + pair_of(d, i)) * s->term_weight[i];
    }
    return pair_sum(sum);
}

/* Cost of @machine if @process were taken away. */
static inline double
cost_without(const BerthReassignState *s, guint32 machine, guint32 process)
{
    const BerthPair *x = machine_terms(s, machine);
    const gint32 *d = process_terms(s, process);
    BerthPair sum = {0, 0};
    for (guint32 i = 0; i < s->term_pairs; i++) {
        sum += positive(x[i] - pair_of(d, i)) * s->term_weight[i];
    }
    return pair_sum(sum);
}

/* Cost of @machine if @in came and @out left. */
static inline double
cost_exchanged(const BerthReassignState *s, guint32 machine, guint32 in, guint32 out)
{
    const BerthPair *x = machine_terms(s, machine);
    const gint32 *a = process_terms(s, in), *b = process_terms(s, out);
    BerthPair sum = {0, 0};
    for (guint32 i = 0; i < s->term_pairs; i++) {
        sum += positive(x[i] + pair_of(a, i) - pair_of(b, i)) * s->term_weight[i];
    }
    return pair_sum(sum);
}

/* Whether the room of @machine holds @process. */
static inline gboolean
fits(const BerthReassignState *s, guint32 machine, guint32 process)
{
    const BerthQuad *room = machine_room(s, machine), *need = process_needs(s, process);
    const BerthQuad *counts = process_counts(s, process, machine);
    BerthQuad lacks = {0};
    for (guint32 i = 0; i < s->fit_quads; i++) {
        lacks |= (need[i] & counts[i]) > room[i];
    }
    return !any_of(lacks);
}

/* Whether @machine holds @in once @out has left it. */
static inline gboolean
fits_exchanged(const BerthReassignState *s, guint32 machine, guint32 in, guint32 out)
{
    const BerthQuad *room = machine_room(s, machine);
    const BerthQuad *need = process_needs(s, in), *given = process_needs(s, out);
    const BerthQuad *takes = process_counts(s, in, machine);
    const BerthQuad *gives = process_counts(s, out, machine);
    BerthQuad lacks = {0};
    for (guint32 i = 0; i < s->fit_quads; i++) {
        lacks |= (need[i] & takes[i]) > room[i] + (given[i] & gives[i]);
    }
    return !any_of(lacks);
}

/* Whether a process of @service runs on @machine. */
static inline gboolean
service_present(const BerthReassignState *s, guint32 service, guint32 machine)
{
    return s->presence[service * s->presence_words + machine / 64] >> (machine % 64) & 1;
}

/* Process and machine move cost of having @process on @machine. */
static inline double
move_cost(const BerthReassignState *s, guint32 process, guint32 machine)
{
    const BerthReassignModel *m = s->model;
    guint32 home = s->home[process];
    if (home == machine) {
        return 0;
    }
    return (double)m->process_move_weight * m->process_move[process] +
           (double)m->machine_move_weight * m->machine_move[(gsize)home * m->machines + machine];
}

G_END_DECLS
