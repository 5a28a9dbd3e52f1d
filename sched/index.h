/* Ranks of hosts kept between decisions, so that a decision looks only at hosts that changed. */
#pragma once

#include "sched/evaluate.h"

G_BEGIN_DECLS

/* Fleets smaller than this are scanned; that is as fast. */
#define BERTH_INDEX_HOSTS_MIN 32

typedef struct BerthIndex BerthIndex;

typedef enum {
    BERTH_INDEX_PLACED,
    BERTH_INDEX_REFUSED,
    BERTH_INDEX_CANNOT, /* this request or policy needs a scan */
} BerthIndexAnswer;

BerthIndexAnswer berth_index_pick(BerthSnapshot *snapshot, const BerthAsk *ask,
                                  const BerthPolicy *policy, BerthDecision *decision);
void berth_index_free(BerthIndex *index);
void berth_index_note_change(BerthIndex *index, guint32 host);
void berth_index_forget(BerthIndex *index);
gsize berth_index_bytes(const BerthIndex *index);

G_END_DECLS
