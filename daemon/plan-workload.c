/* The decision about one workload. Pure: no I/O, no clock, no state; the controller carries it out.
 *
 * Read berth_plan_workload() first: one row a situation, the first that holds decides. Invariants: the
 * power is never cut while it is wanted on, except after a boot that missed its deadline or for an
 * asked-for reboot; nothing is started on a host that cannot be seen; a record goes only after its
 * domain and disks. */
#include "daemon/plan-workload.h"

static const char *const action_names[BERTH_DO_COUNT] = {
    [BERTH_DO_NOTHING] = "nothing",
    [BERTH_DO_PULL] = "pull",
    [BERTH_DO_PLACE] = "place",
    [BERTH_DO_STAGE] = "stage",
    [BERTH_DO_MAKE_DISKS] = "make-disks",
    [BERTH_DO_DEFINE] = "define",
    [BERTH_DO_START] = "start",
    [BERTH_DO_CALL_GUEST] = "call-guest",
    [BERTH_DO_START_CONTAINERS] = "start-containers",
    [BERTH_DO_ASK_STOP] = "ask-stop",
    [BERTH_DO_CUT_POWER] = "cut-power",
    [BERTH_DO_UNDEFINE] = "undefine",
    [BERTH_DO_DELETE_DISKS] = "delete-disks",
    [BERTH_DO_RELEASE] = "release",
    [BERTH_DO_REMOVE] = "remove",
};

/** Returns: the action's name for logs and timings; static. */
const char *
berth_workload_action_name(BerthWorkloadAction action)
{
    return action_names[action];
}

static BerthWorkloadStep
step(BerthWorkloadAction action, BerthPhase phase, const char *reason)
{
    return (BerthWorkloadStep){.action = action, .phase = phase, .reason = reason};
}

static gboolean
is_on(const BerthWorkloadSight *s)
{
    return s->defined && s->state != BERTH_DOMAIN_SHUTOFF && s->state != BERTH_DOMAIN_CRASHED;
}

/* The phase in which a workload rests once its power is off: an end by itself stays visible. */
static BerthPhase
resting_phase(const BerthWorkloadSight *s)
{
    return s->phase == BERTH_PHASE_SUCCEEDED || s->phase == BERTH_PHASE_FAILED
               ? s->phase
               : BERTH_PHASE_STOPPED;
}

/* Still on, but wanted off: ask once, then cut the power when the time is over. */
static BerthWorkloadStep
plan_stop(const BerthWorkloadSight *s, BerthPhase phase)
{
    if (s->state == BERTH_DOMAIN_MIGRATING) {
        return step(BERTH_DO_NOTHING, phase, "migrating");
    }
    gboolean can_ask = s->vm || s->guest == BERTH_GUEST_READY;
    if (s->force || s->stop_timeout_us == 0 || (s->stop_asked_us == 0 && !can_ask)) {
        return step(BERTH_DO_CUT_POWER, phase, NULL);
    }
    if (s->stop_asked_us == 0) {
        return step(BERTH_DO_ASK_STOP, phase, NULL);
    }
    /* A pod's guest needs a moment of its own after its containers' time is over. */
    gint64 limit_us = s->stop_asked_us + s->stop_timeout_us + (s->vm ? 0 : 5 * G_USEC_PER_SEC);
    if (s->now_us >= limit_us) {
        return step(BERTH_DO_CUT_POWER, phase, "stop-timeout");
    }
    BerthWorkloadStep waiting = step(BERTH_DO_NOTHING, phase, NULL);
    waiting.wake_us = limit_us;
    return waiting;
}

/* Nothing of it is seen on its host: it leaves, unless a call may still leave something behind. */
static BerthWorkloadStep
plan_leave(const BerthWorkloadSight *s, BerthWorkloadAction action, BerthPhase phase)
{
    return s->doubtful ? step(BERTH_DO_NOTHING, phase, "host-in-doubt") : step(action, phase, NULL);
}

