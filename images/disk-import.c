/* Disk images of VMs on their way into the cache, checked before they are seen. Thread-safe; blocks. */
#include "images/pull.h"

#include "base/error.h"
#include "base/fd.h"
#include "images/disk.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define DISK_SIZE_MAX (G_GUINT64_CONSTANT(2) << 40)

void
berth_disk_result_free(BerthDiskResult *result)
{
    if (result == NULL) {
        return;
    }
    berth_blobs_unpin(result->blobs, &result->digest);
    berth_blobs_unref(result->blobs);
    g_free(result->path);
    g_free(result);
}

/* The digest is pinned once already; the pin goes over to the result. */
static BerthDiskResult *
new_disk_result(BerthBlobs *blobs, const BerthDigest *digest, guint64 size,
                const BerthDiskInfo *info)
{
    BerthDiskResult *result = g_new0(BerthDiskResult, 1);
    result->digest = *digest;
    result->path = berth_blobs_path(blobs, digest);
    result->format = berth_disk_format_name(info->format);
    result->size = size;
    result->virtual_size = info->virtual_size;
    result->blobs = berth_blobs_ref(blobs);
    return result;
}

/**
 * berth_image_finish_disk:
 * @writer: holds the whole file; stays the caller's, to be freed
 * @format: "qcow2" or "raw", as its owner says; never guessed
 *
 * Checks what was written (images/disk.h) before it becomes visible, then makes it so.
 *
 * Errors: INVALID with the reason for a refused disk; UNAVAILABLE without qemu-img; CANCELLED.
 */
gboolean
berth_image_finish_disk(BerthBlobs *blobs, BerthBlobWriter *writer, const char *format,
                        GCancellable *cancellable, BerthDiskResult **result, GError **error)
{
    BerthDiskFormat parsed;
    BerthDiskInfo info;
    BerthDigest digest;
    guint64 size;
    if (!berth_disk_format_parse(format, &parsed, error) ||
        !berth_disk_check(berth_blob_writer_fd(writer), parsed, cancellable, &info, error) ||
        !berth_blob_writer_finish(writer, G_MAXUINT64, &digest, &size, error)) {
        return FALSE;
    }
    *result = new_disk_result(blobs, &digest, size, &info);
    return TRUE;
}

static gboolean
copy_disk(BerthBlobWriter *writer, int fd, GCancellable *cancellable, GError **error)
{
    g_autofree guint8 *chunk = g_malloc(1024 * 1024);
    for (;;) {
        if (g_cancellable_is_cancelled(cancellable)) {
            berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        gssize got = read(fd, chunk, 1024 * 1024);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            berth_error_set_errno(error, errno, "can't read the disk image");
            return FALSE;
        }
        if (got == 0) {
            return TRUE;
        }
        if (!berth_blob_writer_append(writer, chunk, (gsize)got, error)) {
            return FALSE;
        }
    }
}

/**
 * berth_image_import_disk:
 * @fd: a file, pipe or socket, read to its end; stays the caller's
 * @size_max: the most bytes to take; 0: 2 TiB
 *
 * As berth_blob_writer_new(), append and berth_image_finish_disk() in one.
 */
gboolean
berth_image_import_disk(BerthBlobs *blobs, int fd, const char *format, guint64 size_max,
                        GCancellable *cancellable, BerthDiskResult **result, GError **error)
{
    struct stat info;
    guint64 room = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? (guint64)info.st_size : 0;
    if (!berth_blobs_admit(blobs, room, error)) {
        return FALSE;
    }
    g_autoptr(BerthBlobWriter) writer =
        berth_blob_writer_new(blobs, NULL, size_max == 0 ? DISK_SIZE_MAX : size_max, error);
    gboolean ok = writer != NULL && copy_disk(writer, fd, cancellable, error) &&
                  berth_image_finish_disk(blobs, writer, format, cancellable, result, error);
    berth_blobs_release(blobs, room);
    return ok;
}

/**
 * berth_image_open_disk:
 * @digest: "sha256:…" as given when it was imported
 *
 * Errors: NOT_FOUND when it is not in the cache.
 */
gboolean
berth_image_open_disk(BerthBlobs *blobs, const char *digest, const char *format,
                      GCancellable *cancellable, BerthDiskResult **result, GError **error)
{
    BerthDigest parsed;
    BerthDiskFormat as;
    BerthDiskInfo info;
    guint64 size = 0;
    if (!berth_digest_parse(digest, strlen(digest), &parsed, error) ||
        !berth_disk_format_parse(format, &as, error)) {
        return FALSE;
    }
    berth_blobs_pin(blobs, &parsed);
    g_auto(BerthFd) fd = berth_blobs_open_blob(blobs, &parsed, error);
    if (fd < 0 || !berth_disk_inspect(fd, as, &info, error)) {
        berth_blobs_unpin(blobs, &parsed);
        return FALSE;
    }
    berth_blobs_has(blobs, &parsed, &size);
    *result = new_disk_result(blobs, &parsed, size, &info);
    return TRUE;
}
