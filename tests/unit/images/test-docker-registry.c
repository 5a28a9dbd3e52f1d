/* The good case: Debian's docker-registry, pushed to with plain HTTP, pulled from by us; with and without
 * a password. */
#include "images/pull.h"

#include "base/error.h"
#include "tests/unit/images/scratch.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* bcrypt of "s3cr3t", made with crypt(3). */
#define HTPASSWD "user:$2y$05$abcdefghijklmnopqrstuu9Avu/WgbsK7g7xfCY1X3pdjsTgxqQLS\n"
#define USERPWD "user:s3cr3t"
#define BASIC "dXNlcjpzM2NyM3Q=" /* base64 of it */

typedef struct {
    char *folder, *base, *reference;
    guint16 port;
    GPid pid;
    gboolean guarded, secure;
    BerthBlobs *blobs;
} Fixture;

static guint16
free_port(void)
{
    g_autoptr(GSocketListener) listener = g_socket_listener_new();
    return g_socket_listener_add_any_inet_port(listener, NULL, NULL);
}

static void
write_text(const Fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->folder, name, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(g_chmod(path, 0600), ==, 0);
}

static gboolean
answers(const Fixture *fixture)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect_to_host(client, "127.0.0.1", fixture->port, NULL, NULL);
    return connection != NULL;
}

static void
start_registry(Fixture *fixture)
{
    g_autofree char *auth =
        fixture->guarded
            ? g_strdup_printf("auth:\n  htpasswd:\n    realm: test\n    path: %s/htpasswd\n",
                              fixture->folder)
            : g_strdup("");
    g_autofree char *tls =
        fixture->secure
            ? g_strdup_printf("  tls:\n    certificate: %s/cert.pem\n    key: %s/key.pem\n",
                              fixture->folder, fixture->folder)
            : g_strdup("");
    g_autofree char *config = g_strdup_printf(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s/data\n"
        "http:\n  addr: 127.0.0.1:%u\n%s%s",
        fixture->folder, fixture->port, tls, auth);
    write_text(fixture, "config.yml", config);
    write_text(fixture, "htpasswd", HTPASSWD);
    g_autofree char *path = g_build_filename(fixture->folder, "config.yml", NULL);
    const char *argv[] = {"docker-registry", "serve", path, NULL};
    g_autoptr(GError) error = NULL;
    g_spawn_async(fixture->folder, (char **)argv, NULL,
                  G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
                      G_SPAWN_STDERR_TO_DEV_NULL,
                  NULL, NULL, &fixture->pid, &error);
    g_assert_no_error(error);
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (!answers(fixture)) { /* it has no other sign of being ready than to accept */
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(20000);
    }
}

static void
make_certificate(const Fixture *fixture)
{
    g_autofree char *key = g_build_filename(fixture->folder, "key.pem", NULL);
    g_autofree char *certificate = g_build_filename(fixture->folder, "cert.pem", NULL);
    const char *argv[] = {
        "openssl", "req", "-x509", "-newkey",   "rsa:2048", "-nodes",
        "-days",   "2",   "-subj", "/CN=test",  "-addext",  "subjectAltName=IP:127.0.0.1",
        "-keyout", key,   "-out",  certificate, NULL};
    g_autofree char *output = scratch_run(argv);
}

static void
set_up(Fixture *fixture, gconstpointer kind)
{
    g_autofree char *openssl = g_find_program_in_path("openssl");
    g_autofree char *program = g_find_program_in_path("docker-registry");
    g_autofree char *curl = g_find_program_in_path("curl");
    memset(fixture, 0, sizeof *fixture);
    fixture->folder = scratch_folder();
    fixture->guarded = g_strcmp0(kind, "guarded") == 0;
    fixture->secure = g_strcmp0(kind, "secure") == 0;
    fixture->port = free_port();
    fixture->base =
        g_strdup_printf("%s://127.0.0.1:%u", fixture->secure ? "https" : "http", fixture->port);
    fixture->reference = g_strdup_printf("127.0.0.1:%u/team/app:1", fixture->port);
    g_autofree char *cache = g_build_filename(fixture->folder, "cache", NULL);
    g_autoptr(GError) error = NULL;
    fixture->blobs = berth_blobs_open(cache, NULL, &error);
    g_assert_no_error(error);
    if (program != NULL && curl != NULL && (openssl != NULL || !fixture->secure)) {
        if (fixture->secure) {
            make_certificate(fixture);
        }
        start_registry(fixture);
    }
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    if (fixture->pid != 0) {
        kill(fixture->pid, SIGKILL);
        waitpid(fixture->pid, NULL, 0);
    }
    berth_blobs_unref(fixture->blobs);
    folder_remove(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->base);
    g_free(fixture->reference);
}

