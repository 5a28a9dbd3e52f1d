/* Logs from the API to stdout and stderr. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

typedef struct {
    gboolean timestamps;
    gboolean raw; /* obey control characters on terminals */
} BerthLogPlan;

gboolean berth_log_stream(BerthSession *session, const char *path, const BerthLogPlan *plan,
                          GError **error);
char *berth_log_clean(const char *data, gsize size);

G_END_DECLS
