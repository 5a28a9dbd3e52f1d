/* Reading a command line by its table. Options and arguments may mix, as GNU programs have it; a
 * verbatim command's options end at its first argument. An argument may be given by its name as virsh
 * allows: `--domain web`.
 *
 * Invariant: what berth_args_* hands out was checked by its type, so commands need not check again. Pure. */
#include "cli/command.h"

#include <string.h>

#include "base/error.h"
#include "model/schema.h"

struct BerthArgs {
    const BerthCommand *command; /* borrowed, static; NULL for the global options */
    GHashTable
        *values; /* owned; name -> GPtrArray of strings, NULL-terminated when reading is over */
};

/* ---- tables ---- */

/** Returns: the command after @command; the first one for NULL. @table: where it was found. */
const BerthCommand *
berth_command_next(const BerthCommand *command, guint *table)
{
    const BerthCommand *next = command == NULL ? berth_command_tables[0] : command + 1;
    while (next != NULL && next->name == NULL) {
        next = berth_command_tables[++*table];
    }
    return next;
}

static gboolean
is_called(const BerthCommand *command, const char *name)
{
    return strcmp(command->name, name) == 0 || g_strcmp0(command->alias, name) == 0;
}

/**
 * berth_command_find:
 * @words: NULL-terminated
 * @used: (out): how many of @words name the command: 1 or 2
 *
 * Returns: (nullable): the command; two words win over one.
 */
const BerthCommand *
berth_command_find(char **words, guint *used)
{
    for (*used = words[0] != NULL && words[1] != NULL ? 2 : 1; *used > 0; (*used)--) {
        g_autofree char *name = *used == 2 ? g_strconcat(words[0], " ", words[1], NULL)
                                           : g_strdup(words[0] != NULL ? words[0] : "");
        BERTH_EACH_COMMAND(command)
        {
            if (is_called(command, name)) {
                return command;
            }
        }
    }
    return NULL;
}

/** Returns: whether @word is the first of two-word commands ("host"). */
gboolean
berth_command_is_group(const char *word)
{
    gsize length = strlen(word);
    BERTH_EACH_COMMAND(command)
    {
        if (strncmp(command->name, word, length) == 0 && command->name[length] == ' ') {
            return TRUE;
        }
    }
    return FALSE;
}

const BerthOption *
berth_option_find(const BerthOption *table, const char *name)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (strcmp(table->name, name) == 0) {
            return table;
        }
    }
    return NULL;
}

const BerthOption *
berth_option_find_letter(const BerthOption *table, char letter)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (table->letter == letter) {
            return table;
        }
    }
    return NULL;
}

static const BerthArgument *
find_argument(const BerthCommand *command, const char *name)
{
    const BerthArgument *argument = command != NULL ? command->arguments : NULL;
    for (; argument != NULL && argument->name != NULL; argument++) {
        if (strcmp(argument->name, name) == 0) {
            return argument;
        }
    }
    return NULL;
}

/* ---- values ---- */

/* A number with one of the unit letters behind it; @factors: "letter, factor" pairs. */
static gboolean
parse_unit(const char *text, const char *letters, const gint64 *factors, gint64 *value)
{
    char *end = NULL;
    if (!g_ascii_isdigit(*text)) {
        return FALSE;
    }
    gint64 number = g_ascii_strtoll(text, &end, 10);
    gint64 factor = factors[0];
    if (*end != '\0') {
        const char *letter = strchr(letters, g_ascii_tolower(*end));
        if (letter == NULL) {
            return FALSE;
        }
        factor = factors[letter - letters];
        end++;
    }
    return *end == '\0' && !__builtin_mul_overflow(number, factor, value) &&
           *value < G_MAXINT64 / 2;
}

/**
 * berth_size_parse:
 * @text: "512" (MiB), "512m", "2g", "1t", "65536k", also "512MiB", "2GB", "2Gi"
 *
 * Returns: FALSE with INVALID when it is no size or not a whole number of MiB.
 */
