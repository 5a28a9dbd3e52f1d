/* Ranks of hosts kept between decisions. */
#pragma once

#include "sched/fleet.h"

G_BEGIN_DECLS

typedef struct BerthIndex BerthIndex;

void berth_index_free(BerthIndex *index);
void berth_index_note_change(BerthIndex *index, guint32 host);
gsize berth_index_bytes(const BerthIndex *index);

G_END_DECLS
