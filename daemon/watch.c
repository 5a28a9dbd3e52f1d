/* Watches: positions over a shared ring of recent revisions, with the store behind it. Invariant: a
 * watch's `position` is a revision all of whose selected lines were handed out; lines of the next one
 * are gathered whole before the first is handed out. Main loop. Start reading at berth_watch_next(). */
#include "daemon/watch.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

/* Revisions kept in memory for all watches together, and the bytes of their rows; readers further behind are
 * served from the store, */
#define RING_MAX 256
#define RING_BYTES ((gsize)4 * 1024 * 1024)
/* in batches, of which a watch keeps no more than these bytes from one line to the next. */
#define STORE_BATCH 16
#define STORED_BYTES ((gsize)64 * 1024)

typedef struct {
    BerthObject *before, *after; /* references, as in BerthCatalogChange */
    char *line; /* owned; head of the line as most readers want it; NULL: not made yet */
} RingChange;

typedef struct {
    gint64 revision;
    gsize bytes;     /* of the rows it keeps */
    GArray *changes; /* of RingChange */
} RingEntry;

struct BerthWatchHub {
    BerthCatalog *catalog; /* borrowed */
    GPtrArray *ring;       /* of RingEntry, by revision */
    gsize ring_bytes;      /* their sum */
    gint64 floor;          /* every revision after this one is in the ring */
    GHashTable *watches;   /* set of BerthWatch, borrowed */
};

struct BerthWatch {
    BerthWatchHub *hub;            /* borrowed */
    GPtrArray *kinds;              /* of BerthKind, borrowed; NULL: all visible ones */
    char *project, *name, *labels; /* owned; NULL: all */
    void (*wake)(gpointer user_data);
    gpointer user_data;
    gint64 position;
    gboolean hungry;    /* the reader waits for wake() */
    GQueue lines;       /* of GBytes: the rest of revision `gathered` */
    gint64 gathered;    /* becomes `position` when `lines` is empty */
    GPtrArray *initial; /* of BerthObject: present objects still to be told; NULL: none */
    guint next_initial;
    GPtrArray *stored; /* of BerthChange, read ahead from the store; NULL: none */
    guint next_stored;
};

/* ---- the hub ---- */

static void
clear_ring_change(gpointer data)
{
    RingChange *change = data;
    g_clear_pointer(&change->before, berth_object_unref);
    g_clear_pointer(&change->after, berth_object_unref);
    g_free(change->line);
}

static void
free_ring_entry(gpointer data)
{
    RingEntry *entry = data;
    g_array_unref(entry->changes);
    g_free(entry);
}

/* Forgets the oldest: some more than it must, so that it need not at each commit. */
static void
shrink(BerthWatchHub *hub)
{
    guint excess = 0;
    while (excess + 1 < hub->ring->len && (hub->ring->len - excess > RING_MAX - RING_MAX / 8 ||
                                           hub->ring_bytes > RING_BYTES - RING_BYTES / 8)) {
        hub->ring_bytes -= ((RingEntry *)hub->ring->pdata[excess++])->bytes;
    }
    if (excess > 0) {
        hub->floor = ((RingEntry *)hub->ring->pdata[excess - 1])->revision;
        g_ptr_array_remove_range(hub->ring, 0, excess);
    }
}

static void
remember(BerthWatchHub *hub, gint64 revision, const GArray *changes)
{
    RingEntry *entry = g_new0(RingEntry, 1);
    entry->revision = revision;
    entry->changes = g_array_sized_new(FALSE, TRUE, sizeof(RingChange), changes->len);
    g_array_set_clear_func(entry->changes, clear_ring_change);
    for (guint i = 0; i < changes->len; i++) {
        const BerthCatalogChange *change = &g_array_index(changes, BerthCatalogChange, i);
        RingChange kept = {
            .before = change->before != NULL ? berth_object_ref(change->before) : NULL,
            .after = change->after != NULL ? berth_object_ref(change->after) : NULL,
        };
        g_array_append_val(entry->changes, kept);
        entry->bytes += (change->after != NULL ? change->after : change->before)->row_bytes;
    }
    g_ptr_array_add(hub->ring, entry);
    hub->ring_bytes += entry->bytes;
    if (hub->ring->len > RING_MAX || hub->ring_bytes > RING_BYTES) {
        shrink(hub);
    }
}

static gboolean selects(const BerthWatch *watch, const BerthObject *before, BerthObject *after);

