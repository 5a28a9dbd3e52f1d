/* The state file as a file: locked, opened, checked, copied.
 *
 * A file is only used when its format is known, its tables are exactly ours and SQLite finds no damage;
 * the messages say the way out. The file belongs to its user alone (0600). Any thread; a connection
 * belongs to one thread at a time. */
#include "config.h" /* _GNU_SOURCE, for renameat2() */

#include "drivers/sqlite-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/error.h"
#include "base/fd.h"

#define APPLICATION_ID 0x42657274 /* "Bert" */
#define WAY_OUT                                                                                    \
    "put back a backup (berth restore), or move the file away and rebuild from the hosts (berth "  \
    "recover)"

/* What a state file holds, in the order and words of sqlite_schema. */
static const char *const tables[] = {
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, oldest "
    "INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT",
    "CREATE TABLE objects (kind TEXT NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, uid TEXT "
    "NOT NULL, revision INTEGER NOT NULL, body_revision INTEGER NOT NULL, body TEXT NOT NULL, "
    "status TEXT, sum INTEGER NOT NULL, PRIMARY KEY (kind, project, name)) STRICT",
    "CREATE TABLE changes (revision INTEGER NOT NULL, seq INTEGER NOT NULL, deleted INTEGER NOT "
    "NULL, kind TEXT NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, "
    "row_revision INTEGER NOT NULL, body_revision INTEGER NOT NULL, body TEXT NOT NULL, status "
    "TEXT, sum INTEGER NOT NULL, PRIMARY KEY (revision, seq)) STRICT, WITHOUT ROWID",
};

static BerthErrorCode
code_of(sqlite3 *db, int code)
{
    int system = db != NULL ? sqlite3_system_errno(db) : 0;
    switch (code & 0xff) {
    case SQLITE_FULL:
        return BERTH_ERROR_EXHAUSTED;
    case SQLITE_NOMEM:
        return BERTH_ERROR_EXHAUSTED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR: /* our statements are fixed: only a damaged schema makes them wrong */
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:
        return BERTH_ERROR_CORRUPT;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return BERTH_ERROR_DENIED;
    default:
        return system == ENOSPC || system == EDQUOT  ? BERTH_ERROR_EXHAUSTED
               : system == EACCES || system == EPERM ? BERTH_ERROR_DENIED
                                                     : BERTH_ERROR_UNAVAILABLE;
    }
}

static const char *
hint_of(BerthErrorCode code)
{
    switch (code) {
    case BERTH_ERROR_EXHAUSTED:
        return "free space in the state folder's file system; nothing was lost";
    case BERTH_ERROR_CORRUPT:
        return WAY_OUT;
    case BERTH_ERROR_DENIED:
        return "the state folder and file must belong to the user that runs berthd";
    default:
        return NULL;
    }
}

/**
 * berth_sqlite_error:
 * @db: (nullable): where it happened
 * @code: SQLite's (extended) result code
 * @what: what was tried, as a sentence's start: "can't write the state"
 *
 * Converts; SQLite's own text is kept.
 */
void
berth_sqlite_error(GError **error, sqlite3 *db, int code, const char *what)
{
    BerthErrorCode ours = code_of(db, code);
    const char *text =
        db != NULL && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    int system = db != NULL ? sqlite3_system_errno(db) : 0;
    gboolean io = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
    berth_error_set_at(error, ours, NULL, hint_of(ours), "%s: %s%s%s", what, text,
                       io && system != 0 ? ": " : "", io && system != 0 ? g_strerror(system) : "");
}

/** Runs @sql, which gives no rows that matter. */
gboolean
berth_sqlite_run(sqlite3 *db, const char *sql, GError **error)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        berth_sqlite_error(error, db, sqlite3_extended_errcode(db), "can't use the state file");
    }
    return code == SQLITE_OK;
}

/* The process that holds a flock on @fd's inode, as the kernel lists them; 0 when it can't be told
 * (another PID namespace). */
static int
lock_owner(int fd)
{
    struct stat info;
    g_autofree char *locks = NULL;
    if (fstat(fd, &info) != 0 || !g_file_get_contents("/proc/locks", &locks, NULL, NULL)) {
        return 0;
    }
    g_auto(GStrv) lines = g_strsplit(locks, "\n", -1);
    g_autofree char *inode = g_strdup_printf("%02x:%02x:%" G_GUINT64_FORMAT, major(info.st_dev),
                                             minor(info.st_dev), (guint64)info.st_ino);
    for (gsize i = 0; lines[i] != NULL; i++) {
        int pid;
        char kind[16], place[64];
        if (sscanf(lines[i], "%*s %15s %*s %*s %d %63s", kind, &pid, place) == 3 &&
            strcmp(kind, "FLOCK") == 0 && strcmp(place, inode) == 0) {
            return pid;
        }
    }
    return 0;
}

