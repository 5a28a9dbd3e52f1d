/* Candidates for the last word, from the command tables and, for names, from the daemon.
 *
 * Invariant: a candidate from a server holds only characters that no shell gives a meaning; others are
 * left out. A daemon that does not answer within two seconds has no candidates. */
#include "cli/complete.h"

#include <string.h>

#include "cli/resolve.h"
#include "model/kinds.h"

#define ANSWER_S 2

typedef struct {
    BerthSession *session;
    const char *prefix; /* the last word, as far as it is typed */
    GPtrArray *found;   /* owned strings */
} Completion;

static void
offer(Completion *completion, const char *word)
{
    if (word != NULL && g_str_has_prefix(word, completion->prefix) &&
        !g_ptr_array_find_with_equal_func(completion->found, word, g_str_equal, NULL)) {
        g_ptr_array_add(completion->found, g_strdup(word));
    }
}

static gboolean
is_harmless(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (!g_ascii_isalnum(*p) && strchr("._:/@-", *p) == NULL) {
            return FALSE;
        }
    }
    return *text != '\0' && *text != '-';
}

/* ---- names of objects ---- */

static void
offer_objects(Completion *completion, const BerthKind *kind, const char *pointer)
{
    g_autofree char *collection = berth_collection_path(completion->session, kind);
    g_autofree char *path = g_strconcat(collection, "?limit=500", NULL);
    const BerthRequestOptions options = {.timeout_s = ANSWER_S};
    g_autoptr(BerthReply) reply =
        berth_client_call(completion->session->client, "GET", path, &options, NULL);
    gsize i;
    json_t *object;
    if (reply == NULL) {
        return;
    }
    json_array_foreach (json_object_get(reply->body, "items"), i, object) {
        const char *name = json_string_value(berth_json_at(object, pointer));
        if (name != NULL && is_harmless(name)) {
            offer(completion, name);
        }
    }
}

static void
offer_kinds(Completion *completion, const char *separator)
{
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (!berth_kinds[i]->hidden) {
            g_autofree char *lower = g_ascii_strdown(berth_kinds[i]->name, -1);
            g_autofree char *word = g_strconcat(lower, separator, NULL);
            offer(completion, word);
        }
    }
}

/* "pod.spec.cont": the fields of what stands before the last dot. */
static void
offer_fields(Completion *completion)
{
    const char *dot = strrchr(completion->prefix, '.');
    if (dot == NULL) {
        offer_kinds(completion, "");
        return;
    }
    g_autofree char *before = g_strndup(completion->prefix, (gsize)(dot - completion->prefix));
    g_auto(GStrv) parts = g_strsplit(before, ".", -1);
    const BerthKind *kind = berth_kind_find(parts[0]);
    const BerthSchema *schema = NULL;
    if (kind != NULL && parts[1] == NULL) {
        g_autofree char *spec = g_strconcat(before, ".spec", NULL);
        g_autofree char *status = g_strconcat(before, ".status", NULL);
        offer(completion, spec);
        offer(completion, status);
        return;
    }
    for (guint i = 1; kind != NULL && parts[i] != NULL; i++) {
        const BerthField *field =
            i > 1 && schema != NULL ? berth_schema_find(schema, parts[i]) : NULL;
        schema = i == 1 ? (strcmp(parts[1], "spec") == 0 ? kind->spec : kind->status)
                        : (field != NULL ? field->schema : NULL);
    }
    for (gsize i = 0; schema != NULL && i < schema->count; i++) {
        g_autofree char *word = g_strconcat(before, ".", schema->fields[i].name, NULL);
        offer(completion, word);
    }
}

/* The first word of each command, or the second one when @first is given. */
static void
offer_commands(Completion *completion, const char *first)
{
    gsize length = first != NULL ? strlen(first) : 0;
    BERTH_EACH_COMMAND(command)
    {
        if (command->hidden) {
            continue;
        }
        if (first == NULL) {
            g_autofree char *word = g_strndup(command->name, strcspn(command->name, " "));
            offer(completion, word);
        } else if (strncmp(command->name, first, length) == 0 && command->name[length] == ' ') {
            offer(completion, command->name + length + 1);
        }
    }
}

static void
offer_contexts(Completion *completion)
{
    g_auto(GStrv) names = berth_settings_contexts();
    for (char **name = names; *name != NULL; name++) {
        if (is_harmless(*name)) {
            offer(completion, *name);
        }
    }
}

/* @before: the word before the last one, for BERTH_COMPLETE_OBJECT. */
static void
offer_by(Completion *completion, BerthComplete complete, const char *before)
{
    static const struct {
        BerthComplete complete;
        const BerthKind *kind;
        const char *pointer;
    } kinds[] = {
        {BERTH_COMPLETE_WORKLOAD, &berth_kind_pod, "/metadata/name"},
        {BERTH_COMPLETE_WORKLOAD, &berth_kind_vm, "/metadata/name"},
        {BERTH_COMPLETE_POD, &berth_kind_pod, "/metadata/name"},
        {BERTH_COMPLETE_VM, &berth_kind_vm, "/metadata/name"},
        {BERTH_COMPLETE_HOST, &berth_kind_host, "/metadata/name"},
        {BERTH_COMPLETE_IMAGE, &berth_kind_image, "/metadata/name"},
        {BERTH_COMPLETE_REFERENCE, &berth_kind_image, "/spec/reference"},
        {BERTH_COMPLETE_NETWORK, &berth_kind_network, "/metadata/name"},
        {BERTH_COMPLETE_PROJECT, &berth_kind_project, "/metadata/name"},
        {BERTH_COMPLETE_TASK, &berth_kind_task, "/metadata/name"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i].complete == complete) {
            offer_objects(completion, kinds[i].kind, kinds[i].pointer);
        }
    }
    if (complete == BERTH_COMPLETE_FILE) {
        g_ptr_array_add(completion->found, g_strdup(":file"));
    } else if (complete == BERTH_COMPLETE_COMMAND) {
        offer_commands(completion, NULL);
    } else if (complete == BERTH_COMPLETE_KIND) {
        offer_kinds(completion, "");
    } else if (complete == BERTH_COMPLETE_FIELD) {
        offer_fields(completion);
    } else if (complete == BERTH_COMPLETE_CONTEXT) {
        offer_contexts(completion);
    } else if (complete == BERTH_COMPLETE_OBJECT && before != NULL) {
        const BerthKind *kind = berth_kind_find(before);
        if (kind != NULL && !kind->hidden) {
            offer_objects(completion, kind, "/metadata/name");
        }
    }
}

