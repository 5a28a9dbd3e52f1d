/* Images: pulls what Image objects name, takes uploads, deletes and collects.
 *
 * One worker thread per image under way, at most PULLS_MAX at once; the main loop owns all records. A
 * pull that was cut by a death begins again at start and resumes from the cache's partial blobs. Start
 * reading at look(). */
#include "daemon/control.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "images/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define PULLS_MAX 3
#define DISK_MAX (G_GUINT64_CONSTANT(1) << 42)
#define PROGRESS_MS 1000

struct BerthImageController {
    BerthControl *control;
    BerthBlobs *blobs;
    BerthQueue *queue; /* names of images */
    GHashTable *works; /* name -> Work, borrowed: it ends by itself */
    guint subscription;
    guint progress_timer;
};

/* What came out of a worker. */
typedef struct {
    char *digest, *disk_digest, *path, *format, *reference;
    guint64 size, virtual_size;
    json_t *config, *layers;
} Outcome;

/* One image under way; shared with its worker, which reads the inputs and writes `outcome`. */
typedef struct {
    BerthImageController *controller;
    char *name, *uid;
    char *reference; /* pull: canonical */
    char *upload;    /* upload: file, deleted at the end */
    gboolean disk;
    char *format;
    char **insecure;
    char *docker_config;
    BerthBlobs *blobs;
    GCancellable *cancellable;
    BerthAnswer answer; /* upload: who waits */
    gpointer answer_data;
    Outcome outcome;
    GMutex lock;
    BerthImageProgress progress; /* under lock */
    gint64 told_permille;
} Work;

static const char *const step_names[] = {"resolving", "downloading", "converting", "done"};

static void
free_work(gpointer data)
{
    Work *work = data;
    g_free(work->name);
    g_free(work->uid);
    g_free(work->reference);
    g_free(work->upload);
    g_free(work->format);
    g_strfreev(work->insecure);
    g_free(work->docker_config);
    berth_blobs_unref(work->blobs);
    g_object_unref(work->cancellable);
    g_free(work->outcome.digest);
    g_free(work->outcome.disk_digest);
    g_free(work->outcome.path);
    g_free(work->outcome.format);
    g_free(work->outcome.reference);
    json_decref(work->outcome.config);
    json_decref(work->outcome.layers);
    g_mutex_clear(&work->lock);
    g_free(work);
}

/* ---- the worker -------------------------------------------------------------------------------- */

static void
note_progress(const BerthImageProgress *progress, gpointer data)
{
    Work *work = data;
    g_mutex_lock(&work->lock);
    work->progress = *progress;
    g_mutex_unlock(&work->lock);
}

static json_t *
write_layers(const BerthImageResult *result)
{
    json_t *layers = json_array();
    for (guint i = 0; i < result->layer_count; i++) {
        g_autofree char *digest = berth_digest_format(&result->layers[i].digest);
        json_array_append_new(layers, json_pack("{s:s, s:I}", "digest", digest, "size",
                                                (json_int_t)result->layers[i].size));
    }
    return layers;
}

static void
take_image(Work *work, const BerthImageResult *result)
{
    Outcome *outcome = &work->outcome;
    outcome->digest = berth_image_result_digest(result);
    outcome->disk_digest = berth_image_result_squashfs_digest(result);
    outcome->path = g_strdup(result->squashfs_path);
    outcome->reference = g_strdup(result->reference);
    outcome->size = result->squashfs_size;
    outcome->virtual_size = result->squashfs_size;
    outcome->config = berth_image_config_to_json(result->config);
    outcome->layers = write_layers(result);
}

static gboolean
import_disk(Work *work, GError **error)
{
    g_auto(BerthFd) fd = open(work->upload, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't open the upload");
        return FALSE;
    }
    g_autoptr(BerthDiskResult) disk = NULL;
    if (!berth_image_import_disk(work->blobs, fd, work->format, DISK_MAX, work->cancellable, &disk,
                                 error)) {
        return FALSE;
    }
    Outcome *outcome = &work->outcome;
    outcome->digest = berth_digest_format(&disk->digest);
    outcome->disk_digest = g_strdup(outcome->digest);
    outcome->path = g_strdup(disk->path);
    outcome->format = g_strdup(disk->format);
    outcome->size = disk->size;
    outcome->virtual_size = disk->virtual_size;
    return TRUE;
}

static gboolean
load_archive(Work *work, const BerthImageOptions *options, GError **error)
{
    g_autoptr(GPtrArray) results = NULL;
    if (!berth_image_load(work->blobs, work->upload, options, work->cancellable, &results, error)) {
        return FALSE;
    }
    if (results->len != 1) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "the archive holds %u images; load them one at a time", results->len);
        return FALSE;
    }
    take_image(work, results->pdata[0]);
    return TRUE;
}

