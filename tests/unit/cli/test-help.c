/* Help, man page and completion script are what they were when somebody last looked. */
#include "cli/help.h"

#include <string.h>

#include "tests/golden/golden.h"

static void
test_overview(void)
{
    g_autofree char *text = berth_help_overview();
    golden_check("cli/help.txt", text);
}

static void
test_run(void)
{
    char *words[] = {(char *)"run", NULL};
    guint used;
    g_autofree char *text = berth_help_command(berth_command_find(words, &used));
    golden_check("cli/help-run.txt", text);
}

static void
test_every_command_is_in_the_man_page(void)
{
    g_autofree char *man = berth_help_man();
    BERTH_EACH_COMMAND(command)
    {
        g_autofree char *usage = berth_help_usage(command);
        g_autofree char *first = g_strndup(usage, strcspn(usage, "[<-"));
        g_autofree char *line = g_strconcat(".SS \"", first, NULL);
        g_assert_true(command->hidden == (strstr(man, line) == NULL));
    }
}

/* bash itself says whether the script is one. */
static void
test_completion_is_good_bash(void)
{
    g_autofree char *script = berth_help_completion();
    const char *words[] = {"bash", "-n", "-c", script, NULL};
    int status = -1;
    g_autofree char *problems = NULL;
    if (!g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, &problems,
                      &status, NULL)) {
        g_test_skip("there is no bash");
        return;
    }
    g_assert_cmpstr(problems, ==, "");
    g_assert_cmpint(status, ==, 0);
}

static void
test_long_lines_are_broken(void)
{
    g_autofree char *text = berth_help_wrap("title  <short>\n      Forty letters are not enough to "
                                            "fill this line, which goes on and on "
                                            "until it is too long.\n");
    g_assert_cmpstr(text, ==,
                    "title  <short>\n"
                    "      Forty letters are not enough to fill this line, which goes on and on\n"
                    "      until it is too long.\n");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/help/overview-is-as-reviewed", test_overview);
    g_test_add_func("/cli/help/run-is-as-reviewed", test_run);
    g_test_add_func("/cli/help/every-command-is-in-the-man-page",
                    test_every_command_is_in_the_man_page);
    g_test_add_func("/cli/help/long-lines-are-broken", test_long_lines_are_broken);
    g_test_add_func("/cli/help/completion-is-good-bash", test_completion_is_good_bash);
    return g_test_run();
}
