/* Events that count instead of piling up, and the limits of what is kept. Invariant: one Event object per
 * (object, reason); each is written at most once a second however often it happens. Main loop. */
#include "daemon/catalog-private.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/log.h"

#include <string.h>

#define WRITE_EVERY_US G_USEC_PER_SEC
/* Events over the limit before they are thinned out, so that it does not happen at each one. */
#define EVENTS_SLACK 64
#define MESSAGE_MAX 4096
/* A retry with an Idempotency-Key comes within a day. */
#define REQUEST_KEY_DAYS 1
#define REQUEST_KEYS_MAX 10000
#define DELETES_PER_TRANSACTION 64

/* What is known of one Event, maybe more than was written. */
typedef struct {
    char *name;           /* owned; of the Event */
    BerthObject *written; /* reference; NULL: not committed yet */
    json_t *spec;         /* owned; the newest */
    gint64 count;
    gint64 written_us; /* monotonic; of the last write */
    gboolean behind;   /* spec is newer than what was submitted */
    gboolean flying;
} EventTrack;

static void
free_track(gpointer data)
{
    EventTrack *track = data;
    g_free(track->name);
    g_clear_pointer(&track->written, berth_object_unref);
    json_decref(track->spec);
    g_free(track);
}

void
catalog_events_init(BerthCatalog *catalog)
{
    catalog->event_tracks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_track);
}

void
catalog_events_stop(BerthCatalog *catalog)
{
    if (catalog->event_flush != NULL) {
        g_source_destroy(catalog->event_flush);
        g_clear_pointer(&catalog->event_flush, g_source_unref);
    }
}

void
catalog_events_clear(BerthCatalog *catalog)
{
    g_hash_table_unref(catalog->event_tracks);
}

static char *
track_key(const char *uid, const char *reason)
{
    return g_strdup_printf("%s\n%s", uid != NULL ? uid : "", reason);
}

/* Keeps the tracks in step with committed Events (also at load, and when Events are deleted). */
void
catalog_events_changed(BerthCatalog *catalog, const BerthObject *before, BerthObject *after)
{
    const BerthObject *event = after != NULL ? after : before;
    if (event == NULL || event->kind != &berth_kind_event) {
        return;
    }
    const BerthEventSpec *spec = event->spec_data;
    g_autofree char *key = track_key(spec->object_uid, spec->reason);
    EventTrack *track = g_hash_table_lookup(catalog->event_tracks, key);
    if (after == NULL) {
        if (track != NULL && strcmp(track->name, event->name) == 0 && !track->flying) {
            g_hash_table_remove(catalog->event_tracks, key);
        }
        return;
    }
    if (track == NULL) {
        track = g_new0(EventTrack, 1);
        track->name = g_strdup(event->name);
        track->spec = json_incref(event->spec);
        track->count = spec->count;
        g_hash_table_insert(catalog->event_tracks, g_steal_pointer(&key), track);
    }
    if (strcmp(track->name, event->name) == 0) {
        g_clear_pointer(&track->written, berth_object_unref);
        track->written = berth_object_ref(after);
    }
}

typedef struct {
    BerthCatalog *catalog; /* reference */
    char *key;
} EventWrite;

static void write_behind(BerthCatalog *catalog);

static void
finish_event(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
             gpointer data)
{
    EventWrite *write = data;
    EventTrack *track = g_hash_table_lookup(write->catalog->event_tracks, write->key);
    if (track != NULL) {
        track->flying = FALSE;
        if (error != NULL) {
            /* Deleted meanwhile, or the disk is full: the next one begins anew. */
            g_hash_table_remove(write->catalog->event_tracks, write->key);
        } else if (track->behind && !write->catalog->closed) {
            write_behind(write->catalog);
        }
    }
    catalog_unref(write->catalog);
    g_free(write->key);
    g_free(write);
}

