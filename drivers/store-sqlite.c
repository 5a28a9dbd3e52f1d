/* The embedded store: SQLite in a thread of its own.
 *
 * The main loop hands jobs to the store thread through a queue; the thread commits all that wait as one
 * SQLite transaction, a savepoint each, and hands them back; one source on the default main context
 * runs their callbacks. Invariant: a callback runs only after its transaction is on the disk, and in
 * the order of revisions. Start with submit(), run_thread() and commit_group(). */
#include "drivers/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "drivers/sqlite-file.h"
#include "drivers/sqlite-rows.h"
#include "drivers/store-transaction.h"

#define GROUP_JOBS 1000
#define GROUP_BYTES (8 * 1024 * 1024)
/* Telling in one turn of the main loop. */
#define TURN_US 5000
/* How far a restored copy's revision jumps: more than any fleet writes between a backup and its loss. */
#define RESTORE_JUMP 1000000000

/* One submitted transaction, or a compaction. Belongs to one thread at a time. */
typedef struct {
    BerthTransaction *transaction; /* owned; NULL: a compaction up to .compact */
    gint64 compact;
    BerthStoreDone done;
    gpointer user_data;
    /* What became of it. */
    gint64 revision, oldest;
    GPtrArray *changes; /* owned, of BerthChange */
    int failed_op;
    GError *error; /* owned */
} Job;

typedef struct {
    BerthStore base;
    char *path;       /* owned */
    int lock;         /* holds the folder */
    sqlite3 *reader;  /* owned; main loop */
    GSource *source;  /* owned; runs finished jobs */
    GThread *thread;  /* owned */
    gint64 told;      /* main loop: the highest revision that a callback knows */
    gint64 oldest;    /* main loop */
    gboolean closing; /* main loop */

    GMutex mutex; /* guards the next four */
    GCond wake;
    GQueue waiting, finished; /* of Job, owned */
    gboolean stopping;

    /* Store thread alone. */
    BerthSqliteRows *rows; /* owned */
    gint64 revision, kept_since;
    char *broken; /* owned; why nothing can be written any more */
} SqliteStore;

typedef struct {
    GSource base;
    SqliteStore *store; /* borrowed; outlives the source */
} FinishedSource;

static void
free_change(gpointer change)
{
    berth_change_free(change);
}

static void
reset_job(Job *job)
{
    job->revision = 0;
    job->failed_op = -1;
    g_clear_pointer(&job->changes, g_ptr_array_unref);
    g_clear_error(&job->error);
}

static void
free_job(Job *job)
{
    reset_job(job);
    berth_transaction_free(job->transaction);
    g_free(job);
}

/* ---- the store thread ---- */

typedef enum {
    STEP_DONE,
    STEP_REFUSED, /* a condition does not hold: the job's own affair */
    STEP_BROKEN,  /* SQLite failed: the whole group's affair */
} StepResult;

static StepResult
do_step(SqliteStore *store, Job *job, guint index, GError **broken)
{
    const BerthStep *step = job->transaction->steps->pdata[index];
    g_autoptr(BerthRow) row = NULL;
    if (!berth_sqlite_rows_get(store->rows, step->kind, step->project, step->name, &row, broken)) {
        return STEP_BROKEN;
    }
    if (!berth_step_check(step, row, store->revision, &job->error)) {
        job->failed_op = (int)index;
        return STEP_REFUSED;
    }
    if (!berth_step_writes(step)) {
        return STEP_DONE;
    }
    gboolean deleted = step->verb == BERTH_STORE_DELETE;
    BerthChange *change = berth_change_new(store->revision + 1, deleted,
                                           berth_step_apply(step, row, store->revision + 1));
    g_ptr_array_add(job->changes, change);
    gboolean good = deleted ? berth_sqlite_rows_erase(store->rows, change->row, broken)
                            : berth_sqlite_rows_put(store->rows, change->row, broken);
    return good && berth_sqlite_rows_log(store->rows, change, job->changes->len - 1, broken)
               ? STEP_DONE
               : STEP_BROKEN;
}

