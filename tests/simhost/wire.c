/* The wire form of what drivers/host.h passes around: one table a struct, read and written by the same
 * two functions. Strings read are borrowed from the JSON for calls, copied for replies. Any thread.
 * Start at the tables. */
#include "tests/simhost/wire.h"

#include <string.h>

typedef enum { STRING, CHARS, INT, UINT, U64, I64, BOOL, STRV } Type;

typedef struct {
    const char *name;
    Type type;
    gsize offset;
    gsize size; /* CHARS */
} Field;

#define FIELD(struct_, member, type)                                                               \
    {                                                                                              \
#member, type, offsetof(struct_, member), 0                                                \
    }
#define CHARS_FIELD(struct_, member)                                                               \
    {                                                                                              \
#member, CHARS, offsetof(struct_, member), sizeof(((struct_ *)NULL)->member)               \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, STRING, 0, 0                                                                         \
    }

static const Field call_fields[] = {
    FIELD(BerthHostCall, uuid, STRING),
    FIELD(BerthHostCall, pool, STRING),
    FIELD(BerthHostCall, volume, STRING),
    FIELD(BerthHostCall, path, STRING),
    FIELD(BerthHostCall, format, STRING),
    FIELD(BerthHostCall, backing, STRING),
    FIELD(BerthHostCall, backing_format, STRING),
    FIELD(BerthHostCall, size, U64),
    FIELD(BerthHostCall, network, STRING),
    FIELD(BerthHostCall, mac, STRING),
    FIELD(BerthHostCall, ip, STRING),
    FIELD(BerthHostCall, name, STRING),
    END,
};

static const Field plan_fields[] = {
    FIELD(BerthDomainPlan, uuid, STRING),
    FIELD(BerthDomainPlan, name, STRING),
    FIELD(BerthDomainPlan, title, STRING),
    FIELD(BerthDomainPlan, profile, UINT),
    FIELD(BerthDomainPlan, kvm, BOOL),
    FIELD(BerthDomainPlan, vcpus, UINT),
    FIELD(BerthDomainPlan, memory_mib, U64),
    FIELD(BerthDomainPlan, cpu_model, STRING),
    FIELD(BerthDomainPlan, cpu_features, STRING),
    FIELD(BerthDomainPlan, cpuset, STRING),
    FIELD(BerthDomainPlan, pins, STRING),
    FIELD(BerthDomainPlan, emulator_cpuset, STRING),
    FIELD(BerthDomainPlan, nodeset, STRING),
    FIELD(BerthDomainPlan, interleave, BOOL),
    FIELD(BerthDomainPlan, host_devices, STRING),
    FIELD(BerthDomainPlan, huge_pages_kib, UINT),
    FIELD(BerthDomainPlan, kernel_pool, STRING),
    FIELD(BerthDomainPlan, kernel_volume, STRING),
    FIELD(BerthDomainPlan, initrd_volume, STRING),
    FIELD(BerthDomainPlan, cmdline, STRING),
    FIELD(BerthDomainPlan, link, BOOL),
    FIELD(BerthDomainPlan, agent, BOOL),
    FIELD(BerthDomainPlan, autostart, BOOL),
    END,
};

static const Field disk_fields[] = {
    FIELD(BerthDiskPlan, pool, STRING),
    FIELD(BerthDiskPlan, volume, STRING),
    FIELD(BerthDiskPlan, serial, STRING),
    FIELD(BerthDiskPlan, format, STRING),
    FIELD(BerthDiskPlan, read_only, BOOL),
    FIELD(BerthDiskPlan, cdrom, BOOL),
    END,
};

static const Field nic_fields[] = {
    FIELD(BerthNicPlan, network, STRING),
    FIELD(BerthNicPlan, bridge, STRING),
    FIELD(BerthNicPlan, mac, STRING),
    END,
};

static const Field mark_fields[] = {
    FIELD(BerthDomainMark, fleet, STRING), FIELD(BerthDomainMark, uid, STRING),
    FIELD(BerthDomainMark, kind, STRING),  FIELD(BerthDomainMark, project, STRING),
    FIELD(BerthDomainMark, name, STRING),  FIELD(BerthDomainMark, generation, I64),
    FIELD(BerthDomainMark, spec, STRING),  FIELD(BerthDomainMark, labels, STRING),
    FIELD(BerthDomainMark, format, UINT),  END,
};

