/* The verifier knows hosts as they were described and requests as they were made. It shares no code
 * and no state with the rules: it keeps its own books and complains when a placement breaks a
 * capacity or a hard rule. The first complaint is kept. N+1 is not checked: that is about what would be. */
#include "sched/fleet-json.h"
#include "sched/sim/verify-private.h"

/* ---- hosts ------------------------------------------------------------------------------------- */

static void
free_host(gpointer data)
{
    SimHost *h = data;
    if (h != NULL) {
        g_free(h->name);
        g_free(h->rack);
        g_free(h->zone);
        g_strfreev(h->kinds);
        g_strfreev(h->models);
        g_free(h->left);
        g_free(h->iommu_groups);
        g_free(h->shareable);
        g_hash_table_unref(h->stock);
        json_decref(h->facts);
        g_free(h);
    }
}

SimVerifier *
sim_verifier_new(void)
{
    SimVerifier *v = g_new0(SimVerifier, 1);
    v->hosts = g_ptr_array_new_with_free_func(free_host);
    v->books = g_array_new(FALSE, TRUE, sizeof(SimBook));
    v->repelling = g_array_new(FALSE, FALSE, sizeof(guint));
    v->quotas = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return v;
}

static void
clear_book(SimBook *book)
{
    g_free(book->uid);
    g_free(book->group);
    g_free(book->project);
    g_strfreev(book->stock);
    g_free(book->sizes);
    g_strfreev(book->labels);
    for (guint i = 0; i < book->n_aparts; i++) {
        g_free(book->aparts[i].group);
        g_free(book->aparts[i].key);
        g_free(book->aparts[i].value);
    }
    g_free(book->aparts);
}

void
sim_verifier_free(SimVerifier *v)
{
    if (v == NULL) {
        return;
    }
    for (guint i = 0; i < v->books->len; i++) {
        clear_book(&g_array_index(v->books, SimBook, i));
    }
    g_ptr_array_unref(v->hosts);
    g_array_unref(v->books);
    g_array_unref(v->repelling);
    g_hash_table_unref(v->quotas);
    g_free(v->complaint);
    g_free(v);
}

void
sim_verify_complain(SimVerifier *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (v->complaint == NULL) {
        v->complaint = g_strdup_vprintf(format, args);
    }
    va_end(args);
}

static void
add_stock(SimHost *h, char *name, gint64 amount)
{
    gint64 *there = g_hash_table_lookup(h->stock, name);
    amount += there == NULL ? 0 : *there;
    g_hash_table_replace(h->stock, name, g_memdup2(&amount, sizeof amount));
}

static gint64
pages_mib(const BerthHostCell *cell)
{
    gint64 mib = 0;
    for (guint i = 0; i < cell->n_hugepages; i++) {
        mib += g_ascii_strtoll(cell->hugepages[i].key, NULL, 10) * cell->hugepages[i].amount / 1024;
    }
    return mib;
}

static void
add_stocks(SimHost *h, const BerthHost *host)
{
    h->stock = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; i < host->n_pools; i++) {
        add_stock(h, g_strdup_printf("pool/%s", host->pools[i].key), host->pools[i].amount);
    }
    for (guint i = 0; i < host->n_counts; i++) {
        add_stock(h, g_strdup_printf("count/%s", host->counts[i].key), host->counts[i].amount);
    }
    for (guint c = 0; c < host->n_cells; c++) {
        for (guint i = 0; i < host->cells[c].n_hugepages; i++) {
            const BerthAmount *pages = &host->cells[c].hugepages[i];
            add_stock(h, g_strdup_printf("pages/%s", pages->key), pages->amount);
            add_stock(h, g_strdup_printf("pages/%s/%u", pages->key, c), pages->amount);
        }
        add_stock(h, g_strdup_printf("cpus/%u", c), host->cells[c].dedicated_cpus);
    }
}

static void
add_cells(SimHost *h, const BerthHost *host, gint64 pct, gint64 mem_pct)
{
    h->n_cells = MAX(1, host->n_cells);
    h->cell_cpu[0] = h->cpu; /* a host without cells is one cell */
    h->cell_mem[0] = h->mem;
    for (guint i = 0; i < host->n_cells; i++) {
        h->cell_cpu[i] = host->cells[i].cpu_millis * pct / 100;
        h->cell_mem[i] = (host->cells[i].memory_mib - pages_mib(&host->cells[i])) * mem_pct / 100;
    }
}

