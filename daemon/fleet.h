/* The hosts as they are now: one runner each, what it has, its domains and the volumes of
 * Berth's pool.
 *
 * This is the observed half of the world; the wanted half is the catalog. Main loop only. */
#pragma once

#include "base/alarm.h"
#include "base/random.h"
#include "drivers/host-runner.h"

G_BEGIN_DECLS

/* A URI scheme and the driver behind it; the table in main.c ends with a NULL scheme. */
typedef struct {
    const char *scheme; /* "qemu" */
    BerthHostFactory factory;
} BerthHostDriver;

typedef struct BerthFleet BerthFleet;

/* One host. Open for reading; only the files of the fleet write. */
typedef struct {
    BerthFleet *fleet;
    char *name, *uri;
    BerthHostRunner *runner;
    gboolean reached;          /* libvirt answers there; who it is, is known with the inventory */
    gboolean connected;        /* reached, and it is the machine that is meant */
    gboolean listed;           /* domains are those of the present connection */
    char *why;                 /* owned; why not connected */
    BerthInventory *inventory; /* owned; NULL before the first reading */
    guint64 inventory_as_of;   /* number of the last change when it was asked for */
    GHashTable *domains;       /* uuid -> BerthDomain*, owned */
    GHashTable *volumes;       /* name -> capacity (gint64*), of Berth's pool; NULL: not read */
    guint64 doubts;            /* calls whose effect on volumes was not known … */
    guint64 settled_doubts;    /* … and is by now */
    GHashTable *leaving;       /* set of volumes that a call under way deletes: lists don't count */
    GHashTable *stuck;         /* set of uuid */
    GHashTable *touched; /* uuid or volume -> number of the last change seen (pointer-sized) */
    guint64 changes;
    GHashTable *doubted; /* uuid -> number of the change at which a call's effect was not known */
    GHashTable *asked;   /* set of uuid with a DOMAIN_GET under way */
    GHashTable *asked_again;  /* set of uuid whose event came meanwhile */
    BerthAlarm *relist_alarm; /* owned */
    guint ask_timer, relists;
    guint64 incarnation; /* which connection the answers belong to */
} BerthFleetHost;

/**
 * BerthFleetListener: told on the main loop.
 * @accept: who answered at the address of @host says what it is. Returns: NULL when it is the
 *     machine that is meant; (transfer full) otherwise why not: it then counts as not connected
 *     and is asked again later
 * @host: connection, inventory or volumes changed
 * @domain: the domain with this uuid on @host may have changed, came, or went; NULL uuid: all
 * @listed: all domains were listed, on connecting and every 30 s from then on
 */
typedef struct {
    char *(*accept)(BerthFleetHost *host, const BerthInventory *inventory, gpointer user_data);
    void (*host)(BerthFleetHost *host, gpointer user_data);
    void (*domain)(BerthFleetHost *host, const char *uuid, gpointer user_data);
    void (*listed)(BerthFleetHost *host, gpointer user_data);
} BerthFleetListener;

BerthFleet *berth_fleet_new(const char *fleet_id, const char *pool, const BerthHostDriver *drivers,
                            BerthClock *clock, const BerthFleetListener *listener,
                            gpointer user_data);
void berth_fleet_free(BerthFleet *fleet);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthFleet, berth_fleet_free)

const char *berth_fleet_id(const BerthFleet *fleet);
const char *berth_fleet_pool(const BerthFleet *fleet);

gboolean berth_fleet_put(BerthFleet *fleet, const char *name, const char *uri, GError **error);
void berth_fleet_remove(BerthFleet *fleet, const char *name);
void berth_fleet_ask_again(BerthFleet *fleet);
BerthFleetHost *berth_fleet_get(BerthFleet *fleet, const char *name);
GHashTable *berth_fleet_hosts(BerthFleet *fleet);

BerthDomain *berth_fleet_domain(BerthFleetHost *host, const char *uuid);
gboolean berth_fleet_is_ours(const BerthFleet *fleet, const BerthDomain *domain);
void berth_fleet_note_domain(BerthFleetHost *host, const char *uuid, BerthDomainState state,
                             BerthStopReason reason);
void berth_fleet_note_gone(BerthFleetHost *host, const char *uuid);
void berth_fleet_note_volume(BerthFleetHost *host, const char *volume, gint64 capacity);
void berth_fleet_volume_leaves(BerthFleetHost *host, const char *volume);
void berth_fleet_volume_left(BerthFleetHost *host, const char *volume, gboolean gone);
void berth_fleet_look_at(BerthFleetHost *host, const char *uuid);
void berth_fleet_list_volumes(BerthFleetHost *host);
void berth_fleet_doubt_volumes(BerthFleetHost *host);
gboolean berth_fleet_is_doubtful(const BerthFleetHost *host);
void berth_fleet_doubt_domain(BerthFleetHost *host, const char *uuid);
gboolean berth_fleet_is_domain_doubtful(const BerthFleetHost *host, const char *uuid);

G_END_DECLS
