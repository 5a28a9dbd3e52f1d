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
#include <string.h>

/* The most machine checks spent on lists; beyond, a process draws from all machines. */
#define CHECKS_MAX 20000000
/* A list longer than this share of the machines is no better than drawing from all. */
#define LIST_SHARE 0.5

static void
measure_resources(BerthReassign *x)
{
    const BerthReassignModel *m = x->model;
    double *weight = x->weight = g_new0(double, m->resources), mean = 0;
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
}

static void
measure_processes(BerthReassign *x)
{
    const BerthReassignModel *m = x->model;
    double sum = 0;
    x->size = g_new0(double, m->processes);
    for (guint32 p = 0; p < m->processes; p++) {
        for (guint32 r = 0; r < m->resources; r++) {
            double need = m->requirement[(gsize)p * m->resources + r];
            sum += m->load_weight[r] * need;
            x->size[p] += (m->load_weight[r] + x->weight[r]) * need;
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

/* Gives each process that has few targets the list of them. */
static void
build_lists(BerthReassign *x, const guint32 *by_size)
{
    const BerthReassignModel *m = x->model;
    g_autofree guint32 *list = g_new(guint32, m->machines);
    GArray *targets = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint64 checks = 0;
    for (guint32 i = 0; i < m->processes; i++) {
        guint32 p = by_size[i], count = m->machines;
        if (checks < CHECKS_MAX) {
            count = list_targets(x, p, list);
            checks += m->machines;
        }
        if (count > 0) {
            x->standing[p] = x->all.movable;
            x->all.order[x->all.movable++] = p;
        }
        if (count > 0 && count < LIST_SHARE * m->machines) {
            x->all.reach[p] = (BerthReassignSpan){targets->len, count};
            g_array_append_vals(targets, list, count);
        }
    }
    x->all.targets = (guint32 *)g_array_free(targets, FALSE);
}

BerthReassignField
berth_reassign_field_new(const BerthReassignModel *m)
{
    return (BerthReassignField){.machines = g_new(guint32, m->machines),
                                .order = g_new(guint32, m->processes),
                                .reach = g_new0(BerthReassignSpan, m->processes)};
}

static void
clear_field(BerthReassignField *field)
{
    g_free(field->machines);
    g_free(field->order);
    g_free(field->reach);
    g_free(field->targets);
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
    x->standing = g_new(guint32, m->processes);
    memset(x->standing, 0xff, m->processes * sizeof *x->standing);
    x->all = berth_reassign_field_new(m);
    for (guint32 i = 0; i < m->machines; i++) {
        x->all.machines[x->all.machine_count++] = i;
    }
    build_lists(x, by_size);
    x->rank = g_memdup2(x->standing, m->processes * sizeof *x->rank);
    x->field = x->all;
    double longest = log(MAX(2, x->all.movable * 0.5));
    for (guint i = 0; i < BERTH_REASSIGN_STRIDES; i++) {
        x->stride[i] = (guint32)MAX(1, exp(longest * (i + 0.5) / BERTH_REASSIGN_STRIDES));
    }
}

void
berth_reassign_targets_clear(BerthReassign *x)
{
    clear_field(&x->all);
    clear_field(&x->window);
    g_free(x->deck);
    g_free(x->standing);
    g_free(x->rank);
    g_free(x->size);
    g_free(x->weight);
}