static void
add_devices(SimHost *h, const BerthHost *host)
{
    guint n = h->n_devices = host->n_devices;
    h->kinds = g_new0(char *, n + 1);
    h->models = g_new0(char *, n + 1);
    h->left = g_new(gint, n + 1);
    h->iommu_groups = g_new(gint, n + 1);
    h->shareable = g_new(gboolean, n + 1);
    for (guint i = 0; i < n; i++) {
        h->kinds[i] = g_strdup(host->devices[i].kind);
        h->models[i] = g_strdup(host->devices[i].model == NULL ? "" : host->devices[i].model);
        h->left[i] = 1000;
        h->iommu_groups[i] = host->devices[i].iommu_group;
        h->shareable[i] = host->devices[i].shareable;
    }
}

static void take(SimVerifier *v, const SimBook *book, int sign);

/**
 * sim_verifier_add_host:
 * @index: the index placements will name it by; a host that has it is replaced, and keeps its workloads, with fault of
 *   nobody if they are too many for it now
 * @host: capacity counts after reserve and over-commit; cells bear no reserve here, which only makes
 *   the check of cells milder
 */
void
sim_verifier_add_host(SimVerifier *v, guint32 index, const BerthHost *host)
{
    SimHost *h = g_new0(SimHost, 1);
    gint64 pct = host->cpu_overcommit_pct == 0 ? 100 : host->cpu_overcommit_pct;
    gint64 mem_pct = host->memory_overcommit_pct == 0 ? 100 : host->memory_overcommit_pct;
    gint64 huge_mib = 0;
    for (guint i = 0; i < host->n_cells; i++) {
        huge_mib += pages_mib(&host->cells[i]);
    }
    h->name = g_strdup(host->name);
    h->rack = g_strdup(host->rack);
    h->zone = g_strdup(host->zone);
    h->cpu = (host->cpu_millis - host->cpu_reserve_millis) * pct / 100;
    h->mem = (host->memory_mib - huge_mib - host->memory_reserve_mib) * mem_pct / 100;
    h->facts = berth_fleet_host_to_json(host);
    h->state = host->state;
    add_cells(h, host, pct, mem_pct);
    add_devices(h, host);
    add_stocks(h, host);
    if (v->hosts->len <= index) {
        g_ptr_array_set_size(v->hosts, (gint)index + 1);
    }
    free_host(g_ptr_array_index(v->hosts, index));
    g_ptr_array_index(v->hosts, index) = h;
    char *complaint = g_steal_pointer(&v->complaint);
    for (guint i = 0; i < v->books->len; i++) {
        const SimBook *book = &g_array_index(v->books, SimBook, i);
        if (book->live && book->host == index) {
            take(v, book, 1);
        }
    }
    g_free(v->complaint);
    v->complaint = complaint;
}

/** For a host that has no workload. */
void
sim_verifier_remove_host(SimVerifier *v, guint32 index)
{
    free_host(g_ptr_array_index(v->hosts, index));
    g_ptr_array_index(v->hosts, index) = NULL;
}

/* ---- what a workload takes --------------------------------------------------------------------- */

/* Whether taking @amount of what has @left now leaves less than nothing. */
static gboolean
is_over(gint64 left, gint64 amount, int sign)
{
    return sign > 0 && amount > 0 && left < 0;
}

static void
take_cells(SimVerifier *v, SimHost *h, const SimBook *book, int sign)
{
    gint64 parts = book->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    gint64 cpu = book->cpu / parts, mem = book->mem / parts;
    for (guint i = 0; i < 2 && book->cells[i] != BERTH_CELL_NONE; i++) {
        guint cell = book->cells[i];
        if (cell >= h->n_cells) {
            sim_verify_complain(v, "host %s has no cell %u", h->name, cell);
            return;
        }
        h->cell_cpu[cell] -= sign * cpu;
        h->cell_mem[cell] -= sign * mem;
        if (is_over(h->cell_cpu[cell], cpu, sign) || is_over(h->cell_mem[cell], mem, sign)) {
            sim_verify_complain(v, "cell %u of host %s is over its capacity", cell, h->name);
        }
    }
}

