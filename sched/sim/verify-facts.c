/* Hard rules about what a host is: CPU, machine, networks, labels, taints, whose it is. Read from the host's description as JSON
 * and from the request as it was made; no code of the rules is used. */
#include "sched/sim/verify.h"

#include <jansson.h>

static gboolean
has_name(const json_t *host, const char *list, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach (json_object_get(host, list), i, entry) {
        if (g_strcmp0(json_string_value(entry), name) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
has_all(const json_t *host, const char *list, const char *const *names, guint n)
{
    for (guint i = 0; i < n; i++) {
        if (!has_name(host, list, names[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

static const char *
label_of(const json_t *host, const char *key)
{
    size_t i;
    json_t *label;
    json_array_foreach (json_object_get(host, "labels"), i, label) {
        if (g_strcmp0(json_string_value(json_object_get(label, "key")), key) == 0) {
            return json_string_value(json_object_get(label, "value"));
        }
    }
    return NULL;
}

static gboolean
is_one_of(const char *value, const BerthExpression *e)
{
    gboolean found = FALSE;
    for (guint i = 0; i < e->n_values; i++) {
        found |= g_strcmp0(value, e->values[i]) == 0;
    }
    return found;
}

static gboolean
is_number(const char *text, gint64 *number)
{
    char *end = NULL;
    *number = text == NULL ? 0 : g_ascii_strtoll(text, &end, 10);
    return text != NULL && end != text && *end == '\0';
}

static gboolean
matches(const json_t *host, const BerthExpression *e)
{
    const char *value = label_of(host, e->key);
    gint64 number = 0, bound = 0;
    gboolean compare =
        is_number(value, &number) && e->n_values == 1 && is_number(e->values[0], &bound);
    switch (e->operator) {
    case BERTH_OPERATOR_IN:
        return value != NULL && is_one_of(value, e);
    case BERTH_OPERATOR_NOT_IN:
        return value == NULL || !is_one_of(value, e);
    case BERTH_OPERATOR_EXISTS:
        return value != NULL;
    case BERTH_OPERATOR_ABSENT:
        return value == NULL;
    case BERTH_OPERATOR_GREATER:
        return compare && number > bound;
    case BERTH_OPERATOR_LESS:
        return compare && number < bound;
    }
    return FALSE;
}

static gboolean
tolerates(const BerthRequest *r, const json_t *taint)
{
    const char *key = json_string_value(json_object_get(taint, "key"));
    const char *value = json_string_value(json_object_get(taint, "value"));
    for (guint i = 0; i < r->n_tolerations; i++) {
        const BerthToleration *t = &r->tolerations[i];
        if ((t->key == NULL || g_strcmp0(t->key, key) == 0) &&
            (t->value == NULL || g_strcmp0(t->value, value) == 0)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
tolerates_all(const json_t *host, const BerthRequest *r)
{
    size_t i;
    json_t *taint;
    json_array_foreach (json_object_get(host, "taints"), i, taint) {
        gboolean refuses =
            json_integer_value(json_object_get(taint, "effect")) == BERTH_TAINT_REFUSE;
        if (refuses && !tolerates(r, taint)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* A host may be kept for one project. */
static gboolean
is_kept_from(const json_t *host, const BerthRequest *r)
{
    const char *project = label_of(host, "berth/project");
    return project != NULL && g_strcmp0(project, r->project) != 0;
}

/**
 * sim_verify_facts:
 * @host: from berth_fleet_host_to_json
 *
 * Returns: (nullable): the rule that @host breaks for @r; static
 */
const char *
sim_verify_facts(const json_t *host, const BerthRequest *r)
{
    const char *name = json_string_value(json_object_get(host, "name"));
    const char *arch = json_string_value(json_object_get(host, "arch"));
    if (r->host != NULL && g_strcmp0(r->host, name) != 0) {
        return "pinned";
    }
    if ((r->arch != NULL && g_strcmp0(r->arch, arch) != 0) ||
        (r->cpu_model != NULL && !has_name(host, "cpu_models", r->cpu_model)) ||
        !has_all(host, "cpu_features", r->cpu_features, r->n_cpu_features)) {
        return "cpu-type";
    }
    if (r->machine != NULL && !has_name(host, "machines", r->machine)) {
        return "machine";
    }
    if (!has_all(host, "networks", r->networks, r->n_networks)) {
        return "network";
    }
    if (is_kept_from(host, r)) {
        return "tenant";
    }
    for (guint i = 0; i < r->n_selectors; i++) {
        if (r->selectors[i].weight == 0 && !matches(host, &r->selectors[i])) {
            return "selector";
        }
    }
    return tolerates_all(host, r) ? NULL : "taint";
}
