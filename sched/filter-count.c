/* Named resources (licences, ports, whatever a site counts) suffice. */
#include "sched/stock.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->request->n_counts > 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthRequest *r = ask->request;
    for (guint i = 0; i < r->n_counts; i++) {
        gint64 need = berth_stock_need(r->counts, ask->counts, i);
        gint64 have = berth_stock_free(ask->snapshot, host, BERTH_STOCK_COUNT, ask->counts[i]);
        if (need > have) {
            return berth_refuse(refusal, r->counts[i].key, need, have);
        }
    }
    return TRUE;
}

static guint
lacks(const BerthAsk *ask, guint32 host, BerthRefusal *lacks, guint max)
{
    const BerthRequest *r = ask->request;
    return berth_stock_lacks(ask, host, BERTH_STOCK_COUNT, r->counts, ask->counts, r->n_counts,
                             lacks, max);
}

const BerthRule berth_rule_count = {
    .code = "count",
    .doc = "Each named resource suffices.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_FREE,
    .asked = asked,
    .admits = admits,
    .lacks = lacks,
};
