/* Layers to squashfs: the whole hostile corpus, whiteouts, links across layers, same bytes. */
#include "images/rootfs.h"

#include "base/error.h"
#include "images/inflate.h"
#include "images/layers.h"
#include "tests/unit/images/scratch.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>

#define OK (-1)

typedef struct {
    char *folder, *cache;
    BerthBlobs *blobs;
    GPtrArray *layers;
    GArray *diff_ids;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    fixture->folder = scratch_folder();
    fixture->cache = g_build_filename(fixture->folder, "cache", NULL);
    fixture->blobs = berth_blobs_open(fixture->cache, NULL, &error);
    g_assert_no_error(error);
    fixture->layers = g_ptr_array_new_with_free_func((GDestroyNotify)berth_descriptor_free);
    fixture->diff_ids = g_array_new(FALSE, FALSE, sizeof(BerthDigest));
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    g_ptr_array_unref(fixture->layers);
    g_array_unref(fixture->diff_ids);
    berth_blobs_unref(fixture->blobs);
    folder_remove(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->cache);
}

static void
add_layer(Fixture *fixture, const void *data, gsize size, const BerthDigest *diff_id)
{
    g_ptr_array_add(fixture->layers,
                    scratch_blob(fixture->blobs, data, size, BERTH_MEDIA_OCI_LAYER_GZIP));
    g_array_append_val(fixture->diff_ids, *diff_id);
}

/* A plain tar as a layer: its diff_id is its digest. */
static void
add_tar(Fixture *fixture, GByteArray *tar)
{
    BerthDigest digest;
    scratch_tar_end(tar);
    berth_digest_of_bytes(tar->data, tar->len, &digest);
    add_layer(fixture, tar->data, tar->len, &digest);
    g_byte_array_unref(tar);
}

static gboolean
convert(Fixture *fixture, const BerthImageBudget *budget, char **path, GError **error)
{
    BerthDigest squashfs;
    guint64 size;
    if (!berth_rootfs_convert(fixture->blobs, fixture->layers, fixture->diff_ids, budget, NULL,
                              NULL, NULL, &squashfs, &size, error)) {
        return FALSE;
    }
    berth_blobs_unpin(fixture->blobs, &squashfs);
    *path = berth_rootfs_path(fixture->blobs, &squashfs);
    return TRUE;
}

static char *
describe(const char *squashfs)
{
    const char *argv[] = {"rdsquashfs", "-d", squashfs, NULL};
    return scratch_run(argv);
}

static char *
read_file(const char *squashfs, const char *path)
{
    const char *argv[] = {"rdsquashfs", "-c", path, squashfs, NULL};
    return scratch_run(argv);
}

static void
assert_described(const char *squashfs, const char *line)
{
    g_autofree char *text = describe(squashfs);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    if (!g_strv_contains((const char *const *)lines, line)) {
        g_error("no line '%s' in:\n%s", line, text);
    }
}

/* What each layer of the corpus must give when it is an image's only layer. OK: these lines are in the
 * squashfs (a leading '!': the line is not). */