static gboolean
selects_any(const BerthWatch *watch, const GArray *changes)
{
    for (guint i = 0; i < changes->len; i++) {
        const BerthCatalogChange *change = &g_array_index(changes, BerthCatalogChange, i);
        if (selects(watch, change->before, change->after)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Readers that wait and are not concerned are moved on without being woken. */
static void
take_commit(gint64 revision, const GArray *changes, gpointer data)
{
    BerthWatchHub *hub = data;
    remember(hub, revision, changes);
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, hub->watches);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        BerthWatch *watch = key;
        if (!watch->hungry) {
            continue;
        }
        if (selects_any(watch, changes)) {
            watch->hungry = FALSE;
            watch->wake(watch->user_data);
        } else {
            watch->position = revision;
        }
    }
}

/** Returns: (transfer full): the one hub over @catalog, which it follows and must not outlive. */
BerthWatchHub *
berth_watch_hub_new(BerthCatalog *catalog)
{
    BerthWatchHub *hub = g_new0(BerthWatchHub, 1);
    hub->catalog = catalog;
    hub->ring = g_ptr_array_new_with_free_func(free_ring_entry);
    hub->floor = berth_catalog_revision(catalog);
    hub->watches = g_hash_table_new(NULL, NULL);
    berth_catalog_set_commit_hook(catalog, take_commit, hub);
    return hub;
}

void
berth_watch_hub_free(BerthWatchHub *hub)
{
    berth_catalog_set_commit_hook(hub->catalog, NULL, NULL);
    g_assert(g_hash_table_size(hub->watches) == 0);
    g_hash_table_unref(hub->watches);
    g_ptr_array_unref(hub->ring);
    g_free(hub);
}

guint
berth_watch_hub_count(const BerthWatchHub *hub)
{
    return g_hash_table_size(hub->watches);
}

/* ---- selection ---- */

/* Whether @object belongs to what the watch shows. */
static gboolean
shows(const BerthWatch *watch, const BerthObject *object)
{
    if (object == NULL || object->kind->hidden ||
        (watch->kinds != NULL && !g_ptr_array_find(watch->kinds, object->kind, NULL))) {
        return FALSE;
    }
    if ((watch->project != NULL && strcmp(watch->project, object->project) != 0) ||
        (watch->name != NULL && strcmp(watch->name, object->name) != 0)) {
        return FALSE;
    }
    return watch->labels == NULL || berth_labels_match(object->labels, watch->labels, NULL);
}

static gboolean
selects(const BerthWatch *watch, const BerthObject *before, BerthObject *after)
{
    return shows(watch, after) || shows(watch, before);
}

/* ---- lines ---- */

static char *
format_head(const char *type, const BerthObject *object)
{
    g_autoptr(json_t) json = berth_object_to_json(object);
    g_autofree char *text = berth_json_format(json);
    return g_strdup_printf("{\"type\":\"%s\",\"object\":%s", type, text);
}

/* @revision: 0 for lines that are not the last of their revision. */
static GBytes *
format_line(const char *head, gint64 revision)
{
    char *line = revision == 0
                     ? g_strconcat(head, "}\n", NULL)
                     : g_strdup_printf("%s,\"revision\":%" G_GINT64_FORMAT "}\n", head, revision);
    return g_bytes_new_take(line, strlen(line));
}

static GBytes *
format_bookmark(gint64 revision)
{
    char *line =
        g_strdup_printf("{\"type\":\"bookmark\",\"revision\":%" G_GINT64_FORMAT "}\n", revision);
    return g_bytes_new_take(line, strlen(line));
}

static void
free_head(gpointer head)
{
    g_free(head);
}

/* Queues @heads as the lines of @revision: the last one carries the number. */
static void
gather(BerthWatch *watch, gint64 revision, const GPtrArray *heads)
{
    watch->gathered = revision;
    for (guint i = 0; i < heads->len; i++) {
        g_queue_push_tail(&watch->lines,
                          format_line(heads->pdata[i], i + 1 == heads->len ? revision : 0));
    }
    if (heads->len == 0) {
        watch->position = revision;
    }
}

/* ---- from the ring ---- */

static char *
head_of_ring_change(const BerthWatch *watch, RingChange *change)
{
    if (change->after != NULL && !shows(watch, change->after)) {
        return format_head("deleted", change->after);
    }
    if (change->line == NULL) {
        change->line = change->after != NULL ? format_head("put", change->after)
                                             : format_head("deleted", change->before);
    }
    return g_strdup(change->line);
}

static void
gather_entry(BerthWatch *watch, const RingEntry *entry)
{
    g_autoptr(GPtrArray) heads = g_ptr_array_new_with_free_func(free_head);
    for (guint i = 0; i < entry->changes->len; i++) {
        RingChange *change = &g_array_index(entry->changes, RingChange, i);
        if (selects(watch, change->before, change->after)) {
            g_ptr_array_add(heads, head_of_ring_change(watch, change));
        }
    }
    gather(watch, entry->revision, heads);
}

/* Index of the first entry after @revision. */
static guint
find_entry(const BerthWatchHub *hub, gint64 revision)
{
    guint low = 0, high = hub->ring->len;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        if (((RingEntry *)hub->ring->pdata[middle])->revision > revision) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static void
read_ring(BerthWatch *watch)
{
    const GPtrArray *ring = watch->hub->ring;
    for (guint i = find_entry(watch->hub, watch->position);
         i < ring->len && g_queue_is_empty(&watch->lines); i++) {
        gather_entry(watch, ring->pdata[i]);
    }
}

/* ---- from the store ---- */

/* What it was before is not known: what does not match now is told as deleted, to be safe. */
static char *
head_of_stored_change(const BerthWatch *watch, const BerthChange *change)
{
    const BerthRow *row = change->row;
    g_autoptr(BerthObject) object =
        berth_object_load(row->kind, row->project, row->name, row->uid, row->revision,
                          row->body_revision, row->body, row->status, NULL);
    if (object == NULL) {
        return NULL;
    }
    if (shows(watch, object)) {
        return format_head(change->deleted ? "deleted" : "put", object);
    }
    BerthWatch without_labels = *watch;
    without_labels.labels = NULL;
    return shows(&without_labels, object) ? format_head("deleted", object) : NULL;
}

/* Of what was read ahead only little is kept while the reader takes its time; it is read again. */
static void
drop_read_ahead(BerthWatch *watch)
{
    gsize bytes = 0;
    for (guint i = watch->next_stored; i < watch->stored->len; i++) {
        const BerthRow *row = ((BerthChange *)watch->stored->pdata[i])->row;
        bytes += (row->body != NULL ? strlen(row->body) : 0) +
                 (row->status != NULL ? strlen(row->status) : 0);
    }
    if (bytes > STORED_BYTES && !g_queue_is_empty(&watch->lines)) {
        g_clear_pointer(&watch->stored, g_ptr_array_unref);
    }
}

/* One revision from what was read ahead. */
static void
gather_stored(BerthWatch *watch)
{
    g_autoptr(GPtrArray) heads = g_ptr_array_new_with_free_func(free_head);
    const BerthChange *change = watch->stored->pdata[watch->next_stored];
    gint64 revision = change->revision;
    while (watch->next_stored < watch->stored->len) {
        change = watch->stored->pdata[watch->next_stored];
        if (change->revision != revision) {
            break;
        }
        char *head = head_of_stored_change(watch, change);
        if (head != NULL) {
            g_ptr_array_add(heads, head);
        }
        watch->next_stored++;
    }
    gather(watch, revision, heads);
    drop_read_ahead(watch);
}

static gboolean
read_ahead(BerthWatch *watch, GError **error)
{
    BerthStore *store = berth_catalog_store(watch->hub->catalog);
    watch->next_stored = 0;
    watch->stored = store->ops->changes_since(store, watch->position, STORE_BATCH, error);
    return watch->stored != NULL;
}

/* Until a revision has lines, or the ring can go on. */
static gboolean
read_store(BerthWatch *watch, GError **error)
{
    gint64 present = berth_catalog_revision(watch->hub->catalog);
    while (g_queue_is_empty(&watch->lines) && watch->position < watch->hub->floor) {
        if (watch->stored == NULL && !read_ahead(watch, error)) {
            return FALSE;
        }
        if (watch->next_stored == watch->stored->len) {
            gboolean ended = watch->stored->len == 0;
            g_clear_pointer(&watch->stored, g_ptr_array_unref);
            watch->position = ended ? MAX(watch->position, watch->hub->floor) : watch->position;
            continue;
        }
        const BerthChange *change = watch->stored->pdata[watch->next_stored];
        if (change->revision > present) {
            /* Committed, but the catalog does not have it yet; all before it was told. */
            watch->position = MAX(watch->position, watch->hub->floor);
            break;
        }
        gather_stored(watch);
    }
    if (g_queue_is_empty(&watch->lines)) {
        g_clear_pointer(&watch->stored, g_ptr_array_unref);
    }
    return TRUE;
}

/* ---- the reader's side ---- */

static gboolean
parse_kinds(BerthWatch *watch, const char *kinds, GError **error)
{
    g_auto(GStrv) names = g_strsplit(kinds, ",", 64);
    watch->kinds = g_ptr_array_new();
    for (char **name = names; *name != NULL; name++) {
        const BerthKind *kind = berth_kind_find(*name);
        if (kind == NULL || kind->hidden) {
            berth_error_set(error, BERTH_ERROR_INVALID, "there is no kind '%s'", *name);
            return FALSE;
        }
        g_ptr_array_add(watch->kinds, (gpointer)kind);
    }
    return TRUE;
}

/* Present objects as a list of references; their lines are made as they are read. */
static void
list_present(BerthWatch *watch)
{
    watch->initial = g_ptr_array_new_with_free_func((GDestroyNotify)berth_object_unref);
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        BerthCatalogIter iter;
        BerthObject *object;
        berth_catalog_iter_init(&iter, watch->hub->catalog, berth_kinds[i], NULL);
        while ((object = berth_catalog_iter_next(&iter)) != NULL) {
            if (shows(watch, object)) {
                g_ptr_array_add(watch->initial, berth_object_ref(object));
            }
        }
    }
    watch->position = berth_catalog_revision(watch->hub->catalog);
}

static gboolean
place(BerthWatch *watch, gint64 since, GError **error)
{
    BerthStore *store = berth_catalog_store(watch->hub->catalog);
    gint64 present = berth_catalog_revision(watch->hub->catalog);
    if (since < 0) {
        list_present(watch);
        return TRUE;
    }
    if (since > present) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "list again",
                           "revision %" G_GINT64_FORMAT " is in the future: the present one "
                           "is %" G_GINT64_FORMAT,
                           since, present);
        return FALSE;
    }
    if (since < watch->hub->floor && since < store->ops->oldest(store)) {
        berth_error_set_at(error, BERTH_ERROR_GONE, NULL, "list again, then watch from there",
                           "revision %" G_GINT64_FORMAT " was compacted", since);
        return FALSE;
    }
    watch->position = since;
    return TRUE;
}

