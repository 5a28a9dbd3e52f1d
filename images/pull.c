/* The whole operations on container images: pull, load, open.
 *
 * Invariants: what an operation needs is pinned before it is looked for, so that a collection at any
 * moment takes nothing away from it; a result holds pins until it is freed. Of one reference at most one
 * pull runs, of one list of layers at most one conversion. Thread-safe; every call blocks.
 * Start at berth_image_pull(). */
#include "images/pull.h"

#include "base/error.h"
#include "base/fd.h"
#include "images/download.h"
#include "images/layout.h"

#include <fcntl.h>
#include <string.h>

#define LAYERS_SIZE_MAX (G_GUINT64_CONSTANT(64) << 30)
#define BLOB_SIZE_MAX (G_GUINT64_CONSTANT(32) << 30)
#define PROGRESS_US (200 * G_TIME_SPAN_MILLISECOND)

/* One operation. */
typedef struct {
    BerthBlobs *blobs;                /* borrowed, as all here unless said */
    const BerthImageOptions *options; /* never NULL */
    GCancellable *cancellable;
    GPtrArray *pins; /* owned, of BerthDigest: let go at the end */
    BerthImageStep step;
    gint64 reported_us;
} Work;

static void
work_init(Work *work, BerthBlobs *blobs, const BerthImageOptions *options,
          GCancellable *cancellable)
{
    static const BerthImageOptions none;
    memset(work, 0, sizeof *work);
    work->blobs = blobs;
    work->options = options == NULL ? &none : options;
    work->cancellable = cancellable;
    work->pins = g_ptr_array_new_with_free_func(g_free);
}

