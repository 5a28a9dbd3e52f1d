/* See random-fleet.h. Which dimensions a fleet has is drawn first, so that each is dense somewhere. */
#include "tests/unit/sched/random-fleet.h"

#include <string.h>

#include "sched/fleet.h"

#define ONE_OF(world, list) (list)[world_below(world, G_N_ELEMENTS(list))]

guint
world_below(World *w, guint bound)
{
    return (guint)berth_random_below(&w->random.base, bound);
}

/* ---- hosts ------------------------------------------------------------------------------------- */

static void
draw_cells(World *w, Site *site)
{
    BerthHost *host = &site->host;
    host->cells = site->cells;
    host->n_cells = w->has_cells ? world_below(w, 4) : 0;
    for (guint c = 0; c < host->n_cells; c++) {
        gint64 memory = host->memory_mib / host->n_cells;
        site->pages[c][0] = (BerthAmount){"2048", world_below(w, (guint)memory / 8)};
        site->pages[c][1] = (BerthAmount){"1048576", world_below(w, (guint)memory / 2048 + 1)};
        site->cells[c] = (BerthHostCell){.cpu_millis = host->cpu_millis / host->n_cells,
                                         .memory_mib = memory,
                                         .hugepages = site->pages[c],
                                         .n_hugepages = world_below(w, 3),
                                         .dedicated_cpus = world_below(w, 6)};
    }
}

static void
draw_devices(World *w, Site *site)
{
    static const char *const kinds[] = {"gpu", "gpu", "nic"}, *const models[] = {"A", "B", NULL};
    BerthHost *host = &site->host;
    gboolean grouped = world_below(w, 2);
    host->devices = site->devices;
    host->n_devices = w->has_devices && world_below(w, 4) > 0 ? world_below(w, 9) : 0;
    for (guint d = 0; d < host->n_devices; d++) {
        site->devices[d] = (BerthHostDevice){.kind = ONE_OF(w, kinds),
                                             .model = ONE_OF(w, models),
                                             .cell = BERTH_CELL_NONE,
                                             .iommu_group = grouped ? (gint)world_below(w, 4) : -1,
                                             .shareable = world_below(w, 3) > 0};
    }
}

/* What may change while workloads are there. */
static void
draw_facts(World *w, Site *site)
{
    static const char *const zones[] = {"z1", "z2", NULL}, *const racks[] = {"r1", "r2", "r3",
                                                                             NULL};
    static const char *const machines[] = {"q35", "microvm"}, *const cpus[] = {"v2", "v3"};
    static const char *const networks[] = {"default", "storage"};
    static const char *const features[] = {"aes", "avx2"}, *const archs[] = {"x86_64", "riscv64"};
    static const char *const generations[] = {"3", "7", "12", "new"};
    BerthHost *h = &site->host;
    gboolean some = w->has_facts;
    h->zone = ONE_OF(w, zones);
    h->rack = ONE_OF(w, racks);
    h->arch = archs[some && world_below(w, 8) == 0];
    h->cpu_models = cpus;
    h->n_cpu_models = some ? 1 + world_below(w, 2) : 2;
    h->cpu_features = features;
    h->n_cpu_features = some ? 1 + world_below(w, 2) : 2;
    h->machines = machines;
    h->n_machines = some ? 1 + world_below(w, 2) : 2;
    h->networks = networks;
    h->n_networks = some ? 1 + world_below(w, 2) : 2;
    site->taint = (BerthTaint){"special", world_below(w, 2) ? "gpu" : NULL,
                               world_below(w, 2) ? BERTH_TAINT_REFUSE : BERTH_TAINT_AVOID};
    h->taints = &site->taint;
    h->n_taints = some && world_below(w, 6) == 0;
    site->labels[0] = world_below(w, 2) ? (BerthLabel){"generation", ONE_OF(w, generations)}
                                        : (BerthLabel){"disk", world_below(w, 2) ? "ssd" : "hdd"};
    site->labels[1] = (BerthLabel){"berth/project", world_below(w, 2) ? "p0" : "p1"};
    h->labels = site->labels;
    h->n_labels = some ? 1 + (world_below(w, 8) == 0) : 0;
}

