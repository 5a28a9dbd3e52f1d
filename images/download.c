/* Bringing blobs into the cache.
 *
 * Invariant: for one digest at most one download runs in this process (flight.c), whoever wants it; what
 * a cut one left is continued. Threads: the caller's reports and waits, up to `parallel` others download;
 * they share `mutex` and the counters under it. Start at berth_download(). */
#include "images/download.h"

#include "base/error.h"

#include <string.h>

#define BACKOFF_MS 250

typedef struct {
    BerthBlobs *blobs; /* borrowed */
    guint attempts;
    GCancellable *stop; /* owned; ends all threads */
    GMutex mutex;
    GCond changed;
    GPtrArray *wanted; /* owned container; descriptors not yet begun */
    guint64 done;      /* bytes */
    guint running;
    GError *error; /* owned; the first failure */
} Crew;

typedef struct {
    Crew *crew;              /* borrowed */
    BerthRegistry *registry; /* owned */
} Worker;

typedef struct {
    Crew *crew; /* borrowed, as all here */
    BerthBlobWriter *writer;
    gboolean restarted;
    guint64 counted; /* of this blob, in crew->done */
} Transfer;

static void
count_to(Transfer *transfer, guint64 bytes)
{
    Crew *crew = transfer->crew;
    g_mutex_lock(&crew->mutex);
    crew->done += bytes;
    crew->done -= transfer->counted;
    transfer->counted = bytes;
    g_mutex_unlock(&crew->mutex);
}

static gboolean
take_bytes(const void *data, gsize size, gpointer user_data, GError **error)
{
    Transfer *transfer = user_data;
    if (transfer->restarted && berth_blob_writer_offset(transfer->writer) > 0) {
        if (!berth_blob_writer_restart(transfer->writer, error)) {
            return FALSE;
        }
    }
    transfer->restarted = FALSE;
    if (!berth_blob_writer_append(transfer->writer, data, size, error)) {
        return FALSE;
    }
    count_to(transfer, berth_blob_writer_offset(transfer->writer));
    return TRUE;
}

/* Waits before the next attempt. FALSE when cancelled meanwhile. */
static gboolean
back_off(guint attempt, GCancellable *stop, GError **error)
{
    GPollFD ready;
    if (g_cancellable_make_pollfd(stop, &ready)) {
        g_poll(&ready, 1, BACKOFF_MS << MIN(attempt, 6));
        g_cancellable_release_fd(stop);
    }
    if (g_cancellable_is_cancelled(stop)) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    return TRUE;
}

static gboolean
try_once(Transfer *transfer, BerthRegistry *registry, const BerthDescriptor *blob, GError **error)
{
    Crew *crew = transfer->crew;
    guint64 offset = berth_blob_writer_offset(transfer->writer);
    gboolean resumed = offset > 0;
    transfer->restarted = FALSE;
    if (offset < blob->size || blob->size == 0) {
        if (!berth_registry_get_blob(registry, blob, offset, take_bytes, transfer,
                                     &transfer->restarted, crew->stop, error)) {
            return FALSE;
        }
    }
    g_autoptr(GError) problem = NULL;
    if (berth_blob_writer_finish(transfer->writer, blob->size, NULL, NULL, &problem)) {
        berth_blobs_unpin(crew->blobs, &blob->digest);
        return TRUE;
    }
    /* A wrong start kept from last time is not this registry's fault: once more, from nothing. */
    if (resumed && g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_CORRUPT)) {
        problem->code = BERTH_ERROR_UNAVAILABLE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static gboolean
transfer_blob(Transfer *transfer, BerthRegistry *registry, const BerthDescriptor *blob,
              GError **error)
{
    const Crew *crew = transfer->crew;
    for (guint attempt = 0;; attempt++) {
        g_autoptr(GError) problem = NULL;
        if (try_once(transfer, registry, blob, &problem)) {
            return TRUE;
        }
        gboolean again = berth_error_is_retryable(problem) &&
                         !g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_EXHAUSTED);
        if (!again || attempt + 1 >= crew->attempts) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        if (!back_off(attempt, crew->stop, error)) {
            return FALSE;
        }
    }
}

static gboolean
download_one(Transfer *transfer, BerthRegistry *registry, const BerthDescriptor *blob,
             GError **error)
{
    BerthBlobs *blobs = transfer->crew->blobs;
    if (berth_blobs_has(blobs, &blob->digest, NULL)) {
        return TRUE;
    }
    g_autoptr(BerthBlobWriter) writer =
        berth_blob_writer_new(blobs, &blob->digest, blob->size, error);
    if (writer == NULL) {
        return FALSE;
    }
    guint64 rest = blob->size - MIN(blob->size, berth_blob_writer_offset(writer));
    if (!berth_blobs_admit(blobs, rest, error)) {
        return FALSE;
    }
    transfer->writer = writer;
    count_to(transfer, berth_blob_writer_offset(writer));
    gboolean ok = transfer_blob(transfer, registry, blob, error);
    berth_blobs_release(blobs, rest);
    return ok;
}

