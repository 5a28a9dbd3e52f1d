/* Writing: put, post, patch, delete. Invariant: what a handler checked in the catalog is checked again by
 * conditions of its transaction, so of two requests that raced one fails; it then begins anew from the
 * catalog as it is (at most ATTEMPTS_MAX times), unless its If-Match forbids. Main loop. */
#include "daemon/routes-private.h"

#include "base/json.h"

#include <string.h>

#define ATTEMPTS_MAX 8
#define KEY_MAX 255

/* ---- conditions and bodies ---- */

EtagKind
call_etag(Call *call, const char *name, gint64 *revision)
{
    const char *header = berth_request_header(call->request, name);
    if (header == NULL) {
        return ETAG_ANY;
    }
    if (strcmp(header, "*") == 0) {
        return strcmp(name, "If-Match") == 0 ? ETAG_EXISTS : ETAG_ABSENT;
    }
    const char *text = g_str_has_prefix(header, "W/") ? header + 2 : header;
    gsize size = strlen(text);
    g_autofree char *digits =
        size > 2 && text[0] == '"' && text[size - 1] == '"' ? g_strndup(text + 1, size - 2) : NULL;
    if (digits == NULL || !g_ascii_string_to_signed(digits, 10, 1, G_MAXINT64, revision, NULL)) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, "If-Match: \"812\"",
                    "the header %s is neither * nor one ETag", name);
        return ETAG_BAD;
    }
    return ETAG_REVISION;
}

static gboolean
media_type_is(const Call *call, const char *wanted)
{
    const char *type = berth_request_header(call->request, "Content-Type");
    gsize size = type != NULL ? strcspn(type, "; ") : 0;
    return type != NULL && size == strlen(wanted) && g_ascii_strncasecmp(type, wanted, size) == 0;
}

static gboolean
check_media_type(Call *call)
{
    gboolean patch = strcmp(call->route->id, "patch") == 0;
    if (berth_request_header(call->request, "Content-Type") == NULL ||
        media_type_is(call, "application/json") ||
        (patch && media_type_is(call, "application/merge-patch+json"))) {
        return TRUE;
    }
    call_refuse(call, 415, BERTH_ERROR_INVALID,
                patch ? "application/merge-patch+json" : "application/json",
                "the body's Content-Type is not JSON");
    return FALSE;
}

/* Reads the body into call->document. Returns FALSE after answering. */
gboolean
call_read_document(Call *call, gboolean required)
{
    const GString *body = berth_request_body(call->request);
    g_autoptr(GError) error = NULL;
    if (body->len == 0 && !required) {
        return TRUE;
    }
    if (body->len > 0 && !check_media_type(call)) {
        return FALSE;
    }
    call->document = berth_json_parse(body->str, body->len, &error);
    if (call->document == NULL) {
        call_fail(call, 0, error);
        return FALSE;
    }
    return TRUE;
}

/* ---- Idempotency-Key ---- */

/* Returns FALSE after answering: a bad key, or one that was used (its object is the answer then). */
gboolean
call_check_key(Call *call)
{
    const char *key = berth_request_header(call->request, "Idempotency-Key");
    if (key == NULL || call->dry_run) {
        return TRUE;
    }
    if (*key == '\0' || strlen(key) > KEY_MAX) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, NULL,
                    "Idempotency-Key must have 1 to %d characters", KEY_MAX);
        return FALSE;
    }
    g_autofree char *text = g_strjoin("\n", berth_request_actor(call->request)->name,
                                      berth_request_path(call->request), key, NULL);
    g_free(call->key_name);
    call->key_name = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    const BerthObject *used =
        berth_catalog_get(call->routes->catalog, &berth_kind_request_key, "", call->key_name);
    if (used == NULL) {
        return TRUE;
    }
    const BerthRequestKeySpec *spec = used->spec_data;
    const GString *body = berth_request_body(call->request);
    g_autofree char *fingerprint =
        g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)body->str, body->len);
    BerthObject *object = berth_catalog_get_uid(call->routes->catalog, spec->target_uid);
    if (strcmp(spec->fingerprint, fingerprint) != 0) {
        call_refuse(call, 422, BERTH_ERROR_INVALID, "use a new key for each request",
                    "this Idempotency-Key was used with another body");
    } else if (object == NULL) {
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, "use a new key for a new object",
                    "'%s', which this Idempotency-Key made, was deleted", spec->target_path);
    } else {
        call_wait(call, call->route->status, object, WAIT_SETTLED);
    }
    return FALSE;
}

