/* Which PCI devices of a host are offered to guests, and which guest has which.
 *
 * The scheduler knows them as slots by number; here they have addresses. Invariant: a slot keeps its number and address
 * while the ledger lives, so that charges stay on the devices they are for when a host lists others. A device that is
 * not offered any more has a class that nobody can ask for. Start at ledger_devices_offer(). */
#include "daemon/ledger-private.h"

#include <string.h>

#include "base/json.h"

/* Not a name, so no request has it. */
#define NO_CLASS "-"

typedef struct {
    char *address, *class; /* owned */
    int iommu_group;
    int numa_cell; /* libvirt's number; -1: unknown */
    guint8 cell;   /* its place in the inventory */
} Slot;

typedef struct {
    char *host;       /* owned */
    char **addresses; /* owned */
} Held;

struct LedgerDevices {
    GHashTable *hosts; /* name -> GPtrArray* of Slot*, owned */
    GHashTable *held;  /* uid -> Held*, owned */
};

static void
free_slot(gpointer data)
{
    Slot *slot = data;
    g_free(slot->address);
    g_free(slot->class);
    g_free(slot);
}

static void
free_held(gpointer data)
{
    Held *held = data;
    g_free(held->host);
    g_strfreev(held->addresses);
    g_free(held);
}

LedgerDevices *
ledger_devices_new(void)
{
    LedgerDevices *devices = g_new(LedgerDevices, 1);
    devices->hosts =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    devices->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_held);
    return devices;
}

void
ledger_devices_free(LedgerDevices *devices)
{
    g_hash_table_unref(devices->hosts);
    g_hash_table_unref(devices->held);
    g_free(devices);
}

static void
hold(LedgerDevices *devices, const char *uid, const char *host, char **addresses)
{
    Held *held = g_new(Held, 1);
    *held = (Held){g_strdup(host), addresses};
    g_hash_table_replace(devices->held, g_strdup(uid), held);
}

static gpointer
copy_slot(gconstpointer data, gpointer unused)
{
    Slot *slot = g_memdup2(data, sizeof *slot);
    slot->address = g_strdup(slot->address);
    slot->class = g_strdup(slot->class);
    return slot;
}

/** Returns: (transfer full): a copy to try things on. */
LedgerDevices *
ledger_devices_copy(const LedgerDevices *devices)
{
    LedgerDevices *copy = ledger_devices_new();
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, devices->hosts);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        GPtrArray *slots = g_ptr_array_copy(value, copy_slot, NULL);
        g_ptr_array_set_free_func(slots, free_slot);
        g_hash_table_insert(copy->hosts, g_strdup(key), slots);
    }
    g_hash_table_iter_init(&iter, devices->held);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const Held *held = value;
        hold(copy, key, held->host, g_strdupv(held->addresses));
    }
    return copy;
}

/* ---- what a host offers ---------------------------------------------------------------------------- */

