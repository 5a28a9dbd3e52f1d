/* `berth-bench idle`: what a berthd costs that has many pods and nothing to do. */
#include "tests/bench/bench.h"

#include "base/json.h"

static gboolean
store_pods(BenchRig *rig, int count, GError **error)
{
    for (int i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("/v1/projects/default/pods/idle-%d", i);
        g_autoptr(json_t) body = json_pack("{s:{s:[{s:s, s:s}], s:s}}", "spec", "containers",
                                           "name", "main", "image", BENCH_IMAGE, "run", "Manual");
        g_autoptr(json_t) pod = bench_call(rig, "PUT", path, body, error);
        if (pod == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

/** Prints memory and CPU of a berthd of our own that has @count pods which are off. */
int
bench_idle(const BenchOptions *options)
{
    int count = options->count > 0 ? options->count : 1000;
    BenchOptions own = *options;
    own.socket = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(BenchRig) rig = bench_rig_new(&own, FALSE, &error);
    if (rig == NULL || !store_pods(rig, count, &error)) {
        g_printerr("berth-bench: %s\n", error->message);
        return 1;
    }
    bench_pause(3000);
    double before_ms = bench_cpu_ms(rig->daemon);
    bench_pause(20000);
    double used_ms = bench_cpu_ms(rig->daemon) - before_ms,
           memory = bench_memory_mb(rig->daemon, "VmRSS");
    g_print(options->json
                ? "{\"pods\": %d, \"rss_mb\": %.1f, \"cpu_ms_in_20_s\": %.0f, \"cpu_ms_before\": "
                  "%.0f}\n"
                : "%d stored pods: %.1f MB resident, %.0f ms of CPU in 20 s (%.0f ms before)\n",
            count, memory, used_ms, before_ms);
    return 0;
}
