/* How full the fleet is: what records say, summed up. Reads the catalog alone; at O(hosts + workloads).
 * Start at berth_what_if_overview(). */
#include "daemon/what-if.h"

#include <string.h>

#include "base/json.h"
#include "model/cpu-set.h"

#define SIZES_USUAL 3 /* so many of the most frequent sizes are told, and the largest */

/* ---- resources ----------------------------------------------------------------------------------- */

typedef struct {
    char *name; /* owned */
    gint64 capacity, used, free, largest_free;
} Resource;

static void
free_resource(gpointer data)
{
    Resource *resource = data;
    g_free(resource->name);
    g_free(resource);
}

/* @all: of Resource, in the order of their first mention. */
static Resource *
find_resource(GPtrArray *all, const char *name)
{
    for (guint i = 0; i < all->len; i++) {
        Resource *resource = all->pdata[i];
        if (g_str_equal(resource->name, name)) {
            return resource;
        }
    }
    Resource *made = g_new0(Resource, 1);
    made->name = g_strdup(name);
    g_ptr_array_add(all, made);
    return made;
}

/* What one host has of a resource; @open: it takes new workloads. */
static void
add_amount(GPtrArray *all, const char *name, gint64 capacity, gint64 left, gboolean open)
{
    Resource *resource = find_resource(all, name);
    resource->capacity += capacity;
    resource->used += capacity - left;
    if (open) {
        resource->free += left;
        resource->largest_free = MAX(resource->largest_free, left);
    }
}

static gint64
count_cpus(const json_t *dedicated, const char *member)
{
    BerthCpuSet set;
    const char *text = berth_json_string(dedicated, member);
    return text != NULL && berth_cpu_set_parse(text, &set, NULL) ? berth_cpu_set_count(&set) : 0;
}

/* By size, of all cells together: a workload that is not bound takes them where they are. */
static void
add_pages(GPtrArray *all, const json_t *cells, gboolean open)
{
    size_t i, k;
    json_t *cell, *kind;
    g_autoptr(GPtrArray) own = g_ptr_array_new_with_free_func(free_resource);
    json_array_foreach (cells, i, cell) {
        json_array_foreach (json_object_get(cell, "huge_pages"), k, kind) {
            g_autofree char *name = g_strdup_printf("hugepages-%" G_GINT64_FORMAT,
                                                    berth_json_integer(kind, "size_kib", 0));
            Resource *pages = find_resource(own, name);
            pages->capacity += berth_json_integer(kind, "count", 0);
            pages->free += berth_json_integer(kind, "free", 0);
        }
    }
    for (i = 0; i < own->len; i++) {
        const Resource *pages = own->pdata[i];
        add_amount(all, pages->name, pages->capacity, pages->free, open);
    }
}

static void
add_counted(GPtrArray *all, const json_t *resources, gboolean open)
{
    size_t i;
    json_t *resource;
    json_array_foreach (resources, i, resource) {
        g_autofree char *name =
            g_strconcat("resources/", berth_json_string(resource, "name"), NULL);
        gint64 capacity = berth_json_integer(resource, "capacity", 0);
        add_amount(all, name, capacity, capacity - berth_json_integer(resource, "used", 0), open);
    }
}

/* By class; what can't be given has no "free" and is no capacity. */
static void
add_devices(GPtrArray *all, const json_t *devices, gboolean open)
{
    size_t i;
    json_t *device;
    g_autoptr(GPtrArray) own = g_ptr_array_new_with_free_func(free_resource);
    json_array_foreach (devices, i, device) {
        const json_t *is_free = json_object_get(device, "free");
        if (is_free != NULL) {
            g_autofree char *name =
                g_strconcat("devices/", berth_json_string(device, "class"), NULL);
            Resource *class = find_resource(own, name);
            class->capacity++;
            class->free += json_is_true(is_free);
        }
    }
    for (i = 0; i < own->len; i++) {
        const Resource *class = own->pdata[i];
        add_amount(all, class->name, class->capacity, class->free, open);
    }
}

