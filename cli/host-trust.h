/* Confirming who answers at a host's address. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

gboolean berth_host_is_unconfirmed(const json_t *host);
json_t *berth_host_confirm(BerthSession *session, const json_t *host, const char *wanted,
                           GError **error);

G_END_DECLS