static const struct {
    const char *name;
    int code;
    const char *says;
} rows[] = {
    {"path-dotdot", BERTH_ERROR_INVALID, "climbs with '..'"},
    {"path-absolute", OK, "file tmp/berth-escape 0644 0 0"},
    {"path-inner-dotdot", BERTH_ERROR_INVALID, "climbs with '..'"},
    {"path-long-pax", BERTH_ERROR_INVALID, "deeper than 256"},
    {"path-component-256", BERTH_ERROR_INVALID, "over 255 bytes"},
    {"path-empty", BERTH_ERROR_INVALID, "replace the root"},
    {"path-dot", BERTH_ERROR_INVALID, "replace the root"},
    {"path-newline", OK, NULL},
    {"path-nonutf8", OK, NULL},
    {"sym-abs-then-write", OK, "file tmp/berth-escape 0644 0 0"},
    {"sym-rel-then-write", OK, "file tmp/berth-escape 0644 0 0"},
    {"sym-chain", OK, "file tmp/berth-escape 0644 0 0"},
    {"sym-loop", BERTH_ERROR_INVALID, "more than 40 symbolic links"},
    {"sym-root-dot", BERTH_ERROR_INVALID, "replace the root"},
    {"sym-etc", BERTH_ERROR_INVALID, "more than 40 symbolic links"},
    {"sym-dev", OK, "slink dev 0777 0 0 /tmp"},
    {"sym-proc", BERTH_ERROR_INVALID, "more than 40 symbolic links"},
    {"sym-over-file", OK, "file f 0644 0 0"},
    {"sym-dir-replaced", OK, "file tmp/berth-escape 0644 0 0"},
    {"hard-abs", BERTH_ERROR_INVALID, "no file before it"},
    {"hard-dotdot", BERTH_ERROR_INVALID, "climbs with '..'"},
    {"hard-via-sym", BERTH_ERROR_INVALID, "no file before it"},
    {"hard-then-write", BERTH_ERROR_INVALID, "climbs with '..'"},
    {"hard-self", BERTH_ERROR_INVALID, "no file before it"},
    {"hard-forward", BERTH_ERROR_INVALID, "no file before it"},
    {"dev-block", BERTH_ERROR_INVALID, "has no files"}, /* left out, and nothing else is there */
    {"dev-char-mem", BERTH_ERROR_INVALID, "has no files"},
    {"dev-kvm", BERTH_ERROR_INVALID, "has no files"},
    {"fifo", OK, "file p 0644 0 0"},
    {"suid-root", OK, "file su 06755 0 0"},
    {"xattr-cap", OK, NULL},
    {"xattr-overlay", OK, NULL},
    {"uid-huge", OK, "file u 0644 2147483648 4294967294"},
    {"uid-negative", BERTH_ERROR_CORRUPT, "'-1' is not a user id"},
    {"mtime-huge", OK, "file m 0644 0 0"},
    {"mtime-nan", BERTH_ERROR_CORRUPT, "'nan' is not a time"},
    {"wh-root", BERTH_ERROR_INVALID, "whiteout of no name"},
    {"wh-dot", BERTH_ERROR_INVALID, "whiteout of no name"},
    {"wh-dotdot", BERTH_ERROR_INVALID, "whiteout of no name"},
    {"wh-parent", BERTH_ERROR_INVALID, "whiteout of no name"},
    {"wh-via-sym", OK, "slink d 0777 0 0 /tmp"},
    {"wh-opaque-root", BERTH_ERROR_INVALID, "has no files"},
    {"wh-opaque-sym", OK, "slink d 0777 0 0 /tmp"},
    {"wh-aufs", BERTH_ERROR_INVALID, "has no files"},
    {"wh-then-create", OK, "file f 0644 0 0"},
    {"dup-entries", OK, "file f 0644 0 0"},
    {"dir-over-file", OK, "file f/g 0644 0 0"},
    {"many-entries", OK, "dir d19999 0644 0 0"},
    {"bomb-1GiB.tar.gz", BERTH_ERROR_INVALID, "more than 250 times"},
    {"bomb-twice.tar.gz.gz", BERTH_ERROR_CORRUPT, "checksum of a header"},
    {"trunc-header.tar", BERTH_ERROR_CORRUPT, "middle of a header"},
    {"trunc-data.tar", BERTH_ERROR_CORRUPT, "middle of an entry"},
    {"bad-checksum.tar", BERTH_ERROR_CORRUPT, "checksum of a header"},
    {"no-eof.tar", OK, "file f 0644 0 0"},
    {"trailing-junk.tar", OK, "file f 0644 0 0"},
    {"empty.tar", BERTH_ERROR_INVALID, "has no files"},
    {"gz-trunc.tar.gz", BERTH_ERROR_CORRUPT, "damaged"},
    {"gz-crc.tar.gz", BERTH_ERROR_CORRUPT, "damaged"},
    {"two-members.tar.gz", OK, "file f 0644 0 0"},
    {"size-base256-huge.tar", BERTH_ERROR_CORRUPT, "not a number that fits"},
    {"size-negative.tar", BERTH_ERROR_CORRUPT, "not a number that fits"},
};

