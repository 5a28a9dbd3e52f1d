/* What an apply of documents would do: each is read as a write would read it, and workloads are placed
 * one after the other on a copy of the ledger, by the function that places them in earnest.
 *
 * Hosts that are thought away or added come first; who lost a host or waits for room is placed again
 * before the documents, in the order of the line. Start at berth_what_if_plan(). */
#include "daemon/what-if.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

#define DOCUMENTS_MAX 1000

typedef struct {
    BerthWhatIf *what_if;
    GHashTable
        *objects; /* "Kind/project/name" -> BerthObject*, owned: as the documents make them */
    GHashTable *refused; /* set of uid: lost their host and found no other */
    GPtrArray *written;  /* of BerthObject*, borrowed from objects: workloads, in order */
    GHashTable *waiting; /* uid -> step, borrowed: members of groups that are not complete */
    GHashTable *made; /* uid -> json_t*, owned: status.preempting of members that are placed now */
    json_t *steps;
    gboolean fits;
} Plan;

/* ---- steps --------------------------------------------------------------------------------------- */

static json_t *
add_step(Plan *plan, const BerthObject *object, const char *outcome)
{
    json_t *step = json_pack("{s:s, s:s*, s:s, s:s}", "kind", object->kind->name, "project",
                             *object->project != '\0' ? object->project : NULL, "name",
                             object->name, "outcome", outcome);
    json_array_append_new(plan->steps, step);
    return step;
}

/* Only pods and VMs without disks can start elsewhere; the others need the host that has their disks. */
static const char *
tied_to(const BerthObject *object)
{
    const BerthVmSpec *vm = object->kind == &berth_kind_vm ? object->spec_data : NULL;
    gboolean has_disks = vm != NULL && vm->disks != NULL && vm->disks->len > 0;
    return has_disks ? berth_workload_status_of(object)->host : NULL;
}

static void place(Plan *plan, BerthObject *object, const char *present, json_t *step);

static BerthObject *
find_uid(const Plan *plan, const char *uid)
{
    for (guint i = 0; i < plan->written->len; i++) {
        BerthObject *object = plan->written->pdata[i];
        if (strcmp(object->uid, uid) == 0) {
            return object;
        }
    }
    return berth_catalog_get_uid(plan->what_if->control->catalog, uid);
}

/* Who was stopped for another one waits again, and may find room elsewhere; whether it does is not what was asked. */
static void
place_victim(Plan *plan, const json_t *victim, const char *from)
{
    BerthObject *object = find_uid(plan, berth_json_string(victim, "uid"));
    gboolean fitted = plan->fits;
    json_t *step = add_step(plan, object, "displaced");
    json_object_set_new(step, "from", json_string(from));
    place(plan, object, tied_to(object), step);
    plan->fits = fitted;
}

static void
stop_victims(Plan *plan, const json_t *preempting)
{
    size_t i;
    json_t *victim;
    json_array_foreach (json_object_get(preempting, "victims"), i, victim) {
        berth_ledger_unplace(plan->what_if->ledger, berth_json_string(victim, "uid"));
    }
}

static void
place_victims(Plan *plan, const json_t *preempting)
{
    size_t i;
    json_t *victim;
    json_array_foreach (json_object_get(preempting, "victims"), i, victim) {
        place_victim(plan, victim, berth_json_string(preempting, "host"));
    }
}

/* Refused: others are stopped for @object if that helps, as the controller does. */
static gboolean
make_room(Plan *plan, BerthObject *object, const char *present, json_t *step)
{
    BerthFleetLedger *ledger = plan->what_if->ledger;
    g_auto(BerthParty) alone = {0};
    berth_party_init_one(&alone, plan->what_if->control, object, present);
    g_autoptr(json_t) list =
        berth_preemption_find(plan->what_if->control, ledger, &alone, plan->written);
    json_t *preempting = json_array_get(list, 0);
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    stop_victims(plan, preempting);
    if (preempting == NULL ||
        !berth_ledger_place(ledger, object, &alone.needs[0], berth_json_string(preempting, "host"),
                            &host, &why, NULL)) {
        return FALSE;
    }
    json_object_set_new(step, "fits", json_true());
    json_object_set_new(step, "host", json_string(host));
    json_object_set(step, "placement", why);
    json_object_set(step, "preempting", preempting);
    place_victims(plan, preempting);
    return TRUE;
}

