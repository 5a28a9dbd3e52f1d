/* Image index, manifest and configuration documents (OCI and Docker), read strictly. */
#pragma once

#include "images/reference.h"

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* Limits of what a registry or archive may send us. */
#define BERTH_MANIFEST_SIZE_MAX (4 * 1024 * 1024)
#define BERTH_MANIFEST_DEPTH_MAX 8
#define BERTH_MANIFEST_LAYERS_MAX 256
#define BERTH_MANIFEST_ENTRIES_MAX 1024 /* of an index */
#define BERTH_INDEX_DEPTH_MAX 3         /* index in index */

#define BERTH_MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define BERTH_MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define BERTH_MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define BERTH_MEDIA_OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define BERTH_MEDIA_DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define BERTH_MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

/* The platform whose images Berth runs. */
#define BERTH_PLATFORM_OS "linux"
#define BERTH_PLATFORM_ARCHITECTURE "amd64"

typedef struct {
    BerthDigest digest;
    guint64 size;
    char *media_type; /* owned */
} BerthDescriptor;

typedef enum { BERTH_MANIFEST_IMAGE, BERTH_MANIFEST_INDEX } BerthManifestType;

typedef struct {
    BerthManifestType type;
    BerthDescriptor config; /* IMAGE */
    GPtrArray *layers;      /* IMAGE: owned, of BerthDescriptor, lowest first */
    BerthDescriptor chosen; /* INDEX: the entry for our platform */
} BerthManifest;

/* What an image says about how it wants to be run. */
typedef struct {
    char **entrypoint, **cmd,
        **env;               /* owned; never NULL, maybe empty; env are NAME=value, names once */
    char *user;              /* owned; "" or as the image says: NAME[:GROUP] or UID[:GID] */
    char *workdir;           /* owned; absolute, without . and .. */
    char *stop_signal;       /* owned; "SIGTERM" when the image says nothing */
    char **exposed_ports;    /* owned; "80/tcp" */
    json_t *labels;          /* owned; an object of strings */
    GArray *diff_ids;        /* owned; of BerthDigest, lowest layer first */
    char *os, *architecture; /* owned */
} BerthImageConfig;

BerthManifest *berth_manifest_parse(const char *data, gsize size, const char *content_type,
                                    GError **error);
void berth_manifest_free(BerthManifest *manifest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthManifest, berth_manifest_free)

BerthDescriptor *berth_descriptor_new(const BerthDigest *digest, guint64 size,
                                      const char *media_type);
void berth_descriptor_free(BerthDescriptor *descriptor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthDescriptor, berth_descriptor_free)

BerthImageConfig *berth_image_config_parse(const char *data, gsize size, GError **error);
gboolean berth_image_config_check(const BerthImageConfig *config, guint layers, GError **error);
json_t *berth_image_config_to_json(const BerthImageConfig *config);
BerthImageConfig *berth_image_config_copy(const BerthImageConfig *config);
void berth_image_config_free(BerthImageConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthImageConfig, berth_image_config_free)

G_END_DECLS
