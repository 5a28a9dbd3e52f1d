/* The host has enough free huge pages of the size asked for; in which cells is "numa". */
#include "sched/place.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->pages > 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    gint64 have = berth_place_pages_free(ask, host, BERTH_CELL_NONE);
    return ask->pages <= have || berth_refuse(refusal, "hugepages", ask->pages, have);
}

const BerthRule berth_rule_hugepage = {
    .code = "hugepage",
    .doc = "The host has enough free huge pages of the size asked for.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_FREE,
    .asked = asked,
    .admits = admits,
};
