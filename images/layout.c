/* Images in archives, taken into the cache as a stream.
 *
 * Invariants: a name in an archive is only ever compared, never opened; a blob gets its name from the
 * digest of its content. An archive is read once, in its own order, whatever comes first. What it brought
 * and no image of it needs is removed again, unless it was in the cache before.
 *
 * One thread a call. Source: OCI image-layout; what `docker save` writes.
 * Start at berth_layout_load(). */
#include "images/layout.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "images/inflate.h"
#include "images/manifest.h"
#include "images/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX 8192
#define NAME_SIZE_MAX 512
#define IMAGES_MAX 64
#define RATIO_MAX 1100 /* gzip's own limit; the sum is bounded anyway */

typedef struct {
    BerthDigest digest;
    guint64 size;
} File;

typedef struct {
    BerthBlobs *blobs; /* borrowed, as all here unless said */
    guint64 size_max;
    GHashTable *files;    /* owned; name in the archive -> File */
    GHashTable *links;    /* owned; name -> name it stands for */
    GHashTable *fresh;    /* owned; hex of blobs that this archive brought */
    GPtrArray *pins;      /* of BerthDigest: pinned for the caller */
    char *index, *docker; /* owned; index.json, manifest.json */
    gsize index_size, docker_size;
    GPtrArray *loaded; /* owned, of BerthLoaded */
    BerthInflate *inflate;
    BerthLayoutProgressFunc progress;
    gpointer user_data;
    guint64 total, reported;
    GCancellable *cancellable;
} Load;

void
berth_loaded_free(BerthLoaded *loaded)
{
    if (loaded != NULL) {
        g_free(loaded->reference);
        g_free(loaded);
    }
}

static gboolean
refuse(GError **error, const char *name, const char *what)
{
    g_autofree char *shown = g_strescape(name, NULL);
    berth_error_set(error, BERTH_ERROR_INVALID, "the archive's '%.200s' %s", shown, what);
    return FALSE;
}

/* "./a//b" -> "a/b"; NULL for what climbs or is no file's name. */
static char *
clean_name(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();
    for (guint i = 0; parts[i] != NULL; i++) {
        if (strcmp(parts[i], "..") == 0) {
            return NULL;
        }
        if (parts[i][0] != '\0' && strcmp(parts[i], ".") != 0) {
            g_ptr_array_add(kept, parts[i]);
        }
    }
    g_ptr_array_add(kept, NULL);
    return kept->len == 1 ? NULL : g_strjoinv("/", (char **)kept->pdata);
}

/* The digest that a name of the form blobs/sha256/<hex> announces. */
static gboolean
named_digest(const char *name, BerthDigest *digest)
{
    static const char prefix[] = "blobs/sha256/";
    if (!g_str_has_prefix(name, prefix)) {
        return FALSE;
    }
    g_autofree char *text = g_strconcat("sha256:", name + strlen(prefix), NULL);
    return berth_digest_parse(text, strlen(text), digest, NULL);
}

static void
keep_pin(Load *load, const BerthDigest *digest)
{
    g_ptr_array_add(load->pins, g_memdup2(digest, sizeof *digest));
}

/* ---- taking bytes in ---- */

typedef gssize (*ReadFunc)(gpointer source, void *data, gsize size, GError **error);

static gboolean
copy_bytes(BerthBlobWriter *writer, ReadFunc read_some, gpointer source, GError **error)
{
    guint8 chunk[65536];
    gssize got;
    while ((got = read_some(source, chunk, sizeof chunk, error)) > 0) {
        if (!berth_blob_writer_append(writer, chunk, (gsize)got, error)) {
            return FALSE;
        }
    }
    return got == 0;
}

/* Takes one file of @size bytes into the cache under its digest, which its name may announce. */
static gboolean
import_file(Load *load, const char *name, guint64 size, ReadFunc read_some, gpointer source,
            File *file, GError **error)
{
    BerthDigest announced;
    gboolean known = named_digest(name, &announced);
    if (!berth_blobs_admit(load->blobs, size, error)) {
        return FALSE;
    }
    g_autoptr(BerthBlobWriter) writer = berth_blob_writer_new(load->blobs, NULL, size, error);
    if (writer != NULL) {
        berth_blob_writer_set_owner(writer, load);
    }
    gboolean ok = writer != NULL && copy_bytes(writer, read_some, source, error) &&
                  berth_blob_writer_finish(writer, size, &file->digest, &file->size, error);
    berth_blobs_release(load->blobs, size);
    if (!ok) {
        return FALSE;
    }
    keep_pin(load, &file->digest);
    if (known && !berth_digest_equal(&announced, &file->digest)) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the archive's blob sha256:%s has the digest sha256:%s", announced.hex,
                        file->digest.hex);
        return FALSE;
    }
    return TRUE;
}