/* Downloads @blob, or waits for the thread that does. */
static gboolean
ensure_blob(Crew *crew, BerthRegistry *registry, const BerthDescriptor *blob, GError **error)
{
    g_autofree char *key = g_strconcat("blob:", blob->digest.hex, NULL);
    BerthFlights *flights = berth_blobs_flights(crew->blobs);
    Transfer transfer = {.crew = crew};
    gboolean leads;
    if (!berth_flights_join(flights, key, crew->stop, &leads, NULL, error)) {
        return FALSE;
    }
    if (leads) {
        g_autoptr(GError) problem = NULL;
        download_one(&transfer, registry, blob, &problem);
        berth_flights_land(flights, key, NULL, problem);
        if (problem != NULL) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
    }
    guint64 size = 0;
    if (berth_blobs_has(crew->blobs, &blob->digest, &size) && size != blob->size) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the blob sha256:%s has %" G_GUINT64_FORMAT
                        " bytes, the manifest says %" G_GUINT64_FORMAT,
                        blob->digest.hex, size, blob->size);
        return FALSE;
    }
    count_to(&transfer, blob->size);
    return TRUE;
}

static const BerthDescriptor *
next_wanted(Crew *crew)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&crew->mutex);
    if (crew->wanted->len == 0 || crew->error != NULL) {
        return NULL;
    }
    return g_ptr_array_steal_index(crew->wanted, 0);
}

static void
give_up(Crew *crew, GError *problem)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&crew->mutex);
    if (crew->error == NULL) {
        crew->error = problem;
    } else {
        g_error_free(problem);
    }
}

static gpointer
work(gpointer data)
{
    Worker *worker = data;
    Crew *crew = worker->crew;
    const BerthDescriptor *blob;
    while ((blob = next_wanted(crew)) != NULL) {
        GError *problem = NULL;
        if (!ensure_blob(crew, worker->registry, blob, &problem)) {
            give_up(crew, problem);
            g_cancellable_cancel(crew->stop);
        }
    }
    berth_registry_free(worker->registry);
    g_free(worker);
    g_mutex_lock(&crew->mutex);
    crew->running--;
    g_cond_signal(&crew->changed);
    g_mutex_unlock(&crew->mutex);
    return NULL;
}

static guint64
sum_sizes(const GPtrArray *wanted)
{
    guint64 sum = 0;
    for (guint i = 0; i < wanted->len; i++) {
        sum += ((const BerthDescriptor *)wanted->pdata[i])->size;
    }
    return sum;
}

/* Reports until all threads ended; passes the caller's cancellation on. */
static void
watch(Crew *crew, guint64 total, BerthDownloadProgressFunc progress, gpointer user_data,
      GCancellable *cancellable)
{
    gboolean running = TRUE;
    while (running) {
        g_mutex_lock(&crew->mutex);
        if (crew->running > 0) {
            g_cond_wait_until(&crew->changed, &crew->mutex,
                              g_get_monotonic_time() + 200 * G_TIME_SPAN_MILLISECOND);
        }
        guint64 done = crew->done;
        running = crew->running > 0;
        g_mutex_unlock(&crew->mutex);
        if (g_cancellable_is_cancelled(cancellable)) {
            g_cancellable_cancel(crew->stop);
        }
        if (progress != NULL) {
            progress(MIN(done, total), total, user_data);
        }
    }
}

static void
start_workers(Crew *crew, BerthRegistry *registry, guint count, GPtrArray *threads)
{
    for (guint i = 0; i < count; i++) {
        Worker *worker = g_new0(Worker, 1);
        worker->crew = crew;
        worker->registry = berth_registry_copy(registry);
        crew->running++;
        g_ptr_array_add(threads, g_thread_new("download", work, worker));
    }
}

/* Each digest once: an image may name a layer many times. */
static GPtrArray *
distinct(const GPtrArray *wanted)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *list = g_ptr_array_new();
    for (guint i = 0; i < wanted->len; i++) {
        BerthDescriptor *blob = wanted->pdata[i];
        if (g_hash_table_add(seen, blob->digest.hex)) {
            g_ptr_array_add(list, blob);
        }
    }
    return list;
}

/**
 * berth_download:
 * @registry: stays the caller's, but is not used by it meanwhile
 * @parallel: threads at most
 * @attempts: of each blob
 * @wanted: of BerthDescriptor; the caller has pinned their digests
 * @progress: (nullable)
 *
 * Blocks until all of @wanted is in the cache, or one can't be had.
 *
 * Errors: the first one met; CANCELLED.
 */
gboolean
berth_download(BerthBlobs *blobs, BerthRegistry *registry, guint parallel, guint attempts,
               const GPtrArray *wanted, BerthDownloadProgressFunc progress, gpointer user_data,
               GCancellable *cancellable, GError **error)
{
    g_autoptr(GPtrArray) list = distinct(wanted);
    g_autoptr(GPtrArray) threads = g_ptr_array_new();
    const guint64 total = sum_sizes(list);
    Crew crew = {
        .blobs = blobs, .attempts = MAX(attempts, 1), .stop = g_cancellable_new(), .wanted = list};
    g_mutex_init(&crew.mutex);
    g_cond_init(&crew.changed);
    start_workers(&crew, registry, MIN(MAX(parallel, 1), list->len), threads);
    watch(&crew, total, progress, user_data, cancellable);
    for (guint i = 0; i < threads->len; i++) {
        g_thread_join(threads->pdata[i]);
    }
    g_object_unref(crew.stop);
    g_mutex_clear(&crew.mutex);
    g_cond_clear(&crew.changed);
    if (crew.error != NULL) {
        g_propagate_error(error, crew.error);
        return FALSE;
    }
    return TRUE;
}
