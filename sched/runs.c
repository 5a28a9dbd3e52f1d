/* Runs of equal things (cells, stocks, device slots) of one host each, inside one common array, so
 * that a column costs what is used and a change costs the length of its run. */
#include "sched/fleet.h"

void
berth_runs_init(BerthRuns *runs, guint size)
{
    runs->items = g_array_new(FALSE, TRUE, size);
    runs->holes = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_array_unref);
}

void
berth_runs_clear(BerthRuns *runs)
{
    g_array_unref(runs->items);
    g_hash_table_unref(runs->holes);
}

/**
 * berth_runs_add:
 *
 * Returns: offset of a run of @n zeroed items; a hole of that length is used first
 */
guint32
berth_runs_add(BerthRuns *runs, guint n)
{
    GArray *holes = n == 0 ? NULL : g_hash_table_lookup(runs->holes, GUINT_TO_POINTER(n));
    guint32 first = runs->items->len;
    if (holes != NULL && holes->len > 0) {
        first = g_array_index(holes, guint32, holes->len - 1);
        g_array_set_size(holes, holes->len - 1);
        gsize size = g_array_get_element_size(runs->items);
        memset(runs->items->data + first * size, 0, n * size);
        return first;
    }
    g_array_set_size(runs->items, first + n);
    return first;
}

void
berth_runs_remove(BerthRuns *runs, guint32 first, guint n)
{
    if (n == 0) {
        return;
    }
    GArray *holes = g_hash_table_lookup(runs->holes, GUINT_TO_POINTER(n));
    if (holes == NULL) {
        holes = g_array_new(FALSE, FALSE, sizeof(guint32));
        g_hash_table_insert(runs->holes, GUINT_TO_POINTER(n), holes);
    }
    g_array_append_val(holes, first);
}
