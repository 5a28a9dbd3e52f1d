/* Address: who has which IP, hidden from the API. One object an address, its name made of network and
 * IP, so that the store refuses a second owner. And arithmetic on addresses. */
#include "model/address.h"

#include <arpa/inet.h>
#include <string.h>

#include "model/kinds.h"

/** Returns: whether @text is an IPv4 or IPv6 address, then in @ip. */
gboolean
berth_ip_parse(const char *text, BerthIp *ip)
{
    memset(ip, 0, sizeof *ip);
    ip->length = strchr(text, ':') != NULL ? 16 : 4;
    return inet_pton(ip->length == 4 ? AF_INET : AF_INET6, text, ip->bytes) == 1;
}

/** Returns: (transfer full): @ip as text. */
char *
berth_ip_format(const BerthIp *ip)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(ip->length == 4 ? AF_INET : AF_INET6, ip->bytes, text, sizeof text);
    return g_strdup(text);
}

int
berth_ip_compare(const BerthIp *a, const BerthIp *b)
{
    return a->length != b->length ? (a->length < b->length ? -1 : 1)
                                  : memcmp(a->bytes, b->bytes, a->length);
}

gboolean
berth_ip_next(BerthIp *ip)
{
    BerthIp next = *ip;
    for (gsize i = next.length; i > 0; i--) {
        if (++next.bytes[i - 1] != 0) {
            *ip = next;
            return TRUE;
        }
    }
    return FALSE;
}

/** Returns: whether @text is ADDRESS/PREFIX; @ip is the address as written, host bits kept. */
gboolean
berth_cidr_parse(const char *text, BerthIp *ip, guint *prefix)
{
    if (!berth_format_check(BERTH_FORMAT_CIDR, text, NULL)) {
        return FALSE;
    }
    const char *slash = strchr(text, '/');
    g_autofree char *address = g_strndup(text, (gsize)(slash - text));
    *prefix = (guint)g_ascii_strtoull(slash + 1, NULL, 10);
    return berth_ip_parse(address, ip);
}

gboolean
berth_cidr_contains(const BerthIp *network, guint prefix, const BerthIp *ip)
{
    if (network->length != ip->length) {
        return FALSE;
    }
    for (guint bit = 0; bit < prefix; bit++) {
        guint8 mask = (guint8)(0x80u >> (bit % 8));
        if ((network->bytes[bit / 8] & mask) != (ip->bytes[bit / 8] & mask)) {
            return FALSE;
        }
    }
    return TRUE;
}

gint64
berth_ip_count(const BerthIp *first, const BerthIp *last)
{
    if (first->length != last->length || berth_ip_compare(first, last) > 0) {
        return 0;
    }
    gint64 difference = 0; /* last - first, digit by digit; each may be negative */
    for (gsize i = 0; i < first->length; i++) {
        gint64 digit = (gint64)last->bytes[i] - first->bytes[i];
        if (__builtin_mul_overflow(difference, 256, &difference) ||
            __builtin_add_overflow(difference, digit, &difference)) {
            return G_MAXINT64;
        }
    }
    return difference == G_MAXINT64 ? difference : difference + 1;
}

char *
berth_address_name(const char *network, const char *ip)
{
    char *name = g_strconcat(network, ".", ip, NULL);
    for (char *c = name + strlen(network) + 1; *c != '\0'; c++) {
        *c = *c == '.' || *c == ':' ? '-' : g_ascii_tolower(*c);
    }
    return name;
}

static const BerthField spec_fields[] = {
    BERTH_FIELD(BerthAddressSpec, network, STRING, .required = TRUE, .format = BERTH_FORMAT_NAME,
                .mutability = BERTH_MUTABLE_NEVER, .doc = "Network the address is of."),
    BERTH_FIELD(BerthAddressSpec, ip, STRING, .required = TRUE, .format = BERTH_FORMAT_IP,
                .mutability = BERTH_MUTABLE_NEVER, .doc = "The address."),
    BERTH_FIELD(BerthAddressSpec, mac, STRING, .format = BERTH_FORMAT_MAC,
                .doc = "MAC address of the card that has it."),
    BERTH_FIELD(BerthAddressSpec, owner_uid, STRING, .required = TRUE, .format = BERTH_FORMAT_UUID,
                .doc = "Workload that has it."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("AddressSpec", BerthAddressSpec, spec_fields, "An address and its owner.");

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"IP", "/spec/ip"},
    {"MAC", "/spec/mac"},
    {"Owner", "/spec/owner_uid"},
    {NULL},
};

const BerthKind berth_kind_address = {
    .name = "Address",
    .plural = "addresses",
    .scope = BERTH_SCOPE_FLEET,
    .read_only = TRUE,
    .hidden = TRUE,
    .spec = &spec_schema,
    .columns = columns,
    .doc = "Who has which address of a Network; Berth's own record.",
};