static char *
row_path(const char *name)
{
    static const char *const endings[] = {"", ".tar", ".tar.gz"};
    for (guint i = 0; i < G_N_ELEMENTS(endings); i++) {
        g_autofree char *path =
            g_strconcat(scratch_corpus(), "/generated/oci-layers/", name, endings[i], NULL);
        if (g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
            return g_steal_pointer(&path);
        }
    }
    g_error("the corpus has no '%s'", name);
}

/* The digest of what the layer unpacks to, as far as it goes. */
static void
find_diff_id(const char *path, BerthDigest *diff_id)
{
    BerthInflateBudget budget = {.bytes_left = 32 << 20, .ratio_max = 2000};
    g_autoptr(BerthInflate) inflate =
        berth_inflate_new(open(path, O_RDONLY | O_CLOEXEC), &budget, NULL);
    berth_inflate_drain(inflate, NULL);
    berth_inflate_digest(inflate, diff_id);
}

static void
convert_row(const char *name, int code, const char *says)
{
    Fixture fixture;
    set_up(&fixture, NULL);
    g_autofree char *path = row_path(name), *data = NULL, *squashfs = NULL;
    gsize size;
    BerthDigest diff_id;
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    find_diff_id(path, &diff_id);
    add_layer(&fixture, data, size, &diff_id);
    gboolean ok = convert(&fixture, NULL, &squashfs, &error);
    g_test_message("%s: %s", name, ok ? "ok" : error->message);
    if (code == OK) {
        g_assert_no_error(error);
        if (says != NULL) {
            assert_described(squashfs, says);
        }
    } else {
        g_assert_false(ok);
        scratch_assert_error(error, code, says);
        g_autofree char *rootfs = g_build_filename(fixture.cache, "rootfs", NULL);
        g_autofree char *left = scratch_witness(rootfs);
        g_assert_null(strstr(left, "rootfs/sha256/"));
    }
    g_autoptr(GDir) beside = g_dir_open(fixture.folder, 0, NULL);
    g_assert_cmpstr(g_dir_read_name(beside), ==, "cache");
    g_assert_null(g_dir_read_name(beside));
    g_autofree char *tmp = g_build_filename(fixture.cache, "tmp", NULL);
    g_autofree char *left = scratch_witness(tmp);
    g_assert_cmpstr(left, ==, "");
    tear_down(&fixture, NULL);
}

static void
test_corpus(void)
{
    if (scratch_corpus() == NULL || scratch_program_missing("tar2sqfs") ||
        scratch_program_missing("rdsquashfs")) {
        return;
    }
    g_autofree char *index = g_strconcat(scratch_corpus(), "/generated/oci-layers/INDEX.tsv", NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(index, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, G_N_ELEMENTS(rows));
    GStatBuf shadow = {0}, shadow_after = {0};
    g_stat("/etc/shadow", &shadow);
    g_autofree char *corpus = scratch_witness(scratch_corpus());
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_true(g_str_has_prefix(lines[i], rows[i].name));
        convert_row(rows[i].name, rows[i].code, rows[i].says);
    }
    g_stat("/etc/shadow", &shadow_after);
    g_assert_cmpuint(shadow.st_nlink, ==, shadow_after.st_nlink);
    g_autofree char *corpus_after = scratch_witness(scratch_corpus());
    g_assert_cmpstr(corpus, ==, corpus_after);
    /* The names that the archives aim at. */
    static const char *const aims[] = {"/tmp/berth-escape", "/etc/berth-escape",
                                       "/tmp/berth-victim", "/proc/sys/kernel/berth",
                                       "/etc/.wh..wh..opq"};
    for (guint i = 0; i < G_N_ELEMENTS(aims); i++) {
        g_assert_false(g_file_test(aims[i], G_FILE_TEST_EXISTS));
    }
}

