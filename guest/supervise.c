/* Containers and execs as real processes. crun is started detached, so that each is a child of PID 1 in
 * the end; its pid is read from crun's pid file once crun has ended well. Their streams are slot.c's.
 * Start reading at start_container() and supervise_reap(). */
#include "guest/supervise.h"

#include "guest/file.h"
#include "guest/launch.h"
#include "guest/mount.h"
#include "guest/net.h"
#include "guest/slot.h"
#include "guest/text.h"
#include "guest/user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STRAYS 64

static struct {
    BerthCore *core;
    bool power_off;
    char names[BERTH_POD_CONTAINERS_MAX][64];
    /* Ended before crun told us that they are ours. */
    struct {
        pid_t pid;
        int status;
    } strays[STRAYS];
    unsigned next_stray;
} self;

/* ---- clocks -------------------------------------------------------------------------------------- */

static int64_t
clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/** Returns: microseconds since the kernel began. */
int64_t
supervise_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

static int64_t
monotonic_us(void *runtime)
{
    return supervise_now_us();
}

static int64_t
wall_us(void *runtime)
{
    return clock_us(CLOCK_REALTIME);
}

/* A microVM may have no clock of its own; one that goes well is left alone. */
static void
set_wall_us(void *runtime, int64_t wanted)
{
    int64_t off = wanted - clock_us(CLOCK_REALTIME);
    if (wanted > 0 && (off > 2000000 || off < -2000000)) {
        struct timespec now = {wanted / 1000000, wanted % 1000000 * 1000};
        clock_settime(CLOCK_REALTIME, &now);
    }
}

static void
seed(void *runtime, const uint8_t *data, size_t size)
{
    struct {
        int bits, size;
        uint8_t bytes[64];
    } pool = {0};
    size = size < sizeof pool.bytes ? size : sizeof pool.bytes;
    pool.bits = (int)size * 8;
    pool.size = (int)size;
    memcpy(pool.bytes, data, size);
    int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ioctl(fd, RNDADDENTROPY, &pool);
        close(fd);
    }
}

/* ---- streams ------------------------------------------------------------------------------------- */

static void
output_wanted(void *runtime, uint32_t process)
{
    Slot *slot = slot_find(process);
    if (slot != NULL) {
        slot_await_output(slot);
    }
}

static long
input(void *runtime, uint32_t process, const uint8_t *data, size_t size)
{
    Slot *slot = slot_find(process);
    return slot == NULL ? -EPIPE : slot_write_input(slot, data, size);
}

static void
input_end(void *runtime, uint32_t process)
{
    Slot *slot = slot_find(process);
    if (slot != NULL) {
        slot_end_input(slot);
    }
}

static void
resize(void *runtime, uint32_t process, unsigned rows, unsigned columns)
{
    Slot *slot = slot_find(process);
    if (slot != NULL) {
        slot->rows = rows;
        slot->columns = columns;
        slot_resize_terminal(slot);
    }
}

/* ---- starting ------------------------------------------------------------------------------------ */

static int
make_pipe(int *ours, int *theirs, bool we_read)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    *ours = fds[we_read ? 0 : 1];
    *theirs = fds[we_read ? 1 : 0];
    fcntl(*ours, F_SETFL, O_NONBLOCK);
    return 0;
}

typedef struct {
    int in, out, err;
} ChildFiles;

