/* Boots the guest OS under plain QEMU and uses it through the daemon's end of the guest link.
 *
 *   guest-boot --machine q35|microvm --kernel FILE --initrd FILE --image SQUASHFS [--bench N]
 *
 * TAP on standard output. Every wait has a deadline, and QEMU is a child that ends with us. */
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "drivers/guest-link.h"
#include "drivers/pod-config.h"

#include <errno.h>
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTAINERS 9
#define CMDLINE "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests"

typedef struct {
    GString *out, *err;
    BerthContainerState state;
    guint32 run;
    int code;
    gboolean oom;
    char *text;
    guint64 sequence;
    gint64 first_byte_us;
} Heard;

typedef struct {
    const char *machine, *kernel, *initrd, *image;
    char *folder, *socket_path, *console_path;
    GPid qemu;
    gboolean qemu_ended;
    gint64 started_us, ready_us;
    BerthLink *link;
    gboolean ready, configured, closed, usage_came;
    guint readies, brokens;
    BerthLinkHello hello;
    Heard containers[CONTAINERS];
    GString *exec_out, *exec_err;
    gboolean exec_started, exec_ended;
    int exec_code;
    char *exec_error;
    BerthLinkUsage usage[CONTAINERS];
} Rig;

static guint tests_done, tests_failed;

static void
result(gboolean ok, const char *name, const char *detail)
{
    tests_done++;
    tests_failed += !ok;
    g_print("%sok %u %s%s%s\n", ok ? "" : "not ", tests_done, name, ok || !detail ? "" : " # ",
            ok || !detail ? "" : detail);
}

/* ---- a channel over the unix socket of QEMU's port ---------------------------------------------- */

typedef struct {
    BerthChannel base;
    int fd;
    GSource *reader;
    guint retry;
    const BerthChannelWatch *watch;
    gpointer watch_data;
    const char *path;
} SocketChannel;

static SocketChannel *open_channel; /* the one that the test cuts */

static void
channel_send(BerthChannel *channel, GBytes *bytes)
{
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);
    SocketChannel *self = (SocketChannel *)channel;
    while (size > 0 && self->fd >= 0) {
        gssize written = send(self->fd, data, size, MSG_NOSIGNAL);
        if (written <= 0) {
            return;
        }
        data += written;
        size -= (gsize)written;
    }
}

static void
channel_close(BerthChannel *channel)
{
    SocketChannel *self = (SocketChannel *)channel;
    if (self->reader != NULL) {
        g_source_destroy(self->reader);
        g_source_unref(self->reader);
    }
    if (self->fd >= 0) {
        close(self->fd);
    }
    if (open_channel == self) {
        open_channel = NULL;
    }
    g_free(self);
}

static const BerthChannelOps channel_ops = {channel_send, channel_close};

static gboolean
channel_readable(int fd, GIOCondition condition, gpointer user_data)
{
    SocketChannel *self = user_data;
    guint8 data[65536];
    gssize got = recv(fd, data, sizeof data, MSG_DONTWAIT);
    if (got > 0) {
        self->watch->received(data, (gsize)got, self->watch_data);
    } else if (got == 0 || errno != EAGAIN) {
        self->watch->closed(NULL, self->watch_data);
    }
    return G_SOURCE_CONTINUE;
}

static BerthChannel *
channel_open(gboolean force, const BerthChannelWatch *watch, gpointer watch_data,
             gpointer open_data)
{
    Rig *rig = open_data;
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(rig->socket_path);
    struct sockaddr_storage native;
    gssize size = g_socket_address_get_native_size(address);
    g_socket_address_to_native(address, &native, sizeof native, NULL);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&native, (socklen_t)size) < 0) {
        close(fd);
        return NULL;
    }
    SocketChannel *self = g_new0(SocketChannel, 1);
    self->base.ops = &channel_ops;
    self->fd = fd;
    self->watch = watch;
    self->watch_data = watch_data;
    self->reader = g_unix_fd_source_new(fd, G_IO_IN | G_IO_HUP);
    g_source_set_callback(self->reader, (GSourceFunc)(void (*)(void))channel_readable, self, NULL);
    g_source_attach(self->reader, NULL);
    open_channel = self;
    return &self->base;
}

