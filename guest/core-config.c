/* What the daemon sends, frame by frame. A configuration is collected in `draft` and becomes `pod` as a
 * whole at its end, or not at all. Unknown frames are ignored: a newer minor version may send them. */
#include "guest/core-private.h"

#include "guest/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Frees what @pod owns and forgets it. */
void
core_clear_pod(BerthPod *pod)
{
    for (unsigned i = 0; i < BERTH_POD_CONTAINERS_MAX; i++) {
        free(pod->containers[i].config);
    }
    free(pod->hosts);
    memset(pod, 0, sizeof *pod);
}

/** Forgets a configuration that did not come to its end. */
void
core_drop_draft(BerthCore *core)
{
    core_clear_pod(&core->draft);
}

static void
answer_config(BerthCore *core, uint64_t id, int error, const char *text)
{
    core->configured_due = true;
    core->configured_id = id;
    core->configured_error = error < 0 ? -error : 0;
    text_copy(core->configured_text, sizeof core->configured_text, text);
}

static int
append_line(char **lines, const BerthField *field)
{
    size_t used = *lines == NULL ? 0 : strlen(*lines);
    if (used + field->size + 2 > BERTH_BLOB_MAX || memchr(field->data, '\0', field->size) != NULL ||
        memchr(field->data, '\n', field->size) != NULL) {
        return -EINVAL;
    }
    char *longer = realloc(*lines, used + field->size + 2);
    if (longer == NULL) {
        return -ENOMEM;
    }
    memcpy(longer + used, field->data, field->size);
    longer[used + field->size] = '\n';
    longer[used + field->size + 1] = '\0';
    *lines = longer;
    return 0;
}

static int
read_pod_field(BerthPod *pod, const BerthField *field)
{
    switch (field->tag) {
    case BERTH_TAG_HOSTNAME:
        return berth_field_text(field, pod->hostname, sizeof pod->hostname);
    case BERTH_TAG_DNS:
        return pod->dns_count == 8
                   ? -E2BIG
                   : berth_field_text(field, pod->dns[pod->dns_count++], sizeof pod->dns[0]);
    case BERTH_TAG_SEARCH:
        return pod->search_count == 8 ? -E2BIG
                                      : berth_field_text(field, pod->search[pod->search_count++],
                                                         sizeof pod->search[0]);
    case BERTH_TAG_HOSTS:
        return append_line(&pod->hosts, field);
    case BERTH_TAG_EXEC_DENIED:
        pod->exec_denied = berth_field_u64(field) != 0;
        return 0;
    default:
        return 0;
    }
}

static void
begin_config(BerthCore *core, const BerthFrame *frame)
{
    uint64_t id = berth_frame_u64(frame, BERTH_TAG_CONFIG_ID, 0);
    uint64_t count = berth_frame_u64(frame, BERTH_TAG_COUNT, 0);
    core_drop_draft(core);
    if (core->pod.id != 0) {
        bool same = core->pod.id == id;
        answer_config(core, id, same ? 0 : -EBUSY, same ? "" : "the pod is already configured");
        return;
    }
    if (id == 0 || count > BERTH_POD_CONTAINERS_MAX) {
        answer_config(core, id, -EINVAL, "the configuration has no id or too many containers");
        return;
    }
    BerthReader reader;
    BerthField field;
    core->draft.id = id;
    core->draft.container_count = (unsigned)count;
    berth_reader_init(&reader, frame);
    while (core->draft.id != 0 && berth_read_field(&reader, &field)) {
        int error = read_pod_field(&core->draft, &field);
        if (error < 0) {
            core_drop_draft(core);
            answer_config(core, id, error, "a field of the pod's configuration is too long");
        }
    }
}

/* While a draft is being read: it can't become a pod any more. */
static void
refuse_draft(BerthCore *core, int error, const char *text)
{
    answer_config(core, core->draft.id, error, text);
    core_drop_draft(core);
}

static void
read_nic(BerthCore *core, const BerthFrame *frame)
{
    BerthPod *pod = &core->draft;
    if (pod->id == 0) {
        return;
    }
    if (pod->nic_count == BERTH_POD_NICS_MAX) {
        refuse_draft(core, -E2BIG, "too many network cards");
        return;
    }
    BerthPodNic *nic = &pod->nics[pod->nic_count++];
    if (berth_frame_text(frame, BERTH_TAG_MAC, nic->mac, sizeof nic->mac) < 0) {
        refuse_draft(core, -EINVAL, "a network card without a MAC address");
        return;
    }
    berth_frame_text(frame, BERTH_TAG_ADDRESS, nic->address, sizeof nic->address);
    berth_frame_text(frame, BERTH_TAG_GATEWAY, nic->gateway, sizeof nic->gateway);
}