/**
 * berth_sqlite_lock:
 * @path: of the state file
 *
 * Takes the folder of @path for this process; the kernel gives it up at the process's end.
 *
 * Returns: a descriptor that holds it, or -1. Errors: UNAVAILABLE, naming who has it; by errno.
 */
int
berth_sqlite_lock(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_auto(BerthFd) fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't open the state folder '%s'", folder);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return berth_fd_steal(&fd);
    }
    if (errno != EWOULDBLOCK) {
        berth_error_set_errno(error, errno, "can't lock the state folder '%s'", folder);
        return -1;
    }
    int pid = lock_owner(fd);
    g_autofree char *who = pid > 0 ? g_strdup_printf("pid %d", pid) : g_strdup("pid unknown");
    berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL,
                       "stop the other one, or give this one another folder",
                       "another berthd uses the state folder '%s' (%s)", folder, who);
    return -1;
}

/* Makes the file when absent, so that it has its permissions from its first moment. */
static gboolean
prepare_file(const char *path, GError **error)
{
    g_auto(BerthFd) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat info;
    if (fd < 0) {
        gboolean denied = errno == EACCES || errno == EPERM;
        berth_error_set_at(error, denied ? BERTH_ERROR_DENIED : BERTH_ERROR_UNAVAILABLE, NULL,
                           hint_of(BERTH_ERROR_DENIED), "can't open the state file '%s': %s", path,
                           errno == ELOOP ? "it is a symbolic link" : g_strerror(errno));
        return FALSE;
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the state file '%s' is no regular file", path);
        return FALSE;
    }
    if ((info.st_mode & 077) != 0 && fchmod(fd, 0600) != 0) {
        berth_error_set_errno(error, errno, "can't make '%s' private (mode 0600)", path);
        return FALSE;
    }
    return TRUE;
}

static gboolean
sync_folder(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_auto(BerthFd) fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        berth_error_set_errno(error, errno, "can't sync the folder '%s'", folder);
        return FALSE;
    }
    return TRUE;
}

/* The one integer or text that @sql gives, as text; NULL on error. */
static char *
ask(sqlite3 *db, const char *sql, GError **error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    char *answer = NULL;
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        answer = g_strdup(text != NULL ? text : "");
    } else {
        berth_sqlite_error(error, db, sqlite3_extended_errcode(db), "can't read the state file");
    }
    sqlite3_finalize(statement);
    return answer;
}

static gboolean
fail_corrupt(GError **error, const char *what)
{
    berth_error_set_at(error, BERTH_ERROR_CORRUPT, NULL, WAY_OUT, "the state file is damaged: %s",
                       what);
    return FALSE;
}

static gboolean
make_tables(sqlite3 *db, GError **error)
{
    g_autofree char *marks = g_strdup_printf("PRAGMA application_id=%d; PRAGMA user_version=%d; "
                                             "INSERT INTO state VALUES (1, 0, 0, 0)",
                                             APPLICATION_ID, BERTH_SQLITE_FORMAT);
    gboolean good = berth_sqlite_run(db, "BEGIN IMMEDIATE", error);
    for (gsize i = 0; good && i < G_N_ELEMENTS(tables); i++) {
        good = berth_sqlite_run(db, tables[i], error);
    }
    good = good && berth_sqlite_run(db, marks, error) && berth_sqlite_run(db, "COMMIT", error);
    if (!good) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return good;
}

/* Whether the tables are, word for word, ours: a flipped bit in the schema can't change a meaning. */
static gboolean
check_tables(sqlite3 *db, GError **error)
{
    g_autofree char *wanted =
        g_strjoinv("\n", (char *[]){(char *)tables[0], (char *)tables[1], (char *)tables[2], NULL});
    g_autofree char *found =
        ask(db,
            "SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM sqlite_schema WHERE sql IS "
            "NOT NULL ORDER BY rowid)",
            error);
    return found != NULL &&
           (strcmp(found, wanted) == 0 || fail_corrupt(error, "its tables are not those of Berth"));
}

static gboolean
check_format(sqlite3 *db, GError **error)
{
    g_autofree char *application = ask(db, "PRAGMA application_id", error);
    g_autofree char *format = application != NULL ? ask(db, "PRAGMA user_version", error) : NULL;
    if (format == NULL) {
        return FALSE;
    }
    if (g_ascii_strtoll(application, NULL, 10) != APPLICATION_ID) {
        return fail_corrupt(error, "it is not a state file of Berth");
    }
    gint64 number = g_ascii_strtoll(format, NULL, 10);
    if (number > BERTH_SQLITE_FORMAT) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "start the version of berthd that wrote it, or put back a backup from "
                           "before the upgrade",
                           "the state file has format %s; this berthd knows up to %d", format,
                           BERTH_SQLITE_FORMAT);
        return FALSE;
    }
    return number == BERTH_SQLITE_FORMAT || fail_corrupt(error, "its format number is wrong");
}

