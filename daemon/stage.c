/* Staging of files on hosts. Invariant: at most one upload per (host, digest); everybody who wants the
 * same file waits for it. A volume is never deleted while its upload runs. Main loop only. */
#include "daemon/stage.h"

#include "base/error.h"

#include <string.h>

#define DIGEST_LENGTH 64
#define UPLOAD_DEADLINE_S 3600
#define MARK_DEADLINE_S 60

typedef struct {
    BerthStageDone done;
    gpointer user_data;
} Waiter;

/* One upload under way. */
typedef struct {
    BerthStage *stage;
    char *key, *host, *path, *volume, *marker; /* owned; key "<host>/<sha256>" */
    guint64 size;
    GArray *waiters; /* of Waiter */
} Upload;

struct BerthStage {
    BerthFleet *fleet;
    BerthRandom *random;
    GHashTable *uploads; /* key -> Upload, owned */
    GPtrArray *answers;  /* of Answer, owned: to be given from the main loop */
};

static void free_answer(gpointer answer);

static void
free_upload(gpointer data)
{
    Upload *upload = data;
    g_free(upload->key);
    g_free(upload->host);
    g_free(upload->path);
    g_free(upload->volume);
    g_free(upload->marker);
    g_array_unref(upload->waiters);
    g_free(upload);
}

/** @fleet and @random: borrowed, outlive the stage. */
BerthStage *
berth_stage_new(BerthFleet *fleet, BerthRandom *random)
{
    BerthStage *stage = g_new0(BerthStage, 1);
    stage->fleet = fleet;
    stage->random = random;
    stage->uploads = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_upload);
    stage->answers = g_ptr_array_new_with_free_func(free_answer);
    return stage;
}

void
berth_stage_free(BerthStage *stage)
{
    g_hash_table_destroy(stage->uploads);
    g_ptr_array_unref(stage->answers);
    g_free(stage);
}

/** Returns: whether @volume is named as berth_stage_bring() names files (its markers not). */
gboolean
berth_stage_is_digest_volume(const char *volume)
{
    return strspn(volume, "0123456789abcdef") == DIGEST_LENGTH && volume[DIGEST_LENGTH] == '-' &&
           !g_str_has_suffix(volume, ".ok");
}

static gboolean
is_marked(BerthFleetHost *host, const char *volume)
{
    g_autofree char *marker = g_strconcat(volume, ".ok", NULL);
    return g_hash_table_contains(host->volumes, marker);
}

/** Returns: (nullable): the complete volume on @host that holds the file @sha256 (64 hex), borrowed. */
const char *
berth_stage_find(BerthFleetHost *host, const char *sha256)
{
    GHashTableIter iter;
    gpointer volume;
    if (host->volumes == NULL || sha256 == NULL) {
        return NULL;
    }
    g_hash_table_iter_init(&iter, host->volumes);
    while (g_hash_table_iter_next(&iter, &volume, NULL)) {
        if (strncmp(volume, sha256, DIGEST_LENGTH) == 0 && berth_stage_is_digest_volume(volume) &&
            is_marked(host, volume)) {
            return volume;
        }
    }
    return NULL;
}

static int
compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/** Returns: (transfer full): sha256 of every file that is complete on @host (nullable), sorted. */
GPtrArray *
berth_stage_list(BerthFleetHost *host)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(g_free);
    if (host == NULL || host->volumes == NULL) {
        return files;
    }
    GHashTableIter iter;
    gpointer volume;
    g_hash_table_iter_init(&iter, host->volumes);
    while (g_hash_table_iter_next(&iter, &volume, NULL)) {
        if (berth_stage_is_digest_volume(volume) && is_marked(host, volume)) {
            g_ptr_array_add(files, g_strndup(volume, DIGEST_LENGTH));
        }
    }
    g_ptr_array_sort(files, compare_texts);
    return files;
}

static void
finish(Upload *upload, const GError *error)
{
    g_hash_table_steal(upload->stage->uploads, upload->key);
    for (guint i = 0; i < upload->waiters->len; i++) {
        Waiter *waiter = &g_array_index(upload->waiters, Waiter, i);
        waiter->done(error, waiter->user_data);
    }
    free_upload(upload);
}

