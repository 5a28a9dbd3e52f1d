/* crun's configuration from an image and a user's wishes: golden/pod-config-*.json. */
#include "base/error.h"
#include "drivers/pod-config.h"

#include <signal.h>
#include <string.h>

static const char *const entrypoint[] = {"/entry", NULL};
static const char *const cmd[] = {"serve", "--all", NULL};
static const char *const image_env[] = {"PATH=/bin", "LANG=C", NULL};
static const BerthImageConfig image = {.entrypoint = entrypoint,
                                       .cmd = cmd,
                                       .env = image_env,
                                       .user = "www",
                                       .workdir = "/srv",
                                       .stop_signal = "SIGQUIT"};

static void
assert_golden(const char *name, const char *text)
{
    g_autofree char *path =
        g_test_build_filename(G_TEST_DIST, "unit", "drivers", "golden", name, NULL);
    g_autofree char *golden = NULL, *pretty = NULL;
    json_t *value = json_loads(text, 0, NULL);
    char *dumped = json_dumps(value, JSON_INDENT(2));
    pretty = g_strconcat(dumped, "\n", NULL);
    free(dumped);
    json_decref(value);
    if (g_getenv("BERTH_GOLDEN_WRITE") != NULL) {
        g_assert_true(g_file_set_contents(path, pretty, -1, NULL));
    }
    g_assert_true(g_file_get_contents(path, &golden, NULL, NULL));
    g_assert_cmpstr(pretty, ==, golden);
}

static void
test_image_alone_makes_the_golden_file(void)
{
    BerthContainerWish wish = {.name = "web"};
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthContainerSetup) setup = berth_container_setup_new(&image, &wish, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(setup->user, ==, "www");
    g_assert_cmpint(setup->stop_signal, ==, SIGQUIT);
    g_assert_true(g_str_has_prefix(setup->config, "{\"process\":{\"user\":{},"));
    assert_golden("pod-config-image.json", setup->config);
}

static void
test_wishes_replace_what_the_image_says(void)
{
    const char *const command[] = {"sh", "-c", "echo \"quoted\" \\ \n{}", NULL};
    const char *const env[] = {"LANG=de", "NEW=\"user\":{}", NULL};
    BerthContainerWish wish = {.name = "web",
                               .command = command,
                               .env = env,
                               .user = "5:6",
                               .workdir = "/tmp",
                               .stop_signal = "9",
                               .tty = TRUE,
                               .read_only = TRUE,
                               .memory_mib = 64,
                               .pids_max = 10};
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthContainerSetup) setup = berth_container_setup_new(&image, &wish, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(setup->user, ==, "5:6");
    g_assert_cmpint(setup->stop_signal, ==, SIGKILL);
    assert_golden("pod-config-wish.json", setup->config);
}

static void
assert_argv(const BerthContainerWish *wish, const char *expected)
{
    g_autoptr(BerthContainerSetup) setup = berth_container_setup_new(&image, wish, NULL);
    g_autofree char *wanted = g_strdup_printf("\"args\":%s,", expected);
    g_assert_nonnull(strstr(setup->config, wanted));
}

static void
test_command_replaces_entrypoint_and_cmd_but_args_only_cmd(void)
{
    const char *const command[] = {"run", NULL}, *const args[] = {"x", NULL};
    assert_argv(&(BerthContainerWish){.name = "c"}, "[\"/entry\",\"serve\",\"--all\"]");
    assert_argv(&(BerthContainerWish){.name = "c", .args = args}, "[\"/entry\",\"x\"]");
    assert_argv(&(BerthContainerWish){.name = "c", .command = command}, "[\"run\"]");
    assert_argv(&(BerthContainerWish){.name = "c", .command = command, .args = args},
                "[\"run\",\"x\"]");
}

static void
test_exec_inherits_environment_and_folder(void)
{
    const char *const command[] = {"ls", NULL}, *const env[] = {"LANG=fr", NULL};
    BerthContainerWish wish = {.name = "web"};
    g_autoptr(GError) error = NULL;
    g_autofree char *text = berth_exec_setup(&image, &wish, command, env, NULL, TRUE, &error);
    g_assert_no_error(error);
    g_assert_true(g_str_has_prefix(text, "{\"user\":{},"));
    assert_golden("pod-config-exec.json", text);
}

static void
assert_refused(const BerthImageConfig *from, const BerthContainerWish *wish, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_container_setup_new(from, wish, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, part));
}

static void
test_refuses_what_can_not_run(void)
{
    const char *const no_equals[] = {"A", NULL}, *const bad_utf8[] = {"A=\xff", NULL};
    g_autofree char *long_text = g_strnfill(300 * 1024, 'x');
    const char *const too_long[] = {long_text, NULL};
    assert_refused(&(BerthImageConfig){0}, &(BerthContainerWish){.name = "c"}, "no command");
    assert_refused(&image, &(BerthContainerWish){.name = "c", .env = no_equals}, "NAME=value");
    assert_refused(&image, &(BerthContainerWish){.name = "c", .env = bad_utf8}, "UTF-8");
    assert_refused(&image, &(BerthContainerWish){.name = "c", .stop_signal = "SIGNO"}, "SIGNO");
    assert_refused(&image, &(BerthContainerWish){.name = "c", .workdir = "tmp"}, "'tmp'");
    assert_refused(&image, &(BerthContainerWish){.name = "c", .args = too_long}, "KiB");
}

static void
test_signals_have_names_and_numbers(void)
{
    g_assert_cmpint(berth_signal_parse("SIGTERM"), ==, SIGTERM);
    g_assert_cmpint(berth_signal_parse("usr1"), ==, SIGUSR1);
    g_assert_cmpint(berth_signal_parse("9"), ==, SIGKILL);
    g_assert_cmpint(berth_signal_parse("SIGRTMIN+3"), ==, SIGRTMIN + 3);
    g_assert_cmpint(berth_signal_parse("SIGRTMIN+40"), ==, 0);
    g_assert_cmpint(berth_signal_parse("0"), ==, 0);
    g_assert_cmpint(berth_signal_parse(""), ==, 0);
    g_assert_cmpint(berth_signal_parse(NULL), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drivers/pod-config/image-alone-makes-the-golden-file",
                    test_image_alone_makes_the_golden_file);
    g_test_add_func("/drivers/pod-config/wishes-replace-what-the-image-says",
                    test_wishes_replace_what_the_image_says);
    g_test_add_func("/drivers/pod-config/command-replaces-entrypoint-and-cmd-but-args-only-cmd",
                    test_command_replaces_entrypoint_and_cmd_but_args_only_cmd);
    g_test_add_func("/drivers/pod-config/exec-inherits-environment-and-folder",
                    test_exec_inherits_environment_and_folder);
    g_test_add_func("/drivers/pod-config/refuses-what-can-not-run", test_refuses_what_can_not_run);
    g_test_add_func("/drivers/pod-config/signals-have-names-and-numbers",
                    test_signals_have_names_and_numbers);
    return g_test_run();
}
