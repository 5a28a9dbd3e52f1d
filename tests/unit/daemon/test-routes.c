/* The REST API's conventions, spoken over the socket to a real server on a real store. */
#include "tests/unit/daemon/api-fixture.h"

#include "base/fd.h"
#include "base/json.h"
#include "model/stream.h"

#include <string.h>
#include <sys/socket.h>

#define PODS "/v1/projects/default/pods"
#define POD                                                                                        \
    "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"docker.io/library/busybox:1\"}]}}"

static ApiFixture *api;

static const char *
text_at(const json_t *json, const char *outer, const char *inner)
{
    return berth_json_string(json_object_get(json, outer), inner);
}

static gint64
revision_of(const ApiAnswer *answer)
{
    return berth_json_integer(json_object_get(answer->json, "metadata"), "revision", -1);
}

static void
assert_status(const ApiAnswer *answer, guint status)
{
    if (answer->status != status) {
        g_test_message("%s\n\n%s", answer->head, answer->body);
    }
    g_assert_cmpuint(answer->status, ==, status);
}

static void
test_put_creates_then_changes_nothing(void)
{
    g_autoptr(ApiAnswer) first = api_call(api, "PUT", PODS "/put", NULL, POD);
    assert_status(first, 201);
    g_assert_cmpstr(text_at(first->json, "metadata", "name"), ==, "put");
    g_autofree char *etag = api_header(first, "ETag");
    g_autofree char *expected = g_strdup_printf("\"%" G_GINT64_FORMAT "\"", revision_of(first));
    g_assert_cmpstr(etag, ==, expected);
    g_autoptr(ApiAnswer) again = api_call(api, "PUT", PODS "/put", NULL, POD);
    assert_status(again, 200);
    g_assert_cmpint(revision_of(again), ==, revision_of(first));
    g_assert_true(json_equal(json_object_get(json_object_get(first->json, "spec"), "containers"),
                             json_object_get(json_object_get(again->json, "spec"), "containers")));
}

static void
test_spec_is_kept_as_written(void)
{
    static const char *const spec =
        "{\"spec\":{\"priority\":5,\"containers\":[{\"image\":\"busybox\",\"name\":\"c\"}]}}";
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/verbatim", NULL, spec);
    assert_status(put, 201);
    g_autoptr(json_t) written = json_loads(spec, 0, NULL);
    g_assert_true(json_equal(json_object_get(put->json, "spec"), json_object_get(written, "spec")));
}

static void
test_patch_merges(void)
{
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/patch", NULL, POD);
    g_autoptr(ApiAnswer) patch =
        api_call(api, "PATCH", PODS "/patch", "Content-Type: application/merge-patch+json\r\n",
                 "{\"metadata\":{\"labels\":{\"tier\":\"front\"}},\"spec\":{\"memory_mib\":128}}");
    assert_status(patch, 200);
    const json_t *spec = json_object_get(patch->json, "spec");
    g_assert_cmpint(berth_json_integer(spec, "memory_mib", 0), ==, 128);
    g_assert_nonnull(json_object_get(spec, "containers"));
    g_autoptr(ApiAnswer) list = api_call(api, "GET", PODS "?label=tier%3Dfront", NULL, NULL);
    g_assert_cmpuint(json_array_size(json_object_get(list->json, "items")), ==, 1);
    g_autoptr(ApiAnswer) none = api_call(api, "GET", PODS "?label=tier%3Dback", NULL, NULL);
    g_assert_cmpuint(json_array_size(json_object_get(none->json, "items")), ==, 0);
    g_autoptr(ApiAnswer) field =
        api_call(api, "GET", PODS "?field=spec.memory_mib=128", NULL, NULL);
    g_assert_cmpuint(json_array_size(json_object_get(field->json, "items")), ==, 1);
}

static void
test_if_match_guards(void)
{
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/guard", NULL, POD);
    g_autofree char *guard =
        g_strdup_printf("If-Match: \"%" G_GINT64_FORMAT "\"\r\n", revision_of(put));
    g_autoptr(ApiAnswer) one =
        api_call(api, "PATCH", PODS "/guard", guard, "{\"spec\":{\"priority\":1}}");
    assert_status(one, 200);
    g_autoptr(ApiAnswer) other =
        api_call(api, "PATCH", PODS "/guard", guard, "{\"spec\":{\"priority\":2}}");
    assert_status(other, 412);
    g_autoptr(ApiAnswer) create = api_call(api, "PUT", PODS "/guard", "If-None-Match: *\r\n", POD);
    assert_status(create, 412);
    g_autofree char *present =
        g_strdup_printf("If-None-Match: \"%" G_GINT64_FORMAT "\"\r\n", revision_of(one));
    g_autoptr(ApiAnswer) unchanged = api_call(api, "GET", PODS "/guard", present, NULL);
    assert_status(unchanged, 304);
}

