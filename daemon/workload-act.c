/* The steps of a workload, carried out: each starts one asynchronous call and ends in
 * berth_workload_run_done(), which makes the controller look again.
 *
 * Every action may be repeated. Answers find their run by uid, since the workload may be gone by then.
 * Read the table at the end first. Main loop only. */
#include "daemon/workload-run.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "daemon/addresses.h"
#include "drivers/pod-config.h"
#include "images/seed-iso.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CALL_S 60
#define MIB (1024 * 1024)

/* An answer that is waited for. */
typedef struct {
    BerthWorkloadController *controller;
    char *uid, *host, *uuid, *text; /* owned; text: what the call was about */
} Pending;

static Pending *
pending_new(BerthWorkloadRun *run, BerthObject *object, const char *text)
{
    Pending *pending = g_new0(Pending, 1);
    pending->controller = run->controller;
    pending->uid = g_strdup(run->uid);
    pending->host = g_strdup(berth_workload_status_of(object)->host);
    pending->uuid = g_strdup(berth_workload_domain_uuid(object));
    pending->text = g_strdup(text);
    return pending;
}

static void
pending_free(Pending *pending)
{
    g_free(pending->uid);
    g_free(pending->host);
    g_free(pending->uuid);
    g_free(pending->text);
    g_free(pending);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pending, pending_free)

static BerthWorkloadRun *
find_run(const Pending *pending)
{
    return g_hash_table_lookup(pending->controller->runs, pending->uid);
}

static BerthFleetHost *
find_host(const Pending *pending)
{
    return berth_fleet_get(pending->controller->control->fleet, pending->host);
}

static gboolean
done_later(gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthWorkloadRun *run = find_run(pending);
    if (run != NULL) {
        berth_workload_run_done(run, NULL);
    }
    return G_SOURCE_REMOVE;
}

/* For actions without an answer: the end comes from the main loop all the same. */
static void
finish_soon(BerthWorkloadRun *run, BerthObject *object)
{
    g_idle_add_full(G_PRIORITY_DEFAULT, done_later, pending_new(run, object, NULL), NULL);
}

static void
fail(BerthWorkloadRun *run, GError *error)
{
    berth_workload_run_done(run, error);
    g_clear_error(&error);
}

static void
submit(BerthWorkloadRun *run, BerthObject *object, const BerthHostCall *call, BerthHostDone done,
       const char *text)
{
    BerthFleetHost *host = berth_workload_run_host(run, object);
    berth_host_runner_submit(host->runner, call, CALL_S, done, pending_new(run, object, text));
}

/* ---- images of a workload ---------------------------------------------------------------------- */

/** Returns: (transfer full): the images it needs: references of containers, names of base disks. */
char **
berth_workload_images(BerthObject *object)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    if (object->kind == &berth_kind_pod) {
        const BerthPodSpec *spec = object->spec_data;
        for (guint i = 0; i < spec->containers->len; i++) {
            g_strv_builder_add(builder, ((BerthContainerSpec *)spec->containers->pdata[i])->image);
        }
    } else {
        const BerthVmSpec *spec = object->spec_data;
        for (guint i = 0; spec->disks != NULL && i < spec->disks->len; i++) {
            const BerthDiskSpec *disk = spec->disks->pdata[i];
            if (disk->image != NULL) {
                g_strv_builder_add(builder, disk->image);
            }
        }
    }
    return g_strv_builder_end(builder);
}

static const char *
skip_algorithm(const char *digest)
{
    return digest != NULL && g_str_has_prefix(digest, "sha256:") ? digest + strlen("sha256:")
                                                                 : digest;
}

static const BerthImageStatus *
find_image(BerthControl *control, const char *reference)
{
    BerthObject *image = berth_image_find(control, reference);
    return image != NULL ? image->status_data : NULL;
}

/** Returns: (nullable): digest of its first image, for the scheduler; borrowed. */
const char *
berth_workload_image_digest(BerthControl *control, BerthObject *object)
{
    g_auto(GStrv) references = berth_workload_images(object);
    const BerthImageStatus *image =
        references[0] != NULL ? find_image(control, references[0]) : NULL;
    return image != NULL ? image->digest : NULL;
}

