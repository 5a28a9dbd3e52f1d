/* The decision about one workload, as a table of situations. */
#include "daemon/plan-workload.h"

/* A pod that runs well; each row changes what it is about. */
static BerthWorkloadSight
running_pod(void)
{
    return (BerthWorkloadSight){
        .now_us = 1000 * G_USEC_PER_SEC,
        .power = TRUE,
        .restart = BERTH_RESTART_ALWAYS,
        .boot_timeout_us = 60 * G_USEC_PER_SEC,
        .stop_timeout_us = 30 * G_USEC_PER_SEC,
        .phase = BERTH_PHASE_RUNNING,
        .placed = TRUE,
        .charged = TRUE,
        .images = BERTH_IMAGES_READY,
        .host = BERTH_HOST_SIGHT_CLEAR,
        .staged = TRUE,
        .disks = TRUE,
        .volumes = TRUE,
        .defined = TRUE,
        .state = BERTH_DOMAIN_RUNNING,
        .guest = BERTH_GUEST_READY,
        .containers = 1,
        .containers_started = 1,
        .started_us = 900 * G_USEC_PER_SEC,
    };
}

static BerthWorkloadSight
running_vm(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.vm = TRUE;
    sight.guest = BERTH_GUEST_UNHEARD;
    sight.containers = sight.containers_started = 0;
    return sight;
}

static void
assert_step(const BerthWorkloadSight *sight, BerthWorkloadAction action, BerthPhase phase)
{
    BerthWorkloadStep step = berth_plan_workload(sight);
    g_assert_cmpstr(berth_workload_action_name(step.action), ==,
                    berth_workload_action_name(action));
    g_assert_cmpstr(berth_phase_name(step.phase), ==, berth_phase_name(phase));
}

static void
test_new_pod_is_pulled_then_placed(void)
{
    BerthWorkloadSight sight = {.power = TRUE, .images = BERTH_IMAGES_MISSING, .containers = 1};
    assert_step(&sight, BERTH_DO_PULL, BERTH_PHASE_PENDING);
    sight.images = BERTH_IMAGES_WORKING;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_PENDING);
    sight.images = BERTH_IMAGES_READY;
    assert_step(&sight, BERTH_DO_PLACE, BERTH_PHASE_PENDING);
}

static void
test_placed_pod_is_staged_defined_started_called(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.phase = BERTH_PHASE_PREPARING;
    sight.staged = sight.defined = FALSE;
    sight.started_us = 0;
    assert_step(&sight, BERTH_DO_STAGE, BERTH_PHASE_PREPARING);
    sight.staged = TRUE;
    assert_step(&sight, BERTH_DO_DEFINE, BERTH_PHASE_PREPARING);
    sight.defined = TRUE;
    sight.state = BERTH_DOMAIN_SHUTOFF;
    assert_step(&sight, BERTH_DO_START, BERTH_PHASE_STARTING);
    sight.phase = BERTH_PHASE_STARTING; /* recorded, not called yet */
    assert_step(&sight, BERTH_DO_START, BERTH_PHASE_STARTING);
    sight.state = BERTH_DOMAIN_RUNNING;
    sight.started_us = sight.now_us;
    sight.guest = BERTH_GUEST_UNHEARD;
    assert_step(&sight, BERTH_DO_CALL_GUEST, BERTH_PHASE_STARTING);
}

static void
test_unheard_boot_is_cut_and_counted_after_its_deadline(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.phase = BERTH_PHASE_STARTING;
    sight.guest = BERTH_GUEST_CALLED;
    sight.started_us = sight.now_us - sight.boot_timeout_us + 1;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_STARTING);
    g_assert_cmpint(berth_plan_workload(&sight).wake_us, ==, sight.now_us + 1);
    sight.started_us--;
    assert_step(&sight, BERTH_DO_CUT_POWER, BERTH_PHASE_PREPARING);
    g_assert_true(berth_plan_workload(&sight).count_restart);
}

static void
test_pod_destroyed_from_outside_is_started_again(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.state = BERTH_DOMAIN_SHUTOFF;
    sight.stop_reason = BERTH_STOP_DESTROYED;
    BerthWorkloadStep step = berth_plan_workload(&sight);
    g_assert_true(step.count_restart);
    g_assert_cmpint(step.phase, ==, BERTH_PHASE_PREPARING);
    sight.restart = BERTH_RESTART_NEVER;
    step = berth_plan_workload(&sight);
    g_assert_cmpint(step.phase, ==, BERTH_PHASE_FAILED);
    g_assert_cmpstr(step.power_off_by, ==, "policy");
}