gboolean
call_use_key(Call *call, BerthTransaction *transaction, const BerthObject *object)
{
    if (call->key_name == NULL) {
        return TRUE;
    }
    const GString *body = berth_request_body(call->request);
    g_autofree char *fingerprint =
        g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)body->str, body->len);
    g_autofree char *path = berth_object_path(object);
    g_autofree char *now =
        berth_time_format(berth_clock_wall_us(berth_catalog_clock(call->routes->catalog)));
    g_autoptr(json_t) spec = json_pack("{s:s, s:s, s:s}", "fingerprint", fingerprint, "target_uid",
                                       object->uid, "target_path", path);
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) key =
        berth_object_make(&berth_kind_request_key, "", call->key_name, spec, now, &error);
    if (key == NULL) {
        call_fail(call, 0, error);
        return FALSE;
    }
    berth_catalog_add_body(transaction, key, BERTH_STORE_ABSENT);
    return TRUE;
}

/* ---- submitting ---- */

/* Whether beginning anew may help: somebody else's write came between our look and our write. */
static gboolean
may_retry(const Call *call, int failed_op, const GError *error)
{
    gboolean raced = g_error_matches(error, BERTH_ERROR, BERTH_ERROR_CONFLICT) ||
                     g_error_matches(error, BERTH_ERROR, BERTH_ERROR_EXISTS) ||
                     g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND);
    return raced && failed_op >= 0 && call->retry != NULL && call->request != NULL &&
           call->attempts < ATTEMPTS_MAX;
}

static void
finish_submit(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
              gpointer data)
{
    Call *call = data;
    if (error == NULL) {
        BerthObject *newest = berth_catalog_get_uid(call->routes->catalog, call->object->uid);
        call_wait(call, call->answer_status, newest != NULL ? newest : call->object, WAIT_SETTLED);
    } else if (may_retry(call, failed_op, error)) {
        call->attempts++;
        call->retry(call);
    } else {
        call_fail(call, 0, error);
    }
    call_unref(call);
}

static void
keep_object(Call *call, BerthObject *object)
{
    berth_object_ref(object);
    berth_object_unref(call->object);
    call->object = object;
}

void
call_submit(Call *call, BerthTransaction *transaction, BerthObject *object, guint status,
            void (*retry)(Call *call))
{
    keep_object(call, object);
    call->answer_status = status;
    call->retry = retry;
    berth_catalog_submit(call->routes->catalog, transaction, finish_submit, call_ref(call));
}

/* ---- creating ---- */

static gboolean
is_admitted(const Call *call, const BerthObject *object, GError **error)
{
    const BerthWorkloadOps *ops = call->routes->ops;
    return ops == NULL || ops->admit == NULL || ops->admit(ops->host_data, object, error);
}

/* The project must be there when the transaction commits, and not on its way out: its body unchanged. */
static gboolean
check_project(Call *call, const BerthObject *object, BerthTransaction *transaction)
{
    if (object->kind->scope != BERTH_SCOPE_PROJECT) {
        return TRUE;
    }
    const BerthObject *project =
        berth_catalog_get(call->routes->catalog, &berth_kind_project, "", object->project);
    if (project == NULL || project->deleting != NULL) {
        call_refuse(call, project == NULL ? 404 : 409,
                    project == NULL ? BERTH_ERROR_NOT_FOUND : BERTH_ERROR_CONFLICT,
                    "create the project first", "project '%s' %s", object->project,
                    project == NULL ? "does not exist" : "is being deleted");
        return FALSE;
    }
    BerthStoreOp op = {
        .verb = BERTH_STORE_CHECK,
        .kind = project->kind->name,
        .project = "",
        .name = project->name,
        .if_revision = project->body_revision,
        .if_uid = project->uid,
    };
    berth_transaction_add(transaction, &op);
    return TRUE;
}

/* No workload of another kind may have the name, now or when the transaction commits. */
static gboolean
check_workload_name(Call *call, const BerthObject *object, BerthTransaction *transaction)
{
    if (!object->kind->workload) {
        return TRUE;
    }
    const BerthObject *taken =
        berth_catalog_get_workload(call->routes->catalog, object->project, object->name);
    if (taken != NULL) {
        call_refuse(call, 409, BERTH_ERROR_EXISTS, "choose another name",
                    "the name '%s' is taken by a %s of project %s", object->name, taken->kind->name,
                    object->project);
        return FALSE;
    }
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        BerthStoreOp op = {
            .verb = BERTH_STORE_CHECK,
            .kind = berth_kinds[i]->name,
            .project = object->project,
            .name = object->name,
            .if_revision = BERTH_STORE_ABSENT,
        };
        if (berth_kinds[i]->workload && berth_kinds[i] != object->kind) {
            berth_transaction_add(transaction, &op);
        }
    }
    return TRUE;
}

static gboolean
check_single(Call *call, const BerthObject *object)
{
    if (object->kind != &berth_kind_settings || strcmp(object->name, "fleet") == 0) {
        return TRUE;
    }
    call_refuse(call, 400, BERTH_ERROR_INVALID, "change /v1/settings/fleet",
                "there is only one Settings object, 'fleet'");
    return FALSE;
}