static StepResult
do_steps(SqliteStore *store, Job *job, GError **broken)
{
    StepResult result = STEP_DONE;
    job->changes = g_ptr_array_new_with_free_func(free_change);
    for (guint i = 0; result == STEP_DONE && i < job->transaction->steps->len; i++) {
        result = do_step(store, job, i, broken);
    }
    return result;
}

static gboolean
do_transaction(SqliteStore *store, Job *job, GError **broken)
{
    if (!berth_sqlite_run(store->rows->db, "SAVEPOINT one", broken)) {
        return FALSE;
    }
    StepResult result = do_steps(store, job, broken);
    if (result == STEP_BROKEN) {
        return FALSE;
    }
    if (result == STEP_REFUSED) {
        g_clear_pointer(&job->changes, g_ptr_array_unref);
        return berth_sqlite_run(store->rows->db, "ROLLBACK TO one; RELEASE one", broken);
    }
    store->revision += job->changes->len > 0;
    job->revision = store->revision;
    return berth_sqlite_run(store->rows->db, "RELEASE one", broken);
}

static gboolean
do_job(SqliteStore *store, Job *job, GError **broken)
{
    if (job->transaction != NULL) {
        return do_transaction(store, job, broken);
    }
    store->kept_since = MAX(store->kept_since, MIN(job->compact, store->revision));
    job->oldest = store->kept_since;
    return berth_sqlite_rows_forget(store->rows, store->kept_since, broken);
}

static gboolean
do_jobs(SqliteStore *store, Job **jobs, guint count, GError **broken)
{
    gint64 revision = store->revision, kept_since = store->kept_since;
    if (!berth_sqlite_run(store->rows->db, "BEGIN IMMEDIATE", broken)) {
        return FALSE;
    }
    for (guint i = 0; i < count; i++) {
        if (!do_job(store, jobs[i], broken)) {
            return FALSE;
        }
    }
    if ((revision != store->revision || kept_since != store->kept_since) &&
        !berth_sqlite_rows_set_state(store->rows, store->revision, store->kept_since, broken)) {
        return FALSE;
    }
    return berth_sqlite_run(store->rows->db, "COMMIT", broken);
}

/* After a failed sync the kernel may have dropped what was written (fsync is not repeatable), so
 * nothing that follows could be trusted until the file was read anew. */
static void
note_failed_sync(SqliteStore *store)
{
    if (sqlite3_extended_errcode(store->rows->db) == SQLITE_IOERR_FSYNC && store->broken == NULL) {
        store->broken = g_strdup("the disk failed to sync the state file; restart berthd");
    }
}

/* One SQLite transaction for @jobs; when it fails and is not the last resort, nothing was done. */
static gboolean
commit_once(SqliteStore *store, Job **jobs, guint count, GError **broken)
{
    gint64 revision = store->revision, kept_since = store->kept_since;
    if (do_jobs(store, jobs, count, broken)) {
        return TRUE;
    }
    note_failed_sync(store);
    if (!sqlite3_get_autocommit(store->rows->db)) {
        sqlite3_exec(store->rows->db, "ROLLBACK", NULL, NULL, NULL);
    }
    store->revision = revision;
    store->kept_since = kept_since;
    for (guint i = 0; i < count; i++) {
        reset_job(jobs[i]);
    }
    return FALSE;
}

/* All together; when SQLite fails, each alone, so that a small one may still fit on a full disk. */
static void
commit_group(SqliteStore *store, Job **jobs, guint count)
{
    g_autoptr(GError) broken = NULL;
    if (store->broken == NULL && commit_once(store, jobs, count, &broken)) {
        return;
    }
    for (guint i = 0; i < count; i++) {
        g_autoptr(GError) alone = NULL;
        if (store->broken != NULL) {
            berth_error_set(&jobs[i]->error, BERTH_ERROR_UNAVAILABLE, "%s", store->broken);
        } else if (count == 1) {
            jobs[i]->error = g_steal_pointer(&broken);
        } else if (!commit_once(store, &jobs[i], 1, &alone)) {
            jobs[i]->error = g_steal_pointer(&alone);
        }
    }
}

