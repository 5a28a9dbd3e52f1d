/* berth-sim lifetimes: VMs that come and go on hosts of two NUMA cells; how long they wait in all.
 * The protocol is that of the online VM scheduling study SPANE (INFOCOM 2025): first fit finds how
 * many VMs an episode has, then every policy places those and forty more, strictly in order.
 * Lifetimes are used to release VMs and are never shown to a policy; what it knows of the request mix
 * are the arrivals before the episode and in it. Start at run_episode. */
#include "base/error.h"
#include "sched/sim/sim.h"

#define CELL_CPUS 40
#define CELL_GIB 90
#define BOTH_CELLS_ABOVE_GIB 10
#define MORE_VMS 40
/* Arrivals before the episode that the mix is learned from. */
#define HISTORY 20000

typedef struct {
    gint64 cpu_millis, memory_mib;
    BerthNumaPolicy numa;
    double at, lasts;
} Vm;

typedef struct {
    double at;
    guint32 charge;
    guint token;
} Departure;

typedef struct {
    BerthSnapshot *snapshot;
    SimVerifier *verifier;
    GArray *departures; /* Departure, binary heap by time */
    double now;
} World;

typedef struct {
    double wait;
    guint placed_first;   /* VMs placed at the first that did not fit */
    double cpu_pct_first; /* CPU in use then */
} Outcome;

static GArray *
read_vms(const char *path, GError **error)
{
    g_autoptr(SimCsv) csv = sim_csv_read(path, error);
    const SimField fields[] = {{"cpu", 0, SIM_VCPUS_MAX, FALSE},
                               {"mem", 0, SIM_GIB_MAX, FALSE},
                               {"at", 0, SIM_SECONDS_MAX, FALSE},
                               {"lt", 0, SIM_SECONDS_MAX, FALSE},
                               {NULL}};
    if (csv == NULL || !sim_csv_check(csv, fields, error)) {
        return NULL;
    }
    gint cpu = sim_csv_column(csv, "cpu"), mem = sim_csv_column(csv, "mem");
    gint at = sim_csv_column(csv, "at"), lasts = sim_csv_column(csv, "lt");
    GArray *vms = g_array_sized_new(FALSE, FALSE, sizeof(Vm), csv->rows->len);
    for (guint i = 0; i < csv->rows->len; i++) {
        double gib = sim_csv_number(csv, i, mem);
        Vm vm = {.cpu_millis = (gint64)(sim_csv_number(csv, i, cpu) * 1000),
                 .memory_mib = (gint64)(gib * 1024),
                 .numa = gib > BOTH_CELLS_ABOVE_GIB ? BERTH_NUMA_TWO : BERTH_NUMA_ONE,
                 .at = sim_csv_number(csv, i, at),
                 .lasts = sim_csv_number(csv, i, lasts)};
        g_array_append_val(vms, vm);
    }
    return vms;
}

static void
world_init(World *world, guint hosts)
{
    world->snapshot = berth_snapshot_new();
    world->verifier = sim_verifier_new();
    world->departures = g_array_new(FALSE, FALSE, sizeof(Departure));
    world->now = 0;
    BerthHostCell cells[2] = {{.cpu_millis = CELL_CPUS * 1000, .memory_mib = CELL_GIB * 1024},
                              {.cpu_millis = CELL_CPUS * 1000, .memory_mib = CELL_GIB * 1024}};
    for (guint i = 0; i < hosts; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        BerthHost host = {.name = name,
                          .cpu_millis = 2 * CELL_CPUS * 1000,
                          .memory_mib = 2 * CELL_GIB * 1024,
                          .cells = cells,
                          .n_cells = 2,
                          .state = BERTH_HOST_READY};
        guint32 index = BERTH_HOST_NONE;
        berth_snapshot_put_host(world->snapshot, &host, &index, NULL);
        sim_verifier_add_host(world->verifier, index, &host);
    }
}

static void
world_clear(World *world)
{
    berth_snapshot_free(world->snapshot);
    sim_verifier_free(world->verifier);
    g_array_unref(world->departures);
}

static Departure *
departure(const World *world, guint i)
{
    return &g_array_index(world->departures, Departure, i);
}

