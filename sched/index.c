/* Ranks of hosts kept between decisions. */
#include "sched/index.h"

void
berth_index_free(BerthIndex *index)
{
}

void
berth_index_note_change(BerthIndex *index, guint32 host)
{
}

gsize
berth_index_bytes(const BerthIndex *index)
{
    return 0;
}
