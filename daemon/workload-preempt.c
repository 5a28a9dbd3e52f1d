/* Preemption: lesser workloads are stopped so that another one gets a place, or all members of a group do.
 *
 * The record of the one that asked is the only truth: its status.preempting names the host and the victims there,
 * is stored before the first one is stopped, and goes when it has its place or doesn't want it any more. Members
 * of a group that have no place get such records in one transaction, each naming all of them: they wait for the
 * victims of all and are charged together then; when one record goes before, the others go, too. Who is
 * named in one is displaced: it is stopped as by its user, keeps its power, and waits in line again
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

/* It has still to say what lies there: nobody is placed on it before. */
static gboolean
is_coming(BerthControl *control, const char *name)
{
    const BerthFleetHost *host = berth_fleet_get(control->fleet, name);
    return host != NULL && host->why == NULL &&
           (!host->connected || !host->listed || host->volumes == NULL);
}

/* Those who get their places together with @asker, itself included; objects that are gone are left out. */
static GPtrArray *
list_party(BerthControl *control, const BerthObject *asker)
{
    GPtrArray *party = g_ptr_array_new();
    char **with = berth_workload_status_of(asker)->preempting.with;
    if (with == NULL) {
        g_ptr_array_add(party, (gpointer)asker);
    }
    for (guint i = 0; with != NULL && with[i] != NULL; i++) {
        BerthObject *member = find_workload(control, with[i]);
        if (member != NULL) {
            g_ptr_array_add(party, member);
        }
    }
    return party;
}

/* Whether @member waits with the others, as it was when that was decided, or has its place already. */
static gboolean
keeps_to_it(BerthControl *control, const BerthObject *member)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(member);
    if (member->deleting != NULL || member->power != BERTH_POWER_ON) {
        return FALSE;
    }
    return status->preempting.host == NULL ? status->host != NULL
                                           : status->observed_generation == member->generation &&
                                                 !is_lost(control, status->preempting.host);
}

static gboolean
is_intact(BerthControl *control, const BerthObject *asker, const GPtrArray *party)
{
    char **with = berth_workload_status_of(asker)->preempting.with;
    for (guint i = 0; i < party->len; i++) {
        if (!keeps_to_it(control, party->pdata[i])) {
            return FALSE;
        }
    }
    return with == NULL || g_strv_length(with) == party->len;
}

static gboolean
has_all_out(BerthControl *control, const BerthPreempting *preempting)
{
    for (guint i = 0; preempting->victims != NULL && i < preempting->victims->len; i++) {
        const BerthVictim *victim = preempting->victims->pdata[i];
        if (!is_out(control, victim->uid, preempting->host)) {
            return FALSE;
        }
    }
    return preempting->host == NULL || !is_coming(control, preempting->host);
}

static gboolean
have_all_out(BerthControl *control, const GPtrArray *party)
{
    for (guint i = 0; i < party->len; i++) {
        if (!has_all_out(control, &berth_workload_status_of(party->pdata[i])->preempting)) {
            return FALSE;
        }
    }
    return TRUE;
}

/** Returns: whether @object has to wait for those that are stopped for it, or for one of its group. */
gboolean
berth_preemption_waits(BerthControl *control, const BerthObject *object)
{
    if (berth_workload_status_of(object)->preempting.host == NULL ||
        berth_ledger_is_reserved(control->ledger, object->uid)) {
        return FALSE;
    }
    g_autoptr(GPtrArray) party = list_party(control, object);
    return is_intact(control, object, party) && !have_all_out(control, party);
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
 * Gives free what was kept for @object, whose turn it is, and for those of its group that wait with it.
 *
 * Returns: whether room was made for all of them: each on the host of its record
 */
gboolean
berth_preemption_take_over(BerthControl *control, const BerthObject *object)
{
    if (berth_workload_status_of(object)->preempting.host == NULL) {
        return FALSE;
    }
    g_autoptr(GPtrArray) party = list_party(control, object);
    gboolean made = is_intact(control, object, party) && have_all_out(control, party);
    for (guint i = 0; i < party->len; i++) {
        end_holds(control, ((const BerthObject *)party->pdata[i])->uid);
    }
    return made;
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
write_victims(BerthControl *control, const BerthFleetLedger *ledger, const GPtrArray *uids,
              const GPtrArray *planned)
{
    json_t *list = json_array();
    for (guint i = 0; i < uids->len; i++) {
        const BerthObject *victim = find_planned(control, planned, uids->pdata[i]);
        if (victim == NULL) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o*}", "kind", victim->kind->name,
                            "project", victim->project, "name", victim->name, "uid", victim->uid,
                            "vcpus", (json_int_t)berth_workload_of(victim)->vcpus, "memory_mib",
                            (json_int_t)berth_ledger_memory_mib(ledger, victim), "holding",
                            berth_ledger_holding(ledger, victim->uid)));
    }
    return list;
}

static json_t *
write_party(const BerthParty *party)
{
    json_t *list = party->members->len > 1 ? json_array() : NULL;
    for (guint i = 0; list != NULL && i < party->members->len; i++) {
        const BerthObject *member = party->members->pdata[i];
        json_array_append_new(list, json_string(member->uid));
    }
    return list;
}

/**
 * berth_preemption_find:
 * @party: refused just now
 * @planned: (nullable): objects that a plan would write, in place of the stored ones
 *
 * Returns: (transfer full) (nullable): list of what would be the status.preempting of each; NULL when nobody's
 * stop would help
 */
