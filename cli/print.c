/* From JSON to what is shown. Invariant: every cell is escaped here, when it enters a table, so no
 * command needs to think of it. Pure; returns text, prints nothing. */
#include "cli/print.h"

#include <string.h>

#include "base/json.h"
#include "cli/escape.h"
#include "cli/yaml.h"

const char *const berth_output_names[] = {"table", "wide", "json", "yaml", "name", NULL};

/* A line of dashes is longer only where the columns before the last one are. */
#define DASHES_MAX 80

/* ---- tables ---- */

struct BerthTable {
    guint columns;
    GPtrArray *cells; /* owned strings, row after row, titles first */
};

/** @titles: NULL-terminated; copied. */
BerthTable *
berth_table_new(const char *const *titles)
{
    BerthTable *table = g_new0(BerthTable, 1);
    table->columns = g_strv_length((char **)titles);
    table->cells = g_ptr_array_new_with_free_func(g_free);
    berth_table_add(table, titles);
    return table;
}

/** @cells: as many as there are titles; NULL or "" is shown as "-". Escaped here. */
void
berth_table_add(BerthTable *table, const char *const *cells)
{
    for (guint i = 0; i < table->columns; i++) {
        const char *cell = cells[i] == NULL || *cells[i] == '\0' ? "-" : cells[i];
        g_ptr_array_add(table->cells, berth_escape_text(cell));
    }
}

static void
append_row(const BerthTable *table, guint row, const gsize *widths, GString *out)
{
    for (guint i = 0; i < table->columns; i++) {
        const char *cell = table->cells->pdata[row * table->columns + i];
        g_string_append_printf(out, " %s", cell);
        if (i + 1 < table->columns) {
            g_string_append_printf(out, "%*s", (int)(widths[i] - berth_escape_width(cell)) + 2, "");
        }
    }
    g_string_append_c(out, '\n');
}

/** Returns: (transfer full): titles, a line of dashes, rows, an empty line; as virsh does it. */
char *
berth_table_format(const BerthTable *table)
{
    guint rows = table->cells->len / table->columns;
    g_autofree gsize *widths = g_new0(gsize, table->columns);
    gsize dashes = 0, last = 0;
    for (guint i = 0; i < table->columns; i++) {
        for (guint row = 0; row < rows; row++) {
            const char *cell = table->cells->pdata[row * table->columns + i];
            widths[i] = MAX(widths[i], berth_escape_width(cell));
        }
        last = widths[i];
        dashes += last + 3;
    }
    /* A line of its own is not broken for one long text at the end of a row. */
    if (dashes > DASHES_MAX) {
        dashes = MAX(DASHES_MAX, dashes - last);
    }
    GString *out = g_string_new(NULL);
    append_row(table, 0, widths, out);
    g_autofree char *line = g_strnfill(dashes, '-');
    g_string_append_printf(out, "%s\n", line);
    for (guint row = 1; row < rows; row++) {
        append_row(table, row, widths, out);
    }
    g_string_append_c(out, '\n');
    return g_string_free(out, FALSE);
}

void
berth_table_free(BerthTable *table)
{
    if (table != NULL) {
        g_ptr_array_unref(table->cells);
        g_free(table);
    }
}

/* ---- facts ---- */

struct BerthFacts {
    GPtrArray *pairs; /* owned strings: name, value, name, value */
};

BerthFacts *
berth_facts_new(void)
{
    BerthFacts *facts = g_new0(BerthFacts, 1);
    facts->pairs = g_ptr_array_new_with_free_func(g_free);
    return facts;
}

/** Adds "name: text"; the text is escaped. A NULL @format adds nothing. */
void
berth_facts_add(BerthFacts *facts, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(facts->pairs, g_strdup(name));
    g_ptr_array_add(facts->pairs, berth_escape_text(text));
}

