/* Archives: OCI layouts as folder and tar, docker save; the image that the tree makes; hostile ones. */
#include "images/pull.h"

#include "base/error.h"
#include "base/json.h"
#include "tests/unit/images/scratch.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    char *folder, *cache;
    BerthBlobs *blobs;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    fixture->folder = scratch_folder();
    fixture->cache = g_build_filename(fixture->folder, "cache", NULL);
    fixture->blobs = berth_blobs_open(fixture->cache, NULL, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    berth_blobs_unref(fixture->blobs);
    folder_remove(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->cache);
}

static char *
write_tar(const Fixture *fixture, GByteArray *tar)
{
    char *path = g_build_filename(fixture->folder, "archive.tar", NULL);
    scratch_tar_end(tar);
    g_assert_true(g_file_set_contents(path, (char *)tar->data, (gssize)tar->len, NULL));
    return path;
}

static void
add_bytes(GByteArray *tar, const char *path, const void *data, gsize size)
{
    static const guint8 zeros[512];
    BerthTarEntry entry = {
        .type = BERTH_TAR_FILE, .path = (char *)path, .mode = 0644, .size = size};
    berth_tar_format_header(&entry, tar);
    g_byte_array_append(tar, data, (guint)size);
    g_byte_array_append(tar, zeros, (guint)berth_tar_padding(size));
}

static GByteArray *
make_layer(const char *name, const char *content)
{
    GByteArray *layer = g_byte_array_new();
    scratch_tar_add(layer, BERTH_TAR_FILE, name, content);
    scratch_tar_end(layer);
    return layer;
}

/* An archive as `docker save` wrote it for years: the layer twice, once as a link. */
static char *
make_docker_archive(const Fixture *fixture, const char *layer_name)
{
    g_autoptr(GByteArray) layer = make_layer("etc/motd", "docker");
    GByteArray *tar = g_byte_array_new();
    BerthDigest diff_id;
    berth_digest_of_bytes(layer->data, layer->len, &diff_id);
    g_autofree char *config = g_strdup_printf(
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Cmd\":[\"sh\"]},"
        "\"rootfs\":{\"diff_ids\":[\"sha256:%s\",\"sha256:%s\"]}}",
        diff_id.hex, diff_id.hex);
    g_autofree char *manifest = g_strdup_printf(
        "[{\"Config\":\"c.json\",\"RepoTags\":[\"my/app:2\"],\"Layers\":[\"%s\",\"b/layer.tar\"]}]",
        layer_name);
    add_bytes(tar, "a/layer.tar", layer->data, layer->len);
    scratch_tar_add(tar, BERTH_TAR_SYMLINK, "b/layer.tar", "../a/layer.tar");
    scratch_tar_add(tar, BERTH_TAR_FILE, "c.json", config);
    scratch_tar_add(tar, BERTH_TAR_FILE, "unused", "nobody needs this");
    scratch_tar_add(tar, BERTH_TAR_FILE, "manifest.json", manifest);
    char *path = write_tar(fixture, tar);
    g_byte_array_unref(tar);
    return path;
}

static guint
count_blobs(const Fixture *fixture)
{
    g_autofree char *path = g_build_filename(fixture->cache, "blobs", "sha256", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint count = 0;
    while (g_dir_read_name(dir) != NULL) {
        count++;
    }
    return count;
}

static void
test_docker(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("tar2sqfs")) {
        return;
    }
    g_autofree char *path = make_docker_archive(fixture, "a/layer.tar");
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) results = NULL;
    berth_image_load(fixture->blobs, path, NULL, NULL, &results, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(results->len, ==, 1);
    const BerthImageResult *image = results->pdata[0];
    g_assert_cmpstr(image->reference, ==, "docker.io/my/app:2");
    g_assert_cmpuint(image->layer_count, ==, 2);
    g_assert_cmpstr(image->config->cmd[0], ==, "sh");
    g_assert_cmpuint(count_blobs(fixture), ==, 3); /* layer, config, manifest; "unused" is gone */
}

static void
test_packed_stream(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("tar2sqfs")) {
        return;
    }
    g_autofree char *path = make_docker_archive(fixture, "a/layer.tar"), *text = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &text, &size, NULL));
    g_autoptr(GBytes) packed = scratch_gzip(text, size);
    int ends[2];
    g_assert_cmpint(pipe(ends), ==, 0);
    gsize length;
    const void *bytes = g_bytes_get_data(packed, &length);
    g_assert_cmpuint(length, <, 65536); /* fits into the pipe */
    g_assert_cmpint(write(ends[1], bytes, length), ==, (gssize)length);
    close(ends[1]);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) results = NULL;
    berth_image_load_fd(fixture->blobs, ends[0], NULL, NULL, &results, &error);
    close(ends[0]);
    g_assert_no_error(error);
    g_assert_cmpuint(results->len, ==, 1);
}

static void
test_bad_archives(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *name, *content, *says;
        int code;
    } cases[] = {
        {"readme", "hello", "neither an OCI layout", BERTH_ERROR_INVALID},
        {"manifest.json", "[]", "holds no images", BERTH_ERROR_INVALID},
        {"manifest.json", "[{\"Config\":\"/etc/passwd\",\"Layers\":[\"x\"]}]", "not there",
         BERTH_ERROR_INVALID},
        {"manifest.json", "[[[[[[[[[[1]]]]]]]]]]", "deeper than 8", BERTH_ERROR_INVALID},
        {"index.json", "{\"schemaVersion\":2}", "neither an image manifest", BERTH_ERROR_INVALID},
        {"index.json",
         "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" BERTH_MEDIA_OCI_MANIFEST
         "\",\"digest\":\"sha256:../../etc/passwd\",\"size\":1}]}",
         "not a digest", BERTH_ERROR_INVALID},
        {"blobs/sha256/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "x",
         "has the digest", BERTH_ERROR_CORRUPT},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) tar = g_byte_array_new();
        scratch_tar_add(tar, BERTH_TAR_FILE, "../../escape", "x");
        scratch_tar_add(tar, BERTH_TAR_FILE, cases[i].name, cases[i].content);
        g_autofree char *path = write_tar(fixture, tar);
        g_autoptr(GError) error = NULL;
        GPtrArray *results = NULL;
        g_assert_false(berth_image_load(fixture->blobs, path, NULL, NULL, &results, &error));
        scratch_assert_error(error, cases[i].code, cases[i].says);
        g_assert_cmpuint(count_blobs(fixture), ==, 0);
    }
}