static void
read_container(BerthCore *core, const BerthFrame *frame)
{
    if (core->draft.id == 0) {
        return;
    }
    if (frame->stream >= core->draft.container_count) {
        refuse_draft(core, -EINVAL, "a container's index is out of range");
        return;
    }
    BerthPodContainer *container = &core->draft.containers[frame->stream];
    uint64_t size = berth_frame_u64(frame, BERTH_TAG_SIZE, 0);
    if (container->defined || size == 0 || size > BERTH_BLOB_MAX ||
        berth_frame_text(frame, BERTH_TAG_NAME, container->name, sizeof container->name) < 0 ||
        berth_frame_text(frame, BERTH_TAG_IMAGE_SERIAL, container->image_serial,
                         sizeof container->image_serial) < 0) {
        refuse_draft(core, -EINVAL, "a container lacks its name, image or config");
        return;
    }
    berth_frame_text(frame, BERTH_TAG_SCRATCH_SERIAL, container->scratch_serial,
                     sizeof container->scratch_serial);
    berth_frame_text(frame, BERTH_TAG_USER, container->user, sizeof container->user);
    container->stop_signal = (int)berth_frame_u64(frame, BERTH_TAG_SIGNAL, 15) & 127;
    container->tty = berth_frame_u64(frame, BERTH_TAG_TTY, 0) != 0;
    container->input_open = berth_frame_u64(frame, BERTH_TAG_INPUT_OPEN, 0) != 0;
    container->config = calloc(1, size + 1);
    container->config_size = size;
    container->defined = container->config != NULL;
    uint64_t resume = berth_frame_u64(frame, BERTH_TAG_SEQUENCE, 0);
    core->resume[frame->stream] = resume <= INT64_MAX ? resume : 0;
}

static bool
append_blob(char *blob, size_t size, size_t *used, const BerthFrame *frame)
{
    BerthField data;
    if (blob == NULL || !berth_find_field(frame, BERTH_TAG_DATA, &data) ||
        size - *used < data.size) {
        return false;
    }
    memcpy(blob + *used, data.data, data.size);
    *used += data.size;
    return true;
}

static void
read_blob(BerthCore *core, const BerthFrame *frame)
{
    if (frame->stream >= BERTH_EXEC_ID_MIN) {
        Exec *exec = core_exec(core, frame->stream);
        if (exec != NULL && append_blob(exec->json, exec->json_size, &exec->json_used, frame) &&
            exec->json_used == exec->json_size) {
            core_start_exec(core, exec);
        }
        return;
    }
    if (core->draft.id == 0 || frame->stream >= core->draft.container_count) {
        return;
    }
    BerthPodContainer *container = &core->draft.containers[frame->stream];
    if (!append_blob(container->config, container->config_size, &container->config_used, frame)) {
        refuse_draft(core, -EINVAL, "a container's config has another size than was said");
    }
}

static void
end_config(BerthCore *core)
{
    char text[160] = "";
    uint64_t id = core->draft.id;
    if (id == 0) {
        return;
    }
    for (unsigned i = 0; i < core->draft.container_count; i++) {
        const BerthPodContainer *container = &core->draft.containers[i];
        if (!container->defined || container->config_used != container->config_size) {
            refuse_draft(core, -EINVAL, "a container's configuration is not complete");
            return;
        }
    }
    int error = core->ops->configure(core->runtime, &core->draft, text, sizeof text);
    if (error < 0) {
        refuse_draft(core, error, text[0] != '\0' ? text : "the pod can't be configured");
        return;
    }
    core->pod = core->draft; /* strings move along */
    memset(&core->draft, 0, sizeof core->draft);
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        berth_ring_rewind(&core->containers[i].ring, core->resume[i]);
    }
    answer_config(core, id, 0, "");
}