/* The archives of others: each is placed inside or refused; "moo" is what they try to write. */
static void
test_traversal_archives(void)
{
    if (scratch_corpus() == NULL || scratch_program_missing("tar2sqfs")) {
        return;
    }
    static const char *const kinds[] = {"tar", "cpio", "zip"};
    guint seen = 0, placed = 0;
    for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
        g_autofree char *folder =
            g_build_filename(scratch_corpus(), "oci/traversal-archives", kinds[k], NULL);
        g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
        const char *name;
        while ((name = g_dir_read_name(dir)) != NULL) {
            Fixture fixture;
            set_up(&fixture, NULL);
            g_autofree char *path = g_build_filename(folder, name, NULL), *data = NULL, *out = NULL;
            gsize size;
            BerthDigest diff_id;
            g_autoptr(GError) error = NULL;
            g_assert_true(g_file_get_contents(path, &data, &size, NULL));
            berth_digest_of_bytes(data, size, &diff_id);
            add_layer(&fixture, data, size, &diff_id);
            gboolean ok = convert(&fixture, NULL, &out, &error);
            g_test_message("%s: %s", name, ok ? "placed inside" : error->message);
            g_assert_true(ok || error->message != NULL);
            g_assert_true(!ok || k == 0); /* cpio and zip are no layers */
            seen++;
            placed += ok ? 1 : 0;
            tear_down(&fixture, NULL);
        }
    }
    g_assert_cmpuint(seen, ==, 24);
    g_assert_cmpuint(placed, >, 0);
    g_assert_false(g_file_test("/tmp/moo", G_FILE_TEST_EXISTS));
}

static void
test_merge(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("tar2sqfs") || scratch_program_missing("rdsquashfs")) {
        return;
    }
    GByteArray *low = g_byte_array_new();
    scratch_tar_add(low, BERTH_TAR_FOLDER, "bin/", NULL);
    scratch_tar_add(low, BERTH_TAR_FILE, "bin/tool", "the tool");
    scratch_tar_add(low, BERTH_TAR_HARD_LINK, "bin/alias", "bin/tool");
    scratch_tar_add(low, BERTH_TAR_FILE, "gone", "x");
    scratch_tar_add(low, BERTH_TAR_FILE, "opaque/old", "x");
    scratch_tar_add(low, BERTH_TAR_FOLDER, "usr/lib/", NULL);
    scratch_tar_add(low, BERTH_TAR_SYMLINK, "lib", "usr/lib");
    scratch_tar_add(low, BERTH_TAR_FILE, "kept", "low");
    add_tar(fixture, low);
    GByteArray *high = g_byte_array_new();
    scratch_tar_add(high, BERTH_TAR_FILE, ".wh.gone", "");
    scratch_tar_add(high, BERTH_TAR_FILE, "opaque/new", "new");
    scratch_tar_add(high, BERTH_TAR_FILE, "opaque/.wh..wh..opq", "");
    scratch_tar_add(high, BERTH_TAR_FILE, "lib/so", "through the link");
    scratch_tar_add(high, BERTH_TAR_HARD_LINK, "bin/again", "bin/alias");
    scratch_tar_add(high, BERTH_TAR_FILE, "bin/tool", "another tool");
    scratch_tar_add(high, BERTH_TAR_HARD_LINK, "bin/newer", "bin/tool");
    add_tar(fixture, high);
    g_autoptr(GError) error = NULL;
    g_autofree char *squashfs = NULL;
    convert(fixture, NULL, &squashfs, &error);
    g_assert_no_error(error);
    static const struct {
        const char *path, *content;
    } files[] = {{"/bin/tool", "another tool"},
                 {"/bin/newer", "another tool"},
                 {"/bin/alias", "the tool"},
                 {"/bin/again", "the tool"},
                 {"/usr/lib/so", "through the link"},
                 {"/opaque/new", "new"},
                 {"/kept", "low"}};
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *content = read_file(squashfs, files[i].path);
        g_assert_cmpstr(content, ==, files[i].content);
    }
    g_autofree char *text = describe(squashfs);
    g_assert_null(strstr(text, "gone"));
    g_assert_null(strstr(text, "opaque/old"));
    g_assert_null(strstr(text, ".wh."));
    assert_described(squashfs, "slink lib 0777 0 0 usr/lib");
}

