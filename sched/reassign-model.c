/*
 * Memory and validity of a reassignment instance. Pure: no I/O; whoever reads a file or a snapshot
 * fills it in.
 */
#include "sched/reassign-model.h"

#include "base/error.h"

/**
 * berth_reassign_model_new:
 * @dependencies: length of all services' dependency lists together
 *
 * Returns: an instance of that size, all zero; the caller fills the arrays
 */
BerthReassignModel *
berth_reassign_model_new(guint32 resources, guint32 machines, guint32 services,
                         guint32 dependencies, guint32 processes, guint32 balances)
{
    BerthReassignModel *model = g_new0(BerthReassignModel, 1);
    model->resources = resources;
    model->machines = machines;
    model->services = services;
    model->processes = processes;
    model->balances = balances;
    model->transient = g_new0(gboolean, resources);
    model->load_weight = g_new0(guint32, resources);
    model->neighbourhood = g_new0(guint32, machines);
    model->location = g_new0(guint32, machines);
    model->capacity = g_new0(guint32, (gsize)machines * resources);
    model->safety = g_new0(guint32, (gsize)machines * resources);
    model->machine_move = g_new0(guint32, (gsize)machines * machines);
    model->spread_min = g_new0(guint32, services);
    model->dependency_first = g_new0(guint32, (gsize)services + 1);
    model->dependency = g_new0(guint32, dependencies);
    model->service = g_new0(guint32, processes);
    model->requirement = g_new0(guint32, (gsize)processes * resources);
    model->process_move = g_new0(guint32, processes);
    model->balance = g_new0(BerthReassignBalance, balances);
    return model;
}

void
berth_reassign_model_free(BerthReassignModel *model)
{
    if (model == NULL) {
        return;
    }
    g_free(model->transient);
    g_free(model->load_weight);
    g_free(model->neighbourhood);
    g_free(model->location);
    g_free(model->capacity);
    g_free(model->safety);
    g_free(model->machine_move);
    g_free(model->spread_min);
    g_free(model->dependency_first);
    g_free(model->dependency);
    g_free(model->service);
    g_free(model->requirement);
    g_free(model->process_move);
    g_free(model->balance);
    g_free(model);
}

static gboolean
check_index(const guint32 *values, gsize count, guint32 bound, const char *what, GError **error)
{
    for (gsize i = 0; i < count; i++) {
        if (values[i] >= bound) {
            berth_error_set(error, BERTH_ERROR_INVALID,
                            "%s %" G_GSIZE_FORMAT " is %u, but there are only %u of them", what, i,
                            values[i], bound);
            return FALSE;
        }
    }
    return TRUE;
}

static guint32
largest(const guint32 *values, gsize count)
{
    guint32 most = 0;
    for (gsize i = 0; i < count; i++) {
        most = MAX(most, values[i]);
    }
    return most;
}

/* Whether needs and capacities, and balances of needs, are small enough to be added in 32 bits. */
static gboolean
check_sizes(const BerthReassignModel *model, GError **error)
{
    guint32 need = largest(model->requirement, (gsize)model->processes * model->resources);
    guint32 capacity = largest(model->capacity, (gsize)model->machines * model->resources);
    double most = MAX(need, capacity) * 2.0;
    for (guint32 b = 0; b < model->balances; b++) {
        most = MAX(most, (double)model->balance[b].target * need);
    }
    if (most >= 0x1p31) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "requirements reach %u and capacities %u; use larger units", need,
                        capacity);
    }
    return most < 0x1p31;
}

/* The most any assignment could cost. */
static double
cost_bound(const BerthReassignModel *model)
{
    gsize machines = model->machines;
    double bound = (double)model->service_move_weight * model->processes +
                   (double)model->machine_move_weight * model->processes *
                       largest(model->machine_move, machines * machines) +
                   (double)model->process_move_weight * model->processes *
                       largest(model->process_move, model->processes);
    double capacity = largest(model->capacity, machines * model->resources);
    for (guint32 r = 0; r < model->resources; r++) {
        bound += machines * capacity * model->load_weight[r];
    }
    for (guint32 b = 0; b < model->balances; b++) {
        bound +=
            machines * capacity * model->balance[b].weight * (1 + (double)model->balance[b].target);
    }
    return bound;
}

/**
 * berth_reassign_model_validate:
 * @home: [processes] the present assignment
 *
 * Checks what the search relies on: every index is within its range, no service has more processes
 * than its counters hold, amounts are below 2^30, and all costs are integers that a double holds exactly. That @home meets the hard
 * constraints is for the caller to know.
 *
 * Returns: FALSE with BERTH_ERROR_INVALID
 */
gboolean
berth_reassign_model_validate(const BerthReassignModel *model, const guint32 *home, GError **error)
{
    guint32 dependencies = model->dependency_first[model->services];
    if (!check_index(home, model->processes, model->machines, "the machine of process", error) ||
        !check_index(model->service, model->processes, model->services, "the service of process",
                     error) ||
        !check_index(model->dependency, dependencies, model->services, "dependency", error) ||
        !check_index(model->neighbourhood, model->machines, model->neighbourhoods,
                     "the neighbourhood of machine", error) ||
        !check_index(model->location, model->machines, model->locations, "the location of machine",
                     error)) {
        return FALSE;
    }
    g_autofree guint32 *size = g_new0(guint32, model->services);
    for (guint32 p = 0; p < model->processes; p++) {
        if (++size[model->service[p]] > G_MAXUINT16) {
            berth_error_set(error, BERTH_ERROR_INVALID, "service %u has more than %d processes",
                            model->service[p], G_MAXUINT16);
            return FALSE;
        }
    }
    if (!check_sizes(model, error)) {
        return FALSE;
    }
    if (cost_bound(model) >= 0x1p53) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "costs may reach %g, which is not exact; use larger units",
                        cost_bound(model));
        return FALSE;
    }
    return TRUE;
}
