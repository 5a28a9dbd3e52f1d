/* The in-memory copy: trees by kind, indices, and how committed changes enter them. Invariant: the copy is
 * exactly the store at `revision`; only catalog_apply() changes it. Main loop. Writes are in
 * catalog-write.c, workloads by host in catalog-hosts.c, Events and retention in catalog-events.c. */
#include "daemon/catalog-private.h"

#include "base/error.h"
#include "daemon/log.h"

#include <string.h>

static int
compare_objects(gconstpointer a, gconstpointer b, gpointer data)
{
    const BerthObject *one = a, *other = b;
    int order = strcmp(one->project, other->project);
    return order != 0 ? order : strcmp(one->name, other->name);
}

static GTree *
tree_of(const BerthCatalog *catalog, const BerthKind *kind)
{
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (berth_kinds[i] == kind) {
            return catalog->trees[i];
        }
    }
    g_assert_not_reached();
}

BerthCatalog *
catalog_ref(BerthCatalog *catalog)
{
    g_ref_count_inc(&catalog->references);
    return catalog;
}

static void
release_object(gpointer object)
{
    berth_object_unref(object);
}

static BerthCatalog *
new_empty(BerthStore *store, BerthClock *clock, BerthRandom *random)
{
    BerthCatalog *catalog = g_new0(BerthCatalog, 1);
    g_ref_count_init(&catalog->references);
    catalog->store = store;
    catalog->clock = clock;
    catalog->random = random;
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        g_assert(i < CATALOG_KINDS_MAX);
        catalog->trees[i] = g_tree_new_full(compare_objects, NULL, NULL, release_object);
    }
    catalog->by_uid = g_hash_table_new(g_str_hash, g_str_equal);
    catalog->active_tasks = g_hash_table_new(g_str_hash, g_str_equal);
    catalog->subscriptions = g_array_new(FALSE, TRUE, sizeof(Subscription));
    catalog->default_settings = berth_schema_new(berth_kind_settings.spec);
    catalog_hosts_init(catalog);
    catalog_status_init(catalog);
    catalog_events_init(catalog);
    return catalog;
}

void
catalog_unref(BerthCatalog *catalog)
{
    if (!g_ref_count_dec(&catalog->references)) {
        return;
    }
    catalog_status_clear(catalog);
    catalog_events_clear(catalog);
    g_hash_table_unref(catalog->by_host);
    g_hash_table_unref(catalog->by_uid);
    g_hash_table_unref(catalog->active_tasks);
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        g_tree_unref(catalog->trees[i]);
    }
    g_array_unref(catalog->subscriptions);
    berth_schema_free(berth_kind_settings.spec, catalog->default_settings);
    g_free(catalog);
}

/* ---- how changes enter ---- */

static gboolean
task_is_finished(const BerthObject *task)
{
    const BerthTaskStatus *status = task->status_data;
    static const char *const ended[] = {"Succeeded", "Failed", "Cancelled", NULL};
    return status->phase != NULL && g_strv_contains(ended, status->phase);
}

static void
index_task(BerthCatalog *catalog, const BerthObject *before, BerthObject *after)
{
    const BerthTaskSpec *spec = (after != NULL ? after : before)->spec_data;
    if (spec->target_uid == NULL) {
        return;
    }
    BerthObject *active = g_hash_table_lookup(catalog->active_tasks, spec->target_uid);
    if (after != NULL && !task_is_finished(after)) {
        if (active == NULL || active == before) {
            g_hash_table_replace(catalog->active_tasks, spec->target_uid, after);
        }
    } else if (active != NULL && active == before) {
        g_hash_table_remove(catalog->active_tasks, spec->target_uid);
    }
}

static void
insert(BerthCatalog *catalog, BerthObject *object)
{
    g_hash_table_replace(catalog->by_uid, object->uid, object);
    g_tree_replace(tree_of(catalog, object->kind), object, berth_object_ref(object));
}