gboolean
berth_size_parse(const char *text, gint64 *mib, GError **error)
{
    static const gint64 factors[] = {1024, 1, 1024, 1024 * 1024, 1024LL * 1024 * 1024};
    g_autofree char *lower = g_ascii_strdown(text, -1);
    gint64 kib;
    if (g_str_has_suffix(lower, "ib")) {
        lower[strlen(lower) - 2] = '\0';
    } else if (g_str_has_suffix(lower, "b") || g_str_has_suffix(lower, "i")) {
        lower[strlen(lower) - 1] = '\0';
    }
    if (!parse_unit(lower, "\001kmgt", factors, &kib) || kib % 1024 != 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "for example 512, 512m or 2g",
                           "'%s' is not a size in MiB", text);
        return FALSE;
    }
    *mib = kib / 1024;
    return TRUE;
}

/** As berth_size_parse() for seconds: "30", "30s", "5m", "2h", "1d". */
gboolean
berth_duration_parse(const char *text, gint64 *seconds, GError **error)
{
    static const gint64 factors[] = {1, 1, 60, 3600, 86400};
    if (!parse_unit(text, "\001smhd", factors, seconds)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "for example 30, 30s, 5m or 2h",
                           "'%s' is not a time in seconds", text);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_choice(const BerthOption *option, const char *text, GError **error)
{
    if (g_strv_contains(option->choices, text)) {
        return TRUE;
    }
    g_autofree char *all = g_strjoinv(", ", (char **)option->choices);
    berth_error_set(error, BERTH_ERROR_INVALID, "option --%s: '%s' is none of %s", option->name,
                    text, all);
    return FALSE;
}

/* Checks @text and writes it the way berth_args_number() reads it. */
static char *
normalise(const BerthOption *option, const char *text, GError **error)
{
    gint64 number = 0;
    gboolean ok = TRUE;
    switch (option->type) {
    case BERTH_OPTION_CHOICE:
        return check_choice(option, text, error) ? g_strdup(text) : NULL;
    case BERTH_OPTION_NUMBER:
        ok = g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, &number, NULL);
        if (!ok) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is not a whole number", text);
        }
        break;
    case BERTH_OPTION_SIZE:
        ok = berth_size_parse(text, &number, error);
        break;
    case BERTH_OPTION_SECONDS:
    case BERTH_OPTION_WAIT:
        ok = berth_duration_parse(text, &number, error);
        break;
    default:
        return g_strdup(text);
    }
    if (!ok) {
        g_prefix_error(error, "option --%s: ", option->name);
        return NULL;
    }
    return g_strdup_printf("%" G_GINT64_FORMAT, number);
}

static void
add_value(BerthArgs *args, const char *name, const char *text)
{
    GPtrArray *list = g_hash_table_lookup(args->values, name);
    if (list == NULL) {
        list = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(args->values, g_strdup(name), list);
    }
    g_ptr_array_add(list, g_strdup(text));
}

static gboolean
add_option(BerthArgs *args, const BerthOption *option, const char *text, GError **error)
{
    if (option->type == BERTH_OPTION_FLAG || text == NULL) {
        add_value(args, option->name, "");
        return TRUE;
    }
    g_autofree char *checked = normalise(option, text, error);
    if (checked == NULL) {
        return FALSE;
    }
    if (option->type != BERTH_OPTION_LIST) {
        g_hash_table_remove(args->values, option->name); /* the last one holds */
    }
    add_value(args, option->name, checked);
    return TRUE;
}

/* ---- reading words ---- */

typedef struct {
    BerthArgs *args;
    const BerthOption *own; /* the command's options; NULL: none */
    char **words;           /* borrowed */
    guint at;               /* the next word */
    guint given;            /* arguments read so far */
} Words;

static const char *const *
names_of(const BerthOption *own, GPtrArray *names)
{
    for (const BerthOption *option = own; option != NULL && option->name != NULL; option++) {
        g_ptr_array_add(names, (gpointer)option->name);
    }
    for (const BerthOption *option = berth_global_options; option->name != NULL; option++) {
        g_ptr_array_add(names, (gpointer)option->name);
    }
    g_ptr_array_add(names, NULL);
    return (const char *const *)names->pdata;
}

static void
set_unknown(const Words *words, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near = berth_suggest(name, names_of(words->own, names));
    const BerthCommand *command = words->args->command;
    g_autofree char *hint = near != NULL ? g_strdup_printf("did you mean --%s?", near)
                            : command != NULL
                                ? g_strdup_printf("berth help %s shows the options", command->name)
                                : g_strdup("berth help shows the options");
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, hint, "unknown option '--%s'", name);
}

