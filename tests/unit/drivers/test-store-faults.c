/* The embedded store against kills, damage, a full disk, rivals, wrong permissions and old formats. */
#include "drivers/store.h"

#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "tests/conformance/store.h"

static char *folder; /* owned; emptied before each test */
static char *state;  /* owned; the state file in it */
static char *tool;   /* owned; path of store-tool */

static void
empty_folder(void)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_assert_cmpint(g_remove(path), ==, 0);
    }
}

static guint
count_files(void)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    guint count = 0;
    while (g_dir_read_name(dir) != NULL) {
        count++;
    }
    return count;
}

static BerthStore *
open_ok(const char *path)
{
    g_autoptr(GError) error = NULL;
    BerthStore *store = berth_store_sqlite_open(path, &error);
    g_assert_no_error(error);
    return store;
}

static GPtrArray *
load_ok(BerthStore *store, gint64 *revision)
{
    g_autoptr(GError) error = NULL;
    GPtrArray *rows;
    g_assert_true(store->ops->load(store, &rows, revision, &error));
    g_assert_no_error(error);
    return rows;
}

static gint64
put(BerthStore *store, const char *name, const char *body, const char *status)
{
    g_auto(BerthOutcome) outcome = {0};
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = {.verb = BERTH_STORE_PUT,
                       .kind = "Pod",
                       .project = "p",
                       .name = name,
                       .uid = "u",
                       .body = body,
                       .status = status,
                       .if_revision = BERTH_STORE_ANY};
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, berth_outcome_done, &outcome);
    while (!outcome.told) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpstr(outcome.message, ==, NULL);
    return outcome.revision;
}

/* A file of some pages with objects, changes and a deleted row. */
static void
make_state(void)
{
    g_autoptr(BerthStore) store = open_ok(state);
    g_autofree char *body = g_strnfill(700, 'b');
    for (guint i = 0; i < 24; i++) {
        g_autofree char *name = g_strdup_printf("n%u", i);
        put(store, name, body, i % 2 == 0 ? "{\"phase\":\"Running\"}" : NULL);
    }
    put(store, "n3", NULL, "{\"phase\":\"Failed\"}");
    store->ops->compact(store, 10);
    put(store, "n4", "{}", NULL);
}

/* Everything that can be read of a store, as text; NULL and *error when it refuses. */
static char *
describe(const char *path, GError **error)
{
    BerthStore *store = berth_store_sqlite_open(path, error);
    if (store == NULL) {
        return NULL;
    }
    g_autoptr(GPtrArray) rows = NULL, changes = NULL;
    gint64 revision;
    GString *text = NULL;
    if (store->ops->load(store, &rows, &revision, error) &&
        (changes = store->ops->changes_since(store, store->ops->oldest(store), 1000, error))) {
        text = g_string_new(NULL);
        g_string_append_printf(text, "%" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n", revision,
                               store->ops->oldest(store));
    }
    for (guint i = 0; text != NULL && i < rows->len; i++) {
        const BerthRow *row = rows->pdata[i];
        g_string_append_printf(text, "%s %s %s %s %d %d %s %s\n", row->kind, row->project,
                               row->name, row->uid, (int)row->revision, (int)row->body_revision,
                               row->body, row->status);
    }
    for (guint i = 0; text != NULL && i < changes->len; i++) {
        const BerthChange *change = changes->pdata[i];
        g_string_append_printf(text, "%d %d %s %s %s\n", (int)change->revision, change->deleted,
                               change->row->name, change->row->body, change->row->status);
    }
    berth_store_free(store);
    return text != NULL ? g_string_free(text, FALSE) : NULL;
}

/* ---- damage ---- */