/* ---- ears --------------------------------------------------------------------------------------- */

static void
on_ready(const BerthLinkHello *hello, gpointer user_data)
{
    Rig *rig = user_data;
    rig->hello = *hello;
    rig->ready = TRUE;
    rig->readies++;
    rig->ready_us = rig->ready_us != 0 ? rig->ready_us : g_get_monotonic_time();
}

static void
on_configured(const GError *error, gpointer user_data)
{
    ((Rig *)user_data)->configured = error == NULL;
    if (error != NULL) {
        g_print("# configure: %s\n", error->message);
    }
}

static void
on_log(guint container, guint64 sequence, gint64 wall_us, BerthLinkStream stream,
       const guint8 *data, gsize size, gpointer user_data)
{
    Rig *rig = user_data;
    Heard *heard = &rig->containers[container];
    if (heard->first_byte_us == 0) {
        heard->first_byte_us = g_get_monotonic_time();
    }
    if (sequence != heard->sequence + 1) {
        g_print("# container %u: record %" G_GUINT64_FORMAT " after %" G_GUINT64_FORMAT "\n",
                container, sequence, heard->sequence);
    }
    heard->sequence = sequence;
    if (stream != BERTH_STREAM_GAP) {
        g_string_append_len(stream == BERTH_STREAM_STDERR ? heard->err : heard->out,
                            (const char *)data, (gssize)size);
    }
    berth_link_log_ack(rig->link, container, sequence);
}

static void
on_container(guint container, const BerthLinkContainer *state, gpointer user_data)
{
    Heard *heard = &((Rig *)user_data)->containers[container];
    heard->state = state->state;
    heard->run = state->run;
    heard->code = state->exit_code;
    heard->oom = state->oom;
    g_free(heard->text);
    heard->text = g_strdup(state->text);
}

static void
on_output(BerthProcessId exec, BerthLinkStream stream, const guint8 *data, gsize size,
          gpointer user_data)
{
    Rig *rig = user_data;
    g_string_append_len(stream == BERTH_STREAM_STDERR ? rig->exec_err : rig->exec_out,
                        (const char *)data, (gssize)size);
    berth_link_output_ack(rig->link, exec, stream, size);
}

static void
on_exec_started(BerthProcessId exec, gpointer user_data)
{
    ((Rig *)user_data)->exec_started = TRUE;
}

static void
on_exec_exited(BerthProcessId exec, int exit_code, const GError *error, gpointer user_data)
{
    Rig *rig = user_data;
    rig->exec_ended = TRUE;
    rig->exec_code = exit_code;
    g_free(rig->exec_error);
    rig->exec_error = error == NULL ? NULL : g_strdup(error->message);
}

static void
on_stats(const BerthLinkUsage *usage, gsize count, gpointer user_data)
{
    Rig *rig = user_data;
    memcpy(rig->usage, usage, MIN(count, CONTAINERS) * sizeof *usage);
    rig->usage_came = TRUE;
}

static void
on_broken(const GError *error, gpointer user_data)
{
    ((Rig *)user_data)->brokens++;
}

static void
on_closed(const GError *error, gpointer user_data)
{
    ((Rig *)user_data)->closed = TRUE;
    if (error != NULL) {
        g_print("# link closed: %s\n", error->message);
    }
}

static const BerthLinkWatch watch = {
    .ready = on_ready,
    .configured = on_configured,
    .log = on_log,
    .container = on_container,
    .output = on_output,
    .exec_started = on_exec_started,
    .exec_exited = on_exec_exited,
    .stats = on_stats,
    .broken = on_broken,
    .closed = on_closed,
};

/* ---- waiting ------------------------------------------------------------------------------------ */

typedef gboolean (*Condition)(Rig *rig, gpointer data);

static gboolean
on_timeout(gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
    return G_SOURCE_REMOVE;
}

