/* berth set: fields of an object, from the command line, as a JSON merge patch. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "cli/yaml.h"

/* The object that is called @name in @parent; made when it is not there. */
static json_t *
open_member(json_t *parent, const char *name)
{
    json_t *member = json_object_get(parent, name);
    if (!json_is_object(member)) {
        member = json_object();
        json_object_set_new(parent, name, member);
    }
    return member;
}

/* The field of @kind's specs that keeps what is at @path under keys, which may have dots; @key: gets where in @path
 * its key begins. NULL: none. */
static const BerthField *
find_map(const BerthKind *kind, const char *path, const char **key)
{
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        g_autofree char *above = g_strndup(path, (gsize)(dot - path));
        const BerthField *field = berth_schema_find(kind->spec, above);
        if (field != NULL &&
            (field->type == BERTH_FIELD_MAP || field->type == BERTH_FIELD_COUNTS)) {
            *key = dot + 1;
            return field;
        }
    }
    return NULL;
}

/* Whether what is at @path of a spec is a text whatever it looks like. */
static gboolean
is_text(const BerthKind *kind, const char *path)
{
    const char *key;
    const BerthField *map = find_map(kind, path, &key);
    const BerthField *field = map != NULL ? map : berth_schema_find(kind->spec, path);
    return field != NULL && (field->type == BERTH_FIELD_STRING || field->type == BERTH_FIELD_ENUM ||
                             field->type == BERTH_FIELD_MAP);
}

/* "placement.host_labels.example.com/tier": a part for each member, the key in one. */
static char **
split_path(const BerthKind *kind, const char *path)
{
    const char *key;
    if (find_map(kind, path, &key) == NULL) {
        return g_strsplit(path, ".", -1);
    }
    g_autofree char *above = g_strndup(path, (gsize)(key - 1 - path));
    g_auto(GStrv) members = g_strsplit(above, ".", -1);
    g_autoptr(GStrvBuilder) parts = g_strv_builder_new();
    g_strv_builder_addv(parts, (const char **)members);
    g_strv_builder_add(parts, key);
    return g_strv_builder_end(parts);
}

/* @text as YAML, so that numbers, yes or no, [lists] and {members: of objects} are what they look like. */
static json_t *
read_value(const char *text, GError **error)
{
    g_autoptr(json_t) documents = berth_yaml_parse(text, strlen(text), error);
    return documents != NULL && json_array_size(documents) == 1
               ? json_incref(json_array_get(documents, 0))
               : NULL;
}

/* "zone=north", "placement.host=h1", "labels.tier=front", "taints=": adds it to @patch. */
static gboolean
add_field(json_t *patch, const BerthKind *kind, const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *path = g_strndup(text, equals != NULL ? (gsize)(equals - text) : 0);
    if (*path == '\0') {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "for example memory_mib=2048",
                           "'%s' is no field and its value", text);
        return FALSE;
    }
    gboolean is_label = g_str_has_prefix(path, "labels.") || g_str_has_prefix(path, "annotations.");
    g_auto(GStrv) parts = is_label ? g_strsplit(path, ".", 2) : split_path(kind, path);
    json_t *parent = open_member(patch, is_label ? "metadata" : "spec");
    guint last = g_strv_length(parts) - 1;
    for (guint i = 0; i < last; i++) {
        parent = open_member(parent, parts[i]);
    }
    json_t *value = equals[1] == '\0'                 ? json_null()
                    : is_label || is_text(kind, path) ? json_string(equals + 1)
                                                      : read_value(equals + 1, error);
    if (value == NULL) {
        g_prefix_error(error, "field %s: ", path);
        if (error != NULL && *error == NULL) {
            berth_error_set(error, BERTH_ERROR_INVALID, "field %s: '%s' is no value", path,
                            equals + 1);
        }
        return FALSE;
    }
    json_object_set_new(parent, parts[last], value);
    return TRUE;
}

static gboolean
is_same(const json_t *before, const json_t *after)
{
    static const char *const places[] = {"/spec", "/metadata/labels", "/metadata/annotations"};
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        if (!json_equal(berth_json_at(before, places[i]), berth_json_at(after, places[i]))) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Whether a field that was set is read at power-on alone, and @object runs. */
static gboolean
is_for_later(const BerthKind *kind, const BerthArgs *args, const json_t *object)
{
    gboolean later = FALSE;
    for (char *const *text = berth_args_list(args, "field"); *text != NULL; text++) {
        g_autofree char *path = g_strndup(*text, strcspn(*text, "="));
        const BerthField *field = berth_schema_find(kind->spec, path);
        later |= field != NULL && field->mutability == BERTH_MUTABLE_NEXT_BOOT;
    }
    return later && strcmp(berth_json_phase(object), "Running") == 0;
}

static int
run_set(BerthSession *session, const BerthArgs *args, GError **error)
{
    const BerthKind *kind = berth_resolve_kind(berth_args_get(args, "kind"), error);
    g_autoptr(json_t) object =
        kind != NULL ? berth_get_object(session, kind, berth_args_get(args, "name"), error) : NULL;
    g_autoptr(json_t) patch = json_object();
    if (object == NULL) {
        return BERTH_FAILED;
    }
    for (char *const *text = berth_args_list(args, "field"); *text != NULL; text++) {
        if (!add_field(patch, kind, *text, error)) {
            return BERTH_FAILED;
        }
    }
    const BerthRequestOptions options = {.body = patch,
                                         .content_type = "application/merge-patch+json"};
    g_autofree char *path = berth_json_url(object, "");
    g_autoptr(BerthReply) reply =
        berth_client_call(session->client, "PATCH", path, &options, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, reply->body);
    } else {
        gboolean same = is_same(object, reply->body);
        gboolean waits = !same && is_for_later(kind, args, reply->body);
        berth_session_say(session, "%s '%s' %s%s", kind->name, berth_json_name(object),
                          same ? "unchanged" : "changed",
                          waits ? "; what the guest is given holds from its next start on" : "");
    }
    return BERTH_EXIT_OK;
}

static const BerthArgument set_arguments[] = {
    {"kind", "pod, vm, host …", .complete = BERTH_COMPLETE_KIND},
    {"name", "name of the object", .complete = BERTH_COMPLETE_OBJECT},
    {"field", "fields of its spec, or labels.KEY: memory_mib=2048, zone=north", .rest = TRUE},
    {NULL},
};

const BerthCommand berth_set_commands[] = {
    {.name = "set",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "change fields of an object",
     .run = run_set,
     .arguments = set_arguments,
     .about =
         "Fields are those that berth explain lists below spec, with dots between their parts; "
         "labels.KEY and annotations.KEY are those of the object. Values are written as in YAML. A "
         "list is replaced as a whole; without a value a field is taken out, so that its default "
         "holds.",
     .example =
         "berth set vm db vcpus=4 memory_mib=8192\n"
         "berth set host h1 dedicated_cpus=4-15 'devices=[{class: gpu, ids: [\"10de:20b0\"]}]'\n"
         "berth set host h1 'taints=[{key: gpu}]' labels.disk=ssd resources.licence/oracle=4\n"
         "berth set project shop quota_vcpus=64 reserved_vcpus=16\n"
         "berth set settings fleet survive_host_loss=true"},
    {NULL},
};
