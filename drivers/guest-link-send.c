/* What the daemon says: the owner's commands in order, then acknowledgements, then input. Everything
 * waits here until the guest has acknowledged enough of what came before; nothing is sent twice in a
 * session and nothing beyond the credit. Start reading at link_flush(). */
#include "drivers/guest-link-private.h"

#include <signal.h>
#include <string.h>

/* Commands that wait while the guest does not answer; more are dropped, their owner asks again. */
#define PENDING_MAX 4096

void
link_message_free(gpointer data)
{
    Message *message = data;
    g_bytes_unref(message->payload);
    g_free(message);
}

void
link_input_clear(Input *input)
{
    g_clear_pointer(&input->waiting, g_byte_array_unref);
    *input = (Input){0};
}

void
link_exec_free(gpointer data)
{
    Exec *exec = data;
    link_input_clear(&exec->input);
    g_free(exec);
}

/** Queues a frame with @writer's fields. */
void
link_push(BerthLink *link, BerthFrameType type, guint32 stream, const BerthWriter *writer)
{
    if (link->pending.length >= PENDING_MAX || link->state == BERTH_LINK_ENDED) {
        return;
    }
    Message *message = g_new(Message, 1);
    message->type = (guint8)type;
    message->stream = stream;
    message->payload = g_bytes_new(writer->data, writer->used);
    g_queue_push_tail(&link->pending, message);
}

/** The session is another one: what was queued for the old one is void. */
void
link_reset_sending(BerthLink *link)
{
    g_queue_clear_full(&link->pending, link_message_free);
    g_queue_init(&link->pending);
    berth_lane_init(&link->lane);
    for (guint i = 0; i < BERTH_LINK_CONTAINERS_MAX; i++) {
        link_input_clear(&link->containers[i].input);
        g_array_set_size(link->containers[i].unacked, 0);
    }
    link->log_in_flight = 0;
}

static void
send_bytes(BerthLink *link, const guint8 *data, gsize size)
{
    g_autoptr(GBytes) bytes = g_bytes_new(data, size);
    link->counters.frames_out++;
    link->counters.bytes_out += size;
    berth_channel_send(link->channel, bytes);
}

static void
write_resume(BerthLink *link, BerthWriter *writer)
{
    for (guint i = 0; i < link->container_count; i++) {
        Container *container = &link->containers[i];
        guint8 field[16 + sizeof container->name];
        gsize length = strlen(container->name);
        berth_store_u64(field, container->received);
        berth_store_u64(field + 8, container->durable);
        memcpy(field + 16, container->name, length);
        berth_write_bytes(writer, BERTH_TAG_RESUME, field, 16 + length);
        container->told = container->durable;
    }
}

/** Greets the guest: begins or resumes the session. */
void
link_send_hello(BerthLink *link)
{
    guint8 payload[4096], frame[BERTH_HEADER_SIZE + sizeof payload], seed[32];
    BerthWriter writer;
    link->random->fill(link->random, seed, sizeof seed);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_MAJOR, BERTH_PROTOCOL_MAJOR);
    berth_write_u64(&writer, BERTH_TAG_MINOR, BERTH_PROTOCOL_MINOR);
    berth_write_u64(&writer, BERTH_TAG_NONCE, link->nonce);
    berth_write_u64(&writer, BERTH_TAG_ATTEMPT, link->attempt);
    berth_write_u64(&writer, BERTH_TAG_RECEIVED, link->lane.received);
    berth_write_u64(&writer, BERTH_TAG_WINDOW, LOG_WINDOW);
    berth_write_u64(&writer, BERTH_TAG_WALL_US, (guint64)berth_clock_wall_us(link->clock));
    berth_write_bytes(&writer, BERTH_TAG_SEED, seed, sizeof seed);
    write_resume(link, &writer);
    BerthFrame hello = {
        .type = BERTH_FRAME_HELLO,
        .acked = link->lane.received,
        .payload = payload,
        .size = writer.used,
    };
    send_bytes(link, frame, berth_frame_encode(&hello, frame));
}

/* ---- acknowledgements --------------------------------------------------------------------------- */

static gboolean
put(BerthLink *link, BerthFrameType type, guint32 stream, const BerthWriter *writer)
{
    return berth_lane_put(&link->lane, (guint8)type, stream, writer->data, writer->used) == 0;
}

static void
later(BerthLink *link, gint64 when)
{
    link->ack_at = MIN(link->ack_at, when);
}

