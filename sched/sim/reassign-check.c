/*
 * A second opinion on the reassignment search: constraints and cost computed anew from the subject's
 * text (sections 1.2 and 1.3), in whole numbers, with nothing incremental and no code of the search.
 * Start at berth_reassign_check; each function below is one constraint or one cost.
 */
#include "sched/sim/reassign-check.h"

#include "base/error.h"

typedef struct {
    const BerthReassignModel *m;
    const guint32 *home, *at;
    gint64 *usage; /* [machines][resources] U(m, r) */
} Check;

static gint64
need(const Check *c, guint32 process, guint32 resource)
{
    return c->m->requirement[(gsize)process * c->m->resources + resource];
}

static void
sum_usage(Check *c)
{
    c->usage = g_new0(gint64, (gsize)c->m->machines * c->m->resources);
    for (guint32 p = 0; p < c->m->processes; p++) {
        for (guint32 r = 0; r < c->m->resources; r++) {
            c->usage[(gsize)c->at[p] * c->m->resources + r] += need(c, p, r);
        }
    }
}

/* Capacity (1.2.1), with what moved processes still take at home (1.2.5). */
static gboolean
check_capacity(const Check *c, GError **error)
{
    const BerthReassignModel *m = c->m;
    gsize cells = (gsize)m->machines * m->resources;
    g_autofree gint64 *taken = g_memdup2(c->usage, cells * sizeof *c->usage);
    for (guint32 p = 0; p < m->processes; p++) {
        for (guint32 r = 0; r < m->resources; r++) {
            if (m->transient[r] && c->home[p] != c->at[p]) {
                taken[(gsize)c->home[p] * m->resources + r] += need(c, p, r);
            }
        }
    }
    for (gsize i = 0; i < cells; i++) {
        if (taken[i] > m->capacity[i]) {
            berth_error_set(error, BERTH_ERROR_EXHAUSTED,
                            "machine %" G_GSIZE_FORMAT " takes %" G_GINT64_FORMAT
                            " of resource %" G_GSIZE_FORMAT " but has %u",
                            i / m->resources, taken[i], i % m->resources, m->capacity[i]);
            return FALSE;
        }
    }
    return TRUE;
}

/* Keys are a service above an area of 32 bits; GLib's own hash of 64-bit numbers drops the upper half. */
static guint
hash_key(gconstpointer key)
{
    return (guint)(*(const guint64 *)key * G_GUINT64_CONSTANT(0x9E3779B97F4A7C15) >> 32);
}

/* Conflict (1.2.2). */
static gboolean
check_conflict(const Check *c, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(hash_key, g_int64_equal, g_free, NULL);
    for (guint32 p = 0; p < c->m->processes; p++) {
        gint64 key = (gint64)c->m->service[p] << 32 | c->at[p];
        if (!g_hash_table_add(seen, g_memdup2(&key, sizeof key))) {
            berth_error_set(error, BERTH_ERROR_CONFLICT, "service %u is twice on machine %u",
                            c->m->service[p], c->at[p]);
            return FALSE;
        }
    }
    return TRUE;
}

/* The (service, area) pairs in which some process runs. */
static GHashTable *
areas_in_use(const Check *c, const guint32 *area)
{
    GHashTable *used = g_hash_table_new_full(hash_key, g_int64_equal, g_free, NULL);
    for (guint32 p = 0; p < c->m->processes; p++) {
        gint64 key = (gint64)c->m->service[p] << 32 | area[c->at[p]];
        g_hash_table_add(used, g_memdup2(&key, sizeof key));
    }
    return used;
}

/* Spread (1.2.3). */
static gboolean
check_spread(const Check *c, GError **error)
{
    g_autoptr(GHashTable) used = areas_in_use(c, c->m->location);
    g_autofree guint32 *distinct = g_new0(guint32, c->m->services);
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, used);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        distinct[*(gint64 *)key >> 32]++;
    }
    for (guint32 s = 0; s < c->m->services; s++) {
        if (distinct[s] < c->m->spread_min[s]) {
            berth_error_set(error, BERTH_ERROR_CONFLICT,
                            "service %u is in %u locations, but needs %u", s, distinct[s],
                            c->m->spread_min[s]);
            return FALSE;
        }
    }
    return TRUE;
}

