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

void
ledger_ask_clear(LedgerAsk *ask)
{
    g_array_unref(ask->labels);
    g_array_unref(ask->tolerations);
    g_array_unref(ask->selectors);
    g_array_unref(ask->relations);
    g_ptr_array_unref(ask->owned);
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

static void
add_relations(LedgerAsk *ask, const BerthObject *object, char **names, BerthRelationKind kind)
{
    for (guint i = 0; names != NULL && names[i] != NULL; i++) {
        BerthRelation relation = {.kind = kind, .scope = BERTH_SCOPE_HOST};
        if (g_str_has_prefix(names[i], "group=")) {
            relation.group = own_name(ask, object, names[i] + strlen("group="));
        } else {
            relation.label = (BerthLabel){NAME_LABEL, own_name(ask, object, names[i])};
        }
        g_array_append_val(ask->relations, relation);
    }
}

static void
add_selectors(LedgerAsk *ask, const json_t *host_labels)
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
add_spread(LedgerAsk *ask, const BerthPlacementSpec *placement)
{
    if (placement->spread == NULL || ask->request.group == NULL) {
        return;
    }
    BerthScope scope = g_str_equal(placement->spread, "rack")   ? BERTH_SCOPE_RACK
                       : g_str_equal(placement->spread, "zone") ? BERTH_SCOPE_ZONE
                                                                : BERTH_SCOPE_HOST;
    ask->spread = (BerthSpread){.scope = scope, .group = ask->request.group, .max_skew = 1};
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

static gint64
overhead_mib(const BerthFleetLedger *ledger, const BerthObject *object)
{
    return object->kind == &berth_kind_vm ? ledger->vm_overhead_mib : ledger->pod_overhead_mib;
}

/**
 * ledger_ask_fill:
 * @disk_mib: local disk it needs
 * @image: (nullable): digest of its image
 *
 * @object must outlive @ask.
 */
void
ledger_ask_fill(LedgerAsk *ask, const BerthFleetLedger *ledger, const BerthObject *object,
                gint64 disk_mib, const char *image)
{
    const BerthWorkload *workload = berth_workload_of(object);
    const BerthPlacementSpec *placement = &workload->placement;
    ask->labels = ledger_read_labels(object->labels);
    ask->tolerations = g_array_new(FALSE, FALSE, sizeof(BerthToleration));
    ask->selectors = g_array_new(FALSE, FALSE, sizeof(BerthExpression));
    ask->relations = g_array_new(FALSE, FALSE, sizeof(BerthRelation));
    ask->owned = g_ptr_array_new_with_free_func(g_free);
    BerthLabel name_label = {NAME_LABEL, own_name(ask, object, object->name)};
    g_array_append_val(ask->labels, name_label);
    add_relations(ask, object, placement->affinity, BERTH_RELATION_TOGETHER);
    add_relations(ask, object, placement->anti_affinity, BERTH_RELATION_APART);
    add_selectors(ask, placement->host_labels);
    add_tolerations(ask, placement);
    ask->disk = (BerthAmount){"berth", disk_mib};
    BerthRequest *request = &ask->request;
    request->uid = object->uid;
    request->project = object->project;
    request->group = placement->group == NULL ? NULL : own_name(ask, object, placement->group);
    add_spread(ask, placement);
    request->cpu_millis = workload->vcpus * 1000;
    request->memory_mib = workload->memory_mib;
    request->overhead_mib = overhead_mib(ledger, object);
    request->disks = &ask->disk;
    request->n_disks = disk_mib > 0;
    request->host = placement->host;
    request->labels = (const BerthLabel *)ask->labels->data;
    request->n_labels = ask->labels->len;
    request->selectors = (const BerthExpression *)ask->selectors->data;
    request->n_selectors = ask->selectors->len;
    request->relations = (const BerthRelation *)ask->relations->data;
    request->n_relations = ask->relations->len;
    request->tolerations = (const BerthToleration *)ask->tolerations->data;
    request->n_tolerations = ask->tolerations->len;
    request->priority = (gint)workload->priority;
    request->image = image;
}

/** Returns: MiB that @workload is charged with: guest memory and overhead. */
gint64
berth_ledger_memory_mib(const BerthFleetLedger *ledger, const BerthObject *workload)
{
    return berth_workload_of(workload)->memory_mib + overhead_mib(ledger, workload);
}
