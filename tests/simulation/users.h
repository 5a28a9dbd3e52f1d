/* Users of a simulated run: they work with a fixed set of names, one request at a time each, and remember what was
 * acknowledged (I1). */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* @socket: the daemon's; outlives the run. */
void users_begin(const char *socket);

/* Somebody puts, deletes, or starts, stops, … something. @is_alive: FALSE: there is no daemon to ask. */
void users_put(gboolean is_alive);
void users_delete(gboolean is_alive);
void users_verb(gboolean is_alive);

/* The workload @uid was switched off behind the daemon's back. */
void users_hear_of_destroy(const char *uid);

void users_check(void);                     /* what was acknowledged is there */
gboolean users_are_answered(gpointer data); /* for fate_run_until(); @data: unused */
void users_compare(void);                   /* at rest: it is what came about */

G_END_DECLS
