/* Command lines are read by the table: as GNU programs, docker and virsh have them. */
#include "cli/command.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/cmd.h"

/* Reads @line for its command. @error: where a failure goes. */
static BerthArgs *
read_line(const char *line, GError **error)
{
    g_auto(GStrv) words = NULL;
    g_assert_true(g_shell_parse_argv(line, NULL, &words, NULL));
    guint used;
    const BerthCommand *command = berth_command_find(words, &used);
    g_assert_nonnull(command);
    return berth_args_parse(command, words + used, error);
}

static BerthArgs *
read_good(const char *line)
{
    g_autoptr(GError) error = NULL;
    BerthArgs *args = read_line(line, &error);
    g_assert_no_error(error);
    return args;
}

static void
assert_refused(const char *line, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthArgs) args = read_line(line, &error);
    g_assert_null(args);
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    if (strstr(error->message, part) == NULL) {
        g_error("%s: '%s' does not say '%s'", line, error->message, part);
    }
}

static void
test_run_stops_at_the_image(void)
{
    g_autoptr(BerthArgs) args =
        read_good("run --rm -it -e A=1 --env=B=2 -eC=3 --name web -m512 img sh -c 'x' --rm -q");
    g_assert_true(berth_args_has(args, "rm"));
    g_assert_true(berth_args_has(args, "tty"));
    g_assert_true(berth_args_has(args, "interactive"));
    g_assert_false(berth_args_has(args, "quiet"));
    g_assert_cmpstr(berth_args_get(args, "name"), ==, "web");
    g_assert_cmpint(berth_args_number(args, "memory", 0), ==, 512);
    g_assert_cmpstr(berth_args_get(args, "image"), ==, "img");
    static const char *const env[] = {"A=1", "B=2", "C=3", NULL};
    static const char *const words[] = {"sh", "-c", "x", "--rm", "-q", NULL};
    g_assert_true(g_strv_equal((const char *const *)berth_args_list(args, "env"), env));
    g_assert_true(g_strv_equal((const char *const *)berth_args_list(args, "command"), words));
}

static void
test_exec_allows_one_dash_dash(void)
{
    g_autoptr(BerthArgs) args = read_good("exec web -- ls -l -- x");
    static const char *const words[] = {"ls", "-l", "--", "x", NULL};
    g_assert_true(g_strv_equal((const char *const *)berth_args_list(args, "command"), words));
}

static void
test_options_and_arguments_mix(void)
{
    g_autoptr(BerthArgs) args = read_good("get pods a -o yaml b --label x=y");
    g_assert_cmpstr(berth_args_get(args, "output"), ==, "yaml");
    static const char *const names[] = {"a", "b", NULL};
    g_assert_true(g_strv_equal((const char *const *)berth_args_list(args, "name"), names));
    g_autoptr(BerthArgs) dashes = read_good("delete pod -- -x --all");
    static const char *const odd[] = {"-x", "--all", NULL};
    g_assert_true(g_strv_equal((const char *const *)berth_args_list(dashes, "name"), odd));
}

static void
test_arguments_have_names_as_in_virsh(void)
{
    g_autoptr(BerthArgs) args = read_good("dominfo --domain web");
    g_assert_cmpstr(berth_args_get(args, "domain"), ==, "web");
    g_autoptr(BerthArgs) more = read_good("start --domain web");
    g_assert_cmpstr(berth_args_get(more, "domain"), ==, "web");
    assert_refused("dominfo --domain web other", "unexpected argument");
}

static void
test_the_last_of_an_option_holds(void)
{
    g_autoptr(BerthArgs) args = read_good("run --name a --name b img");
    g_assert_cmpstr(berth_args_get(args, "name"), ==, "b");
    g_assert_null(berth_args_list(args, "name")[1]);
}

static void
test_wait_may_have_a_time(void)
{
    g_autoptr(BerthArgs) bare = read_good("start web --wait");
    g_assert_true(berth_args_has(bare, "wait"));
    g_assert_cmpint(berth_args_number(bare, "wait", 77), ==, 77);
    g_autoptr(BerthArgs) timed = read_good("start web --wait=2m");
    g_assert_cmpint(berth_args_number(timed, "wait", 77), ==, 120);
    g_autoptr(BerthArgs) next = read_good("start --wait web");
    g_assert_cmpstr(berth_args_get(next, "domain"), ==, "web");
}

