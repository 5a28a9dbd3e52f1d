/* Images in archives: an OCI layout (folder or tar) or what `docker save` writes. */
#pragma once

#include "images/blobs.h"

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/* One image that was found in an archive; its blobs are in the cache and pinned. */
typedef struct {
    char *reference; /* owned; canonical, or NULL */
    BerthDigest manifest;
} BerthLoaded;

void berth_loaded_free(BerthLoaded *loaded);

/* Bytes read of the archive; total is 0 for a stream. */
typedef void (*BerthLayoutProgressFunc)(guint64 done, guint64 total, gpointer user_data);

GPtrArray *berth_layout_load(BerthBlobs *blobs, int fd, guint64 size_max,
                             BerthLayoutProgressFunc progress, gpointer user_data,
                             GCancellable *cancellable, GPtrArray *pins, GError **error);

G_END_DECLS
