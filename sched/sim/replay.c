/* berth-sim replay: places the workloads of a fleet file again, in its order, on its hosts while they are
 * empty, and compares with where they run. Who was released is released again when its time has come; what
 * the daemon found when it began, and foreign domains, stay where they were found. */
#include "base/error.h"
#include "base/json.h"
#include "sched/fleet-json.h"
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

static gboolean
add_hosts(const BerthFleetFile *file, BerthSnapshot *snapshot, SimVerifier *verifier,
          GError **error)
{
    for (guint i = 0; i < file->n_hosts; i++) {
        guint32 index = BERTH_HOST_NONE;
        if (!berth_snapshot_put_host(snapshot, &file->hosts[i], &index, error)) {
            return FALSE;
        }
        sim_verifier_add_host(verifier, index, &file->hosts[i]);
    }
    return TRUE;
}

typedef struct {
    const BerthFleetFile *file;
    BerthSnapshot *snapshot;
    SimVerifier *verifier;
    guint32 *charges; /* per request; BERTH_CHARGE_NONE: not there */
    guint *tokens;    /* the verifier's */
    guint found, placed, same, different;
} Replay;

/* What was released before the event @at; the file is in order of events. */
static void
release_until(Replay *replay, guint end, gint64 at)
{
    for (guint i = 0; i < end; i++) {
        if (replay->charges[i] != BERTH_CHARGE_NONE && replay->file->released_at[i] < at) {
            berth_snapshot_release_charge(replay->snapshot, replay->charges[i]);
            sim_verifier_release(replay->verifier, replay->tokens[i]);
            replay->charges[i] = BERTH_CHARGE_NONE;
        }
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
    gboolean bound = is_bound(&placement, &replay->file->hosts[host]);
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
    replay->charges[i] = BERTH_CHARGE_NONE;
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
    replay->charges = g_new(guint32, n + 1);
    replay->tokens = g_new(guint, n + 1);
    for (guint i = 0; i < n; i++) {
        sim_progress("placement %u of %u", i + 1, n);
        release_until(replay, i, replay->file->at[i]);
        place_one(replay, i, policy);
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
    if (file == NULL || !add_hosts(file, snapshot, verifier, &error)) {
        return sim_fail(error);
    }
    Replay replay = {.file = file, .snapshot = snapshot, .verifier = verifier};
    run(&replay, policy);
    sim_print(as_json,
              json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "policy",
                        name == NULL ? "default" : name, "hosts", (int)file->n_hosts, "workloads",
                        (int)file->n_requests, "found", (int)replay.found, "placed",
                        (int)replay.placed, "same", (int)replay.same, "different",
                        (int)replay.different, "verified", sim_verifier_is_clean(verifier)));
    return sim_verifier_is_clean(verifier) ? 0 : 1;
}
