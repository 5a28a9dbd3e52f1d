/* Manifests and indexes, OCI's and Docker's, from bytes that a stranger sent.
 *
 * Invariant: size and depth are bounded before memory is taken for the tree; each field that is
 * used is checked for its type; a document that could be read as two kinds is refused
 * (the class of CVE-2021-41190). Pure; thread-safe. Start at berth_manifest_parse(). */
#include "images/manifest.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

#define MEDIA_TYPE_MAX 255

static gboolean
is_media_type(const char *text)
{
    gsize length = strlen(text);
    if (length == 0 || length > MEDIA_TYPE_MAX) {
        return FALSE;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (!g_ascii_isalnum(*p) && strchr("!#$&-^_.+/", *p) == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Reads {mediaType, digest, size} at @pointer. `urls` would make us fetch from places that the
 * registry names: refused. */
static gboolean
read_descriptor(const json_t *object, const char *pointer, BerthDescriptor *descriptor,
                GError **error)
{
    if (!json_is_object(object)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL,
                           "'%s' of the manifest is not an object", pointer);
        return FALSE;
    }
    const json_t *digest = json_object_get(object, "digest");
    if (!berth_digest_parse(json_string_value(digest), json_string_length(digest),
                            &descriptor->digest, error)) {
        if (error != NULL) {
            g_prefix_error(error, "'%s' of the manifest: ", pointer);
        }
        return FALSE;
    }
    const json_t *size = json_object_get(object, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL,
                           "'%s/size' of the manifest is not a size in bytes", pointer);
        return FALSE;
    }
    descriptor->size = (guint64)json_integer_value(size);
    const char *media_type = berth_json_string(object, "mediaType");
    if (media_type == NULL || !is_media_type(media_type)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL,
                           "'%s/mediaType' of the manifest is missing or not a media type",
                           pointer);
        return FALSE;
    }
    const json_t *urls = json_object_get(object, "urls");
    if (json_array_size(urls) > 0 ||
        (urls != NULL && !json_is_array(urls) && !json_is_null(urls))) {
        berth_error_set_at(error, BERTH_ERROR_DENIED, pointer,
                           "push the image again with its layers in the registry",
                           "'%s' of the manifest names other places to fetch from (urls)", pointer);
        return FALSE;
    }
    descriptor->media_type = g_strdup(media_type);
    return TRUE;
}

/** Returns: (transfer full): a descriptor; @media_type is copied. */
BerthDescriptor *
berth_descriptor_new(const BerthDigest *digest, guint64 size, const char *media_type)
{
    BerthDescriptor *descriptor = g_new0(BerthDescriptor, 1);
    descriptor->digest = *digest;
    descriptor->size = size;
    descriptor->media_type = g_strdup(media_type);
    return descriptor;
}

void
berth_descriptor_free(BerthDescriptor *descriptor)
{
    if (descriptor != NULL) {
        g_free(descriptor->media_type);
        g_free(descriptor);
    }
}

static gboolean
is_layer_type(const char *media_type)
{
    return (g_str_has_prefix(media_type, "application/vnd.oci.image.layer.v1.tar") ||
            g_str_has_prefix(media_type, "application/vnd.docker.image.rootfs.diff.tar")) &&
           strstr(media_type, "encrypted") == NULL;
}

static gboolean
read_layer(const json_t *object, guint number, GPtrArray *layers, GError **error)
{
    g_autofree char *pointer = g_strdup_printf("/layers/%u", number);
    g_autoptr(BerthDescriptor) layer = g_new0(BerthDescriptor, 1);
    if (!read_descriptor(object, pointer, layer, error)) {
        return FALSE;
    }
    if (!is_layer_type(layer->media_type)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL,
                           "layer %u is a '%s', not a tar archive: this is not a container image",
                           number, layer->media_type);
        return FALSE;
    }
    g_ptr_array_add(layers, g_steal_pointer(&layer));
    return TRUE;
}

/* An image without layers is refused: other systems fell back to a disk of the host
 * (CVE-2026-24054). */
