/* What the daemon asks of images: pull, load, open, convert, import a disk, delete, collect.
 *
 * Every function here blocks and is meant for a worker thread; all are thread-safe on one BerthBlobs.
 * All can be interrupted at any step, by their GCancellable or by the death of the process: nothing
 * half done is ever visible, the next call resumes or cleans. */
#pragma once

#include "images/blobs.h"
#include "images/manifest.h"
#include "images/registry.h"
#include "images/rootfs.h"

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    BERTH_IMAGE_RESOLVING,   /* asking the registry what the reference means */
    BERTH_IMAGE_DOWNLOADING, /* bytes of layers, of their sum */
    BERTH_IMAGE_CONVERTING,  /* bytes of layers read for the squashfs */
    BERTH_IMAGE_DONE,
} BerthImageStep;

typedef struct {
    BerthImageStep step;
    guint64 done, total; /* bytes; total 0: not known yet */
} BerthImageProgress;

/* Called on the calling thread, at most five times a second and once at the end of each step. */
typedef void (*BerthImageProgressFunc)(const BerthImageProgress *progress, gpointer user_data);

typedef struct {
    BerthRegistryOptions registry;
    BerthImageBudget budget;
    BerthImageProgressFunc progress; /* may be NULL */
    gpointer progress_data;
} BerthImageOptions;

/* An image that is ready to be given to hosts. While this lives, its files are not collected. */
typedef struct {
    char *reference; /* owned; canonical, "docker.io/library/busybox:latest"; NULL: none known */
    BerthDigest manifest; /* names the image; the root to give to berth_image_gc() */
    BerthDigest config_digest;
    BerthImageConfig *config; /* owned */
    BerthDescriptor *layers;  /* owned, layer_count of them, lowest first */
    guint layer_count;
    guint64 layers_size; /* bytes as downloaded */
    BerthDigest squashfs;
    char *squashfs_path;   /* owned; absolute when the cache's folder is; read-only file */
    guint64 squashfs_size; /* bytes, a multiple of 4096 */
    BerthBlobs *blobs;     /* owned reference; holds the pins */
} BerthImageResult;

void berth_image_result_free(BerthImageResult *result);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthImageResult, berth_image_result_free)
char *berth_image_result_digest(const BerthImageResult *result);
char *berth_image_result_squashfs_digest(const BerthImageResult *result);

gboolean berth_image_pull(BerthBlobs *blobs, const char *reference,
                          const BerthImageOptions *options, GCancellable *cancellable,
                          BerthImageResult **result, GError **error);
gboolean berth_image_load(BerthBlobs *blobs, const char *path, const BerthImageOptions *options,
                          GCancellable *cancellable, GPtrArray **results, GError **error);
gboolean berth_image_load_fd(BerthBlobs *blobs, int fd, const BerthImageOptions *options,
                             GCancellable *cancellable, GPtrArray **results, GError **error);
gboolean berth_image_open(BerthBlobs *blobs, const char *manifest_digest,
                          const BerthImageOptions *options, GCancellable *cancellable,
                          BerthImageResult **result, GError **error);

gboolean berth_image_delete(BerthBlobs *blobs, const char *digest, const char *const *roots,
                            guint64 *freed, GError **error);
gboolean berth_image_gc(BerthBlobs *blobs, const char *const *roots, guint64 *freed,
                        GError **error);

/* A VM's disk image in the cache. While this lives, its file is not collected. */
typedef struct {
    BerthDigest digest;   /* of the content; the root to give to berth_image_gc() */
    char *path;           /* owned; read-only file */
    const char *format;   /* static; "qcow2" or "raw" */
    guint64 size;         /* bytes of the file */
    guint64 virtual_size; /* bytes the guest sees */
    BerthBlobs *blobs;    /* owned reference; holds the pin */
} BerthDiskResult;

void berth_disk_result_free(BerthDiskResult *result);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthDiskResult, berth_disk_result_free)

gboolean berth_image_import_disk(BerthBlobs *blobs, int fd, const char *format, guint64 size_max,
                                 GCancellable *cancellable, BerthDiskResult **result,
                                 GError **error);
gboolean berth_image_finish_disk(BerthBlobs *blobs, BerthBlobWriter *writer, const char *format,
                                 GCancellable *cancellable, BerthDiskResult **result,
                                 GError **error);
gboolean berth_image_open_disk(BerthBlobs *blobs, const char *digest, const char *format,
                               GCancellable *cancellable, BerthDiskResult **result, GError **error);

G_END_DECLS