static void
push_departure(World *world, Departure d)
{
    g_array_append_val(world->departures, d);
    guint i = world->departures->len - 1;
    while (i > 0 && departure(world, (i - 1) / 2)->at > d.at) {
        *departure(world, i) = *departure(world, (i - 1) / 2);
        i = (i - 1) / 2;
    }
    *departure(world, i) = d;
}

static Departure
pop_departure(World *world)
{
    Departure first = *departure(world, 0);
    Departure last = *departure(world, world->departures->len - 1);
    g_array_set_size(world->departures, world->departures->len - 1);
    guint n = world->departures->len, i = 0, child;
    while ((child = 2 * i + 1) < n) {
        child += child + 1 < n && departure(world, child + 1)->at < departure(world, child)->at;
        if (departure(world, child)->at >= last.at) {
            break;
        }
        *departure(world, i) = *departure(world, child);
        i = child;
    }
    if (n > 0) {
        *departure(world, i) = last;
    }
    return first;
}

static void
release_until(World *world, double time)
{
    while (world->departures->len > 0 && departure(world, 0)->at <= time) {
        Departure d = pop_departure(world);
        berth_snapshot_release_charge(world->snapshot, d.charge);
        sim_verifier_release(world->verifier, d.token);
    }
}

static BerthRequest
request_of(const Vm *vm)
{
    return (BerthRequest){
        .cpu_millis = vm->cpu_millis, .memory_mib = vm->memory_mib, .numa = vm->numa};
}

static void
place(World *world, const Vm *vm, const BerthPlacement *placement)
{
    BerthRequest request = request_of(vm);
    Departure d = {.at = world->now + vm->lasts};
    d.charge = berth_snapshot_charge(world->snapshot, &request, placement);
    d.token = sim_verifier_place(world->verifier, &request, placement);
    push_departure(world, d);
}

static gboolean
try_pick(World *world, const Vm *vm, const BerthPolicy *policy, BerthDecision *decision)
{
    BerthRequest request = request_of(vm);
    return berth_pick(world->snapshot, &request, policy, decision);
}

/* Phase 1: how many VMs first fit places until one does not fit. */
static guint
count_by_first_fit(const GArray *vms, guint start, guint hosts)
{
    World world;
    BerthDecision decision;
    const BerthPolicy *policy = berth_policy_find("first-fit");
    guint i = start;
    world_init(&world, hosts);
    for (; i < vms->len; i++) {
        const Vm *vm = &g_array_index(vms, Vm, i);
        if (!try_pick(&world, vm, policy, &decision)) {
            break;
        }
        release_until(&world, vm->at);
        world.now = vm->at;
        try_pick(&world, vm, policy, &decision);
        place(&world, vm, &decision.placement);
    }
    world_clear(&world);
    return i - start;
}

static void
note_first_failure(World *world, guint placed, guint hosts, Outcome *outcome)
{
    if (outcome->cpu_pct_first >= 0) {
        return;
    }
    gint64 used = 0, all = 0;
    for (guint h = 0; h < hosts; h++) {
        BerthUsage usage;
        berth_snapshot_host_usage(world->snapshot, h, &usage);
        used += usage.cpu_used_millis;
        all += usage.cpu_millis;
    }
    outcome->placed_first = placed;
    outcome->cpu_pct_first = 100.0 * used / MAX(1, all);
}

/* Phase 2. */
static gboolean
run_episode(const GArray *vms, guint start, guint n, guint hosts, const BerthPolicy *policy,
            Outcome *outcome)
{
    World world;
    BerthDecision decision;
    *outcome = (Outcome){.cpu_pct_first = -1};
    world_init(&world, hosts);
    for (guint i = start > HISTORY ? start - HISTORY : 0; i < start; i++) {
        BerthRequest seen = request_of(&g_array_index(vms, Vm, i));
        berth_snapshot_observe(world.snapshot, &seen);
    }
    guint end = MIN(vms->len, start + n);
    for (guint i = start; i < end; i++) {
        const Vm *vm = &g_array_index(vms, Vm, i);
        world.now = MAX(world.now, vm->at);
        release_until(&world, world.now);
        while (!try_pick(&world, vm, policy, &decision) && world.departures->len > 0) {
            note_first_failure(&world, i - start, hosts, outcome);
            world.now = departure(&world, 0)->at;
            release_until(&world, world.now);
        }
        if (!decision.placed) {
            break;
        }
        place(&world, vm, &decision.placement);
        outcome->wait += world.now - vm->at;
    }
    note_first_failure(&world, n, hosts, outcome);
    gboolean clean = sim_verifier_is_clean(world.verifier) && decision.placed;
    world_clear(&world);
    return clean;
}

