/* Pulls: from an honest registry, many at once, cut, killed, collected under; and from hostile ones. */
#include "images/pull.h"

#include "base/error.h"
#include "images/credentials.h"
#include "images/http.h"
#include "tests/unit/images/scratch.h"
#include "tests/unit/images/stub.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *folder, *cache, *reference;
    BerthBlobs *blobs;
    StubRegistry registry;
    Stub *stub;
} Fixture;

/* What is to end by itself has the time that a busy machine needs. */
static const BerthImageOptions patient = {.registry = {.low_speed_bytes = 1024,
                                                       .low_speed_s = 30,
                                                       .small_deadline_s = 60,
                                                       .connect_timeout_ms = 30000,
                                                       .attempts = 2}};
/* Small limits, for those that end by nothing else. */
static const BerthImageOptions quick = {.registry = {.low_speed_bytes = 4096,
                                                     .low_speed_s = 1,
                                                     .small_deadline_s = 3,
                                                     .connect_timeout_ms = 2000,
                                                     .attempts = 2}};

static void
open_cache(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    fixture->blobs = berth_blobs_open(fixture->cache, NULL, &error);
    g_assert_no_error(error);
}

/* After a death: what the dead process was about to start may hold its files for another moment. */
static void
open_cache_of_the_dead(Fixture *fixture)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    g_autoptr(GError) error = NULL;
    while ((fixture->blobs = berth_blobs_open(fixture->cache, NULL, &error)) == NULL) {
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_CONFLICT);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_clear_error(&error);
        g_usleep(5000); /* polls for the lock, does not order anything */
    }
}

static void
set_up_with(Fixture *fixture, StubHandler handler, gpointer data)
{
    fixture->folder = scratch_folder();
    fixture->cache = g_build_filename(fixture->folder, "cache", NULL);
    open_cache(fixture);
    stub_registry_init(&fixture->registry, 4, 200000);
    fixture->stub = stub_new(handler, data == NULL ? &fixture->registry : data);
    fixture->reference = g_strdup_printf("127.0.0.1:%u/some/app:1", stub_port(fixture->stub));
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    set_up_with(fixture, stub_registry_handle, NULL);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    stub_free(fixture->stub);
    berth_blobs_unref(fixture->blobs);
    stub_registry_clear(&fixture->registry);
    folder_remove(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->cache);
    g_free(fixture->reference);
}

static gboolean
no_squashfs(void)
{
    return scratch_program_missing("tar2sqfs");
}