static BerthWorkloadStep
plan_delete(const BerthWorkloadSight *s)
{
    if (!s->placed) {
        return step(BERTH_DO_REMOVE, BERTH_PHASE_DELETING, NULL);
    }
    if (s->host == BERTH_HOST_SIGHT_BLIND) {
        return step(BERTH_DO_NOTHING, BERTH_PHASE_DELETING, "host-unreachable");
    }
    if (s->host == BERTH_HOST_SIGHT_GONE) {
        return step(BERTH_DO_REMOVE, BERTH_PHASE_DELETING, NULL);
    }
    if (is_on(s)) {
        return plan_stop(s, BERTH_PHASE_DELETING);
    }
    if (s->defined) {
        return step(BERTH_DO_UNDEFINE, BERTH_PHASE_DELETING, NULL);
    }
    if (s->volumes) {
        return step(BERTH_DO_DELETE_DISKS, BERTH_PHASE_DELETING, NULL);
    }
    return plan_leave(s, BERTH_DO_REMOVE, BERTH_PHASE_DELETING);
}

/* Unknown is only what ran: found off later, it ended unasked. What is being stopped or is off was asked. */
static BerthPhase
unseen_phase(const BerthWorkloadSight *s)
{
    switch (s->phase) {
    case BERTH_PHASE_RUNNING:
    case BERTH_PHASE_UNKNOWN:
        return BERTH_PHASE_UNKNOWN;
    case BERTH_PHASE_PENDING: /* a VM that waited for room where its disks are */
    case BERTH_PHASE_STOPPED:
    case BERTH_PHASE_SUCCEEDED:
    case BERTH_PHASE_FAILED:
        return resting_phase(s);
    default:
        return BERTH_PHASE_STOPPING;
    }
}

static BerthWorkloadStep
plan_off(const BerthWorkloadSight *s)
{
    if (!s->placed) {
        return step(BERTH_DO_NOTHING, resting_phase(s), NULL);
    }
    if (s->host != BERTH_HOST_SIGHT_CLEAR) {
        return step(BERTH_DO_NOTHING, unseen_phase(s), "host-unreachable");
    }
    if (is_on(s)) {
        BerthPhase phase = resting_phase(s);
        return plan_stop(s, phase == BERTH_PHASE_STOPPED ? BERTH_PHASE_STOPPING : phase);
    }
    if (s->vm) {
        return step(BERTH_DO_NOTHING, resting_phase(s), NULL);
    }
    /* A pod keeps nothing on its host: the next start may be anywhere. */
    return s->defined ? step(BERTH_DO_UNDEFINE, resting_phase(s), NULL)
                      : plan_leave(s, BERTH_DO_RELEASE, resting_phase(s));
}

static BerthWorkloadStep
wait_for_retry(const BerthWorkloadSight *s, BerthPhase phase, const char *reason)
{
    BerthWorkloadStep waiting = step(BERTH_DO_NOTHING, phase, reason);
    waiting.wake_us = s->retry_us;
    return waiting;
}

/* It ran (or was being started) and is off now, though nobody asked Berth. */
static BerthWorkloadStep
plan_unasked_end(const BerthWorkloadSight *s)
{
    /* A domain that libvirt knows as off since it began has lost its host's power, not its user's will. */
    gboolean crashed = s->state == BERTH_DOMAIN_CRASHED || s->stop_reason == BERTH_STOP_CRASHED ||
                       s->stop_reason == BERTH_STOP_FAILED ||
                       (s->defined && s->stop_reason == BERTH_STOP_UNKNOWN);
    if (s->vm && !crashed && !s->power_cycle) {
        BerthWorkloadStep off = step(BERTH_DO_NOTHING, BERTH_PHASE_STOPPED, NULL);
        off.power_off_by =
            s->defined && s->stop_reason == BERTH_STOP_SHUTDOWN ? "guest" : "external";
        return off;
    }
    if (s->restart == BERTH_RESTART_NEVER && !s->power_cycle) {
        BerthWorkloadStep failed = step(BERTH_DO_NOTHING, BERTH_PHASE_FAILED, "guest-ended");
        failed.power_off_by = "policy";
        return failed;
    }
    BerthWorkloadStep again = step(BERTH_DO_NOTHING, BERTH_PHASE_PREPARING, "guest-ended");
    again.count_restart = !s->power_cycle;
    return again;
}

static BerthWorkloadStep
plan_place(const BerthWorkloadSight *s)
{
    return s->preempting ? step(BERTH_DO_NOTHING, BERTH_PHASE_PENDING, "preempting")
                         : step(BERTH_DO_PLACE, BERTH_PHASE_PENDING, NULL);
}

