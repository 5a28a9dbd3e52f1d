/* Layers laid over each other in memory.
 *
 * Invariants: every name lies below the root of this tree and nowhere else: a symbolic link is a text
 * here, followed inside the tree only, ".." above the root is the root, as after chroot. A whiteout
 * takes away what lower layers made and nothing of its own layer. Memory is counted and bounded.
 *
 * What is refused: names with "..", parts over 255 bytes, names below a file, hard links to what is
 * not there, whiteouts of "", "." and "..". What is left out: device nodes (crun makes those a container
 * may have; a 0:0 node would be a whiteout of overlayfs), aufs' own names, extended attributes save user.* and
 * security.capability. Semantics: OCI image-spec layer.md; containerd's where that is silent.
 *
 * One thread. Start at berth_tree_add(). */
#include "images/layers.h"

#include "base/error.h"

#include <string.h>

#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define NAME_MAX_BYTES 255
#define HOPS_MAX 40 /* Linux: symbolic links in one look-up */

struct BerthTree {
    BerthTreeLimits limits;
    BerthNode *root; /* owned */
    guint layer;     /* the one being added, from 1; 0: none yet */
    guint64 entry;   /* of that layer */
    guint64 entries, memory, dropped;
};

static void node_free(gpointer data);

static void
inode_unref(BerthInode *inode)
{
    if (--inode->names > 0) {
        return;
    }
    g_free(inode->link);
    g_free(inode->written_as);
    g_clear_pointer(&inode->xattrs, g_ptr_array_unref);
    g_free(inode);
}

static void
node_free(gpointer data)
{
    BerthNode *node = data;
    g_clear_pointer(&node->children, g_hash_table_unref);
    inode_unref(node->inode);
    g_free(node->name);
    g_free(node);
}

static BerthInode *
new_folder_inode(void)
{
    BerthInode *inode = g_new0(BerthInode, 1);
    inode->names = 1;
    inode->type = BERTH_TAR_FOLDER;
    inode->mode = 0755;
    return inode;
}

/**
 * berth_tree_new:
 * @limits: all set; copied
 *
 * Returns: (transfer full): an empty root folder.
 */
BerthTree *
berth_tree_new(const BerthTreeLimits *limits)
{
    BerthTree *tree = g_new0(BerthTree, 1);
    tree->limits = *limits;
    tree->root = g_new0(BerthNode, 1);
    tree->root->name = g_strdup("");
    tree->root->inode = new_folder_inode();
    return tree;
}

void
berth_tree_free(BerthTree *tree)
{
    if (tree != NULL) {
        node_free(tree->root);
        g_free(tree);
    }
}

/** The entries that follow belong to the next layer up. */
void
berth_tree_begin_layer(BerthTree *tree)
{
    tree->layer++;
    tree->entry = 0;
}

static gboolean G_GNUC_PRINTF(3, 4)
    refuse(GError **error, const char *path, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *start = g_strndup(path, 200);
    g_autofree char *shown = g_strescape(start, NULL);
    berth_error_set(error, BERTH_ERROR_INVALID, "the image has an entry '%s' %s", shown, why);
    return FALSE;
}

/* Nodes cost what they hold, plus what GLib's tables take (measured: about 100 bytes a name). */
static gboolean
charge(BerthTree *tree, gsize bytes, GError **error)
{
    tree->memory += bytes;
    if (tree->memory > tree->limits.memory_max) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "the image's names take more than %" G_GUINT64_FORMAT " MiB of memory",
                        tree->limits.memory_max >> 20);
        return FALSE;
    }
    return TRUE;
}

static BerthNode *
get_child(const BerthNode *node, const char *name)
{
    return node->children == NULL ? NULL : g_hash_table_lookup(node->children, name);
}

static void
remove_child(BerthNode *node, const char *name)
{
    if (node->children != NULL) {
        g_hash_table_remove(node->children, name);
    }
}

/* Takes @inode over. */
static BerthNode *
add_child(BerthTree *tree, BerthNode *parent, const char *name, BerthInode *inode, GError **error)
{
    if (parent->depth + 1 > tree->limits.depth_max) {
        inode_unref(inode);
        berth_error_set(error, BERTH_ERROR_INVALID, "the image has folders deeper than %u levels",
                        tree->limits.depth_max);
        return NULL;
    }
    if (strlen(name) > NAME_MAX_BYTES) {
        inode_unref(inode);
        berth_error_set(error, BERTH_ERROR_INVALID, "the image has a name over %d bytes",
                        NAME_MAX_BYTES);
        return NULL;
    }
    if (!charge(tree, sizeof(BerthNode) + sizeof(BerthInode) + strlen(name) + 100, error)) {
        inode_unref(inode);
        return NULL;
    }
    if (parent->children == NULL) {
        parent->children = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, node_free);
    }
    BerthNode *node = g_new0(BerthNode, 1);
    node->name = g_strdup(name);
    node->parent = parent;
    node->inode = inode;
    node->layer = tree->layer;
    node->depth = parent->depth + 1;
    g_hash_table_replace(parent->children, node->name, node);
    return node;
}

