/* One squashfs of an image's layers, in two passes over the cached blobs.
 *
 * Pass 1 reads every layer whole: its digest is checked against the config's diff_id, its headers go
 * into the tree. Pass 2 writes the tree's folders and links, then goes through the layers again and
 * copies, in their order, the contents that the tree still wants, then the further names of hard
 * links; all as one tar stream into the converter.
 *
 * Invariants: no name of an image ever is a name on this host. Nothing is visible before both digests
 * of each layer matched. Same layers, same version: same bytes. One thread a conversion.
 * Start at berth_rootfs_convert(). */
#include "images/rootfs.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/random.h"
#include "images/inflate.h"
#include "images/layers.h"
#include "images/sha256.h"
#include "images/squash.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define STORE "rootfs/sha256"

typedef struct {
    BerthBlobs *blobs;       /* borrowed, as all here but the tree */
    const GPtrArray *layers; /* of BerthDescriptor */
    const GArray *diff_ids;
    BerthImageBudget budget; /* all set */
    BerthInflateBudget inflate;
    BerthTree *tree;     /* owned */
    BerthSquash *squash; /* borrowed from the second pass */
    BerthRootfsProgressFunc progress;
    gpointer user_data;
    guint64 total, done, reported;
    guint64 content; /* bytes the squashfs will hold, unpacked */
} Conversion;

/* Layers are named by their content, so this names the result of converting them. */
static void
make_key(const GArray *diff_ids, BerthDigest *key)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text, "berth rootfs %d\n", BERTH_ROOTFS_VERSION);
    for (guint i = 0; i < diff_ids->len; i++) {
        g_string_append_printf(text, "%s\n", g_array_index(diff_ids, BerthDigest, i).hex);
    }
    berth_digest_of_bytes(text->str, text->len, key);
}

static char *
key_name(const GArray *diff_ids)
{
    BerthDigest key;
    make_key(diff_ids, &key);
    return g_strconcat("rootfs/keys/", key.hex, NULL);
}

static gboolean
read_key(BerthBlobs *blobs, const char *name, BerthDigest *squashfs)
{
    g_autofree char *text = NULL;
    gsize size;
    if (!berth_fd_read_file(berth_blobs_folder_fd(blobs), name, 4096, &text, &size, NULL)) {
        return FALSE;
    }
    g_autoptr(json_t) record = berth_json_parse(text, size, NULL);
    const json_t *digest = json_object_get(record, "squashfs");
    return berth_digest_parse(json_string_value(digest), json_string_length(digest), squashfs,
                              NULL);
}

/**
 * berth_rootfs_find:
 * @diff_ids: of BerthDigest, lowest layer first
 * @squashfs: (out): the squashfs' own digest
 * @size: (out): its bytes
 *
 * Returns: whether these layers were converted before and the result is still here.
 */
gboolean
berth_rootfs_find(BerthBlobs *blobs, const GArray *diff_ids, BerthDigest *squashfs, guint64 *size)
{
    g_autofree char *name = key_name(diff_ids);
    struct stat info;
    if (!read_key(blobs, name, squashfs)) {
        return FALSE;
    }
    g_autofree char *path = g_strconcat(STORE "/", squashfs->hex, NULL);
    if (fstatat(berth_blobs_folder_fd(blobs), path, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode)) {
        return FALSE;
    }
    *size = (guint64)info.st_size;
    return TRUE;
}

/** Removes the records of conversions whose squashfs was collected. */
gboolean
berth_rootfs_forget_missing(BerthBlobs *blobs, GError **error)
{
    g_autofree char *folder = g_strconcat(berth_blobs_folder(blobs), "/rootfs/keys", NULL);
    g_autoptr(GError) problem = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, &problem);
    if (dir == NULL) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "%s", problem->message);
        return FALSE;
    }
    const char *key;
    while ((key = g_dir_read_name(dir)) != NULL) {
        g_autofree char *name = g_strconcat("rootfs/keys/", key, NULL);
        BerthDigest squashfs;
        if (!g_str_has_suffix(key, ".tmp") && read_key(blobs, name, &squashfs)) {
            g_autofree char *file = g_strconcat(STORE "/", squashfs.hex, NULL);
            if (faccessat(berth_blobs_folder_fd(blobs), file, F_OK, 0) != 0 && errno == ENOENT) {
                unlinkat(berth_blobs_folder_fd(blobs), name, 0);
            }
        }
    }
    return TRUE;
}

