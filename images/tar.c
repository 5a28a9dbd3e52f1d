/* The reader of tar archives: ustar, GNU long names, pax.
 *
 * Own code and not libarchive's, because that one converts names by the process's locale, looks for a
 * next header behind damage, and takes memory for what a header announces. Here a damaged header
 * is the end, nothing is converted, and what an entry can cost is fixed: two paths and one pax header.
 * Sparse files are refused (no image builder writes them).
 *
 * Invariant: an entry that is handed out has a path without NUL of at most BERTH_TAR_PATH_MAX bytes,
 * and a size that fits in 63 bits. One thread. Format: POSIX pax(1). Start at berth_tar_next(). */
#include "images/tar.h"

#include "base/error.h"

#include <string.h>

#define BLOCK 512

typedef struct {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100],
        magic[8], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
} Header;
G_STATIC_ASSERT(sizeof(Header) == BLOCK);

/* What an extended header said about the entry that follows. */
typedef struct {
    char *path, *link; /* owned; NULL: nothing */
    gboolean has_size, has_uid, has_gid, has_mtime;
    guint64 size, uid, gid;
    gint64 mtime;
    GPtrArray *xattrs; /* owned; NULL: none */
} Overrides;

struct BerthTar {
    BerthTarReadFunc read;
    gpointer user_data;
    guint64 left;  /* of the current entry's content */
    gsize padding; /* behind it */
    gboolean over;
    BerthTarEntry entry;
    Overrides overrides;
};

static void
xattr_free(gpointer data)
{
    BerthTarXattr *xattr = data;
    g_free(xattr->name);
    g_bytes_unref(xattr->value);
    g_free(xattr);
}

static void
overrides_clear(Overrides *overrides)
{
    g_free(overrides->path);
    g_free(overrides->link);
    g_clear_pointer(&overrides->xattrs, g_ptr_array_unref);
    memset(overrides, 0, sizeof *overrides);
}

static void
entry_clear(BerthTarEntry *entry)
{
    g_free(entry->path);
    g_free(entry->link);
    g_clear_pointer(&entry->xattrs, g_ptr_array_unref);
    memset(entry, 0, sizeof *entry);
}

/**
 * berth_tar_new:
 * @read: where the archive's bytes come from
 *
 * Returns: (transfer full): a reader at the archive's start.
 */
BerthTar *
berth_tar_new(BerthTarReadFunc read, gpointer user_data)
{
    BerthTar *tar = g_new0(BerthTar, 1);
    tar->read = read;
    tar->user_data = user_data;
    return tar;
}

void
berth_tar_free(BerthTar *tar)
{
    if (tar != NULL) {
        entry_clear(&tar->entry);
        overrides_clear(&tar->overrides);
        g_free(tar);
    }
}

static gboolean G_GNUC_PRINTF(2, 3) fail(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *clean = g_strescape(text, NULL);
    berth_error_set(error, BERTH_ERROR_CORRUPT, "the archive is damaged: %s", clean);
    return FALSE;
}

/* Reads exactly @size bytes; *@got tells how many came before the end. */
static gboolean
read_fully(BerthTar *tar, void *data, gsize size, gsize *got, GError **error)
{
    *got = 0;
    while (*got < size) {
        gssize count = tar->read(tar->user_data, (char *)data + *got, size - *got, error);
        if (count < 0) {
            return FALSE;
        }
        if (count == 0) {
            break;
        }
        *got += (gsize)count;
    }
    return TRUE;
}

static gboolean
read_exactly(BerthTar *tar, void *data, gsize size, GError **error)
{
    gsize got;
    if (!read_fully(tar, data, size, &got, error)) {
        return FALSE;
    }
    return got == size ? TRUE : fail(error, "it ends in the middle of an entry");
}

static gboolean
skip(BerthTar *tar, guint64 size, GError **error)
{
    char chunk[16384];
    while (size > 0) {
        gsize part = (gsize)MIN(size, sizeof chunk);
        if (!read_exactly(tar, chunk, part, error)) {
            return FALSE;
        }
        size -= part;
    }
    return TRUE;
}

/* The bytes that fill the last block of a content of @size bytes. */
gsize
berth_tar_padding(guint64 size)
{
    return (gsize)((BLOCK - size % BLOCK) % BLOCK);
}