/* A guest that logs faster than its share waits for its acknowledgement: that holds it back. */
static gint64
throttled_until(BerthLink *link, gint64 now)
{
    double tokens = link_bucket_take(&link->log_bytes, now, 0);
    return tokens >= 0 ? now : now + 1 + (gint64)(-tokens * G_USEC_PER_SEC / link->log_bytes.per_s);
}

static void
flush_log_ack(BerthLink *link, guint index, gint64 now)
{
    Container *container = &link->containers[index];
    if (container->told == container->durable) {
        return;
    }
    gint64 when = container->ack_cost >= ACK_LOG_COST ? now : container->ack_at;
    when = MAX(when, throttled_until(link, now));
    guint8 payload[16];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_SEQUENCE, container->durable);
    if (when > now) {
        later(link, when);
    } else if (put(link, BERTH_FRAME_LOG_ACK, index, &writer)) {
        container->told = container->durable;
        container->ack_cost = 0;
    }
}

static void
flush_output_ack(BerthLink *link, Exec *exec, gint64 now)
{
    for (int fd = 0; fd < 2; fd++) {
        guint64 waiting = exec->acked[fd] - exec->told[fd];
        if (waiting == 0) {
            continue;
        }
        guint8 payload[32];
        BerthWriter writer;
        berth_writer_init(&writer, payload, sizeof payload);
        berth_write_u64(&writer, BERTH_TAG_FD, (guint64)fd + 1);
        berth_write_u64(&writer, BERTH_TAG_OFFSET, exec->acked[fd]);
        if (waiting < ACK_OUTPUT_BYTES && exec->ack_at > now) {
            later(link, exec->ack_at);
        } else if (put(link, BERTH_FRAME_OUTPUT_ACK, exec->id, &writer)) {
            exec->told[fd] = exec->acked[fd];
            if (exec->ended) {
                link_be_patient(link, &exec->due_us);
            }
        }
    }
}

/* ---- input -------------------------------------------------------------------------------------- */

static void
flush_input(BerthLink *link, BerthProcessId process, Input *input)
{
    while (input->waiting != NULL && !input->end_sent) {
        gsize window = BERTH_INPUT_WINDOW - (gsize)(input->sent - input->consumed);
        gsize size = MIN(MIN((gsize)input->waiting->len, window), BERTH_CHUNK_MAX);
        gboolean end = input->end_asked && size == input->waiting->len;
        if ((size == 0 && !end) || !berth_lane_has_room(&link->lane, size + 32)) {
            return;
        }
        guint8 payload[BERTH_CHUNK_MAX + 32];
        BerthWriter writer;
        berth_writer_init(&writer, payload, sizeof payload);
        berth_write_bytes(&writer, BERTH_TAG_DATA, input->waiting->data, size);
        berth_write_u64(&writer, BERTH_TAG_EOF, end);
        put(link, BERTH_FRAME_INPUT, process, &writer);
        if (size > 0) {
            g_byte_array_remove_range(input->waiting, 0, (guint)size);
        }
        input->sent += size;
        input->end_sent = end;
    }
}

static void
flush_pending(BerthLink *link)
{
    Message *message;
    while ((message = g_queue_peek_head(&link->pending)) != NULL) {
        gsize size;
        const void *payload = g_bytes_get_data(message->payload, &size);
        if (berth_lane_put(&link->lane, message->type, message->stream, payload, size) < 0) {
            return;
        }
        link_message_free(g_queue_pop_head(&link->pending));
    }
}

static void
flush_execs(BerthLink *link, gint64 now)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, link->execs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Exec *exec = value;
        flush_output_ack(link, exec, now);
        if (link->pending.length == 0) {
            flush_input(link, exec->id, &exec->input);
        }
    }
}

/** Sends what the credit allows. Calls nobody back. */
void
link_flush(BerthLink *link)
{
    gint64 now = link_now(link);
    if (link->freed || link->channel == NULL || link->state != BERTH_LINK_READY) {
        return;
    }
    gboolean ack_was_due = link->ack_at <= now;
    link->ack_at = G_MAXINT64;
    for (guint i = 0; i < link->container_count; i++) {
        flush_log_ack(link, i, now);
    }
    flush_pending(link);
    flush_execs(link, now);
    for (guint i = 0; i < link->container_count && link->pending.length == 0; i++) {
        flush_input(link, i, &link->containers[i].input);
    }
    guint untold = link->lane.received - link->lane.told;
    if (untold >= BERTH_UNACKED_FRAMES / 2 || (untold > 0 && (ack_was_due || link->bye))) {
        BerthWriter nothing = {0};
        put(link, BERTH_FRAME_ACK, 0, &nothing);
    } else if (untold > 0) {
        later(link, now + ACK_DELAY_US);
    }
    const guint8 *frame;
    gsize size;
    while ((frame = berth_lane_take(&link->lane, &size)) != NULL) {
        send_bytes(link, frame, size);
    }
    link_rearm(link);
}

