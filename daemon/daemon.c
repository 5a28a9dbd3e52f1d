/* See daemon.h. Order of life: catalog, fleet, controllers, routes, listeners; the end is the same
 * backwards. Start at compose(). */
#include <config.h>

#include "daemon/daemon.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/routes.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "daemon/what-if.h"

#include <fcntl.h>
#include <string.h>

struct BerthDaemon {
    const BerthConfig *config; /* borrowed, outlives this */
    BerthDaemonParts parts;
    BerthCatalog *catalog;
    BerthControl control;
    BerthWatchHub *hub;
    BerthRoutes *routes;
    BerthServer *server;
    BerthWorkloadOps ops;
    char *fleet_id, *pool, *guest_os_problem;
    guint retention; /* source */
};

/* ---- what the fleet tells ---------------------------------------------------------------------- */

static char *
on_accept(BerthFleetHost *host, const BerthInventory *inventory, gpointer data)
{
    BerthDaemon *daemon = data;
    return berth_host_controller_accept(daemon->control.hosts, host, inventory);
}

static void
on_host(BerthFleetHost *host, gpointer data)
{
    BerthDaemon *daemon = data;
    if (daemon->control.hosts != NULL) {
        berth_host_controller_host_seen(daemon->control.hosts, host);
    }
}

static void
on_domain(BerthFleetHost *host, const char *uuid, gpointer data)
{
    BerthDaemon *daemon = data;
    if (daemon->control.hosts != NULL) {
        berth_host_controller_domain_seen(daemon->control.hosts, host, uuid);
    }
}

static void
on_listed(BerthFleetHost *host, gpointer data)
{
    BerthDaemon *daemon = data;
    if (daemon->control.hosts != NULL) {
        berth_host_controller_listed(daemon->control.hosts, host);
    }
}

/* ---- composition ------------------------------------------------------------------------------- */

/* Puts the fleet's id into the store. When that fails, the next start does it again from the file. */
static gboolean
mark_fleet(BerthDaemon *daemon, GError **error)
{
    g_autofree char *now = berth_time_format(berth_clock_wall_us(daemon->parts.clock));
    json_t *spec = json_pack("{s:s}", "made_by", PACKAGE_VERSION);
    g_autoptr(BerthObject) mark =
        berth_object_make(&berth_kind_fleet_mark, "", "fleet", spec, now, error);
    json_decref(spec);
    if (mark == NULL) {
        return FALSE;
    }
    berth_object_set_identity(mark, daemon->fleet_id, now);
    berth_catalog_put_body(daemon->catalog, mark, BERTH_STORE_ABSENT, NULL, NULL);
    return TRUE;
}

