/* berth: options before the command, then the command; or the shell. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/session.h"
#include "cli/shell.h"
#include "config.h"

/* Texts that the build and packages ask for; they need no daemon. */
static gboolean
print_generated(const char *word)
{
    g_autofree char *text = g_strcmp0(word, "--print-man") == 0          ? berth_help_man()
                            : g_strcmp0(word, "--print-completion") == 0 ? berth_help_completion()
                                                                         : NULL;
    if (text != NULL) {
        fputs(text, stdout);
    }
    return text != NULL;
}

static int
run_without_command(const BerthArgs *globals)
{
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        return berth_shell_run(globals);
    }
    g_autofree char *text = berth_help_overview();
    fputs(text, stdout);
    return BERTH_EXIT_OK;
}

int
main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    signal(SIGPIPE, SIG_DFL);
    if (print_generated(argv[1])) {
        return BERTH_EXIT_OK;
    }
    guint used;
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthArgs) globals = berth_args_parse_globals(argv + 1, &used, &error);
    if (globals == NULL) {
        berth_print_error(error);
        return BERTH_EXIT_USAGE;
    }
    if (berth_args_has(globals, "version")) {
        printf("berth %s\n", PACKAGE_VERSION);
        return BERTH_EXIT_OK;
    }
    if (berth_args_has(globals, "help")) {
        g_autofree char *text = berth_help_overview();
        fputs(text, stdout);
        return BERTH_EXIT_OK;
    }
    berth_interrupt_install();
    char **words = argv + 1 + used;
    return words[0] == NULL ? run_without_command(globals) : berth_run_words(globals, words, FALSE);
}
