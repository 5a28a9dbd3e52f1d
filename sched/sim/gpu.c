/* berth-sim gpu: pods arrive on GPU nodes in a given order and none leaves; how much of the GPUs ends up
 * given out, and how much is fragmented. The protocol is that of the FGD study (USENIX ATC 2023) on
 * the openb trace. Start at run_order. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "sched/fleet.h"
#include "sched/forecast.h"
#include "sched/mix.h"
#include "sched/sim/sim.h"

#define MODELS_MAX 16

typedef struct {
    gint64 cpu_millis, memory_mib;
    guint n_gpus, millis;
    char **models; /* owned, NULL-terminated; NULL = any */
} Pod;

static void
clear_pod(gpointer data)
{
    g_strfreev(((Pod *)data)->models);
}

static GArray *
read_pods(const char *path, GError **error)
{
    g_autoptr(SimCsv) csv = sim_csv_read(path, error);
    const SimField fields[] = {{"cpu_milli", 0, 1000 * SIM_VCPUS_MAX, FALSE},
                               {"memory_mib", 0, 1024 * SIM_GIB_MAX, FALSE},
                               {"num_gpu", 0, BERTH_DEVICES_MAX, FALSE},
                               {"gpu_milli", 0, 1000, FALSE},
                               {NULL}};
    if (csv == NULL || !sim_csv_check(csv, fields, error)) {
        return NULL;
    }
    gint cpu = sim_csv_column(csv, "cpu_milli"), mem = sim_csv_column(csv, "memory_mib");
    gint gpus = sim_csv_column(csv, "num_gpu"), millis = sim_csv_column(csv, "gpu_milli");
    gint spec = sim_csv_column(csv, "gpu_spec");
    GArray *pods = g_array_new(FALSE, TRUE, sizeof(Pod));
    g_array_set_clear_func(pods, clear_pod);
    for (guint i = 0; i < csv->rows->len; i++) {
        const char *models = sim_csv_text(csv, i, spec);
        Pod pod = {.cpu_millis = (gint64)sim_csv_number(csv, i, cpu),
                   .memory_mib = (gint64)sim_csv_number(csv, i, mem),
                   .n_gpus = (guint)sim_csv_number(csv, i, gpus),
                   .millis = (guint)sim_csv_number(csv, i, millis),
                   .models = models[0] == '\0' ? NULL : g_strsplit(models, "|", MODELS_MAX)};
        pod.millis = pod.n_gpus > 1 ? 1000 : pod.millis;
        g_array_append_val(pods, pod);
    }
    return pods;
}

static gboolean
add_nodes(const char *path, BerthSnapshot *snapshot, SimVerifier *verifier, double *gpu_millis,
          GError **error)
{
    g_autoptr(SimCsv) csv = sim_csv_read(path, error);
    const SimField fields[] = {{"cpu_milli", 0, 1000 * SIM_VCPUS_MAX, FALSE},
                               {"memory_mib", 0, 1024 * SIM_GIB_MAX, FALSE},
                               {"gpu", 0, BERTH_DEVICES_MAX, FALSE},
                               {NULL}};
    if (csv == NULL || !sim_csv_check(csv, fields, error)) {
        return FALSE;
    }
    gint name = sim_csv_column(csv, "sn"), cpu = sim_csv_column(csv, "cpu_milli");
    gint mem = sim_csv_column(csv, "memory_mib"), gpus = sim_csv_column(csv, "gpu");
    gint model = sim_csv_column(csv, "model");
    for (guint i = 0; i < csv->rows->len; i++) {
        BerthHostDevice devices[BERTH_DEVICES_MAX];
        guint n = (guint)sim_csv_number(csv, i, gpus);
        for (guint k = 0; k < n; k++) {
            devices[k] = (BerthHostDevice){.kind = "gpu",
                                           .model = sim_csv_text(csv, i, model),
                                           .cell = BERTH_CELL_NONE,
                                           .iommu_group = -1,
                                           .shareable = TRUE};
        }
        BerthHost host = {.name = sim_csv_text(csv, i, name),
                          .cpu_millis = (gint64)sim_csv_number(csv, i, cpu),
                          .memory_mib = (gint64)sim_csv_number(csv, i, mem),
                          .devices = devices,
                          .n_devices = n,
                          .state = BERTH_HOST_READY};
        guint32 index = BERTH_HOST_NONE;
        if (!berth_snapshot_put_host(snapshot, &host, &index, error)) {
            return FALSE;
        }
        sim_verifier_add_host(verifier, index, &host);
        *gpu_millis += 1000.0 * n;
    }
    return TRUE;
}

static BerthRequest
request_of(const Pod *pod, BerthDeviceNeed *need)
{
    *need = (BerthDeviceNeed){.kind = "gpu",
                              .models = (const char *const *)pod->models,
                              .n_models = pod->models == NULL ? 0 : g_strv_length(pod->models),
                              .count = pod->n_gpus,
                              .millis = pod->millis};
    return (BerthRequest){.cpu_millis = pod->cpu_millis,
                          .memory_mib = pod->memory_mib,
                          .devices = need,
                          .n_devices = pod->n_gpus > 0 ? 1 : 0};
}