static gboolean
pull_image(Work *work, const BerthImageOptions *options, GError **error)
{
    g_autoptr(BerthImageResult) result = NULL;
    if (!berth_image_pull(work->blobs, work->reference, options, work->cancellable, &result,
                          error)) {
        return FALSE;
    }
    take_image(work, result);
    return TRUE;
}

static void
run_work(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Work *work = data;
    GError *error = NULL;
    BerthImageOptions options = {
        .registry = {.docker_config = work->docker_config,
                     .insecure = (const char *const *)work->insecure},
        .progress = note_progress,
        .progress_data = work,
    };
    gboolean ok = work->upload == NULL ? pull_image(work, &options, &error)
                  : work->disk         ? import_disk(work, &error)
                                       : load_archive(work, &options, &error);
    if (work->upload != NULL) {
        unlink(work->upload);
    }
    if (ok) {
        g_task_return_boolean(task, TRUE);
    } else {
        g_task_return_error(task, error);
    }
}

/* ---- records ----------------------------------------------------------------------------------- */

/* Who waits for the record of what a worker did. */
typedef struct {
    BerthImageController *controller;
    char *name;         /* owned */
    BerthAnswer answer; /* NULL: nobody */
    gpointer answer_data;
} Recording;

static Recording *
recording_new(BerthImageController *controller, BerthObject *image)
{
    Recording *recording = g_new0(Recording, 1);
    recording->controller = controller;
    recording->name = g_strdup(image->name);
    return recording;
}

/* What the store refused is worked for again: a pull finds its blobs in the cache; an upload is told. */
static void
on_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer data)
{
    g_autofree Recording *recording = data;
    g_autofree char *name = recording->name;
    if (error != NULL) {
        berth_queue_retry(recording->controller->queue, name);
    }
    if (recording->answer != NULL) {
        recording->answer(error == NULL ? "" : NULL, error, recording->answer_data);
    }
}

static void
put_failure(BerthImageController *controller, BerthObject *image, const GError *error)
{
    json_t *status = berth_status_copy(image);
    berth_status_set_text(status, "phase", "Failed");
    berth_status_set_reason(status, image->name, berth_error_code_name(berth_error_code_of(error)),
                            error->message, berth_error_hint(error));
    berth_catalog_put_status(controller->control->catalog, image, status, on_recorded,
                             recording_new(controller, image));
    json_decref(status);
    berth_catalog_record_event(controller->control->catalog, image, "error", "ImageFailed", NULL,
                               "%s", error->message);
    if (berth_error_is_retryable(error)) {
        berth_queue_retry(controller->queue, image->name);
    }
}

static void
put_outcome(BerthImageController *controller, BerthObject *image, const Work *work)
{
    const Outcome *outcome = &work->outcome;
    Recording *recording = recording_new(controller, image);
    recording->answer = work->answer;
    recording->answer_data = work->answer_data;
    json_t *status =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "phase", "Ready", "digest", outcome->digest,
                  "disk_digest", outcome->disk_digest, "size", (json_int_t)outcome->size,
                  "virtual_size", (json_int_t)outcome->virtual_size, "path", outcome->path);
    if (outcome->config != NULL) {
        json_object_set(status, "config", outcome->config);
        json_object_set(status, "layers", outcome->layers);
    }
    berth_catalog_put_status(controller->control->catalog, image, status, on_recorded, recording);
    json_decref(status);
}

/* Others may wait for a free worker; a failed one waits for its back-off. */
static void
wake_waiting(BerthImageController *controller, const char *except)
{
    g_autoptr(GPtrArray) all =
        berth_catalog_list(controller->control->catalog, &berth_kind_image, NULL);
    for (guint i = 0; i < all->len; i++) {
        BerthObject *image = all->pdata[i];
        const BerthImageStatus *status = image->status_data;
        if (g_strcmp0(status->phase, "Failed") != 0 && g_strcmp0(image->name, except) != 0) {
            berth_queue_add(controller->queue, image->name);
        }
    }
}

static void
on_worked(GObject *source, GAsyncResult *result, gpointer data)
{
    BerthImageController *controller = data;
    Work *work = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    gboolean ok = g_task_propagate_boolean(G_TASK(result), &error);
    BerthObject *image =
        berth_catalog_get(controller->control->catalog, &berth_kind_image, NULL, work->name);
    g_hash_table_remove(controller->works, work->name);
    gboolean wanted = image != NULL && g_str_equal(image->uid, work->uid);
    if (wanted && ok) {
        berth_queue_forget(controller->queue, work->name);
        put_outcome(controller, image, work);
    } else if (wanted) {
        put_failure(controller, image, error);
    }
    if (work->answer != NULL && !(wanted && ok)) {
        work->answer(ok ? "" : NULL, error, work->answer_data);
    }
    wake_waiting(controller, work->name);
}