static gboolean
is_open(const BerthHostStatus *status)
{
    for (guint i = 0; status->conditions != NULL && i < status->conditions->len; i++) {
        const BerthCondition *condition = status->conditions->pdata[i];
        if (strcmp(condition->type, "Schedulable") == 0) {
            return condition->value;
        }
    }
    return FALSE;
}

static void
add_host(GPtrArray *all, const BerthHostStatus *status, gboolean open)
{
    const BerthCapacity *has = &status->capacity, *used = &status->used;
    const json_t *dedicated = status->dedicated_cpus;
    add_amount(all, "vcpus", has->vcpus, has->vcpus - used->vcpus, open);
    add_amount(all, "memory_mib", has->memory_mib, has->memory_mib - used->memory_mib, open);
    add_amount(all, "disk_mib", has->disk_mib, has->disk_mib - used->disk_mib, open);
    if (dedicated != NULL) {
        add_amount(all, "dedicated_cpus", count_cpus(dedicated, "cpus"),
                   count_cpus(dedicated, "free"), open);
    }
    add_pages(all, status->cells, open);
    add_counted(all, status->resources, open);
    add_devices(all, status->devices, open);
}

static void
write_hosts(BerthControl *control, json_t *overview)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(free_resource);
    json_int_t hosts = 0, open_hosts = 0;
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, control->catalog, &berth_kind_host, NULL);
    for (BerthObject *host; (host = berth_catalog_iter_next(&iter)) != NULL;) {
        const BerthHostStatus *status = host->status_data;
        if (status->inventory != NULL) {
            gboolean open = is_open(status);
            hosts++;
            open_hosts += open;
            add_host(all, status, open);
        }
    }
    json_t *list = json_array();
    for (guint i = 0; i < all->len; i++) {
        const Resource *r = all->pdata[i];
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", r->name,
                                              "capacity", (json_int_t)r->capacity, "used",
                                              (json_int_t)r->used, "free", (json_int_t)r->free,
                                              "largest_free", (json_int_t)r->largest_free));
    }
    json_object_set_new(overview, "hosts", json_integer(hosts));
    json_object_set_new(overview, "open_hosts", json_integer(open_hosts));
    json_object_set_new(overview, "resources", list);
}

/* ---- workloads ----------------------------------------------------------------------------------- */

typedef struct {
    const BerthKind *kind;
    gint64 vcpus, memory_mib, placed;
} Size;

typedef struct {
    gint64 workloads, vcpus, memory_mib, devices, waiting;
} Share;

static void
count_size(GHashTable *sizes, const BerthObject *object)
{
    const BerthWorkload *workload = berth_workload_of(object);
    g_autofree char *key =
        g_strdup_printf("%s/%" G_GINT64_FORMAT "/%" G_GINT64_FORMAT, object->kind->name,
                        workload->vcpus, workload->memory_mib);
    Size *size = g_hash_table_lookup(sizes, key);
    if (size == NULL) {
        size = g_new(Size, 1);
        *size = (Size){object->kind, workload->vcpus, workload->memory_mib, 0};
        g_hash_table_insert(sizes, g_steal_pointer(&key), size);
    }
    size->placed++;
}

static gint64
count_devices(const GPtrArray *devices)
{
    gint64 count = 0;
    for (guint i = 0; devices != NULL && i < devices->len; i++) {
        count += ((const BerthDeviceSpec *)devices->pdata[i])->count;
    }
    return count;
}

static void
count_workload(GHashTable *sizes, GHashTable *shares, const BerthObject *object)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    Share *share = g_hash_table_lookup(shares, object->project);
    if (share == NULL) {
        share = g_new0(Share, 1);
        g_hash_table_insert(shares, g_strdup(object->project), share);
    }
    if (status->host != NULL) {
        share->workloads++;
        share->vcpus += berth_workload_of(object)->vcpus;
        share->memory_mib += status->used_memory_mib;
        share->devices += count_devices(berth_workload_of(object)->devices);
        count_size(sizes, object);
    } else if (status->phase == BERTH_PHASE_PENDING) {
        share->waiting++;
    }
}