static void
take_stock(SimVerifier *v, SimHost *h, const SimBook *book, int sign)
{
    for (guint i = 0; i < book->n_stock; i++) {
        gint64 *left = g_hash_table_lookup(h->stock, book->stock[i]);
        if (left != NULL) {
            *left -= sign * book->sizes[i];
        }
        if (left == NULL || is_over(*left, book->sizes[i], sign)) {
            sim_verify_complain(v, "%s of host %s is over its capacity", book->stock[i], h->name);
        }
    }
}

static void
take_quota(SimVerifier *v, const SimBook *book, int sign)
{
    gint64 *quota = book->project == NULL ? NULL : g_hash_table_lookup(v->quotas, book->project);
    const gint64 amounts[] = {book->cpu_in_all, book->mem_in_all, book->device_millis, 1};
    for (guint i = 0; quota != NULL && i < G_N_ELEMENTS(amounts); i++) {
        quota[i] -= sign * amounts[i];
        if (is_over(quota[i], amounts[i], sign)) {
            sim_verify_complain(v, "project %s is over its quota", book->project);
        }
    }
}

/* All but the quota, which is not of the host. */
static void
take(SimVerifier *v, const SimBook *book, int sign)
{
    SimHost *h = g_ptr_array_index(v->hosts, book->host);
    h->cpu -= sign * book->cpu;
    h->mem -= sign * book->mem;
    if (is_over(h->cpu, book->cpu, sign) || is_over(h->mem, book->mem, sign)) {
        sim_verify_complain(v, "host %s is over its capacity", h->name);
    }
    for (guint i = 0; i < book->n_devices; i++) {
        h->left[book->devices[i]] -= sign * book->millis[i];
        if (is_over(h->left[book->devices[i]], book->millis[i], sign)) {
            sim_verify_complain(v, "device %u of host %s is given out twice", book->devices[i],
                                h->name);
        }
    }
    take_cells(v, h, book, sign);
    take_stock(v, h, book, sign);
}

/* ---- a placement ------------------------------------------------------------------------------- */

static void
check_device(SimVerifier *v, const SimHost *h, const BerthDeviceNeed *need, guint slot)
{
    gboolean allowed = need->n_models == 0;
    for (guint m = 0; m < need->n_models; m++) {
        allowed |= g_str_equal(need->models[m], h->models[slot]);
    }
    if (!allowed || !g_str_equal(h->kinds[slot], need->kind)) {
        sim_verify_complain(v, "host %s gives a device of another kind", h->name);
    }
    if (need->millis < 1000 && !h->shareable[slot]) {
        sim_verify_complain(v, "host %s gives a part of a device that can't be shared", h->name);
    }
}

/* What is given whole takes its IOMMU group with it. */
static void
check_iommu_group(SimVerifier *v, const SimHost *h, const SimBook *book, guint at)
{
    gint group = h->iommu_groups[book->devices[at]];
    for (guint i = 0; group >= 0 && i < v->books->len; i++) {
        const SimBook *other = &g_array_index(v->books, SimBook, i);
        for (guint k = 0; other->live && other->host == book->host && k < other->n_devices; k++) {
            gboolean whole = other->millis[k] == 1000 || book->millis[at] == 1000;
            if (whole && h->iommu_groups[other->devices[k]] == group) {
                sim_verify_complain(v, "IOMMU group %d of host %s is given to two", group, h->name);
            }
        }
    }
}

static void
check_devices(SimVerifier *v, const BerthRequest *r, SimBook *book)
{
    const SimHost *h = g_ptr_array_index(v->hosts, book->host);
    guint at = 0;
    for (guint need = 0; need < r->n_devices; need++) {
        for (guint k = 0; k < r->devices[need].count; k++, at++) {
            if (at >= book->n_devices || book->devices[at] >= h->n_devices) {
                sim_verify_complain(v, "a device that was asked for is missing on host %s",
                                    h->name);
                book->n_devices = 0;
                return;
            }
            book->millis[at] = (gint)r->devices[need].millis;
            check_device(v, h, &r->devices[need], book->devices[at]);
            check_iommu_group(v, h, book, at);
        }
    }
    for (guint i = 0; i < at; i++) {
        for (guint k = 0; k < i; k++) {
            if (book->devices[i] == book->devices[k]) {
                sim_verify_complain(v, "host %s gives one device twice to one workload", h->name);
            }
        }
    }
}

