/* The steps of a workload, carried out: each starts one asynchronous call and ends in
 * berth_workload_run_done(), which makes the controller look again.
 *
 * Every action may be repeated. Answers find their run by uid, since the workload may be gone by then.
 * Read the table at the end first. Main loop only. */
#include "daemon/workload-run.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/addresses.h"

#include <string.h>
#include <unistd.h>

#define CALL_S 60

/** Returns: (transfer full): a note of what is asked for @object, to be found again by the answer. */
BerthPending *
berth_pending_new(BerthWorkloadRun *run, BerthObject *object, const char *text)
{
    BerthPending *pending = g_new0(BerthPending, 1);
    pending->controller = run->controller;
    pending->uid = g_strdup(run->uid);
    pending->host = g_strdup(berth_workload_status_of(object)->host);
    pending->uuid = g_strdup(berth_workload_domain_uuid(object));
    pending->text = g_strdup(text);
    return pending;
}

void
berth_pending_free(BerthPending *pending)
{
    g_free(pending->uid);
    g_free(pending->host);
    g_free(pending->uuid);
    g_free(pending->text);
    g_free(pending);
}

/** Returns: (nullable): the run that waits for this answer; NULL when its workload is gone. */
BerthWorkloadRun *
berth_pending_run(const BerthPending *pending)
{
    return g_hash_table_lookup(pending->controller->runs, pending->uid);
}

/** Returns: (nullable): the host that was asked, while it is in the fleet. */
BerthFleetHost *
berth_pending_host(const BerthPending *pending)
{
    return berth_fleet_get(pending->controller->control->fleet, pending->host);
}

static gboolean
done_later(gpointer data)
{
    BerthWorkloadRun *run = data;
    run->finish = 0;
    berth_workload_run_done(run, NULL);
    return G_SOURCE_REMOVE;
}

/* For actions without an answer: the end comes from the main loop all the same. */
void
berth_workload_finish_soon(BerthWorkloadRun *run)
{
    run->finish = g_idle_add_full(G_PRIORITY_DEFAULT, done_later, run, NULL);
}

/** Ends the action under way with @error (transfer full). */
void
berth_workload_fail(BerthWorkloadRun *run, GError *error)
{
    berth_workload_run_done(run, error);
    g_clear_error(&error);
}

/** Makes @call on @object's host; @done gets a BerthPending and frees it. @text: kept for the answer. */
void
berth_workload_submit(BerthWorkloadRun *run, BerthObject *object, const BerthHostCall *call,
                      BerthHostDone done, const char *text)
{
    BerthFleetHost *host = berth_workload_run_host(run, object);
    berth_host_runner_submit(host->runner, call, CALL_S, done,
                             berth_pending_new(run, object, text));
}

/* ---- pull -------------------------------------------------------------------------------------- */

static void
on_image_made(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
              gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (run != NULL) {
        gboolean known = g_error_matches(error, BERTH_ERROR, BERTH_ERROR_EXISTS);
        berth_workload_run_done(run, known ? NULL : error);
    }
}

static void
act_pull(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    g_auto(GStrv) references = berth_workload_images(object);
    const char *missing = NULL;
    for (guint i = 0; references[i] != NULL && missing == NULL; i++) {
        missing = berth_image_find(control, references[i]) == NULL ? references[i] : NULL;
    }
    if (missing == NULL) {
        berth_workload_finish_soon(run);
        return;
    }
    GError *error = NULL;
    if (object->kind == &berth_kind_vm) {
        berth_error_set_at(&error, BERTH_ERROR_NOT_FOUND, "/spec/disks",
                           "berth image import NAME --file DISK.qcow2", "no image '%s'", missing);
        berth_workload_fail(run, error);
        return;
    }
    g_autofree char *canonical = NULL;
    g_autofree char *name = berth_image_name_for(missing, &canonical, &error);
    if (name == NULL) {
        berth_workload_fail(run, error);
        return;
    }
    g_autofree char *now = berth_control_now(control);
    json_t *spec = json_pack("{s:s, s:s}", "type", "oci", "reference", canonical);
    g_autoptr(BerthObject) image =
        berth_object_make(&berth_kind_image, "", name, spec, now, &error);
    json_decref(spec);
    if (image == NULL) {
        berth_workload_fail(run, error);
        return;
    }
    berth_catalog_put_body(control->catalog, image, BERTH_STORE_ABSENT, on_image_made,
                           berth_pending_new(run, object, NULL));
}