static const Field domain_fields[] = {
    FIELD(BerthDomain, uuid, STRING),     FIELD(BerthDomain, name, STRING),
    FIELD(BerthDomain, title, STRING),    FIELD(BerthDomain, id, INT),
    FIELD(BerthDomain, state, UINT),      FIELD(BerthDomain, stop_reason, UINT),
    FIELD(BerthDomain, persistent, BOOL), FIELD(BerthDomain, autostart, BOOL),
    FIELD(BerthDomain, vcpus, UINT),      FIELD(BerthDomain, vcpus_max, UINT),
    FIELD(BerthDomain, memory_kib, U64),  FIELD(BerthDomain, memory_max_kib, U64),
    FIELD(BerthDomain, cpu_time_ns, U64), FIELD(BerthDomain, rss_kib, U64),
    FIELD(BerthDomain, machine, STRING),  END,
};

static const Field volume_fields[] = {
    FIELD(BerthVolume, name, STRING),
    FIELD(BerthVolume, capacity, U64),
    FIELD(BerthVolume, allocation, U64),
    END,
};

static const Field inventory_fields[] = {
    FIELD(BerthInventory, hostname, STRING),
    FIELD(BerthInventory, uuid, STRING),
    FIELD(BerthInventory, arch, STRING),
    FIELD(BerthInventory, cpu_model, STRING),
    FIELD(BerthInventory, cpu_vendor, STRING),
    FIELD(BerthInventory, libvirt_version, STRING),
    FIELD(BerthInventory, hypervisor_version, STRING),
    FIELD(BerthInventory, cpus, UINT),
    FIELD(BerthInventory, sockets, UINT),
    FIELD(BerthInventory, cores, UINT),
    FIELD(BerthInventory, threads, UINT),
    FIELD(BerthInventory, mhz, UINT),
    FIELD(BerthInventory, tsc_khz, U64),
    FIELD(BerthInventory, memory_kib, U64),
    FIELD(BerthInventory, claims_kvm, BOOL),
    FIELD(BerthInventory, machine_types, STRV),
    FIELD(BerthInventory, kvm_models, STRV),
    FIELD(BerthInventory, kvm_features, STRV),
    FIELD(BerthInventory, tcg_models, STRV),
    FIELD(BerthInventory, tcg_features, STRV),
    END,
};

static const Field cell_fields[] = {
    FIELD(BerthCell, id, UINT),
    FIELD(BerthCell, memory_kib, U64),
    END,
};

static const Field device_fields[] = {
    CHARS_FIELD(BerthPciDevice, address),
    CHARS_FIELD(BerthPciDevice, vendor_id),
    CHARS_FIELD(BerthPciDevice, product_id),
    CHARS_FIELD(BerthPciDevice, class_id),
    FIELD(BerthPciDevice, vendor, STRING),
    FIELD(BerthPciDevice, product, STRING),
    FIELD(BerthPciDevice, iommu_group, INT),
    FIELD(BerthPciDevice, numa_cell, INT),
    END,
};

static const Field network_fields[] = {
    FIELD(BerthHostNetwork, name, STRING),       FIELD(BerthHostNetwork, bridge, STRING),
    FIELD(BerthHostNetwork, forward, STRING),    FIELD(BerthHostNetwork, cidr, STRING),
    FIELD(BerthHostNetwork, dhcp_start, STRING), FIELD(BerthHostNetwork, dhcp_end, STRING),
    FIELD(BerthHostNetwork, active, BOOL),       END,
};

static const Field pool_fields[] = {
    FIELD(BerthHostPool, name, STRING),         FIELD(BerthHostPool, target, STRING),
    FIELD(BerthHostPool, active, BOOL),         FIELD(BerthHostPool, capacity_bytes, U64),
    FIELD(BerthHostPool, available_bytes, U64), END,
};

/* ---- reading and writing ---------------------------------------------------------------------- */