static gboolean
names(char **texts, const char *text)
{
    for (; texts != NULL && *texts != NULL; texts++) {
        if (g_ascii_strcasecmp(*texts, text) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static const char *
without_0x(const char *id)
{
    return id == NULL ? "" : g_str_has_prefix(id, "0x") ? id + 2 : id;
}

/* The class that @offers give @device, of an inventory; NULL: none. A guest gets it through VFIO, which needs a group. */
static const char *
find_class(const GPtrArray *offers, const json_t *device)
{
    const char *address = berth_json_string(device, "address");
    g_autofree char *id =
        g_strdup_printf("%s:%s", without_0x(berth_json_string(device, "vendor_id")),
                        without_0x(berth_json_string(device, "product_id")));
    for (guint i = 0; offers != NULL && address != NULL && i < offers->len; i++) {
        const BerthOfferSpec *offer = offers->pdata[i];
        if (names(offer->pci, address) || names(offer->ids, id)) {
            return offer->class;
        }
    }
    return NULL;
}

static gboolean
has_group(const json_t *device)
{
    return berth_json_integer(device, "iommu_group", -1) >= 0;
}

static gint
find_slot(const GPtrArray *slots, const char *address)
{
    for (guint i = 0; slots != NULL && address != NULL && i < slots->len; i++) {
        if (g_str_equal(((const Slot *)slots->pdata[i])->address, address)) {
            return (gint)i;
        }
    }
    return -1;
}

static guint8
find_cell(const json_t *inventory, int id)
{
    size_t i;
    json_t *cell;
    json_array_foreach (json_object_get(inventory, "cells"), i, cell) {
        if (berth_json_integer(cell, "id", -1) == id && i < BERTH_CELLS_MAX) {
            return (guint8)i;
        }
    }
    return BERTH_CELL_NONE;
}

static void
offer_device(GPtrArray *slots, const json_t *inventory, const json_t *device, const char *class)
{
    const char *address = berth_json_string(device, "address");
    gint at = find_slot(slots, address);
    if (at < 0 && slots->len == BERTH_HOST_DEVICES_MAX) {
        return;
    }
    if (at < 0) {
        Slot *fresh = g_new0(Slot, 1);
        fresh->address = g_strdup(address);
        g_ptr_array_add(slots, fresh);
        at = (gint)slots->len - 1;
    }
    Slot *slot = slots->pdata[at];
    g_free(slot->class);
    slot->class = g_strdup(class);
    slot->iommu_group = (int)berth_json_integer(device, "iommu_group", -1);
    slot->numa_cell = (int)berth_json_integer(device, "numa_cell", -1);
    slot->cell = find_cell(inventory, slot->numa_cell);
}

/**
 * ledger_devices_offer:
 * @inventory: of the Host's status; what it does not list is not offered
 * @offers: (nullable): its spec.devices
 */
void
ledger_devices_offer(LedgerDevices *devices, const char *host, const json_t *inventory,
                     const GPtrArray *offers)
{
    GPtrArray *slots = g_hash_table_lookup(devices->hosts, host);
    if (slots == NULL) {
        slots = g_ptr_array_new_with_free_func(free_slot);
        g_hash_table_insert(devices->hosts, g_strdup(host), slots);
    }
    for (guint i = 0; i < slots->len; i++) {
        Slot *slot = slots->pdata[i];
        g_free(slot->class);
        slot->class = g_strdup(NO_CLASS);
    }
    size_t i;
    json_t *device;
    json_array_foreach (json_object_get(inventory, "devices"), i, device) {
        const char *class = find_class(offers, device);
        if (class != NULL && has_group(device)) {
            offer_device(slots, inventory, device, class);
        }
    }
}

void
ledger_devices_remove_host(LedgerDevices *devices, const char *host)
{
    g_hash_table_remove(devices->hosts, host);
}

/** Returns: (transfer full): of BerthHostDevice, by slot; texts are borrowed until the next offer. */
GArray *
ledger_devices_list(const LedgerDevices *devices, const char *host)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(BerthHostDevice));
    const GPtrArray *slots = g_hash_table_lookup(devices->hosts, host);
    for (guint i = 0; slots != NULL && i < slots->len; i++) {
        const Slot *slot = slots->pdata[i];
        BerthHostDevice device = {
            .kind = slot->class, .cell = slot->cell, .iommu_group = slot->iommu_group};
        g_array_append_val(list, device);
    }
    return list;
}

/* ---- who has what -------------------------------------------------------------------------------------- */

/**
 * ledger_devices_take:
 *
 * Notes that @uid has the slots that the scheduler chose.
 *
 * Returns: (transfer full) (nullable): their addresses; NULL when it has none, or the host is only thought of
 */
json_t *
ledger_devices_take(LedgerDevices *devices, const char *uid, const BerthPlacement *placement,
                    const char *host)
{
    const GPtrArray *slots = g_hash_table_lookup(devices->hosts, host);
    if (slots == NULL || placement->n_devices == 0) {
        return NULL;
    }
    json_t *list = json_array();
    g_autoptr(GStrvBuilder) addresses = g_strv_builder_new();
    for (guint i = 0; i < placement->n_devices && placement->devices[i] < slots->len; i++) {
        const Slot *slot = slots->pdata[placement->devices[i]];
        g_strv_builder_add(addresses, slot->address);
        json_array_append_new(list, json_string(slot->address));
    }
    hold(devices, uid, host, g_strv_builder_end(addresses));
    return list;
}

/**
 * ledger_devices_recall:
 * @list: addresses of a record
 * @placement: gets their slots; those that the host has no more are left out
 */
void
ledger_devices_recall(LedgerDevices *devices, const char *uid, const char *host, const json_t *list,
                      BerthPlacement *placement)
{
    const GPtrArray *slots = g_hash_table_lookup(devices->hosts, host);
    g_autoptr(GStrvBuilder) addresses = g_strv_builder_new();
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *address = json_string_value(item);
        gint at = find_slot(slots, address);
        if (at >= 0 && placement->n_devices < BERTH_DEVICES_MAX) {
            placement->devices[placement->n_devices++] = (guint8)at;
        }
        if (address != NULL) {
            g_strv_builder_add(addresses, address);
        }
    }
    hold(devices, uid, host, g_strv_builder_end(addresses));
}