static void
test_same_bytes(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("tar2sqfs")) {
        return;
    }
    g_autofree char *noise = g_malloc(600001);
    for (guint i = 0; i < 600000; i++) {
        noise[i] = (char)g_test_rand_int_range(1, 9);
    }
    noise[600000] = '\0';
    GByteArray *tar = g_byte_array_new();
    for (guint i = 0; i < 50; i++) {
        g_autofree char *name = g_strdup_printf("d%u/f%u", i % 7, i);
        scratch_tar_add(tar, BERTH_TAR_FILE, name, noise + 10000 * i);
    }
    add_tar(fixture, tar);
    g_autoptr(GError) error = NULL;
    g_autofree char *first = NULL;
    convert(fixture, &(BerthImageBudget){.jobs = 1}, &first, &error);
    g_assert_no_error(error);
    for (guint jobs = 1; jobs <= 4; jobs++) {
        g_autofree char *again = NULL;
        convert(fixture, &(BerthImageBudget){.jobs = jobs}, &again, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(again, ==, first);
    }
    BerthDigest found;
    guint64 size;
    g_assert_true(berth_rootfs_find(fixture->blobs, fixture->diff_ids, &found, &size));
    g_assert_cmpuint(size % 4096, ==, 0);
    g_assert_true(g_str_has_suffix(first, found.hex));
}

static void
test_diff_id(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    BerthDigest wrong;
    scratch_tar_add(tar, BERTH_TAR_FILE, "f", "x");
    scratch_tar_end(tar);
    berth_digest_of_bytes("", 0, &wrong);
    add_layer(fixture, tar->data, tar->len, &wrong);
    g_autoptr(GError) error = NULL;
    g_autofree char *squashfs = NULL;
    g_assert_false(convert(fixture, NULL, &squashfs, &error));
    scratch_assert_error(error, BERTH_ERROR_CORRUPT, "the image's config says");
    guint64 size;
    BerthDigest found;
    g_assert_false(berth_rootfs_find(fixture->blobs, fixture->diff_ids, &found, &size));
}