/** Returns: (transfer full): the absolute path of the squashfs @squashfs. */
char *
berth_rootfs_path(BerthBlobs *blobs, const BerthDigest *squashfs)
{
    return g_strconcat(berth_blobs_folder(blobs), "/" STORE "/", squashfs->hex, NULL);
}

static void
report(Conversion *conversion, guint64 done)
{
    const guint64 step = 1024 * 1024;
    if (conversion->progress != NULL && done >= conversion->reported + step) {
        conversion->reported = done;
        conversion->progress(done, conversion->total, conversion->user_data);
    }
}

typedef struct {
    Conversion *conversion; /* borrowed */
    BerthInflate *inflate;  /* borrowed */
} Source;

static gssize
read_source(gpointer user_data, void *data, gsize size, GError **error)
{
    Source *source = user_data;
    gssize got = berth_inflate_read(source->inflate, data, size, error);
    report(source->conversion, source->conversion->done + berth_inflate_consumed(source->inflate));
    return got;
}

static BerthInflate *
open_layer(Conversion *conversion, guint number, GError **error)
{
    const BerthDescriptor *layer = conversion->layers->pdata[number];
    int fd = berth_blobs_open_blob(conversion->blobs, &layer->digest, error);
    return fd < 0 ? NULL : berth_inflate_new(fd, &conversion->inflate, error);
}

static gboolean
check_diff_id(Conversion *conversion, guint number, const BerthInflate *inflate, GError **error)
{
    BerthDigest found;
    const BerthDigest *announced = &g_array_index(conversion->diff_ids, BerthDigest, number);
    berth_inflate_digest(inflate, &found);
    if (!berth_digest_equal(&found, announced)) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "layer %u unpacks to sha256:%s, the image's config says sha256:%s", number,
                        found.hex, announced->hex);
        return FALSE;
    }
    return TRUE;
}

static gboolean
collect_headers(Conversion *conversion, BerthTar *tar, GError **error)
{
    const BerthTarEntry *entry;
    berth_tree_begin_layer(conversion->tree);
    do {
        if (!berth_tar_next(tar, &entry, error)) {
            return FALSE;
        }
        if (entry != NULL && !berth_tree_add(conversion->tree, entry, error)) {
            return FALSE;
        }
    } while (entry != NULL);
    return TRUE;
}

static gboolean
read_layer(Conversion *conversion, guint number, GError **error)
{
    g_autoptr(BerthInflate) inflate = open_layer(conversion, number, error);
    if (inflate == NULL) {
        return FALSE;
    }
    Source source = {.conversion = conversion, .inflate = inflate};
    g_autoptr(BerthTar) tar = berth_tar_new(read_source, &source);
    if (!collect_headers(conversion, tar, error) || !berth_inflate_drain(inflate, error) ||
        !check_diff_id(conversion, number, inflate, error)) {
        return FALSE;
    }
    conversion->done += berth_inflate_consumed(inflate);
    return TRUE;
}

static gboolean
read_layers(Conversion *conversion, GError **error)
{
    for (guint i = 0; i < conversion->layers->len; i++) {
        if (!read_layer(conversion, i, error)) {
            if (error != NULL) {
                g_prefix_error(error, "layer %u: ", i);
            }
            return FALSE;
        }
    }
    if (berth_tree_root(conversion->tree)->children == NULL ||
        g_hash_table_size(berth_tree_root(conversion->tree)->children) == 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the image is empty: it has no files");
        return FALSE;
    }
    return TRUE;
}

/* ---- pass 2 ---- */

static gboolean
write_header(Conversion *conversion, const BerthInode *inode, const char *path, BerthTarType type,
             const char *link, GError **error)
{
    const BerthTarEntry entry = {
        .type = type,
        .path = (char *)path,
        .link = (char *)link,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .mtime = inode->mtime,
        .size = type == BERTH_TAR_FILE ? inode->size : 0,
        .xattrs = type == BERTH_TAR_HARD_LINK ? NULL : inode->xattrs,
    };
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    berth_tar_format_header(&entry, bytes);
    return berth_squash_write(conversion->squash, bytes->data, bytes->len, error);
}

