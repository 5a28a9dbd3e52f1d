/* The blobs of one image, several at a time, from a registry into the cache. */
#pragma once

#include "images/blobs.h"
#include "images/registry.h"

G_BEGIN_DECLS

/* Bytes that are in the cache of all that is wanted. On the thread that called berth_download(). */
typedef void (*BerthDownloadProgressFunc)(guint64 done, guint64 total, gpointer user_data);

gboolean berth_download(BerthBlobs *blobs, BerthRegistry *registry, guint parallel, guint attempts,
                        const GPtrArray *wanted, BerthDownloadProgressFunc progress,
                        gpointer user_data, GCancellable *cancellable, GError **error);

G_END_DECLS
