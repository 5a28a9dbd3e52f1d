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

static char *
thousandths_text(gint64 amount)
{
    return amount % 1000 == 0 ? g_strdup_printf("%" G_GINT64_FORMAT, amount / 1000)
                              : g_strdup_printf("%.1f", (double)amount / 1000);
}

/* "3.1 GiB", "2 vCPUs", "3". Disk is counted in MiB per pool, so its dimension is a pool's name. */
static char *
amount_text(const char *code, const char *dimension, gint64 amount)
{
    if (g_str_has_suffix(dimension, "memory_mib") || g_str_equal(code, "disk")) {
        return amount < 1024 ? g_strdup_printf("%" G_GINT64_FORMAT " MiB", amount)
                             : g_strdup_printf("%.1f GiB", (double)amount / 1024);
    }
    if (g_str_has_suffix(dimension, "cpu_millis")) {
        g_autofree char *number = thousandths_text(amount);
        return g_strdup_printf("%s vCPU%s", number, amount == 1000 ? "" : "s");
    }
    if (g_str_equal(dimension, "device_millis")) {
        g_autofree char *number = thousandths_text(amount);
        return g_strdup_printf("%s device%s", number, amount == 1000 ? "" : "s");
    }
    if (g_str_has_suffix(dimension, "dedicated_cpus")) {
        return g_strdup_printf("%" G_GINT64_FORMAT " CPU%s", amount, amount == 1 ? "" : "s");
    }
    if (g_str_has_suffix(dimension, "hugepages")) {
        return g_strdup_printf("%" G_GINT64_FORMAT " huge page%s", amount, amount == 1 ? "" : "s");
    }
    if (g_str_equal(dimension, "workloads")) {
        return g_strdup_printf("%" G_GINT64_FORMAT " workload%s", amount, amount == 1 ? "" : "s");
    }
    return g_strdup_printf("%" G_GINT64_FORMAT " %s", amount, dimension);
}

/* What is short, where its code is no noun. */
static const char *
noun_of(const char *code)
{
    return g_str_equal(code, "dedicated")  ? "dedicated CPUs"
           : g_str_equal(code, "hugepage") ? "huge pages"
           : g_str_equal(code, "device")   ? "devices"
           : g_str_equal(code, "count")    ? "resources"
                                           : code;
}

/* "1.2 GiB of memory and 2 vCPUs" */
static char *
amounts_text(const BerthFix *fix)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < fix->n_amounts; i++) {
        const BerthFixAmount *a = &fix->amounts[i];
        g_autofree char *amount = amount_text(a->code, a->dimension, a->amount);
        gboolean memory = g_str_has_suffix(a->dimension, "memory_mib");
        gboolean disk = g_str_equal(a->code, "disk");
        g_string_append_printf(text, "%s%s%s", i == 0 ? "" : " and ", amount,
                               memory ? " of memory"
                               : disk ? " of disk"
                                      : "");
    }
    return g_string_free(text, FALSE);
}

/* Behind "fits on h3": what the one rule that refuses there would have to say; @what: what it is about. */
static char *
drop_text(const char *code, const char *what)
{
    static const struct {
        const char *code, *before, *after;
    } texts[] = {
        {"device", "if it had more free devices of class ", ""},
        {"network", "if it had network ", ""},
        {"pool", "if it had pool ", ""},
        {"machine", "if it had machine ", ""},
        {"selector", "if its label ", " were as asked for"},
        {"taint", "with a toleration of its taint ", ""},
        {"pinned", "without placement.host ", ""},
        {"affinity", "without affinity to ", ""},
        {"anti-affinity", "without anti-affinity to ", ""},
        {"spread", "without the spread of ", ""},
        {"reserve", "without the reserve for the loss of ", ""},
    };
    if (g_str_equal(code, "device") && g_str_equal(what, "devices")) {
        return g_strdup("if more of its devices were free"); /* of no class more than another */
    }
    if (g_str_equal(code, "numa")) {
        return g_strdup("if it were not bound to NUMA cells");
    }
    for (gsize i = 0; i < G_N_ELEMENTS(texts) && *what != '\0'; i++) {
        if (g_str_equal(code, texts[i].code)) {
            return g_strconcat(texts[i].before, what, texts[i].after, NULL);
        }
    }
    return g_strdup_printf("without %s%s%s", code, *what != '\0' ? " " : "", what);
}

/**
 * berth_explanation_fix:
 *
 * Returns: (transfer full) (nullable): the smallest change as a phrase, "fits if h7 is uncordoned", or that no host
 * is large enough; NULL when neither is known
 */
