/* What to do next for a VM or a pod: a pure function from wanted and seen to one step. */
#pragma once

#include "drivers/host.h"
#include "model/workload.h"

G_BEGIN_DECLS

/* The least of all images' sights is the workload's. */
typedef enum {
    BERTH_IMAGES_MISSING, /* nobody pulls it yet */
    BERTH_IMAGES_FAILED,
    BERTH_IMAGES_WORKING, /* being pulled */
    BERTH_IMAGES_READY,   /* in the daemon's cache */
} BerthImagesSight;

typedef enum {
    BERTH_HOST_SIGHT_GONE,  /* no such Host any more */
    BERTH_HOST_SIGHT_BLIND, /* not connected, or not listed since it connected */
    BERTH_HOST_SIGHT_CLEAR,
} BerthHostSight;

typedef enum {
    BERTH_GUEST_UNHEARD, /* no link open */
    BERTH_GUEST_CALLED,  /* link open, no answer yet (or broken for now) */
    BERTH_GUEST_READY,
    BERTH_GUEST_LOST, /* the link gave up */
} BerthGuestSight;

/**
 * BerthWorkloadSight: all that a decision needs, as plain values. Times are monotonic microseconds;
 * 0: never.
 */
typedef struct {
    gint64 now_us;

    gboolean vm; /* FALSE: a pod */
    gboolean power, deleting;
    gboolean force;       /* the power is to be cut without asking the guest */
    gboolean power_cycle; /* a reboot: stop once, then start again */
    BerthRestart restart;
    gint64 boot_timeout_us, stop_timeout_us;

    BerthPhase phase;    /* as recorded */
    gboolean placed;     /* a host is recorded */
    gboolean charged;    /* and its capacity is taken: a VM that is off keeps its host only */
    gboolean displaced;  /* is stopped for one of higher priority, whatever its power */
    gboolean preempting; /* waits for those who are stopped for it */

    BerthImagesSight images;
    BerthHostSight host;
    gboolean staged;   /* images and guest OS are on the host */
    gboolean disks;    /* its own volumes are there */
    gboolean volumes;  /* one of them is there */
    gboolean doubtful; /* a call's effect on domain or volumes is not known (yet) */

    gboolean defined;
    gboolean stale; /* of a VM that is off: its definition may be older than its place */
    BerthDomainState state;
    BerthStopReason stop_reason;

    BerthGuestSight guest;    /* pods only */
    guint containers;         /* how many the spec has */
    guint containers_done;    /* ended and not to be started again */
    guint containers_failed;  /* of those: with an exit code other than 0 */
    guint containers_due;     /* to be started now */
    guint containers_started; /* are running, or were once */
    gint64 container_wake_us; /* when the next one is due again */

    gint64 started_us;    /* power-on as this daemon knows it */
    gint64 stop_asked_us; /* the guest was asked to stop */
    gint64 retry_us;      /* not to be started before: back-off */
} BerthWorkloadSight;

typedef enum {
    BERTH_DO_NOTHING,
    BERTH_DO_PULL,  /* make the images exist in the cache */
    BERTH_DO_PLACE, /* choose a host, assign addresses */
    BERTH_DO_STAGE, /* bring images and guest OS to the host */
    BERTH_DO_MAKE_DISKS,
    BERTH_DO_DEFINE,
    BERTH_DO_START,
    BERTH_DO_CALL_GUEST, /* open the link */
    BERTH_DO_START_CONTAINERS,
    BERTH_DO_ASK_STOP,
    BERTH_DO_CUT_POWER,
    BERTH_DO_UNDEFINE,
    BERTH_DO_DELETE_DISKS,
    BERTH_DO_RELEASE, /* give back host and addresses, keep the record */
    BERTH_DO_REMOVE,  /* the record goes */
    BERTH_DO_COUNT
} BerthWorkloadAction;

/**
 * BerthWorkloadStep:
 * @action: what to do now; it may be repeated
 * @phase, @reason: to be recorded before it; @reason is a stable code, NULL: none
 * @power_off_by: record that the power is off, by this actor ("guest", "external", "policy"); NULL: no
 * @count_restart: record one more restart, with back-off before the next start
 * @wake_us: look again at this time when nothing happens before; 0: never
 */
typedef struct {
    BerthWorkloadAction action;
    BerthPhase phase;
    const char *reason;
    const char *power_off_by;
    gboolean count_restart;
    gint64 wake_us;
} BerthWorkloadStep;

BerthWorkloadStep berth_plan_workload(const BerthWorkloadSight *sight);
const char *berth_workload_action_name(BerthWorkloadAction action);

typedef enum {
    BERTH_CONTAINER_START,
    BERTH_CONTAINER_WAIT,
    BERTH_CONTAINER_DONE
} BerthContainerPlan;

BerthContainerPlan berth_plan_container(BerthRestart restart, gboolean started, gboolean ended,
                                        int exit_code, guint restarts, gint64 ended_us,
                                        gint64 now_us, gint64 *wake_us);

G_END_DECLS