static gboolean
take_value(Words *words, const char *shown, const char **value, GError **error)
{
    *value = words->words[words->at];
    if (*value == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "option %s needs a value", shown);
        return FALSE;
    }
    words->at++;
    return TRUE;
}

/* @word: behind the two dashes. */
static gboolean
read_long(Words *words, const char *word, GError **error)
{
    const char *equals = strchr(word, '=');
    const char *value = equals != NULL ? equals + 1 : NULL;
    g_autofree char *name = equals != NULL ? g_strndup(word, equals - word) : g_strdup(word);
    g_autofree char *shown = g_strconcat("--", name, NULL);
    const BerthOption *option = berth_option_find(words->own, name);
    if (option == NULL) {
        option = berth_option_find(berth_global_options, name);
    }
    if (option == NULL) {
        if (find_argument(words->args->command, name) == NULL) {
            set_unknown(words, name, error);
            return FALSE;
        }
        if (value == NULL && !take_value(words, shown, &value, error)) {
            return FALSE;
        }
        add_value(words->args, name, value);
        return TRUE;
    }
    if (option->type == BERTH_OPTION_FLAG && value != NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "option %s takes no value", shown);
        return FALSE;
    }
    if (option->type != BERTH_OPTION_FLAG && option->type != BERTH_OPTION_WAIT && value == NULL &&
        !take_value(words, shown, &value, error)) {
        return FALSE;
    }
    return add_option(words->args, option, value, error);
}

/* @letters: behind the dash: flags, and at the end perhaps one option with its value (-it, -n5, -n 5). */
static gboolean
read_short(Words *words, const char *letters, GError **error)
{
    for (; *letters != '\0'; letters++) {
        char shown[] = {'-', *letters, '\0'};
        const BerthOption *option = berth_option_find_letter(words->own, *letters);
        if (option == NULL) {
            option = berth_option_find_letter(berth_global_options, *letters);
        }
        if (option == NULL) {
            g_autofree char *quoted = berth_quote(shown);
            berth_error_set(error, BERTH_ERROR_INVALID, "unknown option %s", quoted);
            return FALSE;
        }
        if (option->type == BERTH_OPTION_FLAG || option->type == BERTH_OPTION_WAIT) {
            add_value(words->args, option->name, "");
            continue;
        }
        const char *value = letters + 1;
        value += *value == '=';
        if (*value == '\0' && !take_value(words, shown, &value, error)) {
            return FALSE;
        }
        return add_option(words->args, option, value, error);
    }
    return TRUE;
}

/* The argument that the next word without a dash is; skips those given by name. */
static const BerthArgument *
next_argument(Words *words)
{
    const BerthCommand *command = words->args->command;
    const BerthArgument *argument = command != NULL ? command->arguments : NULL;
    for (guint i = 0; argument != NULL && argument->name != NULL; argument++, i++) {
        if (argument->rest || (i >= words->given && !berth_args_has(words->args, argument->name))) {
            words->given = i + 1;
            return argument;
        }
    }
    return NULL;
}

static gboolean
read_argument(Words *words, const char *word, GError **error)
{
    const BerthArgument *argument = next_argument(words);
    if (argument == NULL) {
        g_autofree char *quoted = berth_quote(word);
        g_autofree char *hint = g_strdup_printf("berth help %s", words->args->command->name);
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, hint, "unexpected argument %s",
                           quoted);
        return FALSE;
    }
    add_value(words->args, argument->name, word);
    return TRUE;
}

