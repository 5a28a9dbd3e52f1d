/* The client says what the server means, and takes bounded harm from a server that is none. */
#include "cli/client.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/wait.h"
#include "tests/unit/cli/responder.h"

typedef struct {
    Responder *responder;
    BerthSettings settings;
    BerthClient *client;
    GMutex lock;
    char *request; /* the last one; under lock */
    guint turn;    /* connections served */
    const char *body;
    int status;
    const char *type;
} Fixture;

static void
answer_fixed(int fd, const char *request, gpointer user_data)
{
    Fixture *fixture = user_data;
    g_mutex_lock(&fixture->lock);
    g_free(fixture->request);
    fixture->request = g_strdup(request);
    g_mutex_unlock(&fixture->lock);
    responder_answer(fd, fixture->status, fixture->type, fixture->body);
}

static void
begin(Fixture *fixture, ResponderServe serve)
{
    *fixture = (Fixture){.status = 200, .type = "application/json", .body = "{}"};
    g_mutex_init(&fixture->lock);
    fixture->responder = responder_new(serve, fixture);
    fixture->settings.socket = (char *)responder_path(fixture->responder);
    fixture->settings.project = (char *)"default";
    fixture->client = berth_client_new(&fixture->settings, NULL);
}

static void
end(Fixture *fixture)
{
    berth_client_free(fixture->client);
    responder_free(fixture->responder);
    g_mutex_clear(&fixture->lock);
    g_free(fixture->request);
}

static void
test_sends_what_was_asked(void)
{
    Fixture fixture;
    begin(&fixture, answer_fixed);
    g_autoptr(json_t) body = json_pack("{s:s}", "kind", "Pod");
    const BerthRequestOptions options = {.body = body, .create_only = TRUE, .wait_s = 7};
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthReply) reply = berth_client_call(
        fixture.client, "PUT", "/v1/projects/a%2Fb/pods/x?dry_run=1", &options, &error);
    g_assert_no_error(error);
    g_assert_cmpint(reply->status, ==, 200);
    g_assert_true(
        g_str_has_prefix(fixture.request, "PUT /v1/projects/a%2Fb/pods/x?dry_run=1 HTTP/1.1\r\n"));
    g_assert_nonnull(strstr(fixture.request, "\r\nIf-None-Match: *\r\n"));
    g_assert_nonnull(strstr(fixture.request, "\r\nPrefer: wait=7\r\n"));
    g_assert_nonnull(strstr(fixture.request, "\r\nContent-Type: application/json\r\n"));
    g_assert_nonnull(strstr(fixture.request, "\r\n\r\n{\"kind\":\"Pod\"}"));
    end(&fixture);
}

static void
test_problems_keep_code_place_and_hint(void)
{
    Fixture fixture;
    begin(&fixture, answer_fixed);
    fixture.status = 507;
    fixture.type = "application/problem+json";
    fixture.body =
        "{\"code\":\"exhausted\",\"detail\":\"no host has 4 vCPUs free\",\"hint\":\"berth why\","
        "\"pointer\":\"/spec/vcpus\"}";
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_client_get(fixture.client, "/v1/hosts", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_EXHAUSTED);
    g_assert_cmpstr(error->message, ==, "no host has 4 vCPUs free");
    g_assert_cmpstr(berth_error_hint(error), ==, "berth why");
    g_assert_cmpstr(berth_error_pointer(error), ==, "/spec/vcpus");
    g_assert_cmpint(berth_exit_code_of(error), ==, BERTH_EXIT_REFUSED);
    end(&fixture);
}

static void
test_foreign_servers_are_not_believed(void)
{
    static const struct {
        int status;
        const char *type, *body;
        BerthErrorCode code;
    } cases[] = {
        {200, "text/html", "<html>", BERTH_ERROR_CORRUPT},
        {200, "application/json", "{\"a\":", BERTH_ERROR_CORRUPT},
        {404, "text/html", "<h1>not here</h1>", BERTH_ERROR_NOT_FOUND},
        {500, "application/problem+json", "[]", BERTH_ERROR_INTERNAL},
        {403, "application/problem+json", "{\"code\":17,\"detail\":[]}", BERTH_ERROR_DENIED},
        {302, "text/plain", "elsewhere", BERTH_ERROR_INVALID},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Fixture fixture;
        begin(&fixture, answer_fixed);
        fixture.status = cases[i].status;
        fixture.type = cases[i].type;
        fixture.body = cases[i].body;
        g_autoptr(GError) error = NULL;
        g_assert_null(berth_client_get(fixture.client, "/v1/hosts", &error));
        g_assert_error(error, BERTH_ERROR, (int)cases[i].code);
        end(&fixture);
    }
}

