/* What can stand where the cursor is. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

char **berth_complete(BerthSession *session, char **words);

G_END_DECLS
