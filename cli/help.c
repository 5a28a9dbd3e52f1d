/* Every text about commands, made from the tables: what is not in a table is not documented, and what
 * is in a table can't be forgotten. Pure. */
#include "cli/help.h"

#include <string.h>

#include "cli/exit-code.h"

#define PAIR_WIDTH 24
#define LINE_WIDTH 79

/* ---- pieces ---- */

/* "-o, --output FORMAT", and the doc in a column of its own. */
static char *
option_title(const BerthOption *option)
{
    GString *title = g_string_new(NULL);
    if (option->letter != 0) {
        g_string_append_printf(title, "-%c, ", option->letter);
    }
    g_string_append_printf(title, "--%s", option->name);
    if (option->type == BERTH_OPTION_WAIT) {
        g_string_append(title, "[=SECONDS]");
    } else if (option->choices != NULL) {
        g_autofree char *all = g_strjoinv("|", (char **)option->choices);
        g_string_append_printf(title, " %s", all);
    } else if (option->value != NULL) {
        g_string_append_printf(title, " %s", option->value);
    }
    return g_string_free(title, FALSE);
}

/* @text broken between words, all lines but the first behind @indent blanks; no line end at its own end. */
static void
append_words(GString *out, const char *text, int indent)
{
    g_auto(GStrv) words = g_strsplit_set(text, " \n", -1);
    glong column = 0;
    for (char **word = words; *word != NULL; word++) {
        glong width = g_utf8_strlen(*word, -1);
        if (column > 0 && indent + column + 1 + width > LINE_WIDTH) {
            g_string_append_printf(out, "\n%*s", indent, "");
            column = 0;
        }
        g_string_append_printf(out, "%s%s", column > 0 ? " " : "", *word);
        column += width + (column > 0);
    }
}

static void
append_wrapped(GString *out, const char *text)
{
    g_auto(GStrv) paragraphs = g_strsplit(text, "\n\n", -1);
    for (char **paragraph = paragraphs; *paragraph != NULL; paragraph++) {
        append_words(out, *paragraph, 0);
        g_string_append(out, paragraph[1] != NULL ? "\n\n" : "\n");
    }
}

static void
append_pair(GString *out, const char *title, const char *doc)
{
    glong width = g_utf8_strlen(title, -1);
    if (width > PAIR_WIDTH) {
        g_string_append_printf(out, "  %s\n  %*s  ", title, PAIR_WIDTH, "");
    } else {
        g_string_append_printf(out, "  %s%*s  ", title, (int)(PAIR_WIDTH - width), "");
    }
    append_words(out, doc, PAIR_WIDTH + 4);
    g_string_append_c(out, '\n');
}

static void
append_options(GString *out, const char *heading, const BerthOption *options)
{
    if (options == NULL || options->name == NULL) {
        return;
    }
    g_string_append_printf(out, "\n%s:\n", heading);
    for (; options->name != NULL; options++) {
        g_autofree char *title = option_title(options);
        append_pair(out, title, options->doc);
    }
}

static char *
argument_title(const BerthArgument *argument)
{
    const char *dots = argument->rest ? "…" : "";
    return argument->optional ? g_strdup_printf("[%s%s]", argument->name, dots)
                              : g_strdup_printf("<%s>%s", argument->name, dots);
}

/** Returns: (transfer full): @text, its long lines broken between words and indented as they begin. */
char *
berth_help_wrap(const char *text)
{
    GString *out = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        int indent = (int)strspn(*line, " ");
        if (g_utf8_strlen(*line, -1) <= LINE_WIDTH) {
            g_string_append(out, *line);
        } else {
            g_string_append_printf(out, "%*s", indent, "");
            append_words(out, *line + indent, indent);
        }
        g_string_append(out, line[1] != NULL ? "\n" : "");
    }
    return g_string_free(out, FALSE);
}

/* ---- help ---- */

/** Returns: (transfer full): "berth start <domain> [--wait[=SECONDS]]" */
char *
berth_help_usage(const BerthCommand *command)
{
    GString *out = g_string_new("berth ");
    g_string_append(out, command->name);
    if (command->options != NULL && command->options->name != NULL) {
        g_string_append(out, " [options]");
    }
    const BerthArgument *argument = command->arguments;
    for (; argument != NULL && argument->name != NULL; argument++) {
        g_autofree char *title = argument_title(argument);
        g_string_append_printf(out, " %s", title);
    }
    return g_string_free(out, FALSE);
}