static void
test_dry_run_writes_nothing(void)
{
    g_autoptr(ApiAnswer) dry = api_call(api, "PUT", PODS "/dry?dry_run=1", NULL, POD);
    assert_status(dry, 201);
    g_autoptr(ApiAnswer) get = api_call(api, "GET", PODS "/dry", NULL, NULL);
    assert_status(get, 404);
}

static void
test_post_chooses_a_name_and_honours_the_key_over_a_crash(void)
{
    g_autoptr(ApiAnswer) first = api_call(api, "POST", PODS, "Idempotency-Key: k-1\r\n", POD);
    assert_status(first, 201);
    const char *name = text_at(first->json, "metadata", "name");
    g_assert_true(g_str_has_prefix(name, "pod-"));
    api_crash_and_restart(api);
    g_autoptr(ApiAnswer) again = api_call(api, "POST", PODS, "Idempotency-Key: k-1\r\n", POD);
    assert_status(again, 201);
    g_assert_cmpstr(text_at(again->json, "metadata", "uid"), ==,
                    text_at(first->json, "metadata", "uid"));
    g_autoptr(ApiAnswer) other = api_call(api, "POST", PODS, "Idempotency-Key: k-1\r\n", POD " ");
    assert_status(other, 422);
    g_autoptr(ApiAnswer) fresh = api_call(api, "POST", PODS, "Idempotency-Key: k-2\r\n", POD);
    g_assert_cmpstr(text_at(fresh->json, "metadata", "uid"), !=,
                    text_at(first->json, "metadata", "uid"));
}

static void
test_errors_point_at_the_field(void)
{
    g_autoptr(ApiAnswer) bad =
        api_call(api, "PUT", PODS "/bad", NULL, "{\"spec\":{\"vcpus\":0,\"containers\":[]}}");
    assert_status(bad, 400);
    g_assert_cmpstr(berth_json_string(bad->json, "code"), ==, "invalid");
    g_assert_cmpstr(berth_json_string(bad->json, "pointer"), ==, "/spec/vcpus");
    g_assert_nonnull(berth_json_string(bad->json, "request_id"));
    g_autofree char *type = api_header(bad, "Content-Type");
    g_assert_cmpstr(type, ==, "application/problem+json");
    g_autofree char *server = api_header(bad, "Server");
    g_assert_null(server);
}

static void
test_never_fields_are_refused(void)
{
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/never", NULL, POD);
    g_autoptr(ApiAnswer) change =
        api_call(api, "PATCH", PODS "/never", NULL, "{\"spec\":{\"profile\":\"microvm\"}}");
    assert_status(change, 400);
    g_assert_cmpstr(berth_json_string(change->json, "pointer"), ==, "/spec/profile");
}

static void
test_names_are_shared_by_workload_kinds(void)
{
    g_autoptr(ApiAnswer) pod = api_call(api, "PUT", PODS "/shared", NULL, POD);
    assert_status(pod, 201);
    g_autoptr(ApiAnswer) vm = api_call(api, "PUT", "/v1/projects/default/vms/shared", NULL,
                                       "{\"spec\":{\"disks\":[{\"name\":\"root\","
                                       "\"size_mib\":64}]}}");
    assert_status(vm, 409);
    g_assert_cmpstr(berth_json_string(vm->json, "code"), ==, "exists");
}

static void
test_projects_hold_what_is_in_them(void)
{
    g_autoptr(ApiAnswer) missing = api_call(api, "PUT", "/v1/projects/red/pods/a", NULL, POD);
    assert_status(missing, 404);
    g_autoptr(ApiAnswer) project = api_call(api, "PUT", "/v1/projects/red", NULL, "{}");
    assert_status(project, 201);
    g_autoptr(ApiAnswer) pod = api_call(api, "PUT", "/v1/projects/red/pods/a", NULL, POD);
    assert_status(pod, 201);
    g_autoptr(ApiAnswer) full = api_call(api, "DELETE", "/v1/projects/red", NULL, NULL);
    assert_status(full, 409);
    g_autoptr(ApiAnswer) gone = api_call(api, "DELETE", "/v1/projects/red/pods/a", NULL, NULL);
    assert_status(gone, 200);
    g_autoptr(ApiAnswer) empty = api_call(api, "DELETE", "/v1/projects/red", NULL, NULL);
    assert_status(empty, 200);
    g_autoptr(ApiAnswer) kept = api_call(api, "DELETE", "/v1/projects/default", NULL, NULL);
    assert_status(kept, 409);
}