static const char *
seed_digest(BerthObject *object)
{
    size_t i;
    json_t *disk;
    json_array_foreach (berth_workload_status_of(object)->disks, i, disk) {
        if (g_strcmp0(berth_json_string(disk, "role"), "seed") == 0) {
            return berth_json_string(disk, "sha256");
        }
    }
    return NULL;
}

/** Returns: (transfer container): digests (64 hex, borrowed) of all files that its host must have. */
GPtrArray *
berth_workload_files(BerthControl *control, BerthObject *object)
{
    GPtrArray *files = g_ptr_array_new();
    if (object->kind == &berth_kind_pod && control->guest_os != NULL) {
        g_ptr_array_add(files, control->guest_os->kernel.sha256);
        g_ptr_array_add(files, control->guest_os->initramfs.sha256);
    }
    g_auto(GStrv) references = berth_workload_images(object);
    for (guint i = 0; references[i] != NULL; i++) {
        const BerthImageStatus *image = find_image(control, references[i]);
        g_ptr_array_add(files, (gpointer)(image != NULL ? skip_algorithm(image->disk_digest) : ""));
    }
    return files;
}

/* ---- pull -------------------------------------------------------------------------------------- */

static void
on_image_made(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
              gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthWorkloadRun *run = find_run(pending);
    if (run != NULL) {
        gboolean known = g_error_matches(error, BERTH_ERROR, BERTH_ERROR_EXISTS);
        berth_workload_run_done(run, known ? NULL : error);
    }
}

static void
act_pull(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    g_auto(GStrv) references = berth_workload_images(object);
    const char *missing = NULL;
    for (guint i = 0; references[i] != NULL && missing == NULL; i++) {
        missing = berth_image_find(control, references[i]) == NULL ? references[i] : NULL;
    }
    if (missing == NULL) {
        finish_soon(run, object);
        return;
    }
    GError *error = NULL;
    if (object->kind == &berth_kind_vm) {
        berth_error_set_at(&error, BERTH_ERROR_NOT_FOUND, "/spec/disks",
                           "berth image import NAME --file DISK.qcow2", "no image '%s'", missing);
        fail(run, error);
        return;
    }
    g_autofree char *canonical = NULL;
    g_autofree char *name = berth_image_name_for(missing, &canonical, &error);
    if (name == NULL) {
        fail(run, error);
        return;
    }
    g_autofree char *now = berth_control_now(control);
    json_t *spec = json_pack("{s:s, s:s}", "type", "oci", "reference", canonical);
    g_autoptr(BerthObject) image =
        berth_object_make(&berth_kind_image, "", name, spec, now, &error);
    json_decref(spec);
    if (image == NULL) {
        fail(run, error);
        return;
    }
    berth_catalog_put_body(control->catalog, image, BERTH_STORE_ABSENT, on_image_made,
                           pending_new(run, object, NULL));
}

/* ---- place ------------------------------------------------------------------------------------- */

static void
on_placed(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
          gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthWorkloadRun *run = find_run(pending);
    if (error != NULL) {
        berth_ledger_release(pending->controller->control->ledger, pending->uid);
    }
    if (run == NULL) {
        return;
    }
    run->placed_us = berth_clock_monotonic_us(pending->controller->control->clock);
    berth_host_controller_touch(pending->controller->control->hosts, pending->text);
    berth_workload_run_done(run, error);
}

static void
on_refusal_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
                    gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthWorkloadRun *run = find_run(pending);
    if (run != NULL) {
        run->busy = FALSE;
        berth_workload_controller_look(pending->controller, pending->uid);
    }
}

/* No room: the reason is recorded, and the workload waits until something is freed or added. */
static void
park(BerthWorkloadRun *run, BerthObject *object, json_t *why, const GError *refusal)
{
    BerthControl *control = run->controller->control;
    json_t *status = berth_status_copy(object);
    berth_status_set_text(status, "phase", berth_phase_name(BERTH_PHASE_PENDING));
    berth_status_set_reason(status, "no-capacity", refusal->message, berth_error_hint(refusal));
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    if (why != NULL) {
        json_object_set(status, "placement", why);
    }
    g_hash_table_add(run->controller->waiting, g_strdup(run->uid));
    berth_catalog_record_event(control->catalog, object, "warning", "NoCapacity", NULL, "%s",
                               refusal->message);
    berth_catalog_put_status(control->catalog, object, status, on_refusal_recorded,
                             pending_new(run, object, NULL));
    json_decref(status);
}

