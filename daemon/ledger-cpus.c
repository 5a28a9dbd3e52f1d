/* Which CPUs of a host are for guests that ask for dedicated ones, and which guest has which.
 *
 * The scheduler counts them, per NUMA cell; here they get numbers. Invariant: no two guests have the same one, as
 * long as no two records say so. Start at ledger_cpus_take(). */
#include "daemon/ledger-private.h"

#include "base/json.h"
#include "model/cpu-set.h"

/* What a host offers, in the order of its inventory's cells. */
typedef struct {
    guint n_cells;
    BerthCpuSet cells[];
} Offer;

typedef struct {
    char *host; /* owned */
    BerthCpuSet cpus;
} Pin;

struct LedgerCpus {
    GHashTable *offers; /* host name -> Offer*, owned; only hosts that offer some */
    GHashTable *pins;   /* uid -> Pin*, owned */
};

static void
free_pin(gpointer data)
{
    Pin *pin = data;
    g_free(pin->host);
    g_free(pin);
}

LedgerCpus *
ledger_cpus_new(void)
{
    LedgerCpus *cpus = g_new(LedgerCpus, 1);
    cpus->offers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    cpus->pins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_pin);
    return cpus;
}

void
ledger_cpus_free(LedgerCpus *cpus)
{
    g_hash_table_unref(cpus->offers);
    g_hash_table_unref(cpus->pins);
    g_free(cpus);
}

static gsize
size_of(guint n_cells)
{
    return sizeof(Offer) + n_cells * sizeof(BerthCpuSet);
}

static void
note_pin(LedgerCpus *cpus, const char *uid, const char *host, const BerthCpuSet *set)
{
    Pin *pin = g_new(Pin, 1);
    *pin = (Pin){g_strdup(host), *set};
    g_hash_table_replace(cpus->pins, g_strdup(uid), pin);
}

/** Returns: (transfer full): a copy to try things on. */
LedgerCpus *
ledger_cpus_copy(const LedgerCpus *cpus)
{
    LedgerCpus *copy = ledger_cpus_new();
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, cpus->offers);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const Offer *offer = value;
        g_hash_table_insert(copy->offers, g_strdup(key), g_memdup2(offer, size_of(offer->n_cells)));
    }
    g_hash_table_iter_init(&iter, cpus->pins);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const Pin *pin = value;
        note_pin(copy, key, pin->host, &pin->cpus);
    }
    return copy;
}

/**
 * ledger_cpus_offer:
 * @inventory: of the Host's status
 * @text: (nullable): its spec.dedicated_cpus
 *
 * Those of the set that the host does not have are left out.
 */
void
ledger_cpus_offer(LedgerCpus *cpus, const char *host, const json_t *inventory, const char *text)
{
    const json_t *cells = json_object_get(inventory, "cells");
    guint n_cells = (guint)json_array_size(cells);
    BerthCpuSet wanted;
    if (text == NULL || n_cells > BERTH_CELLS_MAX || !berth_cpu_set_parse(text, &wanted, NULL)) {
        g_hash_table_remove(cpus->offers, host);
        return;
    }
    Offer *offer = g_malloc0(size_of(n_cells));
    offer->n_cells = n_cells;
    for (guint i = 0; i < n_cells; i++) {
        const char *has = berth_json_string(json_array_get(cells, i), "cpu_set");
        if (has != NULL && berth_cpu_set_parse(has, &offer->cells[i], NULL)) {
            berth_cpu_set_keep(&offer->cells[i], &wanted);
        }
    }
    g_hash_table_replace(cpus->offers, g_strdup(host), offer);
}

void
ledger_cpus_remove_host(LedgerCpus *cpus, const char *host)
{
    g_hash_table_remove(cpus->offers, host);
}

/** Returns: how many CPUs of @cell are for dedicated guests. */
guint
ledger_cpus_count(const LedgerCpus *cpus, const char *host, guint cell)
{
    const Offer *offer = g_hash_table_lookup(cpus->offers, host);
    return offer != NULL && cell < offer->n_cells ? berth_cpu_set_count(&offer->cells[cell]) : 0;
}

static BerthCpuSet
list_taken(const LedgerCpus *cpus, const char *host)
{
    BerthCpuSet taken = {{0}};
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, cpus->pins);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Pin *pin = value;
        if (g_str_equal(pin->host, host)) {
            berth_cpu_set_join(&taken, &pin->cpus);
        }
    }
    return taken;
}

