/* Holdings: the amounts of one charge, in the columns of its host, without the request that they came from. So
 * they can be kept when the workload is gone, and charged to the digit by a daemon that never saw it.
 *
 * A rest is what a request needs of its host beside what leaves for it: charged while those that leave are still
 * charged, both together hold what the request will, of each thing as much as the larger of both. Start at
 * berth_holding_rest(). */
#include "sched/holding.h"

#include "base/json.h"
#include "sched/ask.h"

/* in the order of BerthStockKind */
static const char *const stock_names[] = {"pool", "count", "hugepage", "dedicated_cpu"};

static void
set_amount(json_t *json, const char *name, gint64 amount)
{
    if (amount != 0) {
        json_object_set_new(json, name, json_integer(amount));
    }
}

static void
set_name(json_t *json, const char *name, const BerthSnapshot *s, BerthSymbol symbol)
{
    if (symbol != 0) {
        json_object_set_new(json, name, json_string(berth_symbols_name(&s->symbols, symbol)));
    }
}

static void
append(json_t *json, const char *name, json_t *item)
{
    json_t *list = json_object_get(json, name);
    if (list == NULL) {
        list = json_array();
        json_object_set_new(json, name, list);
    }
    json_array_append_new(list, item);
}

static json_t *
write_stock(const BerthSnapshot *s, const BerthStockUse *use)
{
    json_t *json =
        json_pack("{s:s, s:I}", "kind", stock_names[use->kind], "amount", (json_int_t)use->amount);
    set_name(json, "key", s, use->key);
    set_amount(json, "page_kib", use->page_kib);
    if (use->cell != BERTH_CELL_NONE) {
        json_object_set_new(json, "cell", json_integer(use->cell));
    }
    return json;
}

static json_t *
write_amounts(const BerthSnapshot *s, const BerthCharge *charge)
{
    json_t *json = json_object();
    set_amount(json, "cpu_millis", charge->cpu_millis);
    set_amount(json, "memory_mib", charge->memory_mib);
    for (guint i = 0; i < 2 && charge->cells[i] != BERTH_CELL_NONE; i++) {
        append(json, "cells", json_integer(charge->cells[i]));
        json_object_set_new(json, "cell_cpu_millis", json_integer(charge->cell_cpu_millis));
        json_object_set_new(json, "cell_memory_mib", json_integer(charge->cell_memory_mib));
    }
    for (guint i = 0; i < charge->n_stocks; i++) {
        append(json, "stocks", write_stock(s, &charge->stocks[i]));
    }
    for (guint i = 0; i < charge->n_slots; i++) {
        append(json, "devices",
               json_pack("{s:i, s:i}", "slot", charge->slots[i].slot, "thousandths",
                         charge->slots[i].millis));
    }
    return json;
}

/**
 * berth_holding_of:
 *
 * Returns: (transfer full): what @charge holds of its host, and what relations and quotas see of it
 */
json_t *
berth_holding_of(const BerthSnapshot *s, guint32 index)
{
    const BerthCharge *charge = berth_charge(s, index);
    json_t *json = write_amounts(s, charge);
    set_name(json, "project", s, charge->project);
    set_name(json, "group", s, charge->group);
    for (guint i = 0; i < charge->n_labels; i++) {
        append(json, "labels",
               json_pack("[s, s]", berth_symbols_name(&s->symbols, charge->labels[i].key),
                         berth_symbols_name(&s->symbols, charge->labels[i].value)));
    }
    return json;
}

/* ---- from a record ----------------------------------------------------------------------------- */

static BerthSymbol
read_name(BerthSnapshot *s, const json_t *json, const char *name)
{
    return berth_symbols_intern(&s->symbols, berth_json_string(json, name));
}

