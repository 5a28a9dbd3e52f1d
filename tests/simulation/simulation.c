/* simulation: the whole daemon in one process with simulated hosts, a store that refuses and forgets to
 * answer, users and bad luck, all out of one seed.
 *
 *   simulation                               some seeds, as a test (TAP)
 *   simulation --seed N [--steps N] [--trace]  one run; the same seed is the same run
 *   simulation --seed N --runs N             the seeds N, N+1, …
 *
 * After every step what must always hold is checked (oracle.h); now and then the bad luck ends, and the fleet
 * has to come to what is wanted. Start at step() and settle(). */
#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "drivers/store-memory.h"
#include "model/kinds.h"
#include "tests/folder.h"
#include "tests/simulation/fate.h"
#include "tests/simulation/luck.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/registry.h"
#include "tests/simulation/replay.h"
#include "tests/simulation/site.h"
#include "tests/simulation/told.h"
#include "tests/simulation/users.h"
#include "tests/simulation/vault.h"
#include "tests/simulation/visitor.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTLE_EVERY 40
#define SETTLE_LIMIT_S 60 /* I4 of the catalogue of failures */
#define POOL_FILE_SIZE 4096

static const BerthHostDriver drivers[] = {{"sim", site_host_new}, {NULL, NULL}};

/* ---- the daemon and its lives ------------------------------------------------------------------ */

static char *folder;
static BerthConfig *config;
static BerthStore *memory, *vault;
static BerthDaemon *daemon_now; /* NULL: dead */

static void follow_watch(void);

static void
start_daemon(void)
{
    g_autoptr(GError) error = NULL;
    vault = vault_new(memory);
    BerthDaemonParts parts = {vault, drivers, berth_clock_system(), berth_random_system()};
    daemon_now = berth_daemon_new(config, &parts, &error);
    g_assert_no_error(error);
    fate_note("the daemon lives");
}

static void
kill_daemon(void)
{
    fate_note("the daemon dies");
    visitor_cut_all();
    vault_cut(vault);
    site_cut_daemon();
    registry_hurry(); /* the daemon's end waits for its workers */
    oracle_follow();
    g_clear_pointer(&daemon_now, berth_daemon_free);
}

static void
on_watch_ended(guint status, gpointer data)
{
    told_cut();
    if (status != 0 && status != 200) {
        oracle_violate("the watch answered %u", status);
    }
}

static void
on_watch_line(const json_t *line, gpointer data)
{
    told_line(line);
}

static void
follow_watch(void)
{
    g_autofree char *path =
        g_strdup_printf("/v1/watch?kinds=pods,vms,hosts&since=%" G_GINT64_FORMAT, told_since());
    visitor_follow(config->socket, path, on_watch_line, on_watch_ended, NULL);
}

static void
revive_daemon(void)
{
    if (daemon_now == NULL) {
        start_daemon();
        if (!vault_has_refused(vault)) {
            oracle_check_birth();
        }
        follow_watch();
    }
}

/* ---- steps ------------------------------------------------------------------------------------- */

static void
ignore_answer(guint status, const json_t *body, gpointer what)
{
    fate_note("admin %s: %u", (const char *)what, status);
}

static void
cordon(void)
{
    const char *name = luck_choose_site()->machine->name;
    g_autofree char *path = g_strdup_printf("/v1/hosts/%s", name);
    json_t *body = json_pack("{s:{s:b}}", "spec", "cordoned", fate_chance(40));
    visitor_ask(config->socket, "PATCH", path, "Content-Type: application/merge-patch+json\r\n",
                body, ignore_answer, (gpointer) "cordon");
    json_decref(body);
}

/* Less than the hosts have, or no limit. */
static void
limit_project(void)
{
    static const int choices[][2] = {{0, 0}, {0, 0}, {6000, 0}, {4000, 6}, {0, 9}};
    const int *choice = choices[fate_below(G_N_ELEMENTS(choices))];
    json_t *body = json_pack("{s:{s:i, s:i}}", "spec", "quota_memory_mib", choice[0],
                             "quota_workloads", choice[1]);
    visitor_ask(config->socket, "PATCH", "/v1/projects/default",
                "Content-Type: application/merge-patch+json\r\n", body, ignore_answer,
                (gpointer) "quota");
    json_decref(body);
}

