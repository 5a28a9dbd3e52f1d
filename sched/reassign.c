/*
 * The schedule of the reassignment search: simulated annealing in rounds. Pure: no I/O, no clock, no
 * randomness of its own. Start at berth_reassign_run.
 *
 * First a few sweeps take each process to the best of some machines: on large instances that is most
 * of the way. Then come rounds, each of which cools from a start temperature to its floor over a
 * number of steps: long ones from home, and after each a short warm one from the best assignment. One
 * three times as long does better than three of them, so their length grows quickly; the first has
 * its end within ten seconds. Before each a probe tries from home whether far cooler is better, as it
 * is where little is to be won by moving much: then the two change roles. Nothing depends on time, so
 * the moves are the same for a seed and whoever stops earlier has just seen fewer of them.
 *
 * Large instances with few processes on a machine are cooled window by window instead
 * (reassign-window.c): a round is a pass over all windows.
 *
 * While it is hot only large processes are drawn, and the others are best at home: a process that is
 * away takes up transient resources twice, and what the small ones take so the large ones lack. Where
 * the large ones end is much a matter of luck, so a hot round that is worse than the one before when
 * they have settled is given up. Temperatures are multiples of the mean cost of a resource of a
 * process, so no instance needs numbers of its own. Where the large ones settle decides most of the
 * cost, so most steps are spent above BEND.
 */
#include "sched/reassign-search.h"

#include <math.h>

/* Steps between two looks at temperature and round, a multiple of BERTH_REASSIGN_AHEAD. */
#define BEAT 1024
/* Steps of the first hot round. Instances of up to SMALL processes, whose steps are quicker, get the
 * second number on top; larger ones less of it. Fewer than FEW processes need fewer steps. */
#define ROUND_STEPS 31000000.0
#define ROUND_STEPS_SMALL 50000000.0
#define SMALL 2000.0
#define FEW 500.0
/* More processes than this are many for ten seconds: then there is one sweep, no opening and no
 * probe before the first long round, and that is shorter. */
#define LARGE 25000
#define LARGE_HASTE 0.7
/* Processes on a machine up to which long rounds start from home with so many processes, too. With
 * more of them the sweeps have already won more than a round from home does. */
#define HOMING_CREW 100.0
/* Large instances of at least WINDOWS_LEAST times WINDOW machines with few processes each are cooled
 * window by window. The first pass must have its end in a few seconds on a busy machine, too. */
#define WINDOW 100
#define WINDOWS_LEAST 4
#define WINDOW_CREW 25.0
/* Steps of a pass over all windows, and its growth from one to the next. */
#define PASS_STEPS 14000000.0
#define PASS_GROWTH 1.2
/* Starts of the first pass and of those from the best; how often the first tries each window. */
#define PASS_HOT 0.5
#define PASS_WARM 0.1
#define TRIES 2
/* Start of the long rounds that begin with the best assignment. */
#define COOL 0.5
/* The temperature at which a hot round is compared with the one before, and what one look adds to the
 * mean cost by which it is. */
#define RACE 0.25
#define PACE_SHARE 0.02
/* Processes on a machine up to which it is like packing a few large things; with more of them it is
 * calmer from the start. */
#define SPARSE_CREW 20.0
/* Processes up to which a first round can afford to be hot. */
#define MANY 5000.0
/* The most sweeps before the first round, and what each but the last must gain. */
#define SWEEPS 30
#define SWEEP_GAIN 0.002
/* Temperatures in units of the scale. Below BEND only small things are still decided, faster. */
#define HOT 10.0
#define HOT_LEAST 1.0
#define BEND 0.15
#define FLOOR 1e-5
#define BEND_HASTE 10.0
/* A process takes part once its size is this many times the temperature. */
#define PART 3.0
/* It is too large to move once its size is this many times the temperature; more with more processes on
 * a machine, since then there are others of its size to change places with. */
#define SETTLE 128.0
/* Shares of the kinds of moves, in 65536ths. Ejections look at all of a machine, so they are made less
 * often the more processes it has; windows, which are cooled quickly, have no time for as many. */
#define SHARE_EJECT 6600
#define PASS_SHARE_EJECT 3300
#define SHARE_SHIFT 31200
#define SHARE_SWAP 15600