/* The host that the upload goes to; ends the upload when it was removed. */
static BerthFleetHost *
find_host(Upload *upload)
{
    BerthFleetHost *host = berth_fleet_get(upload->stage->fleet, upload->host);
    if (host == NULL) {
        g_autoptr(GError) gone = NULL;
        berth_error_set(&gone, BERTH_ERROR_NOT_FOUND, "host '%s' was removed", upload->host);
        finish(upload, gone);
    }
    return host;
}

static void
on_marked(BerthHostReply *reply, const GError *error, gpointer data)
{
    Upload *upload = data;
    BerthFleetHost *host = find_host(upload);
    if (host == NULL) {
        return;
    }
    if (error == NULL) {
        berth_fleet_note_volume(host, upload->volume, (gint64)upload->size);
        berth_fleet_note_volume(host, upload->marker, 0);
    } else {
        berth_fleet_doubt_volumes(host);
    }
    finish(upload, error);
}

static void
on_uploaded(BerthHostReply *reply, const GError *error, gpointer data)
{
    Upload *upload = data;
    BerthFleetHost *host = find_host(upload);
    if (host == NULL) {
        return;
    }
    if (error != NULL) {
        berth_fleet_doubt_volumes(host);
        finish(upload, error);
        return;
    }
    BerthHostCall call = {.verb = BERTH_HOST_VOLUME_CREATE,
                          .pool = berth_fleet_pool(upload->stage->fleet),
                          .volume = upload->marker,
                          .format = "raw"};
    berth_host_runner_submit(host->runner, &call, MARK_DEADLINE_S, on_marked, upload);
}

typedef struct {
    BerthStage *stage;
    BerthStageDone done;
    gpointer user_data;
    GError *error;
    guint source;
} Answer;

static void
free_answer(gpointer data)
{
    Answer *answer = data;
    g_clear_handle_id(&answer->source, g_source_remove);
    g_clear_error(&answer->error);
    g_free(answer);
}

static gboolean
answer_later(gpointer data)
{
    Answer *answer = data;
    answer->source = 0;
    answer->done(answer->error, answer->user_data);
    g_ptr_array_remove_fast(answer->stage->answers, answer);
    return G_SOURCE_REMOVE;
}

static void
answer(BerthStage *stage, BerthStageDone done, gpointer user_data, GError *error)
{
    Answer *later = g_new(Answer, 1);
    *later = (Answer){stage, done, user_data, error, 0};
    later->source = g_idle_add_full(G_PRIORITY_DEFAULT, answer_later, later, NULL);
    g_ptr_array_add(stage->answers, later);
}

static Upload *
start_upload(BerthStage *stage, BerthFleetHost *host, const char *key, const char *sha256,
             const char *path, guint64 size)
{
    g_autofree char *random = berth_random_hex(stage->random, 4);
    Upload *upload = g_new0(Upload, 1);
    upload->stage = stage;
    upload->key = g_strdup(key);
    upload->host = g_strdup(host->name);
    upload->path = g_strdup(path);
    upload->size = size;
    upload->volume = g_strdup_printf("%s-%s", sha256, random);
    upload->marker = g_strconcat(upload->volume, ".ok", NULL);
    upload->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
    g_hash_table_insert(stage->uploads, upload->key, upload);
    BerthHostCall call = {.verb = BERTH_HOST_VOLUME_UPLOAD,
                          .pool = berth_fleet_pool(stage->fleet),
                          .volume = upload->volume,
                          .path = upload->path,
                          .size = size,
                          .format = "raw"};
    berth_host_runner_submit(host->runner, &call, UPLOAD_DEADLINE_S, on_uploaded, upload);
    return upload;
}

/**
 * berth_stage_bring:
 * @host: name of the host
 * @sha256: 64 hexadecimal digits: what the file's content is known by
 * @path: the file here; must not change
 * @size: its bytes
 * @done: told when the volume is complete there; at once (from the main loop) when it already is
 *
 * Errors: NOT_FOUND (host), UNAVAILABLE, EXHAUSTED (pool full), TIMEOUT.
 */
