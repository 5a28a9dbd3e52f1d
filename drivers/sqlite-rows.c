/* Rows and changes in the tables of the state file.
 *
 * Invariant: every row carries a sum over all its fields, written with it and compared whenever it is
 * read, because SQLite itself does not notice a flipped bit inside a text. Each connection with its
 * statements belongs to one thread. */
#include "drivers/sqlite-rows.h"

#include <string.h>

#include "base/error.h"
#include "drivers/sqlite-file.h"
#include "drivers/store-transaction.h"

/* ---- sums ---- */

/* FNV-1a, 64 bits (Fowler, Noll, Vo): a change of any one byte always changes it. */
static guint64
add_bytes(guint64 sum, const void *data, gsize size)
{
    const guint8 *bytes = data;
    for (gsize i = 0; i < size; i++) {
        sum = (sum ^ bytes[i]) * 0x100000001b3u;
    }
    return sum;
}

/* With its end, so that "ab","c" differs from "a","bc", and NULL from "". */
static guint64
add_text(guint64 sum, const char *text)
{
    return text != NULL ? add_bytes(sum, text, strlen(text) + 1) : add_bytes(sum, "\xff", 1);
}

static guint64
add_number(guint64 sum, gint64 number)
{
    guint8 bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (guint8)((guint64)number >> (8 * i));
    }
    return add_bytes(sum, bytes, sizeof bytes);
}

#define SUM_START 0xcbf29ce484222325u

static guint64
sum_row(const BerthRow *row)
{
    guint64 sum = add_text(SUM_START, row->kind);
    sum = add_text(sum, row->project);
    sum = add_text(sum, row->name);
    sum = add_text(sum, row->uid);
    sum = add_number(sum, row->revision);
    sum = add_number(sum, row->body_revision);
    sum = add_text(sum, row->body);
    return add_text(sum, row->status);
}

static gint64
sum_change(const BerthChange *change, guint seq)
{
    guint64 sum = add_number(sum_row(change->row), change->revision);
    return (gint64)add_number(add_number(sum, seq), change->deleted);
}

/* A new file's state, all zeros, has the sum 0. */
static gint64
sum_state(gint64 revision, gint64 oldest)
{
    return revision == 0 && oldest == 0
               ? 0
               : (gint64)add_number(add_number(SUM_START, revision), oldest);
}

static gboolean
fail_sum(GError **error, const char *what)
{
    berth_error_set_at(error, BERTH_ERROR_CORRUPT, NULL,
                       "put back a backup (berth restore), or move the file away and rebuild from "
                       "the hosts (berth recover)",
                       "the state file is damaged: %s does not match its checksum", what);
    return FALSE;
}

/* ---- statements ---- */

static gboolean
prepare(sqlite3 *db, const char *sql, sqlite3_stmt **statement, GError **error)
{
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) == SQLITE_OK) {
        return TRUE;
    }
    berth_sqlite_error(error, db, sqlite3_extended_errcode(db), "can't use the state file");
    return FALSE;
}

static void
bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC); /* NULL binds NULL */
}

/* Ends a statement that gives no rows. */
static gboolean
finish(BerthSqliteRows *rows, sqlite3_stmt *statement, GError **error)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_DONE) {
        berth_sqlite_error(error, rows->db, sqlite3_extended_errcode(rows->db),
                           "can't write the state");
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_DONE;
}

void
berth_sqlite_rows_free(BerthSqliteRows *rows)
{
    if (rows != NULL) {
        sqlite3_finalize(rows->get);
        sqlite3_finalize(rows->put);
        sqlite3_finalize(rows->erase);
        sqlite3_finalize(rows->log);
        sqlite3_finalize(rows->forget);
        sqlite3_finalize(rows->state_put);
        sqlite3_close(rows->db);
        g_free(rows);
    }
}

