/* The content-addressed cache.
 *
 * Invariants: a file below blobs/ or rootfs/sha256/ is complete, synced, and its content has the sha256
 * its name says, because it came there by rename after the check. Names are built from parsed
 * digests and random numbers only. The folder has one owner at a time (a lock on `lock`).
 * Thread-safe: `mutex` guards pins, counters and the decision to unlink. Start at berth_blobs_open(). */
#include "images/blobs.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"
#include "images/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

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

static const char *const folders[] = {"blobs",         "blobs/sha256", "partial", "rootfs",
                                      "rootfs/sha256", "rootfs/keys",  "tmp"};
/* Folders whose files are named by digest and count as usage. */
static const char *const stores[] = {"blobs/sha256", "rootfs/sha256"};

static gboolean
make_folders(int fd, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
        if (mkdirat(fd, folders[i], 0755) != 0 && errno != EEXIST) {
            berth_error_set_errno(error, errno, "can't make the folder '%s' of the image cache",
                                  folders[i]);
            return FALSE;
        }
    }
    return TRUE;
}

typedef gboolean (*VisitFunc)(int dirfd, const char *name, const struct stat *info,
                              gpointer user_data);

/* Calls @visit for each plain file of @folder until it returns FALSE. */
static gboolean
visit_folder(int fd, const char *folder, VisitFunc visit, gpointer user_data, GError **error)
{
    int dirfd = openat(fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = dirfd < 0 ? NULL : fdopendir(dirfd);
    if (dir == NULL) {
        berth_error_set_errno(error, errno, "can't read the folder '%s' of the image cache",
                              folder);
        if (dirfd >= 0) {
            close(dirfd);
        }
        return FALSE;
    }
    const struct dirent *entry;
    gboolean go_on = TRUE;
    while (go_on && (entry = readdir(dir)) != NULL) {
        struct stat info;
        if (fstatat(dirfd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            !S_ISDIR(info.st_mode)) {
            go_on = visit(dirfd, entry->d_name, &info, user_data);
        }
    }
    closedir(dir);
    return TRUE;
}

static gboolean
unlink_file(int dirfd, const char *name, const struct stat *info, gpointer user_data)
{
    unlinkat(dirfd, name, 0);
    return TRUE;
}

/* What the writing of a small file left when the process died. */
static gboolean
unlink_temporary(int dirfd, const char *name, const struct stat *info, gpointer user_data)
{
    return g_str_has_suffix(name, ".tmp") ? unlink_file(dirfd, name, info, NULL) : TRUE;
}

static gboolean
add_size(int dirfd, const char *name, const struct stat *info, gpointer user_data)
{
    *(guint64 *)user_data += (guint64)info->st_size;
    return TRUE;
}

static gboolean
open_folder(BerthBlobs *blobs, GError **error)
{
    if (g_mkdir_with_parents(blobs->folder, 0755) != 0) {
        berth_error_set_errno(error, errno, "can't make the folder '%s'", blobs->folder);
        return FALSE;
    }
    blobs->fd = open(blobs->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (blobs->fd < 0) {
        berth_error_set_errno(error, errno, "can't open the folder '%s'", blobs->folder);
        return FALSE;
    }
    blobs->lock_fd = openat(blobs->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (blobs->lock_fd < 0) {
        berth_error_set_errno(error, errno, "can't open '%s/lock'", blobs->folder);
        return FALSE;
    }
    if (flock(blobs->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        berth_error_set(error, BERTH_ERROR_CONFLICT,
                        "the image cache '%s' is in use by another process", blobs->folder);
        return FALSE;
    }
    return TRUE;
}

/**
 * berth_blobs_open:
 * @folder: the cache's folder; made when missing
 * @options: (nullable): limits; copied
 *
 * Opens the cache and removes what an earlier process left half done, save cut downloads: those are
 * resumed. Cost: one look at each file's size.
 *
 * Returns: (transfer full): the cache, or NULL. Errors: CONFLICT when another process has it open;
 * by errno.
 */
BerthBlobs *
berth_blobs_open(const char *folder, const BerthBlobsOptions *options, GError **error)
{
    g_autoptr(BerthBlobs) blobs = g_new0(BerthBlobs, 1);
    blobs->refs = 1;
    blobs->fd = blobs->lock_fd = -1;
    blobs->folder = g_canonicalize_filename(folder, NULL);
    blobs->flights = berth_flights_new();
    g_mutex_init(&blobs->mutex);
    blobs->pins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    blobs->fresh = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    blobs->writing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (options != NULL) {
        blobs->options = *options;
    }
    if (!open_folder(blobs, error) || !make_folders(blobs->fd, error) ||
        !visit_folder(blobs->fd, "tmp", unlink_file, NULL, error) ||
        !visit_folder(blobs->fd, "rootfs/keys", unlink_temporary, NULL, error)) {
        return NULL;
    }
    for (guint i = 0; i < G_N_ELEMENTS(stores); i++) {
        if (!visit_folder(blobs->fd, stores[i], add_size, &blobs->usage, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&blobs);
}

/** Returns: @blobs, with one more reference. */
BerthBlobs *
berth_blobs_ref(BerthBlobs *blobs)
{
    g_atomic_int_inc(&blobs->refs);
    return blobs;
}

void
berth_blobs_unref(BerthBlobs *blobs)
{
    if (blobs == NULL || !g_atomic_int_dec_and_test(&blobs->refs)) {
        return;
    }
    berth_fd_clear(&blobs->fd);
    berth_fd_clear(&blobs->lock_fd);
    berth_flights_free(blobs->flights);
    g_hash_table_unref(blobs->pins);
    g_hash_table_unref(blobs->fresh);
    g_hash_table_unref(blobs->writing);
    g_mutex_clear(&blobs->mutex);
    g_free(blobs->folder);
    g_free(blobs);
}

/** Returns: the folder's descriptor, borrowed. */
int
berth_blobs_folder_fd(BerthBlobs *blobs)
{
    return blobs->fd;
}

/** Returns: the folder's absolute path, borrowed. */
const char *
berth_blobs_folder(BerthBlobs *blobs)
{
    return blobs->folder;
}

/** Returns: the works under way on this cache, borrowed. */
BerthFlights *
berth_blobs_flights(BerthBlobs *blobs)
{
    return blobs->flights;
}

static char *
name_in(const char *folder, const BerthDigest *digest)
{
    return g_strconcat(folder, "/", digest->hex, NULL);
}

/** Returns: (transfer full): the absolute path of the blob @digest, whether it is there or not. */
char *
berth_blobs_path(BerthBlobs *blobs, const BerthDigest *digest)
{
    return g_strconcat(blobs->folder, "/blobs/sha256/", digest->hex, NULL);
}

/** Returns: whether the blob is complete in the cache; then its @size (nullable) is set. */
gboolean
berth_blobs_has(BerthBlobs *blobs, const BerthDigest *digest, guint64 *size)
{
    g_autofree char *name = name_in("blobs/sha256", digest);
    struct stat info;
    if (fstatat(blobs->fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) {
        return FALSE;
    }
    if (size != NULL) {
        *size = (guint64)info.st_size;
    }
    return TRUE;
}

static void
fail_to_open(const BerthDigest *digest, int errnum, GError **error)
{
    if (errnum == ENOENT) {
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL, "pull the image again",
                           "'sha256:%s' is not in the image cache", digest->hex);
    } else {
        berth_error_set_errno(error, errnum, "can't open the blob 'sha256:%s'", digest->hex);
    }
}

/** Returns: a descriptor of the blob for reading, the caller's; -1 and NOT_FOUND when it is not there. */
int
berth_blobs_open_blob(BerthBlobs *blobs, const BerthDigest *digest, GError **error)
{
    g_autofree char *name = name_in("blobs/sha256", digest);
    int fd = openat(blobs->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        fail_to_open(digest, errno, error);
    }
    return fd;
}

/* A file whose content no longer has its name's digest is worth nothing: the next pull brings it
 * again. */
static void
drop_damaged(BerthBlobs *blobs, const BerthDigest *digest, guint64 size)
{
    g_autofree char *name = name_in("blobs/sha256", digest);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    if (unlinkat(blobs->fd, name, 0) == 0) {
        blobs->usage -= MIN(blobs->usage, size);
    }
}

/**
 * berth_blobs_read:
 * @limit: the most bytes to take
 *
 * Reads a small blob whole and checks its digest again. Errors: NOT_FOUND; EXHAUSTED above @limit;
 * CORRUPT when the disk lost it (it is removed then).
 */
gboolean
berth_blobs_read(BerthBlobs *blobs, const BerthDigest *digest, gsize limit, char **data,
                 gsize *size, GError **error)
{
    g_autofree char *name = name_in("blobs/sha256", digest);
    g_autofree char *bytes = NULL;
    gsize count;
    if (!berth_blobs_has(blobs, digest, NULL)) {
        fail_to_open(digest, ENOENT, error);
        return FALSE;
    }
    if (!berth_fd_read_file(blobs->fd, name, limit, &bytes, &count, error)) {
        return FALSE;
    }
    BerthDigest found;
    berth_digest_of_bytes(bytes, count, &found);
    if (!berth_digest_equal(&found, digest)) {
        drop_damaged(blobs, digest, count);
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the cached blob 'sha256:%s' is damaged; it was removed, pull again",
                        digest->hex);
        return FALSE;
    }
    *data = g_steal_pointer(&bytes);
    *size = count;
    return TRUE;
}

/**
 * berth_blobs_admit:
 * @bytes: what is going to be written
 *
 * Asks for room before it is taken, and keeps it promised until berth_blobs_release().
 *
 * Errors: EXHAUSTED with the numbers, when the quota or the free-space reserve would be broken.
 */
gboolean
berth_blobs_admit(BerthBlobs *blobs, guint64 bytes, GError **error)
{
    struct statvfs fs;
    if (fstatvfs(blobs->fd, &fs) != 0) {
        berth_error_set_errno(error, errno, "can't ask for the free space of '%s'", blobs->folder);
        return FALSE;
    }
    const guint64 free_bytes = (guint64)fs.f_bavail * fs.f_frsize;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    guint64 wanted;
    if (__builtin_add_overflow(blobs->promised, bytes, &wanted) ||
        __builtin_add_overflow(wanted, blobs->options.reserve_bytes, &wanted) ||
        wanted > free_bytes) {
        berth_error_set_at(error, BERTH_ERROR_EXHAUSTED, NULL,
                           "delete images, or give it more space",
                           "'%s' has %" G_GUINT64_FORMAT " MiB free, %" G_GUINT64_FORMAT
                           " MiB are needed beside %" G_GUINT64_FORMAT
                           " MiB promised and %" G_GUINT64_FORMAT " MiB of reserve",
                           blobs->folder, free_bytes >> 20, (bytes >> 20) + 1,
                           blobs->promised >> 20, blobs->options.reserve_bytes >> 20);
        return FALSE;
    }
    if (blobs->options.quota_bytes > 0 &&
        blobs->usage + blobs->promised + bytes > blobs->options.quota_bytes) {
        berth_error_set_at(error, BERTH_ERROR_EXHAUSTED, NULL, "delete images, or raise the quota",
                           "the image cache holds %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                           " MiB, %" G_GUINT64_FORMAT " MiB more don't fit",
                           blobs->usage >> 20, blobs->options.quota_bytes >> 20, (bytes >> 20) + 1);
        return FALSE;
    }
    blobs->promised += bytes;
    return TRUE;
}

/** Gives back what berth_blobs_admit() promised. */
void
berth_blobs_release(BerthBlobs *blobs, guint64 bytes)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    g_assert(blobs->promised >= bytes);
    blobs->promised -= bytes;
}

static void
add_pin(BerthBlobs *blobs, const BerthDigest *digest)
{
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(blobs->pins, digest->hex));
    g_hash_table_insert(blobs->pins, g_strdup(digest->hex), GUINT_TO_POINTER(count + 1));
    g_hash_table_remove(blobs->fresh, digest->hex);
}

static void
remove_pin(BerthBlobs *blobs, const BerthDigest *digest)
{
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(blobs->pins, digest->hex));
    g_return_if_fail(count > 0);
    if (count == 1) {
        g_hash_table_remove(blobs->pins, digest->hex);
        g_hash_table_remove(blobs->fresh, digest->hex);
    } else {
        g_hash_table_insert(blobs->pins, g_strdup(digest->hex), GUINT_TO_POINTER(count - 1));
    }
}

/** Keeps @digest, which need not be there yet, from being collected until berth_blobs_unpin(). */
void
berth_blobs_pin(BerthBlobs *blobs, const BerthDigest *digest)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    add_pin(blobs, digest);
}

void
berth_blobs_unpin(BerthBlobs *blobs, const BerthDigest *digest)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    remove_pin(blobs, digest);
}

/**
 * berth_blobs_discard:
 * @digest: of a blob that the caller's writer finished
 *
 * As berth_blobs_unpin(), and removes the blob when it was new then and nobody else came to know of it
 * since.
 */
void
berth_blobs_discard(BerthBlobs *blobs, const BerthDigest *digest)
{
    g_autofree char *name = name_in("blobs/sha256", digest);
    struct stat info;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    if (g_hash_table_contains(blobs->fresh, digest->hex) &&
        fstatat(blobs->fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        unlinkat(blobs->fd, name, 0) == 0) {
        blobs->usage -= MIN(blobs->usage, (guint64)info.st_size);
    }
    remove_pin(blobs, digest);
}

/* Puts the checked and synced file @from in place, pinned once for the caller. Under one lock with
 * the pin, so that no sweep comes between. */
static gboolean
publish(BerthBlobs *blobs, int fd, const char *from, const char *folder, const BerthDigest *digest,
        gconstpointer owner, GError **error)
{
    g_autofree char *to = name_in(folder, digest);
    struct stat info, old;
    if (fchmod(fd, 0444) != 0 || fsync(fd) != 0 || fstat(fd, &info) != 0) {
        berth_error_set_errno(error, errno, "can't sync '%s'", from);
        return FALSE;
    }
    g_auto(BerthFd) dir = openat(blobs->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    gboolean there = fstatat(blobs->fd, to, &old, AT_SYMLINK_NOFOLLOW) == 0;
    if (dir < 0 || renameat(blobs->fd, from, blobs->fd, to) != 0 || fsync(dir) != 0) {
        berth_error_set_errno(error, errno, "can't put '%s' in place", to);
        return FALSE;
    }
    blobs->usage -= there ? MIN(blobs->usage, (guint64)old.st_size) : 0;
    blobs->usage += (guint64)info.st_size;
    gboolean own = owner != NULL && g_hash_table_lookup(blobs->fresh, digest->hex) == owner;
    add_pin(blobs, digest);
    if (!there || own) {
        g_hash_table_insert(blobs->fresh, g_strdup(digest->hex), (gpointer)owner);
    }
    return TRUE;
}

/**
 * berth_blobs_adopt:
 * @temporary: a finished file below the cache's folder, whose content was digested by the caller
 * @folder: "rootfs/sha256"
 *
 * Syncs and renames @temporary to the name of its @digest. It is pinned once for the caller.
 */
gboolean
berth_blobs_adopt(BerthBlobs *blobs, const char *temporary, const char *folder,
                  const BerthDigest *digest, GError **error)
{
    g_auto(BerthFd) fd = openat(blobs->fd, temporary, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't open '%s'", temporary);
        return FALSE;
    }
    return publish(blobs, fd, temporary, folder, digest, NULL, error);
}

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
        writer->path = name_in("partial", expected);
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
    if (!publish(writer->blobs, writer->fd, writer->path, "blobs/sha256", &found, writer->owner,
                 error)) {
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

typedef struct {
    BerthBlobs *blobs;
    GHashTable *live, *only; /* borrowed; only may be NULL: all */
    guint64 freed;
} Sweep;

static gboolean
sweep_file(int dirfd, const char *name, const struct stat *info, gpointer user_data)
{
    Sweep *sweep = user_data;
    BerthBlobs *blobs = sweep->blobs;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    if (g_hash_table_contains(sweep->live, name) || g_hash_table_contains(blobs->pins, name) ||
        (sweep->only != NULL && !g_hash_table_contains(sweep->only, name))) {
        return TRUE;
    }
    if (unlinkat(dirfd, name, 0) == 0) {
        sweep->freed += (guint64)info->st_size;
        blobs->usage -= MIN(blobs->usage, (guint64)info->st_size);
    }
    return TRUE;
}

static gboolean
sweep_partial(int dirfd, const char *name, const struct stat *info, gpointer user_data)
{
    Sweep *sweep = user_data;
    BerthBlobs *blobs = sweep->blobs;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    if (!g_hash_table_contains(blobs->writing, name) && !g_hash_table_contains(blobs->pins, name) &&
        unlinkat(dirfd, name, 0) == 0) {
        sweep->freed += (guint64)info->st_size;
    }
    return TRUE;
}

/**
 * berth_blobs_sweep:
 * @live: set of hex digests that stay
 * @only: (nullable): set of hex digests that may go; NULL: all that are not live, cut downloads too
 * @freed: (out) (nullable): bytes given back
 *
 * Removes blobs and squashfs files. What is pinned stays.
 */
gboolean
berth_blobs_sweep(BerthBlobs *blobs, GHashTable *live, GHashTable *only, guint64 *freed,
                  GError **error)
{
    Sweep sweep = {.blobs = blobs, .live = live, .only = only};
    for (guint i = 0; i < G_N_ELEMENTS(stores); i++) {
        if (!visit_folder(blobs->fd, stores[i], sweep_file, &sweep, error)) {
            return FALSE;
        }
    }
    if (only == NULL && !visit_folder(blobs->fd, "partial", sweep_partial, &sweep, error)) {
        return FALSE;
    }
    if (freed != NULL) {
        *freed = sweep.freed;
    }
    return TRUE;
}

/** Returns: bytes of all finished files. */
guint64
berth_blobs_usage(BerthBlobs *blobs)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    return blobs->usage;
}