/* Waits for work; FALSE when there is none and never will be. */
static gboolean
take_group(SqliteStore *store, GPtrArray *group)
{
    gsize bytes = 0;
    g_mutex_lock(&store->mutex);
    while (store->waiting.length == 0 && !store->stopping) {
        g_cond_wait(&store->wake, &store->mutex);
    }
    while (store->waiting.length > 0 && group->len < GROUP_JOBS && bytes < GROUP_BYTES) {
        Job *job = g_queue_pop_head(&store->waiting);
        bytes += job->transaction != NULL ? job->transaction->bytes : 0;
        g_ptr_array_add(group, job);
    }
    g_mutex_unlock(&store->mutex);
    return group->len > 0;
}

static void
hand_back(SqliteStore *store, GPtrArray *group)
{
    g_mutex_lock(&store->mutex);
    for (guint i = 0; i < group->len; i++) {
        g_queue_push_tail(&store->finished, group->pdata[i]);
    }
    g_mutex_unlock(&store->mutex);
    g_source_set_ready_time(store->source, 0);
}

static gpointer
run_thread(gpointer data)
{
    SqliteStore *store = data;
    g_autoptr(GPtrArray) group = g_ptr_array_new();
    while (take_group(store, group)) {
        commit_group(store, (Job **)group->pdata, group->len);
        hand_back(store, group);
        g_ptr_array_set_size(group, 0);
    }
    return NULL;
}

/* ---- the main loop's side ---- */

static Job *
pop_finished(SqliteStore *store)
{
    g_mutex_lock(&store->mutex);
    Job *job = g_queue_pop_head(&store->finished);
    g_mutex_unlock(&store->mutex);
    return job;
}

static void
tell(SqliteStore *store, Job *job)
{
    store->told = MAX(store->told, job->revision);
    store->oldest = MAX(store->oldest, job->oldest);
    if (job->done != NULL) {
        job->done(job->revision, job->changes, job->failed_op, job->error, job->user_data);
    }
    free_job(job);
}

