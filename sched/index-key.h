/* Keys of the index's classes of equal requests. */
#pragma once

#include "sched/ask.h"

G_BEGIN_DECLS

void berth_index_key_make(GByteArray *key, const BerthAsk *ask);
guint64 berth_index_key_hash(const GByteArray *key);

G_END_DECLS
