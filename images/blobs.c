/* The content-addressed cache.
 *
 * Invariants: a file below blobs/ or rootfs/sha256/ is complete, synced, and its content has the sha256
 * its name says, because it came there by rename after the check. Names are built from parsed
 * digests and random numbers only. The folder has one owner at a time (a lock on `lock`).
 * Thread-safe: `mutex` guards pins, counters and the decision to unlink. Start at berth_blobs_open(). */
#include "images/blobs-private.h"

#include "base/error.h"
#include "images/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

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

/** Returns: (transfer full): the name of @digest's file in @folder, below the cache's folder. */
char *
berth_blobs_name_in(const char *folder, const BerthDigest *digest)
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
    g_autofree char *name = berth_blobs_name_in("blobs/sha256", digest);
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
    g_autofree char *name = berth_blobs_name_in("blobs/sha256", digest);
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
    g_autofree char *name = berth_blobs_name_in("blobs/sha256", digest);
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
    g_autofree char *name = berth_blobs_name_in("blobs/sha256", digest);
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
    g_autofree char *name = berth_blobs_name_in("blobs/sha256", digest);
    struct stat info;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&blobs->mutex);
    if (g_hash_table_contains(blobs->fresh, digest->hex) &&
        fstatat(blobs->fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        unlinkat(blobs->fd, name, 0) == 0) {
        blobs->usage -= MIN(blobs->usage, (guint64)info.st_size);
    }
    remove_pin(blobs, digest);
}

/**
 * berth_blobs_publish:
 * @fd: of the file @from, whose content was checked
 * @owner: (nullable): who may discard it
 *
 * Syncs the file and puts it in place, pinned once for the caller. Under one lock with the pin, so that no
 * sweep comes between.
 */
gboolean
berth_blobs_publish(BerthBlobs *blobs, int fd, const char *from, const char *folder,
                    const BerthDigest *digest, gconstpointer owner, GError **error)
{
    g_autofree char *to = berth_blobs_name_in(folder, digest);
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
    return berth_blobs_publish(blobs, fd, temporary, folder, digest, NULL, error);
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
