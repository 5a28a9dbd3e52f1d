/* See spare-columns.h. A host that changed is read anew at the next question; a good that nobody asked for before
 * makes vectors longer, and all is read anew. */
#include "sched/spare-columns.h"

#include <string.h>

/* Classes that no host has any more are kept up to so many. */
#define IDLE_CLASSES_MAX 256

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Up to the next of eight steps an octave. */
static gint32
round_up(gint64 amount)
{
    gint64 step = 1;
    while (amount > 16 * step) {
        step *= 2;
    }
    return (gint32)MIN((amount + step - 1) / step * step, G_MAXINT32);
}

/* Usual sizes in thousandths are multiples of an eighth. */
static void
round_vector(const BerthSpare *spare, const gint32 *vector, gint32 *size)
{
    for (guint d = 0; d < spare->dims; d++) {
        gboolean millis =
            d == SPARE_CPU ||
            (d >= SPARE_GOODS &&
             g_array_index(spare->goods, SpareGood, d - SPARE_GOODS).kind == SPARE_SHARES);
        size[d] = millis ? round_up(((gint64)vector[d] + 124) / 125) * 125 : round_up(vector[d]);
    }
}

static GBytes *
key_of(const BerthSpare *spare, const gint32 *size)
{
    return g_bytes_new(size, spare->dims * sizeof(*size));
}

/** Returns: the class of @vector, made when it is new. */
guint
spare_find_class(BerthSpare *spare, const gint32 *vector)
{
    SpareClass *class = g_malloc0(sizeof(SpareClass) + spare->dims * sizeof(gint32));
    round_vector(spare, vector, class->size);
    GBytes *key = key_of(spare, class->size);
    gpointer known = g_hash_table_lookup(spare->by_size, key);
    if (known != NULL) {
        g_bytes_unref(key);
        g_free(class);
        return GPOINTER_TO_UINT(known) - 1;
    }
    for (guint32 h = 0; h < spare->hosts; h++) {
        class->slots += spare_count(spare_room(spare, h), class->size, spare->dims);
    }
    g_ptr_array_add(spare->classes, class);
    g_hash_table_insert(spare->by_size, key, GUINT_TO_POINTER(spare->classes->len));
    return spare->classes->len - 1;
}

/** Returns: negative when @a is packed before @b. */
int
spare_compare_sizes(const BerthSpare *spare, guint a, guint b)
{
    const gint32 *x = spare_class(spare, a)->size, *y = spare_class(spare, b)->size;
    for (guint d = 0; d < spare->dims; d++) {
        if (x[d] != y[d]) {
            return x[d] > y[d] ? -1 : 1;
        }
    }
    return 0;
}

/** Counts one more of @class. */
void
spare_add_mix(const BerthSpare *spare, GArray *mixes, guint class)
{
    guint at = 0;
    while (at < mixes->len) {
        SpareMix *mix = &g_array_index(mixes, SpareMix, at);
        if (mix->class == class) {
            mix->count++;
            return;
        }
        if (spare_compare_sizes(spare, class, mix->class) < 0) {
            break;
        }
        at++;
    }
    SpareMix mix = {.class = class, .count = 1};
    g_array_insert_val(mixes, at, mix);
}

/* How many slots of @small one load of @large takes at most. */
static gint64
weight_of(const BerthSpare *spare, const SpareClass *large, const SpareClass *small)
{
    gint64 weight = 0;
    for (guint d = 0; d < spare->dims; d++) {
        if (small->size[d] > 0) {
            gint64 of = ((gint64)large->size[d] + small->size[d] - 1) / small->size[d];
            weight = MAX(weight, of);
        }
    }
    return weight;
}

/** Works out SpareMix.need of all. */
void
spare_count_needs(const BerthSpare *spare, GArray *mixes)
{
    for (guint i = 0; i < mixes->len; i++) {
        SpareMix *mix = &g_array_index(mixes, SpareMix, i);
        mix->need = 0;
        for (guint k = 0; k <= i; k++) {
            const SpareMix *before = &g_array_index(mixes, SpareMix, k);
            mix->need += before->count * weight_of(spare, spare_class(spare, before->class),
                                                   spare_class(spare, mix->class));
        }
    }
}

/* ---- goods ----------------------------------------------------------------------------------- */

static const char *
name_of(const BerthSnapshot *s, const SpareGood *good)
{
    const char *name = berth_symbols_name(&s->symbols, good->key);
    return name != NULL ? name : "";
}

static gboolean
is_before(const BerthSnapshot *s, const SpareGood *a, const SpareGood *b)
{
    return a->kind != b->kind ? a->kind < b->kind : strcmp(name_of(s, a), name_of(s, b)) < 0;
}

