/* The options that `run` and `vm create` share, as members of a spec. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "model/object.h"

/* Returns FALSE when --priority is no number; what a number may be is the daemon's to say. */
static gboolean
put_priority(json_t *spec, const char *text, GError **error)
{
    gint64 priority;
    if (text == NULL) {
        return TRUE;
    }
    if (!g_ascii_string_to_signed(text, 10, G_MININT, G_MAXINT, &priority, NULL)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "option --priority: '%s' is no whole number",
                        text);
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

static json_t *
list_texts(char *const *texts)
{
    json_t *list = json_array();
    for (; *texts != NULL; texts++) {
        json_array_append_new(list, json_string(*texts));
    }
    return list;
}

/* "gpu" or "gpu=2": a class that hosts offer, and how many. */
static json_t *
make_device(const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *class =
        equals != NULL ? g_strndup(text, (gsize)(equals - text)) : g_strdup(text);
    gint64 count = 1;
    if (!berth_name_check(class, NULL)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "berth host show lists the classes that a host offers",
                           "option --device: '%s' is no class of devices", class);
        return NULL;
    }
    if (equals != NULL &&
        !g_ascii_string_to_signed(equals + 1, 10, 1, BERTH_WORKLOAD_DEVICES_MAX, &count, NULL)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "for example gpu or gpu=2",
                           "option --device: '%s' is no number from 1 to %d", equals + 1,
                           BERTH_WORKLOAD_DEVICES_MAX);
        return NULL;
    }
    return json_pack("{s:s, s:I}", "class", class, "count", (json_int_t)count);
}

static gboolean
put_devices(json_t *spec, char *const *texts, GError **error)
{
    g_autoptr(json_t) devices = json_array();
    for (; *texts != NULL; texts++) {
        json_t *device = make_device(*texts, error);
        if (device == NULL) {
            return FALSE;
        }
        json_array_append_new(devices, device);
    }
    if (json_array_size(devices) > 0) {
        json_object_set(spec, "devices", devices);
    }
    return TRUE;
}

/* "licence" or "licence=2": what hosts have a number of, and how many. */
static gboolean
put_resources(json_t *spec, char *const *texts, GError **error)
{
    g_autoptr(json_t) resources = json_object();
    for (; *texts != NULL; texts++) {
        const char *equals = strchr(*texts, '=');
        g_autofree char *name = g_strndup(*texts, strcspn(*texts, "="));
        gint64 count = 1;
        if (!berth_label_key_check(name, error)) {
            g_prefix_error(error, "option --resource: ");
            return FALSE;
        }
        if (equals != NULL &&
            !g_ascii_string_to_signed(equals + 1, 10, 1, BERTH_RESOURCE_MAX, &count, NULL)) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "for example licence/oracle=2",
                               "option --resource: '%s' is no number from 1 to %d", equals + 1,
                               BERTH_RESOURCE_MAX);
            return FALSE;
        }
        json_object_set_new(resources, name, json_integer(count));
    }
    if (json_object_size(resources) > 0) {
        json_object_set(spec, "resources", resources);
    }
    return TRUE;
}

/* What it wants of its host beside an amount of vCPUs and memory. */
static gboolean
put_hardware(json_t *spec, const BerthArgs *args, GError **error)
{
    if (berth_args_has(args, "numa")) {
        json_object_set_new(spec, "numa", json_string(berth_args_get(args, "numa")));
    }
    if (berth_args_has(args, "huge-pages")) {
        json_object_set_new(spec, "huge_pages_kib",
                            json_integer(1024 * berth_args_number(args, "huge-pages", 0)));
    }
    if (berth_args_has(args, "cpu-model")) {
        json_object_set_new(spec, "cpu_model", json_string(berth_args_get(args, "cpu-model")));
    }
    if (berth_args_has(args, "cpu-feature")) {
        json_object_set_new(spec, "cpu_features", list_texts(berth_args_list(args, "cpu-feature")));
    }
    if (berth_args_has(args, "dedicated-cpus")) {
        json_object_set_new(spec, "dedicated_cpus", json_true());
    }
    return put_devices(spec, berth_args_list(args, "device"), error) &&
           put_resources(spec, berth_args_list(args, "resource"), error);
}

/**
 * berth_workload_options_put:
 * @spec: of a VM or Pod; gets a member for each option that was given
 *
 * Reads BERTH_WORKLOAD_OPTIONS, and --memory and --cpus or --vcpus. Errors: INVALID.
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
    return put_hardware(spec, args, error) &&
           put_priority(spec, berth_args_get(args, "priority"), error);
}
