/* Bare QEMU for comparison: the very command line of a guest of Berth's, without libvirt around it.
 *
 * Invariant: what the guest sees (machine, devices, kernel, initramfs, command line, disks) is what
 * Berth's guest saw; only the ends outside of it (monitor, files of libvirt) are changed. As libvirt does,
 * QEMU is told to go on when it is ready, so that its own start is known. Start reading at rewrite(). */
#include "tests/bench/bench.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "drivers/guest-link.h"
#include "drivers/host.h"
#include "drivers/pod-config.h"
#include "tests/integration/socket-channel.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINK_FD 40
#define MONITOR_FD 41

struct BenchBare {
    char *folder, *socket_path, *root; /* owned */
    char *serial;                      /* of the image's disk; owned */
    char *link_chardev;                /* owned */
    GPtrArray *argv;                   /* of char *, ends with NULL */
};

void
bench_bare_free(BenchBare *bare)
{
    if (bare == NULL) {
        return;
    }
    g_free(bare->folder);
    g_free(bare->socket_path);
    g_free(bare->root);
    g_free(bare->serial);
    g_free(bare->link_chardev);
    g_ptr_array_unref(bare->argv);
    g_free(bare);
}

/* ---- the command line of a running guest ---- */

static char **
split_arguments(const char *text, gsize size)
{
    GPtrArray *list = g_ptr_array_new();
    for (const char *at = text; at < text + size; at += strlen(at) + 1) {
        g_ptr_array_add(list, g_strdup(at));
    }
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}

static char **
find_guest(const char *uuid, char **pid)
{
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    for (const char *name; proc != NULL && (name = g_dir_read_name(proc)) != NULL;) {
        g_autofree char *path = g_build_filename("/proc", name, "cmdline", NULL);
        g_autofree char *text = NULL;
        gsize size;
        if (!g_ascii_isdigit(*name) || !g_file_get_contents(path, &text, &size, NULL)) {
            continue;
        }
        g_auto(GStrv) list = split_arguments(text, size);
        if (strstr(list[0] != NULL ? list[0] : "", "qemu") != NULL &&
            g_strv_contains((const char *const *)list, uuid)) {
            *pid = g_strdup(name);
            return g_steal_pointer(&list);
        }
    }
    return NULL;
}

/* The file's copy outside of the host's namespaces; it stays when the guest goes. */
static char *
copy_file(BenchBare *bare, const char *path, GError **error)
{
    g_autofree char *from = g_strconcat(bare->root, path, NULL);
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *to = g_build_filename(bare->folder, name, NULL);
    g_autoptr(GFile) source = g_file_new_for_path(from);
    g_autoptr(GFile) target = g_file_new_for_path(to);
    if (!g_file_copy(source, target, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, error)) {
        return NULL;
    }
    return g_steal_pointer(&to);
}

static void
learn_device(BenchBare *bare, const char *text)
{
    g_autoptr(json_t) device = json_loads(text, 0, NULL);
    const char *driver = berth_json_string(device, "driver");
    if (g_strcmp0(berth_json_string(device, "name"), BERTH_LINK_PORT) == 0) {
        bare->link_chardev = g_strdup(berth_json_string(device, "chardev"));
    } else if (driver != NULL && g_str_has_prefix(driver, "virtio-blk")) {
        bare->serial = g_strdup(berth_json_string(device, "serial"));
    }
}

static char *
rewrite_chardev(BenchBare *bare, const char *text)
{
    const char *at = strstr(text, "id=");
    g_autofree char *id = at != NULL ? g_strndup(at + 3, strcspn(at + 3, ",")) : g_strdup("");
    if (g_strcmp0(id, bare->link_chardev) == 0) {
        return g_strdup_printf("socket,id=%s,fd=%d,server=on,wait=off", id, LINK_FD);
    }
    if (g_str_equal(id, "charmonitor")) {
        return g_strdup_printf("socket,id=%s,fd=%d", id, MONITOR_FD);
    }
    return g_str_has_prefix(text, "pty") ? g_strdup(text) : g_strdup_printf("null,id=%s", id);
}

static char *
rewrite_blockdev(BenchBare *bare, const char *text, GError **error)
{
    g_autoptr(json_t) node = json_loads(text, 0, NULL);
    const char *path = berth_json_string(node, "filename");
    if (path == NULL) {
        return g_strdup(text);
    }
    g_autofree char *copy = copy_file(bare, path, error);
    if (copy == NULL) {
        return NULL;
    }
    json_object_set_new(node, "filename", json_string(copy));
    return json_dumps(node, JSON_COMPACT);
}

/* Returns the new value of @option, NULL with or without an error when both have to go. */
static char *
rewrite_value(BenchBare *bare, const char *option, const char *value, GError **error)
{
    if (g_str_equal(option, "-kernel") || g_str_equal(option, "-initrd")) {
        return copy_file(bare, value, error);
    }
    if (g_str_equal(option, "-blockdev")) {
        return rewrite_blockdev(bare, value, error);
    }
    if (g_str_equal(option, "-chardev")) {
        return rewrite_chardev(bare, value);
    }
    if (g_str_equal(option, "-netdev")) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "the guest has a network card: measure without");
        return NULL;
    }
    gboolean secret = g_str_equal(option, "-object") && strstr(value, "\"secret\"") != NULL;
    return secret || g_str_equal(option, "-add-fd") ? NULL : g_strdup(value);
}