static gboolean
wait_for(Rig *rig, Condition condition, gpointer data, guint seconds)
{
    gboolean late = FALSE;
    guint timer = g_timeout_add_seconds(seconds, on_timeout, &late);
    while (!condition(rig, data) && !late) {
        g_main_context_iteration(NULL, TRUE);
    }
    if (!late) {
        g_source_remove(timer);
    }
    return !late;
}

static gboolean
is_ready(Rig *rig, gpointer data)
{
    return rig->ready || rig->closed;
}

static gboolean
is_configured(Rig *rig, gpointer data)
{
    return rig->configured;
}

static gboolean
has_ended(Rig *rig, gpointer data)
{
    const Heard *heard = &rig->containers[GPOINTER_TO_UINT(data)];
    return heard->state >= BERTH_CONTAINER_EXITED;
}

static gboolean
is_running(Rig *rig, gpointer data)
{
    return rig->containers[GPOINTER_TO_UINT(data)].state >= BERTH_CONTAINER_RUNNING;
}

static gboolean
exec_has_ended(Rig *rig, gpointer data)
{
    return rig->exec_ended;
}

static gboolean
exec_says(Rig *rig, gpointer data)
{
    return strstr(rig->exec_out->str, data) != NULL || rig->exec_ended;
}

static gboolean
usage_came(Rig *rig, gpointer data)
{
    return rig->usage_came;
}

static gboolean
qemu_has_ended(Rig *rig, gpointer data)
{
    return rig->qemu_ended;
}

/* ---- the machine -------------------------------------------------------------------------------- */

static char *
tsc_parameter(void)
{
    g_autofree char *text = NULL;
    double mhz = 0;
    if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
        const char *line = strstr(text, "cpu MHz");
        mhz = line == NULL ? 0 : g_ascii_strtod(strchr(line, ':') + 1, NULL);
    }
    return mhz > 0 ? g_strdup_printf(" tsc_early_khz=%d", (int)(mhz * 1000)) : g_strdup("");
}

static void
qemu_exited(GPid pid, int status, gpointer user_data)
{
    ((Rig *)user_data)->qemu_ended = TRUE;
}

static void
die_with_parent(gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void
start_qemu(Rig *rig)
{
    gboolean microvm = g_str_equal(rig->machine, "microvm");
    g_autofree char *tsc = microvm ? tsc_parameter() : g_strdup("");
    g_autofree char *cmdline = g_strconcat(CMDLINE, tsc, NULL);
    g_autofree char *drive =
        g_strdup_printf("file=%s,format=raw,if=none,id=d0,read-only=on", rig->image);
    g_autofree char *chardev =
        g_strdup_printf("socket,id=c0,path=%s,server=on,wait=off", rig->socket_path);
    g_autofree char *serial = g_strdup_printf("file:%s", rig->console_path);
    const char *argv[] = {"qemu-system-x86_64",
                          "-nodefaults",
                          "-no-user-config",
                          "-no-reboot",
                          "-display",
                          "none",
                          "-accel",
                          "tcg",
                          "-m",
                          "256",
                          "-machine",
                          microvm ? "microvm,rtc=on,pit=on,pic=on,isa-serial=on" : "q35,usb=off",
                          "-kernel",
                          rig->kernel,
                          "-initrd",
                          rig->initrd,
                          "-append",
                          cmdline,
                          "-serial",
                          serial,
                          "-chardev",
                          chardev,
                          "-device",
                          microvm ? "virtio-serial-device" : "virtio-serial-pci",
                          "-device",
                          "virtserialport,chardev=c0,name=berth.link.0",
                          "-drive",
                          drive,
                          "-device",
                          microvm ? "virtio-blk-device,drive=d0,serial=img0"
                                  : "virtio-blk-pci,drive=d0,serial=img0",
                          "-netdev",
                          "user,id=n0,restrict=on",
                          "-device",
                          microvm ? "virtio-net-device,netdev=n0,mac=52:54:00:00:00:07"
                                  : "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:07,romfile=",
                          NULL};
    g_autoptr(GError) error = NULL;
    unlink(rig->socket_path);
    rig->started_us = g_get_monotonic_time();
    if (!g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                       die_with_parent, NULL, &rig->qemu, &error)) {
        g_print("Bail out! %s\n", error->message);
        exit(1);
    }
    g_child_watch_add(rig->qemu, qemu_exited, rig);
}

