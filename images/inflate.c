/* Unpacking under budgets.
 *
 * Invariant: no more bytes leave than the budget has left, and not many more than the ratio allows
 * for the bytes that went in. Only one level of packing is undone: gzip in gzip comes out as gzip.
 *
 * gzip is done by GLib's converter, which checks each member's CRC (libarchive 3.6 does not); zstd by
 * libarchive, whose decoder refuses windows over 128 MiB. One thread. Start at berth_inflate_read(). */
#include "images/inflate.h"

#include "base/error.h"
#include "images/sha256.h"

#include <archive.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define INPUT_SIZE 65536

typedef enum { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD } Packing;

struct BerthInflate {
    int fd;                     /* owned */
    BerthInflateBudget *budget; /* borrowed from the caller */
    Packing packing;
    guint64 consumed, produced;
    BerthSha256 *checksum; /* owned; of the produced bytes; NULL: not wanted */
    guint8 input[INPUT_SIZE];
    gsize input_start, input_end;
    gboolean input_over, over;
    gboolean between_members; /* gzip */
    GConverter *gzip;         /* owned; PACKING_GZIP */
    struct archive *zstd;     /* owned; PACKING_ZSTD */
    GError *read_error;       /* owned; met inside libarchive's callback */
};

static gboolean
fill_input(BerthInflate *inflate, GError **error)
{
    if (inflate->input_start > 0) {
        memmove(inflate->input, inflate->input + inflate->input_start,
                inflate->input_end - inflate->input_start);
        inflate->input_end -= inflate->input_start;
        inflate->input_start = 0;
    }
    while (!inflate->input_over && inflate->input_end < INPUT_SIZE) {
        gssize got =
            read(inflate->fd, inflate->input + inflate->input_end, INPUT_SIZE - inflate->input_end);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            berth_error_set_errno(error, errno, "can't read a layer");
            return FALSE;
        }
        inflate->input_over = got == 0;
        inflate->input_end += (gsize)got;
        inflate->consumed += (guint64)got;
    }
    return TRUE;
}

static la_ssize_t
give_input(struct archive *archive, void *user_data, const void **block)
{
    BerthInflate *inflate = user_data;
    inflate->input_start = inflate->input_end = 0;
    if (!fill_input(inflate, &inflate->read_error)) {
        return -1;
    }
    *block = inflate->input;
    return (la_ssize_t)inflate->input_end;
}

static gboolean
fail_corrupt(GError **error, const char *what)
{
    berth_error_set(error, BERTH_ERROR_CORRUPT, "the layer is damaged: %s", what);
    return FALSE;
}

static gboolean
open_zstd(BerthInflate *inflate, GError **error)
{
    struct archive_entry *entry;
    inflate->zstd = archive_read_new();
    if (archive_read_support_format_raw(inflate->zstd) != ARCHIVE_OK ||
        archive_read_append_filter(inflate->zstd, ARCHIVE_FILTER_ZSTD) != ARCHIVE_OK ||
        archive_read_open(inflate->zstd, inflate, NULL, give_input, NULL) != ARCHIVE_OK ||
        archive_read_next_header(inflate->zstd, &entry) != ARCHIVE_OK) {
        return fail_corrupt(error, archive_error_string(inflate->zstd));
    }
    return TRUE;
}

static gboolean
begins_with(const BerthInflate *inflate, const char *magic, gsize size)
{
    return inflate->input_end - inflate->input_start >= size &&
           memcmp(inflate->input + inflate->input_start, magic, size) == 0;
}

/**
 * berth_inflate_new:
 * @fd: the packed file, at its start; taken over
 * @budget: borrowed; counts down while reading
 *
 * Returns: (transfer full): the stream, or NULL. Errors: CORRUPT; by errno.
 */
