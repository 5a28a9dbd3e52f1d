/* How the snapshot is laid out: one column per fact, indexed by host. For the files of sched/ only;
 * rules read it and never write it. */
#pragma once

#include "sched/snapshot.h"
#include "sched/symbols.h"

G_BEGIN_DECLS

/* What a score counts in; divisible by every number up to 16, so shares of usual sizes are exact. */
#define BERTH_SCORE_MAX 720720

typedef enum {
    BERTH_STOCK_POOL,
    BERTH_STOCK_COUNT,
    BERTH_STOCK_HUGEPAGE,
    BERTH_STOCK_CPU, /* dedicated CPUs */
} BerthStockKind;

/* A NUMA cell after reserve and over-commit. */
typedef struct {
    gint32 cpu_cap, cpu_free;
    gint32 mem_cap, mem_free;
} BerthCell;

/* An amount that few hosts or few requests have. */
typedef struct {
    BerthSymbol key;
    guint8 kind; /* BerthStockKind */
    guint8 cell; /* huge pages and dedicated CPUs only */
    guint32 page_kib;
    gint64 capacity;
    gint64 used;
} BerthStock;

/* A device. Used reaches 1000 when it is taken whole. */
typedef struct {
    BerthSymbol kind;
    BerthSymbol model;
    gint16 used;
    gint16 iommu_group; /* -1 = none */
    guint8 cell;
    guint8 shareable;
    guint8 family; /* bit of kind and model in family masks */
    guint8 holders;
} BerthSlot;

/* Device slots of a host that are equally free and of one family, in one word: from the lowest bit the free
 * thousandths in 10 bits, the family in 5, and how many they are. 0 = none. */
typedef guint32 BerthSlotGroup;
#define BERTH_SLOT_GROUP(free, family, same) ((free) | (family) << 10 | (same) << 15)

/* So many groups of slots are kept; few hosts have more. */
#define BERTH_WORTH_GROUPS 6

/* The free state of a host and what it is worth to the mix. What bounds of costs
 * read (room-bound.c) is in single precision, amounts never too low. */
typedef struct {
    double bound; /* to kinds bound to cells; NaN = nothing is worked out */
    double unbound;

    float cpu, mem;
    struct {
        float cpu, mem;
    } cells[2]; /* nothing in a second one that isn't there; of more than two none is kept */
    float single_bound; /* as above */
    float single_loose; /* of unbound: to kinds without devices, and what is left of devices */
    float single_unbound;
    guint8 n_cells;
    guint8 n_groups; /* one more than are kept when there are more */
    BerthSlotGroup groups[BERTH_WORTH_GROUPS];
} BerthWorth;

/* The most families told apart; the last one stands for all that came later. */
#define BERTH_FAMILIES_MAX 31

typedef struct {
    BerthSymbol key;
    BerthSymbol value;
} BerthFact;

/* The facts that many hosts share; hosts with equal ones point to one record. */
typedef struct {
    guint hosts;
    GBytes *key; /* owned; equal keys mean equal profiles */
    BerthSymbol arch;
    guint n_models, n_features, n_machines, n_networks, n_labels, n_taints;
    BerthSymbol *models;
    BerthSymbol *features;
    BerthSymbol *machines;
    BerthSymbol *networks;
    BerthFact *labels;
    BerthFact *taints;
    guint8 *taint_effects;
} BerthProfile;

/* One workload on one host. */
typedef struct {
    char *uid; /* owned, may be NULL */
    guint32 host;
    guint32 next, previous; /* of the same host */
    guint32 group_next, group_previous;
    gint32 cpu_millis; /* of CPUs that are shared */
    gint32 memory_mib;
    gint32 cell_cpu_millis; /* per bound cell */
    gint32 cell_memory_mib;
    guint8 cells[2];
    guint8 n_slots;
    guint8 preemptible : 1;
    guint8 fixed : 1;    /* has no other host to go to */
    guint8 attached : 1; /* not left out of account */
    guint8 brought : 1;  /* its host did not have its image before */
    gint32 priority;
    BerthSymbol group;
    BerthSymbol project;
    BerthSymbol image; /* 0 = none */
    guint32 n_stocks;
    guint32 n_labels;
    struct BerthStockUse *stocks; /* owned */
    struct BerthSlotUse *slots;   /* owned */
    BerthFact *labels;            /* owned */
    guint32 n_aparts;
    struct BerthApart *aparts; /* owned */
} BerthCharge;

typedef struct BerthStockUse {
    BerthSymbol key;
    guint8 kind;
    guint8 cell;
    guint32 page_kib;
    gint64 amount;
} BerthStockUse;

typedef struct BerthSlotUse {
    guint8 slot;
    guint16 millis;
} BerthSlotUse;

/* Members of a group, or workloads of a project. */
typedef struct {
    guint32 head; /* first charge of the group */
    guint members;
} BerthGroup;

typedef struct {
    gint64 cpu_millis, memory_mib, device_millis, workloads; /* quota; G_MAXINT64 = none */
    gint64 cpu_used_millis, memory_used_mib, device_used_millis, workloads_used; /* charged */
    gint64 reserved_cpu_millis, reserved_memory_mib; /* of the fleet; 0 = nothing */
    gboolean limited;                                /* one of the quotas is one */
} BerthShare;