static guint
count_files(const Fixture *fixture, const char *folder)
{
    g_autofree char *path = g_build_filename(fixture->cache, folder, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint count = 0;
    while (dir != NULL && g_dir_read_name(dir) != NULL) {
        count++;
    }
    return count;
}

typedef struct {
    guint calls;
    BerthImageStep last;
    guint64 done, total;
    GThread *thread;
} Seen;

static void
note_progress(const BerthImageProgress *progress, gpointer user_data)
{
    Seen *seen = user_data;
    g_assert_true(g_thread_self() == seen->thread);
    g_assert_cmpint(progress->step, >=, seen->last);
    g_assert_cmpuint(progress->done, <=, MAX(progress->total, progress->done));
    seen->calls++;
    seen->last = progress->step;
    if (progress->step == BERTH_IMAGE_DOWNLOADING) {
        seen->done = progress->done;
        seen->total = progress->total;
    }
}

static void
test_pull(Fixture *fixture, gconstpointer data)
{
    if (no_squashfs()) {
        return;
    }
    Seen seen = {.thread = g_thread_self()};
    BerthImageOptions options = patient;
    options.progress = note_progress;
    options.progress_data = &seen;
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    berth_image_pull(fixture->blobs, fixture->reference, &options, NULL, &result, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(result->reference, ==, fixture->reference);
    g_assert_true(berth_digest_equal(&result->manifest, &fixture->registry.digest));
    g_assert_cmpuint(result->layer_count, ==, 4);
    g_assert_cmpstr(result->config->cmd[0], ==, "/layer-0");
    g_assert_true(g_file_test(result->squashfs_path, G_FILE_TEST_IS_REGULAR));
    g_assert_cmpint(seen.last, ==, BERTH_IMAGE_DONE);
    g_assert_cmpuint(seen.done, ==, seen.total);
    g_assert_cmpuint(seen.total, ==, result->layers_size);
    /* Again: the manifest is asked for, nothing else. */
    guint blobs = stub_count(fixture->stub, "/blobs/");
    g_autoptr(BerthImageResult) again = NULL;
    berth_image_pull(fixture->blobs, fixture->reference, &patient, NULL, &again, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(stub_count(fixture->stub, "/blobs/"), ==, blobs);
    g_assert_true(berth_digest_equal(&result->squashfs, &again->squashfs));
    g_assert_cmpuint(count_files(fixture, "partial"), ==, 0);
    g_assert_cmpuint(count_files(fixture, "tmp"), ==, 0);
}

typedef struct {
    Fixture *fixture;
    char *squashfs;
} Puller;

static gpointer
pull_one(gpointer data)
{
    Puller *puller = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    berth_image_pull(puller->fixture->blobs, puller->fixture->reference, &patient, NULL, &result,
                     &error);
    g_assert_no_error(error);
    puller->squashfs = berth_image_result_squashfs_digest(result);
    return NULL;
}

static void
test_hundred(Fixture *fixture, gconstpointer data)
{
    if (no_squashfs()) {
        return;
    }
    fixture->registry.chunk_delay_ms = 5;
    Puller pullers[100] = {0};
    GThread *threads[100];
    for (guint i = 0; i < 100; i++) {
        pullers[i].fixture = fixture;
        threads[i] = g_thread_new("pull", pull_one, &pullers[i]);
    }
    for (guint i = 0; i < 100; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpstr(pullers[i].squashfs, ==, pullers[0].squashfs);
    }
    for (guint i = 0; i < 100; i++) {
        g_free(pullers[i].squashfs);
    }
    g_assert_cmpuint(stub_count(fixture->stub, "/blobs/"), ==, 5);
}

static void
test_resume(Fixture *fixture, gconstpointer data)
{
    if (no_squashfs()) {
        return;
    }
    fixture->registry.cut_after = 60000;
    fixture->registry.cuts = 4;
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    BerthImageOptions options = patient;
    options.registry.attempts = 6;
    berth_image_pull(fixture->blobs, fixture->reference, &options, NULL, &result, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(stub_count(fixture->stub, "/blobs/"), ==, 5 + 4);
}

/* What was kept from last time is wrong: it is thrown away once, and the pull succeeds. */
static void
test_wrong_start(Fixture *fixture, gconstpointer data)
{
    if (no_squashfs()) {
        return;
    }
    GHashTableIter iter;
    gpointer hex, bytes;
    g_hash_table_iter_init(&iter, fixture->registry.blobs);
    while (g_hash_table_iter_next(&iter, &hex, &bytes)) {
        g_autofree char *path = g_build_filename(fixture->cache, "partial", hex, NULL);
        g_assert_true(g_file_set_contents(path, "not the right bytes", -1, NULL));
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    berth_image_pull(fixture->blobs, fixture->reference, &patient, NULL, &result, &error);
    g_assert_no_error(error);
}

static gpointer
cancel_soon(gpointer data)
{
    Fixture *fixture = ((gpointer *)data)[0];
    while (stub_count(fixture->stub, "/blobs/") < 2) {
        g_thread_yield();
    }
    g_cancellable_cancel(((gpointer *)data)[1]);
    return NULL;
}

static void
test_cancel(Fixture *fixture, gconstpointer data)
{
    fixture->registry.chunk_delay_ms = 100;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    gpointer both[] = {fixture, cancellable};
    GThread *thread = g_thread_new("cancel", cancel_soon, both);
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    gint64 start = g_get_monotonic_time();
    g_assert_false(berth_image_pull(fixture->blobs, fixture->reference, &patient, cancellable,
                                    &result, &error));
    g_thread_join(thread);
    scratch_assert_error(error, BERTH_ERROR_CANCELLED, "cancelled");
    g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
}

/* The death of the process at any moment: the next one finishes, nothing wrong was visible. */
static void
test_kill(Fixture *fixture, gconstpointer data)
{
    if (no_squashfs()) {
        return;
    }
    fixture->registry.chunk_delay_ms = 2;
    g_clear_pointer(&fixture->blobs, berth_blobs_unref);
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    for (guint round = 0; round < 12; round++) {
        const char *argv[] = {self, "--pull", fixture->cache, fixture->reference, NULL};
        GPid pid;
        g_autoptr(GError) error = NULL;
        g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                      &error);
        g_assert_no_error(error);
        g_usleep(20000 * round); /* the moment of death, not a wait for anything */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        open_cache_of_the_dead(fixture);
        g_assert_cmpuint(count_files(fixture, "tmp"), ==, 0);
        g_autofree char *folder = g_build_filename(fixture->cache, "blobs", "sha256", NULL);
        g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
        const char *name;
        while ((name = g_dir_read_name(dir)) != NULL) {
            g_autofree char *path = g_build_filename(folder, name, NULL), *text = NULL;
            gsize size;
            BerthDigest digest;
            g_assert_true(g_file_get_contents(path, &text, &size, NULL));
            berth_digest_of_bytes(text, size, &digest);
            g_assert_cmpstr(digest.hex, ==, name);
        }
        g_clear_pointer(&fixture->blobs, berth_blobs_unref);
    }
    open_cache(fixture);
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    berth_image_pull(fixture->blobs, fixture->reference, &patient, NULL, &result, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_files(fixture, "partial"), ==, 0);
}

/* What the child of test_kill does. */
static int
pull_as_child(const char *cache, const char *reference)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    BerthBlobs *blobs = berth_blobs_open(cache, NULL, &error);
    return blobs != NULL && berth_image_pull(blobs, reference, &patient, NULL, &result, &error) ? 0
                                                                                                : 1;
}

static gpointer
collect_always(gpointer data)
{
    Fixture *fixture = ((gpointer *)data)[0];
    gint *stop = ((gpointer *)data)[1];
    while (g_atomic_int_get(stop) == 0) {
        g_autoptr(GError) error = NULL;
        berth_image_gc(fixture->blobs, NULL, NULL, &error);
        g_assert_no_error(error);
    }
    return NULL;
}

static void
test_gc_during_pull(Fixture *fixture, gconstpointer data)
{
    if (no_squashfs()) {
        return;
    }
    gint stop = 0;
    gpointer both[] = {fixture, &stop};
    GThread *thread = g_thread_new("gc", collect_always, both);
    for (guint i = 0; i < 5; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BerthImageResult) result = NULL;
        berth_image_pull(fixture->blobs, fixture->reference, &patient, NULL, &result, &error);
        g_assert_no_error(error);
        g_assert_true(g_file_test(result->squashfs_path, G_FILE_TEST_IS_REGULAR));
    }
    g_atomic_int_set(&stop, 1);
    g_thread_join(thread);
    guint64 freed;
    g_assert_true(berth_image_gc(fixture->blobs, NULL, &freed, NULL));
    g_assert_cmpuint(count_files(fixture, "blobs/sha256"), ==, 0);
    g_assert_cmpuint(count_files(fixture, "rootfs/sha256"), ==, 0);
    g_assert_cmpuint(count_files(fixture, "rootfs/keys"), ==, 0);
    g_assert_cmpuint(berth_blobs_usage(fixture->blobs), ==, 0);
}

static void
test_delete_keeps_what_others_need(Fixture *fixture, gconstpointer data)
{
    if (no_squashfs()) {
        return;
    }
    g_autoptr(GError) error = NULL;
    BerthImageResult *result = NULL;
    berth_image_pull(fixture->blobs, fixture->reference, &patient, NULL, &result, &error);
    g_assert_no_error(error);
    g_autofree char *digest = berth_image_result_digest(result);
    const char *roots[] = {digest, NULL};
    guint64 freed;
    /* In use: nothing goes. */
    g_assert_true(berth_image_delete(fixture->blobs, digest, NULL, &freed, NULL));
    g_assert_cmpuint(freed, ==, 0);
    berth_image_result_free(g_steal_pointer(&result));
    /* Still another's root. */
    g_assert_true(berth_image_delete(fixture->blobs, digest, roots, &freed, NULL));
    g_assert_cmpuint(freed, ==, 0);
    g_assert_true(berth_image_gc(fixture->blobs, roots, &freed, NULL));
    g_assert_cmpuint(freed, ==, 0);
    berth_image_open(fixture->blobs, digest, NULL, NULL, &result, &error);
    g_assert_no_error(error);
    berth_image_result_free(g_steal_pointer(&result));
    g_assert_true(berth_image_delete(fixture->blobs, digest, NULL, &freed, NULL));
    g_assert_cmpuint(freed, >, 0);
    g_assert_false(berth_image_open(fixture->blobs, digest, NULL, NULL, &result, &error));
    scratch_assert_error(error, BERTH_ERROR_NOT_FOUND, "sha256:");
}

static void
test_one_owner(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_blobs_open(fixture->cache, NULL, &error));
    scratch_assert_error(error, BERTH_ERROR_CONFLICT, "another process");
}

static void
test_quota(Fixture *fixture, gconstpointer data)
{
    berth_blobs_unref(fixture->blobs);
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    fixture->blobs =
        berth_blobs_open(fixture->cache, &(BerthBlobsOptions){.quota_bytes = 100000}, &error);
    g_assert_no_error(error);
    g_assert_false(
        berth_image_pull(fixture->blobs, fixture->reference, &patient, NULL, &result, &error));
    scratch_assert_error(error, BERTH_ERROR_EXHAUSTED, "don't fit");
    berth_blobs_unref(fixture->blobs);
    g_clear_error(&error);
    fixture->blobs = berth_blobs_open(
        fixture->cache, &(BerthBlobsOptions){.reserve_bytes = G_GUINT64_CONSTANT(1) << 60}, &error);
    g_assert_false(
        berth_image_pull(fixture->blobs, fixture->reference, &patient, NULL, &result, &error));
    scratch_assert_error(error, BERTH_ERROR_EXHAUSTED, "of reserve");
}

/* ---- hostile registries ---- */

/* Writes @bytes again and again until the other side has had enough. */
static void
write_for_ever(const Stub *stub, GOutputStream *stream, const char *bytes, gsize size,
               guint pause_ms)
{
    while (!stub_is_stopping(stub) && stub_write(stream, bytes, size)) {
        g_usleep(pause_ms * 1000);
    }
}

typedef struct {
    const char *name;
    const char *status, *headers; /* of the answer to a manifest; NULL: the honest one */
    const char *blob_headers;     /* of the answer to a blob */
    int code;
    const char *says;
} Hostile;

static const Hostile redirects[] = {
    {"a file", "302 Found", "Location: file:///etc/passwd\r\n", NULL, BERTH_ERROR_DENIED,
     "no web address"},
    {"another protocol", "302 Found", "Location: gopher://127.0.0.1/x\r\n", NULL,
     BERTH_ERROR_DENIED, "no web address"},
    {"cloud metadata", "302 Found", "Location: http://169.254.169.254/latest\r\n", NULL,
     BERTH_ERROR_DENIED, "inside our own networks"},
    {"metadata as a number", "302 Found", "Location: http://2852039166/latest\r\n", NULL,
     BERTH_ERROR_DENIED, "inside our own networks"},
    {"metadata as IPv6", "302 Found", "Location: http://[::ffff:169.254.169.254]/\r\n", NULL,
     BERTH_ERROR_DENIED, "inside our own networks"},
    {"a user", "302 Found", "Location: http://root:x@127.0.0.1/\r\n", NULL, BERTH_ERROR_DENIED,
     "no web address"},
    {"nowhere", "302 Found", "", NULL, BERTH_ERROR_DENIED, "redirects to nowhere"},
    {"itself", "302 Found", "Location: /v2/again/manifests/1\r\n", NULL, BERTH_ERROR_UNAVAILABLE,
     "more than 5 times"},
    {"nothing there", "404 Not Found", "", NULL, BERTH_ERROR_NOT_FOUND, "does not have"},
    {"denial", "403 Forbidden", "", NULL, BERTH_ERROR_DENIED, "denies"},
    {"overload", "429 Too Many", "", NULL, BERTH_ERROR_UNAVAILABLE, "too many requests"},
    {"no login", "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", NULL,
     BERTH_ERROR_DENIED, "wants credentials"},
    {"a file as realm", "401 Unauthorized",
     "WWW-Authenticate: Bearer realm=\"file:///etc/passwd\",service=\"x\"\r\n", NULL,
     BERTH_ERROR_DENIED, "no web address"},
    {"metadata as realm", "401 Unauthorized",
     "WWW-Authenticate: Bearer realm=\"http://169.254.169.254/t\"\r\n", NULL, BERTH_ERROR_DENIED,
     "inside our own networks"},
    {"no realm", "401 Unauthorized", "WWW-Authenticate: Bearer x\r\n", NULL, BERTH_ERROR_DENIED,
     "no web address"},
};

static void
answer_hostile(Stub *stub, GOutputStream *stream, const StubRequest *request, gpointer data)
{
    const Hostile *hostile = data;
    stub_reply(stream, hostile->status, hostile->headers, "", 0);
}

static void
test_redirects(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(redirects); i++) {
        Fixture fixture;
        set_up_with(&fixture, answer_hostile, (gpointer)&redirects[i]);
        g_autoptr(GError) error = NULL;
        BerthImageResult *result = NULL;
        g_assert_false(
            berth_image_pull(fixture.blobs, fixture.reference, &patient, NULL, &result, &error));
        g_test_message("%s: %s", redirects[i].name, error->message);
        scratch_assert_error(error, redirects[i].code, redirects[i].says);
        tear_down(&fixture, NULL);
    }
}