static void
create(Call *call, BerthObject *object, void (*retry)(Call *call))
{
    g_autoptr(BerthTransaction) transaction = berth_transaction_new();
    g_autofree char *now =
        berth_time_format(berth_clock_wall_us(berth_catalog_clock(call->routes->catalog)));
    berth_object_set_identity(object, NULL, now);
    berth_catalog_add_body(transaction, object, BERTH_STORE_ABSENT);
    if (!check_single(call, object) || !check_workload_name(call, object, transaction) ||
        !check_project(call, object, transaction)) {
        return;
    }
    if (call->dry_run) {
        call_answer_object(call, 201, object);
        return;
    }
    if (call_use_key(call, transaction, object)) {
        call_submit(call, g_steal_pointer(&transaction), object, 201, retry);
    }
}

static char *
choose_name(Call *call)
{
    g_autofree char *suffix = berth_random_hex(berth_catalog_random(call->routes->catalog), 5);
    g_autofree char *kind = g_ascii_strdown(call->kind->name, -1);
    return g_strdup_printf("%s-%s", kind, suffix);
}

static void
post_once(Call *call)
{
    if (!call_check_key(call)) {
        return;
    }
    const json_t *metadata = json_object_get(call->document, "metadata");
    gboolean named = json_object_get(metadata, "name") != NULL;
    g_autofree char *chosen = named ? NULL : choose_name(call);
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) object =
        berth_object_read(call->kind, call->project, chosen, call->document, NULL, &error);
    if (object == NULL || !is_admitted(call, object, &error)) {
        call_fail(call, 0, error);
    } else if (berth_catalog_get(call->routes->catalog, call->kind, call->project, object->name) !=
               NULL) {
        call_refuse(call, 409, BERTH_ERROR_EXISTS, "choose another name, or PUT to change it",
                    "there is a %s '%s' already", call->kind->name, object->name);
    } else {
        create(call, object, post_once);
    }
}

void
handle_post(Call *call)
{
    if (call_read_document(call, TRUE)) {
        post_once(call);
    }
}

/* ---- changing ---- */

/* What If-Match and If-None-Match say about @existing (NULL: none). Returns FALSE after answering. */
static gboolean
check_conditions(Call *call, const BerthObject *existing, gint64 *if_revision,
                 gboolean *conditional)
{
    gint64 match = 0, none = 0;
    EtagKind if_match = call_etag(call, "If-Match", &match);
    EtagKind if_none = if_match != ETAG_BAD ? call_etag(call, "If-None-Match", &none) : ETAG_BAD;
    if (if_match == ETAG_BAD || if_none == ETAG_BAD) {
        return FALSE;
    }
    /* A status written since does not count: If-Match guards the user's half. */
    gboolean stale = existing != NULL && if_match == ETAG_REVISION &&
                     (match < existing->body_revision || match > existing->revision);
    gboolean absent = existing == NULL && if_match != ETAG_ANY;
    gboolean present =
        existing != NULL &&
        (if_none == ETAG_ABSENT || (if_none == ETAG_REVISION && none == existing->revision));
    if (stale || absent || present) {
        call_refuse(call, 412, BERTH_ERROR_CONFLICT, "get the object again and repeat the change",
                    "%s",
                    stale    ? "the object was changed since that revision"
                    : absent ? "there is no such object to match"
                             : "there is such an object already");
        return FALSE;
    }
    *conditional = if_match == ETAG_REVISION;
    *if_revision = existing == NULL ? BERTH_STORE_ABSENT : existing->revision;
    return TRUE;
}

static void
update(Call *call, BerthObject *existing, BerthObject *object, gint64 if_revision,
       void (*retry)(Call *call))
{
    if (existing->deleting != NULL) {
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, "wait until it is gone",
                    "%s '%s' is being deleted", existing->kind->name, existing->name);
        return;
    }
    g_autofree char *before = berth_object_format_body(existing);
    g_autofree char *after = berth_object_format_body(object);
    if (strcmp(before, after) == 0) {
        call_wait(call, 200, existing, WAIT_SETTLED);
        return;
    }
    if (call->dry_run) {
        call_answer_object(call, 200, object);
        return;
    }
    BerthTransaction *transaction = berth_transaction_new();
    berth_catalog_add_body(transaction, object, if_revision);
    call_submit(call, transaction, object, 200, retry);
}

/* @document: what the object shall be. */
static void
put_document(Call *call, BerthObject *existing, const json_t *document, void (*retry)(Call *call))
{
    gint64 if_revision;
    gboolean conditional;
    if (!check_conditions(call, existing, &if_revision, &conditional)) {
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) object =
        berth_object_read(call->kind, call->project, call->name, document, existing, &error);
    if (object == NULL || !is_admitted(call, object, &error)) {
        call_fail(call, 0, error);
    } else if (existing == NULL) {
        create(call, object, retry);
    } else {
        update(call, existing, object, if_revision, retry);
    }
}

