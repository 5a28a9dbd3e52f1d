/* A store that forgets everything at its end: for simulations and tests. Transactions are judged and
 * done inside submit(); callbacks wait until they are dispatched, so that a simulation owns their
 * time. Has no backup. One thread. */
#pragma once

#include "drivers/store.h"

G_BEGIN_DECLS

BerthStore *berth_store_memory_new(void);

/* Runs the callbacks that wait now, oldest first. Returns: how many. */
guint berth_store_memory_dispatch(BerthStore *store);

/* What the death of its user does: waiting callbacks are dropped, what was committed stays. */
void berth_store_memory_crash(BerthStore *store);

G_END_DECLS