/* Room for all of @party, others being stopped for it if need be: their steps follow at once. */
static gboolean
reserve_party(Plan *plan, BerthParty *party, json_t **why, GError **error)
{
    BerthFleetLedger *ledger = plan->what_if->ledger;
    if (berth_ledger_reserve(ledger, party, why, error)) {
        return TRUE;
    }
    g_autoptr(json_t) list =
        berth_preemption_find(plan->what_if->control, ledger, party, plan->written);
    g_autoptr(json_t) again = NULL;
    size_t i;
    json_t *preempting;
    json_array_foreach (list, i, preempting) {
        stop_victims(plan, preempting);
        party->hosts[i] = berth_json_string(preempting, "host");
    }
    if (list == NULL || !berth_ledger_reserve(ledger, party, &again, NULL)) {
        return FALSE;
    }
    g_clear_error(error);
    json_array_foreach (list, i, preempting) {
        const BerthObject *member = party->members->pdata[i];
        g_hash_table_replace(plan->made, g_strdup(member->uid), json_incref(preempting));
        place_victims(plan, preempting);
    }
    return TRUE;
}

/* Places @object on the copy; @present: (nullable): where its disks are. */
static void
place(Plan *plan, BerthObject *object, const char *present, json_t *step)
{
    BerthControl *control = plan->what_if->control;
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(BerthNeeds) needs = {0};
    berth_workload_needs_init(&needs, control, object);
    gboolean fits =
        berth_ledger_place(plan->what_if->ledger, object, &needs, present, &host, &why, &error);
    if (!fits && make_room(plan, object, present, step)) {
        return;
    }
    plan->fits = plan->fits && fits;
    json_object_set_new(step, "fits", json_boolean(fits));
    json_object_set(step, "placement", why);
    json_object_set(step, "preempting", g_hash_table_lookup(plan->made, object->uid));
    if (fits) {
        json_object_set_new(step, "host", json_string(host));
    }
}

/* ---- who is placed again ------------------------------------------------------------------------- */

static gboolean
is_displaced(const Plan *plan, const BerthObject *object)
{
    const char *host = berth_workload_status_of(object)->host;
    return host != NULL && object->deleting == NULL &&
           g_strv_contains((const char *const *)plan->what_if->lost, host);
}

static gboolean
is_waiting(const BerthObject *object)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    return status->host == NULL && object->power == BERTH_POWER_ON && object->deleting == NULL &&
           g_strcmp0(status->reason.code, "no-capacity") == 0;
}

static void
line_up_homeless(const Plan *plan)
{
    static const BerthKind *const kinds[] = {&berth_kind_pod, &berth_kind_vm};
    BerthFleetLedger *ledger = plan->what_if->ledger;
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, plan->what_if->control->catalog, kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            if ((is_displaced(plan, object) || is_waiting(object)) &&
                berth_ledger_host_of(ledger, object->uid) == NULL &&
                !g_hash_table_contains(plan->refused, object->uid)) {
                berth_ledger_join(ledger, object);
            }
        }
    }
}

/* Who waits with its group waits on unless all of them have room now. */
static gboolean
has_room_with_group(Plan *plan, BerthObject *object)
{
    g_auto(BerthParty) party = {0};
    g_autoptr(json_t) why = NULL;
    g_autoptr(GError) refusal = NULL;
    return !berth_workload_has_group(object) ||
           berth_ledger_is_reserved(plan->what_if->ledger, object->uid) ||
           (berth_party_init_group(&party, plan->what_if->control, plan->what_if->ledger, object,
                                   plan->written, &refusal) &&
            reserve_party(plan, &party, &why, &refusal));
}

/* A fleet that changed: those without a host try again. Who waits on stays out of the steps. */
static void
place_homeless(Plan *plan)
{
    BerthFleetLedger *ledger = plan->what_if->ledger;
    line_up_homeless(plan);
    for (const char *uid; (uid = berth_ledger_next(ledger)) != NULL;) {
        BerthObject *object = berth_catalog_get_uid(plan->what_if->control->catalog, uid);
        berth_ledger_leave(ledger, object->uid);
        gboolean displaced = is_displaced(plan, object), fitted = plan->fits;
        if (!displaced && !has_room_with_group(plan, object)) {
            continue;
        }
        json_t *step = add_step(plan, object, displaced ? "moved" : "placed");
        place(plan, object, tied_to(object), step);
        if (displaced) {
            json_object_set_new(step, "from", json_string(berth_workload_status_of(object)->host));
        }
        if (json_is_true(json_object_get(step, "fits"))) {
            continue;
        }
        if (displaced) {
            g_hash_table_add(plan->refused, g_strdup(object->uid));
        } else {
            plan->fits = fitted;
            json_array_remove(plan->steps, json_array_size(plan->steps) - 1);
        }
    }
}