/* Adds @amount to @vector; a good that nobody knows yet is noted, and missing in @vector. */
static void
add_good(BerthSpare *spare, const BerthSnapshot *s, guint8 kind, BerthSymbol key, gint64 amount,
         gint32 *vector)
{
    const SpareGood good = {kind, key};
    guint at = 0;
    while (at < spare->goods->len) {
        const SpareGood *other = &g_array_index(spare->goods, SpareGood, at);
        if (other->kind == kind && other->key == key) {
            /* Behind a fresh one, its place is not that of its dimension: all is read anew then. */
            guint d = MIN(SPARE_GOODS + at, spare->dims - 1);
            vector[d] = (gint32)MIN((gint64)vector[d] + amount, G_MAXINT32);
            return;
        }
        if (is_before(s, &good, other)) {
            break;
        }
        at++;
    }
    if (amount > 0) {
        g_array_insert_val(spare->goods, at, good);
    }
}

/** What moves with @charge. */
void
spare_read_charge(BerthSpare *spare, const BerthSnapshot *s, const BerthCharge *charge,
                  gint32 *vector)
{
    memset(vector, 0, spare->dims * sizeof(*vector));
    vector[SPARE_MEMORY] = charge->memory_mib;
    vector[SPARE_CPU] = charge->cpu_millis;
    for (guint i = 0; i < charge->n_stocks; i++) {
        const BerthStockUse *use = &charge->stocks[i];
        add_good(spare, s, use->kind, use->key, use->amount, vector);
    }
    for (guint i = 0; i < charge->n_slots; i++) {
        const BerthSlotUse *use = &charge->slots[i];
        if (use->slot < s->n_slots[charge->host]) {
            BerthSymbol kind = berth_slots(s, charge->host)[use->slot].kind;
            gboolean whole = use->millis >= 1000;
            add_good(spare, s, whole ? SPARE_DEVICES : SPARE_SHARES, kind, whole ? 1 : use->millis,
                     vector);
        }
    }
}

/** As spare_read_charge(), before it is one. */
void
spare_read_ask(BerthSpare *spare, const BerthAsk *ask, gint32 *vector)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthRequest *r = ask->request;
    memset(vector, 0, spare->dims * sizeof(*vector));
    vector[SPARE_MEMORY] = (gint32)MIN(ask->memory_mib, G_MAXINT32);
    vector[SPARE_CPU] = (gint32)MIN(ask->cpu_millis, G_MAXINT32);
    add_good(spare, s, BERTH_STOCK_CPU, 0, ask->cpus, vector);
    add_good(spare, s, BERTH_STOCK_HUGEPAGE, ask->page_key, ask->pages, vector);
    for (guint i = 0; i < r->n_disks; i++) {
        add_good(spare, s, BERTH_STOCK_POOL, ask->disks[i], r->disks[i].amount, vector);
    }
    for (guint i = 0; i < r->n_counts; i++) {
        add_good(spare, s, BERTH_STOCK_COUNT, ask->counts[i], r->counts[i].amount, vector);
    }
    for (guint i = 0; i < r->n_devices; i++) {
        const BerthDeviceNeed *need = &r->devices[i];
        gboolean whole = need->millis >= 1000;
        add_good(spare, s, whole ? SPARE_DEVICES : SPARE_SHARES, ask->devices[i],
                 need->count * (gint64)(whole ? 1 : need->millis), vector);
    }
}

/* ---- what a host has free ----------------------------------------------------------------------- */

/* One device of an IOMMU group counts, and only while nobody has one of it. */
static gboolean
counts_whole(const BerthSlot *slots, guint n, guint at)
{
    for (guint i = 0; i < n && slots[at].iommu_group >= 0; i++) {
        if (slots[i].iommu_group == slots[at].iommu_group && (slots[i].used > 0 || i < at)) {
            return FALSE;
        }
    }
    return slots[at].used == 0;
}

static gint64
count_devices(const BerthSnapshot *s, guint32 host, const SpareGood *good)
{
    const BerthSlot *slots = berth_slots(s, host);
    gint64 count = 0;
    for (guint i = 0; i < s->n_slots[host]; i++) {
        if (slots[i].kind != good->key) {
            continue;
        }
        if (good->kind == SPARE_DEVICES) {
            count += counts_whole(slots, s->n_slots[host], i);
        } else if (slots[i].shareable) {
            count += 1000 - slots[i].used;
        }
    }
    return count;
}

