/* Network: a libvirt network or bridge that each host has, and the addresses Berth may assign. */
#include "base/error.h"
#include "model/address.h"
#include "model/kinds.h"

#define NETWORK(member, kind, ...) BERTH_FIELD(BerthNetworkSpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    NETWORK(libvirt, STRING, .format = BERTH_FORMAT_LIBVIRT, .mutability = BERTH_MUTABLE_NEVER,
            .doc = "Name of the libvirt network on each host; or bridge is given."),
    NETWORK(bridge, STRING, .format = BERTH_FORMAT_DEVICE, .mutability = BERTH_MUTABLE_NEVER,
            .doc = "Name of the existing bridge on each host; or libvirt is given."),
    NETWORK(cidr, STRING, .format = BERTH_FORMAT_CIDR, .mutability = BERTH_MUTABLE_NEVER,
            .doc = "The subnet, as 192.168.122.0/24."),
    NETWORK(range_start, STRING, .format = BERTH_FORMAT_IP,
            .doc = "First address that Berth may assign; keep the range outside any DHCP range."),
    NETWORK(range_end, STRING, .format = BERTH_FORMAT_IP,
            .doc = "Last address that Berth may assign."),
    NETWORK(gateway, STRING, .format = BERTH_FORMAT_IP, .doc = "Default route that guests get."),
    NETWORK(dns, STRINGS, .format = BERTH_FORMAT_IP, .maximum = 8,
            .doc = "Name servers that guests get; without them the gateway."),
    NETWORK(dhcp, BOOL, .mutability = BERTH_MUTABLE_NEVER,
            .doc = "Addresses come from somebody's DHCP server; Berth assigns none."),
};
static const BerthSchema spec_schema = BERTH_SCHEMA("NetworkSpec", BerthNetworkSpec, spec_fields,
                                                    "Where it is and what may be assigned.");

static const BerthField status_fields[] = {
    BERTH_FIELD(BerthNetworkStatus, assigned, INT, .doc = "Addresses that workloads have."),
    BERTH_FIELD(BerthNetworkStatus, free_addresses, INT, .doc = "Addresses left in the range."),
    BERTH_FIELD(BerthNetworkStatus, conditions, OBJECTS, .schema = &berth_condition_schema,
                .doc = "Claims about it."),
};
static const BerthSchema status_schema = BERTH_SCHEMA(
    "NetworkStatus", BerthNetworkStatus, status_fields, "What is used of the network.");

static gboolean
fail(GError **error, const char *place, const char *message)
{
    berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL, "%s", message);
    return FALSE;
}

/* Whether @text (NULL: nothing said) is an address of the subnet. */
static gboolean
check_inside(const BerthNetworkSpec *network, const char *text, const char *place, GError **error)
{
    BerthIp subnet, ip;
    guint prefix;
    if (text == NULL || (berth_cidr_parse(network->cidr, &subnet, &prefix) &&
                         berth_ip_parse(text, &ip) && berth_cidr_contains(&subnet, prefix, &ip))) {
        return TRUE;
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL, "%s is not in %s", text,
                       network->cidr);
    return FALSE;
}

static gboolean
check_range(const BerthNetworkSpec *network, GError **error)
{
    BerthIp first, last;
    if ((network->range_start == NULL) != (network->range_end == NULL)) {
        return fail(error, network->range_start == NULL ? "/spec/range_start" : "/spec/range_end",
                    "a range has a start and an end");
    }
    if (network->range_start == NULL) {
        return TRUE;
    }
    if (network->dhcp) {
        return fail(error, "/spec/dhcp", "with dhcp Berth assigns nothing; leave out the range");
    }
    if (network->cidr == NULL) {
        return fail(error, "/spec/cidr", "is required with a range");
    }
    if (!check_inside(network, network->range_start, "/spec/range_start", error) ||
        !check_inside(network, network->range_end, "/spec/range_end", error)) {
        return FALSE;
    }
    berth_ip_parse(network->range_start, &first);
    berth_ip_parse(network->range_end, &last);
    return berth_ip_compare(&first, &last) <= 0 ||
           fail(error, "/spec/range_end", "the range ends before it starts");
}

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthNetworkSpec *network = object->spec_data;
    if ((network->libvirt == NULL) == (network->bridge == NULL)) {
        return fail(error, "/spec", "exactly one of libvirt and bridge must be given");
    }
    if (network->bridge != NULL && network->range_start == NULL && !network->dhcp) {
        return fail(error, "/spec",
                    "a bridge needs a range to assign from (cidr, range_start, "
                    "range_end), or dhcp: true");
    }
    return check_range(network, error) &&
           (network->cidr == NULL ||
            check_inside(network, network->gateway, "/spec/gateway", error));
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"On hosts", "/spec/libvirt|/spec/bridge"},
    {"Subnet", "/spec/cidr"},
    {"Assigned", "/status/assigned"},
    {"Free", "/status/free_addresses"},
    {"Age", "/metadata/created"},
    {"First", "/spec/range_start", TRUE},
    {"Last", "/spec/range_end", TRUE},
    {"Gateway", "/spec/gateway", TRUE},
    {NULL},
};

const BerthKind berth_kind_network = {
    .name = "Network",
    .plural = "networks",
    .short_name = "net",
    .scope = BERTH_SCOPE_FLEET,
    .spec = &spec_schema,
    .status = &status_schema,
    .columns = columns,
    .validate = validate,
    .doc = "A network that guests have cards in.",
};