static char *
domain_name_for(const BerthObject *object)
{
    return g_strdup_printf("%s.%s-%.8s", object->project, object->name, object->uid);
}

static json_t *
placed_status(BerthWorkloadRun *run, BerthObject *object, const char *host, json_t *why,
              json_t *cards)
{
    json_t *status = berth_status_copy(object);
    g_autofree char *name = domain_name_for(object);
    json_t *before = json_object_get(status, "domain");
    json_int_t incarnation = berth_json_integer(before, "incarnation", 0);
    berth_status_set_text(status, "phase", berth_phase_name(BERTH_PHASE_PREPARING));
    berth_status_set_text(status, "host", host);
    berth_status_set_reason(status, NULL, NULL, NULL);
    json_object_set_new(status, "domain",
                        json_pack("{s:s, s:s, s:s, s:I}", "host", host, "uuid", object->uid, "name",
                                  name, "incarnation", incarnation));
    json_object_set(status, "placement", why);
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    json_object_set_new(
        status, "used_memory_mib",
        json_integer(berth_ledger_memory_mib(run->controller->control->ledger, object)));
    if (cards != NULL) {
        json_object_set(status, "networks", cards);
    }
    return status;
}

static void
act_place(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    const char *present = berth_workload_status_of(object)->host;
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    g_autoptr(json_t) cards = NULL;
    GError *error = NULL;
    if (!berth_ledger_place(control->ledger, object, berth_workload_disk_mib(control, object),
                            berth_workload_image_digest(control, object), present, &host, &why,
                            &error)) {
        park(run, object, why, error);
        g_clear_error(&error);
        return;
    }
    BerthTransaction *transaction = berth_transaction_new();
    if (present == NULL) {
        cards = berth_addresses_assign(control->catalog, object, transaction, &error);
        if (cards == NULL) {
            berth_transaction_free(transaction);
            berth_ledger_release(control->ledger, object->uid);
            fail(run, error);
            return;
        }
    }
    json_t *status = placed_status(run, object, host, why, cards);
    berth_catalog_add_status(transaction, object, status);
    json_decref(status);
    berth_catalog_submit(control->catalog, transaction, on_placed, pending_new(run, object, host));
}

/* ---- stage ------------------------------------------------------------------------------------- */

static void
on_staged(const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthWorkloadRun *run = find_run(pending);
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
stage_file(BerthWorkloadRun *run, BerthObject *object, const char *sha256, const char *path,
           guint64 size)
{
    berth_stage_bring(run->controller->control->stage, berth_workload_status_of(object)->host,
                      sha256, path, size, on_staged, pending_new(run, object, NULL));
}

static gboolean
stage_guest_os(BerthWorkloadRun *run, BerthObject *object, BerthFleetHost *host)
{
    const BerthGuestOs *os = run->controller->control->guest_os;
    const BerthGuestFile *files[] = {&os->kernel, &os->initramfs};
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        if (berth_stage_find(host, files[i]->sha256) == NULL) {
            stage_file(run, object, files[i]->sha256, files[i]->path, files[i]->size);
            return TRUE;
        }
    }
    return FALSE;
}