/* ---- place ------------------------------------------------------------------------------------- */

static void
on_placed(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
          gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (error != NULL) {
        berth_ledger_release(pending->controller->control->ledger, pending->uid);
    }
    if (run == NULL) {
        return;
    }
    run->placed_us = berth_clock_monotonic_us(pending->controller->control->clock);
    berth_host_controller_touch(pending->controller->control->hosts, pending->text);
    berth_workload_run_done(run, error);
}

static void
on_refusal_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
                    gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (run == NULL) {
        return;
    }
    run->busy = FALSE;
    if (error == NULL) {
        berth_workload_controller_look(pending->controller, pending->uid);
        return;
    }
    /* In line it would be tried when something could help it; what is recorded of it is wrong till then. */
    berth_ledger_leave(pending->controller->control->ledger, pending->uid);
    berth_queue_retry(pending->controller->queue, pending->uid);
}

/* No place: the reason is recorded, once, and the workload waits in line until something could help. */
static void
park(BerthWorkloadRun *run, BerthObject *object, const char *code, json_t *why,
     const GError *refusal)
{
    BerthControl *control = run->controller->control;
    json_t *status = berth_status_copy(object);
    berth_status_set_text(status, "phase", berth_phase_name(BERTH_PHASE_PENDING));
    berth_status_set_reason(status, object->name, code, refusal->message,
                            berth_error_hint(refusal));
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    json_object_del(status, "preempting");
    if (why != NULL) {
        json_object_set(status, "placement", why);
    }
    if (json_equal(status, object->status)) {
        run->busy = FALSE;
        json_decref(status);
        return;
    }
    const char *event = g_str_equal(code, "no-capacity")        ? "NoCapacity"
                        : g_str_equal(code, "group-incomplete") ? "GroupIncomplete"
                                                                : "NoAddress";
    const char *severity = g_str_equal(code, "group-incomplete") ? "info" : "warning";
    berth_catalog_record_event(control->catalog, object, severity, event, NULL, "%s",
                               refusal->message);
    berth_catalog_put_status(control->catalog, object, status, on_refusal_recorded,
                             berth_pending_new(run, object, NULL));
    json_decref(status);
}

/** Returns: (transfer full): what libvirt shows: "<project>.<name>-<uid8>". */
char *
berth_workload_domain_name(const BerthObject *object)
{
    return g_strdup_printf("%s.%s-%.8s", object->project, object->name, object->uid);
}

static json_t *
placed_status(BerthWorkloadRun *run, BerthObject *object, const char *host, json_t *why,
              json_t *cards)
{
    json_t *status = berth_status_copy(object);
    g_autofree char *name = berth_workload_domain_name(object);
    json_t *before = json_object_get(status, "domain");
    json_int_t incarnation = berth_json_integer(before, "incarnation", 0);
    berth_status_set_text(status, "phase", berth_phase_name(BERTH_PHASE_PREPARING));
    berth_status_set_text(status, "host", host);
    berth_status_set_reason(status, object->name, NULL, NULL, NULL);
    json_object_set_new(status, "domain",
                        json_pack("{s:s, s:s, s:s, s:I}", "host", host, "uuid", object->uid, "name",
                                  name, "incarnation", incarnation));
    json_object_set(status, "placement", why);
    json_object_del(status, "preempting");
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    json_object_set_new(
        status, "used_memory_mib",
        json_integer(berth_ledger_memory_mib(run->controller->control->ledger, object)));
    if (cards != NULL) {
        json_object_set(status, "networks", cards);
    }
    return status;
}

/* The others of a party whose members got their places, or could not. Each takes its own, or learns that it is no
 * longer members that are missing. */