static void
test_refuses_with_the_reason(void)
{
    assert_refused("start", "needs <domain>");
    assert_refused("start web --nosuch", "unknown option '--nosuch'");
    assert_refused("start web -z", "unknown option");
    assert_refused("run --rm=yes img", "takes no value");
    assert_refused("run --name", "needs a value");
    assert_refused("run --profile i440fx img", "is none of q35, microvm");
    assert_refused("run --cpus 1.5 img", "whole number");
    assert_refused("run --memory lots img", "not a size");
    assert_refused("dominfo a b", "unexpected argument");
    assert_refused("list -o xml", "is none of");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthArgs) args = read_line("list --al", &error);
    g_assert_null(args);
    g_assert_cmpstr(berth_error_hint(error), ==, "did you mean --all?");
}

/* The spec that the options of @line make, as text; NULL with @error. */
static char *
spec_of(const char *line, GError **error)
{
    g_autoptr(BerthArgs) args = read_good(line);
    g_autoptr(json_t) spec = json_object();
    return berth_workload_options_put(spec, args, error) ? berth_json_format(spec) : NULL;
}

static void
assert_spec(const char *line, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = spec_of(line, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, expected);
}

static void
assert_no_spec(const char *line, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = spec_of(line, &error);
    g_assert_null(text);
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_true(strstr(part, "number") != NULL || berth_error_hint(error) != NULL);
}

static void
test_hardware_is_asked_for_by_options(void)
{
    assert_spec(
        "run --numa one --huge-pages 1g --dedicated-cpus --cpus 4 img",
        "{\"vcpus\":4,\"numa\":\"one\",\"huge_pages_kib\":1048576,\"dedicated_cpus\":true}");
    assert_spec("vm create db --huge-pages=2m --device gpu --device nic=2 --vcpus 2 -m 4g",
                "{\"memory_mib\":4096,\"vcpus\":2,\"huge_pages_kib\":2048,\"devices\":[{\"class\":"
                "\"gpu\",\"count\":1},{\"class\":\"nic\",\"count\":2}]}");
    assert_no_spec("run --device /dev/kvm img", "'/dev/kvm' is no class of devices");
    assert_no_spec("run --device gpu=0 img", "'0' is no number from 1");
    assert_no_spec("run --device gpu=two img", "'two' is no number from 1");
    assert_spec("run --cpu-model EPYC --cpu-feature aes --cpu-feature avx2 img",
                "{\"cpu_model\":\"EPYC\",\"cpu_features\":[\"aes\",\"avx2\"]}");
    assert_spec("run --resource licence/oracle --resource tape=2 img",
                "{\"resources\":{\"licence/oracle\":1,\"tape\":2}}");
    assert_no_spec("run --resource tape=0 img", "'0' is no number from 1");
    assert_no_spec("vm create db --priority high", "'high' is no whole number");
    assert_refused("run --numa all img", "option --numa: 'all' is none of any, one, two");
    assert_refused("run --huge-pages 64k img", "option --huge-pages: '64k' is not a size");
}

static void
test_two_words_win(void)
{
    char *host_add[] = {(char *)"host", (char *)"add", (char *)"x", NULL};
    guint used = 0;
    g_assert_cmpstr(berth_command_find(host_add, &used)->name, ==, "host add");
    g_assert_cmpuint(used, ==, 2);
    char *alias[] = {(char *)"net-list", NULL};
    g_assert_cmpstr(berth_command_find(alias, &used)->name, ==, "network list");
    char *bare[] = {(char *)"host", NULL};
    g_assert_null(berth_command_find(bare, &used));
    g_assert_true(berth_command_is_group("host"));
    g_assert_false(berth_command_is_group("hos"));
}

