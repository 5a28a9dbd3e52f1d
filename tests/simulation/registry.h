/* Registries of a simulated run: pulls take their time, fail as fate says, and end on the main loop. Linking this
 * takes over how GLib runs a task in a thread, and what a pull does there. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* @folder: where the files of pulled images lie; outlives the run. */
void registry_begin(const char *folder);

/* Pulls that a registry holds up go on now. */
void registry_hurry(void);

G_END_DECLS
