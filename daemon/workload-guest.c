/* A pod's guest: opens its link, tells it what to run, and how. Main loop only. */
#include "daemon/workload-run.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/addresses.h"

/* ---- the guest --------------------------------------------------------------------------------- */

/* Who opens the link's channel; a host that was removed meanwhile has none. */
typedef struct {
    BerthWorkloadController *controller;
    char *uid, *host, *uuid;
} Opener;

static void
free_opener(gpointer data)
{
    Opener *opener = data;
    g_free(opener->uid);
    g_free(opener->host);
    g_free(opener->uuid);
    g_free(opener);
}

static Opener *
opener_new(BerthWorkloadRun *run, BerthObject *object)
{
    Opener *opener = g_new0(Opener, 1);
    opener->controller = run->controller;
    opener->uid = g_strdup(run->uid);
    opener->host = g_strdup(berth_workload_status_of(object)->host);
    opener->uuid = g_strdup(berth_workload_domain_uuid(object));
    return opener;
}

static BerthChannel *
open_channel(gboolean force, const BerthChannelWatch *watch, gpointer watch_data, gpointer data)
{
    const Opener *opener = data;
    BerthFleetHost *host = berth_fleet_get(opener->controller->control->fleet, opener->host);
    if (host == NULL || !host->connected) {
        return NULL;
    }
    return berth_host_runner_channel_open(host->runner, opener->uuid, BERTH_LINK_PORT, force, watch,
                                          watch_data);
}

static void
on_pod_changed(gpointer data)
{
    const Opener *opener = data;
    BerthWorkloadRun *run = g_hash_table_lookup(opener->controller->runs, opener->uid);
    if (run != NULL) {
        berth_workload_controller_look(opener->controller, opener->uid);
        berth_workload_wake_logs(run);
    }
}

static void
on_pod_logged(gpointer data)
{
    const Opener *opener = data;
    BerthWorkloadRun *run = g_hash_table_lookup(opener->controller->runs, opener->uid);
    if (run != NULL) {
        berth_workload_wake_logs(run);
    }
}

static BerthImageConfig
read_image_config(const json_t *config, GPtrArray *owned)
{
    const char **lists[3];
    const char *keys[] = {"entrypoint", "cmd", "env"};
    for (guint i = 0; i < 3; i++) {
        const json_t *list = json_object_get(config, keys[i]);
        lists[i] = g_new0(const char *, json_array_size(list) + 1);
        g_ptr_array_add(owned, lists[i]);
        for (size_t k = 0; k < json_array_size(list); k++) {
            lists[i][k] = json_string_value(json_array_get(list, k));
        }
    }
    return (BerthImageConfig){
        .entrypoint = lists[0],
        .cmd = lists[1],
        .env = lists[2],
        .user = berth_json_string(config, "user"),
        .workdir = berth_json_string(config, "workdir"),
        .stop_signal = berth_json_string(config, "stop_signal"),
    };
}

/** Returns: what the image @reference says; strings borrowed from its record, arrays put into @owned. */
BerthImageConfig
berth_workload_image_config(BerthControl *control, const char *reference, GPtrArray *owned)
{
    const BerthImageStatus *image = berth_workload_image(control, reference);
    return read_image_config(image != NULL ? image->config : NULL, owned);
}

/** Returns: @container's wishes; strings borrowed from it. */
BerthContainerWish
berth_workload_wish(const BerthContainerSpec *container)
{
    return (BerthContainerWish){
        .name = container->name,
        .command = (const char *const *)container->command,
        .args = (const char *const *)container->args,
        .env = (const char *const *)container->env,
        .user = container->user,
        .workdir = container->workdir,
        .stop_signal = container->stop_signal,
        .tty = container->tty,
        .read_only = container->read_only,
        .memory_mib = (guint64)container->memory_mib,
        .pids_max = (guint64)container->pids_max,
    };
}

static gboolean
add_container(BerthControl *control, const BerthContainerSpec *spec, GArray *plans,
              GPtrArray *setups, GPtrArray *owned, GError **error)
{
    const BerthImageStatus *image = berth_workload_image(control, spec->image);
    if (image == NULL || image->disk_digest == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "image '%s' is not there any more",
                        spec->image);
        return FALSE;
    }
    BerthImageConfig config = read_image_config(image->config, owned);
    BerthContainerWish wish = berth_workload_wish(spec);
    BerthContainerSetup *setup = berth_container_setup_new(&config, &wish, error);
    if (setup == NULL) {
        return FALSE;
    }
    g_ptr_array_add(setups, setup);
    char *serial = berth_workload_image_serial(image->disk_digest);
    g_ptr_array_add(owned, serial);
    BerthLinkContainerPlan plan = {.name = spec->name,
                                   .image_serial = serial,
                                   .config = setup->config,
                                   .user = setup->user,
                                   .stop_signal = setup->stop_signal,
                                   .tty = spec->tty,
                                   .stdin_open = spec->stdin_open};
    g_array_append_val(plans, plan);
    return TRUE;
}

