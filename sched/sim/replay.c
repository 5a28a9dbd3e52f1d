/* berth-sim replay: places the workloads of a fleet file again, in its order, on its hosts while they are
 * empty, and compares with where they run. Who was released is released again when its time has come, and hosts come,
 * go and change when they did; what the daemon found when it began, and foreign domains, stay where they were
 * found. */
#include "base/error.h"
#include "base/json.h"
#include "sched/fleet-json.h"
#include "sched/holding.h"
#include "sched/sim/sim.h"

/* A fleet file may be large: it is the operator's own. */
#define FILE_LIMIT (1024UL * 1024 * 1024)

static BerthFleetFile *
read_file(const char *path, GError **error)
{
    g_autofree char *data = NULL;
    gsize size = 0;
    GError *cause = NULL;
    if (!g_file_get_contents(path, &data, &size, &cause)) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "can't read '%s': %s", path, cause->message);
        g_clear_error(&cause);
        return NULL;
    }
    g_autoptr(json_t) json =
        berth_json_parse_limited(data, size, FILE_LIMIT, BERTH_JSON_DEPTH_MAX, error);
    return json == NULL ? NULL : berth_fleet_from_json(json, error);
}

typedef struct {
    const BerthFleetFile *file;
    BerthSnapshot *snapshot;
    SimVerifier *verifier;
    GPtrArray *hosts; /* BerthHost by index in the snapshot, as it is now; borrowed */
    guint32 *charges; /* per request; BERTH_CHARGE_NONE: not there */
    guint *tokens;    /* the verifier's */
    guint found, placed, same, different;
} Replay;

/* In order of time; of one time, which only hands write, hosts come first and workloads as they stand. */
typedef struct {
    gint64 at;
    enum { HOST, RELEASE, CHARGE } kind;
    guint index;
} Event;

static int
compare_events(gconstpointer a, gconstpointer b)
{
    const Event *x = a, *y = b;
    return x->at != y->at       ? (x->at < y->at ? -1 : 1)
           : x->kind != y->kind ? (int)x->kind - (int)y->kind
                                : (x->index > y->index) - (x->index < y->index);
}

static GArray *
list_events(const BerthFleetFile *file)
{
    GArray *events = g_array_new(FALSE, FALSE, sizeof(Event));
    for (guint i = 0; i < file->n_changes; i++) {
        Event event = {file->changed_at[i], HOST, i};
        g_array_append_val(events, event);
    }
    for (guint i = 0; i < file->n_requests; i++) {
        Event charge = {file->at[i], CHARGE, i}, release = {file->released_at[i], RELEASE, i};
        g_array_append_val(events, charge);
        if (release.at != G_MAXINT64) {
            g_array_append_val(events, release);
        }
    }
    g_array_sort(events, compare_events);
    return events;
}

static gboolean
put_host(Replay *replay, const BerthHost *host, GError **error)
{
    guint32 index = BERTH_HOST_NONE;
    if (!berth_snapshot_put_host(replay->snapshot, host, &index, error)) {
        return FALSE;
    }
    sim_verifier_add_host(replay->verifier, index, host);
    if (replay->hosts->len <= index) {
        g_ptr_array_set_size(replay->hosts, (gint)index + 1);
    }
    replay->hosts->pdata[index] = (gpointer)host;
    return TRUE;
}

/* One that can't be counted was not counted then. */
static void
change_host(Replay *replay, guint i)
{
    const char *gone = replay->file->gone[i];
    if (gone == NULL) {
        put_host(replay, &replay->file->changes[i], NULL);
        return;
    }
    guint32 index = berth_snapshot_find_host(replay->snapshot, gone);
    if (index != BERTH_HOST_NONE && berth_snapshot_remove_host(replay->snapshot, index, NULL)) {
        sim_verifier_remove_host(replay->verifier, index);
    } else if (index != BERTH_HOST_NONE) {
        berth_snapshot_set_state(replay->snapshot, index, 0);
        sim_verifier_set_state(replay->verifier, index, 0);
    }
}