#define AT(record, field, type) (*(type *)(gpointer)((char *)(record) + (field)->offset))

static json_t *
strv_to_json(char **list)
{
    json_t *array = json_array();
    for (; list != NULL && *list != NULL; list++) {
        json_array_append_new(array, json_string(*list));
    }
    return array;
}

static json_t *
write_field(gconstpointer record, const Field *field)
{
    switch (field->type) {
    case STRING:
        return json_string(AT(record, field, const char *));
    case CHARS:
        return json_string((const char *)record + field->offset);
    case INT:
        return json_integer(AT(record, field, int));
    case UINT:
        return json_integer(AT(record, field, guint));
    case U64:
    case I64:
        return json_integer(AT(record, field, gint64));
    case BOOL:
        return json_boolean(AT(record, field, gboolean));
    case STRV:
        return strv_to_json(AT(record, field, char **));
    }
    return NULL;
}

static json_t *
write_fields(gconstpointer record, const Field *fields)
{
    json_t *object = json_object();
    for (; fields->name != NULL; fields++) {
        json_t *value = write_field(record, fields);
        if (value != NULL) { /* a NULL string is left out */
            json_object_set_new(object, fields->name, value);
        }
    }
    return object;
}

static char **
strv_from_json(const json_t *array)
{
    GStrvBuilder *builder = g_strv_builder_new();
    for (gsize i = 0; i < json_array_size(array); i++) {
        g_strv_builder_add(builder, json_string_value(json_array_get(array, i)));
    }
    char **list = g_strv_builder_end(builder);
    g_strv_builder_unref(builder);
    return list;
}

/* @copy: strings become the record's own; otherwise they are borrowed from @object. */
static void
read_fields(gpointer record, const Field *fields, const json_t *object, gboolean copy)
{
    for (; fields->name != NULL; fields++) {
        const json_t *value = json_object_get(object, fields->name);
        const char *text = json_string_value(value);
        switch (fields->type) {
        case STRING:
            AT(record, fields, const char *) = copy ? g_strdup(text) : text;
            break;
        case CHARS:
            g_strlcpy((char *)record + fields->offset, text != NULL ? text : "", fields->size);
            break;
        case INT:
        case UINT:
            AT(record, fields, int) = (int)json_integer_value(value);
            break;
        case U64:
        case I64:
            AT(record, fields, gint64) = json_integer_value(value);
            break;
        case BOOL:
            AT(record, fields, gboolean) = json_is_true(value);
            break;
        case STRV:
            AT(record, fields, char **) = strv_from_json(value);
            break;
        }
    }
}

/* ---- calls ------------------------------------------------------------------------------------ */

static json_t *
plan_to_json(const BerthDomainPlan *plan)
{
    json_t *object = write_fields(plan, plan_fields);
    json_t *disks = json_array(), *nics = json_array();
    for (gsize i = 0; i < plan->disk_count; i++) {
        json_array_append_new(disks, write_fields(&plan->disks[i], disk_fields));
    }
    for (gsize i = 0; i < plan->nic_count; i++) {
        json_array_append_new(nics, write_fields(&plan->nics[i], nic_fields));
    }
    json_object_set_new(object, "disks", disks);
    json_object_set_new(object, "nics", nics);
    if (plan->mark != NULL) {
        json_object_set_new(object, "mark", write_fields(plan->mark, mark_fields));
    }
    return object;
}

/** Returns: (transfer full): @call without its progress function. */
json_t *
sim_call_to_json(const BerthHostCall *call)
{
    json_t *object = write_fields(call, call_fields);
    json_object_set_new(object, "verb", json_string(berth_host_verb_name(call->verb)));
    if (call->plan != NULL) {
        json_object_set_new(object, "plan", plan_to_json(call->plan));
    }
    return object;
}

static BerthHostVerb
verb_of(const json_t *value)
{
    const char *name = json_string_value(json_object_get(value, "verb"));
    int verb = 0;
    while (verb < BERTH_HOST_VERBS &&
           g_strcmp0(name, berth_host_verb_name((BerthHostVerb)verb)) != 0) {
        verb++;
    }
    return (BerthHostVerb)verb;
}