/* @bytes as a state file either reads as @wanted or is refused with a way out. */
static gboolean
check_damaged(const char *bytes, gsize size, const char *wanted, const char *what)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *wal = g_strconcat(state, "-wal", NULL);
    g_autofree char *shm = g_strconcat(state, "-shm", NULL);
    g_unlink(wal);
    g_unlink(shm);
    g_assert_true(g_file_set_contents_full(state, bytes, (gssize)size,
                                           G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
    g_autofree char *found = describe(state, &error);
    if (found == NULL) {
        if (error->domain != BERTH_ERROR ||
            (error->code != BERTH_ERROR_CORRUPT && error->code != BERTH_ERROR_INVALID) ||
            berth_error_hint(error) == NULL) {
            g_test_message("%s: %s", what, error->message);
            g_test_fail();
        }
        return FALSE;
    }
    if (strcmp(found, wanted) != 0) {
        gsize at = 0;
        while (found[at] == wanted[at]) {
            at++;
        }
        g_test_message("%s: reads as something else: \"%.40s\" for \"%.40s\"", what, found + at,
                       wanted + at);
        g_test_fail();
    }
    return TRUE;
}

static void
test_flipped_bits(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *bytes = NULL;
    gsize size;
    make_state();
    g_autofree char *wanted = describe(state, &error);
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(state, &bytes, &size, NULL));
    guint refused = 0, same = 0, step = g_test_slow() ? 1 : 151;
    for (gsize i = (gsize)g_test_rand_int_range(0, (gint32)step); i < size; i += step) {
        char kept = bytes[i];
        bytes[i] = (char)(kept ^ (1 << g_test_rand_int_range(0, 8)));
        g_autofree char *what =
            g_strdup_printf("byte %zu: %02x -> %02x", i, (guint8)kept, (guint8)bytes[i]);
        gboolean read = check_damaged(bytes, size, wanted, what);
        same += read;
        refused += !read;
        bytes[i] = kept;
    }
    g_test_message("%zu bytes: %u refused, %u harmless", size, refused, same);
    g_assert_cmpuint(refused, >, same / 2);
}

static void
test_truncation_and_zero_pages(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *bytes = NULL;
    gsize size;
    make_state();
    g_autofree char *wanted = describe(state, &error);
    g_assert_true(g_file_get_contents(state, &bytes, &size, NULL));
    for (gsize at = 4096; at < size; at += 4096) {
        g_autofree char *what = g_strdup_printf("page at %zu", at);
        g_autofree char *zeroed = g_memdup2(bytes, size);
        memset(zeroed + at - 4096, 0, 4096);
        check_damaged(zeroed, size, wanted, what);
        g_assert_false(check_damaged(bytes, at, wanted, what));
        g_assert_false(check_damaged(bytes, at - 1, wanted, what));
        g_assert_false(check_damaged(bytes, at + 1, wanted, what));
    }
    g_assert_false(check_damaged("not a database, but text", 24, wanted, "text"));
}

