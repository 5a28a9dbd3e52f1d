/* What the watch tells against what was committed: every change once and in order, over cuts (I7). */
#pragma once

#include <jansson.h>

#include "drivers/store.h"

G_BEGIN_DECLS

/* @revision: of the store as it is; what comes after it has to be told. */
void told_begin(gint64 revision);
void told_end(void);

void told_commit(const BerthChange *change);

/* A line of the watch; it was cut; from where to go on. */
void told_line(const json_t *line);
void told_cut(void);
gint64 told_since(void);

/* Returns: (transfer full) (nullable): what the watch has still to tell. */
char *told_find_missing(void);

G_END_DECLS
