/* From words to a command that runs, and from errors to what a person reads. Main thread. */
#include "cli/session.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/escape.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "model/schema.h"

/* An option of the command line wins where it stands: behind the command over before it. */
static const char *
pick(const BerthArgs *args, const BerthArgs *globals, const char *name)
{
    const char *own = args != NULL ? berth_args_get(args, name) : NULL;
    return own != NULL ? own : globals != NULL ? berth_args_get(globals, name) : NULL;
}

static BerthOutput
find_output(const char *name)
{
    for (guint i = 0; name != NULL && berth_output_names[i] != NULL; i++) {
        if (strcmp(berth_output_names[i], name) == 0) {
            return i;
        }
    }
    return BERTH_OUTPUT_TABLE;
}

/**
 * berth_session_new:
 * @globals: (nullable): options before the command
 * @args: (nullable): options behind it
 *
 * Returns: (transfer full): a session; nothing is connected yet. Errors: as berth_settings_load().
 */
BerthSession *
berth_session_new(const BerthArgs *globals, const BerthArgs *args, gboolean in_shell,
                  GError **error)
{
    const BerthSettingsChoice choice = {pick(args, globals, "connect"),
                                        pick(args, globals, "context"),
                                        pick(args, globals, "project")};
    g_autoptr(BerthSession) session = g_new0(BerthSession, 1);
    session->settings = berth_settings_load(&choice, error);
    if (session->settings == NULL) {
        return NULL;
    }
    session->client = berth_client_new(session->settings, error);
    if (session->client == NULL) {
        return NULL;
    }
    session->output = find_output(pick(args, globals, "output"));
    session->quiet = (args != NULL && berth_args_has(args, "quiet")) ||
                     (globals != NULL && berth_args_has(globals, "quiet"));
    session->in_shell = in_shell;
    session->now_us = g_get_real_time();
    return g_steal_pointer(&session);
}

void
berth_session_free(BerthSession *session)
{
    if (session != NULL) {
        berth_client_free(session->client);
        berth_settings_free(session->settings);
        g_free(session);
    }
}

/** Prints @text as it is. */
void
berth_session_put(BerthSession *session, const char *text)
{
    fputs(text, stdout);
}

static void
put_line(const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autofree char *safe = berth_escape_text(text);
    printf("%s\n", safe);
}

/** Prints a line that tells a person what was done; not with --quiet. Escaped. */
void
berth_session_say(BerthSession *session, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!session->quiet) {
        put_line(format, args);
    }
    va_end(args);
}

/** Prints a line that is what was asked for, whatever --quiet says. Escaped. */
void
berth_session_tell(BerthSession *session, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_line(format, args);
    va_end(args);
}

/** Returns: whether the user asked for JSON or YAML. */
gboolean
berth_session_wants_value(const BerthSession *session)
{
    return session->output == BERTH_OUTPUT_JSON || session->output == BERTH_OUTPUT_YAML;
}

/** Prints @value as YAML with -o yaml, as JSON otherwise. */
void
berth_session_put_value(BerthSession *session, const json_t *value)
{
    g_autofree char *text = berth_print_value(value, session->output);
    fputs(text, stdout);
}

static void
put_names(const json_t *objects)
{
    gsize i;
    json_t *object;
    json_array_foreach ((json_t *)objects, i, object) {
        const char *name = json_string_value(berth_json_at(object, "/metadata/name"));
        g_autofree char *safe = berth_escape_text(name);
        printf("%s\n", safe);
    }
}

/** Prints an array of objects the way -o says. */
void
berth_session_put_objects(BerthSession *session, const json_t *objects, const BerthColumn *columns)
{
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, objects);
    } else if (session->output == BERTH_OUTPUT_NAME) {
        put_names(objects);
    } else {
        g_autofree char *text = berth_print_objects(
            objects, columns, session->output == BERTH_OUTPUT_WIDE, session->now_us);
        fputs(text, stdout);
    }
}

/* ---- errors ---- */

/** Prints "error: …" and, when there is one, "hint: …" on stderr. */
void
berth_print_error(const GError *error)
{
    fflush(stdout);
    const char *pointer = berth_error_pointer(error);
    const char *hint = berth_error_hint(error);
    g_autofree char *text = berth_escape_text(error->message);
    if (pointer != NULL && *pointer != '\0') {
        g_autofree char *place = berth_escape_text(pointer);
        fprintf(stderr, "error: %s: %s\n", place, text);
    } else {
        fprintf(stderr, "error: %s\n", text);
    }
    if (hint != NULL && *hint != '\0') {
        g_autofree char *safe = berth_escape_text(hint);
        fprintf(stderr, "hint: %s\n", safe);
    }
}