static void
act_stage(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    BerthFleetHost *host = berth_workload_run_host(run, object);
    GError *error = NULL;
    if (object->kind == &berth_kind_pod && control->guest_os == NULL) {
        berth_error_set_at(&error, BERTH_ERROR_UNAVAILABLE, NULL, "make guest-os",
                           "no guest OS to boot pods from: %s", control->guest_os_problem);
        fail(run, error);
        return;
    }
    if (object->kind == &berth_kind_pod && stage_guest_os(run, object, host)) {
        return;
    }
    g_auto(GStrv) references = berth_workload_images(object);
    for (guint i = 0; references[i] != NULL; i++) {
        const BerthImageStatus *image = find_image(control, references[i]);
        if (image == NULL || image->disk_digest == NULL || image->path == NULL) {
            berth_error_set(&error, BERTH_ERROR_NOT_FOUND, "image '%s' is not in the cache",
                            references[i]);
            fail(run, error);
            return;
        }
        if (berth_stage_find(host, skip_algorithm(image->disk_digest)) == NULL) {
            stage_file(run, object, skip_algorithm(image->disk_digest), image->path,
                       (guint64)image->size);
            return;
        }
    }
    finish_soon(run, object);
}

/* ---- disks of VMs ------------------------------------------------------------------------------ */

static char *
disk_volume(const BerthObject *object, const BerthDiskSpec *disk)
{
    return g_strdup_printf("%s-%s.qcow2", object->uid, disk->name);
}

static gboolean
wants_seed(const BerthObject *object)
{
    const BerthCloudInit *init = &((const BerthVmSpec *)object->spec_data)->cloud_init;
    return init->user_data != NULL || init->hostname != NULL || init->network_config != NULL;
}

/** Returns: whether all volumes of its own are there; always for pods. */
gboolean
berth_workload_disks_present(BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    if (object->kind != &berth_kind_vm) {
        return TRUE;
    }
    const BerthVmSpec *spec = object->spec_data;
    for (guint i = 0; spec->disks != NULL && i < spec->disks->len; i++) {
        const BerthDiskSpec *disk = spec->disks->pdata[i];
        g_autofree char *volume = disk_volume(object, disk);
        if (disk->volume == NULL && !g_hash_table_contains(host->volumes, volume)) {
            return FALSE;
        }
    }
    return !wants_seed(object) || berth_stage_find(host, seed_digest(object)) != NULL;
}

static guint64
disk_bytes(BerthControl *control, const BerthDiskSpec *disk)
{
    const BerthImageStatus *image = disk->image != NULL ? find_image(control, disk->image) : NULL;
    guint64 base = image != NULL ? (guint64)image->virtual_size : 0;
    return MAX(base, (guint64)disk->size_mib * MIB);
}

/** Returns: MiB of pool that its disks may grow to. */
gint64
berth_workload_disk_mib(BerthControl *control, BerthObject *object)
{
    if (object->kind != &berth_kind_vm) {
        return 0;
    }
    const BerthVmSpec *spec = object->spec_data;
    guint64 sum = 0;
    for (guint i = 0; spec->disks != NULL && i < spec->disks->len; i++) {
        sum += disk_bytes(control, spec->disks->pdata[i]);
    }
    return (gint64)(sum / MIB);
}

static void
on_disk_made(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthFleetHost *host = find_host(pending);
    BerthWorkloadRun *run = find_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_volume(host, pending->text, 0);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static gboolean
make_disk(BerthWorkloadRun *run, BerthObject *object, BerthFleetHost *host,
          const BerthDiskSpec *disk)
{
    BerthControl *control = run->controller->control;
    g_autofree char *volume = disk_volume(object, disk);
    if (disk->volume != NULL || g_hash_table_contains(host->volumes, volume)) {
        return FALSE;
    }
    const BerthImageStatus *image = disk->image != NULL ? find_image(control, disk->image) : NULL;
    BerthObject *image_object = disk->image != NULL ? berth_image_find(control, disk->image) : NULL;
    const BerthImageSpec *image_spec = image_object != NULL ? image_object->spec_data : NULL;
    BerthHostCall call = {
        .verb = BERTH_HOST_VOLUME_CREATE,
        .pool = berth_fleet_pool(control->fleet),
        .volume = volume,
        .format = "qcow2",
        .size = disk_bytes(control, disk),
        .backing =
            image != NULL ? berth_stage_find(host, skip_algorithm(image->disk_digest)) : NULL,
        .backing_format =
            image_spec != NULL && image_spec->format != NULL ? image_spec->format : "qcow2",
    };
    submit(run, object, &call, on_disk_made, volume);
    return TRUE;
}

static void
on_seed_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
                 gpointer data)
{
    on_staged(error, data);
}