static void
test_vm_destroyed_from_outside_stays_off(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.state = BERTH_DOMAIN_SHUTOFF;
    sight.stop_reason = BERTH_STOP_DESTROYED;
    g_assert_cmpstr(berth_plan_workload(&sight).power_off_by, ==, "external");
    sight.stop_reason = BERTH_STOP_SHUTDOWN;
    g_assert_cmpstr(berth_plan_workload(&sight).power_off_by, ==, "guest");
    sight.stop_reason = BERTH_STOP_CRASHED;
    g_assert_null(berth_plan_workload(&sight).power_off_by);
    g_assert_true(berth_plan_workload(&sight).count_restart);
}

static void
test_nothing_is_done_on_a_host_that_cannot_be_seen(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.host = BERTH_HOST_SIGHT_BLIND;
    sight.defined = FALSE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_UNKNOWN);
    sight.deleting = TRUE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_DELETING);
    sight.deleting = FALSE;
    sight.power = FALSE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_UNKNOWN);

    /* Its host is back; the guest's greeting is still on its way, long after the boot's deadline. */
    BerthWorkloadSight back = running_pod();
    back.phase = BERTH_PHASE_UNKNOWN;
    back.guest = BERTH_GUEST_UNHEARD;
    assert_step(&back, BERTH_DO_CALL_GUEST, BERTH_PHASE_RUNNING);
}

static void
test_stop_asks_once_then_cuts_when_time_is_over(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.power = FALSE;
    assert_step(&sight, BERTH_DO_ASK_STOP, BERTH_PHASE_STOPPING);
    sight.stop_asked_us = sight.now_us;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_STOPPING);
    sight.now_us += sight.stop_timeout_us;
    assert_step(&sight, BERTH_DO_CUT_POWER, BERTH_PHASE_STOPPING);
    sight.stop_asked_us = 0;
    sight.force = TRUE;
    assert_step(&sight, BERTH_DO_CUT_POWER, BERTH_PHASE_STOPPING);
}

static void
test_delete_takes_domain_then_disks_then_record(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.deleting = TRUE;
    sight.state = BERTH_DOMAIN_SHUTOFF;
    assert_step(&sight, BERTH_DO_UNDEFINE, BERTH_PHASE_DELETING);
    sight.defined = FALSE;
    sight.disks = FALSE; /* one of two went already */
    assert_step(&sight, BERTH_DO_DELETE_DISKS, BERTH_PHASE_DELETING);
    sight.volumes = FALSE;
    assert_step(&sight, BERTH_DO_REMOVE, BERTH_PHASE_DELETING);
}

/* What it was defined as when it last ran may name CPUs that others have now. */
static void
test_vm_that_was_off_is_defined_anew(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.stale = TRUE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_RUNNING);
    sight.state = BERTH_DOMAIN_SHUTOFF;
    sight.phase = BERTH_PHASE_PREPARING;
    assert_step(&sight, BERTH_DO_DEFINE, BERTH_PHASE_PREPARING);
    sight.stale = FALSE;
    assert_step(&sight, BERTH_DO_START, BERTH_PHASE_STARTING);
}

/* A call that hangs or whose answer was lost may leave a domain or a disk behind. */
static void
test_nothing_leaves_its_host_in_doubt(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.power = FALSE;
    sight.defined = FALSE;
    sight.phase = BERTH_PHASE_STOPPED;
    sight.doubtful = TRUE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_STOPPED);
    sight.doubtful = FALSE;
    assert_step(&sight, BERTH_DO_RELEASE, BERTH_PHASE_STOPPED);

    sight.deleting = TRUE;
    sight.volumes = FALSE;
    sight.doubtful = TRUE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_DELETING);
    sight.doubtful = FALSE;
    assert_step(&sight, BERTH_DO_REMOVE, BERTH_PHASE_DELETING);
}

/* libvirt gives no reason for what was off when the host came up. */
static void
test_lost_power_is_nobodys_will(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.state = BERTH_DOMAIN_SHUTOFF;
    sight.stop_reason = BERTH_STOP_UNKNOWN;
    BerthWorkloadStep step = berth_plan_workload(&sight);
    g_assert_null(step.power_off_by);
    g_assert_true(step.count_restart);
    sight.stop_reason = BERTH_STOP_DESTROYED;
    g_assert_cmpstr(berth_plan_workload(&sight).power_off_by, ==, "external");
}

