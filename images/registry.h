/* A client of the OCI distribution protocol that trusts nothing it is told. */
#pragma once

#include "images/manifest.h"

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/* How to reach registries. Strings are borrowed for the time of the call; 0 and NULL mean the default. */
typedef struct {
    const char *docker_config;   /* a file like ~/.docker/config.json, mode 0600; NULL: anonymous */
    const char *ca_file;         /* PEM bundle of authorities, instead of the system's */
    const char *proxy;           /* "http://host:port"; the environment is never read */
    const char *const *insecure; /* "host[:port]" that may speak plain http; loopback always may */
    const char *const *mirrors;  /* "docker.io=https://mirror.example", asked before the registry */
    const char *const
        *token_hosts;         /* "registry=host" that may see this registry's credentials too */
    guint parallel;           /* layers at once; 3 */
    guint redirects_max;      /* 5 */
    guint connect_timeout_ms; /* 15000 */
    guint low_speed_bytes, low_speed_s; /* slower than 1024 B/s for 30 s is given up */
    guint small_deadline_s;             /* manifests, tokens: 60 */
    guint attempts;                     /* per blob, resuming where it was cut; 3 */
    gsize header_bytes_max;             /* of one answer; 64 KiB */
    guint64 blob_size_max;              /* 32 GiB */
    guint64 image_size_max;             /* sum of layers; 64 GiB */
} BerthRegistryOptions;

/* One image's conversation with one registry. Used by one thread at a time. */
typedef struct BerthRegistry BerthRegistry;

/* Takes @size bytes that lie at @offset of the blob; FALSE ends the transfer with @error. */
typedef gboolean (*BerthRegistrySink)(const void *data, gsize size, gpointer user_data,
                                      GError **error);

BerthRegistry *berth_registry_new(const BerthReference *reference,
                                  const BerthRegistryOptions *options, GError **error);
BerthRegistry *berth_registry_copy(const BerthRegistry *registry);
void berth_registry_free(BerthRegistry *registry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthRegistry, berth_registry_free)

gboolean berth_registry_get_manifest(BerthRegistry *registry, const char *tag_or_digest,
                                     const BerthDigest *expected, GCancellable *cancellable,
                                     char **data, gsize *size, char **content_type, GError **error);
gboolean berth_registry_get_blob(BerthRegistry *registry, const BerthDescriptor *blob,
                                 guint64 offset, BerthRegistrySink sink, gpointer user_data,
                                 gboolean *restarted, GCancellable *cancellable, GError **error);

G_END_DECLS
