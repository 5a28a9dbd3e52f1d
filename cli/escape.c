/* Everything that a person sees and that Berth did not make passes through here once, at the border to
 * the terminal. Invariant: the result holds no control character (C0, DEL, C1), no character that
 * changes the direction or the line of text, and is valid UTF-8. Pure; thread-safe. */
#include "cli/escape.h"

#include <string.h>

/**
 * berth_escape_is_unsafe:
 *
 * Returns: whether a terminal could act on @c, or show something else than what is there: control
 * characters, line and paragraph separators, marks that reorder text, characters without any shape.
 */
gboolean
berth_escape_is_unsafe(gunichar c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || (c >= 0xe0000 && c <= 0xe007f);
}

static void
append_escaped(GString *out, gunichar c)
{
    static const char letters[] = "abtnvfr"; /* \a is 7, \r is 13 */
    if (c >= 7 && c <= 13) {
        g_string_append_c(out, '\\');
        g_string_append_c(out, letters[c - 7]);
    } else if (c < 0x80) {
        g_string_append_printf(out, "\\x%02x", c);
    } else if (c < 0x10000) {
        g_string_append_printf(out, "\\u%04x", c);
    } else {
        g_string_append_printf(out, "\\U%08x", c);
    }
}

/**
 * berth_escape_text:
 * @text: (nullable): bytes up to a NUL, need not be UTF-8
 *
 * Returns: (transfer full): @text on one line: what is unsafe becomes \n, \x1b, \u202e, and a byte that
 * is no UTF-8 becomes \xff. A backslash stays as it is: the result is for eyes, not for parsers.
 */
char *
berth_escape_text(const char *text)
{
    GString *out = g_string_new(NULL);
    for (const char *p = text == NULL ? "" : text; *p != '\0';) {
        gunichar c = g_utf8_get_char_validated(p, -1);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append_printf(out, "\\x%02x", (guchar)*p++);
            continue;
        }
        if (berth_escape_is_unsafe(c)) {
            append_escaped(out, c);
        } else {
            g_string_append_unichar(out, c);
        }
        p = g_utf8_next_char(p);
    }
    return g_string_free(out, FALSE);
}

/** As berth_escape_text() for text of several lines: line ends and tabs stay, a last line end is added. */
char *
berth_escape_lines(const char *text)
{
    GString *out = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL && (line[1] != NULL || **line != '\0'); line++) {
        g_auto(GStrv) cells = g_strsplit(*line, "\t", -1);
        for (char **cell = cells; *cell != NULL; cell++) {
            g_autofree char *safe = berth_escape_text(*cell);
            g_string_append_printf(out, "%s%s", cell == cells ? "" : "\t", safe);
        }
        g_string_append_c(out, '\n');
    }
    return g_string_free(out, FALSE);
}

/**
 * berth_escape_json:
 * @json: valid JSON text, or YAML whose unsafe characters are within double quotes
 *
 * Returns: (transfer full): the same value, with unsafe characters in strings as \uXXXX. JSON itself asks
 * for that only below 0x20; the spaces and line ends of the formatting stay.
 */
char *
berth_escape_json(const char *json)
{
    GString *out = g_string_sized_new(strlen(json));
    for (const char *p = json; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (c == '\n' || !berth_escape_is_unsafe(c)) {
            g_string_append_unichar(out, c);
        } else if (c < 0x10000) {
            g_string_append_printf(out, "\\u%04x", c);
        } else {
            g_string_append_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
        }
    }
    return g_string_free(out, FALSE);
}

/** Returns: the columns that @text (already escaped) takes on a terminal. */
gsize
berth_escape_width(const char *text)
{
    gsize width = 0;
    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        width += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return width;
}