/* How a stream can lie; each must end soon and leave nothing visible. */
typedef enum {
    LIE_ENDLESS_HEADERS,
    LIE_HUGE_HEADER,
    LIE_ENDLESS_STATUS,
    LIE_ENDLESS_MANIFEST,
    LIE_SLOW_MANIFEST,
    LIE_SILENCE,
    LIE_CHUNKS,
    LIE_MANIFEST_HUGE_LENGTH,
    LIE_ENDLESS_BLOB,
    LIE_SLOW_BLOB,
    LIE_WRONG_BLOB,
    LIE_WRONG_RANGE,
    LIE_INDEX_LOOP,
    LIE_INDEX_CHAIN,
} Lie;

static const struct {
    Lie lie;
    int code;
    const char *says;
} lies[] = {
    {LIE_ENDLESS_HEADERS, BERTH_ERROR_CORRUPT, "bytes of headers"},
    {LIE_HUGE_HEADER, BERTH_ERROR_CORRUPT, "header"},
    {LIE_ENDLESS_STATUS, BERTH_ERROR_CORRUPT, "bytes of headers"},
    {LIE_ENDLESS_MANIFEST, BERTH_ERROR_CORRUPT, "more than 4194304 bytes"},
    {LIE_SLOW_MANIFEST, BERTH_ERROR_TIMEOUT, ""},
    {LIE_SILENCE, BERTH_ERROR_TIMEOUT, ""},
    {LIE_CHUNKS, BERTH_ERROR_UNAVAILABLE, ""},
    {LIE_MANIFEST_HUGE_LENGTH, BERTH_ERROR_UNAVAILABLE, ""},
    {LIE_ENDLESS_BLOB, BERTH_ERROR_CORRUPT, "bytes"},
    {LIE_SLOW_BLOB, BERTH_ERROR_TIMEOUT, ""},
    {LIE_WRONG_BLOB, BERTH_ERROR_CORRUPT, "announced"},
    {LIE_WRONG_RANGE, BERTH_ERROR_CORRUPT, "another part"},
    {LIE_INDEX_LOOP, BERTH_ERROR_CORRUPT, "with the digest"},
    {LIE_INDEX_CHAIN, BERTH_ERROR_INVALID, "deeper than 3"},
};