/* The most frequent first; of equally frequent ones the larger. */
static int
compare_sizes(gconstpointer a, gconstpointer b)
{
    const Size *one = *(Size *const *)a, *two = *(Size *const *)b;
    gint64 order = two->placed - one->placed;
    order = order != 0 ? order : two->memory_mib - one->memory_mib;
    order = order != 0 ? order : two->vcpus - one->vcpus;
    return order != 0 ? (order > 0 ? 1 : -1) : strcmp(one->kind->name, two->kind->name);
}

static void
write_size(json_t *list, const Size *size)
{
    json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "kind", size->kind->name, "vcpus",
                                          (json_int_t)size->vcpus, "memory_mib",
                                          (json_int_t)size->memory_mib, "placed",
                                          (json_int_t)size->placed));
}

static json_t *
write_sizes(GHashTable *sizes)
{
    g_autoptr(GPtrArray) order = g_ptr_array_new();
    json_t *list = json_array();
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, sizes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        g_ptr_array_add(order, value);
    }
    g_ptr_array_sort(order, compare_sizes);
    const Size *largest = NULL;
    guint largest_at = 0;
    for (guint i = 0; i < order->len; i++) {
        const Size *size = order->pdata[i];
        if (i < SIZES_USUAL) {
            write_size(list, size);
        }
        if (largest == NULL || size->memory_mib > largest->memory_mib) {
            largest = size;
            largest_at = i;
        }
    }
    if (largest_at >= SIZES_USUAL) {
        write_size(list, largest);
    }
    return list;
}

/* What a project has, and what it may have and can count on. */
static json_t *
write_project(const BerthObject *project, const Share *share)
{
    const BerthProjectSpec *spec = project->spec_data;
    json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "name", project->name, "workloads",
                             (json_int_t)share->workloads, "vcpus", (json_int_t)share->vcpus,
                             "memory_mib", (json_int_t)share->memory_mib, "devices",
                             (json_int_t)share->devices, "waiting", (json_int_t)share->waiting);
    const struct {
        const char *name;
        gint64 amount;
    } limits[] = {{"quota_workloads", spec->quota_workloads},
                  {"quota_vcpus", spec->quota_vcpus},
                  {"quota_memory_mib", spec->quota_memory_mib},
                  {"quota_devices", spec->quota_devices},
                  {"reserved_vcpus", spec->reserved_vcpus},
                  {"reserved_memory_mib", spec->reserved_memory_mib}};
    for (guint i = 0; i < G_N_ELEMENTS(limits); i++) {
        json_object_set_new(json, limits[i].name, json_integer(limits[i].amount));
    }
    return json;
}

static json_t *
write_projects(BerthControl *control, GHashTable *shares)
{
    static const Share nothing;
    json_t *list = json_array();
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, control->catalog, &berth_kind_project, NULL);
    for (BerthObject *project; (project = berth_catalog_iter_next(&iter)) != NULL;) {
        const Share *share = g_hash_table_lookup(shares, project->name);
        json_array_append_new(list, write_project(project, share != NULL ? share : &nothing));
    }
    return list;
}

static void
write_workloads(BerthControl *control, json_t *overview)
{
    g_autoptr(GHashTable) sizes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GHashTable) shares = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        BerthCatalogIter iter;
        if (!berth_kinds[i]->workload) {
            continue;
        }
        berth_catalog_iter_init(&iter, control->catalog, berth_kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            count_workload(sizes, shares, object);
        }
    }
    json_object_set_new(overview, "sizes", write_sizes(sizes));
    json_object_set_new(overview, "projects", write_projects(control, shares));
}

/** Returns: (transfer full): a CapacityOverview. */
json_t *
berth_what_if_overview(BerthControl *control)
{
    json_t *overview = json_object();
    write_hosts(control, overview);
    write_workloads(control, overview);
    return overview;
}