static void
close_child_files(const ChildFiles *files)
{
    const int fds[] = {files->in, files->out, files->err};
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static int
open_streams(Slot *slot, bool input_open, const char *socket_path, ChildFiles *files)
{
    *files = (ChildFiles){-1, -1, -1};
    if (slot->tty) {
        slot->console.fd = launch_listen(socket_path);
        slot_watch(&slot->console, EPOLLIN, EVENT_CONSOLE, slot);
        return slot->console.fd < 0 ? slot->console.fd : 0;
    }
    int result = make_pipe(&slot->out[0].fd, &files->out, true);
    result = result < 0 ? result : make_pipe(&slot->out[1].fd, &files->err, true);
    if (result == 0 && input_open) {
        result = make_pipe(&slot->in.fd, &files->in, false);
    }
    return result;
}

/* Reads the line of crun's log that says why, without crun's own prefix. */
static void
read_reason(const char *log_file, char *text, size_t size)
{
    char log[512];
    file_read(AT_FDCWD, log_file, log, sizeof log);
    log[strcspn(log, "\n")] = '\0';
    char *message = strstr(log, "[crun]: ");
    message = message == NULL ? log : message + 8;
    text_copy(text, size, message[0] != '\0' ? message : "crun ended without a word");
}

/* As shells do: 127 there is no such program, 126 it can't be executed, 125 all else. */
static int
failure_code(const char *reason)
{
    if (strstr(reason, "executable") == NULL && strstr(reason, "exec ") == NULL) {
        return 125;
    }
    return strstr(reason, "not found") != NULL || strstr(reason, "No such file") != NULL ? 127
                                                                                         : 126;
}

static void
fail(Slot *slot, int exit_code, const char *text)
{
    uint32_t id = slot->id;
    slot_free(slot);
    berth_core_failed(self.core, id, exit_code, text);
}

static void
slot_path(const Slot *slot, const char *name, char *out, size_t size)
{
    snprintf(out, size, RUN_FOLDER "/slot/%u.%s", slot_index(slot), name);
}

static int
write_config(const char *path, const char *json, int rootfs, const char *user_name, char *text,
             size_t size)
{
    User user;
    int result = user_resolve(rootfs, user_name, &user, text, size);
    if (result < 0) {
        return result;
    }
    char *filled = user_fill_in(json, &user);
    if (filled == NULL) {
        text_copy(text, size, "the daemon's config has no place for the user");
        return -EINVAL;
    }
    result = file_write(path, filled);
    free(filled);
    if (result < 0) {
        snprintf(text, size, "can't write the config: %s", strerror(-result));
    }
    return result;
}

static int
run_crun(Slot *slot, Launch *launch, bool input_open, char *text, size_t size)
{
    char pid_file[64], log_file[64], socket_path[64];
    ChildFiles files;
    slot_path(slot, "pid", pid_file, sizeof pid_file);
    slot_path(slot, "log", log_file, sizeof log_file);
    slot_path(slot, "socket", socket_path, sizeof socket_path);
    unlink(pid_file);
    unlink(log_file);
    int result = open_streams(slot, input_open, socket_path, &files);
    if (result == 0) {
        launch->pid_file = pid_file;
        launch->log_file = log_file;
        launch->console_socket = slot->tty ? socket_path : NULL;
        launch->in = files.in;
        launch->out = files.out;
        launch->err = files.err;
        slot->crun = launch_crun(launch);
        result = slot->crun < 0 ? slot->crun : 0;
    }
    close_child_files(&files);
    if (result < 0) {
        snprintf(text, size, "can't start crun: %s", strerror(-result));
    }
    return result;
}

static int
prepare_container(const BerthPodContainer *container, unsigned index, char *text, size_t size)
{
    char path[96];
    int result = mount_container(container, index, text, size);
    if (result < 0) {
        return result;
    }
    snprintf(path, sizeof path, RUN_FOLDER "/container/%u/rootfs", index);
    int rootfs = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rootfs < 0) {
        return -errno;
    }
    snprintf(path, sizeof path, RUN_FOLDER "/container/%u/config.json", index);
    result = write_config(path, container->config, rootfs, container->user, text, size);
    close(rootfs);
    return result;
}

/* What the run before left of crun's records and of the cgroup. */
static void
forget_last_run(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/run/crun/%s", name);
    file_remove_tree(AT_FDCWD, path, 3);
    snprintf(path, sizeof path, POD_CGROUP "/%s", name);
    file_remove_tree(AT_FDCWD, path, 8);
}

