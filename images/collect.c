/* What images and disks need of the cache, and the end of what none needs. Thread-safe; blocks.
 * Start at mark_all(). */
#include "images/pull.h"

#include "base/error.h"

#include <string.h>

static void
add_hex(GHashTable *set, const BerthDigest *digest)
{
    g_hash_table_add(set, g_strdup(digest->hex));
}

static void
mark_config(BerthBlobs *blobs, const BerthManifest *manifest, GHashTable *set)
{
    g_autofree char *data = NULL;
    gsize length;
    if (!berth_blobs_read(blobs, &manifest->config.digest, BERTH_MANIFEST_SIZE_MAX, &data, &length,
                          NULL)) {
        return;
    }
    g_autoptr(BerthImageConfig) config = berth_image_config_parse(data, length, NULL);
    BerthDigest squashfs;
    guint64 size;
    if (config != NULL && berth_rootfs_find(blobs, config->diff_ids, &squashfs, &size)) {
        add_hex(set, &squashfs);
    }
}

/* Adds all that @digest needs. A root may be an image's manifest or a disk. */
static gboolean
mark(BerthBlobs *blobs, const BerthDigest *digest, GHashTable *set, GError **error)
{
    g_autofree char *data = NULL;
    gsize size;
    g_autoptr(GError) problem = NULL;
    add_hex(set, digest);
    if (!berth_blobs_read(blobs, digest, BERTH_MANIFEST_SIZE_MAX, &data, &size, &problem)) {
        /* Missing: nothing hangs on it. Larger than a manifest: a disk. */
        if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND) ||
            g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_EXHAUSTED)) {
            return TRUE;
        }
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    g_autoptr(BerthManifest) manifest = berth_manifest_parse(data, size, NULL, NULL);
    if (manifest == NULL || manifest->type != BERTH_MANIFEST_IMAGE) {
        return TRUE;
    }
    add_hex(set, &manifest->config.digest);
    for (guint i = 0; i < manifest->layers->len; i++) {
        const BerthDescriptor *layer = manifest->layers->pdata[i];
        add_hex(set, &layer->digest);
    }
    mark_config(blobs, manifest, set);
    return TRUE;
}

static GHashTable *
mark_all(BerthBlobs *blobs, const char *const *roots, GError **error)
{
    g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; roots != NULL && roots[i] != NULL; i++) {
        BerthDigest digest;
        if (!berth_digest_parse(roots[i], strlen(roots[i]), &digest, error) ||
            !mark(blobs, &digest, set, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&set);
}

/**
 * berth_image_delete:
 * @digest: "sha256:…" of an image or a disk
 * @roots: (nullable): NULL-terminated: digests of all images and disks that stay
 * @freed: (out) (nullable): bytes given back
 *
 * Removes what @digest needs and nothing of @roots needs. What is in use by a result or an operation
 * stays until the next collection.
 */
gboolean
berth_image_delete(BerthBlobs *blobs, const char *digest, const char *const *roots, guint64 *freed,
                   GError **error)
{
    const char *const victims[] = {digest, NULL};
    g_autoptr(GHashTable) live = mark_all(blobs, roots, error);
    g_autoptr(GHashTable) only = live == NULL ? NULL : mark_all(blobs, victims, error);
    return only != NULL && berth_blobs_sweep(blobs, live, only, freed, error) &&
           berth_rootfs_forget_missing(blobs, error);
}

/**
 * berth_image_gc:
 * @roots: (nullable): NULL-terminated: digests of all images and disks that stay
 * @freed: (out) (nullable): bytes given back
 *
 * Removes everything else from the cache, cut downloads too, save what is in use now.
 */
gboolean
berth_image_gc(BerthBlobs *blobs, const char *const *roots, guint64 *freed, GError **error)
{
    g_autoptr(GHashTable) live = mark_all(blobs, roots, error);
    return live != NULL && berth_blobs_sweep(blobs, live, NULL, freed, error) &&
           berth_rootfs_forget_missing(blobs, error);
}