/* The file's path here and its digest; made anew each time: the same spec gives the same bytes. */
static GBytes *
build_seed(BerthObject *object, char **sha256, GError **error)
{
    const BerthCloudInit *init = &((const BerthVmSpec *)object->spec_data)->cloud_init;
    BerthSeed seed = {
        .instance_id = object->uid,
        .hostname = init->hostname != NULL ? init->hostname : object->name,
        .user_data = init->user_data,
        .user_data_size = init->user_data != NULL ? strlen(init->user_data) : 0,
        .network_config = init->network_config,
    };
    GBytes *iso = berth_seed_iso_build(&seed, error);
    if (iso != NULL) {
        *sha256 = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, iso);
    }
    return iso;
}

static char *
seed_path(BerthControl *control, const char *uid)
{
    g_autofree char *folder = g_build_filename(control->state, "seeds", NULL);
    g_mkdir_with_parents(folder, 0700);
    return g_strdup_printf("%s/%s.iso", folder, uid);
}

static void
make_seed(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    g_autofree char *sha256 = NULL;
    g_autofree char *path = seed_path(control, object->uid);
    GError *error = NULL;
    g_autoptr(GBytes) iso = build_seed(object, &sha256, &error);
    gsize size = 0;
    const void *data = iso != NULL ? g_bytes_get_data(iso, &size) : NULL;
    if (iso == NULL || !berth_fd_write_file(AT_FDCWD, path, data, size, 0600, &error)) {
        fail(run, error);
        return;
    }
    if (g_strcmp0(seed_digest(object), sha256) == 0) {
        stage_file(run, object, sha256, path, size);
        return;
    }
    json_t *status = berth_status_copy(object);
    json_object_set_new(status, "disks",
                        json_pack("[{s:s, s:s}]", "role", "seed", "sha256", sha256));
    berth_catalog_put_status(control->catalog, object, status, on_seed_recorded,
                             pending_new(run, object, NULL));
    json_decref(status);
}

static void
act_make_disks(BerthWorkloadRun *run, BerthObject *object)
{
    BerthFleetHost *host = berth_workload_run_host(run, object);
    const BerthVmSpec *spec = object->spec_data;
    for (guint i = 0; spec->disks != NULL && i < spec->disks->len; i++) {
        if (make_disk(run, object, host, spec->disks->pdata[i])) {
            return;
        }
    }
    if (wants_seed(object) && berth_stage_find(host, seed_digest(object)) == NULL) {
        make_seed(run, object);
        return;
    }
    finish_soon(run, object);
}

