/* Names cost one request when they are ours; only what is no name of ours searches the project.
 * Main thread. */
#include "cli/resolve.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "model/kinds.h"

#define ID_MIN 8 /* digits of a UUID that stand for it; what lists show */

const char *
berth_json_name(const json_t *object)
{
    const char *name = json_string_value(berth_json_at(object, "/metadata/name"));
    return name != NULL ? name : "?";
}

/** Returns: (nullable): the kind that @object says it is. */
const BerthKind *
berth_json_kind(const json_t *object)
{
    const char *name = berth_json_string(object, "kind");
    return name != NULL ? berth_kind_find(name) : NULL;
}

/** Returns: the kind called @name; NULL with NOT_FOUND. */
const BerthKind *
berth_resolve_kind(const char *name, GError **error)
{
    const BerthKind *kind = berth_kind_find(name);
    if (kind != NULL && !kind->hidden) {
        return kind;
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "berth explain lists the kinds",
                       "there is no kind '%s'", name);
    return NULL;
}

/* ---- paths ---- */

/** Returns: (transfer full): "/v1/projects/default/pods", "/v1/hosts". */
char *
berth_collection_path(BerthSession *session, const BerthKind *kind)
{
    if (kind->scope == BERTH_SCOPE_FLEET) {
        return g_strdup_printf("/v1/%s", kind->plural);
    }
    g_autofree char *project = berth_url_escape(session->settings->project);
    return g_strdup_printf("/v1/projects/%s/%s", project, kind->plural);
}

char *
berth_object_url(BerthSession *session, const BerthKind *kind, const char *name)
{
    g_autofree char *collection = berth_collection_path(session, kind);
    g_autofree char *escaped = berth_url_escape(name);
    return g_strdup_printf("%s/%s", collection, escaped);
}

/** Returns: (transfer full): the path of @object, which the API answered, and @suffix behind it. */
char *
berth_json_url(const json_t *object, const char *suffix)
{
    const BerthKind *kind = berth_json_kind(object);
    const char *project = json_string_value(berth_json_at(object, "/metadata/project"));
    g_autofree char *name = berth_url_escape(berth_json_name(object));
    if (kind == NULL || kind->scope == BERTH_SCOPE_FLEET || project == NULL) {
        return g_strdup_printf("/v1/%s/%s%s", kind != NULL ? kind->plural : "?", name, suffix);
    }
    g_autofree char *escaped = berth_url_escape(project);
    return g_strdup_printf("/v1/projects/%s/%s/%s%s", escaped, kind->plural, name, suffix);
}

/* ---- objects ---- */

json_t *
berth_get_object(BerthSession *session, const BerthKind *kind, const char *name, GError **error)
{
    g_autofree char *path = berth_object_url(session, kind, name);
    g_autoptr(GError) problem = NULL;
    json_t *object = berth_client_get(session->client, path, &problem);
    if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND) &&
        berth_error_hint(problem) == NULL) {
        g_autofree char *hint = g_strdup_printf("berth get %s lists what is there", kind->plural);
        berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL, hint, "%s", problem->message);
    } else if (problem != NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
    }
    return object;
}

/** @query: (nullable): "label=tier%3Dfront", without a question mark. */
json_t *
berth_list_objects(BerthSession *session, const BerthKind *kind, const char *query, GError **error)
{
    g_autofree char *collection = berth_collection_path(session, kind);
    g_autofree char *path =
        query != NULL ? g_strconcat(collection, "?", query, NULL) : g_strdup(collection);
    return berth_client_list(session->client, path, error);
}

static gboolean
starts_with_id(const char *uid, const char *name)
{
    return uid != NULL && strlen(name) >= ID_MIN &&
           g_ascii_strncasecmp(uid, name, strlen(name)) == 0;
}

/* Whether @name, which is no name of ours, is one of the other names of @object. */
static gboolean
answers_to(const json_t *object, const char *name)
{
    const char *domain = json_string_value(berth_json_at(object, "/status/domain/name"));
    return g_strcmp0(domain, name) == 0 ||
           starts_with_id(json_string_value(berth_json_at(object, "/metadata/uid")), name) ||
           starts_with_id(json_string_value(berth_json_at(object, "/status/domain/uuid")), name);
}

/* Adds what answers to @name of one kind. */
static gboolean
search(BerthSession *session, const BerthKind *kind, const char *name, json_t *found,
       GError **error)
{
    g_autoptr(json_t) all = berth_list_objects(session, kind, NULL, error);
    gsize i;
    json_t *object;
    json_array_foreach (all, i, object) {
        if (answers_to(object, name)) {
            json_array_append(found, object);
        }
    }
    return all != NULL;
}