static void
read_stocks(BerthCharge *charge, BerthSnapshot *s, const json_t *list)
{
    size_t i;
    json_t *item;
    charge->stocks = g_new0(BerthStockUse, json_array_size(list));
    json_array_foreach (list, i, item) {
        const char *kind = berth_json_string(item, "kind");
        BerthStockUse use = {
            .key = read_name(s, item, "key"),
            .cell = (guint8)berth_json_integer(item, "cell", BERTH_CELL_NONE),
            .page_kib = (guint32)berth_json_integer(item, "page_kib", 0),
            .amount = berth_json_integer(item, "amount", 0),
        };
        while (use.kind < G_N_ELEMENTS(stock_names) &&
               g_strcmp0(kind, stock_names[use.kind]) != 0) {
            use.kind++;
        }
        if (use.kind < G_N_ELEMENTS(stock_names)) {
            charge->stocks[charge->n_stocks++] = use;
        }
    }
}

static void
read_slots(BerthCharge *charge, const json_t *list)
{
    size_t i;
    json_t *item;
    charge->slots = g_new0(BerthSlotUse, MIN(json_array_size(list), BERTH_DEVICES_MAX));
    json_array_foreach (list, i, item) {
        gint64 slot = berth_json_integer(item, "slot", -1);
        if (slot >= 0 && slot < BERTH_HOST_DEVICES_MAX && charge->n_slots < BERTH_DEVICES_MAX) {
            charge->slots[charge->n_slots++] =
                (BerthSlotUse){(guint8)slot, (guint16)berth_json_integer(item, "thousandths", 0)};
        }
    }
}

static void
read_labels(BerthCharge *charge, BerthSnapshot *s, const json_t *list)
{
    size_t i;
    json_t *item;
    charge->labels = g_new0(BerthFact, json_array_size(list));
    json_array_foreach (list, i, item) {
        const char *key = json_string_value(json_array_get(item, 0));
        const char *value = json_string_value(json_array_get(item, 1));
        charge->labels[charge->n_labels++] = (BerthFact){berth_symbols_intern(&s->symbols, key),
                                                         berth_symbols_intern(&s->symbols, value)};
    }
}

/**
 * berth_holding_charge:
 * @holding: from berth_holding_of(), or one of berth_holding_rest()
 *
 * Charges it to @host as @uid, whether or not there is room; it is nobody's victim, and no arrival for the mix.
 */
void
berth_holding_charge(BerthSnapshot *s, const char *uid, guint32 host, const json_t *holding)
{
    const json_t *cells = json_object_get(holding, "cells");
    BerthCharge charge = {
        .uid = g_strdup(uid),
        .host = host,
        .cpu_millis = (gint32)berth_json_integer(holding, "cpu_millis", 0),
        .memory_mib = (gint32)berth_json_integer(holding, "memory_mib", 0),
        .cell_cpu_millis = (gint32)berth_json_integer(holding, "cell_cpu_millis", 0),
        .cell_memory_mib = (gint32)berth_json_integer(holding, "cell_memory_mib", 0),
        .cells = {BERTH_CELL_NONE, BERTH_CELL_NONE},
        .priority = G_MAXINT32,
        .project = read_name(s, holding, "project"),
        .group = read_name(s, holding, "group"),
    };
    for (guint i = 0; i < 2 && i < json_array_size(cells); i++) {
        charge.cells[i] = (guint8)json_integer_value(json_array_get(cells, i));
    }
    read_stocks(&charge, s, json_object_get(holding, "stocks"));
    read_slots(&charge, json_object_get(holding, "devices"));
    read_labels(&charge, s, json_object_get(holding, "labels"));
    berth_snapshot_adopt(s, &charge);
}

/* ---- what is needed beside ---------------------------------------------------------------------- */

/* What leaves one host and nobody was given yet. */
typedef struct {
    gint64 cpu_millis, memory_mib;
    struct {
        gint64 cpu_millis, memory_mib;
    } cells[BERTH_CELLS_MAX];
    GArray *stocks; /* owned, of BerthStockUse */
    gint slots[BERTH_HOST_DEVICES_MAX];
} Credit;

/* Of one project's quota. */
typedef struct {
    gint64 cpu_millis, memory_mib, device_millis, workloads;
} Claim;