static void
on_volume_deleted(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthFleetHost *host = find_host(pending);
    BerthWorkloadRun *run = find_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_volume(host, pending->text, -1);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

/* Everything in the pool that begins with its uid; the seed is shared by content and cleaned apart. */
static void
act_delete_disks(BerthWorkloadRun *run, BerthObject *object)
{
    BerthFleetHost *host = berth_workload_run_host(run, object);
    GHashTableIter iter;
    gpointer volume;
    g_hash_table_iter_init(&iter, host->volumes);
    while (g_hash_table_iter_next(&iter, &volume, NULL)) {
        if (g_str_has_prefix(volume, object->uid)) {
            BerthHostCall call = {.verb = BERTH_HOST_VOLUME_DELETE,
                                  .pool = berth_fleet_pool(host->fleet),
                                  .volume = volume};
            submit(run, object, &call, on_volume_deleted, volume);
            return;
        }
    }
    finish_soon(run, object);
}

/* ---- define ------------------------------------------------------------------------------------ */

/* A domain plan and the strings that it points to. */
typedef struct {
    BerthDomainPlan plan;
    BerthDomainMark mark;
    GPtrArray *strings; /* owned */
    GArray *disks, *nics;
} Build;

static void
clear_build(Build *build)
{
    g_ptr_array_unref(build->strings);
    g_array_unref(build->disks);
    g_array_unref(build->nics);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Build, clear_build)

static const char *
keep(Build *build, char *text)
{
    g_ptr_array_add(build->strings, text);
    return text;
}

static void
add_disk(Build *build, BerthControl *control, const char *volume, const char *serial,
         const char *format, gboolean read_only, gboolean cdrom)
{
    BerthDiskPlan disk = {.pool = berth_fleet_pool(control->fleet),
                          .volume = volume,
                          .serial = serial,
                          .format = format,
                          .read_only = read_only,
                          .cdrom = cdrom};
    g_array_append_val(build->disks, disk);
}

/* What the guest finds an image's disk by: QEMU keeps 20 characters of a serial. */
static char *
image_serial(const char *disk_digest)
{
    return g_strndup(skip_algorithm(disk_digest), 20);
}

static void
add_image_disks(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(GStrv) references = berth_workload_images(object);
    for (guint i = 0; references[i] != NULL; i++) {
        const BerthImageStatus *image = find_image(control, references[i]);
        if (image != NULL && g_hash_table_add(seen, image->disk_digest)) {
            add_disk(build, control, berth_stage_find(host, skip_algorithm(image->disk_digest)),
                     keep(build, image_serial(image->disk_digest)), "raw", TRUE, FALSE);
        }
    }
}

static void
add_vm_disks(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    const BerthVmSpec *spec = object->spec_data;
    for (guint i = 0; spec->disks != NULL && i < spec->disks->len; i++) {
        const BerthDiskSpec *disk = spec->disks->pdata[i];
        add_disk(build, control,
                 disk->volume != NULL ? disk->volume : keep(build, disk_volume(object, disk)),
                 disk->name, "qcow2", disk->read_only, FALSE);
    }
    if (wants_seed(object)) {
        add_disk(build, control, berth_stage_find(host, seed_digest(object)), "seed", "raw", TRUE,
                 spec->workload.profile == BERTH_PROFILE_Q35);
    }
}

static void
add_nics(Build *build, BerthControl *control, BerthObject *object)
{
    const GPtrArray *cards = berth_workload_status_of(object)->networks;
    for (guint i = 0; cards != NULL && i < cards->len; i++) {
        const BerthNicStatus *card = cards->pdata[i];
        const BerthNetworkSpec *network =
            berth_addresses_network(control->catalog, object->project, card->network);
        BerthNicPlan nic = {.network = network != NULL ? network->libvirt : card->network,
                            .bridge = network != NULL ? network->bridge : NULL,
                            .mac = card->mac};
        g_array_append_val(build->nics, nic);
    }
}

static void
add_pod_boot(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    BerthDomainPlan *plan = &build->plan;
    const BerthGuestOs *os = control->guest_os;
    plan->kernel_pool = berth_fleet_pool(control->fleet);
    plan->kernel_volume = berth_stage_find(host, os->kernel.sha256);
    plan->initrd_volume = berth_stage_find(host, os->initramfs.sha256);
    plan->cmdline = os->cmdline;
    /* Without it microvm under TCG can't tell its clock's speed on a busy host (docs/architecture.md). */
    if (!plan->kvm && plan->profile == BERTH_PROFILE_MICROVM && host->inventory != NULL &&
        host->inventory->tsc_khz > 0) {
        plan->cmdline = keep(build, g_strdup_printf("%s tsc_early_khz=%" G_GUINT64_FORMAT,
                                                    os->cmdline, host->inventory->tsc_khz));
    }
    plan->link = TRUE;
}

static void
fill_mark(Build *build, BerthControl *control, BerthObject *object)
{
    build->mark = (BerthDomainMark){
        .fleet = (char *)berth_fleet_id(control->fleet),
        .uid = object->uid,
        .kind = (char *)object->kind->name,
        .project = object->project,
        .name = object->name,
        .generation = object->generation,
        .spec = (char *)keep(build, berth_json_format(object->spec)),
        .labels = (char *)keep(build, berth_json_format(object->labels)),
        .format = 1,
    };
    build->plan.mark = &build->mark;
}

static gboolean
is_kvm(BerthControl *control, const char *host)
{
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, host);
    return object != NULL &&
           g_strcmp0(((BerthHostStatus *)object->status_data)->acceleration, "kvm") == 0;
}