static gssize
read_entry(gpointer source, void *data, gsize size, GError **error)
{
    return berth_tar_read(source, data, size, error);
}

static gboolean
take_document(BerthTar *tar, const BerthTarEntry *entry, char **data, gsize *size, GError **error)
{
    if (entry->size > BERTH_MANIFEST_SIZE_MAX) {
        return refuse(error, entry->path, "is larger than 4 MiB");
    }
    g_autofree char *text = g_malloc0(entry->size + 1);
    gsize done = 0;
    while (done < entry->size) {
        gssize got = berth_tar_read(tar, text + done, entry->size - done, error);
        if (got < 0) {
            return FALSE;
        }
        done += (gsize)got;
    }
    g_free(*data);
    *data = g_steal_pointer(&text);
    *size = done;
    return TRUE;
}

/* What every archive has and no image needs. */
static gboolean
is_ballast(const char *name)
{
    static const char *const ends[] = {"oci-layout", "repositories", "/VERSION", "/json"};
    for (guint i = 0; i < G_N_ELEMENTS(ends); i++) {
        if (g_str_has_suffix(name, ends[i])) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
take_file(Load *load, BerthTar *tar, const BerthTarEntry *entry, const char *name, GError **error)
{
    if (strcmp(name, "index.json") == 0) {
        return take_document(tar, entry, &load->index, &load->index_size, error);
    }
    if (strcmp(name, "manifest.json") == 0) {
        return take_document(tar, entry, &load->docker, &load->docker_size, error);
    }
    if (is_ballast(name)) {
        return TRUE;
    }
    g_autofree File *file = g_new0(File, 1);
    if (!import_file(load, name, entry->size, read_entry, tar, file, error)) {
        return FALSE;
    }
    g_hash_table_insert(load->files, g_strdup(name), g_steal_pointer(&file));
    return TRUE;
}

/* `docker save` of old wrote a layer that occurs twice as a link: "../<id>/layer.tar". */
static void
take_link(Load *load, const BerthTarEntry *entry, const char *name)
{
    const char *target = entry->link;
    if (entry->type == BERTH_TAR_SYMLINK && g_str_has_prefix(target, "../")) {
        target += strlen("../");
    }
    char *clean = clean_name(target);
    if (clean != NULL) {
        g_hash_table_insert(load->links, g_strdup(name), clean);
    }
}

static gboolean
take_entry(Load *load, BerthTar *tar, const BerthTarEntry *entry, GError **error)
{
    g_autofree char *name = clean_name(entry->path);
    if (name == NULL || entry->type == BERTH_TAR_FOLDER) {
        return TRUE;
    }
    if (strlen(name) > NAME_SIZE_MAX) {
        return refuse(error, name, "has too long a name");
    }
    if (g_hash_table_size(load->files) + g_hash_table_size(load->links) >= FILES_MAX) {
        return refuse(error, name, "comes after too many other files");
    }
    if (entry->type == BERTH_TAR_FILE) {
        return take_file(load, tar, entry, name, error);
    }
    if (entry->type == BERTH_TAR_SYMLINK || entry->type == BERTH_TAR_HARD_LINK) {
        take_link(load, entry, name);
    }
    return TRUE;
}

static gssize
read_archive(gpointer user_data, void *data, gsize size, GError **error)
{
    Load *load = user_data;
    gssize got = berth_inflate_read(load->inflate, data, size, error);
    guint64 done = berth_inflate_consumed(load->inflate);
    if (load->progress != NULL && done >= load->reported + 1024 * 1024) {
        load->reported = done;
        load->progress(done, load->total, load->user_data);
    }
    return got;
}

static gboolean
read_tar(Load *load, int fd, GError **error)
{
    BerthInflateBudget budget = {.bytes_left = load->size_max,
                                 .ratio_max = RATIO_MAX,
                                 .without_digest = TRUE,
                                 .cancellable = load->cancellable};
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
        berth_error_set_errno(error, errno, "can't read the archive");
        return FALSE;
    }
    g_autoptr(BerthInflate) inflate = berth_inflate_new(own, &budget, error);
    if (inflate == NULL) {
        return FALSE;
    }
    load->inflate = inflate;
    g_autoptr(BerthTar) tar = berth_tar_new(read_archive, load);
    const BerthTarEntry *entry;
    do {
        if (!berth_tar_next(tar, &entry, error) ||
            (entry != NULL && !take_entry(load, tar, entry, error))) {
            return FALSE;
        }
    } while (entry != NULL);
    return TRUE;
}

/* ---- an OCI layout in a folder ---- */

typedef struct {
    int fd;
    GCancellable *cancellable; /* borrowed */
} FolderFile;

static gssize
read_folder_file(gpointer user_data, void *data, gsize size, GError **error)
{
    FolderFile *file = user_data;
    gssize got;
    if (g_cancellable_is_cancelled(file->cancellable)) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
        return -1;
    }
    do {
        got = read(file->fd, data, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        berth_error_set_errno(error, errno, "can't read the image layout");
    }
    return got;
}

/* Imports blobs/sha256/<hex> of the folder, when it is not here already. */
static gboolean
import_from_folder(Load *load, int folder, const BerthDigest *digest, GError **error)
{
    g_autofree char *name = g_strconcat("blobs/sha256/", digest->hex, NULL);
    g_auto(BerthFd) fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the image layout lacks the blob sha256:%s",
                        digest->hex);
        return FALSE;
    }
    if ((guint64)info.st_size > load->size_max) {
        return refuse(error, name, "is larger than is allowed");
    }
    File file;
    FolderFile source = {.fd = fd, .cancellable = load->cancellable};
    return import_file(load, name, (guint64)info.st_size, read_folder_file, &source, &file, error);
}