char *
berth_explanation_fix(const BerthSnapshot *snapshot, const BerthExplanation *e)
{
    const BerthFix *fix = &e->fix;
    const char *host = host_name(snapshot, fix->host);
    g_autofree char *amounts = amounts_text(fix);
    switch (fix->kind) {
    case BERTH_FIX_FREE:
        return g_strdup_printf("fits on %s if %s were freed", host, amounts);
    case BERTH_FIX_UNCORDON:
        return g_strdup_printf("fits if %s is uncordoned", host);
    case BERTH_FIX_DROP_RULE: {
        g_autofree char *text = drop_text(fix->code, fix->dimension);
        return g_strdup_printf("fits on %s %s", host, text);
    }
    case BERTH_FIX_RAISE_QUOTA:
        return g_strdup_printf("fits if the project's quota had %s more", amounts);
    case BERTH_FIX_ADD_HOST:
        return g_strdup_printf("fits with one more host like %s", host);
    case BERTH_FIX_NONE:
        return fix->n_amounts == 0 || fix->amounts[0].amount == 0
                   ? NULL
                   : g_strdup_printf("needs more %s than any host has: at most %s",
                                     g_str_equal(fix->code, "vcpu") ? "vCPUs" : noun_of(fix->code),
                                     amounts);
    }
    return NULL;
}

/* "12 hosts: memory short by at least 3.1 GiB" */
static void
append_group(GString *text, const BerthRefusalGroup *g)
{
    g_string_append_printf(text, "%u host%s: ", g->hosts, g->hosts == 1 ? "" : "s");
    g_string_append(text, g->least_short_by > 0 ? noun_of(g->code) : g->code);
    if (g->least_short_by > 0) {
        g_autofree char *amount = amount_text(g->code, g->dimension, g->least_short_by);
        g_string_append_printf(text, " short by %s%s", g->hosts == 1 ? "" : "at least ", amount);
    } else if (g->dimension[0] != '\0') {
        g_string_append_printf(text, " (%s)", g->dimension);
    }
}

/**
 * berth_explanation_refusals:
 *
 * Returns: (transfer full): why no host takes it, in one line without a remedy
 */
char *
berth_explanation_refusals(const BerthExplanation *e)
{
    GString *text = g_string_new(e->groups->len == 0 ? "no host in the fleet" : "no host fits: ");
    for (guint i = 0; i < e->groups->len; i++) {
        g_string_append(text, i == 0 ? "" : ", ");
        append_group(text, &g_array_index(e->groups, BerthRefusalGroup, i));
    }
    return g_string_free(text, FALSE);
}

/**
 * berth_explanation_summary:
 *
 * Returns: (transfer full): one line for people
 */
char *
berth_explanation_summary(const BerthSnapshot *snapshot, const BerthExplanation *e)
{
    if (e->fits) {
        return g_strdup_printf("fits on %s", host_name(snapshot, e->winner.host));
    }
    g_autofree char *refusals = berth_explanation_refusals(e);
    g_autofree char *fix = berth_explanation_fix(snapshot, e);
    return fix != NULL ? g_strdup_printf("%s; %s", refusals, fix) : g_steal_pointer(&refusals);
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
fix_to_json(const BerthSnapshot *snapshot, const BerthExplanation *e)
{
    const BerthFix *fix = &e->fix;
    g_autofree char *text = berth_explanation_fix(snapshot, e);
    json_t *amounts = json_array();
    for (guint i = 0; i < fix->n_amounts; i++) {
        json_array_append_new(amounts, json_pack("{s:s, s:s, s:I}", "code", fix->amounts[i].code,
                                                 "dimension", fix->amounts[i].dimension, "amount",
                                                 (json_int_t)fix->amounts[i].amount));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s*}", "kind", fix_name(fix->kind), "host",
                     host_name(snapshot, fix->host), "code", fix->code == NULL ? "" : fix->code,
                     "dimension", fix->dimension, "amounts", amounts, "text", text);
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
 * @refusals_max: when more hosts refused, only their groups are told
 *
 * Returns: (transfer full): {fits, summary, groups, refusals, fix} or {fits, summary, winner,
 * runner_up, refusals}
 */
json_t *
berth_explain_to_json(const BerthSnapshot *snapshot, const BerthExplanation *e, guint refusals_max)
{
    g_autofree char *summary = berth_explanation_summary(snapshot, e);
    json_t *json = json_pack("{s:b, s:s, s:o}", "fits", e->fits, "summary", summary, "groups",
                             groups_to_json(snapshot, e));
    if (e->refusals->len <= refusals_max) {
        json_object_set_new(json, "refusals", refusals_to_json(snapshot, e));
    }
    if (e->fits) {
        json_object_set_new(json, "winner", scored_to_json(snapshot, &e->winner));
        if (e->runner_up.host != BERTH_HOST_NONE) {
            json_object_set_new(json, "runner_up", scored_to_json(snapshot, &e->runner_up));
        }
    } else {
        json_object_set_new(json, "fix", fix_to_json(snapshot, e));
    }
    return json;
}