static void
start_link(Rig *rig)
{
    BerthLinkOptions options = {
        .open = channel_open,
        .open_data = rig,
        .clock = berth_clock_system(),
        .random = berth_random_system(),
        .hello_deadline_us = 60 * G_USEC_PER_SEC,
    };
    rig->link = berth_link_new(&options, &watch, rig);
    berth_link_attach(rig->link);
}

static Rig *
rig_new(const char *machine, const char *kernel, const char *initrd, const char *image)
{
    Rig *rig = g_new0(Rig, 1);
    rig->machine = machine;
    rig->kernel = kernel;
    rig->initrd = initrd;
    rig->image = image;
    rig->folder = g_dir_make_tmp("berth-guest-XXXXXX", NULL);
    rig->socket_path = g_build_filename(rig->folder, "link", NULL);
    rig->console_path = g_build_filename(rig->folder, "console", NULL);
    rig->exec_out = g_string_new(NULL);
    rig->exec_err = g_string_new(NULL);
    for (guint i = 0; i < CONTAINERS; i++) {
        rig->containers[i].out = g_string_new(NULL);
        rig->containers[i].err = g_string_new(NULL);
    }
    start_qemu(rig);
    start_link(rig);
    return rig;
}

static void
rig_free(Rig *rig)
{
    berth_link_free(rig->link);
    if (!rig->qemu_ended) {
        kill(rig->qemu, SIGKILL);
        wait_for(rig, qemu_has_ended, NULL, 10);
    }
    unlink(rig->socket_path);
    unlink(rig->console_path);
    rmdir(rig->folder);
    for (guint i = 0; i < CONTAINERS; i++) {
        g_string_free(rig->containers[i].out, TRUE);
        g_string_free(rig->containers[i].err, TRUE);
        g_free(rig->containers[i].text);
    }
    g_string_free(rig->exec_out, TRUE);
    g_string_free(rig->exec_err, TRUE);
    g_free(rig->exec_error);
    g_free(rig->folder);
    g_free(rig->socket_path);
    g_free(rig->console_path);
    g_free(rig);
}

/* ---- the pod ------------------------------------------------------------------------------------ */

static const char *const image_env[] = {"PATH=/bin", NULL};
static const BerthImageConfig image_config = {.env = image_env, .workdir = "/work"};

enum { SPLIT, MAIN, MISSING, LOG, BOMB, MEMORY, FILL, AGAIN, TERMINAL };

static const struct {
    const char *name, *script;
    guint64 memory_mib, pids_max;
    gboolean tty;
} plans[CONTAINERS] = {
    [SPLIT] = {"split", "echo out; echo err >&2; exit 7", 0, 0, FALSE},
    [MAIN] = {"main",
              "trap 'exit 5' TERM; hostname; cat /etc/hosts; pwd; "
              "while :; do sleep 1; done",
              0, 0, FALSE},
    [MISSING] = {"missing", NULL, 0, 0, FALSE},
    [LOG] = {"log", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", 0, 0, FALSE},
    [BOMB] = {"bomb", "echo go; bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done", 0, 64,
              FALSE},
    [MEMORY] = {"memory", "tail /dev/zero; exit 9", 24, 0, FALSE},
    [FILL] = {"fill", "dd if=/dev/zero of=/big bs=1M count=2000; exit 8", 0, 0, FALSE},
    [AGAIN] = {"again", "echo run >> /runs; wc -l < /runs", 0, 0, FALSE},
    [TERMINAL] = {"terminal", "test -t 0 && echo is a terminal; read line; echo read $line", 0, 0,
                  TRUE},
};

static void
configure(Rig *rig)
{
    BerthLinkContainerPlan containers[CONTAINERS] = {0};
    BerthContainerSetup *setups[CONTAINERS];
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < CONTAINERS; i++) {
        const char *const shell[] = {"sh", "-c", plans[i].script, NULL};
        const char *const missing[] = {"/bin/there-is-no-such", NULL};
        BerthContainerWish wish = {.name = plans[i].name,
                                   .command = plans[i].script != NULL ? shell : missing,
                                   .memory_mib = plans[i].memory_mib,
                                   .pids_max = plans[i].pids_max,
                                   .tty = plans[i].tty};
        setups[i] = berth_container_setup_new(&image_config, &wish, &error);
        g_assert_no_error(error);
        containers[i] = (BerthLinkContainerPlan){.name = plans[i].name,
                                                 .image_serial = "img0",
                                                 .config = setups[i]->config,
                                                 .user = setups[i]->user,
                                                 .stop_signal = setups[i]->stop_signal,
                                                 .tty = plans[i].tty,
                                                 .stdin_open = plans[i].tty};
    }
    const char *const dns[] = {"10.0.2.3", NULL}, *const search[] = {"example.test", NULL};
    BerthLinkNic nic = {"52:54:00:00:00:07", "10.0.2.15/24", "10.0.2.2"};
    BerthLinkConfig config = {.id = 1,
                              .hostname = "box",
                              .dns = dns,
                              .search = search,
                              .nics = &nic,
                              .nic_count = 1,
                              .containers = containers,
                              .container_count = CONTAINERS};
    berth_link_configure(rig->link, &config, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < CONTAINERS; i++) {
        berth_container_setup_free(setups[i]);
    }
}