static void
answer_deep(int fd, const char *request, gpointer user_data)
{
    g_autofree char *deep = g_strnfill(200000, '[');
    responder_answer(fd, 200, "application/json", deep);
}

static void
answer_endless(int fd, const char *request, gpointer user_data)
{
    g_autofree char *piece = g_strnfill(1 << 20, 'x');
    responder_write(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
    for (int i = 0; i < 80; i++) {
        responder_write(fd, piece);
    }
}

static void
answer_nothing(int fd, const char *request, gpointer user_data)
{
}

static void
test_hostile_answers_cost_little(void)
{
    static const struct {
        ResponderServe serve;
        BerthErrorCode code;
    } cases[] = {{answer_deep, BERTH_ERROR_CORRUPT},
                 {answer_endless, BERTH_ERROR_CORRUPT},
                 {answer_nothing, BERTH_ERROR_UNAVAILABLE}};
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Fixture fixture;
        begin(&fixture, cases[i].serve);
        g_autoptr(GError) error = NULL;
        g_assert_null(berth_client_get(fixture.client, "/v1/hosts", &error));
        g_assert_error(error, BERTH_ERROR, (int)cases[i].code);
        end(&fixture);
    }
}

static void
test_an_absent_daemon_is_unreachable(void)
{
    const BerthSettings settings = {.socket = (char *)"/nonexistent/berth.sock"};
    g_autoptr(BerthClient) client = berth_client_new(&settings, NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_client_get(client, "/v1/hosts", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_UNAVAILABLE);
    g_assert_nonnull(strstr(error->message, "no daemon listens at '/nonexistent/berth.sock'"));
    g_assert_nonnull(berth_error_hint(error));
    g_assert_cmpint(berth_exit_code_of(error), ==, BERTH_EXIT_UNREACHABLE);
}

static void
answer_pages(int fd, const char *request, gpointer user_data)
{
    gboolean second = strstr(request, "continue=a%20b") != NULL;
    responder_answer(fd, 200, "application/json",
                     second ? "{\"items\":[3]}" : "{\"items\":[1,2],\"continue\":\"a b\"}");
}

static void
test_lists_are_read_page_by_page(void)
{
    Fixture fixture;
    begin(&fixture, answer_pages);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) all = berth_client_list(fixture.client, "/v1/hosts", &error);
    g_assert_no_error(error);
    g_autofree char *text = berth_json_format(all);
    g_assert_cmpstr(text, ==, "[1,2,3]");
    g_assert_cmpuint(responder_count(fixture.responder), ==, 2);
    end(&fixture);
}

/* ---- waiting by watching ---- */

#define LINE(phase)                                                                                \
    "{\"type\":\"put\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"project\":"     \
    "\"p\","                                                                                       \
    "\"uid\":\"u\",\"generation\":1},\"status\":{\"phase\":\"" phase                               \
    "\",\"observed_generation\":1}}}\n"

