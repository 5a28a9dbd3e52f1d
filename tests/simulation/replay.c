/* See replay.h. */
#include "tests/simulation/replay.h"

#include <jansson.h>

#include "base/json.h"
#include "tests/simulation/fate.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/visitor.h"

static json_t *fleet; /* owned; NULL: not there yet */

static void
take(guint status, const json_t *body, gpointer unused)
{
    fleet = status == 200 ? json_deep_copy(body) : json_null();
}

static gboolean
is_there(gpointer unused)
{
    return fleet != NULL;
}

/* Returns: (transfer full) (nullable): what berth-sim says of @path. */
static json_t *
replay(const char *path)
{
    const char *build = g_getenv("TOP_BUILDDIR");
    g_autofree char *program = g_build_filename(build != NULL ? build : ".", "berth-sim", NULL);
    const char *const words[] = {program, "replay", "--json", "--fleet", path, NULL};
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;
    g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, NULL, &error);
    g_assert_no_error(error);
    return json_loads(out, 0, NULL);
}

void
replay_check(const char *socket, const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "fleet.json", NULL);
    visitor_ask(socket, "GET", "/v1/fleet", "", NULL, take, NULL);
    if (!fate_run_until(is_there, NULL, 10 * G_USEC_PER_SEC) || !json_is_object(fleet)) {
        oracle_violate("the fleet file is not told");
    } else {
        g_assert_cmpint(json_dump_file(fleet, path, 0), ==, 0);
        g_autoptr(json_t) told = replay(path);
        if (berth_json_integer(told, "different", -1) != 0 ||
            !json_is_true(json_object_get(told, "verified"))) {
            g_autofree char *text = berth_json_format(told);
            oracle_violate("a replay of the fleet file differs: %s", text);
        }
    }
    g_clear_pointer(&fleet, json_decref);
}