static gboolean
not_installed(void)
{
    return scratch_program_missing("docker-registry") || scratch_program_missing("curl") ||
           scratch_program_missing("tar2sqfs");
}

/* ---- pushing, by the curl program ---- */

static void
push_blob(const Fixture *fixture, const char *file, const char *hex)
{
    g_autofree char *start = g_strconcat(fixture->base, "/v2/team/app/blobs/uploads/", NULL);
    const char *post[] = {"curl", "-skf", "-u",        USERPWD, "-X",
                          "POST", "-o",   "/dev/null", "-w",    "%header{location}",
                          start,  NULL};
    g_autofree char *location = scratch_run(post);
    g_autofree char *place = g_strconcat(location, strchr(location, '?') == NULL ? "?" : "&",
                                         "digest=sha256:", hex, NULL);
    g_autofree char *body = g_strconcat("@", file, NULL);
    const char *put[] = {"curl",
                         "-skf",
                         "-u",
                         USERPWD,
                         "-X",
                         "PUT",
                         "-H",
                         "Content-Type: application/octet-stream",
                         "--data-binary",
                         body,
                         place,
                         NULL};
    g_autofree char *output = scratch_run(put);
}

static void
push_bytes(const Fixture *fixture, const void *data, gsize size, BerthDigest *digest)
{
    g_autofree char *path = g_build_filename(fixture->folder, "upload", NULL);
    g_assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
    berth_digest_of_bytes(data, size, digest);
    push_blob(fixture, path, digest->hex);
}

static void
push_manifest(const Fixture *fixture, const char *text, const char *type, const char *tag)
{
    g_autofree char *path = g_build_filename(fixture->folder, "upload", NULL);
    g_autofree char *body = g_strconcat("@", path, NULL);
    g_autofree char *place = g_strconcat(fixture->base, "/v2/team/app/manifests/", tag, NULL);
    g_autofree char *header = g_strconcat("Content-Type: ", type, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    const char *put[] = {"curl", "-skf",          "-u", USERPWD, "-X", "PUT", "-H",
                         header, "--data-binary", body, place,   NULL};
    g_autofree char *output = scratch_run(put);
}

/* Pushes an image of two layers under the tag "1", and an index that leads to it under "multi". */
static void
push_image(const Fixture *fixture)
{
    g_autoptr(GString) diff_ids = g_string_new(NULL);
    g_autoptr(GString) layers = g_string_new(NULL);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GByteArray) tar = g_byte_array_new();
        BerthDigest diff_id, digest;
        g_autofree char *name = g_strdup_printf("file-%u", i);
        scratch_tar_add(tar, BERTH_TAR_FILE, name, "content");
        scratch_tar_end(tar);
        berth_digest_of_bytes(tar->data, tar->len, &diff_id);
        g_autoptr(GBytes) packed = scratch_gzip(tar->data, tar->len);
        gsize size;
        const void *data = g_bytes_get_data(packed, &size);
        push_bytes(fixture, data, size, &digest);
        g_string_append_printf(diff_ids, "%s\"sha256:%s\"", i == 0 ? "" : ",", diff_id.hex);
        g_string_append_printf(layers,
                               "%s{\"mediaType\":\"" BERTH_MEDIA_OCI_LAYER_GZIP
                               "\",\"digest\":\"sha256:%s\",\"size\":%zu}",
                               i == 0 ? "" : ",", digest.hex, size);
    }
    g_autofree char *config = g_strdup_printf(
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\","
        "\"diff_ids\":[%s]}}",
        diff_ids->str);
    BerthDigest digest;
    push_bytes(fixture, config, strlen(config), &digest);
    g_autofree char *manifest =
        g_strdup_printf("{\"schemaVersion\":2,\"mediaType\":\"" BERTH_MEDIA_OCI_MANIFEST
                        "\",\"config\":{\"mediaType\":\"" BERTH_MEDIA_OCI_CONFIG
                        "\",\"digest\":\"sha256:%s\",\"size\":%zu},\"layers\":[%s]}",
                        digest.hex, strlen(config), layers->str);
    push_manifest(fixture, manifest, BERTH_MEDIA_OCI_MANIFEST, "1");
    berth_digest_of_bytes(manifest, strlen(manifest), &digest);
    g_autofree char *index =
        g_strdup_printf("{\"schemaVersion\":2,\"mediaType\":\"" BERTH_MEDIA_OCI_INDEX
                        "\",\"manifests\":[{\"mediaType\":\"" BERTH_MEDIA_OCI_MANIFEST
                        "\",\"digest\":\"sha256:%s\",\"size\":%zu,"
                        "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}",
                        digest.hex, strlen(manifest));
    push_manifest(fixture, index, BERTH_MEDIA_OCI_INDEX, "multi");
}

