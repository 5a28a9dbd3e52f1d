/* Explanations as text and as JSON; the names here are part of the API. */
#include "sched/explain.h"

static const char *
fix_name(BerthFixKind kind)
{
    static const char *const names[] = {"none",      "free",        "uncordon",
                                        "drop-rule", "raise-quota", "add-host"};
    return names[kind];
}

static const char *
host_name(const BerthSnapshot *snapshot, guint32 host)
{
    const char *name = host == BERTH_HOST_NONE ? NULL : berth_snapshot_host_name(snapshot, host);
    return name == NULL ? "" : name;
}

/* 3174 MiB reads better as 3.1 GiB; other units stay as they are. */
static char *
amount_text(const char *dimension, gint64 amount)
{
    if (g_str_has_suffix(dimension, "memory_mib")) {
        return amount < 1024 ? g_strdup_printf("memory by %" G_GINT64_FORMAT " MiB", amount)
                             : g_strdup_printf("memory by %.1f GiB", (double)amount / 1024);
    }
    if (g_str_has_suffix(dimension, "cpu_millis")) {
        return g_strdup_printf("CPU by %.1f vCPUs", (double)amount / 1000);
    }
    return g_strdup_printf("%s by %" G_GINT64_FORMAT, dimension, amount);
}

static void
append_amounts(GString *text, const BerthFix *fix)
{
    for (guint i = 0; i < fix->n_amounts; i++) {
        g_autofree char *amount = amount_text(fix->amounts[i].dimension, fix->amounts[i].amount);
        g_string_append_printf(text, "%s%s", i == 0 ? "" : " and ", amount);
    }
}

static void
append_fix(GString *text, const BerthSnapshot *snapshot, const BerthFix *fix)
{
    const char *host = host_name(snapshot, fix->host);
    switch (fix->kind) {
    case BERTH_FIX_FREE:
        g_string_append_printf(text, "; fits on %s after freeing ", host);
        append_amounts(text, fix);
        break;
    case BERTH_FIX_UNCORDON:
        g_string_append_printf(text, "; fits if %s is made schedulable", host);
        break;
    case BERTH_FIX_DROP_RULE:
        g_string_append_printf(text, "; fits on %s without its %s", host, fix->code);
        break;
    case BERTH_FIX_RAISE_QUOTA:
        g_string_append(text, "; fits if the project's quota is raised: ");
        append_amounts(text, fix);
        break;
    case BERTH_FIX_ADD_HOST:
        g_string_append_printf(text, "; fits with one more host like %s", host);
        break;
    case BERTH_FIX_NONE:
        break;
    }
}

/**
 * berth_explanation_summary:
 *
 * Returns: (transfer full): one line for people
 */
char *
berth_explanation_summary(const BerthSnapshot *snapshot, const BerthExplanation *e)
{
    GString *text = g_string_new(NULL);
    if (e->fits) {
        g_string_append_printf(text, "fits on %s", host_name(snapshot, e->winner.host));
        return g_string_free(text, FALSE);
    }
    g_string_append(text, e->groups->len == 0 ? "no host in the fleet" : "no host fits: ");
    for (guint i = 0; i < e->groups->len; i++) {
        const BerthRefusalGroup *g = &g_array_index(e->groups, BerthRefusalGroup, i);
        g_autofree char *amount = amount_text(g->dimension, g->least_short_by);
        g_string_append_printf(text, "%s%u host%s: %s", i == 0 ? "" : ", ", g->hosts,
                               g->hosts == 1 ? "" : "s", g->code);
        if (g->least_short_by > 0) {
            g_string_append_printf(text, " (short of %s at least)", amount);
        } else if (g->dimension[0] != '\0') {
            g_string_append_printf(text, " (%s)", g->dimension);
        }
    }
    append_fix(text, snapshot, &e->fix);
    return g_string_free(text, FALSE);
}

static json_t *
groups_to_json(const BerthSnapshot *snapshot, const BerthExplanation *e)
{
    json_t *list = json_array();
    for (guint i = 0; i < e->groups->len; i++) {
        const BerthRefusalGroup *g = &g_array_index(e->groups, BerthRefusalGroup, i);
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:I, s:s}", "code", g->code,
                                              "dimension", g->dimension, "hosts", (int)g->hosts,
                                              "least_short_by", (json_int_t)g->least_short_by,
                                              "nearest", host_name(snapshot, g->nearest)));
    }
    return list;
}

static json_t *
refusals_to_json(const BerthSnapshot *snapshot, const BerthExplanation *e)
{
    json_t *list = json_array();
    for (guint i = 0; i < e->refusals->len; i++) {
        const BerthRefusal *r = &g_array_index(e->refusals, BerthRefusal, i);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "host", host_name(snapshot, r->host),
                            "code", r->code, "dimension", r->dimension, "need", (json_int_t)r->need,
                            "have", (json_int_t)r->have, "short_by", (json_int_t)r->short_by));
    }
    return list;
}

static json_t *
fix_to_json(const BerthSnapshot *snapshot, const BerthFix *fix)
{
    json_t *amounts = json_array();
    for (guint i = 0; i < fix->n_amounts; i++) {
        json_array_append_new(amounts, json_pack("{s:s, s:s, s:I}", "code", fix->amounts[i].code,
                                                 "dimension", fix->amounts[i].dimension, "amount",
                                                 (json_int_t)fix->amounts[i].amount));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "kind", fix_name(fix->kind), "host",
                     host_name(snapshot, fix->host), "code", fix->code == NULL ? "" : fix->code,
                     "amounts", amounts);
}

static json_t *
scored_to_json(const BerthSnapshot *snapshot, const BerthScored *scored)
{
    json_t *parts = json_array();
    for (guint i = 0; i < scored->n_parts; i++) {
        json_array_append_new(parts, json_pack("{s:s, s:I, s:i}", "code", scored->parts[i].code,
                                               "score", (json_int_t)scored->parts[i].score,
                                               "weight", scored->parts[i].weight));
    }
    return json_pack("{s:s, s:I, s:o}", "host", host_name(snapshot, scored->host), "score",
                     (json_int_t)scored->score, "parts", parts);
}

/**
 * berth_explain_to_json:
 *
 * Returns: (transfer full): {fits, summary, groups, refusals, fix} or {fits, summary, winner,
 * runner_up, refusals}
 */
json_t *
berth_explain_to_json(const BerthSnapshot *snapshot, const BerthExplanation *e)
{
    g_autofree char *summary = berth_explanation_summary(snapshot, e);
    json_t *json =
        json_pack("{s:b, s:s, s:o, s:o}", "fits", e->fits, "summary", summary, "groups",
                  groups_to_json(snapshot, e), "refusals", refusals_to_json(snapshot, e));
    if (e->fits) {
        json_object_set_new(json, "winner", scored_to_json(snapshot, &e->winner));
        if (e->runner_up.host != BERTH_HOST_NONE) {
            json_object_set_new(json, "runner_up", scored_to_json(snapshot, &e->runner_up));
        }
    } else {
        json_object_set_new(json, "fix", fix_to_json(snapshot, &e->fix));
    }
    return json;
}
