/* Each pool has room for the disks the workload wants in it. */
#include "sched/stock.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->request->n_disks > 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthRequest *r = ask->request;
    for (guint i = 0; i < r->n_disks; i++) {
        gint64 need = berth_stock_need(r->disks, ask->disks, i);
        gint64 have = berth_stock_free(ask->snapshot, host, BERTH_STOCK_POOL, ask->disks[i]);
        if (need > have) {
            return berth_refuse(refusal, r->disks[i].key, need, have);
        }
    }
    return TRUE;
}

static guint
lacks(const BerthAsk *ask, guint32 host, BerthRefusal *lacks, guint max)
{
    const BerthRequest *r = ask->request;
    return berth_stock_lacks(ask, host, BERTH_STOCK_POOL, r->disks, ask->disks, r->n_disks, lacks,
                             max);
}

const BerthRule berth_rule_disk = {
    .code = "disk",
    .doc = "Each storage pool has room for the workload's disks in it.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_FREE,
    .asked = asked,
    .admits = admits,
    .lacks = lacks,
};
