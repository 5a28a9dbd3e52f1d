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
 * numbers; where the last pair of these reaches into the balances, free capacity is endless.
 */
#pragma once

#include "sched/reassign-model.h"

G_BEGIN_DECLS

/* Two doubles at once: SSE2 is the least that x86-64 has; other machines get plain code. */
typedef double BerthPair __attribute__((vector_size(16)));
typedef gint64 BerthPairMask __attribute__((vector_size(16)));

typedef struct {
    guint32 *processes; /* owned */
    guint32 count, room;
} BerthReassignCrew;

typedef struct {
    const BerthReassignModel *model; /* borrowed, outlives this */
    guint32 term_pairs, fit_pairs;   /* length of the vectors in pairs */
    guint32 machine_stride;          /* in pairs */
    BerthPair *machine;              /* per machine: terms, then free capacity */
    BerthPair *process;              /* [processes][term_pairs] */
    BerthPair *term_weight;          /* [term_pairs] cost of a unit of a term above zero */
    BerthPairMask *counts; /* [2][fit_pairs] what a process takes away from home; at home */
    BerthPair
        *bare; /* [machines][fit_pairs] free capacity when only transient needs at home count */
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

/* The vectors of a machine and of a process. */
static inline BerthPair *
machine_terms(const BerthReassignState *s, guint32 machine)
{
    return s->machine + (gsize)machine * s->machine_stride;
}

static inline BerthPair *
machine_free(const BerthReassignState *s, guint32 machine)
{
    return machine_terms(s, machine) + s->term_pairs;
}

static inline const BerthPair *
process_terms(const BerthReassignState *s, guint32 process)
{
    return s->process + (gsize)process * s->term_pairs;
}

/* Which of its needs @process takes from the free capacity of @machine when it runs there: at home
 * the transient resources are taken whether it runs there or not. */
static inline const BerthPairMask *
process_counts(const BerthReassignState *s, guint32 process, guint32 machine)
{
    return s->counts + (s->home[process] == machine ? s->fit_pairs : 0);
}

static inline BerthPair
pick(BerthPair v, BerthPairMask mask)
{
    return (BerthPair)((BerthPairMask)v & mask);
}

static inline double
positive_sum(BerthPair sum)
{
    return sum[0] + sum[1];
}

/* Cost of @machine if @process were added. */
static inline double
cost_with(const BerthReassignState *s, guint32 machine, guint32 process)
{
    const BerthPair *x = machine_terms(s, machine), *d = process_terms(s, process);
    BerthPair sum = {0, 0};
    for (guint32 i = 0; i < s->term_pairs; i++) {
        BerthPair v = x[i] + d[i];
        sum += pick(v, v > 0) * s->term_weight[i];
    }
    return positive_sum(sum);
}

/* Cost of @machine if @process were taken away. */
static inline double
cost_without(const BerthReassignState *s, guint32 machine, guint32 process)
{
    const BerthPair *x = machine_terms(s, machine), *d = process_terms(s, process);
    BerthPair sum = {0, 0};
    for (guint32 i = 0; i < s->term_pairs; i++) {
        BerthPair v = x[i] - d[i];
        sum += pick(v, v > 0) * s->term_weight[i];
    }
    return positive_sum(sum);
}

/* Cost of @machine if @in came and @out left. */
static inline double
cost_exchanged(const BerthReassignState *s, guint32 machine, guint32 in, guint32 out)
{
    const BerthPair *x = machine_terms(s, machine);
    const BerthPair *a = process_terms(s, in), *b = process_terms(s, out);
    BerthPair sum = {0, 0};
    for (guint32 i = 0; i < s->term_pairs; i++) {
        BerthPair v = x[i] + a[i] - b[i];
        sum += pick(v, v > 0) * s->term_weight[i];
    }
    return positive_sum(sum);
}

/* Whether the free capacity of @machine holds @process. */
static inline gboolean
fits(const BerthReassignState *s, guint32 machine, guint32 process)
{
    const BerthPair *room = machine_free(s, machine), *need = process_terms(s, process);
    const BerthPairMask *counts = process_counts(s, process, machine);
    BerthPairMask lacks = {0, 0};
    for (guint32 i = 0; i < s->fit_pairs; i++) {
        lacks |= pick(need[i], counts[i]) > room[i];
    }
    return (lacks[0] | lacks[1]) == 0;
}

/* Whether @machine holds @in once @out has left it. */
static inline gboolean
fits_exchanged(const BerthReassignState *s, guint32 machine, guint32 in, guint32 out)
{
    const BerthPair *room = machine_free(s, machine);
    const BerthPair *need = process_terms(s, in), *given = process_terms(s, out);
    const BerthPairMask *takes = process_counts(s, in, machine);
    const BerthPairMask *gives = process_counts(s, out, machine);
    BerthPairMask lacks = {0, 0};
    for (guint32 i = 0; i < s->fit_pairs; i++) {
        lacks |= pick(need[i], takes[i]) > room[i] + pick(given[i], gives[i]);
    }
    return (lacks[0] | lacks[1]) == 0;
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