static void
work_clear(Work *work)
{
    for (guint i = 0; i < work->pins->len; i++) {
        berth_blobs_unpin(work->blobs, work->pins->pdata[i]);
    }
    g_clear_pointer(&work->pins, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

static void
own_pin(Work *work, const BerthDigest *digest)
{
    g_ptr_array_add(work->pins, g_memdup2(digest, sizeof *digest));
}

static void
pin(Work *work, const BerthDigest *digest)
{
    berth_blobs_pin(work->blobs, digest);
    own_pin(work, digest);
}

static void
report(Work *work, BerthImageStep step, guint64 done, guint64 total)
{
    gint64 now = g_get_monotonic_time();
    gboolean last = step != work->step || (total > 0 && done >= total);
    if (work->options->progress == NULL || (!last && now - work->reported_us < PROGRESS_US)) {
        return;
    }
    work->step = step;
    work->reported_us = now;
    const BerthImageProgress progress = {.step = step, .done = done, .total = total};
    work->options->progress(&progress, work->options->progress_data);
}

static void
report_download(guint64 done, guint64 total, gpointer user_data)
{
    report(user_data, BERTH_IMAGE_DOWNLOADING, done, total);
}

static void
report_conversion(guint64 done, guint64 total, gpointer user_data)
{
    report(user_data, BERTH_IMAGE_CONVERTING, done, total);
}

/* ---- results ---- */

void
berth_image_result_free(BerthImageResult *result)
{
    if (result == NULL) {
        return;
    }
    if (result->blobs != NULL) {
        berth_blobs_unpin(result->blobs, &result->manifest);
        berth_blobs_unpin(result->blobs, &result->config_digest);
        berth_blobs_unpin(result->blobs, &result->squashfs);
        for (guint i = 0; i < result->layer_count; i++) {
            berth_blobs_unpin(result->blobs, &result->layers[i].digest);
        }
    }
    for (guint i = 0; i < result->layer_count; i++) {
        g_free(result->layers[i].media_type);
    }
    g_free(result->layers);
    g_free(result->reference);
    g_free(result->squashfs_path);
    berth_image_config_free(result->config);
    berth_blobs_unref(result->blobs);
    g_free(result);
}

/** Returns: (transfer full): "sha256:…" of the manifest, the image's name and root. */
char *
berth_image_result_digest(const BerthImageResult *result)
{
    return berth_digest_format(&result->manifest);
}

/** Returns: (transfer full): "sha256:…" of the squashfs file. */
char *
berth_image_result_squashfs_digest(const BerthImageResult *result)
{
    return berth_digest_format(&result->squashfs);
}

static void
copy_layers(BerthImageResult *result, const GPtrArray *layers)
{
    result->layer_count = layers->len;
    result->layers = g_new0(BerthDescriptor, layers->len);
    for (guint i = 0; i < layers->len; i++) {
        const BerthDescriptor *layer = layers->pdata[i];
        result->layers[i] = *layer;
        result->layers[i].media_type = g_strdup(layer->media_type);
        result->layers_size += layer->size;
    }
}

static void
pin_result(BerthImageResult *result)
{
    berth_blobs_pin(result->blobs, &result->manifest);
    berth_blobs_pin(result->blobs, &result->config_digest);
    berth_blobs_pin(result->blobs, &result->squashfs);
    for (guint i = 0; i < result->layer_count; i++) {
        berth_blobs_pin(result->blobs, &result->layers[i].digest);
    }
}

/* ---- from the cache to a result ---- */

/* Finds the squashfs of these layers and pins it. */
static gboolean
find_rootfs(Work *work, const GArray *diff_ids, BerthDigest *squashfs, guint64 *size)
{
    BerthDigest found;
    if (!berth_rootfs_find(work->blobs, diff_ids, &found, size)) {
        return FALSE;
    }
    pin(work, &found);
    /* It may have been collected before the pin. */
    return berth_rootfs_find(work->blobs, diff_ids, squashfs, size) &&
           berth_digest_equal(&found, squashfs);
}

static gboolean
convert(Work *work, const GPtrArray *layers, const GArray *diff_ids, BerthDigest *squashfs,
        guint64 *size, GError **error)
{
    if (!berth_rootfs_convert(work->blobs, layers, diff_ids, &work->options->budget,
                              report_conversion, work, work->cancellable, squashfs, size, error)) {
        return FALSE;
    }
    own_pin(work, squashfs);
    return TRUE;
}

static char *
flight_key(const GArray *diff_ids)
{
    g_autoptr(GString) key = g_string_new("rootfs:");
    for (guint i = 0; i < diff_ids->len; i++) {
        g_string_append_printf(key, "%s,", g_array_index(diff_ids, BerthDigest, i).hex);
    }
    return g_string_free(g_steal_pointer(&key), FALSE);
}

/* Converts, unless it was done before or another thread is at it. */
static gboolean
ensure_rootfs(Work *work, const GPtrArray *layers, const GArray *diff_ids, BerthDigest *squashfs,
              guint64 *size, GError **error)
{
    g_autofree char *key = flight_key(diff_ids);
    BerthFlights *flights = berth_blobs_flights(work->blobs);
    while (!find_rootfs(work, diff_ids, squashfs, size)) {
        gboolean leads;
        if (!berth_flights_join(flights, key, work->cancellable, &leads, NULL, error)) {
            return FALSE;
        }
        if (!leads) {
            continue;
        }
        g_autoptr(GError) problem = NULL;
        gboolean ok = find_rootfs(work, diff_ids, squashfs, size) ||
                      convert(work, layers, diff_ids, squashfs, size, &problem);
        berth_flights_land(flights, key, NULL, problem);
        if (!ok) {
            g_propagate_error(error, g_steal_pointer(&problem));
        }
        return ok;
    }
    return TRUE;
}

static BerthManifest *
read_manifest(Work *work, const BerthDigest *digest, GError **error)
{
    g_autofree char *data = NULL;
    gsize size;
    if (!berth_blobs_read(work->blobs, digest, BERTH_MANIFEST_SIZE_MAX, &data, &size, error)) {
        return NULL;
    }
    g_autoptr(BerthManifest) manifest = berth_manifest_parse(data, size, NULL, error);
    if (manifest != NULL && manifest->type != BERTH_MANIFEST_IMAGE) {
        berth_error_set(error, BERTH_ERROR_INVALID, "sha256:%s is an index, not an image",
                        digest->hex);
        return NULL;
    }
    return g_steal_pointer(&manifest);
}

static BerthImageConfig *
read_config(Work *work, const BerthManifest *manifest, GError **error)
{
    g_autofree char *data = NULL;
    gsize size;
    if (!berth_blobs_read(work->blobs, &manifest->config.digest, BERTH_MANIFEST_SIZE_MAX, &data,
                          &size, error)) {
        return NULL;
    }
    g_autoptr(BerthImageConfig) config = berth_image_config_parse(data, size, error);
    if (config == NULL || !berth_image_config_check(config, manifest->layers->len, error)) {
        return NULL;
    }
    return g_steal_pointer(&config);
}

static gboolean
check_layers_present(Work *work, const BerthManifest *manifest, GError **error)
{
    for (guint i = 0; i < manifest->layers->len; i++) {
        const BerthDescriptor *layer = manifest->layers->pdata[i];
        guint64 size;
        if (!berth_blobs_has(work->blobs, &layer->digest, &size)) {
            berth_error_set(error, BERTH_ERROR_NOT_FOUND,
                            "layer %u (sha256:%s) is not in the cache", i, layer->digest.hex);
            return FALSE;
        }
        if (size != layer->size) {
            berth_error_set(error, BERTH_ERROR_CORRUPT,
                            "layer %u has %" G_GUINT64_FORMAT
                            " bytes, the manifest says %" G_GUINT64_FORMAT,
                            i, size, layer->size);
            return FALSE;
        }
    }
    return TRUE;
}

static void
pin_image(Work *work, const BerthManifest *manifest)
{
    pin(work, &manifest->config.digest);
    for (guint i = 0; i < manifest->layers->len; i++) {
        const BerthDescriptor *layer = manifest->layers->pdata[i];
        pin(work, &layer->digest);
    }
}

/* Everything is in the cache: read it, convert it if need be, make the result. @digest is pinned. */
static gboolean
finish_image(Work *work, const BerthDigest *digest, const char *reference,
             BerthImageResult **result, GError **error)
{
    g_autoptr(BerthManifest) manifest = read_manifest(work, digest, error);
    if (manifest == NULL) {
        return FALSE;
    }
    pin_image(work, manifest);
    g_autoptr(BerthImageConfig) config = read_config(work, manifest, error);
    BerthDigest squashfs;
    guint64 size;
    if (config == NULL || !check_layers_present(work, manifest, error) ||
        !ensure_rootfs(work, manifest->layers, config->diff_ids, &squashfs, &size, error)) {
        return FALSE;
    }
    BerthImageResult *made = g_new0(BerthImageResult, 1);
    made->reference = g_strdup(reference);
    made->manifest = *digest;
    made->config_digest = manifest->config.digest;
    made->config = g_steal_pointer(&config);
    copy_layers(made, manifest->layers);
    made->squashfs = squashfs;
    made->squashfs_path = berth_rootfs_path(work->blobs, &squashfs);
    made->squashfs_size = size;
    made->blobs = berth_blobs_ref(work->blobs);
    pin_result(made);
    report(work, BERTH_IMAGE_DONE, 1, 1);
    *result = made;
    return TRUE;
}

/**
 * berth_image_open:
 * @manifest_digest: "sha256:…" as berth_image_result_digest() gave it
 * @options: (nullable)
 * @result: (out): (transfer full): the image, its squashfs made again if it was collected
 *
 * Asks no registry. Errors: NOT_FOUND when a part of the image is not in the cache: pull again.
 */
gboolean
berth_image_open(BerthBlobs *blobs, const char *manifest_digest, const BerthImageOptions *options,
                 GCancellable *cancellable, BerthImageResult **result, GError **error)
{
    BerthDigest digest;
    if (!berth_digest_parse(manifest_digest, strlen(manifest_digest), &digest, error)) {
        return FALSE;
    }
    g_auto(Work) work;
    work_init(&work, blobs, options, cancellable);
    pin(&work, &digest);
    return finish_image(&work, &digest, NULL, result, error);
}

/* ---- pull ---- */

static char *
asked_for(const BerthReference *reference)
{
    return reference->has_digest ? berth_digest_format(&reference->digest)
                                 : g_strdup(reference->tag);
}

static gboolean
keep_manifest(Work *work, const char *data, gsize size, BerthDigest *digest, GError **error)
{
    if (!berth_blobs_put(work->blobs, data, size, digest, error)) {
        return FALSE;
    }
    own_pin(work, digest);
    return TRUE;
}

/* From the reference over indexes to the manifest of our platform's image. */
static gboolean
resolve(Work *work, BerthRegistry *registry, const BerthReference *reference, BerthDigest *digest,
        BerthManifest **image, GError **error)
{
    g_autofree char *wanted = asked_for(reference);
    gboolean by_digest = reference->has_digest;
    BerthDigest expected = reference->digest;
    for (guint depth = 0; depth <= BERTH_INDEX_DEPTH_MAX; depth++) {
        g_autofree char *data = NULL, *content_type = NULL;
        gsize size;
        if (!berth_registry_get_manifest(registry, wanted, by_digest ? &expected : NULL,
                                         work->cancellable, &data, &size, &content_type, error)) {
            return FALSE;
        }
        g_autoptr(BerthManifest) manifest = berth_manifest_parse(data, size, content_type, error);
        if (manifest == NULL) {
            return FALSE;
        }
        if (manifest->type == BERTH_MANIFEST_IMAGE) {
            *image = g_steal_pointer(&manifest);
            return keep_manifest(work, data, size, digest, error);
        }
        by_digest = TRUE;
        expected = manifest->chosen.digest;
        g_free(wanted);
        wanted = berth_digest_format(&expected);
    }
    berth_error_set(error, BERTH_ERROR_INVALID, "the index holds indexes deeper than %d levels",
                    BERTH_INDEX_DEPTH_MAX);
    return FALSE;
}

static guint64
limit_or(guint64 limit, guint64 fallback)
{
    return limit == 0 ? fallback : limit;
}

static gboolean
check_sizes(const Work *work, const BerthManifest *manifest, GError **error)
{
    const BerthRegistryOptions *options = &work->options->registry;
    const guint64 blob_max = limit_or(options->blob_size_max, BLOB_SIZE_MAX);
    const guint64 image_max = limit_or(options->image_size_max, LAYERS_SIZE_MAX);
    guint64 sum = 0;
    for (guint i = 0; i < manifest->layers->len; i++) {
        const BerthDescriptor *layer = manifest->layers->pdata[i];
        if (layer->size > blob_max || __builtin_add_overflow(sum, layer->size, &sum) ||
            sum > image_max) {
            berth_error_set(error, BERTH_ERROR_INVALID,
                            "the image is too large: layer %u has %" G_GUINT64_FORMAT " MiB", i,
                            layer->size >> 20);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
fetch(Work *work, BerthRegistry *registry, const GPtrArray *wanted,
      BerthDownloadProgressFunc progress, GError **error)
{
    const BerthRegistryOptions *options = &work->options->registry;
    guint parallel = options->parallel == 0 ? 3 : MIN(options->parallel, 16);
    guint attempts = options->attempts == 0 ? 3 : MIN(options->attempts, 20);
    return berth_download(work->blobs, registry, parallel, attempts, wanted, progress, work,
                          work->cancellable, error);
}

/* The config first: it is small, and tells whether the rest is worth it. */
static gboolean
fetch_blobs(Work *work, BerthRegistry *registry, const BerthManifest *manifest, GError **error)
{
    g_autoptr(GPtrArray) first = g_ptr_array_new();
    g_ptr_array_add(first, (gpointer)&manifest->config);
    pin_image(work, manifest);
    if (!check_sizes(work, manifest, error) || !fetch(work, registry, first, NULL, error)) {
        return FALSE;
    }
    g_autoptr(BerthImageConfig) config = read_config(work, manifest, error);
    return config != NULL && fetch(work, registry, manifest->layers, report_download, error);
}

static gboolean
pull_image(Work *work, const BerthReference *reference, const char *canonical,
           BerthImageResult **result, GError **error)
{
    g_autoptr(BerthRegistry) registry =
        berth_registry_new(reference, &work->options->registry, error);
    BerthDigest digest;
    g_autoptr(BerthManifest) manifest = NULL;
    report(work, BERTH_IMAGE_RESOLVING, 0, 0);
    return registry != NULL && resolve(work, registry, reference, &digest, &manifest, error) &&
           fetch_blobs(work, registry, manifest, error) &&
           finish_image(work, &digest, canonical, result, error);
}

static gboolean
lead_pull(BerthBlobs *blobs, const char *key, const BerthReference *reference,
          const char *canonical, const BerthImageOptions *options, GCancellable *cancellable,
          BerthImageResult **result, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *outcome = NULL;
    g_auto(Work) work;
    work_init(&work, blobs, options, cancellable);
    gboolean ok = pull_image(&work, reference, canonical, result, &problem);
    if (ok) {
        outcome = berth_image_result_digest(*result);
    }
    berth_flights_land(berth_blobs_flights(blobs), key, outcome, problem);
    if (!ok) {
        g_propagate_prefixed_error(error, g_steal_pointer(&problem), "%s: ", canonical);
    }
    return ok;
}

/**
 * berth_image_pull:
 * @reference: as people write it
 * @options: (nullable): defaults; with a progress callback
 * @cancellable: (nullable)
 * @result: (out): (transfer full): the image, ready for hosts
 *
 * Brings an image from its registry into the cache and makes its squashfs. What is there already is not
 * fetched again; what a cut pull left is continued. A hundred calls for one reference are one pull.
 *
 * Errors: INVALID for the reference or a document; NOT_FOUND, DENIED, UNAVAILABLE, TIMEOUT of the
 * registry; CORRUPT for digests that differ; EXHAUSTED without room; CANCELLED.
 */
gboolean
berth_image_pull(BerthBlobs *blobs, const char *reference, const BerthImageOptions *options,
                 GCancellable *cancellable, BerthImageResult **result, GError **error)
{
    g_autoptr(BerthReference) parsed = berth_reference_parse(reference, error);
    if (parsed == NULL) {
        return FALSE;
    }
    g_autofree char *canonical = berth_reference_format(parsed);
    g_autofree char *key = g_strconcat("pull:", canonical, NULL);
    for (;;) {
        gboolean leads;
        g_autofree char *digest = NULL;
        if (!berth_flights_join(berth_blobs_flights(blobs), key, cancellable, &leads, &digest,
                                error)) {
            return FALSE;
        }
        if (leads) {
            return lead_pull(blobs, key, parsed, canonical, options, cancellable, result, error);
        }
        g_autoptr(GError) problem = NULL;
        if (berth_image_open(blobs, digest, options, cancellable, result, &problem)) {
            (*result)->reference = g_steal_pointer(&canonical);
            return TRUE;
        }
        if (!g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        /* Collected between the other's end and our look: pull ourselves. */
    }
}

/* ---- load ---- */

/**
 * berth_image_load_fd:
 * @fd: see berth_layout_load(); stays the caller's
 * @results: (out): (transfer full): of BerthImageResult, at least one
 *
 * Takes all images of an archive into the cache and makes their squashfs files.
 */
gboolean
berth_image_load_fd(BerthBlobs *blobs, int fd, const BerthImageOptions *options,
                    GCancellable *cancellable, GPtrArray **results, GError **error)
{
    g_auto(Work) work;
    work_init(&work, blobs, options, cancellable);
    guint64 size_max = limit_or(work.options->registry.image_size_max, LAYERS_SIZE_MAX);
    g_autoptr(GPtrArray) loaded = berth_layout_load(blobs, fd, size_max, report_download, &work,
                                                    cancellable, work.pins, error);
    if (loaded == NULL) {
        return FALSE;
    }
    g_autoptr(GPtrArray) list =
        g_ptr_array_new_with_free_func((GDestroyNotify)berth_image_result_free);
    for (guint i = 0; i < loaded->len; i++) {
        const BerthLoaded *image = loaded->pdata[i];
        BerthImageResult *result;
        if (!finish_image(&work, &image->manifest, image->reference, &result, error)) {
            return FALSE;
        }
        g_ptr_array_add(list, result);
    }
    *results = g_steal_pointer(&list);
    return TRUE;
}

/** As berth_image_load_fd(), of the folder or file @path, which the caller trusts as a path. */
gboolean
berth_image_load(BerthBlobs *blobs, const char *path, const BerthImageOptions *options,
                 GCancellable *cancellable, GPtrArray **results, GError **error)
{
    g_auto(BerthFd) fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't open '%s'", path);
        return FALSE;
    }
    return berth_image_load_fd(blobs, fd, options, cancellable, results, error);
}
