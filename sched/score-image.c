/* Prefers hosts that have the image already. */
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->image != 0;
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSymbol *images = ask->snapshot->images[host];
    for (guint i = 1; images != NULL && i <= images[0]; i++) {
        if (images[i] == ask->image) {
            return BERTH_SCORE_MAX;
        }
    }
    return 0;
}

const BerthRule berth_rule_image = {
    .code = "image",
    .doc = "Hosts that have the image already come first.",
    .reach = BERTH_REACH_FACTS,
    .asked = asked,
    .score = score,
};
