/* Which Image object a reference means, and who needs it. Main loop only; changes nothing. Start at
 * berth_image_find(). */
#include "daemon/control.h"

#include "images/reference.h"

#include <string.h>

/**
 * berth_image_name_for:
 * @reference: as users write it
 * @canonical: (out) (transfer full): "docker.io/library/busybox:latest"
 *
 * Returns: (transfer full): the name that an Image object of @reference gets: a DNS label that begins
 * readably and ends with a part of the canonical reference's digest.
 */
char *
berth_image_name_for(const char *reference, char **canonical, GError **error)
{
    g_autoptr(BerthReference) parsed = berth_reference_parse(reference, error);
    if (parsed == NULL) {
        return NULL;
    }
    *canonical = berth_reference_format(parsed);
    const char *slash = strrchr(parsed->repository, '/');
    g_autofree char *readable =
        g_strdup_printf("%s-%s", slash != NULL ? slash + 1 : parsed->repository,
                        parsed->tag != NULL ? parsed->tag : "pinned");
    g_autofree char *lower = g_ascii_strdown(readable, -1);
    g_strcanon(lower, "abcdefghijklmnopqrstuvwxyz0123456789-", '-');
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, *canonical, -1);
    const char *start = lower + strspn(lower, "-");
    return g_strdup_printf("%.48s-%.8s", *start != '\0' ? start : "image", sum);
}

/**
 * berth_image_find:
 * @reference: name of an Image, or a reference in any spelling
 *
 * Returns: (nullable): the Image object, borrowed.
 */
BerthObject *
berth_image_find(BerthControl *control, const char *reference)
{
    BerthObject *named = berth_catalog_get(control->catalog, &berth_kind_image, NULL, reference);
    if (named != NULL) {
        return named;
    }
    g_autofree char *canonical = NULL;
    g_autofree char *name = berth_image_name_for(reference, &canonical, NULL);
    if (name == NULL) {
        return NULL;
    }
    named = berth_catalog_get(control->catalog, &berth_kind_image, NULL, name);
    if (named != NULL) {
        return named;
    }
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, control->catalog, &berth_kind_image, NULL);
    for (BerthObject *image; (image = berth_catalog_iter_next(&iter)) != NULL;) {
        const BerthImageSpec *spec = image->spec_data;
        g_autoptr(BerthReference) parsed =
            spec->reference != NULL ? berth_reference_parse(spec->reference, NULL) : NULL;
        g_autofree char *own = parsed != NULL ? berth_reference_format(parsed) : NULL;
        if (g_strcmp0(own, canonical) == 0) {
            return image;
        }
    }
    return NULL;
}

static gboolean
uses_image(BerthControl *control, const BerthKind *kind, BerthObject *image)
{
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, control->catalog, kind, NULL);
    for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
        if (kind == &berth_kind_pod) {
            const GPtrArray *containers = ((BerthPodSpec *)object->spec_data)->containers;
            for (guint i = 0; i < containers->len; i++) {
                BerthContainerSpec *container = containers->pdata[i];
                if (berth_image_find(control, container->image) == image) {
                    return TRUE;
                }
            }
            continue;
        }
        const GPtrArray *disks = ((BerthVmSpec *)object->spec_data)->disks;
        for (guint i = 0; disks != NULL && i < disks->len; i++) {
            if (g_strcmp0(((BerthDiskSpec *)disks->pdata[i])->image, image->name) == 0) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

/** Returns: whether any Pod or VM needs @image. */
gboolean
berth_image_is_used(BerthControl *control, BerthObject *image)
{
    return uses_image(control, &berth_kind_pod, image) ||
           uses_image(control, &berth_kind_vm, image);
}
