/* berth-sim topology: VMs bound to one or two cells on half-filled double-NUMA hosts, in groups that want
 * one rack, distinct hosts, or distinct racks per fault domain. A VM whose group can't be honoured is
 * placed by capacity alone and its group counts as not satisfied. Start at run. */
#include <string.h>

#include "base/error.h"
#include "sched/forecast.h"
#include "sched/sim/sim.h"

#define DOMAINS_MAX 16
#define LARGEST_VCPUS 64
#define LARGEST_GIB 128

typedef struct {
    BerthSnapshot *snapshot;
    SimVerifier *verifier;
    GHashTable *missed; /* names of groups that were not honoured */
    GHashTable *groups;
    guint domains;
    guint placed;
} World;

/* The columns go by their place: free CPUs and GiB of one cell, and of the other; host and rack. */
static gboolean
check_hosts(const SimCsv *hosts, const SimCsv *racks, GError **error)
{
    if (hosts->n_fields < 4 || racks->n_fields < 2) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' has fewer than %u columns",
                        hosts->n_fields < 4 ? hosts->path : racks->path,
                        hosts->n_fields < 4 ? 4U : 2U);
        return FALSE;
    }
    const SimField fields[] = {{g_ptr_array_index(hosts->header, 0), 0, SIM_VCPUS_MAX / 2, FALSE},
                               {g_ptr_array_index(hosts->header, 1), 0, SIM_GIB_MAX / 2, FALSE},
                               {g_ptr_array_index(hosts->header, 2), 0, SIM_VCPUS_MAX / 2, FALSE},
                               {g_ptr_array_index(hosts->header, 3), 0, SIM_GIB_MAX / 2, FALSE},
                               {NULL}};
    return sim_csv_check(hosts, fields, error);
}

static gboolean
add_hosts(World *world, const char *hosts_path, const char *racks_path, GError **error)
{
    g_autoptr(SimCsv) hosts = sim_csv_read(hosts_path, error);
    g_autoptr(SimCsv) racks = hosts == NULL ? NULL : sim_csv_read(racks_path, error);
    if (racks == NULL || !check_hosts(hosts, racks, error)) {
        return FALSE;
    }
    g_autoptr(GHashTable) rack_of = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < racks->rows->len; i++) {
        g_hash_table_insert(rack_of, (char *)sim_csv_text(racks, i, 0),
                            (char *)sim_csv_text(racks, i, 1));
    }
    for (guint i = 0; i < hosts->rows->len; i++) {
        BerthHostCell cells[2];
        g_autofree char *name = g_strdup_printf("host-%u", i);
        for (guint c = 0; c < 2; c++) {
            cells[c] = (BerthHostCell){
                .cpu_millis = (gint64)(1000 * sim_csv_number(hosts, i, (gint)(2 * c))),
                .memory_mib = (gint64)(1024 * sim_csv_number(hosts, i, (gint)(2 * c + 1)))};
        }
        BerthHost host = {.name = name,
                          .cpu_millis = cells[0].cpu_millis + cells[1].cpu_millis,
                          .memory_mib = cells[0].memory_mib + cells[1].memory_mib,
                          .cells = cells,
                          .n_cells = 2,
                          .rack = g_hash_table_lookup(rack_of, name),
                          .state = BERTH_HOST_READY};
        guint32 index = BERTH_HOST_NONE;
        if (!berth_snapshot_put_host(world->snapshot, &host, &index, error)) {
            return FALSE;
        }
        sim_verifier_add_host(world->verifier, index, &host);
    }
    return TRUE;
}

/* A request with the strings and rules it points to. */
typedef struct {
    BerthRequest request;
    BerthRelation relations[DOMAINS_MAX];
    char names[DOMAINS_MAX + 1][32];
} Wish;

static void
fill_domains(Wish *wish, guint group, guint domain, guint domains)
{
    guint n = 0;
    g_snprintf(wish->names[DOMAINS_MAX], sizeof(wish->names[0]), "%u/%u", group, domain);
    wish->request.group = wish->names[DOMAINS_MAX];
    for (guint d = 0; d <= domains && n < DOMAINS_MAX; d++) {
        if (d != domain) {
            g_snprintf(wish->names[n], sizeof(wish->names[n]), "%u/%u", group, d);
            wish->relations[n] = (BerthRelation){
                .kind = BERTH_RELATION_APART, .scope = BERTH_SCOPE_RACK, .group = wish->names[n]};
            n++;
        }
    }
    wish->request.n_relations = n;
}

static void
read_wish(const SimCsv *vms, guint row, guint domains, Wish *wish)
{
    memset(wish, 0, sizeof(*wish));
    const char *strategy = sim_csv_text(vms, row, sim_csv_column(vms, "strategy"));
    guint group = (guint)sim_csv_number(vms, row, sim_csv_column(vms, "group"));
    guint domain = (guint)sim_csv_number(vms, row, sim_csv_column(vms, "domain"));
    BerthRequest *r = &wish->request;
    r->cpu_millis = (gint64)(1000 * sim_csv_number(vms, row, sim_csv_column(vms, "flavor_vcpus")));
    r->memory_mib = (gint64)(1024 * sim_csv_number(vms, row, sim_csv_column(vms, "flavor_ram")));
    r->numa =
        sim_csv_number(vms, row, sim_csv_column(vms, "numa")) > 1 ? BERTH_NUMA_TWO : BERTH_NUMA_ONE;
    r->relations = wish->relations;
    if (g_str_equal(strategy, "fault_domain")) {
        fill_domains(wish, group, domain, domains);
    } else if (strategy[0] != '\0') {
        gboolean together = g_str_equal(strategy, "affinity");
        g_snprintf(wish->names[0], sizeof(wish->names[0]), "%s-%u", strategy, group);
        r->group = wish->names[0];
        wish->relations[0] =
            (BerthRelation){.kind = together ? BERTH_RELATION_TOGETHER : BERTH_RELATION_APART,
                            .scope = together ? BERTH_SCOPE_RACK : BERTH_SCOPE_HOST,
                            .group = r->group};
        r->n_relations = 1;
    }
}

