/* IP addresses as numbers: what Networks and the assignment of addresses calculate with. Pure. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Network byte order; @length is 4 (IPv4) or 16 (IPv6). */
typedef struct {
    guint8 bytes[16];
    gsize length;
} BerthIp;

gboolean berth_ip_parse(const char *text, BerthIp *ip);
char *berth_ip_format(const BerthIp *ip);
/* Less than, equal to or greater than 0; IPv4 sorts before IPv6. */
int berth_ip_compare(const BerthIp *a, const BerthIp *b);
/* The next address; FALSE (and unchanged) at the last one of the family. */
gboolean berth_ip_next(BerthIp *ip);
gboolean berth_cidr_parse(const char *text, BerthIp *ip, guint *prefix);
gboolean berth_cidr_contains(const BerthIp *network, guint prefix, const BerthIp *ip);
/* How many addresses are in first..last, both counted; at most G_MAXINT64. 0 when they don't match. */
gint64 berth_ip_count(const BerthIp *first, const BerthIp *last);
/* Name of the Address object of @ip in @network: "<network>.<ip with - for . and :>". */
char *berth_address_name(const char *network, const char *ip);

G_END_DECLS
