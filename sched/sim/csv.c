/* Reading of traces: comma-separated files and lists of numbers. Trusts nothing in them: a row with too few fields and
 * a number that is none, or out of bounds, are errors that name their line. */
#include <string.h>

#include "base/error.h"
#include "sched/sim/sim.h"

static char *
read_all(const char *path, GError **error)
{
    char *data = NULL;
    GError *cause = NULL;
    if (!g_file_get_contents(path, &data, NULL, &cause)) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "can't read '%s': %s", path, cause->message);
        g_clear_error(&cause);
    }
    return data;
}

static char **
split_row(char *line, guint n)
{
    char **fields = g_new0(char *, n + 1);
    guint at = 0;
    line[strcspn(line, "\r")] = '\0';
    while (line != NULL && at < n) {
        fields[at++] = strsep(&line, ",");
    }
    if (at < n) {
        g_free(fields);
        return NULL;
    }
    return fields;
}

/**
 * sim_csv_read:
 *
 * Returns: (transfer full): the rows; NULL with @error when the file can't be read or a row is short
 */
SimCsv *
sim_csv_read(const char *path, GError **error)
{
    char *data = read_all(path, error);
    if (data == NULL) {
        return NULL;
    }
    g_autoptr(SimCsv) csv = g_new0(SimCsv, 1);
    csv->path = g_strdup(path);
    csv->data = data;
    csv->lines = g_array_new(FALSE, FALSE, sizeof(guint));
    csv->header = g_ptr_array_new();
    csv->rows = g_ptr_array_new_with_free_func(g_free);
    char *line = strsep(&data, "\n");
    line[strcspn(line, "\r")] = '\0';
    while (line != NULL) {
        g_ptr_array_add(csv->header, strsep(&line, ","));
    }
    csv->n_fields = csv->header->len;
    for (guint number = 2; (line = strsep(&data, "\n")) != NULL; number++) {
        if (line[0] == '\0' || line[0] == '\r') {
            continue;
        }
        char **row = split_row(line, csv->n_fields);
        if (row == NULL) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' line %u has fewer than %u fields",
                            path, number, csv->n_fields);
            return NULL;
        }
        g_ptr_array_add(csv->rows, row);
        g_array_append_val(csv->lines, number);
    }
    return g_steal_pointer(&csv);
}

void
sim_csv_free(SimCsv *csv)
{
    if (csv != NULL) {
        g_free(csv->path);
        g_free(csv->data);
        g_array_unref(csv->lines);
        g_clear_pointer(&csv->header, g_ptr_array_unref);
        g_clear_pointer(&csv->rows, g_ptr_array_unref);
        g_free(csv);
    }
}

/**
 * sim_csv_column:
 *
 * Returns: number of the column called @name, or -1
 */
gint
sim_csv_column(const SimCsv *csv, const char *name)
{
    for (guint i = 0; i < csv->header->len; i++) {
        if (g_str_equal(g_ptr_array_index(csv->header, i), name)) {
            return i;
        }
    }
    return -1;
}

static gboolean
is_within(const SimField *field, const char *text)
{
    char *end = NULL;
    double number = g_ascii_strtod(text, &end);
    return text[0] == '\0' ? field->optional
                           : *end == '\0' && number >= field->least && number <= field->most;
}

/**
 * sim_csv_check:
 * @fields: ended by one without a name
 *
 * Returns: whether there are rows and these columns, and all that is in them are numbers within bounds
 */
gboolean
sim_csv_check(const SimCsv *csv, const SimField *fields, GError **error)
{
    if (csv->rows->len == 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' has no rows", csv->path);
        return FALSE;
    }
    for (const SimField *field = fields; field->name != NULL; field++) {
        gint column = sim_csv_column(csv, field->name);
        if (column < 0 && !field->optional) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' has no column '%s'", csv->path,
                            field->name);
            return FALSE;
        }
        for (guint row = 0; row < csv->rows->len; row++) {
            const char *text = sim_csv_text(csv, row, column);
            if (!is_within(field, text)) {
                berth_error_set(error, BERTH_ERROR_INVALID,
                                "'%s' line %u: %s is '%.40s', which is no number from %g to %g",
                                csv->path, g_array_index(csv->lines, guint, row), field->name, text,
                                field->least, field->most);
                return FALSE;
            }
        }
    }
    return TRUE;
}

/* A column that is not there reads as empty. */
const char *
sim_csv_text(const SimCsv *csv, guint row, gint column)
{
    return column < 0 ? "" : ((char **)g_ptr_array_index(csv->rows, row))[column];
}

double
sim_csv_number(const SimCsv *csv, guint row, gint column)
{
    return g_ascii_strtod(sim_csv_text(csv, row, column), NULL);
}

/**
 * sim_numbers_parse:
 * @text: whole numbers with spaces, line ends, commas or brackets between them
 * @where: where it is from, for errors
 *
 * Returns: (transfer full): guint32 each, from @least to @most
 */
GArray *
sim_numbers_parse(const char *text, const char *where, guint least, guint most, GError **error)
{
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(guint32));
    while (*(text += strspn(text, " \t\r\n,[]")) != '\0') {
        char *end = (char *)text;
        guint64 number = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
        if (end == text || number < least || number > most) {
            berth_error_set(error, BERTH_ERROR_INVALID,
                            "%s: '%.*s' is no whole number from %u to %u", where,
                            (int)MIN(40, strcspn(text, " \t\r\n,[]")), text, least, most);
            return NULL;
        }
        guint32 small = (guint32)number;
        g_array_append_val(numbers, small);
        text = end;
    }
    return g_steal_pointer(&numbers);
}

/** Returns: (transfer full): the numbers in the file, as sim_numbers_parse() reads them. */
GArray *
sim_numbers_read(const char *path, guint least, guint most, GError **error)
{
    g_autofree char *data = read_all(path, error);
    g_autofree char *where = g_strdup_printf("'%s'", path);
    return data == NULL ? NULL : sim_numbers_parse(data, where, least, most, error);
}