/* A failed load takes nothing of another image away. */
static void
test_failure_keeps_others(Fixture *fixture, gconstpointer data)
{
    if (scratch_program_missing("tar2sqfs")) {
        return;
    }
    g_autofree char *good = make_docker_archive(fixture, "a/layer.tar");
    g_autoptr(GError) error = NULL;
    GPtrArray *results = NULL;
    berth_image_load(fixture->blobs, good, NULL, NULL, &results, &error);
    g_assert_no_error(error);
    g_autofree char *digest = berth_image_result_digest(results->pdata[0]);
    g_ptr_array_unref(results);
    g_autofree char *bad = make_docker_archive(fixture, "no/such/layer.tar");
    g_assert_false(berth_image_load(fixture->blobs, bad, NULL, NULL, &results, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "layer that is not there");
    g_clear_error(&error);
    g_autoptr(BerthImageResult) again = NULL;
    berth_image_open(fixture->blobs, digest, NULL, NULL, &again, &error);
    g_assert_no_error(error);
}

/* The traversal archives, the hostile layers and manifests as whole archives: refused, all inside. */
static void
test_corpus_as_archives(Fixture *fixture, gconstpointer data)
{
    if (scratch_corpus() == NULL) {
        return;
    }
    static const char *const folders[] = {
        "oci/traversal-archives/tar", "oci/traversal-archives/cpio", "oci/traversal-archives/zip",
        "generated/oci-layers", "generated/oci-manifests"};
    const BerthImageOptions options = {.registry = {.image_size_max = 64 << 20}};
    guint seen = 0;
    g_autofree char *witness = scratch_witness(scratch_corpus());
    for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *folder = g_build_filename(scratch_corpus(), folders[i], NULL);
        g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
        const char *name;
        while ((name = g_dir_read_name(dir)) != NULL) {
            g_autofree char *path = g_build_filename(folder, name, NULL);
            g_autoptr(GError) error = NULL;
            GPtrArray *results = NULL;
            g_assert_false(
                berth_image_load(fixture->blobs, path, &options, NULL, &results, &error));
            g_assert_nonnull(error);
            g_assert_cmpuint(count_blobs(fixture), ==, 0);
            seen++;
        }
    }
    g_assert_cmpuint(seen, ==, 24 + 62 + 38);
    g_autofree char *after = scratch_witness(scratch_corpus());
    g_assert_cmpstr(witness, ==, after);
    g_assert_false(g_file_test("/tmp/moo", G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test("/tmp/berth-escape", G_FILE_TEST_EXISTS));
}

/* The image that `make hello-image` makes, by tar and as a folder: same image. */
static void
test_hello_image(Fixture *fixture, gconstpointer data)
{
    const char *top = g_getenv("TOP_BUILDDIR");
    g_autofree char *path =
        g_build_filename(top == NULL ? "." : top, "hello-image", "hello-image.tar", NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_test_skip("no hello-image; run 'make hello-image'");
        return;
    }
    if (scratch_program_missing("tar2sqfs") || scratch_program_missing("rdsquashfs")) {
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) results = NULL, again = NULL;
    berth_image_load(fixture->blobs, path, NULL, NULL, &results, &error);
    g_assert_no_error(error);
    const BerthImageResult *image = results->pdata[0];
    g_assert_cmpstr(image->reference, ==, "localhost/hello:latest");
    g_assert_cmpstr(image->config->cmd[0], ==, "/bin/sh");
    const char *argv[] = {"rdsquashfs", "-c", "/etc/passwd", image->squashfs_path, NULL};
    g_autofree char *passwd = scratch_run(argv);
    g_assert_nonnull(strstr(passwd, "app:x:1000:1000"));
    g_autofree char *folder = g_build_filename(fixture->folder, "layout", NULL);
    g_assert_cmpint(g_mkdir(folder, 0755), ==, 0);
    const char *unpack[] = {"tar", "-xf", path, "-C", folder, NULL};
    g_autofree char *output = scratch_run(unpack);
    g_autofree char *other = g_build_filename(fixture->folder, "other-cache", NULL);
    g_autoptr(BerthBlobs) blobs = berth_blobs_open(other, NULL, &error);
    berth_image_load(blobs, folder, NULL, NULL, &again, &error);
    g_assert_no_error(error);
    const BerthImageResult *second = again->pdata[0];
    g_assert_true(berth_digest_equal(&image->manifest, &second->manifest));
    g_assert_true(berth_digest_equal(&image->squashfs, &second->squashfs));
}

#define ADD(path, function)                                                                        \
    g_test_add("/images/load/" path, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("reads-what-docker-save-writes", test_docker);
    ADD("reads-a-packed-stream", test_packed_stream);
    ADD("refuses-bad-archives-and-leaves-nothing", test_bad_archives);
    ADD("keeps-other-images-when-it-fails", test_failure_keeps_others);
    ADD("contains-the-whole-corpus", test_corpus_as_archives);
    ADD("gives-one-image-by-tar-and-by-folder", test_hello_image);
    return g_test_run();
}
