/* Objects of any kind: get, describe, delete, explain. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/escape.h"
#include "cli/help.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "model/kinds.h"

/* The object that KIND NAME means; workloads also by their other names. */
static json_t *
find(BerthSession *session, const BerthKind *kind, const char *name, GError **error)
{
    if (kind->workload) {
        return berth_resolve_workload(session, kind, name, error);
    }
    if (kind == &berth_kind_image) {
        return berth_resolve_image(session, name, error);
    }
    return berth_get_object(session, kind, name, error);
}

/* ---- get ---- */

static json_t *
get_list(BerthSession *session, const BerthKind *kind, const BerthArgs *args, GError **error)
{
    const char *label = berth_args_get(args, "label");
    g_autofree char *escaped = label != NULL ? berth_url_escape(label) : NULL;
    g_autofree char *query = escaped != NULL ? g_strconcat("label=", escaped, NULL) : NULL;
    if (berth_args_has(args, "all-projects")) {
        g_autofree char *path = g_strdup_printf(
            "/v1/%s%s%s", kind->plural, query != NULL ? "?" : "", query != NULL ? query : "");
        return berth_client_list(session->client, path, error);
    }
    return berth_list_objects(session, kind, query, error);
}

static int
run_get(BerthSession *session, const BerthArgs *args, GError **error)
{
    const BerthKind *kind = berth_resolve_kind(berth_args_get(args, "kind"), error);
    if (kind == NULL) {
        return BERTH_FAILED;
    }
    char *const *names = berth_args_list(args, "name");
    g_autoptr(json_t) list = NULL;
    if (*names == NULL) {
        list = get_list(session, kind, args, error);
    } else {
        list = json_array();
        for (char *const *name = names; *name != NULL; name++) {
            json_t *object = find(session, kind, *name, error);
            if (object == NULL) {
                return BERTH_FAILED;
            }
            json_array_append_new(list, object);
        }
    }
    if (list == NULL) {
        return BERTH_FAILED;
    }
    if (names[0] != NULL && names[1] == NULL && berth_session_wants_value(session)) {
        berth_session_put_value(session, json_array_get(list, 0));
    } else {
        berth_session_put_objects(session, list, kind->columns);
    }
    return BERTH_EXIT_OK;
}

/* ---- describe ---- */

static void
put_events(BerthSession *session, const json_t *object)
{
    static const char *const titles[] = {"Last", "Severity", "Reason", "Message", NULL};
    const char *uid = json_string_value(berth_json_at(object, "/metadata/uid"));
    g_autofree char *query = g_strdup_printf("field=spec.object_uid%%3D%s", uid != NULL ? uid : "");
    g_autoptr(json_t) events = berth_list_objects(session, &berth_kind_event, query, NULL);
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *event;
    json_array_foreach (events, i, event) {
        const json_t *spec = json_object_get(event, "spec");
        g_autofree char *age = berth_format_age(berth_json_string(spec, "last"), session->now_us);
        const char *cells[] = {age, berth_json_string(spec, "severity"),
                               berth_json_string(spec, "reason"),
                               berth_json_string(spec, "message")};
        berth_table_add(table, cells);
    }
    if (json_array_size(events) > 0) {
        g_autofree char *text = berth_table_format(table);
        printf("\nEvents:\n%s", text);
    }
}

/* All of it as YAML, which is short enough to read, and what happened to it. */
static int
run_describe(BerthSession *session, const BerthArgs *args, GError **error)
{
    const BerthKind *kind = berth_resolve_kind(berth_args_get(args, "kind"), error);
    g_autoptr(json_t) object =
        kind != NULL ? find(session, kind, berth_args_get(args, "name"), error) : NULL;
    if (object == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, object);
        return BERTH_EXIT_OK;
    }
    g_autofree char *text = berth_print_value(object, BERTH_OUTPUT_YAML);
    berth_session_put(session, text);
    put_events(session, object);
    return BERTH_EXIT_OK;
}

/* ---- delete ---- */

static json_t *
begin_delete(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    const BerthKind *kind = berth_resolve_kind(berth_args_get(args, "kind"), NULL);
    g_autoptr(json_t) object = find(session, kind, name, error);
    return object != NULL && berth_delete(session, object, 0, error) ? g_steal_pointer(&object)
                                                                     : NULL;
}

static gboolean
end_delete(BerthSession *session, const BerthArgs *args, const json_t *object, GError **error)
{
    gint64 wait_s = berth_wait_option(args, BERTH_WAIT_DEFAULT_S, BERTH_WAIT_DEFAULT_S);
    if (wait_s > 0 && !berth_wait_gone(session, object, wait_s, error)) {
        return FALSE;
    }
    berth_session_say(session, "%s '%s' %s", berth_json_string(object, "kind"),
                      berth_json_name(object), wait_s > 0 ? "deleted" : "is being deleted");
    return TRUE;
}

static int
run_delete(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_delete, end_delete};
    return berth_resolve_kind(berth_args_get(args, "kind"), error) != NULL
               ? berth_each_name(session, args, "name", &verb, error)
               : BERTH_FAILED;
}

