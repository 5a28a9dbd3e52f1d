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

static guint
lacks(const BerthAsk *ask, guint32 host, BerthRefusal *lacks, guint max)
{
    const BerthShare *share = berth_snapshot_share(ask->snapshot, ask->project);
    const struct {
        const char *dimension;
        gint64 need, have;
    } parts[] = {
        {"workloads", 1, share->workloads - share->workloads_used},
        {"cpu_millis", berth_ask_cpu_in_all(ask), share->cpu_millis - share->cpu_used_millis},
        {"memory_mib", berth_ask_memory_in_all(ask), share->memory_mib - share->memory_used_mib},
        {"device_millis", device_millis(ask->request),
         share->device_millis - share->device_used_millis},
    };
    guint found = 0;
    for (guint i = 0; i < G_N_ELEMENTS(parts) && found < max; i++) {
        if (parts[i].need > 0 && parts[i].need > parts[i].have) {
            berth_refuse(&lacks[found++], parts[i].dimension, parts[i].need, parts[i].have);
        }
    }
    return found;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    BerthRefusal first;
    return lacks(ask, host, &first, 1) == 0 ||
           berth_refuse(refusal, first.dimension, first.need, first.have);
}

const BerthRule berth_rule_quota = {
    .code = "quota",
    .doc = "The project stays within its quota.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_QUOTA,
    .asked = asked,
    .admits = admits,
    .lacks = lacks,
    .everywhere = TRUE,
};
