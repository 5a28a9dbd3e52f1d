/* The kinds of requests seen so far and how often: what "typical" means to the scores. */
#pragma once

#include "sched/ask.h"

G_BEGIN_DECLS

typedef struct BerthMix BerthMix;

BerthMix *berth_mix_new(void);
BerthMix *berth_mix_copy(const BerthMix *mix);
void berth_mix_free(BerthMix *mix);
void berth_mix_observe(BerthMix *mix, const BerthAsk *ask);

G_END_DECLS