static void
add_credit(Credit *credit, const BerthCharge *charge)
{
    credit->cpu_millis += charge->cpu_millis;
    credit->memory_mib += charge->memory_mib;
    for (guint i = 0; i < 2 && charge->cells[i] < BERTH_CELLS_MAX; i++) {
        credit->cells[charge->cells[i]].cpu_millis += charge->cell_cpu_millis;
        credit->cells[charge->cells[i]].memory_mib += charge->cell_memory_mib;
    }
    g_array_append_vals(credit->stocks, charge->stocks, charge->n_stocks);
    for (guint i = 0; i < charge->n_slots; i++) {
        credit->slots[charge->slots[i].slot] += charge->slots[i].millis;
    }
}

/* Takes @need off @credit as far as it goes. Returns: what is missing. */
static gint64
take(gint64 need, gint64 *credit)
{
    gint64 taken = MIN(need, *credit);
    *credit -= taken;
    return need - taken;
}

/* Both cells of a charge hold the same: as much as the one needs that is given less. */
static void
take_cells(BerthCharge *charge, Credit *credit)
{
    gint64 cpu = 0, memory = 0;
    for (guint i = 0; i < 2 && charge->cells[i] < BERTH_CELLS_MAX; i++) {
        cpu = MAX(cpu, take(charge->cell_cpu_millis, &credit->cells[charge->cells[i]].cpu_millis));
        memory =
            MAX(memory, take(charge->cell_memory_mib, &credit->cells[charge->cells[i]].memory_mib));
    }
    charge->cell_cpu_millis = (gint32)cpu;
    charge->cell_memory_mib = (gint32)memory;
    if (cpu == 0 && memory == 0) {
        charge->cells[0] = charge->cells[1] = BERTH_CELL_NONE;
    }
}

/* Each of two cells must have the larger half of an odd number of dedicated CPUs, although one is charged less. */
static void
level_halves(BerthStockUse *stocks, guint n)
{
    gint64 larger = 0;
    for (guint i = 0; i < n; i++) {
        larger = MAX(larger, stocks[i].kind == BERTH_STOCK_CPU ? stocks[i].amount : 0);
    }
    for (guint i = 0; i < n; i++) {
        stocks[i].amount = stocks[i].kind == BERTH_STOCK_CPU ? larger : stocks[i].amount;
    }
}

static guint
take_stocks(BerthStockUse *stocks, guint n, Credit *credit)
{
    guint left = 0;
    level_halves(stocks, n);
    for (guint i = 0; i < n; i++) {
        BerthStockUse use = stocks[i];
        for (guint k = 0; k < credit->stocks->len; k++) {
            BerthStockUse *given = &g_array_index(credit->stocks, BerthStockUse, k);
            if (given->kind == use.kind && given->key == use.key && given->cell == use.cell) {
                use.amount = take(use.amount, &given->amount);
            }
        }
        if (use.amount > 0) {
            stocks[left++] = use;
        }
    }
    return left;
}

static guint8
take_slots(BerthSlotUse *slots, guint n, Credit *credit)
{
    guint8 left = 0;
    for (guint i = 0; i < n; i++) {
        gint *given = &credit->slots[slots[i].slot];
        gint taken = MIN(*given, slots[i].millis);
        *given -= taken;
        if (slots[i].millis > taken) {
            slots[left++] = (BerthSlotUse){slots[i].slot, (guint16)(slots[i].millis - taken)};
        }
    }
    return left;
}

/* What @from needs once it got all that it can use of @credit. */
static json_t *
write_rest(const BerthSnapshot *s, const BerthCharge *from, Credit *credit)
{
    BerthCharge rest = *from;
    g_autofree BerthStockUse *stocks =
        g_memdup2(from->stocks, from->n_stocks * sizeof(*from->stocks));
    g_autofree BerthSlotUse *slots = g_memdup2(from->slots, from->n_slots * sizeof(*from->slots));
    rest.stocks = stocks;
    rest.slots = slots;
    rest.cpu_millis = (gint32)take(from->cpu_millis, &credit->cpu_millis);
    rest.memory_mib = (gint32)take(from->memory_mib, &credit->memory_mib);
    take_cells(&rest, credit);
    rest.n_stocks = take_stocks(stocks, from->n_stocks, credit);
    rest.n_slots = take_slots(slots, from->n_slots, credit);
    return write_amounts(s, &rest);
}