static void
check_cells(SimVerifier *v, const BerthRequest *r, const SimBook *book)
{
    guint bound = (book->cells[0] != BERTH_CELL_NONE) + (book->cells[1] != BERTH_CELL_NONE);
    guint wanted = r->numa == BERTH_NUMA_ONE ? 1 : r->numa == BERTH_NUMA_TWO ? 2 : bound;
    if (bound != wanted || (bound == 2 && book->cells[0] == book->cells[1]) ||
        (bound == 0 && r->dedicated)) {
        sim_verify_complain(v, "a workload for %u cells was given %u", wanted, bound);
    }
}

static void
check_facts(SimVerifier *v, const BerthRequest *r, const SimBook *book)
{
    const SimHost *here = g_ptr_array_index(v->hosts, book->host);
    const char *broken = sim_verify_facts(here->facts, r);
    if (broken != NULL) {
        sim_verify_complain(v, "host %s breaks the rule '%s'", here->name, broken);
    }
    if (here->state != BERTH_HOST_READY) {
        sim_verify_complain(v, "host %s takes nothing new", here->name);
    }
}

static void
book_stock(SimBook *book, char *key, gint64 amount)
{
    book->stock[book->n_stock] = key;
    book->sizes[book->n_stock++] = amount;
}

static void
book_pages(SimBook *book, const BerthRequest *r)
{
    gint64 pages = (r->memory_mib * 1024 + r->hugepage_kib - 1) / r->hugepage_kib;
    gint64 parts = book->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    book_stock(book, g_strdup_printf("pages/%u", r->hugepage_kib), pages);
    for (guint i = 0; i < 2 && book->cells[i] != BERTH_CELL_NONE; i++) {
        book_stock(book, g_strdup_printf("pages/%u/%u", r->hugepage_kib, book->cells[i]),
                   pages / parts);
    }
}

static void
book_stocks(SimBook *book, const BerthRequest *r)
{
    book->stock = g_new0(char *, r->n_disks + r->n_counts + 6);
    book->sizes = g_new(gint64, r->n_disks + r->n_counts + 5);
    for (guint i = 0; i < r->n_disks; i++) {
        book_stock(book, g_strdup_printf("pool/%s", r->disks[i].key), r->disks[i].amount);
    }
    for (guint i = 0; i < r->n_counts; i++) {
        book_stock(book, g_strdup_printf("count/%s", r->counts[i].key), r->counts[i].amount);
    }
    if (r->hugepage_kib > 0) {
        book_pages(book, r);
    }
    gint64 left = book->cpu_in_all / 1000, parts = book->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    for (guint i = 0; r->dedicated && i < parts; i++) {
        gint64 take = i + 1 == parts ? left : (left + 1) / 2;
        book_stock(book, g_strdup_printf("cpus/%u", book->cells[i]), take);
        left -= take;
    }
}

/* What others are held to by it: its labels, and whom it must be apart from. */
static void
book_relations(SimBook *book, const BerthRequest *r)
{
    book->n_labels = r->n_labels;
    book->labels = g_new0(char *, 2 * r->n_labels + 1);
    for (guint i = 0; i < r->n_labels; i++) {
        book->labels[2 * i] = g_strdup(r->labels[i].key);
        book->labels[2 * i + 1] = g_strdup(r->labels[i].value);
    }
    book->aparts = g_new0(SimApart, r->n_relations);
    for (guint i = 0; i < r->n_relations; i++) {
        const BerthRelation *relation = &r->relations[i];
        if (relation->kind == BERTH_RELATION_APART && relation->weight == 0) {
            book->aparts[book->n_aparts++] =
                (SimApart){relation->scope, g_strdup(relation->group),
                           g_strdup(relation->label.key), g_strdup(relation->label.value)};
        }
    }
}

