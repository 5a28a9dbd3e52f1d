/* The OpenAPI 3.1 document. Invariant: nothing is said here that the route table or a schema table does not
 * say; what all routes share (errors, headers) is said once in components. Pure but for the tables. */
#include <config.h>

#include "daemon/openapi.h"

#include "daemon/routes-private.h"

#include <string.h>

static json_t *
reference(const char *section, const char *name)
{
    g_autofree char *target = g_strdup_printf("#/components/%s/%s", section, name);
    return json_pack("{s:s}", "$ref", target);
}

static json_t *
parameter(const char *name, const char *where, gboolean required, const char *doc)
{
    return json_pack("{s:s, s:s, s:b, s:s*, s:{s:s}}", "name", name, "in", where, "required",
                     required, "description", doc, "schema", "type", "string");
}

static const struct {
    const char *name, *doc;
} query_docs[] = {
    {"limit", "How many objects at most (1 to 1000)."},
    {"continue", "The token of the list before, to go on."},
    {"label", "Label selector: tier=front,env!=test."},
    {"field", "Field selector: status.phase=Running,spec.vcpus!=1."},
    {"dry_run", "1: check and answer, but change nothing."},
    {"kinds", "Kinds, separated by commas; all when absent."},
    {"since", "watch: the revision to go on from; logs: a time, or how long ago (15m)."},
    {"project", "Only objects of this project."},
    {"name", "Only objects of this name."},
    {"container", "Name of the container; may be left out when there is one only."},
    {"follow", "1: stay and send what comes."},
    {"tail", "Only the last so many lines."},
    {"timestamps", "1: begin each line with its time."},
};

static const char *
query_doc(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(query_docs); i++) {
        if (strcmp(query_docs[i].name, name) == 0) {
            return query_docs[i].doc;
        }
    }
    return NULL;
}

static void
add_query_parameters(json_t *list, const char *names)
{
    g_auto(GStrv) each = g_strsplit(names != NULL ? names : "", " ", -1);
    for (char **name = each; *name != NULL; name++) {
        if (**name != '\0') {
            json_array_append_new(list, parameter(*name, "query", FALSE, query_doc(*name)));
        }
    }
}

static json_t *
parameters_of(const Route *route, const char *path)
{
    static const char *const in_path[] = {"project", "name", NULL};
    json_t *list = json_array();
    for (guint i = 0; in_path[i] != NULL; i++) {
        g_autofree char *braced = g_strdup_printf("{%s}", in_path[i]);
        if (strstr(path, braced) != NULL) {
            json_array_append_new(list, parameter(in_path[i], "path", TRUE, NULL));
        }
    }
    add_query_parameters(list, route->parameters);
    gboolean writes = strcmp(route->method, "GET") != 0 && strcmp(route->method, "WS") != 0;
    if (writes && route->kinds != KINDS_NONE) {
        json_array_append_new(list, reference("parameters", "Prefer"));
    }
    if (strcmp(route->id, "put") == 0 || strcmp(route->id, "patch") == 0 ||
        strcmp(route->id, "delete") == 0) {
        json_array_append_new(list, reference("parameters", "If-Match"));
    }
    if (strcmp(route->id, "create") == 0 || strcmp(route->id, "verb") == 0) {
        json_array_append_new(list, reference("parameters", "Idempotency-Key"));
    }
    return list;
}

/* The schema that the table's word stands for. @kind: NULL outside collections. */
static json_t *
schema_of(const char *word, const BerthKind *kind)
{
    if (strcmp(word, "object") == 0) {
        return reference("schemas", kind->name);
    }
    if (strcmp(word, "list") == 0) {
        g_autofree char *name = g_strconcat(kind->name, "List", NULL);
        return reference("schemas", name);
    }
    if (strcmp(word, "patch") == 0 || strcmp(word, "arguments") == 0 ||
        strcmp(word, "Index") == 0 || strcmp(word, "Version") == 0 ||
        strcmp(word, "HostKey") == 0) {
        return json_pack("{s:s}", "type", "object");
    }
    return reference("schemas", word);
}

