/* The embedded store as a program of its own, for tests that kill, starve and race it, and for figures.
 *
 *   store-tool write FILE COUNT   writes rows n0, n1, …; prints the name of each once it is durable
 *   store-tool hold FILE          opens, prints "open", holds it until its input ends
 *   store-tool full FOLDER        fills a small file system over FOLDER; exits 77 when it may not mount
 *   store-tool bench FOLDER       prints commits per second */
#include "config.h" /* _GNU_SOURCE, for unshare() */

#include "drivers/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/error.h"

#define IN_FLIGHT 4

static BerthStore *
open_or_exit(const char *path)
{
    g_autoptr(GError) error = NULL;
    BerthStore *store = berth_store_sqlite_open(path, &error);
    if (store == NULL) {
        const char *hint = berth_error_hint(error);
        fprintf(stderr, "%s: %s (%s)\n", berth_error_code_name(berth_error_code_of(error)),
                error->message, hint != NULL ? hint : "");
        exit(1);
    }
    return store;
}

static void
submit_row(BerthStore *store, const char *name, const char *body, BerthStoreDone done,
           gpointer user_data)
{
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = {.verb = BERTH_STORE_PUT,
                       .kind = "Pod",
                       .project = "p",
                       .name = name,
                       .uid = "u",
                       .body = body,
                       .if_revision = BERTH_STORE_ANY};
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, done, user_data);
}

/* ---- write ---- */

static void
print_durable(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
              gpointer user_data)
{
    guint *in_flight = user_data;
    (*in_flight)--;
    if (error != NULL) {
        fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
    const BerthChange *change = changes->pdata[0];
    g_autofree char *line = g_strdup_printf("%s\n", change->row->name);
    if (write(STDOUT_FILENO, line, strlen(line)) < 0) {
        exit(1);
    }
}

static int
run_write(const char *path, guint count)
{
    g_autoptr(BerthStore) store = open_or_exit(path);
    guint in_flight = 0;
    for (guint i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("n%u", i);
        g_autofree char *body = g_strdup_printf("{\"text\":\"%0*u\"}", 1000, i);
        in_flight++;
        submit_row(store, name, body, print_durable, &in_flight);
        while (in_flight >= IN_FLIGHT) {
            g_main_context_iteration(NULL, TRUE);
        }
    }
    while (in_flight > 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    return 0;
}

/* ---- hold ---- */

static int
run_hold(const char *path)
{
    g_autoptr(BerthStore) store = open_or_exit(path);
    char byte;
    if (write(STDOUT_FILENO, "open\n", 5) != 5) {
        return 1;
    }
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return 0;
}

/* ---- full ---- */

typedef struct {
    gboolean told;
    int code; /* -1: done */
} End;

static void
note_end(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
         gpointer user_data)
{
    End *end = user_data;
    *end = (End){TRUE, error != NULL ? error->code : -1};
    if (error != NULL) {
        fprintf(stderr, "%s\n", error->message);
    }
}

static int
write_one(BerthStore *store, const char *name, const char *body)
{
    End end = {0};
    submit_row(store, name, body, note_end, &end);
    while (!end.told) {
        g_main_context_iteration(NULL, TRUE);
    }
    return end.code;
}

static gboolean
mount_small(const char *folder)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", folder, "tmpfs", 0, "size=4m,mode=0700") == 0;
}

static guint
count_rows(BerthStore *store)
{
    g_autoptr(GPtrArray) rows = NULL;
    gint64 revision;
    g_assert_true(store->ops->load(store, &rows, &revision, NULL));
    return rows->len;
}

/* Leaves no room: what is left of it goes into a ballast file. */
static void
fill_up(const char *ballast)
{
    static const char zeros[4096];
    int fd = open(ballast, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    close(fd);
}

static int
run_full(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "state.db", NULL);
    g_autofree char *ballast = g_build_filename(folder, "ballast", NULL);
    g_autofree char *large = g_strnfill(100000, 'x');
    if (!mount_small(folder)) {
        fprintf(stderr, "can't mount: %s\n", g_strerror(errno));
        return 77;
    }
    BerthStore *store = open_or_exit(path);
    guint written = 0;
    int code;
    g_assert_cmpint(write_one(store, "before", "{}"), ==, -1);
    fill_up(ballast);
    do { /* the WAL may still hold a few */
        g_autofree char *name = g_strdup_printf("l%u", written);
        code = write_one(store, name, large);
        written += code == -1;
    } while (code == -1 && written < 1000);
    g_assert_cmpint(code, ==, BERTH_ERROR_EXHAUSTED);
    g_assert_cmpuint(count_rows(store), ==, written + 1); /* reads go on; nothing half */
    g_autoptr(GPtrArray) changes = store->ops->changes_since(store, 0, 1000, NULL);
    g_assert_cmpuint(changes->len, ==, written + 1);
    g_assert_cmpint(write_one(store, "again", large), ==, BERTH_ERROR_EXHAUSTED);
    g_assert_cmpint(unlink(ballast), ==, 0);
    g_assert_cmpint(write_one(store, "after", large), ==, -1);
    berth_store_free(store);
    store = open_or_exit(path);
    g_assert_cmpuint(count_rows(store), ==, written + 2);
    berth_store_free(store);
    return 0;
}

/* ---- bench ---- */

static void
count_down(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
           gpointer user_data)
{
    g_assert_null(error);
    --*(guint *)user_data;
}

/* Writes @count rows with at most @window in flight and prints the rate. */
static void
measure(BerthStore *store, const char *what, guint count, guint window)
{
    guint in_flight = 0;
    gint64 start = g_get_monotonic_time();
    g_autofree char *body = g_strnfill(600, 'x');
    for (guint i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("n%u", i % 1000);
        in_flight++;
        submit_row(store, name, body, count_down, &in_flight);
        while (in_flight >= window) {
            g_main_context_iteration(NULL, TRUE);
        }
    }
    while (in_flight > 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    double seconds = (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC;
    printf("%-34s %8.0f commits/s\n", what, count / seconds);
}

static int
run_bench(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "bench.db", NULL);
    g_autoptr(BerthStore) store = open_or_exit(path);
    measure(store, "one row, one at a time", 5000, 1);
    measure(store, "one row, 16 in flight", 20000, 16);
    measure(store, "one row, 1000 in flight", 100000, 1000);
    return 0;
}

int
main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    if (strcmp(verb, "write") == 0 && argc == 4) {
        return run_write(argv[2], (guint)g_ascii_strtoull(argv[3], NULL, 10));
    }
    if (strcmp(verb, "hold") == 0) {
        return run_hold(argv[2]);
    }
    if (strcmp(verb, "full") == 0) {
        return run_full(argv[2]);
    }
    if (strcmp(verb, "bench") == 0) {
        return run_bench(argv[2]);
    }
    fprintf(stderr,
            "usage: store-tool write FILE COUNT | hold FILE | full FOLDER | bench FOLDER\n");
    return 2;
}