static void
call_fellows(BerthWorkloadRun *run, const BerthParty *party, gboolean fits)
{
    BerthControl *control = run->controller->control;
    for (guint i = 0; i < party->members->len; i++) {
        const BerthObject *member = party->members->pdata[i];
        const char *code = berth_workload_status_of(member)->reason.code;
        if (fits || (!g_str_equal(member->uid, run->uid) && g_strcmp0(code, "no-capacity") != 0)) {
            berth_ledger_call(control->ledger, member->uid);
            berth_workload_controller_look(run->controller, member->uid);
        }
    }
}

typedef enum { MAY_BEGIN, MAY_SOON, MAY_NOT } Begin;

/* Nobody is stopped for a group of which one member could not take its place: it waits for its image, say. */
static Begin
may_begin(BerthWorkloadRun *run, const BerthParty *party)
{
    for (guint i = 0; i < party->members->len; i++) {
        BerthObject *member = party->members->pdata[i];
        BerthWorkloadRun *of = berth_workload_run_get(run->controller, member->uid);
        if (of == run) {
            continue;
        }
        if (of->busy) {
            return MAY_SOON;
        }
        BerthWorkloadSight sight;
        berth_workload_see(of, member, &sight);
        if (berth_plan_workload(&sight).action != BERTH_DO_PLACE) {
            return MAY_NOT;
        }
    }
    return MAY_BEGIN;
}

/* Others are stopped for @party, or it waits in line for something that could help. */
static void
make_room_or_park(BerthWorkloadRun *run, BerthObject *object, const BerthParty *party, json_t *why,
                  const GError *refusal)
{
    BerthControl *control = run->controller->control;
    g_autoptr(json_t) preempting = berth_preemption_find(control, control->ledger, party, NULL);
    Begin may = preempting != NULL ? may_begin(run, party) : MAY_NOT;
    if (may == MAY_BEGIN) {
        berth_preemption_begin(run, party, preempting);
    } else if (may == MAY_SOON) {
        /* A record of one of them is being stored. */
        run->busy = FALSE;
        berth_ledger_leave(control->ledger, object->uid);
        berth_queue_retry(run->controller->queue, object->uid);
    } else {
        call_fellows(run, party, FALSE);
        park(run, object, "no-capacity", why, refusal);
    }
}

/* Who gets a place in one go with @object. FALSE: members of its group are missing, and it is parked. */
static gboolean
gather_party(BerthWorkloadRun *run, BerthObject *object, gboolean made, BerthParty *party)
{
    BerthControl *control = run->controller->control;
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    g_autoptr(GError) error = NULL;
    if (made && status->preempting.with != NULL) {
        berth_party_init_made(party, control, object);
        return TRUE;
    }
    const char *only = made ? status->preempting.host : status->host;
    if (status->host != NULL || !berth_workload_has_group(object)) {
        berth_party_init_one(party, control, object, only);
        return TRUE;
    }
    if (!berth_party_init_group(party, control, control->ledger, object, NULL, &error)) {
        berth_ledger_step_aside(control->ledger, object->uid, FALSE);
        park(run, object, "group-incomplete", NULL, error);
        return FALSE;
    }
    if (party->members->len == 1) {
        party->hosts[0] = only;
    }
    return TRUE;
}

/* A host, charged. FALSE: parked, or others are stopped to make room. */
static gboolean
find_place(BerthWorkloadRun *run, BerthObject *object, char **host, json_t **why)
{
    BerthControl *control = run->controller->control;
    BerthFleetLedger *ledger = control->ledger;
    g_auto(BerthParty) party = {0};
    g_autoptr(GError) error = NULL;
    gboolean reserved = berth_ledger_is_reserved(ledger, object->uid);
    gboolean made = berth_preemption_take_over(control, object);
    if (reserved) {
        berth_party_init_one(&party, control, object, NULL);
    } else if (!gather_party(run, object, made, &party)) {
        return FALSE;
    }
    gboolean together = party.members->len > 1;
    gboolean fits = !together || berth_ledger_reserve(ledger, &party, why, &error);
    if (fits && together) {
        call_fellows(run, &party, TRUE);
    }
    if (fits &&
        berth_ledger_place(ledger, object, &party.needs[0], party.hosts[0], host, why, &error)) {
        return TRUE;
    }
    if (made) {
        park(run, object, "no-capacity", *why, error);
    } else {
        make_room_or_park(run, object, &party, *why, error);
    }
    return FALSE;
}

