/* N+1: whether all that would have to move finds room when any one host is lost, once a request is placed.
 *
 * The loss of a host is played through: its workloads, by size and the largest first, go to the first other host that
 * has room in everything: ordinary memory, shared CPU, dedicated CPUs, huge pages, disk per pool, named counts and
 * devices by class. Whether cells, labels, relations or models let them go there is not asked. Who is fixed to its host
 * moves nowhere. What that says follows from the state of the fleet alone.
 *
 * To know it for all hosts takes two bounds that are kept with the columns (spare-columns.h), and rarely more:
 *
 *   - what is free on all others is no less than the sum of what would move, or it can't be;
 *   - a host with room for n loads of a size refuses one of that size only after it took loads that took the place of
 *     n. So when the hosts that are left have as many slots of a size as those of it, and all that are packed before
 *     them, can take, each of them finds a host, whatever the packing.
 *
 * Only for hosts that neither decides it is played. Start at berth_spare_find_stranded(). */
#include "sched/spare-columns.h"

#include <stdlib.h>
#include <string.h>

/* One question: a request on one host. */
typedef struct {
    BerthSpare *spare;
    const BerthAsk *ask;
    guint32 host;
    gboolean moves;    /* the request itself, when its host is lost */
    gint32 *wants;     /* owned: its vector, … */
    gint32 *left;      /* … what it leaves free on its host; owned */
    GArray *own_mixes; /* owned: what would move from its host then */
    guint32 *open;     /* owned: hosts with room for the least of all loads, as many as … */
    guint n_open;      /* … not known before something is packed */
} Trial;

static void
begin(Trial *trial, BerthSpare *spare, const BerthAsk *ask, guint32 host)
{
    *trial = (Trial){spare,
                     ask,
                     host,
                     !ask->request->fixed,
                     g_new(gint32, spare->dims),
                     g_new(gint32, spare->dims),
                     NULL,
                     NULL,
                     0};
    spare_read_ask(spare, ask, trial->wants);
    for (guint d = 0; d < spare->dims; d++) {
        trial->left[d] = MAX(0, spare_room(spare, host)[d] - trial->wants[d]);
    }
    trial->own_mixes = spare->mixes[host] != NULL ? g_array_copy(spare->mixes[host])
                                                  : g_array_new(FALSE, FALSE, sizeof(SpareMix));
    if (trial->moves) {
        spare_add_mix(spare, trial->own_mixes, spare_find_class(spare, trial->wants));
        spare_count_needs(spare, trial->own_mixes);
    }
}

static void
end(Trial *trial)
{
    g_free(trial->wants);
    g_free(trial->left);
    g_free(trial->open);
    g_array_unref(trial->own_mixes);
}

/* ---- bounds ------------------------------------------------------------------------------------- */

/* What the request takes off the room of its host. */
static gint64
taken(const Trial *trial, guint d)
{
    return spare_room(trial->spare, trial->host)[d] - trial->left[d];
}

/* Slots of @class in the fleet, once the request has its place. */
static gint64
slots_then(const Trial *trial, const SpareClass *class)
{
    guint dims = trial->spare->dims;
    return class->slots - spare_count(spare_room(trial->spare, trial->host), class->size, dims) +
           spare_count(trial->left, class->size, dims);
}