/* Rounds come in this order; the first is an opening that comes once. */
typedef enum { WARM, LONG, PROBE } RoundKind;
static const struct {
    RoundKind kind;
    double span; /* steps in units of the present length of a long round */
} rounds[] = {{LONG, 0.15}, {PROBE, 0.1}, {LONG, 1}, {WARM, 0.2}};
#define FIRST_PROBE 1
#define FIRST_LONG 2
/* Start of a warm round in units of that of a long one; of probes in units of the first long one. */
#define WARMTH 0.03
#define COOLNESS 0.003
/* Growth of that length from one of these orders to the next. */
#define ROUND_GROWTH 2.5

/* Lets those take part whose size has become large for the temperature, and leaves alone those whose
 * size has become too large; at least half of the former go on being drawn. */
static void
admit(BerthReassign *x)
{
    const BerthReassignField *field = &x->field;
    while (x->active < field->movable && x->size[field->order[x->active]] > PART * x->temperature) {
        x->active++;
    }
    while (2 * (x->settled + 1) <= x->active &&
           x->size[field->order[x->settled]] > x->settle * x->temperature) {
        x->settled++;
    }
}

/* Starts to cool on the present field. A window gets its share of the round's steps. */
static void
start_visit(BerthReassign *x)
{
    x->temperature = x->start * x->scale;
    x->cooling = x->rate * x->all.movable / MAX(1, x->field.movable);
    x->step = 0;
    x->active = MIN(x->field.movable, 20);
    x->settled = 0;
    admit(x);
}

static void
start_round(BerthReassign *x, double start, double steps)
{
    double slow = MAX(0, log(start / BEND)), fast = log(MIN(start, BEND) / FLOOR) / BEND_HASTE;
    x->start = start;
    x->floor = FLOOR * x->scale;
    x->rate = (slow + fast) / steps * BEAT;
    x->pace = x->state->cost;
}

/* Takes those who have moved since to where @to says; the best assignment stays what it is. */
static void
restore_changed(BerthReassign *x, const guint32 *to)
{
    berth_reassign_state_restore(x->state, x->changed, x->n_changed, to);
    guint32 kept = 0;
    for (guint32 i = 0; i < x->n_changed; i++) {
        guint32 p = x->changed[i];
        x->is_changed[p] = x->state->at[p] != x->best[p];
        x->changed[kept] = p;
        kept += x->is_changed[p];
    }
    x->n_changed = kept;
}

/* Takes everybody to where @to says. */
static void
restore(BerthReassign *x, const guint32 *to)
{
    for (guint32 i = 0; i < x->all.movable; i++) {
        guint32 p = x->all.order[i];
        if (x->state->at[p] != to[p]) {
            mark_changed(x, p);
        }
    }
    restore_changed(x, to);
}

/* Starts the present round: from home, or warm from the best assignment. */
static void
begin_round(BerthReassign *x)
{
    RoundKind kind = rounds[x->round].kind;
    double start = kind == PROBE ? x->other : kind == WARM ? x->hot * WARMTH : x->hot;
    gboolean from_home = x->homing && kind != WARM;
    x->racing = from_home && kind == LONG && start > RACE;
    x->round_best = x->best_cost;
    restore(x, from_home ? x->state->home : x->best);
    start_round(x, start, x->round_steps * rounds[x->round].span);
    start_visit(x);
}

/* A probe that found the best, in a tenth of the steps, shows the better heat for long rounds. */
static void
next_round(BerthReassign *x)
{
    if (rounds[x->round].kind == PROBE && x->best_cost < x->round_best) {
        double hot = x->hot;
        x->hot = x->other;
        x->other = hot;
    }
    if (++x->round == G_N_ELEMENTS(rounds)) {
        x->round = x->homing ? FIRST_PROBE : FIRST_LONG;
        x->round_steps *= ROUND_GROWTH;
    }
    begin_round(x);
}

/* The places of large processes are settled when a hot round has cooled to RACE. Whether this one is
 * as good there as the one before, so that the rest of it is worth its time. */
static gboolean
leads(BerthReassign *x)
{
    gboolean leads = x->pace <= x->record;
    x->record = x->pace;
    x->racing = FALSE;
    return leads;
}