/**
 * ledger_devices_name:
 * @holding: a holding's JSON: its devices get addresses for their slots, which another life may number otherwise
 */
void
ledger_devices_name(const LedgerDevices *devices, const char *host, json_t *holding)
{
    const GPtrArray *slots = g_hash_table_lookup(devices->hosts, host);
    size_t i;
    json_t *device;
    json_array_foreach (json_object_get(holding, "devices"), i, device) {
        gint64 at = berth_json_integer(device, "slot", -1);
        if (slots != NULL && at >= 0 && at < slots->len) {
            const Slot *slot = slots->pdata[at];
            json_object_set_new(device, "address", json_string(slot->address));
            json_object_del(device, "slot");
        }
    }
}

/**
 * ledger_devices_find:
 * @holding: a holding's JSON: its devices get the slots that their addresses have in this life; -1 when the host has
 *   them no more
 *
 * Notes that @uid has them.
 */
void
ledger_devices_find(LedgerDevices *devices, const char *uid, const char *host, json_t *holding)
{
    const GPtrArray *slots = g_hash_table_lookup(devices->hosts, host);
    json_t *list = json_object_get(holding, "devices");
    g_autoptr(GStrvBuilder) addresses = g_strv_builder_new();
    size_t i;
    json_t *device;
    json_array_foreach (list, i, device) {
        const char *address = berth_json_string(device, "address");
        json_object_set_new(device, "slot", json_integer(find_slot(slots, address)));
        if (address != NULL) {
            g_strv_builder_add(addresses, address);
        }
    }
    if (json_array_size(list) > 0) {
        hold(devices, uid, host, g_strv_builder_end(addresses));
    }
}

void
ledger_devices_release(LedgerDevices *devices, const char *uid)
{
    g_hash_table_remove(devices->held, uid);
}

/* Addresses that somebody has on @host; borrowed texts. */
static GHashTable *
list_held(const LedgerDevices *devices, const char *host)
{
    GHashTable *set = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, devices->held);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Held *held = value;
        for (guint i = 0; g_str_equal(held->host, host) && held->addresses[i] != NULL; i++) {
            g_hash_table_add(set, held->addresses[i]);
        }
    }
    return set;
}

/* ---- what is told --------------------------------------------------------------------------------------- */

