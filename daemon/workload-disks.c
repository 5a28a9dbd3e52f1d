/* The files of workloads: images and guest OS on the host, disks and seeds of VMs. Main loop only.
 *
 * Shared files are staged by content; a VM's own volumes are named after its uid, so that what belongs
 * to nobody is seen by its name. */
#include "daemon/workload-run.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "daemon/addresses.h"
#include "images/seed-iso.h"

#include <fcntl.h>
#include <string.h>

#define MIB (1024 * 1024)

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

/** Returns: (nullable): @digest without its "sha256:", borrowed. */
const char *
berth_digest_hex(const char *digest)
{
    return digest != NULL && g_str_has_prefix(digest, "sha256:") ? digest + strlen("sha256:")
                                                                 : digest;
}

/** Returns: (nullable): status of the Image @reference, borrowed. */
const BerthImageStatus *
berth_workload_image(BerthControl *control, const char *reference)
{
    BerthObject *image = berth_image_find(control, reference);
    return image != NULL ? image->status_data : NULL;
}

/* Digest of its first image, borrowed; NULL: not there yet. */
static const char *
image_digest(BerthControl *control, BerthObject *object)
{
    g_auto(GStrv) references = berth_workload_images(object);
    const BerthImageStatus *image =
        references[0] != NULL ? berth_workload_image(control, references[0]) : NULL;
    return image != NULL && image->disk_digest != NULL ? berth_digest_hex(image->disk_digest)
                                                       : NULL;
}

/** Returns: (nullable): the recorded digest of a VM's seed, borrowed. */
const char *
berth_workload_seed_digest(BerthObject *object)
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
        const BerthImageStatus *image = berth_workload_image(control, references[i]);
        g_ptr_array_add(files,
                        (gpointer)(image != NULL ? berth_digest_hex(image->disk_digest) : ""));
    }
    return files;
}

/* ---- stage ------------------------------------------------------------------------------------- */