BerthInflate *
berth_inflate_new(int fd, BerthInflateBudget *budget, GError **error)
{
    g_autoptr(BerthInflate) inflate = g_new0(BerthInflate, 1);
    inflate->fd = fd;
    inflate->budget = budget;
    inflate->checksum = budget->without_digest ? NULL : berth_sha256_new();
    if (!fill_input(inflate, error)) {
        return NULL;
    }
    if (begins_with(inflate, "\x1f\x8b", 2)) {
        inflate->packing = PACKING_GZIP;
        inflate->gzip = G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
    } else if (begins_with(inflate, "\x28\xb5\x2f\xfd", 4)) {
        inflate->packing = PACKING_ZSTD;
        if (lseek(inflate->fd, 0, SEEK_SET) != 0) {
            berth_error_set_errno(error, errno, "can't read a layer");
            return NULL;
        }
        inflate->input_end = inflate->consumed = 0;
        inflate->input_over = FALSE;
        if (!open_zstd(inflate, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&inflate);
}

static gssize
read_plain(BerthInflate *inflate, void *data, gsize size, GError **error)
{
    if (inflate->input_start == inflate->input_end && !fill_input(inflate, error)) {
        return -1;
    }
    gsize count = MIN(size, inflate->input_end - inflate->input_start);
    memcpy(data, inflate->input + inflate->input_start, count);
    inflate->input_start += count;
    return (gssize)count;
}

/* After a member: the end, another member, or junk, which no honest tool writes. */
static gboolean
next_member(BerthInflate *inflate, GError **error)
{
    if (!fill_input(inflate, error)) {
        return FALSE;
    }
    if (inflate->input_start == inflate->input_end) {
        inflate->over = TRUE;
        return TRUE;
    }
    if (!begins_with(inflate, "\x1f\x8b", 2)) {
        return fail_corrupt(error, "bytes behind the end of the gzip data");
    }
    g_converter_reset(inflate->gzip);
    inflate->between_members = FALSE;
    return TRUE;
}

static gboolean
convert_gzip(BerthInflate *inflate, void *data, gsize size, gsize *produced, GError **error)
{
    if (inflate->input_end - inflate->input_start < INPUT_SIZE / 2 && !fill_input(inflate, error)) {
        return FALSE;
    }
    gsize taken = 0;
    g_autoptr(GError) problem = NULL;
    GConverterResult result =
        g_converter_convert(inflate->gzip, inflate->input + inflate->input_start,
                            inflate->input_end - inflate->input_start, data, size,
                            inflate->input_over ? G_CONVERTER_INPUT_AT_END : G_CONVERTER_NO_FLAGS,
                            &taken, produced, &problem);
    if (result == G_CONVERTER_ERROR) {
        return fail_corrupt(error, problem->message);
    }
    inflate->input_start += taken;
    inflate->between_members = result == G_CONVERTER_FINISHED;
    return TRUE;
}

static gssize
read_gzip(BerthInflate *inflate, void *data, gsize size, GError **error)
{
    gsize produced = 0;
    while (produced == 0 && !inflate->over) {
        gboolean ok = inflate->between_members
                          ? next_member(inflate, error)
                          : convert_gzip(inflate, data, size, &produced, error);
        if (!ok) {
            return -1;
        }
    }
    return (gssize)produced;
}

static gssize
read_zstd(BerthInflate *inflate, void *data, gsize size, GError **error)
{
    gssize got = archive_read_data(inflate->zstd, data, size);
    if (got >= 0) {
        return got;
    }
    if (inflate->read_error != NULL) {
        g_propagate_error(error, g_steal_pointer(&inflate->read_error));
    } else {
        fail_corrupt(error, archive_error_string(inflate->zstd));
    }
    return -1;
}

static gboolean
check_time(const BerthInflateBudget *budget, GError **error)
{
    if (g_cancellable_is_cancelled(budget->cancellable)) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (budget->deadline_us != 0 && g_get_monotonic_time() > budget->deadline_us) {
        berth_error_set(error, BERTH_ERROR_TIMEOUT, "unpacking the image took too long");
        return FALSE;
    }
    return TRUE;
}

static gboolean
charge(BerthInflate *inflate, gsize bytes, GError **error)
{
    BerthInflateBudget *budget = inflate->budget;
    if (bytes > budget->bytes_left) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the image unpacks to more than is allowed");
        return FALSE;
    }
    budget->bytes_left -= bytes;
    inflate->produced += bytes;
    guint64 allowed = inflate->consumed * budget->ratio_max + BERTH_INFLATE_FREE;
    if (inflate->packing != PACKING_NONE && inflate->produced > allowed) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "the layer unpacks to more than %u times its size", budget->ratio_max);
        return FALSE;
    }
    return TRUE;
}

/**
 * berth_inflate_read:
 *
 * Returns: how many bytes were put to @data, 1 to @size; 0 at the end; -1 with @error: CORRUPT, INVALID
 * (a budget), TIMEOUT, CANCELLED, by errno.
 */
gssize
berth_inflate_read(BerthInflate *inflate, void *data, gsize size, GError **error)
{
    gssize got;
    if (!check_time(inflate->budget, error)) {
        return -1;
    }
    switch (inflate->packing) {
    case PACKING_GZIP:
        got = read_gzip(inflate, data, size, error);
        break;
    case PACKING_ZSTD:
        got = read_zstd(inflate, data, size, error);
        break;
    default:
        got = read_plain(inflate, data, size, error);
    }
    if (got > 0) {
        if (!charge(inflate, (gsize)got, error)) {
            return -1;
        }
        if (inflate->checksum != NULL) {
            berth_sha256_update(inflate->checksum, data, (gsize)got);
        }
    }
    return got;
}

/** Reads to the end, for the digest. */
gboolean
berth_inflate_drain(BerthInflate *inflate, GError **error)
{
    guint8 chunk[16384];
    gssize got;
    do {
        got = berth_inflate_read(inflate, chunk, sizeof chunk, error);
    } while (got > 0);
    return got == 0;
}

/** Returns: packed bytes read so far. */
guint64
berth_inflate_consumed(const BerthInflate *inflate)
{
    return inflate->consumed;
}

/** Sets @digest to the sha256 of all that was read so far; not for a stream without digest. */
void
berth_inflate_digest(const BerthInflate *inflate, BerthDigest *digest)
{
    berth_sha256_peek(inflate->checksum, digest);
}

void
berth_inflate_free(BerthInflate *inflate)
{
    if (inflate == NULL) {
        return;
    }
    close(inflate->fd);
    berth_sha256_free(inflate->checksum);
    g_clear_object(&inflate->gzip);
    if (inflate->zstd != NULL) {
        archive_read_free(inflate->zstd);
    }
    g_clear_error(&inflate->read_error);
    g_free(inflate);
}