static void
test_lists_are_paged(void)
{
    g_autoptr(ApiAnswer) project = api_call(api, "PUT", "/v1/projects/pages", NULL, "{}");
    for (guint i = 0; i < 7; i++) {
        g_autofree char *path = g_strdup_printf("/v1/projects/pages/pods/p%u", i);
        g_autoptr(ApiAnswer) put = api_call(api, "PUT", path, NULL, POD);
        assert_status(put, 201);
    }
    g_autoptr(GString) names = g_string_new(NULL);
    g_autofree char *token = NULL;
    do {
        g_autofree char *escaped = token != NULL ? g_uri_escape_string(token, NULL, FALSE) : NULL;
        g_autofree char *path =
            g_strdup_printf("/v1/projects/pages/pods?limit=3%s%s",
                            escaped != NULL ? "&continue=" : "", escaped != NULL ? escaped : "");
        g_autoptr(ApiAnswer) page = api_call(api, "GET", path, NULL, NULL);
        assert_status(page, 200);
        gsize i;
        json_t *item;
        json_array_foreach (json_object_get(page->json, "items"), i, item) {
            g_string_append_printf(names, "%s ", text_at(item, "metadata", "name"));
        }
        g_free(token);
        token = g_strdup(berth_json_string(page->json, "continue"));
    } while (token != NULL);
    g_assert_cmpstr(names->str, ==, "p0 p1 p2 p3 p4 p5 p6 ");
}

static void
test_verbs_answer_with_a_task(void)
{
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/verb", NULL, POD);
    g_assert_cmpstr(berth_json_string(put->json, "power"), ==, "on");
    g_autoptr(ApiAnswer) task = api_call(api, "POST", PODS "/verb:shutdown", NULL, NULL);
    assert_status(task, 202);
    g_assert_cmpstr(berth_json_string(task->json, "kind"), ==, "Task");
    g_assert_cmpstr(text_at(task->json, "spec", "verb"), ==, "shutdown");
    g_assert_cmpstr(text_at(task->json, "spec", "target_uid"), ==,
                    text_at(put->json, "metadata", "uid"));
    g_autoptr(ApiAnswer) pod = api_call(api, "GET", PODS "/verb", NULL, NULL);
    g_assert_cmpstr(berth_json_string(pod->json, "power"), ==, "off");
    g_autoptr(ApiAnswer) busy = api_call(api, "POST", PODS "/verb:reboot", NULL, NULL);
    assert_status(busy, 409);
    g_autoptr(ApiAnswer) forced =
        api_call(api, "POST", PODS "/verb:destroy", NULL, "{\"force\":true}");
    assert_status(forced, 202);
    g_autofree char *location = api_header(task, "Location");
    g_autofree char *cancel = g_strconcat(location, ":cancel", NULL);
    g_autoptr(ApiAnswer) cancelled = api_call(api, "POST", cancel, NULL, NULL);
    assert_status(cancelled, 202);
    g_assert_true(
        json_is_true(json_object_get(json_object_get(cancelled->json, "spec"), "cancel")));
    g_autoptr(ApiAnswer) unknown = api_call(api, "POST", PODS "/verb:fly", NULL, NULL);
    assert_status(unknown, 404);
}

static void
test_prefer_wait_returns_when_time_is_up(void)
{
    gint64 began = g_get_monotonic_time();
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/slow", "Prefer: wait=1\r\n", POD);
    assert_status(put, 201);
    g_assert_cmpint(g_get_monotonic_time() - began, >=, G_USEC_PER_SEC * 9 / 10);
    g_autofree char *applied = api_header(put, "Preference-Applied");
    g_assert_cmpstr(applied, ==, "wait=1");
}