static int
compare_doubles(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Mean after dropping the lowest and the highest tenth. */
static double
trimmed_mean(GArray *values)
{
    guint drop = values->len / 10;
    double sum = 0;
    g_array_sort(values, compare_doubles);
    for (guint i = drop; i < values->len - drop; i++) {
        sum += g_array_index(values, double, i);
    }
    return sum / MAX(1, values->len - 2 * drop);
}

static void
run_size(const GArray *vms, const GArray *starts, guint hosts, const BerthPolicy *policy,
         const char *name, gboolean as_json)
{
    g_autoptr(GArray) waits = g_array_new(FALSE, FALSE, sizeof(double));
    double placed = 0, cpu = 0;
    gboolean verified = TRUE;
    for (guint i = 0; i < starts->len; i++) {
        guint start = g_array_index(starts, guint32, i);
        sim_progress("%u hosts: start %u of %u", hosts, i + 1, starts->len);
        Outcome outcome;
        guint n = count_by_first_fit(vms, start, hosts) + MORE_VMS;
        verified &= run_episode(vms, start, n, hosts, policy, &outcome);
        g_array_append_val(waits, outcome.wait);
        placed += outcome.placed_first;
        cpu += outcome.cpu_pct_first;
    }
    char text[32];
    g_ascii_formatd(text, sizeof(text), "%.2f", trimmed_mean(waits));
    double wait = g_ascii_strtod(text, NULL);
    sim_print(as_json, json_pack("{s:i, s:s, s:i, s:f, s:f, s:f, s:b}", "hosts", (int)hosts,
                                 "policy", name, "starts", (int)starts->len, "total_wait_trimmed_s",
                                 wait, "placed_at_first_failure", placed / MAX(1, starts->len),
                                 "cpu_pct_at_first_failure", cpu / MAX(1, starts->len), "verified",
                                 verified));
}

int
sim_lifetimes(int argc, char **argv)
{
    g_autofree char *vms_path = NULL, *starts_path = NULL, *sizes_text = NULL, *name = NULL;
    gboolean as_json = FALSE;
    const GOptionEntry entries[] = {
        {"vms", 0, 0, G_OPTION_ARG_FILENAME, &vms_path, "VM requests: cpu, mem, at, lt", "CSV"},
        {"starts", 0, 0, G_OPTION_ARG_FILENAME, &starts_path, "rows that episodes begin at",
         "FILE"},
        {"hosts", 0, 0, G_OPTION_ARG_STRING, &sizes_text, "numbers of hosts", "N[,N...]"},
        {"policy", 0, 0, G_OPTION_ARG_STRING, &name, "policy (default: default)", "NAME"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON object a line", NULL},
        {NULL}};
    GError *error = NULL;
    g_autoptr(GOptionContext) options = g_option_context_new("- total wait of VMs");
    g_option_context_add_main_entries(options, entries, NULL);
    if (!g_option_context_parse(options, &argc, &argv, &error)) {
        return sim_fail(error);
    }
    if (vms_path == NULL || starts_path == NULL || sizes_text == NULL) {
        berth_error_set(&error, BERTH_ERROR_INVALID, "lifetimes needs --vms, --starts and --hosts");
        return sim_fail(error);
    }
    const BerthPolicy *policy = sim_policy(name, &error);
    g_autoptr(GArray) vms = policy == NULL ? NULL : read_vms(vms_path, &error);
    g_autoptr(GArray) starts =
        vms == NULL ? NULL : sim_numbers_read(starts_path, 0, vms->len - 1, &error);
    g_autoptr(GArray) sizes =
        starts == NULL ? NULL : sim_numbers_parse(sizes_text, "--hosts", 1, SIM_HOSTS_MAX, &error);
    if (sizes == NULL) {
        return sim_fail(error);
    }
    for (guint i = 0; i < sizes->len; i++) {
        run_size(vms, starts, g_array_index(sizes, guint32, i), policy,
                 name == NULL ? "default" : name, as_json);
    }
    return 0;
}