static void
draw_amounts(World *w, Site *site)
{
    BerthHost *h = &site->host;
    h->cpu_millis = 2000 << world_below(w, 4);
    h->memory_mib = 4096 << world_below(w, 4);
    h->cpu_reserve_millis = 250 * world_below(w, 3);
    h->memory_reserve_mib = 256 * world_below(w, 3);
    h->cpu_overcommit_pct = world_below(w, 2) * 200;
    h->memory_overcommit_pct = world_below(w, 8) == 0 ? 150 : 0;
    /* A pool and a count may have one name. */
    site->pools[0] = (BerthAmount){"local", 50 + world_below(w, 200)};
    site->pools[1] = (BerthAmount){"fast", 20 + world_below(w, 50)};
    h->pools = site->pools;
    h->n_pools = 1 + world_below(w, 2);
    site->counts[0] = (BerthAmount){"licence", 1 + world_below(w, 4)};
    site->counts[1] = (BerthAmount){"fast", 1 + world_below(w, 40)};
    h->counts = site->counts;
    h->n_counts = world_below(w, 3);
}

static void
put_site(World *w, Site *site)
{
    guint32 index = BERTH_HOST_NONE;
    g_assert_true(berth_snapshot_put_host(w->snapshot, &site->host, &index, NULL));
    sim_verifier_add_host(w->verifier, index, &site->host);
    if (w->sites->len <= index) {
        g_ptr_array_set_size(w->sites, (gint)index + 1);
    }
    if (w->sites->pdata[index] != site) {
        g_free(w->sites->pdata[index]);
        w->sites->pdata[index] = site;
    }
}

static void
add_host(World *w)
{
    Site *site = g_new0(Site, 1);
    g_snprintf(site->name, sizeof site->name, "h%u", w->hosts_named++);
    site->host.name = site->name;
    site->host.state = BERTH_HOST_READY | (world_below(w, 12) == 0 ? BERTH_HOST_CORDONED : 0);
    draw_amounts(w, site);
    draw_cells(w, site);
    draw_devices(w, site);
    draw_facts(w, site);
    put_site(w, site);
}

static BerthHostState
draw_state(World *w)
{
    switch (world_below(w, 6)) {
    case 0:
        return BERTH_HOST_READY | BERTH_HOST_CORDONED;
    case 1:
        return BERTH_HOST_READY | BERTH_HOST_DRAINING;
    case 2:
        return 0;
    default:
        return BERTH_HOST_READY;
    }
}

/* A host gets another state, other facts, more or less of its pools; one that is empty goes, or another comes. */
void
world_change(World *w)
{
    guint32 index = world_below(w, w->sites->len);
    Site *site = w->sites->pdata[index];
    guint what = world_below(w, 8);
    if (site == NULL || (what == 0 && w->sites->len < 100)) {
        add_host(w);
    } else if (what == 1 && berth_snapshot_remove_host(w->snapshot, index, NULL)) {
        sim_verifier_remove_host(w->verifier, index);
        g_clear_pointer(&w->sites->pdata[index], g_free);
    } else if (what == 2) {
        draw_facts(w, site);
        put_site(w, site);
    } else if (what == 3) {
        site->pools[0].amount = 20 + world_below(w, 200);
        site->host.memory_reserve_mib = 256 * world_below(w, 6);
        put_site(w, site);
    } else {
        site->host.state = draw_state(w);
        berth_snapshot_set_state(w->snapshot, index, site->host.state);
        sim_verifier_set_state(w->verifier, index, site->host.state);
    }
}

/* ---- the world --------------------------------------------------------------------------------- */