/* One commit may hold a thousand transactions: others of the main loop have their turns between them. */
static gboolean
dispatch_finished(GSource *source, GSourceFunc callback, gpointer user_data)
{
    SqliteStore *store = ((FinishedSource *)source)->store;
    gint64 end_us = g_get_monotonic_time() + TURN_US;
    Job *job;
    g_source_set_ready_time(source, -1);
    while ((job = pop_finished(store)) != NULL) {
        tell(store, job);
        if (g_get_monotonic_time() >= end_us) {
            g_source_set_ready_time(source, 0);
            break;
        }
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs finished_funcs = {.dispatch = dispatch_finished};

static void
enqueue(SqliteStore *store, Job *job)
{
    job->failed_op = -1;
    g_mutex_lock(&store->mutex);
    if (store->closing) {
        berth_error_set(&job->error, BERTH_ERROR_UNAVAILABLE, "the store is closing");
        g_queue_push_tail(&store->finished, job);
    } else {
        g_queue_push_tail(&store->waiting, job);
        g_cond_signal(&store->wake);
    }
    g_mutex_unlock(&store->mutex);
}

static void
submit(BerthStore *base, BerthTransaction *transaction, BerthStoreDone done, gpointer user_data)
{
    Job *job = g_new0(Job, 1);
    job->transaction = transaction;
    job->done = done;
    job->user_data = user_data;
    enqueue((SqliteStore *)base, job);
}

static void
compact(BerthStore *base, gint64 revision)
{
    Job *job = g_new0(Job, 1);
    job->compact = revision;
    enqueue((SqliteStore *)base, job);
}

static gint64
oldest(BerthStore *base)
{
    return ((SqliteStore *)base)->oldest;
}

static gboolean
load(BerthStore *base, GPtrArray **rows, gint64 *revision, GError **error)
{
    SqliteStore *store = (SqliteStore *)base;
    *rows = berth_sqlite_check_changes(store->reader, store->oldest, store->told, error)
                ? berth_sqlite_load(store->reader, store->told, error)
                : NULL;
    *revision = store->told;
    return *rows != NULL;
}

/* Inside one read transaction, so that no compaction comes between the question and the answer. */
static GPtrArray *
read_changes(SqliteStore *store, gint64 revision, guint limit, GError **error)
{
    gint64 present, kept_since;
    if (!berth_sqlite_state(store->reader, &present, &kept_since, error)) {
        return NULL;
    }
    if (revision < kept_since || revision > present) {
        berth_error_set(error, BERTH_ERROR_GONE,
                        "changes since revision %" G_GINT64_FORMAT
                        " are not kept any more; list again",
                        revision);
        return NULL;
    }
    return berth_sqlite_changes(store->reader, revision, store->told, limit, error);
}

static GPtrArray *
changes_since(BerthStore *base, gint64 revision, guint limit, GError **error)
{
    SqliteStore *store = (SqliteStore *)base;
    if (!berth_sqlite_run(store->reader, "BEGIN", error)) {
        return NULL;
    }
    GPtrArray *changes = read_changes(store, revision, limit, error);
    sqlite3_exec(store->reader, "COMMIT", NULL, NULL, NULL);
    return changes;
}

static gboolean
backup(BerthStore *base, const char *path, GError **error)
{
    sqlite3 *reader = berth_sqlite_open_reader(((SqliteStore *)base)->path, error);
    gboolean good = reader != NULL && berth_sqlite_copy(reader, path, error);
    sqlite3_close(reader);
    return good;
}

static void
stop_thread(SqliteStore *store)
{
    g_mutex_lock(&store->mutex);
    store->closing = store->stopping = TRUE;
    g_cond_signal(&store->wake);
    g_mutex_unlock(&store->mutex);
    g_thread_join(store->thread);
}

static void
free_store(BerthStore *base)
{
    SqliteStore *store = (SqliteStore *)base;
    Job *job;
    if (store->thread != NULL) {
        stop_thread(store);
        while ((job = pop_finished(store)) != NULL) {
            tell(store, job);
        }
    }
    if (store->source != NULL) {
        g_source_destroy(store->source);
        g_source_unref(store->source);
    }
    sqlite3_close(store->reader);
    berth_sqlite_rows_free(store->rows);
    berth_fd_clear(&store->lock);
    g_mutex_clear(&store->mutex);
    g_cond_clear(&store->wake);
    g_free(store->broken);
    g_free(store->path);
    g_free(store);
}

static const BerthStoreOps sqlite_ops = {
    .load = load,
    .submit = submit,
    .changes_since = changes_since,
    .compact = compact,
    .backup = backup,
    .oldest = oldest,
    .free = free_store,
};

/* ---- open and restore ---- */

static gboolean
open_files(SqliteStore *store, GError **error)
{
    store->lock = berth_sqlite_lock(store->path, error);
    sqlite3 *db = store->lock >= 0 ? berth_sqlite_open(store->path, error) : NULL;
    store->rows = db != NULL ? berth_sqlite_rows_new(db, error) : NULL;
    if (store->rows == NULL ||
        !berth_sqlite_state(db, &store->revision, &store->kept_since, error)) {
        return FALSE;
    }
    store->reader = berth_sqlite_open_reader(store->path, error);
    store->told = store->revision;
    store->oldest = store->kept_since;
    return store->reader != NULL;
}

/**
 * berth_store_sqlite_open:
 * @path: the state file; its folder must exist and becomes this process's alone
 *
 * Returns: (transfer full) (nullable): the store. Errors: UNAVAILABLE (another one has the folder),
 * CORRUPT, INVALID (newer format), DENIED, EXHAUSTED.
 */
BerthStore *
berth_store_sqlite_open(const char *path, GError **error)
{
    SqliteStore *store = g_new0(SqliteStore, 1);
    store->base.ops = &sqlite_ops;
    store->path = g_strdup(path);
    store->lock = -1;
    g_mutex_init(&store->mutex);
    g_cond_init(&store->wake);
    if (!open_files(store, error)) {
        free_store(&store->base);
        return NULL;
    }
    store->source = g_source_new(&finished_funcs, sizeof(FinishedSource));
    ((FinishedSource *)store->source)->store = store;
    g_source_set_name(store->source, "store");
    g_source_attach(store->source, NULL);
    store->thread = g_thread_new("store", run_thread, store);
    return &store->base;
}

static gboolean
copy_bytes(const char *from, const char *to, GError **error)
{
    g_auto(BerthFd) in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        berth_error_set_errno(error, errno, "can't open the backup '%s'", from);
        return FALSE;
    }
    g_auto(BerthFd) out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0) {
        berth_error_set_errno(error, errno, "can't create '%s'", to);
        return FALSE;
    }
    char chunk[65536];
    gssize got;
    while ((got = read(in, chunk, sizeof chunk)) > 0) {
        if (!berth_fd_write_all(out, chunk, (gsize)got, error)) {
            return FALSE;
        }
    }
    if (got < 0) {
        berth_error_set_errno(error, errno, "can't read the backup '%s'", from);
    }
    return got == 0;
}

