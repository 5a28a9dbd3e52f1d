/* The program that makes a squashfs of a tar stream, as a child process. */
#pragma once

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    const char *folder; /* where it runs; absolute */
    const char *output; /* file name in that folder; must not exist */
    guint jobs;
    guint64 size_max;          /* of the output */
    gint64 deadline_us;        /* monotonic */
    GCancellable *cancellable; /* may be NULL */
} BerthSquashOptions;

/* One run. Used by one thread. */
typedef struct BerthSquash BerthSquash;

BerthSquash *berth_squash_start(const BerthSquashOptions *options, GError **error);
gboolean berth_squash_write(BerthSquash *squash, const void *data, gsize size, GError **error);
gboolean berth_squash_finish(BerthSquash *squash, GError **error);
void berth_squash_free(BerthSquash *squash);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthSquash, berth_squash_free)

G_END_DECLS
