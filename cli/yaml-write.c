/* JSON values as YAML that both YAML 1.1 and 1.2 readers take for the same value.
 *
 * Invariant: berth_yaml_parse() of the text gives the value back, and no unsafe character is outside of
 * double quotes, so that berth_escape_json() may escape them all. */
#include "cli/yaml.h"

#include <string.h>

#include "cli/escape.h"

#define KEY_MAX 128

/* Words that some YAML version reads as something else than text. */
static gboolean
is_special_word(const char *text)
{
    static const char *const words[] = {"~",  "null", "true", "false", "yes", "no",
                                        "on", "off",  "y",    "n",     "=",   NULL};
    for (guint i = 0; words[i] != NULL; i++) {
        if (g_ascii_strcasecmp(text, words[i]) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
has_unsafe(const char *text)
{
    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p)) {
        if (berth_escape_is_unsafe(g_utf8_get_char(p))) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Whether @text may stand bare: letters first, nothing that YAML gives a meaning. A sharper rule would
 * quote less; this one can't be wrong. */
static gboolean
is_plain(const char *text)
{
    if (!(g_ascii_isalpha(*text) || *text == '/' || *text == '_') || is_special_word(text) ||
        has_unsafe(text) || strpbrk(text, "#{}[],&*!|>'\"%@`") != NULL) {
        return FALSE;
    }
    const char *colon = strstr(text, ": ");
    gsize length = strlen(text);
    return colon == NULL && text[length - 1] != ':' && text[length - 1] != ' ' &&
           g_utf8_validate(text, -1, NULL);
}

static void
write_quoted(GString *out, const char *text)
{
    g_autoptr(GString) quoted = g_string_new("\"");
    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (c == '"' || c == '\\') {
            g_string_append_c(quoted, '\\');
            g_string_append_unichar(quoted, c);
        } else if (c == '\n') {
            g_string_append(quoted, "\\n");
        } else if (c >= 0x10000 && berth_escape_is_unsafe(c)) {
            g_string_append_printf(quoted, "\\U%08x", c);
        } else if (berth_escape_is_unsafe(c)) {
            g_string_append_printf(quoted, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
        } else {
            g_string_append_unichar(quoted, c);
        }
    }
    g_string_append_c(quoted, '"');
    g_string_append(out, quoted->str);
}

/* Several safe lines that end with one line end, as a literal block. */
static gboolean
write_block(GString *out, const char *text, guint indent)
{
    gsize length = strlen(text);
    if (length < 2 || text[length - 1] != '\n' || text[length - 2] == '\n' ||
        g_ascii_isspace(text[0])) {
        return FALSE;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint count = g_strv_length(lines) - 1;
    for (guint i = 0; i < count; i++) {
        if (has_unsafe(lines[i])) {
            return FALSE;
        }
    }
    g_string_append_c(out, '|');
    for (guint i = 0; i < count; i++) {
        g_string_append_printf(out, "\n%*s%s", *lines[i] == '\0' ? 0 : (int)indent, "", lines[i]);
    }
    return TRUE;
}

static void
write_text(GString *out, const char *text, guint indent)
{
    if (strchr(text, '\n') != NULL && write_block(out, text, indent)) {
        return;
    }
    if (is_plain(text)) {
        g_string_append(out, text);
    } else {
        write_quoted(out, text);
    }
}

static void write_value(GString *out, const json_t *value, guint indent, gboolean after_dash);

/* Readers look for the colon of a plain key within 1,024 characters; a longer key says that it is one. */
static void
write_key(GString *out, const char *key, guint indent)
{
    gboolean is_long = strlen(key) > KEY_MAX;
    if (is_long) {
        g_string_append(out, "? ");
    }
    if (is_plain(key) && !is_long) {
        g_string_append(out, key);
    } else {
        write_quoted(out, key);
    }
    if (is_long) {
        g_string_append_printf(out, "\n%*s", (int)indent, "");
    }
}

static void
write_object(GString *out, const json_t *object, guint indent, gboolean after_dash)
{
    const char *key;
    json_t *value;
    gboolean first = TRUE;
    json_object_foreach ((json_t *)object, key, value) {
        if (!first || !after_dash) {
            g_string_append_printf(out, "\n%*s", (int)indent, "");
        }
        first = FALSE;
        write_key(out, key, indent);
        g_string_append_c(out, ':');
        write_value(out, value, indent + 2, FALSE);
    }
}

static void
write_array(GString *out, const json_t *array, guint indent, gboolean after_dash)
{
    gsize i;
    json_t *value;
    json_array_foreach ((json_t *)array, i, value) {
        if (i > 0 || !after_dash) {
            g_string_append_printf(out, "\n%*s", (int)indent, "");
        }
        g_string_append(out, "- ");
        write_value(out, value, indent + 2, TRUE);
    }
}

/* @after_dash: "- " stands before it on this line, so that no space is needed and a collection starts
 * right here. */
static void
write_value(GString *out, const json_t *value, guint indent, gboolean after_dash)
{
    if (json_object_size(value) > 0) {
        write_object(out, value, indent, after_dash);
        return;
    }
    if (json_array_size(value) > 0) {
        /* A list within a mapping stands as deep as its key. */
        guint own = after_dash || indent < 2 ? indent : indent - 2;
        write_array(out, value, own, after_dash);
        return;
    }
    if (!after_dash) {
        g_string_append_c(out, ' ');
    }
    if (json_is_string(value)) {
        write_text(out, json_string_value(value), MAX(indent, 2));
        return;
    }
    g_autofree char *text = NULL;
    char *dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    text = g_strdup(dumped);
    free(dumped);
    g_string_append(out, text);
}

/**
 * berth_yaml_format:
 *
 * Returns: (transfer full): @value as one YAML document, ending with a line end. Members keep the order
 * they have.
 */
char *
berth_yaml_format(const json_t *value)
{
    GString *out = g_string_new(NULL);
    write_value(out, value, 0, TRUE);
    g_string_append_c(out, '\n');
    return g_string_free(out, FALSE);
}
