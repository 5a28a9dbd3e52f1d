/* Objects as values: made, loaded from a store's row, copied with one thing changed, written.
 *
 * Invariant: spec_data is always what kind->spec reads from spec, status_data what kind->status reads
 * from status. Main loop, except that a worker may unref what it alone holds. What users send is read
 * in object-read.c. */
#include "model/object.h"

#include <string.h>
#include <uuid/uuid.h>

#include "base/error.h"
#include "base/json.h"

static const BerthField metadata_fields[] = {
    BERTH_FIELD(BerthMetadata, name, STRING, .minimum = 1, .maximum = 253,
                .mutability = BERTH_MUTABLE_NEVER,
                .doc = "Name, unique among its kind (workloads: among VMs and Pods) in the "
                       "project: a DNS label."),
    BERTH_FIELD(BerthMetadata, project, STRING, .format = BERTH_FORMAT_NAME,
                .mutability = BERTH_MUTABLE_NEVER,
                .doc = "Project it belongs to; kinds of the fleet have none."),
    BERTH_FIELD(BerthMetadata, uid, STRING, .format = BERTH_FORMAT_UUID,
                .mutability = BERTH_MUTABLE_NEVER,
                .doc = "Identity, given by the server and never used again."),
    BERTH_FIELD(BerthMetadata, revision, INT, .minimum = 0, .maximum = G_MAXINT64,
                .doc = "Revision of the store that last wrote the object, given by the server; "
                       "in a write it guards against changes made since."),
    BERTH_FIELD(BerthMetadata, generation, INT, .minimum = 0, .maximum = G_MAXINT64,
                .doc = "How often spec has changed, counted by the server."),
    BERTH_FIELD(BerthMetadata, labels, MAP,
                .doc = "Words to select objects by; values are any UTF-8 text."),
    BERTH_FIELD(BerthMetadata, annotations, MAP,
                .doc = "Notes for people and tools; nothing selects by them."),
    BERTH_FIELD(BerthMetadata, created, STRING, .format = BERTH_FORMAT_TIME,
                .mutability = BERTH_MUTABLE_NEVER, .doc = "When it was made, said by the server."),
    BERTH_FIELD(BerthMetadata, deleting, STRING, .format = BERTH_FORMAT_TIME,
                .doc = "When its deletion was asked for, said by the server; absent otherwise."),
};
const BerthSchema berth_metadata_schema = BERTH_SCHEMA(
    "Metadata", BerthMetadata, metadata_fields, "Who the object is, and how it is labelled.");

BerthObject *
berth_object_ref(BerthObject *object)
{
    g_atomic_ref_count_inc(&object->references);
    return object;
}

void
berth_object_unref(BerthObject *object)
{
    if (object == NULL || !g_atomic_ref_count_dec(&object->references)) {
        return;
    }
    berth_schema_free(object->kind->spec, object->spec_data);
    if (object->kind->status != NULL) {
        berth_schema_free(object->kind->status, object->status_data);
    }
    g_free(object->project);
    g_free(object->name);
    g_free(object->uid);
    g_free(object->created);
    g_free(object->deleting);
    json_decref(object->labels);
    json_decref(object->annotations);
    json_decref(object->spec);
    json_decref(object->status);
    g_free(object);
}

/** Returns: (transfer full): a random UUID (RFC 4122, version 4), lower case. */
char *
berth_uid_new(void)
{
    uuid_t uuid;
    char text[37];
    uuid_generate_random(uuid);
    uuid_unparse_lower(uuid, text);
    return g_strdup(text);
}

/** Checks @name as the name of an object: a DNS label. Errors: INVALID. */
gboolean
berth_name_check(const char *name, GError **error)
{
    return berth_format_check(BERTH_FORMAT_NAME, name, error);
}

static BerthObject *
new_empty(const BerthKind *kind, const char *project, const char *name, const char *uid)
{
    BerthObject *object = g_new0(BerthObject, 1);
    g_atomic_ref_count_init(&object->references);
    object->kind = kind;
    object->project = g_strdup(project != NULL ? project : "");
    object->name = g_strdup(name);
    object->uid = g_strdup(uid);
    object->labels = json_object();
    object->annotations = json_object();
    return object;
}

