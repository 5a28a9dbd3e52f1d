/* A workload that names its host goes there and nowhere else. */
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->request->host != NULL;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    return ask->host == host || berth_refuse(refusal, ask->request->host, 0, 0);
}

const BerthRule berth_rule_pinned = {
    .code = "pinned",
    .doc = "The request names another host.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
