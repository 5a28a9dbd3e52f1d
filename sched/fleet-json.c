/* One table of fields a structure, walked both ways, so that what is written is what is read. A field
 * that is zero or NULL is left out. Start at the tables. */
#include "sched/fleet-json.h"

#include "base/error.h"

/* 100,000 vCPUs, or as many GiB: more than any machine has. */
#define LARGEST_SIZE 100000000

typedef enum {
    TEXT,
    KEY,  /* a string that must be there */
    SIZE, /* of what one workload has of a host: at most LARGEST_SIZE */
    INTEGER64,
    INTEGER32,
    BYTE,
    NAMES,   /* array of strings, with a count */
    RECORDS, /* array of structures, with a count */
} Type;

typedef struct Field {
    const char *name;
    Type type;
    gsize offset;
    gsize count_offset;
    const struct Field *fields; /* of RECORDS, ended by a NULL name */
    gsize size;
} Field;

#define F(type, kind, member)                                                                      \
    {                                                                                              \
#member, kind, G_STRUCT_OFFSET(type, member), 0, NULL, 0                                   \
    }
#define FN(type, member)                                                                           \
    {                                                                                              \
#member, NAMES, G_STRUCT_OFFSET(type, member), G_STRUCT_OFFSET(type, n_##member), NULL, 0  \
    }
#define FR(type, member, table, item)                                                              \
    {                                                                                              \
#member, RECORDS, G_STRUCT_OFFSET(type, member), G_STRUCT_OFFSET(type, n_##member), table, \
            sizeof(item)                                                                           \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, TEXT, 0, 0, NULL, 0                                                                  \
    }

static const Field amount_fields[] = {F(BerthAmount, KEY, key), F(BerthAmount, INTEGER64, amount),
                                      END};
static const Field label_fields[] = {F(BerthLabel, KEY, key), F(BerthLabel, TEXT, value), END};
static const Field taint_fields[] = {F(BerthTaint, KEY, key), F(BerthTaint, TEXT, value),
                                     F(BerthTaint, INTEGER32, effect), END};
static const Field cell_fields[] = {F(BerthHostCell, INTEGER64, cpu_millis),
                                    F(BerthHostCell, INTEGER64, memory_mib),
                                    FR(BerthHostCell, hugepages, amount_fields, BerthAmount),
                                    F(BerthHostCell, INTEGER64, dedicated_cpus), END};
static const Field device_fields[] = {F(BerthHostDevice, KEY, kind),
                                      F(BerthHostDevice, TEXT, model),
                                      F(BerthHostDevice, BYTE, cell),
                                      F(BerthHostDevice, INTEGER32, iommu_group),
                                      F(BerthHostDevice, INTEGER32, shareable),
                                      END};
static const Field host_fields[] = {F(BerthHost, KEY, name),
                                    F(BerthHost, INTEGER64, cpu_millis),
                                    F(BerthHost, INTEGER64, cpu_reserve_millis),
                                    F(BerthHost, INTEGER32, cpu_overcommit_pct),
                                    F(BerthHost, INTEGER64, memory_mib),
                                    F(BerthHost, INTEGER64, memory_reserve_mib),
                                    F(BerthHost, INTEGER32, memory_overcommit_pct),
                                    FR(BerthHost, cells, cell_fields, BerthHostCell),
                                    FR(BerthHost, pools, amount_fields, BerthAmount),
                                    FR(BerthHost, counts, amount_fields, BerthAmount),
                                    FR(BerthHost, devices, device_fields, BerthHostDevice),
                                    F(BerthHost, TEXT, arch),
                                    FN(BerthHost, cpu_models),
                                    FN(BerthHost, cpu_features),
                                    FN(BerthHost, machines),
                                    FN(BerthHost, networks),
                                    FN(BerthHost, images),
                                    FR(BerthHost, labels, label_fields, BerthLabel),
                                    F(BerthHost, TEXT, zone),
                                    F(BerthHost, TEXT, rack),
                                    FR(BerthHost, taints, taint_fields, BerthTaint),
                                    F(BerthHost, INTEGER32, state),
                                    END};

static const Field need_fields[] = {F(BerthDeviceNeed, KEY, kind), FN(BerthDeviceNeed, models),
                                    F(BerthDeviceNeed, INTEGER32, count),
                                    F(BerthDeviceNeed, INTEGER32, millis), END};
static const Field expression_fields[] = {
    F(BerthExpression, KEY, key), F(BerthExpression, INTEGER32, operator),
    FN(BerthExpression, values), F(BerthExpression, INTEGER32, weight), END};
