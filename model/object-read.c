/* A user's document becomes an object, or an error that points at what is wrong with it.
 *
 * What the server owns (uid, revision, generation, created, deleting, power) may stand in a document
 * only as the object has it now, so that "get, edit, put" works and nothing is silently dropped. The
 * document's revision is also a guard: one older than the last change of the user's half is a
 * CONFLICT. `status` is read-only and therefore not looked at. Main loop. */
#include "model/object.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "model/workload.h"

static gboolean
check_member(const char *name, const BerthKind *kind, GError **error)
{
    static const char *const members[] = {"kind", "metadata", "spec", "status", "power", NULL};
    if (g_strv_contains(members, name) && (kind->workload || strcmp(name, "power") != 0)) {
        return TRUE;
    }
    g_autofree char *quoted = berth_quote(name);
    const BerthField *misplaced =
        strchr(name, '.') == NULL ? berth_schema_find(kind->spec, name) : NULL;
    const char *near = berth_suggest(name, members);
    g_autofree char *hint = misplaced != NULL ? g_strdup_printf("put %s into spec", name)
                            : near != NULL    ? g_strdup_printf("did you mean \"%s\"?", near)
                                              : g_strdup("known here: kind, metadata, spec");
    g_autofree char *pointer = g_strconcat("/", name, NULL);
    berth_error_set_at(error, BERTH_ERROR_INVALID, strpbrk(name, "~/") == NULL ? pointer : "", hint,
                       "unknown member %s", quoted);
    return FALSE;
}

static gboolean
check_shape(const BerthKind *kind, const json_t *document, GError **error)
{
    if (!json_is_object(document)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "", NULL, "the document must be an object");
        return FALSE;
    }
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)document, name, value) {
        if (!check_member(name, kind, error)) {
            return FALSE;
        }
    }
    const json_t *spec = json_object_get(document, "spec");
    if (spec != NULL && !json_is_object(spec)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec", NULL, "must be an object");
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_kind(const BerthKind *kind, const json_t *document, GError **error)
{
    const json_t *said = json_object_get(document, "kind");
    if (said == NULL || g_strcmp0(json_string_value(said), kind->name) == 0) {
        return TRUE;
    }
    g_autofree char *quoted = berth_quote(json_is_string(said) ? json_string_value(said) : "?");
    berth_error_set_at(error, BERTH_ERROR_INVALID, "/kind", NULL,
                       "the document is of kind %s, the path names a %s", quoted, kind->name);
    return FALSE;
}

/* Whether the document's @said (NULL: nothing) is what the path has. */
static gboolean
check_same(const char *pointer, const char *said, const char *wanted, GError **error)
{
    if (said == NULL || strcmp(said, wanted) == 0) {
        return TRUE;
    }
    g_autofree char *quoted = berth_quote(said);
    if (*wanted == '\0') {
        berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, "leave it out",
                           "the kind belongs to the fleet and to no project, not to %s", quoted);
    } else {
        berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL,
                           "the document says %s, the path says \"%s\"", quoted, wanted);
    }
    return FALSE;
}

static BerthMetadata *
read_metadata(const json_t *document, GError **error)
{
    const json_t *json = json_object_get(document, "metadata");
    BerthMetadata *metadata = berth_schema_read(&berth_metadata_schema, json, error);
    if (metadata == NULL && error != NULL) {
        berth_error_point(*error, "/metadata");
    }
    return metadata;
}

static gboolean
fail_stale(const char *pointer, const BerthObject *existing, GError **error)
{
    berth_error_set_at(error, BERTH_ERROR_CONFLICT, pointer,
                       existing != NULL ? "get the object again, repeat the change, put it"
                                        : "leave out what the server sets to make a new object",
                       existing != NULL ? "the object was changed since this document was read"
                                        : "this names an object that does not exist (any more)");
    return FALSE;
}

static gboolean
check_revision(const BerthMetadata *metadata, const BerthObject *existing, GError **error)
{
    gint64 said = metadata->revision;
    if (said == 0) {
        return TRUE;
    }
    gboolean current =
        existing != NULL && said >= existing->body_revision && said <= existing->revision;
    return current || fail_stale("/metadata/revision", existing, error);
}

static gboolean
check_server_text(const char *name, const char *said, const char *is, GError **error)
{
    if (said == NULL || g_strcmp0(said, is) == 0) {
        return TRUE;
    }
    g_autofree char *pointer = g_strconcat("/metadata/", name, NULL);
    berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, "leave it out, or as it was read",
                       "%s is set by the server alone", name);
    return FALSE;
}

