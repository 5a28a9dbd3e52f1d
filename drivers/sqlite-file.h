/* The state file as a file: locked, opened, checked, copied. For store-sqlite.c alone. */
#pragma once

#include <glib.h>
#include <sqlite3.h>

G_BEGIN_DECLS

#define BERTH_SQLITE_FORMAT 1 /* of the tables, in PRAGMA user_version; newer ones are refused */

void berth_sqlite_error(GError **error, sqlite3 *db, int code, const char *what);
gboolean berth_sqlite_run(sqlite3 *db, const char *sql, GError **error);
int berth_sqlite_lock(const char *path, GError **error);
sqlite3 *berth_sqlite_open(const char *path, GError **error);
sqlite3 *berth_sqlite_open_reader(const char *path, GError **error);
gboolean berth_sqlite_copy(sqlite3 *reader, const char *path, GError **error);

G_END_DECLS