static void
start_container(void *runtime, const BerthPod *pod, unsigned index)
{
    char text[160] = "", bundle[64];
    const BerthPodContainer *container = &pod->containers[index];
    Slot *slot = slot_new(index, index, container->tty);
    if (slot == NULL) {
        berth_core_failed(self.core, index, 125, "no slot is free");
        return;
    }
    text_copy(self.names[index], sizeof self.names[index], container->name);
    forget_last_run(container->name);
    snprintf(bundle, sizeof bundle, RUN_FOLDER "/container/%u", index);
    Launch launch = {.container = container->name, .bundle = bundle};
    if (prepare_container(container, index, text, sizeof text) < 0 ||
        run_crun(slot, &launch, container->input_open, text, sizeof text) < 0) {
        fail(slot, 125, text);
    }
}

static void
start_exec(void *runtime, const BerthPod *pod, const BerthPodExec *exec)
{
    char text[160] = "", path[96], process[64];
    Slot *slot = slot_new(exec->id, exec->container, exec->tty);
    if (slot == NULL) {
        berth_core_failed(self.core, exec->id, 126, "no slot is free");
        return;
    }
    slot->rows = exec->rows;
    slot->columns = exec->columns;
    snprintf(path, sizeof path, RUN_FOLDER "/container/%u/rootfs", exec->container);
    slot_path(slot, "json", process, sizeof process);
    int rootfs = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int result = rootfs < 0
                     ? -errno
                     : write_config(process, exec->process, rootfs, exec->user, text, sizeof text);
    if (rootfs >= 0) {
        close(rootfs);
    }
    Launch launch = {.container = pod->containers[exec->container].name, .process = process};
    if (result < 0 || run_crun(slot, &launch, exec->input_open, text, sizeof text) < 0) {
        fail(slot, 126, text);
    }
}

/* ---- signals, reaping ---------------------------------------------------------------------------- */

static void
send_signal(void *runtime, uint32_t process, int signum)
{
    Slot *slot = slot_find(process);
    if (slot != NULL && slot->pid > 0 && !slot->ended) {
        kill(slot->pid, signum);
    } else if (slot != NULL && slot->pid == 0 && signum == SIGKILL) {
        slot->killed = true;
    }
}

static bool
was_out_of_memory(const Slot *slot)
{
    char path[160], text[512];
    if (slot->id >= BERTH_EXEC_ID_MIN) {
        return false;
    }
    snprintf(path, sizeof path, POD_CGROUP "/%s/memory.events", self.names[slot->container]);
    file_read(AT_FDCWD, path, text, sizeof text);
    const char *kills = strstr(text, "oom_kill ");
    return kills != NULL && strtoul(kills + 9, NULL, 10) > 0;
}

/* The end is told after all output. Returns TRUE when the slot is gone. */
static bool
finish_when_drained(Slot *slot)
{
    if (!slot->used || !slot->ended || slot->crun > 0) {
        return false;
    }
    if (!slot_drain_output(slot)) {
        return false;
    }
    int code = WIFSIGNALED(slot->status) ? 128 + WTERMSIG(slot->status) : WEXITSTATUS(slot->status);
    bool oom = was_out_of_memory(slot);
    uint32_t id = slot->id;
    slot_free(slot);
    berth_core_exited(self.core, id, code, oom);
    return true;
}

static void
note_end(Slot *slot, int status)
{
    slot->ended = true;
    slot->status = status;
    finish_when_drained(slot);
}