static gboolean
add_hosts(Replay *replay, GError **error)
{
    const BerthFleetFile *file = replay->file;
    for (guint i = 0; file->n_changes == 0 && i < file->n_hosts; i++) {
        if (!put_host(replay, &file->hosts[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void
release(Replay *replay, guint i)
{
    if (replay->charges[i] == BERTH_CHARGE_NONE) {
        return;
    }
    berth_snapshot_release_charge(replay->snapshot, replay->charges[i]);
    replay->charges[i] = BERTH_CHARGE_NONE;
    if (replay->file->holding[i] == NULL) {
        sim_verifier_release(replay->verifier, replay->tokens[i]);
    }
}

/* Whether the file says which cells and devices of @host it has, and the host has those. */
static gboolean
is_bound(const BerthPlacement *on, const BerthHost *host)
{
    for (guint i = 0; i < G_N_ELEMENTS(on->cells); i++) {
        if (on->cells[i] != BERTH_CELL_NONE && on->cells[i] >= MAX(1, host->n_cells)) {
            return FALSE;
        }
    }
    for (guint i = 0; i < on->n_devices; i++) {
        if (on->devices[i] >= host->n_devices) {
            return FALSE;
        }
    }
    return on->cells[0] != BERTH_CELL_NONE || on->n_devices > 0;
}

/* Nobody decided where it is; it is there even when there is no room. */
static void
put_found(Replay *replay, guint i)
{
    const BerthRequest *request = &replay->file->requests[i];
    guint32 host = berth_snapshot_find_host(replay->snapshot, replay->file->placed_on[i]);
    BerthPlacement placement = replay->file->on[i];
    if (host == BERTH_HOST_NONE) {
        return;
    }
    if (replay->file->holding[i] != NULL && request->uid != NULL) {
        berth_holding_charge(replay->snapshot, request->uid, host, replay->file->holding[i]);
        replay->charges[i] = berth_snapshot_find_charge(replay->snapshot, request->uid);
        return;
    }
    gboolean bound = is_bound(&placement, replay->hosts->pdata[host]);
    if (!bound) {
        placement = (BerthPlacement){.cells = {BERTH_CELL_NONE, BERTH_CELL_NONE}};
    }
    placement.host = host;
    replay->charges[i] = bound ? berth_snapshot_charge(replay->snapshot, request, &placement)
                               : berth_snapshot_charge_on(replay->snapshot, request, host);
    replay->tokens[i] = sim_verifier_find(replay->verifier, request, &placement);
    replay->found++;
}

static void
place_one(Replay *replay, guint i, const BerthPolicy *policy)
{
    const BerthRequest *request = &replay->file->requests[i];
    const char *now = "", *then = replay->file->placed_on[i];
    BerthDecision decision;
    if (replay->file->found[i]) {
        put_found(replay, i);
        return;
    }
    if (berth_pick_and_charge(replay->snapshot, request, policy, &decision, &replay->charges[i])) {
        replay->tokens[i] = sim_verifier_place(replay->verifier, request, &decision.placement);
        now = berth_snapshot_host_name(replay->snapshot, decision.placement.host);
        replay->placed++;
    }
    if (*then != '\0') {
        replay->same += g_str_equal(now, then);
        replay->different += !g_str_equal(now, then);
    }
}

static void
run(Replay *replay, const BerthPolicy *policy)
{
    guint n = replay->file->n_requests;
    g_autoptr(GArray) events = list_events(replay->file);
    replay->charges = g_new(guint32, n + 1);
    replay->tokens = g_new(guint, n + 1);
    memset(replay->charges, 0xff, (n + 1) * sizeof *replay->charges);
    for (guint i = 0; i < events->len; i++) {
        const Event *event = &g_array_index(events, Event, i);
        sim_progress("event %u of %u", i + 1, events->len);
        if (event->kind == HOST) {
            change_host(replay, event->index);
        } else if (event->kind == RELEASE) {
            release(replay, event->index);
        } else {
            place_one(replay, event->index, policy);
        }
    }
    g_free(replay->charges);
    g_free(replay->tokens);
}

int
sim_replay(int argc, char **argv)
{
    g_autofree char *path = NULL, *name = NULL;
    gboolean as_json = FALSE;
    const GOptionEntry entries[] = {
        {"fleet", 0, 0, G_OPTION_ARG_FILENAME, &path, "file of 'berth fleet export'", "FILE"},
        {"policy", 0, 0, G_OPTION_ARG_STRING, &name, "policy (default: default)", "NAME"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON object", NULL},
        {NULL}};
    GError *error = NULL;
    g_autoptr(GOptionContext) options = g_option_context_new("- a fleet's placements again");
    g_option_context_add_main_entries(options, entries, NULL);
    if (!g_option_context_parse(options, &argc, &argv, &error)) {
        return sim_fail(error);
    }
    if (path == NULL) {
        berth_error_set(&error, BERTH_ERROR_INVALID, "replay needs --fleet");
        return sim_fail(error);
    }
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    g_autoptr(SimVerifier) verifier = sim_verifier_new();
    const BerthPolicy *policy = sim_policy(name, &error);
    g_autoptr(BerthFleetFile) file = policy == NULL ? NULL : read_file(path, &error);
    g_autoptr(GPtrArray) hosts = g_ptr_array_new();
    Replay replay = {.file = file, .snapshot = snapshot, .verifier = verifier, .hosts = hosts};
    if (file == NULL || !add_hosts(&replay, &error)) {
        return sim_fail(error);
    }
    run(&replay, policy);
    sim_print(as_json,
              json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "policy",
                        name == NULL ? "default" : name, "hosts", (int)file->n_hosts, "workloads",
                        (int)file->n_requests, "found", (int)replay.found, "placed",
                        (int)replay.placed, "same", (int)replay.same, "different",
                        (int)replay.different, "verified", sim_verifier_is_clean(verifier)));
    return sim_verifier_is_clean(verifier) ? 0 : 1;
}