static void
prepare(const char *name)
{
    g_autofree char *path = g_strdup_printf("/v1/hosts/%s:prepare", name);
    json_t *body = json_object();
    visitor_ask(config->socket, "POST", path, "Content-Type: application/json\r\n", body,
                ignore_answer, (gpointer) "prepare");
    json_decref(body);
}

static void
act_put(void)
{
    users_put(daemon_now != NULL);
}

static void
act_delete(void)
{
    users_delete(daemon_now != NULL);
}

static void
act_verb(void)
{
    users_verb(daemon_now != NULL);
}

static void
act_cordon(void)
{
    if (daemon_now != NULL) {
        cordon();
    }
}

static void
act_limit(void)
{
    if (daemon_now != NULL) {
        limit_project();
    }
}

static void
act_prepare(void)
{
    if (daemon_now != NULL) {
        prepare(luck_choose_site()->machine->name);
    }
}

static void
act_cut_off(void)
{
    luck_lose_site(FALSE);
}

static void
act_lose_power(void)
{
    luck_lose_site(TRUE);
}

static void
act_kill(void)
{
    if (daemon_now != NULL) {
        kill_daemon();
    }
}

/* What happens in a step. Bad luck has another mixture in each run: some never see a host go, some nothing
 * else. */
static struct {
    void (*act)(void);
    guint weight;
    gboolean is_luck;
} actions[] = {
    {act_put, 30, FALSE},
    {act_delete, 12, FALSE},
    {act_verb, 20, FALSE},
    {revive_daemon, 15, FALSE},
    {act_cordon, 4, TRUE},
    {act_prepare, 2, TRUE},
    {luck_destroy_by_hand, 5, TRUE},
    {luck_silence_guest, 4, TRUE},
    {act_cut_off, 3, TRUE},
    {act_lose_power, 1, TRUE},
    {act_kill, 4, TRUE},
    {act_limit, 3, TRUE},
};

static void
mix_luck(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (actions[i].is_luck) {
            actions[i].weight *= (guint)fate_below(4);
        }
    }
}

static void
step(void)
{
    guint sum = 0, i = 0;
    for (guint k = 0; k < G_N_ELEMENTS(actions); k++) {
        sum += actions[k].weight;
    }
    for (guint roll = (guint)fate_below(sum); roll >= actions[i].weight; i++) {
        roll -= actions[i].weight;
    }
    actions[i].act();
    fate_run_us(fate_chance(5) ? 60 * G_USEC_PER_SEC : (gint64)fate_below(3000) * 1000);
}

/* ---- rest -------------------------------------------------------------------------------------- */

static void
end_bad_luck(void)
{
    fate_note("luck");
    fate_set_faults(FALSE);
    luck_end();
    revive_daemon();
}

/* Returns: the simulated seconds it took. */
static guint
settle(void)
{
    end_bad_luck();
    fate_run_until(users_are_answered, NULL, 120 * G_USEC_PER_SEC);
    guint seconds = 0;
    char *unsettled = NULL;
    do {
        g_autofree char *before = unsettled;
        fate_run_us(G_USEC_PER_SEC);
        seconds++;
        oracle_check();
        unsettled = oracle_find_unsettled();
        if (unsettled != NULL && g_strcmp0(before, unsettled) != 0) {
            fate_note("not settled: %s", unsettled);
        }
    } while (unsettled != NULL && seconds < SETTLE_LIMIT_S);
    if (unsettled != NULL) {
        oracle_violate("%d s after the last fault: %s", SETTLE_LIMIT_S, unsettled);
        g_free(unsettled);
    } else {
        users_compare();
        replay_check(config->socket, folder);
    }
    fate_note("settled after %u s", seconds);
    fate_set_faults(TRUE);
    return seconds;
}

/* ---- the beginning ----------------------------------------------------------------------------- */

