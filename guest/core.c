/* Sessions and sending. Everything that is to be told is a flag or a position, never a growing queue:
 * berth_core_transmit() turns them into frames when there is room for them. Invariant: while `linked`,
 * the lane belongs to session `nonce`. */
#include "guest/core-private.h"

#include "guest/text.h"

#include <stdlib.h>
#include <string.h>

/* A frame whose rest does not come in this time is not believed any more. */
#define PARTIAL_TIMEOUT_US 2000000
#define WINDOW_MIN 16384
#define WINDOW_MAX (1024 * 1024)

/**
 * berth_core_new:
 * @ops: static
 * @runtime: handed to every op
 * @identity: copied
 *
 * Returns: (nullable): NULL without memory.
 */
BerthCore *
berth_core_new(const BerthRuntime *ops, void *runtime, const BerthIdentity *identity)
{
    BerthCore *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return NULL;
    }
    core->ops = ops;
    core->runtime = runtime;
    core->identity = *identity;
    core->partial_since = INT64_MAX;
    core->power_off_at = INT64_MAX;
    berth_lane_init(&core->lane);
    for (unsigned i = 0; i < BERTH_POD_CONTAINERS_MAX; i++) {
        berth_ring_init(&core->containers[i].ring, BERTH_RING_MAX);
        core->containers[i].process.kill_at = INT64_MAX;
        core->containers[i].process.told = true;
    }
    return core;
}

/** Frees @core; the runtime and what runs in it stay. */
void
berth_core_free(BerthCore *core)
{
    if (core == NULL) {
        return;
    }
    for (unsigned i = 0; i < BERTH_POD_CONTAINERS_MAX; i++) {
        core_clear_process(&core->containers[i].process);
        berth_ring_clear(&core->containers[i].ring);
    }
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        core_clear_exec(&core->execs[i]);
    }
    core_clear_pod(&core->draft);
    core_clear_pod(&core->pod);
    free(core);
}

/* ---- sessions ----------------------------------------------------------------------------------- */

/** The port was closed by the other side: what is in flight may be lost, output goes to the rings. */
void
berth_core_link_down(BerthCore *core)
{
    berth_decoder_reset(&core->decoder);
    core->partial_since = INT64_MAX;
    core->hello_due = false;
    core->linked = false;
    core_wants_more(core);
}

/** Returns: TRUE while a daemon listens. */
bool
berth_core_is_linked(const BerthCore *core)
{
    return core->linked;
}

static void
begin_session(BerthCore *core, uint64_t nonce)
{
    berth_lane_init(&core->lane);
    core->nonce = nonce;
    core->configured_due = false;
    core->usage_due = false;
    core->bye_told = false;
    memset(core->refused, 0, sizeof core->refused);
    core_drop_draft(core);
    core_orphan_execs(core);
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        core->containers[i].process.told = false;
    }
}

/* A RESUME field: u64 received, u64 durable, name. */
static void
resume_log(BerthCore *core, const BerthField *field)
{
    if (field->size <= 16) {
        return;
    }
    uint64_t received = berth_load_u64(field->data), durable = berth_load_u64(field->data + 8);
    if (received > INT64_MAX || durable > received) {
        return;
    }
    BerthField name = {.data = field->data + 16, .size = field->size - 16};
    char text[64];
    if (berth_field_text(&name, text, sizeof text) < 0) {
        return;
    }
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        if (strcmp(core->pod.containers[i].name, text) == 0) {
            berth_ring_ack(&core->containers[i].ring, durable);
            berth_ring_rewind(&core->containers[i].ring, received);
        }
    }
}

static void
rewind_all(BerthCore *core, const BerthFrame *hello)
{
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        berth_ring_rewind(&core->containers[i].ring, 0); /* unless the daemon knows better, below */
    }
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        for (int fd = 0; fd < 2; fd++) {
            core->execs[i].output[fd].sent = core->execs[i].output[fd].acked;
        }
    }
    BerthReader reader;
    BerthField field;
    berth_reader_init(&reader, hello);
    while (berth_read_field(&reader, &field)) {
        if (field.tag == BERTH_TAG_RESUME) {
            resume_log(core, &field);
        }
    }
}