/* All that is left belongs to a verbatim command's rest; one "--" before it is allowed. */
static gboolean
read_rest(Words *words, GError **error)
{
    const char *word = words->words[words->at];
    if (word != NULL && strcmp(word, "--") == 0) {
        words->at++;
    }
    while ((word = words->words[words->at]) != NULL) {
        words->at++;
        if (!read_argument(words, word, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
read_words(Words *words, GError **error)
{
    const char *word;
    while ((word = words->words[words->at]) != NULL) {
        gboolean ok;
        words->at++;
        if (strcmp(word, "--") == 0) {
            return read_rest(words, error);
        } else if (g_str_has_prefix(word, "--")) {
            ok = read_long(words, word + 2, error);
        } else if (*word == '-' && word[1] != '\0') {
            ok = read_short(words, word + 1, error);
        } else {
            ok = read_argument(words, word, error);
            if (ok && words->args->command->verbatim) {
                return read_rest(words, error);
            }
        }
        if (!ok) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_complete(const BerthArgs *args, GError **error)
{
    const BerthArgument *argument = args->command->arguments;
    for (; argument != NULL && argument->name != NULL; argument++) {
        if (!argument->optional && !berth_args_has(args, argument->name)) {
            g_autofree char *hint = g_strdup_printf("berth help %s", args->command->name);
            berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, hint, "command '%s' needs <%s>",
                               args->command->name, argument->name);
            return FALSE;
        }
    }
    return TRUE;
}

static void
free_values(gpointer data)
{
    g_ptr_array_unref(data);
}

static BerthArgs *
args_new(const BerthCommand *command)
{
    BerthArgs *args = g_new0(BerthArgs, 1);
    args->command = command;
    args->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_values);
    return args;
}

static void
terminate_lists(BerthArgs *args)
{
    GHashTableIter iter;
    gpointer list;
    g_hash_table_iter_init(&iter, args->values);
    while (g_hash_table_iter_next(&iter, NULL, &list)) {
        g_ptr_array_add(list, NULL);
    }
}

/**
 * berth_args_parse:
 * @words: behind the command's name, NULL-terminated
 *
 * Returns: (transfer full): what was given. Errors: INVALID, with the remedy as hint.
 */
BerthArgs *
berth_args_parse(const BerthCommand *command, char **words, GError **error)
{
    g_autoptr(BerthArgs) args = args_new(command);
    Words state = {args, command->options, words, 0, 0};
    if (!read_words(&state, error) ||
        (!berth_args_has(args, "help") && !check_complete(args, error))) {
        return NULL;
    }
    terminate_lists(args);
    return g_steal_pointer(&args);
}

/**
 * berth_args_parse_globals:
 * @used: (out): how many of @words are options that stand before the command
 *
 * Returns: (transfer full): what was given. Errors: INVALID.
 */
BerthArgs *
berth_args_parse_globals(char **words, guint *used, GError **error)
{
    g_autoptr(BerthArgs) args = args_new(NULL);
    Words state = {args, NULL, words, 0, 0};
    const char *word;
    while ((word = words[state.at]) != NULL && word[0] == '-' && word[1] != '\0') {
        state.at++;
        if (!(word[1] == '-' ? read_long(&state, word + 2, error)
                             : read_short(&state, word + 1, error))) {
            return NULL;
        }
    }
    *used = state.at;
    terminate_lists(args);
    return g_steal_pointer(&args);
}

void
berth_args_free(BerthArgs *args)
{
    if (args != NULL) {
        g_hash_table_unref(args->values);
        g_free(args);
    }
}

const BerthCommand *
berth_args_command(const BerthArgs *args)
{
    return args->command;
}

/** Returns: whether the option or argument @name was given. */
gboolean
berth_args_has(const BerthArgs *args, const char *name)
{
    return g_hash_table_contains(args->values, name);
}

/** Returns: (nullable): the value of @name, borrowed; the first one when it was given several times. */
const char *
berth_args_get(const BerthArgs *args, const char *name)
{
    const GPtrArray *list = g_hash_table_lookup(args->values, name);
    return list != NULL ? list->pdata[0] : NULL;
}

/** Returns: all values of @name, NULL-terminated, borrowed; empty when it was not given. */
char *const *
berth_args_list(const BerthArgs *args, const char *name)
{
    static char *const none[] = {NULL};
    const GPtrArray *list = g_hash_table_lookup(args->values, name);
    return list != NULL ? (char *const *)list->pdata : none;
}

/** Returns: the value of the NUMBER, SIZE, SECONDS or WAIT option @name; @fallback when there is none. */
gint64
berth_args_number(const BerthArgs *args, const char *name, gint64 fallback)
{
    const char *text = berth_args_get(args, name);
    return text != NULL && *text != '\0' ? g_ascii_strtoll(text, NULL, 10) : fallback;
}
