/* All about one host, for people. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

void berth_host_view_put(BerthSession *session, const json_t *host);

G_END_DECLS