/** The most that @project may hold, negative = no limit; for a project that holds none yet, or was told before. */
void
sim_verifier_set_quota(SimVerifier *v, const char *project, gint64 cpu_millis, gint64 memory_mib,
                       gint64 device_millis, gint64 workloads)
{
    gint64 quota[] = {cpu_millis, memory_mib, device_millis, workloads};
    for (guint i = 0; i < G_N_ELEMENTS(quota); i++) {
        quota[i] = quota[i] < 0 ? G_MAXINT64 / 2 : quota[i];
    }
    g_hash_table_replace(v->quotas, g_strdup(project), g_memdup2(quota, sizeof quota));
}

void
sim_verifier_set_state(SimVerifier *v, guint32 index, BerthHostState state)
{
    ((SimHost *)g_ptr_array_index(v->hosts, index))->state = state;
}

/**
 * sim_verifier_place:
 *
 * Checks the placement against the books, then writes it down.
 *
 * Returns: token for sim_verifier_release
 */
guint
sim_verifier_place(SimVerifier *v, const BerthRequest *r, const BerthPlacement *placement)
{
    SimBook book = {.host = placement->host,
                    .uid = g_strdup(r->uid),
                    .cpu = r->dedicated ? 0 : r->cpu_millis,
                    .cpu_in_all =
                        r->dedicated ? (r->cpu_millis + 999) / 1000 * 1000 : r->cpu_millis,
                    .mem = (r->hugepage_kib > 0 ? 0 : r->memory_mib) + r->overhead_mib,
                    .mem_in_all = r->memory_mib + r->overhead_mib,
                    .cells = {placement->cells[0], placement->cells[1]},
                    .n_devices = placement->n_devices,
                    .group = g_strdup(r->group),
                    .project = g_strdup(r->project),
                    .live = TRUE};
    memcpy(book.devices, placement->devices, sizeof(book.devices));
    book_stocks(&book, r);
    book_relations(&book, r);
    check_facts(v, r, &book);
    check_cells(v, r, &book);
    check_devices(v, r, &book);
    sim_verify_others(v, r, &book);
    for (guint i = 0; i < book.n_devices; i++) {
        book.device_millis += book.millis[i];
    }
    take(v, &book, 1);
    take_quota(v, &book, 1);
    guint token = v->books->len;
    g_array_append_val(v->books, book);
    if (book.n_aparts > 0) {
        g_array_append_val(v->repelling, token);
    }
    return token;
}

/** As sim_verifier_place(), for what is there already: it is written down, and nobody's fault if it breaks a rule. */
guint
sim_verifier_find(SimVerifier *v, const BerthRequest *r, const BerthPlacement *placement)
{
    char *complaint = g_steal_pointer(&v->complaint);
    guint token = sim_verifier_place(v, r, placement);
    g_free(v->complaint);
    v->complaint = complaint;
    return token;
}

/**
 * sim_verifier_move:
 * @token: of @request's old place; not good afterwards
 * @placement: the new one, on another host
 *
 * As sim_verifier_place(), while the old place is still taken. The request has a uid.
 *
 * Returns: token of the new place
 */
guint
sim_verifier_move(SimVerifier *v, guint token, const BerthRequest *r,
                  const BerthPlacement *placement)
{
    take_quota(v, &g_array_index(v->books, SimBook, token), -1);
    guint moved = sim_verifier_place(v, r, placement);
    SimBook *old = &g_array_index(v->books, SimBook, token);
    take(v, old, -1);
    old->live = FALSE;
    return moved;
}

void
sim_verifier_release(SimVerifier *v, guint token)
{
    SimBook *book = &g_array_index(v->books, SimBook, token);
    if (!book->live) {
        sim_verify_complain(v, "a workload was released twice");
        return;
    }
    take(v, book, -1);
    take_quota(v, book, -1);
    book->live = FALSE;
}

gboolean
sim_verifier_is_clean(const SimVerifier *v)
{
    return v->complaint == NULL;
}

const char *
sim_verifier_complaint(const SimVerifier *v)
{
    return v->complaint;
}