/* ---- what documents change ----------------------------------------------------------------------- */

/* Appends {path, before, after} for each member that differs; a path is a JSON pointer. */
static void
add_changes(json_t *changes, const char *path, json_t *before, json_t *after)
{
    if (json_equal(before, after)) {
        return;
    }
    if (!json_is_object(before) || !json_is_object(after)) {
        json_array_append_new(changes, json_pack("{s:s, s:O?, s:O?}", "path", path, "before",
                                                 before, "after", after));
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach (after, key, value) {
        g_autofree char *place = g_strdup_printf("%s/%s", path, key);
        add_changes(changes, place, json_object_get(before, key), value);
    }
    json_object_foreach (before, key, value) {
        if (json_object_get(after, key) == NULL) {
            g_autofree char *place = g_strdup_printf("%s/%s", path, key);
            add_changes(changes, place, value, NULL);
        }
    }
}

static json_t *
describe(Plan *plan, const BerthObject *before, const BerthObject *after)
{
    if (before == NULL) {
        return add_step(plan, after, "created");
    }
    json_t *changes = json_array();
    add_changes(changes, "/metadata/labels", before->labels, after->labels);
    add_changes(changes, "/metadata/annotations", before->annotations, after->annotations);
    add_changes(changes, "/spec", before->spec, after->spec);
    json_t *step = add_step(plan, after, json_array_size(changes) > 0 ? "changed" : "unchanged");
    json_object_set_new(step, "changes", changes);
    return step;
}

/* ---- what a change does to the copy -------------------------------------------------------------- */

static gboolean
put_host(Plan *plan, const BerthObject *object, GError **error)
{
    BerthControl *control = plan->what_if->control;
    gboolean lost = g_strv_contains((const char *const *)plan->what_if->lost, object->name);
    g_autoptr(GPtrArray) files = berth_stage_list(berth_fleet_get(control->fleet, object->name));
    return lost || ((const BerthHostStatus *)object->status_data)->inventory == NULL ||
           berth_ledger_put_host(plan->what_if->ledger, object,
                                 berth_host_controller_is_ready(control, object), files, error);
}

static gboolean
put_settings(Plan *plan, const BerthObject *object, GError **error)
{
    BerthCatalogIter iter;
    berth_ledger_set_settings(plan->what_if->ledger, object->spec_data);
    berth_catalog_iter_init(&iter, plan->what_if->control->catalog, &berth_kind_host, NULL);
    for (BerthObject *host; (host = berth_catalog_iter_next(&iter)) != NULL;) {
        if (!put_host(plan, host, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Members that waited for this one take their places too. */
static void
place_members(Plan *plan, const GPtrArray *members, const BerthObject *last)
{
    for (guint i = 0; i < members->len; i++) {
        BerthObject *member = members->pdata[i];
        json_t *step = g_hash_table_lookup(plan->waiting, member->uid);
        if (step != NULL) {
            json_object_del(step, "waits");
            g_hash_table_remove(plan->waiting, member->uid);
        } else if (member != last) {
            step = add_step(plan, member, "placed");
        }
        if (step != NULL) {
            place(plan, member, NULL, step);
        }
    }
}

/* Returns FALSE when @object has no place because of its group. */
static gboolean
reserve_group(Plan *plan, BerthObject *object, json_t *step)
{
    g_auto(BerthParty) party = {0};
    g_autoptr(json_t) why = NULL;
    g_autoptr(GError) error = NULL;
    if (berth_party_init_group(&party, plan->what_if->control, plan->what_if->ledger, object,
                               plan->written, &error) &&
        reserve_party(plan, &party, &why, &error)) {
        place_members(plan, party.members, object);
        return TRUE;
    }
    json_object_set_new(step, "fits", json_false());
    json_object_set_new(step, "waits", json_string(error->message));
    if (why != NULL) {
        json_object_set(step, "placement", why);
    }
    g_hash_table_insert(plan->waiting, g_strdup(object->uid), step);
    return FALSE;
}

static BerthObject *
find(const Plan *plan, const BerthKind *kind, const char *project, const char *name)
{
    g_autofree char *key = g_strdup_printf("%s/%s/%s", kind->name, project, name);
    BerthObject *planned = g_hash_table_lookup(plan->objects, key);
    return planned != NULL
               ? planned
               : berth_catalog_get(plan->what_if->control->catalog, kind, project, name);
}

/* Who asks for a network that isn't there waits for it, whatever room there is. */
static gboolean
has_networks(Plan *plan, const BerthObject *object, json_t *step)
{
    const GPtrArray *cards = berth_workload_of(object)->networks;
    for (guint i = 0; cards != NULL && i < cards->len; i++) {
        const BerthNic *card = cards->pdata[i];
        const BerthObject *network = find(plan, &berth_kind_network, "", card->network);
        if (network == NULL || network->deleting != NULL) {
            plan->fits = FALSE;
            json_object_set_new(step, "fits", json_false());
            json_object_set_new(step, "waits", json_sprintf("no network '%s'", card->network));
            return FALSE;
        }
    }
    return TRUE;
}

/* As the controller does: who holds capacity stays, who shall run and holds none is placed. */
static void
play_workload(Plan *plan, BerthObject *object, json_t *step)
{
    const char *host = berth_ledger_host_of(plan->what_if->ledger, object->uid);
    if (host != NULL) {
        json_object_set_new(step, "host", json_string(host));
    } else if (object->power == BERTH_POWER_ON && has_networks(plan, object, step) &&
               (!berth_workload_has_group(object) || tied_to(object) != NULL ||
                reserve_group(plan, object, step))) {
        place(plan, object, tied_to(object), step);
    }
}

static gboolean
play(Plan *plan, BerthObject *object, json_t *step, GError **error)
{
    gboolean ok = TRUE;
    if (object->kind->workload) {
        play_workload(plan, object, step);
        return TRUE;
    }
    if (object->kind == &berth_kind_project) {
        berth_ledger_set_project(plan->what_if->ledger, object);
    } else if (object->kind == &berth_kind_settings) {
        ok = put_settings(plan, object, error);
    } else if (object->kind == &berth_kind_host) {
        ok = put_host(plan, object, error);
    } else {
        return TRUE;
    }
    place_homeless(plan);
    return ok;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static const BerthKind *
read_kind(const json_t *document, GError **error)
{
    const char *name = berth_json_string(document, "kind");
    const BerthKind *kind = name != NULL ? berth_kind_find(name) : NULL;
    if (kind == NULL || kind->hidden || kind->read_only) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/kind", "berth explain lists the kinds",
                           "'%s' is no kind that can be written", name != NULL ? name : "");
        return NULL;
    }
    return kind;
}

/* What a write would refuse besides its document: no project, a name that another workload has. */
static gboolean
check_place(const Plan *plan, const BerthKind *kind, const char *project, const char *name,
            const BerthObject *existing, GError **error)
{
    const BerthObject *owner =
        kind->scope == BERTH_SCOPE_PROJECT ? find(plan, &berth_kind_project, "", project) : NULL;
    if (kind->scope == BERTH_SCOPE_PROJECT && (owner == NULL || owner->deleting != NULL)) {
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, "/metadata/project",
                           "create the project first", "no project '%s'", project);
        return FALSE;
    }
    const BerthKind *other = kind == &berth_kind_pod ? &berth_kind_vm : &berth_kind_pod;
    if (kind->workload && find(plan, other, project, name) != NULL) {
        berth_error_set_at(error, BERTH_ERROR_EXISTS, "/metadata/name", "choose another name",
                           "the name '%s' is taken by a %s", name, other->name);
        return FALSE;
    }
    if (existing != NULL && existing->deleting != NULL) {
        berth_error_set_at(error, BERTH_ERROR_CONFLICT, "/metadata/name", "wait until it is gone",
                           "%s '%s' is being deleted", kind->name, name);
        return FALSE;
    }
    return TRUE;
}

static gboolean
plan_document(Plan *plan, const json_t *document, const char *default_project, GError **error)
{
    const BerthKind *kind = read_kind(document, error);
    const json_t *metadata = json_object_get(document, "metadata");
    const char *name = berth_json_string(metadata, "name");
    const char *project = berth_json_string(metadata, "project");
    if (kind == NULL) {
        return FALSE;
    }
    if (name == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/metadata/name", NULL, "is required");
        return FALSE;
    }
    if (kind->scope == BERTH_SCOPE_FLEET) {
        project = "";
    } else if (project == NULL) {
        project = default_project;
    }
    BerthObject *existing = find(plan, kind, project, name);
    g_autoptr(BerthObject) object = NULL;
    if (!check_place(plan, kind, project, name, existing, error) ||
        (object = berth_object_read(kind, project, NULL, document, existing, error)) == NULL) {
        return FALSE;
    }
    json_t *step = describe(plan, existing, object);
    char *key = g_strdup_printf("%s/%s/%s", kind->name, project, object->name);
    if (existing != NULL) {
        g_ptr_array_remove(plan->written, existing);
    }
    if (kind->workload) {
        g_ptr_array_add(plan->written, object);
    }
    g_hash_table_replace(plan->objects, key, berth_object_ref(object));
    return play(plan, object, step, error);
}

static gboolean
plan_documents(Plan *plan, const BerthPlanQuestion *question, GError **error)
{
    const json_t *documents = question->documents;
    size_t i;
    json_t *document;
    if ((documents != NULL && !json_is_array(documents)) ||
        json_array_size(documents) > DOCUMENTS_MAX) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/documents", NULL,
                           "must be a list of at most %d documents", DOCUMENTS_MAX);
        return FALSE;
    }
    json_array_foreach (documents, i, document) {
        if (!plan_document(plan, document, question->project, error)) {
            g_autofree char *place = g_strdup_printf("/documents/%zu", i);
            berth_error_point(*error, place);
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- the answer ---------------------------------------------------------------------------------- */

static json_t *
write_amounts(const BerthCapacity *amount)
{
    return json_pack("{s:I, s:I, s:I}", "vcpus", (json_int_t)amount->vcpus, "memory_mib",
                     (json_int_t)amount->memory_mib, "disk_mib", (json_int_t)amount->disk_mib);
}

/* Hosts whose load would be another one. */
static json_t *
write_hosts(const BerthWhatIf *what_if)
{
    json_t *list = json_array();
    g_auto(GStrv) names = berth_ledger_hosts(what_if->ledger);
    for (char **name = names; *name != NULL; name++) {
        BerthCapacity capacity, used, before, capacity_before;
        berth_ledger_usage(what_if->ledger, *name, &capacity, &used);
        gboolean known =
            berth_ledger_usage(what_if->control->ledger, *name, &capacity_before, &before);
        if (!known || memcmp(&used, &before, sizeof used) != 0 ||
            memcmp(&capacity, &capacity_before, sizeof capacity) != 0) {
            json_array_append_new(list, json_pack("{s:s, s:b, s:o, s:o}", "name", *name, "added",
                                                  !known, "capacity", write_amounts(&capacity),
                                                  "used", write_amounts(&used)));
        }
    }
    return list;
}

/**
 * berth_what_if_plan:
 *
 * Returns: (transfer full): {fits, revision, steps, hosts}. Errors: what the writes would say, with the
 * pointer into the question.
 */
json_t *
berth_what_if_plan(BerthWhatIf *what_if, const BerthPlanQuestion *question, GError **error)
{
    Plan plan = {
        what_if,
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)berth_object_unref),
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        g_ptr_array_new(),
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref),
        json_array(),
        TRUE};
    if (what_if->added || *what_if->lost != NULL) {
        place_homeless(&plan);
    }
    json_t *answer = NULL;
    if (plan_documents(&plan, question, error)) {
        plan.fits = plan.fits && g_hash_table_size(plan.waiting) == 0;
        gint64 revision = berth_catalog_revision(what_if->control->catalog);
        answer =
            json_pack("{s:b, s:I, s:O, s:o}", "fits", plan.fits, "revision", (json_int_t)revision,
                      "steps", plan.steps, "hosts", write_hosts(what_if));
    }
    json_decref(plan.steps);
    g_hash_table_destroy(plan.objects);
    g_hash_table_destroy(plan.refused);
    g_hash_table_destroy(plan.waiting);
    g_hash_table_destroy(plan.made);
    g_ptr_array_unref(plan.written);
    return answer;
}