/** Returns: (transfer full) (nullable): the statements of @db, which it takes in any case. */
BerthSqliteRows *
berth_sqlite_rows_new(sqlite3 *db, GError **error)
{
    BerthSqliteRows *rows = g_new0(BerthSqliteRows, 1);
    rows->db = db;
    if (prepare(db,
                "SELECT kind, project, name, uid, revision, body_revision, body, status, sum FROM "
                "objects WHERE kind = ? AND project = ? AND name = ?",
                &rows->get, error) &&
        prepare(db, "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", &rows->put,
                error) &&
        prepare(db, "DELETE FROM objects WHERE kind = ? AND project = ? AND name = ?", &rows->erase,
                error) &&
        prepare(db, "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &rows->log,
                error) &&
        prepare(db, "DELETE FROM changes WHERE revision <= ?", &rows->forget, error) &&
        prepare(db, "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?)", &rows->state_put, error)) {
        return rows;
    }
    berth_sqlite_rows_free(rows);
    return NULL;
}

/* ---- rows ---- */

static char *
column_text(sqlite3_stmt *statement, int index)
{
    return g_strdup((const char *)sqlite3_column_text(statement, index));
}

/* Columns @first.. of @statement: kind, project, name, uid, revision, body_revision, body, status. */
static BerthRow *
column_row(sqlite3_stmt *statement, int first)
{
    BerthRow *row = g_new(BerthRow, 1);
    *row = (BerthRow){
        .kind = column_text(statement, first),
        .project = column_text(statement, first + 1),
        .name = column_text(statement, first + 2),
        .uid = column_text(statement, first + 3),
        .revision = sqlite3_column_int64(statement, first + 4),
        .body_revision = sqlite3_column_int64(statement, first + 5),
        .body = column_text(statement, first + 6),
        .status = column_text(statement, first + 7),
    };
    return row;
}

static void
bind_row(sqlite3_stmt *statement, int first, const BerthRow *row)
{
    bind_text(statement, first, row->kind);
    bind_text(statement, first + 1, row->project);
    bind_text(statement, first + 2, row->name);
    bind_text(statement, first + 3, row->uid);
    sqlite3_bind_int64(statement, first + 4, row->revision);
    sqlite3_bind_int64(statement, first + 5, row->body_revision);
    bind_text(statement, first + 6, row->body);
    bind_text(statement, first + 7, row->status);
}

static gboolean
take_row(sqlite3_stmt *statement, BerthRow **row, GError **error)
{
    g_autoptr(BerthRow) read = column_row(statement, 0);
    if ((gint64)sum_row(read) != sqlite3_column_int64(statement, 8)) {
        return fail_sum(error, "an object");
    }
    *row = g_steal_pointer(&read);
    return TRUE;
}

/** Sets *@row to the row of that name, NULL when there is none. */
gboolean
berth_sqlite_rows_get(BerthSqliteRows *rows, const char *kind, const char *project,
                      const char *name, BerthRow **row, GError **error)
{
    sqlite3_stmt *get = rows->get;
    bind_text(get, 1, kind);
    bind_text(get, 2, project);
    bind_text(get, 3, name);
    int code = sqlite3_step(get);
    gboolean good = code == SQLITE_DONE;
    *row = NULL;
    if (code == SQLITE_ROW) {
        good = take_row(get, row, error);
    } else if (!good) {
        berth_sqlite_error(error, rows->db, sqlite3_extended_errcode(rows->db),
                           "can't read the state");
    }
    sqlite3_reset(get);
    sqlite3_clear_bindings(get);
    return good;
}

gboolean
berth_sqlite_rows_put(BerthSqliteRows *rows, const BerthRow *row, GError **error)
{
    bind_row(rows->put, 1, row);
    sqlite3_bind_int64(rows->put, 9, (gint64)sum_row(row));
    return finish(rows, rows->put, error);
}

gboolean
berth_sqlite_rows_erase(BerthSqliteRows *rows, const BerthRow *row, GError **error)
{
    bind_text(rows->erase, 1, row->kind);
    bind_text(rows->erase, 2, row->project);
    bind_text(rows->erase, 3, row->name);
    return finish(rows, rows->erase, error);
}

