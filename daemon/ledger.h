/* The scheduler's snapshot, kept in step with the objects: the only place where the daemon meets
 * sched/. Main loop only. */
#pragma once

#include "base/clock.h"
#include "model/kinds.h"

G_BEGIN_DECLS

typedef struct BerthFleetLedger BerthFleetLedger;

/**
 * BerthNeeds: what a workload needs of its host that other objects say; see berth_workload_needs_init()
 * @disk_mib: what its disks may grow to in Berth's pool
 * @image: (nullable): sha256 of its image's file: hosts that have it are preferred; borrowed
 * @networks: (nullable): names of libvirt networks, borrowed
 */
typedef struct {
    gint64 disk_mib;
    const char *image;
    GPtrArray *networks;
} BerthNeeds;

/**
 * BerthParty: workloads that get their places together or not at all: the members of a group without a host, or one
 * @members: of BerthObject, borrowed
 * @needs: of each
 * @hosts: of each, the only one it may go to; NULL: any; borrowed
 */
typedef struct {
    GPtrArray *members;
    BerthNeeds *needs;
    const char **hosts;
} BerthParty;

/* Where a workload would have room, were @victims stopped, for which it is the reason: of uids, maybe none. @rest:
 * what it needs beside what they hold. */
typedef struct {
    char *host;
    GPtrArray *victims;
    json_t *rest;
} BerthRoom;

BerthFleetLedger *berth_ledger_new(BerthClock *clock);
void berth_ledger_free(BerthFleetLedger *ledger);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthFleetLedger, berth_ledger_free)

void berth_ledger_set_settings(BerthFleetLedger *ledger, const BerthSettingsSpec *settings);
gboolean berth_ledger_put_host(BerthFleetLedger *ledger, const BerthObject *host, gboolean ready,
                               const GPtrArray *files, GError **error);
void berth_ledger_remove_host(BerthFleetLedger *ledger, const char *name);
void berth_ledger_set_project(BerthFleetLedger *ledger, const BerthObject *project);
void berth_ledger_remove_project(BerthFleetLedger *ledger, const char *name);

gboolean berth_ledger_place(BerthFleetLedger *ledger, const BerthObject *workload,
                            const BerthNeeds *needs, const char *only_host, char **host,
                            json_t **why, GError **error);
void berth_ledger_unplace(BerthFleetLedger *ledger, const char *uid);
gboolean berth_ledger_reserve(BerthFleetLedger *ledger, const BerthParty *party, json_t **why,
                              GError **error);
gboolean berth_ledger_is_reserved(const BerthFleetLedger *ledger, const char *uid);
void berth_ledger_charge(BerthFleetLedger *ledger, const BerthObject *workload,
                         const BerthNeeds *needs, const char *host);
void berth_ledger_charge_foreign(BerthFleetLedger *ledger, const char *host, const char *uuid,
                                 guint vcpus, gint64 memory_mib);
gboolean berth_ledger_release(BerthFleetLedger *ledger, const char *uid);
const char *berth_ledger_host_of(BerthFleetLedger *ledger, const char *uid);

/* ---- who waits for a place ---- */
/* Somebody in line may be tried at berth_ledger_due(). */
typedef void (*BerthLedgerWoken)(gpointer user_data);
void berth_ledger_follow_line(BerthFleetLedger *ledger, BerthLedgerWoken woken, gpointer user_data);
void berth_ledger_join(BerthFleetLedger *ledger, const BerthObject *workload);
void berth_ledger_leave(BerthFleetLedger *ledger, const char *uid);
void berth_ledger_step_aside(BerthFleetLedger *ledger, const char *uid, gboolean events_help);
void berth_ledger_call(BerthFleetLedger *ledger, const char *uid);
void berth_ledger_network_changed(BerthFleetLedger *ledger);
const char *berth_ledger_next(BerthFleetLedger *ledger);
gint64 berth_ledger_due(const BerthFleetLedger *ledger);
guint berth_ledger_waiting(const BerthFleetLedger *ledger);

/* ---- room that is made for one by stopping others ---- */
GPtrArray *berth_ledger_preempt(BerthFleetLedger *ledger, const BerthParty *party);
json_t *berth_ledger_holding(const BerthFleetLedger *ledger, const char *uid);
void berth_ledger_hold(BerthFleetLedger *ledger, const char *asker, const char *host,
                       const char *uid, const json_t *holding);
void berth_ledger_hold_rest(BerthFleetLedger *ledger, const BerthObject *asker, const char *host,
                            const json_t *rest);
void berth_ledger_charge_holds(BerthFleetLedger *ledger, const char *host);
GPtrArray *berth_ledger_held_for(const BerthFleetLedger *ledger, const char *asker);
void berth_ledger_unhold(BerthFleetLedger *ledger, const char *uid, gboolean gone);
void berth_ledger_rerank(BerthFleetLedger *ledger, const BerthObject *workload);

/* ---- what would be, on a copy ---- */
BerthFleetLedger *berth_ledger_copy(const BerthFleetLedger *ledger);
gboolean berth_ledger_add_like(BerthFleetLedger *copy, const char *like, const char *name);
gboolean berth_ledger_lose_host(BerthFleetLedger *copy, const char *name);
/**
 * BerthLedgerMovable: a workload of which a plan of migrations is to know
 * @object: borrowed
 * @needs: owned by the caller
 * @fixed: why it can't be moved live, or NULL; borrowed
 */
typedef struct {
    const BerthObject *object;
    BerthNeeds needs;
    const char *fixed;
} BerthLedgerMovable;

json_t *berth_ledger_rebalance(BerthFleetLedger *copy, const BerthLedgerMovable *workloads, guint n,
                               const BerthRebalanceQuestion *question);
json_t *berth_ledger_capacity(BerthFleetLedger *copy, const BerthObject *like,
                              const BerthNeeds *needs, guint limit);

char **berth_ledger_hosts(const BerthFleetLedger *ledger);
json_t *berth_ledger_export(const BerthFleetLedger *ledger);
json_t *berth_ledger_explain(BerthFleetLedger *ledger, const BerthObject *workload,
                             const BerthNeeds *needs);
gboolean berth_ledger_usage(BerthFleetLedger *ledger, const char *host, BerthCapacity *capacity,
                            BerthCapacity *used);
json_t *berth_ledger_devices(const BerthFleetLedger *ledger, const BerthObject *host);
const char *berth_ledger_lost_device(const BerthFleetLedger *ledger, const BerthObject *host,
                                     const json_t *inventory);
json_t *berth_ledger_cells(const BerthFleetLedger *ledger, const char *host,
                           const json_t *inventory);
json_t *berth_ledger_resources(const BerthFleetLedger *ledger, const BerthObject *host);
json_t *berth_ledger_dedicated(const BerthFleetLedger *ledger, const char *host);
gint64 berth_ledger_memory_mib(const BerthFleetLedger *ledger, const BerthObject *workload);

G_END_DECLS
