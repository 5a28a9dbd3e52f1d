/* vm create: the common VM in one line. What it can't say, `berth apply` can. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "model/kinds.h"

#define USER_DATA_MAX (256 * 1024)

/* "debian-12", "debian-12:20g", "volume=data", "size=10g": what a disk starts as, and its size. */
static json_t *
make_disk(const char *text, guint index, GError **error)
{
    g_autofree char *name = index == 0 ? g_strdup("root") : g_strdup_printf("disk%u", index);
    g_autoptr(json_t) disk = json_pack("{s:s}", "name", name);
    gint64 mib;
    if (g_str_has_prefix(text, "volume=")) {
        json_object_set_new(disk, "volume", json_string(text + strlen("volume=")));
        return g_steal_pointer(&disk);
    }
    const char *size = g_str_has_prefix(text, "size=") ? text + strlen("size=") : NULL;
    if (size == NULL) {
        const char *colon = strchr(text, ':');
        g_autofree char *image =
            g_strndup(text, colon != NULL ? (gsize)(colon - text) : strlen(text));
        json_object_set_new(disk, "image", json_string(image));
        size = colon != NULL ? colon + 1 : NULL;
    }
    if (size != NULL) {
        if (!berth_size_parse(size, &mib, error)) {
            return NULL;
        }
        json_object_set_new(disk, "size_mib", json_integer(mib));
    }
    return g_steal_pointer(&disk);
}

static gboolean
put_disks(json_t *spec, const BerthArgs *args, GError **error)
{
    json_t *disks = json_array();
    json_object_set_new(spec, "disks", disks);
    char *const *texts = berth_args_list(args, "disk");
    if (*texts == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "--disk IMAGE; berth images lists them, berth image import makes one",
                           "a VM needs a disk to boot from");
        return FALSE;
    }
    for (guint i = 0; texts[i] != NULL; i++) {
        json_t *disk = make_disk(texts[i], i, error);
        if (disk == NULL) {
            return FALSE;
        }
        json_array_append_new(disks, disk);
    }
    return TRUE;
}

static gboolean
put_cloud_init(json_t *spec, const BerthArgs *args, GError **error)
{
    static const char *const files[][2] = {{"cloud-init", "user_data"},
                                           {"network-config", "network_config"}};
    for (gsize i = 0; i < G_N_ELEMENTS(files); i++) {
        const char *path = berth_args_get(args, files[i][0]);
        gsize size;
        if (path == NULL) {
            continue;
        }
        g_autofree char *text = berth_read_file(path, USER_DATA_MAX, &size, error);
        if (text == NULL) {
            return FALSE;
        }
        json_t *value = json_stringn(text, size);
        if (value == NULL) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is not UTF-8", path);
            return FALSE;
        }
        json_t *cloud = json_object_get(spec, "cloud_init");
        if (cloud == NULL) {
            cloud = json_object();
            json_object_set_new(spec, "cloud_init", cloud);
        }
        json_object_set_new(cloud, files[i][1], value);
    }
    return TRUE;
}

static json_t *
make_spec(const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) spec = json_object();
    if (!put_disks(spec, args, error) || !put_cloud_init(spec, args, error) ||
        !berth_workload_options_put(spec, args, error)) {
        return NULL;
    }
    if (berth_args_has(args, "start")) {
        json_object_set_new(spec, "run", json_string("Always"));
    }
    return g_steal_pointer(&spec);
}

static int
run_vm_create(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *name = berth_args_get(args, "name");
    g_autoptr(json_t) labels = NULL;
    if (!berth_labels_parse(berth_args_list(args, "label"), &labels, error)) {
        return BERTH_FAILED;
    }
    json_t *spec = make_spec(args, error);
    if (spec == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) document = json_pack("{s:s, s:{s:s, s:O}, s:o}", "kind", "VM", "metadata",
                                           "name", name, "labels", labels, "spec", spec);
    const BerthRequestOptions options = {.body = document, .create_only = TRUE};
    g_autofree char *path = berth_object_url(session, &berth_kind_vm, name);
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "PUT", path, &options, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) vm = json_incref(reply->body);
    gint64 wait_s = berth_wait_option(args, 0, BERTH_WAIT_DEFAULT_S);
    if (wait_s > 0) {
        json_t *settled = berth_wait_settled(session, vm, wait_s, error);
        if (settled == NULL) {
            return BERTH_FAILED;
        }
        json_decref(vm);
        vm = settled;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, vm);
    } else {
        berth_session_say(session, "VM '%s' created%s", name,
                          berth_args_has(args, "start") ? "" : "; next: berth start");
    }
    return BERTH_EXIT_OK;
}

static const BerthArgument name_argument[] = {
    {"name", "name of the VM"},
    {NULL},
};
static const BerthOption create_options[] = {
    {"disk", 0, BERTH_OPTION_LIST, "DISK",
     "IMAGE, IMAGE:SIZE, volume=VOLUME or size=SIZE; the first one boots", NULL,
     BERTH_COMPLETE_IMAGE},
    {"memory", 'm', BERTH_OPTION_SIZE, "SIZE", "memory: 1g"},
    {"vcpus", 0, BERTH_OPTION_NUMBER, "N", "virtual CPUs"},
    {"cloud-init", 0, BERTH_OPTION_TEXT, "FILE", "user-data for cloud-init; - is stdin", NULL,
     BERTH_COMPLETE_FILE},
    {"network-config", 0, BERTH_OPTION_TEXT, "FILE", "network-config for cloud-init", NULL,
     BERTH_COMPLETE_FILE},
    BERTH_WORKLOAD_OPTIONS,
    {"label", 'l', BERTH_OPTION_LIST, "KEY=VALUE", "label of the VM"},
    {"start", 0, BERTH_OPTION_FLAG, NULL, "start it"},
    BERTH_WAIT_OPTION,
    {NULL},
};

const BerthCommand berth_vm_commands[] = {
    {.name = "vm create",
     .group = BERTH_GROUP_WORKLOADS,
     .doc = "create a VM",
     .run = run_vm_create,
     .arguments = name_argument,
     .options = create_options,
     .example =
         "berth vm create db --disk debian-12:20g --memory 2g --vcpus 2 --cloud-init user.yaml "
         "--start"},
    {NULL},
};