static void
test_other_databases_are_refused(void)
{
    sqlite3 *db;
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(sqlite3_open(state, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(db);
    g_assert_null(berth_store_sqlite_open(state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, "not a state file of Berth"));
}

/* A trigger would act on every write; nothing but our tables may be there. */
static void
test_changed_tables_are_refused(void)
{
    sqlite3 *db;
    g_autoptr(GError) error = NULL;
    make_state();
    g_assert_cmpint(sqlite3_open(state, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db,
                                 "CREATE TRIGGER t AFTER INSERT ON objects BEGIN DELETE FROM "
                                 "changes; END",
                                 NULL, NULL, NULL),
                    ==, SQLITE_OK);
    sqlite3_close(db);
    g_assert_null(berth_store_sqlite_open(state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, "its tables are not those of Berth"));
}

/* Damage outside all rows, which no checksum of a row sees: the list of free pages leads nowhere. */
static void
test_damaged_structure_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *bytes = NULL;
    gsize size;
    make_state();
    g_assert_true(g_file_get_contents(state, &bytes, &size, NULL));
    memcpy(bytes + 32, "\0\0\0\x02\0\0\0\x07", 8); /* first free page, and how many */
    g_assert_true(g_file_set_contents_full(state, bytes, (gssize)size,
                                           G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
    g_assert_null(berth_store_sqlite_open(state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_CORRUPT);
    g_assert_nonnull(strstr(berth_error_hint(error), "berth restore"));
}

static void
test_newer_formats_are_refused(void)
{
    sqlite3 *db;
    g_autoptr(GError) error = NULL;
    make_state();
    g_assert_cmpint(sqlite3_open(state, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, "PRAGMA user_version=2", NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(db);
    g_assert_null(berth_store_sqlite_open(state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "has format 2; this berthd knows up to 1"));
    g_assert_nonnull(strstr(berth_error_hint(error), "backup"));
}

/* ---- permissions, places, rivals ---- */

static void
test_files_are_private(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    struct stat info;
    g_assert_true(
        g_file_set_contents_full(state, "", 0, G_FILE_SET_CONTENTS_CONSISTENT, 0644, NULL));
    g_autoptr(BerthStore) store = open_ok(state);
    put(store, "a", "b", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_autofree char *path = g_strconcat(state, ends[i], NULL);
        g_assert_cmpint(stat(path, &info), ==, 0);
        g_assert_cmpint(info.st_mode & 0777, ==, 0600);
    }
}

static void
assert_no_open(const char *path, BerthErrorCode code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_store_sqlite_open(path, &error));
    g_assert_error(error, BERTH_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, part));
}

static void
test_wrong_places_are_refused(void)
{
    g_autofree char *nowhere = g_build_filename(folder, "missing", "state.db", NULL);
    g_autofree char *other = g_build_filename(folder, "other", NULL);
    assert_no_open(nowhere, BERTH_ERROR_NOT_FOUND, "state folder");
    g_assert_cmpint(g_mkdir(state, 0700), ==, 0);
    assert_no_open(state, BERTH_ERROR_UNAVAILABLE, "Is a directory");
    g_assert_cmpint(g_rmdir(state), ==, 0);
    g_assert_true(g_file_set_contents(other, "", 0, NULL));
    g_assert_cmpint(symlink(other, state), ==, 0);
    assert_no_open(state, BERTH_ERROR_UNAVAILABLE, "symbolic link");
}

static void
test_wrong_permissions_say_so(void)
{
    g_autofree char *setpriv = g_find_program_in_path("setpriv");
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    int status;
    if (setpriv == NULL || geteuid() != 0) {
        g_test_skip("needs root and setpriv, to be somebody else");
        return;
    }
    make_state();
    g_assert_cmpint(g_chmod(folder, 0755), ==, 0);
    const char *argv[] = {setpriv, "--reuid=65534", "--clear-groups", tool, "hold", state, NULL};
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &text,
                               &status, &error));
    g_assert_cmpint(g_chmod(folder, 0700), ==, 0);
    if (strstr(text, "exec") != NULL || strstr(text, "shared lib") != NULL) {
        g_test_skip("another user can't run the build");
        return;
    }
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    g_assert_nonnull(strstr(text, "denied: can't open the state file"));
    g_assert_nonnull(strstr(text, "belong to the user that runs berthd"));
}

typedef struct {
    int input, output;
} Rival;

static Rival
start_rival(void)
{
    Rival rival;
    g_autoptr(GError) error = NULL;
    const char *argv[] = {tool, "hold", state, NULL};
    g_assert_true(g_spawn_async_with_pipes(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL,
                                           NULL, NULL, NULL, &rival.input, &rival.output, NULL,
                                           &error));
    return rival;
}

/* D6: 20 at once, one wins. */
static void
test_one_opener_wins(void)
{
    Rival rivals[20];
    guint winners = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(rivals); i++) {
        rivals[i] = start_rival();
    }
    for (gsize i = 0; i < G_N_ELEMENTS(rivals); i++) { /* each says "open" or ends */
        char text[5];
        winners += read(rivals[i].output, text, sizeof text) == 5;
    }
    g_assert_cmpuint(winners, ==, 1);
    assert_no_open(state, BERTH_ERROR_UNAVAILABLE, "another berthd uses the state folder");
    for (gsize i = 0; i < G_N_ELEMENTS(rivals); i++) {
        char text[5];
        close(rivals[i].input);
        g_assert_cmpint(read(rivals[i].output, text, sizeof text), ==, 0); /* until it has ended */
        close(rivals[i].output);
    }
}

static void
test_a_rival_is_named(void)
{
    g_autoptr(BerthStore) store = open_ok(state);
    g_autofree char *who = g_strdup_printf("pid %d", (int)getpid());
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_store_sqlite_open(state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_UNAVAILABLE);
    if (strstr(error->message, "pid unknown") != NULL) {
        g_test_skip("/proc/locks shows no process here");
        return;
    }
    g_assert_nonnull(strstr(error->message, who));
}

/* ---- full disk ---- */

static void
test_full_disk(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    int status;
    const char *argv[] = {tool, "full", folder, NULL};
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &text,
                               &status, &error));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        g_test_skip(text);
        return;
    }
    g_test_message("%s", text);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- kills ---- */