json_t *
berth_preemption_find(BerthControl *control, BerthFleetLedger *ledger, const BerthParty *party,
                      const GPtrArray *planned)
{
    g_autoptr(GPtrArray) rooms = berth_ledger_preempt(ledger, party);
    g_autoptr(json_t) with = write_party(party);
    json_t *list = rooms == NULL ? NULL : json_array();
    for (guint i = 0; list != NULL && i < rooms->len; i++) {
        const BerthRoom *room = rooms->pdata[i];
        json_t *victims = write_victims(control, ledger, room->victims, planned);
        if (victims == NULL) {
            g_clear_pointer(&list, json_decref);
            break;
        }
        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:O*, s:O}", "host", room->host, "victims",
                                        victims, "with", with, "rest", room->rest));
    }
    return list;
}

/** Returns: (transfer full): who is stopped where, as a sentence. */
char *
berth_preemption_text(const json_t *preempting)
{
    GString *text = g_string_new(NULL);
    const json_t *victims = json_object_get(preempting, "victims");
    size_t i;
    json_t *victim;
    if (json_array_size(victims) == 0) {
        g_string_printf(text, "its place on %s is kept while room is made for others of its group",
                        berth_json_string(preempting, "host"));
        return g_string_free(text, FALSE);
    }
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

/* Keeps the room of the victims of @asker, and what it needs beside that. */
static void
hold_room(BerthControl *control, const BerthObject *asker, const BerthPreempting *preempting)
{
    for (guint i = 0; preempting->victims != NULL && i < preempting->victims->len; i++) {
        const BerthVictim *victim = preempting->victims->pdata[i];
        berth_ledger_hold(control->ledger, asker->uid, preempting->host, victim->uid,
                          victim->holding);
    }
    berth_ledger_hold_rest(control->ledger, asker, preempting->host, preempting->rest);
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

/* For @members, instead of what was kept for them: what they were to have before is of no use to them now. */
static void
keep_room(BerthControl *control, const GPtrArray *members, const json_t *preempting)
{
    for (guint i = 0; i < members->len; i++) {
        end_holds(control, ((const BerthObject *)members->pdata[i])->uid);
    }
    for (guint i = 0; i < members->len; i++) {
        BerthPreempting *record =
            berth_schema_read(&berth_preempting_schema, json_array_get(preempting, i), NULL);
        hold_room(control, members->pdata[i], record);
        berth_schema_free(&berth_preempting_schema, record);
    }
}

typedef struct {
    BerthWorkloadController *controller;
    GPtrArray *uids; /* owned; the first one's turn it was */
} Begun;

static void
on_begun(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
         gpointer data)
{
    g_autofree Begun *begun = data;
    g_autoptr(GPtrArray) uids = begun->uids;
    for (guint i = 0; i < uids->len; i++) {
        BerthWorkloadRun *run = g_hash_table_lookup(begun->controller->runs, uids->pdata[i]);
        if (error != NULL) {
            end_holds(begun->controller->control, uids->pdata[i]);
        }
        if (run != NULL) {
            /* Whose turn it was tries again after a back-off, for all. */
            berth_workload_run_done(run, i == 0 ? error : NULL);
        }
    }
}

static void
begin_one(BerthControl *control, BerthTransaction *transaction, BerthObject *object,
          const json_t *preempting)
{
    json_t *status = berth_status_copy(object);
    g_autofree char *text = berth_preemption_text(preempting);
    tell(control, object, preempting);
    berth_ledger_leave(control->ledger, object->uid);
    berth_status_set_text(status, "phase", berth_phase_name(BERTH_PHASE_PENDING));
    berth_status_set_reason(status, object->name, "preempting", text, NULL);
    json_object_set(status, "preempting", (json_t *)preempting);
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    berth_catalog_add_status(transaction, object, status);
    json_decref(status);
}

/**
 * berth_preemption_begin:
 * @run: of the member whose turn it is; nothing is under way for the others
 * @preempting: from berth_preemption_find()
 *
 * Keeps the room and records what is going to happen, of all in one transaction; the stops follow from the records.
 */
void
berth_preemption_begin(BerthWorkloadRun *run, const BerthParty *party, const json_t *preempting)
{
    BerthWorkloadController *controller = run->controller;
    BerthTransaction *transaction = berth_transaction_new();
    Begun *begun = g_new(Begun, 1);
    *begun = (Begun){controller, g_ptr_array_new_with_free_func(g_free)};
    g_ptr_array_add(begun->uids, g_strdup(run->uid));
    keep_room(controller->control, party->members, preempting);
    for (guint i = 0; i < party->members->len; i++) {
        BerthObject *member = party->members->pdata[i];
        begin_one(controller->control, transaction, member, json_array_get(preempting, i));
        if (!g_str_equal(member->uid, run->uid)) {
            berth_workload_run_get(controller, member->uid)->busy = TRUE;
            g_ptr_array_add(begun->uids, g_strdup(member->uid));
        }
    }
    berth_catalog_submit(controller->control->catalog, transaction, on_begun, begun);
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
    for (guint i = 0; preempting->with != NULL && preempting->with[i] != NULL; i++) {
        berth_workload_controller_look(controller, preempting->with[i]);
    }
}

static void
displace(BerthWorkloadController *controller, const BerthObject *asker)
{
    const BerthPreempting *preempting = &berth_workload_status_of(asker)->preempting;
    for (guint i = 0; preempting->victims != NULL && i < preempting->victims->len; i++) {
        const BerthVictim *victim = preempting->victims->pdata[i];
        g_hash_table_replace(controller->displaced, g_strdup(victim->uid), g_strdup(asker->uid));
        berth_workload_controller_look(controller, victim->uid);
    }
}

/** A daemon that begins finds the record of @object: what it says goes on. */
void
berth_preemption_resume(BerthWorkloadController *controller, const BerthObject *object)
{
    const BerthPreempting *preempting = &berth_workload_status_of(object)->preempting;
    if (preempting->host == NULL) {
        return;
    }
    hold_room(controller->control, object, preempting);
    displace(controller, object);
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