static gboolean
rewrite(BenchBare *bare, char **old, GError **error)
{
    for (guint i = 1; old[i] != NULL; i++) {
        if (g_str_equal(old[i], "-device") && old[i + 1] != NULL) {
            learn_device(bare, old[i + 1]);
        }
    }
    for (guint i = 1; old[i] != NULL; i++) {
        gboolean has_value = old[i + 1] != NULL && *old[i + 1] != '-';
        if (!has_value) {
            g_ptr_array_add(bare->argv, g_strdup(old[i]));
            continue;
        }
        GError *problem = NULL;
        char *value = rewrite_value(bare, old[i], old[i + 1], &problem);
        if (problem != NULL) {
            g_propagate_error(error, problem);
            return FALSE;
        }
        if (value != NULL) {
            g_ptr_array_add(bare->argv, g_strdup(old[i]));
            g_ptr_array_add(bare->argv, value);
        }
        i++;
    }
    g_ptr_array_add(bare->argv, NULL);
    return TRUE;
}

BenchBare *
bench_bare_new(const char *uuid, const char *folder, GError **error)
{
    g_autofree char *pid = NULL;
    g_auto(GStrv) old = find_guest(uuid, &pid);
    if (old == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND,
                        "no QEMU with UUID '%s' on this machine: measure on the host itself", uuid);
        return NULL;
    }
    g_autoptr(BenchBare) bare = g_new0(BenchBare, 1);
    bare->folder = g_strdup(folder);
    bare->socket_path = g_build_filename(folder, "bare.sock", NULL);
    bare->root = g_build_filename("/proc", pid, "root", NULL);
    bare->argv = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *exe = g_build_filename("/proc", pid, "exe", NULL);
    char *program = g_file_read_link(exe, error);
    if (program == NULL) {
        return NULL;
    }
    g_ptr_array_add(bare->argv, program);
    if (!rewrite(bare, old, error)) {
        return NULL;
    }
    if (bare->serial == NULL || bare->link_chardev == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "domain '%s' is not a pod's", uuid);
        return NULL;
    }
    return g_steal_pointer(&bare);
}

/* ---- one boot ---- */

typedef struct {
    BenchBare *bare;
    const char *const *command;
    BerthLink *link;
    gint64 made_us, ready_us, configured_us, byte_us;
    gboolean late;
    GError *error;
} Boot;

static BerthChannel *
channel_open(gboolean force, const BerthChannelWatch *watch, gpointer watch_data, gpointer data)
{
    return socket_channel_open(((Boot *)data)->bare->socket_path, watch, watch_data, NULL);
}

static void
on_ready(const BerthLinkHello *hello, gpointer user_data)
{
    Boot *boot = user_data;
    boot->ready_us = g_get_monotonic_time();
    static const char *const env[] = {"PATH=/bin:/usr/bin", "HOME=/root", NULL};
    BerthImageConfig image = {.env = env, .workdir = "/"};
    BerthContainerWish wish = {.name = "main", .command = boot->command};
    g_autoptr(BerthContainerSetup) setup = berth_container_setup_new(&image, &wish, &boot->error);
    if (setup == NULL) {
        return;
    }
    BerthLinkContainerPlan plan = {.name = "main",
                                   .image_serial = boot->bare->serial,
                                   .config = setup->config,
                                   .user = setup->user,
                                   .stop_signal = setup->stop_signal};
    BerthLinkConfig config = {
        .id = 1, .hostname = "bare", .containers = &plan, .container_count = 1};
    if (berth_link_configure(boot->link, &config, &boot->error)) {
        berth_link_start(boot->link, 0, 1);
    }
}

static void
on_configured(const GError *error, gpointer user_data)
{
    Boot *boot = user_data;
    boot->configured_us = g_get_monotonic_time();
    if (error != NULL && boot->error == NULL) {
        boot->error = g_error_copy(error);
    }
}

static void
on_log(guint container, guint64 sequence, gint64 wall_us, BerthLinkStream stream,
       const guint8 *data, gsize size, gpointer user_data)
{
    Boot *boot = user_data;
    if (boot->byte_us == 0) {
        boot->byte_us = g_get_monotonic_time();
    }
}

static void
on_container(guint container, const BerthLinkContainer *state, gpointer user_data)
{
    Boot *boot = user_data;
    if (state->state >= BERTH_CONTAINER_EXITED && boot->byte_us == 0 && boot->error == NULL) {
        berth_error_set(&boot->error, BERTH_ERROR_UNAVAILABLE, "the container ended: %s",
                        state->text != NULL ? state->text : "without a word");
    }
}

static void
on_closed(const GError *error, gpointer user_data)
{
    Boot *boot = user_data;
    if (boot->error == NULL) {
        berth_error_set(&boot->error, BERTH_ERROR_UNAVAILABLE, "the link ended: %s",
                        error != NULL ? error->message : "in order");
    }
}