static void
put_once(Call *call)
{
    BerthObject *existing =
        berth_catalog_get(call->routes->catalog, call->kind, call->project, call->name);
    put_document(call, existing, call->document, put_once);
}

void
handle_put(Call *call)
{
    if (call_read_document(call, TRUE)) {
        put_once(call);
    }
}

static void
patch_once(Call *call)
{
    BerthObject *existing = call_find(call);
    if (existing == NULL) {
        return;
    }
    g_autoptr(json_t) whole = berth_object_to_json(existing);
    json_object_del(whole, "status");
    g_autoptr(json_t) patched = berth_merge_patch(whole, call->document);
    put_document(call, existing, patched, patch_once);
}

void
handle_patch(Call *call)
{
    if (call_read_document(call, TRUE)) {
        patch_once(call);
    }
}

/* ---- deleting ---- */

static guint
count_in_project(const BerthRoutes *routes, const char *project)
{
    guint count = 0;
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        BerthCatalogIter iter;
        if (berth_kinds[i]->scope != BERTH_SCOPE_PROJECT) {
            continue;
        }
        berth_catalog_iter_init(&iter, routes->catalog, berth_kinds[i], project);
        while (berth_catalog_iter_next(&iter) != NULL) {
            count++;
        }
    }
    return count;
}

static gboolean
may_delete(Call *call, const BerthObject *object)
{
    if (object->kind == &berth_kind_settings ||
        (object->kind == &berth_kind_project && strcmp(object->name, "default") == 0)) {
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, NULL, "%s '%s' can't be deleted",
                    object->kind->name, object->name);
        return FALSE;
    }
    guint count =
        object->kind == &berth_kind_project ? count_in_project(call->routes, object->name) : 0;
    if (count > 0) {
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, "delete what is in it first",
                    "project '%s' still has %u objects", object->name, count);
    }
    return count == 0;
}

static void
finish_delete(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
              gpointer data)
{
    Call *call = data;
    /* Somebody else removed it first: gone is gone. */
    if (error == NULL || g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        call_answer_object(call, 200, call->object);
    } else {
        call_fail(call, 0, error);
    }
    call_unref(call);
}

static void
remove_record(Call *call, BerthObject *object)
{
    keep_object(call, object);
    berth_catalog_delete(call->routes->catalog, object, finish_delete, call_ref(call));
}

static void delete_once(Call *call);

/* The mark is in the store. A controller goes on, or the record goes now. */
static void
finish_mark(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer data)
{
    Call *call = data;
    BerthRoutes *routes = call->routes;
    BerthObject *marked = berth_catalog_get_uid(routes->catalog, call->object->uid);
    if (error != NULL) {
        if (may_retry(call, failed_op, error)) {
            call->attempts++;
            delete_once(call);
        } else {
            call_fail(call, 0, error);
        }
    } else if (marked == NULL) {
        call_answer_object(call, 200, call->object);
    } else if (g_hash_table_contains(routes->finalised, marked->kind)) {
        call_wait(call, 202, marked, WAIT_GONE);
    } else if (marked->kind == &berth_kind_project && count_in_project(routes, marked->name) > 0) {
        /* Something was created while the mark was on its way: the project stays. */
        g_autoptr(BerthObject) kept = berth_object_with_deleting(marked, NULL);
        berth_catalog_put_body(routes->catalog, kept, marked->revision, NULL, NULL);
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, "delete what is in it first",
                    "project '%s' is not empty any more", marked->name);
    } else {
        remove_record(call, marked);
    }
    call_unref(call);
}

static void
delete_once(Call *call)
{
    BerthObject *object = call->request != NULL ? call_find(call) : NULL;
    gint64 if_revision;
    gboolean conditional;
    if (object == NULL || !check_conditions(call, object, &if_revision, &conditional) ||
        !may_delete(call, object)) {
        return;
    }
    gboolean finalised = g_hash_table_contains(call->routes->finalised, object->kind);
    if (call->dry_run) {
        call_answer_object(call, finalised ? 202 : 200, object);
    } else if (object->deleting != NULL && finalised) {
        call_wait(call, 202, object, WAIT_GONE);
    } else if (finalised || object->kind == &berth_kind_project) {
        keep_object(call, object);
        call->retry = conditional ? NULL : delete_once;
        berth_catalog_mark_deleting(call->routes->catalog, object, finish_mark, call_ref(call));
    } else {
        remove_record(call, object);
    }
}

void
handle_delete(Call *call)
{
    delete_once(call);
}
