/* The tables as text for people: `berth explain` and the reference pages. Pure; thread-safe. */
#include "model/object.h"

#include <string.h>

#include "base/error.h"

static const char *
type_name(const BerthField *field)
{
    static const char *const names[] = {
        [BERTH_FIELD_BOOL] = "boolean",           [BERTH_FIELD_INT] = "integer",
        [BERTH_FIELD_STRING] = "string",          [BERTH_FIELD_ENUM] = "string",
        [BERTH_FIELD_STRINGS] = "[]string",       [BERTH_FIELD_MAP] = "map of strings",
        [BERTH_FIELD_COUNTS] = "map of integers", [BERTH_FIELD_OBJECT] = "object",
        [BERTH_FIELD_OBJECTS] = "[]object",       [BERTH_FIELD_JSON] = "any JSON",
    };
    return names[field->type];
}

static void
append_range(GString *text, const BerthField *field)
{
    gint64 minimum, maximum;
    berth_field_limits(field, &minimum, &maximum);
    if (field->minimum == 0 && field->maximum == 0) {
        return;
    }
    gboolean whole = field->type == BERTH_FIELD_INT || field->type == BERTH_FIELD_COUNTS;
    const char *unit = field->type == BERTH_FIELD_STRING ? "bytes"
                       : whole && field->unit != NULL    ? field->unit
                       : whole                           ? ""
                                                         : "entries";
    const char *space = *unit != '\0' ? " " : "";
    if (maximum == G_MAXINT64) {
        g_string_append_printf(text, ", at least %" G_GINT64_FORMAT "%s%s", minimum, space, unit);
    } else if (minimum == 0 && !whole) {
        g_string_append_printf(text, ", at most %" G_GINT64_FORMAT "%s%s", maximum, space, unit);
    } else {
        g_string_append_printf(text, ", %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT "%s%s", minimum,
                               maximum, space, unit);
    }
}

static void
append_default(GString *text, const BerthField *field)
{
    if (field->required) {
        g_string_append(text, ", required");
    } else if (field->type == BERTH_FIELD_BOOL) {
        g_string_append_printf(text, ", default %s", field->fallback ? "true" : "false");
    } else if (field->type == BERTH_FIELD_INT) {
        g_string_append_printf(text, ", default %" G_GINT64_FORMAT, field->fallback);
    } else if (field->type == BERTH_FIELD_ENUM) {
        g_string_append_printf(text, ", default %s", field->choices[field->fallback]);
    } else if (field->fallback_text != NULL) {
        g_string_append_printf(text, ", default %s", field->fallback_text);
    }
}

/** Returns: (transfer full): type, range and default in a few words: "integer, 1 to 512, default 1". */
char *
berth_field_facts(const BerthField *field)
{
    GString *text = g_string_new(type_name(field));
    append_range(text, field);
    append_default(text, field);
    return g_string_free(text, FALSE);
}

/* "<integer, 1 to 512, default 1, changes at the next boot>" */
static void
append_facts(GString *text, const BerthField *field)
{
    static const char *const changes[] = {"", ", changes at the next boot", ", can't be changed"};
    g_autofree char *facts = berth_field_facts(field);
    g_string_append_printf(text, "<%s%s>", facts, changes[field->mutability]);
}

static void
append_field(GString *text, const BerthField *field)
{
    g_string_append_printf(text, "  %s  ", field->name);
    append_facts(text, field);
    g_string_append_printf(text, "\n      %s\n", field->doc);
    if (field->choices != NULL) {
        g_autofree char *all = g_strjoinv(", ", (char **)field->choices);
        g_string_append_printf(text, "      One of: %s.\n", all);
    }
}

/**
 * berth_schema_explain:
 * @title: the heading, as the user asked: "pod.spec"
 *
 * Returns: (transfer full): @schema and its fields as text, lines ended by newlines.
 */
char *
berth_schema_explain(const BerthSchema *schema, const char *title)
{
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "%s: %s\n\nFields:\n", title, schema->doc);
    for (gsize i = 0; i < schema->count; i++) {
        append_field(text, &schema->fields[i]);
    }
    return g_string_free(text, FALSE);
}

/** Returns: (transfer full): one field as text, with its members when it has some; as above. */
char *
berth_field_explain(const BerthField *field, const char *title)
{
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "%s  ", title);
    append_facts(text, field);
    g_string_append_printf(text, "\n  %s\n", field->doc);
    if (field->choices != NULL) {
        g_autofree char *all = g_strjoinv(", ", (char **)field->choices);
        g_string_append_printf(text, "  One of: %s.\n", all);
    } else if (field->format != BERTH_FORMAT_TEXT) {
        g_string_append_printf(text, "  It is %s.\n", berth_format_doc(field->format));
    }
    if (field->schema != NULL) {
        g_autofree char *members = berth_schema_explain(field->schema, field->schema->name);
        g_string_append_printf(text, "\n%s", members);
    }
    return g_string_free(text, FALSE);
}