static BerthWorkloadStep
plan_power_on(const BerthWorkloadSight *s)
{
    if (s->phase == BERTH_PHASE_RUNNING || s->phase == BERTH_PHASE_STARTING ||
        s->phase == BERTH_PHASE_UNKNOWN) {
        /* Recorded as being started, but the call was not made (or its answer was never seen). */
        gboolean never_on = s->phase == BERTH_PHASE_STARTING && s->started_us == 0;
        if (!never_on) {
            return plan_unasked_end(s);
        }
    }
    if (!s->charged) {
        return plan_place(s);
    }
    if (s->now_us < s->retry_us) {
        return wait_for_retry(s, BERTH_PHASE_PREPARING, "back-off");
    }
    if (!s->staged) {
        return step(BERTH_DO_STAGE, BERTH_PHASE_PREPARING, NULL);
    }
    if (!s->disks) {
        return step(BERTH_DO_MAKE_DISKS, BERTH_PHASE_PREPARING, NULL);
    }
    if (!s->defined || s->stale) {
        return step(BERTH_DO_DEFINE, BERTH_PHASE_PREPARING, NULL);
    }
    return step(BERTH_DO_START, BERTH_PHASE_STARTING, NULL);
}

/* All containers came to their end: the pod's power goes off, its phase says how. */
static BerthWorkloadStep
plan_completed(const BerthWorkloadSight *s)
{
    BerthWorkloadStep done = step(
        BERTH_DO_NOTHING, s->containers_failed > 0 ? BERTH_PHASE_FAILED : BERTH_PHASE_SUCCEEDED,
        s->containers_failed > 0 ? "container-failed" : NULL);
    done.power_off_by = "guest";
    return done;
}

static BerthWorkloadStep
plan_ready_pod(const BerthWorkloadSight *s)
{
    if (s->containers_done == s->containers) {
        return plan_completed(s);
    }
    gboolean all_started = s->containers_started == s->containers;
    if (s->containers_due > 0) {
        return step(BERTH_DO_START_CONTAINERS,
                    all_started ? BERTH_PHASE_RUNNING : BERTH_PHASE_STARTING, NULL);
    }
    BerthWorkloadStep running =
        step(BERTH_DO_NOTHING, all_started ? BERTH_PHASE_RUNNING : BERTH_PHASE_STARTING, NULL);
    running.wake_us = s->container_wake_us;
    return running;
}

static BerthWorkloadStep
plan_running_pod(const BerthWorkloadSight *s)
{
    if (s->guest == BERTH_GUEST_READY) {
        return plan_ready_pod(s);
    }
    /* Unknown was Running before its host could not be asked: its boot is long over. */
    gboolean was_up = s->phase == BERTH_PHASE_RUNNING || s->phase == BERTH_PHASE_UNKNOWN;
    gint64 deadline_us = s->started_us + s->boot_timeout_us;
    if (s->guest == BERTH_GUEST_LOST || (!was_up && s->now_us >= deadline_us)) {
        BerthWorkloadStep again = step(BERTH_DO_CUT_POWER, BERTH_PHASE_PREPARING, "boot-timeout");
        again.count_restart = TRUE;
        return again;
    }
    BerthPhase phase = was_up ? BERTH_PHASE_RUNNING : BERTH_PHASE_STARTING;
    BerthWorkloadStep waiting =
        step(s->guest == BERTH_GUEST_UNHEARD ? BERTH_DO_CALL_GUEST : BERTH_DO_NOTHING, phase,
             was_up ? "guest-silent" : NULL);
    waiting.wake_us = was_up ? 0 : deadline_us;
    return waiting;
}

static BerthWorkloadStep
plan_domain_on(const BerthWorkloadSight *s)
{
    if (s->power_cycle) {
        return plan_stop(s, BERTH_PHASE_STOPPING);
    }
    if (s->state == BERTH_DOMAIN_MIGRATING || s->state == BERTH_DOMAIN_PAUSED ||
        s->state == BERTH_DOMAIN_SUSPENDED) {
        return step(BERTH_DO_NOTHING,
                    s->phase == BERTH_PHASE_STARTING ? s->phase : BERTH_PHASE_RUNNING,
                    s->state == BERTH_DOMAIN_MIGRATING ? "migrating" : "paused");
    }
    if (s->phase == BERTH_PHASE_PREPARING && !s->vm && s->stop_asked_us == 0 &&
        s->started_us == 0) {
        /* A boot that missed its deadline; the daemon died before it cut the power. */
        return step(BERTH_DO_CUT_POWER, BERTH_PHASE_PREPARING, "boot-timeout");
    }
    return s->vm ? step(BERTH_DO_NOTHING, BERTH_PHASE_RUNNING, NULL) : plan_running_pod(s);
}

