/* berthd: configuration, state folder and store, then daemon.c over them. The only file that names concrete
 * drivers.
 *
 * Killing the process at any point is safe: what was answered is in the store, and the next start lists
 * the world and compares. */
#include <config.h>

#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/start-guard.h"
#include "drivers/libvirt-events.h"
#ifdef BERTH_WITH_SIMHOST
#include "tests/simhost/host-sim.h"
#endif

#include <errno.h>
#include <glib-unix.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

static const BerthHostDriver drivers[] = {
#ifdef BERTH_WITH_SIMHOST
    {"qemu", berth_host_libvirt_faulty_new},
    {"sim", berth_host_sim_new},
#else
    {"qemu", berth_host_libvirt_new},
#endif
    {NULL, NULL},
};

static gboolean
on_signal(gpointer data)
{
    g_main_loop_quit(data);
    return G_SOURCE_CONTINUE;
}

static void
ignore_libvirt_error(void *data, virErrorPtr error)
{
    /* Errors are taken from the call that failed; libvirt would print them besides. */
}

static int
restore(const BerthConfig *config)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(config->state, "berth.db", NULL);
    if (g_mkdir_with_parents(config->state, 0700) != 0 ||
        !berth_store_sqlite_restore(config->restore, path, &error)) {
        berth_log_error(BERTH_LOG_ERROR, error, "not restored", "file", config->restore, NULL);
        return 1;
    }
    berth_log(BERTH_LOG_INFO, "restored", "file", config->restore, "to", path, NULL);
    return 0;
}

static BerthDaemon *
open_daemon(const BerthConfig *config, GError **error)
{
    if (g_mkdir_with_parents(config->state, 0700) != 0) {
        berth_error_set_errno(error, errno, "can't make the state folder '%s'", config->state);
        return NULL;
    }
    g_autofree char *path = g_build_filename(config->state, "berth.db", NULL);
    g_autoptr(BerthStartGuard) guard =
        berth_start_guard_new(path, berth_config_start_limit_s(config));
    berth_start_guard_step(guard, "the state file is opened and checked");
    BerthDaemonParts parts = {
        .store = berth_store_sqlite_open(path, error),
        .drivers = drivers,
        .clock = berth_clock_system(),
        .random = berth_random_system(),
    };
    berth_start_guard_step(guard, "the store takes the first records");
    return parts.store != NULL ? berth_daemon_new(config, &parts, error) : NULL;
}

static int
run(const BerthConfig *config)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, on_signal, loop);
    g_unix_signal_add(SIGINT, on_signal, loop);
    g_autoptr(BerthDaemon) daemon = open_daemon(config, &error);
    if (daemon == NULL) {
        berth_log_error(BERTH_LOG_ERROR, error, "can't start", NULL);
        return 1;
    }
    berth_log(BERTH_LOG_INFO, "ready", "version", PACKAGE_VERSION, "fleet",
              berth_daemon_fleet_id(daemon), NULL);
    g_main_loop_run(loop);
    berth_log(BERTH_LOG_INFO, "ending; guests go on", NULL);
    return 0;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthConfig) config = berth_config_from_arguments(&argc, &argv, &error);
    if (config == NULL) {
        fprintf(stderr, "berthd: %s\n", error->message);
        return 2;
    }
    if (config->version) {
        printf("berthd %s\n", PACKAGE_VERSION);
        return 0;
    }
    BerthLogLevel level;
    if (berth_log_parse_level(config->log_level, &level)) {
        berth_log_set_level(level);
    }
    if (config->restore != NULL) {
        return restore(config);
    }
    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    virSetErrorFunc(NULL, ignore_libvirt_error);
    berth_libvirt_events_register();
    return run(config);
}
