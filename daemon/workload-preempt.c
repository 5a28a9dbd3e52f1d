/* Preemption: lesser workloads of one host are stopped so that another one gets a place.
 *
 * The record of the one that asked is the only truth: its status.preempting names the host and the victims,
 * is stored before the first one is stopped, and goes when it has its place or doesn't want it any more. Who is
 * named there is displaced: it is stopped as by its user, keeps its power, and waits in line again
 * afterwards. The ledger keeps the room meanwhile. Start at berth_preemption_begin(). Main loop only. */
#include "daemon/workload-run.h"

#include "base/json.h"

static BerthObject *
find_workload(BerthControl *control, const char *uid)
{
    return berth_catalog_get_uid(control->catalog, uid);
}

/* Whether the victim @uid holds nothing of @host any more, by what is recorded of it. */
static gboolean
is_out(BerthControl *control, const char *uid, const char *host)
{
    BerthObject *victim = find_workload(control, uid);
    if (victim == NULL) {
        return TRUE;
    }
    const BerthWorkloadStatus *status = berth_workload_status_of(victim);
    gboolean rests = status->phase == BERTH_PHASE_PENDING || status->phase == BERTH_PHASE_STOPPED ||
                     status->phase == BERTH_PHASE_SUCCEEDED || status->phase == BERTH_PHASE_FAILED;
    return g_strcmp0(status->host, host) != 0 || (victim->kind == &berth_kind_vm && rests);
}

/* A host that was lost, is cordoned or goes takes nobody, whoever is stopped there. */
static gboolean
is_lost(BerthControl *control, const char *name)
{
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, name);
    BerthFleetHost *host = berth_fleet_get(control->fleet, name);
    return object == NULL || object->deleting != NULL ||
           ((const BerthHostSpec *)object->spec_data)->cordoned ||
           (host != NULL && !host->connected && host->why != NULL);
}

static gboolean
are_all_out(BerthControl *control, const BerthPreempting *preempting)
{
    for (guint i = 0; preempting->victims != NULL && i < preempting->victims->len; i++) {
        const BerthVictim *victim = preempting->victims->pdata[i];
        if (!is_out(control, victim->uid, preempting->host)) {
            return FALSE;
        }
    }
    return TRUE;
}

/** Returns: whether @object has to wait for those that are stopped for it. */
gboolean
berth_preemption_waits(BerthControl *control, const BerthObject *object)
{
    const BerthPreempting *preempting = &berth_workload_status_of(object)->preempting;
    return preempting->host != NULL && !is_lost(control, preempting->host) &&
           !are_all_out(control, preempting);
}

static void
end_holds(BerthControl *control, const char *asker)
{
    g_autoptr(GPtrArray) uids = berth_ledger_held_for(control->ledger, asker);
    for (guint i = 0; i < uids->len; i++) {
        const char *uid = uids->pdata[i];
        const char *host = berth_ledger_host_of(control->ledger, uid);
        gboolean gone = host != NULL && is_out(control, uid, host);
        berth_ledger_unhold(control->ledger, uid, gone);
        BerthObject *victim = find_workload(control, uid);
        if (!gone && victim != NULL) {
            berth_ledger_rerank(control->ledger, victim);
        }
    }
}

/**
 * berth_preemption_take_over:
 *
 * Gives free what was kept for @object, whose turn it is.
 *
 * Returns: (nullable): the host where room was made for it; borrowed
 */
const char *
berth_preemption_take_over(BerthControl *control, const BerthObject *object)
{
    const BerthPreempting *preempting = &berth_workload_status_of(object)->preempting;
    if (preempting->host == NULL) {
        return NULL;
    }
    gboolean made = !is_lost(control, preempting->host) && are_all_out(control, preempting);
    end_holds(control, object->uid);
    return made ? preempting->host : NULL;
}

/* ---- what is decided ----------------------------------------------------------------------------- */

static const BerthObject *
find_planned(BerthControl *control, const GPtrArray *planned, const char *uid)
{
    for (guint i = 0; planned != NULL && i < planned->len; i++) {
        if (g_str_equal(((const BerthObject *)planned->pdata[i])->uid, uid)) {
            return planned->pdata[i];
        }
    }
    return find_workload(control, uid);
}

