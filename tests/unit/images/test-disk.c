/* Disk images and cloud-init CDs. */
#include "images/disk.h"

#include "base/error.h"
#include "base/json.h"
#include "images/pull.h"
#include "images/seed-iso.h"
#include "tests/unit/images/scratch.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SIZE 200704

typedef struct {
    char *folder, *good;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->folder = scratch_folder();
    fixture->good = g_build_filename(fixture->folder, "good.qcow2", NULL);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    folder_remove(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->good);
}

static void
make_qcow2(const Fixture *fixture, const char *options)
{
    const char *argv[] = {"qemu-img", "create", "-q",          "-f",  "qcow2",
                          "-o",       options,  fixture->good, "64M", NULL};
    g_autofree char *output = scratch_run(argv);
}

static gboolean
check(const char *path, BerthDiskFormat format, BerthDiskInfo *info, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gboolean ok = berth_disk_check(fd, format, NULL, info, error);
    close(fd);
    return ok;
}

static void
test_good(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("qemu-img")) {
        return;
    }
    static const char *const options[] = {"compat=1.1",
                                          "compat=0.10",
                                          "cluster_size=2M",
                                          "extended_l2=on,cluster_size=128k",
                                          "compression_type=zstd",
                                          "lazy_refcounts=on"};
    for (guint i = 0; i < G_N_ELEMENTS(options); i++) {
        make_qcow2(fixture, options[i]);
        g_autoptr(GError) error = NULL;
        BerthDiskInfo info;
        check(fixture->good, BERTH_DISK_QCOW2, &info, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(info.virtual_size, ==, 64 << 20);
        g_assert_false(check(fixture->good, BERTH_DISK_RAW, &info, &error));
        scratch_assert_error(error, BERTH_ERROR_INVALID, "begins like qcow2");
    }
}

/* Puts @size bytes of @bytes at @at into a good header; the file must then be refused for @says. */
static void
refuse_patched(const Fixture *fixture, gsize at, const void *bytes, gsize size, const char *says)
{
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(fixture->good, &text, &length, NULL));
    memcpy(text + at, bytes, size);
    g_autofree char *path = g_build_filename(fixture->folder, "bad.qcow2", NULL);
    g_assert_true(g_file_set_contents(path, text, (gssize)length, NULL));
    BerthDiskInfo info;
    g_autoptr(GError) error = NULL;
    if (check(path, BERTH_DISK_QCOW2, &info, &error)) {
        g_error("patched at %zu it was accepted", at);
    }
    scratch_assert_error(error, BERTH_ERROR_INVALID, says);
}

static void
test_bad_headers(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("qemu-img")) {
        return;
    }
    make_qcow2(fixture, "compat=1.1");
    refuse_patched(fixture, 0, "VMDK", 4, "no qcow2");
    refuse_patched(fixture, 4, "\0\0\0\4", 4, "version 4");
    refuse_patched(fixture, 8, "\0\0\0\0\0\0\2\0", 8, "backing file");
    refuse_patched(fixture, 16, "\0\0\0\5", 4, "backing file");
    refuse_patched(fixture, 20, "\0\0\0\40", 4, "clusters");
    refuse_patched(fixture, 24, "\177\377\377\377\377\377\376\0", 8, "virtual size");
    refuse_patched(fixture, 24, "\0\0\0\0\0\0\0\0", 8, "virtual size");
    refuse_patched(fixture, 24, "\0\0\0\0\0\0\2\1", 8, "virtual size");
    refuse_patched(fixture, 32, "\0\0\0\1", 4, "encrypted");
    refuse_patched(fixture, 36, "\177\377\377\377", 4, "first-level table");
    refuse_patched(fixture, 40, "\0\0\377\0\0\0\0\0", 8, "first-level table");
    refuse_patched(fixture, 48, "\0\0\377\0\0\0\0\0", 8, "reference table");
    refuse_patched(fixture, 60, "\0\0\0\7", 4, "snapshots");
    refuse_patched(fixture, 79, "\2", 1, "features"); /* corrupt */
    refuse_patched(fixture, 79, "\4", 1, "features"); /* external data file */
    refuse_patched(fixture, 72, "\200", 1, "features");
    refuse_patched(fixture, 96, "\0\0\0\7", 4, "malformed");
    refuse_patched(fixture, 100, "\377\377\377\370", 4, "malformed");
    refuse_patched(fixture, 112, "DATA\0\0\0\4file", 12, "data-file");
    refuse_patched(fixture, 112, "\xe2\x79\x2a\xca\0\0\0\3raw", 11, "backing file");
    refuse_patched(fixture, 112, "\1\2\3\4\377\377\377\377", 8, "longer than the header");
}

