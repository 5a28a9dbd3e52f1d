/* The daemon's picture of all objects: an indexed in-memory copy above a store.
 *
 * Reads are served from here and cost no I/O. Writes go to the store; the copy, the subscribers and
 * the watches advance only after the commit, in commit order. So what was read here is durable, and what
 * was just written can't be read yet: wait for `done` or for the subscription.
 *
 * Main loop only. Objects handed out are immutable values: borrowed ones live until the main loop
 * runs again, berth_object_ref() keeps one for longer. */
#pragma once

#include "base/clock.h"
#include "base/random.h"
#include "drivers/store.h"
#include "model/kinds.h"

G_BEGIN_DECLS

typedef struct BerthCatalog BerthCatalog;

/**
 * berth_catalog_new:
 * @store: borrowed, outlives the catalog; not loaded yet
 * @clock, @random: borrowed, outlive the catalog
 *
 * Loads everything from @store; blocks. Makes nothing: see berth_catalog_ensure_defaults().
 *
 * Returns: NULL on CORRUPT (the text says the way out) or UNAVAILABLE.
 */
BerthCatalog *berth_catalog_new(BerthStore *store, BerthClock *clock, BerthRandom *random,
                                GError **error);
void berth_catalog_free(BerthCatalog *catalog);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthCatalog, berth_catalog_free)

/* Project "default" and Settings "fleet" are created when absent; asynchronous, once at start. */
void berth_catalog_ensure_defaults(BerthCatalog *catalog);

BerthStore *berth_catalog_store(BerthCatalog *catalog);
BerthClock *berth_catalog_clock(BerthCatalog *catalog);
BerthRandom *berth_catalog_random(BerthCatalog *catalog);

/* The last revision whose changes are in the copy. */
gint64 berth_catalog_revision(const BerthCatalog *catalog);

/* ---- reading: nothing is copied; O(log n) ---- */

/* @project: "" (or NULL) for kinds of the fleet. Returns: (nullable) (transfer none). */
BerthObject *berth_catalog_get(const BerthCatalog *catalog, const BerthKind *kind,
                               const char *project, const char *name);
BerthObject *berth_catalog_get_uid(const BerthCatalog *catalog, const char *uid);
/* The workload of any kind that has the name @name in @project. */
BerthObject *berth_catalog_get_workload(const BerthCatalog *catalog, const char *project,
                                        const char *name);

/* Walks one kind in order of project and name. The catalog must not return to the main loop meanwhile.
 *
 *     BerthCatalogIter iter;
 *     berth_catalog_iter_init(&iter, catalog, &berth_kind_pod, NULL);
 *     while ((pod = berth_catalog_iter_next(&iter)) != NULL) { … } */
typedef struct {
    GTreeNode *node;
    const char *project; /* NULL: all */
} BerthCatalogIter;

void berth_catalog_iter_init(BerthCatalogIter *iter, const BerthCatalog *catalog,
                             const BerthKind *kind, const char *project);
/* As berth_catalog_iter_init(), beginning behind @project / @name, which need not exist any more. */
void berth_catalog_iter_init_after(BerthCatalogIter *iter, const BerthCatalog *catalog,
                                   const BerthKind *kind, const char *project,
                                   const char *after_project, const char *after_name);
BerthObject *berth_catalog_iter_next(BerthCatalogIter *iter);

/* (transfer full) (element-type BerthObject): the same as an array of references. */
GPtrArray *berth_catalog_list(const BerthCatalog *catalog, const BerthKind *kind,
                              const char *project);
guint berth_catalog_count(const BerthCatalog *catalog, const BerthKind *kind);

/* Returns: (transfer full): the workloads whose record names @host as theirs, or as the one they displace
 * others on; pods first, then by project and name. O(answer). */
GPtrArray *berth_catalog_list_naming(const BerthCatalog *catalog, const char *host);
/* Returns: how many of @kind (NULL: of all) have @host as theirs. */
guint berth_catalog_count_on(const BerthCatalog *catalog, const BerthKind *kind, const char *host);

/* The Task about the object with @uid that has not finished yet, if there is one. */
BerthObject *berth_catalog_active_task(const BerthCatalog *catalog, const char *uid);

/* The one Settings object's spec; defaults when there is none yet. */
const BerthSettingsSpec *berth_catalog_settings(const BerthCatalog *catalog);

/* ---- writing: asynchronous; `done` may be NULL and runs on the main loop, never before return ---- */

/* @transaction: (transfer full). The catalog has taken over the changes when @done runs. */
void berth_catalog_submit(BerthCatalog *catalog, BerthTransaction *transaction, BerthStoreDone done,
                          gpointer user_data);

