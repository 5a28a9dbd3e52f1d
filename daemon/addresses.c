/* Assignment of MAC and IPv4 addresses. Invariant: one Address record per (network, ip), put with the
 * condition ABSENT in the same transaction as the placement: of two that want the same address one
 * commits, the other looks again. Main loop only. */
#include "daemon/addresses.h"

#include "base/error.h"
#include "base/json.h"
#include "model/address.h"

#include <string.h>

#define RANGE_MAX 65536

/** Returns: (transfer full): the MAC of card number @card of the workload @uid; locally administered. */
char *
berth_mac_for(const char *uid, guint card)
{
    g_autofree char *text = g_strdup_printf("%s/%u", uid, card);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    return g_strdup_printf("52:54:00:%.2s:%.2s:%.2s", sum, sum + 2, sum + 4);
}

/** Returns: (nullable): the spec of the Network @name, borrowed from the catalog. */
const BerthNetworkSpec *
berth_addresses_network(BerthCatalog *catalog, const char *project, const char *name)
{
    BerthObject *network = berth_catalog_get(catalog, &berth_kind_network, NULL, name);
    return network != NULL && network->deleting == NULL ? network->spec_data : NULL;
}

/** Returns: the prefix length of the network's CIDR; 24 when it has none. */
guint
berth_network_prefix_length(const BerthNetworkSpec *network)
{
    const char *slash = network->cidr != NULL ? strchr(network->cidr, '/') : NULL;
    guint64 length = 24;
    if (slash != NULL) {
        g_ascii_string_to_unsigned(slash + 1, 10, 0, 32, &length, NULL);
    }
    return (guint)length;
}

static gboolean
is_taken(BerthCatalog *catalog, const char *network, const char *ip, GHashTable *mine)
{
    g_autofree char *name = berth_address_name(network, ip);
    return g_hash_table_contains(mine, name) ||
           berth_catalog_get(catalog, &berth_kind_address, NULL, name) != NULL;
}

static char *
find_free(BerthCatalog *catalog, const char *name, const BerthNetworkSpec *network,
          GHashTable *mine, GError **error)
{
    BerthIp ip, last;
    if (!berth_ip_parse(network->range_start, &ip) || network->range_end == NULL ||
        !berth_ip_parse(network->range_end, &last)) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "network '%s' has no usable range for addresses", name);
        return NULL;
    }
    guint tried = 0;
    do {
        g_autofree char *text = berth_ip_format(&ip);
        if (g_strcmp0(text, network->gateway) != 0 && !is_taken(catalog, name, text, mine)) {
            return g_steal_pointer(&text);
        }
    } while (++tried < RANGE_MAX && berth_ip_compare(&ip, &last) < 0 && berth_ip_next(&ip));
    berth_error_set_at(error, BERTH_ERROR_EXHAUSTED, NULL, "widen range_start to range_end",
                       "network '%s' has no free address left of %u", name, tried);
    return NULL;
}

static void
add_record(BerthCatalog *catalog, BerthTransaction *transaction, const char *network,
           const char *ip, const char *mac, const char *uid, const char *created)
{
    g_autofree char *name = berth_address_name(network, ip);
    json_t *spec = json_pack("{s:s, s:s, s:s, s:s}", "network", network, "ip", ip, "mac", mac,
                             "owner_uid", uid);
    g_autoptr(BerthObject) record =
        berth_object_make(&berth_kind_address, "", name, spec, created, NULL);
    json_decref(spec);
    if (record != NULL) {
        berth_catalog_add_body(transaction, record, BERTH_STORE_ABSENT);
    }
}