/* The names still to be walked, next one last. */
typedef struct {
    GPtrArray *parts; /* owned strings */
    guint hops;
} Walk;

static void
push_parts(Walk *walk, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (guint i = g_strv_length(parts); i > 0; i--) {
        g_ptr_array_add(walk->parts, g_strdup(parts[i - 1]));
    }
}

/* Goes from @node along a symbolic link: its text's parts come next, from the root when absolute. */
static BerthNode *
follow(BerthTree *tree, Walk *walk, BerthNode *folder, const BerthNode *link, const char *path,
       GError **error)
{
    if (++walk->hops > HOPS_MAX) {
        refuse(error, path, "that goes through more than %d symbolic links", HOPS_MAX);
        return NULL;
    }
    push_parts(walk, link->inode->link);
    return link->inode->link[0] == '/' ? tree->root : folder;
}

/* One step from @folder to its child @name. */
static BerthNode *
step(BerthTree *tree, Walk *walk, BerthNode *folder, const char *name, gboolean create,
     const char *path, GError **error)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0) {
        return folder;
    }
    if (strcmp(name, "..") == 0) {
        return folder->parent == NULL ? folder : folder->parent;
    }
    BerthNode *child = get_child(folder, name);
    if (child == NULL) {
        return create ? add_child(tree, folder, name, new_folder_inode(), error) : NULL;
    }
    if (child->inode->type == BERTH_TAR_SYMLINK) {
        return follow(tree, walk, folder, child, path, error);
    }
    if (child->inode->type != BERTH_TAR_FOLDER) {
        refuse(error, path, "below '%s', which is not a folder", name);
        return NULL;
    }
    return child;
}

/* The folder that @path leads to from the root, links followed. NULL without error when a part is
 * missing and @create is FALSE. */
static BerthNode *
walk_to_folder(BerthTree *tree, const char *path, gboolean create, GError **error)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
    Walk walk = {.parts = parts};
    push_parts(&walk, path);
    BerthNode *folder = tree->root;
    while (folder != NULL && parts->len > 0) {
        g_autofree char *name = g_ptr_array_steal_index(parts, parts->len - 1);
        folder = step(tree, &walk, folder, name, create, path, error);
    }
    return folder;
}

/* Splits an entry's path to its clean folder part and last name; "" for the root itself. */
static gboolean
split_path(const char *path, char **folder, char **name, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();
    for (guint i = 0; parts[i] != NULL; i++) {
        if (strcmp(parts[i], "..") == 0) {
            return refuse(error, path, "that climbs with '..'");
        }
        if (strlen(parts[i]) > NAME_MAX_BYTES) {
            return refuse(error, path, "with a name over %d bytes", NAME_MAX_BYTES);
        }
        if (parts[i][0] != '\0' && strcmp(parts[i], ".") != 0) {
            g_ptr_array_add(kept, parts[i]);
        }
    }
    *name = g_strdup(kept->len == 0 ? "" : kept->pdata[kept->len - 1]);
    if (kept->len > 0) {
        g_ptr_array_set_size(kept, (int)kept->len - 1);
    }
    g_ptr_array_add(kept, NULL);
    *folder = g_strjoinv("/", (char **)kept->pdata);
    return TRUE;
}

/* Takes away what lower layers put below @node. Returns whether anything is left. */
static gboolean
prune(BerthTree *tree, BerthNode *node)
{
    if (node->children == NULL) {
        return FALSE;
    }
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, node->children);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        BerthNode *child = value;
        gboolean left = prune(tree, child);
        if (!left && child->layer < tree->layer) {
            g_hash_table_iter_remove(&iter);
        }
    }
    return g_hash_table_size(node->children) > 0;
}

