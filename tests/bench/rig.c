/* What the benchmark runs on: a berthd of its own, a test host, the hello image; or those that are
 * given. Invariant: bench_rig_free() leaves no process and no file, whatever was begun. */
#include "tests/bench/bench.h"

#include "base/error.h"
#include "base/json.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t over;

static void
on_signal(int number)
{
    over = 1;
}

gboolean
bench_is_over(void)
{
    return over != 0;
}

/** From now on ^C and SIGTERM end the round under way; what was started is taken away all the same. */
void
bench_obey_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error, and what was started is ended */
}

void
bench_pause(guint ms)
{
    g_usleep(ms * 1000UL);
}

/* Returns the answer's body; NULL with an error, or without one when the answer has no JSON. */
json_t *
bench_call(BenchRig *rig, const char *method, const char *path, json_t *body, GError **error)
{
    BerthRequestOptions options = {.body = body};
    g_autoptr(BerthReply) reply = berth_client_call(rig->client, method, path, &options, error);
    return reply != NULL ? g_steal_pointer(&reply->body) : NULL;
}

static json_t *
make_pod(BenchRig *rig, const char *profile, const char *const *command)
{
    json_t *words = json_array();
    for (guint i = 0; command[i] != NULL; i++) {
        json_array_append_new(words, json_string(command[i]));
    }
    json_t *pod = json_pack("{s:{s:[{s:s, s:s, s:o}], s:s, s:s, s:s}}", "spec", "containers",
                            "name", "main", "image", BENCH_IMAGE, "command", words, "restart",
                            "Never", "run", "Once", "profile", profile);
    if (rig->host != NULL) {
        json_object_set_new(json_object_get(pod, "spec"), "placement",
                            json_pack("{s:s}", "host", rig->host));
    }
    return pod;
}

/** Makes a pod that runs @command once. */
gboolean
bench_put_pod(BenchRig *rig, const char *path, const char *profile, const char *const *command,
              GError **error)
{
    g_autoptr(json_t) body = make_pod(rig, profile, command);
    g_autoptr(json_t) made = bench_call(rig, "PUT", path, body, error);
    return made != NULL;
}

/** Deletes a pod and waits until it is gone, a minute at most. */
void
bench_remove_pod(BenchRig *rig, const char *path)
{
    g_autoptr(json_t) gone = bench_call(rig, "DELETE", path, NULL, NULL);
    for (guint i = 0; i < 600 && !bench_is_over(); i++) {
        g_autoptr(json_t) pod = berth_client_get(rig->client, path, NULL);
        if (pod == NULL) {
            return;
        }
        bench_pause(100);
    }
}

static gboolean
run_tool(const char *const *argv, GError **error)
{
    int status;
    g_autofree char *complaint = NULL;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
                      &complaint, &status, error)) {
        return FALSE;
    }
    if (!g_spawn_check_wait_status(status, NULL)) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "'%s %s' failed: %s", argv[0], argv[1],
                        g_strstrip(complaint));
        return FALSE;
    }
    return TRUE;
}

static void
die_with_parent(gpointer user_data)
{
    setsid(); /* a ^C is for us: berthd ends when its pods are gone */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static gboolean
answers(BenchRig *rig)
{
    g_autoptr(json_t) ready = berth_client_get(rig->client, "/v1/version", NULL);
    return ready != NULL;
}

static gboolean
start_daemon(BenchRig *rig, GError **error)
{
    g_autofree char *program = g_build_filename(rig->build, "berthd", NULL);
    g_autofree char *state = g_build_filename(rig->folder, "state", NULL);
    g_autofree char *os = g_build_filename(rig->build, "guest-os", NULL);
    const char *argv[] = {program,     "--state",      state, "--socket",
                          rig->socket, "--guest-os",   os,    "--log-level",
                          "warning",   "--test-hosts", NULL};
    if (!g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, die_with_parent, NULL,
                       &rig->daemon, error)) {
        return FALSE;
    }
    return TRUE;
}

static gboolean
connect_client(BenchRig *rig, GError **error)
{
    g_setenv("BERTH_SOCKET", rig->socket, TRUE);
    BerthSettingsChoice choice = {.project = "default"};
    g_autoptr(BerthSettings) settings = berth_settings_load(&choice, error);
    rig->client = settings != NULL ? berth_client_new(settings, error) : NULL;
    if (rig->client == NULL) {
        return FALSE;
    }
    for (guint i = 0; i < 300 && !answers(rig) && !over; i++) {
        bench_pause(100);
    }
    if (!answers(rig)) {
        berth_error_set(error, BERTH_ERROR_TIMEOUT, "no berthd answers at '%s'", rig->socket);
        return FALSE;
    }
    return TRUE;
}

