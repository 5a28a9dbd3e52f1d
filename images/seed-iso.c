/* The NoCloud seed of a VM, as an ISO 9660 image in memory.
 *
 * Invariant: meta-data is written by the JSON serialiser (JSON is YAML), so no name can add a line;
 * user-data and network-config are carried as they are and are never merged into anything.
 * Same input, same bytes: all times are fixed. Pure but for memory. Start at berth_seed_iso_build().
 * Format: cloud-init's NoCloud data source. */
#include "images/seed-iso.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#define VOLUME_ID "cidata"
#define INSTANCE_ID_MAX 128

/* A DNS name as RFC 1123 has it. */
static gboolean
is_hostname(const char *name)
{
    gsize length = name == NULL ? 0 : strlen(name);
    if (length == 0 || length > 253) {
        return FALSE;
    }
    g_auto(GStrv) labels = g_strsplit(name, ".", -1);
    for (guint i = 0; labels[i] != NULL; i++) {
        gsize size = strlen(labels[i]);
        if (size == 0 || size > 63 || labels[i][0] == '-' || labels[i][size - 1] == '-' ||
            strspn(labels[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
                size) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_names(const BerthSeed *seed, GError **error)
{
    if (!is_hostname(seed->hostname)) {
        g_autofree char *shown = g_strescape(seed->hostname == NULL ? "" : seed->hostname, NULL);
        berth_error_set(error, BERTH_ERROR_INVALID, "'%.300s' is not a host name", shown);
        return FALSE;
    }
    gsize length = seed->instance_id == NULL ? 0 : strlen(seed->instance_id);
    if (length == 0 || length > INSTANCE_ID_MAX || !g_str_is_ascii(seed->instance_id)) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "the instance id has 1 to %d ASCII characters, not %zu", INSTANCE_ID_MAX,
                        length);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_sizes(const BerthSeed *seed, GError **error)
{
    if (seed->user_data != NULL && seed->user_data_size > BERTH_SEED_USER_DATA_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "user-data of %zu bytes is larger than %d bytes", seed->user_data_size,
                        BERTH_SEED_USER_DATA_MAX);
        return FALSE;
    }
    if (seed->network_config != NULL &&
        strlen(seed->network_config) > BERTH_SEED_NETWORK_CONFIG_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "network-config is larger than %d bytes",
                        BERTH_SEED_NETWORK_CONFIG_MAX);
        return FALSE;
    }
    return TRUE;
}

static la_ssize_t
append(struct archive *archive, void *user_data, const void *data, size_t size)
{
    g_byte_array_append(user_data, data, (guint)size);
    return (la_ssize_t)size;
}

static gboolean
add_file(struct archive *archive, const char *name, const void *data, gsize size)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0444);
    archive_entry_set_mtime(entry, 0, 0);
    archive_entry_set_ctime(entry, 0, 0);
    archive_entry_set_atime(entry, 0, 0);
    archive_entry_set_birthtime(entry, 0, 0);
    gboolean ok = archive_write_header(archive, entry) == ARCHIVE_OK &&
                  archive_write_data(archive, data, size) == (la_ssize_t)size;
    archive_entry_free(entry);
    return ok;
}

static char *
format_meta_data(const BerthSeed *seed)
{
    g_autoptr(json_t) meta =
        json_pack("{s:s, s:s}", "instance-id", seed->instance_id, "local-hostname", seed->hostname);
    g_autofree char *text = berth_json_format(meta);
    return g_strconcat(text, "\n", NULL);
}

static gboolean
write_files(struct archive *archive, const BerthSeed *seed)
{
    g_autofree char *meta = format_meta_data(seed);
    const char *user_data = seed->user_data == NULL ? "#cloud-config\n" : seed->user_data;
    gsize user_size = seed->user_data == NULL ? strlen(user_data) : seed->user_data_size;
    return add_file(archive, "meta-data", meta, strlen(meta)) &&
           add_file(archive, "user-data", user_data, user_size) &&
           (seed->network_config == NULL ||
            add_file(archive, "network-config", seed->network_config,
                     strlen(seed->network_config)));
}

/* The volume descriptors carry the time of writing; libarchive has no option for it. In the primary
 * descriptor and Joliet's: creation, modification and effective date, digits at fixed places
 * (ECMA-119 8.4.26-29). */
static void
fix_times(GByteArray *iso)
{
    static const char date[] = "1970010100000000"; /* and the zone byte: 0 */
    for (gsize at = 16 * 2048; at + 2048 <= iso->len && iso->data[at] != 255; at += 2048) {
        if (iso->data[at] == 1 || iso->data[at] == 2) {
            for (gsize field = 813; field < 813 + 4 * 17; field += 17) {
                gboolean set = iso->data[at + field] != '0' || field == 813;
                if (set) {
                    memcpy(iso->data + at + field, date, 16);
                    iso->data[at + field + 16] = 0;
                }
            }
        }
    }
}

/**
 * berth_seed_iso_build:
 *
 * Returns: (transfer full): the ISO image, at most a few blocks larger than what is in it; or NULL.
 * Errors: INVALID for a name or a size; INTERNAL.
 */
GBytes *
berth_seed_iso_build(const BerthSeed *seed, GError **error)
{
    if (!check_names(seed, error) || !check_sizes(seed, error)) {
        return NULL;
    }
    g_autoptr(GByteArray) iso = g_byte_array_new();
    struct archive *archive = archive_write_new();
    gboolean ok = archive_write_set_format_iso9660(archive) == ARCHIVE_OK &&
                  archive_write_set_options(archive, "volume-id=" VOLUME_ID ",!pad,joliet,"
                                                     "rockridge=useful") == ARCHIVE_OK &&
                  archive_write_set_bytes_per_block(archive, 0) == ARCHIVE_OK &&
                  archive_write_open(archive, iso, NULL, append, NULL) == ARCHIVE_OK &&
                  write_files(archive, seed) && archive_write_close(archive) == ARCHIVE_OK;
    if (!ok) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "can't make the cloud-init CD: %s",
                        archive_error_string(archive));
    }
    archive_write_free(archive);
    if (ok) {
        fix_times(iso);
    }
    return ok ? g_byte_array_free_to_bytes(g_steal_pointer(&iso)) : NULL;
}

/** Builds the image and writes it to @path below @dirfd, durably, mode 0600: it may hold secrets. */
gboolean
berth_seed_iso_write(const BerthSeed *seed, int dirfd, const char *path, GError **error)
{
    g_autoptr(GBytes) iso = berth_seed_iso_build(seed, error);
    if (iso == NULL) {
        return FALSE;
    }
    gsize size;
    const void *data = g_bytes_get_data(iso, &size);
    return berth_fd_write_file(dirfd, path, data, size, 0600, error);
}