typedef struct {
    Lie lie;
    StubRegistry *registry;
} Liar;

#define HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\n"
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void
write_text(GOutputStream *stream, const char *text)
{
    stub_write(stream, text, strlen(text));
}

/* Index number @level, which names number @level + 1. */
static char *
chain_index(guint level)
{
    if (level > 8) {
        return g_strdup("{}");
    }
    g_autofree char *next = chain_index(level + 1);
    BerthDigest digest;
    berth_digest_of_bytes(next, strlen(next), &digest);
    return g_strdup_printf(
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" BERTH_MEDIA_OCI_INDEX
        "\",\"digest\":\"sha256:%s\",\"size\":%zu}]}",
        digest.hex, strlen(next));
}

static void
reply_chain(GOutputStream *stream, const char *path)
{
    for (guint level = 0; level < 9; level++) {
        g_autofree char *text = chain_index(level);
        BerthDigest digest;
        berth_digest_of_bytes(text, strlen(text), &digest);
        if (level == 0 ? g_str_has_suffix(path, "/1") : strstr(path, digest.hex) != NULL) {
            stub_reply(stream, "200 OK", "", text, strlen(text));
            return;
        }
    }
}

static void
lie_about_manifest(const Stub *stub, GOutputStream *stream, const StubRequest *request, Lie lie)
{
    static char noise[65536];
    static const char loop[] =
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" BERTH_MEDIA_OCI_INDEX
        "\",\"digest\":\"sha256:" HEX "\",\"size\":1}]}";
    memset(noise, 'x', sizeof noise - 1);
    switch (lie) {
    case LIE_ENDLESS_HEADERS:
        write_text(stream, HEAD);
        write_for_ever(stub, stream, "X-More: and more\r\n", 18, 0);
        break;
    case LIE_HUGE_HEADER:
        write_text(stream, HEAD "X-Huge: ");
        write_for_ever(stub, stream, noise, sizeof noise - 1, 0);
        break;
    case LIE_ENDLESS_STATUS:
        write_for_ever(stub, stream, "HTTP/1.1 103 Early Hints\r\n\r\n", 28, 0);
        break;
    case LIE_ENDLESS_MANIFEST:
        write_text(stream, HEAD "\r\n");
        write_for_ever(stub, stream, noise, sizeof noise - 1, 0);
        break;
    case LIE_SLOW_MANIFEST:
        write_text(stream, HEAD "\r\n");
        write_for_ever(stub, stream, " ", 1, 100);
        break;
    case LIE_SILENCE:
        while (!stub_is_stopping(stub) && stub_write(stream, "", 0)) {
            g_usleep(20000);
        }
        break;
    case LIE_CHUNKS:
        write_text(stream, HEAD "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n{}\r\n");
        break;
    case LIE_MANIFEST_HUGE_LENGTH:
        write_text(stream, HEAD "Content-Length: 4000000\r\n\r\n{}");
        break;
    case LIE_INDEX_LOOP:
        stub_reply(stream, "200 OK", "", loop, strlen(loop));
        break;
    case LIE_INDEX_CHAIN:
        reply_chain(stream, request->path);
        break;
    default:
        break;
    }
}