/* Octal text, or GNU's base-256 when the top bit is set. Negative and over 63 bits: FALSE. */
static gboolean
parse_number(const char *field, gsize width, guint64 *value)
{
    const guint8 *bytes = (const guint8 *)field;
    *value = 0;
    if (bytes[0] & 0x80) {
        guint64 first = bytes[0] & 0x7f;
        for (gsize i = 0; i < width; i++) {
            guint64 digit = i == 0 ? first : bytes[i];
            if (*value >> 55 != 0) {
                return FALSE;
            }
            *value = *value << 8 | digit;
        }
        return (bytes[0] & 0x40) == 0;
    }
    gsize at = 0;
    while (at < width && field[at] == ' ') {
        at++;
    }
    while (at < width && field[at] >= '0' && field[at] <= '7') {
        *value = *value << 3 | (guint64)(field[at++] - '0');
    }
    return at == width || field[at] == ' ' || field[at] == '\0';
}

/* Some old tools summed signed bytes. */
static gboolean
checksum_fits(const Header *header)
{
    guint64 stored;
    if (!parse_number(header->checksum, sizeof header->checksum, &stored)) {
        return FALSE;
    }
    gint64 plain = 0, with_sign = 0;
    const char *bytes = (const char *)header;
    for (gsize i = 0; i < BLOCK; i++) {
        gboolean inside = i >= G_STRUCT_OFFSET(Header, checksum) &&
                          i < G_STRUCT_OFFSET(Header, checksum) + sizeof header->checksum;
        char c = inside ? ' ' : bytes[i];
        plain += (guint8)c;
        with_sign += (gint8)c;
    }
    return (gint64)stored == plain || (gint64)stored == with_sign;
}

static gboolean
is_zero_block(const Header *header)
{
    const char *bytes = (const char *)header;
    return bytes[0] == '\0' && memcmp(bytes, bytes + 1, BLOCK - 1) == 0;
}

/* Reads the content of a GNU 'L' or 'K' entry: one name. */
static gboolean
read_long_name(BerthTar *tar, guint64 size, char **name, GError **error)
{
    if (size == 0 || size > BERTH_TAR_PATH_MAX + 1) {
        return fail(error, "a name of %" G_GUINT64_FORMAT " bytes is longer than %d", size,
                    BERTH_TAR_PATH_MAX);
    }
    g_autofree char *text = g_malloc0(size + 1);
    if (!read_exactly(tar, text, size, error) || !skip(tar, berth_tar_padding(size), error)) {
        return FALSE;
    }
    g_free(*name);
    *name = g_steal_pointer(&text);
    return TRUE;
}

static gboolean
take_name(char **name, const char *value, gsize size, GError **error)
{
    if (size > BERTH_TAR_PATH_MAX) {
        return fail(error, "a name of %zu bytes is longer than %d", size, BERTH_TAR_PATH_MAX);
    }
    if (memchr(value, '\0', size) != NULL) {
        return fail(error, "a name holds a NUL");
    }
    g_free(*name);
    *name = g_strndup(value, size);
    return TRUE;
}

static gboolean
take_unsigned(const char *value, gsize size, guint64 maximum, guint64 *number, gboolean *has,
              const char *what, GError **error)
{
    g_autofree char *text = g_strndup(value, size);
    if (!g_ascii_string_to_unsigned(text, 10, 0, maximum, number, NULL)) {
        return fail(error, "'%.40s' is not a %s", text, what);
    }
    *has = TRUE;
    return TRUE;
}

/* "[-]seconds[.fraction]"; what squashfs can't hold is clamped, what is no number is refused. */
static gboolean
take_time(const char *value, gsize size, Overrides *overrides, GError **error)
{
    g_autofree char *text = g_strndup(value, size);
    const char *digits = text[0] == '-' ? text + 1 : text;
    gsize whole = strspn(digits, "0123456789");
    const char *rest = digits + whole;
    gboolean ok =
        whole > 0 && strlen(text) == size &&
        (*rest == '\0' || (*rest == '.' && strspn(rest + 1, "0123456789") == strlen(rest + 1)));
    if (!ok) {
        return fail(error, "'%.40s' is not a time", text);
    }
    guint64 seconds = whole > 11 ? G_MAXUINT32 : g_ascii_strtoull(digits, NULL, 10);
    overrides->mtime = digits == text ? (gint64)MIN(seconds, G_MAXUINT32) : 0;
    overrides->has_mtime = TRUE;
    return TRUE;
}

static gboolean
take_xattr(Overrides *overrides, const char *name, const char *value, gsize size, GError **error)
{
    if (overrides->xattrs == NULL) {
        overrides->xattrs = g_ptr_array_new_with_free_func(xattr_free);
    }
    if (overrides->xattrs->len >= BERTH_TAR_XATTRS_MAX || strlen(name) > 255 || size > 65536) {
        return fail(error, "an entry has too many or too large extended attributes");
    }
    BerthTarXattr *xattr = g_new0(BerthTarXattr, 1);
    xattr->name = g_strdup(name);
    xattr->value = g_bytes_new(value, size);
    g_ptr_array_add(overrides->xattrs, xattr);
    return TRUE;
}