static void
test_methods_are_told(void)
{
    g_autoptr(ApiAnswer) wrong = api_call(api, "DELETE", PODS, NULL, NULL);
    assert_status(wrong, 405);
    g_autofree char *allow = api_header(wrong, "Allow");
    g_assert_cmpstr(allow, ==, "GET, HEAD, POST, OPTIONS");
    g_autoptr(ApiAnswer) options = api_call(api, "OPTIONS", PODS "/x", NULL, NULL);
    assert_status(options, 204);
    g_autoptr(ApiAnswer) read_only = api_call(api, "PUT", "/v1/events/x", NULL, "{}");
    assert_status(read_only, 405);
    g_autoptr(ApiAnswer) hidden = api_call(api, "GET", "/v1/requestkeys", NULL, NULL);
    assert_status(hidden, 404);
    g_autoptr(ApiAnswer) head = api_call(api, "HEAD", "/v1/version", NULL, NULL);
    assert_status(head, 200);
    g_assert_cmpstr(head->body, ==, "");
    g_autoptr(ApiAnswer) query = api_call(api, "GET", PODS "?limt=3", NULL, NULL);
    assert_status(query, 400);
}

static void
test_openapi_names_every_verb(void)
{
    g_autoptr(ApiAnswer) answer = api_call(api, "GET", "/v1/openapi.json", NULL, NULL);
    assert_status(answer, 200);
    g_assert_cmpstr(berth_json_string(answer->json, "openapi"), ==, "3.1.0");
    const json_t *paths = json_object_get(answer->json, "paths");
    g_assert_nonnull(json_object_get(paths, "/v1/projects/{project}/pods/{name}:reboot"));
    g_assert_nonnull(json_object_get(paths, "/v1/projects/{project}/vms/{name}:start"));
    g_assert_nonnull(json_object_get(paths, "/v1/hosts/{name}"));
    g_assert_null(json_object_get(paths, "/v1/addresses"));
    const json_t *schemas = json_object_get(json_object_get(answer->json, "components"), "schemas");
    g_assert_nonnull(json_object_get(schemas, "Pod"));
    /* Every reference leads somewhere. */
    g_auto(GStrv) parts = g_strsplit(answer->body, "\"#/", -1);
    for (guint i = 1; parts[i] != NULL; i++) {
        g_autofree char *path = g_strndup(parts[i], strcspn(parts[i], "\""));
        g_auto(GStrv) members = g_strsplit(path, "/", -1);
        const json_t *at = answer->json;
        for (char **member = members; *member != NULL; member++) {
            at = json_object_get(at, *member);
        }
        g_test_message("%s", path);
        g_assert_nonnull(at);
    }
}

static void
test_metrics_count_objects(void)
{
    g_autoptr(ApiAnswer) answer = api_call(api, "GET", "/metrics", NULL, NULL);
    assert_status(answer, 200);
    g_assert_nonnull(strstr(answer->body, "berth_objects{kind=\"Project\",phase=\"\"}"));
    g_assert_nonnull(strstr(answer->body, "process_resident_memory_bytes "));
    g_assert_nonnull(strstr(answer->body, "berth_http_answers_total{class=\"2xx\"} "));
}

static void
test_uploads_are_streamed(void)
{
    g_autoptr(ApiAnswer) image = api_call(api, "PUT", "/v1/images/disk", NULL,
                                          "{\"spec\":{\"type\":\"disk\",\"source\":\"upload\","
                                          "\"format\":\"raw\"}}");
    assert_status(image, 201);
    gsize size = 8 * 1024 * 1024;
    g_autofree char *content = g_strnfill(size, 'x');
    g_autoptr(ApiAnswer) answer = api_call(api, "PUT", "/v1/images/disk/content",
                                           "Content-Type: application/octet-stream\r\n", content);
    assert_status(answer, 200);
    g_autoptr(ApiAnswer) missing = api_call(api, "PUT", "/v1/images/none/content", NULL, "short");
    assert_status(missing, 404);
}

static void
test_backup_is_a_store(void)
{
    g_autoptr(ApiAnswer) answer = api_call(api, "POST", "/v1/backup", NULL, NULL);
    assert_status(answer, 200);
    g_assert_true(g_str_has_prefix(answer->body, "SQLite format 3"));
}

/* ---- watch ---- */

static int
open_watch(const char *query)
{
    int fd = api_connect(api);
    g_autofree char *request = g_strdup_printf("GET /v1/watch%s HTTP/1.0\r\n\r\n", query);
    api_send(fd, request, -1);
    return fd;
}

