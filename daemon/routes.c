/* THE route table, matching, and the life of a call. Invariant: every path the server answers is in
 * routes_table; 405, Allow, OPTIONS, the check of query parameters and the OpenAPI document come from it.
 * Main loop. */
#include "daemon/routes-private.h"

#include "base/json.h"
#include "daemon/log.h"

#include <string.h>

#define LIST "limit continue label field"
#define WRITE "dry_run"

const Route routes_table[] = {
    {"GET", KINDS_NONE, "/healthz", handle_healthz, NULL, NULL, "text/plain", 200, "health",
     "Says ok while the process works."},
    {"GET", KINDS_NONE, "/readyz", handle_readyz, NULL, NULL, "text/plain", 200, "readiness",
     "Says ok when requests are served, otherwise 503 with the reasons."},
    {"GET", KINDS_NONE, "/metrics", handle_metrics, NULL, NULL, "text/plain", 200, "metrics",
     "Figures in the text format of Prometheus."},
    {"GET", KINDS_NONE, "/v1", handle_index, NULL, NULL, "Index", 200, "index",
     "Lists the kinds and where they are."},
    {"GET", KINDS_NONE, "/v1/version", handle_version, NULL, NULL, "Version", 200, "version",
     "Version of the daemon and of the API."},
    {"GET", KINDS_NONE, "/v1/host-key", handle_host_key, NULL, NULL, "HostKey", 200, "hostKey",
     "Berth's public SSH key, which hosts must let in for qemu+ssh."},
    {"GET", KINDS_NONE, "/v1/openapi.json", handle_openapi, NULL, NULL, "application/json", 200,
     "openapi", "This document."},
    {"GET", KINDS_NONE, "/v1/watch", handle_watch, "kinds since project name label", NULL,
     "application/x-ndjson", 200, "watch",
     "Streams changes from a revision on, one JSON object a line; without since every present "
     "object first."},
    {"POST", KINDS_NONE, "/v1/backup", handle_backup, NULL, NULL, "application/octet-stream", 200,
     "backup", "A consistent copy of all objects, for berthd --restore."},
    {"POST", KINDS_NONE, "/v1/plan", handle_plan, NULL, "PlanQuestion", "Plan", 200, "plan",
     "What a write of the documents would change and where workloads would run; changes nothing."},
    {"POST", KINDS_NONE, "/v1/capacity", handle_capacity, NULL, "CapacityQuestion",
     "CapacityAnswer", 200, "capacity",
     "How many more workloads of a kind fit, on which hosts, and what ends it."},
    {"GET", KINDS_NONE, "/v1/capacity", handle_overview, NULL, NULL, "CapacityOverview", 200,
     "capacityOverview", "How full the fleet is in each dimension, and by whom."},
    {"POST", KINDS_NONE, "/v1/rebalance", handle_rebalance, NULL, "RebalanceQuestion",
     "RebalanceAnswer", 200, "rebalance",
     "Which live migrations are worth making or empty hosts, in order; changes nothing."},
    {"GET", KINDS_NONE, "/v1/fleet", handle_fleet, NULL, NULL, "application/json", 200, "fleet",
     "The fleet as the scheduler sees it, for berth-sim replay."},
    {"GET", KINDS_PROJECT, "", handle_list, LIST, NULL, "list", 200, "listAll",
     "Lists the objects of all projects."},
    {"GET", KINDS_VISIBLE, "", handle_list, LIST, NULL, "list", 200, "list",
     "Lists objects in order of their names."},
    {"POST", KINDS_WRITABLE, "", handle_post, WRITE, "object", "object", 201, "create",
     "Creates an object; without metadata.name the server chooses one. Honours Idempotency-Key."},
    {"GET", KINDS_VISIBLE, "/{name}", handle_get, NULL, NULL, "object", 200, "get",
     "Gets one object. Prefer: wait=N answers when it is settled."},
    {"PUT", KINDS_WRITABLE, "/{name}", handle_put, WRITE, "object", "object", 200, "put",
     "Creates the object or replaces its labels, annotations and spec; unchanged input changes "
     "nothing."},
    {"PATCH", KINDS_WRITABLE, "/{name}", handle_patch, WRITE, "patch", "object", 200, "patch",
     "Changes parts of labels, annotations and spec by JSON merge patch."},
    {"DELETE", KINDS_WRITABLE, "/{name}", handle_delete, WRITE, NULL, "object", 200, "delete",
     "Asks for the object's end; 202 while it is being taken down."},
    {"POST", KINDS_TASKS, "/{name}:cancel", handle_cancel, NULL, NULL, "Task", 202, "cancel",
     "Asks a Task to stop."},
    {"POST", KINDS_VERBS, "/{name}:{verb}", handle_verb, WRITE, "arguments", "Task", 202, "verb",
     "Starts a verb and answers with its Task. Honours Idempotency-Key."},
    {"GET", KINDS_WORKLOADS, "/{name}:why", handle_why, NULL, NULL, "application/json", 200, "why",
     "Why the workload runs where it runs, or does not run."},
    {"GET", KINDS_WORKLOADS, "/{name}:xml", handle_xml, NULL, NULL, "application/xml", 200, "xml",
     "The workload's libvirt domain XML."},
    {"GET", KINDS_WORKLOADS, "/{name}/logs", handle_logs, "container follow since tail timestamps",
     NULL, "text/plain", 200, "logs", "Streams what the containers (or the serial console) wrote."},
    {"WS", KINDS_PODS, "/{name}:exec", handle_exec, NULL, NULL, NULL, 101, "exec",
     "Runs a command in a container, over a WebSocket of sub-protocol berth.stream.v1."},
    {"WS", KINDS_PODS, "/{name}:attach", handle_attach, NULL, NULL, NULL, 101, "attach",
     "Attaches to a container's main process, over a WebSocket."},
    {"WS", KINDS_WORKLOADS, "/{name}:console", handle_console, NULL, NULL, NULL, 101, "console",
     "Attaches to the serial console, over a WebSocket."},
    {"PUT", KINDS_IMAGES, "/{name}/content", handle_upload, NULL, "application/octet-stream",
     "object", 200, "upload", "Uploads an image's content; any size."},
    {NULL},
};