static void
take_hello(BerthCore *core, const BerthFrame *frame)
{
    BerthField seed;
    uint64_t nonce = berth_frame_u64(frame, BERTH_TAG_NONCE, 0);
    uint64_t window = berth_frame_u64(frame, BERTH_TAG_WINDOW, LOG_HOLD);
    if (nonce == 0) {
        return;
    }
    uint32_t received = (uint32_t)berth_frame_u64(frame, BERTH_TAG_RECEIVED, 0);
    core->hello_resumed = core->nonce == nonce && berth_lane_resume(&core->lane, received) == 0;
    if (!core->hello_resumed) {
        begin_session(core, nonce);
    }
    core->attempt = berth_frame_u64(frame, BERTH_TAG_ATTEMPT, 0);
    core->window = window < WINDOW_MIN ? WINDOW_MIN : window > WINDOW_MAX ? WINDOW_MAX : window;
    if (core->ops->set_wall_us != NULL) {
        core->ops->set_wall_us(core->runtime,
                               (int64_t)berth_frame_u64(frame, BERTH_TAG_WALL_US, 0));
    }
    if (core->ops->seed != NULL && berth_find_field(frame, BERTH_TAG_SEED, &seed)) {
        core->ops->seed(core->runtime, seed.data, seed.size);
    }
    rewind_all(core, frame);
    core->hello_due = true;
    core->linked = true;
}

static void
take_frame(BerthCore *core, const BerthFrame *frame)
{
    if (frame->type == BERTH_FRAME_HELLO) {
        take_hello(core, frame);
        return;
    }
    if (!core->linked) {
        return;
    }
    switch (berth_lane_accept(&core->lane, frame)) {
    case BERTH_LANE_NEW:
        core_handle(core, frame);
        break;
    case BERTH_LANE_DUPLICATE:
        break;
    case BERTH_LANE_BROKEN:
        berth_core_link_down(core); /* until the daemon says HELLO again */
        break;
    }
}

static void
take_frames(BerthCore *core)
{
    BerthFrame frame;
    while (berth_decoder_next(&core->decoder, &frame)) {
        core->partial_since = INT64_MAX;
        take_frame(core, &frame);
    }
    if (!berth_decoder_is_partial(&core->decoder)) {
        core->partial_since = INT64_MAX;
    } else if (core->partial_since == INT64_MAX) {
        core->partial_since = core->ops->monotonic_us(core->runtime);
    }
}

/** Bytes that came from the daemon, cut anywhere. */
void
berth_core_receive(BerthCore *core, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t taken = berth_decoder_feed(&core->decoder, data, size);
        data += taken;
        size -= taken;
        take_frames(core);
    }
}

/* ---- sending ------------------------------------------------------------------------------------ */

static size_t
encode_hello(BerthCore *core, uint8_t *out)
{
    BerthWriter writer;
    berth_writer_init(&writer, out + BERTH_HEADER_SIZE, BERTH_PAYLOAD_MAX);
    berth_write_u64(&writer, BERTH_TAG_MAJOR, BERTH_PROTOCOL_MAJOR);
    berth_write_u64(&writer, BERTH_TAG_MINOR, BERTH_PROTOCOL_MINOR);
    berth_write_u64(&writer, BERTH_TAG_NONCE, core->nonce);
    berth_write_u64(&writer, BERTH_TAG_ATTEMPT, core->attempt);
    berth_write_u64(&writer, BERTH_TAG_RECEIVED, core->lane.received);
    berth_write_u64(&writer, BERTH_TAG_RESUMED, core->hello_resumed);
    berth_write_u64(&writer, BERTH_TAG_BOOT_NONCE, core->identity.boot_nonce);
    berth_write_text(&writer, BERTH_TAG_OS_DIGEST, core->identity.os_digest);
    berth_write_text(&writer, BERTH_TAG_KERNEL, core->identity.kernel);
    berth_write_u64(&writer, BERTH_TAG_CONFIG_ID, core->pod.id);
    berth_write_u64(&writer, BERTH_TAG_INIT_US, core->identity.init_us);
    berth_write_u64(&writer, BERTH_TAG_PORT_US, core->identity.port_us);
    BerthFrame frame = {
        .type = BERTH_FRAME_HELLO,
        .acked = core->lane.received,
        .payload = out + BERTH_HEADER_SIZE,
        .size = writer.used,
    };
    core->lane.told = core->lane.received;
    return berth_frame_encode(&frame, out);
}