static const Field relation_fields[] = {
    F(BerthRelation, INTEGER32, kind),
    F(BerthRelation, INTEGER32, scope),
    F(BerthRelation, TEXT, group),
    {"label_key", TEXT, G_STRUCT_OFFSET(BerthRelation, label.key), 0, NULL, 0},
    {"label_value", TEXT, G_STRUCT_OFFSET(BerthRelation, label.value), 0, NULL, 0},
    F(BerthRelation, INTEGER32, weight),
    END};
static const Field spread_fields[] = {F(BerthSpread, INTEGER32, scope), F(BerthSpread, TEXT, group),
                                      F(BerthSpread, INTEGER32, max_skew),
                                      F(BerthSpread, INTEGER32, weight), END};
static const Field toleration_fields[] = {F(BerthToleration, TEXT, key),
                                          F(BerthToleration, TEXT, value), END};
static const Field request_fields[] = {
    F(BerthRequest, TEXT, uid),
    F(BerthRequest, TEXT, project),
    F(BerthRequest, TEXT, group),
    F(BerthRequest, SIZE, cpu_millis),
    F(BerthRequest, SIZE, memory_mib),
    F(BerthRequest, SIZE, overhead_mib),
    FR(BerthRequest, disks, amount_fields, BerthAmount),
    FR(BerthRequest, counts, amount_fields, BerthAmount),
    F(BerthRequest, INTEGER32, numa),
    F(BerthRequest, INTEGER32, hugepage_kib),
    F(BerthRequest, INTEGER32, dedicated),
    FR(BerthRequest, devices, need_fields, BerthDeviceNeed),
    F(BerthRequest, TEXT, arch),
    F(BerthRequest, TEXT, cpu_model),
    FN(BerthRequest, cpu_features),
    F(BerthRequest, TEXT, machine),
    FN(BerthRequest, networks),
    F(BerthRequest, TEXT, host),
    F(BerthRequest, INTEGER32, fixed),
    FR(BerthRequest, labels, label_fields, BerthLabel),
    FR(BerthRequest, selectors, expression_fields, BerthExpression),
    FR(BerthRequest, relations, relation_fields, BerthRelation),
    FR(BerthRequest, spreads, spread_fields, BerthSpread),
    FR(BerthRequest, tolerations, toleration_fields, BerthToleration),
    F(BerthRequest, INTEGER32, priority),
    F(BerthRequest, INTEGER32, preemptible),
    F(BerthRequest, TEXT, image),
    END};

static json_t *write_record(const void *record, const Field *fields);

static json_t *
write_list(const void *record, const Field *f)
{
    guint n = G_STRUCT_MEMBER(guint, record, f->count_offset);
    const char *items = G_STRUCT_MEMBER(const char *, record, f->offset);
    json_t *list = n == 0 ? NULL : json_array();
    for (guint i = 0; i < n; i++) {
        json_array_append_new(list, f->type == NAMES
                                        ? json_string(((const char *const *)(gpointer)items)[i])
                                        : write_record(items + i * f->size, f->fields));
    }
    return list;
}

static json_t *
write_integer(gint64 value)
{
    return value == 0 ? NULL : json_integer(value);
}

static json_t *
write_field(const void *record, const Field *f)
{
    switch (f->type) {
    case TEXT:
    case KEY:
        return G_STRUCT_MEMBER(const char *, record, f->offset) == NULL
                   ? NULL
                   : json_string(G_STRUCT_MEMBER(const char *, record, f->offset));
    case SIZE:
    case INTEGER64:
        return write_integer(G_STRUCT_MEMBER(gint64, record, f->offset));
    case INTEGER32:
        return write_integer(G_STRUCT_MEMBER(gint32, record, f->offset));
    case BYTE:
        return write_integer(G_STRUCT_MEMBER(guint8, record, f->offset));
    case NAMES:
    case RECORDS:
        return write_list(record, f);
    }
    return NULL;
}

static json_t *
write_record(const void *record, const Field *fields)
{
    json_t *object = json_object();
    for (const Field *f = fields; f->name != NULL; f++) {
        json_t *value = write_field(record, f);
        if (value != NULL) {
            json_object_set_new(object, f->name, value);
        }
    }
    return object;
}

static gboolean read_record(void *record, const json_t *json, const Field *fields, GPtrArray *arena,
                            GError **error);

static gpointer
take_memory(GPtrArray *arena, gsize size)
{
    gpointer memory = g_malloc0(size + 8);
    g_ptr_array_add(arena, memory);
    return memory;
}