static void
test_open_registry(Fixture *fixture, gconstpointer data)
{
    if (not_installed()) {
        return;
    }
    push_image(fixture);
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) image = NULL, same = NULL, exact = NULL;
    berth_image_pull(fixture->blobs, fixture->reference, NULL, NULL, &image, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(image->layer_count, ==, 2);
    g_autofree char *multi = g_strdup_printf("127.0.0.1:%u/team/app:multi", fixture->port);
    berth_image_pull(fixture->blobs, multi, NULL, NULL, &same, &error);
    g_assert_no_error(error);
    g_assert_true(berth_digest_equal(&image->manifest, &same->manifest));
    g_autofree char *digest = berth_image_result_digest(image);
    g_autofree char *by_digest = g_strdup_printf("127.0.0.1:%u/team/app@%s", fixture->port, digest);
    berth_image_pull(fixture->blobs, by_digest, NULL, NULL, &exact, &error);
    g_assert_no_error(error);
    g_assert_true(berth_digest_equal(&image->squashfs, &exact->squashfs));
    g_autofree char *missing = g_strdup_printf("127.0.0.1:%u/team/none:1", fixture->port);
    BerthImageResult *none = NULL;
    g_assert_false(berth_image_pull(fixture->blobs, missing, NULL, NULL, &none, &error));
    scratch_assert_error(error, BERTH_ERROR_NOT_FOUND, "does not have");
}

static void
test_guarded_registry(Fixture *fixture, gconstpointer data)
{
    if (not_installed()) {
        return;
    }
    push_image(fixture);
    g_autoptr(GError) error = NULL;
    BerthImageResult *image = NULL;
    g_assert_false(
        berth_image_pull(fixture->blobs, fixture->reference, NULL, NULL, &image, &error));
    scratch_assert_error(error, BERTH_ERROR_DENIED, "wants credentials");
    g_clear_error(&error);
    g_autofree char *config = g_build_filename(fixture->folder, "docker.json", NULL);
    const BerthImageOptions options = {.registry = {.docker_config = config}};
    g_autofree char *wrong = g_strdup_printf(
        "{\"auths\":{\"127.0.0.1:%u\":{\"username\":\"user\",\"password\":\"no\"}}}",
        fixture->port);
    write_text(fixture, "docker.json", wrong);
    g_assert_false(
        berth_image_pull(fixture->blobs, fixture->reference, &options, NULL, &image, &error));
    scratch_assert_error(error, BERTH_ERROR_DENIED, "denies");
    g_clear_error(&error);
    g_autofree char *right =
        g_strdup_printf("{\"auths\":{\"127.0.0.1:%u\":{\"auth\":\"" BASIC "\"}}}", fixture->port);
    write_text(fixture, "docker.json", right);
    berth_image_pull(fixture->blobs, fixture->reference, &options, NULL, &image, &error);
    g_assert_no_error(error);
    berth_image_result_free(image);
}

/* A mirror over https, whose certificate only the given authority vouches for. The registry itself does
 * not exist (.invalid, RFC 6761). */
static void
test_mirror(Fixture *fixture, gconstpointer data)
{
    if (not_installed() || scratch_program_missing("openssl")) {
        return;
    }
    push_image(fixture);
    g_autofree char *ca = g_build_filename(fixture->folder, "cert.pem", NULL);
    g_autofree char *mirror = g_strconcat("nowhere.invalid=", fixture->base, NULL);
    const char *const mirrors[] = {mirror, NULL};
    BerthImageOptions options = {
        .registry = {.mirrors = mirrors, .ca_file = ca, .connect_timeout_ms = 3000}};
    g_autoptr(GError) error = NULL;
    BerthImageResult *image = NULL;
    berth_image_pull(fixture->blobs, "nowhere.invalid/team/app:1", &options, NULL, &image, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(image->reference, ==, "nowhere.invalid/team/app:1");
    berth_image_result_free(image);
    options.registry.ca_file = NULL;
    g_assert_false(berth_image_pull(fixture->blobs, "nowhere.invalid/team/app:1", &options, NULL,
                                    &image, &error));
    g_assert_true(berth_error_is_retryable(error));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/images/docker-registry/gives-its-images-by-tag-index-and-digest", Fixture, NULL,
               set_up, test_open_registry, tear_down);
    g_test_add("/images/docker-registry/asks-for-a-password", Fixture, "guarded", set_up,
               test_guarded_registry, tear_down);
    g_test_add("/images/docker-registry/serves-as-a-mirror-over-https", Fixture, "secure", set_up,
               test_mirror, tear_down);
    return g_test_run();
}
