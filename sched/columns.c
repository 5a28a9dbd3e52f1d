/* From a host's description to its columns: reserves off, over-commit on, huge pages out of ordinary
 * memory. Called by snapshot.c only. */
#include "sched/fleet.h"
#include "sched/profile.h"

static gint64
with_overcommit(gint64 amount, guint pct)
{
    return amount * (pct == 0 ? 100 : pct) / 100;
}

static gint64
hugepage_mib(const BerthHostCell *cell)
{
    gint64 mib = 0;
    for (guint i = 0; i < cell->n_hugepages; i++) {
        gint64 kib = g_ascii_strtoll(cell->hugepages[i].key, NULL, 10);
        mib += kib * cell->hugepages[i].amount / 1024;
    }
    return mib;
}

/* A cell bears its part of the host's reserve, by size. */
static gint64
part_of(gint64 whole, gint64 part, gint64 total)
{
    return total <= 0 ? 0 : whole * part / total;
}

static void
add_cells(BerthSnapshot *s, guint32 at, const BerthHost *host)
{
    s->n_cells[at] = MAX(1, host->n_cells);
    s->cell_first[at] = berth_runs_add(&s->cells, s->n_cells[at]);
    BerthCell *cells = berth_cells(s, at);
    if (host->n_cells == 0) {
        cells[0] = (BerthCell){s->cpu_cap[at], s->cpu_cap[at], s->mem_cap[at], s->mem_cap[at]};
        return;
    }
    gint64 cpu_total = 0, mem_total = 0;
    for (guint i = 0; i < host->n_cells; i++) {
        cpu_total += host->cells[i].cpu_millis;
        mem_total += host->cells[i].memory_mib;
    }
    for (guint i = 0; i < host->n_cells; i++) {
        const BerthHostCell *cell = &host->cells[i];
        gint64 cpu =
            cell->cpu_millis - part_of(host->cpu_reserve_millis, cell->cpu_millis, cpu_total);
        gint64 mem = cell->memory_mib - hugepage_mib(cell) -
                     part_of(host->memory_reserve_mib, cell->memory_mib, mem_total);
        cpu = with_overcommit(MAX(0, cpu), host->cpu_overcommit_pct);
        mem = with_overcommit(MAX(0, mem), host->memory_overcommit_pct);
        cells[i] = (BerthCell){cpu, cpu, mem, mem};
    }
}

static void
add_stocks(BerthSnapshot *s, guint32 at, const BerthHost *host)
{
    guint n = host->n_pools + host->n_counts;
    for (guint i = 0; i < host->n_cells; i++) {
        n += host->cells[i].n_hugepages + (host->cells[i].dedicated_cpus > 0);
    }
    s->n_stocks[at] = n;
    s->stock_first[at] = berth_runs_add(&s->stocks, n);
    BerthStock *stock = berth_stocks(s, at);
    for (guint i = 0; i < host->n_pools; i++) {
        *stock++ = (BerthStock){.key = berth_symbols_intern(&s->symbols, host->pools[i].key),
                                .kind = BERTH_STOCK_POOL,
                                .cell = BERTH_CELL_NONE,
                                .capacity = host->pools[i].amount};
    }
    for (guint i = 0; i < host->n_counts; i++) {
        *stock++ = (BerthStock){.key = berth_symbols_intern(&s->symbols, host->counts[i].key),
                                .kind = BERTH_STOCK_COUNT,
                                .cell = BERTH_CELL_NONE,
                                .capacity = host->counts[i].amount};
    }
    for (guint c = 0; c < host->n_cells; c++) {
        for (guint i = 0; i < host->cells[c].n_hugepages; i++) {
            const BerthAmount *pages = &host->cells[c].hugepages[i];
            *stock++ = (BerthStock){.key = berth_symbols_intern(&s->symbols, pages->key),
                                    .kind = BERTH_STOCK_HUGEPAGE,
                                    .cell = c,
                                    .page_kib = g_ascii_strtoull(pages->key, NULL, 10),
                                    .capacity = pages->amount};
        }
        if (host->cells[c].dedicated_cpus > 0) {
            *stock++ = (BerthStock){
                .kind = BERTH_STOCK_CPU, .cell = c, .capacity = host->cells[c].dedicated_cpus};
        }
    }
}

