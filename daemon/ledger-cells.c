/* What is free in each NUMA cell of a host, and of what else it has a number of, for its record. Reads the ledger, the
 * inventory and the spec, writes none. */
#include "daemon/ledger-private.h"

#include "base/json.h"

static json_t *
write_pages(const BerthSnapshot *snapshot, guint32 host, guint cell, const json_t *pages)
{
    json_t *list = json_array();
    size_t i;
    json_t *kind;
    json_array_foreach (pages, i, kind) {
        gint64 size_kib = berth_json_integer(kind, "size_kib", 0);
        gint64 count = berth_json_integer(kind, "count", 0);
        if (count > 0) {
            gint64 left = berth_snapshot_free_pages(snapshot, host, cell, size_kib);
            json_array_append_new(list,
                                  json_pack("{s:I, s:I, s:I}", "size_kib", (json_int_t)size_kib,
                                            "count", (json_int_t)count, "free", (json_int_t)left));
        }
    }
    return list;
}

/* Beyond what was charged the cell is empty, not in debt: foreign domains count for the host alone. */
static json_t *
write_cell(const BerthCellUsage *usage, json_t *pages)
{
    gint64 vcpus = MAX(0, usage->cpu_millis - usage->cpu_used_millis) / 1000;
    gint64 memory_mib = MAX(0, usage->memory_mib - usage->memory_used_mib);
    return json_pack("{s:{s:I, s:I}, s:{s:I, s:I}, s:o}", "capacity", "vcpus",
                     (json_int_t)(usage->cpu_millis / 1000), "memory_mib",
                     (json_int_t)usage->memory_mib, "free", "vcpus", (json_int_t)vcpus,
                     "memory_mib", (json_int_t)memory_mib, "huge_pages", pages);
}

/**
 * berth_ledger_cells:
 * @host: its name
 * @inventory: (nullable): as its record has it
 *
 * Returns: (transfer full) (nullable): status.cells, in the order of the inventory's; NULL when the host is one
 * cell without huge pages, or not known to the scheduler
 */
json_t *
berth_ledger_cells(const BerthFleetLedger *ledger, const char *host, const json_t *inventory)
{
    guint32 index = berth_snapshot_find_host(ledger->snapshot, host);
    const json_t *cells = json_object_get(inventory, "cells");
    g_autoptr(json_t) list = json_array();
    gboolean has_pages = FALSE;
    size_t i;
    json_t *cell;
    if (index == BERTH_HOST_NONE) {
        return NULL;
    }
    json_array_foreach (cells, i, cell) {
        BerthCellUsage usage;
        if (!berth_snapshot_cell_usage(ledger->snapshot, index, (guint)i, &usage)) {
            return NULL; /* more of them than are counted */
        }
        json_t *pages =
            write_pages(ledger->snapshot, index, (guint)i, json_object_get(cell, "huge_pages"));
        has_pages |= json_array_size(pages) > 0;
        json_array_append_new(list, write_cell(&usage, pages));
    }
    return has_pages || json_array_size(list) > 1 ? g_steal_pointer(&list) : NULL;
}

/** Returns: (transfer full) (nullable): status.resources, by name; NULL when @host has none, or is not known. */
json_t *
berth_ledger_resources(const BerthFleetLedger *ledger, const BerthObject *host)
{
    const BerthHostSpec *spec = host->spec_data;
    guint32 index = berth_snapshot_find_host(ledger->snapshot, host->name);
    g_autoptr(GArray) counts = ledger_read_counts(spec->resources);
    if (index == BERTH_HOST_NONE || counts->len == 0) {
        return NULL;
    }
    json_t *list = json_array();
    for (guint i = 0; i < counts->len; i++) {
        const BerthAmount *has = &g_array_index(counts, BerthAmount, i);
        gint64 left = berth_snapshot_free_count(ledger->snapshot, index, has->key);
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "name", has->key, "capacity",
                                              (json_int_t)has->amount, "used",
                                              (json_int_t)(has->amount - left), "free",
                                              (json_int_t)MAX(0, left)));
    }
    return list;
}
