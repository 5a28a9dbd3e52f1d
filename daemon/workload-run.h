/* What the daemon remembers of one workload beyond its record; shared by the files of the workload
 * controller alone (controller-workload and workload-*). */
#pragma once

#include "daemon/control.h"
#include "daemon/plan-workload.h"
#include "daemon/console.h"
#include "daemon/pod.h"
#include "drivers/pod-config.h"

G_BEGIN_DECLS

typedef struct {
    BerthWorkloadController *controller; /* borrowed */
    char *uid;                           /* owned */
    guint finish;                        /* source: the end of an action without an answer */
    gboolean busy; /* an action or a record is under way: look again at its end */
    gint64 started_us, stop_asked_us, retry_us;
    guint failures;                    /* starts in a row that did not last */
    BerthWorkloadAction doing, failed; /* the action under way; the one that failed last */
    gint64 again_us; /* when `failed` may be done again, whatever is seen meanwhile */
    gboolean force, power_cycle;
    gboolean turn;                /* first in the line of those without a place */
    BerthPodRun *pod;             /* owned; open while the pod's domain is on */
    BerthConsole *console;        /* owned; a VM's serial console with history */
    char *problem_code, *problem; /* owned; why the last action failed */
    char *problem_hint;
    guint readers;   /* log readers and viewers: an auto-removed pod waits for them */
    gint64 ended_us; /* when it came to its end by itself */
    /* Timing of the last start, monotonic: asked, placed, staged, defined, started. */
    gint64 asked_us, placed_us, defined_us, domain_started_us, define_began_us, start_began_us;
    GPtrArray *log_wakers; /* of BerthViewer*, borrowed */
} BerthWorkloadRun;

struct BerthWorkloadController {
    BerthControl *control;
    BerthQueue *queue;
    GHashTable *runs;      /* uid -> BerthWorkloadRun, owned */
    BerthQueue *turns;     /* of one key: somebody in the ledger's line may be tried */
    GHashTable *displaced; /* uid -> uid of the workload that it makes room for; owned */
    guint subscription;
};

BerthWorkloadRun *berth_workload_run_get(BerthWorkloadController *controller, const char *uid);
BerthObject *berth_workload_run_object(BerthWorkloadRun *run);

void berth_workload_see(BerthWorkloadRun *run, BerthObject *object, BerthWorkloadSight *sight);
gboolean berth_workload_sight_is_on(const BerthWorkloadSight *sight);
json_t *berth_workload_write_status(BerthWorkloadRun *run, BerthObject *object,
                                    const BerthWorkloadSight *sight, const BerthWorkloadStep *step);
void berth_workload_tell_event(BerthControl *control, BerthObject *object,
                               const BerthWorkloadStep *step);

/* Preemption. */
void berth_preemption_begin(BerthWorkloadRun *run, const BerthParty *party,
                            const json_t *preempting);
gboolean berth_preemption_waits(BerthControl *control, const BerthObject *object);
gboolean berth_preemption_take_over(BerthControl *control, const BerthObject *object);
void berth_preemption_resume(BerthWorkloadController *controller, const BerthObject *object);
void berth_preemption_follow(BerthWorkloadController *controller, const BerthObject *before,
                             const BerthObject *after);
gboolean berth_preemption_is_displaced(BerthWorkloadController *controller,
                                       const BerthObject *object);
char *berth_preemption_displaced_by(BerthWorkloadController *controller, const BerthObject *object);

void berth_workload_act(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadStep *step);
void berth_workload_run_done(BerthWorkloadRun *run, const GError *error);
BerthFleetHost *berth_workload_run_host(BerthWorkloadRun *run, BerthObject *object);
const char *berth_workload_domain_uuid(const BerthObject *object);

/* Digests (64 hex) of all files that must be on the host: guest OS, images, seed. */
GPtrArray *berth_workload_files(BerthControl *control, BerthObject *object);
gboolean berth_workload_disks_present(BerthControl *control, BerthFleetHost *host,
                                      BerthObject *object);
gboolean berth_workload_has_volumes(BerthFleetHost *host, const BerthObject *object);
char **berth_workload_images(BerthObject *object);

/* Viewers. */
void berth_workload_wake_logs(BerthWorkloadRun *run);
void berth_workload_logs_opened(BerthWorkloadRun *run);

/* What execs and containers are made of. */
BerthImageConfig berth_workload_image_config(BerthControl *control, const char *reference,
                                             GPtrArray *owned);
BerthContainerWish berth_workload_wish(const BerthContainerSpec *container);

/* ---- inside the controller: answers that are waited for ---- */

/* Answers find their run by uid: the workload may be gone by then. @text: what the call was about. */
typedef struct {
    BerthWorkloadController *controller;
    char *uid, *host, *uuid, *text; /* owned */
} BerthPending;

BerthPending *berth_pending_new(BerthWorkloadRun *run, BerthObject *object, const char *text);
void berth_pending_free(BerthPending *pending);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthPending, berth_pending_free)
BerthWorkloadRun *berth_pending_run(const BerthPending *pending);
BerthFleetHost *berth_pending_host(const BerthPending *pending);

void berth_workload_finish_soon(BerthWorkloadRun *run);
void berth_workload_fail(BerthWorkloadRun *run, GError *error);
void berth_workload_submit(BerthWorkloadRun *run, BerthObject *object, const BerthHostCall *call,
                           BerthHostDone done, const char *text);

const BerthImageStatus *berth_workload_image(BerthControl *control, const char *reference);
const char *berth_digest_hex(const char *digest);
const char *berth_workload_seed_digest(BerthObject *object);
gboolean berth_workload_wants_seed(const BerthObject *object);
char *berth_workload_seed_path(BerthControl *control, const char *uid);
char *berth_workload_disk_volume(const BerthObject *object, const BerthDiskSpec *disk);
char *berth_workload_image_serial(const char *disk_digest);
char *berth_workload_domain_name(const BerthObject *object);

void berth_workload_reserve(BerthWorkloadRun *run, BerthObject *object, BerthHostVerb verb);

void berth_workload_act_stage(BerthWorkloadRun *run, BerthObject *object);
void berth_workload_act_make_disks(BerthWorkloadRun *run, BerthObject *object);
void berth_workload_act_delete_disks(BerthWorkloadRun *run, BerthObject *object);
void berth_workload_act_define(BerthWorkloadRun *run, BerthObject *object);
void berth_workload_act_call_guest(BerthWorkloadRun *run, BerthObject *object);
void berth_workload_act_start_containers(BerthWorkloadRun *run, BerthObject *object);

G_END_DECLS