static gboolean
read_list(void *record, const json_t *value, const Field *f, GPtrArray *arena, GError **error)
{
    gsize n = json_array_size(value), size = f->type == NAMES ? sizeof(char *) : f->size;
    char *items = take_memory(arena, n * size);
    if (!json_is_array(value)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' must be a list", f->name);
        return FALSE;
    }
    for (gsize i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        if (f->type == RECORDS) {
            if (!read_record(items + i * size, item, f->fields, arena, error)) {
                return FALSE;
            }
        } else if (json_is_string(item)) {
            char *text = g_strdup(json_string_value(item));
            g_ptr_array_add(arena, text);
            ((const char **)(gpointer)items)[i] = text;
        } else {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' must be a list of strings", f->name);
            return FALSE;
        }
    }
    G_STRUCT_MEMBER(guint, record, f->count_offset) = n;
    G_STRUCT_MEMBER(void *, record, f->offset) = items;
    return TRUE;
}

static gboolean
read_integer(void *record, const json_t *value, const Field *f, GError **error)
{
    gint64 number = json_integer_value(value);
    gint64 limit = f->type == BYTE        ? G_MAXUINT8
                   : f->type == INTEGER32 ? G_MAXINT32
                   : f->type == SIZE      ? LARGEST_SIZE
                                          : G_MAXINT64;
    gint64 least = f->type == BYTE || f->type == SIZE ? 0 : -limit;
    if (!json_is_integer(value) || number > limit || number < least) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' must be a whole number within its range",
                        f->name);
        return FALSE;
    }
    if (f->type == INTEGER64 || f->type == SIZE) {
        G_STRUCT_MEMBER(gint64, record, f->offset) = number;
    } else if (f->type == INTEGER32) {
        G_STRUCT_MEMBER(gint32, record, f->offset) = number;
    } else {
        G_STRUCT_MEMBER(guint8, record, f->offset) = number;
    }
    return TRUE;
}

static gboolean
read_field(void *record, const json_t *value, const Field *f, GPtrArray *arena, GError **error)
{
    if (f->type == NAMES || f->type == RECORDS) {
        return read_list(record, value, f, arena, error);
    }
    if (f->type != TEXT && f->type != KEY) {
        return read_integer(record, value, f, error);
    }
    if (!json_is_string(value)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' must be a string", f->name);
        return FALSE;
    }
    char *text = g_strdup(json_string_value(value));
    g_ptr_array_add(arena, text);
    G_STRUCT_MEMBER(const char *, record, f->offset) = text;
    return TRUE;
}

