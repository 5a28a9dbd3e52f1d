/* Strict reading: JSON becomes a struct, or an error that points at the first field that is wrong.
 * Invariant: nothing is ignored; a member that no row describes is an error. Pure; thread-safe.
 * Start with berth_schema_read(). */
#include "model/schema.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"

#define LIST_STRING_BYTES (32 * 1024) /* each of STRINGS: commands carry whole scripts */
#define MAP_VALUE_BYTES 4096

static gboolean read_members(const BerthSchema *schema, gpointer data, const json_t *json,
                             GError **error);

/* Puts "/@name" (escaped as RFC 6901 says) before the pointer of *@error. Returns FALSE. */
static gboolean
fail_at(GError **error, const char *name)
{
    if (error != NULL) {
        GString *place = g_string_new("/");
        for (const char *c = name; *c != '\0'; c++) {
            if (*c == '~') {
                g_string_append(place, "~0");
            } else if (*c == '/') {
                g_string_append(place, "~1");
            } else {
                g_string_append_c(place, *c);
            }
        }
        berth_error_point(*error, place->str);
        g_string_free(place, TRUE);
    }
    return FALSE;
}

static gboolean
fail_at_index(GError **error, gsize index)
{
    g_autofree char *name = g_strdup_printf("%zu", index);
    return fail_at(error, name);
}

static const char *
type_of(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number with a fraction or exponent";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "nothing known";
}

static gboolean
fail_type(GError **error, const char *wanted, const json_t *json)
{
    const char *hint = json_is_null(json) ? "leave the member out to get its default" : NULL;
    if (json_is_string(json) && g_str_has_prefix(wanted, "a whole number")) {
        hint = "write it without quotes";
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, hint, "must be %s, not %s", wanted,
                       type_of(json));
    return FALSE;
}

static gboolean
read_int(const BerthField *field, gint64 *member, const json_t *json, GError **error)
{
    gint64 minimum, maximum;
    berth_field_limits(field, &minimum, &maximum);
    if (!json_is_integer(json)) {
        return fail_type(error, "a whole number", json);
    }
    gint64 value = json_integer_value(json);
    if (value < minimum || value > maximum) {
        g_autofree char *range =
            maximum == G_MAXINT64
                ? g_strdup_printf("at least %" G_GINT64_FORMAT, minimum)
                : g_strdup_printf("between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT, minimum,
                                  maximum);
        berth_error_set(error, BERTH_ERROR_INVALID, "%" G_GINT64_FORMAT "%s%s is not %s%s%s", value,
                        field->unit != NULL ? " " : "", field->unit != NULL ? field->unit : "",
                        range, field->unit != NULL ? " " : "",
                        field->unit != NULL ? field->unit : "");
        return FALSE;
    }
    *member = value;
    return TRUE;
}

static gboolean
fail_choice(const char *text, const char *const *choices, GError **error)
{
    g_autofree char *quoted = berth_quote(text);
    g_autofree char *all = g_strjoinv(", ", (char **)choices);
    const char *near = berth_suggest(text, choices);
    g_autofree char *hint = near != NULL ? g_strdup_printf("did you mean \"%s\"?", near) : NULL;
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, hint, "%s is none of: %s", quoted, all);
    return FALSE;
}

static gboolean
read_enum(const BerthField *field, int *member, const json_t *json, GError **error)
{
    if (!json_is_string(json)) {
        return fail_type(error, "a string", json);
    }
    for (int i = 0; field->choices[i] != NULL; i++) {
        if (strcmp(field->choices[i], json_string_value(json)) == 0) {
            *member = i;
            return TRUE;
        }
    }
    return fail_choice(json_string_value(json), field->choices, error);
}

