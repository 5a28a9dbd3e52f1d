/* The rig: QEMU as a child, a channel to its port, and ears that note what comes. Main loop.
 * Start reading at rig_new(). */
#include "tests/integration/guest-rig.h"

#include "base/clock.h"
#include "base/random.h"
#include "tests/integration/socket-channel.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CMDLINE "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests"

static BerthChannel *
channel_open(gboolean force, const BerthChannelWatch *watch, gpointer watch_data,
             gpointer open_data)
{
    Rig *rig = open_data;
    return socket_channel_open(rig->socket_path, watch, watch_data, &rig->channel);
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
    memcpy(rig->usage, usage, MIN(count, RIG_CONTAINERS) * sizeof *usage);
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

static gboolean
on_timeout(gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
    return G_SOURCE_REMOVE;
}

gboolean
rig_wait(Rig *rig, Condition condition, gpointer data, guint seconds)
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

gboolean
rig_has_ended(Rig *rig, gpointer data)
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

Rig *
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
    for (guint i = 0; i < RIG_CONTAINERS; i++) {
        rig->containers[i].out = g_string_new(NULL);
        rig->containers[i].err = g_string_new(NULL);
    }
    start_qemu(rig);
    start_link(rig);
    return rig;
}

void
rig_free(Rig *rig)
{
    berth_link_free(rig->link);
    if (!rig->qemu_ended) {
        kill(rig->qemu, SIGKILL);
        rig_wait(rig, rig_has_ended, NULL, 10);
    }
    unlink(rig->socket_path);
    unlink(rig->console_path);
    rmdir(rig->folder);
    for (guint i = 0; i < RIG_CONTAINERS; i++) {
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
