/* What the daemon decided comes out again when its fleet file is replayed. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Asks for the fleet file at @socket, keeps it in @folder, and lets berth-sim of this build place it again. */
void replay_check(const char *socket, const char *folder);

G_END_DECLS
