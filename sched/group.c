/* All-or-none groups, and batches. A batch is placed largest first: what is hard to place sees the
 * fleet before what fits anywhere has broken its holes. Decisions come back in the caller's order. */
#include "sched/group.h"

#include <stdlib.h>
#include <string.h>

#include "sched/fleet.h"
#include "sched/index.h"
#include "sched/mix.h"

typedef struct {
    guint at;
    gint priority;
    double size;
} Turn;

/* Share of the fleet's CPU or memory, whichever is more, plus its devices. */
static double
size_of(const BerthRequest *r, double cpu, double mem)
{
    double devices = 0;
    for (guint i = 0; i < r->n_devices; i++) {
        devices += (double)r->devices[i].count * r->devices[i].millis;
    }
    return MAX(r->cpu_millis / cpu, (r->memory_mib + r->overhead_mib) / mem) + devices * 16 / cpu;
}

static int
compare_turns(gconstpointer a, gconstpointer b)
{
    const Turn *x = a, *y = b;
    if (x->priority != y->priority) {
        return x->priority < y->priority ? 1 : -1;
    }
    if (x->size != y->size) {
        return x->size < y->size ? 1 : -1;
    }
    return x->at < y->at ? -1 : 1;
}

/** Returns: (transfer full) (array length=n): indexes of @requests, whose turn is first before. */
guint *
berth_group_order(const BerthSnapshot *s, const BerthRequest *requests, guint n)
{
    double cpu = 1, mem = 1;
    for (guint32 h = 0; h < s->end; h++) {
        cpu += s->name[h] != 0 ? s->cpu_cap[h] : 0;
        mem += s->name[h] != 0 ? s->mem_cap[h] : 0;
    }
    g_autofree Turn *turns = g_new(Turn, n);
    guint *order = g_new(guint, n);
    for (guint i = 0; i < n; i++) {
        turns[i] = (Turn){i, requests[i].priority, size_of(&requests[i], cpu, mem)};
    }
    qsort(turns, n, sizeof(Turn), compare_turns);
    for (guint i = 0; i < n; i++) {
        order[i] = turns[i].at;
    }
    return order;
}

/* Places in the order of turns and charges; stops at the first refusal when @all. */
static guint
place_in_turn(BerthSnapshot *s, const BerthRequest *requests, guint n, const BerthPolicy *policy,
              BerthDecision *decisions, guint32 *charges, gboolean all)
{
    g_autofree guint *order = berth_group_order(s, requests, n);
    guint placed = 0;
    memset(decisions, 0, n * sizeof(*decisions));
    for (guint i = 0; i < n; i++) {
        guint at = order[i];
        charges[at] = BERTH_CHARGE_NONE;
        if (berth_pick_and_charge(s, &requests[at], policy, &decisions[at], &charges[at])) {
            placed++;
        } else if (all) {
            for (i++; i < n; i++) {
                charges[order[i]] = BERTH_CHARGE_NONE;
            }
            break;
        }
    }
    return placed;
}

typedef struct {
    BerthMix *mix; /* owned */
    guint64 version;
} Before;

static Before
remember(const BerthSnapshot *s)
{
    return (Before){berth_mix_copy(s->mix), s->version};
}

static void
forget(Before *before)
{
    berth_mix_free(before->mix);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Before, forget)

/* What was tried in vain is as if it had never been: nothing is charged, and nothing was learned from it. */
static void
withdraw(BerthSnapshot *s, const Before *before, guint n, BerthDecision *decisions,
         guint32 *charges)
{
    for (guint i = 0; i < n; i++) {
        if (charges[i] != BERTH_CHARGE_NONE) {
            berth_snapshot_withdraw_charge(s, charges[i]);
            charges[i] = BERTH_CHARGE_NONE;
        }
        decisions[i].placed = FALSE;
    }
    s->version = before->version;
    if (berth_mix_restore(s->mix, before->mix, s)) {
        berth_index_forget(s->index);
    }
}

static gboolean
place_as_asked(BerthSnapshot *s, const BerthRequest *requests, guint n, const BerthPolicy *policy,
               BerthDecision *decisions, guint32 *charges)
{
    g_auto(Before) before = remember(s);
    if (place_in_turn(s, requests, n, policy, decisions, charges, TRUE) == n) {
        return TRUE;
    }
    withdraw(s, &before, n, decisions, charges);
    g_autofree guint *order = berth_group_order(s, requests, n);
    if (!berth_group_split(s, requests, n, order, policy, decisions)) {
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        charges[order[i]] =
            berth_snapshot_charge(s, &requests[order[i]], &decisions[order[i]].placement);
    }
    return TRUE;
}

/* One cell that somebody would rather have may be the only one for a fellow: what is only preferred gives way.
 * Returns: how many preferred one. */
static guint
give_way(BerthRequest *requests, guint n)
{
    guint preferred = 0;
    for (guint i = 0; i < n; i++) {
        if (requests[i].numa == BERTH_NUMA_PREFER_ONE) {
            requests[i].numa = BERTH_NUMA_ANY;
            preferred++;
        }
    }
    return preferred;
}

/**
 * berth_group_place:
 * @charges: (out) (array length=n): of each, when all have a place
 *
 * As berth_pick_group().
 */
gboolean
berth_group_place(BerthSnapshot *s, const BerthRequest *requests, guint n,
                  const BerthPolicy *policy, BerthDecision *decisions, guint32 *charges)
{
    if (place_as_asked(s, requests, n, policy, decisions, charges)) {
        return TRUE;
    }
    g_autofree BerthRequest *modest = g_memdup2(requests, n * sizeof(*requests));
    if (n < 2 || give_way(modest, n) == 0 ||
        !place_as_asked(s, modest, n, policy, decisions, charges)) {
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        decisions[i].led = TRUE;
    }
    return TRUE;
}

/**
 * berth_pick_group:
 * @requests: workloads that make sense only together
 * @decisions: (out) (array length=n): where each goes
 *
 * Places and charges all of them, or none: on refusal the ledger is as it was. One after the other, each where it likes
 * best; when that leads nowhere and some belong together, these in one place after the other (group-split.c); and at last
 * without what they only preferred of NUMA cells.
 *
 * Returns: whether all have a place
 */
gboolean
berth_pick_group(BerthSnapshot *s, const BerthRequest *requests, guint n, const BerthPolicy *policy,
                 BerthDecision *decisions)
{
    g_autofree guint32 *charges = g_new(guint32, n + 1);
    return berth_group_place(s, requests, n, policy, decisions, charges);
}

/**
 * berth_pick_batch:
 *
 * Places and charges as many as fit, highest priority first and the largest first among equals.
 *
 * Returns: how many have a place
 */
guint
berth_pick_batch(BerthSnapshot *s, const BerthRequest *requests, guint n, const BerthPolicy *policy,
                 BerthDecision *decisions)
{
    g_autofree guint32 *charges = g_new(guint32, n + 1);
    return place_in_turn(s, requests, n, policy, decisions, charges, FALSE);
}