/* ---- the life of a call ---- */

Call *
call_ref(Call *call)
{
    call->references++;
    return call;
}

void
call_unref(Call *call)
{
    if (--call->references > 0) {
        return;
    }
    if (call->reserved != NULL) {
        g_hash_table_remove(call->routes->reserved, call->reserved);
    }
    g_free(call->project);
    g_free(call->name);
    g_free(call->verb);
    g_free(call->key_name);
    g_free(call->reserved);
    g_clear_pointer(&call->upload, upload_free);
    g_clear_pointer(&call->session, stream_forget);
    json_decref(call->document);
    berth_object_unref(call->object);
    g_free(call);
}

/* The request ended; store answers may still come. */
static void
leave_request(gpointer data)
{
    Call *call = data;
    call->request = NULL;
    routes_wait_stop(call);
    call_unref(call);
}

void
call_fail(Call *call, guint status, const GError *error)
{
    if (call->request != NULL) {
        berth_request_answer_error(call->request, status, error);
    }
}

void
call_refuse(Call *call, guint status, BerthErrorCode code, const char *hint, const char *format,
            ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autoptr(GError) error = NULL;
    berth_error_set_at(&error, code, NULL, hint, "%s", text);
    call_fail(call, status, error);
}

void
call_answer_object(Call *call, guint status, const BerthObject *object)
{
    if (call->request == NULL) {
        return;
    }
    g_autofree char *etag = g_strdup_printf("\"%" G_GINT64_FORMAT "\"", object->revision);
    if (object->revision > 0) {
        berth_request_add_header(call->request, "ETag", etag);
    }
    if (status == 201 || status == 202) {
        g_autofree char *path = berth_object_path(object);
        berth_request_add_header(call->request, "Location", path);
    }
    g_autoptr(json_t) json = berth_object_to_json(object);
    berth_request_answer_json(call->request, status, json);
}

const char *
call_query(const Call *call, const char *name)
{
    return berth_request_query(call->request, name);
}

/* @value keeps its default when the parameter is absent. Returns FALSE after answering 400. */
gboolean
call_query_integer(Call *call, const char *name, gint64 minimum, gint64 maximum, gint64 *value)
{
    const char *text = call_query(call, name);
    if (text == NULL) {
        return TRUE;
    }
    g_autoptr(GError) error = NULL;
    if (!g_ascii_string_to_signed(text, 10, minimum, maximum, value, &error)) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, NULL,
                    "query parameter '%s' must be a number from %" G_GINT64_FORMAT
                    " to %" G_GINT64_FORMAT,
                    name, minimum, maximum);
        return FALSE;
    }
    return TRUE;
}

gboolean
call_query_flag(Call *call, const char *name, gboolean *value)
{
    const char *text = call_query(call, name);
    if (text == NULL) {
        return TRUE;
    }
    *value = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
    if (!*value && strcmp(text, "0") != 0 && strcmp(text, "false") != 0) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, NULL, "query parameter '%s' must be 1 or 0",
                    name);
        return FALSE;
    }
    return TRUE;
}