static double
fragmented(const BerthSnapshot *snapshot, const BerthMix *whole_mix)
{
    double sum = 0;
    for (guint32 h = 0; h < berth_snapshot_host_end(snapshot); h++) {
        BerthRoom room;
        berth_room_read(&room, snapshot, h);
        sum += berth_room_fragmented(whole_mix, &room);
    }
    return sum;
}

typedef struct {
    double sum;
    guint n;
} Mean;

static double
mean_pct(const Mean *mean)
{
    return mean->n == 0 ? 0 : round(10000.0 * mean->sum / mean->n) / 100;
}

/* The mix of the whole list: what FGD is given, and what fragmentation is measured by. */
static BerthSnapshot *
observe_all(const GArray *pods, const BerthSnapshot *fleet)
{
    BerthSnapshot *told = berth_snapshot_copy(fleet);
    for (guint i = 0; i < pods->len; i++) {
        BerthDeviceNeed need;
        BerthRequest request = request_of(&g_array_index(pods, Pod, i), &need);
        berth_snapshot_observe(told, &request);
    }
    berth_snapshot_stop_learning(told);
    berth_mix_refresh(told->mix, told);
    return told;
}

static int
run_order(const GArray *pods, const GArray *order, BerthSnapshot *snapshot, SimVerifier *verifier,
          double total, const BerthPolicy *policy, const char *name, gboolean as_json)
{
    g_autoptr(BerthSnapshot) whole = observe_all(pods, snapshot);
    g_autoptr(BerthSnapshot) told = g_str_equal(name, "fgd") ? berth_snapshot_copy(whole) : NULL;
    BerthSnapshot *fleet = told != NULL ? told : snapshot;
    Mean at100 = {0}, at130 = {0}, fragments = {0};
    double arrived = 0, given = 0;
    guint failed = 0;
    for (guint i = 0; i < order->len; i++) {
        guint row = g_array_index(order, guint32, i);
        sim_progress("pod %u of %u", i + 1, order->len);
        const Pod *pod = &g_array_index(pods, Pod, row);
        BerthDeviceNeed need;
        BerthRequest request = request_of(pod, &need);
        BerthDecision decision;
        double millis = (double)pod->n_gpus * pod->millis;
        arrived += millis;
        if (berth_pick_and_charge(fleet, &request, policy, &decision, NULL)) {
            sim_verifier_place(verifier, &request, &decision.placement);
            given += millis;
        } else {
            berth_snapshot_observe(fleet, &request);
            failed++;
        }
        double pct = floor(100 * arrived / total + 0.5);
        if (pct == 100) {
            at100 = (Mean){at100.sum + given / total, at100.n + 1};
            fragments =
                (Mean){fragments.sum + fragmented(fleet, whole->mix) / total, fragments.n + 1};
        } else if (pct == 130) {
            at130 = (Mean){at130.sum + given / total, at130.n + 1};
        }
    }
    sim_print(as_json, json_pack("{s:s, s:f, s:f, s:f, s:i, s:i, s:b}", "policy", name,
                                 "gpu_allocated_pct_100", mean_pct(&at100), "gpu_allocated_pct_130",
                                 mean_pct(&at130), "fragmented_pct_100", mean_pct(&fragments),
                                 "failed", (int)failed, "arrivals", (int)order->len, "verified",
                                 sim_verifier_is_clean(verifier)));
    return sim_verifier_is_clean(verifier) ? 0 : 1;
}

int
sim_gpu(int argc, char **argv)
{
    g_autofree char *nodes = NULL, *pods_path = NULL, *order_path = NULL, *name = NULL;
    gboolean as_json = FALSE;
    const GOptionEntry entries[] = {
        {"nodes", 0, 0, G_OPTION_ARG_FILENAME, &nodes,
         "nodes: sn, cpu_milli, memory_mib, gpu, model", "CSV"},
        {"pods", 0, 0, G_OPTION_ARG_FILENAME, &pods_path, "pods", "CSV"},
        {"order", 0, 0, G_OPTION_ARG_FILENAME, &order_path, "row numbers in order of arrival",
         "FILE"},
        {"policy", 0, 0, G_OPTION_ARG_STRING, &name, "policy (default: default)", "NAME"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON object a line", NULL},
        {NULL}};
    GError *error = NULL;
    g_autoptr(GOptionContext) options = g_option_context_new("- GPU fragmentation");
    g_option_context_add_main_entries(options, entries, NULL);
    if (!g_option_context_parse(options, &argc, &argv, &error)) {
        return sim_fail(error);
    }
    if (nodes == NULL || pods_path == NULL || order_path == NULL) {
        berth_error_set(&error, BERTH_ERROR_INVALID, "gpu needs --nodes, --pods and --order");
        return sim_fail(error);
    }
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    g_autoptr(SimVerifier) verifier = sim_verifier_new();
    double total = 0;
    const BerthPolicy *policy = sim_policy(name, &error);
    g_autoptr(GArray) pods = policy == NULL ? NULL : read_pods(pods_path, &error);
    g_autoptr(GArray) order =
        pods == NULL ? NULL : sim_numbers_read(order_path, 0, pods->len - 1, &error);
    if (order == NULL || !add_nodes(nodes, snapshot, verifier, &total, &error)) {
        return sim_fail(error);
    }
    return run_order(pods, order, snapshot, verifier, total, policy,
                     name == NULL ? "default" : name, as_json);
}