static bool
put_state(BerthCore *core, uint32_t id, Process *process, BerthWriter *writer)
{
    berth_write_u64(writer, BERTH_TAG_STATE, process->state);
    berth_write_u64(writer, BERTH_TAG_RUN, process->run);
    berth_write_u64(writer, BERTH_TAG_EXIT_CODE, (uint64_t)process->exit_code);
    berth_write_u64(writer, BERTH_TAG_OOM, process->oom);
    berth_write_u64(writer, BERTH_TAG_WALL_US, (uint64_t)process->wall_us);
    berth_write_text(writer, BERTH_TAG_TEXT, process->text);
    if (berth_lane_put(&core->lane, BERTH_FRAME_STATE, id, writer->data, writer->used) < 0) {
        return false;
    }
    process->told = true;
    return true;
}

static void
put_container_state(BerthCore *core, unsigned index)
{
    uint8_t payload[512];
    BerthWriter writer;
    Container *container = &core->containers[index];
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_SEQUENCE, container->ring.next - 1);
    put_state(core, index, &container->process, &writer);
}

static void
put_exec_state(BerthCore *core, Exec *exec)
{
    uint8_t payload[512];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_STDOUT_END, exec->output[0].made);
    berth_write_u64(&writer, BERTH_TAG_STDERR_END, exec->output[1].made);
    if (put_state(core, exec->id, &exec->process, &writer)) {
        core_release_exec(core, exec);
    }
}

static void
put_refusals(BerthCore *core)
{
    for (unsigned i = 0; i < BERTH_UNACKED_FRAMES; i++) {
        uint8_t payload[256];
        BerthWriter writer;
        Process process = {.state = BERTH_PROCESS_FAILED, .exit_code = 126};
        text_copy(process.text, sizeof process.text, "too many execs are running in this pod");
        berth_writer_init(&writer, payload, sizeof payload);
        if (core->refused[i] != 0 && put_state(core, core->refused[i], &process, &writer)) {
            core->refused[i] = 0;
        }
    }
}

static void
put_input_ack(BerthCore *core, uint32_t id, Process *process)
{
    uint8_t payload[16];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_OFFSET, process->input->consumed);
    if (berth_lane_put(&core->lane, BERTH_FRAME_INPUT_ACK, id, payload, writer.used) == 0) {
        process->input->told = process->input->consumed;
    }
}

static void
put_configured(BerthCore *core)
{
    uint8_t payload[256];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_CONFIG_ID, core->configured_id);
    berth_write_u64(&writer, BERTH_TAG_EXIT_CODE, (uint64_t)core->configured_error);
    berth_write_text(&writer, BERTH_TAG_TEXT, core->configured_text);
    if (berth_lane_put(&core->lane, BERTH_FRAME_CONFIGURED, 0, payload, writer.used) == 0) {
        core->configured_due = false;
    }
}

static void
put_usage(BerthCore *core)
{
    uint8_t payload[BERTH_POD_CONTAINERS_MAX * 64];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    if (!berth_lane_has_room(&core->lane, sizeof payload)) {
        return;
    }
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        BerthPodUsage usage = {0};
        if (core->ops->usage(core->runtime, i, &usage) == 0) {
            berth_write_u64(&writer, BERTH_TAG_CONTAINER, i);
            berth_write_u64(&writer, BERTH_TAG_CPU_US, usage.cpu_us);
            berth_write_u64(&writer, BERTH_TAG_MEMORY, usage.memory_bytes);
            berth_write_u64(&writer, BERTH_TAG_MEMORY_MAX, usage.memory_max_bytes);
            berth_write_u64(&writer, BERTH_TAG_PIDS, usage.pids);
        }
    }
    berth_lane_put(&core->lane, BERTH_FRAME_USAGE, 0, payload, writer.used);
    core->usage_due = false;
}

