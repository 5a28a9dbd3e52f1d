/* The verifier knows hosts as they were described and requests as they were made. It shares no code
 * and no state with the rules: it keeps its own books and complains when a placement breaks a
 * capacity or a hard rule. The first complaint is kept. */
#include "sched/sim/verify.h"

#include "sched/fleet-json.h"

typedef struct {
    char *name, *rack, *zone;
    gint64 pct; /* over-commit of CPU */
    gint64 cpu, mem;
    guint n_cells;
    gint64 cell_cpu[BERTH_CELLS_MAX], cell_mem[BERTH_CELLS_MAX];
    guint n_devices;
    char **kinds, **models;
    gint *left;        /* thousandths */
    GHashTable *stock; /* what is left of "pool/NAME", "count/NAME", "pages/KIB" */
    json_t *facts;
    BerthHostState state;
} Host;

typedef struct {
    guint32 host;
    gint64 cpu, mem;
    gint64 cpu_in_all; /* dedicated CPUs included */
    guint8 cells[2];
    guint n_devices;
    guint8 devices[BERTH_DEVICES_MAX];
    gint millis[BERTH_DEVICES_MAX];
    char *group, *project;
    guint n_stock;
    char **stock; /* keys of the host's */
    gint64 *sizes;
    gboolean live;
} Book;

struct SimVerifier {
    GPtrArray *hosts; /* Host */
    GArray *books;
    GHashTable *groups; /* group name to GArray of tokens */
    GHashTable *quotas; /* project to what is left of its CPU quota */
    char *complaint;
};

static void
free_host(gpointer data)
{
    Host *h = data;
    if (h != NULL) {
        g_free(h->name);
        g_free(h->rack);
        g_free(h->zone);
        g_strfreev(h->kinds);
        g_strfreev(h->models);
        g_free(h->left);
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
    v->books = g_array_new(FALSE, TRUE, sizeof(Book));
    v->groups =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_array_unref);
    v->quotas = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return v;
}

void
sim_verifier_free(SimVerifier *v)
{
    if (v == NULL) {
        return;
    }
    for (guint i = 0; i < v->books->len; i++) {
        Book *book = &g_array_index(v->books, Book, i);
        g_free(book->group);
        g_free(book->project);
        g_strfreev(book->stock);
        g_free(book->sizes);
    }
    g_ptr_array_unref(v->hosts);
    g_array_unref(v->books);
    g_hash_table_unref(v->groups);
    g_hash_table_unref(v->quotas);
    g_free(v->complaint);
    g_free(v);
}