static gboolean
tell_progress(gpointer data)
{
    BerthImageController *controller = data;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, controller->works);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Work *work = value;
        g_mutex_lock(&work->lock);
        BerthImageProgress progress = work->progress;
        g_mutex_unlock(&work->lock);
        gint64 permille = progress.total > 0 ? (gint64)(progress.done * 1000 / progress.total) : 0;
        gint64 mark = permille + 1000 * (gint64)progress.step;
        BerthObject *image =
            berth_catalog_get(controller->control->catalog, &berth_kind_image, NULL, work->name);
        if (image == NULL || mark == work->told_permille) {
            continue;
        }
        work->told_permille = mark;
        json_t *status = berth_status_copy(image);
        json_object_set_new(status, "phase", json_string("Pulling"));
        g_autofree char *text =
            g_strdup_printf("%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes",
                            step_names[progress.step], progress.done, progress.total);
        berth_status_set_reason(status, image->name, "pulling", text, NULL);
        berth_catalog_put_status(controller->control->catalog, image, status, NULL, NULL);
        json_decref(status);
    }
    if (g_hash_table_size(controller->works) == 0) {
        controller->progress_timer = 0;
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static char *
find_docker_config(void)
{
    const char *named = g_getenv("BERTH_DOCKER_CONFIG");
    g_autofree char *path =
        named != NULL ? g_strdup(named)
                      : g_build_filename(g_get_home_dir(), ".docker", "config.json", NULL);
    return g_file_test(path, G_FILE_TEST_EXISTS) ? g_steal_pointer(&path) : NULL;
}

static Work *
new_work(BerthImageController *controller, BerthObject *image)
{
    const BerthSettingsSpec *settings = berth_catalog_settings(controller->control->catalog);
    Work *work = g_new0(Work, 1);
    g_mutex_init(&work->lock);
    work->controller = controller;
    work->name = g_strdup(image->name);
    work->uid = g_strdup(image->uid);
    work->blobs = berth_blobs_ref(controller->blobs);
    work->cancellable = g_cancellable_new();
    work->insecure = g_strdupv(settings->insecure_registries);
    work->docker_config = find_docker_config();
    work->told_permille = -1;
    return work;
}

static void
start_work(BerthImageController *controller, Work *work)
{
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_worked, controller);
    g_hash_table_insert(controller->works, work->name, work);
    g_task_set_task_data(task, work, free_work);
    g_task_run_in_thread(task, run_work);
    if (controller->progress_timer == 0) {
        controller->progress_timer = g_timeout_add(PROGRESS_MS, tell_progress, controller);
    }
}

/* ---- deletion ---------------------------------------------------------------------------------- */

static char **
list_roots(BerthImageController *controller, BerthObject *except)
{
    g_autoptr(GStrvBuilder) roots = g_strv_builder_new();
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, controller->control->catalog, &berth_kind_image, NULL);
    for (BerthObject *image; (image = berth_catalog_iter_next(&iter)) != NULL;) {
        const BerthImageStatus *status = image->status_data;
        if (image != except && status->digest != NULL) {
            g_strv_builder_add(roots, status->digest);
        }
    }
    return g_strv_builder_end(roots);
}

