/* Structs described by tables: made with their defaults, freed, searched, and compared for changes
 * that may not be. Invariant: a struct owns everything its table says it owns. Pure; thread-safe.
 * Start with berth_schema_new(); reading is in schema-read.c, writing in schema-write.c. */
#include "model/schema.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"

#define STRING_BYTES 4096 /* a string's length when its row says nothing */
#define LIST_COUNT 64     /* entries of a list or map when its row says nothing */

/**
 * berth_field_limits:
 * @minimum: (out): the least value (INT, COUNTS), bytes (STRING) or entries (lists, maps)
 * @maximum: (out): the most
 *
 * What holds for @field, with the type's own limits where the table says nothing.
 */
void
berth_field_limits(const BerthField *field, gint64 *minimum, gint64 *maximum)
{
    gboolean said = field->minimum != 0 || field->maximum != 0;
    *minimum = field->minimum;
    *maximum = field->maximum;
    if (field->type == BERTH_FIELD_INT || field->type == BERTH_FIELD_COUNTS) {
        *maximum = said ? field->maximum : G_MAXINT64;
        *minimum = said ? field->minimum : G_MININT64;
    } else if (field->maximum == 0) {
        *maximum = field->type == BERTH_FIELD_STRING ? STRING_BYTES : LIST_COUNT;
    }
}

static void
set_defaults(const BerthSchema *schema, gpointer data)
{
    for (gsize i = 0; i < schema->count; i++) {
        const BerthField *field = &schema->fields[i];
        gpointer member = G_STRUCT_MEMBER_P(data, field->offset);
        switch (field->type) {
        case BERTH_FIELD_BOOL:
            *(gboolean *)member = (gboolean)field->fallback;
            break;
        case BERTH_FIELD_INT:
            *(gint64 *)member = field->fallback;
            break;
        case BERTH_FIELD_ENUM:
            *(int *)member = (int)field->fallback;
            break;
        case BERTH_FIELD_STRING:
            *(char **)member = g_strdup(field->fallback_text);
            break;
        case BERTH_FIELD_OBJECT:
            set_defaults(field->schema, member);
            break;
        case BERTH_FIELD_STRINGS:
        case BERTH_FIELD_MAP:
        case BERTH_FIELD_COUNTS:
        case BERTH_FIELD_OBJECTS:
        case BERTH_FIELD_JSON:
            break;
        }
    }
}

/** Returns: (transfer full): a struct of @schema with every default; free it with berth_schema_free(). */
gpointer
berth_schema_new(const BerthSchema *schema)
{
    gpointer data = g_malloc0(schema->size);
    set_defaults(schema, data);
    return data;
}

static void
free_objects(const BerthSchema *schema, GPtrArray *objects)
{
    if (objects == NULL) {
        return;
    }
    for (guint i = 0; i < objects->len; i++) {
        berth_schema_free(schema, objects->pdata[i]);
    }
    g_ptr_array_free(objects, TRUE);
}

static void
clear_members(const BerthSchema *schema, gpointer data)
{
    for (gsize i = 0; i < schema->count; i++) {
        const BerthField *field = &schema->fields[i];
        gpointer member = G_STRUCT_MEMBER_P(data, field->offset);
        switch (field->type) {
        case BERTH_FIELD_STRING:
            g_free(*(char **)member);
            break;
        case BERTH_FIELD_STRINGS:
            g_strfreev(*(char ***)member);
            break;
        case BERTH_FIELD_MAP:
        case BERTH_FIELD_COUNTS:
        case BERTH_FIELD_JSON:
            json_decref(*(json_t **)member);
            break;
        case BERTH_FIELD_OBJECT:
            clear_members(field->schema, member);
            break;
        case BERTH_FIELD_OBJECTS:
            free_objects(field->schema, *(GPtrArray **)member);
            break;
        case BERTH_FIELD_BOOL:
        case BERTH_FIELD_INT:
        case BERTH_FIELD_ENUM:
            break;
        }
    }
}

/** Frees @data (NULL accepted), a struct of @schema, with all that it owns. */
void
berth_schema_free(const BerthSchema *schema, gpointer data)
{
    if (data != NULL) {
        clear_members(schema, data);
        g_free(data);
    }
}