/* What the walk over the tree leaves for later. */
typedef struct {
    GPtrArray *wanted; /* owned; per layer, of a table entry number -> BerthInode; NULL: nothing */
    GPtrArray *links;  /* owned; of BerthNode: further names of what is written elsewhere */
} Rest;

static void
want_content(Rest *rest, BerthInode *inode)
{
    GHashTable *table = rest->wanted->pdata[inode->layer - 1];
    if (table == NULL) {
        table = g_hash_table_new(g_int64_hash, g_int64_equal);
        rest->wanted->pdata[inode->layer - 1] = table;
    }
    g_hash_table_insert(table, &inode->entry, inode);
}

static gboolean
write_node(Conversion *conversion, const BerthNode *node, const char *path, Rest *rest,
           GError **error)
{
    BerthInode *inode = node->inode;
    if (inode->type != BERTH_TAR_FILE) {
        return write_header(conversion, inode, path, inode->type, inode->link, error);
    }
    if (inode->written_as != NULL) {
        g_ptr_array_add(rest->links, (gpointer)node);
        return TRUE;
    }
    inode->written_as = g_strdup(path);
    if (inode->size == 0) {
        return write_header(conversion, inode, path, BERTH_TAR_FILE, NULL, error);
    }
    conversion->content += inode->size;
    want_content(rest, inode);
    return TRUE;
}