void
world_set_quota(World *w, Quota quota)
{
    w->has_quota = TRUE;
    w->quota = quota;
    berth_snapshot_set_quota(w->snapshot, "p0", quota.cpu_millis, quota.memory_mib,
                             quota.device_millis, quota.workloads);
    sim_verifier_set_quota(w->verifier, "p0", quota.cpu_millis, quota.memory_mib,
                           quota.device_millis, quota.workloads);
}

/* Two of three are limited. */
static gint64
draw_limit(World *w, gint64 unit, guint most)
{
    return world_below(w, 3) == 0 ? -1 : unit * (1 + world_below(w, most));
}

void
world_init(World *w, guint64 seed)
{
    memset(w, 0, sizeof(*w));
    berth_seeded_random_init(&w->random, seed);
    w->snapshot = berth_snapshot_new();
    w->verifier = sim_verifier_new();
    w->live = g_array_new(FALSE, FALSE, sizeof(Live));
    w->sites = g_ptr_array_new_with_free_func(g_free);
    w->has_cells = world_below(w, 2);
    w->has_devices = world_below(w, 2);
    w->has_facts = world_below(w, 2);
    w->has_relations = world_below(w, 2);
    guint hosts = 1 + world_below(w, world_below(w, 4) == 0 ? 80 : 12);
    for (guint i = 0; i < hosts; i++) {
        add_host(w);
    }
    if (world_below(w, 4) == 0) {
        world_set_quota(w, (Quota){draw_limit(w, 1000, 44), draw_limit(w, 1024, 64),
                                   draw_limit(w, 100, 60), draw_limit(w, 1, 30)});
    }
    w->survivable = hosts < 9 && world_below(w, 8) == 0;
    berth_snapshot_set_survivable(w->snapshot, w->survivable);
}

void
world_clear(World *w)
{
    for (guint i = 0; i < w->live->len; i++) {
        g_free(g_array_index(w->live, Live, i).wish);
    }
    berth_snapshot_free(w->snapshot);
    sim_verifier_free(w->verifier);
    g_ptr_array_unref(w->sites);
    g_array_unref(w->live);
}

void
world_assert_clean(const World *w)
{
    if (!sim_verifier_is_clean(w->verifier)) {
        g_error("%s", sim_verifier_complaint(w->verifier));
    }
}

/* Takes @wish, which the snapshot has charged already. */
void
world_adopt(World *w, Wish *wish, const BerthPlacement *placement)
{
    Live live = {berth_snapshot_find_charge(w->snapshot, wish->uid),
                 sim_verifier_place(w->verifier, &wish->request, placement), wish, *placement};
    g_array_append_val(w->live, live);
    world_assert_clean(w);
}

/* Takes @wish. */
void
world_place(World *w, Wish *wish, const BerthPlacement *placement)
{
    berth_snapshot_charge(w->snapshot, &wish->request, placement);
    world_adopt(w, wish, placement);
}

