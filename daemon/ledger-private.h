/* What the files of the ledger share: ledger.c (hosts and charges), ledger-ask.c (objects as requests), ledger-book.c
 * (the fleet file), ledger-cells.c (what is free per NUMA cell, and of resources), ledger-cpus.c (dedicated CPUs by
 * number), ledger-devices.c (PCI devices by address), ledger-forecast.c (copies to try things on), ledger-group.c (all
 * or none), ledger-line.c (who waits), ledger-preempt.c (room that is made), ledger-rebalance.c (who better moves). */
#pragma once

#include "daemon/ledger.h"
#include "sched/pick.h"
#include "sched/waiting.h"

G_BEGIN_DECLS

/* Questions are answered with each host's refusal up to so many; of more only with the groups. */
#define LEDGER_TOLD_HOSTS_MAX 1000

struct BerthFleetLedger {
    BerthSnapshot *snapshot; /* owned */
    gint64 overcommit_cpu_percent, overcommit_memory_percent;
    BerthCapacity reserve;
    gint64 pod_overhead_mib, vm_overhead_mib;
    struct LedgerBook *book;       /* owned; NULL in copies */
    struct LedgerCpus *cpus;       /* owned */
    struct LedgerDevices *devices; /* owned */
    GHashTable *reserved;   /* uid -> json_t*: charged with its group, reasons of the decision */
    GHashTable *held;       /* victims whose room is kept; shared by copies, which only read it */
    BerthWaiting *waiting;  /* owned; who has no place */
    BerthClock *clock;      /* borrowed */
    BerthLedgerWoken woken; /* may be NULL */
    gpointer woken_data;
    gint64 decisions; /* placements so far */
};

/* ledger-book.c: what was placed in which order, for the fleet file. */
typedef struct LedgerBook LedgerBook;
LedgerBook *ledger_book_new(void);
void ledger_book_free(LedgerBook *book);
guint ledger_book_put_host(LedgerBook *book, const BerthHost *host);
void ledger_book_remove_host(LedgerBook *book, const char *name);
gboolean ledger_book_has(const LedgerBook *book, const BerthRequest *request, const char *host);
void ledger_book_add(LedgerBook *book, const BerthRequest *request, const char *host,
                     const BerthPlacement *found);
void ledger_book_hold(LedgerBook *book, const char *uid, const char *host, const json_t *holding);
void ledger_book_release(LedgerBook *book, const char *uid);
json_t *ledger_book_export(const LedgerBook *book, const BerthSnapshot *snapshot);

/* ledger-cpus.c */
typedef struct LedgerCpus LedgerCpus;
LedgerCpus *ledger_cpus_new(void);
LedgerCpus *ledger_cpus_copy(const LedgerCpus *cpus);
void ledger_cpus_free(LedgerCpus *cpus);
void ledger_cpus_offer(LedgerCpus *cpus, const char *host, const json_t *inventory,
                       const char *text);
void ledger_cpus_remove_host(LedgerCpus *cpus, const char *host);
guint ledger_cpus_count(const LedgerCpus *cpus, const char *host, guint cell);
json_t *ledger_cpus_take(LedgerCpus *cpus, const char *uid, const char *host, const guint8 cells[2],
                         guint count);
void ledger_cpus_note(LedgerCpus *cpus, const char *uid, const char *host, const json_t *list);
json_t *ledger_cpus_list(const LedgerCpus *cpus, const char *uid);
void ledger_cpus_release(LedgerCpus *cpus, const char *uid);

/* ledger-devices.c */
typedef struct LedgerDevices LedgerDevices;
LedgerDevices *ledger_devices_new(void);
LedgerDevices *ledger_devices_copy(const LedgerDevices *devices);
void ledger_devices_free(LedgerDevices *devices);
void ledger_devices_offer(LedgerDevices *devices, const char *host, const json_t *inventory,
                          const GPtrArray *offers);
void ledger_devices_remove_host(LedgerDevices *devices, const char *host);
GArray *ledger_devices_list(const LedgerDevices *devices, const char *host);
json_t *ledger_devices_take(LedgerDevices *devices, const char *uid,
                            const BerthPlacement *placement, const char *host);
void ledger_devices_recall(LedgerDevices *devices, const char *uid, const char *host,
                           const json_t *list, BerthPlacement *placement);
void ledger_devices_name(const LedgerDevices *devices, const char *host, json_t *holding);
void ledger_devices_find(LedgerDevices *devices, const char *uid, const char *host,
                         json_t *holding);
void ledger_devices_release(LedgerDevices *devices, const char *uid);

/* A request and the arrays it points to; strings are borrowed from the object. */
typedef struct {
    BerthRequest request;
    BerthAmount disk;
    GArray *labels, *tolerations, *selectors, *relations, *devices, *counts;
    GPtrArray *owned;
    BerthSpread spread;
} LedgerAsk;

void ledger_ask_fill(LedgerAsk *ask, const BerthFleetLedger *ledger, const BerthObject *object,
                     const BerthNeeds *needs);
void ledger_ask_clear(LedgerAsk *ask);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LedgerAsk, ledger_ask_clear)

/* The requests of a party, with all that they point to. */
typedef struct {
    guint n;
    LedgerAsk *asks;        /* owned */
    BerthRequest *requests; /* owned */
} LedgerParty;

/* ledger-group.c */
void ledger_party_fill(LedgerParty *asked, const BerthFleetLedger *ledger, const BerthParty *party);
void ledger_party_clear(LedgerParty *asked);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LedgerParty, ledger_party_clear)
GHashTable *ledger_reservations_new(void);
gboolean ledger_take_reserved(BerthFleetLedger *ledger, const char *uid, char **host, json_t **why);
void ledger_note_decision(BerthFleetLedger *ledger, const BerthRequest *request,
                          const BerthDecision *decision, json_t *why);

/* ledger-preempt.c */
GHashTable *ledger_holds_new(void);
gboolean ledger_is_held(const BerthFleetLedger *ledger, const char *uid);
json_t *ledger_holds_export(const BerthFleetLedger *ledger);

/* ledger-line.c */
void ledger_wake(BerthFleetLedger *ledger, guint wakes);

GArray *ledger_read_labels(const json_t *labels);
GArray *ledger_read_counts(const json_t *counts);

G_END_DECLS
