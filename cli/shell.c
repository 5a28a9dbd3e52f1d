/* The same commands as the program's, line by line, with history and completion (libedit).
 * Options of every command that stood before the shell hold for all of its lines. Main thread. */
#include "cli/shell.h"

#include <histedit.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/complete.h"
#include "cli/interrupt.h"
#include "cli/session.h"

#define HISTORY_LINES 1000

static gboolean quitting;
static BerthSession *completer; /* owned by berth_shell_run(); who completion asks as */

/** Lets the shell end after the present command. */
void
berth_shell_quit(void)
{
    quitting = TRUE;
}

static char *
prompt(EditLine *line)
{
    return (char *)"berth # ";
}

/* ---- completion ---- */

/* The words up to the cursor; the last one is what is being typed. */
static char **
words_before(const char *text, gsize length)
{
    g_autofree char *before = g_strndup(text, length);
    GStrvBuilder *builder = g_strv_builder_new();
    g_auto(GStrv) words = g_strsplit_set(before, " \t", -1);
    guint count = g_strv_length(words);
    for (guint i = 0; i < count; i++) {
        if (*words[i] != '\0' || i + 1 == count) {
            g_strv_builder_add(builder, words[i]);
        }
    }
    if (count == 0) {
        g_strv_builder_add(builder, "");
    }
    char **all = g_strv_builder_end(builder);
    g_strv_builder_unref(builder);
    return all;
}

/* The longest beginning that all candidates share. */
static char *
common_beginning(char **candidates)
{
    char *common = g_strdup(candidates[0]);
    for (char **candidate = candidates + 1; *candidate != NULL; candidate++) {
        gsize same = 0;
        while (common[same] != '\0' && common[same] == (*candidate)[same]) {
            same++;
        }
        common[same] = '\0';
    }
    return common;
}

static char **
file_candidates(const char *prefix)
{
    GStrvBuilder *builder = g_strv_builder_new();
    const char *slash = strrchr(prefix, '/');
    g_autofree char *folder =
        slash != NULL ? g_strndup(prefix, (gsize)(slash - prefix) + 1) : g_strdup("");
    g_autoptr(GDir) dir = g_dir_open(*folder != '\0' ? folder : ".", 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_strconcat(folder, name, NULL);
        if (g_str_has_prefix(path, prefix)) {
            gboolean is_folder = g_file_test(path, G_FILE_TEST_IS_DIR);
            g_autofree char *shown = g_strconcat(path, is_folder ? "/" : "", NULL);
            g_strv_builder_add(builder, shown);
        }
    }
    char **all = g_strv_builder_end(builder);
    g_strv_builder_unref(builder);
    return all;
}

static unsigned char
on_tab(EditLine *line, int key)
{
    const LineInfo *info = el_line(line);
    g_auto(GStrv) words = words_before(info->buffer, (gsize)(info->cursor - info->buffer));
    const char *typed = words[g_strv_length(words) - 1];
    g_auto(GStrv) candidates = berth_complete(completer, words);
    if (candidates[0] != NULL && strcmp(candidates[0], ":file") == 0) {
        g_strfreev(candidates);
        candidates = file_candidates(typed);
    }
    if (candidates[0] == NULL) {
        return CC_REFRESH_BEEP;
    }
    g_autofree char *common = common_beginning(candidates);
    gsize have = strlen(typed);
    gboolean only = candidates[1] == NULL;
    if (strlen(common) > have || only) {
        gboolean space = only && !g_str_has_suffix(common, "/");
        g_autofree char *more = g_strconcat(common + have, space ? " " : "", NULL);
        return *more == '\0' || el_insertstr(line, more) < 0 ? CC_REFRESH_BEEP : CC_REFRESH;
    }
    printf("\n");
    for (char **candidate = candidates; *candidate != NULL; candidate++) {
        printf("%s%s", candidate == candidates ? "" : "  ", *candidate);
    }
    printf("\n");
    return CC_REDISPLAY;
}

/* ---- lines ---- */

static void
run_line(const BerthArgs *globals, const char *text)
{
    g_auto(GStrv) words = NULL;
    g_autoptr(GError) problem = NULL;
    if (!g_shell_parse_argv(text, NULL, &words, &problem)) {
        if (!g_error_matches(problem, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING)) {
            fprintf(stderr, "error: %s\n", problem->message);
        }
        return;
    }
    guint skip = strcmp(words[0], "berth") == 0 && words[1] != NULL ? 1 : 0;
    berth_run_words(globals, words + skip, TRUE);
}

static void
read_lines(EditLine *line, History *past, const BerthArgs *globals)
{
    HistEvent event;
    quitting = FALSE;
    while (!quitting) {
        int length = 0;
        const char *text = el_gets(line, &length);
        if (berth_interrupted()) {
            berth_interrupt_clear();
            el_reset(line);
            printf("\n");
            continue;
        }
        if (text == NULL || length <= 0) {
            printf("\n");
            return;
        }
        g_autofree char *copy = g_strchomp(g_strdup(text));
        if (*copy == '\0') {
            continue;
        }
        history(past, &event, H_ENTER, copy);
        run_line(globals, copy);
        berth_interrupt_clear();
    }
}

/**
 * berth_shell_run:
 * @globals: (nullable): options that stood before
 *
 * Returns: the exit code of the shell.
 */
int
berth_shell_run(const BerthArgs *globals)
{
    g_autoptr(GError) error = NULL;
    completer = berth_session_new(globals, NULL, TRUE, &error);
    if (completer == NULL) {
        berth_print_error(error);
        return berth_exit_code_of(error);
    }
    g_autofree char *path = berth_settings_history_path();
    g_autofree char *folder = g_path_get_dirname(path);
    HistEvent event;
    History *past = history_init();
    history(past, &event, H_SETSIZE, HISTORY_LINES);
    history(past, &event, H_SETUNIQUE, 1);
    history(past, &event, H_LOAD, path);
    EditLine *line = el_init("berth", stdin, stdout, stderr);
    el_set(line, EL_PROMPT, prompt);
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_HIST, history, past);
    /* the narrow variant would copy the names and never free them */
    el_wset(line, EL_ADDFN, L"berth-complete", L"complete the word", on_tab);
    el_set(line, EL_BIND, "^I", "berth-complete", NULL);
    el_set(line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    printf("Welcome to berth, the shell of the data-centre computer.\n\n"
           "Type:  'help' for help with commands\n       'quit' to quit\n\n");
    read_lines(line, past, globals);
    if (g_mkdir_with_parents(folder, 0700) == 0) {
        mode_t mask = umask(077);
        history(past, &event, H_SAVE, path);
        umask(mask);
    }
    el_end(line);
    history_end(past);
    g_clear_pointer(&completer, berth_session_free);
    return BERTH_EXIT_OK;
}
