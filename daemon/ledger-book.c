/* The book behind the fleet file: hosts as the scheduler was told of them, also what they were before, and workloads in
 * the order in which they were charged, those that are gone since included, so that a replay meets the same room and
 * learns the same. What this life of the daemon found running was not decided by it: it stays where it is.
 *
 * Requests are kept as JSON text, a few hundred bytes each: they outlive the objects they came from. A
 * NULL book takes nothing: that of a copy to try things on. */
#include "daemon/ledger-private.h"

#include "base/json.h"
#include "sched/fleet-json.h"

/* So many workloads that are gone are remembered; older ones are forgotten. */
#define GONE_MAX 10000
/* So many changes of hosts are remembered, beside what each is now. */
#define CHANGES_MAX 10000

typedef struct {
    char *text;         /* owned: an item of the fleet file */
    gint64 at;          /* when it was charged, … */
    gint64 released_at; /* … and released, in events before; -1: it is there */
} Entry;

struct LedgerBook {
    GHashTable *hosts;  /* name -> json_t* */
    GHashTable *images; /* name -> json_t*: those that it had when it was first schedulable */
    GHashTable *placed; /* uid -> Entry*, owned */
    GQueue gone;        /* of Entry*, owned; oldest first */
    GQueue changes;     /* of json_t*, owned: {"at", "host" or "gone"}; oldest first */
    gint64 events;      /* charges, releases and changes so far */
};

static void
free_entry(gpointer data)
{
    Entry *entry = data;
    g_free(entry->text);
    g_free(entry);
}

LedgerBook *
ledger_book_new(void)
{
    LedgerBook *book = g_new0(LedgerBook, 1);
    book->hosts =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref);
    book->images =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref);
    book->placed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_entry);
    return book;
}

void
ledger_book_free(LedgerBook *book)
{
    if (book != NULL) {
        g_hash_table_destroy(book->hosts);
        g_hash_table_destroy(book->images);
        g_hash_table_destroy(book->placed);
        g_queue_clear_full(&book->gone, free_entry);
        g_queue_clear_full(&book->changes, (GDestroyNotify)json_decref);
        g_free(book);
    }
}

/* What a host has later came with its workloads, which bring it in a replay, too. */
static void
keep_first_images(LedgerBook *book, const BerthHost *host, json_t *json)
{
    json_t *first = g_hash_table_lookup(book->images, host->name);
    if (first == NULL && host->state == BERTH_HOST_READY) {
        first = json_object_get(json, "images");
        first = first != NULL ? json_incref(first) : json_array();
        g_hash_table_insert(book->images, g_strdup(host->name), first);
    }
    if (first != NULL) {
        json_object_set(json, "images", first);
    }
}

static const char *
name_of_change(const json_t *change)
{
    const char *gone = json_string_value(json_object_get(change, "gone"));
    return gone != NULL
               ? gone
               : json_string_value(json_object_get(json_object_get(change, "host"), "name"));
}

/* Forgets the oldest change that a later one of the same host has overtaken. */
static void
forget_change(LedgerBook *book)
{
    for (GList *old = book->changes.head; old != NULL; old = old->next) {
        for (GList *later = old->next; later != NULL; later = later->next) {
            if (g_strcmp0(name_of_change(old->data), name_of_change(later->data)) == 0) {
                json_decref(old->data);
                g_queue_delete_link(&book->changes, old);
                return;
            }
        }
    }
}

/* @value: (transfer full): of @member. */
static void
note_change(LedgerBook *book, const char *member, json_t *value)
{
    json_t *change = json_pack("{s:I, s:o}", "at", (json_int_t)book->events++, member, value);
    g_queue_push_tail(&book->changes, change);
    if (g_queue_get_length(&book->changes) > CHANGES_MAX) {
        forget_change(book);
    }
}

/* What is as before is kept once: hosts change often, and most of what they are, names of machine types and of CPU
 * features above all, never does. */
static void
share_members(json_t *after, const json_t *before)
{
    const char *key;
    json_t *value;
    json_object_foreach (after, key, value) {
        json_t *old = json_object_get(before, key);
        if (old != NULL && json_equal(old, value)) {
            json_object_set(after, key, old);
        }
    }
}

/** Returns: whom it may help that @host is now as it is, BerthWake; 0 when the book knew it so. */
guint
ledger_book_put_host(LedgerBook *book, const BerthHost *host)
{
    if (book == NULL) {
        return 0;
    }
    json_t *after = berth_fleet_host_to_json(host);
    const json_t *before = g_hash_table_lookup(book->hosts, host->name);
    share_members(after, before);
    json_t *told = json_copy(after);
    keep_first_images(book, host, after);
    gboolean opens = host->state == BERTH_HOST_READY &&
                     berth_json_integer(before, "state", 0) != BERTH_HOST_READY;
    guint wakes = json_equal((json_t *)before, after)
                      ? 0
                      : BERTH_WAKE_CAPACITY | BERTH_WAKE_FACTS | BERTH_WAKE_WORKLOADS |
                            (opens ? BERTH_WAKE_HOST : 0);
    g_hash_table_replace(book->hosts, g_strdup(host->name), after);
    if (wakes != 0) {
        note_change(book, "host", json_incref(told));
    }
    json_decref(told);
    return wakes;
}