static inline void
keep_best(BerthReassign *x)
{
    if (x->state->cost >= x->best_cost) {
        return;
    }
    x->best_cost = x->state->cost;
    for (guint32 i = 0; i < x->n_changed; i++) {
        guint32 p = x->changed[i];
        x->best[p] = x->state->at[p];
        x->is_changed[p] = 0;
    }
    x->n_changed = 0;
}

/* Deals the windows of a pass and enters the first. */
static void
begin_pass(BerthReassign *x)
{
    start_round(x, x->pass == 0 ? PASS_HOT : PASS_WARM, x->round_steps);
    berth_reassign_window_deal(x);
    x->visit = 0;
    berth_reassign_window_enter(x, 0);
    start_visit(x);
}

/* Takes those in the window home. They were there when it was entered, so that breaks no rule. */
static void
retry_window(BerthReassign *x)
{
    for (guint32 i = 0; i < x->field.movable; i++) {
        guint32 p = x->field.order[i];
        if (x->state->at[p] != x->state->home[p]) {
            mark_changed(x, p);
        }
    }
    restore_changed(x, x->state->home);
    start_visit(x);
}

/* Goes on with the next window, which, like each, begins with the best assignment. After the last one
 * come others and more steps. */
static void
next_window(BerthReassign *x)
{
    if (x->pass == 0 && ++x->tries < TRIES) {
        retry_window(x);
        return;
    }
    x->tries = 0;
    restore_changed(x, x->best);
    if (++x->visit == x->windows) {
        x->pass++;
        x->round_steps *= PASS_GROWTH;
        begin_pass(x);
        return;
    }
    berth_reassign_window_enter(x, x->visit);
    start_visit(x);
}

/* Cools by one beat. Fewer active processes need fewer steps. */
static void
cool(BerthReassign *x)
{
    admit(x);
    double share = 0.5 + 0.5 * x->active / MAX(1, x->field.movable);
    double haste = x->temperature < BEND * x->scale ? BEND_HASTE : 1;
    x->temperature *= exp(-x->cooling * haste / share);
    x->pace += (x->state->cost - x->pace) * PACE_SHARE;
    if (x->temperature < x->floor) {
        x->windows > 0 ? next_window(x) : next_round(x);
    } else if (x->racing && x->temperature < RACE * x->scale && !leads(x)) {
        begin_round(x);
    }
}

/* One process of a sweep goes where it is cheapest; sweeps end when one gains little. */
static void
sweep_step(BerthReassign *x)
{
    if (berth_reassign_improve(x, x->all.order[x->swept])) {
        keep_best(x);
    }
    if (++x->swept == x->all.movable) {
        gboolean pays = x->best_cost < x->sweep_cost * (1 - SWEEP_GAIN);
        x->sweeps = pays ? x->sweeps - 1 : 0;
        x->sweep_cost = x->best_cost;
        x->swept = 0;
        if (x->sweeps == 0) {
            begin_round(x);
        }
    }
}

static void
draw_ahead(BerthReassign *x)
{
    for (guint i = 0; i < BERTH_REASSIGN_AHEAD; i++) {
        guint64 bits = roll(x);
        guint dice = (bits >> 32) & 65535;
        BerthReassignDraw *draw = &x->draws[i];
        draw->luck = (guint32)(bits >> 52);
        /* In the order of the kinds, without a branch, which could not be foreseen. */
        draw->kind = (dice >= SHARE_SHIFT) + (dice >= SHARE_SHIFT + SHARE_SWAP) +
                     (dice >= SHARE_SHIFT + SHARE_SWAP + x->eject_share);
        berth_reassign_draw(x, draw);
    }
    berth_reassign_glance(x, 0);
}

/* Tries the open ones of the first @end draws. */
static void
try_open(BerthReassign *x, guint end)
{
    guint32 before = (1u << end) - 1;
    while ((x->open & before) != 0) {
        guint at = (guint)__builtin_ctz(x->open);
        x->open &= x->open - 1;
        if (berth_reassign_try(x, &x->draws[at])) {
            keep_best(x);
            berth_reassign_glance(x, at + 1);
        }
    }
}

/**
 * berth_reassign_run:
 * @steps: candidate moves to look at; a step takes 0.05 to 0.5 microseconds
 *
 * Goes on where the last call stopped.
 */