static void
lie_about_blob(const Stub *stub, GOutputStream *stream, Lie lie)
{
    static char noise[65536];
    if (lie == LIE_WRONG_RANGE) {
        write_text(stream,
                   "HTTP/1.1 206 Partial\r\nContent-Range: bytes 7-9/10\r\nConnection: close\r\n"
                   "Content-Length: 3\r\n\r\nabc");
    } else if (lie == LIE_SLOW_BLOB) {
        write_text(stream, HEAD "\r\n");
        write_for_ever(stub, stream, "x", 1, 100);
    } else if (lie == LIE_ENDLESS_BLOB) {
        write_text(stream, HEAD "\r\n");
        write_for_ever(stub, stream, noise, sizeof noise, 0);
    } else {
        write_text(stream, HEAD "Content-Length: 5\r\n\r\nwrong");
    }
}

static void
answer_with_lie(Stub *stub, GOutputStream *stream, const StubRequest *request, gpointer data)
{
    const Liar *liar = data;
    gboolean manifest = strstr(request->path, "/manifests/") != NULL;
    gboolean about_blobs = liar->lie >= LIE_ENDLESS_BLOB && liar->lie <= LIE_WRONG_RANGE;
    if (manifest && about_blobs) {
        stub_registry_handle(stub, stream, request, liar->registry);
    } else if (manifest) {
        lie_about_manifest(stub, stream, request, liar->lie);
    } else {
        lie_about_blob(stub, stream, liar->lie);
    }
}