static void
delete_image(BerthImageController *controller, BerthObject *image)
{
    BerthControl *control = controller->control;
    Work *work = g_hash_table_lookup(controller->works, image->name);
    if (work != NULL) {
        g_cancellable_cancel(work->cancellable);
        return;
    }
    if (berth_image_is_used(control, image)) {
        json_t *status = berth_status_copy(image);
        berth_status_set_reason(status, image->name, "in-use",
                                "pods or VMs still need it; it goes with them", "berth list --all");
        berth_catalog_put_status(control->catalog, image, status, NULL, NULL);
        json_decref(status);
        return;
    }
    const BerthImageStatus *status = image->status_data;
    if (status->digest != NULL) {
        g_auto(GStrv) roots = list_roots(controller, image);
        g_autoptr(GError) error = NULL;
        guint64 freed = 0;
        if (!berth_image_delete(controller->blobs, status->digest, (const char *const *)roots,
                                &freed, &error)) {
            g_warning("image '%s' is not out of the cache yet: %s", image->name, error->message);
        }
    }
    berth_catalog_delete(control->catalog, image, NULL, NULL);
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static void
look(const char *name, gpointer data)
{
    BerthImageController *controller = data;
    BerthControl *control = controller->control;
    BerthObject *image = berth_catalog_get(control->catalog, &berth_kind_image, NULL, name);
    if (image == NULL) {
        return;
    }
    if (image->deleting != NULL) {
        delete_image(controller, image);
        return;
    }
    const BerthImageSpec *spec = image->spec_data;
    const BerthImageStatus *status = image->status_data;
    gboolean pull = g_strcmp0(spec->type, "disk") != 0 && g_strcmp0(spec->source, "load") != 0 &&
                    g_strcmp0(spec->source, "upload") != 0;
    if (!pull || g_strcmp0(status->phase, "Ready") == 0 ||
        g_hash_table_contains(controller->works, name) ||
        g_hash_table_size(controller->works) >= PULLS_MAX) {
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthReference) reference = berth_reference_parse(spec->reference, &error);
    if (reference == NULL) {
        put_failure(controller, image, error);
        return;
    }
    Work *work = new_work(controller, image);
    work->reference = berth_reference_format(reference);
    start_work(controller, work);
}

/** Tries a failed image again at once. */
void
berth_image_retry(BerthImageController *controller, const char *name)
{
    berth_queue_forget(controller->queue, name);
    berth_queue_add(controller->queue, name);
}

/**
 * berth_image_content:
 * @path: the uploaded file: taken over
 *
 * BerthWorkloadOps.image_content: an OCI archive or a VM disk, by the Image's type.
 */
void
berth_image_content(gpointer data, BerthObject *image, const char *path, BerthAnswer answer,
                    gpointer user_data)
{
    BerthImageController *controller = data;
    const BerthImageSpec *spec = image->spec_data;
    g_autoptr(GError) error = NULL;
    if (g_hash_table_contains(controller->works, image->name)) {
        unlink(path);
        berth_error_set(&error, BERTH_ERROR_CONFLICT, "image '%s' is being filled already",
                        image->name);
        answer(NULL, error, user_data);
        return;
    }
    Work *work = new_work(controller, image);
    work->upload = g_strdup(path);
    work->disk = g_strcmp0(spec->type, "disk") == 0;
    work->format = g_strdup(spec->format != NULL ? spec->format : "qcow2");
    work->answer = answer;
    work->answer_data = user_data;
    start_work(controller, work);
}

static void
on_changed(const BerthObject *before, BerthObject *after, gpointer data)
{
    BerthImageController *controller = data;
    const BerthObject *object = after != NULL ? after : before;
    if (object->kind == &berth_kind_image) {
        /* A failed pull is tried again by its back-off or by a change of the spec, not by its own record. */
        gboolean only_status =
            before != NULL && after != NULL && before->body_revision == after->body_revision;
        if (!only_status) {
            berth_queue_add(controller->queue, object->name);
        }
        berth_workload_controller_images(controller->control->workloads);
    } else if (object->kind->workload && after == NULL) {
        g_autoptr(GPtrArray) all =
            berth_catalog_list(controller->control->catalog, &berth_kind_image, NULL);
        for (guint i = 0; i < all->len; i++) {
            BerthObject *image = all->pdata[i];
            if (image->deleting != NULL) {
                berth_queue_add(controller->queue, image->name);
            }
        }
    }
}

/** Errors: what berth_blobs_open() says of the cache folder. */
BerthImageController *
berth_image_controller_new(BerthControl *control, GError **error)
{
    g_autofree char *folder = g_build_filename(control->state, "images", NULL);
    BerthBlobsOptions options = {.reserve_bytes = 64 * 1024 * 1024};
    g_autoptr(BerthBlobs) blobs = berth_blobs_open(folder, &options, error);
    if (blobs == NULL) {
        return NULL;
    }
    BerthImageController *controller = g_new0(BerthImageController, 1);
    controller->control = control;
    controller->blobs = g_steal_pointer(&blobs);
    controller->works = g_hash_table_new(g_str_hash, g_str_equal);
    controller->queue = berth_queue_new(control->clock, look, controller);
    berth_queue_attach(controller->queue);
    controller->subscription = berth_catalog_subscribe(control->catalog, on_changed, controller);
    control->images = controller;
    g_autoptr(GPtrArray) images = berth_catalog_list(control->catalog, &berth_kind_image, NULL);
    for (guint i = 0; i < images->len; i++) {
        berth_queue_add(controller->queue, ((BerthObject *)images->pdata[i])->name);
    }
    return controller;
}

void
berth_image_controller_free(BerthImageController *controller)
{
    GHashTableIter iter;
    gpointer work;
    berth_queue_detach(controller->queue); /* or another one would begin while these end */
    g_hash_table_iter_init(&iter, controller->works);
    while (g_hash_table_iter_next(&iter, NULL, &work)) {
        g_cancellable_cancel(((Work *)work)->cancellable);
    }
    while (g_hash_table_size(controller->works) > 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    berth_catalog_drain(controller->control->catalog); /* their records are answered to this */
    if (controller->progress_timer != 0) {
        g_source_remove(controller->progress_timer);
    }
    berth_catalog_unsubscribe(controller->control->catalog, controller->subscription);
    berth_queue_free(controller->queue);
    g_hash_table_destroy(controller->works);
    berth_blobs_unref(controller->blobs);
    g_free(controller);
}