static void
write_file(const char *name, const char *content, gsize size)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *parent = g_path_get_dirname(path);
    g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, content, (gssize)size, NULL));
}

static void
put_row(BerthObject *object, json_t *status)
{
    g_autofree char *body = berth_object_format_body(object);
    char *text = status != NULL ? json_dumps(status, JSON_COMPACT) : NULL;
    BerthTransaction *transaction = berth_transaction_new();
    berth_transaction_add(transaction, &(BerthStoreOp){.verb = BERTH_STORE_PUT,
                                                       .kind = object->kind->name,
                                                       .project = "",
                                                       .name = object->name,
                                                       .uid = object->uid,
                                                       .body = body,
                                                       .status = text,
                                                       .if_revision = BERTH_STORE_ABSENT});
    memory->ops->submit(memory, transaction, NULL, NULL);
    berth_store_memory_dispatch(memory);
    free(text);
    json_decref(status);
}

/* As a pull would have left it. */
static void
put_image(void)
{
    g_autofree char *content = g_malloc(POOL_FILE_SIZE);
    memset(content, 'i', POOL_FILE_SIZE);
    write_file("hello.squashfs", content, POOL_FILE_SIZE);
    g_autofree char *path = g_build_filename(folder, "hello.squashfs", NULL);
    g_autofree char *sum =
        g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)content, POOL_FILE_SIZE);
    g_autofree char *digest = g_strconcat("sha256:", sum, NULL);
    json_t *spec =
        json_pack("{s:s, s:s, s:s}", "type", "oci", "reference", "hello", "source", "load");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) image =
        berth_object_make(&berth_kind_image, "", "hello", spec, "2027-01-01T00:00:00Z", &error);
    g_assert_no_error(error);
    json_decref(spec);
    put_row(image,
            json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:{s:[s]}}", "phase", "Ready", "digest",
                      digest, "disk_digest", digest, "size", POOL_FILE_SIZE, "virtual_size",
                      POOL_FILE_SIZE, "path", path, "config", "entrypoint", "sleep"));
}

static void
put_host(const char *name)
{
    g_autofree char *uri = g_strdup_printf("sim:///world#%s", name);
    /* A machine without devices can't give any. */
    json_t *spec = json_pack("{s:s, s:s, s:[{s:s, s:[s]}]}", "uri", uri, "dedicated_cpus", "4-5",
                             "devices", "class", "gpu", "ids", "10de:20b0");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) host =
        berth_object_make(&berth_kind_host, "", name, spec, "2027-01-01T00:00:00Z", &error);
    g_assert_no_error(error);
    json_decref(spec);
    put_row(host, NULL);
}