static void
note_group(GHashTable *groups, const Wish *wish)
{
    if (wish->request.group != NULL) {
        g_auto(GStrv) parts = g_strsplit(wish->request.group, "/", 2);
        g_hash_table_add(groups, g_strdup(parts[0]));
    }
}

static void
place_wish(World *world, Wish *wish, const BerthPolicy *policy)
{
    BerthDecision decision;
    note_group(world->groups, wish);
    if (!berth_pick(world->snapshot, &wish->request, policy, &decision)) {
        note_group(world->missed, wish);
        wish->request.n_relations = 0;
        if (!berth_pick(world->snapshot, &wish->request, policy, &decision)) {
            return;
        }
    }
    berth_snapshot_charge(world->snapshot, &wish->request, &decision.placement);
    sim_verifier_place(world->verifier, &wish->request, &decision.placement);
    world->placed++;
}

static guint
highest_domain(const SimCsv *vms)
{
    guint highest = 0;
    for (guint i = 0; i < vms->rows->len; i++) {
        guint domain = (guint)sim_csv_number(vms, i, sim_csv_column(vms, "domain"));
        highest = MAX(highest, domain);
    }
    return highest;
}

static int
run(World *world, const SimCsv *vms, const BerthPolicy *policy, const char *name, gboolean as_json)
{
    guint domains = highest_domain(vms);
    for (guint i = 0; i < vms->rows->len; i++) {
        Wish wish;
        sim_progress("request %u of %u", i + 1, vms->rows->len);
        read_wish(vms, i, domains, &wish);
        place_wish(world, &wish, policy);
    }
    BerthRequest largest = {.cpu_millis = 1000 * LARGEST_VCPUS,
                            .memory_mib = 1024 * LARGEST_GIB,
                            .numa = BERTH_NUMA_TWO};
    guint groups = g_hash_table_size(world->groups);
    gboolean clean = sim_verifier_is_clean(world->verifier);
    sim_print(as_json,
              json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:b}", "policy", name, "requests",
                        (int)vms->rows->len, "placed", (int)world->placed, "groups", (int)groups,
                        "groups_satisfied", (int)(groups - g_hash_table_size(world->missed)),
                        "largest_left",
                        (int)berth_capacity_like(world->snapshot, &largest, policy, 100000),
                        "verified", clean));
    return clean ? 0 : 1;
}

int
sim_topology(int argc, char **argv)
{
    g_autofree char *hosts = NULL, *vms_path = NULL, *racks = NULL, *name = NULL;
    gboolean as_json = FALSE;
    const GOptionEntry entries[] = {
        {"hosts", 0, 0, G_OPTION_ARG_FILENAME, &hosts, "free CPUs and GiB of two cells", "CSV"},
        {"vms", 0, 0, G_OPTION_ARG_FILENAME, &vms_path, "requests in order", "CSV"},
        {"racks", 0, 0, G_OPTION_ARG_FILENAME, &racks, "rack of each host", "CSV"},
        {"policy", 0, 0, G_OPTION_ARG_STRING, &name, "policy (default: default)", "NAME"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON object", NULL},
        {NULL}};
    GError *error = NULL;
    g_autoptr(GOptionContext) options = g_option_context_new("- racks, hosts and fault domains");
    g_option_context_add_main_entries(options, entries, NULL);
    if (!g_option_context_parse(options, &argc, &argv, &error)) {
        return sim_fail(error);
    }
    if (hosts == NULL || vms_path == NULL || racks == NULL) {
        berth_error_set(&error, BERTH_ERROR_INVALID, "topology needs --hosts, --vms and --racks");
        return sim_fail(error);
    }
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    g_autoptr(SimVerifier) verifier = sim_verifier_new();
    g_autoptr(GHashTable) missed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) groups = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    World world = {.snapshot = snapshot, .verifier = verifier, .missed = missed, .groups = groups};
    const BerthPolicy *policy = sim_policy(name, &error);
    g_autoptr(SimCsv) vms = policy == NULL ? NULL : sim_csv_read(vms_path, &error);
    const SimField fields[] = {{"flavor_vcpus", 0, SIM_VCPUS_MAX, FALSE},
                               {"flavor_ram", 0, SIM_GIB_MAX, FALSE},
                               {"numa", 0, 2, TRUE},
                               {"group", 0, G_MAXINT32, TRUE},
                               {"domain", 0, DOMAINS_MAX, TRUE},
                               {NULL}};
    if (vms == NULL || !sim_csv_check(vms, fields, &error) ||
        !add_hosts(&world, hosts, racks, &error)) {
        return sim_fail(error);
    }
    return run(&world, vms, policy, name == NULL ? "default" : name, as_json);
}