/* Whether what is free without @lost is enough in sum. */
static gboolean
has_enough(const Trial *trial, guint32 lost)
{
    const BerthSpare *spare = trial->spare;
    for (guint d = 0; d < spare->dims; d++) {
        gboolean own = lost == trial->host;
        gint64 room = spare->total[d] - spare_room(spare, lost)[d] - (own ? 0 : taken(trial, d));
        gint64 load = spare_load(spare, lost)[d] + (own && trial->moves ? trial->wants[d] : 0);
        if (room < load) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Whether the slots that are left without @lost are enough for each class. */
static gboolean
has_slots(const Trial *trial, guint32 lost)
{
    const BerthSpare *spare = trial->spare;
    gboolean own = lost == trial->host;
    const GArray *mixes = own ? trial->own_mixes : spare->mixes[lost];
    for (guint i = 0; i < mixes->len; i++) {
        const SpareMix *mix = &g_array_index(mixes, SpareMix, i);
        const SpareClass *class = spare_class(spare, mix->class);
        gint64 has = spare_count(spare_room(spare, lost), class->size, spare->dims);
        gint64 slots = own ? class->slots : slots_then(trial, class);
        if (slots - has < mix->need) {
            return FALSE;
        }
    }
    return TRUE;
}

/* A host of which it is known at once that its loss leaves too little, or BERTH_HOST_NONE; the tops must be exact. */
static guint32
find_short(const Trial *trial)
{
    const BerthSpare *spare = trial->spare;
    if (!has_enough(trial, trial->host)) {
        return trial->host;
    }
    for (guint d = 0; d < spare->dims; d++) {
        if (spare->total[d] - taken(trial, d) < spare->top[d] &&
            spare->top_host[d] != trial->host) {
            return spare->top_host[d];
        }
    }
    return BERTH_HOST_NONE;
}

/* Whether bounds tell that every loss is survived. */
static gboolean
has_plenty(const Trial *trial)
{
    const BerthSpare *spare = trial->spare;
    for (guint d = 0; d < spare->dims; d++) {
        if (spare->total[d] - taken(trial, d) < spare->top[d]) {
            return FALSE;
        }
    }
    for (guint c = 0; c < spare->classes->len; c++) {
        const SpareClass *class = spare_class(spare, c);
        if (class->users > 0 && slots_then(trial, class) < class->top) {
            return FALSE;
        }
    }
    return has_enough(trial, trial->host) && has_slots(trial, trial->host);
}

/* ---- played through ----------------------------------------------------------------------------- */

typedef struct {
    const BerthSpare *spare;
    guint class;
    gint32 *vector; /* owned */
} Load;

static void
clear_load(gpointer data)
{
    g_free(((Load *)data)->vector);
}

static int
compare_loads(gconstpointer a, gconstpointer b)
{
    const Load *x = a, *y = b;
    int order = spare_compare_sizes(x->spare, x->class, y->class);
    for (guint d = 0; order == 0 && d < x->spare->dims; d++) {
        order = x->vector[d] == y->vector[d] ? 0 : x->vector[d] > y->vector[d] ? -1 : 1;
    }
    return order;
}

static void
add_load(GArray *loads, BerthSpare *spare, const gint32 *vector)
{
    Load load = {spare, spare_find_class(spare, vector),
                 g_memdup2(vector, spare->dims * sizeof(*vector))};
    g_array_append_val(loads, load);
}

static GArray *
list_loads(const Trial *trial, guint32 lost)
{
    BerthSpare *spare = trial->spare;
    const BerthSnapshot *s = trial->ask->snapshot;
    g_autofree gint32 *vector = g_new(gint32, spare->dims);
    GArray *loads = g_array_new(FALSE, FALSE, sizeof(Load));
    g_array_set_clear_func(loads, clear_load);
    for (guint32 c = s->charge_head[lost]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        if (!berth_charge(s, c)->fixed) {
            spare_read_charge(spare, s, berth_charge(s, c), vector);
            add_load(loads, spare, vector);
        }
    }
    if (lost == trial->host && trial->moves) {
        add_load(loads, spare, trial->wants);
    }
    g_array_sort(loads, compare_loads);
    return loads;
}

static gboolean
holds(const gint32 *room, const gint32 *load, guint dims)
{
    for (guint d = 0; d < dims; d++) {
        if (room[d] < load[d]) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Amounts of which every load of any class in use has more, or as much: a size is an eighth too high at most. */
static void
find_least(const BerthSpare *spare, gint32 least[SPARE_GOODS])
{
    for (guint d = 0; d < SPARE_GOODS; d++) {
        least[d] = G_MAXINT32;
        for (guint c = 0; c < spare->classes->len; c++) {
            const SpareClass *class = spare_class(spare, c);
            gint32 least_of = class->size[d] - class->size[d] / 8 - (d == SPARE_CPU ? 125 : 0);
            least[d] = MIN(least[d], MAX(0, least_of));
        }
    }
}

/* Near the limit most hosts are full: they are passed over once, not for each load of each host. */
static void
list_open(Trial *trial)
{
    const BerthSpare *spare = trial->spare;
    gint32 least[SPARE_GOODS];
    find_least(spare, least);
    trial->open = g_new(guint32, spare->hosts);
    for (guint32 h = 0; h < spare->hosts; h++) {
        const gint32 *room = spare_room(spare, h);
        trial->open[trial->n_open] = h;
        trial->n_open += holds(room, least, SPARE_GOODS);
    }
}

static guint32
find_room(const Trial *trial, const gint32 *load, guint32 lost)
{
    const BerthSpare *spare = trial->spare;
    for (guint i = 0; i < trial->n_open; i++) {
        guint32 host = trial->open[i];
        if (host != lost && holds(spare_room(spare, host), load, spare->dims)) {
            return host;
        }
    }
    return BERTH_HOST_NONE;
}

static void
add_to_room(const BerthSpare *spare, guint32 host, const gint32 *vector, int sign)
{
    for (guint d = 0; d < spare->dims; d++) {
        spare_room(spare, host)[d] += sign * vector[d];
    }
}

/* Packs what would move from @lost; all room is as it was when it returns. */
static gboolean
survives(const Trial *trial, guint32 lost)
{
    BerthSpare *spare = trial->spare;
    gsize row = spare->dims * sizeof(gint32);
    g_autofree gint32 *own = g_memdup2(spare_room(spare, trial->host), row);
    g_autoptr(GArray) loads = list_loads(trial, lost);
    g_autofree guint32 *to = g_new(guint32, loads->len + 1);
    memcpy(spare_room(spare, trial->host), trial->left, row);
    guint placed = 0;
    for (; placed < loads->len; placed++) {
        const gint32 *load = g_array_index(loads, Load, placed).vector;
        to[placed] = find_room(trial, load, lost);
        if (to[placed] == BERTH_HOST_NONE) {
            break;
        }
        add_to_room(spare, to[placed], load, -1);
    }
    gboolean all = placed == loads->len;
    while (placed-- > 0) {
        add_to_room(spare, to[placed], g_array_index(loads, Load, placed).vector, 1);
    }
    memcpy(spare_room(spare, trial->host), own, row);
    return all;
}

static guint32
find_by_packing(Trial *trial)
{
    const BerthSpare *spare = trial->spare;
    list_open(trial);
    for (guint32 lost = 0; lost < spare->hosts; lost++) {
        gboolean idle = spare->mixes[lost] == NULL && (lost != trial->host || !trial->moves);
        if (!idle &&
            (!has_enough(trial, lost) || (!has_slots(trial, lost) && !survives(trial, lost)))) {
            return lost;
        }
    }
    return BERTH_HOST_NONE;
}

/**
 * berth_spare_find_stranded:
 * @host: where the request would go; it has room there
 *
 * Cost: what changed since the last question; then a few divisions per size of workload, and one look at each host
 * when these don't tell. Hosts that are short of the limit by less than the bounds see are packed.
 *
 * Returns: a host whose loss would leave one of its workloads without room, or BERTH_HOST_NONE
 */
guint32
berth_spare_find_stranded(BerthSpare *spare, const BerthAsk *ask, guint32 host)
{
    Trial trial;
    guint32 stranded = BERTH_HOST_NONE;
    spare_refresh(spare, ask);
    begin(&trial, spare, ask, host);
    if (!has_plenty(&trial)) {
        if (spare->loose) {
            spare_tighten(spare);
        }
        stranded = find_short(&trial);
        if (stranded == BERTH_HOST_NONE && !has_plenty(&trial)) {
            stranded = find_by_packing(&trial);
        }
    }
    end(&trial);
    return stranded;
}
