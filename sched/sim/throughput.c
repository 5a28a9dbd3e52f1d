/* berth-sim throughput: decisions a second on fleets of any size, each exact and written to the ledger,
 * beside a scan of every host by the same rules and beside what the memory allows. The fleet repeats a
 * small table of machine shapes, two NUMA cells each; requests are VMs bound to one or two cells and
 * GPU pods, a third of them in groups that must stay apart or in one rack. Each decision is followed by
 * the release of the oldest workload, so the fleet stays as full as it was. Times are by the wall;
 * decisions_per_cpu_s is by the thread's own clock, for machines with other work. The quality of the
 * same decisions stands beside: how many of the scans chose what the index chose, and how full the
 * fleet gets when it is then filled until requests are refused. Start at measure. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "sched/sim/sim.h"
#include "sched/wide.h"

#define FILL_PCT 60
#define HOSTS_PER_RACK 40
#define GROUP_MEMBERS 8
#define GROUP_SHARE_PCT 30
#define SEED 42

/* Machine shapes of a GPU cluster: threads, GiB, GPUs, and how many of a hundred. */
static const struct {
    guint threads, gib, gpus;
    const char *model;
    guint weight;
} shapes[] = {
    {96, 384, 8, "G2", 37},  {104, 512, 2, "T4", 26},    {32, 256, 0, NULL, 13},
    {16, 120, 2, "P100", 8}, {96, 512, 0, NULL, 8},      {128, 768, 8, "G3", 4},
    {32, 128, 4, "V100", 2}, {96, 768, 8, "V100-32", 2},
};

/* VM flavours of a public cloud and of a private one: vCPUs, GiB, cells, weight. */
static const struct {
    guint vcpus, gib, cells, weight;
} flavours[] = {
    {1, 2, 1, 465}, {1, 1, 1, 219},  {2, 4, 1, 129},  {4, 8, 1, 81},    {1, 4, 1, 29},
    {2, 8, 1, 20},  {8, 16, 2, 17},  {4, 16, 2, 17},  {8, 32, 2, 9},    {16, 32, 2, 9},
    {12, 24, 2, 6}, {64, 128, 2, 2}, {32, 64, 2, 60}, {8, 16, 1, 20},   {16, 64, 1, 20},
    {4, 16, 1, 25}, {8, 32, 1, 25},  {16, 32, 1, 12}, {32, 128, 2, 20},
};

/* Pods of a GPU cluster: CPU thousandths, GiB, GPUs, thousandths of each, weight. */
static const struct {
    guint cpu_millis, gib, gpus, millis, weight;
} pods[] = {
    {3152, 5, 1, 810, 105},   {11300, 50, 1, 1000, 87}, {11400, 50, 1, 1000, 60},
    {3152, 5, 1, 1000, 47},   {11908, 50, 1, 470, 39},  {12500, 40, 0, 0, 37},
    {8000, 30, 1, 470, 36},   {12000, 48, 1, 1000, 33}, {32000, 120, 0, 0, 29},
    {18708, 75, 1, 1000, 26}, {11908, 50, 1, 650, 24},  {4000, 15, 1, 320, 23},
    {9810, 40, 1, 1000, 20},  {8000, 30, 0, 0, 19},     {8000, 30, 1, 1000, 16},
    {4000, 15, 1, 1000, 16},  {15700, 60, 1, 1000, 16}, {11908, 50, 1, 1000, 15},
    {16000, 64, 1, 1000, 15}, {4000, 15, 1, 230, 12},   {6000, 12, 1, 460, 12},
    {15400, 60, 0, 0, 12},    {16500, 64, 0, 0, 10},    {14200, 55, 1, 1000, 9},
    {24200, 96, 1, 1000, 8},  {3152, 5, 1, 590, 8},     {8000, 30, 1, 320, 7},
    {4152, 16, 1, 550, 7},    {11900, 48, 1, 1000, 6},  {4000, 15, 1, 160, 5},
    {4152, 16, 1, 370, 5},    {4000, 15, 1, 220, 4},    {88000, 350, 8, 1000, 2},
};

typedef struct {
    BerthRequest request;
    BerthDeviceNeed need;
    BerthRelation relation;
    BerthAmount disk;
    char group[24];
} Job;

typedef struct {
    BerthSeededRandom random;
    guint flavour_weight, pod_weight;
    guint groups;
} Source;