static void
ignore_exec(BerthProcessId exec, gpointer user_data)
{
}

static void
ignore_broken(const GError *error, gpointer user_data)
{
}

static const BerthLinkWatch watch = {
    .ready = on_ready,
    .configured = on_configured,
    .log = on_log,
    .container = on_container,
    .exec_started = ignore_exec,
    .broken = ignore_broken,
    .closed = on_closed,
};

static void
die_with_parent(gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Asks QEMU's monitor for @verb and waits for the answer: it comes when the machine is made. */
static gboolean
ask_monitor(int monitor, const char *verb)
{
    g_autofree char *text = g_strdup_printf("{\"execute\": \"%s\"}\n", verb);
    g_autoptr(GString) answer = g_string_new(NULL);
    gint64 deadline_us = g_get_monotonic_time() + BENCH_ROUND_S * G_USEC_PER_SEC;
    if (send(monitor, text, strlen(text), MSG_NOSIGNAL) < 0) {
        return FALSE;
    }
    while (strstr(answer->str, "\"return\"") == NULL) {
        struct pollfd wait = {.fd = monitor, .events = POLLIN};
        char data[4096];
        gssize got = poll(&wait, 1, 200) > 0 ? recv(monitor, data, sizeof data, 0) : -1;
        if (got == 0 || bench_is_over() || g_get_monotonic_time() > deadline_us) {
            return FALSE;
        }
        g_string_append_len(answer, data, MAX(got, 0));
    }
    return TRUE;
}

/* Lets the machine run, which -S held. */
static gboolean
power_on(Boot *boot, int monitor)
{
    gboolean made = ask_monitor(monitor, "qmp_capabilities");
    boot->made_us = g_get_monotonic_time();
    if (!made || !ask_monitor(monitor, "cont")) {
        berth_error_set(&boot->error, BERTH_ERROR_UNAVAILABLE, "bare QEMU did not start");
        return FALSE;
    }
    return TRUE;
}

/* Listens before QEMU starts, as libvirt does, so that the link is never too early. */
static gboolean
start_qemu(BenchBare *bare, GPid *pid, int *monitor, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int pair[2], fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, bare->socket_path, sizeof address.sun_path);
    g_unlink(bare->socket_path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0) {
        berth_error_set_errno(error, errno, "can't listen at '%s'", bare->socket_path);
        close(fd);
        return FALSE;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        berth_error_set_errno(error, errno, "can't make a socket pair");
        close(fd);
        return FALSE;
    }
    const int sources[] = {fd, pair[1]}, targets[] = {LINK_FD, MONITOR_FD};
    gboolean started = g_spawn_async_with_pipes_and_fds(
        bare->folder, (const char *const *)bare->argv->pdata, NULL,
        G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, die_with_parent, NULL, -1, -1, -1,
        sources, targets, 2, pid, NULL, NULL, NULL, error);
    close(fd);
    close(pair[1]);
    *monitor = pair[0];
    return started;
}

static gboolean
on_late(gpointer user_data)
{
    ((Boot *)user_data)->late = TRUE;
    return G_SOURCE_CONTINUE;
}

static void
await_byte(Boot *boot)
{
    BerthLinkOptions options = {.open = channel_open,
                                .open_data = boot,
                                .clock = berth_clock_system(),
                                .random = berth_random_system(),
                                .hello_deadline_us = BENCH_ROUND_S * G_USEC_PER_SEC};
    guint timer = g_timeout_add_seconds(BENCH_ROUND_S, on_late, boot);
    boot->link = berth_link_new(&options, &watch, boot);
    berth_link_attach(boot->link);
    while (boot->byte_us == 0 && boot->error == NULL && !boot->late && !bench_is_over()) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(timer);
    berth_link_free(boot->link);
}

/** Boots once until the first byte of @command, then ends QEMU. */
gboolean
bench_bare_run(BenchBare *bare, const char *const *command, BenchBareTimes *times, GError **error)
{
    Boot boot = {.bare = bare, .command = command};
    GPid pid;
    int monitor = -1;
    gint64 began_us = g_get_monotonic_time();
    gboolean started = start_qemu(bare, &pid, &monitor, error);
    if (started && power_on(&boot, monitor)) {
        await_byte(&boot);
    }
    if (monitor >= 0) {
        close(monitor);
    }
    if (!started) {
        return FALSE;
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    if (boot.error != NULL) {
        g_propagate_error(error, boot.error);
        return FALSE;
    }
    if (boot.byte_us == 0) {
        berth_error_set(error, BERTH_ERROR_TIMEOUT, "bare QEMU: no byte within %d s",
                        BENCH_ROUND_S);
        return FALSE;
    }
    *times = (BenchBareTimes){.qemu_ms = (double)(boot.made_us - began_us) / 1e3,
                              .boot_ms = (double)(boot.ready_us - boot.made_us) / 1e3,
                              .link_ms = (double)(boot.configured_us - boot.ready_us) / 1e3,
                              .crun_ms = (double)(boot.byte_us - boot.configured_us) / 1e3,
                              .total_ms = (double)(boot.byte_us - began_us) / 1e3};
    return TRUE;
}