static void
append_arguments(GString *out, const BerthArgument *argument)
{
    if (argument == NULL || argument->name == NULL) {
        return;
    }
    g_string_append(out, "\nArguments:\n");
    for (; argument->name != NULL; argument++) {
        g_autofree char *title = argument_title(argument);
        append_pair(out, title, argument->doc);
    }
}

/** Returns: (transfer full): all about one command. */
char *
berth_help_command(const BerthCommand *command)
{
    GString *out = g_string_new(NULL);
    g_autofree char *usage = berth_help_usage(command);
    g_string_append_printf(out, "%s\n\nUsage: %s\n", command->doc, usage);
    if (command->alias != NULL) {
        g_string_append_printf(out, "Also called: berth %s\n", command->alias);
    }
    if (command->about != NULL) {
        g_string_append_c(out, '\n');
        append_wrapped(out, command->about);
    }
    append_arguments(out, command->arguments);
    append_options(out, "Options", command->options);
    if (command->example != NULL) {
        g_auto(GStrv) lines = g_strsplit(command->example, "\n", -1);
        g_string_append(out, "\nExamples:\n");
        for (char **line = lines; *line != NULL; line++) {
            g_string_append_printf(out, "  %s\n", *line);
        }
    }
    g_string_append(out, "\nOptions of every command: see berth help.\n");
    return g_string_free(out, FALSE);
}

/** Returns: (transfer full): the commands that begin with @word ("host"). */
char *
berth_help_group(const char *word)
{
    GString *out = g_string_new(NULL);
    gsize length = strlen(word);
    g_string_append_printf(out, "Usage: berth %s COMMAND …\n\n", word);
    BERTH_EACH_COMMAND(command)
    {
        if (strncmp(command->name, word, length) == 0 && command->name[length] == ' ') {
            append_pair(out, command->name, command->doc);
        }
    }
    return g_string_free(out, FALSE);
}

/** Returns: (transfer full): all commands by group, and the options of every command. */
char *
berth_help_overview(void)
{
    GString *out = g_string_new("berth runs virtual machines and containers side by side on plain "
                                "libvirt hosts.\n\nUsage: berth [options] COMMAND …\n");
    const char *group = NULL;
    BERTH_EACH_COMMAND(command)
    {
        if (command->hidden) {
            continue;
        }
        if (g_strcmp0(group, command->group) != 0) {
            group = command->group;
            g_string_append_printf(out, "\n%s:\n", group);
        }
        append_pair(out, command->name, command->doc);
    }
    append_options(out, "Options of every command", berth_global_options);
    g_string_append(out, "\nberth help COMMAND tells more. Without a command on a terminal, berth "
                         "is a shell.\n");
    return g_string_free(out, FALSE);
}

/* ---- the man page ---- */

/* Text for troff: backslashes and dashes as they are, no line that begins as a request. */
static char *
troff(const char *text)
{
    GString *out = g_string_new(NULL);
    gboolean line_start = TRUE;
    for (const char *p = text; *p != '\0'; p++) {
        if (line_start && (*p == '.' || *p == '\'')) {
            g_string_append(out, "\\&");
        }
        if (*p == '\\') {
            g_string_append(out, "\\e");
        } else if (*p == '-') {
            g_string_append(out, "\\-");
        } else {
            g_string_append_c(out, *p);
        }
        line_start = *p == '\n';
    }
    return g_string_free(out, FALSE);
}

static void
man_pair(GString *out, const char *title, const char *doc)
{
    g_autofree char *left = troff(title);
    g_autofree char *right = troff(doc);
    g_string_append_printf(out, ".TP\n\\fB%s\\fR\n%s\n", left, right);
}

static void
man_options(GString *out, const BerthOption *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        g_autofree char *title = option_title(options);
        man_pair(out, title, options->doc);
    }
}

static void
man_command(GString *out, const BerthCommand *command)
{
    g_autofree char *usage = berth_help_usage(command);
    g_autofree char *title = troff(usage);
    g_autofree char *doc = troff(command->doc);
    g_string_append_printf(out, ".SS \"%s\"\n%s\n", title, doc);
    if (command->about != NULL) {
        g_auto(GStrv) paragraphs = g_strsplit(command->about, "\n\n", -1);
        for (char **p = paragraphs; *p != NULL; p++) {
            g_autofree char *text = troff(*p);
            g_string_append_printf(out, ".PP\n%s\n", text);
        }
    }
    const BerthArgument *argument = command->arguments;
    for (; argument != NULL && argument->name != NULL; argument++) {
        g_autofree char *name = argument_title(argument);
        man_pair(out, name, argument->doc);
    }
    man_options(out, command->options);
    if (command->example != NULL) {
        g_autofree char *text = troff(command->example);
        g_string_append_printf(out, ".PP\n.nf\n.RS\n%s\n.RE\n.fi\n", text);
    }
}