/* ---- rm: docker's word for pods and VMs ---- */

/* One that is gone by then needs no more. */
static gboolean
rm(BerthSession *session, const json_t *object, gboolean is_active, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (is_active) {
        g_autoptr(json_t) task = berth_post_verb(session, object, "destroy", &problem);
    }
    if ((problem == NULL && berth_delete(session, object, 0, &problem)) ||
        g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static json_t *
begin_rm(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    static const char *const active[] = {"Preparing", "Starting", "Running", "Stopping", NULL};
    g_autoptr(json_t) object = berth_resolve_workload(session, NULL, name, error);
    if (object == NULL) {
        return NULL;
    }
    gboolean is_active = g_strv_contains(active, berth_json_phase(object));
    if (is_active && !berth_args_has(args, "force")) {
        berth_error_set_at(error, BERTH_ERROR_CONFLICT, NULL, "stop it, or use rm -f",
                           "%s '%s' is running", berth_json_string(object, "kind"),
                           berth_json_name(object));
        return NULL;
    }
    return rm(session, object, is_active, error) ? g_steal_pointer(&object) : NULL;
}

static int
run_rm(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_rm, end_delete};
    return berth_each_name(session, args, "domain", &verb, error);
}

/* ---- explain ---- */

static void
list_kinds(BerthSession *session)
{
    static const char *const titles[] = {"Kind", "Short", "Scope", "What it is", NULL};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        const BerthKind *kind = berth_kinds[i];
        if (!kind->hidden) {
            const char *cells[] = {kind->name, kind->short_name,
                                   kind->scope == BERTH_SCOPE_FLEET ? "fleet" : "project",
                                   kind->doc};
            berth_table_add(table, cells);
        }
    }
    g_autofree char *text = berth_table_format(table);
    berth_session_put(session, text);
}

static int
run_explain(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *path = berth_args_get(args, "path");
    if (path == NULL) {
        list_kinds(session);
        return BERTH_EXIT_OK;
    }
    g_autofree char *text = berth_kind_explain(path, error);
    if (text == NULL) {
        return BERTH_FAILED;
    }
    g_autofree char *wrapped = berth_help_wrap(text);
    berth_session_put(session, wrapped);
    return BERTH_EXIT_OK;
}

/* ---- the table ---- */

static const BerthArgument get_arguments[] = {
    {"kind", "pods, vms, hosts, images …: berth explain lists them",
     .complete = BERTH_COMPLETE_KIND},
    {"name", "names; without them all", .optional = TRUE, .rest = TRUE,
     .complete = BERTH_COMPLETE_OBJECT},
    {NULL},
};
static const BerthArgument describe_arguments[] = {
    {"kind", "pod, vm, host, image …", .complete = BERTH_COMPLETE_KIND},
    {"name", "name of the object", .complete = BERTH_COMPLETE_OBJECT},
    {NULL},
};
static const BerthArgument delete_arguments[] = {
    {"kind", "pod, vm, host, image …", .complete = BERTH_COMPLETE_KIND},
    {"name", "names of the objects", .rest = TRUE, .complete = BERTH_COMPLETE_OBJECT},
    {NULL},
};
static const BerthArgument explain_arguments[] = {
    {"path", "KIND or KIND.spec.field …; without it all kinds", .optional = TRUE,
     .complete = BERTH_COMPLETE_FIELD},
    {NULL},
};
static const BerthArgument rm_arguments[] = {
    {"domain", "names of pods or VMs", .rest = TRUE, .complete = BERTH_COMPLETE_WORKLOAD},
    {NULL},
};
static const BerthOption get_options[] = {
    {"label", 'l', BERTH_OPTION_TEXT, "SELECTOR",
     "only those with these labels: tier=front,env!=test"},
    {"all-projects", 'A', BERTH_OPTION_FLAG, NULL, "of all projects"},
    {NULL},
};
static const BerthOption wait_option[] = {BERTH_WAIT_OPTION, {NULL}};
static const BerthOption rm_options[] = {
    {"force", 'f', BERTH_OPTION_FLAG, NULL, "also when it runs: its power is cut"},
    {NULL},
};

const BerthCommand berth_object_commands[] = {
    {.name = "get",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "show objects of a kind",
     .run = run_get,
     .arguments = get_arguments,
     .options = get_options,
     .example = "berth get pods\nberth get host h1 -o yaml\nberth get pods -A -o wide"},
    {.name = "describe",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "show all of an object and what happened to it",
     .run = run_describe,
     .arguments = describe_arguments},
    {.name = "delete",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "delete objects",
     .run = run_delete,
     .arguments = delete_arguments,
     .options = wait_option,
     .about =
         "VMs and pods that run are stopped first. Waits until they are gone; --wait=0 does not."},
    {.name = "rm",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "delete pods or VMs",
     .run = run_rm,
     .arguments = rm_arguments,
     .options = rm_options},
    {.name = "explain",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "what a kind or a field means",
     .run = run_explain,
     .arguments = explain_arguments,
     .example = "berth explain\nberth explain pod\nberth explain pod.spec.containers.env"},
    {NULL},
};
