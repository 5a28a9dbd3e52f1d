/* Hosts: keeps a connection per Host object, records what each has and runs, and feeds the scheduler.
 *
 * A host is schedulable when it is connected, listed, and prepared. Foreign domains are charged from the
 * first listing on. Start reading at record(): everything ends there. Main loop only. */
#include "daemon/host-trust.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/unmanaged.h"

#include <string.h>

struct BerthHostController {
    BerthControl *control;
    BerthHostTrust *trust;
    BerthQueue *queue; /* host names whose status is to be recorded */
    guint subscription;
    GHashTable *foreign; /* "foreign/<host>/<uuid>" charged now */
    GHashTable *refused; /* host name -> why the scheduler can't count it */
    /* Host name -> json_t*, what a preparation proved. Every record made in this life of the daemon holds
     * it, so a record that was begun before the proof was stored cannot take it back. */
    GHashTable *proofs;
    GPtrArray *preparations; /* under way; owned */
};

/* ---- the record ------------------------------------------------------------------------------ */

/* What waits for the record to be stored. */
typedef struct {
    BerthHostController *controller;
    char *name;          /* owned */
    BerthStoreDone done; /* NULL: nobody else */
    gpointer user_data;
} Recording;

static void
on_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer data)
{
    g_autofree Recording *recording = data;
    g_autofree char *name = recording->name;
    if (error != NULL) {
        berth_queue_retry(recording->controller->queue, name);
    } else {
        berth_queue_forget(recording->controller->queue, name);
    }
    if (recording->done != NULL) {
        recording->done(revision, changes, failed_op, error, recording->user_data);
    }
}

static gboolean
put_record(BerthHostController *controller, const char *name, BerthStoreDone done,
           gpointer user_data)
{
    BerthControl *control = controller->control;
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, name);
    if (object == NULL) {
        return FALSE;
    }
    const BerthHostSight sight = {
        .host = berth_fleet_get(control->fleet, name),
        .problem = berth_host_trust_problem(controller->trust, name),
        .uncountable = g_hash_table_lookup(controller->refused, name),
        .proof = g_hash_table_lookup(controller->proofs, name),
    };
    json_t *status = berth_host_status_write(control, object, &sight);
    Recording *recording = g_new(Recording, 1);
    *recording = (Recording){controller, g_strdup(name), done, user_data};
    berth_catalog_put_status(control->catalog, object, status, on_recorded, recording);
    json_decref(status);
    return TRUE;
}

static void
record(const char *name, gpointer user_data)
{
    put_record(user_data, name, NULL, NULL);
}

static void
count_down(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
           gpointer waiting)
{
    --*(guint *)waiting;
}

/**
 * berth_host_controller_record_all:
 *
 * Records each host as it is seen now, and lets the main loop run until the store has answered. Before the first
 * listener opens, so that nobody reads "Ready" of a host that this life of the daemon has not reached. A record
 * that the store refuses is tried again later, as any is.
 */
void
berth_host_controller_record_all(BerthHostController *controller)
{
    guint waiting = 0;
    g_autoptr(GPtrArray) hosts =
        berth_catalog_list(controller->control->catalog, &berth_kind_host, NULL);
    for (guint i = 0; i < hosts->len; i++) {
        const BerthObject *host = hosts->pdata[i];
        waiting += put_record(controller, host->name, count_down, &waiting);
    }
    while (waiting > 0) {
        g_main_context_iteration(NULL, TRUE);
    }
}

/**
 * berth_host_controller_proved:
 * @proof: (transfer full): members of the Host's status: prepared, acceleration, …
 * @done: told when they are stored; NOT_FOUND when the host was removed
 *
 * Records what a preparation found out.
 */
void
berth_host_controller_proved(BerthHostController *controller, const char *name, json_t *proof,
                             BerthStoreDone done, gpointer user_data)
{
    g_hash_table_replace(controller->proofs, g_strdup(name), proof);
    if (!put_record(controller, name, done, user_data)) {
        g_autoptr(GError) error = NULL;
        berth_error_set(&error, BERTH_ERROR_NOT_FOUND, "host '%s' was removed", name);
        done(0, NULL, -1, error, user_data);
    }
}

/** Wants the status of the host @name to be recorded soon; changes within 50 ms are one record. */
void
berth_host_controller_touch(BerthHostController *controller, const char *name)
{
    berth_queue_add_after(controller->queue, name, 50 * 1000);
}

/* ---- the scheduler's side -------------------------------------------------------------------- */

/** Returns: whether the host stays, is connected, and its domains and volumes are known. */
gboolean
berth_host_controller_is_seen(BerthControl *control, const BerthObject *object)
{
    BerthFleetHost *host = berth_fleet_get(control->fleet, object->name);
    return host != NULL && host->connected && host->listed && host->volumes != NULL &&
           object->deleting == NULL;
}

