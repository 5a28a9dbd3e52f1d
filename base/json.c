/* Strict, bounded JSON reading. Invariant: size and depth are checked over the raw bytes before
 * jansson takes memory for the tree (its own depth limit is 2,048). Thread-safe. */
#include "base/json.h"

#include "base/error.h"

/* The nesting depth of @data as its brackets outside strings tell; an upper bound for any prefix that
 * a parser would accept. */
static guint
scan_depth(const char *data, gsize size, guint limit)
{
    guint depth = 0, deepest = 0;
    gboolean in_string = FALSE;
    for (gsize i = 0; i < size && deepest <= limit; i++) {
        char c = data[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = FALSE;
            }
        } else if (c == '"') {
            in_string = TRUE;
        } else if (c == '[' || c == '{') {
            depth++;
            deepest = MAX(deepest, depth);
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

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
    if (scan_depth(data, size, depth_max) > depth_max) {
        berth_error_set(error, BERTH_ERROR_INVALID, "JSON is nested deeper than %u levels",
                        depth_max);
        return NULL;
    }
    json_error_t problem;
    json_t *value =
        json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
    if (value == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "not valid JSON at line %d, column %d: %s",
                        problem.line, problem.column, problem.text);
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