BerthObject *
call_find(Call *call)
{
    BerthObject *object =
        berth_catalog_get(call->routes->catalog, call->kind, call->project, call->name);
    if (object == NULL) {
        call_refuse(call, 404, BERTH_ERROR_NOT_FOUND, NULL, "there is no %s '%s'%s%s",
                    call->kind->name, call->name, *call->project != '\0' ? " in project " : "",
                    call->project);
    }
    return object;
}

/* ---- matching ---- */

static gboolean
kind_has(const BerthRoutes *routes, const BerthKind *kind, const char *verb)
{
    for (guint i = 0; i < routes->verbs->len; i++) {
        const Verb *known = &g_array_index(routes->verbs, Verb, i);
        if (known->kind == kind && (verb == NULL || strcmp(known->verb, verb) == 0)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Whether @route exists for @kind. */
static gboolean
route_is_for(const BerthRoutes *routes, const Route *route, const BerthKind *kind,
             gboolean all_projects)
{
    if (kind == NULL || kind->hidden || all_projects != (route->kinds == KINDS_PROJECT)) {
        return FALSE;
    }
    switch (route->kinds) {
    case KINDS_VISIBLE:
        return TRUE;
    case KINDS_PROJECT:
        return kind->scope == BERTH_SCOPE_PROJECT;
    case KINDS_WRITABLE:
        return !kind->read_only;
    case KINDS_WORKLOADS:
        return kind->workload;
    case KINDS_PODS:
        return kind == &berth_kind_pod;
    case KINDS_TASKS:
        return kind == &berth_kind_task;
    case KINDS_IMAGES:
        return kind == &berth_kind_image;
    case KINDS_VERBS:
        return kind_has(routes, kind, NULL);
    default:
        return FALSE;
    }
}

gboolean
routes_has(const BerthRoutes *routes, const Route *route, const BerthKind *kind,
           gboolean all_projects)
{
    return route_is_for(routes, route, kind, all_projects);
}

/* Where in a path the collection is, and what follows it. */
typedef struct {
    const BerthKind *kind;
    const char *project; /* borrowed; NULL: all projects */
    gboolean all_projects;
    const char *const *rest;
} Place;

static const BerthKind *
find_plural(const char *plural, BerthKindScope scope)
{
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (berth_kinds[i]->scope == scope && strcmp(berth_kinds[i]->plural, plural) == 0) {
            return berth_kinds[i];
        }
    }
    return NULL;
}

static gboolean
find_place(const char *const *segments, Place *place)
{
    guint count = g_strv_length((char **)segments);
    if (count < 2 || strcmp(segments[0], "v1") != 0) {
        return FALSE;
    }
    if (count >= 4 && strcmp(segments[1], "projects") == 0) {
        *place = (Place){find_plural(segments[3], BERTH_SCOPE_PROJECT), segments[2], FALSE,
                         segments + 4};
        return place->kind != NULL;
    }
    *place = (Place){find_plural(segments[1], BERTH_SCOPE_FLEET), "", FALSE, segments + 2};
    if (place->kind == NULL && count == 2) {
        *place = (Place){find_plural(segments[1], BERTH_SCOPE_PROJECT), NULL, TRUE, segments + 2};
    }
    return place->kind != NULL;
}

/* Matches "{name}", "{name}:why" or "{name}:{verb}" against @segment. Out-parameters: (transfer full). */
static gboolean
match_name(const char *pattern, const char *segment, char **name, char **verb)
{
    const char *wanted = strchr(pattern, ':');
    const char *colon = strchr(segment, ':');
    if ((wanted == NULL) != (colon == NULL)) {
        return FALSE;
    }
    if (wanted == NULL) {
        *name = g_strdup(segment);
        return TRUE;
    }
    gboolean any = strcmp(wanted, ":{verb}") == 0;
    if (!any && strcmp(wanted, colon) != 0) {
        return FALSE;
    }
    *name = g_strndup(segment, (gsize)(colon - segment));
    *verb = any ? g_strdup(colon + 1) : NULL;
    return TRUE;
}

static gboolean
match_rest(const char *pattern, const char *const *rest, char **name, char **verb)
{
    g_auto(GStrv) parts = g_strsplit(pattern, "/", -1); /* "", "{name}", "logs" */
    guint count = g_strv_length(parts), given = g_strv_length((char **)rest);
    if (MAX(count, 1) - 1 != given) {
        return FALSE;
    }
    for (guint i = 1; i < count; i++) {
        if (g_str_has_prefix(parts[i], "{name}")) {
            if (*rest[i - 1] == '\0' || !match_name(parts[i], rest[i - 1], name, verb)) {
                return FALSE;
            }
        } else if (strcmp(parts[i], rest[i - 1]) != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Fills in @call's place when @route's path is the request's. */
static gboolean
match_route(Call *call, const Route *route, const Place *place)
{
    if (route->kinds == KINDS_NONE) {
        return strcmp(berth_request_path(call->request), route->pattern) == 0;
    }
    g_autofree char *name = NULL, *verb = NULL;
    if (!route_is_for(call->routes, route, place->kind, place->all_projects) ||
        !match_rest(route->pattern, place->rest, &name, &verb) ||
        (verb != NULL && !kind_has(call->routes, place->kind, verb))) {
        return FALSE;
    }
    g_free(call->project);
    g_free(call->name);
    g_free(call->verb);
    call->kind = place->kind;
    call->project = g_strdup(place->project);
    call->name = g_steal_pointer(&name);
    call->verb = g_steal_pointer(&verb);
    return TRUE;
}

static const char *
http_method(const Route *route)
{
    return strcmp(route->method, "WS") == 0 ? "GET" : route->method;
}

/* Answers what no route takes. @allowed: the methods the path has, "" when there is no such path. */
static void
answer_unmatched(Call *call, const char *method, const char *allowed)
{
    if (*allowed == '\0') {
        call_refuse(call, 404, BERTH_ERROR_NOT_FOUND,
                    "GET /v1 lists the kinds, GET /v1/openapi.json all paths", "there is no '%s'",
                    berth_request_path(call->request));
        return;
    }
    berth_request_add_header(call->request, "Allow", allowed);
    if (strcmp(method, "OPTIONS") == 0) {
        berth_request_answer_json(call->request, 204, NULL);
    } else {
        call_refuse(call, 405, BERTH_ERROR_INVALID, NULL, "'%s' is not possible here, but %s",
                    method, allowed);
    }
}

/* Sets call->route; answers otherwise. */
static gboolean
find_route(Call *call)
{
    const char *method = berth_request_method(call->request);
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    Place place = {0};
    find_place(berth_request_segments(call->request), &place);
    g_autoptr(GString) allowed = g_string_new(NULL);
    for (const Route *route = routes_table; route->method != NULL; route++) {
        if (!match_route(call, route, &place)) {
            continue;
        }
        if (strcmp(http_method(route), wanted) == 0) {
            call->route = route;
            return TRUE;
        }
        g_string_append_printf(allowed, "%s%s", allowed->len > 0 ? ", " : "", http_method(route));
        if (strcmp(route->method, "GET") == 0) {
            g_string_append(allowed, ", HEAD");
        }
    }
    if (allowed->len > 0) {
        g_string_append(allowed, ", OPTIONS");
    }
    answer_unmatched(call, method, allowed->str);
    return FALSE;
}

/* ---- what every request may carry ---- */

typedef struct {
    Call *call;
    const char *wrong; /* static text */
    char *name;
    GHashTable *seen;
} QueryCheck;

static void
check_query_parameter(const char *name, const char *value, gpointer data)
{
    QueryCheck *check = data;
    const char *known = check->call->route->parameters;
    g_auto(GStrv) names = g_strsplit(known != NULL ? known : "", " ", -1);
    const char *wrong = !g_strv_contains((const char *const *)names, name) ? "unknown here"
                        : !g_hash_table_add(check->seen, g_strdup(name))   ? "there twice"
                                                                           : NULL;
    if (wrong != NULL && check->wrong == NULL) {
        check->wrong = wrong;
        check->name = g_strdup(name);
    }
}

static gboolean
check_query(Call *call)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    QueryCheck check = {call, NULL, NULL, seen};
    berth_request_query_each(call->request, check_query_parameter, &check);
    if (check.wrong == NULL) {
        return TRUE;
    }
    g_autofree char *name = check.name;
    g_autofree char *hint = call->route->parameters != NULL
                                ? g_strdup_printf("known here: %s", call->route->parameters)
                                : NULL;
    call_refuse(call, 400, BERTH_ERROR_INVALID, hint, "query parameter '%s' is %s", name,
                check.wrong);
    return FALSE;
}

/* "Prefer: wait=30" among others; unknown preferences are ignored, as RFC 7240 says. */
static void
read_preference(Call *call)
{
    const char *header = berth_request_header(call->request, "Prefer");
    g_auto(GStrv) preferences = g_strsplit_set(header != NULL ? header : "", ",;", 16);
    for (char **preference = preferences; *preference != NULL; preference++) {
        const char *text = g_strstrip(*preference);
        gint64 seconds = 0;
        if (g_str_has_prefix(text, "wait=") &&
            g_ascii_string_to_signed(text + 5, 10, 0, G_MAXINT32, &seconds, NULL)) {
            call->wait_s = MIN(seconds, 300);
        }
    }
    if (call->wait_s > 0) {
        g_autofree char *applied = g_strdup_printf("wait=%" G_GINT64_FORMAT, call->wait_s);
        berth_request_add_header(call->request, "Preference-Applied", applied);
    }
}

static gboolean
prepare(Call *call)
{
    read_preference(call);
    return check_query(call) && call_query_flag(call, "dry_run", &call->dry_run);
}

/* ---- the server's calls ---- */

static gboolean
take_head(BerthRequest *request, gpointer data)
{
    BerthRoutes *routes = data;
    Call *call = g_new0(Call, 1);
    call->routes = routes;
    call->request = request;
    call->references = 1;
    berth_request_set_data(request, call, leave_request);
    if (!find_route(call) || !prepare(call)) {
        return FALSE;
    }
    return call->route->handle == handle_upload && upload_begin(call);
}

static void
take_body(BerthRequest *request, const void *bytes, gsize size, gpointer data)
{
    upload_take(berth_request_data(request), bytes, size);
}

static void
handle(BerthRequest *request, gpointer data)
{
    Call *call = berth_request_data(request);
    call->route->handle(call);
}

static void
forget(BerthRequest *request, gpointer data)
{
    berth_request_set_data(request, NULL, NULL);
}

/** Returns: the ops a server needs, with a BerthRoutes as their data; static. */
const BerthServerOps *
berth_routes_server_ops(void)
{
    static const BerthServerOps ops = {take_head, take_body, handle, forget};
    return &ops;
}

/* ---- life ---- */

static void
take_change(const BerthObject *before, BerthObject *after, gpointer data)
{
    routes_wait_changed(data, before, after);
}

/** See the header. */
BerthRoutes *
berth_routes_new(BerthCatalog *catalog, BerthWatchHub *hub, const char *state,
                 const BerthWorkloadOps *ops)
{
    BerthRoutes *routes = g_new0(BerthRoutes, 1);
    routes->catalog = catalog;
    routes->hub = hub;
    routes->ops = ops;
    routes->state = g_strdup(state);
    routes->verbs = g_array_new(FALSE, TRUE, sizeof(Verb));
    routes->finalised = g_hash_table_new(NULL, NULL);
    routes->waiting = g_hash_table_new(NULL, NULL);
    routes->reserved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    routes->sockets = g_hash_table_new(NULL, NULL);
    routes->began_us = berth_clock_monotonic_us(berth_catalog_clock(catalog));
    routes->subscription = berth_catalog_subscribe(catalog, take_change, routes);
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (berth_kinds[i]->workload) {
            berth_routes_add_verb(routes, berth_kinds[i], "start", NULL,
                                  "Sets the power to on and starts the workload.");
            berth_routes_add_verb(routes, berth_kinds[i], "shutdown", NULL,
                                  "Sets the power to off and asks the guest to stop.");
            berth_routes_add_verb(routes, berth_kinds[i], "destroy", NULL,
                                  "Sets the power to off and cuts it.");
        }
    }
    return routes;
}

/** Frees @routes; after the server. */
void
berth_routes_free(BerthRoutes *routes)
{
    routes_close_sockets(routes);
    berth_catalog_unsubscribe(routes->catalog, routes->subscription);
    g_array_unref(routes->verbs);
    g_hash_table_unref(routes->finalised);
    g_hash_table_unref(routes->waiting);
    g_hash_table_unref(routes->reserved);
    g_hash_table_unref(routes->sockets);
    g_free(routes->state);
    g_free(routes);
}

void
berth_routes_add_verb(BerthRoutes *routes, const BerthKind *kind, const char *name,
                      BerthVerbCheck check, const char *doc)
{
    for (guint i = 0; i < routes->verbs->len; i++) {
        Verb *known = &g_array_index(routes->verbs, Verb, i);
        if (known->kind == kind && strcmp(known->verb, name) == 0) {
            *known = (Verb){kind, name, doc, check};
            return;
        }
    }
    Verb verb = {kind, name, doc, check};
    g_array_append_val(routes->verbs, verb);
}

void
berth_routes_set_finalised(BerthRoutes *routes, const BerthKind *kind)
{
    g_hash_table_add(routes->finalised, (gpointer)kind);
}
