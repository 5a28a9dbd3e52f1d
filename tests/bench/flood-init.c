/* PID 1 of the bare side of `berth-bench logs`: the kernel and modules of a pod, and nothing else but
 * one loop that fills the pod's port with writes as large as the port takes at once. Static, libc only. */
#include "guest/mount.h"

#include <fcntl.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#define PORT "/dev/vport0p1"

/* The kernel makes the device a moment after the driver is there. */
static int
open_port(void)
{
    int fd = -1;
    for (int i = 0; i < 5000 && fd < 0; i++) {
        fd = open(PORT, O_WRONLY);
        nanosleep(&(struct timespec){.tv_nsec = fd < 0 ? 2000000 : 0}, NULL);
    }
    return fd;
}

int
main(void)
{
    static char block[32768];
    mount_move_to_tmpfs();
    mount_system();
    mount_load_modules("virtio");
    mount_load_modules(access("/sys/bus/pci/devices/0000:00:00.0", F_OK) == 0 ? "pci" : "mmio");
    mount_load_modules("link");
    memset(block, 'x', sizeof block);
    int fd = open_port();
    while (write(fd, block, sizeof block) > 0) {
    }
    reboot(RB_POWER_OFF);
    return 1;
}