/* ---- the owner's commands ----------------------------------------------------------------------- */

static void
push_blob(BerthLink *link, guint32 stream, const char *text)
{
    gsize left = strlen(text);
    while (left > 0) {
        guint8 payload[BERTH_CHUNK_MAX + 8];
        gsize size = MIN(left, BERTH_CHUNK_MAX);
        BerthWriter writer;
        berth_writer_init(&writer, payload, sizeof payload);
        berth_write_bytes(&writer, BERTH_TAG_DATA, text, size);
        link_push(link, BERTH_FRAME_BLOB, stream, &writer);
        text += size;
        left -= size;
    }
}

static void
write_list(BerthWriter *writer, BerthTag tag, const char *const *list)
{
    for (gsize i = 0; list != NULL && list[i] != NULL; i++) {
        berth_write_text(writer, tag, list[i]);
    }
}

static gboolean
list_fits(const char *const *list, guint most)
{
    return list == NULL || g_strv_length((char **)list) <= most;
}

static gboolean
push_pod(BerthLink *link, const BerthLinkConfig *config, GError **error)
{
    guint8 payload[BERTH_CHUNK_MAX * 2];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_CONFIG_ID, config->id);
    berth_write_u64(&writer, BERTH_TAG_COUNT, config->container_count);
    berth_write_text(&writer, BERTH_TAG_HOSTNAME, config->hostname);
    berth_write_u64(&writer, BERTH_TAG_EXEC_DENIED, config->exec_denied != FALSE);
    write_list(&writer, BERTH_TAG_DNS, config->dns);
    write_list(&writer, BERTH_TAG_SEARCH, config->search);
    write_list(&writer, BERTH_TAG_HOSTS, config->hosts);
    if (writer.overflow) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "name servers, search domains and host lines need more than %zu bytes",
                        sizeof payload);
        return FALSE;
    }
    link_push(link, BERTH_FRAME_CONFIG, 0, &writer);
    return TRUE;
}

static void
push_nic(BerthLink *link, guint index, const BerthLinkNic *nic)
{
    guint8 payload[256];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_text(&writer, BERTH_TAG_MAC, nic->mac);
    berth_write_text(&writer, BERTH_TAG_ADDRESS, nic->address);
    berth_write_text(&writer, BERTH_TAG_GATEWAY, nic->gateway);
    link_push(link, BERTH_FRAME_NIC, index, &writer);
}

static void
push_container(BerthLink *link, guint index, const BerthLinkContainerPlan *plan)
{
    guint8 payload[512];
    BerthWriter writer;
    Container *container = &link->containers[index];
    g_strlcpy(container->name, plan->name, sizeof container->name);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_text(&writer, BERTH_TAG_NAME, plan->name);
    berth_write_text(&writer, BERTH_TAG_IMAGE_SERIAL, plan->image_serial);
    berth_write_text(&writer, BERTH_TAG_SCRATCH_SERIAL, plan->scratch_serial);
    berth_write_text(&writer, BERTH_TAG_USER, plan->user);
    berth_write_u64(&writer, BERTH_TAG_SIGNAL, plan->stop_signal > 0 ? plan->stop_signal : SIGTERM);
    berth_write_u64(&writer, BERTH_TAG_TTY, plan->tty != FALSE);
    berth_write_u64(&writer, BERTH_TAG_INPUT_OPEN, plan->stdin_open != FALSE);
    berth_write_u64(&writer, BERTH_TAG_SEQUENCE, container->received);
    berth_write_u64(&writer, BERTH_TAG_SIZE, strlen(plan->config));
    link_push(link, BERTH_FRAME_CONTAINER, index, &writer);
    push_blob(link, index, plan->config);
}