/* The recursion of prune() and node_free() is bounded by limits.depth_max. */
static gboolean
apply_whiteout(BerthTree *tree, const char *path, const char *folder, const char *name,
               GError **error)
{
    const char *victim = name + strlen(WHITEOUT);
    gboolean opaque = strcmp(name, WHITEOUT_OPAQUE) == 0;
    if (!opaque && (victim[0] == '\0' || strcmp(victim, ".") == 0 || strcmp(victim, "..") == 0)) {
        return refuse(error, path, "that is a whiteout of no name");
    }
    g_autoptr(GError) problem = NULL;
    BerthNode *parent = walk_to_folder(tree, folder, FALSE, &problem);
    if (problem != NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    BerthNode *node = parent == NULL || opaque ? parent : get_child(parent, victim);
    if (node == NULL) {
        return TRUE;
    }
    gboolean left = prune(tree, node);
    if (!opaque && !left && node->layer < tree->layer) {
        remove_child(parent, victim);
    }
    return TRUE;
}

/* Version 2 and 3 of Linux' file capabilities; what else claims the name is not one. */
static gboolean
is_capability(GBytes *value)
{
    gsize size;
    const guint8 *bytes = g_bytes_get_data(value, &size);
    return (size == 20 && bytes[3] == 2) || (size == 24 && bytes[3] == 3);
}

static gboolean
is_kept(const BerthTarXattr *xattr)
{
    if (strcmp(xattr->name, "security.capability") == 0) {
        return is_capability(xattr->value);
    }
    return g_str_has_prefix(xattr->name, "user.") &&
           !g_str_has_prefix(xattr->name, "user.overlay.") && strlen(xattr->name) > 5;
}

static gint
compare_xattrs(gconstpointer a, gconstpointer b)
{
    const BerthTarXattr *const *first = a, *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

static void
xattr_free(gpointer data)
{
    BerthTarXattr *xattr = data;
    g_free(xattr->name);
    g_bytes_unref(xattr->value);
    g_free(xattr);
}

/* Copies what is kept, each name once (the last wins), in one order. */
static GPtrArray *
keep_xattrs(const GPtrArray *xattrs, gsize *bytes)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *kept = g_ptr_array_new_with_free_func(xattr_free);
    for (guint i = xattrs->len; i > 0; i--) {
        const BerthTarXattr *xattr = xattrs->pdata[i - 1];
        if (is_kept(xattr) && g_hash_table_add(seen, xattr->name)) {
            BerthTarXattr *copy = g_new0(BerthTarXattr, 1);
            copy->name = g_strdup(xattr->name);
            copy->value = g_bytes_ref(xattr->value);
            *bytes += sizeof *copy + strlen(copy->name) + g_bytes_get_size(copy->value);
            g_ptr_array_add(kept, copy);
        }
    }
    g_ptr_array_sort(kept, compare_xattrs);
    if (kept->len == 0) {
        g_clear_pointer(&kept, g_ptr_array_unref);
    }
    return kept;
}

static gboolean
fill_inode(BerthTree *tree, BerthInode *inode, const BerthTarEntry *entry, GError **error)
{
    gsize bytes = entry->link == NULL ? 0 : strlen(entry->link);
    inode->type = entry->type;
    inode->mode = entry->mode;
    inode->uid = entry->uid;
    inode->gid = entry->gid;
    inode->mtime = entry->mtime;
    inode->size = entry->size;
    inode->layer = tree->layer;
    inode->entry = tree->entry;
    g_clear_pointer(&inode->xattrs, g_ptr_array_unref);
    if (entry->xattrs != NULL) {
        inode->xattrs = keep_xattrs(entry->xattrs, &bytes);
    }
    if (entry->type == BERTH_TAR_SYMLINK) {
        if (entry->link == NULL || entry->link[0] == '\0') {
            return refuse(error, entry->path, "that is a symbolic link to nothing");
        }
        inode->link = g_strdup(entry->link);
    }
    return charge(tree, bytes, error);
}

/* A folder entry over a folder changes its attributes and keeps what is inside. */
static gboolean
update_folder(BerthTree *tree, BerthNode *node, const BerthTarEntry *entry, GError **error)
{
    node->layer = tree->layer;
    return fill_inode(tree, node->inode, entry, error);
}

static BerthInode *
find_link_target(BerthTree *tree, const BerthTarEntry *entry, GError **error)
{
    g_autofree char *folder = NULL, *name = NULL;
    if (!split_path(entry->link == NULL ? "" : entry->link, &folder, &name, error)) {
        return NULL;
    }
    g_autoptr(GError) problem = NULL;
    const BerthNode *parent = walk_to_folder(tree, folder, FALSE, &problem);
    if (problem != NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    const BerthNode *target = parent == NULL ? NULL : get_child(parent, name);
    if (target == NULL || target->inode->type == BERTH_TAR_FOLDER) {
        g_autofree char *shown = g_strescape(entry->link == NULL ? "" : entry->link, NULL);
        refuse(error, entry->path, "that is a hard link to '%.200s', which is no file before it",
               shown);
        return NULL;
    }
    return target->inode;
}

/* What the entry stands for; the caller owns one name of it. */
static BerthInode *
make_inode(BerthTree *tree, const BerthTarEntry *entry, GError **error)
{
    if (entry->type == BERTH_TAR_HARD_LINK) {
        BerthInode *target = find_link_target(tree, entry, error);
        if (target != NULL) {
            target->names++;
        }
        return target;
    }
    BerthInode *inode = g_new0(BerthInode, 1);
    inode->names = 1;
    if (!fill_inode(tree, inode, entry, error)) {
        inode_unref(inode);
        return NULL;
    }
    return inode;
}

static gboolean
put_entry(BerthTree *tree, const BerthTarEntry *entry, const char *folder, const char *name,
          GError **error)
{
    BerthNode *parent = walk_to_folder(tree, folder, TRUE, error);
    if (parent == NULL) {
        return FALSE;
    }
    BerthNode *old = get_child(parent, name);
    if (old != NULL && entry->type == BERTH_TAR_FOLDER && old->inode->type == BERTH_TAR_FOLDER) {
        return update_folder(tree, old, entry, error);
    }
    /* The link is looked up before the old name goes: it may be that very name's. */
    BerthInode *inode = make_inode(tree, entry, error);
    if (inode == NULL) {
        return FALSE;
    }
    remove_child(parent, name);
    return add_child(tree, parent, name, inode, error) != NULL;
}

static gboolean
has_whiteout_part(const char *folder)
{
    return g_str_has_prefix(folder, WHITEOUT) || strstr(folder, "/" WHITEOUT) != NULL;
}

static gboolean
has_meta_part(const char *folder)
{
    return g_str_has_prefix(folder, WHITEOUT_META) || strstr(folder, "/" WHITEOUT_META) != NULL;
}

static gboolean
place(BerthTree *tree, const BerthTarEntry *entry, GError **error)
{
    g_autofree char *folder = NULL, *name = NULL;
    if (!split_path(entry->path, &folder, &name, error)) {
        return FALSE;
    }
    if (name[0] == '\0') {
        return entry->type == BERTH_TAR_FOLDER
                   ? update_folder(tree, tree->root, entry, error)
                   : refuse(error, entry->path, "that would replace the root by something else");
    }
    if (has_meta_part(folder) ||
        (g_str_has_prefix(name, WHITEOUT_META) && strcmp(name, WHITEOUT_OPAQUE) != 0)) {
        tree->dropped++;
        return TRUE;
    }
    if (has_whiteout_part(folder)) {
        return refuse(error, entry->path, "below a whiteout");
    }
    if (g_str_has_prefix(name, WHITEOUT)) {
        return apply_whiteout(tree, entry->path, folder, name, error);
    }
    if (entry->type == BERTH_TAR_CHARACTER || entry->type == BERTH_TAR_BLOCK) {
        /* The name is taken all the same: what lay there is replaced. */
        BerthNode *parent = walk_to_folder(tree, folder, TRUE, error);
        if (parent != NULL) {
            remove_child(parent, name);
        }
        tree->dropped++;
        return parent != NULL;
    }
    return put_entry(tree, entry, folder, name, error);
}

/**
 * berth_tree_add:
 * @entry: the next entry of the layer begun last
 *
 * Errors: INVALID, naming the entry, when it can't be placed inside the tree or a limit is reached.
 */
gboolean
berth_tree_add(BerthTree *tree, const BerthTarEntry *entry, GError **error)
{
    if (++tree->entries > tree->limits.entries_max) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "the image has more than %" G_GUINT64_FORMAT " entries",
                        tree->limits.entries_max);
        return FALSE;
    }
    gboolean ok = place(tree, entry, error);
    tree->entry++;
    return ok;
}

