/* The work queue of controllers: a set of keys ordered by due time.
 *
 * Invariant: a key is in `order` exactly when its entry's `due_us` is not NEVER; adding an already
 * queued key only moves it earlier, so a burst of changes is one look. Main loop only. */
#include "daemon/queue.h"

#define NEVER G_MAXINT64
#define BACKOFF_FIRST_US (G_USEC_PER_SEC / 2)
#define BACKOFF_LAST_US (30 * G_USEC_PER_SEC)
/* Looking in one turn of the main loop. */
#define TURN_US 5000

typedef struct {
    char *key; /* owned */
    gint64 due_us;
    guint64 sequence; /* breaks ties in order of adding */
    guint attempts;   /* retries since the last forget */
    GSequenceIter *place;
} Entry;

struct BerthQueue {
    BerthClock *clock; /* borrowed, outlives this */
    BerthQueueHandler handler;
    gpointer user_data;
    GHashTable *entries; /* key (borrowed from the entry) -> Entry, owned */
    GSequence *order;    /* Entry*, by due time */
    guint64 next_sequence;
    GSource *source; /* owned; NULL unless attached */
};

static void
free_entry(gpointer data)
{
    Entry *entry = data;
    g_free(entry->key);
    g_free(entry);
}

static int
compare_entries(gconstpointer a, gconstpointer b, gpointer unused)
{
    const Entry *left = a, *right = b;
    if (left->due_us != right->due_us) {
        return left->due_us < right->due_us ? -1 : 1;
    }
    return left->sequence < right->sequence ? -1 : left->sequence > right->sequence;
}

/**
 * berth_queue_new:
 * @clock: (transfer none): outlives the queue
 * @handler: called by berth_queue_run() for each due key
 */
BerthQueue *
berth_queue_new(BerthClock *clock, BerthQueueHandler handler, gpointer user_data)
{
    BerthQueue *queue = g_new0(BerthQueue, 1);
    queue->clock = clock;
    queue->handler = handler;
    queue->user_data = user_data;
    queue->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_entry);
    queue->order = g_sequence_new(NULL);
    return queue;
}

void
berth_queue_free(BerthQueue *queue)
{
    berth_queue_detach(queue);
    g_sequence_free(queue->order);
    g_hash_table_destroy(queue->entries);
    g_free(queue);
}

static void
rearm(BerthQueue *queue)
{
    if (queue->source != NULL) {
        gint64 due = berth_queue_due_us(queue);
        g_source_set_ready_time(queue->source, due == NEVER ? -1 : due);
    }
}

static Entry *
ensure_entry(BerthQueue *queue, const char *key)
{
    Entry *entry = g_hash_table_lookup(queue->entries, key);
    if (entry == NULL) {
        entry = g_new0(Entry, 1);
        entry->key = g_strdup(key);
        entry->due_us = NEVER;
        g_hash_table_insert(queue->entries, entry->key, entry);
    }
    return entry;
}

static void
schedule(BerthQueue *queue, Entry *entry, gint64 due_us)
{
    if (entry->place != NULL) {
        if (entry->due_us <= due_us) {
            return;
        }
        g_sequence_remove(entry->place);
    }
    entry->due_us = due_us;
    entry->sequence = queue->next_sequence++;
    entry->place = g_sequence_insert_sorted(queue->order, entry, compare_entries, NULL);
    rearm(queue);
}

/** Wants @key (copied) to be looked at now. */
void
berth_queue_add(BerthQueue *queue, const char *key)
{
    berth_queue_add_after(queue, key, 0);
}

/** Wants @key (copied) to be looked at in @delay_us; an earlier look that is already wanted stays. */
void
berth_queue_add_after(BerthQueue *queue, const char *key, gint64 delay_us)
{
    schedule(queue, ensure_entry(queue, key), berth_clock_monotonic_us(queue->clock) + delay_us);
}

/**
 * berth_queue_retry:
 *
 * Wants @key to be looked at after its back-off, which doubles with each retry from 0.5 s to 30 s until
 * berth_queue_forget().
 *
 * Returns: the delay in microseconds.
 */
