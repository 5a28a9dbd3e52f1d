/* What the cache's files share.
 *
 *   blobs.c        the folder, its room, pins and sweeps; reading
 *   blobs-write.c  a blob that is being written */
#pragma once

#include "base/fd.h"
#include "images/blobs.h"

struct BerthBlobs {
    gint refs;
    char *folder; /* owned */
    BerthFd fd, lock_fd;
    BerthBlobsOptions options;
    BerthFlights *flights; /* owned */
    GMutex mutex;
    GHashTable *pins;    /* owned; hex -> count */
    GHashTable *fresh;   /* owned; hex of pinned blobs that only their owner knows of -> owner */
    GHashTable *writing; /* owned; hex of partial files that are open */
    guint64 usage;       /* bytes of finished files */
    guint64 promised;    /* bytes admitted and not yet released */
};

char *berth_blobs_name_in(const char *folder, const BerthDigest *digest);
gboolean berth_blobs_publish(BerthBlobs *blobs, int fd, const char *from, const char *folder,
                             const BerthDigest *digest, gconstpointer owner, GError **error);