/** Returns: (transfer full): to be freed with berth_host_call_free(); verb BERTH_HOST_VERBS: unknown. */
BerthHostCall *
sim_call_from_json(const json_t *value)
{
    BerthHostCall call = {.verb = verb_of(value)};
    BerthDomainPlan plan = {0};
    BerthDomainMark mark = {0};
    read_fields(&call, call_fields, value, FALSE);
    const json_t *plan_json = json_object_get(value, "plan");
    if (plan_json == NULL) {
        return berth_host_call_copy(&call);
    }
    const json_t *disks_json = json_object_get(plan_json, "disks");
    const json_t *nics_json = json_object_get(plan_json, "nics");
    const json_t *mark_json = json_object_get(plan_json, "mark");
    g_autofree BerthDiskPlan *disks = g_new0(BerthDiskPlan, json_array_size(disks_json));
    g_autofree BerthNicPlan *nics = g_new0(BerthNicPlan, json_array_size(nics_json));
    for (gsize i = 0; i < json_array_size(disks_json); i++) {
        read_fields(&disks[i], disk_fields, json_array_get(disks_json, i), FALSE);
    }
    for (gsize i = 0; i < json_array_size(nics_json); i++) {
        read_fields(&nics[i], nic_fields, json_array_get(nics_json, i), FALSE);
    }
    read_fields(&plan, plan_fields, plan_json, FALSE);
    read_fields(&mark, mark_fields, mark_json, FALSE);
    plan.disks = disks;
    plan.disk_count = json_array_size(disks_json);
    plan.nics = nics;
    plan.nic_count = json_array_size(nics_json);
    plan.mark = mark_json != NULL ? &mark : NULL;
    call.plan = &plan;
    return berth_host_call_copy(&call);
}

/* ---- replies ---------------------------------------------------------------------------------- */

static json_t *
domain_to_json(const BerthDomain *domain)
{
    json_t *object = write_fields(domain, domain_fields);
    if (domain->mark != NULL) {
        json_object_set_new(object, "mark", write_fields(domain->mark, mark_fields));
    }
    return object;
}

static json_t *
cell_to_json(const BerthCell *cell)
{
    json_t *object = write_fields(cell, cell_fields);
    json_t *cpus = json_array(), *pages = json_array();
    for (guint i = 0; i < cell->cpu_count; i++) {
        json_array_append_new(cpus, json_integer(cell->cpus[i]));
    }
    for (guint i = 0; i < cell->huge_page_kinds; i++) {
        json_array_append_new(pages, json_pack("[I, I]", (json_int_t)cell->huge_pages[i].size_kib,
                                               (json_int_t)cell->huge_pages[i].count));
    }
    json_object_set_new(object, "cpus", cpus);
    json_object_set_new(object, "huge_pages", pages);
    return object;
}

static json_t *
list_to_json(const GPtrArray *list, const Field *fields)
{
    json_t *array = json_array();
    for (guint i = 0; i < list->len; i++) {
        json_array_append_new(array, write_fields(list->pdata[i], fields));
    }
    return array;
}

static json_t *
inventory_to_json(const BerthInventory *inventory)
{
    json_t *object = write_fields(inventory, inventory_fields);
    json_t *cells = json_array();
    for (guint i = 0; i < inventory->cells->len; i++) {
        json_array_append_new(cells, cell_to_json(inventory->cells->pdata[i]));
    }
    json_object_set_new(object, "cells", cells);
    json_object_set_new(object, "devices", list_to_json(inventory->devices, device_fields));
    json_object_set_new(object, "networks", list_to_json(inventory->networks, network_fields));
    json_object_set_new(object, "pools", list_to_json(inventory->pools, pool_fields));
    return object;
}

