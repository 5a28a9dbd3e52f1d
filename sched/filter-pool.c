/* Every storage pool of the workload is present on the host; whether it has room is "disk". */
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->request->n_disks > 0;
}

static gboolean
is_present(const BerthSnapshot *s, guint32 host, BerthSymbol pool)
{
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        const BerthStock *stock = &berth_stocks(s, host)[i];
        if (stock->kind == BERTH_STOCK_POOL && stock->key == pool) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    for (guint i = 0; i < ask->request->n_disks; i++) {
        if (!is_present(ask->snapshot, host, ask->disks[i])) {
            return berth_refuse(refusal, ask->request->disks[i].key, 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_pool = {
    .code = "pool",
    .doc = "Every storage pool of the workload is present on the host.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
