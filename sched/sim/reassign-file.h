/* Reading and writing the files of the ROADEF/EURO challenge 2012. */
#pragma once

#include "sched/reassign-model.h"

G_BEGIN_DECLS

BerthReassignModel *berth_reassign_file_read_model(const char *path, GError **error);
guint32 *berth_reassign_file_read_assignment(const char *path, const BerthReassignModel *model,
                                             GError **error);
gboolean berth_reassign_file_write_assignment(const char *path, const BerthReassignModel *model,
                                              const guint32 *at, GError **error);

G_END_DECLS