void
world_release(World *w, guint at)
{
    Live live = g_array_index(w->live, Live, at);
    berth_snapshot_release_charge(w->snapshot, live.charge);
    sim_verifier_release(w->verifier, live.token);
    g_free(live.wish);
    g_array_remove_index_fast(w->live, at);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void
draw_amounts_wanted(World *w, Wish *wish)
{
    static const guint pages[] = {2048, 1048576};
    BerthRequest *r = &wish->request;
    r->cpu_millis = 500 << world_below(w, 5);
    r->memory_mib = 512 << world_below(w, 5);
    r->overhead_mib = world_below(w, 2) * 64;
    r->numa = world_below(w, 3) == 0 ? world_below(w, 4) : BERTH_NUMA_ANY;
    r->dedicated = w->has_cells && world_below(w, 6) == 0;
    r->hugepage_kib = w->has_cells && world_below(w, 5) == 0 ? ONE_OF(w, pages) : 0;
    wish->disks[0] = (BerthAmount){"local", 1 + world_below(w, 60)};
    wish->disks[1] = (BerthAmount){world_below(w, 2) ? "local" : "fast", 1 + world_below(w, 30)};
    r->disks = wish->disks;
    r->n_disks = world_below(w, 3) == 0 ? 1 + world_below(w, 2) : 0;
    wish->counts[0] = (BerthAmount){"licence", 1 + world_below(w, 2)};
    wish->counts[1] = (BerthAmount){"fast", 1 + world_below(w, 30)};
    r->counts = wish->counts;
    r->n_counts = world_below(w, 10) == 0 ? 1 + world_below(w, 2) : 0;
}

static void
draw_needs(World *w, Wish *wish)
{
    static const char *const a[] = {"A", "B"}, *const kinds[] = {"gpu", "gpu", "nic"};
    BerthRequest *r = &wish->request;
    r->devices = wish->needs;
    r->n_devices = w->has_devices && world_below(w, 3) == 0 ? 1 + world_below(w, 3) : 0;
    if (r->n_devices > 1 && world_below(w, 2)) {
        r->n_devices = 1;
    }
    for (guint i = 0; i < r->n_devices; i++) {
        BerthDeviceNeed *need = &wish->needs[i];
        *need = (BerthDeviceNeed){.kind = ONE_OF(w, kinds),
                                  .models = a + world_below(w, 2),
                                  .n_models = world_below(w, 2),
                                  .count = 1,
                                  .millis = 100 * (1 + world_below(w, 10))};
        if (need->n_models == 1 && need->models == a) {
            need->n_models += world_below(w, 2);
        }
        if (world_below(w, 2)) {
            need->count = 1 + world_below(w, 3);
            need->millis = 1000;
        }
    }
}

static void
draw_host_rules(World *w, Wish *wish)
{
    static const char *const ssd[] = {"ssd"}, *const number[] = {"6"};
    BerthRequest *r = &wish->request;
    guint weight = world_below(w, 2) * 30;
    const BerthExpression all[] = {{"disk", BERTH_OPERATOR_IN, ssd, 1, weight},
                                   {"disk", BERTH_OPERATOR_NOT_IN, ssd, 1, weight},
                                   {"generation", BERTH_OPERATOR_EXISTS, NULL, 0, weight},
                                   {"generation", BERTH_OPERATOR_ABSENT, NULL, 0, weight},
                                   {"generation", BERTH_OPERATOR_GREATER, number, 1, weight},
                                   {"generation", BERTH_OPERATOR_LESS, number, 1, weight}};
    wish->selectors[0] = ONE_OF(w, all);
    wish->selectors[1] = ONE_OF(w, all);
    r->selectors = wish->selectors;
    r->n_selectors = world_below(w, 4) == 0 ? 1 + world_below(w, 2) : 0;
    wish->toleration = (BerthToleration){world_below(w, 2) ? "special" : NULL,
                                         world_below(w, 3) == 0 ? "gpu" : NULL};
    r->tolerations = &wish->toleration;
    r->n_tolerations = world_below(w, 4) == 0;
}

/* What a host must have or be: each seldom, so that most requests have a place. */
static void
draw_facts_wanted(World *w, Wish *wish)
{
    static const char *const avx2[] = {"avx2"};
    BerthRequest *r = &wish->request;
    r->machine = world_below(w, 6) == 0 ? "microvm" : NULL;
    r->cpu_model = world_below(w, 6) == 0 ? "v3" : NULL;
    r->arch = world_below(w, 8) == 0 ? (world_below(w, 4) == 0 ? "riscv64" : "x86_64") : NULL;
    r->cpu_features = avx2;
    r->n_cpu_features = world_below(w, 8) == 0;
    wish->networks[0] = world_below(w, 2) ? "storage" : "default";
    wish->networks[1] = "default";
    r->networks = wish->networks;
    r->n_networks = world_below(w, 4) == 0 ? 1 + world_below(w, 2) : 0;
    if (world_below(w, 16) == 0) {
        g_snprintf(wish->host, sizeof wish->host, "h%u", world_below(w, w->hosts_named));
        r->host = wish->host;
    }
    draw_host_rules(w, wish);
}

static void
draw_relations(World *w, Wish *wish)
{
    static const char *const groups[] = {"g0", "g1", "g2", "g3"}, *const apps[] = {"db", "web"};
    BerthRequest *r = &wish->request;
    if (world_below(w, 2)) {
        g_strlcpy(wish->group, ONE_OF(w, groups), sizeof wish->group);
        r->group = wish->group;
    }
    wish->label = (BerthLabel){"app", ONE_OF(w, apps)};
    r->labels = &wish->label;
    r->n_labels = world_below(w, 2);
    r->relations = wish->relations;
    r->n_relations = world_below(w, 2) ? 1 + (world_below(w, 4) == 0) : 0;
    for (guint i = 0; i < r->n_relations; i++) {
        BerthRelation *relation = &wish->relations[i];
        *relation = (BerthRelation){
            .kind = world_below(w, 3) ? BERTH_RELATION_APART : BERTH_RELATION_TOGETHER,
            .scope = world_below(w, 3),
            .group = r->group != NULL && world_below(w, 3) ? r->group : ONE_OF(w, groups),
            .weight = world_below(w, 4) == 0 ? 50 : 0};
        if (world_below(w, 4) == 0) {
            relation->group = NULL;
            relation->label = (BerthLabel){"app", world_below(w, 4) ? ONE_OF(w, apps) : NULL};
        }
    }
    r->spreads = wish->spreads;
    r->n_spreads = r->group != NULL && world_below(w, 4) == 0 ? 1 + world_below(w, 2) : 0;
    for (guint i = 0; i < r->n_spreads; i++) {
        wish->spreads[i] = (BerthSpread){.scope = world_below(w, 3),
                                         .group = world_below(w, 4) ? r->group : ONE_OF(w, groups),
                                         .max_skew = 1 + world_below(w, 2),
                                         .weight = world_below(w, 4) == 0 ? 40 : 0};
    }
}

/** Returns: (transfer full): the next request; g_free() it unless it is placed. */
Wish *
world_draw(World *w)
{
    static const char *const projects[] = {"p0", "p1", NULL}, *const images[] = {"i0", "i1", NULL};
    Wish *wish = g_new0(Wish, 1);
    BerthRequest *r = &wish->request;
    g_snprintf(wish->uid, sizeof wish->uid, "w%u", w->wishes++);
    r->uid = wish->uid;
    r->project = ONE_OF(w, projects);
    r->image = ONE_OF(w, images);
    r->priority = (gint)world_below(w, 4);
    r->preemptible = world_below(w, 2);
    r->fixed = world_below(w, 6) == 0;
    draw_amounts_wanted(w, wish);
    draw_needs(w, wish);
    if (w->has_facts) {
        draw_facts_wanted(w, wish);
    }
    if (w->has_relations) {
        draw_relations(w, wish);
    }
    return wish;
}

/* ---- the ledger -------------------------------------------------------------------------------- */

/* Huge pages of one size, in all cells up to the one of @stock; 0 when there is a later cell. */
static gint64
pages_of_host(const BerthSnapshot *s, guint32 host, guint stock)
{
    const BerthStock *all = berth_stocks(s, host);
    gint64 used = 0;
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        gboolean same = all[i].kind == BERTH_STOCK_HUGEPAGE && all[i].key == all[stock].key;
        if (same && i > stock) {
            return 0;
        }
        used += same ? all[i].used : 0;
    }
    return used;
}