static BerthManifest *
read_manifest(Load *load, const BerthDigest *digest, GError **error)
{
    g_autofree char *data = NULL;
    gsize size;
    if (!berth_blobs_read(load->blobs, digest, BERTH_MANIFEST_SIZE_MAX, &data, &size, error)) {
        return NULL;
    }
    return berth_manifest_parse(data, size, NULL, error);
}

/* Makes sure that @digest and all it needs is in the cache; @folder -1: it came by tar already.
 * Ends at an image's manifest, whose digest is set. */
static gboolean
settle_image(Load *load, int folder, BerthDigest *digest, GError **error)
{
    for (guint depth = 0; depth < BERTH_INDEX_DEPTH_MAX; depth++) {
        if (folder >= 0 && !import_from_folder(load, folder, digest, error)) {
            return FALSE;
        }
        g_autoptr(BerthManifest) manifest = read_manifest(load, digest, error);
        if (manifest == NULL) {
            return FALSE;
        }
        if (manifest->type == BERTH_MANIFEST_INDEX) {
            *digest = manifest->chosen.digest;
            continue;
        }
        gboolean ok =
            folder < 0 || import_from_folder(load, folder, &manifest->config.digest, error);
        for (guint i = 0; ok && folder >= 0 && i < manifest->layers->len; i++) {
            const BerthDescriptor *layer = manifest->layers->pdata[i];
            ok = import_from_folder(load, folder, &layer->digest, error);
        }
        return ok;
    }
    berth_error_set(error, BERTH_ERROR_INVALID, "the index holds indexes deeper than %d levels",
                    BERTH_INDEX_DEPTH_MAX);
    return FALSE;
}

/* ---- what the documents say ---- */

static char *
canonical_name(const char *text)
{
    g_autoptr(BerthReference) reference = text == NULL ? NULL : berth_reference_parse(text, NULL);
    return reference == NULL ? NULL : berth_reference_format(reference);
}

/* containerd's annotation has the full name, OCI's often the tag alone. */
static char *
find_name(const json_t *entry)
{
    const json_t *annotations = json_object_get(entry, "annotations");
    char *name = canonical_name(berth_json_string(annotations, "io.containerd.image.name"));
    const char *short_name = berth_json_string(annotations, "org.opencontainers.image.ref.name");
    if (name == NULL && short_name != NULL && strpbrk(short_name, "/:") != NULL) {
        name = canonical_name(short_name);
    }
    return name;
}

static void
add_loaded(Load *load, const BerthDigest *manifest, char *reference)
{
    BerthLoaded *loaded = g_new0(BerthLoaded, 1);
    loaded->manifest = *manifest;
    loaded->reference = reference;
    g_ptr_array_add(load->loaded, loaded);
}

