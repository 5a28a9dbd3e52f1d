/* The address of a host, taken apart. Pure; any thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    BERTH_TRANSPORT_LOCAL, /* this machine's own libvirtd, or with .socket one that tests made */
    BERTH_TRANSPORT_SSH,
    BERTH_TRANSPORT_TLS,
    BERTH_TRANSPORT_TCP, /* in the clear: for tests */
    BERTH_TRANSPORT_SIM, /* a simulated host: for tests */
} BerthTransport;

typedef struct {
    BerthTransport transport;
    char *user, *host; /* owned; NULL: none. An IPv6 address stands without brackets */
    guint port;        /* 0: the transport's own */
    gboolean session;  /* the user's libvirtd, not the system's */
    char *socket;      /* owned; NULL: none; for tests */
} BerthHostUri;

BerthHostUri *berth_host_uri_parse(const char *text, GError **error);
void berth_host_uri_free(BerthHostUri *uri);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthHostUri, berth_host_uri_free)

G_END_DECLS