void
berth_stage_bring(BerthStage *stage, const char *host_name, const char *sha256, const char *path,
                  guint64 size, BerthStageDone done, gpointer user_data)
{
    BerthFleetHost *host = berth_fleet_get(stage->fleet, host_name);
    if (host == NULL) {
        GError *error = NULL;
        berth_error_set(&error, BERTH_ERROR_NOT_FOUND, "no host '%s'", host_name);
        answer(stage, done, user_data, error);
        return;
    }
    if (berth_stage_find(host, sha256) != NULL) {
        answer(stage, done, user_data, NULL);
        return;
    }
    g_autofree char *key = g_strdup_printf("%s/%s", host_name, sha256);
    Upload *upload = g_hash_table_lookup(stage->uploads, key);
    if (upload == NULL) {
        upload = start_upload(stage, host, key, sha256, path, size);
    }
    g_array_append_val(upload->waiters, ((Waiter){done, user_data}));
}

static gboolean
is_uploading(BerthStage *stage, BerthFleetHost *host, const char *volume)
{
    g_autofree char *key = g_strdup_printf("%s/%.*s", host->name, DIGEST_LENGTH, volume);
    const Upload *upload = g_hash_table_lookup(stage->uploads, key);
    return upload != NULL && g_str_has_prefix(volume, upload->volume);
}

/* A volume that is being deleted. */
typedef struct {
    BerthFleet *fleet;
    char *host, *volume; /* owned */
} Cleaning;

static void
on_cleaned(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autofree Cleaning *cleaning = data;
    g_autofree char *name = cleaning->host;
    g_autofree char *volume = cleaning->volume;
    BerthFleetHost *host = berth_fleet_get(cleaning->fleet, name);
    if (host != NULL) {
        berth_fleet_volume_left(host, volume,
                                error == NULL); /* what is there still is cleaned again */
    }
}

static void
delete_volume(BerthFleetHost *host, const char *volume)
{
    Cleaning *cleaning = g_new(Cleaning, 1);
    *cleaning = (Cleaning){host->fleet, g_strdup(host->name), g_strdup(volume)};
    BerthHostCall call = {
        .verb = BERTH_HOST_VOLUME_DELETE, .pool = berth_fleet_pool(host->fleet), .volume = volume};
    berth_host_runner_submit(host->runner, &call, MARK_DEADLINE_S, on_cleaned, cleaning);
    berth_fleet_volume_leaves(host, volume);
}

static void
delete_with_marker(BerthFleetHost *host, const char *volume)
{
    /* The marker first: a death in between leaves an unmarked volume, which is cleaned too. */
    g_autofree char *marker = g_strconcat(volume, ".ok", NULL);
    if (g_hash_table_contains(host->volumes, marker)) {
        delete_volume(host, marker);
    }
    delete_volume(host, volume);
}

/* Its volume was deleted, and then something went wrong. */
static gboolean
is_lone_marker(BerthFleetHost *host, const char *volume)
{
    if (strspn(volume, "0123456789abcdef") != DIGEST_LENGTH || !g_str_has_suffix(volume, ".ok")) {
        return FALSE;
    }
    g_autofree char *marked = g_strndup(volume, strlen(volume) - strlen(".ok"));
    return !g_hash_table_contains(host->volumes, marked);
}

static gboolean
is_useless(BerthFleetHost *host, const char *volume, GHashTable *wanted)
{
    g_autofree char *digest = g_strndup(volume, DIGEST_LENGTH);
    return is_lone_marker(host, volume) ||
           (berth_stage_is_digest_volume(volume) &&
            (!is_marked(host, volume) || !g_hash_table_contains(wanted, digest)));
}

/**
 * berth_stage_clean:
 * @wanted: set of sha256 that stay
 *
 * Deletes from @host what no upload will finish (unmarked) and what nobody wants.
 *
 * Returns: how many volumes go.
 */
guint
berth_stage_clean(BerthStage *stage, BerthFleetHost *host, GHashTable *wanted)
{
    if (host->volumes == NULL) {
        return 0;
    }
    g_autoptr(GPtrArray) useless = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer volume;
    g_hash_table_iter_init(&iter, host->volumes);
    while (g_hash_table_iter_next(&iter, &volume, NULL)) {
        if (!is_uploading(stage, host, volume) && is_useless(host, volume, wanted)) {
            g_ptr_array_add(useless, g_strdup(volume));
        }
    }
    for (guint i = 0; i < useless->len; i++) {
        delete_with_marker(host, useless->pdata[i]);
    }
    return useless->len;
}
