/* Reads the guest OS folder that images/guest-os/build made: vmlinuz, initramfs, manifest.json. The digests
 * are computed here, so what is staged is what is on this disk. Blocks shortly; at start only. */
#include "daemon/guest-os.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>

#define FILE_MAX (512 * 1024 * 1024)
#define DEFAULT_CMDLINE "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests"

static gboolean
open_file(const char *folder, const char *name, BerthGuestFile *file, GError **error)
{
    file->path = g_build_filename(folder, name, NULL);
    g_auto(BerthFd) fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL,
                           "build it with 'make guest-os', or name its folder with --guest-os",
                           "can't open the guest OS file '%s': %s", file->path, g_strerror(errno));
        return FALSE;
    }
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree guint8 *chunk = g_malloc(1 << 20);
    for (gssize got; (got = read(fd, chunk, 1 << 20)) != 0;) {
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 || file->size + (guint64)got > FILE_MAX) {
            berth_error_set_errno(error, got < 0 ? errno : EFBIG, "can't read '%s'", file->path);
            return FALSE;
        }
        g_checksum_update(checksum, chunk, got);
        file->size += (guint64)got;
    }
    g_strlcpy(file->sha256, g_checksum_get_string(checksum), sizeof file->sha256);
    return TRUE;
}

/**
 * berth_guest_os_open:
 * @folder: absolute; holds vmlinuz, initramfs and manifest.json
 *
 * Errors: NOT_FOUND with the command that builds it, INVALID for a manifest that doesn't read.
 */
BerthGuestOs *
berth_guest_os_open(const char *folder, GError **error)
{
    g_autoptr(BerthGuestOs) os = g_new0(BerthGuestOs, 1);
    if (!open_file(folder, "vmlinuz", &os->kernel, error) ||
        !open_file(folder, "initramfs", &os->initramfs, error)) {
        return NULL;
    }
    g_autofree char *path = g_build_filename(folder, "manifest.json", NULL);
    g_autofree char *text = NULL;
    gsize size;
    if (!berth_fd_read_file(AT_FDCWD, path, BERTH_JSON_SIZE_MAX, &text, &size, error)) {
        return NULL;
    }
    g_autoptr(json_t) manifest = berth_json_parse(text, size, error);
    if (manifest == NULL) {
        g_prefix_error(error, "%s: ", path);
        return NULL;
    }
    const char *version = berth_json_string(manifest, "digest");
    const char *cmdline = berth_json_string(manifest, "cmdline");
    os->version = g_strdup(version != NULL ? version : os->initramfs.sha256);
    os->cmdline = g_strdup(cmdline != NULL ? cmdline : DEFAULT_CMDLINE);
    return g_steal_pointer(&os);
}

void
berth_guest_os_free(BerthGuestOs *os)
{
    g_free(os->kernel.path);
    g_free(os->initramfs.path);
    g_free(os->version);
    g_free(os->cmdline);
    g_free(os);
}