static gint64
count_stock(const BerthSnapshot *s, guint32 host, const SpareGood *good)
{
    const BerthStock *stocks = berth_stocks(s, host);
    gint64 count = 0;
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        if (stocks[i].kind == good->kind && stocks[i].key == good->key) {
            count += MAX(0, stocks[i].capacity - stocks[i].used);
        }
    }
    return count;
}

static void
read_room(BerthSpare *spare, const BerthSnapshot *s, guint32 host)
{
    gint32 *room = spare_room(spare, host);
    if (!berth_host_is_schedulable(s, host)) {
        return;
    }
    room[SPARE_MEMORY] = MAX(0, s->mem_free[host]);
    room[SPARE_CPU] = MAX(0, s->cpu_free[host]);
    for (guint d = SPARE_GOODS; d < spare->dims; d++) {
        const SpareGood *good = &g_array_index(spare->goods, SpareGood, d - SPARE_GOODS);
        gint64 count =
            good->kind >= SPARE_DEVICES ? count_devices(s, host, good) : count_stock(s, host, good);
        room[d] = (gint32)MIN(count, G_MAXINT32);
    }
}

/* ---- keeping step ------------------------------------------------------------------------------ */

static void
count_room(BerthSpare *spare, guint32 host, int sign)
{
    const gint32 *room = spare_room(spare, host);
    for (guint d = 0; d < spare->dims; d++) {
        spare->total[d] += sign * room[d];
    }
    for (guint c = 0; c < spare->classes->len; c++) {
        SpareClass *class = spare_class(spare, c);
        class->slots += sign * spare_count(room, class->size, spare->dims);
    }
}

static void
drop_host(BerthSpare *spare, guint32 host)
{
    GArray *mixes = spare->mixes[host];
    count_room(spare, host, -1);
    memset(spare_room(spare, host), 0, spare->dims * sizeof(gint32));
    memset(spare_load(spare, host), 0, spare->dims * sizeof(gint64));
    for (guint i = 0; mixes != NULL && i < mixes->len; i++) {
        spare_class(spare, g_array_index(mixes, SpareMix, i).class)->users--;
    }
    g_clear_pointer(&spare->mixes[host], g_array_unref);
    spare->loose = TRUE;
}

/* The tops are no less than what @host has. */
static void
raise_tops(BerthSpare *spare, guint32 host)
{
    const GArray *mixes = spare->mixes[host];
    const gint32 *room = spare_room(spare, host);
    for (guint d = 0; d < spare->dims; d++) {
        gint64 has = spare_load(spare, host)[d] + room[d];
        if (mixes != NULL && has > spare->top[d]) {
            spare->top[d] = has;
            spare->top_host[d] = host;
        }
    }
    for (guint i = 0; mixes != NULL && i < mixes->len; i++) {
        const SpareMix *mix = &g_array_index(mixes, SpareMix, i);
        SpareClass *class = spare_class(spare, mix->class);
        gint64 own = spare_count(room, class->size, spare->dims);
        class->top = MAX(class->top, mix->need + own);
    }
}

/* FALSE: it asks for a good that is new. */
static gboolean
read_loads(BerthSpare *spare, const BerthSnapshot *s, guint32 host)
{
    g_autofree gint32 *vector = g_new(gint32, spare->dims);
    GArray *mixes = g_array_new(FALSE, FALSE, sizeof(SpareMix));
    guint goods = spare->goods->len;
    for (guint32 c = s->charge_head[host]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        if (berth_charge(s, c)->fixed) {
            continue;
        }
        spare_read_charge(spare, s, berth_charge(s, c), vector);
        if (spare->goods->len > goods) {
            g_array_unref(mixes);
            return FALSE;
        }
        for (guint d = 0; d < spare->dims; d++) {
            spare_load(spare, host)[d] += vector[d];
        }
        spare_add_mix(spare, mixes, spare_find_class(spare, vector));
    }
    spare_count_needs(spare, mixes);
    for (guint i = 0; i < mixes->len; i++) {
        spare_class(spare, g_array_index(mixes, SpareMix, i).class)->users++;
    }
    if (mixes->len == 0) {
        g_clear_pointer(&mixes, g_array_unref);
    }
    spare->mixes[host] = mixes;
    return TRUE;
}

static gboolean
read_host(BerthSpare *spare, const BerthSnapshot *s, guint32 host)
{
    drop_host(spare, host);
    if (s->name[host] == 0) {
        return TRUE;
    }
    if (!read_loads(spare, s, host)) {
        return FALSE;
    }
    read_room(spare, s, host);
    count_room(spare, host, 1);
    raise_tops(spare, host);
    return TRUE;
}