/* The lowest of @cell that are not @taken, at most @count; they are taken then. Returns: how many. */
static guint
take_lowest(const BerthCpuSet *cell, guint count, BerthCpuSet *taken, BerthCpuSet *own,
            json_t *list)
{
    guint got = 0;
    for (guint cpu = 0; cpu < BERTH_CPU_MAX && got < count; cpu++) {
        if (berth_cpu_set_has(cell, cpu) && !berth_cpu_set_has(taken, cpu)) {
            berth_cpu_set_add(taken, cpu);
            berth_cpu_set_add(own, cpu);
            json_array_append_new(list, json_integer(cpu));
            got++;
        }
    }
    return got;
}

/**
 * ledger_cpus_take:
 * @cells: as the scheduler chose them
 *
 * Gives @uid @count CPUs of its cells: of the first one those of its first vCPUs. When the machine's cells are others
 * than they were as its guests were placed, they may be of other cells.
 *
 * Returns: (transfer full) (nullable): their numbers, by vCPU; NULL when the host's are not known, as of one that is
 * only thought of
 */
json_t *
ledger_cpus_take(LedgerCpus *cpus, const char *uid, const char *host, const guint8 cells[2],
                 guint count)
{
    const Offer *offer = g_hash_table_lookup(cpus->offers, host);
    if (offer == NULL) {
        return NULL;
    }
    BerthCpuSet taken = list_taken(cpus, host), own = {{0}};
    guint bound = cells[1] == BERTH_CELL_NONE ? 1 : 2, got = 0;
    json_t *list = json_array();
    for (guint i = 0; i < bound; i++) {
        if (cells[i] < offer->n_cells) {
            got += take_lowest(&offer->cells[cells[i]], (count + bound - 1 - i) / bound, &taken,
                               &own, list);
        }
    }
    for (guint c = 0; c < offer->n_cells && got < count; c++) {
        got += take_lowest(&offer->cells[c], count - got, &taken, &own, list);
    }
    note_pin(cpus, uid, host, &own);
    return list;
}

/** Notes that @uid has on @host what its record says: @list as from ledger_cpus_take(). */
void
ledger_cpus_note(LedgerCpus *cpus, const char *uid, const char *host, const json_t *list)
{
    BerthCpuSet own = {{0}};
    size_t i;
    json_t *number;
    json_array_foreach (list, i, number) {
        berth_cpu_set_add(&own, (guint)json_integer_value(number));
    }
    note_pin(cpus, uid, host, &own);
}

/** Returns: (transfer full) (nullable): the CPUs that @uid has, by number, for ledger_cpus_note(). */
json_t *
ledger_cpus_list(const LedgerCpus *cpus, const char *uid)
{
    const Pin *pin = g_hash_table_lookup(cpus->pins, uid);
    json_t *list = pin == NULL ? NULL : json_array();
    for (guint cpu = 0; list != NULL && cpu < BERTH_CPU_MAX; cpu++) {
        if (berth_cpu_set_has(&pin->cpus, cpu)) {
            json_array_append_new(list, json_integer(cpu));
        }
    }
    return list;
}

void
ledger_cpus_release(LedgerCpus *cpus, const char *uid)
{
    g_hash_table_remove(cpus->pins, uid);
}

/**
 * berth_ledger_dedicated:
 *
 * Returns: (transfer full) (nullable): {cpus, free} of @host as sets in text; NULL when it offers none
 */
json_t *
berth_ledger_dedicated(const BerthFleetLedger *ledger, const char *host)
{
    const Offer *offer = g_hash_table_lookup(ledger->cpus->offers, host);
    if (offer == NULL) {
        return NULL;
    }
    BerthCpuSet all = {{0}}, taken = list_taken(ledger->cpus, host);
    for (guint c = 0; c < offer->n_cells; c++) {
        berth_cpu_set_join(&all, &offer->cells[c]);
    }
    g_autofree char *has = berth_cpu_set_format(&all);
    berth_cpu_set_take_out(&all, &taken);
    g_autofree char *left = berth_cpu_set_format(&all);
    return json_pack("{s:s, s:s}", "cpus", has, "free", left);
}