static json_t *
content_of(const char *word, const BerthKind *kind)
{
    if (strchr(word, '/') != NULL) {
        return json_pack("{s:{s:{s:s}}}", word, "schema", "type", "string");
    }
    const char *type =
        strcmp(word, "patch") == 0 ? "application/merge-patch+json" : "application/json";
    return json_pack("{s:{s:o}}", type, "schema", schema_of(word, kind));
}

static json_t *
responses_of(const Route *route, const BerthKind *kind)
{
    char status[8];
    g_snprintf(status, sizeof status, "%u", route->status);
    json_t *success = json_pack("{s:s}", "description", route->doc);
    if (route->response != NULL) {
        json_object_set_new(success, "content", content_of(route->response, kind));
    }
    json_t *responses = json_object();
    if (strcmp(route->id, "put") == 0) {
        json_object_set(responses, "201", success);
    }
    if (strcmp(route->id, "delete") == 0) {
        json_object_set(responses, "202", success);
    }
    json_object_set_new(responses, status, success);
    json_object_set_new(responses, "default", reference("responses", "Problem"));
    return responses;
}

/* "listPods", "rebootVM", "listAllPods". */
static char *
operation_id(const Route *route, const BerthKind *kind, const char *verb)
{
    if (kind == NULL) {
        return g_strdup(route->id);
    }
    gboolean many = g_str_has_prefix(route->id, "list");
    g_autofree char *plural = g_strdup(kind->plural);
    plural[0] = g_ascii_toupper(plural[0]);
    return g_strconcat(verb != NULL ? verb : route->id, many ? plural : kind->name, NULL);
}

static json_t *
operation(const Route *route, const BerthKind *kind, const char *path, const char *verb,
          const char *doc)
{
    g_autofree char *id = operation_id(route, kind, verb);
    json_t *made = json_pack("{s:s, s:s, s:[s], s:o, s:o}", "operationId", id, "summary", doc,
                             "tags", kind != NULL ? kind->name : "about", "parameters",
                             parameters_of(route, path), "responses", responses_of(route, kind));
    if (route->request != NULL) {
        json_object_set_new(made, "requestBody",
                            json_pack("{s:b, s:o}", "required",
                                      strcmp(route->request, "arguments") != 0, "content",
                                      content_of(route->request, kind)));
    }
    return made;
}

static void
add_operation(json_t *paths, const Route *route, const BerthKind *kind, const char *path,
              const char *verb, const char *doc)
{
    json_t *item = json_object_get(paths, path);
    if (item == NULL) {
        item = json_object();
        json_object_set_new(paths, path, item);
    }
    g_autofree char *method =
        g_ascii_strdown(strcmp(route->method, "WS") == 0 ? "GET" : route->method, -1);
    json_object_set_new(item, method, operation(route, kind, path, verb, doc));
}

static void
add_verbs(json_t *paths, const BerthRoutes *routes, const Route *route, const BerthKind *kind,
          const char *collection)
{
    for (guint i = 0; i < routes->verbs->len; i++) {
        const Verb *verb = &g_array_index(routes->verbs, Verb, i);
        if (verb->kind == kind) {
            g_autofree char *path = g_strdup_printf("%s/{name}:%s", collection, verb->verb);
            add_operation(paths, route, kind, path, verb->verb, verb->doc);
        }
    }
}

static void
add_route_for(json_t *paths, const BerthRoutes *routes, const Route *route, const BerthKind *kind)
{
    gboolean all = route->kinds == KINDS_PROJECT;
    if (!routes_has(routes, route, kind, all)) {
        return;
    }
    g_autofree char *collection = g_strdup_printf(
        "/v1/%s%s", kind->scope == BERTH_SCOPE_PROJECT && !all ? "projects/{project}/" : "",
        kind->plural);
    if (route->kinds == KINDS_VERBS) {
        add_verbs(paths, routes, route, kind, collection);
        return;
    }
    g_autofree char *path = g_strconcat(collection, route->pattern, NULL);
    add_operation(paths, route, kind, path, NULL, route->doc);
}

