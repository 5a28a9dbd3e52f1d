/* Each filter refuses what it should, says so by its code, and admits the rest. */
#include "fixture.h"

static void
test_state(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    g_assert_null(refused_by(s, &r));
    berth_snapshot_set_state(s, h, BERTH_HOST_READY | BERTH_HOST_CORDONED);
    g_assert_cmpstr(refused_by(s, &r), ==, "state");
    berth_snapshot_set_state(s, h, BERTH_HOST_READY | BERTH_HOST_DRAINING);
    g_assert_cmpstr(refused_by(s, &r), ==, "state");
    berth_snapshot_set_state(s, h, 0);
    g_assert_cmpstr(refused_by(s, &r), ==, "state");
}

static void
test_pinned(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    r.host = "h1";
    g_assert_null(refused_by(s, &r));
    r.host = "h2";
    g_assert_cmpstr(refused_by(s, &r), ==, "pinned");
}

static void
test_cpu_type(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    const char *const have[] = {"avx2", "aes"}, *const lack[] = {"aes", "amx"};
    r.arch = "x86_64";
    r.cpu_model = "x86-64-v3";
    r.cpu_features = have;
    r.n_cpu_features = 2;
    g_assert_null(refused_by(s, &r));
    r.cpu_features = lack;
    g_assert_cmpstr(refused_by(s, &r), ==, "cpu-type");
    r.n_cpu_features = 0;
    r.cpu_model = "x86-64-v4";
    g_assert_cmpstr(refused_by(s, &r), ==, "cpu-type");
    r.cpu_model = NULL;
    r.arch = "aarch64";
    g_assert_cmpstr(refused_by(s, &r), ==, "cpu-type");
}

static void
test_machine(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    r.machine = "microvm";
    g_assert_null(refused_by(s, &r));
    r.machine = "virt";
    g_assert_cmpstr(refused_by(s, &r), ==, "machine");
}

static void
test_network(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    const char *const have[] = {"storage", "default"}, *const lack[] = {"default", "dmz"};
    r.n_networks = 2;
    r.networks = have;
    g_assert_null(refused_by(s, &r));
    r.networks = lack;
    g_assert_cmpstr(refused_by(s, &r), ==, "network");
}

static void
test_pool_and_disk(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    BerthAmount disks[] = {{"local", 60000}, {"local", 42400}};
    r.disks = disks;
    r.n_disks = 2;
    g_assert_null(refused_by(s, &r));
    disks[1].amount++;
    g_assert_cmpstr(refused_by(s, &r), ==, "disk");
    disks[1] = (BerthAmount){"nfs", 1};
    g_assert_cmpstr(refused_by(s, &r), ==, "pool");
}

