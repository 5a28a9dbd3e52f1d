/* Label selectors: "tier=front,!legacy,zone in (a,b),owner!=ops". Pure; thread-safe. All clauses must
 * hold. A value may stand in double quotes (backslash escapes) when it holds a comma, a parenthesis
 * or white space. */
#include "model/object.h"

#include <string.h>

#include "base/error.h"

#define SELECTOR_BYTES 8192

typedef struct {
    const char *next;
    GError *error; /* owned; the first thing that was wrong */
} Reader;

static void
skip_space(Reader *reader)
{
    reader->next += strspn(reader->next, " \t");
}

static gboolean
accept(Reader *reader, const char *token)
{
    skip_space(reader);
    if (!g_str_has_prefix(reader->next, token)) {
        return FALSE;
    }
    reader->next += strlen(token);
    return TRUE;
}

/* "in" and "notin" are words: a blank or parenthesis follows. */
static gboolean
accept_word(Reader *reader, const char *word)
{
    skip_space(reader);
    gsize length = strlen(word);
    if (!g_str_has_prefix(reader->next, word) || strchr(" \t(", reader->next[length]) == NULL ||
        reader->next[length] == '\0') {
        return FALSE;
    }
    reader->next += length;
    return TRUE;
}

static void
fail(Reader *reader, const char *what)
{
    if (reader->error == NULL) {
        g_autofree char *rest = berth_quote(reader->next);
        berth_error_set_at(&reader->error, BERTH_ERROR_INVALID, NULL,
                           "selectors look like tier=front,zone in (a,b),!legacy,owner!=ops",
                           "label selector: %s at %s", what, rest);
    }
}

static char *
read_quoted(Reader *reader)
{
    GString *value = g_string_new(NULL);
    for (reader->next++; *reader->next != '"'; reader->next++) {
        if (*reader->next == '\\' && reader->next[1] != '\0') {
            reader->next++;
        }
        if (*reader->next == '\0') {
            fail(reader, "a closing quote is missing");
            return g_string_free(value, FALSE);
        }
        g_string_append_c(value, *reader->next);
    }
    reader->next++;
    return g_string_free(value, FALSE);
}

static char *
read_value(Reader *reader)
{
    skip_space(reader);
    if (*reader->next == '"') {
        return read_quoted(reader);
    }
    gsize length = strcspn(reader->next, ",()");
    char *value = g_strchomp(g_strndup(reader->next, length));
    reader->next += length;
    return value;
}

static char *
read_key(Reader *reader)
{
    skip_space(reader);
    gsize length = strcspn(reader->next, " \t=!,()");
    char *key = g_strndup(reader->next, length);
    if (!berth_label_key_check(key, NULL)) {
        fail(reader, "a label key is missing");
    }
    reader->next += length;
    return key;
}

/* Whether @have (NULL: no such label) is one of the list that follows: "(a,b)". */
static gboolean
read_membership(Reader *reader, const char *have)
{
    gboolean found = FALSE;
    if (!accept(reader, "(")) {
        fail(reader, "( is missing");
        return FALSE;
    }
    do {
        g_autofree char *value = read_value(reader);
        found = found || g_strcmp0(value, have) == 0;
    } while (accept(reader, ","));
    if (!accept(reader, ")")) {
        fail(reader, ") is missing");
    }
    return found;
}

static gboolean
read_clause(Reader *reader, const json_t *labels)
{
    gboolean absent = accept(reader, "!");
    g_autofree char *key = read_key(reader);
    if (reader->error != NULL) {
        return FALSE;
    }
    const char *have = json_string_value(json_object_get(labels, key));
    if (absent) {
        return have == NULL;
    }
    if (accept_word(reader, "notin")) {
        return !read_membership(reader, have);
    }
    if (accept_word(reader, "in")) {
        return read_membership(reader, have);
    }
    gboolean differs = accept(reader, "!=");
    if (differs || accept(reader, "==") || accept(reader, "=")) {
        g_autofree char *value = read_value(reader);
        return (g_strcmp0(value, have) == 0) != differs;
    }
    return have != NULL;
}

/**
 * berth_labels_match:
 * @labels: (nullable): an object of strings
 * @selector: clauses with commas between: K=V, K==V, K!=V (also true without the label), K, !K,
 *     K in (A,B), K notin (A,B); the empty selector matches everything
 *
 * Returns: whether every clause holds. Errors: INVALID (then FALSE), whether or not an earlier clause
 * already failed.
 */
gboolean
berth_labels_match(const json_t *labels, const char *selector, GError **error)
{
    Reader reader = {.next = selector};
    gboolean all = TRUE;
    if (strlen(selector) > SELECTOR_BYTES) {
        berth_error_set(error, BERTH_ERROR_INVALID, "label selector: longer than %d bytes",
                        SELECTOR_BYTES);
        return FALSE;
    }
    skip_space(&reader);
    while (*reader.next != '\0' && reader.error == NULL) {
        gboolean holds = read_clause(&reader, labels);
        all = all && holds;
        skip_space(&reader);
        if (*reader.next == ',') {
            reader.next++;
            skip_space(&reader);
        } else if (*reader.next != '\0') {
            fail(&reader, "a comma is missing");
        }
    }
    if (reader.error != NULL) {
        g_propagate_error(error, reader.error);
        return FALSE;
    }
    return all;
}