/* Dependency (1.2.4). */
static gboolean
check_dependency(const Check *c, GError **error)
{
    const BerthReassignModel *m = c->m;
    g_autoptr(GHashTable) used = areas_in_use(c, m->neighbourhood);
    for (guint32 p = 0; p < m->processes; p++) {
        guint32 s = m->service[p], area = m->neighbourhood[c->at[p]];
        for (guint32 i = m->dependency_first[s]; i < m->dependency_first[s + 1]; i++) {
            gint64 key = (gint64)m->dependency[i] << 32 | area;
            if (!g_hash_table_contains(used, &key)) {
                berth_error_set(error, BERTH_ERROR_CONFLICT,
                                "process %u in neighbourhood %u misses service %u there", p, area,
                                m->dependency[i]);
                return FALSE;
            }
        }
    }
    return TRUE;
}

/* Load (1.3.1) and balance (1.3.2). */
static gint64
usage_cost(const Check *c)
{
    const BerthReassignModel *m = c->m;
    gint64 cost = 0;
    for (gsize i = 0; i < m->machines; i++) {
        const gint64 *usage = c->usage + i * m->resources;
        const guint32 *capacity = m->capacity + i * m->resources;
        for (guint32 r = 0; r < m->resources; r++) {
            gint64 over = usage[r] - m->safety[i * m->resources + r];
            cost += m->load_weight[r] * MAX(0, over);
        }
        for (guint32 b = 0; b < m->balances; b++) {
            const BerthReassignBalance *want = &m->balance[b];
            gint64 first = capacity[want->first] - usage[want->first];
            gint64 second = capacity[want->second] - usage[want->second];
            cost += want->weight * MAX(0, want->target * first - second);
        }
    }
    return cost;
}

/* Process (1.3.3), service (1.3.4) and machine move cost (1.3.5). */
static gint64
moving_cost(const Check *c)
{
    const BerthReassignModel *m = c->m;
    g_autofree guint32 *moved = g_new0(guint32, m->services);
    gint64 process_cost = 0, machine_cost = 0;
    guint32 most = 0;
    for (guint32 p = 0; p < m->processes; p++) {
        if (c->home[p] != c->at[p]) {
            process_cost += m->process_move[p];
            moved[m->service[p]]++;
            most = MAX(most, moved[m->service[p]]);
        }
        machine_cost += m->machine_move[(gsize)c->home[p] * m->machines + c->at[p]];
    }
    return process_cost * m->process_move_weight + (gint64)most * m->service_move_weight +
           machine_cost * m->machine_move_weight;
}

/**
 * berth_reassign_check:
 * @home: [processes] the assignment given
 * @at: [processes] the assignment to judge
 * @cost: (out): the total cost, set whether allowed or not, unless a machine does not exist
 *
 * Returns: whether @at meets all hard constraints; else @error names the first it breaks
 */
gboolean
berth_reassign_check(const BerthReassignModel *model, const guint32 *home, const guint32 *at,
                     gint64 *cost, GError **error)
{
    for (guint32 p = 0; p < model->processes; p++) {
        if (at[p] >= model->machines || home[p] >= model->machines) {
            berth_error_set(error, BERTH_ERROR_INVALID, "process %u is on no machine", p);
            return FALSE;
        }
    }
    Check check = {.m = model, .home = home, .at = at};
    sum_usage(&check);
    *cost = usage_cost(&check) + moving_cost(&check);
    gboolean allowed = check_capacity(&check, error) && check_conflict(&check, error) &&
                       check_spread(&check, error) && check_dependency(&check, error);
    g_free(check.usage);
    return allowed;
}

/* How many processes are not at home. */
guint32
berth_reassign_count_moves(const BerthReassignModel *model, const guint32 *home, const guint32 *at)
{
    guint32 moves = 0;
    for (guint32 p = 0; p < model->processes; p++) {
        moves += home[p] != at[p];
    }
    return moves;
}