/* What was off or being stopped is not Unknown: started meanwhile, it would be taken for ended unasked. */
static void
test_what_is_off_stays_off_unseen(void)
{
    static const BerthPhase expected[][2] = {
        {BERTH_PHASE_STOPPED, BERTH_PHASE_STOPPED},
        {BERTH_PHASE_SUCCEEDED, BERTH_PHASE_SUCCEEDED},
        {BERTH_PHASE_PENDING, BERTH_PHASE_STOPPED},
        {BERTH_PHASE_PREPARING, BERTH_PHASE_STOPPING},
        {BERTH_PHASE_STOPPING, BERTH_PHASE_STOPPING},
        {BERTH_PHASE_RUNNING, BERTH_PHASE_UNKNOWN},
    };
    for (guint i = 0; i < G_N_ELEMENTS(expected); i++) {
        BerthWorkloadSight sight = running_vm();
        sight.power = FALSE;
        sight.host = BERTH_HOST_SIGHT_BLIND;
        sight.phase = expected[i][0];
        assert_step(&sight, BERTH_DO_NOTHING, expected[i][1]);
    }
}

static void
test_a_paused_guest_is_rebooted(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.state = BERTH_DOMAIN_PAUSED;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_RUNNING);
    sight.power_cycle = TRUE;
    assert_step(&sight, BERTH_DO_ASK_STOP, BERTH_PHASE_STOPPING);
}

static void
test_completed_pod_goes_off_and_keeps_its_end(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.containers_done = 1;
    BerthWorkloadStep step = berth_plan_workload(&sight);
    g_assert_cmpint(step.phase, ==, BERTH_PHASE_SUCCEEDED);
    g_assert_cmpstr(step.power_off_by, ==, "guest");
    sight.phase = BERTH_PHASE_SUCCEEDED;
    sight.power = FALSE;
    assert_step(&sight, BERTH_DO_ASK_STOP, BERTH_PHASE_SUCCEEDED);
    sight.state = BERTH_DOMAIN_SHUTOFF;
    assert_step(&sight, BERTH_DO_UNDEFINE, BERTH_PHASE_SUCCEEDED);
    sight.defined = FALSE;
    assert_step(&sight, BERTH_DO_RELEASE, BERTH_PHASE_SUCCEEDED);
    sight.placed = FALSE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_SUCCEEDED);
}

static void
test_migrating_domain_is_never_touched(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.state = BERTH_DOMAIN_MIGRATING;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_RUNNING);
    sight.power = FALSE;
    sight.force = TRUE;
    g_assert_cmpint(berth_plan_workload(&sight).action, ==, BERTH_DO_NOTHING);
}

static void
test_stopped_vm_needs_room_again_before_it_starts(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.phase = BERTH_PHASE_STOPPED;
    sight.state = BERTH_DOMAIN_SHUTOFF;
    sight.charged = FALSE;
    assert_step(&sight, BERTH_DO_PLACE, BERTH_PHASE_PENDING);
}

static void
test_container_restarts_back_off_to_a_minute(void)
{
    gint64 wake = 0, ended = 50 * G_USEC_PER_SEC;
    g_assert_cmpint(
        berth_plan_container(BERTH_RESTART_ALWAYS, TRUE, TRUE, 1, 0, ended, ended, &wake), ==,
        BERTH_CONTAINER_START);
    g_assert_cmpint(
        berth_plan_container(BERTH_RESTART_ALWAYS, TRUE, TRUE, 1, 30, ended, ended, &wake), ==,
        BERTH_CONTAINER_WAIT);
    g_assert_cmpint(wake, ==, ended + 60 * G_USEC_PER_SEC);
    g_assert_cmpint(
        berth_plan_container(BERTH_RESTART_ON_FAILURE, TRUE, TRUE, 0, 0, ended, ended, &wake), ==,
        BERTH_CONTAINER_DONE);
}