/* The first stream breaks in the middle of a line, as when the daemon is killed. */
static void
answer_watch(int fd, const char *request, gpointer user_data)
{
    Fixture *fixture = user_data;
    g_assert_true(g_str_has_prefix(request, "GET /v1/watch?kinds=pods&project=p&name=a HTTP"));
    responder_write(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n");
    if (fixture->turn++ == 0) {
        responder_write(fd, LINE("Pending") "{\"type\":\"pu");
    } else {
        responder_write(
            fd, LINE("Starting") "{\"type\":\"bookmark\",\"revision\":7}\n" LINE("Running"));
        char rest;
        g_assert_cmpint(read(fd, &rest, 1), ==, 0); /* the client hangs up by itself */
    }
}

static void
test_waits_go_on_behind_a_broken_watch(void)
{
    Fixture fixture;
    begin(&fixture, answer_watch);
    BerthSession session = {.settings = &fixture.settings, .client = fixture.client, .quiet = TRUE};
    g_autoptr(json_t) pod = json_pack("{s:s, s:{s:s, s:s, s:s, s:i}}", "kind", "Pod", "metadata",
                                      "name", "a", "project", "p", "uid", "u", "generation", 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) last = berth_wait_settled(&session, pod, 30, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(berth_json_phase(last), ==, "Running");
    g_assert_cmpuint(responder_count(fixture.responder), ==, 2);
    end(&fixture);
}

static void
answer_failed(int fd, const char *request, gpointer user_data)
{
    responder_write(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n");
    responder_write(
        fd, "{\"type\":\"put\",\"object\":{\"kind\":\"Task\",\"metadata\":{\"name\":\"t\",\"uid\":"
            "\"u\"},\"spec\":{\"verb\":\"pull\",\"target_name\":\"web\"},\"status\":{\"phase\":"
            "\"Failed\",\"reason\":{\"code\":\"timeout\",\"message\":\"too slow\",\"hint\":"
            "\"again\"}}}}\n");
}

static void
test_failed_tasks_tell_their_reason(void)
{
    Fixture fixture;
    begin(&fixture, answer_failed);
    BerthSession session = {.settings = &fixture.settings, .client = fixture.client, .quiet = TRUE};
    g_autoptr(json_t) task =
        json_pack("{s:s, s:{s:s, s:s}}", "kind", "Task", "metadata", "name", "t", "uid", "u");
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_wait_task(&session, task, 30, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_TIMEOUT);
    g_assert_cmpstr(error->message, ==, "pull of 'web' failed: too slow");
    g_assert_cmpstr(berth_error_hint(error), ==, "again");
    end(&fixture);
}

/* ---- files with secrets ---- */

static void
test_secrets_that_others_can_read_are_refused(void)
{
    g_autofree char *folder = g_dir_make_tmp("berth-cli-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "config", NULL);
    g_autofree char *token = g_build_filename(folder, "token", NULL);
    g_autofree char *text =
        g_strdup_printf("[berth]\ncontext=work\n[context work]\nconnect=https://b.example:7420/\n"
                        "project=shop\ntoken_file=%s\n",
                        token);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_true(g_file_set_contents(token, "s3cret\n", -1, NULL));
    g_setenv("BERTH_CONFIG", path, TRUE);
    static const struct {
        int config, token;
        gboolean good;
    } modes[] = {{0600, 0600, TRUE},  {0400, 0400, TRUE},  {0644, 0600, FALSE},
                 {0600, 0640, FALSE}, {0600, 0604, FALSE}, {0620, 0600, FALSE}};
    for (gsize i = 0; i < G_N_ELEMENTS(modes); i++) {
        g_assert_cmpint(chmod(path, modes[i].config), ==, 0);
        g_assert_cmpint(chmod(token, modes[i].token), ==, 0);
        const BerthSettingsChoice choice = {0};
        g_autoptr(GError) error = NULL;
        g_autoptr(BerthSettings) settings = berth_settings_load(&choice, &error);
        if (modes[i].good) {
            g_assert_no_error(error);
            g_assert_cmpstr(settings->token, ==, "s3cret");
            g_assert_cmpstr(settings->url, ==, "https://b.example:7420");
            g_assert_cmpstr(settings->project, ==, "shop");
            g_assert_null(settings->socket);
        } else {
            g_assert_null(settings);
            g_assert_error(error, BERTH_ERROR, BERTH_ERROR_DENIED);
            g_assert_null(strstr(error->message, "s3cret"));
        }
    }
    g_unsetenv("BERTH_CONFIG");
    unlink(path);
    unlink(token);
    rmdir(folder);
}

static void
test_only_sockets_and_tls_are_spoken_to(void)
{
    static const struct {
        const char *where;
        gboolean good;
    } cases[] = {{"/run/x.sock", TRUE},
                 {"unix:///run/x.sock", TRUE},
                 {"https://h:1", TRUE},
                 {"http://h:1", FALSE},
                 {"h:1", FALSE},
                 {"https://h:1/v1", FALSE},
                 {"https://u:p@h", FALSE},
                 {"file:///etc/passwd", FALSE},
                 {"", FALSE}};
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const BerthSettingsChoice choice = {.connect = cases[i].where};
        g_autoptr(BerthSettings) settings = berth_settings_load(&choice, NULL);
        g_test_message("%s", cases[i].where);
        g_assert_true((settings != NULL) == cases[i].good);
    }
}

int
main(int argc, char **argv)
{
    responder_clear_environment();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/client/sends-what-was-asked", test_sends_what_was_asked);
    g_test_add_func("/cli/client/problems-keep-code-place-and-hint",
                    test_problems_keep_code_place_and_hint);
    g_test_add_func("/cli/client/foreign-servers-are-not-believed",
                    test_foreign_servers_are_not_believed);
    g_test_add_func("/cli/client/hostile-answers-cost-little", test_hostile_answers_cost_little);
    g_test_add_func("/cli/client/an-absent-daemon-is-unreachable",
                    test_an_absent_daemon_is_unreachable);
    g_test_add_func("/cli/client/lists-are-read-page-by-page", test_lists_are_read_page_by_page);
    g_test_add_func("/cli/client/waits-go-on-behind-a-broken-watch",
                    test_waits_go_on_behind_a_broken_watch);
    g_test_add_func("/cli/client/failed-tasks-tell-their-reason",
                    test_failed_tasks_tell_their_reason);
    g_test_add_func("/cli/settings/secrets-that-others-can-read-are-refused",
                    test_secrets_that_others_can_read_are_refused);
    g_test_add_func("/cli/settings/only-sockets-and-tls-are-spoken-to",
                    test_only_sockets_and_tls_are_spoken_to);
    return g_test_run();
}
