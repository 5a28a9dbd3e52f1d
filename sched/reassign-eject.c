/*
 * Ejection, the move of the reassignment search that makes room: a process goes where there is none,
 * and whoever is in the way there goes home or elsewhere first. Pure; all randomness comes from the
 * search's own dice.
 *
 * The rearrangement around a large process is from Gavranović and Buljubašić, "An efficient local
 * search with noising strategy for Google Machine Reassignment problem" (2016).
 */
#include "sched/reassign-search.h"

/* Processes that may leave to make room for one, and the places tried for each. */
#define EJECTIONS_MAX 32
#define REFUGES 5
#define REFUGES_MAX 10
/* From this temperature on (in units of the scale) what a process overloads counts as gone with those
 * who make room for it. Below, that only costs time. */
#define BOLD 0.5

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
        if (!fits(s, to, process) || to == e->to ||
            service_present(s, x->model->service[process], to)) {
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

/* What the target lacks. */
typedef struct {
    guint32 resource;
    double amount;
} Lack;

/* Lists what the target lacks in @lacks, which has a place a resource; returns how many there are. */
static guint32
list_lacks(const Ejection *e, Lack *lacks)
{
    const gint32 *room = (const gint32 *)machine_room(e->search->state, e->to);
    guint32 count = 0;
    for (guint32 r = 0; r < e->search->model->resources; r++) {
        lacks[count] = (Lack){r, -(double)room[r]};
        count += room[r] < 0;
    }
    return count;
}

/* How much of that @process would give back, over all resources. */
static inline double
relief(const Ejection *e, const Lack *lacks, guint32 count, guint32 process)
{
    const BerthReassignState *s = e->search->state;
    const gint32 *need = process_terms(s, process);
    const gint32 *counts = (const gint32 *)process_counts(s, process, e->to);
    double sum = 0;
    for (guint32 i = 0; i < count; i++) {
        guint32 r = lacks[i].resource;
        double gives = need[r] & counts[r];
        sum += MIN(gives, lacks[i].amount) * e->search->weight[r];
    }
    return sum;
}

/* Somebody whose leaving helps: the one who helps most, or the first from a random place on. */
static gint64
choose_leaver(const Ejection *e, const Lack *lacks, guint32 count)
{
    BerthReassign *x = e->search;
    const BerthReassignCrew *crew = &x->state->crew[e->to];
    gboolean most = roll_below(x, 2);
    guint32 at = roll_below(x, crew->count);
    double best = 0;
    gint64 leaver = -1;
    for (guint32 i = 0; i < crew->count && (most || leaver < 0); i++) {
        guint32 q = crew->processes[at];
        at = at + 1 == crew->count ? 0 : at + 1;
        double gives = q == e->process ? 0 : relief(e, lacks, count, q);
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
    Lack *lacks = g_newa(Lack, e->search->model->resources);
    guint32 count;
    while ((count = list_lacks(e, lacks)) > 0) {
        gint64 leaver = e->count < EJECTIONS_MAX ? choose_leaver(e, lacks, count) : -1;
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
 * Sends a process to a machine that need not have room: whoever is in the way there goes home or
 * elsewhere first.
 *
 * Returns: whether the whole of it was possible within the limit; else nothing has changed
 */
gboolean
berth_reassign_try_eject(BerthReassign *x, const BerthReassignDraw *draw)
{
    BerthReassignState *s = x->state;
    guint32 p = draw->process, to = draw->other;
    Ejection e = {.search = x,
                  .before = s->cost,
                  .limit = draw_limit(x, draw),
                  .process = p,
                  .from = s->at[p],
                  .to = to};
    gboolean bold = x->temperature > BOLD * x->scale;
    double most = e.limit + (bold ? cost_with(s, to, p) : s->machine_cost[to]);
    if (to == e.from || shift_delta(s, p, to, most) > most) {
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
