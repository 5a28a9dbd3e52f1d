/* A workload's object as a request to the scheduler. Start at ledger_ask_fill(). */
#include "daemon/ledger-private.h"

#include <string.h>

/** Returns: (transfer full): of BerthLabel; texts are borrowed from @labels. */
GArray *
ledger_read_labels(const json_t *labels)
{
    GArray *array = g_array_new(FALSE, FALSE, sizeof(BerthLabel));
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)labels, key, value) {
        BerthLabel label = {key, json_string_value(value)};
        g_array_append_val(array, label);
    }
    return array;
}

/** Returns: (transfer full): of BerthAmount, without those that are 0; names are borrowed from @counts. */
GArray *
ledger_read_counts(const json_t *counts)
{
    GArray *array = g_array_new(FALSE, FALSE, sizeof(BerthAmount));
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)counts, name, value) {
        BerthAmount amount = {name, json_integer_value(value)};
        if (amount.amount > 0) {
            g_array_append_val(array, amount);
        }
    }
    return array;
}

void
ledger_ask_clear(LedgerAsk *ask)
{
    g_clear_pointer(&ask->labels, g_array_unref);
    g_clear_pointer(&ask->tolerations, g_array_unref);
    g_clear_pointer(&ask->selectors, g_array_unref);
    g_clear_pointer(&ask->relations, g_array_unref);
    g_clear_pointer(&ask->devices, g_array_unref);
    g_clear_pointer(&ask->counts, g_array_unref);
    g_clear_pointer(&ask->owned, g_ptr_array_unref);
}

/* How a relation names one workload: its own label under a key that users cannot write. */
#define NAME_LABEL "berth:name"

/* "project/name": the scheduler's names of workloads and groups, which are the project's own. */
static const char *
own_name(LedgerAsk *ask, const BerthObject *object, const char *name)
{
    char *whole = g_strdup_printf("%s/%s", object->project, name);
    g_ptr_array_add(ask->owned, whole);
    return whole;
}

/* @to: "NAME" or "group=NAME" */
static void
add_relation(LedgerAsk *ask, const BerthObject *object, BerthRelation relation, const char *to)
{
    if (g_str_has_prefix(to, "group=")) {
        relation.group = own_name(ask, object, to + strlen("group="));
    } else {
        relation.label = (BerthLabel){NAME_LABEL, own_name(ask, object, to)};
    }
    g_array_append_val(ask->relations, relation);
}

static BerthScope
read_scope(const char *name)
{
    return g_str_equal(name, "rack")   ? BERTH_SCOPE_RACK
           : g_str_equal(name, "zone") ? BERTH_SCOPE_ZONE
                                       : BERTH_SCOPE_HOST;
}

static void
add_relations(LedgerAsk *ask, const BerthObject *object, const BerthPlacementSpec *placement)
{
    const BerthRelation together = {.kind = BERTH_RELATION_TOGETHER, .scope = BERTH_SCOPE_HOST};
    const BerthRelation apart = {.kind = BERTH_RELATION_APART, .scope = BERTH_SCOPE_HOST};
    for (char **name = placement->affinity; name != NULL && *name != NULL; name++) {
        add_relation(ask, object, together, *name);
    }
    for (char **name = placement->anti_affinity; name != NULL && *name != NULL; name++) {
        add_relation(ask, object, apart, *name);
    }
    for (guint i = 0; placement->relations != NULL && i < placement->relations->len; i++) {
        const BerthRelationSpec *given = placement->relations->pdata[i];
        BerthRelation relation = g_str_equal(given->kind, "apart") ? apart : together;
        relation.scope = read_scope(given->within);
        relation.weight = (guint)given->weight;
        add_relation(ask, object, relation, given->to);
    }
}

static void
add_host_labels(LedgerAsk *ask, const json_t *host_labels)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)host_labels, key, value) {
        const char **values = g_new0(const char *, 1);
        values[0] = json_string_value(value);
        g_ptr_array_add(ask->owned, values);
        BerthExpression expression = {
            .key = key, .operator= BERTH_OPERATOR_IN, .values = values, .n_values = 1};
        g_array_append_val(ask->selectors, expression);
    }
}

static void
add_host_rules(LedgerAsk *ask, const GPtrArray *rules)
{
    /* in the order of BerthOperator */
    static const char *const operators[] = {"In", "NotIn", "Exists", "Absent", "Greater", "Less"};
    for (guint i = 0; rules != NULL && i < rules->len; i++) {
        const BerthHostRuleSpec *given = rules->pdata[i];
        BerthExpression expression = {.key = given->key,
                                      .values = (const char *const *)given->values,
                                      .weight = (guint)given->weight};
        expression.n_values = given->values == NULL ? 0 : g_strv_length(given->values);
        for (gsize k = 0; k < G_N_ELEMENTS(operators); k++) {
            if (g_str_equal(operators[k], given->operator)) {
                expression.operator=(BerthOperator) k;
            }
        }
        g_array_append_val(ask->selectors, expression);
    }
}

