/* Writing a blob: resumed where it was cut, digested as it comes, visible once it is complete and right.
 * One thread a writer. Start at berth_blob_writer_new(). */
#include "images/blobs-private.h"

#include "base/error.h"
#include "base/random.h"
#include "images/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct BerthBlobWriter {
    BerthBlobs *blobs; /* owned reference */
    BerthFd fd;
    char *path;     /* owned; relative to the cache's folder */
    gboolean known; /* the digest is expected; the file is kept for resuming */
    BerthDigest expected;
    guint64 size_max, offset;
    BerthSha256 *checksum; /* owned; of the first offset bytes */
    gboolean finished;
    gconstpointer owner; /* only compared */
};

/* Digests what an earlier attempt left, so that the rest can be asked for. */
static gboolean
resume(BerthBlobWriter *writer, GError **error)
{
    guint8 chunk[65536];
    for (;;) {
        gssize got = read(writer->fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            berth_error_set_errno(error, errno, "can't read '%s'", writer->path);
            return FALSE;
        }
        if (got == 0) {
            return TRUE;
        }
        berth_sha256_update(writer->checksum, chunk, (gsize)got);
        writer->offset += (guint64)got;
        if (writer->offset > writer->size_max) {
            return berth_blob_writer_restart(writer, error);
        }
    }
}

static gboolean
claim_partial(BerthBlobs *blobs, const BerthDigest *expected, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    if (!g_hash_table_add(blobs->writing, g_strdup(expected->hex))) {
        berth_error_set(error, BERTH_ERROR_CONFLICT, "'sha256:%s' is being downloaded already",
                        expected->hex);
        return FALSE;
    }
    return TRUE;
}

/**
 * berth_blob_writer_new:
 * @expected: (nullable): the digest the content must have; then what an earlier attempt left is
 *   kept, see berth_blob_writer_offset(). NULL: any content, nothing is kept
 * @size_max: the most bytes the blob may have
 *
 * Returns: (transfer full): a writer, or NULL. Errors: CONFLICT when @expected is being written by
 * another thread; by errno.
 */
BerthBlobWriter *
berth_blob_writer_new(BerthBlobs *blobs, const BerthDigest *expected, guint64 size_max,
                      GError **error)
{
    if (expected != NULL && !claim_partial(blobs, expected, error)) {
        return NULL;
    }
    g_autoptr(BerthBlobWriter) writer = g_new0(BerthBlobWriter, 1);
    writer->blobs = berth_blobs_ref(blobs);
    writer->size_max = size_max;
    writer->checksum = berth_sha256_new();
    writer->known = expected != NULL;
    if (expected != NULL) {
        writer->expected = *expected;
        writer->path = berth_blobs_name_in("partial", expected);
    } else {
        g_autofree char *random = berth_random_hex(berth_random_system(), 16);
        writer->path = g_strconcat("tmp/", random, NULL);
    }
    writer->fd = openat(blobs->fd, writer->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (writer->fd < 0) {
        berth_error_set_errno(error, errno, "can't create '%s'", writer->path);
        return NULL;
    }
    return resume(writer, error) ? g_steal_pointer(&writer) : NULL;
}

/** Names who writes (only compared), so that berth_blobs_discard() knows its own blobs. */
void
berth_blob_writer_set_owner(BerthBlobWriter *writer, gconstpointer owner)
{
    writer->owner = owner;
}

/** Returns: the file as written so far, borrowed; for looking at, before it is made visible. */
int
berth_blob_writer_fd(const BerthBlobWriter *writer)
{
    return writer->fd;
}

/** Returns: how many bytes are there already; the next berth_blob_writer_append() goes behind them. */
guint64
berth_blob_writer_offset(const BerthBlobWriter *writer)
{
    return writer->offset;
}

/** Forgets what is there: the other side can't continue, or what was kept is wrong. */
gboolean
berth_blob_writer_restart(BerthBlobWriter *writer, GError **error)
{
    if (ftruncate(writer->fd, 0) != 0 || lseek(writer->fd, 0, SEEK_SET) != 0) {
        berth_error_set_errno(error, errno, "can't empty '%s'", writer->path);
        return FALSE;
    }
    writer->offset = 0;
    berth_sha256_reset(writer->checksum);
    return TRUE;
}

/* On a full disk the partial file goes, so that others can go on. */
gboolean
berth_blob_writer_append(BerthBlobWriter *writer, const void *data, gsize size, GError **error)
{
    if (size > writer->size_max - writer->offset) {
        berth_blob_writer_restart(writer, NULL);
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "more than the announced %" G_GUINT64_FORMAT " bytes were sent",
                        writer->size_max);
        return FALSE;
    }
    g_autoptr(GError) problem = NULL;
    if (!berth_fd_write_all(writer->fd, data, size, &problem)) {
        berth_blob_writer_restart(writer, NULL);
        g_propagate_prefixed_error(error, g_steal_pointer(&problem),
                                   "a blob for the cache '%s': ", writer->blobs->folder);
        return FALSE;
    }
    berth_sha256_update(writer->checksum, data, size);
    writer->offset += size;
    return TRUE;
}

