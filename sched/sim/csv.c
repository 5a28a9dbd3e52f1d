/* Reading of traces: comma-separated files and lists of numbers. Trusts nothing about their length; a
 * row with too few fields is an error that names its line. */
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
    csv->data = data;
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
    }
    return g_steal_pointer(&csv);
}

void
sim_csv_free(SimCsv *csv)
{
    if (csv != NULL) {
        g_free(csv->data);
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
 * @text: whole numbers with anything but digits between them
 *
 * Returns: (transfer full): guint32 each
 */
GArray *
sim_numbers_parse(const char *text)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(guint32));
    while (*text != '\0') {
        if (g_ascii_isdigit(*text)) {
            char *end = NULL;
            guint32 number = (guint32)g_ascii_strtoull(text, &end, 10);
            g_array_append_val(numbers, number);
            text = end;
        } else {
            text++;
        }
    }
    return numbers;
}

GArray *
sim_numbers_read(const char *path, GError **error)
{
    g_autofree char *data = read_all(path, error);
    return data == NULL ? NULL : sim_numbers_parse(data);
}