static gboolean
run_to_end(Rig *rig, guint container, guint32 run, guint seconds)
{
    rig->containers[container].state = BERTH_CONTAINER_WAITING;
    berth_link_start(rig->link, container, run);
    return wait_for(rig, has_ended, GUINT_TO_POINTER(container), seconds);
}

static BerthProcessId
begin_exec(Rig *rig, const char *script, const char *user, gboolean tty)
{
    const char *const command[] = {"sh", "-c", script, NULL};
    g_autoptr(GError) error = NULL;
    BerthContainerWish wish = {.name = plans[MAIN].name};
    g_autofree char *process =
        berth_exec_setup(&image_config, &wish, command, NULL, NULL, tty, &error);
    BerthLinkExec exec = {.container = MAIN,
                          .process = process,
                          .user = user,
                          .tty = tty,
                          .stdin_open = TRUE,
                          .rows = 24,
                          .columns = 80};
    g_string_truncate(rig->exec_out, 0);
    g_string_truncate(rig->exec_err, 0);
    rig->exec_started = rig->exec_ended = FALSE;
    g_clear_pointer(&rig->exec_error, g_free);
    BerthProcessId id = berth_link_exec(rig->link, &exec, &error);
    g_assert_no_error(error);
    return id;
}

static gboolean
exec_gives(Rig *rig, const char *script, const char *user, const char *out, int code)
{
    begin_exec(rig, script, user, FALSE);
    gboolean ended = wait_for(rig, exec_has_ended, NULL, 30);
    gboolean ok = ended && rig->exec_code == code && g_str_equal(rig->exec_out->str, out);
    if (!ok) {
        g_print("# '%s': ended %d code %d out '%s' err '%s' error '%s'\n", script, ended,
                rig->exec_code, rig->exec_out->str, rig->exec_err->str,
                rig->exec_error ? rig->exec_error : "");
    }
    return ok;
}

static gboolean
answers(Rig *rig)
{
    rig->usage_came = FALSE;
    berth_link_stats(rig->link);
    return wait_for(rig, usage_came, NULL, 20);
}

/* ---- the tests ---------------------------------------------------------------------------------- */

