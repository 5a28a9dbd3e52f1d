/* vCPUs fit under the host's CPUs after reserve and over-commit; dedicated ones take whole CPUs. */
#include "sched/rules.h"

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    gint64 need = ask->cpu_millis;
    gint64 have = ask->snapshot->cpu_free[host];
    return need <= have || need == 0 || berth_refuse(refusal, "cpu_millis", need, have);
}

const BerthRule berth_rule_vcpu = {
    .code = "vcpu",
    .doc = "The host has enough CPU after reserve and over-commit.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_FREE,
    .admits = admits,
    .placed = TRUE,
};
