/* The verbs on networks: starting them, and DHCP reservations in them. A reservation that is not exactly
 * what was asked for belongs to somebody else and is left alone. Workers only; may block.
 * Start at berth_virt_dhcp_reserve(). */
#include "drivers/host-libvirt-private.h"

#include "drivers/xml.h"

#include <stdlib.h>

static virNetworkPtr
find_network(BerthVirtLine *line, const char *name, GError **error)
{
    virNetworkPtr network = virNetworkLookupByName(line->connection, name != NULL ? name : "");
    if (network == NULL) {
        if (berth_virt_last_code() == VIR_ERR_NO_NETWORK) {
            berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no network '%s' on the host",
                            name);
        } else {
            berth_virt_error(error, "can't look for network '%s'", name);
        }
    }
    return network;
}

gboolean
berth_virt_network_ensure(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                          GError **error)
{
    g_autoptr(BerthVirNetwork) network = find_network(line, call->network, error);
    if (network == NULL) {
        return FALSE;
    }
    if (virNetworkIsActive(network) != 1 && virNetworkCreate(network) < 0 &&
        virNetworkIsActive(network) != 1) {
        berth_virt_error(error, "can't start network '%s'", call->network);
        return FALSE;
    }
    return TRUE;
}

typedef enum { RESERVATION_NONE, RESERVATION_SAME, RESERVATION_OTHER } Reservation;

static Reservation
compare_hosts(const xmlNode *dhcp, const BerthHostCall *call)
{
    const xmlNode *host = berth_xml_child(dhcp, "host");
    for (; host != NULL; host = berth_xml_next(host, "host")) {
        g_autofree char *mac = berth_xml_attribute(host, "mac");
        gboolean same_mac = mac != NULL && g_ascii_strcasecmp(mac, call->mac) == 0;
        gboolean same_ip = berth_xml_attribute_is(host, "ip", call->ip);
        if (same_mac || same_ip) {
            return same_mac && same_ip ? RESERVATION_SAME : RESERVATION_OTHER;
        }
    }
    return RESERVATION_NONE;
}

static gboolean
find_reservation(virNetworkPtr network, const BerthHostCall *call, Reservation *found,
                 GError **error)
{
    char *xml = virNetworkGetXMLDesc(network, 0);
    if (xml == NULL) {
        berth_virt_error(error, "can't read network '%s'", call->network);
        return FALSE;
    }
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "network", error);
    free(xml);
    if (document == NULL) {
        return FALSE;
    }
    *found = RESERVATION_NONE;
    const xmlNode *ip = berth_xml_child(xmlDocGetRootElement(document), "ip");
    for (; ip != NULL && *found == RESERVATION_NONE; ip = berth_xml_next(ip, "ip")) {
        *found = compare_hosts(berth_xml_child(ip, "dhcp"), call);
    }
    return TRUE;
}

static gboolean
update_host(virNetworkPtr network, const BerthHostCall *call, unsigned int command, GError **error)
{
    g_autoptr(BerthXml) document = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *root = xmlNewDocNode(document, NULL, (const xmlChar *)"host", NULL);
    xmlDocSetRootElement(document, root);
    berth_xml_set(root, "mac", call->mac);
    berth_xml_set(root, "ip", call->ip);
    if (call->name != NULL) {
        berth_xml_set(root, "name", call->name);
    }
    g_autofree char *xml = berth_xml_format(root);
    unsigned int flags = VIR_NETWORK_UPDATE_AFFECT_CONFIG;
    if (virNetworkIsActive(network) == 1) {
        flags |= VIR_NETWORK_UPDATE_AFFECT_LIVE;
    }
    if (virNetworkUpdate(network, command, VIR_NETWORK_SECTION_IP_DHCP_HOST, -1, xml, flags) < 0) {
        berth_virt_error(error, "can't change the reservation of '%s' in network '%s'", call->mac,
                         call->network);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_addresses(const BerthHostCall *call, GError **error)
{
    if (call->mac == NULL || call->ip == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "a reservation needs a MAC and an IP address");
        return FALSE;
    }
    return TRUE;
}

gboolean
berth_virt_dhcp_reserve(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                        GError **error)
{
    Reservation found;
    g_autoptr(BerthVirNetwork) network =
        check_addresses(call, error) ? find_network(line, call->network, error) : NULL;
    if (network == NULL || !find_reservation(network, call, &found, error)) {
        return FALSE;
    }
    if (found == RESERVATION_OTHER) {
        berth_error_set(error, BERTH_ERROR_EXISTS,
                        "network '%s' has another reservation for '%s' or '%s'", call->network,
                        call->mac, call->ip);
        return FALSE;
    }
    return found == RESERVATION_SAME ||
           update_host(network, call, VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, error);
}

gboolean
berth_virt_dhcp_release(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                        GError **error)
{
    Reservation found;
    g_autoptr(GError) problem = NULL;
    g_autoptr(BerthVirNetwork) network =
        check_addresses(call, error) ? find_network(line, call->network, &problem) : NULL;
    if (network == NULL) {
        if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
            return TRUE;
        }
        if (problem != NULL) {
            g_propagate_error(error, g_steal_pointer(&problem));
        }
        return FALSE;
    }
    if (!find_reservation(network, call, &found, error)) {
        return FALSE;
    }
    return found != RESERVATION_SAME ||
           update_host(network, call, VIR_NETWORK_UPDATE_COMMAND_DELETE, error);
}
