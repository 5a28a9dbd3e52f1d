/* Writes on their way to the store. Invariant: user callbacks run from the main loop, after the copy took the
 * commit over, in commit order, and never from within the call that submitted.
 *
 * Status writes wait for the end of the main loop's turn: of several for one object only the last is
 * written, and one equal to the newest on its way is not written at all. */
#include "daemon/catalog-private.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/log.h"

#define RETAIN_EVERY 512 /* revisions */

typedef struct {
    BerthCatalog *catalog; /* reference */
    BerthStoreDone done;
    gpointer user_data;
    gboolean ours; /* done is the catalog's own and also runs when the catalog was freed */
} Submission;

typedef struct {
    BerthStoreDone done;
    gpointer user_data;
} Waiter;

typedef struct {
    BerthCatalog *catalog; /* reference while submitted */
    BerthObject *object;   /* reference: names and uid */
    json_t *status;        /* owned */
    GArray *waiters;       /* of Waiter */
} StatusWrite;

/** Returns: (transfer full): a source that runs @run after @delay_ms (0: in the loop's next turn). */
GSource *
catalog_schedule(guint delay_ms, GSourceFunc run, gpointer data)
{
    GSource *source = delay_ms == 0 ? g_idle_source_new() : g_timeout_source_new(delay_ms);
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, run, data, NULL);
    g_source_attach(source, g_main_context_get_thread_default());
    return source;
}

static void
retain_when_due(BerthCatalog *catalog)
{
    if (catalog->revision - catalog->retained_at >= RETAIN_EVERY) {
        berth_catalog_retain(catalog);
    }
}

static void
finish_submission(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
                  gpointer data)
{
    Submission *submission = data;
    BerthCatalog *catalog = submission->catalog;
    catalog->unanswered--;
    if (error == NULL && !catalog->closed) {
        catalog_apply(catalog, revision, changes);
    }
    if (submission->done != NULL && (submission->ours || !catalog->closed)) {
        submission->done(revision, changes, failed_op, error, submission->user_data);
    }
    if (!catalog->closed) {
        retain_when_due(catalog);
    }
    catalog_unref(catalog);
    g_free(submission);
}

static void
submit(BerthCatalog *catalog, BerthTransaction *transaction, BerthStoreDone done,
       gpointer user_data, gboolean ours)
{
    Submission *submission = g_new(Submission, 1);
    *submission = (Submission){catalog_ref(catalog), done, user_data, ours};
    catalog->unanswered++;
    catalog->store->ops->submit(catalog->store, transaction, finish_submission, submission);
}

/** See the header. */
void
berth_catalog_submit(BerthCatalog *catalog, BerthTransaction *transaction, BerthStoreDone done,
                     gpointer user_data)
{
    submit(catalog, transaction, done, user_data, FALSE);
}

/* As berth_catalog_submit() for the catalog's own callbacks. */
void
catalog_submit(BerthCatalog *catalog, BerthTransaction *transaction, BerthStoreDone done,
               gpointer user_data)
{
    submit(catalog, transaction, done, user_data, TRUE);
}

void
berth_catalog_drain(BerthCatalog *catalog)
{
    while (catalog->unanswered > 0) {
        g_main_context_iteration(g_main_context_get_thread_default(), TRUE);
    }
}

/* ---- steps ---- */

void
berth_catalog_add_body(BerthTransaction *transaction, const BerthObject *object, gint64 if_revision)
{
    g_autofree char *body = berth_object_format_body(object);
    BerthStoreOp op = {
        .verb = BERTH_STORE_PUT,
        .kind = object->kind->name,
        .project = object->project,
        .name = object->name,
        .uid = object->uid,
        .body = body,
        .if_revision = if_revision,
        .if_uid = if_revision == BERTH_STORE_ABSENT ? NULL : object->uid,
    };
    berth_transaction_add(transaction, &op);
}

void
berth_catalog_add_status(BerthTransaction *transaction, const BerthObject *object,
                         const json_t *status)
{
    g_autofree char *text = berth_json_format(status);
    BerthStoreOp op = {
        .verb = BERTH_STORE_PUT,
        .kind = object->kind->name,
        .project = object->project,
        .name = object->name,
        .status = text,
        .if_revision = BERTH_STORE_ANY,
        .if_uid = object->uid,
    };
    berth_transaction_add(transaction, &op);
}

void
berth_catalog_add_delete(BerthTransaction *transaction, const BerthObject *object)
{
    BerthStoreOp op = {
        .verb = BERTH_STORE_DELETE,
        .kind = object->kind->name,
        .project = object->project,
        .name = object->name,
        .if_revision = BERTH_STORE_ANY,
        .if_uid = object->uid,
    };
    berth_transaction_add(transaction, &op);
}