static char *
explain_kind(const BerthKind *kind, const char *title)
{
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "%s (%s%s%s): %s\n\n", kind->name, kind->plural,
                           kind->short_name != NULL ? ", " : "",
                           kind->short_name != NULL ? kind->short_name : "", kind->doc);
    g_string_append_printf(text, "Belongs to %s.%s\n\nParts:\n",
                           kind->scope == BERTH_SCOPE_FLEET ? "the fleet" : "a project",
                           kind->read_only ? " Written by Berth alone." : "");
    g_string_append_printf(text, "  %s.metadata  %s\n  %s.spec      %s\n", title,
                           berth_metadata_schema.doc, title, kind->spec->doc);
    if (kind->workload) {
        g_string_append_printf(text,
                               "  %s.power     \"on\" or \"off\": what start and shutdown "
                               "asked for; written by these verbs alone.\n",
                               title);
    }
    if (kind->status != NULL) {
        g_string_append_printf(text, "  %s.status    %s\n", title, kind->status->doc);
    }
    return g_string_free(text, FALSE);
}

static const BerthSchema *
find_part(const BerthKind *kind, const char *name)
{
    return strcmp(name, "metadata") == 0 ? &berth_metadata_schema
           : strcmp(name, "spec") == 0   ? kind->spec
           : strcmp(name, "status") == 0 ? kind->status
                                         : NULL;
}

/* @parts: kind, part, member, …; at least two of them. */
static char *
explain_parts(const BerthKind *kind, char **parts, const char *path, GError **error)
{
    const BerthSchema *schema = find_part(kind, parts[1]);
    if (schema == NULL) {
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL,
                           kind->status != NULL ? "parts are metadata, spec and status"
                                                : "parts are metadata and spec",
                           "%s has no part \"%s\"", kind->name, parts[1]);
        return NULL;
    }
    if (parts[2] == NULL) {
        return berth_schema_explain(schema, path);
    }
    for (gsize i = 2; parts[i] != NULL; i++) {
        const BerthField *field = schema != NULL ? berth_schema_find(schema, parts[i]) : NULL;
        if (field == NULL) {
            g_autofree char *quoted = berth_quote(parts[i]);
            g_autofree char *upper = g_strndup(path, (gsize)(strlen(path) - strlen(parts[i])));
            berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL,
                               "leave out the last part of the path to see what is there",
                               "%s has no field %s", schema != NULL ? schema->name : upper, quoted);
            return NULL;
        }
        if (parts[i + 1] == NULL) {
            return berth_field_explain(field, path);
        }
        schema = field->schema;
    }
    return NULL;
}

/**
 * berth_kind_explain:
 * @path: KIND, KIND.PART or KIND.PART.FIELD…, the kind by any of its names
 *
 * Returns: (transfer full) (nullable): text for people. Errors: NOT_FOUND.
 */
char *
berth_kind_explain(const char *path, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(path, ".", -1);
    const BerthKind *kind = parts[0] != NULL ? berth_kind_find(parts[0]) : NULL;
    if (kind == NULL) {
        g_autofree char *quoted = berth_quote(parts[0] != NULL ? parts[0] : "");
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL, "berth explain lists the kinds",
                           "there is no kind %s", quoted);
        return NULL;
    }
    return parts[1] == NULL ? explain_kind(kind, path) : explain_parts(kind, parts, path, error);
}

/** Returns: (transfer full): JSON Schema of a whole object of @kind, as the API answers it. */
json_t *
berth_kind_openapi(const BerthKind *kind)
{
    json_t *properties = json_pack(
        "{s:{s:s, s:s}, s:o, s:o}", "kind", "type", "string", "const", kind->name, "metadata",
        berth_schema_openapi(&berth_metadata_schema), "spec", berth_schema_openapi(kind->spec));
    if (kind->workload) {
        json_object_set_new(properties, "power",
                            json_pack("{s:s, s:[s, s], s:b, s:s}", "type", "string", "enum", "off",
                                      "on", "readOnly", 1, "description",
                                      "What start and shutdown asked for."));
    }
    if (kind->status != NULL) {
        json_t *status = berth_schema_openapi(kind->status);
        json_object_set_new(status, "readOnly", json_true());
        json_object_set_new(properties, "status", status);
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:b}", "title", kind->name, "description", kind->doc,
                     "type", "object", "properties", properties, "additionalProperties", 0);
}
