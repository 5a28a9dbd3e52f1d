/*
 * Which processes are worth drawing, and where each could go at all. Pure; its own thread's data only.
 *
 * Transient resources stay taken at a process's home wherever it goes, so what others can bring to a
 * machine is bounded from the start: its capacity less what its own processes need of these. For
 * large processes few machines are left, often none; drawing from that list instead of from all
 * machines is what makes the search find the few moves that matter.
 */
#include "sched/reassign-search.h"

#include <math.h>

/* The most machine checks spent on lists; beyond, a process draws from all machines. */
#define CHECKS_MAX 20000000
/* A list longer than this share of the machines is no better than drawing from all. */
#define LIST_SHARE 0.5

static void
measure_resources(BerthReassign *x)
{
    const BerthReassignModel *m = x->model;
    double *weight = g_new0(double, 2 * x->state->fit_pairs), mean = 0;
    for (guint32 r = 0; r < m->resources; r++) {
        for (guint32 i = 0; i < m->machines; i++) {
            weight[r] += m->capacity[(gsize)i * m->resources + r];
        }
        weight[r] /= MAX(1, m->machines);
        mean += weight[r] * m->load_weight[r] / m->resources;
    }
    for (guint32 r = 0; r < m->resources; r++) {
        weight[r] = weight[r] > 0 ? MAX(mean, 1) / weight[r] : 1;
    }
    x->weight = (BerthPair *)weight;
}

static void
measure_processes(BerthReassign *x)
{
    const BerthReassignModel *m = x->model;
    const double *weight = (const double *)x->weight;
    double sum = 0;
    x->size = g_new0(double, m->processes);
    for (guint32 p = 0; p < m->processes; p++) {
        for (guint32 r = 0; r < m->resources; r++) {
            double need = m->requirement[(gsize)p * m->resources + r];
            sum += m->load_weight[r] * need;
            x->size[p] += (m->load_weight[r] + weight[r]) * need;
        }
    }
    x->scale = MAX(1, sum / MAX(1, (double)m->processes * m->resources));
}

static int
compare_sizes(gconstpointer a, gconstpointer b, gpointer sizes)
{
    const double *size = sizes;
    guint32 p = *(const guint32 *)a, q = *(const guint32 *)b;
    return size[p] != size[q] ? (size[p] < size[q] ? 1 : -1) : (p > q) - (p < q);
}

/* Lists the machines that can ever take @process into @list; returns how many there are. The free
 * vectors are those of empty machines less the transient needs of their own processes. */
static guint32
list_targets(const BerthReassign *x, guint32 process, guint32 *list)
{
    const BerthReassignState *s = x->state;
    guint32 count = 0;
    for (guint32 machine = 0; machine < x->model->machines; machine++) {
        if (machine != s->home[process] && berth_reassign_state_could_fit(s, machine, process)) {
            list[count++] = machine;
        }
    }
    return count;
}

static void
build_lists(BerthReassign *x, const guint32 *by_size)
{
    const BerthReassignModel *m = x->model;
    g_autofree guint32 *list = g_new(guint32, m->machines);
    g_autofree gsize *at = g_new0(gsize, m->processes);
    g_autofree guint32 *length = g_new0(guint32, m->processes);
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint64 checks = 0;
    for (guint32 i = 0; i < m->processes; i++) {
        guint32 p = by_size[i], count = m->machines;
        if (checks < CHECKS_MAX) {
            count = list_targets(x, p, list);
            checks += m->machines;
        }
        if (count > 0) {
            x->order[x->movable++] = p;
        }
        if (count < LIST_SHARE * m->machines) {
            at[p] = found->len;
            length[p] = count;
            g_array_append_vals(found, list, count);
        }
    }
    for (guint32 p = 0; p < m->processes; p++) {
        x->target_first[p] = x->targets->len;
        if (length[p] > 0) {
            g_array_append_vals(x->targets, &g_array_index(found, guint32, at[p]), length[p]);
        }
    }
    x->target_first[m->processes] = x->targets->len;
}

/**
 * berth_reassign_targets_init:
 *
 * Fills order, rank, size, targets and weights of @search, whose state must be fresh.
 */
void
berth_reassign_targets_init(BerthReassign *x)
{
    const BerthReassignModel *m = x->model;
    measure_resources(x);
    measure_processes(x);
    g_autofree guint32 *by_size = g_new(guint32, m->processes);
    for (guint32 p = 0; p < m->processes; p++) {
        by_size[p] = p;
    }
    g_qsort_with_data(by_size, (gint)m->processes, sizeof *by_size, compare_sizes, x->size);
    x->order = g_new0(guint32, m->processes);
    x->rank = g_new0(guint32, m->processes);
    x->target_first = g_new0(gsize, (gsize)m->processes + 1);
    x->targets = g_array_new(FALSE, FALSE, sizeof(guint32));
    build_lists(x, by_size);
    for (guint32 i = 0; i < x->movable; i++) {
        x->rank[x->order[i]] = i;
    }
    double longest = log(MAX(2, x->movable * 0.5));
    for (guint i = 0; i < BERTH_REASSIGN_STRIDES; i++) {
        x->stride[i] = (guint32)MAX(1, exp(longest * (i + 0.5) / BERTH_REASSIGN_STRIDES));
    }
}

void
berth_reassign_targets_clear(BerthReassign *x)
{
    g_free(x->order);
    g_free(x->rank);
    g_free(x->size);
    g_free(x->target_first);
    g_free(x->weight);
    g_array_unref(x->targets);
}