static json_t *
write_victims(BerthControl *control, const GPtrArray *uids, const GPtrArray *planned)
{
    json_t *list = json_array();
    for (guint i = 0; i < uids->len; i++) {
        const BerthObject *victim = find_planned(control, planned, uids->pdata[i]);
        if (victim == NULL) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "kind", victim->kind->name, "project",
                            victim->project, "name", victim->name, "uid", victim->uid, "vcpus",
                            (json_int_t)berth_workload_of(victim)->vcpus, "memory_mib",
                            (json_int_t)berth_ledger_memory_mib(control->ledger, victim)));
    }
    return list;
}

/**
 * berth_preemption_find:
 * @object: refused just now
 * @present: (nullable): where its disks are
 * @planned: (nullable): objects that a plan would write, in place of the stored ones
 *
 * Returns: (transfer full) (nullable): what would be its status.preempting; NULL when nobody's stop would help.
 * Members of a group that is placed together stop nobody.
 */
json_t *
berth_preemption_find(BerthControl *control, BerthFleetLedger *ledger, const BerthObject *object,
                      const BerthNeeds *needs, const char *present, const GPtrArray *planned)
{
    g_autoptr(GPtrArray) uids = NULL;
    g_autofree char *host = berth_workload_has_group(object)
                                ? NULL
                                : berth_ledger_preempt(ledger, object, needs, present, &uids);
    json_t *victims = host == NULL ? NULL : write_victims(control, uids, planned);
    return victims == NULL ? NULL : json_pack("{s:s, s:o}", "host", host, "victims", victims);
}

/** Returns: (transfer full): who is stopped where, as a sentence. */
char *
berth_preemption_text(const json_t *preempting)
{
    GString *text = g_string_new(NULL);
    const json_t *victims = json_object_get(preempting, "victims");
    size_t i;
    json_t *victim;
    json_array_foreach (victims, i, victim) {
        const char *join = i == 0 ? "" : i + 1 == json_array_size(victims) ? " and " : ", ";
        g_string_append_printf(text, "%s%s %s/%s", join, berth_json_string(victim, "kind"),
                               berth_json_string(victim, "project"),
                               berth_json_string(victim, "name"));
    }
    g_string_append_printf(text, " of lower priority %s stopped on %s to make room",
                           json_array_size(victims) == 1 ? "is" : "are",
                           berth_json_string(preempting, "host"));
    return g_string_free(text, FALSE);
}

static void
hold_all(BerthControl *control, const BerthObject *asker, const json_t *preempting)
{
    const char *host = berth_json_string(preempting, "host");
    BerthCapacity given = {0};
    size_t i;
    json_t *victim;
    json_array_foreach (json_object_get(preempting, "victims"), i, victim) {
        gint64 vcpus = berth_json_integer(victim, "vcpus", 0);
        gint64 memory_mib = berth_json_integer(victim, "memory_mib", 0);
        given.vcpus += vcpus;
        given.memory_mib += memory_mib;
        berth_ledger_hold(control->ledger, asker->uid, host, berth_json_string(victim, "uid"),
                          vcpus, memory_mib);
    }
    berth_ledger_hold_rest(control->ledger, asker, host, &given);
}

static void
tell(BerthControl *control, const BerthObject *object, const json_t *preempting)
{
    g_autofree char *text = berth_preemption_text(preempting);
    berth_catalog_record_event(control->catalog, object, "info", "Preempting", NULL, "%s", text);
    size_t i;
    json_t *entry;
    json_array_foreach (json_object_get(preempting, "victims"), i, entry) {
        const BerthObject *victim = find_workload(control, berth_json_string(entry, "uid"));
        berth_catalog_record_event(
            control->catalog, victim, "warning", "Displaced", NULL,
            "%s '%s' is stopped on %s to make room for %s %s/%s (priority %" G_GINT64_FORMAT
            " over %" G_GINT64_FORMAT ")",
            victim->kind->name, victim->name, berth_json_string(preempting, "host"),
            object->kind->name, object->project, object->name, berth_workload_of(object)->priority,
            berth_workload_of(victim)->priority);
    }
}