static void
test_streams_and_codes(Rig *rig)
{
    run_to_end(rig, SPLIT, 1, 60);
    Heard *split = &rig->containers[SPLIT];
    g_print("# init %.0f ms and port %.0f ms after the kernel began; hello after %.0f ms; first "
            "byte %.0f ms after hello, %.0f ms after QEMU's start\n",
            rig->hello.init_us / 1e3, rig->hello.port_us / 1e3,
            (rig->ready_us - rig->started_us) / 1e3, (split->first_byte_us - rig->ready_us) / 1e3,
            (split->first_byte_us - rig->started_us) / 1e3);
    result(g_str_equal(split->out->str, "out\n") && g_str_equal(split->err->str, "err\n"),
           "stdout and stderr come apart", split->text);
    result(split->state == BERTH_CONTAINER_EXITED && split->code == 7, "exit code is 7",
           split->text);
    run_to_end(rig, MISSING, 1, 30);
    Heard *missing = &rig->containers[MISSING];
    g_print("# missing program: %d '%s'\n", missing->code, missing->text ? missing->text : "");
    result(missing->state == BERTH_CONTAINER_FAILED && missing->code == 127,
           "a missing program is 127", missing->text);
    run_to_end(rig, AGAIN, 1, 30);
    run_to_end(rig, AGAIN, 2, 30);
    result(g_str_equal(rig->containers[AGAIN].out->str, "1\n2\n"),
           "a second run keeps what the first wrote", rig->containers[AGAIN].out->str);
}

static void
test_terminal_container(Rig *rig)
{
    berth_link_start(rig->link, TERMINAL, 1);
    berth_link_stdin(rig->link, TERMINAL, "hello\n", 6);
    gboolean ended = wait_for(rig, has_ended, GUINT_TO_POINTER(TERMINAL), 30);
    const char *out = rig->containers[TERMINAL].out->str;
    result(ended && strstr(out, "is a terminal") && strstr(out, "read hello\r\n"),
           "a container with a terminal reads input", out);
}

static void
test_execs(Rig *rig)
{
    berth_link_start(rig->link, MAIN, 1);
    result(wait_for(rig, is_running, GUINT_TO_POINTER(MAIN), 30), "a second container runs", NULL);
    result(exec_gives(rig, "echo a; echo b >&2; exit 3", "", "a\n", 3) &&
               g_str_equal(rig->exec_err->str, "b\n"),
           "exec has streams and a code", NULL);
    result(exec_gives(rig, "id -u; id -g", "nobody", "65534\n65534\n", 0), "exec as a user by name",
           NULL);
    result(exec_gives(rig, "id -G", "tom", "1000 7\n", 0), "groups come from the image", NULL);
    result(
        exec_gives(rig, "grep -c CapEff:.0000000000000000 /proc/self/status", "nobody", "1\n", 0),
        "others than root have no capabilities", NULL);
    result(exec_gives(rig, "grep CapEff /proc/self/status", "", "CapEff:\t00000000a80425fb\n", 0),
           "root has the usual capabilities", NULL);
    result(exec_gives(rig, "cat /proc/self/oom_score_adj /proc/1/oom_score_adj", "", "0\n0\n", 0),
           "the kernel may choose containers when memory is short", NULL);
    result(exec_gives(rig,
                      "hostname; pwd; ip -4 -o addr show eth0 | grep -c 10.0.2.15/24; "
                      "ip route | grep -c 'default via 10.0.2.2'; cat /etc/resolv.conf",
                      "", "box\n/work\n1\n1\nnameserver 10.0.2.3\nsearch example.test\n", 0),
           "host name, folder, address, route and resolver", NULL);
    begin_exec(rig, "nothing", "nosuchuser", FALSE);
    wait_for(rig, exec_has_ended, NULL, 30);
    result(rig->exec_error && strstr(rig->exec_error, "no user 'nosuchuser'"),
           "an unknown user is refused", rig->exec_error);
    BerthProcessId id = begin_exec(rig, "wc -c", "", FALSE);
    g_autofree char *block = g_strnfill(60000, 'x');
    berth_link_stdin(rig->link, id, block, 60000);
    berth_link_stdin_eof(rig->link, id);
    result(wait_for(rig, exec_has_ended, NULL, 30) && g_str_equal(rig->exec_out->str, "60000\n"),
           "exec reads its input to the end", rig->exec_out->str);
    begin_exec(rig, "i=0; while [ $i -lt 5000 ]; do echo line $i of the output; i=$((i+1)); done",
               "", FALSE);
    result(wait_for(rig, exec_has_ended, NULL, 60) && rig->exec_out->len == 5000 * 20 + 18890 &&
               g_str_has_suffix(rig->exec_out->str, "line 4999 of the output\n"),
           "exec's output is whole", rig->exec_out->str + MAX(0, (int)rig->exec_out->len - 40));
}