void
berth_catalog_put_body(BerthCatalog *catalog, const BerthObject *object, gint64 if_revision,
                       BerthStoreDone done, gpointer user_data)
{
    BerthTransaction *transaction = berth_transaction_new();
    berth_catalog_add_body(transaction, object, if_revision);
    berth_catalog_submit(catalog, transaction, done, user_data);
}

void
berth_catalog_delete(BerthCatalog *catalog, const BerthObject *object, BerthStoreDone done,
                     gpointer user_data)
{
    BerthTransaction *transaction = berth_transaction_new();
    berth_catalog_add_delete(transaction, object);
    berth_catalog_submit(catalog, transaction, done, user_data);
}

/* A change of a part of the body must not undo another one: it is refused (CONFLICT) when the body
 * changed after @object. */
static void
put_changed(BerthCatalog *catalog, BerthObject *changed, BerthStoreDone done, gpointer user_data)
{
    berth_catalog_put_body(catalog, changed, changed->revision, done, user_data);
    berth_object_unref(changed);
}

void
berth_catalog_mark_deleting(BerthCatalog *catalog, const BerthObject *object, BerthStoreDone done,
                            gpointer user_data)
{
    g_autofree char *now = berth_time_format(berth_clock_wall_us(catalog->clock));
    const char *when = object->deleting != NULL ? object->deleting : now;
    put_changed(catalog, berth_object_with_deleting(object, when), done, user_data);
}

void
berth_catalog_set_power(BerthCatalog *catalog, const BerthObject *object, BerthPower power,
                        BerthStoreDone done, gpointer user_data)
{
    put_changed(catalog, berth_object_with_power(object, power), done, user_data);
}

/* ---- status ---- */

static void
free_status_write(gpointer data)
{
    StatusWrite *write = data;
    berth_object_unref(write->object);
    json_decref(write->status);
    g_array_unref(write->waiters);
    g_free(write);
}

void
catalog_status_init(BerthCatalog *catalog)
{
    catalog->status_waiting =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_status_write);
    catalog->status_flying = g_hash_table_new(g_str_hash, g_str_equal);
}

void
catalog_status_clear(BerthCatalog *catalog)
{
    g_hash_table_unref(catalog->status_waiting);
    g_hash_table_unref(catalog->status_flying);
}

static void
finish_status(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
              gpointer data)
{
    StatusWrite *write = data;
    BerthCatalog *catalog = write->catalog;
    if (g_hash_table_lookup(catalog->status_flying, write->object->uid) == write) {
        g_hash_table_remove(catalog->status_flying, write->object->uid);
    }
    for (guint i = 0; i < write->waiters->len && !catalog->closed; i++) {
        const Waiter *waiter = &g_array_index(write->waiters, Waiter, i);
        waiter->done(revision, changes, failed_op, error, waiter->user_data);
    }
    free_status_write(write);
    catalog_unref(catalog);
}

static void
submit_status(BerthCatalog *catalog, StatusWrite *write)
{
    BerthTransaction *transaction = berth_transaction_new();
    berth_catalog_add_status(transaction, write->object, write->status);
    write->catalog = catalog_ref(catalog);
    g_hash_table_replace(catalog->status_flying, write->object->uid, write);
    catalog_submit(catalog, transaction, finish_status, write);
}

static gboolean
flush_status(gpointer data)
{
    BerthCatalog *catalog = data;
    g_clear_pointer(&catalog->status_flush, g_source_unref);
    g_autoptr(GPtrArray) writes = g_ptr_array_new();
    GHashTableIter iter;
    gpointer write;
    g_hash_table_iter_init(&iter, catalog->status_waiting);
    while (g_hash_table_iter_next(&iter, NULL, &write)) {
        g_ptr_array_add(writes, write);
    }
    g_hash_table_steal_all(catalog->status_waiting);
    catalog->unanswered -= writes->len;
    for (guint i = 0; i < writes->len; i++) {
        submit_status(catalog, writes->pdata[i]);
    }
    return G_SOURCE_REMOVE;
}

/* Sends what waits at once; before the owner goes. */
void
catalog_status_flush(BerthCatalog *catalog)
{
    if (catalog->status_flush != NULL) {
        g_source_destroy(catalog->status_flush);
        flush_status(catalog);
    }
}

static void
add_waiter(StatusWrite *write, BerthStoreDone done, gpointer user_data)
{
    if (done != NULL) {
        Waiter waiter = {done, user_data};
        g_array_append_val(write->waiters, waiter);
    }
}

