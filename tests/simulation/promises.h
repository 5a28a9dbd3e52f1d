/* What each commit has to keep, beside what must hold of the machines (oracle.h): a project's quota, who may be
 * stopped for whom, and that a group comes together or not at all. */
#pragma once

#include "model/object.h"

G_BEGIN_DECLS

/* @objects: "Pod/web" -> BerthObject*, as of the commit of one of them: @before (NULL: it is new), @after (NULL: it is
 * gone). @is_charged: whether a workload holds capacity by its record. */
void promises_commit(GHashTable *objects, const BerthObject *before, const BerthObject *after,
                     gboolean (*is_charged)(const BerthObject *object));
/* All commits of a revision were told. */
void promises_end_revision(GHashTable *objects);
void promises_end(void);

/* Whether the quota of its project leaves room for @workload, by what is recorded. */
gboolean promises_quota_admits(GHashTable *objects, const BerthObject *workload,
                               gboolean (*is_charged)(const BerthObject *object));

/* Whether it waits for members of its group that are not there. */
gboolean promises_group_lacks(GHashTable *objects, const BerthObject *workload);
gboolean promises_has_group(const BerthObject *workload);

/* At rest. Returns: (transfer full) (nullable): a group of which only a part was placed. */
char *promises_find_torn_group(GHashTable *objects);

G_END_DECLS
