/* How berthd gets into its hosts: its SSH key, the host keys that it trusts, and the URI that
 * libvirt gets. All of it is in the folder ssh/ of the state folder. Main loop only. */
#pragma once

#include "model/host-uri.h"

G_BEGIN_DECLS

typedef struct BerthHostAccess BerthHostAccess;

/**
 * BerthHostAccessOptions: strings borrowed during the call.
 * @state: the state folder
 * @pki: folder with cacert.pem, clientcert.pem and clientkey.pem for qemu+tls; NULL: libvirt's own
 * @test_hosts: lets private sockets, qemu+tcp and simulated hosts in
 */
typedef struct {
    const char *state, *pki;
    gboolean test_hosts;
} BerthHostAccessOptions;

BerthHostAccess *berth_host_access_new(const BerthHostAccessOptions *options, GError **error);
void berth_host_access_free(BerthHostAccess *access);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthHostAccess, berth_host_access_free)

const char *berth_host_access_public_key(const BerthHostAccess *access, GError **error);
gboolean berth_host_access_check(const BerthHostAccess *access, const BerthHostUri *uri,
                                 GError **error);
char *berth_host_access_uri(const BerthHostAccess *access, const char *spec, GError **error);
gboolean berth_host_access_trust(BerthHostAccess *access, const char *name, const BerthHostUri *uri,
                                 char **keys, GError **error);

/**
 * BerthHostKeysDone: on the main loop.
 * @keys: (nullable): "TYPE BASE64" lines, best first; borrowed; NULL on error
 */
typedef void (*BerthHostKeysDone)(char **keys, const GError *error, gpointer user_data);

void berth_host_access_scan(const BerthHostUri *uri, BerthHostKeysDone done, gpointer user_data);

G_END_DECLS