static void
act_place(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    g_autoptr(json_t) cards = NULL;
    g_autoptr(GError) error = NULL;
    if (!find_place(run, object, &host, &why)) {
        return;
    }
    BerthTransaction *transaction = berth_transaction_new();
    if (berth_workload_status_of(object)->host == NULL) {
        cards = berth_addresses_assign(control->catalog, object, transaction, &error);
        if (cards == NULL) {
            berth_transaction_free(transaction);
            berth_ledger_unplace(control->ledger, object->uid);
            berth_ledger_step_aside(control->ledger, object->uid, TRUE);
            park(run, object, berth_error_code_name(berth_error_code_of(error)), NULL, error);
            return;
        }
    }
    berth_ledger_leave(control->ledger, object->uid);
    json_t *status = placed_status(run, object, host, why, cards);
    berth_catalog_add_status(transaction, object, status);
    json_decref(status);
    berth_catalog_submit(control->catalog, transaction, on_placed,
                         berth_pending_new(run, object, host));
}

/* ---- power ------------------------------------------------------------------------------------- */

static void
on_definition_undone(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthFleetHost *host = berth_pending_host(pending);
    BerthWorkloadRun *run = berth_pending_run(pending);
    g_autoptr(GError) why = g_error_new_literal(BERTH_ERROR, BERTH_ERROR_NOT_FOUND, pending->text);
    if (error == NULL && host != NULL) {
        berth_fleet_note_gone(host, pending->uuid);
    }
    if (run != NULL) {
        berth_workload_run_done(run, why);
    }
}

/* A pod's domain names a file that is not on its host any more: it is defined anew, of what is there then.
 * Returns: FALSE when there is nothing to undo. */
static gboolean
undo_definition(BerthWorkloadRun *run, const GError *error)
{
    BerthObject *object = berth_workload_run_object(run);
    BerthFleetHost *host = object != NULL ? berth_workload_run_host(run, object) : NULL;
    if (host == NULL || object->kind != &berth_kind_pod ||
        !g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        return FALSE;
    }
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_UNDEFINE,
                          .uuid = berth_workload_domain_uuid(object)};
    berth_fleet_doubt_volumes(host);
    berth_workload_submit(run, object, &call, on_definition_undone, error->message);
    return TRUE;
}

static void
on_started(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthFleetHost *host = berth_pending_host(pending);
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_domain(host, pending->uuid, BERTH_DOMAIN_RUNNING, BERTH_STOP_UNKNOWN);
    }
    if (run == NULL) {
        return;
    }
    if (error == NULL) {
        run->started_us = berth_clock_monotonic_us(pending->controller->control->clock);
        run->domain_started_us = run->started_us;
    } else if (undo_definition(run, error)) {
        return;
    }
    berth_workload_run_done(run, error);
}

static void
act_start(BerthWorkloadRun *run, BerthObject *object)
{
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_START,
                          .uuid = berth_workload_domain_uuid(object)};
    run->start_began_us = berth_clock_monotonic_us(run->controller->control->clock);
    berth_workload_submit(run, object, &call, on_started, NULL);
}

static void
on_asked_to_stop(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (run != NULL) {
        /* A guest that can't be asked has its time all the same; then its power is cut. */
        berth_workload_run_done(run, NULL);
    }
}

static void
act_ask_stop(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    run->stop_asked_us = berth_clock_monotonic_us(control->clock);
    if (run->pod != NULL) {
        berth_pod_run_stop(run->pod, (guint)berth_workload_of(object)->stop_timeout_s * 1000);
        berth_workload_finish_soon(run);
        return;
    }
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_SHUTDOWN,
                          .uuid = berth_workload_domain_uuid(object)};
    berth_workload_submit(run, object, &call, on_asked_to_stop, NULL);
}