/** Returns: whether workloads may be placed on the host, cordons aside: seen, and recorded as prepared. */
gboolean
berth_host_controller_is_ready(BerthControl *control, const BerthObject *object)
{
    return berth_host_controller_is_seen(control, object) &&
           ((const BerthHostStatus *)object->status_data)->prepared;
}

/** Returns: whether the record of @object claims capacity of @host. A VM that is off, or waits for room where its
 * disks are, claims none, whatever its power: its start asks for a place. */
gboolean
berth_host_controller_is_claimed(const char *host, const BerthObject *object)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    gboolean is_resting = object->kind == &berth_kind_vm && (status->phase == BERTH_PHASE_STOPPED ||
                                                             status->phase == BERTH_PHASE_PENDING);
    return !is_resting && g_strcmp0(status->host, host) == 0;
}

/* Charges what the records place on @host. */
static void
charge_recorded(BerthControl *control, const char *host)
{
    g_autoptr(GPtrArray) workloads = berth_catalog_list_naming(control->catalog, host);
    for (guint i = 0; i < workloads->len; i++) {
        BerthObject *object = workloads->pdata[i];
        if (berth_host_controller_is_claimed(host, object) &&
            berth_ledger_host_of(control->ledger, object->uid) == NULL) {
            g_auto(BerthNeeds) needs = {0};
            berth_workload_needs_init(&needs, control, object);
            berth_ledger_charge(control->ledger, object, &needs, host);
        }
    }
}

static void
feed_ledger(BerthHostController *controller, const char *name)
{
    BerthControl *control = controller->control;
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, name);
    BerthFleetHost *host = berth_fleet_get(control->fleet, name);
    g_autoptr(GError) error = NULL;
    if (object == NULL || ((const BerthHostStatus *)object->status_data)->inventory == NULL) {
        return;
    }
    berth_host_controller_touch(controller, name);
    g_autoptr(GPtrArray) files = berth_stage_list(host);
    if (!berth_ledger_put_host(control->ledger, object,
                               berth_host_controller_is_ready(control, object), files, &error)) {
        g_hash_table_replace(controller->refused, g_strdup(name), g_strdup(error->message));
        return;
    }
    g_hash_table_remove(controller->refused, name);
    charge_recorded(control, name);
    berth_ledger_charge_holds(control->ledger, name);
    if (host != NULL && host->listed) {
        berth_unmanaged_charge(control, host, controller->foreign);
    }
}

/* ---- what is told ---------------------------------------------------------------------------- */

static void
add_wanted_digest(GHashTable *wanted, const char *digest)
{
    if (digest != NULL) {
        const char *hex = g_str_has_prefix(digest, "sha256:") ? digest + strlen("sha256:") : digest;
        g_hash_table_add(wanted, g_strdup(hex));
    }
}

static void
add_wanted_seeds(BerthControl *control, const char *host, GHashTable *wanted)
{
    g_autoptr(GPtrArray) workloads = berth_catalog_list_naming(control->catalog, host);
    for (guint k = 0; k < workloads->len; k++) {
        size_t i;
        json_t *disk;
        json_array_foreach (berth_workload_status_of(workloads->pdata[k])->disks, i, disk) {
            add_wanted_digest(wanted, berth_json_string(disk, "sha256"));
        }
    }
}

/* Files that no image, guest OS or VM needs any more, and uploads that a death cut short. What a lost
 * domain runs from is not known here, so a host that has one keeps all its files. */
static void
clean_volumes(BerthControl *control, BerthFleetHost *host)
{
    if (berth_unmanaged_has_lost(control, host)) {
        return;
    }
    g_autoptr(GHashTable) wanted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, control->catalog, &berth_kind_image, NULL);
    for (BerthObject *image; (image = berth_catalog_iter_next(&iter)) != NULL;) {
        add_wanted_digest(wanted, ((const BerthImageStatus *)image->status_data)->disk_digest);
    }
    if (control->guest_os != NULL) {
        add_wanted_digest(wanted, control->guest_os->kernel.sha256);
        add_wanted_digest(wanted, control->guest_os->initramfs.sha256);
    }
    add_wanted_seeds(control, host->name, wanted);
    berth_stage_clean(control->stage, host, wanted);
}

static void
on_probe_gone(BerthHostReply *reply, const GError *error, gpointer unused)
{
}

/* A probe that a death or a failed call left behind: it belongs to nobody. */
static void
remove_left_probe(BerthFleetHost *host, const BerthDomain *domain)
{
    BerthHostCall destroy = {.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = domain->uuid};
    BerthHostCall undefine = {.verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = domain->uuid};
    berth_host_runner_submit(host->runner, &destroy, 30, on_probe_gone, NULL);
    berth_host_runner_submit(host->runner, &undefine, 30, on_probe_gone, NULL);
}