static void
source_init(Source *source)
{
    berth_seeded_random_init(&source->random, SEED);
    source->flavour_weight = source->pod_weight = source->groups = 0;
    for (guint i = 0; i < G_N_ELEMENTS(flavours); i++) {
        source->flavour_weight += flavours[i].weight;
    }
    for (guint i = 0; i < G_N_ELEMENTS(pods); i++) {
        source->pod_weight += pods[i].weight;
    }
}

static void
draw_flavour(Source *source, Job *job)
{
    guint at = 0, left = berth_random_below(&source->random.base, source->flavour_weight);
    while (left >= flavours[at].weight) {
        left -= flavours[at++].weight;
    }
    job->request.cpu_millis = 1000 * flavours[at].vcpus;
    job->request.memory_mib = 1024 * flavours[at].gib;
    job->request.numa = flavours[at].cells == 1 ? BERTH_NUMA_ONE : BERTH_NUMA_TWO;
    job->disk = (BerthAmount){"local", 20 * 1024};
    job->request.disks = &job->disk;
    job->request.n_disks = 1;
}

static void
draw_pod(Source *source, Job *job)
{
    guint at = 0, left = berth_random_below(&source->random.base, source->pod_weight);
    while (left >= pods[at].weight) {
        left -= pods[at++].weight;
    }
    job->request.cpu_millis = pods[at].cpu_millis;
    job->request.memory_mib = 1024 * pods[at].gib;
    job->need = (BerthDeviceNeed){.kind = "gpu", .count = pods[at].gpus, .millis = pods[at].millis};
    job->request.devices = &job->need;
    job->request.n_devices = pods[at].gpus > 0 ? 1 : 0;
}

/* Half of the groups keep their members apart, half in one rack; a group is done after its members. */
static void
draw_group(Source *source, Job *job)
{
    if (berth_random_below(&source->random.base, 100) >= GROUP_SHARE_PCT) {
        return;
    }
    guint group = source->groups++ / GROUP_MEMBERS;
    gboolean apart = group % 2 == 0;
    g_snprintf(job->group, sizeof(job->group), "g%u", group);
    job->relation = (BerthRelation){.kind = apart ? BERTH_RELATION_APART : BERTH_RELATION_TOGETHER,
                                    .scope = apart ? BERTH_SCOPE_HOST : BERTH_SCOPE_RACK,
                                    .group = job->group};
    job->request.group = job->group;
    job->request.relations = &job->relation;
    job->request.n_relations = 1;
}

static void
draw(Source *source, Job *job)
{
    memset(job, 0, sizeof(*job));
    if (berth_random_below(&source->random.base, 3) == 0) {
        draw_pod(source, job);
    } else {
        draw_flavour(source, job);
    }
    draw_group(source, job);
}

static void
add_host(BerthSnapshot *snapshot, guint i, guint shape)
{
    char name[24], rack[24];
    BerthHostDevice devices[8];
    for (guint k = 0; k < shapes[shape].gpus; k++) {
        devices[k] =
            (BerthHostDevice){"gpu", shapes[shape].model, k * 2 >= shapes[shape].gpus, -1, TRUE};
    }
    g_snprintf(name, sizeof(name), "h%u", i);
    g_snprintf(rack, sizeof(rack), "r%u", i / HOSTS_PER_RACK);
    BerthHostCell cell = {.cpu_millis = 500 * shapes[shape].threads,
                          .memory_mib = 512 * shapes[shape].gib};
    BerthHostCell cells[2] = {cell, cell};
    BerthAmount pool = {"local", 4 * 1024 * 1024};
    BerthHost host = {.name = name,
                      .cpu_millis = 1000 * shapes[shape].threads,
                      .memory_mib = 1024 * shapes[shape].gib,
                      .cells = cells,
                      .n_cells = 2,
                      .pools = &pool,
                      .n_pools = 1,
                      .devices = devices,
                      .n_devices = shapes[shape].gpus,
                      .rack = rack,
                      .state = BERTH_HOST_READY};
    berth_snapshot_put_host(snapshot, &host, NULL, NULL);
}

static BerthSnapshot *
make_fleet(guint n)
{
    BerthSnapshot *snapshot = berth_snapshot_new();
    for (guint i = 0; i < n; i++) {
        guint shape = 0, at = i * 37 % 100;
        while (at >= shapes[shape].weight) {
            at -= shapes[shape++].weight;
        }
        add_host(snapshot, i, shape);
    }
    return snapshot;
}