static void
test_displaced_pod_is_stopped_and_gives_its_place_back(void)
{
    BerthWorkloadSight sight = running_pod();
    sight.displaced = TRUE;
    assert_step(&sight, BERTH_DO_ASK_STOP, BERTH_PHASE_STOPPING);
    g_assert_cmpstr(berth_plan_workload(&sight).reason, ==, "displaced");
    sight.stop_asked_us = sight.now_us - 36 * G_USEC_PER_SEC;
    assert_step(&sight, BERTH_DO_CUT_POWER, BERTH_PHASE_STOPPING);
    sight.state = BERTH_DOMAIN_SHUTOFF;
    sight.phase = BERTH_PHASE_STOPPING;
    assert_step(&sight, BERTH_DO_UNDEFINE, BERTH_PHASE_STOPPING);
    sight.defined = FALSE;
    sight.doubtful = TRUE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_STOPPING);
    sight.doubtful = FALSE;
    assert_step(&sight, BERTH_DO_RELEASE, BERTH_PHASE_STOPPING);
    sight.placed = FALSE;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_PENDING);
    sight.displaced = FALSE;
    assert_step(&sight, BERTH_DO_PLACE, BERTH_PHASE_PENDING);
}

/* Its disks stay where they are; its end was asked for, so its power stays on. */
static void
test_displaced_vm_waits_on_its_host(void)
{
    BerthWorkloadSight sight = running_vm();
    sight.displaced = TRUE;
    assert_step(&sight, BERTH_DO_ASK_STOP, BERTH_PHASE_STOPPING);
    sight.state = BERTH_DOMAIN_SHUTOFF;
    sight.stop_reason = BERTH_STOP_SHUTDOWN;
    sight.phase = BERTH_PHASE_STOPPING;
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_PENDING);
    g_assert_null(berth_plan_workload(&sight).power_off_by);
    sight.phase = BERTH_PHASE_PENDING;
    sight.displaced = sight.charged = FALSE;
    assert_step(&sight, BERTH_DO_PLACE, BERTH_PHASE_PENDING);
}

static void
test_one_that_asked_waits_for_its_room(void)
{
    BerthWorkloadSight sight = {.power = TRUE, .images = BERTH_IMAGES_READY, .preempting = TRUE};
    assert_step(&sight, BERTH_DO_NOTHING, BERTH_PHASE_PENDING);
    g_assert_cmpstr(berth_plan_workload(&sight).reason, ==, "preempting");
    sight.preempting = FALSE;
    assert_step(&sight, BERTH_DO_PLACE, BERTH_PHASE_PENDING);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add_func("/daemon/plan-workload/" path, test)
    ADD("new-pod-is-pulled-then-placed", test_new_pod_is_pulled_then_placed);
    ADD("placed-pod-is-staged-defined-started-called",
        test_placed_pod_is_staged_defined_started_called);
    ADD("unheard-boot-is-cut-and-counted-after-its-deadline",
        test_unheard_boot_is_cut_and_counted_after_its_deadline);
    ADD("pod-destroyed-from-outside-is-started-again",
        test_pod_destroyed_from_outside_is_started_again);
    ADD("vm-destroyed-from-outside-stays-off", test_vm_destroyed_from_outside_stays_off);
    ADD("nothing-is-done-on-a-host-that-cannot-be-seen",
        test_nothing_is_done_on_a_host_that_cannot_be_seen);
    ADD("stop-asks-once-then-cuts-when-time-is-over",
        test_stop_asks_once_then_cuts_when_time_is_over);
    ADD("vm-that-was-off-is-defined-anew", test_vm_that_was_off_is_defined_anew);
    ADD("nothing-leaves-its-host-in-doubt", test_nothing_leaves_its_host_in_doubt);
    ADD("lost-power-is-nobodys-will", test_lost_power_is_nobodys_will);
    ADD("what-is-off-stays-off-unseen", test_what_is_off_stays_off_unseen);
    ADD("a-paused-guest-is-rebooted", test_a_paused_guest_is_rebooted);
    ADD("delete-takes-domain-then-disks-then-record",
        test_delete_takes_domain_then_disks_then_record);
    ADD("completed-pod-goes-off-and-keeps-its-end", test_completed_pod_goes_off_and_keeps_its_end);
    ADD("migrating-domain-is-never-touched", test_migrating_domain_is_never_touched);
    ADD("stopped-vm-needs-room-again-before-it-starts",
        test_stopped_vm_needs_room_again_before_it_starts);
    ADD("displaced-pod-is-stopped-and-gives-its-place-back",
        test_displaced_pod_is_stopped_and_gives_its_place_back);
    ADD("displaced-vm-waits-on-its-host", test_displaced_vm_waits_on_its_host);
    ADD("one-that-asked-waits-for-its-room", test_one_that_asked_waits_for_its_room);
    ADD("container-restarts-back-off-to-a-minute", test_container_restarts_back_off_to_a_minute);
    return g_test_run();
}