static gboolean
load_entry(Load *load, int folder, const json_t *entry, GError **error)
{
    const json_t *text = json_object_get(entry, "digest");
    BerthDigest digest;
    if (!berth_digest_parse(json_string_value(text), json_string_length(text), &digest, error) ||
        !settle_image(load, folder, &digest, error)) {
        return FALSE;
    }
    add_loaded(load, &digest, find_name(entry));
    return TRUE;
}

static gboolean
has_names(const json_t *entries)
{
    for (gsize i = 0; i < json_array_size(entries); i++) {
        g_autofree char *name = find_name(json_array_get(entries, i));
        if (name != NULL) {
            return TRUE;
        }
    }
    return FALSE;
}

/* An index whose entries have names holds several images; one without, one image for several
 * platforms. */
static gboolean
load_index(Load *load, int folder, GError **error)
{
    g_autoptr(json_t) root = berth_json_parse_limited(
        load->index, load->index_size, BERTH_MANIFEST_SIZE_MAX, BERTH_MANIFEST_DEPTH_MAX, error);
    const json_t *entries = json_object_get(root, "manifests");
    if (root == NULL) {
        return FALSE;
    }
    if (!has_names(entries)) {
        g_autoptr(BerthManifest) index =
            berth_manifest_parse(load->index, load->index_size, NULL, error);
        if (index == NULL || index->type != BERTH_MANIFEST_INDEX) {
            return index == NULL ? FALSE : refuse(error, "index.json", "is no index");
        }
        BerthDigest digest = index->chosen.digest;
        gboolean ok = settle_image(load, folder, &digest, error);
        if (ok) {
            add_loaded(load, &digest, NULL);
        }
        return ok;
    }
    if (json_array_size(entries) > IMAGES_MAX) {
        return refuse(error, "index.json", "has too many images");
    }
    for (gsize i = 0; i < json_array_size(entries); i++) {
        if (!load_entry(load, folder, json_array_get(entries, i), error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static const File *
find_file(const Load *load, const char *text)
{
    g_autofree char *name = text == NULL ? NULL : clean_name(text);
    const File *file = name == NULL ? NULL : g_hash_table_lookup(load->files, name);
    if (file == NULL && name != NULL) {
        const char *target = g_hash_table_lookup(load->links, name);
        file = target == NULL ? NULL : g_hash_table_lookup(load->files, target);
    }
    return file;
}

static json_t *
describe(const File *file, const char *media_type)
{
    g_autofree char *digest = berth_digest_format(&file->digest);
    return json_pack("{s:s, s:s, s:I}", "mediaType", media_type, "digest", digest, "size",
                     (json_int_t)file->size);
}

/* Writes the manifest that a docker archive has not. */
static gboolean
put_manifest(Load *load, const json_t *manifest, BerthDigest *digest, GError **error)
{
    g_autofree char *text = berth_json_format(manifest);
    if (!berth_blobs_put(load->blobs, text, strlen(text), digest, error)) {
        return FALSE;
    }
    keep_pin(load, digest);
    return TRUE;
}

static gboolean
load_docker_image(Load *load, const json_t *image, GError **error)
{
    const File *config = find_file(load, berth_json_string(image, "Config"));
    const json_t *names = json_object_get(image, "Layers");
    if (config == NULL || json_array_size(names) == 0 ||
        json_array_size(names) > BERTH_MANIFEST_LAYERS_MAX) {
        return refuse(error, "manifest.json", "names a config that is not there, or no layers");
    }
    g_autoptr(json_t) manifest = json_pack("{s:i, s:s, s:o, s:[]}", "schemaVersion", 2, "mediaType",
                                           BERTH_MEDIA_OCI_MANIFEST, "config",
                                           describe(config, BERTH_MEDIA_OCI_CONFIG), "layers");
    for (gsize i = 0; i < json_array_size(names); i++) {
        const File *layer = find_file(load, json_string_value(json_array_get(names, i)));
        if (layer == NULL) {
            return refuse(error, "manifest.json", "names a layer that is not there");
        }
        json_array_append_new(json_object_get(manifest, "layers"),
                              describe(layer, "application/vnd.oci.image.layer.v1.tar"));
    }
    BerthDigest digest;
    if (!put_manifest(load, manifest, &digest, error)) {
        return FALSE;
    }
    const json_t *tags = json_object_get(image, "RepoTags");
    add_loaded(load, &digest, canonical_name(json_string_value(json_array_get(tags, 0))));
    return TRUE;
}

static gboolean
load_docker(Load *load, GError **error)
{
    g_autoptr(json_t) root = berth_json_parse_limited(
        load->docker, load->docker_size, BERTH_MANIFEST_SIZE_MAX, BERTH_MANIFEST_DEPTH_MAX, error);
    if (root == NULL) {
        return FALSE;
    }
    if (json_array_size(root) == 0 || json_array_size(root) > IMAGES_MAX) {
        return refuse(error, "manifest.json", "holds no images, or too many");
    }
    for (gsize i = 0; i < json_array_size(root); i++) {
        if (!load_docker_image(load, json_array_get(root, i), error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
load_folder(Load *load, int fd, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (!berth_fd_read_file(fd, "index.json", BERTH_MANIFEST_SIZE_MAX, &load->index,
                            &load->index_size, &problem)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the folder is no OCI image layout: %s",
                        problem->message);
        return FALSE;
    }
    return load_index(load, fd, error);
}

static gboolean
load_tar(Load *load, int fd, GError **error)
{
    if (!read_tar(load, fd, error)) {
        return FALSE;
    }
    if (load->index != NULL) {
        return load_index(load, -1, error);
    }
    if (load->docker != NULL) {
        return load_docker(load, error);
    }
    berth_error_set(error, BERTH_ERROR_INVALID,
                    "the archive is neither an OCI layout nor made by 'docker save'");
    return FALSE;
}

/* Adds what the image @digest needs to the set @needed. */
static void
need_image(Load *load, const BerthDigest *digest, GHashTable *needed)
{
    g_autoptr(BerthManifest) manifest = read_manifest(load, digest, NULL);
    g_hash_table_add(needed, g_strdup(digest->hex));
    if (manifest == NULL || manifest->type != BERTH_MANIFEST_IMAGE) {
        return;
    }
    g_hash_table_add(needed, g_strdup(manifest->config.digest.hex));
    for (guint i = 0; i < manifest->layers->len; i++) {
        const BerthDescriptor *layer = manifest->layers->pdata[i];
        g_hash_table_add(needed, g_strdup(layer->digest.hex));
    }
}

static void
remove_unused(Load *load, gboolean ok)
{
    g_autoptr(GHashTable) needed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; ok && i < load->loaded->len; i++) {
        const BerthLoaded *loaded = load->loaded->pdata[i];
        need_image(load, &loaded->manifest, needed);
    }
    for (guint i = load->pins->len; i > 0; i--) {
        const BerthDigest *digest = load->pins->pdata[i - 1];
        if (!g_hash_table_contains(needed, digest->hex)) {
            berth_blobs_discard(load->blobs, digest);
            g_ptr_array_remove_index(load->pins, i - 1);
        }
    }
}

static void
load_clear(Load *load)
{
    g_hash_table_unref(load->files);
    g_hash_table_unref(load->links);
    g_free(load->index);
    g_free(load->docker);
    g_clear_pointer(&load->loaded, g_ptr_array_unref);
}

/**
 * berth_layout_load:
 * @fd: a folder with an OCI layout, or an archive (a file, pipe or socket) of one or of `docker save`,
 *   packed with gzip or zstd or not at all
 * @size_max: the most bytes the archive may unpack to
 * @progress: (nullable): called on this thread
 * @pins: gets a BerthDigest (owned by it) for each blob that is now pinned for the caller, who unpins
 *   them in any case but failure
 *
 * Returns: (transfer full): of BerthLoaded, at least one; or NULL. Errors: INVALID, CORRUPT, EXHAUSTED, CANCELLED.
 */
GPtrArray *
berth_layout_load(BerthBlobs *blobs, int fd, guint64 size_max, BerthLayoutProgressFunc progress,
                  gpointer user_data, GCancellable *cancellable, GPtrArray *pins, GError **error)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        berth_error_set_errno(error, errno, "can't look at the archive");
        return NULL;
    }
    Load load = {
        .blobs = blobs,
        .size_max = size_max,
        .files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .loaded = g_ptr_array_new_with_free_func((GDestroyNotify)berth_loaded_free),
        .pins = pins,
        .progress = progress,
        .user_data = user_data,
        .total = S_ISREG(info.st_mode) ? (guint64)info.st_size : 0,
        .cancellable = cancellable,
    };
    gboolean ok =
        S_ISDIR(info.st_mode) ? load_folder(&load, fd, error) : load_tar(&load, fd, error);
    remove_unused(&load, ok);
    GPtrArray *loaded = ok ? g_steal_pointer(&load.loaded) : NULL;
    load_clear(&load);
    return loaded;
}
