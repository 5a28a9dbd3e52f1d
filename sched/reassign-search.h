/*
 * What the moves and the schedule of the reassignment search share. Internal to sched/.
 *
 * Invariant: outside of a move the assignment meets every hard constraint, and `best` is the
 * cheapest one seen; `changed` holds every process whose place may differ from it.
 */
#pragma once

#include "sched/reassign-state.h"
#include "sched/reassign.h"

G_BEGIN_DECLS

/* Entries of the table of -ln(u) from which the acceptance threshold is drawn. */
#define BERTH_REASSIGN_LOGS 4096
/* Entries of the table of log-uniform rank distances. */
#define BERTH_REASSIGN_STRIDES 1024

struct BerthReassign {
    const BerthReassignModel *model; /* borrowed, outlives this */
    BerthReassignState *state;       /* owned */
    guint64 dice;

    guint32 *order;      /* movable processes, largest first */
    guint32 *rank;       /* [processes] place in @order */
    guint32 movable;     /* length of @order */
    guint32 active;      /* the first so many of @order are drawn mostly */
    double *size;        /* [processes] what a process can change in cost, roughly */
    gsize *target_first; /* [processes + 1] */
    GArray *targets;     /* machines a process could ever go to; an empty list means any */
    BerthPair *weight;   /* [fit_pairs] makes units of different resources comparable */
    guint32 stride[BERTH_REASSIGN_STRIDES];

    double minus_log[BERTH_REASSIGN_LOGS];
    double scale; /* mean cost of one resource of one process */
    double hot;   /* first start temperature in units of @scale */
    double temperature, floor, cooling;
    gboolean homing;     /* hot rounds start from home */
    gboolean racing;     /* this round is still to be compared with earlier ones */
    double pace, record; /* mean cost of late; the least seen where rounds are compared */
    guint64 step;        /* within the round */
    guint round;
    guint sweeps;  /* sweeps that may still come before the first round */
    guint32 swept; /* processes of the present sweep */
    double sweep_cost;
    guint eject_share; /* of all draws, in 65536ths */
    double round_steps;

    guint32 *best; /* [processes] */
    double best_cost;
    guint32 *changed; /* processes moved since @best was kept */
    guint8 *is_changed;
    guint32 n_changed;
};

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" (2016). */
static inline guint64
roll(BerthReassign *x)
{
    x->dice ^= x->dice >> 12;
    x->dice ^= x->dice << 25;
    x->dice ^= x->dice >> 27;
    return x->dice * G_GUINT64_CONSTANT(2685821657736338717);
}

/* A number below @bound, which is at least 1. */
static inline guint32
roll_below(BerthReassign *x, guint32 bound)
{
    return (guint32)(((roll(x) >> 32) * bound) >> 32);
}

static inline void
mark_changed(BerthReassign *x, guint32 process)
{
    if (!x->is_changed[process]) {
        x->is_changed[process] = 1;
        x->changed[x->n_changed++] = process;
    }
}

void berth_reassign_targets_init(BerthReassign *search);
void berth_reassign_targets_clear(BerthReassign *search);

gboolean berth_reassign_improve(BerthReassign *search, guint32 process);
gboolean berth_reassign_try_shift(BerthReassign *search, double limit);
gboolean berth_reassign_try_swap(BerthReassign *search, double limit);
gboolean berth_reassign_try_exchange(BerthReassign *search, double limit);
gboolean berth_reassign_try_eject(BerthReassign *search, double limit);

G_END_DECLS
