/*
 * Reading and writing the files of the ROADEF/EURO challenge 2012: one list of integers, separated
 * by white space, in the order of the subject's section 2. Input is not trusted: every count and
 * index is checked against what was read before it.
 */
#include "sched/sim/reassign-file.h"

#include "base/error.h"

#include <string.h>

/* The subject's limits with room to spare; beyond them a file is refused before memory is taken. */
#define RESOURCES_MAX 64
#define MACHINES_MAX 20000
#define SERVICES_MAX 1000000
#define PROCESSES_MAX 1000000
#define BALANCES_MAX 64

typedef struct {
    const char *path; /* borrowed */
    char *data;       /* owned */
    const char *at, *end;
    gsize count;   /* numbers read so far */
    GError *error; /* the first thing wrong; later reads give 0 */
} Numbers;

static void
fail(Numbers *in, const char *what)
{
    if (in->error == NULL) {
        berth_error_set(&in->error, BERTH_ERROR_INVALID, "%s: number %" G_GSIZE_FORMAT ": %s",
                        in->path, in->count, what);
    }
}

/* The next number, which must be below @bound. */
static guint32
read_below(Numbers *in, guint64 bound, const char *what)
{
    while (in->at < in->end && g_ascii_isspace(*in->at)) {
        in->at++;
    }
    in->count++;
    if (in->at == in->end || !g_ascii_isdigit(*in->at)) {
        fail(in, in->at == in->end ? "the file ends too early" : "not a number");
        return 0;
    }
    guint64 value = 0;
    while (in->at < in->end && g_ascii_isdigit(*in->at) && value <= G_MAXUINT32) {
        value = value * 10 + (guint64)(*in->at++ - '0');
    }
    if (value >= bound) {
        fail(in, what);
        return 0;
    }
    return (guint32)value;
}

static guint32
read_number(Numbers *in)
{
    return read_below(in, G_GUINT64_CONSTANT(1) << 32, "does not fit in 32 bits");
}

static void
read_numbers(Numbers *in, guint32 *to, gsize count)
{
    for (gsize i = 0; i < count && in->error == NULL; i++) {
        to[i] = read_number(in);
    }
}

static gboolean
open_numbers(Numbers *in, const char *path, GError **error)
{
    gsize size;
    *in = (Numbers){.path = path};
    g_autoptr(GError) cause = NULL;
    /* A device may have no end. */
    if (g_file_test(path, G_FILE_TEST_EXISTS) && !g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "\"%s\" is not a regular file", path);
        return FALSE;
    }
    if (!g_file_get_contents(path, &in->data, &size, &cause)) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "%s; give an existing file", cause->message);
        return FALSE;
    }
    in->at = in->data;
    in->end = in->data + size;
    return TRUE;
}

/* Frees @in and hands its error over; TRUE when there was none. */
static gboolean
close_numbers(Numbers *in, GError **error)
{
    while (in->at < in->end && g_ascii_isspace(*in->at)) {
        in->at++;
    }
    if (in->at < in->end) {
        fail(in, "more numbers than the format has");
    }
    g_free(in->data);
    if (in->error != NULL) {
        g_propagate_error(error, in->error);
        return FALSE;
    }
    return TRUE;
}

/* Replaces arbitrary ids by 0 .. n - 1 in order of appearance; returns n. */
static guint32
densify(guint32 *ids, guint32 count)
{
    g_autoptr(GHashTable) known = g_hash_table_new(NULL, NULL);
    for (guint32 i = 0; i < count; i++) {
        gpointer key = GUINT_TO_POINTER(ids[i]), dense;
        if (!g_hash_table_lookup_extended(known, key, NULL, &dense)) {
            dense = GUINT_TO_POINTER(g_hash_table_size(known));
            g_hash_table_insert(known, key, dense);
        }
        ids[i] = GPOINTER_TO_UINT(dense);
    }
    return g_hash_table_size(known);
}

/* The parts whose number is known only after earlier parts were read, gathered first. */
typedef struct {
    guint32 resources, machines, services;
    GArray *resource; /* transient, load weight */
    GArray *machine;  /* neighbourhood, location, capacities, safeties, move costs */
    GArray *spread, *first, *dependency;
} Head;

static void
read_head(Numbers *in, Head *head)
{
    head->resources = read_below(in, RESOURCES_MAX + 1, "too many resources");
    g_array_set_size(head->resource, 2 * head->resources);
    read_numbers(in, (guint32 *)head->resource->data, head->resource->len);
    head->machines = read_below(in, MACHINES_MAX + 1, "too many machines");
    gsize row = 2 + 2 * (gsize)head->resources + head->machines;
    for (guint32 i = 0; i < head->machines && in->error == NULL; i++) {
        guint at = head->machine->len;
        g_array_set_size(head->machine, at + row);
        read_numbers(in, &g_array_index(head->machine, guint32, at), row);
    }
    head->services = read_below(in, SERVICES_MAX + 1, "too many services");
    for (guint32 i = 0; i < head->services && in->error == NULL; i++) {
        guint32 spread = read_number(in);
        guint32 count = read_below(in, (guint64)head->services + 1, "too many dependencies");
        g_array_append_val(head->spread, spread);
        g_array_append_val(head->first, head->dependency->len);
        for (guint32 k = 0; k < count && in->error == NULL; k++) {
            guint32 other = read_below(in, head->services, "a dependency on an unknown service");
            g_array_append_val(head->dependency, other);
        }
    }
}