gboolean
berth_sqlite_rows_log(BerthSqliteRows *rows, const BerthChange *change, guint seq, GError **error)
{
    sqlite3_bind_int64(rows->log, 1, change->revision);
    sqlite3_bind_int64(rows->log, 2, seq);
    sqlite3_bind_int64(rows->log, 3, change->deleted);
    bind_row(rows->log, 4, change->row);
    sqlite3_bind_int64(rows->log, 12, sum_change(change, seq));
    return finish(rows, rows->log, error);
}

gboolean
berth_sqlite_rows_forget(BerthSqliteRows *rows, gint64 revision, GError **error)
{
    sqlite3_bind_int64(rows->forget, 1, revision);
    return finish(rows, rows->forget, error);
}

gboolean
berth_sqlite_rows_set_state(BerthSqliteRows *rows, gint64 revision, gint64 oldest, GError **error)
{
    sqlite3_bind_int64(rows->state_put, 1, revision);
    sqlite3_bind_int64(rows->state_put, 2, oldest);
    sqlite3_bind_int64(rows->state_put, 3, sum_state(revision, oldest));
    return finish(rows, rows->state_put, error);
}

/* ---- whole reads ---- */

/* Calls @take for each row that @statement gives; takes the statement. */
static gboolean
each_row(sqlite3 *db, sqlite3_stmt *statement,
         gboolean (*take)(sqlite3_stmt *statement, gpointer data, gboolean *more, GError **error),
         gpointer data, GError **error)
{
    gboolean more = TRUE, good = TRUE;
    int code = SQLITE_ROW;
    while (good && more && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        good = take(statement, data, &more, error);
    }
    if (good && code != SQLITE_ROW && code != SQLITE_DONE) {
        berth_sqlite_error(error, db, sqlite3_extended_errcode(db), "can't read the state");
        good = FALSE;
    }
    sqlite3_finalize(statement);
    return good;
}

typedef struct {
    gint64 revision, oldest;
    gboolean found;
} State;

static gboolean
take_state(sqlite3_stmt *statement, gpointer data, gboolean *more, GError **error)
{
    State *state = data;
    state->found = TRUE;
    state->revision = sqlite3_column_int64(statement, 0);
    state->oldest = sqlite3_column_int64(statement, 1);
    return sqlite3_column_int64(statement, 2) == sum_state(state->revision, state->oldest) ||
           fail_sum(error, "the revision counter");
}

/** Reads the present revision and the oldest one that changes are kept since. */
gboolean
berth_sqlite_state(sqlite3 *db, gint64 *revision, gint64 *oldest, GError **error)
{
    sqlite3_stmt *statement;
    State state = {0};
    if (!prepare(db, "SELECT revision, oldest, sum FROM state", &statement, error) ||
        !each_row(db, statement, take_state, &state, error)) {
        return FALSE;
    }
    *revision = state.revision;
    *oldest = state.oldest;
    return state.found || fail_sum(error, "the revision counter");
}

typedef struct {
    GPtrArray *rows;
    gint64 revision;
} Loading;

static gboolean
take_loaded(sqlite3_stmt *statement, gpointer data, gboolean *more, GError **error)
{
    Loading *loading = data;
    BerthRow *row;
    if (!take_row(statement, &row, error)) {
        return FALSE;
    }
    g_ptr_array_add(loading->rows, row);
    return row->revision <= loading->revision || fail_sum(error, "the revision counter");
}

static void
free_row(gpointer row)
{
    berth_row_free(row);
}

/** Returns: (transfer full) (nullable): every row, checked; none may be newer than @revision. */
GPtrArray *
berth_sqlite_load(sqlite3 *db, gint64 revision, GError **error)
{
    sqlite3_stmt *statement;
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func(free_row);
    Loading loading = {rows, revision};
    if (!prepare(db,
                 "SELECT kind, project, name, uid, revision, body_revision, body, status, sum "
                 "FROM objects",
                 &statement, error) ||
        !each_row(db, statement, take_loaded, &loading, error)) {
        return NULL;
    }
    return g_steal_pointer(&rows);
}

