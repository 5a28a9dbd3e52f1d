/* All about one host, for people: what it is, what of it is free in each dimension, who is there with what.
 * Start at berth_host_view_put(). */
#include "cli/host-view.h"

#include "base/json.h"
#include "cli/placement.h"
#include "cli/resolve.h"
#include "model/cpu-set.h"
#include "model/kinds.h"

static void
put_table(BerthSession *session, const BerthTable *table)
{
    g_autofree char *text = berth_table_format(table);
    berth_session_put(session, text);
}

/* ---- facts ---- */

static void
add_text(BerthFacts *facts, const char *name, const json_t *object, const char *pointer)
{
    const char *text = json_string_value(berth_json_at(object, pointer));
    if (text != NULL) {
        berth_facts_add(facts, name, "%s", text);
    }
}

static void
add_labels(BerthFacts *facts, const json_t *host)
{
    g_autoptr(GString) all = g_string_new(NULL);
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)berth_json_at(host, "/metadata/labels"), key, value) {
        g_string_append_printf(all, "%s%s=%s", all->len > 0 ? ", " : "", key,
                               json_string_value(value));
    }
    if (all->len > 0) {
        berth_facts_add(facts, "Labels", "%s", all->str);
    }
}

/* "gpu=yes:NoSchedule, old:PreferNoSchedule" */
static void
add_taints(BerthFacts *facts, const json_t *host)
{
    g_autoptr(GString) all = g_string_new(NULL);
    gsize i;
    json_t *taint;
    json_array_foreach ((json_t *)berth_json_at(host, "/spec/taints"), i, taint) {
        const char *value = berth_json_string(taint, "value");
        const char *effect = berth_json_string(taint, "effect");
        g_string_append_printf(all, "%s%s%s%s:%s", i > 0 ? ", " : "",
                               berth_json_string(taint, "key"), value != NULL ? "=" : "",
                               value != NULL ? value : "", effect != NULL ? effect : "NoSchedule");
    }
    if (all->len > 0) {
        berth_facts_add(facts, "Taints", "%s", all->str);
    }
}

static void
put_facts(BerthSession *session, const json_t *host)
{
    static const char *const texts[][2] = {
        {"URI", "/spec/uri"},
        {"State", "/status/phase"},
        {"Reason", "/status/reason/message"},
        {"Hint", "/status/reason/hint"},
        {"Zone", "/spec/zone"},
        {"Rack", "/spec/rack"},
        {"Host name", "/status/inventory/hostname"},
        {"CPU model", "/status/inventory/cpu_model"},
        {"libvirt", "/status/inventory/libvirt_version"},
        {"Acceleration", "/status/acceleration"},
        {"Why", "/status/acceleration_reason"},
        {"Guest OS", "/status/guest_os"},
    };
    g_autoptr(BerthFacts) facts = berth_facts_new();
    berth_facts_add(facts, "Name", "%s", berth_json_name(host));
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        add_text(facts, texts[i][0], host, texts[i][1]);
    }
    add_labels(facts, host);
    add_taints(facts, host);
    if (json_is_true(berth_json_at(host, "/spec/cordoned"))) {
        berth_facts_add(facts, "Cordoned", "yes: nothing new is placed on it");
    }
    g_autofree char *text = berth_facts_format(facts);
    berth_session_put(session, text);
}

/* ---- what it has ---- */

static char *
format_count(gint64 count)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, count);
}

static void
add_resource(BerthTable *table, const char *name, gint64 capacity, gint64 used, gint64 left,
             char *(*format)(gint64))
{
    g_autofree char *has = format(capacity), *taken = format(used), *rest = format(left);
    const char *cells[] = {name, has, taken, rest};
    berth_table_add(table, cells);
}

static void
add_amount(BerthTable *table, const json_t *status, const char *name, const char *member,
           char *(*format)(gint64))
{
    add_resource(table, name, berth_json_integer(json_object_get(status, "capacity"), member, 0),
                 berth_json_integer(json_object_get(status, "used"), member, 0),
                 berth_json_integer(json_object_get(status, "free"), member, 0), format);
}

static gint64
count_cpus(const json_t *dedicated, const char *member)
{
    BerthCpuSet set = {{0}};
    const char *text = berth_json_string(dedicated, member);
    return text != NULL && berth_cpu_set_parse(text, &set, NULL) ? berth_cpu_set_count(&set) : 0;
}

static void
add_dedicated(BerthTable *table, const json_t *dedicated)
{
    if (dedicated != NULL) {
        gint64 all = count_cpus(dedicated, "cpus"), left = count_cpus(dedicated, "free");
        add_resource(table, "Dedicated CPUs", all, all - left, left, format_count);
    }
}

