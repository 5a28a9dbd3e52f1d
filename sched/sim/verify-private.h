/* The verifier's books: for verify.c, which keeps them, and verify-others.c, which reads them. */
#pragma once

#include "sched/sim/verify.h"

G_BEGIN_DECLS

typedef struct {
    char *name, *rack, *zone;
    gint64 cpu, mem; /* left, as all below */
    guint n_cells;
    gint64 cell_cpu[BERTH_CELLS_MAX], cell_mem[BERTH_CELLS_MAX];
    guint n_devices;
    char **kinds, **models;
    gint *left; /* thousandths */
    gint *iommu_groups;
    gboolean *shareable;
    GHashTable *stock; /* "pool/NAME", "count/NAME", "pages/KIB", "pages/KIB/CELL", "cpus/CELL" */
    json_t *facts;
    BerthHostState state;
} SimHost;

/* A hard wish to be apart from others. */
typedef struct {
    BerthScope scope;
    char *group, *key, *value;
} SimApart;

typedef struct {
    char *uid, *group, *project;
    guint32 host;
    gint64 cpu, mem;
    gint64 cpu_in_all, mem_in_all, device_millis; /* what a quota counts */
    guint8 cells[2];
    guint n_devices;
    guint8 devices[BERTH_DEVICES_MAX];
    gint millis[BERTH_DEVICES_MAX];
    guint n_stock;
    char **stock; /* keys of the host's */
    gint64 *sizes;
    guint n_labels, n_aparts;
    char **labels; /* key, value, key, value, … */
    SimApart *aparts;
    gboolean live;
} SimBook;

struct SimVerifier {
    GPtrArray *hosts;   /* SimHost, NULL: no host has this index */
    GArray *books;      /* SimBook */
    GArray *repelling;  /* tokens of books with aparts */
    GHashTable *quotas; /* project to what is left: CPU, memory, devices, workloads */
    char *complaint;
};

void sim_verify_complain(SimVerifier *verifier, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* verify-others.c */
void sim_verify_others(SimVerifier *verifier, const BerthRequest *request, const SimBook *book);

G_END_DECLS
