/* File descriptors that close themselves, and whole reads and writes. */
#pragma once

#include <glib.h>
#include <unistd.h>

G_BEGIN_DECLS

/* g_auto(BerthFd) fd = open(…): closed when the scope ends. -1 means none. */
typedef int BerthFd;

static inline void
berth_fd_clear(BerthFd *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static inline int
berth_fd_steal(BerthFd *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthFd, berth_fd_clear)

gboolean berth_fd_is_abandoned(int fd);
gboolean berth_fd_write_all(int fd, const void *data, gsize size, GError **error);
gboolean berth_fd_read_file(int dirfd, const char *path, gsize limit, char **data, gsize *size,
                            GError **error);
gboolean berth_fd_write_file(int dirfd, const char *path, const void *data, gsize size, int mode,
                             GError **error);

G_END_DECLS
