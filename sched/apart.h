/* Who must be apart from whom, seen from those that are meant. */
#pragma once

#include "sched/ask.h"

G_BEGIN_DECLS

/* Who is meant: a group, or a label by key and value, 0 = any value. */
typedef struct {
    BerthSymbol group, key, value;
} BerthApartWhom;

/* One hard wish of a charge. */
typedef struct BerthApart {
    BerthApartWhom whom;
    guint32 scope; /* BerthScope */
} BerthApart;

/* A place where somebody must be apart from what asks; @name: the group or label by which it is meant. */
typedef struct {
    gpointer key; /* berth_relation_key() */
    BerthSymbol name;
} BerthApartPlace;

GHashTable *berth_aparts_new(void);
GHashTable *berth_aparts_copy(GHashTable *aparts);
void berth_aparts_fill(BerthCharge *charge, const BerthAsk *ask);
void berth_aparts_attach(BerthSnapshot *snapshot, guint32 charge);
void berth_aparts_detach(BerthSnapshot *snapshot, guint32 charge);
GArray *berth_aparts_list_places(const BerthAsk *ask);

G_END_DECLS