/** Returns: (transfer full): one line each, the values in one column, and an empty line. */
char *
berth_facts_format(const BerthFacts *facts)
{
    gsize width = 0;
    for (guint i = 0; i < facts->pairs->len; i += 2) {
        width = MAX(width, strlen(facts->pairs->pdata[i]) + 1);
    }
    GString *out = g_string_new(NULL);
    for (guint i = 0; i < facts->pairs->len; i += 2) {
        g_autofree char *name = g_strconcat(facts->pairs->pdata[i], ":", NULL);
        g_string_append_printf(out, "%-*s %s\n", (int)width, name,
                               (char *)facts->pairs->pdata[i + 1]);
    }
    g_string_append_c(out, '\n');
    return g_string_free(out, FALSE);
}

void
berth_facts_free(BerthFacts *facts)
{
    if (facts != NULL) {
        g_ptr_array_unref(facts->pairs);
        g_free(facts);
    }
}

/* ---- values ---- */

/**
 * berth_print_value:
 * @output: JSON or YAML
 *
 * Returns: (transfer full): @value as a document with a line end; nothing in it acts on a terminal.
 */
char *
berth_print_value(const json_t *value, BerthOutput output)
{
    if (output == BERTH_OUTPUT_YAML) {
        return berth_yaml_format(value);
    }
    char *dumped = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    g_autofree char *text = g_strconcat(dumped, "\n", NULL);
    free(dumped);
    return berth_escape_json(text);
}

/* An item by its number, or the condition of that type. */
static const json_t *
item_at(const json_t *list, const char *part)
{
    gsize i;
    json_t *item;
    if (g_ascii_isdigit(*part)) {
        return json_array_get(list, g_ascii_strtoull(part, NULL, 10));
    }
    json_array_foreach ((json_t *)list, i, item) {
        if (g_strcmp0(berth_json_string(item, "type"), part) == 0) {
            return item;
        }
    }
    return NULL;
}

/**
 * berth_json_at:
 * @pointer: "/spec/disks/0/image", "/status/conditions/Schedulable/value"
 *
 * Returns: (nullable): the value there, borrowed.
 */
const json_t *
berth_json_at(const json_t *value, const char *pointer)
{
    g_auto(GStrv) parts = g_strsplit(*pointer == '/' ? pointer + 1 : pointer, "/", -1);
    for (char **part = parts; *part != NULL && value != NULL; part++) {
        value = json_is_array(value) ? item_at(value, *part) : json_object_get(value, *part);
    }
    return value;
}

typedef struct {
    char *key;      /* owned */
    json_t *object; /* borrowed */
} Sorted;

static int
compare_keys(gconstpointer a, gconstpointer b)
{
    return strcmp(((const Sorted *)a)->key, ((const Sorted *)b)->key);
}

/** Returns: (transfer full): @objects in the order in which people look for names, h2 before h10, by @member. */
json_t *
berth_sort_by_name(const json_t *objects, const char *member)
{
    g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(Sorted));
    json_t *sorted = json_array();
    gsize i;
    json_t *object;
    json_array_foreach ((json_t *)objects, i, object) {
        const char *name = berth_json_string(object, member);
        Sorted one = {g_utf8_collate_key_for_filename(name != NULL ? name : "", -1), object};
        g_array_append_val(order, one);
    }
    g_array_sort(order, compare_keys);
    for (i = 0; i < order->len; i++) {
        Sorted *one = &g_array_index(order, Sorted, i);
        json_array_append(sorted, one->object);
        g_free(one->key);
    }
    return sorted;
}

/** Returns: (transfer full): how long ago @time (RFC 3339) was: "42s", "5m", "3h", "12d"; NULL: no time. */
char *
berth_format_age(const char *time, gint64 now_us)
{
    g_autoptr(GDateTime) then = time != NULL ? g_date_time_new_from_iso8601(time, NULL) : NULL;
    if (then == NULL) {
        return NULL;
    }
    gint64 seconds = MAX(0, now_us / G_USEC_PER_SEC - g_date_time_to_unix(then));
    if (seconds < 120) {
        return g_strdup_printf("%" G_GINT64_FORMAT "s", seconds);
    }
    if (seconds < 2 * 3600) {
        return g_strdup_printf("%" G_GINT64_FORMAT "m", seconds / 60);
    }
    if (seconds < 2 * 86400) {
        return g_strdup_printf("%" G_GINT64_FORMAT "h", seconds / 3600);
    }
    return g_strdup_printf("%" G_GINT64_FORMAT "d", seconds / 86400);
}

