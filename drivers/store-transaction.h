/* What every store's implementation shares: transactions as they were submitted, and the one judgement
 * of whether a step's conditions hold and what it makes of a row. For stores alone. */
#pragma once

#include "drivers/store.h"

G_BEGIN_DECLS

/* A BerthStoreOp with strings of its own. */
typedef struct {
    BerthStoreVerb verb;
    char *kind, *project, *name;        /* owned */
    char *uid, *body, *status, *if_uid; /* owned, nullable */
    gint64 if_revision;
} BerthStep;

struct BerthTransaction {
    GPtrArray *steps; /* owned, of BerthStep */
    gsize bytes;      /* of the strings in it */
};

BerthRow *berth_row_copy(const BerthRow *row);
BerthChange *berth_change_new(gint64 revision, gboolean deleted, BerthRow *row);
gboolean berth_step_check(const BerthStep *step, const BerthRow *row, gint64 revision,
                          GError **error);
gboolean berth_step_writes(const BerthStep *step);
BerthRow *berth_step_apply(const BerthStep *step, const BerthRow *row, gint64 revision);

G_END_DECLS