/* One row for each class; what can't be given counts as no capacity. */
static void
add_devices(BerthTable *table, const json_t *devices)
{
    gsize i, k;
    json_t *device, *other;
    json_array_foreach ((json_t *)devices, i, device) {
        const char *class = berth_json_string(device, "class");
        gint64 all = 0, left = 0;
        gsize first = i;
        json_array_foreach ((json_t *)devices, k, other) {
            if (g_strcmp0(class, berth_json_string(other, "class")) == 0) {
                first = MIN(first, k);
                all += json_object_get(other, "free") != NULL;
                left += json_is_true(json_object_get(other, "free"));
            }
        }
        if (first == i) {
            g_autofree char *name = g_strdup_printf("Devices: %s", class);
            add_resource(table, name, all, all - left, left, format_count);
        }
    }
}

static void
add_counted(BerthTable *table, const json_t *resources)
{
    gsize i;
    json_t *resource;
    json_array_foreach ((json_t *)resources, i, resource) {
        add_resource(table, berth_json_string(resource, "name"),
                     berth_json_integer(resource, "capacity", 0),
                     berth_json_integer(resource, "used", 0),
                     berth_json_integer(resource, "free", 0), format_count);
    }
}

static void
put_resources(BerthSession *session, const json_t *host)
{
    static const char *const titles[] = {"Resource", "Capacity", "Used", "Free", NULL};
    const json_t *status = json_object_get(host, "status");
    if (json_object_get(status, "capacity") == NULL) {
        return;
    }
    g_autoptr(BerthTable) table = berth_table_new(titles);
    add_amount(table, status, "vCPUs", "vcpus", format_count);
    add_amount(table, status, "Memory", "memory_mib", berth_format_mib);
    add_amount(table, status, "Disk", "disk_mib", berth_format_mib);
    add_dedicated(table, json_object_get(status, "dedicated_cpus"));
    add_counted(table, json_object_get(status, "resources"));
    add_devices(table, json_object_get(status, "devices"));
    put_table(session, table);
}

/* ---- NUMA cells ---- */

/* "512 of 2 MiB, 4 of 1 GiB" */
static char *
format_pages(const json_t *pages)
{
    GString *all = g_string_new(NULL);
    gsize i;
    json_t *kind;
    json_array_foreach ((json_t *)pages, i, kind) {
        g_autofree char *size = berth_format_mib(berth_json_integer(kind, "size_kib", 0) / 1024);
        g_string_append_printf(all, "%s%" G_GINT64_FORMAT " of %s", i > 0 ? ", " : "",
                               berth_json_integer(kind, "free", 0), size);
    }
    return g_string_free(all, FALSE);
}

/* Those of the CPUs @cpus that are free to be dedicated. */
static char *
format_dedicated(const char *cpus, const json_t *dedicated)
{
    BerthCpuSet set, left;
    const char *text = berth_json_string(dedicated, "free");
    if (cpus == NULL || text == NULL || !berth_cpu_set_parse(cpus, &set, NULL) ||
        !berth_cpu_set_parse(text, &left, NULL)) {
        return NULL;
    }
    berth_cpu_set_keep(&set, &left);
    return berth_cpu_set_format(&set);
}

static void
put_cells(BerthSession *session, const json_t *host)
{
    static const char *const titles[] = {
        "Cell", "CPUs", "vCPUs free", "Memory free", "Dedicated free", "Huge pages free", NULL};
    const json_t *cells = berth_json_at(host, "/status/cells");
    const json_t *read = berth_json_at(host, "/status/inventory/cells");
    const json_t *dedicated = berth_json_at(host, "/status/dedicated_cpus");
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *cell;
    json_array_foreach ((json_t *)cells, i, cell) {
        const json_t *left = json_object_get(cell, "free");
        const char *cpus = berth_json_string(json_array_get(read, i), "cpu_set");
        g_autofree char *number = format_count((gint64)i);
        g_autofree char *vcpus = format_count(berth_json_integer(left, "vcpus", 0));
        g_autofree char *memory = berth_format_mib(berth_json_integer(left, "memory_mib", 0));
        g_autofree char *own = format_dedicated(cpus, dedicated);
        g_autofree char *pages = format_pages(json_object_get(cell, "huge_pages"));
        const char *row[] = {number, cpus, vcpus, memory, own, pages};
        berth_table_add(table, row);
    }
    if (json_array_size(cells) > 0) {
        put_table(session, table);
    }
}

/* ---- devices, guests, conditions ---- */

/* Who of @guests has the device at @address; NULL: nobody that is known. */
static const char *
holder_of(const json_t *guests, const char *address)
{
    gsize i, k;
    json_t *guest, *held;
    json_array_foreach ((json_t *)guests, i, guest) {
        json_array_foreach ((json_t *)berth_json_at(guest, "/status/placement/devices"), k, held) {
            if (g_strcmp0(json_string_value(held), address) == 0) {
                return berth_json_name(guest);
            }
        }
    }
    return NULL;
}