static void
test_selector(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    const char *const ssd[] = {"nvme", "ssd"}, *const six[] = {"6"}, *const seven[] = {"7"};
    const struct {
        BerthExpression e;
        gboolean admits;
    } cases[] = {
        {{"disk", BERTH_OPERATOR_IN, ssd, 2, 0}, TRUE},
        {{"disk", BERTH_OPERATOR_IN, ssd, 1, 0}, FALSE},
        {{"disk", BERTH_OPERATOR_NOT_IN, ssd, 2, 0}, FALSE},
        {{"disk", BERTH_OPERATOR_NOT_IN, ssd, 1, 0}, TRUE},
        {{"tier", BERTH_OPERATOR_NOT_IN, ssd, 2, 0}, TRUE},
        {{"disk", BERTH_OPERATOR_EXISTS, NULL, 0, 0}, TRUE},
        {{"tier", BERTH_OPERATOR_EXISTS, NULL, 0, 0}, FALSE},
        {{"tier", BERTH_OPERATOR_ABSENT, NULL, 0, 0}, TRUE},
        {{"generation", BERTH_OPERATOR_GREATER, six, 1, 0}, TRUE},
        {{"generation", BERTH_OPERATOR_GREATER, seven, 1, 0}, FALSE},
        {{"generation", BERTH_OPERATOR_LESS, seven, 1, 0}, FALSE},
        {{"disk", BERTH_OPERATOR_GREATER, six, 1, 0}, FALSE},
        {{"tier", BERTH_OPERATOR_EXISTS, NULL, 0, 50}, TRUE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        r.selectors = &cases[i].e;
        r.n_selectors = 1;
        g_test_message("expression %u", i);
        g_assert_cmpstr(refused_by(s, &r), ==, cases[i].admits ? NULL : "selector");
    }
}

static void
test_taint(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost host = fixture_host("h1");
    BerthTaint taints[] = {{"gpu", "only", BERTH_TAINT_REFUSE}, {"old", NULL, BERTH_TAINT_AVOID}};
    host.taints = taints;
    host.n_taints = 2;
    berth_snapshot_put_host(s, &host, NULL, NULL);
    BerthRequest r = fixture_request();
    g_assert_cmpstr(refused_by(s, &r), ==, "taint");
    BerthToleration t = {"gpu", "never"};
    r.tolerations = &t;
    r.n_tolerations = 1;
    g_assert_cmpstr(refused_by(s, &r), ==, "taint");
    t.value = "only";
    g_assert_null(refused_by(s, &r));
    t = (BerthToleration){NULL, NULL};
    g_assert_null(refused_by(s, &r));
}

static void
test_vcpu(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost host = fixture_host("h1");
    host.cpu_reserve_millis = 1000;
    host.cpu_overcommit_pct = 200;
    berth_snapshot_put_host(s, &host, NULL, NULL);
    BerthRequest r = fixture_request();
    r.cpu_millis = 14000;
    g_assert_null(refused_by(s, &r));
    r.cpu_millis = 14001;
    g_assert_cmpstr(refused_by(s, &r), ==, "vcpu");
}

static BerthRequest
dedicated_request(guint vcpus, BerthNumaPolicy numa)
{
    BerthRequest r = fixture_request();
    r.dedicated = TRUE;
    r.cpu_millis = vcpus * 1000;
    r.numa = numa;
    return r;
}

/* The cells have two and three: never more, whatever the over-commit. */
static void
test_dedicated_cpus_are_of_one_cell_or_two(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost host = fixture_host("h1");
    host.cpu_overcommit_pct = 400;
    berth_snapshot_put_host(s, &host, NULL, NULL);
    const struct {
        guint vcpus;
        BerthNumaPolicy numa;
        guint8 cells[2];
        const char *dimension;
    } cases[] = {
        {3, BERTH_NUMA_ANY, {1, BERTH_CELL_NONE}, NULL},
        {4, BERTH_NUMA_ANY, {0, 1}, NULL},
        {5, BERTH_NUMA_ANY, {0, 0}, "cell_dedicated_cpus"}, /* 3 and 2 are not halves that fit */
        {6, BERTH_NUMA_ANY, {0, 0}, "dedicated_cpus"},
        {4, BERTH_NUMA_ONE, {0, 0}, "cell_dedicated_cpus"},
        {2, BERTH_NUMA_TWO, {0, 1}, NULL},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        BerthRequest r = dedicated_request(cases[i].vcpus, cases[i].numa);
        BerthDecision decision;
        g_test_message("%u vCPUs", cases[i].vcpus);
        g_assert_cmpint(berth_pick(s, &r, NULL, &decision), ==, cases[i].dimension == NULL);
        if (cases[i].dimension == NULL) {
            g_assert_cmpmem(decision.placement.cells, 2, cases[i].cells, 2);
            continue;
        }
        g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
        const BerthRefusal *refusal = &g_array_index(e->refusals, BerthRefusal, 0);
        g_assert_cmpstr(refusal->code, ==, "dedicated");
        g_assert_cmpstr(refusal->dimension, ==, cases[i].dimension);
    }
}

/* Neither takes from the other, and the quota counts both. */
static void
test_dedicated_cpus_are_apart_from_shared_ones(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    BerthRequest shared = fixture_request(), own = dedicated_request(3, BERTH_NUMA_ONE);
    shared.cpu_millis = 8000;
    own.uid = "own";
    own.project = "p";
    berth_snapshot_set_quota(s, "p", 4000, -1, -1, -1);
    berth_snapshot_charge_on(s, &own, h);
    g_assert_null(refused_by(s, &shared));
    berth_snapshot_charge_on(s, &shared, h);
    BerthRequest last = dedicated_request(2, BERTH_NUMA_ANY);
    g_assert_null(refused_by(s, &last));
    last.project = "p";
    g_assert_cmpstr(refused_by(s, &last), ==, "quota");
    last.cpu_millis = 3000;
    last.project = NULL;
    g_assert_cmpstr(refused_by(s, &last), ==, "dedicated");
    g_autoptr(BerthExplanation) e = berth_explain(s, &last, NULL);
    g_autofree char *text = berth_explanation_fix(s, e);
    g_assert_cmpstr(text, ==, "fits on h1 if 1 CPU were freed");
    last.cpu_millis = 5000; /* more than the cells would have in one or in halves */
    g_autoptr(BerthExplanation) never = berth_explain(s, &last, NULL);
    g_assert_cmpint(never->fix.kind, ==, BERTH_FIX_NONE);
    last.cpu_millis = 3000;
    g_assert_true(berth_snapshot_release(s, "own"));
    g_assert_null(refused_by(s, &last));
}

static void
test_memory(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost host = fixture_host("h1");
    host.memory_reserve_mib = 1000;
    berth_snapshot_put_host(s, &host, NULL, NULL);
    BerthRequest r = fixture_request();
    /* 18432 less the reserve and 2 x 512 pages of 2 MiB */
    r.memory_mib = 15284;
    r.overhead_mib = 100;
    g_assert_null(refused_by(s, &r));
    r.overhead_mib = 101;
    g_assert_cmpstr(refused_by(s, &r), ==, "memory");
}

static void
test_count(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    BerthAmount licences = {"licence", 2};
    r.counts = &licences;
    r.n_counts = 1;
    g_assert_null(refused_by(s, &r));
    licences.amount = 3;
    g_assert_cmpstr(refused_by(s, &r), ==, "count");
}

static void
test_hugepage(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    r.hugepage_kib = 2048;
    r.memory_mib = 2048;
    g_assert_null(refused_by(s, &r));
    r.numa = BERTH_NUMA_ONE;
    g_assert_cmpstr(refused_by(s, &r), ==, "numa");
    r.numa = BERTH_NUMA_ANY;
    r.memory_mib = 2049;
    g_assert_cmpstr(refused_by(s, &r), ==, "hugepage");
    r.hugepage_kib = 1048576;
    r.memory_mib = 1024;
    g_assert_cmpstr(refused_by(s, &r), ==, "hugepage");
}

/* What was found there and is more than there is counts, where there are pages at all. */
static void
test_too_many_pages_are_counted(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthAmount pages = {"2048", 512};
    BerthHostCell cells[2] = {
        {.cpu_millis = 4000, .memory_mib = 9216, .hugepages = &pages, .n_hugepages = 1},
        {.cpu_millis = 4000, .memory_mib = 9216}};
    BerthHost host = fixture_host("h1");
    host.cells = cells;
    g_assert_true(berth_snapshot_put_host(s, &host, NULL, NULL));
    BerthRequest r = fixture_request();
    r.hugepage_kib = 2048;
    r.memory_mib = 1200;
    berth_snapshot_charge_on(s, &r, 0);
    pages.amount = 1024;
    g_assert_true(berth_snapshot_put_host(s, &host, NULL, NULL));
    r.memory_mib = 850; /* 425 pages; 424 are left */
    g_assert_cmpstr(refused_by(s, &r), ==, "hugepage");
    r.memory_mib = 848;
    g_assert_null(refused_by(s, &r));
}

static void
test_numa(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    r.numa = BERTH_NUMA_ONE;
    r.cpu_millis = 4000;
    g_assert_null(refused_by(s, &r));
    r.cpu_millis = 5000;
    g_assert_cmpstr(refused_by(s, &r), ==, "numa");
    r.numa = BERTH_NUMA_TWO;
    g_assert_null(refused_by(s, &r));
    r.numa = BERTH_NUMA_PREFER_ONE;
    g_assert_null(refused_by(s, &r));
}

static void
test_device(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    const char *const a10[] = {"A10"}, *const h100[] = {"H100"};
    BerthDeviceNeed need = {"gpu", a10, 1, 2, 1000};
    BerthRequest r = fixture_request();
    r.devices = &need;
    r.n_devices = 1;
    g_assert_null(refused_by(s, &r));
    need.models = h100;
    g_assert_cmpstr(refused_by(s, &r), ==, "device");
    BerthDeviceNeed slice = {"gpu", NULL, 0, 1, 300};
    BerthRequest part = fixture_request();
    part.devices = &slice;
    part.n_devices = 1;
    berth_snapshot_charge_on(s, &part, h);
    need = (BerthDeviceNeed){"gpu", NULL, 0, 2, 1000};
    g_assert_cmpstr(refused_by(s, &r), ==, "device");
    need.count = 1;
    g_assert_null(refused_by(s, &r));
    slice.millis = 701;
    BerthDeviceNeed unshared = {"nic", NULL, 0, 1, 500};
    part.devices = &unshared;
    g_assert_cmpstr(refused_by(s, &part), ==, "device");
}

static void
test_iommu_group_goes_to_one_guest(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    BerthDeviceNeed need = {"nic", NULL, 0, 1, 1000};
    BerthRequest r = fixture_request();
    r.devices = &need;
    r.n_devices = 1;
    g_assert_null(refused_by(s, &r));
    berth_snapshot_charge_on(s, &r, h);
    g_assert_cmpstr(refused_by(s, &r), ==, "device");
}

/* Parts may go to several, but not beside one that was given whole, and the other way round. */
static void
test_iommu_group_that_is_shared(void)
{
    for (guint first = 0; first < 2; first++) {
        g_autoptr(BerthSnapshot) s = berth_snapshot_new();
        BerthHost host = fixture_host("h1");
        const BerthHostDevice devices[] = {{"gpu", "A", 0, 4, TRUE}, {"gpu", "B", 0, 4, TRUE}};
        host.devices = devices;
        host.n_devices = 2;
        g_assert_true(berth_snapshot_put_host(s, &host, NULL, NULL));
        BerthDeviceNeed part = {"gpu", NULL, 0, 1, 500}, whole = {"gpu", NULL, 0, 1, 1000};
        BerthRequest some = fixture_request(), all = fixture_request();
        some.devices = &part;
        all.devices = &whole;
        some.n_devices = all.n_devices = 1;
        berth_snapshot_charge_on(s, first == 0 ? &some : &all, 0);
        g_assert_cmpstr(refused_by(s, &all), ==, "device");
        g_assert_cmpstr(refused_by(s, &some), ==, first == 0 ? NULL : "device");
    }
}

/* The first need could take what the second must have, or part of what the third must have whole. */
static void
test_devices_for_all_needs(void)
{
    static const char *const any[] = {"A", "B"};
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost host = fixture_host("h1");
    const BerthHostDevice devices[] = {
        {"gpu", "A", 0, -1, TRUE}, {"gpu", "B", 0, -1, TRUE}, {"gpu", "C", 0, -1, FALSE}};
    host.devices = devices;
    host.n_devices = 3;
    g_assert_true(berth_snapshot_put_host(s, &host, NULL, NULL));
    BerthDeviceNeed needs[] = {
        {"gpu", any, 2, 1, 1000}, {"gpu", NULL, 0, 1, 1000}, {"gpu", any, 1, 1, 500}};
    BerthRequest r = fixture_request();
    r.devices = needs;
    r.n_devices = 3;
    BerthDecision decision;
    g_assert_true(berth_pick(s, &r, NULL, &decision));
    const guint8 expected[] = {1, 2, 0};
    g_assert_cmpmem(decision.placement.devices, 3, expected, 3);
    needs[1].millis = 500; /* the third can't be shared */
    g_assert_cmpstr(refused_by(s, &r), ==, "device");
}

static void
test_quota(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    berth_snapshot_set_quota(s, "p", 3000, -1, -1, -1);
    BerthRequest r = fixture_request();
    r.project = "p";
    r.cpu_millis = 2000;
    g_assert_null(refused_by(s, &r));
    berth_snapshot_charge_on(s, &r, h);
    g_assert_cmpstr(refused_by(s, &r), ==, "quota");
    r.project = "q";
    g_assert_null(refused_by(s, &r));
    berth_snapshot_set_quota(s, "q", -1, -1, -1, 1);
    g_assert_null(refused_by(s, &r));
    berth_snapshot_charge_on(s, &r, h);
    g_assert_cmpstr(refused_by(s, &r), ==, "quota");
    berth_snapshot_set_quota(s, "q", -1, -1, -1, -1);
    g_assert_null(refused_by(s, &r));
}

/* A host has 8 vCPUs that are shared and 5 dedicated ones. */
static void
test_unreserved(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    BerthRequest r = fixture_request(), own = fixture_request();
    r.cpu_millis = 4000;
    own.project = "p";
    own.cpu_millis = 2000;
    berth_snapshot_set_reserved(s, "p", 10000, 0);
    g_assert_cmpstr(refused_by(s, &r), ==, "unreserved");
    r.project = "q";
    g_assert_cmpstr(refused_by(s, &r), ==, "unreserved");
    r.cpu_millis = 3000;
    g_assert_null(refused_by(s, &r));
    berth_snapshot_charge_on(s, &r, h); /* 10 are left */
    g_assert_cmpstr(refused_by(s, &r), ==, "unreserved");
    g_assert_null(refused_by(s, &own));
    berth_snapshot_charge_on(s, &own, h); /* 8 are left, and as many not held yet */
    g_assert_cmpstr(refused_by(s, &r), ==, "unreserved");
    g_assert_null(refused_by(s, &own));
    berth_snapshot_set_reserved(s, "q", 6000, 0); /* more than there is: each has its due */
    g_assert_null(refused_by(s, &r));
    g_assert_null(refused_by(s, &own));
    r.memory_mib = 2048;
    berth_snapshot_set_reserved(s, "q", 0, 0);
    berth_snapshot_set_reserved(s, "p", 0, 17000);
    g_assert_cmpstr(refused_by(s, &r), ==, "unreserved");
    r.memory_mib = 256;
    g_assert_null(refused_by(s, &r));
    berth_snapshot_set_reserved(s, "p", 0, 0);
    r.memory_mib = 2048;
    g_assert_null(refused_by(s, &r));
}

static void
test_tenant(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    r.project = "p";
    g_assert_null(refused_by(s, &r));
    BerthHost host = fixture_host("h1");
    BerthLabel label = {"berth/project", "p"};
    host.labels = &label;
    host.n_labels = 1;
    guint32 index;
    g_assert_true(berth_snapshot_put_host(s, &host, &index, NULL));
    g_assert_null(refused_by(s, &r));
    r.project = "q";
    g_assert_cmpstr(refused_by(s, &r), ==, "tenant");
    r.project = NULL;
    g_assert_cmpstr(refused_by(s, &r), ==, "tenant");
}

static BerthRequest
member(const char *group)
{
    BerthRequest r = fixture_request();
    r.group = group;
    return r;
}

static void
test_affinity(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    guint32 h2 = fixture_add(s, "h2");
    BerthRelation near = {.kind = BERTH_RELATION_TOGETHER, .group = "db"};
    BerthRequest r = fixture_request(), db = member("db");
    BerthDecision decision;
    r.relations = &near;
    r.n_relations = 1;
    g_assert_true(fits(s, &r));
    berth_snapshot_charge_on(s, &db, h2);
    g_assert_true(berth_pick(s, &r, NULL, &decision));
    g_assert_cmpuint(decision.placement.host, ==, h2);
    r.host = "h1";
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpstr(g_array_index(e->refusals, BerthRefusal, 0).code, ==, "affinity");
}

static void
test_anti_affinity(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    BerthRelation apart = {.kind = BERTH_RELATION_APART, .label = {"app", "web"}};
    BerthLabel label = {"app", "web"};
    BerthRequest r = fixture_request(), web = fixture_request();
    web.labels = &label;
    web.n_labels = 1;
    web.uid = "w";
    r.relations = &apart;
    r.n_relations = 1;
    g_assert_null(refused_by(s, &r));
    berth_snapshot_charge_on(s, &web, h);
    g_assert_cmpstr(refused_by(s, &r), ==, "anti-affinity");
    r.uid = "w"; /* itself doesn't keep it away */
    g_assert_null(refused_by(s, &r));
    apart.weight = 10;
    r.uid = NULL;
    g_assert_null(refused_by(s, &r));
}

/* Who was there first and must be apart keeps the other away, which asks for nothing. */
static void
test_kept_apart(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    BerthRelation relations[] = {{.kind = BERTH_RELATION_APART, .label = {"app", "web"}},
                                 {.kind = BERTH_RELATION_APART, .group = "db"}};
    BerthLabel label = {"app", "web"};
    BerthRequest wary = fixture_request(), web = fixture_request(), db = member("db");
    wary.uid = "w";
    wary.relations = relations;
    wary.n_relations = 2;
    web.labels = &label;
    web.n_labels = 1;
    berth_snapshot_charge_on(s, &wary, h);
    g_assert_cmpstr(refused_by(s, &web), ==, "kept-apart");
    g_assert_cmpstr(refused_by(s, &db), ==, "kept-apart");
    db.group = "cache";
    g_assert_null(refused_by(s, &db));
    web.uid = "w"; /* itself */
    g_assert_null(refused_by(s, &web));
    web.uid = NULL;
    berth_snapshot_release(s, "w");
    g_assert_null(refused_by(s, &web));
    relations[0].weight = 10;
    berth_snapshot_charge_on(s, &wary, h);
    g_assert_null(refused_by(s, &web));
}

static void
test_spread(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost a = fixture_host("h1"), b = fixture_host("h2");
    a.zone = "z1";
    b.zone = "z2";
    berth_snapshot_put_host(s, &a, NULL, NULL);
    guint32 second = BERTH_HOST_NONE;
    berth_snapshot_put_host(s, &b, &second, NULL);
    BerthSpread spread = {.scope = BERTH_SCOPE_ZONE, .group = "web", .max_skew = 1};
    BerthRequest r = member("web");
    r.spreads = &spread;
    r.n_spreads = 1;
    berth_snapshot_charge_on(s, &r, second);
    r.host = "h2";
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpstr(g_array_index(e->refusals, BerthRefusal, 1).code, ==, "spread");
    r.host = "h1";
    g_assert_true(fits(s, &r));
    spread.max_skew = 2;
    r.host = "h2";
    g_assert_true(fits(s, &r));
}

static void
test_reserve(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    berth_snapshot_set_survivable(s, TRUE);
    g_assert_cmpstr(refused_by(s, &r), ==, "reserve");
    fixture_add(s, "h2");
    r.cpu_millis = 5000;
    g_assert_true(fits(s, &r));
    berth_snapshot_charge_on(s, &r, 0);
    /* together they need ten: neither host could take over the other's */
    g_assert_false(fits(s, &r));
    r.cpu_millis = 3000;
    g_assert_true(fits(s, &r));
    BerthRequest own = dedicated_request(3, BERTH_NUMA_ONE);
    g_assert_true(fits(s, &own));
    berth_snapshot_charge_on(s, &own, 0);
    /* and two of five dedicated ones are left there */
    g_assert_cmpstr(refused_by(s, &own), ==, "dedicated");
    own.cpu_millis = 2000;
    g_assert_true(fits(s, &own));
    own.cpu_millis = 3000;
    fixture_add(s, "h3");
    g_assert_true(fits(s, &own));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/sched/filter/" path, function)
    ADD("state/keeps-off-hosts-that-are-not-ready-cordoned-or-draining", test_state);
    ADD("pinned/admits-the-named-host-only", test_pinned);
    ADD("cpu-type/needs-arch-model-and-every-feature", test_cpu_type);
    ADD("machine/needs-the-machine-type", test_machine);
    ADD("network/needs-every-network", test_network);
    ADD("disk/sums-the-disks-of-one-pool", test_pool_and_disk);
    ADD("selector/knows-every-operator", test_selector);
    ADD("taint/needs-a-toleration-with-key-and-value", test_taint);
    ADD("vcpu/counts-reserve-and-overcommit", test_vcpu);
    ADD("dedicated/cpus-are-of-one-cell-or-two", test_dedicated_cpus_are_of_one_cell_or_two);
    ADD("dedicated/cpus-are-apart-from-shared-ones",
        test_dedicated_cpus_are_apart_from_shared_ones);
    ADD("memory/counts-reserve-overhead-and-huge-pages", test_memory);
    ADD("count/limits-named-resources", test_count);
    ADD("hugepage/needs-pages-of-the-size", test_hugepage);
    ADD("hugepage/counts-what-is-too-many", test_too_many_pages_are_counted);
    ADD("numa/one-cell-two-cells-or-preferred", test_numa);
    ADD("device/whole-and-in-thousandths", test_device);
    ADD("device/iommu-group-goes-to-one-guest", test_iommu_group_goes_to_one_guest);
    ADD("device/iommu-group-of-parts-has-no-whole-one", test_iommu_group_that_is_shared);
    ADD("device/serves-all-needs-when-there-is-a-way", test_devices_for_all_needs);
    ADD("quota/holds-a-project-to-its-share", test_quota);
    ADD("unreserved/keeps-what-is-for-other-projects", test_unreserved);
    ADD("tenant/keeps-a-host-for-its-project", test_tenant);
    ADD("affinity/follows-the-group-and-lets-it-begin", test_affinity);
    ADD("anti-affinity/keeps-apart-by-label-but-not-from-itself", test_anti_affinity);
    ADD("kept-apart/who-is-there-keeps-its-distance", test_kept_apart);
    ADD("spread/keeps-within-the-maximum-skew", test_spread);
    ADD("reserve/refuses-what-one-lost-host-would-strand", test_reserve);
    return g_test_run();
}
