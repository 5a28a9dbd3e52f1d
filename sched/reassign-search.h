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

/* One draw in this many proposes going home, or ignores the restriction to large processes; a power
 * of two. */
#define BERTH_REASSIGN_SELDOM 16

/* Candidates drawn ahead of the one being tried. */
#define BERTH_REASSIGN_AHEAD 16

typedef enum {
    BERTH_REASSIGN_SHIFT,
    BERTH_REASSIGN_SWAP,
    BERTH_REASSIGN_EJECT,
    BERTH_REASSIGN_EXCHANGE,
} BerthReassignKind;

typedef struct {
    BerthReassignKind kind;
    guint32 process;
    guint32 other; /* the partner of a swap, else the machine to go to */
    guint32 luck;  /* which entry of the table of -ln(u) limits its cost */
} BerthReassignDraw;

typedef struct {
    guint32 first, count;
} BerthReassignSpan;

/* Who takes part in the moves: everybody, or those in a window. */
typedef struct {
    union {
        struct {
            guint32 *machines; /* [machine_count] */
            guint32 *targets;  /* those a process could ever go to, for processes that have few */
        };
        const guint32 *lists[2]; /* the same two */
    };
    guint32 machine_count;
    guint32 *order; /* [movable] processes that can move, largest first */
    guint32 movable;
    BerthReassignSpan *reach; /* [processes] which of @targets; none means any machine, from 0 on */
} BerthReassignField;

struct BerthReassign {
    const BerthReassignModel *model; /* borrowed, outlives this */
    BerthReassignState *state;       /* owned */
    guint64 dice;
    BerthReassignDraw draws[BERTH_REASSIGN_AHEAD];
    guint32 open; /* a bit for each of @draws that may be possible and was not tried */

    BerthReassignField field;       /* the present one: @all or @window; borrowed from it */
    BerthReassignField all, window; /* owned */
    guint32 *rank;                  /* [processes] place in the order of @field */
    guint32 *standing; /* [processes] place in the order of @all, G_MAXUINT32 where it has none */
    guint32 active;    /* the first so many of the order are drawn mostly, */
    guint32 settled;   /* but for the first so many of these */
    double *size;      /* [processes] what a process can change in cost, roughly */
    double *weight;    /* [resources] makes units of different resources comparable */
    guint32 stride[BERTH_REASSIGN_STRIDES];

    double minus_log[BERTH_REASSIGN_LOGS];
    double scale;      /* mean cost of one resource of one process */
    double hot, other; /* start temperatures of long rounds and of probes, in units of @scale */
    double round_best; /* what @best_cost was when the round began */
    double temperature, floor, cooling;
    gboolean homing;     /* hot rounds start from home */
    gboolean racing;     /* this round is still to be compared with earlier ones */
    double pace, record; /* mean cost of late; the least seen where rounds are compared */
    guint64 step;        /* within the round, or within the visit of a window */
    guint round;
    double start;        /* temperature with which the round began, in units of @scale */
    double rate;         /* of cooling by a beat when all take part */
    guint32 *deck;       /* [machines] in the order in which windows take them */
    guint32 windows;     /* of a pass over all machines; none when all always take part */
    guint32 visit;       /* the present window */
    guint pass, tries;   /* how often each machine's turn came; tries of the present window */
    guint32 window_room; /* of the window's @targets */
    guint sweeps;        /* sweeps that may still come before the first round */
    guint32 swept;       /* processes of the present sweep */
    double sweep_cost;
    guint eject_share; /* of all draws, in 65536ths */
    double settle;     /* size at which a process has settled, in units of the temperature */
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

/* The most by which the cost may grow. */
static inline double
draw_limit(const BerthReassign *x, const BerthReassignDraw *draw)
{
    return x->temperature * x->minus_log[draw->luck];
}

/* @yes or @no, without a branch: where nobody can foresee which, a wrong guess costs 20 cycles. */
static inline guint32
either(gboolean choice, guint32 yes, guint32 no)
{
    guint32 mask = -(guint32)(choice != 0);
    return (yes & mask) | (no & ~mask);
}

/* One that could ever take @process or, seldom, its home. */
static inline guint32
draw_machine(BerthReassign *x, guint32 process)
{
    guint64 bits = roll(x);
    BerthReassignSpan reach = x->field.reach[process];
    gboolean few = reach.count > 0;
    const guint32 *list = x->field.lists[few] + reach.first;
    guint64 count = either(few, reach.count, x->field.machine_count);
    return either((bits & (BERTH_REASSIGN_SELDOM - 1)) == 0, x->state->home[process],
                  list[((bits >> 32) * count) >> 32]);
}

static inline void
mark_changed(BerthReassign *x, guint32 process)
{
    if (!x->is_changed[process]) {
        x->is_changed[process] = 1;
        x->changed[x->n_changed++] = process;
    }
}

/* What the cost grows by when @process goes to @to; something above @most when it is that. */
static inline double
shift_delta(const BerthReassignState *s, guint32 process, guint32 to, double most)
{
    guint32 from = s->at[process];
    double delta = cost_without(s, from, process) - s->machine_cost[from] +
                   cost_with(s, to, process) - s->machine_cost[to] - s->paid[process] +
                   berth_reassign_state_service_delta(s, process, to);
    return delta > most ? delta : delta + move_cost(s, process, to);
}

void berth_reassign_targets_init(BerthReassign *search);
BerthReassignField berth_reassign_field_new(const BerthReassignModel *model);
void berth_reassign_targets_clear(BerthReassign *search);

void berth_reassign_window_init(BerthReassign *search);
void berth_reassign_window_deal(BerthReassign *search);
void berth_reassign_window_enter(BerthReassign *search, guint32 window);

void berth_reassign_draw(BerthReassign *search, BerthReassignDraw *draw);
void berth_reassign_glance(BerthReassign *search, guint first);
gboolean berth_reassign_improve(BerthReassign *search, guint32 process);
gboolean berth_reassign_try(BerthReassign *search, const BerthReassignDraw *draw);
gboolean berth_reassign_try_eject(BerthReassign *search, const BerthReassignDraw *draw);

G_END_DECLS