/* Stopped for another one: it keeps its power, and waits for a place once it is off. */
static BerthWorkloadStep
plan_displaced(const BerthWorkloadSight *s)
{
    if (is_on(s)) {
        BerthWorkloadStep stop = plan_stop(s, BERTH_PHASE_STOPPING);
        stop.reason = "displaced";
        return stop;
    }
    if (s->doubtful) {
        return step(BERTH_DO_NOTHING, BERTH_PHASE_STOPPING, "host-in-doubt");
    }
    if (s->vm) {
        return step(BERTH_DO_NOTHING, BERTH_PHASE_PENDING, "displaced");
    }
    return step(s->defined ? BERTH_DO_UNDEFINE : BERTH_DO_RELEASE, BERTH_PHASE_STOPPING,
                "displaced");
}

static BerthWorkloadStep
plan_unplaced(const BerthWorkloadSight *s)
{
    switch (s->images) {
    case BERTH_IMAGES_MISSING:
        return step(BERTH_DO_PULL, BERTH_PHASE_PENDING, "image-pulling");
    case BERTH_IMAGES_WORKING:
        return step(BERTH_DO_NOTHING, BERTH_PHASE_PENDING, "image-pulling");
    case BERTH_IMAGES_FAILED:
        return step(BERTH_DO_NOTHING, BERTH_PHASE_PENDING, "image-failed");
    case BERTH_IMAGES_READY:
        break;
    }
    return plan_place(s);
}

/**
 * berth_plan_workload:
 * @sight: what is wanted and seen
 *
 * Returns: the next step. The controller records phase, reason and power first, then acts, then looks
 * again.
 */
BerthWorkloadStep
berth_plan_workload(const BerthWorkloadSight *s)
{
    if (s->deleting) {
        return plan_delete(s);
    }
    if (!s->power) {
        return plan_off(s);
    }
    if (!s->placed) {
        return s->displaced ? step(BERTH_DO_NOTHING, BERTH_PHASE_PENDING, "displaced")
                            : plan_unplaced(s);
    }
    if (s->host == BERTH_HOST_SIGHT_GONE) {
        return step(BERTH_DO_NOTHING, BERTH_PHASE_UNKNOWN, "host-removed");
    }
    if (s->host == BERTH_HOST_SIGHT_BLIND) {
        gboolean was_on = s->phase == BERTH_PHASE_RUNNING || s->phase == BERTH_PHASE_UNKNOWN;
        return step(BERTH_DO_NOTHING, was_on ? BERTH_PHASE_UNKNOWN : s->phase, "host-unreachable");
    }
    if (s->displaced) {
        return plan_displaced(s);
    }
    return is_on(s) ? plan_domain_on(s) : plan_power_on(s);
}

/**
 * berth_plan_container:
 * @restart: the pod's policy
 * @started: it was started at least once in this boot
 * @ended: it is not running now
 * @exit_code: of its last run; meaningful when @ended
 * @restarts: how often it was started again in this boot
 * @ended_us: when it ended, monotonic
 * @wake_us: (out): set when it has to wait: when to look again
 *
 * Returns: whether to start it, to wait, or to leave it ended for good. Restarts back off from at once
 * over 1 s, doubling, to 60 s.
 */
BerthContainerPlan
berth_plan_container(BerthRestart restart, gboolean started, gboolean ended, int exit_code,
                     guint restarts, gint64 ended_us, gint64 now_us, gint64 *wake_us)
{
    if (!started) {
        return BERTH_CONTAINER_START;
    }
    if (!ended) {
        *wake_us = 0;
        return BERTH_CONTAINER_WAIT;
    }
    if (restart == BERTH_RESTART_NEVER || (restart == BERTH_RESTART_ON_FAILURE && exit_code == 0)) {
        return BERTH_CONTAINER_DONE;
    }
    gint64 delay_us =
        restarts == 0 ? 0 : MIN(60, (gint64)1 << MIN(restarts - 1, 6u)) * G_USEC_PER_SEC;
    if (now_us >= ended_us + delay_us) {
        return BERTH_CONTAINER_START;
    }
    *wake_us = ended_us + delay_us;
    return BERTH_CONTAINER_WAIT;
}
