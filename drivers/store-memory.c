/* The store of simulations: a hash table of rows and an array of changes. Invariant: a transaction is
 * done wholly or not at all; it is tried on an overlay first. */
#include "drivers/store-memory.h"

#include "base/error.h"
#include "drivers/store-transaction.h"

typedef struct {
    BerthStore base;
    GHashTable *rows;   /* owned: "kind/project/name" -> BerthRow, owned */
    GPtrArray *changes; /* owned, of BerthChange, by revision */
    GQueue waiting;     /* of Told, owned */
    gint64 revision, told, oldest;
    gboolean closing;
} MemoryStore;

/* A transaction's end that was not told yet. */
typedef struct {
    gint64 revision;
    GPtrArray *changes; /* owned, of BerthChange; NULL on error */
    int failed_op;
    GError *error; /* owned */
    BerthStoreDone done;
    gpointer user_data;
} Told;

static void
free_told(gpointer data)
{
    Told *told = data;
    g_clear_pointer(&told->changes, g_ptr_array_unref);
    g_clear_error(&told->error);
    g_free(told);
}

static char *
key_of(const BerthStep *step)
{
    return g_strjoin("/", step->kind, step->project, step->name, NULL);
}

/* The row as the transaction sees it: @overlay holds copies, NULL for what it deleted. */
static const BerthRow *
look_up(MemoryStore *store, GHashTable *overlay, const char *key)
{
    gpointer row;
    return g_hash_table_lookup_extended(overlay, key, NULL, &row)
               ? row
               : g_hash_table_lookup(store->rows, key);
}

static void
stage(GHashTable *overlay, char *key, const BerthStep *step, BerthRow *row, gint64 revision,
      GPtrArray *changes)
{
    gboolean deleted = step->verb == BERTH_STORE_DELETE;
    g_ptr_array_add(changes, berth_change_new(revision, deleted, berth_row_copy(row)));
    g_hash_table_insert(overlay, key, deleted ? NULL : berth_row_copy(row));
    berth_row_free(row);
}

/* Tries all steps on @overlay. */
static gboolean
try_steps(MemoryStore *store, const BerthTransaction *transaction, GHashTable *overlay, Told *told)
{
    for (guint i = 0; i < transaction->steps->len; i++) {
        const BerthStep *step = transaction->steps->pdata[i];
        g_autofree char *key = key_of(step);
        const BerthRow *row = look_up(store, overlay, key);
        if (!berth_step_check(step, row, store->revision, &told->error)) {
            told->failed_op = (int)i;
            g_clear_pointer(&told->changes, g_ptr_array_unref);
            return FALSE;
        }
        if (berth_step_writes(step)) {
            stage(overlay, g_steal_pointer(&key), step,
                  berth_step_apply(step, row, store->revision + 1), store->revision + 1,
                  told->changes);
        }
    }
    return TRUE;
}

static void
keep(MemoryStore *store, GHashTable *overlay, const GPtrArray *changes)
{
    GHashTableIter iter;
    gpointer key, row;
    g_hash_table_iter_init(&iter, overlay);
    while (g_hash_table_iter_next(&iter, &key, &row)) {
        if (row == NULL) {
            g_hash_table_remove(store->rows, key);
        } else {
            g_hash_table_insert(store->rows, g_strdup(key), berth_row_copy(row));
        }
    }
    for (guint i = 0; i < changes->len; i++) {
        const BerthChange *change = changes->pdata[i];
        g_ptr_array_add(store->changes, berth_change_new(change->revision, change->deleted,
                                                         berth_row_copy(change->row)));
    }
    store->revision += changes->len > 0;
}

static void
free_row(gpointer row)
{
    berth_row_free(row);
}

static void
free_change(gpointer change)
{
    berth_change_free(change);
}

static void
submit(BerthStore *base, BerthTransaction *transaction, BerthStoreDone done, gpointer user_data)
{
    MemoryStore *store = (MemoryStore *)base;
    Told *told = g_new(Told, 1);
    *told = (Told){.changes = g_ptr_array_new_with_free_func(free_change),
                   .failed_op = -1,
                   .done = done,
                   .user_data = user_data};
    g_autoptr(GHashTable) overlay =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_row);
    if (store->closing) {
        g_clear_pointer(&told->changes, g_ptr_array_unref);
        berth_error_set(&told->error, BERTH_ERROR_UNAVAILABLE, "the store is closing");
    } else if (try_steps(store, transaction, overlay, told)) {
        keep(store, overlay, told->changes);
        told->revision = store->revision;
    }
    berth_transaction_free(transaction);
    g_queue_push_tail(&store->waiting, told);
}

