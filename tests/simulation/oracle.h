/* What must hold in a simulated run, judged from the outside: by the commits of the store, the machines as
 * they are, and what the watch told (told.h). The daemon's own memory is never asked. */
#pragma once

#include "drivers/store.h"
#include "model/object.h"

G_BEGIN_DECLS

/* @memory: what was committed; @fleet: the mark of our domains. Begins with the store as it is. */
void oracle_begin(BerthStore *memory, const char *fleet);
void oracle_end(void);

/* Takes what was committed since the last call. */
void oracle_follow(void);
/* The newest committed object; NULL: none. Borrowed until oracle_follow(). */
BerthObject *oracle_find(const char *kind, const char *name);

/* The machine @name gets a running domain, a pool and a volume of somebody else. */
void oracle_add_foreign(const char *site);

/* Now and always: I1 is the caller's; I3, I5, capacity are checked here. */
void oracle_check(void);
/* The daemon has just begun to listen: nothing of its last life may be told of hosts. */
void oracle_check_birth(void);
/* Returns: (transfer full) (nullable): what still differs from what is wanted; NULL: nothing does. */
char *oracle_find_unsettled(void);

void oracle_violate(const char *format, ...) G_GNUC_PRINTF(1, 2);
guint oracle_violations(void);

G_END_DECLS