#define XATTR_PREFIX "SCHILY.xattr."

static gboolean
take_record(Overrides *overrides, const char *key, const char *value, gsize size, GError **error)
{
    if (strcmp(key, "path") == 0) {
        return take_name(&overrides->path, value, size, error);
    }
    if (strcmp(key, "linkpath") == 0) {
        return take_name(&overrides->link, value, size, error);
    }
    if (strcmp(key, "size") == 0) {
        return take_unsigned(value, size, G_MAXINT64, &overrides->size, &overrides->has_size,
                             "size", error);
    }
    if (strcmp(key, "uid") == 0) {
        return take_unsigned(value, size, G_MAXUINT32 - 1, &overrides->uid, &overrides->has_uid,
                             "user id", error);
    }
    if (strcmp(key, "gid") == 0) {
        return take_unsigned(value, size, G_MAXUINT32 - 1, &overrides->gid, &overrides->has_gid,
                             "group id", error);
    }
    if (strcmp(key, "mtime") == 0) {
        return take_time(value, size, overrides, error);
    }
    if (g_str_has_prefix(key, XATTR_PREFIX)) {
        return take_xattr(overrides, key + strlen(XATTR_PREFIX), value, size, error);
    }
    if (g_str_has_prefix(key, "GNU.sparse.")) {
        return fail(error, "sparse files are not supported");
    }
    return TRUE;
}

/* "LENGTH KEY=VALUE\n" again and again; LENGTH counts the whole record. */
static gboolean
parse_pax(Overrides *overrides, const char *text, gsize size, GError **error)
{
    while (size > 0) {
        gsize digits = 0, length = 0;
        while (digits < size && digits < 7 && g_ascii_isdigit(text[digits])) {
            length = length * 10 + (gsize)(text[digits++] - '0');
        }
        if (digits == 0 || digits + 1 >= length || length > size || text[digits] != ' ' ||
            text[length - 1] != '\n') {
            return fail(error, "an extended header is malformed");
        }
        const char *key = text + digits + 1, *end = text + length - 1;
        const char *equals = memchr(key, '=', (gsize)(end - key));
        if (equals == NULL || equals == key || memchr(key, '\0', (gsize)(equals - key)) != NULL) {
            return fail(error, "an extended header is malformed");
        }
        g_autofree char *name = g_strndup(key, (gsize)(equals - key));
        if (!take_record(overrides, name, equals + 1, (gsize)(end - equals - 1), error)) {
            return FALSE;
        }
        text += length;
        size -= length;
    }
    return TRUE;
}

static gboolean
read_pax(BerthTar *tar, guint64 size, gboolean global, GError **error)
{
    if (size > BERTH_TAR_PAX_MAX) {
        return fail(error, "an extended header of %" G_GUINT64_FORMAT " bytes is larger than %d",
                    size, BERTH_TAR_PAX_MAX);
    }
    g_autofree char *text = g_malloc(size + 1);
    if (!read_exactly(tar, text, size, error) || !skip(tar, berth_tar_padding(size), error)) {
        return FALSE;
    }
    /* A global header holds a comment in practice (git archive); it is not applied. */
    return global || parse_pax(&tar->overrides, text, size, error);
}

static char *
header_path(const Header *header)
{
    g_autofree char *name = g_strndup(header->name, sizeof header->name);
    if (memcmp(header->magic, "ustar\0", 6) == 0 && header->prefix[0] != '\0') {
        g_autofree char *prefix = g_strndup(header->prefix, sizeof header->prefix);
        return g_strconcat(prefix, "/", name, NULL);
    }
    return g_steal_pointer(&name);
}

static gboolean
decide_type(const Header *header, BerthTarEntry *entry, GError **error)
{
    switch (header->type) {
    case '\0':
        entry->type = g_str_has_suffix(entry->path, "/") ? BERTH_TAR_FOLDER : BERTH_TAR_FILE;
        return TRUE;
    case '7': /* contiguous: a plain file for everybody */
        entry->type = BERTH_TAR_FILE;
        return TRUE;
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
        entry->type = (BerthTarType)header->type;
        return TRUE;
    default:
        return fail(error, "'%.100s' is an entry of type '%c', which is not supported", entry->path,
                    header->type);
    }
}

