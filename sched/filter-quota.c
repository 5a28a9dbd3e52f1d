/* What a project holds, with this request, stays within its quota. The same answer for every host. */
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->snapshot->has_quota && ask->project != 0 &&
           berth_snapshot_share(ask->snapshot, ask->project)->limited;
}

static gint64
device_millis(const BerthRequest *request)
{
    gint64 millis = 0;
    for (guint i = 0; i < request->n_devices; i++) {
        millis += (gint64)request->devices[i].count * request->devices[i].millis;
    }
    return millis;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthShare *share = berth_snapshot_share(ask->snapshot, ask->project);
    gint64 cpu = berth_ask_cpu_in_all(ask);
    gint64 memory = ask->request->memory_mib + ask->request->overhead_mib;
    gint64 devices = device_millis(ask->request);
    if (share->workloads_used >= share->workloads) {
        return berth_refuse(refusal, "workloads", 1, share->workloads - share->workloads_used);
    }
    if (cpu > share->cpu_millis - share->cpu_used_millis) {
        return berth_refuse(refusal, "cpu_millis", cpu, share->cpu_millis - share->cpu_used_millis);
    }
    if (memory > share->memory_mib - share->memory_used_mib) {
        return berth_refuse(refusal, "memory_mib", memory,
                            share->memory_mib - share->memory_used_mib);
    }
    if (devices > share->device_millis - share->device_used_millis) {
        return berth_refuse(refusal, "device_millis", devices,
                            share->device_millis - share->device_used_millis);
    }
    return TRUE;
}

const BerthRule berth_rule_quota = {
    .code = "quota",
    .doc = "The project stays within its quota.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_QUOTA,
    .asked = asked,
    .admits = admits,
};