static void
add_spread(LedgerAsk *ask, const BerthPlacementSpec *placement)
{
    if (placement->spread == NULL || ask->request.group == NULL) {
        return;
    }
    ask->spread = (BerthSpread){.scope = read_scope(placement->spread),
                                .group = ask->request.group,
                                .max_skew = (guint)placement->max_skew,
                                .weight = (guint)placement->spread_weight};
    ask->request.spreads = &ask->spread;
    ask->request.n_spreads = 1;
}

static void
add_tolerations(LedgerAsk *ask, const BerthPlacementSpec *placement)
{
    for (guint i = 0; placement->tolerations != NULL && i < placement->tolerations->len; i++) {
        const BerthTolerationSpec *given = placement->tolerations->pdata[i];
        BerthToleration toleration = {given->key, given->value};
        g_array_append_val(ask->tolerations, toleration);
    }
}

static void
add_devices(LedgerAsk *ask, const GPtrArray *devices)
{
    for (guint i = 0; devices != NULL && i < devices->len; i++) {
        const BerthDeviceSpec *given = devices->pdata[i];
        BerthDeviceNeed need = {.kind = given->class, .count = (guint)given->count, .millis = 1000};
        g_array_append_val(ask->devices, need);
    }
}

static gint64
overhead_mib(const BerthFleetLedger *ledger, const BerthObject *object)
{
    return object->kind == &berth_kind_vm ? ledger->vm_overhead_mib : ledger->pod_overhead_mib;
}

/**
 * ledger_ask_fill:
 *
 * @object and @needs must outlive @ask.
 */
void
ledger_ask_fill(LedgerAsk *ask, const BerthFleetLedger *ledger, const BerthObject *object,
                const BerthNeeds *needs)
{
    const BerthWorkload *workload = berth_workload_of(object);
    const BerthPlacementSpec *placement = &workload->placement;
    ask->labels = ledger_read_labels(object->labels);
    ask->tolerations = g_array_new(FALSE, FALSE, sizeof(BerthToleration));
    ask->selectors = g_array_new(FALSE, FALSE, sizeof(BerthExpression));
    ask->relations = g_array_new(FALSE, FALSE, sizeof(BerthRelation));
    ask->devices = g_array_new(FALSE, FALSE, sizeof(BerthDeviceNeed));
    ask->counts = ledger_read_counts(workload->resources);
    ask->owned = g_ptr_array_new_with_free_func(g_free);
    BerthLabel name_label = {NAME_LABEL, own_name(ask, object, object->name)};
    g_array_append_val(ask->labels, name_label);
    add_relations(ask, object, placement);
    add_host_labels(ask, placement->host_labels);
    add_host_rules(ask, placement->host_rules);
    add_tolerations(ask, placement);
    add_devices(ask, workload->devices);
    ask->disk = (BerthAmount){"berth", needs->disk_mib};
    BerthRequest *request = &ask->request;
    request->uid = object->uid;
    request->project = object->project;
    request->group = placement->group == NULL ? NULL : own_name(ask, object, placement->group);
    add_spread(ask, placement);
    request->cpu_millis = workload->vcpus * 1000;
    request->memory_mib = workload->memory_mib;
    request->overhead_mib = overhead_mib(ledger, object);
    request->disks = &ask->disk;
    request->n_disks = needs->disk_mib > 0;
    request->networks =
        needs->networks == NULL ? NULL : (const char *const *)needs->networks->pdata;
    request->n_networks = needs->networks == NULL ? 0 : needs->networks->len;
    request->machine = berth_profile_names[workload->profile];
    request->cpu_model = workload->cpu_model;
    request->cpu_features = (const char *const *)workload->cpu_features;
    request->n_cpu_features =
        workload->cpu_features == NULL ? 0 : g_strv_length(workload->cpu_features);
    request->numa = (BerthNumaPolicy)workload->numa;
    request->hugepage_kib = (guint)workload->huge_pages_kib;
    request->dedicated = workload->dedicated_cpus;
    request->devices = (const BerthDeviceNeed *)(gpointer)ask->devices->data;
    request->n_devices = ask->devices->len;
    request->counts = (const BerthAmount *)(gpointer)ask->counts->data;
    request->n_counts = ask->counts->len;
    request->host = placement->host;
    request->fixed = placement->host != NULL;
    request->labels = (const BerthLabel *)ask->labels->data;
    request->n_labels = ask->labels->len;
    request->selectors = (const BerthExpression *)ask->selectors->data;
    request->n_selectors = ask->selectors->len;
    request->relations = (const BerthRelation *)ask->relations->data;
    request->n_relations = ask->relations->len;
    request->tolerations = (const BerthToleration *)ask->tolerations->data;
    request->n_tolerations = ask->tolerations->len;
    request->priority = (gint)workload->priority;
    request->preemptible = workload->preemptible && !ledger_is_held(ledger, object->uid);
    request->image = needs->image;
}

/** Returns: MiB that @workload is charged with: guest memory and overhead. */
gint64
berth_ledger_memory_mib(const BerthFleetLedger *ledger, const BerthObject *workload)
{
    return berth_workload_of(workload)->memory_mib + overhead_mib(ledger, workload);
}