static void
test_lies(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
        Fixture fixture;
        Liar liar = {.lie = lies[i].lie, .registry = &fixture.registry};
        set_up_with(&fixture, answer_with_lie, &liar);
        g_autoptr(GError) error = NULL;
        BerthImageResult *result = NULL;
        gint64 start = g_get_monotonic_time();
        /* A start of the wrong part needs something to continue. */
        if (lies[i].lie == LIE_WRONG_RANGE) {
            GHashTableIter iter;
            gpointer hex;
            g_hash_table_iter_init(&iter, fixture.registry.blobs);
            while (g_hash_table_iter_next(&iter, &hex, NULL)) {
                g_autofree char *path = g_build_filename(fixture.cache, "partial", hex, NULL);
                g_assert_true(g_file_set_contents(path, "start", -1, NULL));
            }
        }
        const BerthImageOptions *options = lies[i].code == BERTH_ERROR_TIMEOUT ? &quick : &patient;
        g_assert_false(
            berth_image_pull(fixture.blobs, fixture.reference, options, NULL, &result, &error));
        gint64 took = g_get_monotonic_time() - start;
        g_test_message("lie %u: %.1f s: %s", lies[i].lie, (double)took / G_USEC_PER_SEC,
                       error->message);
        if (lies[i].code >= 0) {
            scratch_assert_error(error, lies[i].code, lies[i].says);
        }
        g_assert_cmpint(took, <, 25 * G_USEC_PER_SEC); /* less than slowness alone would take */
        g_assert_cmpuint(count_files(&fixture, "rootfs/sha256"), ==, 0);
        tear_down(&fixture, NULL);
    }
}

/* ---- credentials ---- */

typedef struct {
    StubRegistry *registry;
    const char *realm; /* where tokens are */
    gboolean redirect_blobs_to_other;
    guint16 other;
} Guarded;

static void
answer_guarded(Stub *stub, GOutputStream *stream, const StubRequest *request, gpointer data)
{
    const Guarded *guarded = data;
    if (g_str_has_prefix(request->path, "/token")) {
        static const char token[] = "{\"token\":\"abc.DEF-123\"}";
        stub_reply(stream, "200 OK", "", token, strlen(token));
    } else if (g_strcmp0(request->authorization, "Bearer abc.DEF-123") != 0) {
        g_autofree char *challenge = g_strdup_printf(
            "WWW-Authenticate: Bearer realm=\"%s\",service=\"the registry\",scope=\"x\"\r\n",
            guarded->realm);
        stub_reply(stream, "401 Unauthorized", challenge, "no", 2);
    } else if (guarded->other != 0 && strstr(request->path, "/blobs/") != NULL) {
        g_autofree char *location =
            g_strdup_printf("Location: http://127.0.0.1:%u%s\r\n", guarded->other, request->path);
        stub_reply(stream, "307 Temporary Redirect", location, "", 0);
    } else {
        stub_registry_handle(stub, stream, request, guarded->registry);
    }
}