static gboolean
check_damage(sqlite3 *db, GError **error)
{
    g_autofree char *verdict = ask(db, "PRAGMA quick_check(1)", error);
    return verdict != NULL && (strcmp(verdict, "ok") == 0 || fail_corrupt(error, verdict));
}

static sqlite3 *
connect_file(const char *path, int flags, GError **error)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
    if (code != SQLITE_OK) {
        berth_sqlite_error(error, db, code, "can't open the state file");
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, 10000);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return db;
}

static gboolean
set_up(sqlite3 *db, GError **error)
{
    if (!berth_sqlite_run(db, "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY", error)) {
        return FALSE;
    }
    g_autofree char *mode = ask(db, "PRAGMA journal_mode=WAL", error);
    if (mode == NULL || (strcmp(mode, "wal") != 0 && !fail_corrupt(error, "it can't use a WAL"))) {
        return FALSE;
    }
    return berth_sqlite_run(
        db, "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=8388608; PRAGMA cache_size=-2000",
        error);
}

/* Whether the file holds nothing yet: it is empty, or its maker died between making it and the commit of
 * its tables. */
static gboolean
holds_nothing(sqlite3 *db, gboolean *nothing, GError **error)
{
    g_autofree char *pages = ask(db, "PRAGMA page_count", error);
    g_autofree char *tables_found =
        pages != NULL ? ask(db, "SELECT count(*) FROM sqlite_schema", error) : NULL;
    g_autofree char *mark = tables_found != NULL ? ask(db, "PRAGMA application_id", error) : NULL;
    if (mark == NULL) {
        return FALSE;
    }
    *nothing = strcmp(tables_found, "0") == 0 && strcmp(mark, "0") == 0 &&
               g_ascii_strtoll(pages, NULL, 10) <= 1;
    return TRUE;
}

/* What is there is checked before anything of it is changed; an empty file becomes ours. */
static gboolean
check_or_make(sqlite3 *db, GError **error)
{
    gboolean nothing;
    if (!holds_nothing(db, &nothing, error)) {
        return FALSE;
    }
    if (nothing) {
        return set_up(db, error) && make_tables(db, error);
    }
    return check_format(db, error) && check_tables(db, error) && check_damage(db, error) &&
           set_up(db, error);
}

/**
 * berth_sqlite_open:
 * @path: made when absent
 *
 * Returns: (transfer full) (nullable): the writing connection of a checked file. Errors: CORRUPT,
 * INVALID (newer format), DENIED, EXHAUSTED, UNAVAILABLE; each says the way out.
 */
sqlite3 *
berth_sqlite_open(const char *path, GError **error)
{
    if (!prepare_file(path, error)) {
        return NULL;
    }
    sqlite3 *db = connect_file(path, SQLITE_OPEN_READWRITE, error);
    if (db == NULL) {
        return NULL;
    }
    if (!check_or_make(db, error) || !sync_folder(path, error)) {
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

/** Returns: (transfer full) (nullable): a further connection, which only reads. */
sqlite3 *
berth_sqlite_open_reader(const char *path, GError **error)
{
    sqlite3 *db = connect_file(path, SQLITE_OPEN_READONLY, error);
    if (db != NULL &&
        !berth_sqlite_run(db, "PRAGMA cell_size_check=ON; PRAGMA cache_size=-500", error)) {
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

/* VACUUM INTO takes only an absent or empty file; an empty one brings its permissions. */
static gboolean
vacuum_into(sqlite3 *reader, const char *path, GError **error)
{
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);
    int code = sqlite3_exec(reader, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    if (code != SQLITE_OK) {
        berth_sqlite_error(error, reader, sqlite3_extended_errcode(reader), "can't write the copy");
    }
    return code == SQLITE_OK;
}

/* Gives @part its final name; an existing file is not replaced. */
static gboolean
publish(const char *part, const char *path, GError **error)
{
    g_auto(BerthFd) fd = open(part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fsync(fd) != 0) {
        berth_error_set_errno(error, errno, "can't sync '%s'", part);
        return FALSE;
    }
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) != 0) {
        berth_error_set_errno(error, errno, "can't put the copy at '%s'", path);
        return FALSE;
    }
    return sync_folder(path, error);
}

/**
 * berth_sqlite_copy:
 * @reader: a connection of the calling thread's own
 * @path: where the copy goes; EXISTS when something is there
 *
 * Writes what @reader sees, as one consistent, compact, synced file with mode 0600.
 */
gboolean
berth_sqlite_copy(sqlite3 *reader, const char *path, GError **error)
{
    if (access(path, F_OK) == 0) {
        berth_error_set(error, BERTH_ERROR_EXISTS, "'%s' exists already", path);
        return FALSE;
    }
    g_autofree char *part = g_strdup_printf("%s.%08x.part", path, g_random_int());
    g_auto(BerthFd) fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't create '%s'", part);
        return FALSE;
    }
    if (vacuum_into(reader, part, error) && publish(part, path, error)) {
        return TRUE;
    }
    unlink(part);
    return FALSE;
}