static gboolean
check_container(const BerthLinkContainerPlan *plan, GError **error)
{
    const char *bad =
        plan->name == NULL || strlen(plan->name) > 63 || plan->name[0] == '\0' ? "name"
        : plan->image_serial == NULL || strlen(plan->image_serial) > 20        ? "image serial"
        : plan->scratch_serial != NULL && strlen(plan->scratch_serial) > 20    ? "scratch serial"
        : plan->user != NULL && strlen(plan->user) > 127                       ? "user"
        : plan->config == NULL || plan->config[0] == '\0' || strlen(plan->config) > BERTH_BLOB_MAX
            ? "config"
            : NULL;
    if (bad != NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "container '%s': its %s is missing or too long",
                        plan->name, bad);
    }
    return bad == NULL;
}

static gboolean
check_config(BerthLink *link, const BerthLinkConfig *config, GError **error)
{
    if (link->state != BERTH_LINK_READY) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "the guest has not answered yet");
        return FALSE;
    }
    if (config->id == 0 || config->container_count == 0 ||
        config->container_count > BERTH_LINK_CONTAINERS_MAX ||
        config->nic_count > BERTH_POD_NICS_MAX || !list_fits(config->dns, 8) ||
        !list_fits(config->search, 8) || !list_fits(config->hosts, 64)) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "a pod has an id, 1 to %d containers, at most %d network cards, 8 name "
                        "servers, 8 search domains and 64 host lines",
                        BERTH_LINK_CONTAINERS_MAX, BERTH_POD_NICS_MAX);
        return FALSE;
    }
    for (gsize i = 0; i < config->container_count; i++) {
        if (!check_container(&config->containers[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/**
 * berth_link_configure:
 * @config: borrowed during the call
 *
 * watch->configured follows. Errors: UNAVAILABLE when not READY, INVALID.
 */
gboolean
berth_link_configure(BerthLink *link, const BerthLinkConfig *config, GError **error)
{
    BerthWriter nothing = {0};
    if (!check_config(link, config, error) || !push_pod(link, config, error)) {
        return FALSE;
    }
    for (gsize i = 0; i < config->nic_count; i++) {
        push_nic(link, (guint)i, &config->nics[i]);
    }
    link->container_count = (guint)config->container_count;
    for (guint i = 0; i < link->container_count; i++) {
        push_container(link, i, &config->containers[i]);
    }
    link_push(link, BERTH_FRAME_CONFIG_END, 0, &nothing);
    link_flush(link);
    return TRUE;
}

static void
push_number(BerthLink *link, BerthFrameType type, guint32 stream, BerthTag tag, guint64 value)
{
    guint8 payload[16];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, tag, value);
    link_push(link, type, stream, &writer);
    link_flush(link);
}

void
berth_link_start(BerthLink *link, guint container, guint32 run)
{
    push_number(link, BERTH_FRAME_START, container, BERTH_TAG_RUN, run);
}

void
berth_link_stop(BerthLink *link, guint container, guint timeout_ms)
{
    push_number(link, BERTH_FRAME_STOP, container, BERTH_TAG_TIMEOUT_MS, timeout_ms);
}

void
berth_link_shutdown(BerthLink *link, guint timeout_ms)
{
    push_number(link, BERTH_FRAME_SHUTDOWN, 0, BERTH_TAG_TIMEOUT_MS, timeout_ms);
}

void
berth_link_signal(BerthLink *link, BerthProcessId process, int signum)
{
    push_number(link, BERTH_FRAME_SIGNAL, process, BERTH_TAG_SIGNAL, (guint64)signum);
}

/** watch->stats answers; when the link breaks meanwhile, perhaps never. */
void
berth_link_stats(BerthLink *link)
{
    BerthWriter nothing = {0};
    link_push(link, BERTH_FRAME_STATS, 0, &nothing);
    link_flush(link);
}

void
berth_link_resize(BerthLink *link, BerthProcessId process, guint rows, guint columns)
{
    guint8 payload[32];
    BerthWriter writer;
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_ROWS, rows);
    berth_write_u64(&writer, BERTH_TAG_COLUMNS, columns);
    link_push(link, BERTH_FRAME_RESIZE, process, &writer);
    link_flush(link);
}

/** The log of @container is safely written up to @sequence; acknowledges all before, too. */
void
berth_link_log_ack(BerthLink *link, guint container, guint64 sequence)
{
    if (container >= link->container_count) {
        return;
    }
    Container *acked = &link->containers[container];
    guint count = 0;
    while (count < acked->unacked->len &&
           g_array_index(acked->unacked, Unacked, count).sequence <= sequence) {
        gsize cost = g_array_index(acked->unacked, Unacked, count++).cost;
        acked->ack_cost += cost;
        link->log_in_flight -= cost;
    }
    if (MIN(sequence, acked->received) <= acked->durable) {
        return;
    }
    acked->durable = MIN(sequence, acked->received);
    acked->ack_at = link_now(link) + ACK_DELAY_US;
    g_array_remove_range(acked->unacked, 0, count);
    if (link->depth == 0) {
        link_flush(link);
    }
}

/**
 * berth_link_exec:
 *
 * Returns: the new exec's id; watch->exec_started or exec_exited follows within 30 s. 0 with INVALID,
 * EXHAUSTED (16 run already) or UNAVAILABLE.
 */
BerthProcessId
berth_link_exec(BerthLink *link, const BerthLinkExec *wish, GError **error)
{
    guint8 payload[512];
    BerthWriter writer;
    gsize size = strlen(wish->process);
    if (link->state != BERTH_LINK_READY) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "the guest does not answer");
        return 0;
    }
    if (size == 0 || size > BERTH_BLOB_MAX || (wish->user != NULL && strlen(wish->user) > 127)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the command or its user is too long");
        return 0;
    }
    if (g_hash_table_size(link->execs) >= BERTH_POD_EXECS_MAX) {
        berth_error_set(error, BERTH_ERROR_EXHAUSTED, "%d execs run in this pod already",
                        BERTH_POD_EXECS_MAX);
        return 0;
    }
    Exec *exec = g_new0(Exec, 1);
    exec->id = link->next_exec++;
    exec->ack_at = G_MAXINT64;
    link_be_patient(link, &exec->due_us);
    g_hash_table_insert(link->execs, GUINT_TO_POINTER(exec->id), exec);
    berth_writer_init(&writer, payload, sizeof payload);
    berth_write_u64(&writer, BERTH_TAG_CONTAINER, wish->container);
    berth_write_text(&writer, BERTH_TAG_USER, wish->user);
    berth_write_u64(&writer, BERTH_TAG_TTY, wish->tty != FALSE);
    berth_write_u64(&writer, BERTH_TAG_INPUT_OPEN, wish->stdin_open != FALSE);
    berth_write_u64(&writer, BERTH_TAG_ROWS, wish->rows);
    berth_write_u64(&writer, BERTH_TAG_COLUMNS, wish->columns);
    berth_write_u64(&writer, BERTH_TAG_SIZE, size);
    link_push(link, BERTH_FRAME_EXEC, exec->id, &writer);
    push_blob(link, exec->id, wish->process);
    link_flush(link);
    return exec->id;
}