/* Whatever is due goes into the lane, as far as there is room; the rest stays due. */
static void
fill_lane(BerthCore *core)
{
    if (core->configured_due) {
        put_configured(core);
    }
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        Process *process = &core->containers[i].process;
        if (!process->told) {
            put_container_state(core, i);
        }
        if (core_input_ack_is_due(process)) {
            put_input_ack(core, i, process);
        }
    }
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        Exec *exec = &core->execs[i];
        if (exec->id != 0 && !exec->orphan && core_input_ack_is_due(&exec->process)) {
            put_input_ack(core, exec->id, &exec->process);
        }
        if (exec->id != 0 && !exec->orphan && !exec->process.told) {
            put_exec_state(core, exec);
        }
    }
    put_refusals(core);
    if (core->usage_due) {
        put_usage(core);
    }
    if (core->power_off_at != INT64_MAX && !core->bye_told) {
        core->bye_told = berth_lane_put(&core->lane, BERTH_FRAME_BYE, 0, NULL, 0) == 0;
    }
}

static size_t
encode_unnumbered(BerthCore *core, uint8_t *out, BerthFrameType type, uint32_t stream, size_t size)
{
    BerthFrame frame = {
        .type = (uint8_t)type,
        .stream = stream,
        .acked = core->lane.received,
        .payload = out + BERTH_HEADER_SIZE,
        .size = size,
    };
    core->lane.told = core->lane.received;
    return berth_frame_encode(&frame, out);
}

static size_t
encode_output(BerthCore *core, uint8_t *out)
{
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        Exec *exec = &core->execs[i];
        for (int fd = 0; fd < 2 && exec->id != 0; fd++) {
            Output *output = &exec->output[fd];
            uint64_t left = output->made - output->sent;
            if (left == 0) {
                continue;
            }
            size_t size = left < BERTH_LOG_RECORD_MAX ? (size_t)left : BERTH_LOG_RECORD_MAX;
            BerthWriter writer;
            berth_writer_init(&writer, out + BERTH_HEADER_SIZE, BERTH_PAYLOAD_MAX);
            berth_write_u64(&writer, BERTH_TAG_FD, (uint64_t)fd + 1);
            berth_write_u64(&writer, BERTH_TAG_OFFSET, output->sent);
            berth_write_bytes(&writer, BERTH_TAG_DATA,
                              output->data + (output->sent - output->acked), size);
            output->sent += size;
            return encode_unnumbered(core, out, BERTH_FRAME_OUTPUT, exec->id, writer.used);
        }
    }
    return 0;
}

static size_t
log_in_flight(const BerthCore *core)
{
    size_t total = 0;
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        total += core->containers[i].ring.in_flight;
    }
    return total;
}

static size_t
encode_record(BerthCore *core, unsigned index, uint8_t *out)
{
    uint8_t data[BERTH_LOG_RECORD_MAX];
    BerthRecord record;
    BerthWriter writer;
    berth_ring_take(&core->containers[index].ring, &record, data);
    berth_writer_init(&writer, out + BERTH_HEADER_SIZE, BERTH_PAYLOAD_MAX);
    berth_write_u64(&writer, BERTH_TAG_SEQUENCE, record.sequence);
    berth_write_u64(&writer, BERTH_TAG_WALL_US, (uint64_t)record.wall_us);
    berth_write_u64(&writer, BERTH_TAG_FD, record.fd);
    if (record.fd == 0) {
        berth_write_u64(&writer, BERTH_TAG_SIZE, record.lost);
    } else {
        berth_write_bytes(&writer, BERTH_TAG_DATA, data, record.size);
    }
    return encode_unnumbered(core, out, BERTH_FRAME_LOG, index, writer.used);
}