/* Runs the writer under strace with @inject (NULL: none); gives what it printed. FALSE: no strace. */
static gboolean
run_traced(const char *inject, guint count, char **output, char **trace)
{
    g_autofree char *strace = g_find_program_in_path("strace");
    g_autofree char *number = g_strdup_printf("%u", count);
    g_autofree char *rule = g_strdup_printf("inject=%s", inject);
    g_autofree char *log = g_build_filename(folder, "trace", NULL);
    int status;
    if (strace == NULL) {
        return FALSE;
    }
    const char *plain[] = {strace, "-f",    "-qq", "-o",   log, "-e", "trace=pwrite64,fdatasync",
                           tool,   "write", state, number, NULL};
    const char *killed[] = {strace, "-f", "-qq", "-o",    log,   "-e",   "trace=pwrite64,fdatasync",
                            "-e",   rule, tool,  "write", state, number, NULL};
    gboolean ran =
        g_spawn_sync(NULL, (char **)(inject != NULL ? killed : plain), NULL,
                     G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, output, NULL, &status, NULL);
    g_assert_true(ran && g_file_get_contents(log, trace, NULL, NULL));
    g_unlink(log);
    return WIFSIGNALED(status) ||
           (WIFEXITED(status) && (inject != NULL || WEXITSTATUS(status) == 0));
}

static guint
count_calls(const char *trace, const char *call)
{
    guint count = 0;
    g_autofree char *needle = g_strconcat(" ", call, "(", NULL);
    for (const char *next = trace; (next = strstr(next, needle)) != NULL; next++) {
        count++;
    }
    return count;
}