void
ledger_book_remove_host(LedgerBook *book, const char *name)
{
    if (book != NULL && g_hash_table_remove(book->hosts, name)) {
        g_hash_table_remove(book->images, name);
        note_change(book, "gone", json_string(name));
    }
}

static json_t *
write_numbers(const guint8 *numbers, guint n)
{
    json_t *list = json_array();
    for (guint i = 0; i < n; i++) {
        json_array_append_new(list, json_integer(numbers[i]));
    }
    return list;
}

static char *
write_entry(const BerthRequest *request, const char *host, const BerthPlacement *found)
{
    g_autoptr(json_t) json = berth_fleet_request_to_json(request, host);
    if (found != NULL) {
        guint n_cells = (found->cells[0] != BERTH_CELL_NONE) + (found->cells[1] != BERTH_CELL_NONE);
        json_object_set_new(json, "found", json_true());
        json_object_set_new(json, "on_cells", write_numbers(found->cells, n_cells));
        json_object_set_new(json, "on_devices", write_numbers(found->devices, found->n_devices));
    }
    return berth_json_format(json);
}

/** Returns: whether @request is in the book as found on @host, unchanged. */
gboolean
ledger_book_has(const LedgerBook *book, const BerthRequest *request, const char *host)
{
    const BerthPlacement found = {.cells = {BERTH_CELL_NONE, BERTH_CELL_NONE}};
    const Entry *entry = g_hash_table_lookup(book->placed, request->uid);
    g_autofree char *text = write_entry(request, host, &found);
    return entry != NULL && g_str_equal(entry->text, text);
}

/* @text: (transfer full): what is charged now. */
static void
add_entry(LedgerBook *book, const char *uid, char *text)
{
    Entry *entry = g_new(Entry, 1);
    *entry = (Entry){text, book->events++, -1};
    g_hash_table_replace(book->placed, g_strdup(uid), entry);
}

/**
 * ledger_book_add:
 * @request: with a uid
 * @found: (nullable): it was there so, nobody decided it now
 *
 * Notes that @request was charged to @host.
 */
void
ledger_book_add(LedgerBook *book, const BerthRequest *request, const char *host,
                const BerthPlacement *found)
{
    if (book == NULL) {
        return;
    }
    add_entry(book, request->uid, write_entry(request, host, found));
}

/** Notes that room as of @holding is kept on @host under @uid. */
void
ledger_book_hold(LedgerBook *book, const char *uid, const char *host, const json_t *holding)
{
    if (book == NULL) {
        return;
    }
    g_autoptr(json_t) json = json_pack("{s:s, s:s, s:b, s:O}", "uid", uid, "placed_on", host,
                                       "found", TRUE, "holding", (json_t *)holding);
    add_entry(book, uid, berth_json_format(json));
}

/** Notes that @uid, when it was charged, is gone. */
void
ledger_book_release(LedgerBook *book, const char *uid)
{
    gpointer key, value;
    if (book == NULL || !g_hash_table_steal_extended(book->placed, uid, &key, &value)) {
        return;
    }
    Entry *entry = value;
    entry->released_at = book->events++;
    g_free(key);
    g_queue_push_tail(&book->gone, entry);
    if (g_queue_get_length(&book->gone) > GONE_MAX) {
        free_entry(g_queue_pop_head(&book->gone));
    }
}

static int
compare_entries(gconstpointer a, gconstpointer b)
{
    const Entry *x = *(const Entry *const *)a, *y = *(const Entry *const *)b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static GPtrArray *
list_entries(const LedgerBook *book)
{
    GPtrArray *entries = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, book->placed);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        g_ptr_array_add(entries, value);
    }
    for (GList *next = book->gone.head; next != NULL; next = next->next) {
        g_ptr_array_add(entries, next->data);
    }
    g_ptr_array_sort(entries, compare_entries);
    return entries;
}

static json_t *
write_workloads(const LedgerBook *book)
{
    json_t *list = json_array();
    g_autoptr(GPtrArray) entries = list_entries(book);
    for (guint i = 0; i < entries->len; i++) {
        const Entry *entry = entries->pdata[i];
        json_t *item = json_loads(entry->text, 0, NULL);
        json_object_set_new(item, "at", json_integer(entry->at));
        if (entry->released_at >= 0) {
            json_object_set_new(item, "released_at", json_integer(entry->released_at));
        }
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *
write_changes(const LedgerBook *book)
{
    json_t *list = json_array();
    for (const GList *next = book->changes.head; next != NULL; next = next->next) {
        json_array_append(list, next->data);
    }
    return list;
}

/** Returns: (transfer full): the fleet file; hosts in the scheduler's order, which breaks ties. */
json_t *
ledger_book_export(const LedgerBook *book, const BerthSnapshot *snapshot)
{
    json_t *hosts = json_array();
    for (guint32 h = 0; h < berth_snapshot_host_end(snapshot); h++) {
        if (berth_snapshot_host_exists(snapshot, h)) {
            json_array_append(
                hosts, g_hash_table_lookup(book->hosts, berth_snapshot_host_name(snapshot, h)));
        }
    }
    json_t *file = berth_fleet_to_json(hosts, write_workloads(book));
    json_object_set_new(file, "changes", write_changes(book));
    return file;
}
