/* Small fleets for the tests of sched/. */
#pragma once

#include "sched/explain.h"
#include "sched/pick.h"

/* A host of two cells with everything a rule could ask about. */
static inline BerthHost
fixture_host(const char *name)
{
    static const BerthAmount pages = {"2048", 512};
    static const BerthHostCell cells[2] = {{.cpu_millis = 4000,
                                            .memory_mib = 9216,
                                            .hugepages = &pages,
                                            .n_hugepages = 1,
                                            .dedicated_cpus = 2},
                                           {.cpu_millis = 4000,
                                            .memory_mib = 9216,
                                            .hugepages = &pages,
                                            .n_hugepages = 1,
                                            .dedicated_cpus = 3}};
    static const BerthAmount pools[] = {{"local", 102400}};
    static const BerthAmount counts[] = {{"licence", 2}};
    static const BerthHostDevice devices[] = {{"gpu", "A10", 0, 1, TRUE},
                                              {"gpu", "A10", 0, 2, TRUE},
                                              {"nic", "X710", 1, 3, FALSE},
                                              {"nic", "X710", 1, 3, FALSE}};
    static const char *const models[] = {"x86-64-v2", "x86-64-v3"};
    static const char *const features[] = {"aes", "avx2"};
    static const char *const machines[] = {"q35", "microvm"};
    static const char *const networks[] = {"default", "storage"};
    static const BerthLabel labels[] = {{"disk", "ssd"}, {"generation", "7"}};
    return (BerthHost){.name = name,
                       .cpu_millis = 8000,
                       .memory_mib = 18432,
                       .cells = cells,
                       .n_cells = 2,
                       .pools = pools,
                       .n_pools = 1,
                       .counts = counts,
                       .n_counts = 1,
                       .devices = devices,
                       .n_devices = 4,
                       .arch = "x86_64",
                       .cpu_models = models,
                       .n_cpu_models = 2,
                       .cpu_features = features,
                       .n_cpu_features = 2,
                       .machines = machines,
                       .n_machines = 2,
                       .networks = networks,
                       .n_networks = 2,
                       .labels = labels,
                       .n_labels = 2,
                       .state = BERTH_HOST_READY};
}

static inline guint32
fixture_add(BerthSnapshot *snapshot, const char *name)
{
    BerthHost host = fixture_host(name);
    guint32 index = BERTH_HOST_NONE;
    g_assert_true(berth_snapshot_put_host(snapshot, &host, &index, NULL));
    return index;
}

static inline BerthRequest
fixture_request(void)
{
    return (BerthRequest){.cpu_millis = 1000, .memory_mib = 1024};
}

static inline gboolean
fits(BerthSnapshot *snapshot, const BerthRequest *request)
{
    BerthDecision decision;
    return berth_pick(snapshot, request, NULL, &decision);
}

/* The first rule that refuses @request on the only host, or NULL. */
static inline const char *
refused_by(BerthSnapshot *snapshot, const BerthRequest *request)
{
    g_autoptr(BerthExplanation) e = berth_explain(snapshot, request, NULL);
    g_assert_cmpint(e->fits, ==, fits(snapshot, request));
    return e->fits ? NULL : g_array_index(e->refusals, BerthRefusal, 0).code;
}