static gboolean
has_name(const GPtrArray *rows, const char *name)
{
    for (guint i = 0; i < rows->len; i++) {
        if (strcmp(((BerthRow *)rows->pdata[i])->name, name) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Every acknowledged row is there, and only a few that were not. */
static guint
check_survivors(const char *output)
{
    g_autoptr(BerthStore) store = open_ok(state);
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    gint64 revision;
    g_autoptr(GPtrArray) rows = load_ok(store, &revision);
    guint acknowledged = 0;
    for (gsize i = 0; lines[i] != NULL && *lines[i] != '\0'; i++) {
        g_assert_true(has_name(rows, lines[i]));
        acknowledged++;
    }
    g_assert_cmpuint(rows->len, <=, acknowledged + 4); /* those in flight may be durable */
    g_assert_cmpint(revision, ==, (gint64)rows->len);
    put(store, "after", "b", NULL);
    return acknowledged;
}

static void
test_kill_at_calls(void)
{
    static const char *const calls[] = {"pwrite64", "fdatasync"};
    g_autofree char *all = NULL, *trace = NULL;
    if (!run_traced(NULL, 40, &all, &trace)) {
        g_test_skip("strace is not there, or may not trace");
        return;
    }
    g_assert_cmpuint(check_survivors(all), ==, 40);
    guint points = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
        guint total = count_calls(trace, calls[i]), step = g_test_slow() ? 1 : MAX(1, total / 8);
        g_assert_cmpuint(total, >, 5);
        for (guint at = 1 + (guint)g_test_rand_int_range(0, (gint32)step); at <= total;
             at += step) {
            g_autofree char *rule = g_strdup_printf("%s:signal=KILL:when=%u", calls[i], at);
            g_autofree char *output = NULL, *ignored = NULL;
            empty_folder();
            g_assert_true(run_traced(rule, 40, &output, &ignored));
            check_survivors(output);
            points++;
        }
    }
    g_test_message("%u points", points);
}

/* S1: an error instead of a kill: what was answered as done is there, the rest is not. */
static void
test_enospc_at_calls(void)
{
    g_autofree char *probe = NULL, *trace = NULL;
    if (!run_traced(NULL, 1, &probe, &trace)) {
        g_test_skip("strace is not there, or may not trace");
        return;
    }
    for (guint at = 10; at < 60; at += g_test_slow() ? 1 : 9) {
        g_autofree char *rule = g_strdup_printf("pwrite64:error=ENOSPC:when=%u+", at);
        g_autofree char *output = NULL, *ignored = NULL;
        empty_folder();
        g_assert_true(run_traced(rule, 40, &output, &ignored));
        check_survivors(output);
    }
}

/* ---- backup and restore ---- */

static void
test_restore(void)
{
    g_autofree char *copy = g_build_filename(folder, "copy", NULL);
    g_autoptr(GError) error = NULL;
    struct stat info;
    make_state();
    BerthStore *store = open_ok(state);
    g_assert_true(store->ops->backup(store, copy, &error));
    gint64 lost = put(store, "lost", "b", NULL);
    g_assert_false(berth_store_sqlite_restore(copy, state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_UNAVAILABLE); /* in use */
    g_clear_error(&error);
    berth_store_free(store);
    g_assert_false(berth_store_sqlite_restore(copy, state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_EXISTS);
    g_clear_error(&error);
    g_unlink(state);
    g_assert_true(berth_store_sqlite_restore(copy, state, &error));
    g_assert_no_error(error);
    g_assert_cmpint(stat(state, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 0777, ==, 0600);
    g_assert_cmpuint(count_files(), ==, 2); /* no left-overs */
    store = open_ok(state);
    gint64 revision;
    g_autoptr(GPtrArray) rows = load_ok(store, &revision);
    g_assert_cmpuint(rows->len, ==, 24);
    g_assert_false(has_name(rows, "lost"));
    g_assert_cmpint(revision, >, lost);
    g_assert_null(store->ops->changes_since(store, lost, 10, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_GONE);
    g_auto(BerthOutcome) stale = {0};
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = {.verb = BERTH_STORE_PUT,
                       .kind = "Pod",
                       .project = "p",
                       .name = "n1",
                       .body = "from the lost future",
                       .if_revision = lost};
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, berth_outcome_done, &stale);
    while (!stale.told) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(stale.code, ==, BERTH_ERROR_CONFLICT);
    berth_store_free(store);
}

static void
test_restore_refuses_what_is_no_backup(void)
{
    static const char *const contents[] = {"", "text", "SQLite format 3"};
    g_autofree char *copy = g_build_filename(folder, "copy", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(contents); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(g_file_set_contents(copy, contents[i], -1, NULL));
        g_assert_false(berth_store_sqlite_restore(copy, state, &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_CORRUPT);
        g_assert_cmpuint(count_files(), ==, 1);
    }
    g_autoptr(GError) error = NULL;
    g_unlink(copy);
    g_assert_false(berth_store_sqlite_restore(copy, state, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND);
}

typedef struct {
    BerthStore *store;
    const char *path;
    int done; /* atomic */
} BackupWork;

static gpointer
run_backup(gpointer data)
{
    BackupWork *work = data;
    g_autoptr(GError) error = NULL;
    g_assert_true(work->store->ops->backup(work->store, work->path, &error));
    g_atomic_int_set(&work->done, 1);
    return NULL;
}

static void
count_down(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
           gpointer user_data)
{
    g_assert_no_error(error);
    --*(guint *)user_data;
}

/* Two rows change together while copies are made: no copy ever shows them apart. */
static void
test_backup_while_writing(void)
{
    g_autofree char *copy = g_build_filename(folder, "copy", NULL);
    make_state();
    BerthStore *store = open_ok(state);
    BackupWork work = {.store = store, .path = copy};
    GThread *thread = g_thread_new("backup", run_backup, &work);
    guint in_flight = 0, i = 0;
    while (!g_atomic_int_get(&work.done)) {
        g_autofree char *body = g_strdup_printf("%u", i++);
        BerthTransaction *transaction = berth_transaction_new();
        BerthStoreOp left = {.verb = BERTH_STORE_PUT,
                             .kind = "Pair",
                             .project = "",
                             .name = "left",
                             .uid = "l",
                             .body = body,
                             .if_revision = BERTH_STORE_ANY};
        BerthStoreOp right = left;
        right.name = "right";
        berth_transaction_add(transaction, &left);
        berth_transaction_add(transaction, &right);
        in_flight++;
        store->ops->submit(store, transaction, count_down, &in_flight);
        while (in_flight > 8) {
            g_main_context_iteration(NULL, TRUE);
        }
    }
    g_thread_join(thread);
    berth_store_free(store);
    g_assert_cmpuint(in_flight, ==, 0);
    g_unlink(state);
    g_assert_true(berth_store_sqlite_restore(copy, state, NULL));
    store = open_ok(state);
    gint64 revision;
    g_autoptr(GPtrArray) rows = load_ok(store, &revision);
    const char *left = NULL, *right = NULL;
    for (guint j = 0; j < rows->len; j++) {
        const BerthRow *row = rows->pdata[j];
        left = strcmp(row->name, "left") == 0 ? row->body : left;
        right = strcmp(row->name, "right") == 0 ? row->body : right;
    }
    g_assert_cmpstr(left, ==, right);
    berth_store_free(store);
}

static void
run_clean(gconstpointer data)
{
    void (*const *test)(void) = data;
    empty_folder();
    (*test)();
}

int
main(int argc, char **argv)
{
    static const struct {
        void (*run)(void);
        const char *sentence;
    } tests[] = {
        {test_flipped_bits, "flipped-bits-are-refused-or-harmless"},
        {test_truncation_and_zero_pages, "truncation-and-zeroed-pages-are-refused-or-harmless"},
        {test_other_databases_are_refused, "other-databases-are-refused"},
        {test_changed_tables_are_refused, "changed-tables-are-refused"},
        {test_damaged_structure_is_refused, "damaged-structure-is-refused"},
        {test_newer_formats_are_refused, "newer-formats-are-refused-with-the-way-out"},
        {test_files_are_private, "files-are-private"},
        {test_wrong_places_are_refused, "wrong-places-are-refused"},
        {test_wrong_permissions_say_so, "wrong-permissions-say-so"},
        {test_one_opener_wins, "of-20-openers-one-wins"},
        {test_a_rival_is_named, "a-rival-is-named-by-its-pid"},
        {test_full_disk, "a-full-disk-refuses-writes-until-freed"},
        {test_kill_at_calls, "no-kill-loses-an-acknowledged-write"},
        {test_enospc_at_calls, "no-refused-call-loses-an-acknowledged-write"},
        {test_restore, "restore-brings-the-backup-under-new-revisions"},
        {test_restore_refuses_what_is_no_backup, "restore-refuses-what-is-no-backup"},
        {test_backup_while_writing, "backup-is-consistent-while-writes-go-on"},
    };
    g_test_init(&argc, &argv, NULL);
    g_setenv("ASAN_OPTIONS", "detect_leaks=0", FALSE); /* a traced program can't look for leaks */
    folder = g_dir_make_tmp("berth-faults-XXXXXX", NULL);
    state = g_build_filename(folder, "state.db", NULL);
    tool = g_test_build_filename(G_TEST_BUILT, "store-tool", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/store/faults/", tests[i].sentence, NULL);
        g_test_add_data_func(path, &tests[i].run, run_clean);
    }
    int result = g_test_run();
    empty_folder();
    g_rmdir(folder);
    g_free(folder);
    g_free(state);
    g_free(tool);
    return result;
}
