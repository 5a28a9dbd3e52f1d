/* The second try of a group whose members belong together: the first of them goes where it likes best by itself, and
 * where that is the others may have no room. So each place where it could go is tried for all that belong together, in
 * the order in which the first one likes them, until all members fit. Whoever belongs to nobody goes where it likes.
 *
 * Places are those of the widest scope that is asked for, then of the narrower ones. Nothing is tried that needs more than
 * one choice of a place: with several of them at once a way may exist that is not found. */
#include <stdlib.h>
#include <string.h>

#include "sched/evaluate.h"
#include "sched/forecast.h"
#include "sched/group.h"
#include "sched/relation.h"

typedef struct {
    guint64 place;
    gint64 rank; /* of its best host for the first that is bound */
    guint32 host;
    gint64 cpu_free, mem_free;
} Place;

typedef struct {
    BerthSnapshot *fleet; /* owned: a copy that learns nothing */
    const BerthRequest *requests;
    guint n;
    const guint *order;
    const BerthPolicy *policy;
    BerthScope scope;
    gboolean *bound; /* owned */
    BerthDecision *decisions;
    guint32 *charges; /* owned */
} Split;

static gboolean
is_hard(const BerthRelation *relation, BerthScope scope)
{
    return relation->kind == BERTH_RELATION_TOGETHER && relation->weight == 0 &&
           relation->scope == scope;
}

