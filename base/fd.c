/* Whole reads and writes on file descriptors: bounded, interrupted calls repeated, files replaced
 * atomically and durably. Thread-safe. */
#include "base/fd.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

/** Returns: whether @fd is a pipe or socket whose reader is gone. */
gboolean
berth_fd_is_abandoned(int fd)
{
    struct pollfd poller = {.fd = fd};
    return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLERR | POLLHUP)) != 0;
}

/** Writes all @size bytes to the blocking @fd. Errors: by errno. */
gboolean
berth_fd_write_all(int fd, const void *data, gsize size, GError **error)
{
    const char *next = data;
    while (size > 0) {
        gssize written = write(fd, next, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            berth_error_set_errno(error, errno, "can't write");
            return FALSE;
        }
        next += written;
        size -= (gsize)written;
    }
    return TRUE;
}

/**
 * berth_fd_read_file:
 * @dirfd: a directory, or AT_FDCWD
 * @path: relative to @dirfd; a symbolic link as last component is refused
 * @limit: the most bytes to take; a larger file is EXHAUSTED, before memory is taken
 * @data: (out): (transfer full): the content, with a NUL behind it
 * @size: (out) (nullable): bytes in @data
 */
gboolean
berth_fd_read_file(int dirfd, const char *path, gsize limit, char **data, gsize *size,
                   GError **error)
{
    g_auto(BerthFd) fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't open '%s'", path);
        return FALSE;
    }
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint8 chunk[16384];
    for (;;) {
        gssize got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            berth_error_set_errno(error, errno, "can't read '%s'", path);
            return FALSE;
        }
        if (got == 0) {
            break;
        }
        if (bytes->len + (gsize)got > limit) {
            berth_error_set(error, BERTH_ERROR_EXHAUSTED, "'%s' is larger than %zu bytes", path,
                            limit);
            return FALSE;
        }
        g_byte_array_append(bytes, chunk, (guint)got);
    }
    if (size != NULL) {
        *size = bytes->len;
    }
    g_byte_array_append(bytes, (const guint8 *)"", 1);
    *data = (char *)g_byte_array_free(g_steal_pointer(&bytes), FALSE);
    return TRUE;
}

/**
 * berth_fd_write_file:
 * @mode: permission bits of the new file
 *
 * Replaces @path by @data as one step that survives a power loss: temporary file, fsync, rename,
 * fsync of the folder. On failure @path is what it was, and no temporary file stays.
 */
gboolean
berth_fd_write_file(int dirfd, const char *path, const void *data, gsize size, int mode,
                    GError **error)
{
    g_autofree char *temporary = g_strdup_printf("%s.%08x.tmp", path, g_random_int());
    g_auto(BerthFd) fd =
        openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't create '%s'", temporary);
        return FALSE;
    }
    gboolean ok = berth_fd_write_all(fd, data, size, error);
    if (ok && fsync(fd) != 0) {
        berth_error_set_errno(error, errno, "can't sync '%s'", temporary);
        ok = FALSE;
    }
    if (ok && renameat(dirfd, temporary, dirfd, path) != 0) {
        berth_error_set_errno(error, errno, "can't rename '%s' to '%s'", temporary, path);
        ok = FALSE;
    }
    if (!ok) {
        unlinkat(dirfd, temporary, 0);
        return FALSE;
    }
    g_autofree char *folder = g_path_get_dirname(path);
    g_auto(BerthFd) dir = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir) != 0) {
        berth_error_set_errno(error, errno, "can't sync the folder '%s'", folder);
        return FALSE;
    }
    return TRUE;
}