static void
on_power_cut(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthFleetHost *host = berth_pending_host(pending);
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (error == NULL && host != NULL && berth_fleet_domain(host, pending->uuid) != NULL) {
        berth_fleet_note_domain(host, pending->uuid, BERTH_DOMAIN_SHUTOFF, BERTH_STOP_DESTROYED);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
act_cut_power(BerthWorkloadRun *run, BerthObject *object)
{
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_DESTROY,
                          .uuid = berth_workload_domain_uuid(object)};
    berth_workload_submit(run, object, &call, on_power_cut, NULL);
}

static void
on_undefined(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthFleetHost *host = berth_pending_host(pending);
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_gone(host, pending->uuid);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
act_undefine(BerthWorkloadRun *run, BerthObject *object)
{
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_UNDEFINE,
                          .uuid = berth_workload_domain_uuid(object)};
    berth_workload_submit(run, object, &call, on_undefined, NULL);
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void
on_released(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthControl *control = pending->controller->control;
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (error == NULL) {
        berth_ledger_release(control->ledger, pending->uid);
        if (pending->host != NULL) {
            berth_host_controller_touch(control->hosts, pending->host);
        }
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

static void
act_release(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    BerthTransaction *transaction = berth_transaction_new();
    json_t *status = berth_status_copy(object);
    json_t *domain = json_object_get(status, "domain");
    json_object_del(status, "host");
    json_object_del(status, "networks");
    json_object_del(status, "used_memory_mib");
    json_object_del(domain, "host");
    berth_addresses_release(control->catalog, object, transaction);
    berth_catalog_add_status(transaction, object, status);
    json_decref(status);
    berth_catalog_submit(control->catalog, transaction, on_released,
                         berth_pending_new(run, object, NULL));
}

static void
on_removed(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
           gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthControl *control = pending->controller->control;
    gboolean gone = error == NULL || g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND);
    if (gone) {
        /* Before the host is looked at, or its figures would be of a moment ago until the next look. */
        berth_ledger_release(control->ledger, pending->uid);
        berth_logs_delete(control->logs, pending->uid);
        g_autofree char *seed = berth_workload_seed_path(control, pending->uid);
        unlink(seed);
        g_autofree char *console = g_strdup_printf("%s/console/%s", control->state, pending->uid);
        unlink(console);
        if (pending->host != NULL) {
            berth_host_controller_touch(control->hosts, pending->host);
        }
    }
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (run != NULL) {
        berth_workload_run_done(run, gone ? NULL : error);
    }
}

static void
act_remove(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    BerthTransaction *transaction = berth_transaction_new();
    berth_workload_reserve(run, object, BERTH_HOST_DHCP_RELEASE);
    berth_addresses_release(control->catalog, object, transaction);
    berth_catalog_add_delete(transaction, object);
    berth_catalog_submit(control->catalog, transaction, on_removed,
                         berth_pending_new(run, object, NULL));
}

static void (*const actions[BERTH_DO_COUNT])(BerthWorkloadRun *run, BerthObject *object) = {
    [BERTH_DO_PULL] = act_pull,
    [BERTH_DO_PLACE] = act_place,
    [BERTH_DO_STAGE] = berth_workload_act_stage,
    [BERTH_DO_MAKE_DISKS] = berth_workload_act_make_disks,
    [BERTH_DO_DEFINE] = berth_workload_act_define,
    [BERTH_DO_START] = act_start,
    [BERTH_DO_CALL_GUEST] = berth_workload_act_call_guest,
    [BERTH_DO_START_CONTAINERS] = berth_workload_act_start_containers,
    [BERTH_DO_ASK_STOP] = act_ask_stop,
    [BERTH_DO_CUT_POWER] = act_cut_power,
    [BERTH_DO_UNDEFINE] = act_undefine,
    [BERTH_DO_DELETE_DISKS] = berth_workload_act_delete_disks,
    [BERTH_DO_RELEASE] = act_release,
    [BERTH_DO_REMOVE] = act_remove,
};

/** Carries @step out; the run is busy until berth_workload_run_done(). */
void
berth_workload_act(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadStep *step)
{
    actions[step->action](run, object);
}