/* Checks the copy at @part and gives its rows the new revision. */
static gboolean
renew_copy(const char *part, GError **error)
{
    gint64 revision, kept_since;
    sqlite3 *db = berth_sqlite_open(part, error);
    BerthSqliteRows *rows = db != NULL ? berth_sqlite_rows_new(db, error) : NULL;
    gboolean good = rows != NULL && berth_sqlite_state(db, &revision, &kept_since, error) &&
                    berth_sqlite_renew(rows, revision + RESTORE_JUMP, error);
    berth_sqlite_rows_free(rows);
    return good;
}

static void
remove_part(const char *part)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (gsize i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_autofree char *name = g_strconcat(part, ends[i], NULL);
        unlink(name);
    }
}

/* An empty file would open as a new store: it is no backup. */
static gboolean
check_backup(const char *backup, const char *path, GError **error)
{
    struct stat info;
    g_autofree char *wal = g_strconcat(path, "-wal", NULL);
    if (access(path, F_OK) == 0 || access(wal, F_OK) == 0) {
        berth_error_set_at(error, BERTH_ERROR_EXISTS, NULL,
                           "stop berthd and move the old state away first",
                           "there is a state file at '%s' already", path);
        return FALSE;
    }
    if (stat(backup, &info) != 0) {
        berth_error_set_errno(error, errno, "can't open the backup '%s'", backup);
        return FALSE;
    }
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        berth_error_set(error, BERTH_ERROR_CORRUPT, "'%s' is no backup of Berth", backup);
        return FALSE;
    }
    return TRUE;
}

gboolean
berth_store_sqlite_restore(const char *backup_path, const char *path, GError **error)
{
    g_auto(BerthFd) lock = berth_sqlite_lock(path, error);
    if (lock < 0 || !check_backup(backup_path, path, error)) {
        return FALSE;
    }
    g_autofree char *part = g_strdup_printf("%s.%08x.part", path, g_random_int());
    sqlite3 *reader = NULL;
    gboolean good = copy_bytes(backup_path, part, error) && renew_copy(part, error) &&
                    (reader = berth_sqlite_open_reader(part, error)) != NULL &&
                    berth_sqlite_copy(reader, path, error);
    sqlite3_close(reader);
    remove_part(part);
    return good;
}
