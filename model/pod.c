/* Pod: containers that share one microVM. */
#include "base/error.h"
#include "model/kinds.h"
#include "model/workload-check.h"

#define CONTAINER(member, kind, ...) BERTH_FIELD(BerthContainerSpec, member, kind, __VA_ARGS__)

static const BerthField container_fields[] = {
    CONTAINER(name, STRING, .required = TRUE, .format = BERTH_FORMAT_NAME,
              .mutability = BERTH_MUTABLE_NEXT_BOOT, .doc = "Name, unique in the pod."),
    CONTAINER(image, STRING, .required = TRUE, .format = BERTH_FORMAT_IMAGE,
              .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Image reference, pulled when it is not there yet."),
    CONTAINER(command, STRINGS, .maximum = 1024, .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Replaces the image's entrypoint, and with it the image's command."),
    CONTAINER(args, STRINGS, .maximum = 1024, .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Replaces the image's command."),
    CONTAINER(env, STRINGS, .format = BERTH_FORMAT_ENV, .maximum = 1024,
              .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Variables as NAME=value, added to the image's; the last of a name holds."),
    CONTAINER(workdir, STRING, .minimum = 1, .maximum = 4096, .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Working directory instead of the image's; an absolute path."),
    CONTAINER(user, STRING, .format = BERTH_FORMAT_LINE, .minimum = 1, .maximum = 256,
              .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "User instead of the image's: NAME, UID, NAME:GROUP or UID:GID."),
    CONTAINER(stop_signal, STRING, .format = BERTH_FORMAT_LINE, .minimum = 1, .maximum = 32,
              .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Signal of a graceful stop instead of the image's: SIGTERM or a number."),
    CONTAINER(tty, BOOL, .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Gives it a terminal; its output is then one stream."),
    CONTAINER(stdin_open, BOOL, .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Keeps its standard input open for attach."),
    CONTAINER(read_only, BOOL, .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Makes its root file system read-only."),
    CONTAINER(memory_mib, INT, .minimum = 0, .maximum = 16 * 1024 * 1024, .unit = "MiB",
              .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Memory it may use within the pod; 0: all of the pod's."),
    CONTAINER(pids_max, INT, .minimum = 0, .maximum = 4194304,
              .mutability = BERTH_MUTABLE_NEXT_BOOT,
              .doc = "Processes and threads it may have; 0: 4096."),
};
static const BerthSchema container_schema =
    BERTH_SCHEMA("ContainerSpec", BerthContainerSpec, container_fields, "A container of the pod.");

#define POD(member, kind, ...) BERTH_FIELD(BerthPodSpec, member, kind, __VA_ARGS__)

static const BerthField pod_fields[] = {
    BERTH_WORKLOAD_FIELDS(BerthPodSpec, BERTH_RUN_ALWAYS, 256),
    POD(hostname, STRING, .format = BERTH_FORMAT_NAME, .mutability = BERTH_MUTABLE_NEXT_BOOT,
        .doc = "Host name inside; without it the pod's name."),
    POD(containers, OBJECTS, .required = TRUE, .schema = &container_schema, .minimum = 1,
        .maximum = 16, .mutability = BERTH_MUTABLE_NEXT_BOOT,
        .doc = "The containers, started in this order."),
    POD(remove_when_done, BOOL, .doc = "Deletes the pod once it has ended."),
    POD(exec_denied, BOOL, .mutability = BERTH_MUTABLE_NEXT_BOOT,
        .doc = "Makes the guest refuse exec and attach."),
};
static const BerthSchema pod_schema =
    BERTH_SCHEMA("PodSpec", BerthPodSpec, pod_fields, "What the user wants of the pod.");

static gboolean
check_container(const BerthPodSpec *pod, guint index, GError **error)
{
    const BerthContainerSpec *container = pod->containers->pdata[index];
    if (container->workdir != NULL && container->workdir[0] != '/') {
        g_autofree char *place = g_strdup_printf("/spec/containers/%u/workdir", index);
        g_autofree char *quoted = berth_quote(container->workdir);
        berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL, "%s is not an absolute path",
                           quoted);
        return FALSE;
    }
    if (container->memory_mib > pod->workload.memory_mib) {
        g_autofree char *place = g_strdup_printf("/spec/containers/%u/memory_mib", index);
        berth_error_set_at(error, BERTH_ERROR_INVALID, place, "raise spec.memory_mib",
                           "%" G_GINT64_FORMAT " MiB is more than the pod's %" G_GINT64_FORMAT
                           " MiB",
                           container->memory_mib, pod->workload.memory_mib);
        return FALSE;
    }
    return TRUE;
}

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthPodSpec *pod = object->spec_data;
    for (guint i = 0; i < pod->containers->len; i++) {
        if (!check_container(pod, i, error)) {
            return FALSE;
        }
    }
    return berth_workload_check_unique(pod->containers, "/spec/containers", error) &&
           berth_workload_check(object, error);
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"State", "/status/phase"},
    {"Host", "/status/host"},
    {"IP", "/status/networks/0/ip"},
    {"Image", "/spec/containers/0/image"},
    {"Restarts", "/status/restarts"},
    {"Age", "/metadata/created"},
    {"Project", "/metadata/project", TRUE},
    {"Power", "/power", TRUE},
    {"vCPUs", "/spec/vcpus", TRUE},
    {"Memory", "/spec/memory_mib", TRUE},
    {"Reason", "/status/reason/message", TRUE},
    {"UID", "/metadata/uid", TRUE},
    {NULL},
};

const BerthKind berth_kind_pod = {
    .name = "Pod",
    .plural = "pods",
    .short_name = "po",
    .scope = BERTH_SCOPE_PROJECT,
    .workload = TRUE,
    .spec = &pod_schema,
    .status = &berth_workload_status_schema,
    .columns = columns,
    .validate = validate,
    .doc = "Containers that share one microVM of their own.",
};