static void
test_terminals_and_signals(Rig *rig)
{
    BerthProcessId id = begin_exec(rig,
                                   "trap 'stty size; exit 4' WINCH; stty size; "
                                   "while :; do sleep 0.2; done",
                                   "", TRUE);
    result(wait_for(rig, exec_says, (gpointer) "24 80\r\n", 30),
           "exec has a terminal of the size asked for", rig->exec_out->str);
    berth_link_resize(rig->link, id, 50, 132);
    result(wait_for(rig, exec_has_ended, NULL, 30) && strstr(rig->exec_out->str, "50 132") &&
               rig->exec_code == 4,
           "a resize reaches the program", rig->exec_out->str);
    id = begin_exec(rig, "trap 'echo got it; exit 6' USR1; echo up; while :; do sleep 0.2; done",
                    "", FALSE);
    wait_for(rig, exec_says, (gpointer) "up\n", 30);
    berth_link_signal(rig->link, id, SIGUSR1);
    result(wait_for(rig, exec_has_ended, NULL, 30) && rig->exec_code == 6, "a signal arrives",
           rig->exec_out->str);
    id = begin_exec(rig, "echo up; sleep 100", "", FALSE);
    wait_for(rig, exec_says, (gpointer) "up\n", 30);
    berth_link_signal(rig->link, id, SIGKILL);
    result(wait_for(rig, exec_has_ended, NULL, 30) && rig->exec_code == 137, "a killed exec is 137",
           NULL);
}

static void
test_hostile_containers(Rig *rig)
{
    begin_exec(rig, "kill -9 -1; echo alive", "", FALSE);
    wait_for(rig, exec_has_ended, NULL, 30);
    result(answers(rig) && rig->containers[MAIN].state == BERTH_CONTAINER_RUNNING,
           "kill -9 -1 inside harms nothing outside", NULL);
    run_to_end(rig, MEMORY, 1, 60);
    g_print("# memory: state %d code %d oom %d\n", rig->containers[MEMORY].state,
            rig->containers[MEMORY].code, rig->containers[MEMORY].oom);
    result(rig->containers[MEMORY].oom && answers(rig), "out of memory is seen and survived", NULL);
    run_to_end(rig, FILL, 1, 120);
    g_print("# fill: code %d oom %d %s\n", rig->containers[FILL].code, rig->containers[FILL].oom,
            rig->containers[FILL].err->str);
    result(rig->containers[FILL].state == BERTH_CONTAINER_EXITED && answers(rig),
           "a full root file system is survived", rig->containers[FILL].text);
    berth_link_start(rig->link, BOMB, 1);
    wait_for(rig, is_running, GUINT_TO_POINTER(BOMB), 30);
    result(exec_gives(rig, "echo here", "", "here\n", 0), "a neighbour works beside a fork bomb",
           NULL);
    berth_link_stop(rig->link, BOMB, 500);
    result(wait_for(rig, has_ended, GUINT_TO_POINTER(BOMB), 40) &&
               rig->containers[BOMB].code == 137,
           "a fork bomb is stopped", rig->containers[BOMB].text);
}

static gboolean
log_has_grown(Rig *rig, gpointer data)
{
    return rig->containers[LOG].out->len >= GPOINTER_TO_SIZE(data) ||
           rig->containers[LOG].state >= BERTH_CONTAINER_EXITED;
}

static void
test_log_over_cuts(Rig *rig)
{
    g_autoptr(GString) expected = g_string_new(NULL);
    for (int i = 0; i < 20000; i++) {
        g_string_append_printf(expected, "line %d\n", i);
    }
    guint brokens = rig->brokens;
    berth_link_start(rig->link, LOG, 1);
    for (gsize cut = 1; cut <= 5; cut++) {
        wait_for(rig, log_has_grown, GSIZE_TO_POINTER(cut * expected->len / 7), 60);
        if (open_channel != NULL) {
            shutdown(open_channel->fd, SHUT_RDWR);
        }
    }
    gboolean ended = wait_for(rig, has_ended, GUINT_TO_POINTER(LOG), 60);
    g_print("# log: %zu of %zu bytes, %u cuts, %u sessions resumed\n",
            rig->containers[LOG].out->len, expected->len, rig->brokens - brokens, rig->readies - 1);
    result(ended && rig->brokens > brokens && g_string_equal(expected, rig->containers[LOG].out),
           "a log over a broken link is whole and in order", NULL);
}