typedef struct {
    GPtrArray *changes;
    guint limit;
} Following;

#define CHANGE_COLUMNS                                                                             \
    "SELECT kind, project, name, uid, row_revision, body_revision, body, status, revision, seq, "  \
    "deleted, sum FROM changes "

static BerthChange *
column_change(sqlite3_stmt *statement)
{
    return berth_change_new(sqlite3_column_int64(statement, 8),
                            sqlite3_column_int64(statement, 10) != 0, column_row(statement, 0));
}

static gboolean
check_change(sqlite3_stmt *statement, const BerthChange *change, GError **error)
{
    return sum_change(change, (guint)sqlite3_column_int64(statement, 9)) ==
               sqlite3_column_int64(statement, 11) ||
           fail_sum(error, "a change");
}

static gboolean
check_kept(sqlite3_stmt *statement, gpointer data, gboolean *more, GError **error)
{
    const State *state = data;
    g_autoptr(BerthChange) change = column_change(statement);
    return check_change(statement, change, error) &&
           ((change->revision > state->oldest && change->revision <= state->revision) ||
            fail_sum(error, "the revision counter"));
}

/**
 * berth_sqlite_check_changes:
 *
 * Reads every change once, in no order: a damaged key would hide a change from an ordered search.
 */
gboolean
berth_sqlite_check_changes(sqlite3 *db, gint64 oldest, gint64 revision, GError **error)
{
    sqlite3_stmt *statement;
    State state = {.revision = revision, .oldest = oldest};
    return prepare(db, CHANGE_COLUMNS, &statement, error) &&
           each_row(db, statement, check_kept, &state, error);
}

static gboolean
take_change(sqlite3_stmt *statement, gpointer data, gboolean *more, GError **error)
{
    Following *following = data;
    BerthChange *last =
        following->changes->len > 0 ? following->changes->pdata[following->changes->len - 1] : NULL;
    gint64 revision = sqlite3_column_int64(statement, 8);
    if (following->changes->len >= following->limit && last != NULL && last->revision != revision) {
        *more = FALSE; /* never a part of a revision */
        return TRUE;
    }
    BerthChange *change = column_change(statement);
    g_ptr_array_add(following->changes, change);
    return check_change(statement, change, error);
}

static void
free_change(gpointer change)
{
    berth_change_free(change);
}

/** Returns: (transfer full) (nullable): changes with @after < revision <= @upto, about @limit. */
GPtrArray *
berth_sqlite_changes(sqlite3 *db, gint64 after, gint64 upto, guint limit, GError **error)
{
    sqlite3_stmt *statement;
    g_autoptr(GPtrArray) changes = g_ptr_array_new_with_free_func(free_change);
    Following following = {changes, limit};
    if (!prepare(db, CHANGE_COLUMNS "WHERE revision > ? AND revision <= ? ORDER BY revision, seq",
                 &statement, error)) {
        return NULL;
    }
    sqlite3_bind_int64(statement, 1, after);
    sqlite3_bind_int64(statement, 2, upto);
    return each_row(db, statement, take_change, &following, error) ? g_steal_pointer(&changes)
                                                                   : NULL;
}

/** Gives every row @revision, forgets all changes: what a restored copy starts with. */
gboolean
berth_sqlite_renew(BerthSqliteRows *rows, gint64 revision, GError **error)
{
    g_autoptr(GPtrArray) all = berth_sqlite_load(rows->db, revision, error);
    if (all == NULL || !berth_sqlite_run(rows->db, "BEGIN IMMEDIATE", error)) {
        return FALSE;
    }
    for (guint i = 0; i < all->len; i++) {
        BerthRow *row = all->pdata[i];
        row->revision = row->body_revision = revision;
        if (!berth_sqlite_rows_put(rows, row, error)) {
            return FALSE;
        }
    }
    return berth_sqlite_rows_forget(rows, revision, error) &&
           berth_sqlite_rows_set_state(rows, revision, revision, error) &&
           berth_sqlite_run(rows->db, "COMMIT", error);
}