static json_t *
all_paths(const BerthRoutes *routes)
{
    json_t *paths = json_object();
    for (const Route *route = routes_table; route->method != NULL; route++) {
        if (route->kinds == KINDS_NONE) {
            add_operation(paths, route, NULL, route->pattern, NULL, route->doc);
        }
        for (guint i = 0; route->kinds != KINDS_NONE && berth_kinds[i] != NULL; i++) {
            add_route_for(paths, routes, route, berth_kinds[i]);
        }
    }
    return paths;
}

static void
add_kind_schemas(json_t *schemas, const BerthKind *kind)
{
    g_autofree char *list = g_strconcat(kind->name, "List", NULL);
    json_object_set_new(schemas, kind->name, berth_kind_openapi(kind));
    json_object_set_new(
        schemas, list,
        json_pack("{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:o}}, s:[s,s,s]}", "type", "object",
                  "properties", "kind", "type", "string", "revision", "type", "integer", "continue",
                  "type", "string", "items", "type", "array", "items",
                  reference("schemas", kind->name), "required", "kind", "revision", "items"));
}

static json_t *
all_schemas(void)
{
    json_t *schemas = json_object();
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (!berth_kinds[i]->hidden) {
            add_kind_schemas(schemas, berth_kinds[i]);
        }
    }
    static const BerthSchema *const others[] = {
        &berth_plan_question_schema,     &berth_plan_schema,
        &berth_capacity_question_schema, &berth_capacity_answer_schema,
        &berth_capacity_overview_schema, &berth_rebalance_question_schema,
        &berth_rebalance_answer_schema};
    for (gsize i = 0; i < G_N_ELEMENTS(others); i++) {
        json_object_set_new(schemas, others[i]->name, berth_schema_openapi(others[i]));
    }
    static const char *const members[] = {"code", "title",   "detail",
                                          "hint", "pointer", "request_id"};
    json_t *properties = json_object();
    for (gsize i = 0; i < G_N_ELEMENTS(members); i++) {
        json_object_set_new(properties, members[i], json_pack("{s:s}", "type", "string"));
    }
    json_object_set_new(properties, "status", json_pack("{s:s}", "type", "integer"));
    json_object_set_new(schemas, "Problem",
                        json_pack("{s:s, s:o, s:[s,s,s,s]}", "type", "object", "properties",
                                  properties, "required", "code", "title", "status", "detail"));
    return schemas;
}

static json_t *
components(void)
{
    return json_pack(
        "{s:o, s:{s:{s:s, s:{s:{s:o}}}}, s:{s:o, s:o, s:o}}", "schemas", all_schemas(), "responses",
        "Problem", "description", "What went wrong: a stable code, a text, and what to do.",
        "content", "application/problem+json", "schema", reference("schemas", "Problem"),
        "parameters", "Prefer",
        parameter("Prefer", "header", FALSE,
                  "wait=N: answer when the object is settled, after N seconds at most (300)."),
        "If-Match",
        parameter("If-Match", "header", FALSE,
                  "ETag: refuse with 412 when the object was changed since."),
        "Idempotency-Key",
        parameter("Idempotency-Key", "header", FALSE,
                  "Any text: the same request again with it gives the same object."));
}

/** Returns: (transfer full): the document. */
json_t *
berth_routes_openapi(BerthRoutes *routes)
{
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:o}", "openapi", "3.1.0", "info", "title",
                     "Berth", "version", PACKAGE_VERSION, "description",
                     "VMs and pods of containers on plain libvirt hosts.", "paths",
                     all_paths(routes), "components", components());
}