gint64
berth_queue_retry(BerthQueue *queue, const char *key)
{
    Entry *entry = ensure_entry(queue, key);
    gint64 delay_us = BACKOFF_LAST_US;
    if (entry->attempts < 7) {
        delay_us = MIN(BACKOFF_LAST_US, (gint64)BACKOFF_FIRST_US << entry->attempts);
    }
    entry->attempts++;
    schedule(queue, entry, berth_clock_monotonic_us(queue->clock) + delay_us);
    return delay_us;
}

/** Ends the back-off of @key: its next retry is quick again. A look that is wanted stays wanted. */
void
berth_queue_forget(BerthQueue *queue, const char *key)
{
    Entry *entry = g_hash_table_lookup(queue->entries, key);
    if (entry == NULL) {
        return;
    }
    entry->attempts = 0;
    if (entry->place == NULL) {
        g_hash_table_remove(queue->entries, key);
    }
}

/** Returns: when the next key is due on the monotonic clock; G_MAXINT64 when none is. */
gint64
berth_queue_due_us(const BerthQueue *queue)
{
    GSequenceIter *first = g_sequence_get_begin_iter(queue->order);
    return g_sequence_iter_is_end(first) ? NEVER : ((Entry *)g_sequence_get(first))->due_us;
}

/** Returns: how many keys wait, due or not. */
guint
berth_queue_length(const BerthQueue *queue)
{
    return (guint)g_sequence_get_length(queue->order);
}

static gboolean
run_next(BerthQueue *queue, guint64 before_sequence, gint64 now)
{
    GSequenceIter *first = g_sequence_get_begin_iter(queue->order);
    if (g_sequence_iter_is_end(first)) {
        return FALSE;
    }
    Entry *entry = g_sequence_get(first);
    if (entry->due_us > now || entry->sequence >= before_sequence) {
        return FALSE;
    }
    g_sequence_remove(first);
    entry->place = NULL;
    entry->due_us = NEVER;
    g_autofree char *key = g_strdup(entry->key);
    if (entry->attempts == 0) {
        g_hash_table_remove(queue->entries, key);
    }
    queue->handler(key, queue->user_data);
    return TRUE;
}

/* Until @end_us on the system's clock; always one look at least. */
static guint
run_until(BerthQueue *queue, gint64 end_us)
{
    gint64 now = berth_clock_monotonic_us(queue->clock);
    guint64 before_sequence = queue->next_sequence;
    guint looked = 0;
    while (run_next(queue, before_sequence, now)) {
        looked++;
        if (end_us != NEVER && g_get_monotonic_time() >= end_us) {
            break;
        }
    }
    rearm(queue);
    return looked;
}

/**
 * berth_queue_run:
 *
 * Looks at every key that is due now; keys added meanwhile wait for the next run, so a key that adds
 * itself cannot keep the loop.
 *
 * Returns: how many keys were looked at.
 */
guint
berth_queue_run(BerthQueue *queue)
{
    return run_until(queue, NEVER);
}

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    callback(user_data);
    return G_SOURCE_CONTINUE;
}

static gboolean
run_attached(gpointer data)
{
    run_until(data, g_get_monotonic_time() + TURN_US);
    return G_SOURCE_CONTINUE;
}

/** Runs the queue from the default main context whenever a key is due; for the system's clock only. A thousand keys
 * take several turns, so that others have theirs between them. */
void
berth_queue_attach(BerthQueue *queue)
{
    static GSourceFuncs functions = {.dispatch = dispatch};
    queue->source = g_source_new(&functions, sizeof(GSource));
    g_source_set_callback(queue->source, run_attached, queue, NULL);
    g_source_attach(queue->source, NULL);
    rearm(queue);
}

/** No key is looked at by the main loop any more, whatever is added. */
void
berth_queue_detach(BerthQueue *queue)
{
    if (queue->source != NULL) {
        g_source_destroy(queue->source);
        g_clear_pointer(&queue->source, g_source_unref);
    }
}