/** Returns: (nullable): the input of @process. */
Input *
link_input(BerthLink *link, BerthProcessId process)
{
    if (process < BERTH_EXEC_ID_MIN) {
        return process < link->container_count ? &link->containers[process].input : NULL;
    }
    Exec *exec = g_hash_table_lookup(link->execs, GUINT_TO_POINTER(process));
    return exec == NULL ? NULL : &exec->input;
}

/** Takes what fits into BERTH_LINK_STDIN_MAX; input for an unknown process is taken and dropped. */
gsize
berth_link_stdin(BerthLink *link, BerthProcessId process, const void *data, gsize size)
{
    Input *input = link_input(link, process);
    if (input == NULL || input->end_asked) {
        return size;
    }
    if (input->waiting == NULL) {
        input->waiting = g_byte_array_new();
    }
    gsize taken = MIN(size, BERTH_LINK_STDIN_MAX - (gsize)input->waiting->len);
    g_byte_array_append(input->waiting, data, (guint)taken);
    input->room_asked = taken < size;
    link_flush(link);
    return taken;
}

/** No more input; what was taken before still arrives. */
void
berth_link_stdin_eof(BerthLink *link, BerthProcessId process)
{
    Input *input = link_input(link, process);
    if (input == NULL) {
        return;
    }
    if (input->waiting == NULL) {
        input->waiting = g_byte_array_new();
    }
    input->end_asked = TRUE;
    link_flush(link);
}

/** @size more bytes of @exec's @stream have reached who asked for them. */
void
berth_link_output_ack(BerthLink *link, BerthProcessId id, BerthLinkStream stream, gsize size)
{
    Exec *exec = g_hash_table_lookup(link->execs, GUINT_TO_POINTER(id));
    if (exec == NULL) {
        return;
    }
    int fd = stream == BERTH_STREAM_STDERR;
    exec->acked[fd] = MIN(exec->acked[fd] + size, exec->received[fd]);
    exec->ack_at = link_now(link) + ACK_DELAY_US;
    if (link->depth == 0) {
        link_flush(link);
    }
}
