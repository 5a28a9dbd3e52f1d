/* What catalog.c, catalog-write.c, catalog-hosts.c and catalog-events.c share. */
#pragma once

#include "daemon/catalog.h"

#define CATALOG_KINDS_MAX 32

typedef struct {
    guint id;
    BerthCatalogChanged changed;
    gpointer user_data;
} Subscription;

struct BerthCatalog {
    BerthStore *store;    /* borrowed */
    BerthClock *clock;    /* borrowed */
    BerthRandom *random;  /* borrowed */
    grefcount references; /* the owner's, and one per unanswered submission */
    gboolean closed;      /* the owner's reference is gone */
    gint64 revision;
    guint unanswered; /* submissions and status writes */

    GTree *trees[CATALOG_KINDS_MAX]; /* by index in berth_kinds; owned, of BerthObject */
    GHashTable *by_uid;              /* uid (of the object) -> BerthObject, borrowed from trees */
    GHashTable *by_host;             /* owned name -> GTree of BerthObject, borrowed from trees */
    GHashTable *active_tasks;        /* target uid (of the task) -> unfinished Task, borrowed */

    GArray *subscriptions; /* of Subscription */
    guint last_subscription;
    BerthCatalogCommitted committed;
    gpointer committed_data;

    GHashTable *status_waiting; /* uid -> StatusWrite, owned: not submitted yet */
    GHashTable *status_flying;  /* uid -> StatusWrite, borrowed: the newest submitted one */
    GSource *status_flush;      /* owned; NULL when nothing waits */

    GHashTable *event_tracks;            /* "uid\nreason" -> EventTrack, owned */
    GSource *event_flush;                /* owned; NULL when no track is behind */
    BerthSettingsSpec *default_settings; /* owned */
    gint64 retained_at;                  /* revision of the last berth_catalog_retain() */
    gboolean retaining;
};

BerthCatalog *catalog_ref(BerthCatalog *catalog);
void catalog_unref(BerthCatalog *catalog);
void catalog_apply(BerthCatalog *catalog, gint64 revision, const GPtrArray *changes);
GSource *catalog_schedule(guint delay_ms, GSourceFunc run, gpointer data);

void catalog_status_init(BerthCatalog *catalog);
void catalog_submit(BerthCatalog *catalog, BerthTransaction *transaction, BerthStoreDone done,
                    gpointer user_data);
void catalog_status_flush(BerthCatalog *catalog);
void catalog_status_clear(BerthCatalog *catalog);

void catalog_hosts_init(BerthCatalog *catalog);
void catalog_hosts_changed(BerthCatalog *catalog, const BerthObject *before, BerthObject *after);

void catalog_events_init(BerthCatalog *catalog);
void catalog_events_stop(BerthCatalog *catalog);
void catalog_events_clear(BerthCatalog *catalog);
void catalog_events_changed(BerthCatalog *catalog, const BerthObject *before, BerthObject *after);