static void complain(SimVerifier *v, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
complain(SimVerifier *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (v->complaint == NULL) {
        v->complaint = g_strdup_vprintf(format, args);
    }
    va_end(args);
}

static void
add_stock(Host *h, const char *kind, const char *key, gint64 amount)
{
    char *name = g_strdup_printf("%s/%s", kind, key);
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
add_stocks(Host *h, const BerthHost *host)
{
    h->stock = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; i < host->n_pools; i++) {
        add_stock(h, "pool", host->pools[i].key, host->pools[i].amount);
    }
    for (guint i = 0; i < host->n_counts; i++) {
        add_stock(h, "count", host->counts[i].key, host->counts[i].amount);
    }
    for (guint c = 0; c < host->n_cells; c++) {
        for (guint i = 0; i < host->cells[c].n_hugepages; i++) {
            const BerthAmount *pages = &host->cells[c].hugepages[i];
            add_stock(h, "pages", pages->key, pages->amount);
        }
        if (host->cells[c].dedicated_cpus > 0) {
            g_autofree char *cell = g_strdup_printf("%u", c);
            add_stock(h, "cpus", cell, host->cells[c].dedicated_cpus);
        }
    }
}

/**
 * sim_verifier_add_host:
 * @index: the index placements will name it by
 * @host: capacity counts after reserve and over-commit; cells bear no reserve here, which only makes
 *   the check of cells milder; huge pages are counted per host
 */
void
sim_verifier_add_host(SimVerifier *v, guint32 index, const BerthHost *host)
{
    Host *h = g_new0(Host, 1);
    h->name = g_strdup(host->name);
    h->rack = g_strdup(host->rack);
    h->zone = g_strdup(host->zone);
    h->pct = host->cpu_overcommit_pct == 0 ? 100 : host->cpu_overcommit_pct;
    gint64 mem_pct = host->memory_overcommit_pct == 0 ? 100 : host->memory_overcommit_pct;
    h->cpu = (host->cpu_millis - host->cpu_reserve_millis) * h->pct / 100;
    gint64 huge_mib = 0;
    for (guint i = 0; i < host->n_cells; i++) {
        huge_mib += pages_mib(&host->cells[i]);
    }
    h->mem = (host->memory_mib - huge_mib - host->memory_reserve_mib) * mem_pct / 100;
    h->facts = berth_fleet_host_to_json(host);
    h->state = host->state;
    h->n_cells = MAX(1, host->n_cells);
    h->cell_cpu[0] = h->cpu; /* a host without cells is one cell */
    h->cell_mem[0] = h->mem;
    for (guint i = 0; i < host->n_cells; i++) {
        h->cell_cpu[i] = host->cells[i].cpu_millis * h->pct / 100;
        h->cell_mem[i] = (host->cells[i].memory_mib - pages_mib(&host->cells[i])) * mem_pct / 100;
    }
    h->n_devices = host->n_devices;
    h->kinds = g_new0(char *, host->n_devices + 1);
    h->models = g_new0(char *, host->n_devices + 1);
    h->left = g_new(gint, host->n_devices + 1);
    for (guint i = 0; i < host->n_devices; i++) {
        h->kinds[i] = g_strdup(host->devices[i].kind);
        h->models[i] = g_strdup(host->devices[i].model == NULL ? "" : host->devices[i].model);
        h->left[i] = 1000;
    }
    add_stocks(h, host);
    if (v->hosts->len <= index) {
        g_ptr_array_set_size(v->hosts, (gint)index + 1);
    }
    free_host(g_ptr_array_index(v->hosts, index));
    g_ptr_array_index(v->hosts, index) = h;
}

static void
take(SimVerifier *v, const Book *book, int sign)
{
    Host *h = g_ptr_array_index(v->hosts, book->host);
    h->cpu -= sign * book->cpu;
    h->mem -= sign * book->mem;
    gint64 parts = book->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    for (guint i = 0; i < 2 && book->cells[i] != BERTH_CELL_NONE; i++) {
        if (book->cells[i] >= h->n_cells) {
            complain(v, "host %s has no cell %u", h->name, book->cells[i]);
            return;
        }
        h->cell_cpu[book->cells[i]] -= sign * book->cpu / parts;
        h->cell_mem[book->cells[i]] -= sign * book->mem / parts;
        if (h->cell_cpu[book->cells[i]] < 0 || h->cell_mem[book->cells[i]] < 0) {
            complain(v, "cell %u of host %s is over its capacity", book->cells[i], h->name);
        }
    }
    for (guint i = 0; i < book->n_devices; i++) {
        h->left[book->devices[i]] -= sign * book->millis[i];
        if (h->left[book->devices[i]] < 0) {
            complain(v, "device %u of host %s is given out twice", book->devices[i], h->name);
        }
    }
    for (guint i = 0; i < book->n_stock; i++) {
        gint64 *left = g_hash_table_lookup(h->stock, book->stock[i]);
        if (left == NULL || (*left -= sign * book->sizes[i]) < 0) {
            complain(v, "%s of host %s is over its capacity", book->stock[i], h->name);
        }
    }
    gint64 *quota = book->project == NULL ? NULL : g_hash_table_lookup(v->quotas, book->project);
    if (quota != NULL && (*quota -= sign * book->cpu_in_all) < 0 && sign > 0) {
        complain(v, "project %s is over its quota", book->project);
    }
    if (h->cpu < 0 || h->mem < 0) {
        complain(v, "host %s is over its capacity", h->name);
    }
}

static void
check_devices(SimVerifier *v, const BerthRequest *r, Book *book)
{
    const Host *h = g_ptr_array_index(v->hosts, book->host);
    guint at = 0;
    for (guint need = 0; need < r->n_devices; need++) {
        for (guint k = 0; k < r->devices[need].count; k++, at++) {
            if (at >= book->n_devices || book->devices[at] >= h->n_devices) {
                complain(v, "a device that was asked for is missing on host %s", h->name);
                book->n_devices = 0;
                return;
            }
            guint slot = book->devices[at];
            gboolean allowed = r->devices[need].n_models == 0;
            for (guint m = 0; m < r->devices[need].n_models; m++) {
                allowed |= g_str_equal(r->devices[need].models[m], h->models[slot]);
            }
            if (!allowed || !g_str_equal(h->kinds[slot], r->devices[need].kind)) {
                complain(v, "host %s gives a device of another kind", h->name);
            }
            book->millis[at] = r->devices[need].millis;
        }
    }
    for (guint i = 0; i < at; i++) {
        for (guint k = 0; k < i; k++) {
            if (book->devices[i] == book->devices[k]) {
                complain(v, "host %s gives one device twice to one workload", h->name);
            }
        }
    }
}

static void
check_cells(SimVerifier *v, const BerthRequest *r, const Book *book)
{
    guint bound = (book->cells[0] != BERTH_CELL_NONE) + (book->cells[1] != BERTH_CELL_NONE);
    guint wanted = r->numa == BERTH_NUMA_ONE ? 1 : r->numa == BERTH_NUMA_TWO ? 2 : bound;
    if (bound != wanted || (bound == 2 && book->cells[0] == book->cells[1])) {
        complain(v, "a workload for %u cells was given %u", wanted, bound);
    }
}

static gboolean
share_place(const Host *a, const Host *b, BerthScope scope)
{
    const char *x = scope == BERTH_SCOPE_RACK ? a->rack : a->zone;
    const char *y = scope == BERTH_SCOPE_RACK ? b->rack : b->zone;
    return a == b || (scope != BERTH_SCOPE_HOST && x != NULL && g_strcmp0(x, y) == 0);
}

static void
check_relations(SimVerifier *v, const BerthRequest *r, const Book *book)
{
    const Host *here = g_ptr_array_index(v->hosts, book->host);
    for (guint i = 0; i < r->n_relations; i++) {
        const BerthRelation *relation = &r->relations[i];
        if (relation->weight > 0 || relation->group == NULL) {
            continue;
        }
        GArray *members = g_hash_table_lookup(v->groups, relation->group);
        guint near = 0, all = 0;
        for (guint k = 0; members != NULL && k < members->len; k++) {
            const Book *other = &g_array_index(v->books, Book, g_array_index(members, guint, k));
            if (other->live) {
                all++;
                near +=
                    share_place(here, g_ptr_array_index(v->hosts, other->host), relation->scope);
            }
        }
        gboolean together = relation->kind == BERTH_RELATION_TOGETHER;
        if (together ? (all > 0 && near == 0) : near > 0) {
            complain(v, "host %s breaks the affinity of group %s", here->name, relation->group);
        }
    }
}

/* A place may hold at most max_skew members more than the emptiest place with a host that takes any. */
static void
check_spreads(SimVerifier *v, const BerthRequest *r, const Book *book)
{
    const Host *here = g_ptr_array_index(v->hosts, book->host);
    for (guint i = 0; i < r->n_spreads; i++) {
        const BerthSpread *spread = &r->spreads[i];
        GArray *members = g_hash_table_lookup(v->groups, spread->group);
        guint least = G_MAXUINT, mine = 1;
        for (guint h = 0; h < v->hosts->len; h++) {
            const Host *host = g_ptr_array_index(v->hosts, h);
            guint near = 0;
            if (host == NULL || host->state != BERTH_HOST_READY) {
                continue;
            }
            for (guint k = 0; members != NULL && k < members->len; k++) {
                const Book *other =
                    &g_array_index(v->books, Book, g_array_index(members, guint, k));
                near += other->live &&
                        share_place(host, g_ptr_array_index(v->hosts, other->host), spread->scope);
            }
            least = MIN(least, near);
            mine = host == here ? near + 1 : mine;
        }
        if (spread->weight == 0 && mine > least + MAX(1, spread->max_skew)) {
            complain(v, "host %s breaks the spread of group %s", here->name, spread->group);
        }
    }
}

static void
check_facts(SimVerifier *v, const BerthRequest *r, const Book *book)
{
    const Host *here = g_ptr_array_index(v->hosts, book->host);
    const char *broken = sim_verify_facts(here->facts, r);
    if (broken != NULL) {
        complain(v, "host %s breaks the rule '%s'", here->name, broken);
    }
    if (here->state != BERTH_HOST_READY) {
        complain(v, "host %s takes nothing new", here->name);
    }
}

static void
book_stock(Book *book, const char *kind, const char *key, gint64 amount)
{
    book->stock[book->n_stock] = g_strdup_printf("%s/%s", kind, key);
    book->sizes[book->n_stock++] = amount;
}

static void
book_stocks(Book *book, const BerthRequest *r)
{
    book->stock = g_new0(char *, r->n_disks + r->n_counts + 4);
    book->sizes = g_new(gint64, r->n_disks + r->n_counts + 3);
    for (guint i = 0; i < r->n_disks; i++) {
        book_stock(book, "pool", r->disks[i].key, r->disks[i].amount);
    }
    for (guint i = 0; i < r->n_counts; i++) {
        book_stock(book, "count", r->counts[i].key, r->counts[i].amount);
    }
    if (r->hugepage_kib > 0) {
        g_autofree char *size = g_strdup_printf("%u", r->hugepage_kib);
        gint64 pages = (r->memory_mib * 1024 + r->hugepage_kib - 1) / r->hugepage_kib;
        book_stock(book, "pages", size, pages);
    }
    gint64 left = book->cpu_in_all / 1000, parts = book->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    for (guint i = 0; r->dedicated && i < parts; i++) {
        g_autofree char *cell = g_strdup_printf("%u", book->cells[i]);
        gint64 take = i + 1 == parts ? left : (left + 1) / 2;
        book_stock(book, "cpus", cell, take);
        left -= take;
    }
}

/** The most CPU that @project may hold; for a project that holds none yet, or was told before. */
void
sim_verifier_set_quota(SimVerifier *v, const char *project, gint64 cpu_millis)
{
    g_hash_table_replace(v->quotas, g_strdup(project), g_memdup2(&cpu_millis, sizeof cpu_millis));
}

void
sim_verifier_set_state(SimVerifier *v, guint32 index, BerthHostState state)
{
    ((Host *)g_ptr_array_index(v->hosts, index))->state = state;
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
    Book book = {.host = placement->host,
                 .cpu = r->dedicated ? 0 : r->cpu_millis,
                 .cpu_in_all = r->dedicated ? (r->cpu_millis + 999) / 1000 * 1000 : r->cpu_millis,
                 .mem = (r->hugepage_kib > 0 ? 0 : r->memory_mib) + r->overhead_mib,
                 .cells = {placement->cells[0], placement->cells[1]},
                 .n_devices = placement->n_devices,
                 .group = g_strdup(r->group),
                 .project = g_strdup(r->project),
                 .live = TRUE};
    memcpy(book.devices, placement->devices, sizeof(book.devices));
    book_stocks(&book, r);
    check_facts(v, r, &book);
    check_spreads(v, r, &book);
    check_cells(v, r, &book);
    check_devices(v, r, &book);
    check_relations(v, r, &book);
    take(v, &book, 1);
    guint token = v->books->len;
    g_array_append_val(v->books, book);
    if (r->group != NULL) {
        GArray *members = g_hash_table_lookup(v->groups, r->group);
        if (members == NULL) {
            members = g_array_new(FALSE, FALSE, sizeof(guint));
            g_hash_table_insert(v->groups, g_strdup(r->group), members);
        }
        g_array_append_val(members, token);
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

void
sim_verifier_release(SimVerifier *v, guint token)
{
    Book *book = &g_array_index(v->books, Book, token);
    if (!book->live) {
        complain(v, "a workload was released twice");
        return;
    }
    take(v, book, -1);
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