static void
test_stop_and_power_off(Rig *rig)
{
    berth_link_stop(rig->link, MAIN, 10000);
    result(wait_for(rig, has_ended, GUINT_TO_POINTER(MAIN), 30) && rig->containers[MAIN].code == 5,
           "the stop signal ends a container in its own way", NULL);
    berth_link_shutdown(rig->link, 2000);
    result(wait_for(rig, qemu_has_ended, NULL, 30), "a shutdown powers the machine off", NULL);
    result(rig->closed || wait_for(rig, is_ready, NULL, 1), "the link ends in order", NULL);
}

static gboolean
boot(Rig *rig)
{
    if (!wait_for(rig, is_ready, NULL, 90) || !rig->ready) {
        g_autofree char *console = NULL;
        g_file_get_contents(rig->console_path, &console, NULL, NULL);
        g_print("# console: %s\n", console ? g_strdelimit(console, "\r\n", ' ') : "");
        return FALSE;
    }
    configure(rig);
    return wait_for(rig, is_configured, NULL, 30);
}

static void
run_all(Rig *rig)
{
    gboolean booted = boot(rig);
    result(booted, "the guest answers and takes its configuration", rig->hello.kernel);
    if (booted) {
        test_streams_and_codes(rig);
        test_terminal_container(rig);
        test_execs(rig);
        test_terminals_and_signals(rig);
        test_hostile_containers(rig);
        test_log_over_cuts(rig);
        test_stop_and_power_off(rig);
    }
}

/* Time from QEMU's start to a container's first byte, and its parts. */
static void
bench(const char *machine, const char *kernel, const char *initrd, const char *image, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        Rig *rig = rig_new(machine, kernel, initrd, image);
        if (!wait_for(rig, is_ready, NULL, 60) || !rig->ready) {
            g_print("%s did not boot\n", machine);
            rig_free(rig);
            continue;
        }
        configure(rig);
        berth_link_start(rig->link, SPLIT, 1);
        wait_for(rig, has_ended, GUINT_TO_POINTER(SPLIT), 60);
        gint64 first = rig->containers[SPLIT].first_byte_us;
        g_print("%s: kernel->init %.0f init->port %.0f start->hello %.0f hello->byte %.0f total "
                "%.0f ms\n",
                machine, rig->hello.init_us / 1e3, (rig->hello.port_us - rig->hello.init_us) / 1e3,
                (rig->ready_us - rig->started_us) / 1e3, (first - rig->ready_us) / 1e3,
                (first - rig->started_us) / 1e3);
        rig_free(rig);
    }
}

int
main(int argc, char **argv)
{
    char *machine = NULL, *kernel = NULL, *initrd = NULL, *image = NULL;
    int rounds = 0;
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {
        {"machine", 0, 0, G_OPTION_ARG_STRING, &machine, "q35 or microvm", NULL},
        {"kernel", 0, 0, G_OPTION_ARG_FILENAME, &kernel, NULL, NULL},
        {"initrd", 0, 0, G_OPTION_ARG_FILENAME, &initrd, NULL, NULL},
        {"image", 0, 0, G_OPTION_ARG_FILENAME, &image, "squashfs with busybox", NULL},
        {"bench", 0, 0, G_OPTION_ARG_INT, &rounds, "only measure, so often", NULL},
        {NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !machine || !kernel || !initrd ||
        !image) {
        g_printerr("guest-boot: %s\n", error ? error->message : "an option is missing");
        return 2;
    }
    if (rounds > 0) {
        bench(machine, kernel, initrd, image, rounds);
        return 0;
    }
    Rig *rig = rig_new(machine, kernel, initrd, image);
    run_all(rig);
    rig_free(rig);
    g_print("1..%u\n", tests_done);
    return tests_failed > 0;
}