/** Returns: (transfer full): "812 KiB", "3.4 GiB". */
char *
berth_format_bytes(gint64 bytes)
{
    return g_format_size_full(MAX(bytes, 0), G_FORMAT_SIZE_IEC_UNITS);
}

/** Returns: (transfer full): "256 MiB", "4 GiB", "1.5 GiB". */
char *
berth_format_mib(gint64 mib)
{
    if (mib < 1024) {
        return g_strdup_printf("%" G_GINT64_FORMAT " MiB", mib);
    }
    if (mib % 1024 == 0) {
        return g_strdup_printf("%" G_GINT64_FORMAT " GiB", mib / 1024);
    }
    return g_strdup_printf("%.1f GiB", (double)mib / 1024);
}

static char *
format_scalar(const json_t *value)
{
    if (json_is_string(value)) {
        return g_strdup(json_string_value(value));
    }
    if (json_is_boolean(value)) {
        return g_strdup(json_is_true(value) ? "yes" : "no");
    }
    char *dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    char *text = g_strdup(dumped);
    free(dumped);
    return text;
}

/* The default of a whole number that a spec leaves out: specs are kept as they were written. */
static json_t *
default_at(const json_t *object, const char *pointer)
{
    const char *name = berth_json_string(object, "kind");
    const BerthKind *kind = name != NULL ? berth_kind_find(name) : NULL;
    if (kind == NULL || !g_str_has_prefix(pointer, "/spec/")) {
        return NULL;
    }
    const BerthField *field = berth_schema_find(kind->spec, pointer + strlen("/spec/"));
    return field != NULL && field->type == BERTH_FIELD_INT && field->fallback != 0
               ? json_integer(field->fallback)
               : NULL;
}

/** Returns: (transfer full) (nullable): the text of @column; sizes, times and ages by their names. */
char *
berth_print_cell(const json_t *object, const BerthColumn *column, gint64 now_us)
{
    g_auto(GStrv) places = g_strsplit(column->pointer, "|", -1);
    const json_t *value = NULL;
    char **place = places;
    for (; *place != NULL; place++) {
        value = berth_json_at(object, *place);
        if (value != NULL && !json_is_null(value)) {
            break;
        }
    }
    g_autoptr(json_t) fallback = *place == NULL ? default_at(object, *places) : NULL;
    if (fallback != NULL) {
        value = fallback;
        place = places;
    }
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (json_is_integer(value) && g_str_has_suffix(*place, "_mib")) {
        return berth_format_mib(json_integer_value(value));
    }
    if (json_is_integer(value) && g_str_has_suffix(*place, "size")) {
        return berth_format_bytes(json_integer_value(value));
    }
    if (strcmp(column->title, "Age") == 0) {
        return berth_format_age(json_string_value(value), now_us);
    }
    return format_scalar(value);
}

/**
 * berth_print_objects:
 * @columns: ends with a NULL title
 * @wide: with the columns that are only for wide
 *
 * Returns: (transfer full): a table with a row for each object.
 */
char *
berth_print_objects(const json_t *objects, const BerthColumn *columns, gboolean wide, gint64 now_us)
{
    g_autoptr(GPtrArray) shown = g_ptr_array_new();
    g_autoptr(GPtrArray) titles = g_ptr_array_new();
    for (; columns->title != NULL; columns++) {
        if (wide || !columns->wide) {
            g_ptr_array_add(shown, (gpointer)columns);
            g_ptr_array_add(titles, (gpointer)columns->title);
        }
    }
    g_ptr_array_add(titles, NULL);
    g_autoptr(BerthTable) table = berth_table_new((const char *const *)titles->pdata);
    gsize i;
    json_t *object;
    json_array_foreach ((json_t *)objects, i, object) {
        g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
        for (guint column = 0; column < shown->len; column++) {
            g_ptr_array_add(cells, berth_print_cell(object, shown->pdata[column], now_us));
        }
        berth_table_add(table, (const char *const *)cells->pdata);
    }
    return berth_table_format(table);
}