/** Returns: (transfer full): what @reply holds. */
json_t *
sim_reply_to_json(const BerthHostReply *reply)
{
    json_t *object = json_object();
    if (reply->inventory != NULL) {
        json_object_set_new(object, "inventory", inventory_to_json(reply->inventory));
    }
    if (reply->domains != NULL) {
        json_t *domains = json_array();
        for (guint i = 0; i < reply->domains->len; i++) {
            json_array_append_new(domains, domain_to_json(reply->domains->pdata[i]));
        }
        json_object_set_new(object, "domains", domains);
    }
    if (reply->volumes != NULL) {
        json_object_set_new(object, "volumes", list_to_json(reply->volumes, volume_fields));
    }
    if (reply->text != NULL) {
        json_object_set_new(object, "text", json_string(reply->text));
    }
    return object;
}

static BerthDomain *
domain_from_json(const json_t *value)
{
    BerthDomain *domain = g_new0(BerthDomain, 1);
    read_fields(domain, domain_fields, value, TRUE);
    const json_t *mark = json_object_get(value, "mark");
    if (mark != NULL) {
        domain->mark = g_new0(BerthDomainMark, 1);
        read_fields(domain->mark, mark_fields, mark, TRUE);
    }
    return domain;
}

static BerthCell *
cell_from_json(const json_t *value)
{
    BerthCell *cell = g_new0(BerthCell, 1);
    read_fields(cell, cell_fields, value, TRUE);
    const json_t *cpus = json_object_get(value, "cpus");
    const json_t *pages = json_object_get(value, "huge_pages");
    cell->cpu_count = (guint)json_array_size(cpus);
    cell->cpus = g_new0(guint, cell->cpu_count);
    for (guint i = 0; i < cell->cpu_count; i++) {
        cell->cpus[i] = (guint)json_integer_value(json_array_get(cpus, i));
    }
    cell->huge_page_kinds = (guint)MIN(json_array_size(pages), G_N_ELEMENTS(cell->huge_pages));
    for (guint i = 0; i < cell->huge_page_kinds; i++) {
        const json_t *kind = json_array_get(pages, i);
        cell->huge_pages[i].size_kib = (guint)json_integer_value(json_array_get(kind, 0));
        cell->huge_pages[i].count = (guint64)json_integer_value(json_array_get(kind, 1));
    }
    return cell;
}

static void
list_from_json(GPtrArray *list, gsize size, const Field *fields, const json_t *array)
{
    for (gsize i = 0; i < json_array_size(array); i++) {
        gpointer record = g_malloc0(size);
        read_fields(record, fields, json_array_get(array, i), TRUE);
        g_ptr_array_add(list, record);
    }
}

static BerthInventory *
inventory_from_json(const json_t *value)
{
    BerthInventory *inventory = berth_inventory_new();
    read_fields(inventory, inventory_fields, value, TRUE);
    const json_t *cells = json_object_get(value, "cells");
    for (gsize i = 0; i < json_array_size(cells); i++) {
        g_ptr_array_add(inventory->cells, cell_from_json(json_array_get(cells, i)));
    }
    list_from_json(inventory->devices, sizeof(BerthPciDevice), device_fields,
                   json_object_get(value, "devices"));
    list_from_json(inventory->networks, sizeof(BerthHostNetwork), network_fields,
                   json_object_get(value, "networks"));
    list_from_json(inventory->pools, sizeof(BerthHostPool), pool_fields,
                   json_object_get(value, "pools"));
    return inventory;
}

/** Fills in the empty @reply from @value. */
void
sim_reply_from_json(BerthHostReply *reply, const json_t *value)
{
    const json_t *inventory = json_object_get(value, "inventory");
    const json_t *domains = json_object_get(value, "domains");
    const json_t *volumes = json_object_get(value, "volumes");
    if (inventory != NULL) {
        reply->inventory = inventory_from_json(inventory);
    }
    if (domains != NULL) {
        reply->domains = g_ptr_array_new_with_free_func((GDestroyNotify)berth_domain_free);
        for (gsize i = 0; i < json_array_size(domains); i++) {
            g_ptr_array_add(reply->domains, domain_from_json(json_array_get(domains, i)));
        }
    }
    if (volumes != NULL) {
        reply->volumes = g_ptr_array_new_with_free_func((GDestroyNotify)berth_volume_free);
        list_from_json(reply->volumes, sizeof(BerthVolume), volume_fields, volumes);
    }
    reply->text = g_strdup(json_string_value(json_object_get(value, "text")));
}