static gboolean
read_image(const json_t *root, BerthManifest *manifest, GError **error)
{
    const json_t *layers = json_object_get(root, "layers");
    gsize count = json_array_size(layers);
    if (count == 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/layers", NULL, "the image has no layers");
        return FALSE;
    }
    if (count > BERTH_MANIFEST_LAYERS_MAX) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/layers", NULL,
                           "the image has %zu layers, more than %d", count,
                           BERTH_MANIFEST_LAYERS_MAX);
        return FALSE;
    }
    if (!read_descriptor(json_object_get(root, "config"), "/config", &manifest->config, error)) {
        return FALSE;
    }
    if (manifest->config.size > BERTH_MANIFEST_SIZE_MAX) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/config/size", NULL,
                           "the configuration of %" G_GUINT64_FORMAT
                           " bytes is larger than %d bytes",
                           manifest->config.size, BERTH_MANIFEST_SIZE_MAX);
        return FALSE;
    }
    for (guint i = 0; i < count; i++) {
        if (!read_layer(json_array_get(layers, i), i, manifest->layers, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Whether an index's entry is for us. An entry without a platform (a tool's note, or a one-image
 * layout) is taken only when no other fits; so is a nested index. */
static guint
rank_entry(const json_t *entry)
{
    const json_t *platform = json_object_get(entry, "platform");
    const char *os = berth_json_string(platform, "os");
    const char *architecture = berth_json_string(platform, "architecture");
    if (!json_is_object(platform)) {
        return 1;
    }
    if (os == NULL || architecture == NULL || strcmp(os, BERTH_PLATFORM_OS) != 0 ||
        strcmp(architecture, BERTH_PLATFORM_ARCHITECTURE) != 0) {
        return 0;
    }
    /* "v2" and higher need CPU features that a host may lack: the plain one is preferred. */
    const char *variant = berth_json_string(platform, "variant");
    return variant == NULL || variant[0] == '\0' || strcmp(variant, "v1") == 0 ? 3 : 2;
}

static char *
list_platforms(const json_t *entries)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (gsize i = 0; i < json_array_size(entries) && text->len < 200; i++) {
        const json_t *platform = json_object_get(json_array_get(entries, i), "platform");
        const char *os = berth_json_string(platform, "os");
        const char *architecture = berth_json_string(platform, "architecture");
        if (os != NULL && architecture != NULL) {
            g_string_append_printf(text, "%s%.20s/%.20s", text->len > 0 ? ", " : "", os,
                                   architecture);
        }
    }
    g_autofree char *escaped = g_strescape(text->str, NULL);
    return g_steal_pointer(&escaped);
}

static gboolean
is_manifest_type(const char *media_type)
{
    return strcmp(media_type, BERTH_MEDIA_OCI_INDEX) == 0 ||
           strcmp(media_type, BERTH_MEDIA_OCI_MANIFEST) == 0 ||
           strcmp(media_type, BERTH_MEDIA_DOCKER_INDEX) == 0 ||
           strcmp(media_type, BERTH_MEDIA_DOCKER_MANIFEST) == 0;
}

static gboolean
read_index(const json_t *root, BerthManifest *manifest, GError **error)
{
    const json_t *entries = json_object_get(root, "manifests");
    gsize count = json_array_size(entries);
    if (count == 0 || count > BERTH_MANIFEST_ENTRIES_MAX) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/manifests", NULL,
                           "the index has %zu entries, not 1 to %d", count,
                           BERTH_MANIFEST_ENTRIES_MAX);
        return FALSE;
    }
    guint best_rank = 0, best = 0;
    for (guint i = 0; i < count; i++) {
        guint rank = rank_entry(json_array_get(entries, i));
        if (rank > best_rank) {
            best_rank = rank;
            best = i;
        }
    }
    if (best_rank == 0) {
        g_autofree char *platforms = list_platforms(entries);
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, "/manifests", NULL,
                           "the image is not made for %s/%s, only for %s", BERTH_PLATFORM_OS,
                           BERTH_PLATFORM_ARCHITECTURE, platforms);
        return FALSE;
    }
    g_autofree char *pointer = g_strdup_printf("/manifests/%u", best);
    if (!read_descriptor(json_array_get(entries, best), pointer, &manifest->chosen, error)) {
        return FALSE;
    }
    if (!is_manifest_type(manifest->chosen.media_type) ||
        manifest->chosen.size > BERTH_MANIFEST_SIZE_MAX) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL,
                           "'%s' of the index is a '%s' of %" G_GUINT64_FORMAT
                           " bytes, not a manifest",
                           pointer, manifest->chosen.media_type, manifest->chosen.size);
        return FALSE;
    }
    return TRUE;
}