/* Reads until @lines lines came; skips the head. */
static char **
read_lines(int fd, guint lines)
{
    g_autoptr(GString) all = g_string_new(NULL);
    char piece[4096];
    for (;;) {
        const char *body = strstr(all->str, "\r\n\r\n");
        guint count = 0;
        for (const char *next = body; next != NULL && (next = strchr(next + 4, '\n')) != NULL;
             next -= 3) {
            count++;
        }
        if (body != NULL && count >= lines) {
            return g_strsplit(body + 4, "\n", (int)lines + 1);
        }
        gssize got = recv(fd, piece, sizeof piece, 0);
        g_assert_cmpint(got, >, 0);
        g_string_append_len(all, piece, got);
    }
}

static void
test_watch_resumes_without_loss_or_repeat(void)
{
    g_autoptr(ApiAnswer) project = api_call(api, "PUT", "/v1/projects/watch", NULL, "{}");
    gint64 since = revision_of(project);
    for (guint i = 0; i < 300; i++) { /* more than the ring holds */
        g_autofree char *path = g_strdup_printf("/v1/projects/watch/pods/w%u", i);
        g_autoptr(ApiAnswer) put = api_call(api, "PUT", path, NULL, POD);
        assert_status(put, 201);
    }
    guint next = 0;
    while (next < 300) { /* cut after every 70 lines, resumed from the last revision */
        g_autofree char *query =
            g_strdup_printf("?kinds=pods&project=watch&since=%" G_GINT64_FORMAT, since);
        g_auto(BerthFd) fd = open_watch(query);
        guint part = MIN(70, 300 - next);
        g_auto(GStrv) lines = read_lines(fd, part);
        for (guint i = 0; i < part; i++) {
            g_autoptr(json_t) line = json_loads(lines[i], 0, NULL);
            g_autofree char *name = g_strdup_printf("w%u", next++);
            const json_t *object = json_object_get(line, "object");
            g_assert_cmpstr(berth_json_string(line, "type"), ==, "put");
            g_assert_cmpstr(text_at(object, "metadata", "name"), ==, name);
            since = berth_json_integer(line, "revision", -1);
            g_assert_cmpint(since, >, 0);
        }
    }
}

static void
test_watch_follows_live_changes(void)
{
    g_auto(BerthFd) fd = open_watch("?kinds=pods&label=live%3Dyes&since=0");
    g_autoptr(ApiAnswer) put = api_call(
        api, "PUT", PODS "/live", NULL,
        "{\"metadata\":{\"labels\":{\"live\":\"yes\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
        "\"image\":\"busybox\"}]}}");
    assert_status(put, 201);
    for (;;) {
        g_auto(GStrv) lines = read_lines(fd, 1);
        g_autoptr(json_t) line = json_loads(lines[0], 0, NULL);
        if (strcmp(berth_json_string(line, "type"), "put") == 0) {
            g_assert_cmpint(berth_json_integer(line, "revision", -1), ==, revision_of(put));
            break;
        }
        break; /* pods of other tests that do not match are told as deleted: see watch.h */
    }
    g_autoptr(ApiAnswer) future = api_call(api, "GET", "/v1/watch?since=99999999", NULL, NULL);
    assert_status(future, 400);
}

/* ---- exec over a WebSocket ---- */

typedef struct {
    GString *out, *err;
    int exit_code;
} Shell;

static void
take_data(BerthStreamChannel channel, const void *bytes, gsize size, gpointer data)
{
    Shell *shell = data;
    g_string_append_len(channel == BERTH_STREAM_STDOUT ? shell->out : shell->err, bytes,
                        (gssize)size);
}

static void
take_control(const char *type, const json_t *message, gpointer data)
{
    if (strcmp(type, "exit") == 0) {
        ((Shell *)data)->exit_code = (int)berth_json_integer(message, "code", -2);
    }
}

static void
flush_stream(int fd, BerthStream *stream)
{
    gsize size;
    gconstpointer bytes = berth_stream_output(stream, &size);
    api_send(fd, bytes, (gssize)size);
    berth_stream_consume(stream, size);
}