typedef struct {
    BerthSnapshot *snapshot;
    Source source;
    GArray *charges; /* guint32, oldest first from first */
    guint first;
    gint64 cpu_all, cpu_used;
} World;

static gboolean
place_one(World *world, gint64 *cpu)
{
    Job job;
    BerthDecision decision;
    guint32 charge = BERTH_CHARGE_NONE;
    draw(&world->source, &job);
    *cpu = 0;
    if (!berth_pick_and_charge(world->snapshot, &job.request, NULL, &decision, &charge)) {
        return FALSE;
    }
    *cpu = job.request.cpu_millis;
    g_array_append_val(world->charges, charge);
    return TRUE;
}

static void
fill(World *world, guint hosts)
{
    for (guint h = 0; h < hosts; h++) {
        BerthUsage usage;
        berth_snapshot_host_usage(world->snapshot, h, &usage);
        world->cpu_all += usage.cpu_millis;
    }
    guint refused = 0;
    while (world->cpu_used * 100 < world->cpu_all * FILL_PCT && refused < 10000) {
        gint64 cpu;
        refused += !place_one(world, &cpu);
        world->cpu_used += cpu;
    }
}

static void
release_oldest(World *world)
{
    if (world->first < world->charges->len) {
        guint32 charge = g_array_index(world->charges, guint32, world->first++);
        berth_snapshot_release_charge(world->snapshot, charge);
    }
}

static int
compare_times(gconstpointer a, gconstpointer b)
{
    guint32 x = *(const guint32 *)a, y = *(const guint32 *)b;
    return x < y ? -1 : x > y;
}

static double
quantile_us(const guint32 *sorted, guint n, double q)
{
    return n == 0 ? 0 : sorted[MIN(n - 1, (guint)(q * n))] / 1000.0;
}

static gint64
now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (gint64)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Decisions a second when every host is looked at, by the same rules.
 * @same_pct: (out): share of them that are the index's too */
static double
measure_naive(World *world, guint hosts, double *same_pct)
{
    guint n = MAX(3, MIN(200, 1000000 / hosts)), same = 0;
    gint64 spent = 0;
    for (guint i = 0; i < n; i++) {
        Job job;
        BerthDecision scanned, indexed;
        draw(&world->source, &job);
        gint64 start = now_ns(CLOCK_MONOTONIC);
        berth_pick_naive(world->snapshot, &job.request, NULL, &scanned);
        spent += now_ns(CLOCK_MONOTONIC) - start;
        berth_pick(world->snapshot, &job.request, NULL, &indexed);
        same += memcmp(&scanned, &indexed, sizeof(scanned)) == 0;
    }
    *same_pct = 100.0 * same / n;
    return n * 1e9 / MAX(1, spent);
}

/* Goes on filling until one request in a hundred hosts, at least 20, was refused.
 * @cpu_pct, @device_pct: (out): how much is then in use */
static void
measure_quality(World *world, guint hosts, double *cpu_pct, double *device_pct)
{
    guint refused = 0;
    while (refused < MAX(20, hosts / 100)) {
        gint64 cpu;
        refused += !place_one(world, &cpu);
    }
    gint64 cpu = 0, cpu_used = 0, devices = 0, devices_used = 0;
    for (guint h = 0; h < hosts; h++) {
        BerthUsage usage;
        berth_snapshot_host_usage(world->snapshot, h, &usage);
        cpu += usage.cpu_millis;
        cpu_used += usage.cpu_used_millis;
        devices += usage.device_millis;
        devices_used += usage.device_used_millis;
    }
    *cpu_pct = 100.0 * cpu_used / MAX(1, cpu);
    *device_pct = 100.0 * devices_used / MAX(1, devices);
}

/* Scans a second over @bytes a host: no decision that reads them all can be faster. */
BERTH_WIDE static double
measure_scan(guint hosts, guint bytes)
{
    gsize words = (gsize)hosts * bytes / 8;
    g_autofree guint64 *memory = g_new0(guint64, words);
    volatile guint64 sink = 0;
    guint n = MAX(10, (guint)(200000000 / (words + 1)));
    gint64 start = now_ns(CLOCK_MONOTONIC);
    for (guint i = 0; i < n; i++) {
        guint64 sum = 0;
        for (gsize k = 0; k < words; k++) {
            sum += memory[k];
        }
        sink += sum;
        memory[i % MAX(1, words)] = sink;
    }
    return n * 1e9 / MAX(1, now_ns(CLOCK_MONOTONIC) - start);
}