static json_t *
copy_map(const json_t *map)
{
    return map != NULL ? json_deep_copy(map) : json_object();
}

/* Reads @spec (NULL: empty) into @object. The pointer of an error begins with /spec. */
static gboolean
take_spec(BerthObject *object, const json_t *spec, GError **error)
{
    object->spec = copy_map(spec);
    object->spec_data = berth_schema_read(object->kind->spec, object->spec, error);
    if (object->spec_data == NULL && error != NULL) {
        berth_error_point(*error, "/spec");
    }
    return object->spec_data != NULL;
}

static gboolean
take_status(BerthObject *object, const json_t *status, GError **error)
{
    if (object->kind->status == NULL) {
        return TRUE;
    }
    object->status = status != NULL ? json_deep_copy(status) : NULL;
    object->status_data = berth_schema_read(object->kind->status, object->status, error);
    if (object->status_data == NULL && error != NULL) {
        berth_error_point(*error, "/status");
    }
    return object->status_data != NULL;
}

/* Hidden kinds have composed names; see Address. */
static gboolean
check_name(const BerthKind *kind, const char *name, GError **error)
{
    if (!kind->hidden) {
        return berth_name_check(name, error);
    }
    gsize length = strlen(name);
    if (length < 1 || length > 253 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != length) {
        g_autofree char *quoted = berth_quote(name);
        berth_error_set(error, BERTH_ERROR_INVALID, "%s can't name a %s", quoted, kind->name);
        return FALSE;
    }
    return TRUE;
}

/**
 * berth_object_make:
 * @project: "" or NULL for kinds of the fleet
 * @spec: (nullable) (transfer none): read and validated as a user's would be
 * @created: (nullable): RFC 3339
 *
 * Returns: (transfer full) (nullable): a new object with a new uid, not stored yet. Errors: INVALID.
 */
BerthObject *
berth_object_make(const BerthKind *kind, const char *project, const char *name, const json_t *spec,
                  const char *created, GError **error)
{
    if (!check_name(kind, name, error)) {
        return NULL;
    }
    g_autofree char *uid = berth_uid_new();
    g_autoptr(BerthObject) object = new_empty(kind, project, name, uid);
    object->created = g_strdup(created);
    object->generation = 1;
    if (!take_spec(object, spec, error) || !take_status(object, NULL, error) ||
        (kind->validate != NULL && !kind->validate(object, error))) {
        return NULL;
    }
    return g_steal_pointer(&object);
}

/* What is said of @object's identity in messages about stored data. */
static gboolean
fail_corrupt(const char *kind, const char *project, const char *name, const GError *cause,
             GError **error)
{
    const char *pointer = cause->domain == BERTH_ERROR ? berth_error_pointer(cause) : NULL;
    berth_error_set_at(error, BERTH_ERROR_CORRUPT, pointer,
                       "put back a backup with berth restore, or start the version that wrote it",
                       "the stored %s %s%s%s can't be read: %s%s%s", kind, project,
                       *project != '\0' ? "/" : "", name, pointer != NULL ? pointer : "",
                       pointer != NULL ? " " : "", cause->message);
    return FALSE;
}

static json_t *
parse_half(const char *text, const char *what, GError **error)
{
    g_autoptr(json_t) json = berth_json_parse_limited(text, strlen(text), 64 * 1024 * 1024,
                                                      BERTH_JSON_DEPTH_MAX + 8, error);
    if (json != NULL && !json_is_object(json)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "its %s is no object", what);
        return NULL;
    }
    return g_steal_pointer(&json);
}