/**
 * berth_blob_writer_finish:
 * @expected_size: the size the blob must have; %G_MAXUINT64: any
 * @digest: (out) (nullable): the content's digest
 * @size: (out) (nullable): its bytes
 *
 * Checks size and digest, then makes the blob visible, durably. It is pinned once for the caller,
 * who calls berth_blobs_unpin(). Content that does not match is removed.
 *
 * Errors: CORRUPT when size or digest differ; by errno.
 */
gboolean
berth_blob_writer_finish(BerthBlobWriter *writer, guint64 expected_size, BerthDigest *digest,
                         guint64 *size, GError **error)
{
    BerthDigest found;
    berth_sha256_peek(writer->checksum, &found);
    if (expected_size != G_MAXUINT64 && writer->offset != expected_size) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the blob has %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
                        " were announced",
                        writer->offset, expected_size);
        berth_blob_writer_restart(writer, NULL);
        return FALSE;
    }
    if (writer->known && !berth_digest_equal(&found, &writer->expected)) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the content has the digest sha256:%s, not sha256:%s as announced",
                        found.hex, writer->expected.hex);
        berth_blob_writer_restart(writer, NULL);
        return FALSE;
    }
    if (!berth_blobs_publish(writer->blobs, writer->fd, writer->path, "blobs/sha256", &found,
                             writer->owner, error)) {
        return FALSE;
    }
    writer->finished = TRUE;
    if (digest != NULL) {
        *digest = found;
    }
    if (size != NULL) {
        *size = writer->offset;
    }
    return TRUE;
}

/** Ends the writing. A part of a known blob stays for the next attempt; anything else goes. */
void
berth_blob_writer_free(BerthBlobWriter *writer)
{
    if (writer == NULL) {
        return;
    }
    if (!writer->finished && writer->path != NULL && (!writer->known || writer->offset == 0)) {
        unlinkat(writer->blobs->fd, writer->path, 0);
    }
    if (writer->known) {
        g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&writer->blobs->mutex);
        g_hash_table_remove(writer->blobs->writing, writer->expected.hex);
    }
    berth_fd_clear(&writer->fd);
    berth_sha256_free(writer->checksum);
    g_free(writer->path);
    berth_blobs_unref(writer->blobs);
    g_free(writer);
}

/** Stores a small blob. It is pinned once for the caller. */
gboolean
berth_blobs_put(BerthBlobs *blobs, const void *data, gsize size, BerthDigest *digest,
                GError **error)
{
    g_autoptr(BerthBlobWriter) writer = berth_blob_writer_new(blobs, NULL, size, error);
    return writer != NULL && berth_blob_writer_append(writer, data, size, error) &&
           berth_blob_writer_finish(writer, size, digest, NULL, error);
}
