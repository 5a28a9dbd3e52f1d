/* Layers to one squashfs, in two passes and without unpacking. */
#pragma once

#include "images/blobs.h"
#include "images/manifest.h"

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/* Changes whenever the same layers would give other bytes. */
#define BERTH_ROOTFS_VERSION 1

/* What one image may cost. 0 means the default. */
typedef struct {
    guint64 entries_max; /* files and folders that are read, all layers: 1,000,000 */
    guint64 content_max; /* bytes of one image unpacked: 64 GiB */
    guint64 memory_max;  /* bytes of the merged tree: 512 MiB */
    guint ratio_max;     /* unpacked bytes for one packed byte, beyond the first 64 MiB: 250 */
    guint deadline_s;    /* for the whole conversion: 3600 */
    guint depth_max;     /* folders above a file: 256 */
    guint jobs;          /* threads of the compressor: 2 */
} BerthImageBudget;

/* Bytes of packed layers read, of twice their sum. On the converting thread. */
typedef void (*BerthRootfsProgressFunc)(guint64 done, guint64 total, gpointer user_data);

gboolean berth_rootfs_find(BerthBlobs *blobs, const GArray *diff_ids, BerthDigest *squashfs,
                           guint64 *size);
gboolean berth_rootfs_convert(BerthBlobs *blobs, const GPtrArray *layers, const GArray *diff_ids,
                              const BerthImageBudget *budget, BerthRootfsProgressFunc progress,
                              gpointer user_data, GCancellable *cancellable, BerthDigest *squashfs,
                              guint64 *size, GError **error);
gboolean berth_rootfs_forget_missing(BerthBlobs *blobs, GError **error);
char *berth_rootfs_path(BerthBlobs *blobs, const BerthDigest *squashfs);

G_END_DECLS