/* Free is what nobody has, nor anything else of its IOMMU group. */
static gboolean
is_free(const GPtrArray *slots, const Slot *slot, GHashTable *held)
{
    for (guint i = 0; i < slots->len; i++) {
        const Slot *other = slots->pdata[i];
        if (other->iommu_group == slot->iommu_group &&
            g_hash_table_contains(held, other->address)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void
add_problem(json_t *list, const char *class, const char *address, const char *problem)
{
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:s}", "class", class, "address", address, "problem", problem));
}

/* Of @offer, by address: what the host does not list. */
static void
add_absent(json_t *list, const BerthOfferSpec *offer, const json_t *inventory)
{
    for (guint i = 0; offer->pci != NULL && offer->pci[i] != NULL; i++) {
        gboolean listed = FALSE;
        size_t k;
        json_t *device;
        json_array_foreach (json_object_get(inventory, "devices"), k, device) {
            const char *address = berth_json_string(device, "address");
            listed |= address != NULL && g_ascii_strcasecmp(address, offer->pci[i]) == 0;
        }
        if (!listed) {
            add_problem(list, offer->class, offer->pci[i], "its libvirtd lists no such device");
        }
    }
}

/* Of what the host lists: what it offers and can't give. */
static void
add_withheld(json_t *list, const GPtrArray *offers, const GPtrArray *slots, const json_t *inventory)
{
    size_t i;
    json_t *device;
    json_array_foreach (json_object_get(inventory, "devices"), i, device) {
        const char *class = find_class(offers, device);
        const char *address = berth_json_string(device, "address");
        if (class != NULL && !has_group(device)) {
            add_problem(list, class, address,
                        "it has no IOMMU group: switch the IOMMU on, in firmware and kernel");
        } else if (class != NULL && find_slot(slots, address) < 0) {
            add_problem(list, class, address,
                        "a host offers at most " G_STRINGIFY(BERTH_HOST_DEVICES_MAX) " devices");
        }
    }
}

/**
 * berth_ledger_devices:
 * @host: a Host
 *
 * Returns: (transfer full) (nullable): its status.devices; NULL when its spec names none
 */
json_t *
berth_ledger_devices(const BerthFleetLedger *ledger, const BerthObject *host)
{
    const BerthHostSpec *spec = host->spec_data;
    const json_t *inventory = ((const BerthHostStatus *)host->status_data)->inventory;
    const GPtrArray *slots = g_hash_table_lookup(ledger->devices->hosts, host->name);
    if (spec->devices == NULL || spec->devices->len == 0) {
        return NULL;
    }
    json_t *list = json_array();
    g_autoptr(GHashTable) held = list_held(ledger->devices, host->name);
    for (guint i = 0; slots != NULL && i < slots->len; i++) {
        const Slot *slot = slots->pdata[i];
        if (!g_str_equal(slot->class, NO_CLASS)) {
            json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i, s:b}", "class", slot->class,
                                                  "address", slot->address, "iommu_group",
                                                  slot->iommu_group, "numa_cell", slot->numa_cell,
                                                  "free", is_free(slots, slot, held)));
        }
    }
    for (guint i = 0; inventory != NULL && i < spec->devices->len; i++) {
        add_absent(list, spec->devices->pdata[i], inventory);
    }
    add_withheld(list, spec->devices, slots, inventory);
    return list;
}

/**
 * berth_ledger_lost_device:
 * @host: what the Host shall be
 * @inventory: of the Host as it is
 *
 * Returns: (nullable): the address of a device that a guest has and @host offers no more under its class;
 * borrowed
 */
const char *
berth_ledger_lost_device(const BerthFleetLedger *ledger, const BerthObject *host,
                         const json_t *inventory)
{
    const GPtrArray *slots = g_hash_table_lookup(ledger->devices->hosts, host->name);
    g_autoptr(GHashTable) held = list_held(ledger->devices, host->name);
    size_t i;
    json_t *device;
    json_array_foreach (json_object_get(inventory, "devices"), i, device) {
        gint at = find_slot(slots, berth_json_string(device, "address"));
        const Slot *slot = at >= 0 ? slots->pdata[at] : NULL;
        const char *class = find_class(((BerthHostSpec *)host->spec_data)->devices, device);
        if (slot != NULL && g_hash_table_contains(held, slot->address) &&
            !g_str_equal(slot->class, NO_CLASS) && g_strcmp0(class, slot->class) != 0) {
            return slot->address;
        }
    }
    return NULL;
}
