/* The daemon as one thing: all its parts composed over what the outside gives. main.c gives the machine's
 * clock, store and hosts; the simulation gives its own, and has the same daemon. Main loop only. */
#pragma once

#include "base/clock.h"
#include "base/random.h"
#include "daemon/config.h"
#include "daemon/fleet.h"
#include "drivers/store.h"

G_BEGIN_DECLS

typedef struct {
    BerthStore *store;              /* owned by the daemon from berth_daemon_new() on */
    const BerthHostDriver *drivers; /* static; ends with a NULL scheme */
    BerthClock *clock;              /* borrowed, outlives the daemon */
    BerthRandom *random;            /* likewise */
} BerthDaemonParts;

typedef struct BerthDaemon BerthDaemon;

BerthDaemon *berth_daemon_new(const BerthConfig *config, const BerthDaemonParts *parts,
                              GError **error);
void berth_daemon_free(BerthDaemon *daemon);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthDaemon, berth_daemon_free)
const char *berth_daemon_fleet_id(const BerthDaemon *daemon);

G_END_DECLS