static void
test_real_references(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("qemu-img")) {
        return;
    }
    make_qcow2(fixture, "compat=1.1");
    g_autofree char *path = g_build_filename(fixture->folder, "overlay.qcow2", NULL);
    const char *overlay[] = {"qemu-img", "create", "-q",          "-f", "qcow2", "-F",
                             "raw",      "-b",     "/etc/passwd", path, "1M",    NULL};
    g_autofree char *output = scratch_run(overlay);
    BerthDiskInfo info;
    g_autoptr(GError) error = NULL;
    g_assert_false(check(path, BERTH_DISK_QCOW2, &info, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "backing file");
    g_clear_error(&error);
    g_autofree char *outside =
        g_strdup_printf("data_file=%s/outside,data_file_raw=on", fixture->folder);
    make_qcow2(fixture, outside);
    g_assert_false(check(fixture->good, BERTH_DISK_QCOW2, &info, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "features");
}

static void
test_raw(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("qemu-img")) {
        return;
    }
    static const struct {
        const char *start;
        gsize size;
        const char *says; /* NULL: accepted */
    } cases[] = {{"\xeb\x63\x90", SIZE, NULL},
                 {"KDMV", SIZE, "VMDK"},
                 {"# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0", SIZE, "VMDK"},
                 {"json:{\"file\":\"/etc/passwd\"}", SIZE, "json:"},
                 {"QFI\xfb", SIZE, "qcow2"},
                 {"odd", SIZE + 1, "virtual size"}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *bytes = g_malloc0(cases[i].size);
        memcpy(bytes, cases[i].start, strlen(cases[i].start));
        g_autofree char *path = g_build_filename(fixture->folder, "raw", NULL);
        g_assert_true(g_file_set_contents(path, bytes, (gssize)cases[i].size, NULL));
        BerthDiskInfo info;
        g_autoptr(GError) error = NULL;
        gboolean ok = check(path, BERTH_DISK_RAW, &info, &error);
        if (cases[i].says == NULL) {
            g_assert_no_error(error);
            g_assert_cmpuint(info.virtual_size, ==, SIZE);
        } else {
            g_assert_false(ok);
            scratch_assert_error(error, BERTH_ERROR_INVALID, cases[i].says);
        }
    }
    BerthDiskFormat format;
    g_autoptr(GError) error = NULL;
    g_assert_false(berth_disk_format_parse("vmdk", &format, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "no format");
    g_assert_nonnull(strstr(berth_error_hint(error), "qemu-img convert"));
}

/* Random damage to a header: an answer, and what is accepted QEMU reads alike. */
static void
test_damaged(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("qemu-img")) {
        return;
    }
    make_qcow2(fixture, "compat=1.1");
    int fd = open(fixture->good, O_RDWR | O_CLOEXEC);
    guint8 header[512];
    g_assert_cmpint(pread(fd, header, sizeof header, 0), ==, sizeof header);
    for (guint round = 0; round < 20000; round++) {
        guint8 copy[sizeof header];
        memcpy(copy, header, sizeof header);
        for (guint i = 0; i < 4; i++) {
            copy[g_test_rand_int_range(0, 130)] = (guint8)g_test_rand_int_range(0, 256);
        }
        g_assert_cmpint(pwrite(fd, copy, sizeof copy, 0), ==, sizeof copy);
        BerthDiskInfo info;
        if (berth_disk_inspect(fd, BERTH_DISK_QCOW2, &info, NULL)) {
            g_assert_cmpuint(info.virtual_size, <=, BERTH_DISK_VIRTUAL_MAX);
        }
    }
    close(fd);
}