/* Puts @change into the trees. Returns: FALSE when its row can't be read. */
static gboolean
enter(BerthCatalog *catalog, const BerthChange *change, BerthCatalogChange *entered)
{
    const BerthRow *row = change->row;
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) object =
        berth_object_load(row->kind, row->project, row->name, row->uid, row->revision,
                          row->body_revision, row->body, row->status, &error);
    if (object == NULL) {
        berth_log_error(BERTH_LOG_ERROR, error, "a committed row can't be read", "kind", row->kind,
                        "name", row->name, NULL);
        return FALSE;
    }
    BerthObject *before = g_tree_lookup(tree_of(catalog, object->kind), object);
    entered->before = before != NULL ? berth_object_ref(before) : NULL;
    entered->after = change->deleted ? NULL : berth_object_ref(object);
    if (before != NULL && (change->deleted || strcmp(before->uid, object->uid) != 0)) {
        g_hash_table_remove(catalog->by_uid, before->uid);
    }
    if (object->kind == &berth_kind_task && (before != NULL || !change->deleted)) {
        index_task(catalog, before, entered->after);
    }
    if (before != NULL || !change->deleted) {
        catalog_hosts_changed(catalog, before, entered->after);
    }
    if (change->deleted) {
        g_tree_remove(tree_of(catalog, object->kind), object);
    } else {
        insert(catalog, object);
    }
    return TRUE;
}

static void
clear_change(gpointer data)
{
    BerthCatalogChange *change = data;
    g_clear_pointer(&change->before, berth_object_unref);
    g_clear_pointer(&change->after, berth_object_unref);
}

/* By index and looked up anew each time: a subscriber may subscribe or unsubscribe. */
static void
tell_subscribers(BerthCatalog *catalog, const BerthCatalogChange *change)
{
    for (guint i = 0; i < catalog->subscriptions->len; i++) {
        Subscription subscription = g_array_index(catalog->subscriptions, Subscription, i);
        if (subscription.changed != NULL) {
            subscription.changed(change->before, change->after, subscription.user_data);
        }
    }
}

void
catalog_apply(BerthCatalog *catalog, gint64 revision, const GPtrArray *changes)
{
    g_autoptr(GArray) entered = g_array_new(FALSE, TRUE, sizeof(BerthCatalogChange));
    g_array_set_clear_func(entered, clear_change);
    for (guint i = 0; i < changes->len; i++) {
        BerthCatalogChange change = {NULL, NULL};
        if (enter(catalog, changes->pdata[i], &change)) {
            g_array_append_val(entered, change);
        }
    }
    catalog->revision = MAX(catalog->revision, revision);
    for (guint i = 0; i < entered->len; i++) {
        const BerthCatalogChange *change = &g_array_index(entered, BerthCatalogChange, i);
        catalog_events_changed(catalog, change->before, change->after);
        tell_subscribers(catalog, change);
    }
    if (catalog->committed != NULL) {
        catalog->committed(revision, entered, catalog->committed_data);
    }
}

static gboolean
load_row(BerthCatalog *catalog, const BerthRow *row, GError **error)
{
    g_autoptr(BerthObject) object =
        berth_object_load(row->kind, row->project, row->name, row->uid, row->revision,
                          row->body_revision, row->body, row->status, error);
    if (object == NULL) {
        return FALSE;
    }
    insert(catalog, object);
    if (object->kind == &berth_kind_task) {
        index_task(catalog, NULL, object);
    }
    catalog_hosts_changed(catalog, NULL, object);
    catalog_events_changed(catalog, NULL, object);
    return TRUE;
}

/** See the header. */
BerthCatalog *
berth_catalog_new(BerthStore *store, BerthClock *clock, BerthRandom *random, GError **error)
{
    g_autoptr(GPtrArray) rows = NULL;
    gint64 revision = 0;
    if (!store->ops->load(store, &rows, &revision, error)) {
        return NULL;
    }
    g_autoptr(BerthCatalog) catalog = new_empty(store, clock, random);
    for (guint i = 0; i < rows->len; i++) {
        if (!load_row(catalog, rows->pdata[i], error)) {
            return NULL;
        }
    }
    catalog->revision = revision;
    catalog->retained_at = revision;
    return g_steal_pointer(&catalog);
}

/** Frees @catalog; unanswered submissions still reach the store, but nobody hears of them. */
void
berth_catalog_free(BerthCatalog *catalog)
{
    catalog_status_flush(catalog);
    catalog_events_stop(catalog);
    catalog->closed = TRUE;
    g_array_set_size(catalog->subscriptions, 0);
    catalog->committed = NULL;
    catalog_unref(catalog);
}

BerthStore *
berth_catalog_store(BerthCatalog *catalog)
{
    return catalog->store;
}

