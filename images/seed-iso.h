/* The small CD that tells cloud-init who a VM is (NoCloud, volume id "cidata"). */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define BERTH_SEED_USER_DATA_MAX (1024 * 1024)
#define BERTH_SEED_NETWORK_CONFIG_MAX (64 * 1024)

/* All strings are borrowed for the time of the call. */
typedef struct {
    const char *instance_id;    /* changes when cloud-init shall run again; the VM's uid */
    const char *hostname;       /* a DNS name */
    const char *user_data;      /* opaque, may be NULL */
    gsize user_data_size;       /* bytes */
    const char *network_config; /* opaque, may be NULL: cloud-init's default (DHCP) */
} BerthSeed;

GBytes *berth_seed_iso_build(const BerthSeed *seed, GError **error);
gboolean berth_seed_iso_write(const BerthSeed *seed, int dirfd, const char *path, GError **error);

G_END_DECLS