static void
copy_machines(BerthReassignModel *model, const Head *head)
{
    guint32 r = model->resources, m = model->machines;
    const guint32 *from = (const guint32 *)head->machine->data;
    for (gsize i = 0; i < m; i++, from += 2 + 2 * r + m) {
        model->neighbourhood[i] = from[0];
        model->location[i] = from[1];
        memcpy(model->capacity + i * r, from + 2, r * sizeof *from);
        memcpy(model->safety + i * r, from + 2 + r, r * sizeof *from);
        memcpy(model->machine_move + i * m, from + 2 + 2 * r, m * sizeof *from);
    }
    model->neighbourhoods = densify(model->neighbourhood, m);
    model->locations = densify(model->location, m);
}

static void
copy_head(BerthReassignModel *model, const Head *head)
{
    const guint32 *resource = (const guint32 *)head->resource->data;
    for (guint32 r = 0; r < model->resources; r++) {
        model->transient[r] = resource[2 * r] != 0;
        model->load_weight[r] = resource[2 * r + 1];
    }
    copy_machines(model, head);
    if (model->services > 0) {
        memcpy(model->spread_min, head->spread->data, model->services * sizeof(guint32));
        memcpy(model->dependency_first, head->first->data, model->services * sizeof(guint32));
    }
    model->dependency_first[model->services] = head->dependency->len;
    if (head->dependency->len > 0) {
        memcpy(model->dependency, head->dependency->data, head->dependency->len * sizeof(guint32));
    }
}

static void
read_tail(Numbers *in, BerthReassignModel *model)
{
    for (guint32 i = 0; i < model->balances; i++) {
        BerthReassignBalance *balance = &model->balance[i];
        balance->first = read_below(in, model->resources, "a balance of an unknown resource");
        balance->second = read_below(in, model->resources, "a balance of an unknown resource");
        balance->target = read_number(in);
        balance->weight = read_number(in);
    }
    model->process_move_weight = read_number(in);
    model->service_move_weight = read_number(in);
    model->machine_move_weight = read_number(in);
}

/* Processes come before the number of balances, so they are read into arrays of their own. */
static BerthReassignModel *
read_rest(Numbers *in, const Head *head)
{
    guint32 r = head->resources;
    guint32 processes = read_below(in, PROCESSES_MAX + 1, "too many processes");
    if (in->error != NULL) {
        return NULL;
    }
    g_autofree guint32 *rows = g_new0(guint32, (gsize)processes * (r + 2));
    for (gsize p = 0; p < processes && in->error == NULL; p++) {
        guint32 *row = rows + p * (r + 2);
        row[0] = read_below(in, head->services, "a process of an unknown service");
        read_numbers(in, row + 1, (gsize)r + 1);
    }
    guint32 balances = read_below(in, BALANCES_MAX + 1, "too many balance costs");
    BerthReassignModel *model = berth_reassign_model_new(
        r, head->machines, head->services, head->dependency->len, processes, balances);
    copy_head(model, head);
    for (gsize p = 0; p < processes; p++) {
        const guint32 *row = rows + p * (r + 2);
        model->service[p] = row[0];
        memcpy(model->requirement + p * r, row + 1, r * sizeof *row);
        model->process_move[p] = row[1 + r];
    }
    read_tail(in, model);
    return model;
}

/**
 * berth_reassign_file_read_model:
 * @path: a model_*.txt of the challenge
 *
 * Returns: (transfer full): the instance, or NULL with BERTH_ERROR_NOT_FOUND or _INVALID
 */
BerthReassignModel *
berth_reassign_file_read_model(const char *path, GError **error)
{
    Numbers in;
    if (!open_numbers(&in, path, error)) {
        return NULL;
    }
    Head head = {.resource = g_array_new(FALSE, TRUE, sizeof(guint32)),
                 .machine = g_array_new(FALSE, FALSE, sizeof(guint32)),
                 .spread = g_array_new(FALSE, FALSE, sizeof(guint32)),
                 .first = g_array_new(FALSE, FALSE, sizeof(guint32)),
                 .dependency = g_array_new(FALSE, FALSE, sizeof(guint32))};
    read_head(&in, &head);
    g_autoptr(BerthReassignModel) model = in.error == NULL ? read_rest(&in, &head) : NULL;
    g_array_unref(head.resource);
    g_array_unref(head.machine);
    g_array_unref(head.spread);
    g_array_unref(head.first);
    g_array_unref(head.dependency);
    return close_numbers(&in, error) ? g_steal_pointer(&model) : NULL;
}

/**
 * berth_reassign_file_read_assignment:
 *
 * Returns: (transfer full): [processes] the machine of each process of @model, or NULL
 */
guint32 *
berth_reassign_file_read_assignment(const char *path, const BerthReassignModel *model,
                                    GError **error)
{
    Numbers in;
    if (!open_numbers(&in, path, error)) {
        return NULL;
    }
    g_autofree guint32 *at = g_new0(guint32, MAX(1, model->processes));
    for (guint32 p = 0; p < model->processes && in.error == NULL; p++) {
        at[p] = read_below(&in, model->machines, "an unknown machine");
    }
    return close_numbers(&in, error) ? g_steal_pointer(&at) : NULL;
}

gboolean
berth_reassign_file_write_assignment(const char *path, const BerthReassignModel *model,
                                     const guint32 *at, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint32 p = 0; p < model->processes; p++) {
        g_string_append_printf(text, p == 0 ? "%u" : " %u", at[p]);
    }
    g_string_append_c(text, '\n');
    g_autoptr(GError) cause = NULL;
    if (!g_file_set_contents(path, text->str, (gssize)text->len, &cause)) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "cannot write the solution: %s",
                        cause->message);
        return FALSE;
    }
    return TRUE;
}
