/* From structs and tables to JSON: values, and the JSON Schema that OpenAPI 3.1 uses. Pure;
 * thread-safe. */
#include "model/schema.h"

#include <string.h>

static json_t *
write_strings(char **strings)
{
    if (strings == NULL) {
        return NULL;
    }
    json_t *list = json_array();
    for (gsize i = 0; strings[i] != NULL; i++) {
        json_array_append_new(list, json_string(strings[i]));
    }
    return list;
}

static json_t *
write_objects(const BerthSchema *schema, const GPtrArray *objects)
{
    if (objects == NULL) {
        return NULL;
    }
    json_t *list = json_array();
    for (guint i = 0; i < objects->len; i++) {
        json_array_append_new(list, berth_schema_write(schema, objects->pdata[i]));
    }
    return list;
}

/* An embedded struct with nothing to say is left out. */
static json_t *
write_object(const BerthSchema *schema, gconstpointer data)
{
    json_t *object = berth_schema_write(schema, data);
    if (json_object_size(object) == 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *
write_field(const BerthField *field, gconstpointer member)
{
    switch (field->type) {
    case BERTH_FIELD_BOOL:
        return json_boolean(*(const gboolean *)member);
    case BERTH_FIELD_INT:
        return json_integer(*(const gint64 *)member);
    case BERTH_FIELD_ENUM:
        return json_string(field->choices[*(const int *)member]);
    case BERTH_FIELD_STRING:
        return *(char *const *)member != NULL ? json_string(*(char *const *)member) : NULL;
    case BERTH_FIELD_STRINGS:
        return write_strings(*(char **const *)member);
    case BERTH_FIELD_MAP:
    case BERTH_FIELD_COUNTS:
    case BERTH_FIELD_JSON:
        return json_deep_copy(*(json_t *const *)member);
    case BERTH_FIELD_OBJECT:
        return write_object(field->schema, member);
    case BERTH_FIELD_OBJECTS:
        return write_objects(field->schema, *(GPtrArray *const *)member);
    }
    return NULL;
}

/**
 * berth_schema_write:
 * @data: a struct of @schema
 *
 * Returns: (transfer full): it as an object, defaults written out, absent members left out; reading it
 * again gives an equal struct.
 */
json_t *
berth_schema_write(const BerthSchema *schema, gconstpointer data)
{
    json_t *object = json_object();
    for (gsize i = 0; i < schema->count; i++) {
        const BerthField *field = &schema->fields[i];
        json_t *value = write_field(field, (const guint8 *)data + field->offset);
        if (value != NULL) {
            json_object_set_new(object, field->name, value);
        }
    }
    return object;
}

static const char *
openapi_format(BerthFormat format)
{
    switch (format) {
    case BERTH_FORMAT_UUID:
        return "uuid";
    case BERTH_FORMAT_TIME:
        return "date-time";
    default:
        return NULL;
    }
}

static const char *
openapi_pattern(BerthFormat format)
{
    switch (format) {
    case BERTH_FORMAT_NAME:
        return "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    case BERTH_FORMAT_MAC:
        return "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$";
    case BERTH_FORMAT_DIGEST:
        return "^sha256:[0-9a-f]{64}$";
    case BERTH_FORMAT_ENV:
        return "^[A-Za-z0-9_.-]+=";
    case BERTH_FORMAT_DEVICE:
        return "^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,14}$";
    case BERTH_FORMAT_LIBVIRT:
        return "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}$";
    default:
        return NULL;
    }
}

static void
set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL) {
        json_object_set_new(object, key, json_string(text));
    }
}

static json_t *
describe_string(BerthFormat format)
{
    json_t *type = json_pack("{s:s}", "type", "string");
    set_text(type, "format", openapi_format(format));
    set_text(type, "pattern", openapi_pattern(format));
    return type;
}

static json_t *
describe_choices(const char *const *choices)
{
    json_t *list = json_array();
    for (gsize i = 0; choices[i] != NULL; i++) {
        json_array_append_new(list, json_string(choices[i]));
    }
    return json_pack("{s:s, s:o}", "type", "string", "enum", list);
}

