/* The cache: files named by the sha256 of their content. */
#pragma once

#include "images/flight.h"
#include "images/reference.h"

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/**
 * BerthBlobs:
 *
 * A folder `blobs/sha256/<hex>` of complete, verified, read-only files, `partial/<hex>` of downloads
 * that were cut, `rootfs/` of converted images and `tmp/` of work in progress. One process owns it.
 * Thread-safe, reference-counted.
 */
typedef struct BerthBlobs BerthBlobs;

/* A blob being written; see berth_blob_writer_new(). Used by one thread. */
typedef struct BerthBlobWriter BerthBlobWriter;

typedef struct {
    guint64 quota_bytes;   /* the most the whole cache may hold; 0: no limit but the reserve */
    guint64 reserve_bytes; /* never leave less than this free on the file system */
} BerthBlobsOptions;

BerthBlobs *berth_blobs_open(const char *folder, const BerthBlobsOptions *options, GError **error);
BerthBlobs *berth_blobs_ref(BerthBlobs *blobs);
void berth_blobs_unref(BerthBlobs *blobs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthBlobs, berth_blobs_unref)

int berth_blobs_folder_fd(BerthBlobs *blobs);
const char *berth_blobs_folder(BerthBlobs *blobs);
char *berth_blobs_path(BerthBlobs *blobs, const BerthDigest *digest);

gboolean berth_blobs_has(BerthBlobs *blobs, const BerthDigest *digest, guint64 *size);
int berth_blobs_open_blob(BerthBlobs *blobs, const BerthDigest *digest, GError **error);
gboolean berth_blobs_read(BerthBlobs *blobs, const BerthDigest *digest, gsize limit, char **data,
                          gsize *size, GError **error);
gboolean berth_blobs_admit(BerthBlobs *blobs, guint64 bytes, GError **error);
void berth_blobs_release(BerthBlobs *blobs, guint64 bytes);
BerthFlights *berth_blobs_flights(BerthBlobs *blobs);

/* A pinned digest is never collected. Pins count, and end with the process. */
void berth_blobs_pin(BerthBlobs *blobs, const BerthDigest *digest);
void berth_blobs_unpin(BerthBlobs *blobs, const BerthDigest *digest);
void berth_blobs_discard(BerthBlobs *blobs, const BerthDigest *digest);

BerthBlobWriter *berth_blob_writer_new(BerthBlobs *blobs, const BerthDigest *expected,
                                       guint64 size_max, GError **error);
void berth_blob_writer_set_owner(BerthBlobWriter *writer, gconstpointer owner);
int berth_blob_writer_fd(const BerthBlobWriter *writer);
guint64 berth_blob_writer_offset(const BerthBlobWriter *writer);
gboolean berth_blob_writer_restart(BerthBlobWriter *writer, GError **error);
gboolean berth_blob_writer_append(BerthBlobWriter *writer, const void *data, gsize size,
                                  GError **error);
gboolean berth_blob_writer_finish(BerthBlobWriter *writer, guint64 expected_size,
                                  BerthDigest *digest, guint64 *size, GError **error);
void berth_blob_writer_free(BerthBlobWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthBlobWriter, berth_blob_writer_free)

gboolean berth_blobs_put(BerthBlobs *blobs, const void *data, gsize size, BerthDigest *digest,
                         GError **error);

gboolean berth_blobs_adopt(BerthBlobs *blobs, const char *temporary, const char *folder,
                           const BerthDigest *digest, GError **error);
gboolean berth_blobs_sweep(BerthBlobs *blobs, GHashTable *live, GHashTable *only, guint64 *freed,
                           GError **error);
guint64 berth_blobs_usage(BerthBlobs *blobs);

G_END_DECLS