static void
test_budgets(Fixture *fixture, gconstpointer data)
{
    GByteArray *tar = g_byte_array_new();
    for (guint i = 0; i < 1000; i++) {
        g_autofree char *name = g_strdup_printf("a/b/c/file-%u", i);
        scratch_tar_add(tar, BERTH_TAR_FILE, name, "0123456789");
    }
    add_tar(fixture, tar);
    static const struct {
        BerthImageBudget budget;
        int code;
        const char *says;
    } cases[] = {
        {{.entries_max = 999}, BERTH_ERROR_INVALID, "more than 999 entries"},
        {{.content_max = 100000}, BERTH_ERROR_INVALID, "unpacks to more than is allowed"},
        {{.depth_max = 3}, BERTH_ERROR_INVALID, "deeper than 3"},
        {{.memory_max = 65536}, BERTH_ERROR_INVALID, "of memory"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *squashfs = NULL;
        g_assert_false(convert(fixture, &cases[i].budget, &squashfs, &error));
        scratch_assert_error(error, cases[i].code, cases[i].says);
    }
}

static void
test_cancel(Fixture *fixture, gconstpointer data)
{
    GByteArray *tar = g_byte_array_new();
    scratch_tar_add(tar, BERTH_TAR_FILE, "f", "x");
    add_tar(fixture, tar);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    BerthDigest digest;
    guint64 size;
    g_cancellable_cancel(cancellable);
    g_assert_false(berth_rootfs_convert(fixture->blobs, fixture->layers, fixture->diff_ids, NULL,
                                        NULL, NULL, cancellable, &digest, &size, &error));
    scratch_assert_error(error, BERTH_ERROR_CANCELLED, "cancelled");
}

/* Linux' capability of ping, version 2. */
#define CAPABILITY                                                                                 \
    "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

static void
test_xattrs(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("tar2sqfs") || scratch_program_missing("rdsquashfs")) {
        return;
    }
    BerthTarXattr capability = {(char *)"security.capability", g_bytes_new_static(CAPABILITY, 20)};
    BerthTarXattr overlay = {(char *)"trusted.overlay.opaque", g_bytes_new_static("y", 1)};
    BerthTarXattr own = {(char *)"user.note", g_bytes_new_static("hello", 5)};
    BerthTarXattr selinux = {(char *)"security.selinux", g_bytes_new_static("label", 5)};
    g_autoptr(GPtrArray) xattrs = g_ptr_array_new();
    g_ptr_array_add(xattrs, &capability);
    g_ptr_array_add(xattrs, &overlay);
    g_ptr_array_add(xattrs, &own);
    g_ptr_array_add(xattrs, &selinux);
    BerthTarEntry entry = {
        .type = BERTH_TAR_FILE, .path = (char *)"ping", .mode = 0755, .xattrs = xattrs};
    GByteArray *tar = g_byte_array_new();
    berth_tar_format_header(&entry, tar);
    add_tar(fixture, tar);
    g_autoptr(GError) error = NULL;
    g_autofree char *squashfs = NULL;
    convert(fixture, NULL, &squashfs, &error);
    g_assert_no_error(error);
    const char *argv[] = {"rdsquashfs", "-x", "/ping", squashfs, NULL};
    g_autofree char *text = scratch_run(argv);
    g_assert_nonnull(strstr(text, "security.capability"));
    g_assert_nonnull(strstr(text, "user.note=hello"));
    g_assert_null(strstr(text, "trusted"));
    g_assert_null(strstr(text, "selinux"));
    g_bytes_unref(capability.value);
    g_bytes_unref(overlay.value);
    g_bytes_unref(own.value);
    g_bytes_unref(selinux.value);
}

static void
test_zstd(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("zstd") || scratch_program_missing("tar2sqfs")) {
        return;
    }
    g_autoptr(GByteArray) tar = g_byte_array_new();
    scratch_tar_add(tar, BERTH_TAR_FILE, "f", "packed with zstd");
    scratch_tar_end(tar);
    g_autofree char *path = g_build_filename(fixture->folder, "layer.tar", NULL);
    g_autofree char *packed = g_strconcat(path, ".zst", NULL), *bytes = NULL, *squashfs = NULL;
    g_assert_true(g_file_set_contents(path, (char *)tar->data, (gssize)tar->len, NULL));
    const char *argv[] = {"zstd", "-q", path, NULL};
    g_autofree char *output = scratch_run(argv);
    gsize size;
    g_assert_true(g_file_get_contents(packed, &bytes, &size, NULL));
    BerthDigest diff_id;
    berth_digest_of_bytes(tar->data, tar->len, &diff_id);
    add_layer(fixture, bytes, size, &diff_id);
    g_autoptr(GError) error = NULL;
    convert(fixture, NULL, &squashfs, &error);
    g_assert_no_error(error);
    assert_described(squashfs, "file f 0644 0 0");
    /* A window of 2 GiB: one byte of the frame header asks for it. */
    static const char window[] = "\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
    berth_digest_of_bytes("", 0, &diff_id);
    g_ptr_array_set_size(fixture->layers, 0);
    g_array_set_size(fixture->diff_ids, 0);
    add_layer(fixture, window, sizeof window - 1, &diff_id);
    g_assert_false(convert(fixture, NULL, &squashfs, &error));
    scratch_assert_error(error, BERTH_ERROR_CORRUPT, "damaged");
}