/** Prints "warning: …" on stderr; escaped. */
void
berth_print_warning(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *safe = berth_escape_text(text);
    fflush(stdout);
    fprintf(stderr, "warning: %s\n", safe);
}

static int
fail(const GError *error)
{
    berth_print_error(error);
    return berth_exit_code_of(error);
}

/* ---- running ---- */

/**
 * berth_note_problem:
 * @problem: (transfer full) (nullable)
 *
 * Of several things that are all tried: the first failure is the command's, others are printed at once.
 */
void
berth_note_problem(GError *problem, GError **error)
{
    if (problem != NULL && *error == NULL) {
        g_propagate_error(error, problem);
    } else if (problem != NULL) {
        berth_print_error(problem);
        g_error_free(problem);
    }
}

/**
 * berth_each_name:
 * @argument: of the command, which takes several names
 *
 * Begins with all names before it waits for one, so that what takes time is done side by side. All are tried,
 * until ^C.
 *
 * Returns: the exit code so far, BERTH_FAILED with @error.
 */
int
berth_each_name(BerthSession *session, const BerthArgs *args, const char *argument,
                const BerthNameVerb *verb, GError **error)
{
    g_autoptr(json_t) begun = json_array();
    for (char *const *name = berth_args_list(args, argument); *name != NULL; name++) {
        GError *problem = NULL;
        json_t *one = verb->begin(session, args, *name, &problem);
        if (one != NULL) {
            json_array_append_new(begun, one);
        }
        berth_note_problem(problem, error);
    }
    for (gsize i = 0; i < json_array_size(begun) && !berth_interrupted(); i++) {
        GError *problem = NULL;
        verb->end(session, args, json_array_get(begun, i), &problem);
        berth_note_problem(problem, error);
    }
    return *error == NULL ? BERTH_EXIT_OK : BERTH_FAILED;
}

static int
unknown_command(const char *word)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    BERTH_EACH_COMMAND(command)
    {
        g_ptr_array_add(names, (gpointer)command->name);
    }
    g_ptr_array_add(names, NULL);
    const char *near = berth_suggest(word, (const char *const *)names->pdata);
    g_autofree char *safe = berth_escape_text(word);
    fprintf(stderr, "error: unknown command: '%s'\n", safe);
    if (near != NULL) {
        fprintf(stderr, "hint: did you mean '%s'?\n", near);
    } else {
        fprintf(stderr, "hint: berth help lists the commands\n");
    }
    return BERTH_EXIT_USAGE;
}

/* run and exec promise docker's codes: what fails before the command starts is 125. */
static int
exit_code_for(const BerthCommand *command, const GError *error)
{
    gboolean runs = strcmp(command->name, "run") == 0 || strcmp(command->name, "exec") == 0;
    return runs ? BERTH_EXIT_RUN_FAILED : berth_exit_code_of(error);
}

static int
run_command(const BerthCommand *command, const BerthArgs *globals, const BerthArgs *args,
            gboolean in_shell)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthSession) session = berth_session_new(globals, args, in_shell, &error);
    if (session == NULL) {
        return fail(error);
    }
    int code = command->run(session, args, &error);
    if (code == BERTH_FAILED) {
        berth_print_error(error);
        code = exit_code_for(command, error);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "error: cannot write the output: %s\n", g_strerror(errno));
        clearerr(stdout);
        return code != BERTH_EXIT_OK ? code : BERTH_EXIT_FAILED;
    }
    return code;
}

/**
 * berth_run_words:
 * @globals: (nullable): options that stood before the command
 * @words: command and what belongs to it, NULL-terminated
 *
 * Returns: the exit code; errors were printed.
 */
int
berth_run_words(const BerthArgs *globals, char **words, gboolean in_shell)
{
    guint used;
    const BerthCommand *command = berth_command_find(words, &used);
    if (command == NULL) {
        if (!berth_command_is_group(words[0])) {
            return unknown_command(words[0]);
        }
        g_autofree char *text = berth_help_group(words[0]);
        gboolean asked = words[1] == NULL || strcmp(words[1], "--help") == 0;
        fputs(text, asked ? stdout : stderr);
        return asked ? BERTH_EXIT_OK : BERTH_EXIT_USAGE;
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthArgs) args = berth_args_parse(command, words + used, &error);
    if (args == NULL) {
        fail(error);
        return strcmp(command->name, "run") == 0 ? BERTH_EXIT_RUN_FAILED : BERTH_EXIT_USAGE;
    }
    if (berth_args_has(args, "help")) {
        g_autofree char *text = berth_help_command(command);
        fputs(text, stdout);
        return BERTH_EXIT_OK;
    }
    return run_command(command, globals, args, in_shell);
}