/* Runs of cells, stocks or slots of one host inside a common array. */
typedef struct {
    GArray *items;
    GHashTable *holes; /* length to GArray of offsets */
} BerthRuns;

struct BerthSnapshot {
    BerthSymbols symbols;
    GHashTable *by_name; /* symbol to host index */
    guint32 end;         /* hosts are below this index */
    guint32 room;        /* length of the columns */
    guint hosts;
    GArray *free_hosts; /* indexes to use again */
    gint32 largest_cpu; /* CPU and device slots of the largest host there ever was */
    guint largest_slots;
    guint refusing;  /* profiles with a refusing taint */
    guint avoided;   /* profiles with an avoiding taint */
    guint64 facts;   /* counts changes of what hosts are */
    guint64 version; /* counts changes */

    BerthSymbol *name; /* 0 = no host here */
    guint8 *state;
    guint32 *profile;
    BerthSymbol *zone;
    BerthSymbol *rack;
    gint32 *cpu_cap, *cpu_free;
    gint32 *mem_cap, *mem_free;
    guint32 *charge_head;
    guint32 *charge_count;
    guint32 *cell_first;
    guint32 *stock_first;
    guint32 *slot_first;
    guint8 *n_cells;
    guint8 *n_stocks;
    guint16 *n_slots;
    BerthWorth *worth;    /* of the free state to the mix */
    BerthSymbol **images; /* per host: length, then symbols; NULL = none */

    BerthFact families[BERTH_FAMILIES_MAX]; /* kind and model of device slots */
    guint n_families;

    BerthRuns cells;  /* BerthCell */
    BerthRuns stocks; /* BerthStock */
    BerthRuns slots;  /* BerthSlot */

    GPtrArray *profiles; /* BerthProfile, NULL = free */
    GHashTable *profile_ids;

    GArray *charges; /* BerthCharge */
    GArray *free_charges;
    GHashTable *by_uid; /* borrowed uid to charge + 1 */
    GHashTable *groups; /* symbol to BerthGroup, owned */
    GHashTable *shares; /* symbol of a project to BerthShare, owned */
    gboolean has_quota;
    struct BerthReserved *reserved; /* owned; NULL: nothing is reserved for a project */

    GHashTable *aparts;       /* owned; see apart.h */
    struct BerthMix *mix;     /* owned */
    struct BerthIndex *index; /* owned, may be NULL; made by the first pick */
    struct BerthSpare *spare; /* owned; NULL: the loss of a host need not be survived */
};

static inline BerthCell *
berth_cells(const BerthSnapshot *s, guint32 host)
{
    return &g_array_index(s->cells.items, BerthCell, s->cell_first[host]);
}

static inline BerthSlot *
berth_slots(const BerthSnapshot *s, guint32 host)
{
    return &g_array_index(s->slots.items, BerthSlot, s->slot_first[host]);
}

static inline BerthStock *
berth_stocks(const BerthSnapshot *s, guint32 host)
{
    return &g_array_index(s->stocks.items, BerthStock, s->stock_first[host]);
}

static inline const BerthProfile *
berth_profile(const BerthSnapshot *s, guint32 host)
{
    return g_ptr_array_index(s->profiles, s->profile[host]);
}

static inline gboolean
berth_host_is_schedulable(const BerthSnapshot *s, guint32 host)
{
    return s->name[host] != 0 && s->state[host] == BERTH_HOST_READY;
}

static inline BerthCharge *
berth_charge(const BerthSnapshot *s, guint32 charge)
{
    return &g_array_index(s->charges, BerthCharge, charge);
}

void berth_snapshot_touch(BerthSnapshot *snapshot, guint32 host);
BerthGroup *berth_snapshot_group(const BerthSnapshot *snapshot, BerthSymbol group);
BerthShare *berth_snapshot_share(const BerthSnapshot *snapshot, BerthSymbol project);
void berth_snapshot_add_host_columns(BerthSnapshot *snapshot, guint32 host, const BerthHost *facts);
void berth_snapshot_become_like(BerthSnapshot *snapshot, guint32 twin, guint32 host);
void berth_snapshot_adopt(BerthSnapshot *snapshot, const BerthCharge *charge);
void berth_snapshot_attach(BerthSnapshot *snapshot, guint32 charge);
void berth_snapshot_detach(BerthSnapshot *snapshot, guint32 charge);
gboolean berth_snapshot_note_image(BerthSnapshot *snapshot, guint32 host, BerthSymbol image,
                                   gboolean present);
void berth_snapshot_withdraw_charge(BerthSnapshot *snapshot, guint32 charge);
void berth_snapshot_take(BerthSnapshot *snapshot, const BerthCharge *charge, int sign);

guint32 berth_runs_add(BerthRuns *runs, guint n);
void berth_runs_remove(BerthRuns *runs, guint32 first, guint n);
guint8 berth_family_get(BerthSnapshot *snapshot, BerthSymbol kind, BerthSymbol model);
guint32 berth_family_mask(const BerthSnapshot *snapshot, BerthSymbol kind, BerthSymbol model);
void berth_runs_init(BerthRuns *runs, guint size);
void berth_runs_clear(BerthRuns *runs);

G_END_DECLS
