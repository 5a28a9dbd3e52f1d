/* What the daemon remembers of one workload beyond its record; shared by the files of the workload
 * controller alone (controller-workload, workload-act, workload-streams). */
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
    gboolean busy; /* an action or a record is under way: look again at its end */
    gint64 started_us, stop_asked_us, retry_us;
    guint failures; /* starts in a row that did not last */
    gboolean force, power_cycle;
    BerthPodRun *pod;             /* owned; open while the pod's domain is on */
    BerthConsole *console;        /* owned; a VM's serial console with history */
    char *problem_code, *problem; /* owned; why the last action failed */
    char *problem_hint;
    guint readers;   /* log readers and viewers: an auto-removed pod waits for them */
    gint64 ended_us; /* when it came to its end by itself */
    /* Timing of the last start, monotonic: asked, placed, staged, defined, started. */
    gint64 asked_us, placed_us, defined_us, domain_started_us, define_began_us, start_began_us;
    GPtrArray *log_wakers; /* of LogWaker*, borrowed: see workload-streams.c */
} BerthWorkloadRun;

struct BerthWorkloadController {
    BerthControl *control;
    BerthQueue *queue;
    GHashTable *runs;    /* uid -> BerthWorkloadRun, owned */
    GHashTable *waiting; /* set of uid: no room, or an image */
    guint subscription;
};

BerthWorkloadRun *berth_workload_run_get(BerthWorkloadController *controller, const char *uid);
BerthObject *berth_workload_run_object(BerthWorkloadRun *run);

void berth_workload_act(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadStep *step);
void berth_workload_run_done(BerthWorkloadRun *run, const GError *error);
BerthFleetHost *berth_workload_run_host(BerthWorkloadRun *run, BerthObject *object);
const char *berth_workload_domain_uuid(const BerthObject *object);

/* Digests (64 hex) of all files that must be on the host: guest OS, images, seed. */
GPtrArray *berth_workload_files(BerthControl *control, BerthObject *object);
gboolean berth_workload_disks_present(BerthControl *control, BerthFleetHost *host,
                                      BerthObject *object);
gint64 berth_workload_disk_mib(BerthControl *control, BerthObject *object);
const char *berth_workload_image_digest(BerthControl *control, BerthObject *object);
char **berth_workload_images(BerthObject *object);

/* Viewers. */
void berth_workload_wake_logs(BerthWorkloadRun *run);
void berth_workload_logs_opened(BerthWorkloadRun *run);

/* What execs and containers are made of. */
BerthImageConfig berth_workload_image_config(BerthControl *control, const char *reference,
                                             GPtrArray *owned);
BerthContainerWish berth_workload_wish(const BerthContainerSpec *container);

G_END_DECLS
