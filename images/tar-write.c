/* The writer of tar headers: ustar, with a pax header before it for what ustar can't say.
 *
 * Invariant: the same entry gives the same bytes. Pure. Start at berth_tar_format_header(). */
#include "images/tar.h"

#include <stdio.h>
#include <string.h>

#define BLOCK 512
#define NAME_SIZE 100

static void
add_record(GString *pax, const char *key, const void *value, gsize size)
{
    /* The length counts its own digits: grow until it fits. */
    gsize body = 1 + strlen(key) + 1 + size + 1;
    gsize length = body;
    for (;;) {
        g_autofree char *digits = g_strdup_printf("%zu", length);
        if (strlen(digits) + body == length) {
            break;
        }
        length = strlen(digits) + body;
    }
    g_string_append_printf(pax, "%zu %s=", length, key);
    g_string_append_len(pax, value, (gssize)size);
    g_string_append_c(pax, '\n');
}

static void
add_number(GString *pax, const char *key, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);
    add_record(pax, key, text, strlen(text));
}

/* What the plain header has no room for. */
static GString *
format_pax(const BerthTarEntry *entry)
{
    GString *pax = g_string_new(NULL);
    if (strlen(entry->path) > NAME_SIZE) {
        add_record(pax, "path", entry->path, strlen(entry->path));
    }
    if (entry->link != NULL && strlen(entry->link) > NAME_SIZE) {
        add_record(pax, "linkpath", entry->link, strlen(entry->link));
    }
    if (entry->size > 077777777777) {
        add_number(pax, "size", entry->size);
    }
    if (entry->uid > 07777777) {
        add_number(pax, "uid", entry->uid);
    }
    if (entry->gid > 07777777) {
        add_number(pax, "gid", entry->gid);
    }
    for (guint i = 0; entry->xattrs != NULL && i < entry->xattrs->len; i++) {
        const BerthTarXattr *xattr = entry->xattrs->pdata[i];
        gsize size;
        const void *value = g_bytes_get_data(xattr->value, &size);
        g_autofree char *key = g_strconcat("SCHILY.xattr.", xattr->name, NULL);
        add_record(pax, key, value, size);
    }
    return pax;
}

static void
put_octal(char *field, gsize width, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%0*" G_GINT64_MODIFIER "o", (int)width - 1, value);
    memcpy(field, text, MIN(strlen(text), width - 1));
}

static guint64
or_zero(guint64 value, guint64 maximum)
{
    return value > maximum ? 0 : value;
}

static void
put_header(GByteArray *bytes, const BerthTarEntry *entry, char type, guint64 size)
{
    char block[BLOCK] = {0};
    memcpy(block, entry->path, MIN(strlen(entry->path), NAME_SIZE));
    put_octal(block + 100, 8, entry->mode);
    put_octal(block + 108, 8, or_zero(entry->uid, 07777777));
    put_octal(block + 116, 8, or_zero(entry->gid, 07777777));
    put_octal(block + 124, 12, or_zero(size, 077777777777));
    put_octal(block + 136, 12, (guint64)CLAMP(entry->mtime, 0, G_MAXUINT32));
    block[156] = type;
    if (entry->link != NULL && type != 'x') {
        memcpy(block + 157, entry->link, MIN(strlen(entry->link), NAME_SIZE));
    }
    memcpy(block + 257, "ustar\00000", 8);
    memset(block + 148, ' ', 8);
    guint sum = 0;
    for (gsize i = 0; i < BLOCK; i++) {
        sum += (guint8)block[i];
    }
    put_octal(block + 148, 7, sum);
    block[154] = '\0';
    g_byte_array_append(bytes, (const guint8 *)block, BLOCK);
}

/**
 * berth_tar_format_header:
 * @entry: its path may be of any length
 * @bytes: gets the header blocks; the content and berth_tar_padding() zeros go behind them
 */
void
berth_tar_format_header(const BerthTarEntry *entry, GByteArray *bytes)
{
    g_autoptr(GString) pax = format_pax(entry);
    if (pax->len > 0) {
        static const guint8 zeros[BLOCK];
        put_header(bytes, entry, 'x', pax->len);
        g_byte_array_append(bytes, (const guint8 *)pax->str, (guint)pax->len);
        g_byte_array_append(bytes, zeros, (guint)berth_tar_padding(pax->len));
    }
    put_header(bytes, entry, (char)entry->type, entry->size);
}