static void
write_event(BerthCatalog *catalog, const char *key, EventTrack *track)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *now = berth_time_format(berth_clock_wall_us(catalog->clock));
    g_autoptr(BerthObject) event =
        berth_object_make(&berth_kind_event, "", track->name, track->spec, now, &error);
    track->behind = FALSE;
    if (event == NULL) {
        berth_log_error(BERTH_LOG_ERROR, error, "an event can't be made", NULL);
        return;
    }
    if (track->written != NULL) {
        berth_object_set_identity(event, track->written->uid, track->written->created);
    }
    EventWrite *write = g_new(EventWrite, 1);
    *write = (EventWrite){catalog_ref(catalog), g_strdup(key)};
    track->flying = TRUE;
    track->written_us = berth_clock_monotonic_us(catalog->clock);
    BerthTransaction *transaction = berth_transaction_new();
    berth_catalog_add_body(transaction, event,
                           track->written != NULL ? BERTH_STORE_ANY : BERTH_STORE_ABSENT);
    catalog_submit(catalog, transaction, finish_event, write);
}

static gboolean
write_behind_later(gpointer data)
{
    BerthCatalog *catalog = data;
    g_clear_pointer(&catalog->event_flush, g_source_unref);
    write_behind(catalog);
    return G_SOURCE_REMOVE;
}

/* Writes the tracks that are due; a timer comes back for those that are not. */
static void
write_behind(BerthCatalog *catalog)
{
    gint64 now = berth_clock_monotonic_us(catalog->clock);
    gboolean left = FALSE;
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, catalog->event_tracks);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        EventTrack *track = value;
        if (!track->behind || track->flying) {
            continue;
        }
        if (track->written_us == 0 || now - track->written_us >= WRITE_EVERY_US) {
            write_event(catalog, key, track);
        } else {
            left = TRUE;
        }
    }
    if (left && catalog->event_flush == NULL) {
        catalog->event_flush = catalog_schedule(WRITE_EVERY_US / 1000, write_behind_later, catalog);
    }
}

static EventTrack *
find_or_add_track(BerthCatalog *catalog, const char *uid, const char *reason, char **key)
{
    *key = track_key(uid, reason);
    EventTrack *track = g_hash_table_lookup(catalog->event_tracks, *key);
    if (track == NULL) {
        g_autofree char *suffix = berth_random_hex(catalog->random, 8);
        track = g_new0(EventTrack, 1);
        track->name = g_strconcat("ev-", suffix, NULL);
        g_hash_table_insert(catalog->event_tracks, g_strdup(*key), track);
    }
    return track;
}

static void
happen(BerthCatalog *catalog, EventTrack *track, const BerthObject *object, const char *severity,
       const char *reason, const char *actor, const char *message)
{
    g_autofree char *now = berth_time_format(berth_clock_wall_us(catalog->clock));
    g_autofree char *first = g_strdup(berth_json_string(track->spec, "first"));
    track->count++;
    json_decref(track->spec);
    track->spec = json_pack(
        "{s:s*, s:s*, s:s*, s:s*, s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "object_kind",
        object != NULL ? object->kind->name : NULL, "object_project",
        object != NULL && *object->project != '\0' ? object->project : NULL, "object_name",
        object != NULL ? object->name : NULL, "object_uid", object != NULL ? object->uid : NULL,
        "reason", reason, "message", message, "severity", severity, "actor", actor, "count",
        (json_int_t)track->count, "first", first != NULL ? first : now, "last", now);
    track->behind = TRUE;
}

/** See the header. */
void
berth_catalog_record_event(BerthCatalog *catalog, const BerthObject *object, const char *severity,
                           const char *reason, const char *actor, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *message = g_utf8_make_valid(text, (gssize)strnlen(text, MESSAGE_MAX));
    g_autofree char *key = NULL;
    EventTrack *track =
        find_or_add_track(catalog, object != NULL ? object->uid : NULL, reason, &key);
    happen(catalog, track, object, severity, reason, actor != NULL ? actor : "berth", message);
    gint64 now = berth_clock_monotonic_us(catalog->clock);
    if (!track->flying && (track->written_us == 0 || now - track->written_us >= WRITE_EVERY_US)) {
        write_event(catalog, key, track);
    } else if (catalog->event_flush == NULL) {
        catalog->event_flush = catalog_schedule(WRITE_EVERY_US / 1000, write_behind_later, catalog);
    }
    guint limit = (guint)berth_catalog_settings(catalog)->event_retention_count;
    if (berth_catalog_count(catalog, &berth_kind_event) > limit + EVENTS_SLACK) {
        berth_catalog_retain(catalog);
    }
}

