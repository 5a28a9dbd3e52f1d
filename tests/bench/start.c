/* `berth-bench start`: how long a pod takes from the API call to its first byte, beside bare QEMU. A
 * round of Berth and one of bare QEMU take turns, so that both meet the same machine. */
#include "tests/bench/bench.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

static const char *const command[] = {"/bin/sh", "-c",
                                      "echo byte; trap 'exit 0' TERM; sleep 3600 & wait", NULL};

/* What a start consists of; all but the last two as berthd measures them. */
static const char *const phases[] = {"place", "image", "define", "libvirt_start", "boot",
                                     "link",  "crun",  "answer", "total",         NULL};
enum { N_PHASES = G_N_ELEMENTS(phases) - 1, ANSWER = N_PHASES - 2, TOTAL = N_PHASES - 1 };
static const char *const bare_phases[] = {"qemu", "boot", "link", "crun", "total", NULL};
enum { N_BARE = G_N_ELEMENTS(bare_phases) - 1, BARE_TOTAL = N_BARE - 1 };

typedef struct {
    GArray *berth[N_PHASES], *libvirt, *bare[N_BARE]; /* of double, in ms */
} Figures;

/* ---- figures ---- */

static json_t *
phase_json(GArray *values)
{
    return json_pack("{s:f, s:f}", "p50_ms", bench_percentile(values, 0.5), "p95_ms",
                     bench_percentile(values, 0.95));
}

static double
ratio_of(Figures *figures)
{
    double bare = bench_percentile(figures->bare[BARE_TOTAL], 0.5);
    double own =
        bench_percentile(figures->berth[TOTAL], 0.5) - bench_percentile(figures->libvirt, 0.5);
    return bare > 0 ? own / bare : 0;
}

static void
print_json(Figures *figures, const char *profile)
{
    json_t *list = json_object(), *bare = json_object();
    for (guint i = 0; i < TOTAL; i++) {
        json_object_set_new(list, phases[i], phase_json(figures->berth[i]));
    }
    json_object_set_new(list, "libvirt", phase_json(figures->libvirt));
    for (guint i = 0; i < BARE_TOTAL; i++) {
        json_object_set_new(bare, bare_phases[i], phase_json(figures->bare[i]));
    }
    json_object_set_new(list, "bare", bare);
    g_autoptr(json_t) result = json_pack(
        "{s:s, s:i, s:f, s:f, s:f, s:f, s:o}", "profile", profile, "n", (int)figures->libvirt->len,
        "p50_ms", bench_percentile(figures->berth[TOTAL], 0.5), "p95_ms",
        bench_percentile(figures->berth[TOTAL], 0.95), "bare_p50_ms",
        bench_percentile(figures->bare[BARE_TOTAL], 0.5), "ratio", ratio_of(figures), "phases",
        list);
    g_autofree char *text = json_dumps(result, JSON_INDENT(2) | JSON_REAL_PRECISION(5));
    g_print("%s\n", text);
}

static void
print_row(const char *name, GArray *values)
{
    g_print("  %-14s %8.0f %8.0f\n", name, bench_percentile(values, 0.5),
            bench_percentile(values, 0.95));
}

static void
print_text(Figures *figures, const char *profile)
{
    g_print("%s, %u rounds       p50      p95  ms\n", profile, figures->libvirt->len);
    for (guint i = 0; i < N_PHASES; i++) {
        print_row(phases[i], figures->berth[i]);
    }
    print_row("(libvirt)", figures->libvirt);
    g_print("bare QEMU\n");
    for (guint i = 0; i < N_BARE; i++) {
        print_row(bare_phases[i], figures->bare[i]);
    }
    g_print("ratio %.3f (without libvirt's phase)\n", ratio_of(figures));
}

/* ---- a round of Berth ---- */

typedef struct {
    gint64 began_us, byte_us;
} Ear;

static gboolean
on_log(const char *data, gsize size, gpointer user_data, GError **error)
{
    Ear *ear = user_data;
    gint64 now_us = g_get_monotonic_time();
    if (size > 0 && memchr(data, '{', size) != NULL) {
        ear->byte_us = now_us;
        return FALSE;
    }
    if (bench_is_over()) {
        berth_error_set(error, BERTH_ERROR_TIMEOUT, "interrupted");
        return FALSE;
    }
    if (now_us > ear->began_us + BENCH_ROUND_S * G_USEC_PER_SEC) {
        berth_error_set(error, BERTH_ERROR_TIMEOUT, "a pod said nothing within %d s",
                        BENCH_ROUND_S);
        return FALSE;
    }
    return TRUE;
}

/* The record with its timing; NULL when it does not come within 10 s. */
static json_t *
await_timing(BenchRig *rig, const char *path)
{
    for (guint i = 0; i < 100 && !bench_is_over(); i++) {
        g_autoptr(json_t) pod = berth_client_get(rig->client, path, NULL);
        const json_t *timing = json_object_get(json_object_get(pod, "status"), "timing");
        if (json_object_get(timing, "total") != NULL) {
            return g_steal_pointer(&pod);
        }
        bench_pause(100);
    }
    return NULL;
}