/**
 * berth_family_get:
 *
 * Returns: number of the family of @kind and @model, below BERTH_FAMILIES_MAX, given at first use
 */
guint8
berth_family_get(BerthSnapshot *s, BerthSymbol kind, BerthSymbol model)
{
    for (guint i = 0; i < s->n_families; i++) {
        if (s->families[i].key == kind && s->families[i].value == model) {
            return i;
        }
    }
    if (s->n_families == BERTH_FAMILIES_MAX) {
        return BERTH_FAMILIES_MAX - 1;
    }
    s->families[s->n_families] = (BerthFact){kind, model};
    return s->n_families++;
}

/**
 * berth_family_mask:
 * @model: 0 = every model
 *
 * Returns: a bit for each family of that kind and model
 */
guint32
berth_family_mask(const BerthSnapshot *s, BerthSymbol kind, BerthSymbol model)
{
    guint32 mask = 0;
    for (guint i = 0; i < s->n_families; i++) {
        if (s->families[i].key == kind && (model == 0 || s->families[i].value == model)) {
            mask |= 1u << i;
        }
    }
    return mask;
}

static void
add_slots(BerthSnapshot *s, guint32 at, const BerthHost *host)
{
    s->n_slots[at] = host->n_devices;
    s->slot_first[at] = berth_runs_add(&s->slots, host->n_devices);
    for (guint i = 0; i < host->n_devices; i++) {
        const BerthHostDevice *device = &host->devices[i];
        BerthSymbol kind = berth_symbols_intern(&s->symbols, device->kind);
        BerthSymbol model = berth_symbols_intern(&s->symbols, device->model);
        berth_slots(s, at)[i] = (BerthSlot){.kind = kind,
                                            .model = model,
                                            .family = berth_family_get(s, kind, model),
                                            .iommu_group = device->iommu_group,
                                            .cell = device->cell,
                                            .shareable = device->shareable};
    }
}

static void
add_images(BerthSnapshot *s, guint32 at, const BerthHost *host)
{
    s->images[at] = NULL;
    if (host->n_images > 0) {
        s->images[at] = g_new(BerthSymbol, host->n_images + 1);
        s->images[at][0] = host->n_images;
        for (guint i = 0; i < host->n_images; i++) {
            s->images[at][i + 1] = berth_symbols_intern(&s->symbols, host->images[i]);
        }
    }
}

void
berth_snapshot_add_host_columns(BerthSnapshot *s, guint32 at, const BerthHost *host)
{
    gint64 huge = 0;
    for (guint i = 0; i < host->n_cells; i++) {
        huge += hugepage_mib(&host->cells[i]);
    }
    gint64 cpu = MAX(0, host->cpu_millis - host->cpu_reserve_millis);
    gint64 mem = MAX(0, host->memory_mib - host->memory_reserve_mib - huge);
    s->cpu_cap[at] = s->cpu_free[at] = with_overcommit(cpu, host->cpu_overcommit_pct);
    s->mem_cap[at] = s->mem_free[at] = with_overcommit(mem, host->memory_overcommit_pct);
    s->largest_cpu = MAX(s->largest_cpu, s->cpu_cap[at]);
    s->largest_slots = MAX(s->largest_slots, host->n_devices);
    s->state[at] = host->state;
    s->zone[at] = berth_symbols_intern(&s->symbols, host->zone);
    s->rack[at] = berth_symbols_intern(&s->symbols, host->rack);
    s->profile[at] = berth_profile_get(s, host);
    add_cells(s, at, host);
    add_stocks(s, at, host);
    add_slots(s, at, host);
    add_images(s, at, host);
}
