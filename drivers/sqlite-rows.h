/* Rows and changes in the tables of the state file. For store-sqlite.c alone. */
#pragma once

#include "drivers/store.h"

#include <sqlite3.h>

G_BEGIN_DECLS

/* The statements of one connection, and so of one thread. */
typedef struct {
    sqlite3 *db; /* owned */
    sqlite3_stmt *get, *put, *erase, *log, *forget, *state_put;
} BerthSqliteRows;

BerthSqliteRows *berth_sqlite_rows_new(sqlite3 *db, GError **error);
void berth_sqlite_rows_free(BerthSqliteRows *rows);

gboolean berth_sqlite_rows_get(BerthSqliteRows *rows, const char *kind, const char *project,
                               const char *name, BerthRow **row, GError **error);
gboolean berth_sqlite_rows_put(BerthSqliteRows *rows, const BerthRow *row, GError **error);
gboolean berth_sqlite_rows_erase(BerthSqliteRows *rows, const BerthRow *row, GError **error);
gboolean berth_sqlite_rows_log(BerthSqliteRows *rows, const BerthChange *change, guint seq,
                               GError **error);
gboolean berth_sqlite_rows_forget(BerthSqliteRows *rows, gint64 revision, GError **error);
gboolean berth_sqlite_rows_set_state(BerthSqliteRows *rows, gint64 revision, gint64 oldest,
                                     GError **error);

gboolean berth_sqlite_state(sqlite3 *db, gint64 *revision, gint64 *oldest, GError **error);
GPtrArray *berth_sqlite_load(sqlite3 *db, gint64 revision, GError **error);
gboolean berth_sqlite_check_changes(sqlite3 *db, gint64 oldest, gint64 revision, GError **error);
GPtrArray *berth_sqlite_changes(sqlite3 *db, gint64 after, gint64 upto, guint limit,
                                GError **error);
gboolean berth_sqlite_renew(BerthSqliteRows *rows, gint64 revision, GError **error);

G_END_DECLS
