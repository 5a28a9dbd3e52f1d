/* Strict, bounded JSON reading. Invariant: size, depth and grammar (RFC 8259) are checked over the raw
 * bytes before jansson takes memory for the tree. What is well-formed but has no one meaning (a member
 * twice, NUL in a member's name, a number beyond its type, text that is no Unicode) is refused by jansson
 * with a message of its own. Thread-safe. */
#include "base/json.h"

#include <string.h>

#include "base/error.h"

/* ---- grammar ---- */

typedef struct {
    const char *start, *next, *end;
    guint depth_max;
    const char *wanted; /* what was missing at .next; NULL while all is well */
    gboolean too_deep;
} Scan;

static gboolean scan_value(Scan *scan, guint depth);

static gboolean
fail(Scan *scan, const char *wanted)
{
    if (scan->wanted == NULL) {
        scan->wanted = wanted;
    }
    return FALSE;
}

static int
peek(const Scan *scan)
{
    return scan->next < scan->end ? (guchar)*scan->next : -1;
}

static void
skip_space(Scan *scan)
{
    while (peek(scan) == ' ' || peek(scan) == '\t' || peek(scan) == '\n' || peek(scan) == '\r') {
        scan->next++;
    }
}

static gboolean
accept(Scan *scan, char c)
{
    skip_space(scan);
    if (peek(scan) != c) {
        return FALSE;
    }
    scan->next++;
    return TRUE;
}

static gboolean
scan_escape(Scan *scan)
{
    int c = peek(scan);
    if (c == 'u') {
        for (int i = 0; i < 4; i++) {
            scan->next++;
            if (!g_ascii_isxdigit(MAX(peek(scan), 0))) {
                return fail(scan, "four hexadecimal digits after \\u");
            }
        }
    } else if (c <= 0 || strchr("\"\\/bfnrt", c) == NULL) {
        return fail(scan, "one of \" \\ / b f n r t u after a backslash");
    }
    scan->next++;
    return TRUE;
}

static gboolean
scan_string(Scan *scan)
{
    if (!accept(scan, '"')) {
        return fail(scan, "a string in double quotes");
    }
    for (int c; (c = peek(scan)) != '"';) {
        if (c < 0x20) {
            return fail(scan, c < 0 ? "the closing quote of a string"
                                    : "control characters to be escaped");
        }
        scan->next++;
        if (c == '\\' && !scan_escape(scan)) {
            return FALSE;
        }
    }
    scan->next++;
    return TRUE;
}

static gboolean
scan_digits(Scan *scan)
{
    if (!g_ascii_isdigit(MAX(peek(scan), 0))) {
        return fail(scan, "a digit");
    }
    while (g_ascii_isdigit(MAX(peek(scan), 0))) {
        scan->next++;
    }
    return TRUE;
}

static gboolean
scan_number(Scan *scan)
{
    scan->next += peek(scan) == '-';
    if (peek(scan) == '0') {
        scan->next++;
    } else if (!scan_digits(scan)) {
        return FALSE;
    }
    if (peek(scan) == '.') {
        scan->next++;
        if (!scan_digits(scan)) {
            return FALSE;
        }
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        scan->next++;
        scan->next += peek(scan) == '+' || peek(scan) == '-';
        return scan_digits(scan);
    }
    return TRUE;
}

static gboolean
scan_word(Scan *scan, const char *word)
{
    gsize length = strlen(word);
    if ((gsize)(scan->end - scan->next) < length || memcmp(scan->next, word, length) != 0) {
        return fail(scan, "a value (object, list, string, number, true, false, null)");
    }
    scan->next += length;
    return TRUE;
}

static gboolean
scan_member(Scan *scan, guint depth)
{
    if (!scan_string(scan)) {
        return FALSE;
    }
    return accept(scan, ':') ? scan_value(scan, depth) : fail(scan, "a colon");
}

