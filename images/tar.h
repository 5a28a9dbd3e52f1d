/* Tar archives as streams: a strict reader and the writer that feeds the squashfs converter. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define BERTH_TAR_PATH_MAX 4095
#define BERTH_TAR_PAX_MAX (256 * 1024) /* bytes of one extended header */
#define BERTH_TAR_XATTRS_MAX 64

typedef enum {
    BERTH_TAR_FILE = '0',
    BERTH_TAR_HARD_LINK = '1',
    BERTH_TAR_SYMLINK = '2',
    BERTH_TAR_CHARACTER = '3',
    BERTH_TAR_BLOCK = '4',
    BERTH_TAR_FOLDER = '5',
    BERTH_TAR_FIFO = '6',
} BerthTarType;

typedef struct {
    char *name;    /* owned */
    GBytes *value; /* owned */
} BerthTarXattr;

/* One entry. Strings are bytes without NUL, as the archive has them: neither UTF-8 nor clean. */
typedef struct {
    BerthTarType type;
    char *path;   /* owned */
    char *link;   /* owned; of links, else NULL */
    guint32 mode; /* permission bits, setuid, setgid, sticky */
    guint32 uid, gid;
    gint64 mtime;      /* seconds; clamped to 0 .. 2^32-1, what squashfs can hold */
    guint64 size;      /* bytes that follow; 0 for all but files */
    GPtrArray *xattrs; /* owned, of BerthTarXattr; NULL: none */
} BerthTarEntry;

/* Gives up to @size bytes; 0 at the end, -1 with @error. */
typedef gssize (*BerthTarReadFunc)(gpointer user_data, void *data, gsize size, GError **error);

/* A reader. Used by one thread. */
typedef struct BerthTar BerthTar;

BerthTar *berth_tar_new(BerthTarReadFunc read, gpointer user_data);
gboolean berth_tar_next(BerthTar *tar, const BerthTarEntry **entry, GError **error);
gssize berth_tar_read(BerthTar *tar, void *data, gsize size, GError **error);
void berth_tar_free(BerthTar *tar);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthTar, berth_tar_free)

void berth_tar_format_header(const BerthTarEntry *entry, GByteArray *bytes);
gsize berth_tar_padding(guint64 size);

G_END_DECLS