static json_t *
describe_whole(const BerthField *field)
{
    gint64 minimum, maximum;
    berth_field_limits(field, &minimum, &maximum);
    json_t *type = json_pack("{s:s, s:s}", "type", "integer", "format", "int64");
    if (minimum != G_MININT64) {
        json_object_set_new(type, "minimum", json_integer(minimum));
    }
    if (maximum != G_MAXINT64) {
        json_object_set_new(type, "maximum", json_integer(maximum));
    }
    return type;
}

static json_t *
describe_integer(const BerthField *field)
{
    json_t *type = describe_whole(field);
    if (!field->required) {
        json_object_set_new(type, "default", json_integer(field->fallback));
    }
    return type;
}

static json_t *
describe_list(const BerthField *field, json_t *items)
{
    gint64 minimum, maximum;
    berth_field_limits(field, &minimum, &maximum);
    return json_pack("{s:s, s:o, s:I, s:I}", "type", "array", "items", items, "minItems",
                     (json_int_t)minimum, "maxItems", (json_int_t)maximum);
}

static json_t *
describe_text(const BerthField *field)
{
    gint64 minimum, maximum;
    berth_field_limits(field, &minimum, &maximum);
    json_t *type =
        field->choices != NULL ? describe_choices(field->choices) : describe_string(field->format);
    if (minimum > 0) {
        json_object_set_new(type, "minLength", json_integer(1));
    }
    json_object_set_new(type, "maxLength", json_integer(maximum));
    set_text(type, "default", field->fallback_text);
    return type;
}

static json_t *
describe_type(const BerthField *field)
{
    switch (field->type) {
    case BERTH_FIELD_BOOL:
        return json_pack("{s:s, s:b}", "type", "boolean", "default", (int)field->fallback);
    case BERTH_FIELD_INT:
        return describe_integer(field);
    case BERTH_FIELD_ENUM: {
        json_t *type = describe_choices(field->choices);
        set_text(type, "default", field->choices[field->fallback]);
        return type;
    }
    case BERTH_FIELD_STRING:
        return describe_text(field);
    case BERTH_FIELD_STRINGS:
        return describe_list(field, describe_string(field->format));
    case BERTH_FIELD_MAP:
        return json_pack("{s:s, s:{s:s}}", "type", "object", "additionalProperties", "type",
                         "string");
    case BERTH_FIELD_COUNTS:
        return json_pack("{s:s, s:i, s:o}", "type", "object", "maxProperties", BERTH_COUNTS_MAX,
                         "additionalProperties", describe_whole(field));
    case BERTH_FIELD_OBJECT:
        return berth_schema_openapi(field->schema);
    case BERTH_FIELD_OBJECTS:
        return describe_list(field, berth_schema_openapi(field->schema));
    case BERTH_FIELD_JSON:
        return json_object();
    }
    return NULL;
}

static json_t *
describe_field(const BerthField *field)
{
    static const char *const changes[] = {"live", "next-boot", "never"};
    json_t *type = describe_type(field);
    set_text(type, "description", field->doc);
    set_text(type, "x-unit", field->unit);
    set_text(type, "x-change", changes[field->mutability]);
    return type;
}

/**
 * berth_schema_openapi:
 *
 * Returns: (transfer full): @schema as JSON Schema (the dialect of OpenAPI 3.1), nested structs written
 * in place, so that it stands alone. Length limits of strings count bytes.
 */
json_t *
berth_schema_openapi(const BerthSchema *schema)
{
    json_t *properties = json_object(), *required = json_array();
    for (gsize i = 0; i < schema->count; i++) {
        const BerthField *field = &schema->fields[i];
        json_object_set_new(properties, field->name, describe_field(field));
        if (field->required) {
            json_array_append_new(required, json_string(field->name));
        }
    }
    json_t *type = json_pack("{s:s, s:s, s:o, s:b}", "title", schema->name, "type", "object",
                             "properties", properties, "additionalProperties", 0);
    set_text(type, "description", schema->doc);
    if (json_array_size(required) > 0) {
        json_object_set(type, "required", required);
    }
    json_decref(required);
    return type;
}