static gboolean
take_body(BerthObject *object, const json_t *body, GError **error)
{
    const json_t *labels = json_object_get(body, "labels");
    const json_t *annotations = json_object_get(body, "annotations");
    if ((labels != NULL && !json_is_object(labels)) ||
        (annotations != NULL && !json_is_object(annotations))) {
        berth_error_set(error, BERTH_ERROR_INVALID, "labels and annotations must be objects");
        return FALSE;
    }
    json_decref(object->labels);
    json_decref(object->annotations);
    object->labels = copy_map(labels);
    object->annotations = copy_map(annotations);
    object->created = g_strdup(berth_json_string(body, "created"));
    object->deleting = g_strdup(berth_json_string(body, "deleting"));
    object->generation = berth_json_integer(body, "generation", 1);
    object->power =
        g_strcmp0(berth_json_string(body, "power"), "on") == 0 ? BERTH_POWER_ON : BERTH_POWER_OFF;
    const json_t *spec = json_object_get(body, "spec");
    if (!json_is_object(spec)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "it has no spec");
        return FALSE;
    }
    return take_spec(object, spec, error);
}

static BerthObject *
load_row(BerthObject *fresh, const char *body_text, const char *status_text, GError **error)
{
    g_autoptr(BerthObject) object = fresh;
    g_autoptr(json_t) body = parse_half(body_text, "body", error);
    if (body == NULL || !take_body(object, body, error)) {
        return NULL;
    }
    g_autoptr(json_t) status = NULL;
    if (status_text != NULL) {
        status = parse_half(status_text, "status", error);
        if (status == NULL) {
            return NULL;
        }
    }
    return take_status(object, status, error) ? g_steal_pointer(&object) : NULL;
}

/**
 * berth_object_load:
 * @body: as berth_object_format_body() wrote it
 * @status: (nullable): JSON text
 *
 * Returns: (transfer full) (nullable): the object as stored; rules across fields are not checked again,
 * so that a rule that became stricter does not lose what is there. Errors: CORRUPT, saying the way out.
 */
BerthObject *
berth_object_load(const char *kind_name, const char *project, const char *name, const char *uid,
                  gint64 revision, gint64 body_revision, const char *body, const char *status,
                  GError **error)
{
    g_autoptr(GError) cause = NULL;
    const BerthKind *kind = berth_kind_find(kind_name);
    if (kind == NULL || strcmp(kind->name, kind_name) != 0 || body == NULL) {
        cause = g_error_new(BERTH_ERROR, BERTH_ERROR_CORRUPT, "%s",
                            body == NULL ? "it has no body" : "the kind is unknown");
        fail_corrupt(kind_name, project, name, cause, error);
        return NULL;
    }
    g_autoptr(BerthObject) object =
        load_row(new_empty(kind, project, name, uid), body, status, &cause);
    if (object == NULL) {
        fail_corrupt(kind_name, project, name, cause, error);
        return NULL;
    }
    object->revision = revision;
    object->body_revision = body_revision;
    object->row_bytes = strlen(body) + (status != NULL ? strlen(status) : 0);
    return g_steal_pointer(&object);
}

/* All but the status. What was read once reads again, so this can't fail. */
static BerthObject *
copy_without_status(const BerthObject *object)
{
    BerthObject *copy = new_empty(object->kind, object->project, object->name, object->uid);
    copy->revision = object->revision;
    copy->body_revision = object->body_revision;
    copy->generation = object->generation;
    copy->created = g_strdup(object->created);
    copy->deleting = g_strdup(object->deleting);
    copy->power = object->power;
    json_object_update(copy->labels, object->labels);
    json_object_update(copy->annotations, object->annotations);
    g_assert_true(take_spec(copy, object->spec, NULL));
    return copy;
}

static BerthObject *
copy_all(const BerthObject *object)
{
    BerthObject *copy = copy_without_status(object);
    g_assert_true(take_status(copy, object->status, NULL));
    return copy;
}

/**
 * berth_object_with_status:
 * @status: (nullable) (transfer none): the whole new status
 *
 * Returns: (transfer full) (nullable): a copy with it. Errors: INVALID when kind->status refuses it.
 */
BerthObject *
berth_object_with_status(const BerthObject *object, const json_t *status, GError **error)
{
    g_autoptr(BerthObject) copy = copy_without_status(object);
    return take_status(copy, status, error) ? g_steal_pointer(&copy) : NULL;
}