static void
free_columns(BerthSpare *spare)
{
    for (guint32 h = 0; h < spare->hosts; h++) {
        g_clear_pointer(&spare->mixes[h], g_array_unref);
    }
    g_clear_pointer(&spare->mixes, g_free);
    g_clear_pointer(&spare->room, g_free);
    g_clear_pointer(&spare->load, g_free);
    g_clear_pointer(&spare->total, g_free);
    g_clear_pointer(&spare->top, g_free);
    g_clear_pointer(&spare->top_host, g_free);
    g_clear_pointer(&spare->is_changed, g_free);
    g_ptr_array_set_size(spare->classes, 0);
    g_hash_table_remove_all(spare->by_size);
}

/* Nothing is known but the goods; all hosts are to be read. */
static void
begin(BerthSpare *spare, const BerthSnapshot *s)
{
    free_columns(spare);
    spare->hosts = s->end;
    spare->dims = SPARE_GOODS + spare->goods->len;
    spare->mixes = g_new0(GArray *, spare->hosts);
    spare->room = g_new0(gint32, (gsize)spare->hosts * spare->dims);
    spare->load = g_new0(gint64, (gsize)spare->hosts * spare->dims);
    spare->total = g_new0(gint64, spare->dims);
    spare->top = g_new0(gint64, spare->dims);
    spare->top_host = g_new0(guint32, spare->dims);
    spare->is_changed = g_new0(guint8, spare->hosts);
    g_array_set_size(spare->changed, 0);
    for (guint32 h = 0; h < spare->hosts; h++) {
        berth_spare_note_change(spare, h);
    }
}

static gboolean
read_changed(BerthSpare *spare, const BerthSnapshot *s)
{
    for (; spare->changed->len > 0; g_array_set_size(spare->changed, spare->changed->len - 1)) {
        guint32 host = g_array_index(spare->changed, guint32, spare->changed->len - 1);
        if (!read_host(spare, s, host)) {
            return FALSE;
        }
        spare->is_changed[host] = FALSE;
    }
    return TRUE;
}

/* Whether there are many classes that no host has. */
static gboolean
has_idle_classes(const BerthSpare *spare)
{
    guint idle = 0;
    for (guint c = 0; c < spare->classes->len; c++) {
        idle += spare_class(spare, c)->users == 0;
    }
    return idle > IDLE_CLASSES_MAX;
}

/** Brings the columns in step with the snapshot of @ask, and makes them know all that it asks for. */
void
spare_refresh(BerthSpare *spare, const BerthAsk *ask)
{
    const BerthSnapshot *s = ask->snapshot;
    if (spare->hosts != s->end || has_idle_classes(spare)) {
        begin(spare, s);
    }
    for (;;) {
        g_autofree gint32 *vector = g_new(gint32, spare->dims);
        spare_read_ask(spare, ask, vector);
        if (spare->dims == SPARE_GOODS + spare->goods->len && read_changed(spare, s)) {
            return;
        }
        begin(spare, s);
    }
}

/** Makes the tops exact. */
void
spare_tighten(BerthSpare *spare)
{
    for (guint c = 0; c < spare->classes->len; c++) {
        spare_class(spare, c)->top = 0;
    }
    memset(spare->top, 0, spare->dims * sizeof(*spare->top));
    for (guint32 h = 0; h < spare->hosts; h++) {
        raise_tops(spare, h);
    }
    spare->loose = FALSE;
}

/* ---- its life ------------------------------------------------------------------------------------ */

/** Returns: (transfer full): columns that read the fleet at the first question. */
BerthSpare *
berth_spare_new(void)
{
    BerthSpare *spare = g_new0(BerthSpare, 1);
    spare->dims = SPARE_GOODS;
    spare->goods = g_array_new(FALSE, FALSE, sizeof(SpareGood));
    spare->classes = g_ptr_array_new_with_free_func(g_free);
    spare->by_size =
        g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, NULL);
    spare->changed = g_array_new(FALSE, FALSE, sizeof(guint32));
    return spare;
}

void
berth_spare_free(BerthSpare *spare)
{
    if (spare != NULL) {
        free_columns(spare);
        g_array_unref(spare->goods);
        g_ptr_array_unref(spare->classes);
        g_hash_table_unref(spare->by_size);
        g_array_unref(spare->changed);
        g_free(spare);
    }
}

/** Something of @host is different now. */
void
berth_spare_note_change(BerthSpare *spare, guint32 host)
{
    if (host < spare->hosts && !spare->is_changed[host]) {
        spare->is_changed[host] = TRUE;
        g_array_append_val(spare->changed, host);
    }
}