static char *
write_docker_config(const Fixture *fixture, const char *host, int mode)
{
    char *path = g_build_filename(fixture->folder, "config.json", NULL);
    g_autofree char *text = g_strdup_printf("{\"auths\":{\"http://%s/v1/\":{\"auth\":\"%s\"}}}",
                                            host, "dXNlcjpzM2NyM3Q=");
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(g_chmod(path, mode), ==, 0);
    return path;
}

static void
test_token(void)
{
    if (no_squashfs()) {
        return;
    }
    Fixture fixture;
    Guarded guarded = {.registry = &fixture.registry};
    set_up_with(&fixture, answer_guarded, &guarded);
    Stub *other = stub_new(stub_registry_handle, &fixture.registry);
    g_autofree char *realm = g_strdup_printf("http://127.0.0.1:%u/token", stub_port(fixture.stub));
    g_autofree char *host = g_strdup_printf("127.0.0.1:%u", stub_port(fixture.stub));
    g_autofree char *config = write_docker_config(&fixture, host, 0600);
    guarded.realm = realm;
    guarded.other = stub_port(other);
    BerthImageOptions options = patient;
    options.registry.docker_config = config;
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageResult) result = NULL;
    berth_image_pull(fixture.blobs, fixture.reference, &options, NULL, &result, &error);
    g_assert_no_error(error);
    /* The password only went to the token's place, the token nowhere by redirect. */
    g_autofree char *shown = stub_authorization(fixture.stub, "/token");
    g_autofree char *registry = stub_authorization(fixture.stub, "/v2/");
    g_autofree char *elsewhere = stub_authorization(other, "/");
    g_assert_true(g_str_has_prefix(shown, "Basic dXNlcjpzM2NyM3Q="));
    g_assert_null(strstr(registry, "Basic"));
    g_assert_nonnull(strstr(registry, "Bearer abc.DEF-123"));
    g_assert_cmpuint(stub_count(other, "/blobs/"), ==, 5);
    g_assert_cmpstr(elsewhere, ==, "");
    guint asked = stub_count(fixture.stub, "service=the%20registry") +
                  stub_count(fixture.stub, "service=the+registry");
    g_assert_cmpuint(asked, >, 0);
    stub_free(other);
    g_clear_pointer(&result, berth_image_result_free);
    tear_down(&fixture, NULL);
}

/* A registry that names another host for tokens must not get our password sent there. */
static void
test_foreign_realm(void)
{
    Fixture fixture;
    Guarded guarded = {.registry = &fixture.registry};
    set_up_with(&fixture, answer_guarded, &guarded);
    g_autofree char *realm = g_strdup_printf("http://localhost:%u/token", stub_port(fixture.stub));
    g_autofree char *host = g_strdup_printf("127.0.0.1:%u", stub_port(fixture.stub));
    g_autofree char *config = write_docker_config(&fixture, host, 0600);
    guarded.realm = realm;
    BerthImageOptions options = patient;
    options.registry.docker_config = config;
    g_autoptr(GError) error = NULL;
    BerthImageResult *result = NULL;
    g_assert_false(
        berth_image_pull(fixture.blobs, fixture.reference, &options, NULL, &result, &error));
    scratch_assert_error(error, BERTH_ERROR_DENIED, "not its own host");
    g_assert_cmpuint(stub_count(fixture.stub, "/token"), ==, 0);
    g_assert_null(strstr(error->message, "s3cr3t"));
    g_clear_error(&error);
    g_assert_cmpint(g_chmod(config, 0644), ==, 0);
    g_assert_false(
        berth_image_pull(fixture.blobs, fixture.reference, &options, NULL, &result, &error));
    scratch_assert_error(error, BERTH_ERROR_DENIED, "can be read by others");
    tear_down(&fixture, NULL);
}