/** Returns: (transfer full): a copy of @object, a workload, that wants @power. */
BerthObject *
berth_object_with_power(const BerthObject *object, BerthPower power)
{
    BerthObject *copy = copy_all(object);
    copy->power = power;
    return copy;
}

/** Returns: (transfer full): a copy marked for deletion since @when (RFC 3339); NULL unmarks it. */
BerthObject *
berth_object_with_deleting(const BerthObject *object, const char *when)
{
    BerthObject *copy = copy_all(object);
    g_free(copy->deleting);
    copy->deleting = g_strdup(when);
    return copy;
}

/** Returns: (transfer full): a copy with @labels (transfer none; an object of strings). */
BerthObject *
berth_object_with_labels(const BerthObject *object, const json_t *labels)
{
    BerthObject *copy = copy_all(object);
    json_decref(copy->labels);
    copy->labels = copy_map(labels);
    return copy;
}

/**
 * berth_object_set_identity:
 * @object: just made or read, held by the caller alone, not stored yet
 * @uid: (nullable): its new uid; NULL keeps it
 * @created: (nullable): its new creation time; NULL keeps it
 */
void
berth_object_set_identity(BerthObject *object, const char *uid, const char *created)
{
    g_return_if_fail(object->revision == 0);
    if (uid != NULL) {
        g_free(object->uid);
        object->uid = g_strdup(uid);
    }
    if (created != NULL) {
        g_free(object->created);
        object->created = g_strdup(created);
    }
}

static const char *
power_name(BerthPower power)
{
    return power == BERTH_POWER_ON ? "on" : "off";
}

static void
set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL) {
        json_object_set_new(object, key, json_string(text));
    }
}

/** Returns: (transfer full): the half that users own, as JSON text for a store's row. */
char *
berth_object_format_body(const BerthObject *object)
{
    g_autoptr(json_t) body = json_object();
    json_object_set(body, "labels", object->labels);
    json_object_set(body, "annotations", object->annotations);
    set_text(body, "created", object->created);
    set_text(body, "deleting", object->deleting);
    json_object_set_new(body, "generation", json_integer(object->generation));
    if (object->kind->workload) {
        set_text(body, "power", power_name(object->power));
    }
    json_object_set(body, "spec", object->spec);
    return berth_json_format(body);
}

static json_t *
metadata_to_json(const BerthObject *object)
{
    json_t *metadata = json_object();
    set_text(metadata, "name", object->name);
    if (object->kind->scope == BERTH_SCOPE_PROJECT) {
        set_text(metadata, "project", object->project);
    }
    set_text(metadata, "uid", object->uid);
    json_object_set_new(metadata, "revision", json_integer(object->revision));
    json_object_set_new(metadata, "generation", json_integer(object->generation));
    json_object_set(metadata, "labels", object->labels);
    json_object_set(metadata, "annotations", object->annotations);
    set_text(metadata, "created", object->created);
    set_text(metadata, "deleting", object->deleting);
    return metadata;
}

/**
 * berth_object_to_json:
 *
 * Returns: (transfer full): the whole object as the API answers it. It shares spec and status with
 * @object: read or dump it, don't change below the first level.
 */
json_t *
berth_object_to_json(const BerthObject *object)
{
    json_t *json = json_object();
    set_text(json, "kind", object->kind->name);
    json_object_set_new(json, "metadata", metadata_to_json(object));
    if (object->kind->workload) {
        set_text(json, "power", power_name(object->power));
    }
    json_object_set(json, "spec", object->spec);
    if (object->status != NULL) {
        json_object_set(json, "status", object->status);
    }
    return json;
}

/** Returns: (transfer full): where the API has @object: "/v1/projects/default/pods/web". */
char *
berth_object_path(const BerthObject *object)
{
    const BerthKind *kind = object->kind;
    return kind->scope == BERTH_SCOPE_PROJECT
               ? g_strdup_printf("/v1/projects/%s/%s/%s", object->project, kind->plural,
                                 object->name)
               : g_strdup_printf("/v1/%s/%s", kind->plural, object->name);
}
