/* The few commands that tests of the control plane run in containers: echo, exit, sleep, yes, seq, cat,
 * garbage noise|huge|repeat|silent (the guest itself turns hostile), true, false, uname, hostname, env, and sh. In a script, parts are separated by ';', '&&' or line ends;
 * '>&2' sends the output to the error stream; quotes hold words together. A command that is none of
 * these runs until a signal when it is the container's own, as a server would, and is "not found" in a
 * script. Pure. Start at sim_script_command(). */
#include "tests/simhost/script.h"

#include <string.h>

#define FOREVER_US (G_MAXINT64 / 2)

void
sim_step_free(SimStep *step)
{
    g_free(step->text);
    g_free(step);
}

static void
add(GQueue *steps, SimStepKind kind, int fd, char *text, gint64 number)
{
    SimStep *step = g_new(SimStep, 1);
    *step = (SimStep){kind, fd, text, number};
    g_queue_push_tail(steps, step);
}

static void
add_status(GQueue *steps, gint64 status)
{
    add(steps, SIM_STEP_STATUS, 0, NULL, status);
}

typedef void (*Command)(GQueue *steps, const char *const *args, int fd,
                        const SimScriptContext *context);

static void
do_echo(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    gboolean no_newline = args[0] != NULL && strcmp(args[0], "-n") == 0;
    g_autofree char *line = g_strjoinv(" ", (char **)args + no_newline);
    add(steps, SIM_STEP_SAY, fd, g_strconcat(line, no_newline ? "" : "\n", NULL), 0);
    add_status(steps, 0);
}

static void
do_exit(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    add(steps, SIM_STEP_EXIT, 0, NULL, args[0] != NULL ? g_ascii_strtoll(args[0], NULL, 10) : -1);
}

static void
do_sleep(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    double seconds = args[0] != NULL ? g_ascii_strtod(args[0], NULL) : 0;
    gboolean is_endless = seconds > 1e9 || g_strcmp0(args[0], "infinity") == 0;
    add(steps, SIM_STEP_SLEEP, 0, NULL, is_endless ? FOREVER_US : (gint64)(seconds * 1e6));
    add_status(steps, 0);
}

static void
do_yes(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    add(steps, SIM_STEP_REPEAT, fd, g_strconcat(args[0] != NULL ? args[0] : "y", "\n", NULL), 0);
}

static void
do_seq(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    const char *last = args[0] != NULL && args[1] != NULL ? args[1] : args[0];
    add(steps, SIM_STEP_COUNT, fd, NULL, last != NULL ? g_ascii_strtoll(last, NULL, 10) : 0);
    add_status(steps, 0);
}

static void
do_cat(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    add(steps, SIM_STEP_COPY, fd, NULL, 0);
    add_status(steps, 0);
}

static void
do_true(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    add_status(steps, 0);
}

static void
do_false(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    add_status(steps, 1);
}

static void
do_uname(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    add(steps, SIM_STEP_SAY, fd, g_strdup("6.1.0-simhost\n"), 0);
    add_status(steps, 0);
}

static void
do_hostname(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    add(steps, SIM_STEP_SAY, fd, g_strconcat(context->hostname, "\n", NULL), 0);
    add_status(steps, 0);
}

static void
do_env(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    for (const char *const *line = context->env; line != NULL && *line != NULL; line++) {
        add(steps, SIM_STEP_SAY, fd, g_strconcat(*line, "\n", NULL), 0);
    }
    add_status(steps, 0);
}

static void
do_sh(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    if (args[0] != NULL && strcmp(args[0], "-c") == 0 && args[1] != NULL) {
        sim_script_line(steps, args[1], context);
    } else {
        add(steps, SIM_STEP_SHELL, 0, NULL, 0);
    }
}

static void
do_garbage(GQueue *steps, const char *const *args, int fd, const SimScriptContext *context)
{
    static const char *const kinds[] = {"none", "noise", "huge", "repeat", "silent"};
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_strcmp0(args[0], kinds[i]) == 0) {
            add(steps, SIM_STEP_GARBAGE, 0, NULL, i);
        }
    }
    add(steps, SIM_STEP_FOREVER, 0, NULL, 0);
}

static const struct {
    const char *name;
    Command run;
} commands[] = {
    {"echo", do_echo},   {"exit", do_exit},         {"sleep", do_sleep}, {"yes", do_yes},
    {"seq", do_seq},     {"cat", do_cat},           {"true", do_true},   {"false", do_false},
    {"uname", do_uname}, {"hostname", do_hostname}, {"env", do_env},     {"sh", do_sh},
    {"bash", do_sh},     {"garbage", do_garbage},
};

static Command
find_command(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash != NULL ? slash + 1 : name;
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(base, commands[i].name) == 0) {
            return commands[i].run;
        }
    }
    return NULL;
}

/* Takes '>&2' off the end of @words. */
static int
take_redirection(GPtrArray *words)
{
    if (words->len > 0 && (strcmp(words->pdata[words->len - 1], ">&2") == 0 ||
                           strcmp(words->pdata[words->len - 1], "1>&2") == 0)) {
        g_ptr_array_set_size(words, (int)words->len - 1);
        return 2;
    }
    return 1;
}

static void
run_words(GQueue *steps, GPtrArray *words, const SimScriptContext *context)
{
    int fd = take_redirection(words);
    if (words->len == 0) {
        return;
    }
    const char *name = words->pdata[0];
    Command run = find_command(name);
    g_ptr_array_add(words, NULL);
    if (run != NULL) {
        run(steps, (const char *const *)words->pdata + 1, fd, context);
    } else {
        add(steps, SIM_STEP_SAY, 2, g_strdup_printf("sh: %s: not found\n", name), 0);
        add_status(steps, 127);
    }
    g_ptr_array_set_size(words, 0);
}

static gboolean
ends_command(const char *at)
{
    return *at == ';' || *at == '\n' || *at == '\0' || strncmp(at, "&&", 2) == 0;
}

/* One word from @at, quotes taken off. Returns: where it ends. */
static const char *
take_word(const char *at, GString *word)
{
    char quote = '\0';
    for (; *at != '\0'; at++) {
        if (quote == '\0' && (*at == ' ' || *at == '\t' || ends_command(at))) {
            break;
        }
        if (quote == '\0' && (*at == '\'' || *at == '"')) {
            quote = *at;
        } else if (*at == quote) {
            quote = '\0';
        } else {
            g_string_append_c(word, *at);
        }
    }
    return at;
}

/** Appends the steps of a shell's line, or of several, to @steps. */
void
sim_script_line(GQueue *steps, const char *line, const SimScriptContext *context)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    while (TRUE) {
        if (ends_command(line)) {
            run_words(steps, words, context);
            if (*line == '\0') {
                return;
            }
            line += *line == '&' ? 2 : 1;
        } else if (*line == ' ' || *line == '\t') {
            line++;
        } else {
            GString *word = g_string_new(NULL);
            line = take_word(line, word);
            g_ptr_array_add(words, g_string_free(word, FALSE));
        }
    }
}

/** Appends the steps of a container's own command to @steps; no command runs until a signal. */
void
sim_script_command(GQueue *steps, const char *const *args, const SimScriptContext *context)
{
    Command run = args[0] != NULL ? find_command(args[0]) : NULL;
    if (run != NULL) {
        run(steps, args + 1, 1, context);
    } else {
        add(steps, SIM_STEP_FOREVER, 0, NULL, 0);
    }
}