typedef struct {
    const guint8 *bytes;
    gsize size;
} Memory;

static gssize
read_memory(gpointer user_data, void *data, gsize size, GError **error)
{
    Memory *memory = user_data;
    gsize part = MIN(size, memory->size);
    memcpy(data, memory->bytes, part);
    memory->bytes += part;
    memory->size -= part;
    return (gssize)part;
}

/* Reads a whole archive twice over into a tree, as two layers. */
static void
read_into_tree(const guint8 *bytes, gsize size)
{
    const BerthTreeLimits limits = {.entries_max = 1000, .memory_max = 1 << 20, .depth_max = 40};
    g_autoptr(BerthTree) tree = berth_tree_new(&limits);
    gboolean ok = TRUE;
    for (guint layer = 0; layer < 2 && ok; layer++) {
        Memory memory = {bytes, size};
        g_autoptr(BerthTar) tar = berth_tar_new(read_memory, &memory);
        const BerthTarEntry *entry = NULL;
        berth_tree_begin_layer(tree);
        do {
            g_autoptr(GError) error = NULL;
            ok = berth_tar_next(tar, &entry, &error) &&
                 (entry == NULL || berth_tree_add(tree, entry, &error));
            g_assert_true(ok == (error == NULL));
        } while (ok && entry != NULL);
    }
}

/* A valid archive with a few bytes changed (and its checksums made right again, so that the change
 * gets further than the first check), or cut. */
static void
test_damaged_archives(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autofree char *longest = g_strnfill(200, 'n');
    scratch_tar_add(tar, BERTH_TAR_FOLDER, "a/", NULL);
    scratch_tar_add(tar, BERTH_TAR_FILE, longest, "content");
    scratch_tar_add(tar, BERTH_TAR_SYMLINK, "l", longest);
    scratch_tar_add(tar, BERTH_TAR_HARD_LINK, "a/h", "l");
    scratch_tar_add(tar, BERTH_TAR_FILE, "l/.wh.x", "");
    scratch_tar_end(tar);
    for (guint round = 0; round < 50000; round++) {
        g_autofree guint8 *copy = g_memdup2(tar->data, tar->len);
        for (gint i = g_test_rand_int_range(1, 5); i > 0; i--) {
            copy[g_test_rand_int_range(0, (int)tar->len)] = (guint8)g_test_rand_int_range(0, 256);
        }
        for (gsize at = 0; at + 512 <= tar->len && round % 4 != 0; at += 512) {
            guint sum = 0;
            memset(copy + at + 148, ' ', 8);
            for (guint i = 0; i < 512; i++) {
                sum += copy[at + i];
            }
            g_snprintf((char *)copy + at + 148, 8, "%06o", sum);
        }
        read_into_tree(copy,
                       round % 3 == 0 ? (gsize)g_test_rand_int_range(1, (int)tar->len) : tar->len);
    }
}

#define ADD(path, function)                                                                        \
    g_test_add("/images/rootfs/" path, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/images/rootfs/gives-each-hostile-layer-its-answer", test_corpus);
    g_test_add_func("/images/rootfs/contains-foreign-traversal-archives", test_traversal_archives);
    ADD("merges-whiteouts-links-and-linked-folders", test_merge);
    ADD("gives-the-same-bytes-whatever-the-jobs", test_same_bytes);
    ADD("shows-nothing-when-a-diff-id-differs", test_diff_id);
    ADD("keeps-to-its-budgets", test_budgets);
    ADD("can-be-cancelled", test_cancel);
    ADD("keeps-capabilities-and-drops-overlay-xattrs", test_xattrs);
    ADD("reads-zstd-with-a-bounded-window", test_zstd);
    g_test_add_func("/images/rootfs/survives-damaged-archives", test_damaged_archives);
    return g_test_run();
}