static void
measure(guint hosts, guint decisions, gboolean survivable, gboolean as_json)
{
    World world = {.snapshot = make_fleet(hosts)};
    berth_snapshot_set_survivable(world.snapshot, survivable);
    world.charges = g_array_new(FALSE, FALSE, sizeof(guint32));
    source_init(&world.source);
    sim_progress("%u hosts: filling", hosts);
    fill(&world, hosts);
    g_autofree guint32 *times = g_new(guint32, decisions);
    guint placed = 0;
    gint64 cpu_start = now_ns(CLOCK_THREAD_CPUTIME_ID);
    gint64 start = now_ns(CLOCK_MONOTONIC), last = start;
    for (guint i = 0; i < decisions; i++) {
        gint64 cpu;
        if (place_one(&world, &cpu)) {
            placed++;
            release_oldest(&world);
        }
        gint64 now = now_ns(CLOCK_MONOTONIC);
        times[i] = (guint32)MIN(now - last, G_MAXUINT32);
        last = now;
    }
    double per_cpu_second = decisions * 1e9 / MAX(1, now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_start);
    double per_second = decisions * 1e9 / MAX(1, last - start);
    qsort(times, decisions, sizeof(guint32), compare_times);
    sim_progress("%u hosts: scanning", hosts);
    double scan64 = measure_scan(hosts, 64), same_pct, cpu_pct, device_pct;
    gsize bytes = berth_snapshot_bytes(world.snapshot);
    double naive = measure_naive(&world, hosts, &same_pct);
    measure_quality(&world, hosts, &cpu_pct, &device_pct);
    sim_print(
        as_json,
        json_pack(
            "{s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
            "hosts", (int)hosts, "decisions", (int)decisions, "placed", (int)placed,
            "decisions_per_s", per_second, "decisions_per_cpu_s", per_cpu_second, "p50_us",
            quantile_us(times, decisions, 0.5), "p99_us", quantile_us(times, decisions, 0.99),
            "p999_us", quantile_us(times, decisions, 0.999), "bytes_per_host",
            (double)bytes / MAX(1, hosts), "naive_per_s", naive, "scan8_per_s",
            measure_scan(hosts, 8), "scan64_per_s", scan64, "share_of_scan64", per_second / scan64,
            "same_as_scan_pct", same_pct, "cpu_pct_when_refused", cpu_pct,
            "device_pct_when_refused", device_pct));
    g_array_unref(world.charges);
    berth_snapshot_free(world.snapshot);
}

int
sim_throughput(int argc, char **argv)
{
    g_autofree char *sizes_text = NULL;
    gint decisions = 200000;
    gboolean as_json = FALSE, survivable = FALSE;
    const GOptionEntry entries[] = {
        {"hosts", 0, 0, G_OPTION_ARG_STRING, &sizes_text, "numbers of hosts", "N[,N...]"},
        {"decisions", 0, 0, G_OPTION_ARG_INT, &decisions, "decisions measured a size (200000)",
         "N"},
        {"survive-host-loss", 0, 0, G_OPTION_ARG_NONE, &survivable,
         "refuse what would not survive the loss of any one host", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON object a line", NULL},
        {NULL}};
    GError *error = NULL;
    g_autoptr(GOptionContext) options = g_option_context_new("- decisions a second");
    g_option_context_add_main_entries(options, entries, NULL);
    if (!g_option_context_parse(options, &argc, &argv, &error)) {
        return sim_fail(error);
    }
    if (decisions <= 0) {
        berth_error_set(&error, BERTH_ERROR_INVALID, "--decisions must be positive");
        return sim_fail(error);
    }
    g_autoptr(GArray) sizes =
        sim_numbers_parse(sizes_text != NULL ? sizes_text : "1000,5000,10000,100000", "--hosts", 1,
                          SIM_HOSTS_MAX, &error);
    if (sizes == NULL) {
        return sim_fail(error);
    }
    for (guint i = 0; i < sizes->len; i++) {
        measure(g_array_index(sizes, guint32, i), decisions, survivable, as_json);
    }
    return 0;
}