/* ---- retention ---- */

static const char *
ended_at(const BerthObject *object)
{
    if (object->kind == &berth_kind_request_key) {
        return object->created;
    }
    if (object->kind == &berth_kind_event) {
        const BerthEventSpec *spec = object->spec_data;
        return spec->last != NULL ? spec->last : object->created;
    }
    const BerthTaskStatus *status = object->status_data;
    static const char *const ended[] = {"Succeeded", "Failed", "Cancelled", NULL};
    if (status->phase == NULL || !g_strv_contains(ended, status->phase)) {
        return NULL;
    }
    return status->finished != NULL ? status->finished : object->created;
}

static int
compare_ends(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(ended_at(*(BerthObject *const *)a), ended_at(*(BerthObject *const *)b));
}

static void
finish_retention(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
                 gpointer data)
{
    ((BerthCatalog *)data)->retaining = FALSE;
    if (error != NULL && !g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        berth_log_error(BERTH_LOG_WARNING, error, "old records were not removed", NULL);
    }
}

static void
submit_deletes(BerthCatalog *catalog, BerthTransaction *transaction)
{
    catalog->retaining = TRUE;
    catalog_submit(catalog, transaction, finish_retention, catalog);
}

/* Deletes ended objects of @kind: those older than @days, and the oldest beyond @count. */
static void
retain_kind(BerthCatalog *catalog, const BerthKind *kind, gint64 count, gint64 days)
{
    gint64 now = berth_clock_wall_us(catalog->clock);
    g_autofree char *oldest = berth_time_format(now - days * 24 * 3600 * G_USEC_PER_SEC);
    g_autoptr(GPtrArray) ended = g_ptr_array_new();
    BerthCatalogIter iter;
    BerthObject *object;
    berth_catalog_iter_init(&iter, catalog, kind, NULL);
    while ((object = berth_catalog_iter_next(&iter)) != NULL) {
        if (ended_at(object) != NULL) {
            g_ptr_array_add(ended, object);
        }
    }
    g_ptr_array_sort(ended, compare_ends);
    g_autoptr(BerthTransaction) deletes = berth_transaction_new();
    for (guint i = 0; i < ended->len; i++) {
        if (i + (guint)count >= ended->len && g_strcmp0(ended_at(ended->pdata[i]), oldest) >= 0) {
            break;
        }
        berth_catalog_add_delete(deletes, ended->pdata[i]);
        if (berth_transaction_size(deletes) >= DELETES_PER_TRANSACTION) {
            submit_deletes(catalog, g_steal_pointer(&deletes));
            deletes = berth_transaction_new();
        }
    }
    if (berth_transaction_size(deletes) > 0) {
        submit_deletes(catalog, g_steal_pointer(&deletes));
    }
}

/** See the header. */
void
berth_catalog_retain(BerthCatalog *catalog)
{
    catalog->retained_at = catalog->revision;
    if (catalog->retaining) {
        return;
    }
    const BerthSettingsSpec *settings = berth_catalog_settings(catalog);
    retain_kind(catalog, &berth_kind_task, settings->task_retention_count,
                settings->task_retention_days);
    retain_kind(catalog, &berth_kind_event, settings->event_retention_count,
                settings->event_retention_days);
    retain_kind(catalog, &berth_kind_request_key, REQUEST_KEYS_MAX, REQUEST_KEY_DAYS);
    gint64 horizon = catalog->revision - settings->revision_retention;
    if (horizon > catalog->store->ops->oldest(catalog->store)) {
        catalog->store->ops->compact(catalog->store, horizon);
    }
}