static void
fill_build(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    const BerthWorkload *workload = berth_workload_of(object);
    gboolean pod = object->kind == &berth_kind_pod;
    build->strings = g_ptr_array_new_with_free_func(g_free);
    build->disks = g_array_new(FALSE, FALSE, sizeof(BerthDiskPlan));
    build->nics = g_array_new(FALSE, FALSE, sizeof(BerthNicPlan));
    build->plan = (BerthDomainPlan){
        .uuid = object->uid,
        .name = keep(build, domain_name_for(object)),
        .title = keep(
            build, g_strdup_printf("%s %s/%s", pod ? "pod" : "vm", object->project, object->name)),
        .profile = (BerthProfile)workload->profile,
        .kvm = is_kvm(control, host->name),
        .vcpus = (guint)workload->vcpus,
        .memory_mib = (guint64)workload->memory_mib,
        .agent = !pod && ((BerthVmSpec *)object->spec_data)->guest_agent,
    };
    if (pod) {
        add_image_disks(build, control, host, object);
        add_pod_boot(build, control, host, object);
    } else {
        add_vm_disks(build, control, host, object);
    }
    add_nics(build, control, object);
    fill_mark(build, control, object);
    build->plan.disks = (const BerthDiskPlan *)build->disks->data;
    build->plan.disk_count = build->disks->len;
    build->plan.nics = (const BerthNicPlan *)build->nics->data;
    build->plan.nic_count = build->nics->len;
}

static void
on_defined(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthFleetHost *host = find_host(pending);
    BerthWorkloadRun *run = find_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_domain(host, pending->uuid, BERTH_DOMAIN_SHUTOFF, BERTH_STOP_UNKNOWN);
    }
    if (run != NULL) {
        run->defined_us = berth_clock_monotonic_us(pending->controller->control->clock);
        berth_workload_run_done(run, error);
    }
}

static void
act_define(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    g_auto(Build) build = {0};
    fill_build(&build, control, berth_workload_run_host(run, object), object);
    run->define_began_us = berth_clock_monotonic_us(control->clock);
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &build.plan};
    submit(run, object, &call, on_defined, NULL);
}

/* ---- power ------------------------------------------------------------------------------------- */

static void
on_started(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthFleetHost *host = find_host(pending);
    BerthWorkloadRun *run = find_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_domain(host, pending->uuid, BERTH_DOMAIN_RUNNING, BERTH_STOP_UNKNOWN);
    }
    if (run == NULL) {
        return;
    }
    if (error == NULL) {
        run->started_us = berth_clock_monotonic_us(pending->controller->control->clock);
        run->domain_started_us = run->started_us;
    }
    berth_workload_run_done(run, error);
}

static void
act_start(BerthWorkloadRun *run, BerthObject *object)
{
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_START,
                          .uuid = berth_workload_domain_uuid(object)};
    run->start_began_us = berth_clock_monotonic_us(run->controller->control->clock);
    submit(run, object, &call, on_started, NULL);
}

static void
on_asked_to_stop(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthWorkloadRun *run = find_run(pending);
    if (run != NULL) {
        /* A guest that can't be asked has its time all the same; then its power is cut. */
        berth_workload_run_done(run, NULL);
    }
}

static void
act_ask_stop(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    run->stop_asked_us = berth_clock_monotonic_us(control->clock);
    if (run->pod != NULL) {
        berth_pod_run_stop(run->pod, (guint)berth_workload_of(object)->stop_timeout_s * 1000);
        finish_soon(run, object);
        return;
    }
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_SHUTDOWN,
                          .uuid = berth_workload_domain_uuid(object)};
    submit(run, object, &call, on_asked_to_stop, NULL);
}