static const BerthField *
find_member(const BerthSchema *schema, const char *name)
{
    for (gsize i = 0; i < schema->count; i++) {
        if (strcmp(schema->fields[i].name, name) == 0) {
            return &schema->fields[i];
        }
    }
    return NULL;
}

/**
 * berth_schema_find:
 * @path: member names with dots between ("containers.image"); indexes are not part of it
 *
 * Returns: (nullable): the row, static; NULL when there is none.
 */
const BerthField *
berth_schema_find(const BerthSchema *schema, const char *path)
{
    const char *dot = strchr(path, '.');
    if (dot == NULL) {
        return find_member(schema, path);
    }
    g_autofree char *head = g_strndup(path, (gsize)(dot - path));
    const BerthField *field = find_member(schema, head);
    return field != NULL && field->schema != NULL ? berth_schema_find(field->schema, dot + 1)
                                                  : NULL;
}

static gboolean check_members(const BerthSchema *schema, const json_t *before, const json_t *after,
                              GError **error);

/* Members of a list are the same one when they have the same name, or the same place if unnamed. */
static const json_t *
find_counterpart(const json_t *list, const json_t *item, gsize index)
{
    const char *name = berth_json_string(item, "name");
    if (name == NULL) {
        return json_array_get(list, index);
    }
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *other = berth_json_string(json_array_get(list, i), "name");
        if (g_strcmp0(other, name) == 0) {
            return json_array_get(list, i);
        }
    }
    return NULL;
}

static gboolean
check_list(const BerthSchema *schema, const json_t *before, const json_t *after, GError **error)
{
    for (gsize i = 0; i < json_array_size(after); i++) {
        const json_t *item = json_array_get(after, i);
        const json_t *old = find_counterpart(before, item, i);
        if (old != NULL && !check_members(schema, old, item, error)) {
            if (error != NULL) {
                g_autofree char *place = g_strdup_printf("/%zu", i);
                berth_error_point(*error, place);
            }
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_field(const BerthField *field, const json_t *before, const json_t *after, GError **error)
{
    if (field->mutability == BERTH_MUTABLE_NEVER) {
        if (before == after ||
            (before != NULL && after != NULL && json_equal((json_t *)before, (json_t *)after))) {
            return TRUE;
        }
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "delete the object and create it anew",
                           "%s can't be changed once the object exists", field->name);
        return FALSE;
    }
    if (before == NULL || after == NULL) {
        return TRUE;
    }
    return field->type == BERTH_FIELD_OBJECT    ? check_members(field->schema, before, after, error)
           : field->type == BERTH_FIELD_OBJECTS ? check_list(field->schema, before, after, error)
                                                : TRUE;
}

static gboolean
check_members(const BerthSchema *schema, const json_t *before, const json_t *after, GError **error)
{
    for (gsize i = 0; i < schema->count; i++) {
        const BerthField *field = &schema->fields[i];
        if (!check_field(field, json_object_get(before, field->name),
                         json_object_get(after, field->name), error)) {
            if (error != NULL) {
                g_autofree char *place = g_strconcat("/", field->name, NULL);
                berth_error_point(*error, place);
            }
            return FALSE;
        }
    }
    return TRUE;
}

/**
 * berth_schema_check_change:
 * @before: JSON that reads under @schema
 * @after: the same, as it shall become
 *
 * Compares what the two mean: a default that is written out is no change.
 *
 * Returns: whether no field that is never mutable changes. Errors: INVALID with the field's pointer.
 */
gboolean
berth_schema_check_change(const BerthSchema *schema, const json_t *before, const json_t *after,
                          GError **error)
{
    gpointer old = berth_schema_read(schema, before, error);
    if (old == NULL) {
        return FALSE;
    }
    gpointer new = berth_schema_read(schema, after, error);
    gboolean good = FALSE;
    if (new != NULL) {
        g_autoptr(json_t) old_full = berth_schema_write(schema, old);
        g_autoptr(json_t) new_full = berth_schema_write(schema, new);
        good = check_members(schema, old_full, new_full, error);
    }
    berth_schema_free(schema, old);
    berth_schema_free(schema, new);
    return good;
}