/* ---- where the cursor is ---- */

static const BerthOption *
find_option(const BerthOption *own, const char *word)
{
    gboolean is_long = g_str_has_prefix(word, "--");
    if (word[0] != '-' || word[1] == '\0') {
        return NULL;
    }
    if (is_long) {
        const BerthOption *option = berth_option_find(own, word + 2);
        return option != NULL ? option : berth_option_find(berth_global_options, word + 2);
    }
    char letter = word[strlen(word) - 1];
    const BerthOption *option = berth_option_find_letter(own, letter);
    return option != NULL ? option : berth_option_find_letter(berth_global_options, letter);
}

static gboolean
needs_value(const BerthOption *option)
{
    return option != NULL && option->type != BERTH_OPTION_FLAG && option->type != BERTH_OPTION_WAIT;
}

static void
offer_options(Completion *completion, const BerthOption *own)
{
    const BerthOption *tables[] = {own, berth_global_options};
    for (gsize i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const BerthOption *option = tables[i]; option != NULL && option->name != NULL;
             option++) {
            g_autofree char *word = g_strconcat("--", option->name, NULL);
            offer(completion, word);
        }
    }
}

static void
offer_value(Completion *completion, const BerthOption *option)
{
    for (guint i = 0; option->choices != NULL && option->choices[i] != NULL; i++) {
        offer(completion, option->choices[i]);
    }
    offer_by(completion, option->complete, NULL);
}

/* The argument that stands at @position. */
static const BerthArgument *
argument_at(const BerthCommand *command, guint position)
{
    const BerthArgument *argument = command->arguments;
    for (guint i = 0; argument != NULL && argument->name != NULL; argument++, i++) {
        if (i == position || argument->rest) {
            return argument;
        }
    }
    return NULL;
}

/* @words: behind the command; the last one is the one to complete. */
static void
complete_command(Completion *completion, const BerthCommand *command, char **words, guint count)
{
    guint position = 0;
    const char *first = NULL;
    gboolean options_over = FALSE;
    for (guint i = 0; i + 1 < count; i++) {
        const BerthOption *option = options_over ? NULL : find_option(command->options, words[i]);
        if (needs_value(option)) {
            if (i + 2 == count) {
                offer_value(completion, option);
                return;
            }
            i++;
        } else if (option == NULL && words[i][0] != '-') {
            first = first == NULL ? words[i] : first;
            position++;
            options_over = options_over || command->verbatim;
        }
    }
    if (*completion->prefix == '-' && !options_over) {
        offer_options(completion, command->options);
        return;
    }
    const BerthArgument *argument = argument_at(command, position);
    if (argument != NULL) {
        offer_by(completion, argument->complete, first);
    }
}

/* Skips global options before the command. Returns the index of the command's first word. */
static guint
skip_globals(char **words, guint count, const BerthOption **pending)
{
    guint i = 0;
    *pending = NULL;
    while (i + 1 < count && words[i][0] == '-') {
        const BerthOption *option = find_option(NULL, words[i]);
        i++;
        if (needs_value(option)) {
            if (i + 1 == count) {
                *pending = option;
                return i;
            }
            i++;
        }
    }
    return i;
}

static int
compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/**
 * berth_complete:
 * @words: what was typed behind "berth"; the last one is to be completed and may be ""
 *
 * Returns: (transfer full): candidates, sorted; ":file" stands for names of files.
 */
char **
berth_complete(BerthSession *session, char **words)
{
    guint count = g_strv_length(words), used;
    Completion completion = {session, count > 0 ? words[count - 1] : "",
                             g_ptr_array_new_with_free_func(g_free)};
    const BerthOption *pending;
    guint at = skip_globals(words, count, &pending);
    const BerthCommand *command = NULL;
    if (at + 1 < count) {
        command = berth_command_find(words + at, &used);
        if (command != NULL && at + used >= count) {
            command = NULL; /* the last word belongs to the command's name */
        }
    }
    if (pending != NULL) {
        offer_value(&completion, pending);
    } else if (command != NULL) {
        complete_command(&completion, command, words + at + used, count - at - used);
    } else if (at + 2 == count) {
        offer_commands(&completion, words[at]);
    } else if (at + 1 >= count) {
        if (*completion.prefix == '-') {
            offer_options(&completion, NULL);
        } else {
            offer_commands(&completion, NULL);
        }
    }
    g_ptr_array_sort(completion.found, compare_words);
    g_ptr_array_add(completion.found, NULL);
    return (char **)g_ptr_array_free(completion.found, FALSE);
}
