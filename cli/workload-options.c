/* The options that `run` and `vm create` share, as members of a spec. */
#include "cli/cmd.h"

#include "base/error.h"

/* Returns FALSE when --priority is no number; what a number may be is the daemon's to say. */
static gboolean
put_priority(json_t *spec, const char *text, GError **error)
{
    gint64 priority;
    if (text == NULL) {
        return TRUE;
    }
    if (!g_ascii_string_to_signed(text, 10, G_MININT, G_MAXINT, &priority, NULL)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "--priority: '%s' is no whole number", text);
        return FALSE;
    }
    json_object_set_new(spec, "priority", json_integer(priority));
    return TRUE;
}

static json_t *
list_networks(char *const *names)
{
    json_t *cards = json_array();
    for (; *names != NULL; names++) {
        json_array_append_new(cards, json_pack("{s:s}", "network", *names));
    }
    return cards;
}

/**
 * berth_workload_options_put:
 * @spec: of a VM or Pod; gets a member for each option that was given
 *
 * Reads --host, --network, --priority and --preemptible, and --memory and --cpus or --vcpus. Errors: INVALID.
 */
gboolean
berth_workload_options_put(json_t *spec, const BerthArgs *args, GError **error)
{
    static const char *const numbers[][2] = {
        {"memory", "memory_mib"}, {"cpus", "vcpus"}, {"vcpus", "vcpus"}};
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (berth_args_has(args, numbers[i][0])) {
            json_object_set_new(spec, numbers[i][1],
                                json_integer(berth_args_number(args, numbers[i][0], 0)));
        }
    }
    if (berth_args_has(args, "host")) {
        json_object_set_new(spec, "placement",
                            json_pack("{s:s}", "host", berth_args_get(args, "host")));
    }
    if (berth_args_has(args, "network")) {
        json_object_set_new(spec, "networks", list_networks(berth_args_list(args, "network")));
    }
    if (berth_args_has(args, "preemptible")) {
        json_object_set_new(spec, "preemptible", json_true());
    }
    return put_priority(spec, berth_args_get(args, "priority"), error);
}