static void
print_share(GString *text, const char *project, const BerthShare *share)
{
    g_string_append_printf(text,
                           "\n%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT
                           " %" G_GINT64_FORMAT,
                           project, share->cpu_used_millis, share->memory_used_mib,
                           share->device_used_millis, share->workloads_used);
}

/**
 * world_ledger:
 * @by_cell: also which cells the huge pages are of: those of a workload that is bound to none may be of others after it
 *   was charged anew
 *
 * Returns: (transfer full): all that is charged, as text: two that are equal are charged the same
 */
char *
world_ledger(const BerthSnapshot *s, gboolean by_cell)
{
    GString *text = g_string_new(NULL);
    for (guint32 h = 0; h < s->end; h++) {
        if (s->name[h] == 0) {
            continue;
        }
        g_string_append_printf(text, "\n%s %d %d %u", berth_snapshot_host_name(s, h),
                               s->cpu_cap[h] - s->cpu_free[h], s->mem_cap[h] - s->mem_free[h],
                               s->charge_count[h]);
        for (guint i = 0; i < s->n_cells[h]; i++) {
            const BerthCell *cell = &berth_cells(s, h)[i];
            g_string_append_printf(text, " cell %d %d", cell->cpu_cap - cell->cpu_free,
                                   cell->mem_cap - cell->mem_free);
        }
        for (guint i = 0; i < s->n_stocks[h]; i++) {
            gboolean summed = !by_cell && berth_stocks(s, h)[i].kind == BERTH_STOCK_HUGEPAGE;
            g_string_append_printf(text, " %" G_GINT64_FORMAT,
                                   summed ? pages_of_host(s, h, i) : berth_stocks(s, h)[i].used);
        }
        for (guint i = 0; i < s->n_slots[h]; i++) {
            g_string_append_printf(text, " %d/%d", berth_slots(s, h)[i].used,
                                   berth_slots(s, h)[i].holders);
        }
    }
    for (guint i = 0; i < 2; i++) {
        const char *project = i == 0 ? "p0" : "p1";
        gpointer symbol = g_hash_table_lookup(s->symbols.ids, project);
        const BerthShare none = {0}, *share = berth_snapshot_share(s, GPOINTER_TO_UINT(symbol));
        print_share(text, project, share != NULL ? share : &none);
    }
    return g_string_free(text, FALSE);
}