static void
on_power_cut(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthFleetHost *host = find_host(pending);
    BerthWorkloadRun *run = find_run(pending);
    if (error == NULL && host != NULL && berth_fleet_domain(host, pending->uuid) != NULL) {
        berth_fleet_note_domain(host, pending->uuid, BERTH_DOMAIN_SHUTOFF, BERTH_STOP_DESTROYED);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
act_cut_power(BerthWorkloadRun *run, BerthObject *object)
{
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_DESTROY,
                          .uuid = berth_workload_domain_uuid(object)};
    submit(run, object, &call, on_power_cut, NULL);
}

static void
on_undefined(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthFleetHost *host = find_host(pending);
    BerthWorkloadRun *run = find_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_gone(host, pending->uuid);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
act_undefine(BerthWorkloadRun *run, BerthObject *object)
{
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_UNDEFINE,
                          .uuid = berth_workload_domain_uuid(object)};
    submit(run, object, &call, on_undefined, NULL);
}

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
    const BerthImageStatus *image = find_image(control, reference);
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
    const BerthImageStatus *image = find_image(control, spec->image);
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
    char *serial = image_serial(image->disk_digest);
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

static void
act_call_guest(BerthWorkloadRun *run, BerthObject *object)
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
    finish_soon(run, object);
}

static void
act_start_containers(BerthWorkloadRun *run, BerthObject *object)
{
    if (run->pod != NULL) {
        berth_pod_run_start_due(run->pod);
    }
    finish_soon(run, object);
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void
on_released(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthControl *control = pending->controller->control;
    BerthWorkloadRun *run = find_run(pending);
    if (error == NULL) {
        berth_ledger_release(control->ledger, pending->uid);
        if (pending->host != NULL) {
            berth_host_controller_touch(control->hosts, pending->host);
        }
        berth_workload_controller_capacity(pending->controller);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
act_release(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    BerthTransaction *transaction = berth_transaction_new();
    json_t *status = berth_status_copy(object);
    json_t *domain = json_object_get(status, "domain");
    json_object_del(status, "host");
    json_object_del(status, "networks");
    json_object_del(status, "used_memory_mib");
    json_object_del(domain, "host");
    berth_addresses_release(control->catalog, object, transaction);
    berth_catalog_add_status(transaction, object, status);
    json_decref(status);
    berth_catalog_submit(control->catalog, transaction, on_released,
                         pending_new(run, object, NULL));
}

static void
on_removed(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
           gpointer data)
{
    g_autoptr(Pending) pending = data;
    BerthControl *control = pending->controller->control;
    gboolean gone = error == NULL || g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND);
    if (gone) {
        berth_logs_delete(control->logs, pending->uid);
        g_autofree char *seed = seed_path(control, pending->uid);
        unlink(seed);
        g_autofree char *console = g_strdup_printf("%s/console/%s", control->state, pending->uid);
        unlink(console);
        if (pending->host != NULL) {
            berth_host_controller_touch(control->hosts, pending->host);
        }
    }
    BerthWorkloadRun *run = find_run(pending);
    if (run != NULL) {
        berth_workload_run_done(run, gone ? NULL : error);
    }
}

static void
act_remove(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    BerthTransaction *transaction = berth_transaction_new();
    berth_addresses_release(control->catalog, object, transaction);
    berth_catalog_add_delete(transaction, object);
    berth_catalog_submit(control->catalog, transaction, on_removed, pending_new(run, object, NULL));
}

static void (*const actions[BERTH_DO_COUNT])(BerthWorkloadRun *run, BerthObject *object) = {
    [BERTH_DO_PULL] = act_pull,
    [BERTH_DO_PLACE] = act_place,
    [BERTH_DO_STAGE] = act_stage,
    [BERTH_DO_MAKE_DISKS] = act_make_disks,
    [BERTH_DO_DEFINE] = act_define,
    [BERTH_DO_START] = act_start,
    [BERTH_DO_CALL_GUEST] = act_call_guest,
    [BERTH_DO_START_CONTAINERS] = act_start_containers,
    [BERTH_DO_ASK_STOP] = act_ask_stop,
    [BERTH_DO_CUT_POWER] = act_cut_power,
    [BERTH_DO_UNDEFINE] = act_undefine,
    [BERTH_DO_DELETE_DISKS] = act_delete_disks,
    [BERTH_DO_RELEASE] = act_release,
    [BERTH_DO_REMOVE] = act_remove,
};

/** Carries @step out; the run is busy until berth_workload_run_done(). */
void
berth_workload_act(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadStep *step)
{
    actions[step->action](run, object);
}