static void
test_who_may_see_credentials(void)
{
    static const char *const allowed[] = {"r.example=tokens.example", NULL};
    g_assert_true(berth_credentials_may_go_to("r.example:5000", "R.example", NULL));
    g_assert_true(berth_credentials_may_go_to("registry.gitlab.com", "gitlab.com", NULL));
    g_assert_true(berth_credentials_may_go_to("docker.io", "auth.docker.io", NULL));
    g_assert_true(berth_credentials_may_go_to("r.example", "tokens.example", allowed));
    g_assert_false(berth_credentials_may_go_to("r.example", "tokens.example", NULL));
    g_assert_false(berth_credentials_may_go_to("gitlab.com", "registry.gitlab.com", NULL));
    g_assert_false(berth_credentials_may_go_to("r.example", "example", NULL));
    g_assert_false(berth_credentials_may_go_to("evilgitlab.com", "gitlab.com", NULL));
    g_assert_false(berth_credentials_may_go_to("10.0.0.1", "0.1", NULL));
}

static void
test_addresses(void)
{
    static const struct {
        const char *text;
        BerthAddressClass is;
    } cases[] = {{"8.8.8.8", BERTH_ADDRESS_PUBLIC},        {"10.1.2.3", BERTH_ADDRESS_PRIVATE},
                 {"172.31.0.1", BERTH_ADDRESS_PRIVATE},    {"172.32.0.1", BERTH_ADDRESS_PUBLIC},
                 {"192.168.1.1", BERTH_ADDRESS_PRIVATE},   {"127.9.9.9", BERTH_ADDRESS_LOOPBACK},
                 {"0.0.0.0", BERTH_ADDRESS_LOOPBACK},      {"169.254.169.254", BERTH_ADDRESS_NEVER},
                 {"100.100.100.200", BERTH_ADDRESS_NEVER}, {"224.0.0.1", BERTH_ADDRESS_NEVER},
                 {"255.255.255.255", BERTH_ADDRESS_NEVER}};
    static const struct {
        const char *text;
        BerthAddressClass is;
    } cases6[] = {{"2001:db8::1", BERTH_ADDRESS_PUBLIC},
                  {"::1", BERTH_ADDRESS_LOOPBACK},
                  {"::", BERTH_ADDRESS_LOOPBACK},
                  {"fe80::1", BERTH_ADDRESS_NEVER},
                  {"fd00:ec2::254", BERTH_ADDRESS_NEVER},
                  {"fd12::1", BERTH_ADDRESS_PRIVATE},
                  {"::ffff:169.254.169.254", BERTH_ADDRESS_NEVER},
                  {"::ffff:127.0.0.1", BERTH_ADDRESS_LOOPBACK},
                  {"64:ff9b::a9fe:a9fe", BERTH_ADDRESS_NEVER}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        g_assert_cmpint(inet_pton(AF_INET, cases[i].text, &address.sin_addr), ==, 1);
        g_assert_cmpint(berth_address_classify((struct sockaddr *)&address), ==, cases[i].is);
    }
    for (guint i = 0; i < G_N_ELEMENTS(cases6); i++) {
        struct sockaddr_in6 address = {.sin6_family = AF_INET6};
        g_assert_cmpint(inet_pton(AF_INET6, cases6[i].text, &address.sin6_addr), ==, 1);
        g_assert_cmpint(berth_address_classify((struct sockaddr *)&address), ==, cases6[i].is);
    }
}

#define ADD(path, function)                                                                        \
    g_test_add("/images/pull/" path, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--pull") == 0) {
        return pull_as_child(argv[2], argv[3]);
    }
    g_test_init(&argc, &argv, NULL);
    ADD("brings-an-image-and-then-nothing-twice", test_pull);
    ADD("makes-one-download-of-a-hundred-pulls", test_hundred);
    ADD("continues-after-a-cut", test_resume);
    ADD("throws-a-wrong-start-away", test_wrong_start);
    ADD("can-be-cancelled-in-the-middle", test_cancel);
    ADD("survives-the-death-of-its-process", test_kill);
    ADD("keeps-what-a-pull-needs-from-a-collection", test_gc_during_pull);
    ADD("deletes-only-what-no-other-image-needs", test_delete_keeps_what_others_need);
    ADD("has-one-owner-of-the-cache", test_one_owner);
    ADD("asks-for-room-first", test_quota);
    g_test_add_func("/images/registry/refuses-where-it-must-not-be-led", test_redirects);
    g_test_add_func("/images/registry/ends-every-lie-soon", test_lies);
    g_test_add_func("/images/registry/shows-tokens-and-passwords-to-their-hosts", test_token);
    g_test_add_func("/images/registry/keeps-passwords-from-foreign-token-servers",
                    test_foreign_realm);
    g_test_add_func("/images/credentials/know-whom-they-are-for", test_who_may_see_credentials);
    g_test_add_func("/images/registry/tells-inside-from-outside", test_addresses);
    return g_test_run();
}