/* ---- what there should be ---------------------------------------------------------------------- */

typedef struct {
    gint64 cpu, mem, cell_cpu[3], cell_mem[3], cpus[3];
    gint64 pools[2], counts[2], pages[2]; /* as described in Site */
    guint n, millis[8], holders[8];
} Count;

static void
count_amounts(gint64 *sums, const BerthAmount *known, const BerthAmount *wanted, guint n)
{
    for (guint i = 0; i < n; i++) {
        for (guint k = 0; k < 2; k++) {
            sums[k] += g_str_equal(known[k].key, wanted[i].key) ? wanted[i].amount : 0;
        }
    }
}

static void
count_one(Count *count, const Site *site, const Live *live)
{
    const BerthRequest *r = &live->wish->request;
    const BerthPlacement *at = &live->placement;
    gint64 cpu = r->dedicated ? 0 : r->cpu_millis;
    gint64 mem = r->overhead_mib + (r->hugepage_kib > 0 ? 0 : r->memory_mib);
    gint64 parts = at->cells[1] == BERTH_CELL_NONE ? 1 : 2, left = (r->cpu_millis + 999) / 1000;
    count->n++;
    count->cpu += cpu;
    count->mem += mem;
    for (guint i = 0; i < 2 && at->cells[i] != BERTH_CELL_NONE; i++) {
        gint64 own = !r->dedicated ? 0 : parts == 2 && i == 0 ? (left + 1) / 2 : left;
        left -= own;
        count->cell_cpu[at->cells[i]] += (cpu + parts - 1) / parts;
        count->cell_mem[at->cells[i]] += (mem + parts - 1) / parts;
        count->cpus[at->cells[i]] += own;
    }
    count_amounts(count->pools, site->pools, r->disks, r->n_disks);
    count_amounts(count->counts, site->counts, r->counts, r->n_counts);
    if (r->hugepage_kib > 0) {
        count->pages[r->hugepage_kib > 2048] +=
            (r->memory_mib * 1024 + r->hugepage_kib - 1) / r->hugepage_kib;
    }
    for (guint need = 0, d = 0; need < r->n_devices; need++) {
        for (guint k = 0; k < r->devices[need].count; k++, d++) {
            count->millis[at->devices[d]] += r->devices[need].millis;
            count->holders[at->devices[d]]++;
        }
    }
}