static gboolean
assign_card(BerthCatalog *catalog, const BerthObject *workload, const BerthNic *card, guint index,
            GHashTable *mine, BerthTransaction *transaction, json_t *cards, GError **error)
{
    const BerthNetworkSpec *network =
        berth_addresses_network(catalog, workload->project, card->network);
    if (network == NULL) {
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, "/spec/networks", "berth network list",
                           "no network '%s'", card->network);
        return FALSE;
    }
    g_autofree char *mac =
        card->mac != NULL ? g_strdup(card->mac) : berth_mac_for(workload->uid, index);
    g_autofree char *ip = g_strdup(card->ip);
    if (ip == NULL && !network->dhcp && network->range_start != NULL) {
        ip = find_free(catalog, card->network, network, mine, error);
        if (ip == NULL) {
            return FALSE;
        }
    }
    if (ip != NULL) {
        if (card->ip != NULL && is_taken(catalog, card->network, ip, mine)) {
            berth_error_set_at(error, BERTH_ERROR_EXISTS, "/spec/networks", NULL,
                               "address %s of network '%s' is taken", ip, card->network);
            return FALSE;
        }
        g_hash_table_add(mine, berth_address_name(card->network, ip));
        add_record(catalog, transaction, card->network, ip, mac, workload->uid, workload->created);
    }
    json_array_append_new(
        cards, json_pack("{s:s, s:s, s:s*}", "network", card->network, "mac", mac, "ip", ip));
    return TRUE;
}

static void
add_network(BerthCatalog *catalog, const BerthObject *workload, const char *name, GPtrArray *names)
{
    const BerthNetworkSpec *network = berth_addresses_network(catalog, workload->project, name);
    if (network != NULL && network->libvirt != NULL) {
        g_ptr_array_add(names, network->libvirt);
    }
}

/** Returns: (transfer container): the libvirt networks that its host must have; names borrowed. */
GPtrArray *
berth_addresses_networks(BerthCatalog *catalog, const BerthObject *workload)
{
    const GPtrArray *wanted = berth_workload_of(workload)->networks;
    GPtrArray *names = g_ptr_array_new();
    if (wanted == NULL) {
        add_network(catalog, workload, "default", names);
    }
    for (guint i = 0; wanted != NULL && i < wanted->len; i++) {
        add_network(catalog, workload, ((const BerthNic *)wanted->pdata[i])->network, names);
    }
    return names;
}

/**
 * berth_addresses_assign:
 * @workload: without addresses yet
 * @transaction: gets the Address records that the assignment needs
 *
 * Returns: (transfer full): status.networks; NULL on NOT_FOUND (network), EXHAUSTED, EXISTS.
 */
json_t *
berth_addresses_assign(BerthCatalog *catalog, const BerthObject *workload,
                       BerthTransaction *transaction, GError **error)
{
    const GPtrArray *wanted = berth_workload_of(workload)->networks;
    g_autoptr(GHashTable) mine = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(json_t) cards = json_array();
    BerthNic fallback = {.network = (char *)"default"};
    if (wanted == NULL &&
        berth_addresses_network(catalog, workload->project, fallback.network) != NULL &&
        !assign_card(catalog, workload, &fallback, 0, mine, transaction, cards, error)) {
        return NULL;
    }
    for (guint i = 0; wanted != NULL && i < wanted->len; i++) {
        if (!assign_card(catalog, workload, wanted->pdata[i], i, mine, transaction, cards, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&cards);
}

/** Adds the deletion of every Address record of @workload to @transaction. */
void
berth_addresses_release(BerthCatalog *catalog, const BerthObject *workload,
                        BerthTransaction *transaction)
{
    const GPtrArray *cards = berth_workload_status_of(workload)->networks;
    for (guint i = 0; cards != NULL && i < cards->len; i++) {
        const BerthNicStatus *card = cards->pdata[i];
        g_autofree char *name =
            card->ip != NULL ? berth_address_name(card->network, card->ip) : NULL;
        BerthObject *record =
            name != NULL ? berth_catalog_get(catalog, &berth_kind_address, NULL, name) : NULL;
        if (record != NULL &&
            g_strcmp0(((BerthAddressSpec *)record->spec_data)->owner_uid, workload->uid) == 0) {
            berth_catalog_add_delete(transaction, record);
        }
    }
}