static gboolean
start_fleet(BenchRig *rig, char **uri, GError **error)
{
    g_autofree char *tool = g_build_filename(rig->source, "tests/hosts/fleet", NULL);
    g_autofree char *folder = g_build_filename(rig->folder, "fleet", NULL);
    g_setenv("BERTH_FLEET_DIR", folder, TRUE);
    const char *argv[] = {tool, "up", "1", NULL};
    rig->fleet = TRUE;
    if (!run_tool(argv, error)) {
        return FALSE;
    }
    *uri = g_strdup_printf("qemu+unix:///system?socket=%s/h1/run/libvirt-sock", folder);
    return TRUE;
}

static gboolean
await_host(BenchRig *rig, GError **error)
{
    for (guint i = 0; i < 600 && !over; i++) {
        g_autoptr(json_t) host = berth_client_get(rig->client, "/v1/hosts/bench", NULL);
        const char *phase = berth_json_string(json_object_get(host, "status"), "phase");
        if (g_strcmp0(phase, "Unprepared") == 0 || g_strcmp0(phase, "Ready") == 0) {
            return TRUE;
        }
        bench_pause(100);
    }
    berth_error_set(error, BERTH_ERROR_TIMEOUT, "the test host does not connect within 60 s");
    return FALSE;
}

static gboolean
add_host(BenchRig *rig, GError **error)
{
    g_autofree char *uri = NULL;
    if (!start_fleet(rig, &uri, error)) {
        return FALSE;
    }
    g_autoptr(json_t) body =
        json_pack("{s:{s:s, s:s, s:{s:i, s:i}}}", "spec", "uri", uri, "acceleration", "tcg",
                  "reserve", "vcpus", 0, "memory_mib", 0);
    g_autoptr(json_t) added = bench_call(rig, "PUT", "/v1/hosts/bench", body, error);
    if (added == NULL || !await_host(rig, error)) {
        return FALSE;
    }
    g_autofree char *berth = g_build_filename(rig->build, "berth", NULL);
    g_autofree char *image = g_build_filename(rig->build, "hello-image/hello-image.tar", NULL);
    const char *prepare[] = {berth, "host", "prepare", "bench", "--wait=180", NULL};
    const char *load[] = {berth, "image", "load", image, "--name", BENCH_IMAGE, NULL};
    return run_tool(prepare, error) && run_tool(load, error);
}

/**
 * bench_rig_new:
 * @options: its socket is (nullable) that of a berthd that is there, prepared, with the image 'hello';
 *     NULL: one of our own. Its host is (nullable) where pods are placed
 * @want_host: whether an own berthd gets a test host (needs root)
 */
BenchRig *
bench_rig_new(const BenchOptions *options, gboolean want_host, GError **error)
{
    const char *socket = options->socket;
    g_autoptr(BenchRig) rig = g_new0(BenchRig, 1);
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    rig->build = g_path_get_dirname(self);
    rig->source = g_strdup(BENCH_SOURCE);
    rig->host = options->host;
    rig->folder = g_dir_make_tmp("berth-bench.XXXXXX", error);
    if (rig->folder == NULL || chmod(rig->folder, 0711) < 0) {
        return NULL;
    }
    rig->socket = socket != NULL ? g_strdup(socket) : g_build_filename(rig->folder, "api", NULL);
    if (socket == NULL && !start_daemon(rig, error)) {
        return NULL;
    }
    if (!connect_client(rig, error)) {
        return NULL;
    }
    if (socket == NULL && want_host && !add_host(rig, error)) {
        return NULL;
    }
    return g_steal_pointer(&rig);
}

void
bench_rig_free(BenchRig *rig)
{
    if (rig == NULL) {
        return;
    }
    g_clear_pointer(&rig->client, berth_client_free);
    if (rig->daemon != 0) {
        kill(rig->daemon, SIGTERM);
        waitpid(rig->daemon, NULL, 0);
    }
    if (rig->fleet) {
        g_autofree char *tool = g_build_filename(rig->source, "tests/hosts/fleet", NULL);
        const char *argv[] = {tool, "down", NULL};
        run_tool(argv, NULL);
    }
    if (rig->folder != NULL) {
        const char *argv[] = {"/bin/rm", "-rf", rig->folder, NULL};
        run_tool(argv, NULL);
    }
    g_free(rig->build);
    g_free(rig->source);
    g_free(rig->folder);
    g_free(rig->socket);
    g_free(rig);
}
