/* What the daemon says about itself: health, version, metrics, and its own API. Main loop. */
#include <config.h>

#include "daemon/routes-private.h"

#include "base/json.h"
#include "daemon/metrics.h"
#include "daemon/openapi.h"

#include <string.h>

void
handle_healthz(Call *call)
{
    berth_request_answer_text(call->request, 200, "text/plain", "ok\n");
}

void
handle_readyz(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    g_autofree char *reason = ops != NULL && ops->unready != NULL ? ops->unready(ops->data) : NULL;
    g_autofree char *text = g_strconcat(reason != NULL ? reason : "ok", "\n", NULL);
    berth_request_answer_text(call->request, reason != NULL ? 503 : 200, "text/plain", text);
}

void
handle_version(Call *call)
{
    g_autoptr(json_t) version =
        json_pack("{s:s, s:s, s:s}", "name", "berthd", "version", PACKAGE_VERSION, "api", "v1");
    berth_request_answer_json(call->request, 200, version);
}

void
handle_host_key(Call *call)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    g_autoptr(GError) error = NULL;
    if (ops == NULL || ops->host_key == NULL) {
        call_refuse(call, 501, BERTH_ERROR_UNAVAILABLE, NULL, "this daemon has no hosts");
        return;
    }
    const char *key = ops->host_key(ops->host_data, &error);
    if (key == NULL) {
        call_fail(call, 0, error);
        return;
    }
    g_autoptr(json_t) answer = json_pack("{s:s}", "public_key", key);
    berth_request_answer_json(call->request, 200, answer);
}

void
handle_openapi(Call *call)
{
    g_autoptr(json_t) document = berth_routes_openapi(call->routes);
    berth_request_answer_json(call->request, 200, document);
}

void
handle_index(Call *call)
{
    g_autoptr(json_t) kinds = json_array();
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        const BerthKind *kind = berth_kinds[i];
        gboolean fleet = kind->scope == BERTH_SCOPE_FLEET;
        g_autofree char *path =
            g_strdup_printf("/v1/%s%s", fleet ? "" : "projects/{project}/", kind->plural);
        if (!kind->hidden) {
            json_array_append_new(kinds, json_pack("{s:s, s:s, s:s, s:s*, s:b, s:s}", "kind",
                                                   kind->name, "plural", kind->plural, "path", path,
                                                   "short", kind->short_name, "read_only",
                                                   kind->read_only, "doc", kind->doc));
        }
    }
    g_autoptr(json_t) index =
        json_pack("{s:s, s:O}", "openapi", "/v1/openapi.json", "kinds", kinds);
    berth_request_answer_json(call->request, 200, index);
}

/* ---- metrics ---- */

static const char *
phase_of(const BerthObject *object)
{
    const char *phase = json_string_value(json_object_get(object->status, "phase"));
    return phase != NULL ? phase : "";
}

static void
add_phases(GString *text, const BerthRoutes *routes, const BerthKind *kind)
{
    g_autoptr(GHashTable) counts = g_hash_table_new(g_str_hash, g_str_equal);
    BerthCatalogIter iter;
    const BerthObject *object;
    berth_catalog_iter_init(&iter, routes->catalog, kind, NULL);
    while ((object = berth_catalog_iter_next(&iter)) != NULL) {
        const char *phase = phase_of(object);
        guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, phase));
        g_hash_table_insert(counts, (gpointer)phase, GUINT_TO_POINTER(count + 1));
    }
    GHashTableIter each;
    gpointer phase, count;
    g_hash_table_iter_init(&each, counts);
    while (g_hash_table_iter_next(&each, &phase, &count)) {
        g_string_append_printf(text, "berth_objects{kind=\"%s\",phase=\"%s\"} %u\n", kind->name,
                               (const char *)phase, GPOINTER_TO_UINT(count));
    }
}

static void
add_objects(GString *text, const BerthRoutes *routes)
{
    berth_metrics_head(text, "berth_objects", "gauge", "Objects by kind and phase.");
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (!berth_kinds[i]->hidden) {
            add_phases(text, routes, berth_kinds[i]);
        }
    }
}

static void
add_server(GString *text, const BerthServerFigures *figures)
{
    static const char *const classes[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    berth_metrics_add(text, "berth_http_connections", "gauge", "Open connections.",
                      figures->connections);
    berth_metrics_add(text, "berth_http_streams", "gauge", "Open streams (watch, logs).",
                      figures->streams);
    berth_metrics_add(text, "berth_http_held_bytes", "gauge",
                      "Bodies and answers under way, beyond 16 KiB of each.",
                      (double)figures->held);
    berth_metrics_add(text, "berth_http_accepted_total", "counter", "Accepted connections.",
                      (double)figures->accepted);
    berth_metrics_add(text, "berth_http_refused_total", "counter",
                      "Connections refused or cut off before a request.", (double)figures->refused);
    berth_metrics_head(text, "berth_http_answers_total", "counter", "Answers by class of status.");
    for (guint i = 1; i < G_N_ELEMENTS(classes); i++) {
        berth_metrics_sample(text, "berth_http_answers_total", "class", classes[i],
                             (double)figures->answered[i]);
    }
}

void
handle_metrics(Call *call)
{
    const BerthRoutes *routes = call->routes;
    g_autoptr(GString) text = g_string_new(NULL);
    berth_metrics_process(text);
    add_server(text, berth_server_figures(berth_request_server(call->request)));
    berth_metrics_add(text, "berth_store_revision", "counter", "Present revision.",
                      (double)berth_catalog_revision(routes->catalog));
    berth_metrics_add(text, "berth_watches", "gauge", "Open watches.",
                      berth_watch_hub_count(routes->hub));
    gint64 now = berth_clock_monotonic_us(berth_catalog_clock(routes->catalog));
    berth_metrics_add(text, "berth_uptime_seconds", "gauge", "Time since the start.",
                      (double)(now - routes->began_us) / 1e6);
    add_objects(text, routes);
    if (routes->ops != NULL && routes->ops->metrics != NULL) {
        routes->ops->metrics(routes->ops->data, text);
    }
    berth_request_answer_text(call->request, 200, "text/plain; version=0.0.4", text->str);
}