BerthClock *
berth_catalog_clock(BerthCatalog *catalog)
{
    return catalog->clock;
}

BerthRandom *
berth_catalog_random(BerthCatalog *catalog)
{
    return catalog->random;
}

gint64
berth_catalog_revision(const BerthCatalog *catalog)
{
    return catalog->revision;
}

/* ---- reading ---- */

BerthObject *
berth_catalog_get(const BerthCatalog *catalog, const BerthKind *kind, const char *project,
                  const char *name)
{
    BerthObject key = {.project = (char *)(project != NULL ? project : ""), .name = (char *)name};
    return g_tree_lookup(tree_of(catalog, kind), &key);
}

BerthObject *
berth_catalog_get_uid(const BerthCatalog *catalog, const char *uid)
{
    return g_hash_table_lookup(catalog->by_uid, uid);
}

BerthObject *
berth_catalog_get_workload(const BerthCatalog *catalog, const char *project, const char *name)
{
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        BerthObject *object = berth_kinds[i]->workload
                                  ? berth_catalog_get(catalog, berth_kinds[i], project, name)
                                  : NULL;
        if (object != NULL) {
            return object;
        }
    }
    return NULL;
}

BerthObject *
berth_catalog_active_task(const BerthCatalog *catalog, const char *uid)
{
    return g_hash_table_lookup(catalog->active_tasks, uid);
}

void
berth_catalog_iter_init(BerthCatalogIter *iter, const BerthCatalog *catalog, const BerthKind *kind,
                        const char *project)
{
    BerthObject first = {.project = (char *)(project != NULL ? project : ""), .name = (char *)""};
    iter->node = g_tree_lower_bound(tree_of(catalog, kind), &first);
    iter->project = project;
}

void
berth_catalog_iter_init_after(BerthCatalogIter *iter, const BerthCatalog *catalog,
                              const BerthKind *kind, const char *project, const char *after_project,
                              const char *after_name)
{
    BerthObject last = {.project = (char *)after_project, .name = (char *)after_name};
    iter->node = g_tree_upper_bound(tree_of(catalog, kind), &last);
    iter->project = project;
}

BerthObject *
berth_catalog_iter_next(BerthCatalogIter *iter)
{
    if (iter->node == NULL) {
        return NULL;
    }
    BerthObject *object = g_tree_node_value(iter->node);
    if (iter->project != NULL && strcmp(object->project, iter->project) != 0) {
        iter->node = NULL;
        return NULL;
    }
    iter->node = g_tree_node_next(iter->node);
    return object;
}

GPtrArray *
berth_catalog_list(const BerthCatalog *catalog, const BerthKind *kind, const char *project)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(release_object);
    BerthCatalogIter iter;
    BerthObject *object;
    berth_catalog_iter_init(&iter, catalog, kind, project);
    while ((object = berth_catalog_iter_next(&iter)) != NULL) {
        g_ptr_array_add(list, berth_object_ref(object));
    }
    return list;
}

guint
berth_catalog_count(const BerthCatalog *catalog, const BerthKind *kind)
{
    return (guint)g_tree_nnodes(tree_of(catalog, kind));
}

const BerthSettingsSpec *
berth_catalog_settings(const BerthCatalog *catalog)
{
    const BerthObject *settings = berth_catalog_get(catalog, &berth_kind_settings, "", "fleet");
    return settings != NULL ? settings->spec_data : catalog->default_settings;
}

/* ---- following ---- */

guint
berth_catalog_subscribe(BerthCatalog *catalog, BerthCatalogChanged changed, gpointer user_data)
{
    Subscription subscription = {++catalog->last_subscription, changed, user_data};
    g_array_append_val(catalog->subscriptions, subscription);
    return subscription.id;
}

/* The slot stays, so that a walk in progress neither skips nor repeats anybody. */
void
berth_catalog_unsubscribe(BerthCatalog *catalog, guint id)
{
    for (guint i = 0; i < catalog->subscriptions->len; i++) {
        Subscription *subscription = &g_array_index(catalog->subscriptions, Subscription, i);
        if (subscription->id == id) {
            subscription->changed = NULL;
        }
    }
}

void
berth_catalog_set_commit_hook(BerthCatalog *catalog, BerthCatalogCommitted committed,
                              gpointer user_data)
{
    catalog->committed = committed;
    catalog->committed_data = user_data;
}
