/* Networks. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/resolve.h"
#include "model/kinds.h"

static int
run_network_list(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) networks = berth_list_objects(session, &berth_kind_network, NULL, error);
    if (networks == NULL) {
        return BERTH_FAILED;
    }
    berth_session_put_objects(session, networks, berth_kind_network.columns);
    return BERTH_EXIT_OK;
}

/* "192.168.122.10-192.168.122.99" */
static gboolean
put_range(json_t *spec, const char *range, GError **error)
{
    g_auto(GStrv) ends = g_strsplit(range, "-", 2);
    if (ends[0] == NULL || ends[1] == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "for example 192.168.122.10-192.168.122.99", "'%s' is no range", range);
        return FALSE;
    }
    json_object_set_new(spec, "range_start", json_string(ends[0]));
    json_object_set_new(spec, "range_end", json_string(ends[1]));
    return TRUE;
}

static json_t *
make_spec(const BerthArgs *args, GError **error)
{
    static const char *const texts[] = {"libvirt", "bridge", "cidr", "gateway"};
    g_autoptr(json_t) spec = json_object();
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (berth_args_has(args, texts[i])) {
            json_object_set_new(spec, texts[i], json_string(berth_args_get(args, texts[i])));
        }
    }
    if (berth_args_has(args, "dhcp")) {
        json_object_set_new(spec, "dhcp", json_true());
    }
    if (berth_args_has(args, "dns")) {
        json_t *list = json_array();
        for (char *const *one = berth_args_list(args, "dns"); *one != NULL; one++) {
            json_array_append_new(list, json_string(*one));
        }
        json_object_set_new(spec, "dns", list);
    }
    if (berth_args_has(args, "range") && !put_range(spec, berth_args_get(args, "range"), error)) {
        return NULL;
    }
    return g_steal_pointer(&spec);
}

static int
run_network_create(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *name = berth_args_get(args, "name");
    json_t *spec = make_spec(args, error);
    if (spec == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) document =
        json_pack("{s:s, s:{s:s}, s:o}", "kind", "Network", "metadata", "name", name, "spec", spec);
    const BerthRequestOptions options = {.body = document, .create_only = TRUE};
    g_autofree char *path = berth_object_url(session, &berth_kind_network, name);
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "PUT", path, &options, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, reply->body);
    } else {
        berth_session_say(session, "Network '%s' created", name);
    }
    return BERTH_EXIT_OK;
}

static const BerthArgument name_argument[] = {
    {"name", "name of the Network; pods without networks get the one called default"},
    {NULL},
};
static const BerthOption create_options[] = {
    {"libvirt", 0, BERTH_OPTION_TEXT, "NAME", "the libvirt network of this name on each host"},
    {"bridge", 0, BERTH_OPTION_TEXT, "DEVICE", "the bridge of this name on each host"},
    {"cidr", 0, BERTH_OPTION_TEXT, "CIDR", "its subnet: 192.168.122.0/24"},
    {"range", 0, BERTH_OPTION_TEXT, "FIRST-LAST",
     "addresses Berth may assign; outside of any DHCP range"},
    {"gateway", 0, BERTH_OPTION_TEXT, "IP", "its router"},
    {"dns", 0, BERTH_OPTION_LIST, "IP", "its name server"},
    {"dhcp", 0, BERTH_OPTION_FLAG, NULL, "addresses come from somebody's DHCP server"},
    {NULL},
};

const BerthCommand berth_network_commands[] = {
    {.name = "network list",
     .group = BERTH_GROUP_HOSTS,
     .doc = "list networks",
     .run = run_network_list,
     .alias = "net-list"},
    {.name = "network create",
     .group = BERTH_GROUP_HOSTS,
     .doc = "make a network of the hosts known to Berth",
     .run = run_network_create,
     .arguments = name_argument,
     .options = create_options,
     .example = "berth network create default --libvirt default --cidr 192.168.122.0/24 "
                "--range 192.168.122.2-192.168.122.99 --gateway 192.168.122.1"},
    {NULL},
};