static void
crun_ended(Slot *slot, int status)
{
    char path[64], text[160];
    slot->crun = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        slot_path(slot, "log", path, sizeof path);
        read_reason(path, text, sizeof text);
        fail(slot, failure_code(text), text);
        return;
    }
    slot_path(slot, "pid", path, sizeof path);
    slot->pid = (pid_t)file_read_number(path);
    if (slot->console.fd >= 0) {
        slot_take_terminal(slot); /* it lies in the queue, perhaps not reported yet */
    }
    berth_core_started(self.core, slot->id);
    slot_await_output(slot);
    if (slot->killed) {
        kill(slot->pid, SIGKILL);
    }
    for (unsigned i = 0; i < STRAYS; i++) {
        if (self.strays[i].pid == slot->pid && slot->pid > 0) {
            self.strays[i].pid = 0;
            note_end(slot, self.strays[i].status);
            return;
        }
    }
}

static void
child_ended(pid_t pid, int status)
{
    Slot *slot = slot_of_child(pid);
    if (slot != NULL && slot->crun == pid) {
        crun_ended(slot, status);
        return;
    }
    if (slot != NULL) {
        note_end(slot, status);
        return;
    }
    self.strays[self.next_stray].pid = pid;
    self.strays[self.next_stray].status = status;
    self.next_stray = (self.next_stray + 1) % STRAYS;
}

/** Reaps every child that has ended. */
void
supervise_reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        child_ended(pid, status);
    }
}

/* ---- the rest ------------------------------------------------------------------------------------ */

/** An event of epoll that is this file's. */
void
supervise_event(EventClass class, unsigned index)
{
    Slot *slot = slot_at(index);
    if (slot == NULL) {
        return;
    }
    if (class == EVENT_STDOUT || class == EVENT_STDERR) {
        slot_read_output(slot, class == EVENT_STDERR);
        finish_when_drained(slot);
    } else if (class == EVENT_STDIN) {
        slot_unwatch(&slot->in);
        berth_core_input_ready(self.core, slot->id);
    } else if (class == EVENT_CONSOLE) {
        slot_take_terminal(slot);
    }
}

static int
configure(void *runtime, const BerthPod *pod, char *text, size_t size)
{
    return net_configure(pod, text, size);
}

static int
usage(void *runtime, unsigned container, BerthPodUsage *out)
{
    char path[160], text[512];
    unsigned long long cpu_us = 0;
    const char *name = self.names[container];
    if (name[0] == '\0') {
        return -ENOENT;
    }
    snprintf(path, sizeof path, POD_CGROUP "/%s/cpu.stat", name);
    file_read(AT_FDCWD, path, text, sizeof text);
    sscanf(text, "usage_usec %llu", &cpu_us);
    out->cpu_us = cpu_us;
    snprintf(path, sizeof path, POD_CGROUP "/%s/memory.current", name);
    out->memory_bytes = file_read_number(path);
    snprintf(path, sizeof path, POD_CGROUP "/%s/memory.max", name);
    out->memory_max_bytes = file_read_number(path); /* "max" reads as 0 */
    snprintf(path, sizeof path, POD_CGROUP "/%s/pids.current", name);
    out->pids = file_read_number(path);
    return 0;
}

static void
power_off(void *runtime)
{
    self.power_off = true;
}

/** Returns: TRUE when everything is stopped and said. */
bool
supervise_wants_power_off(void)
{
    return self.power_off;
}

/** @epoll_fd: where streams are watched. Returns: 0 or -errno. */
int
supervise_init(int epoll_fd)
{
    slot_init(epoll_fd);
    launch_init();
    return file_make_folders(RUN_FOLDER "/slot");
}

/** Who hears what happens. */
void
supervise_set_core(BerthCore *core)
{
    self.core = core;
    slot_set_core(core);
}

const BerthRuntime supervise_runtime = {
    .monotonic_us = monotonic_us,
    .wall_us = wall_us,
    .set_wall_us = set_wall_us,
    .seed = seed,
    .configure = configure,
    .start = start_container,
    .exec = start_exec,
    .signal = send_signal,
    .resize = resize,
    .input = input,
    .input_end = input_end,
    .output_wanted = output_wanted,
    .usage = usage,
    .power_off = power_off,
};