static void
await_status(BerthCatalog *catalog, const BerthObject *object, const json_t *status,
             BerthStoreDone done, gpointer user_data)
{
    StatusWrite *write = g_new0(StatusWrite, 1);
    write->object = berth_object_ref((BerthObject *)object);
    write->status = json_deep_copy(status);
    write->waiters = g_array_new(FALSE, TRUE, sizeof(Waiter));
    add_waiter(write, done, user_data);
    g_hash_table_insert(catalog->status_waiting, write->object->uid, write);
    catalog->unanswered++;
    if (catalog->status_flush == NULL) {
        catalog->status_flush = catalog_schedule(0, flush_status, catalog);
    }
}

static gboolean
answer_dropped(gpointer data)
{
    Submission *submission = data;
    BerthCatalog *catalog = submission->catalog;
    catalog->unanswered--;
    if (!catalog->closed) {
        submission->done(catalog->revision, NULL, -1, NULL, submission->user_data);
    }
    catalog_unref(catalog);
    g_free(submission);
    return G_SOURCE_REMOVE;
}

static void
drop_status(BerthCatalog *catalog, BerthStoreDone done, gpointer user_data)
{
    if (done == NULL) {
        return;
    }
    Submission *submission = g_new(Submission, 1);
    *submission = (Submission){catalog_ref(catalog), done, user_data, FALSE};
    catalog->unanswered++;
    g_source_unref(catalog_schedule(0, answer_dropped, submission));
}

/** See the header. */
void
berth_catalog_put_status(BerthCatalog *catalog, const BerthObject *object, const json_t *status,
                         BerthStoreDone done, gpointer user_data)
{
    StatusWrite *waiting = g_hash_table_lookup(catalog->status_waiting, object->uid);
    if (waiting != NULL) {
        json_t *newest = json_deep_copy(status);
        json_decref(waiting->status);
        waiting->status = newest;
        add_waiter(waiting, done, user_data);
        return;
    }
    StatusWrite *flying = g_hash_table_lookup(catalog->status_flying, object->uid);
    if (flying != NULL && json_equal(flying->status, status)) {
        add_waiter(flying, done, user_data);
        return;
    }
    const BerthObject *stored = berth_catalog_get_uid(catalog, object->uid);
    if (flying == NULL && stored != NULL && stored->status != NULL &&
        json_equal(stored->status, status)) {
        drop_status(catalog, done, user_data);
        return;
    }
    await_status(catalog, object, status, done, user_data);
}

/* ---- what the daemon makes itself ---- */

/** See the header. */
BerthObject *
berth_catalog_make_task(BerthCatalog *catalog, const char *verb, const BerthObject *target,
                        const json_t *arguments, const char *actor, const char *request_id)
{
    g_autofree char *suffix = berth_random_hex(catalog->random, 5);
    g_autofree char *name = g_strdup_printf("%s-%s", verb, suffix);
    g_autofree char *now = berth_time_format(berth_clock_wall_us(catalog->clock));
    g_autoptr(json_t) spec = json_pack(
        "{s:s, s:s, s:s*, s:s, s:s, s:O*, s:s*, s:s*}", "verb", verb, "target_kind",
        target->kind->name, "target_project", *target->project != '\0' ? target->project : NULL,
        "target_name", target->name, "target_uid", target->uid, "arguments", arguments, "actor",
        actor, "request_id", request_id);
    g_autoptr(GError) error = NULL;
    BerthObject *task = berth_object_make(&berth_kind_task, "", name, spec, now, &error);
    if (task == NULL) {
        g_error("a task for verb '%s' can't be made: %s", verb, error->message);
    }
    return task;
}

static void
note_default(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
             gpointer data)
{
    if (error != NULL && !g_error_matches(error, BERTH_ERROR, BERTH_ERROR_EXISTS)) {
        berth_log_error(BERTH_LOG_ERROR, error, "a default object was not written", NULL);
    }
}

static void
ensure(BerthCatalog *catalog, const BerthKind *kind, const char *name)
{
    if (berth_catalog_get(catalog, kind, "", name) != NULL) {
        return;
    }
    g_autofree char *now = berth_time_format(berth_clock_wall_us(catalog->clock));
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) object = berth_object_make(kind, "", name, NULL, now, &error);
    if (object == NULL) {
        g_error("the default %s can't be made: %s", kind->name, error->message);
    }
    berth_catalog_put_body(catalog, object, BERTH_STORE_ABSENT, note_default, NULL);
}

void
berth_catalog_ensure_defaults(BerthCatalog *catalog)
{
    ensure(catalog, &berth_kind_project, "default");
    ensure(catalog, &berth_kind_settings, "fleet");
}
