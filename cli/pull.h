/* Images: pulled with progress. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

json_t *berth_pull(BerthSession *session, const char *reference, gint64 wait_s, GError **error);
gboolean berth_pull_by_policy(BerthSession *session, const char *reference, const char *policy,
                              GError **error);

G_END_DECLS