static gboolean
read_record(void *record, const json_t *json, const Field *fields, GPtrArray *arena, GError **error)
{
    if (!json_is_object(json)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "a host, workload or item must be an object");
        return FALSE;
    }
    for (const Field *f = fields; f->name != NULL; f++) {
        const json_t *value = json_object_get(json, f->name);
        if (value == NULL && f->type == KEY) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is missing", f->name);
            return FALSE;
        }
        if (value != NULL && !read_field(record, value, f, arena, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/**
 * berth_fleet_host_to_json:
 *
 * Returns: (transfer full): the host as one item of a fleet file
 */
json_t *
berth_fleet_host_to_json(const BerthHost *host)
{
    return write_record(host, host_fields);
}

/**
 * berth_fleet_request_to_json:
 * @placed_on: (nullable): name of the host it runs on
 *
 * Returns: (transfer full): the request as one item of a fleet file
 */
json_t *
berth_fleet_request_to_json(const BerthRequest *request, const char *placed_on)
{
    json_t *json = write_record(request, request_fields);
    if (placed_on != NULL) {
        json_object_set_new(json, "placed_on", json_string(placed_on));
    }
    return json;
}

/**
 * berth_fleet_to_json:
 * @hosts, @workloads: (transfer full): lists of the items above, workloads in order of placing
 *
 * Returns: (transfer full): a fleet file
 */
json_t *
berth_fleet_to_json(json_t *hosts, json_t *workloads)
{
    return json_pack("{s:s, s:o, s:o}", "format", BERTH_FLEET_FORMAT, "hosts", hosts, "workloads",
                     workloads);
}

/* Where and when it was charged, beside what it asks for. */
static void
read_history(BerthFleetFile *file, guint i, const json_t *item)
{
    const char *on = json_string_value(json_object_get(item, "placed_on"));
    const json_t *released = json_object_get(item, "released_at");
    const json_t *cells = json_object_get(item, "on_cells");
    const json_t *devices = json_object_get(item, "on_devices");
    BerthPlacement *placement = &file->on[i];
    char *copy = g_strdup(on == NULL ? "" : on);
    g_ptr_array_add(file->arena, copy);
    file->placed_on[i] = copy;
    file->found[i] = json_is_true(json_object_get(item, "found"));
    for (guint k = 0; k < G_N_ELEMENTS(placement->cells); k++) {
        const json_t *cell = json_array_get(cells, k);
        placement->cells[k] = cell == NULL ? BERTH_CELL_NONE : (guint8)json_integer_value(cell);
    }
    placement->n_devices = (guint8)MIN(json_array_size(devices), G_N_ELEMENTS(placement->devices));
    for (guint k = 0; k < placement->n_devices; k++) {
        placement->devices[k] = (guint8)json_integer_value(json_array_get(devices, k));
    }
    file->holding[i] = json_object_get(item, "holding");
    file->at[i] = json_integer_value(json_object_get(item, "at"));
    file->released_at[i] = released == NULL ? G_MAXINT64 : json_integer_value(released);
}

static gboolean
read_changes(BerthFleetFile *file, const json_t *changes, GError **error)
{
    file->n_changes = json_array_size(changes);
    file->changes = g_new0(BerthHost, file->n_changes + 1);
    file->gone = g_new0(const char *, file->n_changes + 1);
    file->changed_at = g_new0(gint64, file->n_changes + 1);
    for (guint i = 0; i < file->n_changes; i++) {
        const json_t *item = json_array_get(changes, i);
        const char *gone = json_string_value(json_object_get(item, "gone"));
        file->changed_at[i] = json_integer_value(json_object_get(item, "at"));
        if (gone != NULL) {
            char *copy = g_strdup(gone);
            g_ptr_array_add(file->arena, copy);
            file->gone[i] = copy;
        } else if (!read_record(&file->changes[i], json_object_get(item, "host"), host_fields,
                                file->arena, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
read_all(BerthFleetFile *file, const json_t *hosts, const json_t *workloads, GError **error)
{
    file->n_hosts = json_array_size(hosts);
    file->n_requests = json_array_size(workloads);
    file->hosts = g_new0(BerthHost, file->n_hosts + 1);
    file->requests = g_new0(BerthRequest, file->n_requests + 1);
    file->placed_on = g_new0(const char *, file->n_requests + 1);
    file->found = g_new0(gboolean, file->n_requests + 1);
    file->holding = g_new0(const json_t *, file->n_requests + 1);
    file->on = g_new0(BerthPlacement, file->n_requests + 1);
    file->at = g_new0(gint64, file->n_requests + 1);
    file->released_at = g_new0(gint64, file->n_requests + 1);
    for (guint i = 0; i < file->n_hosts; i++) {
        if (!read_record(&file->hosts[i], json_array_get(hosts, i), host_fields, file->arena,
                         error)) {
            return FALSE;
        }
    }
    for (guint i = 0; i < file->n_requests; i++) {
        const json_t *item = json_array_get(workloads, i);
        if (!read_record(&file->requests[i], item, request_fields, file->arena, error)) {
            return FALSE;
        }
        read_history(file, i, item);
    }
    return TRUE;
}

/**
 * berth_fleet_from_json:
 *
 * Returns: (transfer full): the hosts and requests of a fleet file
 *
 * Errors: INVALID for another format or a field of the wrong type
 */
BerthFleetFile *
berth_fleet_from_json(const json_t *json, GError **error)
{
    const char *format = json_string_value(json_object_get(json, "format"));
    if (g_strcmp0(format, BERTH_FLEET_FORMAT) != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "not a fleet file of format '%s': write one with 'berth fleet export'",
                        BERTH_FLEET_FORMAT);
        return NULL;
    }
    g_autoptr(BerthFleetFile) file = g_new0(BerthFleetFile, 1);
    file->arena = g_ptr_array_new_with_free_func(g_free);
    file->json = json_incref((json_t *)json);
    if (!read_all(file, json_object_get(json, "hosts"), json_object_get(json, "workloads"),
                  error) ||
        !read_changes(file, json_object_get(json, "changes"), error)) {
        return NULL;
    }
    return g_steal_pointer(&file);
}

void
berth_fleet_file_free(BerthFleetFile *file)
{
    if (file != NULL) {
        g_ptr_array_unref(file->arena);
        g_free(file->hosts);
        g_free(file->requests);
        g_free(file->placed_on);
        g_free(file->found);
        g_free(file->holding);
        json_decref(file->json);
        g_free(file->on);
        g_free(file->at);
        g_free(file->released_at);
        g_free(file->changes);
        g_free(file->gone);
        g_free(file->changed_at);
        g_free(file);
    }
}