static json_t *
start_pod(BenchRig *rig, const char *path, const char *profile, double *total_ms, GError **error)
{
    g_autofree char *logs = g_strconcat(path, "/logs?container=main&follow=true", NULL);
    Ear ear = {.began_us = g_get_monotonic_time()};
    if (!bench_put_pod(rig, path, profile, command, error) ||
        !berth_client_stream(rig->client, logs, on_log, &ear, error)) {
        return NULL;
    }
    if (ear.byte_us == 0) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "the log of '%s' ended before a byte",
                        path);
        return NULL;
    }
    *total_ms = (double)(ear.byte_us - ear.began_us) / 1e3;
    json_t *pod = await_timing(rig, path);
    if (pod == NULL) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "'%s' tells no timing", path);
    }
    return pod;
}

static void
count_berth(Figures *figures, const json_t *pod, double total_ms, double qemu_ms)
{
    const json_t *timing = json_object_get(json_object_get(pod, "status"), "timing");
    double served_ms = json_number_value(json_object_get(timing, "total"));
    double libvirt_ms = 0;
    for (guint i = 0; i < ANSWER; i++) {
        double value = json_number_value(json_object_get(timing, phases[i]));
        libvirt_ms +=
            g_str_equal(phases[i], "define") || g_str_equal(phases[i], "libvirt_start") ? value : 0;
        g_array_append_val(figures->berth[i], value);
    }
    libvirt_ms = MAX(libvirt_ms - qemu_ms, 0); /* bare QEMU has to be started too */
    double answer_ms = total_ms - served_ms;
    g_array_append_val(figures->berth[ANSWER], answer_ms);
    g_array_append_val(figures->berth[TOTAL], total_ms);
    g_array_append_val(figures->libvirt, libvirt_ms);
}

/* ---- the run ---- */

/* One start that is not counted: warms the caches, and shows how Berth's QEMU is started. */
static BenchBare *
warm_up(BenchRig *rig, const char *profile, GError **error)
{
    const char *path = "/v1/projects/default/pods/bench-warm";
    double total_ms;
    g_autoptr(json_t) pod = start_pod(rig, path, profile, &total_ms, error);
    BenchBare *bare = NULL;
    if (pod != NULL) {
        const json_t *domain = json_object_get(json_object_get(pod, "status"), "domain");
        bare = bench_bare_new(berth_json_string(domain, "uuid"), rig->folder, error);
    }
    bench_remove_pod(rig, path);
    return bare;
}

static gboolean
run_round(BenchRig *rig, BenchBare *bare, const char *profile, int round, Figures *figures,
          GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/projects/default/pods/bench-%d", round);
    double total_ms;
    g_autoptr(json_t) pod = start_pod(rig, path, profile, &total_ms, error);
    bench_remove_pod(rig, path);
    BenchBareTimes times;
    if (pod == NULL || !bench_bare_run(bare, command, &times, error)) {
        return FALSE;
    }
    count_berth(figures, pod, total_ms, times.qemu_ms);
    g_printerr("round %d: berth %.0f ms, bare %.0f ms\n", round + 1, total_ms, times.total_ms);
    const double list[] = {times.qemu_ms, times.boot_ms, times.link_ms, times.crun_ms,
                           times.total_ms};
    for (guint i = 0; i < G_N_ELEMENTS(list); i++) {
        g_array_append_val(figures->bare[i], list[i]);
    }
    return TRUE;
}

static gboolean
run_rounds(BenchRig *rig, const char *profile, int rounds, Figures *figures, GError **error)
{
    g_autoptr(BenchBare) bare = warm_up(rig, profile, error);
    if (bare == NULL) {
        return FALSE;
    }
    for (int i = 0; i < rounds; i++) {
        if (!run_round(rig, bare, profile, i, figures, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/** Measures starts and prints them. Returns: an exit code. */
int
bench_start(const BenchOptions *options)
{
    const char *profile = options->profile;
    int rounds = options->count > 0 ? options->count : 5;
    g_autoptr(GError) error = NULL;
    g_autoptr(BenchRig) rig = bench_rig_new(options, TRUE, &error);
    Figures figures = {.libvirt = g_array_new(FALSE, FALSE, sizeof(double))};
    for (guint i = 0; i < N_PHASES; i++) {
        figures.berth[i] = g_array_new(FALSE, FALSE, sizeof(double));
    }
    for (guint i = 0; i < N_BARE; i++) {
        figures.bare[i] = g_array_new(FALSE, FALSE, sizeof(double));
    }
    gboolean ok = rig != NULL && run_rounds(rig, profile, rounds, &figures, &error);
    if (!ok) {
        g_printerr("berth-bench: %s\n", error->message);
    }
    if (figures.libvirt->len > 0 && options->json) {
        print_json(&figures, profile);
    } else if (figures.libvirt->len > 0) {
        print_text(&figures, profile);
    }
    for (guint i = 0; i < N_PHASES; i++) {
        g_array_unref(figures.berth[i]);
    }
    for (guint i = 0; i < N_BARE; i++) {
        g_array_unref(figures.bare[i]);
    }
    g_array_unref(figures.libvirt);
    return ok ? 0 : 1;
}
