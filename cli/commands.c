/* THE table of commands: each cmd-<group>.c adds its rows, in the order of the help. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/complete.h"
#include "cli/help.h"
#include "cli/shell.h"
#include "model/object.h"

const BerthCommand *const berth_command_tables[] = {
    berth_run_commands,      berth_stream_commands,
    berth_workload_commands, berth_console_commands,
    berth_vm_commands,       berth_image_commands,
    berth_object_commands,   berth_apply_commands,
    berth_set_commands,      berth_host_commands,
    berth_network_commands,  berth_placement_commands,
    berth_capacity_commands, berth_fleet_commands,
    berth_shell_commands,    NULL,
};

const BerthOption berth_global_options[] = {
    {"connect", 'c', BERTH_OPTION_TEXT, "WHERE",
     "the daemon: a socket's path or https://HOST:PORT"},
    {"context", 0, BERTH_OPTION_TEXT, "NAME", "context of ~/.config/berth/config", NULL,
     BERTH_COMPLETE_CONTEXT},
    {"project", 'P', BERTH_OPTION_TEXT, "NAME", "project; without it the context's, or default",
     NULL, BERTH_COMPLETE_PROJECT},
    {"output", 'o', BERTH_OPTION_CHOICE, NULL, "how results are printed", berth_output_names},
    {"quiet", 'q', BERTH_OPTION_FLAG, NULL, "only results and errors, no progress"},
    {"help", 0, BERTH_OPTION_FLAG, NULL, "help on the command"},
    {"version", 'V', BERTH_OPTION_FLAG, NULL, "version of this program"},
    {NULL},
};

/* ---- what commands share ---- */

/**
 * berth_labels_parse:
 * @pairs: "key=value"; "key" alone has an empty value
 * @labels: (out) (transfer full): an object of strings
 */
gboolean
berth_labels_parse(char *const *pairs, json_t **labels, GError **error)
{
    g_autoptr(json_t) object = json_object();
    for (; *pairs != NULL; pairs++) {
        const char *equals = strchr(*pairs, '=');
        g_autofree char *key =
            equals != NULL ? g_strndup(*pairs, (gsize)(equals - *pairs)) : g_strdup(*pairs);
        if (*key == '\0' ||
            json_object_set_new(object, key, json_string(equals != NULL ? equals + 1 : "")) < 0) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "for example tier=front",
                               "'%s' is no label", *pairs);
            return FALSE;
        }
    }
    *labels = g_steal_pointer(&object);
    return TRUE;
}

/* ---- help, completion, the shell ---- */

static int
run_help(BerthSession *session, const BerthArgs *args, GError **error)
{
    char **words = (char **)berth_args_list(args, "command");
    guint used;
    if (words[0] == NULL) {
        g_autofree char *text = berth_help_overview();
        berth_session_put(session, text);
        return BERTH_EXIT_OK;
    }
    const BerthCommand *command = berth_command_find(words, &used);
    g_autofree char *text = command != NULL                    ? berth_help_command(command)
                            : berth_command_is_group(words[0]) ? berth_help_group(words[0])
                                                               : NULL;
    if (text == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "berth help lists the commands",
                           "there is no command '%s'", words[0]);
        return BERTH_FAILED;
    }
    berth_session_put(session, text);
    return BERTH_EXIT_OK;
}

static int
run_complete(BerthSession *session, const BerthArgs *args, GError **error)
{
    char **words = (char **)berth_args_list(args, "words");
    g_auto(GStrv) candidates = berth_complete(session, words);
    for (char **candidate = candidates; *candidate != NULL; candidate++) {
        printf("%s\n", *candidate);
    }
    return BERTH_EXIT_OK;
}

static int
run_shell(BerthSession *session, const BerthArgs *args, GError **error)
{
    if (session->in_shell) {
        return BERTH_EXIT_OK;
    }
    return berth_shell_run(args);
}

static int
run_quit(BerthSession *session, const BerthArgs *args, GError **error)
{
    berth_shell_quit();
    return BERTH_EXIT_OK;
}

static const BerthArgument help_arguments[] = {
    {"command", "the command", .optional = TRUE, .rest = TRUE, .complete = BERTH_COMPLETE_COMMAND},
    {NULL},
};
static const BerthArgument complete_arguments[] = {
    {"words", "the words so far", .optional = TRUE, .rest = TRUE},
    {NULL},
};

const BerthCommand berth_shell_commands[] = {
    {.name = "help",
     .group = BERTH_GROUP_SHELL,
     .doc = "help on commands",
     .run = run_help,
     .arguments = help_arguments},
    {.name = "shell", .group = BERTH_GROUP_SHELL, .doc = "the interactive shell", .run = run_shell},
    {.name = "quit",
     .group = BERTH_GROUP_SHELL,
     .doc = "leave the shell",
     .run = run_quit,
     .alias = "exit"},
    {.name = "complete",
     .group = BERTH_GROUP_SHELL,
     .doc = "candidates for the last of the words; for completion scripts",
     .run = run_complete,
     .arguments = complete_arguments,
     .verbatim = TRUE,
     .hidden = TRUE},
    {NULL},
};