/* Whether @json is a string of @minimum to @maximum bytes without NUL. */
static gboolean
check_string(const json_t *json, gint64 minimum, gint64 maximum, GError **error)
{
    if (!json_is_string(json)) {
        return fail_type(error, "a string", json);
    }
    gsize length = json_string_length(json);
    if (memchr(json_string_value(json), '\0', length) != NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "contains the character NUL");
        return FALSE;
    }
    if (length < (gsize)minimum) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        minimum == 1 ? "must not be empty" : "is shorter than %d bytes",
                        (int)minimum);
        return FALSE;
    }
    if (length > (gsize)maximum) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "has %zu bytes; at most %" G_GINT64_FORMAT " are allowed", length, maximum);
        return FALSE;
    }
    return TRUE;
}

static gboolean
read_string(const BerthField *field, char **member, const json_t *json, GError **error)
{
    gint64 minimum, maximum;
    berth_field_limits(field, &minimum, &maximum);
    if (!check_string(json, minimum, maximum, error)) {
        return FALSE;
    }
    const char *text = json_string_value(json);
    if (field->choices != NULL && !g_strv_contains(field->choices, text)) {
        return fail_choice(text, field->choices, error);
    }
    if (!berth_format_check(field->format, text, error)) {
        return FALSE;
    }
    g_free(*member);
    *member = g_strdup(text);
    return TRUE;
}

/* Whether @json is a list (or map) with an allowed number of entries. */
static gboolean
check_count(const BerthField *field, const json_t *json, GError **error)
{
    gint64 minimum, maximum;
    berth_field_limits(field, &minimum, &maximum);
    gsize count = json_is_array(json) ? json_array_size(json) : json_object_size(json);
    if (count < (gsize)minimum) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "has %zu entries; at least %" G_GINT64_FORMAT " must be there", count,
                        minimum);
        return FALSE;
    }
    if (count > (gsize)maximum) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "has %zu entries; at most %" G_GINT64_FORMAT " are allowed", count,
                        maximum);
        return FALSE;
    }
    return TRUE;
}

static gboolean
read_strings(const BerthField *field, char ***member, const json_t *json, GError **error)
{
    if (!json_is_array(json)) {
        return fail_type(error, "a list of strings", json);
    }
    if (!check_count(field, json, error)) {
        return FALSE;
    }
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    for (gsize i = 0; i < json_array_size(json); i++) {
        const json_t *item = json_array_get(json, i);
        if (!check_string(item, 0, LIST_STRING_BYTES, error) ||
            !berth_format_check(field->format, json_string_value(item), error)) {
            return fail_at_index(error, i);
        }
        g_strv_builder_add(builder, json_string_value(item));
    }
    *member = g_strv_builder_end(builder);
    return TRUE;
}

static gboolean
read_map(const BerthField *field, json_t **member, json_t *json, GError **error)
{
    if (!json_is_object(json)) {
        return fail_type(error, "an object of strings", json);
    }
    if (!check_count(field, json, error)) {
        return FALSE;
    }
    const char *key;
    json_t *value;
    json_object_foreach (json, key, value) {
        if (!berth_label_key_check(key, error) || !check_string(value, 0, MAP_VALUE_BYTES, error)) {
            return fail_at(error, key);
        }
    }
    *member = json_deep_copy(json);
    return TRUE;
}

static gboolean
read_counts(const BerthField *field, json_t **member, json_t *json, GError **error)
{
    if (!json_is_object(json)) {
        return fail_type(error, "an object of whole numbers", json);
    }
    if (json_object_size(json) > BERTH_COUNTS_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "has %zu entries; at most %d are allowed",
                        json_object_size(json), BERTH_COUNTS_MAX);
        return FALSE;
    }
    const char *key;
    json_t *value;
    gint64 number;
    json_object_foreach (json, key, value) {
        if (!berth_label_key_check(key, error) || !read_int(field, &number, value, error)) {
            return fail_at(error, key);
        }
    }
    *member = json_deep_copy(json);
    return TRUE;
}