static gboolean
are_hosts_ready(gpointer data)
{
    oracle_follow();
    for (guint i = 1; i <= SITES; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        const BerthHostStatus *status = oracle_find("Host", name)->status_data;
        if (g_strcmp0(status->phase, "Ready") != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static void
begin(void)
{
    folder = g_dir_make_tmp("berth-simulation-XXXXXX", NULL);
    config = berth_config_new();
    config->test_hosts = TRUE;
    g_free(config->state);
    g_free(config->socket);
    g_free(config->guest_os);
    config->state = g_build_filename(folder, "state", NULL);
    config->socket = g_build_filename(folder, "socket", NULL);
    config->guest_os = g_build_filename(folder, "guest-os", NULL);
    config->test_hosts = TRUE;
    g_mkdir(config->state, 0700);
    write_file("guest-os/vmlinuz", "kernel", 6);
    write_file("guest-os/initramfs", "initramfs", 9);
    write_file("guest-os/manifest.json", "{}", 2);
    memory = berth_store_memory_new();
    registry_begin(folder);
    put_image();
    for (guint i = 1; i <= SITES; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        put_host(name);
    }
    users_begin(config->socket);
    start_daemon();
    g_assert_true(fate_run_until(vault_is_quiet, vault, G_USEC_PER_SEC)); /* what it began with */
    oracle_begin(memory, berth_daemon_fleet_id(daemon_now));
    follow_watch();
    for (guint i = 1; i <= SITES; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        oracle_add_foreign(name);
        prepare(name);
    }
    g_assert_true(fate_run_until(are_hosts_ready, NULL, 300 * G_USEC_PER_SEC));
    fate_set_faults(TRUE);
}

static void
end(void)
{
    kill_daemon();
    fate_run_us(10 * G_USEC_PER_SEC); /* what is under way comes to its end */
    oracle_end();
    site_free_all();
    berth_store_free(memory);
    folder_remove(folder);
}

/* ---- runs -------------------------------------------------------------------------------------- */

/* Returns: whether nothing was violated. */
static gboolean
run(guint64 seed, guint steps, gboolean trace)
{
    guint longest = 0, lives = 0;
    berth_log_set_level(BERTH_LOG_ERROR);
    signal(SIGPIPE, SIG_IGN);
    fate_begin(seed, trace);
    mix_luck();
    begin();
    for (guint i = 1; i <= steps && oracle_violations() == 0; i++) {
        step();
        oracle_check();
        users_check();
        if (i % SETTLE_EVERY == 0 || i == steps) {
            guint seconds = settle();
            longest = MAX(longest, seconds);
            lives++;
        }
    }
    end();
    printf("# seed %" G_GUINT64_FORMAT
           ": %u steps, settled %u times, at most after %u s, hash %016" G_GINT64_MODIFIER "x\n",
           seed, steps, lives, longest, fate_hash());
    return oracle_violations() == 0;
}

/* A run has the process for itself. Returns: what it printed, (transfer full). */
static char *
run_apart(guint64 seed, guint steps, gboolean *held)
{
    int ends[2], status = 0;
    g_assert_cmpint(pipe(ends), ==, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        gboolean fine = run(seed, steps, FALSE);
        fflush(stdout);
        _exit(fine ? 0 : 1);
    }
    close(ends[1]);
    GString *text = g_string_new(NULL);
    char piece[4096];
    for (gssize got; (got = read(ends[0], piece, sizeof piece)) > 0;) {
        g_string_append_len(text, piece, got);
    }
    close(ends[0]);
    waitpid(child, &status, 0);
    *held = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return g_string_free(text, FALSE);
}

static int
run_many(guint64 seed, guint runs, guint steps)
{
    int failed = 0;
    for (guint i = 0; i < runs; i++) {
        gboolean held;
        g_autofree char *text = run_apart(seed + i, steps, &held);
        fputs(text, stdout);
        printf("%s %u - seed %" G_GUINT64_FORMAT "\n", held ? "ok" : "not ok", i + 1, seed + i);
        fflush(stdout);
        failed += !held;
    }
    printf("1..%u\n", runs);
    return failed > 0;
}

static int
run_as_test(void)
{
    gboolean held, held_again;
    int failed = run_many(4, 4, 120); /* 4 makes room for all of a group */
    g_autofree char *once = run_apart(1, 60, &held);
    g_autofree char *twice = run_apart(1, 60, &held_again);
    gboolean same = held && held_again && strcmp(once, twice) == 0;
    printf("%s%s%s 5 - the same seed is the same run\n", once, twice, same ? "ok" : "not ok");
    return failed != 0 || !same;
}

int
main(int argc, char **argv)
{
    gint64 seed = 0;
    int steps = 200, runs = 1;
    gboolean trace = FALSE;
    const GOptionEntry entries[] = {
        {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "what the run is made of", "N"},
        {"steps", 0, 0, G_OPTION_ARG_INT, &steps, "how long it is", "N"},
        {"runs", 0, 0, G_OPTION_ARG_INT, &runs, "this many seeds, from the given one on", "N"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &trace, "print all that happens", NULL},
        {NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- the daemon in a simulated world");
    g_autoptr(GError) error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("simulation: %s\n", error->message);
        return 2;
    }
    if (seed == 0) {
        return run_as_test();
    }
    return runs > 1 ? run_many((guint64)seed, (guint)runs, (guint)steps)
                    : !run((guint64)seed, (guint)steps, trace);
}