static gboolean
refuse_type(GError **error, const char *text)
{
    berth_error_set(error, BERTH_ERROR_INVALID, "%s", text);
    return FALSE;
}

static gboolean
is_index_media(const char *media_type)
{
    return strcmp(media_type, BERTH_MEDIA_OCI_INDEX) == 0 ||
           strcmp(media_type, BERTH_MEDIA_DOCKER_INDEX) == 0;
}

static gboolean
is_image_media(const char *media_type)
{
    return strcmp(media_type, BERTH_MEDIA_OCI_MANIFEST) == 0 ||
           strcmp(media_type, BERTH_MEDIA_DOCKER_MANIFEST) == 0;
}

/* The members present, the document's own media type and the one it was served as must all tell
 * the same kind. */
static gboolean
decide_type(const json_t *root, const char *content_type, BerthManifestType *type, GError **error)
{
    gboolean index = json_object_get(root, "manifests") != NULL;
    gboolean image =
        json_object_get(root, "layers") != NULL || json_object_get(root, "config") != NULL;
    if (json_object_get(root, "fsLayers") != NULL || json_object_get(root, "history") != NULL) {
        return refuse_type(error, "this is a schema 1 manifest, or could be read as one; push the "
                                  "image again with a current tool");
    }
    if (index && image) {
        return refuse_type(error, "the document is both an index and an image manifest");
    }
    if (!index && !image) {
        return refuse_type(error, "the document is neither an image manifest nor an index");
    }
    const json_t *own = json_object_get(root, "mediaType");
    if (own != NULL && !json_is_string(own)) {
        return refuse_type(error, "'/mediaType' of the manifest is not a string");
    }
    const char *claims[] = {json_string_value(own), content_type};
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++) {
        if (claims[i] != NULL && (is_index_media(claims[i]) || is_image_media(claims[i])) &&
            is_index_media(claims[i]) != index) {
            return refuse_type(error, "the manifest's media type contradicts its content");
        }
    }
    if (own != NULL && !is_index_media(claims[0]) && !is_image_media(claims[0])) {
        g_autofree char *shown = g_strescape(claims[0], NULL);
        berth_error_set(error, BERTH_ERROR_INVALID, "'%.100s' is no manifest type Berth knows",
                        shown);
        return FALSE;
    }
    *type = index ? BERTH_MANIFEST_INDEX : BERTH_MANIFEST_IMAGE;
    return TRUE;
}

/**
 * berth_manifest_parse:
 * @data: the document
 * @size: bytes of @data
 * @content_type: (nullable): the media type it was served as
 *
 * Reads an image manifest or an index of Docker's schema 2 or OCI. Of an index the entry for
 * linux/amd64 is chosen.
 *
 * Returns: (transfer full): the manifest, or NULL. Errors: INVALID; DENIED for layers kept elsewhere;
 * NOT_FOUND when the index has nothing for our platform.
 */
BerthManifest *
berth_manifest_parse(const char *data, gsize size, const char *content_type, GError **error)
{
    g_autoptr(json_t) root = berth_json_parse_limited(data, size, BERTH_MANIFEST_SIZE_MAX,
                                                      BERTH_MANIFEST_DEPTH_MAX, error);
    if (root == NULL) {
        g_prefix_error(error, "the manifest: ");
        return NULL;
    }
    if (!json_is_object(root) || berth_json_integer(root, "schemaVersion", 0) != 2) {
        refuse_type(error, "the manifest is not an object with schemaVersion 2");
        return NULL;
    }
    g_autoptr(BerthManifest) manifest = g_new0(BerthManifest, 1);
    manifest->layers = g_ptr_array_new_with_free_func((GDestroyNotify)berth_descriptor_free);
    if (!decide_type(root, content_type, &manifest->type, error)) {
        return NULL;
    }
    gboolean ok = manifest->type == BERTH_MANIFEST_INDEX ? read_index(root, manifest, error)
                                                         : read_image(root, manifest, error);
    return ok ? g_steal_pointer(&manifest) : NULL;
}

void
berth_manifest_free(BerthManifest *manifest)
{
    if (manifest == NULL) {
        return;
    }
    g_free(manifest->config.media_type);
    g_free(manifest->chosen.media_type);
    g_ptr_array_unref(manifest->layers);
    g_free(manifest);
}