/* Containers take turns, a record each, within the window that the daemon gave. */
static size_t
encode_log(BerthCore *core, uint8_t *out)
{
    unsigned count = core->pod.container_count;
    for (unsigned i = 0; i < count; i++) {
        unsigned index = (core->turn + i) % count;
        BerthRing *ring = &core->containers[index].ring;
        size_t cost = berth_ring_next_size(ring) + BERTH_LOG_RECORD_COST;
        if (berth_ring_has_unsent(ring) && log_in_flight(core) + cost <= core->window) {
            core->turn = index + 1;
            return encode_record(core, index, out);
        }
    }
    return 0;
}

static size_t
encode_next(BerthCore *core, uint8_t *out)
{
    size_t size;
    if (core->hello_due) {
        core->hello_due = false;
        return encode_hello(core, out);
    }
    const uint8_t *numbered = berth_lane_take(&core->lane, &size);
    if (numbered != NULL) {
        memcpy(out, numbered, size);
        return size;
    }
    size = encode_output(core, out);
    if (size == 0) {
        size = encode_log(core, out);
    }
    if (size == 0 && core->lane.told != core->lane.received) {
        size = encode_unnumbered(core, out, BERTH_FRAME_ACK, 0, 0);
    }
    return size;
}

/**
 * berth_core_transmit:
 * @out: (out): @size >= BERTH_FRAME_MAX bytes
 *
 * Fills @out with whole frames that are to be written to the port now. They count as sent: when they
 * can't be written, the link is down. Returns: bytes; 0 when there is nothing to say.
 */
size_t
berth_core_transmit(BerthCore *core, uint8_t *out, size_t size)
{
    size_t used = 0;
    if (!core->linked) {
        return 0;
    }
    fill_lane(core);
    while (size - used >= BERTH_FRAME_MAX) {
        size_t each = encode_next(core, out + used);
        if (each == 0) {
            break;
        }
        used += each;
    }
    return used;
}

/* ---- time --------------------------------------------------------------------------------------- */

static void
power_off_when_heard(BerthCore *core, int64_t now)
{
    if (core->shutting_down && core->power_off_at == INT64_MAX && core_all_stopped(core)) {
        core->power_off_at = now + 1000000;
    }
    if (core->power_off_at == INT64_MAX || core->powered_off) {
        return;
    }
    bool heard = core->bye_told && berth_lane_is_idle(&core->lane);
    if (heard || !core->linked || now >= core->power_off_at) {
        core->powered_off = true;
        core->ops->power_off(core->runtime);
    }
}

/** Does what time asks for; to be called at berth_core_deadline_us() and after every other event. */
void
berth_core_tick(BerthCore *core)
{
    int64_t now = core->ops->monotonic_us(core->runtime);
    if (core->partial_since != INT64_MAX && now - core->partial_since >= PARTIAL_TIMEOUT_US) {
        core->partial_since = INT64_MAX;
        berth_decoder_skip(&core->decoder);
        take_frames(core);
    }
    core_process_tick(core, now);
    power_off_when_heard(core, now);
}

/** Returns: the monotonic time of the next berth_core_tick(); INT64_MAX: none is needed. */
int64_t
berth_core_deadline_us(const BerthCore *core)
{
    int64_t deadline = core_process_deadline(core);
    if (core->partial_since != INT64_MAX && core->partial_since + PARTIAL_TIMEOUT_US < deadline) {
        deadline = core->partial_since + PARTIAL_TIMEOUT_US;
    }
    if (!core->powered_off && core->power_off_at < deadline) {
        deadline = core->power_off_at;
    }
    return deadline;
}

/** Stops everything, SIGKILL after @timeout_us, then powers off. Repeating it changes nothing. */
void
berth_core_shut_down(BerthCore *core, int64_t timeout_us)
{
    if (core->shutting_down) {
        return;
    }
    core->shutting_down = true;
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        core_stop(core, i, timeout_us);
    }
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        if (core->execs[i].id != 0) {
            core_stop(core, core->execs[i].id, timeout_us);
        }
    }
}
