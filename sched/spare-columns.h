/* The columns behind spare.c: of each host what is free and what would have to move, as vectors of amounts, and the
 * classes of those that would. For spare*.c only. */
#pragma once

#include "sched/spare.h"

G_BEGIN_DECLS

/* Memory in MiB, CPU in thousandths, then one for each good that somebody asks for. */
enum { SPARE_MEMORY, SPARE_CPU, SPARE_GOODS };

/* Goods are stocks by kind and key, and devices by class: whole ones, and shares in thousandths. */
enum { SPARE_DEVICES = BERTH_STOCK_CPU + 1, SPARE_SHARES };

typedef struct {
    guint8 kind;
    BerthSymbol key;
} SpareGood;

/* Loads of nearly one size: none of them is more than @size in anything. */
typedef struct {
    gint64 slots; /* of this size, in all hosts */
    gint64
        top; /* of all hosts with such loads, the most of need and own slots; or more, while @loose */
    guint users; /* hosts with such loads */
    gint32 size[];
} SpareClass;

/* What a host has of one class. */
typedef struct {
    guint class;
    guint count;
    gint64 need; /* slots of the class that suffice for these and all that are larger */
} SpareMix;

struct BerthSpare {
    guint dims;         /* length of a vector */
    GArray *goods;      /* of SpareGood, in a fixed order */
    guint32 hosts;      /* length of the columns */
    gint32 *room;       /* vectors: what is free */
    gint64 *load;       /* vectors: the sum of what would move */
    GArray **mixes;     /* of SpareMix, the largest class first; NULL: nothing would move */
    gint64 *total;      /* the sum of all room */
    gint64 *top;        /* the most of load and room of one host; or more, while @loose */
    guint32 *top_host;  /* whose it is */
    gboolean loose;     /* the tops may be too high */
    GPtrArray *classes; /* of SpareClass, owned */
    GHashTable *by_size;
    GArray *changed; /* of hosts */
    guint8 *is_changed;
};

static inline gint32 *
spare_room(const BerthSpare *spare, guint32 host)
{
    return spare->room + (gsize)host * spare->dims;
}

static inline gint64 *
spare_load(const BerthSpare *spare, guint32 host)
{
    return spare->load + (gsize)host * spare->dims;
}

static inline SpareClass *
spare_class(const BerthSpare *spare, guint class)
{
    return g_ptr_array_index(spare->classes, class);
}

/* How many loads of @size fit in @room, for certain. */
static inline gint64
spare_count(const gint32 *room, const gint32 *size, guint dims)
{
    gint64 count = G_MAXINT32;
    for (guint d = 0; d < dims; d++) {
        if (size[d] > 0) {
            count = MIN(count, room[d] / size[d]);
        }
    }
    return count;
}

void spare_refresh(BerthSpare *spare, const BerthAsk *ask);
void spare_tighten(BerthSpare *spare);
void spare_read_ask(BerthSpare *spare, const BerthAsk *ask, gint32 *vector);
void spare_read_charge(BerthSpare *spare, const BerthSnapshot *s, const BerthCharge *charge,
                       gint32 *vector);
guint spare_find_class(BerthSpare *spare, const gint32 *vector);
int spare_compare_sizes(const BerthSpare *spare, guint a, guint b);
void spare_add_mix(const BerthSpare *spare, GArray *mixes, guint class);
void spare_count_needs(const BerthSpare *spare, GArray *mixes);

G_END_DECLS
