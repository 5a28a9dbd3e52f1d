/* `berth-bench logs`: how fast a container's log comes to `berth logs -f`, complete and in order, beside
 * libvirt's channel alone out of the same guest. Rounds of both take turns. */
#include "tests/bench/bench.h"

#include "base/error.h"
#include "base/json.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINES 10000 /* of 100 bytes, in a block: a megabyte */

/* The writer must cost little, or it is what is measured: it makes one block of numbered lines and says
 * it again and again, each time below the block's own number. */
static const char script[] =
    "awk 'BEGIN { for (i = 1; i <= %d; i++) printf \"%%08d %%090d\\n\", i, 0 }' >/tmp/block\n"
    "i=0; while [ $i -lt %d ]; do echo \"block $i\"; cat /tmp/block; i=$((i + 1)); done\n"
    "trap 'exit 0' TERM; sleep 3600 & wait";

typedef struct {
    GArray *berth, *bare; /* of double, in MB/s */
    double cpu_ms, megabytes;
    double memory_mb; /* the most that berthd ever had */
} Figures;

/* ---- what must come ---- */

typedef struct {
    GString *lines; /* of a block */
    GString *unit;  /* what is awaited now */
    gsize at;       /* in it */
    int block, blocks;
    gint64 first_us, last_us;
    guint64 bytes;
} Listener;

static void
await_block(Listener *listener)
{
    g_string_printf(listener->unit, "block %d\n", listener->block);
    g_string_append_len(listener->unit, listener->lines->str, (gssize)listener->lines->len);
    listener->at = 0;
}

static gboolean
take(Listener *listener, const char *data, gsize size, GError **error)
{
    while (size > 0 && listener->block < listener->blocks) {
        gsize part = MIN(size, listener->unit->len - listener->at);
        if (memcmp(listener->unit->str + listener->at, data, part) != 0) {
            berth_error_set(error, BERTH_ERROR_CORRUPT, "the log is wrong in block %d",
                            listener->block);
            return FALSE;
        }
        listener->at += part;
        listener->bytes += part;
        data += part;
        size -= part;
        if (listener->at == listener->unit->len) {
            listener->block++;
            await_block(listener);
        }
    }
    return TRUE;
}

static gboolean
listen_to(int fd, Listener *listener, GError **error)
{
    static char data[64 * 1024];
    gint64 deadline_us = g_get_monotonic_time() + BENCH_FLOOD_S * G_USEC_PER_SEC;
    while (listener->block < listener->blocks) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (bench_is_over() || g_get_monotonic_time() > deadline_us) {
            berth_error_set(error, BERTH_ERROR_TIMEOUT, "only %" G_GUINT64_FORMAT " bytes came",
                            listener->bytes);
            return FALSE;
        }
        if (poll(&wait, 1, 200) <= 0) {
            continue;
        }
        gssize got = read(fd, data, sizeof data);
        if (got <= 0) {
            berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "berth logs ended early");
            return FALSE;
        }
        listener->last_us = g_get_monotonic_time();
        listener->first_us = listener->first_us == 0 ? listener->last_us : listener->first_us;
        if (!take(listener, data, (gsize)got, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void
listener_init(Listener *listener, int blocks)
{
    *listener = (Listener){.blocks = blocks};
    listener->lines = g_string_new(NULL);
    listener->unit = g_string_new(NULL);
    for (int i = 1; i <= LINES; i++) {
        g_string_append_printf(listener->lines, "%08d %090d\n", i, 0);
    }
    await_block(listener);
}

static void
listener_clear(Listener *listener)
{
    g_string_free(listener->lines, TRUE);
    g_string_free(listener->unit, TRUE);
}

/* ---- a round ---- */

static gboolean
read_log(BenchRig *rig, const char *name, Listener *listener, GError **error)
{
    g_autofree char *berth = g_build_filename(rig->build, "berth", NULL);
    const char *argv[] = {berth, "logs", "-f", name, NULL};
    GPid pid;
    int out;
    if (!g_spawn_async_with_pipes(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                                  &pid, NULL, &out, NULL, error)) {
        return FALSE;
    }
    gboolean ok = listen_to(out, listener, error);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    close(out);
    return ok;
}

static BenchChannel *
learn_channel(BenchRig *rig, const char *path, GError **error)
{
    g_autoptr(json_t) pod = berth_client_get(rig->client, path, error);
    const json_t *status = json_object_get(pod, "status");
    const char *host = berth_json_string(status, "host");
    const char *uuid = berth_json_string(json_object_get(status, "domain"), "uuid");
    if (host == NULL || uuid == NULL) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "'%s' has no domain", path);
        return NULL;
    }
    g_autofree char *host_path = g_strconcat("/v1/hosts/", host, NULL);
    g_autoptr(json_t) record = berth_client_get(rig->client, host_path, error);
    const char *uri = berth_json_string(json_object_get(record, "spec"), "uri");
    return uri != NULL ? bench_channel_new(rig, uri, uuid, error) : NULL;
}

