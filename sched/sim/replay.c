/* berth-sim replay: places the workloads of a fleet file again, in its order, on its hosts while they are
 * empty, and compares with where they run. */
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

static void
replay(const BerthFleetFile *file, BerthSnapshot *snapshot, SimVerifier *verifier,
       const BerthPolicy *policy, const char *name, gboolean as_json)
{
    guint placed = 0, same = 0, compared = 0;
    for (guint i = 0; i < file->n_requests; i++) {
        BerthDecision decision;
        const char *now = "";
        if (berth_pick_and_charge(snapshot, &file->requests[i], policy, &decision, NULL)) {
            sim_verifier_place(verifier, &file->requests[i], &decision.placement);
            now = berth_snapshot_host_name(snapshot, decision.placement.host);
            placed++;
        }
        if (file->placed_on[i][0] != '\0') {
            compared++;
            same += g_str_equal(now, file->placed_on[i]);
        }
    }
    sim_print(as_json,
              json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:b}", "policy", name, "hosts",
                        (int)file->n_hosts, "workloads", (int)file->n_requests, "placed",
                        (int)placed, "same", (int)same, "different", (int)(compared - same),
                        "verified", sim_verifier_is_clean(verifier)));
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
    replay(file, snapshot, verifier, policy, name == NULL ? "default" : name, as_json);
    return sim_verifier_is_clean(verifier) ? 0 : 1;
}