static void
put_devices(BerthSession *session, const json_t *host, const json_t *guests)
{
    static const char *const titles[] = {"Device", "Class", "Cell", "IOMMU group", "Used by", NULL};
    const json_t *devices = berth_json_at(host, "/status/devices");
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *device;
    json_array_foreach ((json_t *)devices, i, device) {
        const char *address = berth_json_string(device, "address");
        const char *problem = berth_json_string(device, "problem");
        const char *holder = holder_of(guests, address);
        gboolean is_free = json_is_true(json_object_get(device, "free"));
        gint64 at = berth_json_integer(device, "numa_cell", -1);
        gint64 group = berth_json_integer(device, "iommu_group", -1);
        g_autofree char *cell = at >= 0 ? format_count(at) : NULL;
        g_autofree char *iommu = group >= 0 ? format_count(group) : NULL;
        const char *state = problem != NULL  ? problem
                            : holder != NULL ? holder
                            : is_free        ? "(free)"
                                             : "(its IOMMU group is in use)";
        const char *row[] = {address, berth_json_string(device, "class"), cell, iommu, state};
        berth_table_add(table, row);
    }
    if (json_array_size(devices) > 0) {
        put_table(session, table);
    }
}

/* Pods and VMs that are placed on the host. */
static json_t *
list_guests(BerthSession *session, const json_t *host)
{
    json_t *guests = json_array();
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (berth_kinds[i]->workload) {
            g_autofree char *path = g_strdup_printf("/v1/%s?field=status.host%%3D%s",
                                                    berth_kinds[i]->plural, berth_json_name(host));
            g_autoptr(json_t) some = berth_client_list(session->client, path, NULL);
            json_array_extend(guests, some);
        }
    }
    return guests;
}

static void
put_guests(BerthSession *session, const json_t *guests)
{
    static const char *const titles[] = {"Guest",  "Project", "Kind",     "State", "vCPUs",
                                         "Memory", "Cells",   "Own CPUs", NULL};
    static const BerthColumn columns[] = {{"", "/metadata/name"},
                                          {"", "/metadata/project"},
                                          {"", "/kind"},
                                          {"", "/status/phase"},
                                          {"", "/spec/vcpus"},
                                          {"", "/status/used_memory_mib"},
                                          {NULL}};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *guest;
    json_array_foreach ((json_t *)guests, i, guest) {
        const json_t *placement = berth_json_at(guest, "/status/placement");
        g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
        for (gsize k = 0; columns[k].title != NULL; k++) {
            g_ptr_array_add(cells, berth_print_cell(guest, &columns[k], session->now_us));
        }
        g_ptr_array_add(cells, berth_placement_list(placement, "cells"));
        g_ptr_array_add(cells, berth_placement_list(placement, "cpus"));
        berth_table_add(table, (const char *const *)cells->pdata);
    }
    if (json_array_size(guests) > 0) {
        put_table(session, table);
    }
}

static void
put_conditions(BerthSession *session, const json_t *host)
{
    static const char *const titles[] = {"Condition", "Holds", "Reason", "Message", NULL};
    const json_t *conditions = berth_json_at(host, "/status/conditions");
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *condition;
    json_array_foreach ((json_t *)conditions, i, condition) {
        const char *cells[] = {berth_json_string(condition, "type"),
                               json_is_true(json_object_get(condition, "value")) ? "yes" : "no",
                               berth_json_string(condition, "reason"),
                               berth_json_string(condition, "message")};
        berth_table_add(table, cells);
    }
    if (json_array_size(conditions) > 0) {
        put_table(session, table);
    }
}

static void
put_foreign(BerthSession *session, const json_t *host)
{
    static const BerthColumn columns[] = {
        {"Unmanaged domain", "/name"}, {"State", "/state"}, {"vCPUs", "/vcpus"},
        {"Memory", "/memory_mib"},     {"UUID", "/uuid"},   {NULL}};
    const json_t *foreign = berth_json_at(host, "/status/foreign");
    if (json_array_size(foreign) > 0) {
        g_autofree char *text = berth_print_objects(foreign, columns, FALSE, session->now_us);
        berth_session_put(session, text);
    }
}

/** Prints @host, a Host, and who is placed on it. Guests that can't be listed are left out. */
void
berth_host_view_put(BerthSession *session, const json_t *host)
{
    g_autoptr(json_t) guests = list_guests(session, host);
    put_facts(session, host);
    put_resources(session, host);
    put_cells(session, host);
    put_devices(session, host, guests);
    put_guests(session, guests);
    put_foreign(session, host);
    put_conditions(session, host);
}
