/* The store behind the daemon: durable objects with one revision counter.
 *
 * A store knows rows, not kinds. Each row has two halves that are written apart: `body` (metadata and
 * spec, the user's) and `status` (the controllers'), so that neither side races the other. Every
 * committed transaction takes one revision, shared by all rows it wrote.
 *
 * submit() is asynchronous: one store thread commits all waiting transactions in one go (group
 * commit), then each callback runs on the main loop in commit order. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* One object as stored. Strings owned. */
typedef struct {
    char *kind, *project, *name; /* project is "" for kinds of the fleet */
    char *uid;
    gint64 revision;      /* of the last write of either half */
    gint64 body_revision; /* of the last write of `body`: what If-Match guards */
    char *body, *status;  /* JSON text; status may be NULL */
} BerthRow;

void berth_row_free(BerthRow *row);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthRow, berth_row_free)

typedef enum {
    BERTH_STORE_PUT,    /* writes the halves that are not NULL */
    BERTH_STORE_DELETE, /* an absent row is NOT_FOUND */
    BERTH_STORE_CHECK,  /* only the conditions */
} BerthStoreVerb;

#define BERTH_STORE_ANY ((gint64)-1)   /* no condition */
#define BERTH_STORE_ABSENT ((gint64)0) /* the row must not exist: EXISTS otherwise */

/* One step of a transaction. Strings are copied by berth_transaction_add(). */
typedef struct {
    BerthStoreVerb verb;
    const char *kind, *project, *name;
    const char *uid;    /* PUT of a new row: its uid; without it (or without body) an absent row is
                         * NOT_FOUND; EXISTS when the row is there with another uid */
    const char *body;   /* PUT: NULL keeps the stored one */
    const char *status; /* PUT: NULL keeps the stored one */
    gint64 if_revision; /* ANY, ABSENT, or: CONFLICT when the body changed after this revision, or
                         * when the store has not come to it (it was restored), NOT_FOUND when the
                         * row is absent */
    const char *if_uid; /* NULL, or: the row must exist with this uid (NOT_FOUND otherwise) */
} BerthStoreOp;

typedef struct BerthTransaction BerthTransaction;

BerthTransaction *berth_transaction_new(void);
void berth_transaction_add(BerthTransaction *transaction, const BerthStoreOp *op);
guint berth_transaction_size(const BerthTransaction *transaction);
void berth_transaction_free(BerthTransaction *transaction);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthTransaction, berth_transaction_free)

/* One committed write, in commit order. @row is the whole row after it; for a delete the last one. */
typedef struct {
    gint64 revision;
    gboolean deleted;
    BerthRow *row; /* owned */
} BerthChange;

void berth_change_free(BerthChange *change);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthChange, berth_change_free)

/**
 * BerthStoreDone: the end of one transaction, on the main loop, after it is durable.
 * @revision: the revision it took (one that wrote nothing took none: the present one); 0 on error
 * @changes: (element-type BerthChange): what it wrote, borrowed; NULL on error
 * @failed_op: index of the step whose condition did not hold, or -1
 * @error: CONFLICT, EXISTS, NOT_FOUND by the failed step; EXHAUSTED when the disk is full (nothing
 *     was written, reads go on); CORRUPT, UNAVAILABLE
 */
typedef void (*BerthStoreDone)(gint64 revision, const GPtrArray *changes, int failed_op,
                               const GError *error, gpointer user_data);

typedef struct BerthStore BerthStore;

/**
 * BerthStoreOps:
 * @load: every row and the present revision; blocks; once, before the first submit. CORRUPT says the
 *     way out
 * @submit: takes ownership of @transaction; does not block; main loop
 * @changes_since: (element-type BerthChange): what was committed after @revision and told by a
 *     callback already, about @limit changes but never a part of a revision; GONE when compacted, or
 *     when the store has not come to @revision (it was restored); blocks shortly; main loop
 * @compact: forgets changes up to @revision (deletes no objects); asynchronous, through submit's queue
 * @backup: a consistent copy to @path while writes go on, with all that was told by then; EXISTS
 *     when something is there already; blocks: worker thread
 * @oldest: the lowest revision that changes_since still accepts
 * @free: commits what waits, then ends; callbacks not yet run are run with what became of them; a
 *     submit from such a callback is UNAVAILABLE; not from inside any other callback
 */
typedef struct {
    gboolean (*load)(BerthStore *store, GPtrArray **rows, gint64 *revision, GError **error);
    void (*submit)(BerthStore *store, BerthTransaction *transaction, BerthStoreDone done,
                   gpointer user_data);
    GPtrArray *(*changes_since)(BerthStore *store, gint64 revision, guint limit, GError **error);
    void (*compact)(BerthStore *store, gint64 revision);
    gboolean (*backup)(BerthStore *store, const char *path, GError **error);
    gint64 (*oldest)(BerthStore *store);
    void (*free)(BerthStore *store);
} BerthStoreOps;

struct BerthStore {
    const BerthStoreOps *ops;
};

/* The embedded default: SQLite at @path (made when absent). CORRUPT and INVALID (newer schema) say
 * the way out. Takes a lock so that a second opener gets UNAVAILABLE. */
BerthStore *berth_store_sqlite_open(const char *path, GError **error);

/* Puts @backup at @path; EXISTS when something is there already, CORRUPT and INVALID as for open().
 * Offline. Every row gets a revision that no client has seen, so that whoever knew the lost future reads
 * again: watches get GONE, guarded writes CONFLICT. */
gboolean berth_store_sqlite_restore(const char *backup, const char *path, GError **error);

static inline void
berth_store_free(BerthStore *store)
{
    store->ops->free(store);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthStore, berth_store_free)

G_END_DECLS