/** See the header. */
BerthWatch *
berth_watch_new(BerthWatchHub *hub, const BerthWatchQuery *query, void (*wake)(gpointer user_data),
                gpointer user_data, GError **error)
{
    g_autoptr(BerthWatch) watch = g_new0(BerthWatch, 1);
    watch->hub = hub;
    watch->wake = wake;
    watch->user_data = user_data;
    watch->project = g_strdup(query->project);
    watch->name = g_strdup(query->name);
    watch->labels = g_strdup(query->labels);
    g_queue_init(&watch->lines);
    g_hash_table_add(hub->watches, watch);
    g_autoptr(json_t) none = json_object();
    g_autoptr(GError) problem = NULL;
    if (query->kinds != NULL && !parse_kinds(watch, query->kinds, error)) {
        return NULL;
    }
    if (query->labels != NULL && !berth_labels_match(none, query->labels, &problem) &&
        problem != NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    return place(watch, query->since, error) ? g_steal_pointer(&watch) : NULL;
}

void
berth_watch_free(BerthWatch *watch)
{
    g_hash_table_remove(watch->hub->watches, watch);
    g_queue_clear_full(&watch->lines, (GDestroyNotify)g_bytes_unref);
    g_clear_pointer(&watch->kinds, g_ptr_array_unref);
    g_clear_pointer(&watch->initial, g_ptr_array_unref);
    g_clear_pointer(&watch->stored, g_ptr_array_unref);
    g_free(watch->project);
    g_free(watch->name);
    g_free(watch->labels);
    g_free(watch);
}

static GBytes *
next_initial(BerthWatch *watch)
{
    if (watch->next_initial == watch->initial->len) {
        g_clear_pointer(&watch->initial, g_ptr_array_unref);
        return format_bookmark(watch->position);
    }
    g_autofree char *head = format_head("put", watch->initial->pdata[watch->next_initial++]);
    return format_line(head, 0);
}

static GBytes *
pop_line(BerthWatch *watch)
{
    GBytes *line = g_queue_pop_head(&watch->lines);
    if (line != NULL && g_queue_is_empty(&watch->lines)) {
        watch->position = watch->gathered;
    }
    return line;
}

/** See the header. */
GBytes *
berth_watch_next(BerthWatch *watch, GError **error)
{
    watch->hungry = FALSE;
    if (watch->initial != NULL) {
        return next_initial(watch);
    }
    if (g_queue_is_empty(&watch->lines) && watch->position < watch->hub->floor &&
        !read_store(watch, error)) {
        return NULL;
    }
    if (g_queue_is_empty(&watch->lines) && watch->position >= watch->hub->floor) {
        read_ring(watch);
    }
    GBytes *line = pop_line(watch);
    watch->hungry = line == NULL;
    return line;
}

/* Never inside a revision: the reader could not resume from it. */
GBytes *
berth_watch_bookmark(BerthWatch *watch)
{
    return g_queue_is_empty(&watch->lines) && watch->initial == NULL
               ? format_bookmark(watch->position)
               : NULL;
}
