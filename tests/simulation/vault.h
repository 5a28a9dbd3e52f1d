/* What the daemon has for a store: a BerthStore per life of the daemon over one store in memory that stands
 * as long as the run, with late answers, refused transactions and deaths. */
#pragma once

#include "drivers/store.h"

G_BEGIN_DECLS

/* @memory: a berth_store_memory_new(), borrowed, outlives the vault. */
BerthStore *vault_new(BerthStore *memory);

/* Whether a transaction of this life was refused. */
gboolean vault_has_refused(BerthStore *vault);

/* Whether all that was committed was told; for fate_run_until(). */
gboolean vault_is_quiet(gpointer vault);

/* The daemon dies: what was submitted is done or not, but nobody hears; what comes now is refused. */
void vault_cut(BerthStore *vault);

G_END_DECLS
