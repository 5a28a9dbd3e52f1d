/* A request read against one snapshot: strings looked up once, amounts summed once. */
#pragma once

#include "sched/fleet.h"

G_BEGIN_DECLS

#define BERTH_ASK_WORDS 64

/**
 * BerthAsk: what the rules get
 * @memory_mib: ordinary memory to charge, overhead included, huge pages not
 * @cpu_millis: of CPUs that are shared
 * @cpus: dedicated CPUs to charge, 0 without
 * @pages: huge pages to charge, 0 without
 * @host: the only host allowed, or BERTH_HOST_NONE; a name nobody has is @host_unknown
 * @scale: berth_mix_scale as of the snapshot's last refresh before
 * @waived: rules that are left out, one bit per place in the table; for explanations
 *
 * Symbol lists run parallel to the request's arrays.
 */
typedef struct {
    const BerthSnapshot *snapshot;
    const BerthRequest *request;
    gint64 cpu_millis;
    gint64 cpus;
    gint64 memory_mib;
    gint64 pages;
    double scale;
    BerthSymbol project, group, arch, cpu_model, machine, image, page_key;
    guint32 host;
    gboolean host_unknown;
    guint64 waived;
    const BerthSymbol *features, *networks, *disks, *counts, *devices, *models;
    const BerthSymbol *selector_keys, *selector_values;
    const BerthSymbol *relation_groups, *relation_keys, *relation_values, *spread_groups;
    const BerthSymbol *toleration_keys, *toleration_values;
    const BerthSymbol *label_keys, *label_values;
    guint
        *spread_least; /* owned, NULL without spreads: members in the emptiest schedulable place */
    GHashTable **labelled; /* per relation, NULL of groups: berth_relation_list_labelled(); owned */
    GArray *kept_apart;    /* owned, NULL without: berth_aparts_list_places() */
    BerthSymbol inline_words[BERTH_ASK_WORDS];
    BerthSymbol *words; /* inline_words, or owned when they were too few */
} BerthAsk;

void berth_ask_init(BerthAsk *ask, BerthSnapshot *snapshot, const BerthRequest *request);
void berth_ask_init_for_decision(BerthAsk *ask, BerthSnapshot *snapshot,
                                 const BerthRequest *request);
void berth_ask_clear(BerthAsk *ask);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthAsk, berth_ask_clear)

guint32 berth_snapshot_charge_asked(BerthSnapshot *snapshot, const BerthAsk *ask,
                                    const BerthPlacement *placement);

/* CPU that a project's quota is charged with, whoever else shares it. */
static inline gint64
berth_ask_cpu_in_all(const BerthAsk *ask)
{
    return ask->cpu_millis + ask->cpus * 1000;
}

/* Memory that a project's quota is charged with: huge pages as the whole ones that they are. */
static inline gint64
berth_ask_memory_in_all(const BerthAsk *ask)
{
    return ask->memory_mib + ask->pages * ask->request->hugepage_kib / 1024;
}

/* How many cells the request is bound to; PREFER_ONE is decided by the placement. */
static inline guint
berth_ask_cells(const BerthAsk *ask)
{
    return ask->request->numa == BERTH_NUMA_ONE ? 1 : ask->request->numa == BERTH_NUMA_TWO ? 2 : 0;
}

G_END_DECLS