/** Returns: the root, borrowed. */
const BerthNode *
berth_tree_root(const BerthTree *tree)
{
    return tree->root;
}

/** Returns: (nullable): what has the clean path @path ("a/b"), links not followed; borrowed. */
BerthNode *
berth_tree_lookup(BerthTree *tree, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    BerthNode *node = tree->root;
    for (guint i = 0; parts[i] != NULL && node != NULL; i++) {
        node = parts[i][0] == '\0' ? node : get_child(node, parts[i]);
    }
    return node;
}

static gint
compare_nodes(gconstpointer a, gconstpointer b)
{
    const BerthNode *const *first = a, *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

/** Returns: (transfer container): the children of @node in the order of their bytes. */
GPtrArray *
berth_node_list(const BerthNode *node)
{
    GPtrArray *list = g_ptr_array_new();
    if (node->children != NULL) {
        GHashTableIter iter;
        gpointer value;
        g_hash_table_iter_init(&iter, node->children);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            g_ptr_array_add(list, value);
        }
    }
    g_ptr_array_sort(list, compare_nodes);
    return list;
}

/** Returns: (transfer full): "a/b/c"; "./" for the root. */
char *
berth_node_path(const BerthNode *node)
{
    if (node->parent == NULL) {
        return g_strdup("./");
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (; node->parent != NULL; node = node->parent) {
        g_ptr_array_insert(names, 0, node->name);
    }
    g_ptr_array_add(names, NULL);
    return g_strjoinv("/", (char **)names->pdata);
}

/** Returns: how many entries were left out on purpose (device nodes, aufs' own). */
guint64
berth_tree_dropped(const BerthTree *tree)
{
    return tree->dropped;
}