static void
begin_exec(BerthCore *core, const BerthFrame *frame)
{
    uint64_t container = berth_frame_u64(frame, BERTH_TAG_CONTAINER, 0);
    uint64_t size = berth_frame_u64(frame, BERTH_TAG_SIZE, 0);
    if (frame->stream < BERTH_EXEC_ID_MIN || core_exec(core, frame->stream) != NULL) {
        return;
    }
    Exec *exec = core_new_exec(core, frame->stream);
    if (exec == NULL) {
        return;
    }
    exec->container = (unsigned)container;
    exec->tty = berth_frame_u64(frame, BERTH_TAG_TTY, 0) != 0;
    exec->input_open = berth_frame_u64(frame, BERTH_TAG_INPUT_OPEN, 0) != 0;
    exec->process.rows = (unsigned)berth_frame_u64(frame, BERTH_TAG_ROWS, 0) & 0xffff;
    exec->process.columns = (unsigned)berth_frame_u64(frame, BERTH_TAG_COLUMNS, 0) & 0xffff;
    berth_frame_text(frame, BERTH_TAG_USER, exec->user, sizeof exec->user);
    if (core->pod.exec_denied) {
        berth_core_failed(core, exec->id, 126, "exec is denied in this pod");
    } else if (container >= core->pod.container_count ||
               core->containers[container].process.state != BERTH_PROCESS_RUNNING) {
        berth_core_failed(core, exec->id, 126, "the container is not running");
    } else if (size == 0 || size > BERTH_BLOB_MAX || (exec->json = calloc(1, size + 1)) == NULL) {
        berth_core_failed(core, exec->id, 126, "the command is too large");
    }
    exec->json_size = size;
}

static void
handle_process(BerthCore *core, const BerthFrame *frame)
{
    Process *process = core_process(core, frame->stream);
    if (process == NULL) {
        return;
    }
    if (frame->type == BERTH_FRAME_SIGNAL) {
        int signum = (int)berth_frame_u64(frame, BERTH_TAG_SIGNAL, 0) & 127;
        core_signal(core, frame->stream, signum);
    } else if (frame->type == BERTH_FRAME_STOP) {
        uint64_t timeout_ms = berth_frame_u64(frame, BERTH_TAG_TIMEOUT_MS, 0);
        core_stop(core, frame->stream, (int64_t)(timeout_ms & 0x7fffffff) * 1000);
    } else {
        process->rows = (unsigned)berth_frame_u64(frame, BERTH_TAG_ROWS, 0) & 0xffff;
        process->columns = (unsigned)berth_frame_u64(frame, BERTH_TAG_COLUMNS, 0) & 0xffff;
        if (process->state == BERTH_PROCESS_RUNNING) {
            core->ops->resize(core->runtime, frame->stream, process->rows, process->columns);
        }
    }
}

/** Acts on a new frame of the session. */
void
core_handle(BerthCore *core, const BerthFrame *frame)
{
    switch (frame->type) {
    case BERTH_FRAME_CONFIG:
        begin_config(core, frame);
        break;
    case BERTH_FRAME_NIC:
        read_nic(core, frame);
        break;
    case BERTH_FRAME_CONTAINER:
        read_container(core, frame);
        break;
    case BERTH_FRAME_BLOB:
        read_blob(core, frame);
        break;
    case BERTH_FRAME_CONFIG_END:
        end_config(core);
        break;
    case BERTH_FRAME_START:
        core_start_container(core, frame->stream,
                             (uint32_t)berth_frame_u64(frame, BERTH_TAG_RUN, 0));
        break;
    case BERTH_FRAME_STOP:
    case BERTH_FRAME_SIGNAL:
    case BERTH_FRAME_RESIZE:
        handle_process(core, frame);
        break;
    case BERTH_FRAME_EXEC:
        begin_exec(core, frame);
        break;
    case BERTH_FRAME_INPUT:
        core_take_input(core, frame);
        break;
    case BERTH_FRAME_OUTPUT_ACK:
        core_ack_output(core, frame);
        break;
    case BERTH_FRAME_LOG_ACK:
        core_ack_log(core, frame);
        break;
    case BERTH_FRAME_STATS:
        core->usage_due = true;
        break;
    case BERTH_FRAME_SHUTDOWN:
        berth_core_shut_down(
            core, (int64_t)(berth_frame_u64(frame, BERTH_TAG_TIMEOUT_MS, 0) & 0x7fffffff) * 1000);
        break;
    default:
        break;
    }
}
