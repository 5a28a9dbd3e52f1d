/* What every store must do: each sentence of drivers/store.h as a test, run against a subject. */
#pragma once

#include "drivers/store.h"

G_BEGIN_DECLS

/**
 * BerthStoreSubject:
 * @name: goes into the tests' paths
 * @open: a new and empty store, never NULL
 * @reopen: (nullable): frees @store and opens what it left; NULL when it forgets
 * @turn: lets callbacks run; may wait for the next one
 * @has_backup: whether the op works
 * @folder: where the running test may put files; set by the subject's @open
 */
typedef struct {
    const char *name;
    BerthStore *(*open)(void);
    BerthStore *(*reopen)(BerthStore *store);
    void (*turn)(BerthStore *store);
    gboolean has_backup;
    char *folder;
} BerthStoreSubject;

/* Adds the suite's tests; @subject must live until they ran. */
void berth_conformance_store_add(BerthStoreSubject *subject);

/* How a transaction ended; for tests of single stores too. */
typedef struct {
    gboolean told;
    gint64 revision;
    GPtrArray *changes;  /* owned, of BerthChange: copies */
    int failed_op, code; /* code -1: no error */
    char *message;       /* owned */
} BerthOutcome;

void berth_outcome_clear(BerthOutcome *outcome);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthOutcome, berth_outcome_clear)

/* A BerthStoreDone that fills the BerthOutcome given as user data. */
void berth_outcome_done(gint64 revision, const GPtrArray *changes, int failed_op,
                        const GError *error, gpointer user_data);

G_END_DECLS