static void
print_stocks(GString *text, const Site *site, const Count *count)
{
    guint last[2] = {G_MAXUINT, G_MAXUINT}; /* the cells that stand for all */
    for (guint i = 0; i < site->host.n_pools; i++) {
        g_string_append_printf(text, " %" G_GINT64_FORMAT, count->pools[i]);
    }
    for (guint i = 0; i < site->host.n_counts; i++) {
        g_string_append_printf(text, " %" G_GINT64_FORMAT, count->counts[i]);
    }
    for (guint c = 0; c < site->host.n_cells; c++) {
        for (guint k = 0; k < site->cells[c].n_hugepages; k++) {
            last[k] = c;
        }
    }
    for (guint c = 0; c < site->host.n_cells; c++) {
        for (guint k = 0; k < site->cells[c].n_hugepages; k++) {
            g_string_append_printf(text, " %" G_GINT64_FORMAT, c == last[k] ? count->pages[k] : 0);
        }
        if (site->cells[c].dedicated_cpus > 0) {
            g_string_append_printf(text, " %" G_GINT64_FORMAT, count->cpus[c]);
        }
    }
}

static void
count_share(const World *w, const char *project, GString *text)
{
    BerthShare share = {0};
    for (guint i = 0; i < w->live->len; i++) {
        const BerthRequest *r = &g_array_index(w->live, Live, i).wish->request;
        if (g_strcmp0(r->project, project) != 0) {
            continue;
        }
        gint64 kib = r->hugepage_kib > 0 ? r->hugepage_kib : 1024;
        gint64 cpus = (r->cpu_millis + 999) / 1000 * 1000;
        share.workloads_used++;
        share.cpu_used_millis += r->dedicated ? cpus : r->cpu_millis;
        share.memory_used_mib +=
            r->overhead_mib + (r->memory_mib * 1024 + kib - 1) / kib * kib / 1024;
        for (guint need = 0; need < r->n_devices; need++) {
            share.device_used_millis += (gint64)r->devices[need].count * r->devices[need].millis;
        }
    }
    print_share(text, project, &share);
}

/** Returns: (transfer full): as world_ledger() without cells of pages, counted anew from who is there. */
char *
world_count(const World *w)
{
    GString *text = g_string_new(NULL);
    for (guint32 h = 0; h < w->sites->len; h++) {
        const Site *site = w->sites->pdata[h];
        Count count = {0};
        for (guint i = 0; site != NULL && i < w->live->len; i++) {
            const Live *live = &g_array_index(w->live, Live, i);
            if (live->placement.host == h) {
                count_one(&count, site, live);
            }
        }
        if (site == NULL) {
            continue;
        }
        g_string_append_printf(text, "\n%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %u",
                               site->name, count.cpu, count.mem, count.n);
        for (guint c = 0; c < MAX(1, site->host.n_cells); c++) {
            g_string_append_printf(text, " cell %" G_GINT64_FORMAT " %" G_GINT64_FORMAT,
                                   count.cell_cpu[c], count.cell_mem[c]);
        }
        print_stocks(text, site, &count);
        for (guint d = 0; d < site->host.n_devices; d++) {
            g_string_append_printf(text, " %u/%u", count.millis[d], count.holders[d]);
        }
    }
    count_share(w, "p0", text);
    count_share(w, "p1", text);
    return g_string_free(text, FALSE);
}