static gboolean
is_probing(BerthHostController *controller, const char *uuid)
{
    for (guint i = 0; i < controller->preparations->len; i++) {
        if (g_strcmp0(berth_host_prepare_probe(controller->preparations->pdata[i]), uuid) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* A preparation whose probe is @uuid (NULL: any) hears of it. */
static void
look_at_probes(BerthHostController *controller, const char *uuid)
{
    for (guint i = 0; i < controller->preparations->len; i++) {
        gpointer preparation = controller->preparations->pdata[i];
        if (uuid == NULL || g_strcmp0(berth_host_prepare_probe(preparation), uuid) == 0) {
            berth_host_prepare_look(preparation);
        }
    }
}

/** All domains of @host were listed, again. */
void
berth_host_controller_listed(BerthHostController *controller, BerthFleetHost *host)
{
    GHashTableIter iter;
    gpointer uuid, value;
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, &uuid, &value)) {
        const BerthDomain *domain = value;
        if (berth_fleet_is_ours(controller->control->fleet, domain) &&
            berth_domain_is_probe(domain) && !is_probing(controller, uuid)) {
            remove_left_probe(host, domain);
        }
    }
}

/** Returns: the preparations under way, borrowed; they take themselves out at their end. */
GPtrArray *
berth_host_controller_preparations(BerthHostController *controller)
{
    return controller->preparations;
}

/** The connection, inventory or volumes of @host changed. */
void
berth_host_controller_host_seen(BerthHostController *controller, BerthFleetHost *host)
{
    BerthControl *control = controller->control;
    berth_host_controller_touch(controller, host->name);
    berth_host_trust_look(controller->trust, host);
    feed_ledger(controller, host->name);
    if (host->connected && host->listed && host->volumes != NULL) {
        clean_volumes(control, host);
    }
    berth_workload_controller_look_at_host(control->workloads, host->name);
}

/** A domain (NULL: all) of @host changed, came or went. */
void
berth_host_controller_domain_seen(BerthHostController *controller, BerthFleetHost *host,
                                  const char *uuid)
{
    BerthControl *control = controller->control;
    look_at_probes(controller, uuid);
    if (uuid == NULL) {
        feed_ledger(controller, host->name);
        if (host->listed) {
            berth_unmanaged_tell(control, host);
        }
        berth_workload_controller_look_at_host(control->workloads, host->name);
        return;
    }
    const BerthDomain *domain = berth_fleet_domain(host, uuid);
    if (domain == NULL || berth_domain_is_unmanaged(control, domain)) {
        berth_unmanaged_charge(control, host, controller->foreign);
        berth_host_controller_touch(controller, host->name);
    }
    berth_workload_controller_look(control->workloads, uuid);
}

/**
 * berth_host_controller_accept:
 *
 * Returns: (transfer full) (nullable): why @host, which says of itself what @inventory holds, is not used.
 */
char *
berth_host_controller_accept(BerthHostController *controller, BerthFleetHost *host,
                             const BerthInventory *inventory)
{
    return berth_host_trust_accept(controller->trust, host, inventory);
}

static void
take_host(BerthHostController *controller, BerthObject *object)
{
    BerthControl *control = controller->control;
    g_autoptr(GError) error = NULL;
    g_autofree char *uri = berth_host_trust_take(controller->trust, object);
    if (uri == NULL) {
        berth_fleet_remove(control->fleet, object->name);
    } else if (!berth_fleet_put(control->fleet, object->name, uri, &error)) {
        berth_host_trust_refuse(controller->trust, object, "invalid-uri", error);
    }
    berth_host_controller_touch(controller, object->name);
    feed_ledger(controller, object->name);
}

/* Something about the host @name is to be looked at anew: its keys were read, for example. */
static void
on_trust(const char *name, gpointer user_data)
{
    BerthHostController *controller = user_data;
    berth_host_controller_touch(controller, name);
}

/* A host whose removal was asked for goes once nothing of ours is recorded there. */
static void
drop_host(BerthHostController *controller, BerthObject *object)
{
    BerthControl *control = controller->control;
    if (berth_catalog_count_on(control->catalog, NULL, object->name) > 0) {
        berth_host_controller_touch(controller, object->name);
        return;
    }
    berth_catalog_delete(control->catalog, object, NULL, NULL);
}

static void
forget_host(BerthHostController *controller, const char *name)
{
    berth_unmanaged_release(controller->control, name, controller->foreign);
    g_hash_table_remove(controller->proofs, name);
    g_hash_table_remove(controller->refused, name);
    berth_host_trust_forget(controller->trust, name);
    berth_fleet_remove(controller->control->fleet, name);
    berth_ledger_remove_host(controller->control->ledger, name);
    berth_fleet_ask_again(controller->control->fleet);
}

/* Whether the scheduler has to hear of the change of status from @a to @b. */
static gboolean
is_seen_anew(const BerthHostStatus *a, const BerthHostStatus *b)
{
    return a->prepared != b->prepared || g_strcmp0(a->acceleration, b->acceleration) != 0 ||
           (a->inventory == NULL) != (b->inventory == NULL) ||
           (a->inventory != NULL && !json_equal(a->inventory, b->inventory));
}

/* The last workload of a host that is to be removed may have gone. */
static void
on_workload_changed(BerthHostController *controller, const BerthObject *before)
{
    BerthObject *left = before == NULL || berth_workload_status_of(before)->host == NULL
                            ? NULL
                            : berth_catalog_get(controller->control->catalog, &berth_kind_host,
                                                NULL, berth_workload_status_of(before)->host);
    if (left != NULL && left->deleting != NULL) {
        drop_host(controller, left);
    }
}

/* Over-commit and reserves hold for every host. */
static void
take_settings(BerthHostController *controller)
{
    BerthControl *control = controller->control;
    berth_ledger_set_settings(control->ledger, berth_catalog_settings(control->catalog));
    g_autoptr(GPtrArray) hosts = berth_catalog_list(control->catalog, &berth_kind_host, NULL);
    for (guint i = 0; i < hosts->len; i++) {
        feed_ledger(controller, ((BerthObject *)hosts->pdata[i])->name);
    }
}

static void
on_changed(const BerthObject *before, BerthObject *after, gpointer user_data)
{
    BerthHostController *controller = user_data;
    const BerthObject *object = after != NULL ? after : before;
    if (object->kind->workload) {
        on_workload_changed(controller, before);
    } else if (object->kind == &berth_kind_settings) {
        take_settings(controller);
    } else if (object->kind == &berth_kind_project && after != NULL) {
        berth_ledger_set_project(controller->control->ledger, after);
    } else if (object->kind == &berth_kind_project) {
        berth_ledger_remove_project(controller->control->ledger, before->name);
    }
    if (object->kind != &berth_kind_host) {
        return;
    }
    if (after == NULL) {
        forget_host(controller, before->name);
    } else if (after->deleting != NULL) {
        drop_host(controller, after);
    } else if (before == NULL || before->body_revision != after->body_revision ||
               is_seen_anew(before->status_data, after->status_data)) {
        take_host(controller, after);
        berth_queue_add(controller->queue, after->name); /* who changed it waits for that */
        berth_fleet_ask_again(controller->control->fleet);
    }
}

/* ---- what the HTTP side asks ----------------------------------------------------------------- */

static gboolean
admit(gpointer data, const BerthObject *object, GError **error)
{
    BerthHostController *controller = data;
    return object->kind != &berth_kind_host || berth_host_admit(controller->control, object, error);
}

static const char *
host_key(gpointer data, GError **error)
{
    BerthHostController *controller = data;
    return berth_host_access_public_key(controller->control->access, error);
}

/** Fills in what @ops asks about hosts. */
void
berth_host_controller_fill_ops(BerthHostController *controller, BerthWorkloadOps *ops)
{
    ops->host_data = controller;
    ops->admit = admit;
    ops->host_key = host_key;
}

/** Connects to every recorded host and follows Host objects from now on. */
BerthHostController *
berth_host_controller_new(BerthControl *control)
{
    BerthHostController *controller = g_new0(BerthHostController, 1);
    controller->control = control;
    controller->queue = berth_queue_new(control->clock, record, controller);
    berth_queue_attach(controller->queue);
    controller->trust = berth_host_trust_new(control, on_trust, controller);
    controller->foreign = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    controller->proofs =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref);
    controller->preparations = g_ptr_array_new_with_free_func(berth_host_prepare_free);
    controller->subscription = berth_catalog_subscribe(control->catalog, on_changed, controller);
    controller->refused = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    control->hosts = controller;
    take_settings(controller);
    g_autoptr(GPtrArray) projects = berth_catalog_list(control->catalog, &berth_kind_project, NULL);
    for (guint i = 0; i < projects->len; i++) {
        berth_ledger_set_project(control->ledger, projects->pdata[i]);
    }
    g_autoptr(GPtrArray) hosts = berth_catalog_list(control->catalog, &berth_kind_host, NULL);
    for (guint i = 0; i < hosts->len; i++) {
        take_host(controller, hosts->pdata[i]);
    }
    return controller;
}

void
berth_host_controller_free(BerthHostController *controller)
{
    berth_catalog_unsubscribe(controller->control->catalog, controller->subscription);
    berth_queue_free(controller->queue);
    g_hash_table_destroy(controller->foreign);
    g_hash_table_destroy(controller->proofs);
    g_ptr_array_unref(controller->preparations);
    g_hash_table_destroy(controller->refused);
    berth_host_trust_free(controller->trust);
    g_free(controller);
}
