/* PID 1 of a pod's microVM: sets up the little there is, opens the link and serves it. One thread, one
 * epoll loop, nothing in it blocks. It must outlive whatever containers do; if it ends, the kernel
 * panics and the daemon sees the microVM restart or stop. */
#include "guest/file.h"
#include "guest/link.h"
#include "guest/mount.h"
#include "guest/net.h"
#include "guest/supervise.h"
#include "guest/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PORT_RETRY_MS 2

/* The serial console, for a person who looks there; the daemon does not read it. */
static void
complain(const char *what, int error)
{
    int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
    char line[256];
    int size = snprintf(line, sizeof line, "<3>berth-guest: %s: %s\n", what, strerror(-error));
    (void)!write(fd < 0 ? 2 : fd, line, (size_t)size);
    if (fd >= 0) {
        close(fd);
    }
}

static void
check(const char *what, int result)
{
    if (result < 0) {
        complain(what, result);
    }
}

static uint64_t
random_number(void)
{
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, GRND_INSECURE) != sizeof number) {
        number = (uint64_t)supervise_now_us();
    }
    return number | 1;
}

static void
fill_identity(BerthIdentity *identity, int64_t init_us)
{
    struct utsname system;
    identity->boot_nonce = random_number();
    identity->init_us = (uint64_t)init_us;
    identity->port_us = (uint64_t)supervise_now_us();
    file_read(AT_FDCWD, "/usr/lib/berth/digest", identity->os_digest, sizeof identity->os_digest);
    identity->os_digest[strcspn(identity->os_digest, "\n")] = '\0';
    if (uname(&system) == 0) {
        text_copy(identity->kernel, sizeof identity->kernel, system.release);
    }
}

/* The kernel must not choose PID 1 when memory is short, and it needs few descriptors but all of them. */
static void
protect_self(void)
{
    struct rlimit files = {1048576, 1048576};
    setrlimit(RLIMIT_NOFILE, &files);
    check("can't protect PID 1", file_write("/proc/self/oom_score_adj", "-1000"));
    reboot(LINUX_REBOOT_CMD_CAD_OFF); /* Ctrl-Alt-Del becomes a signal to us */
}

static int
open_signals(int epoll_fd)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGPWR);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = event_pack(EVENT_SIGNAL, 0)};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return fd;
}

static void
set_up_link(void)
{
    bool has_pci = access("/sys/bus/pci/devices/0000:00:00.0", F_OK) == 0;
    check("can't load the bus's modules", mount_load_modules("virtio"));
    check("can't load the bus's modules", mount_load_modules(has_pci ? "pci" : "mmio"));
    check("can't load the port's module", mount_load_modules("link"));
}

static void
set_up_rest(void)
{
    check("can't load modules", mount_load_modules("pod"));
    check("can't set up cgroups", mount_cgroups());
    check("can't bring up the loopback", net_bring_up_loopback());
}

static void
take_signals(BerthCore *core, int signals)
{
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGCHLD) {
            berth_core_shut_down(core, 10000000);
        }
    }
    supervise_reap();
}

static int
wait_ms(const BerthCore *core, bool port_is_open)
{
    int64_t deadline = berth_core_deadline_us(core);
    int64_t left = deadline == INT64_MAX ? INT64_MAX : deadline - supervise_now_us();
    if (!port_is_open) {
        return PORT_RETRY_MS;
    }
    return left == INT64_MAX ? -1
           : left <= 0       ? 0
           : left > 60000000 ? 60000
                             : (int)(left / 1000) + 1;
}

/* The port's name comes in a message from the host a moment after its driver. */
static bool
wait_for_port(int epoll_fd)
{
    struct epoll_event event;
    for (int i = 0; i < 50; i++) {
        if (link_open(epoll_fd) == 0) {
            return true;
        }
        (void)epoll_wait(epoll_fd, &event, 1, 1);
    }
    return false;
}

static void
serve(BerthCore *core, int epoll_fd, int signals, bool port_is_open)
{
    struct epoll_event events[32];
    while (!supervise_wants_power_off()) {
        link_serve(core);
        int count = epoll_wait(epoll_fd, events, 32, wait_ms(core, port_is_open));
        for (int i = 0; i < count; i++) {
            EventClass class = (EventClass)(events[i].data.u64 >> 32);
            if (class == EVENT_SIGNAL) {
                take_signals(core, signals);
            } else if (class != EVENT_PORT) {
                supervise_event(class, (unsigned)events[i].data.u64);
            }
        }
        port_is_open = port_is_open || link_open(epoll_fd) == 0;
        berth_core_tick(core);
    }
}

/* The greeting goes out first: the daemon makes the pod's configuration while we load the rest. */
static void
begin(BerthCore *core, int epoll_fd, int signals)
{
    bool port_is_open = wait_for_port(epoll_fd);
    link_greet(core);
    set_up_rest();
    check("can't prepare crun", supervise_init(epoll_fd));
    serve(core, epoll_fd, signals, port_is_open);
}

static void
turn_off(void)
{
    sync();
    reboot(LINUX_REBOOT_CMD_POWER_OFF);
    reboot(LINUX_REBOOT_CMD_RESTART); /* a machine that has no power switch */
}

int
main(void)
{
    int64_t init_us = supervise_now_us();
    BerthIdentity identity = {0};
    if (getpid() != 1) {
        fprintf(stderr, "berth-guest: runs only as PID 1 of a microVM\n");
        return 2;
    }
    int moved = mount_move_to_tmpfs();
    int mounted = mount_system();
    check("can't move to a tmpfs", moved);
    check("can't mount the system", mounted);
    protect_self();
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int signals = open_signals(epoll_fd);
    set_up_link();
    fill_identity(&identity, init_us);
    BerthCore *core = berth_core_new(&supervise_runtime, NULL, &identity);
    supervise_set_core(core);
    if (core == NULL) {
        complain("can't begin", -ENOMEM);
    } else {
        begin(core, epoll_fd, signals);
    }
    turn_off();
    return 1;
}