void
berth_reassign_run(BerthReassign *x, guint64 steps)
{
    if (x->all.movable == 0 || x->model->machines < 2) {
        return;
    }
    for (; steps > 0 && x->sweeps > 0; steps--) {
        sweep_step(x);
    }
    while (steps > 0) {
        if (x->step % BEAT == 0) {
            cool(x);
            if (x->field.movable == 0) {
                steps--;
                continue; /* a window with nobody to move; the next beat goes on to another */
            }
        }
        guint at = x->step % BERTH_REASSIGN_AHEAD;
        guint end = at + (guint)MIN(steps, BERTH_REASSIGN_AHEAD - at);
        if (at == 0) {
            draw_ahead(x);
        }
        x->step += end - at;
        steps -= end - at;
        try_open(x, end);
    }
}

/* Chooses heat and length of the rounds by the size of the instance. */
static void
plan_rounds(BerthReassign *x)
{
    double machines = MAX(1, x->model->machines), processes = MAX(1, x->model->processes);
    double crew = processes / machines, sparse = MIN(1, SPARSE_CREW / MAX(1, crew));
    double few = pow(MIN(1, MANY / processes), 1.5);
    gboolean large = processes > LARGE;
    x->homing = !large || crew <= HOMING_CREW;
    x->hot = x->homing ? MAX(HOT_LEAST, HOT * sparse * few) : COOL;
    x->other = x->hot * COOLNESS;
    x->eject_share = (guint)(SHARE_EJECT * sparse);
    x->settle = SETTLE / sparse;
    x->sweeps = large && x->homing ? 1 : SWEEPS;
    x->sweep_cost = x->best_cost;
    x->round_steps = (ROUND_STEPS + ROUND_STEPS_SMALL * MIN(1, SMALL / processes)) *
                     MIN(1, processes / FEW) * (large && x->homing ? LARGE_HASTE : 1);
    x->round = large ? FIRST_LONG : 0;
    x->windows = large && crew <= WINDOW_CREW ? x->model->machines / WINDOW : 0;
    if (x->windows < WINDOWS_LEAST) {
        x->windows = 0;
        return;
    }
    x->sweeps = 0;
    x->eject_share = (guint)(PASS_SHARE_EJECT * sparse);
    x->settle = G_MAXDOUBLE;
    x->round_steps = PASS_STEPS;
    berth_reassign_window_init(x);
    begin_pass(x);
}

/**
 * berth_reassign_new:
 * @model: the instance, valid (berth_reassign_model_validate); borrowed, must outlive the search
 * @home: [processes] the present assignment, which meets all hard constraints; copied
 * @seed: same seed, same moves
 *
 * Returns: (transfer full): a search whose best is @home
 */
BerthReassign *
berth_reassign_new(const BerthReassignModel *model, const guint32 *home, guint64 seed)
{
    BerthReassign *x = g_new0(BerthReassign, 1);
    x->model = model;
    x->state = berth_reassign_state_new(model, home);
    /* Never zero, which xorshift could not leave. */
    x->dice =
        (seed * G_GUINT64_CONSTANT(0x9E3779B97F4A7C15)) ^ G_GUINT64_CONSTANT(0x1234567887654321);
    x->dice = x->dice != 0 ? x->dice : 1;
    for (guint i = 0; i < BERTH_REASSIGN_LOGS; i++) {
        x->minus_log[i] = -log((i + 0.5) / BERTH_REASSIGN_LOGS);
    }
    x->best = g_memdup2(home, model->processes * sizeof *home);
    x->best_cost = x->state->cost;
    x->changed = g_new(guint32, model->processes);
    x->is_changed = g_new0(guint8, model->processes);
    berth_reassign_targets_init(x);
    plan_rounds(x);
    x->record = G_MAXDOUBLE;
    return x;
}

void
berth_reassign_free(BerthReassign *x)
{
    if (x == NULL) {
        return;
    }
    berth_reassign_targets_clear(x);
    berth_reassign_state_free(x->state);
    g_free(x->best);
    g_free(x->changed);
    g_free(x->is_changed);
    g_free(x);
}

/* The cost of the cheapest assignment so far. */
gint64
berth_reassign_cost(const BerthReassign *x)
{
    return (gint64)x->best_cost;
}

/* The cheapest assignment so far: [processes], owned by the search, changed by the next run. */
const guint32 *
berth_reassign_best(const BerthReassign *x)
{
    return x->best;
}
