/* What all controllers share: the parts of the daemon, and how they wake each other. Main loop only.
 *
 * Each controller watches the catalog and the fleet, compares wanted with seen, acts through drivers and
 * records in the catalog. None calls into another's state: they meet in the catalog and through the few
 * functions below. */
#pragma once

#include "daemon/catalog.h"
#include "daemon/fleet.h"
#include "daemon/guest-os.h"
#include "daemon/host-access.h"
#include "daemon/ledger.h"
#include "daemon/logs.h"
#include "daemon/queue.h"
#include "daemon/stage.h"
#include "daemon/workload-ops.h"
#include "model/cpu-set.h"

G_BEGIN_DECLS

typedef struct BerthControl BerthControl;
typedef struct BerthHostController BerthHostController;
typedef struct BerthWorkloadController BerthWorkloadController;
typedef struct BerthImageController BerthImageController;
typedef struct BerthTaskController BerthTaskController;

struct BerthControl {
    BerthCatalog *catalog;
    BerthHostAccess *access;
    BerthFleet *fleet;
    BerthStage *stage;
    BerthFleetLedger *ledger;
    BerthLogs *logs;
    BerthClock *clock;
    BerthRandom *random;
    BerthGuestOs *guest_os; /* NULL: none built; pods can't start */
    const char *guest_os_problem;
    char *state; /* folder */
    BerthHostController *hosts;
    BerthWorkloadController *workloads;
    BerthImageController *images;
    BerthTaskController *tasks;
};

/* ---- hosts ---- */
BerthHostController *berth_host_controller_new(BerthControl *control);
void berth_host_controller_free(BerthHostController *controller);
/* Records what this life of the daemon knows of each host, and returns when that was answered. */
void berth_host_controller_record_all(BerthHostController *controller);
char *berth_host_controller_accept(BerthHostController *controller, BerthFleetHost *host,
                                   const BerthInventory *inventory);
void berth_host_controller_fill_ops(BerthHostController *controller, BerthWorkloadOps *ops);
void berth_host_controller_host_seen(BerthHostController *controller, BerthFleetHost *host);
void berth_host_controller_domain_seen(BerthHostController *controller, BerthFleetHost *host,
                                       const char *uuid);
void berth_host_controller_listed(BerthHostController *controller, BerthFleetHost *host);
/* The preparations under way, which end with the controller, and their probes. */
GPtrArray *berth_host_controller_preparations(BerthHostController *controller);
/* Ledger or counts of the host changed: record its status soon. */
void berth_host_controller_touch(BerthHostController *controller, const char *name);
/* Whether @host may get workloads now, as far as its connection and preparation go. */
gboolean berth_host_controller_is_seen(BerthControl *control, const BerthObject *host);
gboolean berth_host_controller_is_ready(BerthControl *control, const BerthObject *host);
gboolean berth_host_controller_is_claimed(const char *host, const BerthObject *object);
gboolean berth_host_admit(BerthControl *control, const BerthObject *object, GError **error);

void berth_host_controller_proved(BerthHostController *controller, const char *name, json_t *proof,
                                  BerthStoreDone done, gpointer user_data);

/* End of a prepare: told once on the main loop. */
typedef void (*BerthPrepareDone)(const GError *error, gpointer user_data);
typedef void (*BerthPrepareStep)(const char *step, int percent, gpointer user_data);
void berth_host_prepare_free(gpointer preparation);
const char *berth_host_prepare_probe(gconstpointer preparation);
void berth_host_prepare_look(gpointer preparation);
void berth_host_prepare(BerthControl *control, const char *name, BerthPrepareStep step,
                        BerthPrepareDone done, gpointer user_data);

/* ---- workloads ---- */
BerthWorkloadController *berth_workload_controller_new(BerthControl *control);
void berth_workload_controller_free(BerthWorkloadController *controller);
void berth_workload_controller_look(BerthWorkloadController *controller, const char *uid);
void berth_workload_controller_look_at_host(BerthWorkloadController *controller, const char *host);
/* An image changed: who waits for it looks again. */
void berth_workload_controller_images(BerthWorkloadController *controller);
void berth_workload_controller_force(BerthWorkloadController *controller, const char *uid);
void berth_workload_controller_power_cycle(BerthWorkloadController *controller, const char *uid,
                                           gboolean force);
gboolean berth_workload_controller_is_cycling(BerthWorkloadController *controller, const char *uid);
void berth_workload_controller_fill_ops(BerthWorkloadController *controller, BerthWorkloadOps *ops);
gboolean berth_workload_has_group(const BerthObject *object);
json_t *berth_preemption_find(BerthControl *control, BerthFleetLedger *ledger,
                              const BerthParty *party, const GPtrArray *planned);
char *berth_preemption_text(const json_t *preempting);
void berth_party_init_one(BerthParty *party, BerthControl *control, BerthObject *object,
                          const char *host);
gboolean berth_party_init_group(BerthParty *party, BerthControl *control, BerthFleetLedger *ledger,
                                BerthObject *object, const GPtrArray *planned, GError **error);
void berth_party_init_made(BerthParty *party, BerthControl *control, BerthObject *object);
void berth_party_clear(BerthParty *party);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthParty, berth_party_clear)
void berth_workload_needs_init(BerthNeeds *needs, BerthControl *control, BerthObject *object);
void berth_workload_needs_clear(BerthNeeds *needs);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthNeeds, berth_workload_needs_clear)
gboolean berth_workload_shared_cpus(BerthControl *control, const BerthFleetHost *host,
                                    BerthCpuSet *set);
guint berth_workload_controller_queue_length(BerthWorkloadController *controller);

/* ---- images ---- */
BerthImageController *berth_image_controller_new(BerthControl *control, GError **error);
void berth_image_controller_free(BerthImageController *controller);
BerthObject *berth_image_find(BerthControl *control, const char *reference);
char *berth_image_name_for(const char *reference, char **canonical, GError **error);
void berth_image_content(gpointer controller, BerthObject *image, const char *path,
                         BerthAnswer answer, gpointer user_data);
gboolean berth_image_is_used(BerthControl *control, BerthObject *image);
void berth_image_retry(BerthImageController *controller, const char *name);

/* ---- tasks ---- */
BerthTaskController *berth_task_controller_new(BerthControl *control);
void berth_task_controller_free(BerthTaskController *controller);

/* ---- helpers on status JSON ---- */
json_t *berth_status_copy(const BerthObject *object);
void berth_status_set_text(json_t *status, const char *key, const char *text);
void berth_status_set_reason(json_t *status, const char *name, const char *code,
                             const char *message, const char *hint);
void berth_status_set_condition(json_t *status, const char *type, gboolean value,
                                const char *reason, const char *message, const char *now);
void berth_status_drop_condition(json_t *status, const char *type);
char *berth_control_now(BerthControl *control);

G_END_DECLS