static void
test_exec_carries_streams_and_the_exit_code(void)
{
    static const BerthStreamEvents events = {take_data, take_control, NULL, NULL};
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/exec", NULL, POD);
    g_auto(BerthFd) fd = api_connect(api);
    g_autofree char *key = berth_stream_key_new();
    g_autofree char *request = berth_stream_format_request(PODS "/exec:exec", "test", key, NULL);
    api_send(fd, request, -1);
    g_autoptr(GString) head = g_string_new(NULL);
    gsize used = 0;
    guint status = 0;
    char piece[65536];
    g_autoptr(GError) error = NULL;
    while (used == 0) {
        gssize got = recv(fd, piece, sizeof piece, 0);
        g_assert_cmpint(got, >, 0);
        g_string_append_len(head, piece, got);
        berth_stream_parse_answer(head->str, head->len, key, &used, &status, &error);
        g_assert_no_error(error);
    }
    g_assert_cmpuint(status, ==, 101);
    Shell shell = {g_string_new(NULL), g_string_new(NULL), -1};
    g_autoptr(BerthStream) stream = berth_stream_new(BERTH_STREAM_CLIENT, &events, &shell);
    berth_stream_send_control(
        stream, json_pack("{s:s, s:[s], s:b}", "type", "start", "command", "cat", "stdin", 1));
    gsize sent = 0, total = 3 * BERTH_STREAM_WINDOW; /* needs credit from the other side */
    g_autofree char *input = g_strnfill(total, 'i');
    gboolean ended = FALSE;
    gsize granted = 0;
    while (!berth_stream_is_done(stream) && shell.exit_code == -1) {
        sent += berth_stream_send(stream, BERTH_STREAM_STDIN, input + sent, total - sent);
        gsize received = shell.out->len + shell.err->len;
        berth_stream_grant(stream, received - granted);
        granted = received;
        if (sent == total && shell.out->len == total && !ended) {
            ended = TRUE;
            berth_stream_send_control(stream, json_pack("{s:s}", "type", "eof"));
        }
        flush_stream(fd, stream);
        gssize got = recv(fd, piece, sizeof piece, 0);
        g_assert_cmpint(got, >, 0);
        g_assert_true(berth_stream_feed(stream, piece, (gsize)got, &error));
    }
    g_assert_cmpint(shell.exit_code, ==, 7);
    g_assert_cmpstr(shell.err->str, ==, "cat");
    g_assert_cmpuint(shell.out->len, ==, total);
    g_string_free(shell.out, TRUE);
    g_string_free(shell.err, TRUE);
}

static void
test_a_path_that_is_a_websocket_says_so(void)
{
    g_autoptr(ApiAnswer) put = api_call(api, "PUT", PODS "/ws", NULL, POD);
    g_autoptr(ApiAnswer) plain = api_call(api, "GET", PODS "/ws:exec", NULL, NULL);
    assert_status(plain, 426);
    g_autoptr(ApiAnswer) why = api_call(api, "GET", PODS "/ws:why", NULL, NULL);
    assert_status(why, 200);
    g_autoptr(ApiAnswer) xml = api_call(api, "GET", PODS "/ws:xml", NULL, NULL);
    assert_status(xml, 501);
}

#define ADD(path, function) g_test_add_func("/daemon/routes/" path, function)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    api = api_start();
    ADD("put-creates-then-changes-nothing", test_put_creates_then_changes_nothing);
    ADD("spec-is-kept-as-written", test_spec_is_kept_as_written);
    ADD("patch-merges", test_patch_merges);
    ADD("if-match-guards", test_if_match_guards);
    ADD("dry-run-writes-nothing", test_dry_run_writes_nothing);
    ADD("post-honours-the-key-over-a-crash",
        test_post_chooses_a_name_and_honours_the_key_over_a_crash);
    ADD("errors-point-at-the-field", test_errors_point_at_the_field);
    ADD("never-fields-are-refused", test_never_fields_are_refused);
    ADD("names-are-shared-by-workload-kinds", test_names_are_shared_by_workload_kinds);
    ADD("projects-hold-what-is-in-them", test_projects_hold_what_is_in_them);
    ADD("lists-are-paged", test_lists_are_paged);
    ADD("verbs-answer-with-a-task", test_verbs_answer_with_a_task);
    ADD("prefer-wait-returns-when-time-is-up", test_prefer_wait_returns_when_time_is_up);
    ADD("methods-are-told", test_methods_are_told);
    ADD("openapi-names-every-verb", test_openapi_names_every_verb);
    ADD("metrics-count-objects", test_metrics_count_objects);
    ADD("uploads-are-streamed", test_uploads_are_streamed);
    ADD("backup-is-a-store", test_backup_is_a_store);
    ADD("watch-resumes-without-loss-or-repeat", test_watch_resumes_without_loss_or_repeat);
    ADD("watch-follows-live-changes", test_watch_follows_live_changes);
    ADD("exec-carries-streams-and-the-exit-code", test_exec_carries_streams_and_the_exit_code);
    ADD("a-path-that-is-a-websocket-says-so", test_a_path_that_is_a_websocket_says_so);
    int result = g_test_run();
    api_stop(api);
    return result;
}