/* Appends a step that writes @object's body. @if_revision: BERTH_STORE_ANY, _ABSENT or a revision.
 * Fenced by the uid unless ABSENT. For use with berth_catalog_submit(). */
void berth_catalog_add_body(BerthTransaction *transaction, const BerthObject *object,
                            gint64 if_revision);
/* Appends a step that writes the status of the object with @object's uid. */
void berth_catalog_add_status(BerthTransaction *transaction, const BerthObject *object,
                              const json_t *status);
void berth_catalog_add_delete(BerthTransaction *transaction, const BerthObject *object);

/* Writes the body of @object, which is new (ABSENT) or a changed copy. */
void berth_catalog_put_body(BerthCatalog *catalog, const BerthObject *object, gint64 if_revision,
                            BerthStoreDone done, gpointer user_data);

/**
 * berth_catalog_put_status:
 * @object: any version of the object; only its names and uid count
 * @status: (transfer none)
 *
 * Records what was seen. Fenced by uid: @done gets NOT_FOUND when the object is gone or was replaced.
 * A status equal to the newest one (stored or on its way) is dropped and @done runs with the present
 * revision and no changes. Several for one object within one turn of the main loop are one write
 * of the last.
 */
void berth_catalog_put_status(BerthCatalog *catalog, const BerthObject *object,
                              const json_t *status, BerthStoreDone done, gpointer user_data);

/* Removes the record; fenced by uid. For what users delete set `deleting` instead (routes do). */
void berth_catalog_delete(BerthCatalog *catalog, const BerthObject *object, BerthStoreDone done,
                          gpointer user_data);

/* Writes @object's body with `deleting` set (idempotent) or with another power. */
void berth_catalog_mark_deleting(BerthCatalog *catalog, const BerthObject *object,
                                 BerthStoreDone done, gpointer user_data);
void berth_catalog_set_power(BerthCatalog *catalog, const BerthObject *object, BerthPower power,
                             BerthStoreDone done, gpointer user_data);

/**
 * berth_catalog_make_task:
 * @target: what the task is about
 * @arguments: (transfer none) (nullable): a JSON object
 * @actor: who asked
 *
 * Returns: (transfer full): a Task in phase Waiting, not stored yet; add it with
 * berth_catalog_add_body(…, BERTH_STORE_ABSENT).
 */
BerthObject *berth_catalog_make_task(BerthCatalog *catalog, const char *verb,
                                     const BerthObject *target, const json_t *arguments,
                                     const char *actor, const char *request_id);

/**
 * berth_catalog_record_event:
 * @object: (nullable): what it is about; NULL: the fleet
 * @severity: "info", "warning", "error"
 * @reason: a stable code ("Started", "BootTimeout")
 * @actor: (nullable): who caused it; NULL: "berth"
 *
 * Events of one object with one reason are one record that counts; a storm is written at most once a
 * second each. Count and age are limited by Settings.
 */
void berth_catalog_record_event(BerthCatalog *catalog, const BerthObject *object,
                                const char *severity, const char *reason, const char *actor,
                                const char *format, ...) G_GNUC_PRINTF(6, 7);

/* Runs the main loop until everything submitted so far is answered; at the end, before who submitted is
 * freed. What is unanswered when the catalog is freed is never answered. */
void berth_catalog_drain(BerthCatalog *catalog);

/* ---- following ---- */

/**
 * BerthCatalogChanged: one committed change.
 * @before: NULL for a new object
 * @after: NULL for a removed one
 *
 * Called with the copy already at the change's revision. May submit; must not iterate the main loop.
 */
typedef void (*BerthCatalogChanged)(const BerthObject *before, BerthObject *after,
                                    gpointer user_data);

/* One committed change of a revision. Owned by the catalog during the call. */
typedef struct {
    BerthObject *before, *after; /* as in BerthCatalogChanged */
} BerthCatalogChange;

/* A whole revision at once, after its changes went to the subscribers: for watches. */
typedef void (*BerthCatalogCommitted)(gint64 revision, const GArray *changes, gpointer user_data);
void berth_catalog_set_commit_hook(BerthCatalog *catalog, BerthCatalogCommitted committed,
                                   gpointer user_data);

guint berth_catalog_subscribe(BerthCatalog *catalog, BerthCatalogChanged changed,
                              gpointer user_data);
void berth_catalog_unsubscribe(BerthCatalog *catalog, guint id);

/* Deletes finished Tasks and Events beyond their limits and compacts old revisions. The catalog calls it
 * by itself after every 512 revisions; main.c's hourly timer calls it for the ages. */
void berth_catalog_retain(BerthCatalog *catalog);

G_END_DECLS