/* @channel: made by the first round. */
static gboolean
run_berth(BenchRig *rig, const BenchOptions *options, int round, BenchChannel **channel,
          Figures *figures, GError **error)
{
    g_autofree char *name = g_strdup_printf("flood-%d", round);
    g_autofree char *path = g_strconcat("/v1/projects/default/pods/", name, NULL);
    g_autofree char *text = g_strdup_printf(script, LINES, options->megabytes);
    const char *const command[] = {"/bin/sh", "-c", text, NULL};
    double before_ms = rig->daemon != 0 ? bench_cpu_ms(rig->daemon) : 0;
    Listener listener;
    listener_init(&listener, options->megabytes);
    gboolean ok = bench_put_pod(rig, path, options->profile, command, error) &&
                  read_log(rig, name, &listener, error);
    if (ok && *channel == NULL) {
        *channel = learn_channel(rig, path, error);
        ok = *channel != NULL;
    }
    if (ok) {
        double speed = (double)listener.bytes / (double)(listener.last_us - listener.first_us);
        g_array_append_val(figures->berth, speed);
    }
    if (ok && rig->daemon != 0) {
        figures->cpu_ms += bench_cpu_ms(rig->daemon) - before_ms;
        figures->megabytes += options->megabytes;
        figures->memory_mb = bench_memory_mb(rig->daemon, "VmHWM");
    }
    bench_remove_pod(rig, path);
    listener_clear(&listener);
    return ok;
}

static gboolean
run_rounds(BenchRig *rig, const BenchOptions *options, Figures *figures, GError **error)
{
    g_autoptr(BenchChannel) channel = NULL;
    int rounds = options->count > 0 ? options->count : 3;
    for (int i = 0; i < rounds; i++) {
        if (!run_berth(rig, options, i, &channel, figures, error)) {
            return FALSE;
        }
        double bare = bench_channel_run(channel, (guint64)options->megabytes * 1000000, error);
        if (bare <= 0) {
            return FALSE;
        }
        g_array_append_val(figures->bare, bare);
        g_printerr("round %d: berth logs -f %.1f MB/s, bare channel %.1f MB/s\n", i + 1,
                   g_array_index(figures->berth, double, i), bare);
    }
    return TRUE;
}

static void
print(const BenchOptions *options, Figures *figures)
{
    double berth = bench_percentile(figures->berth, 0.5);
    double bare = bench_percentile(figures->bare, 0.5);
    double cpu_ms = figures->megabytes > 0 ? figures->cpu_ms / figures->megabytes : 0;
    g_print(options->json
                ? "{\"profile\": \"%s\", \"n\": %u, \"mb\": %d, \"mb_s\": %.2f, "
                  "\"bare_mb_s\": %.2f, \"ratio\": %.3f, \"cpu_ms_mb\": %.1f, \"peak_mb\": %.1f}\n"
                : "%s, %u rounds of %d MB: berth logs -f %.1f MB/s, bare channel %.1f MB/s, ratio "
                  "%.2f\nberthd: %.0f ms of CPU for each MB, %.1f MB at most\n",
            options->profile, figures->bare->len, options->megabytes, berth, bare,
            bare > 0 ? berth / bare : 0, cpu_ms, figures->memory_mb);
}

/** Measures logs and prints them. Returns: an exit code. */
int
bench_logs(const BenchOptions *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BenchRig) rig = bench_rig_new(options, TRUE, &error);
    g_autoptr(GArray) berth = g_array_new(FALSE, FALSE, sizeof(double));
    g_autoptr(GArray) bare = g_array_new(FALSE, FALSE, sizeof(double));
    Figures figures = {.berth = berth, .bare = bare};
    gboolean ok = rig != NULL && run_rounds(rig, options, &figures, &error);
    if (!ok) {
        g_printerr("berth-bench: %s\n", error->message);
    }
    if (bare->len > 0) {
        print(options, &figures);
    }
    return ok ? 0 : 1;
}
