/* The questions: plan (what-if-plan.c), rebalance (what-if-rebalance.c), capacity, fleet. Each makes the fleet that it asks about
 * first: hosts thought away, hosts like others added. Main loop only. */
#include "daemon/what-if.h"

#include "base/error.h"
#include "base/json.h"

/* ---- the fleet that is asked about --------------------------------------------------------------- */

/* @place: pointer into the question */
void
berth_what_if_unknown_host(const char *name, const char *place, GError **error)
{
    g_autofree char *quoted = berth_quote(name);
    berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, place, "berth host list",
                       "%s is no host that was ever connected", quoted);
}

/* Calls @change for each of @names, which are the question's member @member. */
static gboolean
each_host(BerthWhatIf *what_if, char **names, const char *member,
          gboolean (*change)(BerthWhatIf *what_if, const char *name, guint number), GError **error)
{
    for (guint i = 0; names != NULL && names[i] != NULL; i++) {
        if (!change(what_if, names[i], i + 1)) {
            g_autofree char *place = g_strdup_printf("/%s/%u", member, i);
            berth_what_if_unknown_host(names[i], place, error);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
lose(BerthWhatIf *what_if, const char *name, guint number)
{
    if (!berth_ledger_lose_host(what_if->ledger, name)) {
        return FALSE;
    }
    guint count = g_strv_length(what_if->lost);
    what_if->lost = g_renew(char *, what_if->lost, count + 2);
    what_if->lost[count] = g_strdup(name);
    what_if->lost[count + 1] = NULL;
    return TRUE;
}

static gboolean
add(BerthWhatIf *what_if, const char *name, guint number)
{
    g_autofree char *made = g_strdup_printf("%s+%u", name, number);
    what_if->added = TRUE;
    return berth_ledger_add_like(what_if->ledger, name, made);
}

/**
 * berth_what_if_init:
 * @without, @add_like: (nullable): names of hosts
 *
 * Errors: NOT_FOUND with the pointer of the host that nobody knows.
 */
gboolean
berth_what_if_init(BerthWhatIf *what_if, BerthControl *control, char **without, char **add_like,
                   GError **error)
{
    *what_if = (BerthWhatIf){control, berth_ledger_copy(control->ledger), g_new0(char *, 1), FALSE};
    return each_host(what_if, add_like, "add_hosts_like", add, error) &&
           each_host(what_if, without, "without_hosts", lose, error);
}

void
berth_what_if_clear(BerthWhatIf *what_if)
{
    g_clear_pointer(&what_if->ledger, berth_ledger_free);
    g_clear_pointer(&what_if->lost, g_strfreev);
}

/* ---- capacity ------------------------------------------------------------------------------------ */

/* A workload that is there, or a document of one that need not have a name. */
static BerthObject *
read_like(BerthControl *control, const json_t *like, GError **error)
{
    const json_t *metadata = json_object_get(like, "metadata");
    const char *name = berth_json_string(metadata, "name");
    const char *project = berth_json_string(metadata, "project");
    const char *kind_name = berth_json_string(like, "kind");
    project = project != NULL ? project : "default";
    if (json_object_get(like, "spec") == NULL) {
        BerthObject *there =
            name != NULL ? berth_catalog_get_workload(control->catalog, project, name) : NULL;
        if (there == NULL) {
            berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, "/like", "berth list --all",
                               "no workload '%s' in project '%s'", name != NULL ? name : "",
                               project);
        }
        return there != NULL ? berth_object_ref(there) : NULL;
    }
    const BerthKind *kind = kind_name != NULL ? berth_kind_find(kind_name) : NULL;
    if (kind == NULL || !kind->workload) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/like/kind", NULL, "must be Pod or VM");
        return NULL;
    }
    BerthObject *object =
        berth_object_read(kind, project, name != NULL ? NULL : "like", like, NULL, error);
    if (object == NULL) {
        berth_error_point(*error, "/like");
    }
    return object;
}

static json_t *
tell_capacity(BerthControl *control, const BerthCapacityQuestion *question, GError **error)
{
    g_auto(BerthWhatIf) what_if = {0};
    g_autoptr(BerthObject) like = read_like(control, question->like, error);
    if (like == NULL || !berth_what_if_init(&what_if, control, question->without_hosts,
                                            question->add_hosts_like, error)) {
        return NULL;
    }
    g_auto(BerthNeeds) needs = {0};
    berth_workload_needs_init(&needs, control, like);
    return berth_ledger_capacity(what_if.ledger, like, &needs, (guint)question->limit);
}

/* ---- answering ----------------------------------------------------------------------------------- */

static void
answer_json(json_t *json, const GError *error, BerthAnswer answer, gpointer user_data)
{
    g_autofree char *text = json != NULL ? berth_json_format(json) : NULL;
    json_decref(json);
    answer(text, error, user_data);
}

static void
answer_plan(gpointer control, const json_t *json, BerthAnswer answer, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    g_auto(BerthWhatIf) what_if = {0};
    BerthPlanQuestion *question = berth_schema_read(&berth_plan_question_schema, json, &error);
    json_t *plan =
        question != NULL && berth_what_if_init(&what_if, control, question->without_hosts,
                                               question->add_hosts_like, &error)
            ? berth_what_if_plan(&what_if, question, &error)
            : NULL;
    berth_schema_free(&berth_plan_question_schema, question);
    answer_json(plan, error, answer, user_data);
}

static void
answer_capacity(gpointer control, const json_t *json, BerthAnswer answer, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    BerthCapacityQuestion *question =
        berth_schema_read(&berth_capacity_question_schema, json, &error);
    json_t *capacity = question != NULL ? tell_capacity(control, question, &error) : NULL;
    berth_schema_free(&berth_capacity_question_schema, question);
    answer_json(capacity, error, answer, user_data);
}

static void
answer_rebalance(gpointer control, const json_t *json, BerthAnswer answer, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    g_auto(BerthWhatIf) what_if = {0};
    BerthRebalanceQuestion *question =
        berth_schema_read(&berth_rebalance_question_schema, json, &error);
    json_t *plan = question != NULL && berth_what_if_init(&what_if, control, NULL,
                                                          question->add_hosts_like, &error)
                       ? berth_what_if_rebalance(&what_if, question, &error)
                       : NULL;
    berth_schema_free(&berth_rebalance_question_schema, question);
    answer_json(plan, error, answer, user_data);
}

static void
answer_fleet(gpointer control, BerthAnswer answer, gpointer user_data)
{
    answer_json(berth_ledger_export(((BerthControl *)control)->ledger), NULL, answer, user_data);
}

static void
answer_overview(gpointer control, BerthAnswer answer, gpointer user_data)
{
    answer_json(berth_what_if_overview(control), NULL, answer, user_data);
}

void
berth_what_if_fill_ops(BerthControl *control, BerthWorkloadOps *ops)
{
    ops->what_if_data = control;
    ops->plan = answer_plan;
    ops->capacity = answer_capacity;
    ops->rebalance = answer_rebalance;
    ops->overview = answer_overview;
    ops->fleet = answer_fleet;
}
