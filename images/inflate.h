/* A layer's bytes unpacked as a stream: plain, gzip or zstd, told by its first bytes. */
#pragma once

#include "images/reference.h"

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/* Unpacked bytes that any input may give, whatever its ratio. */
#define BERTH_INFLATE_FREE (64 * 1024 * 1024)

/* What bounds the unpacking of all layers of one image; shared by their streams. */
typedef struct {
    guint64 bytes_left;        /* counts down */
    guint ratio_max;           /* unpacked for one packed byte, beyond BERTH_INFLATE_FREE */
    gint64 deadline_us;        /* monotonic; 0: none */
    gboolean without_digest;   /* nobody will ask for it */
    GCancellable *cancellable; /* borrowed; may be NULL */
} BerthInflateBudget;

/* One stream. Used by one thread. */
typedef struct BerthInflate BerthInflate;

BerthInflate *berth_inflate_new(int fd, BerthInflateBudget *budget, GError **error);
gssize berth_inflate_read(BerthInflate *inflate, void *data, gsize size, GError **error);
gboolean berth_inflate_drain(BerthInflate *inflate, GError **error);
guint64 berth_inflate_consumed(const BerthInflate *inflate);
void berth_inflate_digest(const BerthInflate *inflate, BerthDigest *digest);
void berth_inflate_free(BerthInflate *inflate);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthInflate, berth_inflate_free)

G_END_DECLS