/* Depth is bounded by the tree's limit. */
static gboolean
write_names(Conversion *conversion, const BerthNode *node, const char *path, Rest *rest,
            GError **error)
{
    if (!write_node(conversion, node, node->parent == NULL ? "./" : path, rest, error)) {
        return FALSE;
    }
    if (node->children == NULL) {
        return TRUE;
    }
    g_autoptr(GPtrArray) children = berth_node_list(node);
    for (guint i = 0; i < children->len; i++) {
        const BerthNode *child = children->pdata[i];
        g_autofree char *below =
            path[0] == '\0' ? g_strdup(child->name) : g_strconcat(path, "/", child->name, NULL);
        if (!write_names(conversion, child, below, rest, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
copy_content(Conversion *conversion, BerthTar *tar, const BerthInode *inode, GError **error)
{
    static const char zeros[512];
    char chunk[65536];
    gssize got;
    if (!write_header(conversion, inode, inode->written_as, BERTH_TAR_FILE, NULL, error)) {
        return FALSE;
    }
    while ((got = berth_tar_read(tar, chunk, sizeof chunk, error)) > 0) {
        if (!berth_squash_write(conversion->squash, chunk, (gsize)got, error)) {
            return FALSE;
        }
    }
    return got == 0 &&
           berth_squash_write(conversion->squash, zeros, berth_tar_padding(inode->size), error);
}

static gboolean
copy_wanted(Conversion *conversion, BerthTar *tar, GHashTable *wanted, GError **error)
{
    guint left = g_hash_table_size(wanted);
    for (guint64 number = 0; left > 0; number++) {
        const BerthTarEntry *entry;
        if (!berth_tar_next(tar, &entry, error)) {
            return FALSE;
        }
        if (entry == NULL) {
            berth_error_set(error, BERTH_ERROR_CORRUPT, "a cached layer changed while it was read");
            return FALSE;
        }
        const BerthInode *inode = g_hash_table_lookup(wanted, &number);
        if (inode == NULL) {
            continue;
        }
        if (entry->size != inode->size) {
            berth_error_set(error, BERTH_ERROR_CORRUPT, "a cached layer changed while it was read");
            return FALSE;
        }
        if (!copy_content(conversion, tar, inode, error)) {
            return FALSE;
        }
        left--;
    }
    return TRUE;
}

static gboolean
copy_layers(Conversion *conversion, const Rest *rest, GError **error)
{
    for (guint i = 0; i < conversion->layers->len; i++) {
        const BerthDescriptor *layer = conversion->layers->pdata[i];
        if (rest->wanted->pdata[i] != NULL) {
            g_autoptr(BerthInflate) inflate = open_layer(conversion, i, error);
            if (inflate == NULL) {
                return FALSE;
            }
            Source source = {.conversion = conversion, .inflate = inflate};
            g_autoptr(BerthTar) tar = berth_tar_new(read_source, &source);
            if (!copy_wanted(conversion, tar, rest->wanted->pdata[i], error)) {
                return FALSE;
            }
        }
        conversion->done += layer->size;
        report(conversion, conversion->done);
    }
    return TRUE;
}

static gboolean
write_links(Conversion *conversion, const Rest *rest, GError **error)
{
    for (guint i = 0; i < rest->links->len; i++) {
        const BerthNode *node = rest->links->pdata[i];
        g_autofree char *path = berth_node_path(node);
        if (!write_header(conversion, node->inode, path, BERTH_TAR_HARD_LINK,
                          node->inode->written_as, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void
unref_table(gpointer table)
{
    if (table != NULL) {
        g_hash_table_unref(table);
    }
}

static gboolean
write_all(Conversion *conversion, GError **error)
{
    g_autoptr(GPtrArray) wanted = g_ptr_array_new_with_free_func(unref_table);
    g_autoptr(GPtrArray) links = g_ptr_array_new();
    g_ptr_array_set_size(wanted, (int)conversion->layers->len);
    Rest rest = {.wanted = wanted, .links = links};
    const BerthNode *root = berth_tree_root(conversion->tree);
    return write_names(conversion, root, "", &rest, error) &&
           copy_layers(conversion, &rest, error) && write_links(conversion, &rest, error) &&
           berth_squash_finish(conversion->squash, error);
}

static gboolean
digest_file(Conversion *conversion, const char *path, BerthDigest *digest, guint64 *size,
            GError **error)
{
    g_auto(BerthFd) fd =
        openat(berth_blobs_folder_fd(conversion->blobs), path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    g_autoptr(BerthSha256) checksum = berth_sha256_new();
    guint8 chunk[65536];
    gssize got = fd < 0 ? -1 : 1;
    *size = 0;
    while (fd >= 0 && (got = read(fd, chunk, sizeof chunk)) > 0) {
        berth_sha256_update(checksum, chunk, (gsize)got);
        *size += (guint64)got;
    }
    if (got < 0) {
        berth_error_set_errno(error, errno, "can't read the new squashfs");
        return FALSE;
    }
    berth_sha256_peek(checksum, digest);
    return TRUE;
}

/* The squashfs first, then the key that leads to it: a key never leads to a missing file for long. */
static gboolean
publish(Conversion *conversion, const char *temporary, BerthDigest *squashfs, guint64 *size,
        GError **error)
{
    if (!digest_file(conversion, temporary, squashfs, size, error) ||
        !berth_blobs_adopt(conversion->blobs, temporary, STORE, squashfs, error)) {
        return FALSE;
    }
    g_autofree char *name = key_name(conversion->diff_ids);
    g_autofree char *digest = berth_digest_format(squashfs);
    g_autofree char *text = g_strdup_printf("{\"squashfs\":\"%s\"}\n", digest);
    if (!berth_fd_write_file(berth_blobs_folder_fd(conversion->blobs), name, text, strlen(text),
                             0644, error)) {
        berth_blobs_unpin(conversion->blobs, squashfs);
        return FALSE;
    }
    return TRUE;
}

static gboolean
write_squashfs(Conversion *conversion, const char *name, BerthDigest *squashfs, guint64 *size,
               GError **error)
{
    g_autofree char *folder = g_strconcat(berth_blobs_folder(conversion->blobs), "/tmp", NULL);
    g_autofree char *temporary = g_strconcat("tmp/", name, NULL);
    const BerthSquashOptions options = {
        .folder = folder,
        .output = name,
        .jobs = conversion->budget.jobs,
        .size_max = conversion->budget.content_max,
        .deadline_us = conversion->inflate.deadline_us,
        .cancellable = conversion->inflate.cancellable,
    };
    g_autoptr(BerthSquash) squash = berth_squash_start(&options, error);
    conversion->squash = squash;
    gboolean ok = squash != NULL && write_all(conversion, error) &&
                  publish(conversion, temporary, squashfs, size, error);
    g_clear_pointer(&squash, berth_squash_free);
    if (!ok) {
        unlinkat(berth_blobs_folder_fd(conversion->blobs), temporary, 0);
    }
    return ok;
}

static guint64
or_default64(guint64 value, guint64 fallback)
{
    return value == 0 ? fallback : value;
}

static BerthImageBudget
fill_budget(const BerthImageBudget *budget)
{
    static const BerthImageBudget none;
    const BerthImageBudget *given = budget == NULL ? &none : budget;
    BerthImageBudget full = {
        .entries_max = or_default64(given->entries_max, 1000000),
        .content_max = or_default64(given->content_max, G_GUINT64_CONSTANT(64) << 30),
        .memory_max = or_default64(given->memory_max, 512u << 20),
        .ratio_max = (guint)or_default64(given->ratio_max, 250),
        .deadline_s = (guint)or_default64(given->deadline_s, 3600),
        .depth_max = (guint)MIN(or_default64(given->depth_max, 256), 1024),
        .jobs = (guint)or_default64(given->jobs, 2),
    };
    return full;
}

/* The second pass reads the same bytes again, so it starts with the same allowance. */
static gboolean
run_passes(Conversion *conversion, BerthDigest *squashfs, guint64 *size, GError **error)
{
    guint64 room = conversion->total + (1u << 20);
    g_autofree char *random = berth_random_hex(berth_random_system(), 16);
    g_autofree char *name = g_strconcat(random, ".sqfs", NULL);
    conversion->inflate.bytes_left = conversion->budget.content_max;
    if (!read_layers(conversion, error) || !berth_blobs_admit(conversion->blobs, room, error)) {
        return FALSE;
    }
    conversion->inflate.bytes_left = conversion->budget.content_max;
    conversion->inflate.without_digest = TRUE;
    gboolean ok = write_squashfs(conversion, name, squashfs, size, error);
    berth_blobs_release(conversion->blobs, room);
    return ok;
}

/**
 * berth_rootfs_convert:
 * @layers: of BerthDescriptor, lowest first; their blobs are in the cache and pinned by the caller
 * @diff_ids: of BerthDigest, as many; what each layer must unpack to
 * @budget: (nullable): limits; NULL: the defaults
 * @progress: (nullable)
 * @squashfs: (out): the digest of the result, which is pinned once for the caller
 * @size: (out): its bytes
 *
 * Merges the layers to one squashfs in the cache. Use berth_rootfs_find() first: this always
 * converts. Cost: two readings of the layers, one process, memory for the names (about 300 bytes each).
 *
 * Errors: CORRUPT for damage and digests that differ; INVALID for what can't be placed or breaks a
 * budget; EXHAUSTED, TIMEOUT, CANCELLED, UNAVAILABLE.
 */
gboolean
berth_rootfs_convert(BerthBlobs *blobs, const GPtrArray *layers, const GArray *diff_ids,
                     const BerthImageBudget *budget, BerthRootfsProgressFunc progress,
                     gpointer user_data, GCancellable *cancellable, BerthDigest *squashfs,
                     guint64 *size, GError **error)
{
    if (layers->len == 0 || layers->len != diff_ids->len) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the image has %u layers and %u diff_ids",
                        layers->len, diff_ids->len);
        return FALSE;
    }
    Conversion conversion = {
        .blobs = blobs,
        .layers = layers,
        .diff_ids = diff_ids,
        .budget = fill_budget(budget),
        .progress = progress,
        .user_data = user_data,
    };
    conversion.inflate.ratio_max = conversion.budget.ratio_max;
    conversion.inflate.cancellable = cancellable;
    conversion.inflate.deadline_us =
        g_get_monotonic_time() + (gint64)conversion.budget.deadline_s * G_USEC_PER_SEC;
    for (guint i = 0; i < layers->len; i++) {
        conversion.total += 2 * ((const BerthDescriptor *)layers->pdata[i])->size;
    }
    const BerthTreeLimits limits = {.entries_max = conversion.budget.entries_max,
                                    .memory_max = conversion.budget.memory_max,
                                    .depth_max = conversion.budget.depth_max};
    g_autoptr(BerthTree) tree = berth_tree_new(&limits);
    conversion.tree = tree;
    return run_passes(&conversion, squashfs, size, error);
}