static void
man_files(GString *out)
{
    static const char *const pairs[][2] = {
        {"BERTH_SOCKET", "Path of the daemon's unix socket."},
        {"BERTH_CONNECT", "Where the daemon is: a path, unix:///PATH or https://HOST:PORT."},
        {"BERTH_CONTEXT", "The context of the configuration file to use."},
        {"BERTH_PROJECT", "The project, where no --project is given."},
        {"BERTH_TOKEN", "The token for a daemon on TCP."},
        {"BERTH_CA, BERTH_CERTIFICATE, BERTH_KEY", "PEM files for a daemon on TCP."},
        {"BERTH_CONFIG", "Another configuration file."},
    };
    g_string_append(out, ".SH ENVIRONMENT\n");
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
        man_pair(out, pairs[i][0], pairs[i][1]);
    }
    g_string_append(
        out,
        ".SH FILES\n.TP\n\\fB~/.config/berth/config\\fR\nContexts: where daemons are and how to be "
        "let in. Nobody else may be able to read it (mode 0600), or it is refused.\n.PP\n.nf\n.RS\n"
        "[berth]\ncontext = work\n\n[context work]\nconnect = https://berth.example:7420\n"
        "ca = /home/me/berth/ca.pem\ntoken_file = /home/me/berth/token\nproject = shop\n"
        ".RE\n.fi\n.PP\nKeys of a context: connect, project, ca, certificate, key, token, "
        "token_file.\n.TP\n\\fB~/.cache/berth/history\\fR\nWhat was typed in the shell.\n");
}

/** Returns: (transfer full): berth(1) as troff. */
char *
berth_help_man(void)
{
    GString *out = g_string_new(
        ".TH BERTH 1 \"\" \"Berth\" \"Berth\"\n.SH NAME\nberth \\- run virtual machines and "
        "containers on libvirt hosts\n.SH SYNOPSIS\n.B berth\n[options] COMMAND ...\n.PP\n.B "
        "berth\n.SH DESCRIPTION\nberth speaks to berthd(8). Commands have virsh's names where "
        "virsh "
        "has the command, and work on VMs and pods alike. A workload is named by its name, by its "
        "domain's name in libvirt, or by its UUID. Without a command on a terminal berth is a "
        "shell: "
        "the same commands without the word berth, with completion and history.\n"
        ".SH \"OPTIONS OF EVERY COMMAND\"\n");
    man_options(out, berth_global_options);
    const char *group = NULL;
    BERTH_EACH_COMMAND(command)
    {
        if (command->hidden) {
            continue;
        }
        if (g_strcmp0(group, command->group) != 0) {
            group = command->group;
            g_autofree char *upper = g_ascii_strup(group, -1);
            g_string_append_printf(out, ".SH \"%s\"\n", upper);
        }
        man_command(out, command);
    }
    g_string_append(out, ".SH \"EXIT STATUS\"\n");
    for (const BerthExitDoc *doc = berth_exit_docs; doc->code != NULL; doc++) {
        man_pair(out, doc->code, doc->doc);
    }
    man_files(out);
    g_string_append(out, ".SH \"SEE ALSO\"\nberthd(8), berthd.conf(5), virsh(1)\n");
    return g_string_free(out, FALSE);
}

/* ---- completion ---- */

/**
 * berth_help_completion:
 *
 * Returns: (transfer full): the script for bash. It asks `berth complete`, whose answer is lines of
 * candidates; they are never evaluated, whatever a server may have put into names.
 */
char *
berth_help_completion(void)
{
    return g_strdup(
        "# bash completion for berth; made by `berth --print-completion`.\n"
        "_berth()\n"
        "{\n"
        "    local line\n"
        "    COMPREPLY=()\n"
        "    while IFS= read -r line; do\n"
        "        if [ \"$line\" = ':file' ]; then\n"
        "            while IFS= read -r line; do\n"
        "                COMPREPLY+=(\"$line\")\n"
        "            done < <(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
        "        else\n"
        "            COMPREPLY+=(\"$line\")\n"
        "        fi\n"
        "    done < <(\"${COMP_WORDS[0]}\" complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" "
        "2>/dev/null)\n"
        "}\n"
        "complete -o filenames -o bashdefault -F _berth berth\n");
}