static gboolean
check_server_owned(const BerthMetadata *metadata, const BerthObject *existing, GError **error)
{
    if (metadata->uid != NULL && (existing == NULL || strcmp(metadata->uid, existing->uid) != 0)) {
        return fail_stale("/metadata/uid", existing, error);
    }
    if (!check_revision(metadata, existing, error)) {
        return FALSE;
    }
    if (metadata->generation != 0 &&
        (existing == NULL || metadata->generation != existing->generation)) {
        return fail_stale("/metadata/generation", existing, error);
    }
    return check_server_text("created", metadata->created,
                             existing != NULL ? existing->created : NULL, error) &&
           check_server_text("deleting", metadata->deleting,
                             existing != NULL ? existing->deleting : NULL, error);
}

static gboolean
check_power(const json_t *document, const BerthObject *existing, GError **error)
{
    const json_t *said = json_object_get(document, "power");
    const char *is = existing == NULL ? "" : existing->power == BERTH_POWER_ON ? "on" : "off";
    if (said == NULL || g_strcmp0(json_string_value(said), is) == 0) {
        return TRUE;
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, "/power",
                       existing != NULL ? "use the verbs start and shutdown"
                                        : "leave it out; spec.run says what it is created with",
                       "power is changed by verbs alone");
    return FALSE;
}

static gboolean
check_document(const BerthKind *kind, const char *project, const char *name, const json_t *document,
               const BerthMetadata *metadata, const BerthObject *existing, GError **error)
{
    return check_kind(kind, document, error) &&
           check_same("/metadata/name", metadata->name, name, error) &&
           check_same("/metadata/project", metadata->project, project, error) &&
           check_server_owned(metadata, existing, error) && check_power(document, existing, error);
}

/* What goes on from @existing (NULL: nothing does). */
static void
inherit(BerthObject *object, const BerthObject *existing)
{
    if (existing == NULL) {
        g_autofree char *now = berth_time_format(berth_clock_wall_us(berth_clock_system()));
        berth_object_set_identity(object, NULL, now);
        if (object->kind->workload) {
            object->power = berth_workload_of(object)->run == BERTH_RUN_MANUAL ? BERTH_POWER_OFF
                                                                               : BERTH_POWER_ON;
        }
        return;
    }
    berth_object_set_identity(object, existing->uid, existing->created);
    object->deleting = g_strdup(existing->deleting);
    object->power = existing->power;
    object->generation = existing->generation + !json_equal(object->spec, existing->spec);
    object->revision = existing->revision;
    object->body_revision = existing->body_revision;
}

static BerthObject *
build(const BerthKind *kind, const char *project, const char *name, const json_t *document,
      const BerthMetadata *metadata, const BerthObject *existing, GError **error)
{
    const json_t *spec = json_object_get(document, "spec");
    g_autoptr(BerthObject) object = berth_object_make(kind, project, name, spec, NULL, error);
    if (object == NULL) {
        return NULL;
    }
    if (existing != NULL &&
        !berth_schema_check_change(kind->spec, existing->spec, object->spec, error)) {
        if (error != NULL) {
            berth_error_point(*error, "/spec");
        }
        return NULL;
    }
    json_object_update(object->labels, metadata->labels);
    json_object_update(object->annotations, metadata->annotations);
    inherit(object, existing);
    return existing != NULL && existing->status != NULL
               ? berth_object_with_status(object, existing->status, error)
               : g_steal_pointer(&object);
}

/**
 * berth_object_read:
 * @project: of the path; "" or NULL for kinds of the fleet
 * @name: (nullable): of the path; NULL: the document's metadata.name
 * @document: a JSON value of any shape
 * @existing: (nullable): the object as it is now; NULL when it is to be created
 *
 * Returns: (transfer full) (nullable): the object that shall be; when created, with a new uid, the time
 * of the system's clock (see berth_object_set_identity()) and the power that spec.run asks for.
 * Errors: INVALID with the pointer of the offending field; CONFLICT when the document was read before
 * the object last changed, or from another one.
 */
BerthObject *
berth_object_read(const BerthKind *kind, const char *project, const char *name,
                  const json_t *document, const BerthObject *existing, GError **error)
{
    if (!check_shape(kind, document, error)) {
        return NULL;
    }
    BerthMetadata *metadata = read_metadata(document, error);
    if (metadata == NULL) {
        return NULL;
    }
    BerthObject *object = NULL;
    const char *wanted = name != NULL ? name : metadata->name;
    g_autoptr(GError) problem = NULL;
    if (wanted == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/metadata/name", NULL, "is required");
    } else if (!berth_name_check(wanted, &problem)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/metadata/name", NULL, "%s",
                           problem->message);
    } else if (check_document(kind, project != NULL ? project : "", wanted, document, metadata,
                              existing, error)) {
        object = build(kind, project, wanted, document, metadata, existing, error);
    }
    berth_schema_free(&berth_metadata_schema, metadata);
    return object;
}