static gboolean
speaks_of(const BerthRelation *relation, const BerthRequest *request)
{
    if (relation->group != NULL) {
        return g_strcmp0(relation->group, request->group) == 0;
    }
    for (guint i = 0; i < request->n_labels; i++) {
        if (g_strcmp0(request->labels[i].key, relation->label.key) == 0 &&
            (relation->label.value == NULL ||
             g_strcmp0(request->labels[i].value, relation->label.value) == 0)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Marks those that belong together with another one of them. Returns: the first in turn, or @n. */
static guint
mark_bound(Split *split)
{
    memset(split->bound, 0, split->n * sizeof(gboolean));
    for (guint i = 0; i < split->n; i++) {
        const BerthRequest *one = &split->requests[i];
        for (guint k = 0; k < split->n * one->n_relations; k++) {
            const BerthRelation *relation = &one->relations[k / split->n];
            guint other = k % split->n;
            if (other != i && is_hard(relation, split->scope) &&
                speaks_of(relation, &split->requests[other])) {
                split->bound[i] = split->bound[other] = TRUE;
            }
        }
    }
    guint first = 0;
    while (first < split->n && !split->bound[split->order[first]]) {
        first++;
    }
    return first;
}

static int
compare_places(gconstpointer a, gconstpointer b)
{
    const Place *x = a, *y = b;
    if (x->rank != y->rank) {
        return x->rank > y->rank ? -1 : 1;
    }
    return x->host < y->host ? -1 : x->host > y->host;
}

/* Where @request could go, what it likes best first. */
static GArray *
list_places(const Split *split, const BerthRequest *request)
{
    const BerthSnapshot *s = split->fleet;
    GArray *places = g_array_new(FALSE, FALSE, sizeof(Place));
    g_autoptr(GHashTable) known = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_auto(BerthAsk) ask = {0};
    BerthPlan plan;
    berth_ask_init_for_decision(&ask, split->fleet, request);
    berth_plan_init(&plan, &ask, split->policy);
    for (guint32 h = 0; h < s->end; h++) {
        guint64 at = berth_relation_place(s, h, split->scope);
        guint index = GPOINTER_TO_UINT(g_hash_table_lookup(known, &at));
        BerthPlacement way;
        gint64 rank = s->name[h] != 0 ? berth_evaluate_rank(&ask, &plan, h, &way) : 0;
        if (index == 0 && s->name[h] != 0) {
            Place fresh = {.place = at, .host = h};
            g_array_append_val(places, fresh);
            index = places->len;
            g_hash_table_insert(known, g_memdup2(&at, sizeof(at)), GUINT_TO_POINTER(index));
        }
        if (index > 0 && s->name[h] != 0) {
            Place *place = &g_array_index(places, Place, index - 1);
            place->cpu_free += MAX(0, s->cpu_free[h]);
            place->mem_free += MAX(0, s->mem_free[h]);
            if (rank > place->rank) {
                place->rank = rank;
                place->host = h;
            }
        }
    }
    g_array_sort(places, compare_places);
    return places;
}

/* A look that costs nothing: whether all that are bound could have room in @place at all. */
static gboolean
holds_enough(const Split *split, const Place *place)
{
    gint64 cpu = 0, mem = 0;
    for (guint i = 0; i < split->n; i++) {
        const BerthRequest *r = &split->requests[i];
        cpu += split->bound[i] && !r->dedicated ? r->cpu_millis : 0;
        mem += split->bound[i] ? r->overhead_mib + (r->hugepage_kib == 0 ? r->memory_mib : 0) : 0;
    }
    return place->rank > 0 && place->cpu_free >= cpu && place->mem_free >= mem;
}

static gboolean
place_all(Split *split, const Place *place)
{
    guint placed = 0;
    for (; placed < split->n; placed++) {
        guint at = split->order[placed];
        const BerthRequest *r = &split->requests[at];
        if (!(split->bound[at]
                  ? berth_pick_in_place(split->fleet, r, split->policy, split->scope, place->place,
                                        &split->decisions[at], &split->charges[at])
                  : berth_pick_and_charge(split->fleet, r, split->policy, &split->decisions[at],
                                          &split->charges[at]))) {
            break;
        }
    }
    gboolean all = placed == split->n;
    while (placed-- > 0) {
        berth_snapshot_release_charge(split->fleet, split->charges[split->order[placed]]);
    }
    return all;
}

static gboolean
try_places(Split *split)
{
    guint first = mark_bound(split);
    if (first == split->n) {
        return FALSE;
    }
    g_autoptr(GArray) places = list_places(split, &split->requests[split->order[first]]);
    for (guint i = 0; i < places->len; i++) {
        const Place *place = &g_array_index(places, Place, i);
        if (holds_enough(split, place) && place_all(split, place)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
asks_for_one_place(const BerthRequest *requests, guint n)
{
    for (guint i = 0; i < n; i++) {
        for (guint k = 0; k < requests[i].n_relations; k++) {
            if (is_hard(&requests[i].relations[k], requests[i].relations[k].scope)) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

/**
 * berth_group_split:
 * @requests: (array length=n): that found no places one after the other
 * @order: (array length=n): whose turn it is
 * @decisions: (out) (array length=n): where each goes, when all have a place
 *
 * Cost, when members belong together: a copy of the fleet, and for each place with enough CPU and memory as much as
 * picking all of them there.
 *
 * Returns: whether all have a place; nothing is charged
 */
gboolean
berth_group_split(const BerthSnapshot *s, const BerthRequest *requests, guint n, const guint *order,
                  const BerthPolicy *policy, BerthDecision *decisions)
{
    if (n < 2 || !asks_for_one_place(requests, n)) {
        return FALSE;
    }
    Split split = {.fleet = berth_snapshot_copy(s),
                   .requests = requests,
                   .n = n,
                   .order = order,
                   .policy = policy == NULL ? berth_policy_default() : policy,
                   .bound = g_new(gboolean, n),
                   .decisions = decisions,
                   .charges = g_new(guint32, n)};
    berth_snapshot_stop_learning(split.fleet);
    gboolean found = FALSE;
    for (gint scope = BERTH_SCOPE_ZONE; scope >= BERTH_SCOPE_HOST && !found; scope--) {
        split.scope = (BerthScope)scope;
        found = try_places(&split);
    }
    for (guint i = 0; i < n; i++) {
        decisions[i].placed = decisions[i].led = found;
    }
    berth_snapshot_free(split.fleet);
    g_free(split.bound);
    g_free(split.charges);
    return found;
}
