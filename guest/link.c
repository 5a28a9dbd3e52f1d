/* The virtio-serial port as a byte stream. Reads and writes never block: while nobody on the host has it
 * open, a blocking write would hold PID 1 for ever. Watched edge-triggered, because the kernel reports a
 * port without a reader as hung up without end. */
#include "guest/link.h"

#include "guest/file.h"
#include "guest/supervise.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PORT_NAME "berth.link.0"
#define OUT_SIZE (4 * BERTH_FRAME_MAX) /* the kernel takes half of it at once */

static struct {
    int fd;
    size_t used, written; /* of out */
    uint8_t out[OUT_SIZE];
} port = {.fd = -1};

static int
find_port(char *path, size_t size)
{
    DIR *dir = opendir("/sys/class/virtio-ports");
    struct dirent *entry;
    int result = -ENODEV;
    while (dir != NULL && result < 0 && (entry = readdir(dir)) != NULL) {
        char file[320], name[64];
        snprintf(file, sizeof file, "/sys/class/virtio-ports/%s/name", entry->d_name);
        if (entry->d_name[0] != '.' && file_read(AT_FDCWD, file, name, sizeof name) > 0) {
            name[strcspn(name, "\n")] = '\0';
            if (strcmp(name, PORT_NAME) == 0) {
                snprintf(path, size, "/dev/%s", entry->d_name);
                result = 0;
            }
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return result;
}

/** Opens the port once the kernel knows its name. Returns: 0, or -errno: try again soon. */
int
link_open(int epoll_fd)
{
    char path[288];
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
                                .data.u64 = event_pack(EVENT_PORT, 0)};
    int result = port.fd >= 0 ? 0 : find_port(path, sizeof path);
    if (result < 0 || port.fd >= 0) {
        return result;
    }
    port.fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (port.fd < 0) {
        return -errno;
    }
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, port.fd, &event) < 0 ? -errno : 0;
}

static void
hang_up(BerthCore *core)
{
    port.used = port.written = 0;
    if (berth_core_is_linked(core)) {
        berth_core_link_down(core);
    }
}

/* Returns TRUE when something came. End of file means that nobody on the host has the port open. */
static bool
read_some(BerthCore *core)
{
    uint8_t data[16384];
    ssize_t got = read(port.fd, data, sizeof data);
    if (got > 0) {
        berth_core_receive(core, data, (size_t)got);
        return true;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        hang_up(core);
    }
    return false;
}

static bool
write_some(BerthCore *core)
{
    if (port.written == port.used) {
        port.written = 0;
        port.used = berth_core_transmit(core, port.out, sizeof port.out);
    }
    if (port.written == port.used) {
        return false;
    }
    ssize_t written = write(port.fd, port.out + port.written, port.used - port.written);
    if (written > 0) {
        port.written += (size_t)written;
        return true;
    }
    if (written < 0 && errno != EAGAIN && errno != EINTR) {
        hang_up(core);
    }
    return false;
}

/** Answers the daemon's greeting if it lies there already. Nothing can follow it before our answer, so
 * this never begins anything else. */
void
link_greet(BerthCore *core)
{
    if (port.fd >= 0 && read_some(core)) {
        write_some(core);
    }
}

/** Moves what can be moved, both ways; to be called after every event. */
void
link_serve(BerthCore *core)
{
    bool moved = port.fd >= 0;
    for (int turn = 0; moved; turn++) {
        moved = read_some(core);
        moved = write_some(core) || moved;
    }
}