static gboolean
read_objects(const BerthField *field, GPtrArray **member, const json_t *json, GError **error)
{
    if (!json_is_array(json)) {
        return fail_type(error, "a list of objects", json);
    }
    if (!check_count(field, json, error)) {
        return FALSE;
    }
    *member = g_ptr_array_new();
    for (gsize i = 0; i < json_array_size(json); i++) {
        gpointer item = berth_schema_read(field->schema, json_array_get(json, i), error);
        if (item == NULL) {
            return fail_at_index(error, i);
        }
        g_ptr_array_add(*member, item);
    }
    return TRUE;
}

static gboolean
read_field(const BerthField *field, gpointer member, json_t *json, GError **error)
{
    switch (field->type) {
    case BERTH_FIELD_BOOL:
        *(gboolean *)member = json_is_true(json);
        return json_is_boolean(json) || fail_type(error, "true or false", json);
    case BERTH_FIELD_INT:
        return read_int(field, member, json, error);
    case BERTH_FIELD_ENUM:
        return read_enum(field, member, json, error);
    case BERTH_FIELD_STRING:
        return read_string(field, member, json, error);
    case BERTH_FIELD_STRINGS:
        return read_strings(field, member, json, error);
    case BERTH_FIELD_MAP:
        return read_map(field, member, json, error);
    case BERTH_FIELD_COUNTS:
        return read_counts(field, member, json, error);
    case BERTH_FIELD_OBJECT:
        return read_members(field->schema, member, json, error);
    case BERTH_FIELD_OBJECTS:
        return read_objects(field, member, json, error);
    case BERTH_FIELD_JSON:
        *(json_t **)member = json_deep_copy(json);
        return TRUE;
    }
    return FALSE;
}

static gboolean
fail_unknown(const BerthSchema *schema, const char *name, GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (gsize i = 0; i < schema->count; i++) {
        g_ptr_array_add(known, (gpointer)schema->fields[i].name);
    }
    g_ptr_array_add(known, NULL);
    const char *near = berth_suggest(name, (const char *const *)known->pdata);
    g_autofree char *all = g_strjoinv(", ", (char **)known->pdata);
    g_autofree char *hint = near != NULL ? g_strdup_printf("did you mean \"%s\"?", near)
                                         : g_strdup_printf("known here: %s", all);
    g_autofree char *quoted = berth_quote(name);
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, hint, "unknown member %s", quoted);
    return fail_at(error, name);
}

static gboolean
check_members_known(const BerthSchema *schema, json_t *json, GError **error)
{
    const char *name;
    json_t *value;
    json_object_foreach (json, name, value) {
        if (strchr(name, '.') != NULL || berth_schema_find(schema, name) == NULL) {
            return fail_unknown(schema, name, error);
        }
    }
    return TRUE;
}

static gboolean
read_members(const BerthSchema *schema, gpointer data, const json_t *json, GError **error)
{
    if (!json_is_object(json)) {
        return fail_type(error, "an object", json);
    }
    if (!check_members_known(schema, (json_t *)json, error)) {
        return FALSE;
    }
    for (gsize i = 0; i < schema->count; i++) {
        const BerthField *field = &schema->fields[i];
        json_t *value = json_object_get(json, field->name);
        if (value == NULL && field->required) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, field->doc, "is required");
            return fail_at(error, field->name);
        }
        if (value != NULL &&
            !read_field(field, G_STRUCT_MEMBER_P(data, field->offset), value, error)) {
            return fail_at(error, field->name);
        }
    }
    return TRUE;
}

/**
 * berth_schema_read:
 * @json: (nullable): any JSON value; NULL reads as the empty object
 *
 * Returns: (transfer full) (nullable): a struct of @schema with what @json says and defaults for the
 * rest; free it with berth_schema_free(). Errors: INVALID with the pointer of the offending field
 * ("/containers/0/image"), relative to @json.
 */
gpointer
berth_schema_read(const BerthSchema *schema, const json_t *json, GError **error)
{
    g_autoptr(json_t) empty = json_object();
    gpointer data = berth_schema_new(schema);
    if (!read_members(schema, data, json != NULL ? json : empty, error)) {
        berth_schema_free(schema, data);
        return NULL;
    }
    return data;
}