static void
test_reads_sizes_and_times(void)
{
    static const struct {
        const char *text;
        gint64 value; /* -1: refused */
    } sizes[] = {{"512", 512},
                 {"512m", 512},
                 {"512MiB", 512},
                 {"2g", 2048},
                 {"2GB", 2048},
                 {"2Gi", 2048},
                 {"1t", 1 << 20},
                 {"2048k", 2},
                 {"100k", -1},
                 {"-1", -1},
                 {" 1G", -1},
                 {"16EiB", -1},
                 {"1e400", -1},
                 {"18446744073709551616", -1},
                 {"9223372036854775807t", -1},
                 {"", -1},
                 {"m", -1},
                 {"1.5g", -1}},
      times[] = {{"30", 30},    {"30s", 30}, {"5m", 300}, {"2h", 7200},
                 {"1d", 86400}, {"1w", -1},  {"", -1}};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        gint64 mib = -1;
        g_test_message("size '%s'", sizes[i].text);
        g_assert_true(berth_size_parse(sizes[i].text, &mib, NULL) == (sizes[i].value >= 0));
        g_assert_true(sizes[i].value < 0 || mib == sizes[i].value);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(times); i++) {
        gint64 seconds = -1;
        g_assert_true(berth_duration_parse(times[i].text, &seconds, NULL) == (times[i].value >= 0));
        g_assert_true(times[i].value < 0 || seconds == times[i].value);
    }
}

/* What a table promises must hold for all of its rows. */
static void
test_the_table_is_sound(void)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    BERTH_EACH_COMMAND(command)
    {
        g_test_message("%s", command->name);
        g_assert_true(g_hash_table_add(names, (gpointer)command->name));
        g_assert_true(command->alias == NULL || g_hash_table_add(names, (gpointer)command->alias));
        g_assert_nonnull(command->run);
        g_assert_nonnull(command->group);
        g_assert_cmpuint(strlen(command->doc), <, 80);
        g_autoptr(GHashTable) letters = g_hash_table_new(NULL, NULL);
        for (const BerthOption *o = command->options; o != NULL && o->name != NULL; o++) {
            g_assert_true(o->letter == 0 || g_hash_table_add(letters, GINT_TO_POINTER(o->letter)));
            g_assert_true((o->type == BERTH_OPTION_CHOICE) == (o->choices != NULL));
            g_assert_nonnull(o->doc);
            gboolean has_value = o->type != BERTH_OPTION_FLAG && o->type != BERTH_OPTION_WAIT &&
                                 o->type != BERTH_OPTION_CHOICE;
            g_assert_true(has_value == (o->value != NULL));
        }
        gboolean over = FALSE, optional = FALSE;
        for (const BerthArgument *a = command->arguments; a != NULL && a->name != NULL; a++) {
            g_assert_false(over);                    /* a rest takes all: it is the last */
            g_assert_true(!optional || a->optional); /* nothing needed behind what may be missing */
            g_assert_null(berth_option_find(command->options, a->name));
            over = a->rest;
            optional = a->optional;
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/command/run-stops-at-the-image", test_run_stops_at_the_image);
    g_test_add_func("/cli/command/exec-allows-one-dash-dash", test_exec_allows_one_dash_dash);
    g_test_add_func("/cli/command/options-and-arguments-mix", test_options_and_arguments_mix);
    g_test_add_func("/cli/command/arguments-have-names-as-in-virsh",
                    test_arguments_have_names_as_in_virsh);
    g_test_add_func("/cli/command/the-last-of-an-option-holds", test_the_last_of_an_option_holds);
    g_test_add_func("/cli/command/wait-may-have-a-time", test_wait_may_have_a_time);
    g_test_add_func("/cli/command/refuses-with-the-reason", test_refuses_with_the_reason);
    g_test_add_func("/cli/command/hardware-is-asked-for-by-options",
                    test_hardware_is_asked_for_by_options);
    g_test_add_func("/cli/command/two-words-win", test_two_words_win);
    g_test_add_func("/cli/command/reads-sizes-and-times", test_reads_sizes_and_times);
    g_test_add_func("/cli/command/the-table-is-sound", test_the_table_is_sound);
    return g_test_run();
}
