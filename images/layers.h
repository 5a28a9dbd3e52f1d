/* The tree that an image's layers make when laid over each other: names and headers, no content. */
#pragma once

#include "images/tar.h"

#include <glib.h>

G_BEGIN_DECLS

/* What a name stands for; several names share one when they are hard links. */
typedef struct {
    guint names;
    BerthTarType type;
    guint32 mode, uid, gid;
    gint64 mtime;
    guint64 size;
    char *link;        /* owned; of symlinks */
    GPtrArray *xattrs; /* owned, of BerthTarXattr; NULL: none */
    guint layer;       /* where the content is, */
    guint64 entry;     /* and which entry of that layer, counted from 0 */
    char *written_as;  /* owned; the writer's note: the path it has in the squashfs so far */
} BerthInode;

typedef struct BerthNode BerthNode;
struct BerthNode {
    char *name;           /* owned; "" for the root */
    BerthNode *parent;    /* borrowed; NULL for the root */
    GHashTable *children; /* owned; name -> BerthNode; folders only, NULL: empty */
    BerthInode *inode;    /* shared */
    guint layer;          /* that wrote this name last */
    guint depth;
};

typedef struct {
    guint64 entries_max, memory_max;
    guint depth_max;
} BerthTreeLimits;

/* One merged tree. Used by one thread. */
typedef struct BerthTree BerthTree;

BerthTree *berth_tree_new(const BerthTreeLimits *limits);
void berth_tree_begin_layer(BerthTree *tree);
gboolean berth_tree_add(BerthTree *tree, const BerthTarEntry *entry, GError **error);
const BerthNode *berth_tree_root(const BerthTree *tree);
BerthNode *berth_tree_lookup(BerthTree *tree, const char *path);
GPtrArray *berth_node_list(const BerthNode *node);
char *berth_node_path(const BerthNode *node);
guint64 berth_tree_dropped(const BerthTree *tree);
void berth_tree_free(BerthTree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthTree, berth_tree_free)

G_END_DECLS