static gboolean
load(BerthStore *base, GPtrArray **rows, gint64 *revision, GError **error)
{
    MemoryStore *store = (MemoryStore *)base;
    GHashTableIter iter;
    gpointer row;
    *rows = g_ptr_array_new_with_free_func(free_row);
    g_hash_table_iter_init(&iter, store->rows);
    while (g_hash_table_iter_next(&iter, NULL, &row)) {
        g_ptr_array_add(*rows, berth_row_copy(row));
    }
    *revision = store->told = store->revision;
    return TRUE;
}

static GPtrArray *
changes_since(BerthStore *base, gint64 revision, guint limit, GError **error)
{
    MemoryStore *store = (MemoryStore *)base;
    if (revision < store->oldest || revision > store->revision) {
        berth_error_set(error, BERTH_ERROR_GONE,
                        "changes since revision %" G_GINT64_FORMAT " are not kept any more; list "
                        "again",
                        revision);
        return NULL;
    }
    GPtrArray *found = g_ptr_array_new_with_free_func(free_change);
    gint64 last = 0;
    for (guint i = 0; i < store->changes->len; i++) {
        const BerthChange *change = store->changes->pdata[i];
        if (change->revision <= revision || change->revision > store->told) {
            continue;
        }
        if (found->len >= limit && change->revision != last) {
            break;
        }
        last = change->revision;
        g_ptr_array_add(found,
                        berth_change_new(last, change->deleted, berth_row_copy(change->row)));
    }
    return found;
}

static void
compact(BerthStore *base, gint64 revision)
{
    MemoryStore *store = (MemoryStore *)base;
    guint count = 0;
    store->oldest = MAX(store->oldest, MIN(revision, store->revision));
    while (count < store->changes->len &&
           ((BerthChange *)store->changes->pdata[count])->revision <= store->oldest) {
        count++;
    }
    g_ptr_array_remove_range(store->changes, 0, count);
}

static gboolean
backup(BerthStore *store, const char *path, GError **error)
{
    berth_error_set(error, BERTH_ERROR_INVALID, "a store in memory has no backup");
    return FALSE;
}

static gint64
oldest(BerthStore *store)
{
    return ((MemoryStore *)store)->oldest;
}

static void
tell(MemoryStore *store, Told *told)
{
    store->told = MAX(store->told, told->revision);
    if (told->done != NULL) {
        told->done(told->revision, told->changes, told->failed_op, told->error, told->user_data);
    }
    free_told(told);
}

guint
berth_store_memory_dispatch(BerthStore *base)
{
    MemoryStore *store = (MemoryStore *)base;
    guint count = store->waiting.length;
    for (guint i = 0; i < count; i++) {
        tell(store, g_queue_pop_head(&store->waiting));
    }
    return count;
}

void
berth_store_memory_crash(BerthStore *base)
{
    MemoryStore *store = (MemoryStore *)base;
    g_queue_clear_full(&store->waiting, free_told);
    store->told = store->revision;
}

static void
free_store(BerthStore *base)
{
    MemoryStore *store = (MemoryStore *)base;
    store->closing = TRUE;
    while (store->waiting.length > 0) {
        tell(store, g_queue_pop_head(&store->waiting));
    }
    g_hash_table_unref(store->rows);
    g_ptr_array_unref(store->changes);
    g_free(store);
}

static const BerthStoreOps memory_ops = {
    .load = load,
    .submit = submit,
    .changes_since = changes_since,
    .compact = compact,
    .backup = backup,
    .oldest = oldest,
    .free = free_store,
};

/** Returns: (transfer full): an empty store at revision 0. */
BerthStore *
berth_store_memory_new(void)
{
    MemoryStore *store = g_new0(MemoryStore, 1);
    store->base.ops = &memory_ops;
    store->rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_row);
    store->changes = g_ptr_array_new_with_free_func(free_change);
    g_queue_init(&store->waiting);
    return &store->base;
}