static void
on_begun(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
         gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthControl *control = pending->controller->control;
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (error != NULL) {
        end_holds(control, pending->uid);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

/**
 * berth_preemption_begin:
 * @preempting: from berth_preemption_find()
 *
 * Keeps the room and records what is going to happen; the stops follow from the record.
 */
void
berth_preemption_begin(BerthWorkloadRun *run, BerthObject *object, json_t *preempting)
{
    BerthControl *control = run->controller->control;
    json_t *status = berth_status_copy(object);
    g_autofree char *text = berth_preemption_text(preempting);
    hold_all(control, object, preempting);
    tell(control, object, preempting);
    berth_ledger_leave(control->ledger, object->uid);
    berth_status_set_text(status, "phase", berth_phase_name(BERTH_PHASE_PENDING));
    berth_status_set_reason(status, object->name, "preempting", text, NULL);
    json_object_set(status, "preempting", preempting);
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    berth_catalog_put_status(control->catalog, object, status, on_begun,
                             berth_pending_new(run, object, NULL));
    json_decref(status);
}

/* ---- what is recorded ---------------------------------------------------------------------------- */

static void
let_go(BerthWorkloadController *controller, const BerthObject *asker)
{
    const BerthPreempting *preempting = &berth_workload_status_of(asker)->preempting;
    end_holds(controller->control, asker->uid);
    for (guint i = 0; preempting->victims != NULL && i < preempting->victims->len; i++) {
        const BerthVictim *victim = preempting->victims->pdata[i];
        g_hash_table_remove(controller->displaced, victim->uid);
        berth_workload_controller_look(controller, victim->uid);
    }
}

static void
displace(BerthWorkloadController *controller, const BerthObject *asker)
{
    const BerthPreempting *preempting = &berth_workload_status_of(asker)->preempting;
    hold_all(controller->control, asker, json_object_get(asker->status, "preempting"));
    for (guint i = 0; preempting->victims != NULL && i < preempting->victims->len; i++) {
        const BerthVictim *victim = preempting->victims->pdata[i];
        g_hash_table_replace(controller->displaced, g_strdup(victim->uid), g_strdup(asker->uid));
        berth_workload_controller_look(controller, victim->uid);
    }
}

/** The record of a workload came (@before NULL), changed, or went (@after NULL). */
void
berth_preemption_follow(BerthWorkloadController *controller, const BerthObject *before,
                        const BerthObject *after)
{
    const json_t *old = before == NULL ? NULL : json_object_get(before->status, "preempting");
    const json_t *new = after == NULL ? NULL : json_object_get(after->status, "preempting");
    if (!json_equal((json_t *)old, (json_t *)new)) {
        if (old != NULL) {
            let_go(controller, before);
        }
        if (new != NULL) {
            displace(controller, after);
        }
    }
    const char *uid = after != NULL ? after->uid : before->uid;
    const char *asker = g_hash_table_lookup(controller->displaced, uid);
    if (asker != NULL) {
        berth_workload_controller_look(controller, asker);
    }
}

/**
 * berth_preemption_is_displaced:
 *
 * Returns: whether @object is stopped for another one. A stop that was begun is carried to its end, or the guest's
 * own end would look like its user's will.
 */
gboolean
berth_preemption_is_displaced(BerthWorkloadController *controller, const BerthObject *object)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    return g_hash_table_contains(controller->displaced, object->uid) ||
           (status->phase == BERTH_PHASE_STOPPING &&
            g_strcmp0(status->reason.code, "displaced") == 0);
}

/** Returns: (transfer full) (nullable): whom @object makes room for, as a sentence. */
char *
berth_preemption_displaced_by(BerthWorkloadController *controller, const BerthObject *object)
{
    const char *uid = g_hash_table_lookup(controller->displaced, object->uid);
    const BerthObject *asker = uid == NULL ? NULL : find_workload(controller->control, uid);
    return asker == NULL ? NULL
                         : g_strdup_printf("makes room for %s %s/%s of higher priority",
                                           asker->kind->name, asker->project, asker->name);
}
