/* Starting crun. It is run from a sealed copy in memory: crun makes such a copy of itself at every start
 * otherwise, to be safe from containers that write to it, and then begins a second time. */
#include "guest/launch.h"

#include "guest/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CRUN "/usr/bin/crun"

static char crun_path[32] = CRUN;

/** Copies crun into memory. Returns: 0 or -errno; crun is then run from its file. */
int
launch_init(void)
{
    struct stat about;
    int from = open(CRUN, O_RDONLY | O_CLOEXEC);
    if (from < 0) {
        return -errno;
    }
    /* Not close-on-exec: the child finds it through /proc/self/fd. crun closes what it does not know. */
    int to = memfd_create("crun", MFD_ALLOW_SEALING);
    bool copied = to >= 0 && fstat(from, &about) == 0;
    for (off_t left = copied ? about.st_size : 0; left > 0 && copied;) {
        ssize_t sent = sendfile(to, from, NULL, (size_t)left);
        copied = sent > 0;
        left -= sent;
    }
    close(from);
    if (!copied ||
        fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
        close(to);
        return -EIO;
    }
    snprintf(crun_path, sizeof crun_path, "/proc/self/fd/%d", to);
    return 0;
}

static void
fill_arguments(const Launch *launch, char *argv[24])
{
    bool run = launch->bundle != NULL, terminal = launch->console_socket != NULL;
    const char *const words[] = {"crun",
                                 "--root=/run/crun",
                                 "--cgroup-manager=cgroupfs",
                                 "--log",
                                 launch->log_file,
                                 run ? "run" : "exec",
                                 "--detach",
                                 "--pid-file",
                                 launch->pid_file,
                                 run ? "--bundle" : "--process",
                                 run ? launch->bundle : launch->process,
                                 run ? "--no-new-keyring" : NULL,
                                 terminal ? "--console-socket" : NULL,
                                 launch->console_socket,
                                 launch->container};
    int n = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i] != NULL) {
            argv[n++] = (char *)words[i];
        }
    }
    argv[n] = NULL;
}

static void
fill_files(posix_spawn_file_actions_t *files, const Launch *launch)
{
    const int fds[] = {launch->in, launch->out, launch->err};
    for (int i = 0; i < 3; i++) {
        if (fds[i] < 0) {
            posix_spawn_file_actions_addopen(files, i, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY,
                                             0);
        } else {
            posix_spawn_file_actions_adddup2(files, fds[i], i);
        }
    }
}

/** Starts crun. Returns: its pid, or -errno. */
pid_t
launch_crun(const Launch *launch)
{
    static char path[] = "PATH=/usr/bin";
    static char *const environment[] = {path, NULL};
    char *argv[24];
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t pid = -1;
    sigemptyset(&none);
    sigfillset(&all);
    fill_arguments(launch, argv);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    fill_files(&files, launch);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    /* PID 1 is never chosen when memory is short, but what it starts must not inherit that. */
    file_write("/proc/self/oom_score_adj", "0");
    int error = posix_spawn(&pid, crun_path, &files, &attributes, argv, environment);
    file_write("/proc/self/oom_score_adj", "-1000");
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error != 0 ? -error : pid;
}

/** Returns: a socket on which crun offers a terminal, or -errno. */
int
launch_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/** Returns: the terminal's master, non-blocking, or -errno. */
int
launch_receive_terminal(int listener)
{
    char name[256];
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {name, sizeof name};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    int terminal = -EPROTO;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    /* crun writes directly after it connects: this waits for crun alone, and not for a container. */
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = got < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (head != NULL && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&terminal, CMSG_DATA(head), sizeof terminal);
        fcntl(terminal, F_SETFL, O_RDWR | O_NONBLOCK);
    }
    close(fd);
    return terminal;
}