/* The inside of an object or list, up to @close. */
static gboolean
scan_items(Scan *scan, guint depth, char close, gboolean (*scan_item)(Scan *scan, guint depth))
{
    scan->next++;
    if (depth > scan->depth_max) {
        scan->too_deep = TRUE;
        return fail(scan, "less depth");
    }
    if (accept(scan, close)) {
        return TRUE;
    }
    do {
        if (!scan_item(scan, depth)) {
            return FALSE;
        }
    } while (accept(scan, ','));
    return accept(scan, close) || fail(scan, close == '}' ? "a comma or }" : "a comma or ]");
}

/* @depth: of what surrounds the value; recursion ends at depth_max. */
static gboolean
scan_value(Scan *scan, guint depth)
{
    skip_space(scan);
    int c = peek(scan);
    switch (c) {
    case '{':
        return scan_items(scan, depth + 1, '}', scan_member);
    case '[':
        return scan_items(scan, depth + 1, ']', scan_value);
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    default:
        return c == '-' || g_ascii_isdigit(MAX(c, 0)) ? scan_number(scan) : scan_word(scan, "null");
    }
}

static void
report(const Scan *scan, GError **error)
{
    guint line = 1, column = 1;
    if (scan->too_deep) {
        berth_error_set(error, BERTH_ERROR_INVALID, "JSON is nested deeper than %u levels",
                        scan->depth_max);
        return;
    }
    for (const char *c = scan->start; c < scan->next; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    berth_error_set(error, BERTH_ERROR_INVALID, "not valid JSON at line %u, column %u: expected %s",
                    line, column, scan->wanted);
}

/**
 * berth_json_check:
 * @data: bytes, need not be NUL-terminated
 * @depth_max: the deepest nesting accepted; also of this function's recursion
 *
 * Returns: whether @data is one value by the grammar of RFC 8259, in time O(@size) and without taking
 * memory. Errors: INVALID with line and column.
 */
gboolean
berth_json_check(const char *data, gsize size, guint depth_max, GError **error)
{
    Scan scan = {.start = data, .next = data, .end = data + size, .depth_max = depth_max};
    gboolean good = scan_value(&scan, 0);
    skip_space(&scan);
    good = good && (scan.next == scan.end || fail(&scan, "nothing behind the value"));
    if (!good) {
        report(&scan, error);
    }
    return good;
}

/* ---- reading ---- */

/**
 * berth_json_parse_limited:
 * @data: bytes, need not be NUL-terminated
 * @size_max: the largest @size accepted
 * @depth_max: the deepest nesting accepted
 *
 * Reads one RFC 8259 value: UTF-8 only, no duplicate keys, nothing behind the value, integers exact
 * within 64 bits.
 *
 * Returns: (transfer full): the value, or NULL. Errors: INVALID with line and column.
 */
json_t *
berth_json_parse_limited(const char *data, gsize size, gsize size_max, guint depth_max,
                         GError **error)
{
    if (size > size_max) {
        berth_error_set(error, BERTH_ERROR_INVALID, "JSON of %zu bytes is larger than %zu bytes",
                        size, size_max);
        return NULL;
    }
    if (!berth_json_check(data, size, depth_max, error)) {
        return NULL;
    }
    json_error_t problem;
    json_t *value =
        json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
    if (value == NULL) {
        g_autofree char *text = g_utf8_make_valid(problem.text, -1);
        berth_error_set(error, BERTH_ERROR_INVALID, "JSON is refused at line %d, column %d: %s",
                        problem.line, problem.column, g_strdelimit(text, "\n\r\t", ' '));
    }
    return value;
}

/** As berth_json_parse_limited() with the limits that hold for requests. */
json_t *
berth_json_parse(const char *data, gsize size, GError **error)
{
    return berth_json_parse_limited(data, size, BERTH_JSON_SIZE_MAX, BERTH_JSON_DEPTH_MAX, error);
}

/** Returns: (transfer full): @value on one line, object members in the order they were set. */
char *
berth_json_format(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/** Returns: (nullable): the string at @key of @object (NULL accepted), borrowed; NULL when it is no string. */
const char *
berth_json_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/** Returns: the integer at @key of @object (NULL accepted), or @fallback when it is no integer. */
gint64
berth_json_integer(const json_t *object, const char *key, gint64 fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}