static json_t *
search_workloads(BerthSession *session, const BerthKind *kind, const char *name, GError **error)
{
    g_autoptr(json_t) found = json_array();
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (berth_kinds[i]->workload && (kind == NULL || kind == berth_kinds[i]) &&
            !search(session, berth_kinds[i], name, found, error)) {
            return NULL;
        }
    }
    if (json_array_size(found) == 1) {
        return json_incref(json_array_get(found, 0));
    }
    if (json_array_size(found) > 1) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' fits %zu workloads; use a name", name,
                        json_array_size(found));
        return NULL;
    }
    berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL, "berth list --all",
                       "there is no %s '%s' in project '%s'",
                       kind == NULL             ? "pod or VM"
                       : kind == &berth_kind_vm ? "VM"
                                                : "pod",
                       name, session->settings->project);
    return NULL;
}

/**
 * berth_resolve_workload:
 * @kind: (nullable): only this kind
 * @name: our name, libvirt's name, a UUID or its first 8 digits or more
 *
 * Returns: (transfer full): the object. Errors: NOT_FOUND, INVALID (fits several).
 */
json_t *
berth_resolve_workload(BerthSession *session, const BerthKind *kind, const char *name,
                       GError **error)
{
    for (guint i = 0; berth_kinds[i] != NULL && berth_name_check(name, NULL); i++) {
        if (!berth_kinds[i]->workload || (kind != NULL && kind != berth_kinds[i])) {
            continue;
        }
        g_autoptr(GError) problem = NULL;
        json_t *object = berth_get_object(session, berth_kinds[i], name, &problem);
        if (object != NULL) {
            return object;
        }
        if (!g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return NULL;
        }
    }
    return search_workloads(session, kind, name, error);
}

/* ---- images ---- */

/**
 * berth_reference_normalise:
 *
 * Returns: (transfer full): @reference as registries know it, for comparing: "nginx" is
 * "docker.io/library/nginx:latest". Whether it is a good one is the server's to say.
 */
char *
berth_reference_normalise(const char *reference)
{
    const char *slash = strchr(reference, '/');
    g_autofree char *host = slash != NULL ? g_strndup(reference, slash - reference) : g_strdup("");
    gboolean named = strpbrk(host, ".:") != NULL || strcmp(host, "localhost") == 0;
    const char *prefix = named ? "" : slash != NULL ? "docker.io/" : "docker.io/library/";
    const char *last = strrchr(reference, '/');
    gboolean tagged =
        strchr(reference, '@') != NULL || strchr(last != NULL ? last : reference, ':') != NULL;
    return g_strconcat(prefix, reference, tagged ? "" : ":latest", NULL);
}

/**
 * berth_resolve_image:
 * @name: of an Image object, or a container image's reference
 *
 * Returns: (transfer full): the Image. Errors: NOT_FOUND.
 */
json_t *
berth_resolve_image(BerthSession *session, const char *name, GError **error)
{
    g_autoptr(json_t) all = berth_list_objects(session, &berth_kind_image, NULL, error);
    if (all == NULL) {
        return NULL;
    }
    g_autofree char *wanted = berth_reference_normalise(name);
    gsize i;
    json_t *image;
    json_array_foreach (all, i, image) {
        const char *reference = json_string_value(berth_json_at(image, "/spec/reference"));
        g_autofree char *full = reference != NULL ? berth_reference_normalise(reference) : NULL;
        const char *digest = json_string_value(berth_json_at(image, "/status/digest"));
        if (strcmp(berth_json_name(image), name) == 0 || g_strcmp0(full, wanted) == 0 ||
            g_strcmp0(digest, name) == 0) {
            return json_incref(image);
        }
    }
    berth_error_set_at(error, BERTH_ERROR_NOT_FOUND, NULL, "berth images; berth pull REFERENCE",
                       "there is no image '%s'", name);
    return NULL;
}

/** Returns: (transfer full): the Task that does @verb to @object; NULL on error. */
json_t *
berth_post_verb(BerthSession *session, const json_t *object, const char *verb, GError **error)
{
    g_autofree char *suffix = g_strconcat(":", verb, NULL);
    g_autofree char *path = berth_json_url(object, suffix);
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "POST", path, NULL, error);
    return reply != NULL ? g_steal_pointer(&reply->body) : NULL;
}
