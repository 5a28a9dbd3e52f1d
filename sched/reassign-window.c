/*
 * Windows of the reassignment search: some machines and who is on them, among which moves are drawn
 * for a while. Pure; all randomness comes from the search's own dice.
 *
 * On a large instance a step mostly waits for memory. A window's rows stay in the processor's caches,
 * so it is looked at for as many steps as its share of the machines is worth, and windows are dealt
 * anew, so that in time every two machines meet. All rules and sums are those of the whole instance.
 */
#include "sched/reassign-search.h"

#include <stdlib.h>

/* A list longer than this share of a window's machines is no better than drawing from all of them. */
#define LIST_SHARE 0.5

/**
 * berth_reassign_window_init:
 *
 * Takes the memory for the windows; berth_reassign_window_deal comes next.
 */
void
berth_reassign_window_init(BerthReassign *x)
{
    x->window = berth_reassign_field_new(x->model);
    x->deck = g_memdup2(x->all.machines, x->model->machines * sizeof *x->deck);
}

/**
 * berth_reassign_window_deal:
 *
 * Shuffles the machines, so that the windows of the coming pass hold others than those before.
 */
void
berth_reassign_window_deal(BerthReassign *x)
{
    for (guint32 left = x->model->machines; left > 1; left--) {
        guint32 at = roll_below(x, left), machine = x->deck[at];
        x->deck[at] = x->deck[left - 1];
        x->deck[left - 1] = machine;
    }
}

static guint32
window_first(const BerthReassign *x, guint32 window)
{
    return (guint32)((guint64)x->model->machines * window / x->windows);
}

static int
compare_numbers(const void *a, const void *b)
{
    guint32 p = *(const guint32 *)a, q = *(const guint32 *)b;
    return (p > q) - (p < q);
}

/* The machines of @window and, largest first, the processes on them. */
static void
fill_members(BerthReassign *x, guint32 window)
{
    BerthReassignField *field = &x->window;
    guint32 end = window_first(x, window + 1);
    field->machine_count = 0;
    field->movable = 0;
    for (guint32 i = window_first(x, window); i < end; i++) {
        const BerthReassignCrew *crew = &x->state->crew[x->deck[i]];
        field->machines[field->machine_count++] = x->deck[i];
        for (guint32 k = 0; k < crew->count; k++) {
            guint32 standing = x->standing[crew->processes[k]];
            if (standing != G_MAXUINT32) {
                field->order[field->movable++] = standing;
            }
        }
    }
    qsort(field->order, field->movable, sizeof *field->order, compare_numbers);
    for (guint32 i = 0; i < field->movable; i++) {
        field->order[i] = x->all.order[field->order[i]];
    }
}

/* Puts the machines of the window that can ever take @process into @list and their number into
 * @length; returns how many of them there are beside the one it is on. */
static guint32
list_targets(const BerthReassign *x, guint32 process, guint32 *list, guint32 *length)
{
    const BerthReassignState *s = x->state;
    guint32 others = 0, at = s->at[process], home = s->home[process];
    *length = 0;
    for (guint32 i = 0; i < x->window.machine_count; i++) {
        guint32 machine = x->window.machines[i];
        if (machine == home || berth_reassign_state_could_fit(s, machine, process)) {
            list[(*length)++] = machine;
            others += machine != at;
        }
    }
    return others;
}

/* Gives each process its targets within the window, and leaves out who has none. */
static void
fill_targets(BerthReassign *x)
{
    BerthReassignField *field = &x->window;
    guint32 used = 0, kept = 0;
    for (guint32 i = 0; i < field->movable; i++) {
        guint32 p = field->order[i], length;
        if (used + field->machine_count > x->window_room) {
            x->window_room = 2 * (used + field->machine_count);
            field->targets = g_renew(guint32, field->targets, x->window_room);
        }
        if (list_targets(x, p, field->targets + used, &length) == 0) {
            continue;
        }
        gboolean few = length < LIST_SHARE * field->machine_count;
        field->reach[p] = few ? (BerthReassignSpan){used, length} : (BerthReassignSpan){0, 0};
        used += few ? length : 0;
        x->rank[p] = kept;
        field->order[kept++] = p;
    }
    field->movable = kept;
}

/**
 * berth_reassign_window_enter:
 * @window: below the search's number of windows
 *
 * From now on moves are drawn among the machines of @window and the processes that are there now.
 * Going home, or being sent home, is the only way out of it.
 */
void
berth_reassign_window_enter(BerthReassign *x, guint32 window)
{
    fill_members(x, window);
    fill_targets(x);
    x->field = x->window;
}