static gboolean
read_fleet_file(const char *path, char **id, GError **error)
{
    g_autoptr(GError) absent = NULL;
    g_autofree char *text = NULL;
    if (!berth_fd_read_file(AT_FDCWD, path, 64, &text, NULL, &absent)) {
        if (g_error_matches(absent, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
            return TRUE;
        }
        g_propagate_error(error, g_steal_pointer(&absent));
        return FALSE;
    }
    if (!g_uuid_string_is_valid(g_strchomp(text))) {
        berth_error_set(error, BERTH_ERROR_CORRUPT, "'%s' does not hold a fleet id", path);
        return FALSE;
    }
    *id = g_steal_pointer(&text);
    return TRUE;
}

/* The fleet's id is made once; it is what marks domains as ours. The store has it, so that it is in every
 * backup; the file beside it is for scripts. */
static gboolean
find_fleet_id(BerthDaemon *daemon, GError **error)
{
    g_autofree char *path = g_build_filename(daemon->config->state, "fleet-id", NULL);
    g_autofree char *written = NULL;
    if (!read_fleet_file(path, &written, error)) {
        return FALSE;
    }
    BerthObject *mark = berth_catalog_get(daemon->catalog, &berth_kind_fleet_mark, NULL, "fleet");
    daemon->fleet_id = mark != NULL      ? g_strdup(mark->uid)
                       : written != NULL ? g_strdup(written)
                                         : berth_uid_new();
    if (mark == NULL && !mark_fleet(daemon, error)) {
        return FALSE;
    }
    return g_strcmp0(written, daemon->fleet_id) == 0 ||
           berth_fd_write_file(AT_FDCWD, path, daemon->fleet_id, strlen(daemon->fleet_id), 0600,
                               error);
}

static void
open_guest_os(BerthDaemon *daemon)
{
    const char *folder = daemon->config->guest_os;
    g_autoptr(GError) error = NULL;
    daemon->control.guest_os = berth_guest_os_open(folder, &error);
    if (daemon->control.guest_os == NULL) {
        daemon->guest_os_problem = g_strdup(error->message);
        daemon->control.guest_os_problem = daemon->guest_os_problem;
        berth_log_error(BERTH_LOG_WARNING, error, "no guest OS: pods can't start", NULL);
    }
}

static gboolean
compose_control(BerthDaemon *daemon, GError **error)
{
    static const BerthFleetListener listener = {on_accept, on_host, on_domain, on_listed};
    const BerthSettingsSpec *settings = berth_catalog_settings(daemon->catalog);
    BerthControl *control = &daemon->control;
    control->catalog = daemon->catalog;
    control->clock = daemon->parts.clock;
    control->random = daemon->parts.random;
    control->state = daemon->config->state;
    daemon->pool = g_strdup_printf("%s-%.8s", settings->pool_name, daemon->fleet_id);
    open_guest_os(daemon);
    g_autofree char *logs = g_build_filename(control->state, "logs", NULL);
    control->logs = berth_logs_new(logs, (gsize)settings->log_segment_mib << 20,
                                   (guint)settings->log_segments, error);
    if (control->logs == NULL) {
        return FALSE;
    }
    const BerthHostAccessOptions access = {control->state, daemon->config->tls_hosts,
                                           daemon->config->test_hosts};
    control->access = berth_host_access_new(&access, error);
    if (control->access == NULL) {
        return FALSE;
    }
    control->ledger = berth_ledger_new(control->clock);
    control->fleet = berth_fleet_new(daemon->fleet_id, daemon->pool, daemon->parts.drivers,
                                     control->clock, &listener, daemon);
    control->stage = berth_stage_new(control->fleet, control->random);
    if (berth_image_controller_new(control, error) == NULL) {
        return FALSE;
    }
    berth_workload_controller_new(control);
    berth_host_controller_new(control);
    berth_task_controller_new(control);
    return TRUE;
}

static void
compose_routes(BerthDaemon *daemon)
{
    static const BerthKind *const finalised[] = {&berth_kind_pod, &berth_kind_vm, &berth_kind_host,
                                                 &berth_kind_image};
    static const struct {
        const BerthKind *kind;
        const char *verb, *doc;
    } verbs[] = {
        {&berth_kind_pod, "reboot", "Stops the guest and starts it again."},
        {&berth_kind_pod, "reset", "Cuts the power and starts the guest again."},
        {&berth_kind_pod, "suspend", "Pauses the virtual CPUs."},
        {&berth_kind_pod, "resume", "Lets paused virtual CPUs go on."},
        {&berth_kind_vm, "reboot", "Stops the guest and starts it again."},
        {&berth_kind_vm, "reset", "Cuts the power and starts the guest again."},
        {&berth_kind_vm, "suspend", "Pauses the virtual CPUs."},
        {&berth_kind_vm, "resume", "Lets paused virtual CPUs go on."},
        {&berth_kind_host, "prepare", "Makes the pool, uploads the guest OS, proves acceleration."},
        {&berth_kind_image, "pull", "Pulls the image again."},
    };
    berth_workload_controller_fill_ops(daemon->control.workloads, &daemon->ops);
    daemon->ops.image_content = berth_image_content;
    daemon->ops.image_data = daemon->control.images;
    berth_what_if_fill_ops(&daemon->control, &daemon->ops);
    berth_host_controller_fill_ops(daemon->control.hosts, &daemon->ops);
    daemon->hub = berth_watch_hub_new(daemon->catalog);
    daemon->routes =
        berth_routes_new(daemon->catalog, daemon->hub, daemon->config->state, &daemon->ops);
    for (guint i = 0; i < G_N_ELEMENTS(finalised); i++) {
        berth_routes_set_finalised(daemon->routes, finalised[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
        berth_routes_add_verb(daemon->routes, verbs[i].kind, verbs[i].verb, NULL, verbs[i].doc);
    }
}

static gboolean
retain(gpointer data)
{
    berth_catalog_retain(data);
    return G_SOURCE_CONTINUE;
}

static gboolean
compose(BerthDaemon *daemon, GError **error)
{
    const BerthDaemonParts *parts = &daemon->parts;
    daemon->catalog = berth_catalog_new(parts->store, parts->clock, parts->random, error);
    if (daemon->catalog == NULL || !find_fleet_id(daemon, error)) {
        return FALSE;
    }
    berth_catalog_ensure_defaults(daemon->catalog);
    if (!compose_control(daemon, error)) {
        return FALSE;
    }
    berth_host_controller_record_all(daemon->control.hosts);
    compose_routes(daemon);
    daemon->server = berth_server_new(berth_routes_server_ops(), daemon->routes,
                                      daemon->parts.clock, NULL, error);
    if (daemon->server == NULL || !berth_server_listen(daemon->server, daemon->config, error)) {
        return FALSE;
    }
    daemon->retention = g_timeout_add_seconds(3600, retain, daemon->catalog);
    return TRUE;
}

/**
 * berth_daemon_free:
 *
 * Ends listeners, controllers and connections, and the store with what was asked of it by then. Guests go on.
 */
void
berth_daemon_free(BerthDaemon *daemon)
{
    BerthControl *control = &daemon->control;
    g_clear_handle_id(&daemon->retention, g_source_remove);
    g_clear_pointer(&daemon->server, berth_server_free);
    if (daemon->catalog != NULL) {
        berth_catalog_drain(daemon->catalog); /* answers are told to routes and controllers */
    }
    g_clear_pointer(&daemon->routes, berth_routes_free);
    g_clear_pointer(&daemon->hub, berth_watch_hub_free);
    g_clear_pointer(&control->images, berth_image_controller_free); /* waits for its threads */
    g_clear_pointer(&control->tasks, berth_task_controller_free);
    g_clear_pointer(&control->hosts, berth_host_controller_free);
    g_clear_pointer(&control->workloads, berth_workload_controller_free);
    g_clear_pointer(&control->stage, berth_stage_free);
    g_clear_pointer(&control->fleet, berth_fleet_free);
    g_clear_pointer(&control->access, berth_host_access_free);
    g_clear_pointer(&control->ledger, berth_ledger_free);
    g_clear_pointer(&control->logs, berth_logs_free);
    g_clear_pointer(&control->guest_os, berth_guest_os_free);
    g_clear_pointer(&daemon->catalog, berth_catalog_free);
    berth_store_free(daemon->parts.store);
    g_free(daemon->fleet_id);
    g_free(daemon->pool);
    g_free(daemon->guest_os_problem);
    g_free(daemon);
}

/**
 * berth_daemon_new:
 * @config: borrowed, outlives the daemon; its state folder exists
 * @parts: copied; the store is taken over
 *
 * Composes everything and listens; what was left undone is taken up when the main loop runs.
 *
 * Returns: (transfer full) (nullable): errors of the parts
 */
BerthDaemon *
berth_daemon_new(const BerthConfig *config, const BerthDaemonParts *parts, GError **error)
{
    g_autoptr(BerthDaemon) daemon = g_new0(BerthDaemon, 1);
    daemon->config = config;
    daemon->parts = *parts;
    return compose(daemon, error) ? g_steal_pointer(&daemon) : NULL;
}

/** Returns: the id that marks domains as this fleet's, borrowed. */
const char *
berth_daemon_fleet_id(const BerthDaemon *daemon)
{
    return daemon->fleet_id;
}