static void
on_staged(const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
stage_file(BerthWorkloadRun *run, BerthObject *object, const char *sha256, const char *path,
           guint64 size)
{
    berth_stage_bring(run->controller->control->stage, berth_workload_status_of(object)->host,
                      sha256, path, size, on_staged, berth_pending_new(run, object, NULL));
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

/** Brings the first file that is missing on the host there; called again until none is. */
void
berth_workload_act_stage(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    BerthFleetHost *host = berth_workload_run_host(run, object);
    GError *error = NULL;
    if (object->kind == &berth_kind_pod && control->guest_os == NULL) {
        berth_error_set_at(&error, BERTH_ERROR_UNAVAILABLE, NULL, "make guest-os",
                           "no guest OS to boot pods from: %s", control->guest_os_problem);
        berth_workload_fail(run, error);
        return;
    }
    if (object->kind == &berth_kind_pod && stage_guest_os(run, object, host)) {
        return;
    }
    g_auto(GStrv) references = berth_workload_images(object);
    for (guint i = 0; references[i] != NULL; i++) {
        const BerthImageStatus *image = berth_workload_image(control, references[i]);
        if (image == NULL || image->disk_digest == NULL || image->path == NULL) {
            berth_error_set(&error, BERTH_ERROR_NOT_FOUND, "image '%s' is not in the cache",
                            references[i]);
            berth_workload_fail(run, error);
            return;
        }
        if (berth_stage_find(host, berth_digest_hex(image->disk_digest)) == NULL) {
            stage_file(run, object, berth_digest_hex(image->disk_digest), image->path,
                       (guint64)image->size);
            return;
        }
    }
    berth_workload_finish_soon(run);
}

/* ---- disks of VMs ------------------------------------------------------------------------------ */

/** Returns: (transfer full): the name of the volume that is @disk of this VM. */
char *
berth_workload_disk_volume(const BerthObject *object, const BerthDiskSpec *disk)
{
    return g_strdup_printf("%s-%s.qcow2", object->uid, disk->name);
}

/** Returns: whether the VM has anything to tell cloud-init. */
gboolean
berth_workload_wants_seed(const BerthObject *object)
{
    const BerthCloudInit *init = &((const BerthVmSpec *)object->spec_data)->cloud_init;
    return init->user_data != NULL || init->hostname != NULL || init->network_config != NULL;
}

/** Returns: whether a volume of its own is there. */
gboolean
berth_workload_has_volumes(BerthFleetHost *host, const BerthObject *object)
{
    GHashTableIter iter;
    gpointer volume;
    g_hash_table_iter_init(&iter, host->volumes);
    while (g_hash_table_iter_next(&iter, &volume, NULL)) {
        if (g_str_has_prefix(volume, object->uid)) {
            return TRUE;
        }
    }
    return FALSE;
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
        g_autofree char *volume = berth_workload_disk_volume(object, disk);
        if (disk->volume == NULL && !g_hash_table_contains(host->volumes, volume)) {
            return FALSE;
        }
    }
    return !berth_workload_wants_seed(object) ||
           berth_stage_find(host, berth_workload_seed_digest(object)) != NULL;
}

static guint64
disk_bytes(BerthControl *control, const BerthDiskSpec *disk)
{
    const BerthImageStatus *image =
        disk->image != NULL ? berth_workload_image(control, disk->image) : NULL;
    guint64 base = image != NULL ? (guint64)image->virtual_size : 0;
    return MAX(base, (guint64)disk->size_mib * MIB);
}

/* MiB of pool that its disks may grow to. */
static gint64
disk_mib(BerthControl *control, BerthObject *object)
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

/** Gathers what @object needs of its host; to be cleared before the main loop runs again. */
void
berth_workload_needs_init(BerthNeeds *needs, BerthControl *control, BerthObject *object)
{
    *needs = (BerthNeeds){disk_mib(control, object), image_digest(control, object),
                          berth_addresses_networks(control->catalog, object)};
}

void
berth_workload_needs_clear(BerthNeeds *needs)
{
    g_clear_pointer(&needs->networks, g_ptr_array_unref);
}

static void
note_volume(BerthFleetHost *host, const char *volume, gint64 capacity, const GError *error)
{
    if (error == NULL) {
        berth_fleet_note_volume(host, volume, capacity);
    } else {
        berth_fleet_doubt_volumes(host);
    }
}

static void
on_disk_made(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthFleetHost *host = berth_pending_host(pending);
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (host != NULL) {
        note_volume(host, pending->text, 0, error);
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
    g_autofree char *volume = berth_workload_disk_volume(object, disk);
    if (disk->volume != NULL || g_hash_table_contains(host->volumes, volume)) {
        return FALSE;
    }
    const BerthImageStatus *image =
        disk->image != NULL ? berth_workload_image(control, disk->image) : NULL;
    BerthObject *image_object = disk->image != NULL ? berth_image_find(control, disk->image) : NULL;
    const BerthImageSpec *image_spec = image_object != NULL ? image_object->spec_data : NULL;
    BerthHostCall call = {
        .verb = BERTH_HOST_VOLUME_CREATE,
        .pool = berth_fleet_pool(control->fleet),
        .volume = volume,
        .format = "qcow2",
        .size = disk_bytes(control, disk),
        .backing =
            image != NULL ? berth_stage_find(host, berth_digest_hex(image->disk_digest)) : NULL,
        .backing_format =
            image_spec != NULL && image_spec->format != NULL ? image_spec->format : "qcow2",
    };
    berth_workload_submit(run, object, &call, on_disk_made, volume);
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

/** Returns: (transfer full): where the seed of @uid is kept here. */
char *
berth_workload_seed_path(BerthControl *control, const char *uid)
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
    g_autofree char *path = berth_workload_seed_path(control, object->uid);
    GError *error = NULL;
    g_autoptr(GBytes) iso = build_seed(object, &sha256, &error);
    gsize size = 0;
    const void *data = iso != NULL ? g_bytes_get_data(iso, &size) : NULL;
    if (iso == NULL || !berth_fd_write_file(AT_FDCWD, path, data, size, 0600, &error)) {
        berth_workload_fail(run, error);
        return;
    }
    if (g_strcmp0(berth_workload_seed_digest(object), sha256) == 0) {
        stage_file(run, object, sha256, path, size);
        return;
    }
    json_t *status = berth_status_copy(object);
    json_object_set_new(status, "disks",
                        json_pack("[{s:s, s:s}]", "role", "seed", "sha256", sha256));
    berth_catalog_put_status(control->catalog, object, status, on_seed_recorded,
                             berth_pending_new(run, object, NULL));
    json_decref(status);
}

/** Makes the first of its own volumes that is missing; called again until none is. */
void
berth_workload_act_make_disks(BerthWorkloadRun *run, BerthObject *object)
{
    BerthFleetHost *host = berth_workload_run_host(run, object);
    const BerthVmSpec *spec = object->spec_data;
    for (guint i = 0; spec->disks != NULL && i < spec->disks->len; i++) {
        if (make_disk(run, object, host, spec->disks->pdata[i])) {
            return;
        }
    }
    if (berth_workload_wants_seed(object) &&
        berth_stage_find(host, berth_workload_seed_digest(object)) == NULL) {
        make_seed(run, object);
        return;
    }
    berth_workload_finish_soon(run);
}

static void
on_volume_deleted(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthFleetHost *host = berth_pending_host(pending);
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (host != NULL) {
        note_volume(host, pending->text, -1, error);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

/* Everything in the pool that begins with its uid; the seed is shared by content and cleaned apart. */
void
berth_workload_act_delete_disks(BerthWorkloadRun *run, BerthObject *object)
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
            berth_workload_submit(run, object, &call, on_volume_deleted, volume);
            return;
        }
    }
    berth_workload_finish_soon(run);
}