static void
test_import(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("qemu-img")) {
        return;
    }
    make_qcow2(fixture, "compat=1.1");
    g_autoptr(GError) error = NULL;
    g_autofree char *cache = g_build_filename(fixture->folder, "cache", NULL);
    g_autoptr(BerthBlobs) blobs = berth_blobs_open(cache, NULL, &error);
    g_assert_no_error(error);
    int fd = open(fixture->good, O_RDONLY | O_CLOEXEC);
    BerthDiskResult *disk = NULL;
    berth_image_import_disk(blobs, fd, "qcow2", 0, NULL, &disk, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(disk->format, ==, "qcow2");
    g_assert_cmpuint(disk->virtual_size, ==, 64 << 20);
    g_autofree char *digest = berth_digest_format(&disk->digest);
    g_clear_pointer(&disk, berth_disk_result_free);
    berth_image_open_disk(blobs, digest, "qcow2", NULL, &disk, &error);
    g_assert_no_error(error);
    g_clear_pointer(&disk, berth_disk_result_free);
    /* As something it is not: refused, and nothing is left. */
    lseek(fd, 0, SEEK_SET);
    g_assert_false(berth_image_import_disk(blobs, fd, "raw", 0, NULL, &disk, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "begins like qcow2");
    close(fd);
    const char *roots[] = {digest, NULL};
    guint64 freed;
    g_assert_true(berth_image_gc(blobs, roots, &freed, NULL));
    g_assert_cmpuint(freed, ==, 0);
    g_assert_true(berth_image_gc(blobs, NULL, &freed, NULL));
    g_assert_cmpuint(freed, >, 0);
}

/* ---- cloud-init ---- */

/* name -> content of the CD's files, as a reader sees them. */
static GHashTable *
read_iso(GBytes *iso)
{
    GHashTable *files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_format_iso9660(archive);
    gsize size;
    const void *data = g_bytes_get_data(iso, &size);
    g_assert_cmpint(archive_read_open_memory(archive, data, size), ==, ARCHIVE_OK);
    while (archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
        if (archive_entry_filetype(entry) != AE_IFREG) {
            continue;
        }
        gsize length = (gsize)archive_entry_size(entry);
        char *content = g_malloc0(length + 1);
        g_assert_cmpint(archive_read_data(archive, content, length), ==, (la_ssize_t)length);
        g_hash_table_insert(files, g_strdup(archive_entry_pathname(entry)), content);
    }
    archive_read_free(archive);
    return files;
}

static void
test_seed(void)
{
    static const char user[] = "#cloud-config\nruncmd: [echo]\n";
    const BerthSeed seed = {.instance_id = "id\"\n- evil: {{ jinja }}",
                            .hostname = "db-1.example",
                            .user_data = user,
                            .user_data_size = strlen(user),
                            .network_config = "version: 2\n"};
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) iso = berth_seed_iso_build(&seed, &error);
    g_assert_no_error(error);
    gsize size;
    const char *data = g_bytes_get_data(iso, &size);
    g_assert_cmpuint(size, <, 1 << 20);
    g_assert_true(memcmp(data + 16 * 2048 + 40, "cidata   ", 9) == 0 ||
                  memcmp(data + 16 * 2048 + 40, "CIDATA   ", 9) == 0);
    g_autoptr(GHashTable) files = read_iso(iso);
    g_assert_cmpstr(g_hash_table_lookup(files, "user-data"), ==, user);
    g_assert_cmpstr(g_hash_table_lookup(files, "network-config"), ==, "version: 2\n");
    const char *meta = g_hash_table_lookup(files, "meta-data");
    g_assert_nonnull(meta);
    g_autoptr(json_t) json = berth_json_parse(meta, strlen(meta), &error);
    g_assert_no_error(error);
    g_assert_cmpstr(berth_json_string(json, "instance-id"), ==, seed.instance_id);
    g_assert_cmpstr(berth_json_string(json, "local-hostname"), ==, "db-1.example");
    g_assert_true(strchr(meta, '\n') == meta + strlen(meta) - 1);
    g_autoptr(GBytes) again = berth_seed_iso_build(&seed, &error);
    g_assert_true(g_bytes_equal(iso, again));
}

static void
test_seed_limits(void)
{
    g_autofree char *large = g_strnfill(BERTH_SEED_USER_DATA_MAX + 1, 'x');
    static const char *const names[] = {"", "a b", "a\nruncmd: x", "-a", "a..b", "$(x)", "\xff"};
    g_autoptr(GError) error = NULL;
    BerthSeed seed = {.instance_id = "i",
                      .hostname = "h",
                      .user_data = large,
                      .user_data_size = BERTH_SEED_USER_DATA_MAX};
    g_autoptr(GBytes) fits = berth_seed_iso_build(&seed, &error);
    g_assert_no_error(error);
    seed.user_data_size++;
    g_assert_null(berth_seed_iso_build(&seed, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "user-data");
    seed.user_data = NULL;
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_clear_error(&error);
        seed.hostname = names[i];
        g_assert_null(berth_seed_iso_build(&seed, &error));
        scratch_assert_error(error, BERTH_ERROR_INVALID, "host name");
    }
}

#define ADD(path, function)                                                                        \
    g_test_add("/images/disk/" path, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("accepts-what-qemu-img-makes", test_good);
    ADD("refuses-headers-field-by-field", test_bad_headers);
    ADD("refuses-disks-that-name-other-files", test_real_references);
    ADD("refuses-raw-that-begins-like-something-else", test_raw);
    ADD("survives-damaged-headers", test_damaged);
    ADD("imports-into-the-cache", test_import);
    g_test_add_func("/images/seed-iso/carries-its-files-and-quotes-names", test_seed);
    g_test_add_func("/images/seed-iso/bounds-what-it-takes", test_seed_limits);
    return g_test_run();
}