static gboolean
read_owner(const Header *header, const Overrides *overrides, BerthTarEntry *entry, GError **error)
{
    guint64 mode, uid, gid, mtime;
    if (!parse_number(header->mode, sizeof header->mode, &mode)) {
        return fail(error, "'%.100s' has a mode that is no number", entry->path);
    }
    gboolean has_uid = parse_number(header->uid, sizeof header->uid, &uid);
    gboolean has_gid = parse_number(header->gid, sizeof header->gid, &gid);
    uid = overrides->has_uid ? overrides->uid : uid;
    gid = overrides->has_gid ? overrides->gid : gid;
    if ((!has_uid && !overrides->has_uid) || (!has_gid && !overrides->has_gid) ||
        uid >= G_MAXUINT32 || gid >= G_MAXUINT32) {
        return fail(error, "'%.100s' has an owner outside 0 to 4294967294", entry->path);
    }
    if (!parse_number(header->mtime, sizeof header->mtime, &mtime)) {
        mtime = 0; /* before 1970 */
    }
    entry->mode = (guint32)(mode & 07777);
    entry->uid = (guint32)uid;
    entry->gid = (guint32)gid;
    entry->mtime = overrides->has_mtime ? overrides->mtime : (gint64)MIN(mtime, G_MAXUINT32);
    return TRUE;
}

static gboolean
build_entry(BerthTar *tar, const Header *header, guint64 size, GError **error)
{
    BerthTarEntry *entry = &tar->entry;
    Overrides *overrides = &tar->overrides;
    entry->path = overrides->path != NULL ? g_steal_pointer(&overrides->path) : header_path(header);
    if (!decide_type(header, entry, error) || !read_owner(header, overrides, entry, error)) {
        return FALSE;
    }
    if (entry->type == BERTH_TAR_HARD_LINK || entry->type == BERTH_TAR_SYMLINK) {
        entry->link = overrides->link != NULL ? g_steal_pointer(&overrides->link)
                                              : g_strndup(header->link, sizeof header->link);
    }
    /* Only files have content; old tools put a size into the headers of links. */
    entry->size = entry->type != BERTH_TAR_FILE ? 0 : overrides->has_size ? overrides->size : size;
    entry->xattrs = g_steal_pointer(&overrides->xattrs);
    tar->left = entry->size;
    tar->padding = berth_tar_padding(entry->size);
    return TRUE;
}

/* Reads one header with the extended ones before it. */
static gboolean
read_header(BerthTar *tar, const BerthTarEntry **entry, GError **error)
{
    for (;;) {
        Header header;
        gsize got;
        guint64 size;
        if (!read_fully(tar, &header, BLOCK, &got, error)) {
            return FALSE;
        }
        if (got == 0 || (got == BLOCK && is_zero_block(&header))) {
            tar->over = TRUE;
            return TRUE;
        }
        if (got < BLOCK || !checksum_fits(&header)) {
            return fail(error, got < BLOCK ? "it ends in the middle of a header"
                                           : "the checksum of a header is wrong");
        }
        if (!parse_number(header.size, sizeof header.size, &size)) {
            return fail(error, "the size of an entry is not a number that fits");
        }
        gboolean ok;
        if (header.type == 'x' || header.type == 'g') {
            ok = read_pax(tar, size, header.type == 'g', error);
        } else if (header.type == 'L') {
            ok = read_long_name(tar, size, &tar->overrides.path, error);
        } else if (header.type == 'K') {
            ok = read_long_name(tar, size, &tar->overrides.link, error);
        } else {
            ok = build_entry(tar, &header, size, error);
            *entry = ok ? &tar->entry : NULL;
            return ok;
        }
        if (!ok) {
            return FALSE;
        }
    }
}

/**
 * berth_tar_next:
 * @entry: (out): the next entry, borrowed until the next call; NULL at the archive's end
 *
 * Skips what was not read of the entry before. An archive that ends at the border of an entry is
 * whole, with or without end blocks.
 *
 * Errors: CORRUPT, and those of the source.
 */
gboolean
berth_tar_next(BerthTar *tar, const BerthTarEntry **entry, GError **error)
{
    *entry = NULL;
    if (tar->over) {
        return TRUE;
    }
    if (!skip(tar, tar->left, error) || !skip(tar, tar->padding, error)) {
        return FALSE;
    }
    tar->left = tar->padding = 0;
    entry_clear(&tar->entry);
    overrides_clear(&tar->overrides);
    return read_header(tar, entry, error);
}

/** Returns: bytes of the current entry's content put to @data; 0 at its end; -1 with @error. */
gssize
berth_tar_read(BerthTar *tar, void *data, gsize size, GError **error)
{
    gsize part = (gsize)MIN(size, tar->left);
    if (part == 0) {
        return 0;
    }
    gssize got = tar->read(tar->user_data, data, part, error);
    if (got == 0) {
        fail(error, "it ends in the middle of an entry");
        return -1;
    }
    if (got > 0) {
        tar->left -= (guint64)got;
    }
    return got;
}
