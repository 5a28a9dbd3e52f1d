/* What is left of a fleet when a host is lost (N+1). See spare.c. */
#pragma once

#include "sched/ask.h"

G_BEGIN_DECLS

typedef struct BerthSpare BerthSpare;

BerthSpare *berth_spare_new(void);
void berth_spare_free(BerthSpare *spare);
void berth_spare_note_change(BerthSpare *spare, guint32 host);
guint32 berth_spare_find_stranded(BerthSpare *spare, const BerthAsk *ask, guint32 host);

G_END_DECLS
