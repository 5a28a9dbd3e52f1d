/* The hosts of a simulated run: machines of tests/simhost in this process, each behind a BerthHost that does
 * calls on the main loop, late, twice, or not at all, as fate says. */
#pragma once

#include "tests/simhost/world.h"

G_BEGIN_DECLS

typedef struct {
    SimMachine *machine; /* owned */
    gboolean is_reachable;
    GPtrArray *hosts;   /* of what daemons have of it, borrowed */
    GPtrArray *pending; /* of calls under way, borrowed */
    guint exhausted;    /* starts that the machine refused for want of memory */
} Site;

/* The machine behind "sim:///world#NAME", made when it is first heard of. */
Site *site_get(const char *name);
void site_free_all(void);

/* A BerthHostFactory. */
BerthHost *site_host_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                         gpointer user_data, GError **error);

/* A call of somebody else on the machine, at once. */
gboolean site_perform(Site *site, const char *fleet, const BerthHostCall *call,
                      BerthHostReply *reply, GError **error);

gboolean site_is_connected(const Site *site); /* by a daemon that lives */
void site_leave(Site *site);                  /* nobody can ask it; its guests go on */
void site_come_back(Site *site);
void site_hurry(Site *site);      /* calls that it holds up go on now */
void site_lose_power(Site *site); /* it leaves, and its guests end */
void site_cut_daemon(void);       /* calls under way are done or not; nobody hears of them */

G_END_DECLS