/* As quotas count it. */
static Claim
claim_of(const BerthCharge *charge)
{
    Claim claim = {
        .cpu_millis = charge->cpu_millis, .memory_mib = charge->memory_mib, .workloads = 1};
    for (guint i = 0; i < charge->n_stocks; i++) {
        const BerthStockUse *use = &charge->stocks[i];
        claim.cpu_millis += use->kind == BERTH_STOCK_CPU ? use->amount * 1000 : 0;
        claim.memory_mib +=
            use->kind == BERTH_STOCK_HUGEPAGE ? use->amount * use->page_kib / 1024 : 0;
    }
    for (guint i = 0; i < charge->n_slots; i++) {
        claim.device_millis += charge->slots[i].millis;
    }
    return claim;
}

static json_t *
write_claim(const BerthCharge *charge, Claim *credit)
{
    json_t *json = json_object();
    Claim need = claim_of(charge);
    set_amount(json, "cpu_millis", take(need.cpu_millis, &credit->cpu_millis));
    set_amount(json, "memory_mib", take(need.memory_mib, &credit->memory_mib));
    set_amount(json, "device_millis", take(need.device_millis, &credit->device_millis));
    set_amount(json, "workloads", take(need.workloads, &credit->workloads));
    return json;
}

/* What those of @leaving give back that are on the host, and in the project, of @charge. */
static void
gather(const BerthSnapshot *s, const BerthCharge *charge, const guint32 *leaving, guint n_leaving,
       Credit *credit, Claim *claim)
{
    for (guint i = 0; i < n_leaving; i++) {
        const BerthCharge *victim = berth_charge(s, leaving[i]);
        if (credit != NULL && victim->host == charge->host) {
            add_credit(credit, victim);
        }
        if (claim != NULL && victim->project == charge->project) {
            Claim of = claim_of(victim);
            claim->cpu_millis += of.cpu_millis;
            claim->memory_mib += of.memory_mib;
            claim->device_millis += of.device_millis;
            claim->workloads += of.workloads;
        }
    }
}

static void
free_credit(gpointer data)
{
    g_array_unref(((Credit *)data)->stocks);
    g_free(data);
}

static Credit *
find_credit(GHashTable *credits, const BerthSnapshot *s, const BerthCharge *charge,
            const guint32 *leaving, guint n_leaving)
{
    Credit *credit = g_hash_table_lookup(credits, GUINT_TO_POINTER(charge->host));
    if (credit == NULL) {
        credit = g_new0(Credit, 1);
        credit->stocks = g_array_new(FALSE, FALSE, sizeof(BerthStockUse));
        gather(s, charge, leaving, n_leaving, credit, NULL);
        g_hash_table_insert(credits, GUINT_TO_POINTER(charge->host), credit);
    }
    return credit;
}

/**
 * berth_holding_rest:
 * @charges: (array length=n): of requests of one project, as they are going to be
 * @leaving: (array length=n_leaving): charges that end for them; their amounts count, also when they are detached
 *
 * What leaves a host is given to those of @charges that go there, in their order.
 *
 * Returns: (transfer full): list of {holding, claim}, for each of @charges: what to keep of its host, and of its
 *   project's quota, as long as those that leave are charged, so that it finds its room
 */
json_t *
berth_holding_rest(const BerthSnapshot *s, const guint32 *charges, guint n, const guint32 *leaving,
                   guint n_leaving)
{
    json_t *list = json_array();
    Claim claim = {0};
    g_autoptr(GHashTable) credits = g_hash_table_new_full(NULL, NULL, NULL, free_credit);
    for (guint i = 0; i < n; i++) {
        const BerthCharge *charge = berth_charge(s, charges[i]);
        if (i == 0) {
            gather(s, charge, leaving, n_leaving, NULL, &claim);
        }
        Credit *credit = find_credit(credits, s, charge, leaving, n_leaving);
        json_array_append_new(list,
                              json_pack("{s:o, s:o}", "holding", write_rest(s, charge, credit),
                                        "claim", write_claim(charge, &claim)));
    }
    return list;
}
