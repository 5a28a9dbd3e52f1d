/* What is held of a host, as JSON: a charge that is made anew from a record, and what requests need beside
 * charges that are going to end. */
#pragma once

#include <jansson.h>

#include "sched/group.h"

G_BEGIN_DECLS

json_t *berth_holding_of(const BerthSnapshot *snapshot, guint32 charge);
void berth_holding_charge(BerthSnapshot *snapshot, const char *uid, guint32 host,
                          const json_t *holding);
json_t *berth_holding_rest(const BerthSnapshot *snapshot, const guint32 *charges, guint n,
                           const guint32 *leaving, guint n_leaving);

G_END_DECLS