static void
fill_cards(BerthControl *control, BerthObject *object, GArray *nics, GPtrArray *dns,
           GPtrArray *owned)
{
    const GPtrArray *cards = berth_workload_status_of(object)->networks;
    for (guint i = 0; cards != NULL && i < cards->len; i++) {
        const BerthNicStatus *card = cards->pdata[i];
        const BerthNetworkSpec *network =
            berth_addresses_network(control->catalog, object->project, card->network);
        char *address =
            card->ip == NULL || network == NULL
                ? NULL
                : g_strdup_printf("%s/%u", card->ip, berth_network_prefix_length(network));
        g_ptr_array_add(owned, address);
        BerthLinkNic nic = {card->mac, address, network != NULL ? network->gateway : NULL};
        g_array_append_val(nics, nic);
        for (guint k = 0; network != NULL && network->dns != NULL && network->dns[k] != NULL; k++) {
            g_ptr_array_add(dns, network->dns[k]);
        }
    }
    g_ptr_array_add(dns, NULL);
}

static gboolean
configure(BerthLink *link, gpointer data, GError **error)
{
    const Opener *opener = data;
    BerthControl *control = opener->controller->control;
    BerthObject *object = berth_catalog_get_uid(control->catalog, opener->uid);
    if (object == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "the pod was deleted");
        return FALSE;
    }
    const BerthPodSpec *spec = object->spec_data;
    g_autoptr(GPtrArray) owned = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) setups =
        g_ptr_array_new_with_free_func((GDestroyNotify)berth_container_setup_free);
    g_autoptr(GArray) plans = g_array_new(FALSE, FALSE, sizeof(BerthLinkContainerPlan));
    g_autoptr(GArray) nics = g_array_new(FALSE, FALSE, sizeof(BerthLinkNic));
    g_autoptr(GPtrArray) dns = g_ptr_array_new();
    for (guint i = 0; i < spec->containers->len; i++) {
        if (!add_container(control, spec->containers->pdata[i], plans, setups, owned, error)) {
            return FALSE;
        }
    }
    fill_cards(control, object, nics, dns, owned);
    BerthLinkConfig config = {
        .id = (guint64)object->generation,
        .hostname = spec->hostname != NULL ? spec->hostname : object->name,
        .dns = (const char *const *)dns->pdata,
        .exec_denied = spec->exec_denied,
        .nics = (const BerthLinkNic *)nics->data,
        .nic_count = nics->len,
        .containers = (const BerthLinkContainerPlan *)plans->data,
        .container_count = plans->len,
    };
    return berth_link_configure(link, &config, error);
}

/** Opens the link to a pod whose domain is on. */
void
berth_workload_act_call_guest(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    const BerthPodSpec *spec = object->spec_data;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (guint i = 0; i < spec->containers->len; i++) {
        g_ptr_array_add(names, ((BerthContainerSpec *)spec->containers->pdata[i])->name);
    }
    g_ptr_array_add(names, NULL);
    BerthPodRunOptions options = {
        .uid = run->uid,
        .containers = (char *const *)names->pdata,
        .restart = (BerthRestart)spec->workload.restart,
        .open = open_channel,
        .open_data = opener_new(run, object),
        .open_free = free_opener,
        .configure = configure,
        .logged = on_pod_logged,
        .changed = on_pod_changed,
        .user_data = opener_new(run, object),
        .user_free = free_opener,
        .clock = control->clock,
        .random = control->random,
        .logs = control->logs,
    };
    run->pod = berth_pod_run_new(&options);
    berth_workload_logs_opened(run);
    berth_workload_finish_soon(run);
}

/** Starts the containers whose time has come. */
void
berth_workload_act_start_containers(BerthWorkloadRun *run, BerthObject *object)
{
    if (run->pod != NULL) {
        berth_pod_run_start_due(run->pod);
    }
    berth_workload_finish_soon(run);
}
