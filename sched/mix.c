/* The request mix. */
#include "sched/mix.h"

struct BerthMix {
    guint64 seen;
};

BerthMix *
berth_mix_new(void)
{
    return g_new0(BerthMix, 1);
}

void
berth_mix_free(BerthMix *mix)
{
    g_free(mix);
}

void
berth_mix_observe(BerthMix *mix, const BerthAsk *ask)
{
    mix->seen++;
}

BerthMix *
berth_mix_copy(const BerthMix *mix)
{
    return g_memdup2(mix, sizeof(*mix));
}
