/* What the guest says, and why it is not believed: who speaks follows from the channel alone, every
 * number is checked against what this end handed out, text is made printable, and an answer to nothing
 * is counted and dropped. Frames are read only here. Start reading at link_take_frame(). */
#include "drivers/guest-link-private.h"

#include <string.h>

static void violate(BerthLink *link, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The link is cut as soon as the reading of frames returns. */
static void
violate(BerthLink *link, const char *format, ...)
{
    va_list args;
    if (link->violation != NULL) {
        return;
    }
    va_start(args, format);
    link->violation = g_error_new_valist(BERTH_ERROR, BERTH_ERROR_CORRUPT, format, args);
    va_end(args);
}

/* The guest's text: printable ASCII, cut to fit. */
static void
read_text(const BerthFrame *frame, BerthTag tag, char *out, gsize size)
{
    BerthField field = {0};
    berth_find_field(frame, tag, &field);
    gsize length = MIN(field.size, size - 1);
    for (gsize i = 0; i < length; i++) {
        out[i] = g_ascii_isprint((char)field.data[i]) ? (char)field.data[i] : '?';
    }
    out[length] = '\0';
}

/* ---- greeting ----------------------------------------------------------------------------------- */

/** The session ended: what ran in it is lost to us. */
void
link_fail_execs(BerthLink *link, const char *why)
{
    g_autoptr(GError) error = g_error_new_literal(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE, why);
    g_autoptr(GList) ids = g_hash_table_get_keys(link->execs);
    for (GList *each = ids; each != NULL && !link->freed; each = each->next) {
        if (g_hash_table_remove(link->execs, each->data) && link->watch.exec_exited != NULL) {
            link->watch.exec_exited(GPOINTER_TO_UINT(each->data), 137, error, link->user_data);
        }
    }
}

static gboolean
check_version(BerthLink *link, guint64 major, guint64 minor)
{
    if (major + 1 >= BERTH_PROTOCOL_MAJOR && major <= BERTH_PROTOCOL_MAJOR && major > 0) {
        return TRUE;
    }
    g_autoptr(GError) error =
        g_error_new(BERTH_ERROR, BERTH_ERROR_INVALID,
                    "the guest speaks protocol %" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT
                    ", this daemon %d.%d; start the pod again with this daemon's guest OS",
                    major, minor, BERTH_PROTOCOL_MAJOR, BERTH_PROTOCOL_MINOR);
    link_end(link, error);
    return FALSE;
}

static void
begin_session(BerthLink *link)
{
    link_reset_sending(link);
    for (guint i = 0; i < BERTH_LINK_CONTAINERS_MAX; i++) {
        link->containers[i].state_held = FALSE;
    }
    link_fail_execs(link, "the guest began a new session");
}

static void
become_ready(BerthLink *link, const BerthLinkHello *hello)
{
    gint64 now = link_now(link);
    link->state = BERTH_LINK_READY;
    link->ready_since = link->heard_us = now;
    link->give_up_at = link->hello_again_at = G_MAXINT64;
    link->ping_at = now + 5 * G_USEC_PER_SEC;
    link->boot_nonce = hello->boot_nonce;
    if (link->watch.ready != NULL) {
        link->watch.ready(hello, link->user_data);
    }
}

static void
take_hello(BerthLink *link, const BerthFrame *frame)
{
    if (berth_frame_u64(frame, BERTH_TAG_NONCE, 0) != link->nonce ||
        berth_frame_u64(frame, BERTH_TAG_ATTEMPT, 0) != link->attempt) {
        link->counters.unknown++; /* meant for an older opener */
        return;
    }
    BerthLinkHello hello = {
        .major = (guint)berth_frame_u64(frame, BERTH_TAG_MAJOR, 0),
        .minor = (guint)berth_frame_u64(frame, BERTH_TAG_MINOR, 0),
        .boot_nonce = berth_frame_u64(frame, BERTH_TAG_BOOT_NONCE, 0),
        .config_id = berth_frame_u64(frame, BERTH_TAG_CONFIG_ID, 0),
        .init_us = berth_frame_u64(frame, BERTH_TAG_INIT_US, 0),
        .port_us = berth_frame_u64(frame, BERTH_TAG_PORT_US, 0),
        .resumed = berth_frame_u64(frame, BERTH_TAG_RESUMED, 0) != 0,
    };
    read_text(frame, BERTH_TAG_OS_DIGEST, hello.os_digest, sizeof hello.os_digest);
    read_text(frame, BERTH_TAG_KERNEL, hello.kernel, sizeof hello.kernel);
    if (!check_version(link, hello.major, hello.minor)) {
        return;
    }
    guint32 received = (guint32)berth_frame_u64(frame, BERTH_TAG_RECEIVED, 0);
    hello.resumed = hello.resumed && hello.boot_nonce == link->boot_nonce &&
                    berth_lane_resume(&link->lane, received) == 0;
    if (!hello.resumed) {
        begin_session(link);
    }
    if (!link->freed) {
        become_ready(link, &hello);
    }
}

/* ---- containers --------------------------------------------------------------------------------- */

/** Tells a container's state, once the log that came before it is there. */
void
link_hand_on_state(BerthLink *link, guint index)
{
    Container *container = &link->containers[index];
    if (!container->state_held || container->received < container->state_after) {
        return;
    }
    container->state_held = FALSE;
    container->state.text = container->text[0] != '\0' ? container->text : NULL;
    if (link->watch.container != NULL) {
        link->watch.container(index, &container->state, link->user_data);
    }
}

static void
take_container_state(BerthLink *link, const BerthFrame *frame)
{
    Container *container = &link->containers[frame->stream];
    guint64 state = berth_frame_u64(frame, BERTH_TAG_STATE, 0);
    if (state > BERTH_PROCESS_FAILED) {
        link->counters.unknown++;
        return;
    }
    container->state = (BerthLinkContainer){
        .state = (BerthContainerState)state,
        .run = (guint32)berth_frame_u64(frame, BERTH_TAG_RUN, 0),
        .exit_code = (int)(berth_frame_u64(frame, BERTH_TAG_EXIT_CODE, 0) & 255),
        .oom = berth_frame_u64(frame, BERTH_TAG_OOM, 0) != 0,
        .wall_us = (gint64)MIN(berth_frame_u64(frame, BERTH_TAG_WALL_US, 0), G_MAXINT64),
    };
    read_text(frame, BERTH_TAG_TEXT, container->text, sizeof container->text);
    container->state_after = berth_frame_u64(frame, BERTH_TAG_SEQUENCE, 0);
    container->state_held = TRUE;
    link_be_patient(link, &container->due_us);
    link_hand_on_state(link, frame->stream);
}

static gboolean
record_is_next(BerthLink *link, Container *container, guint64 sequence, guint64 fd)
{
    if (sequence <= container->received) {
        link->counters.duplicate++;
        return FALSE;
    }
    if (fd > 2 || sequence > G_MAXINT64 || (fd != 0 && sequence != container->received + 1)) {
        violate(link,
                "the guest sent log record %" G_GUINT64_FORMAT " of '%s' after %" G_GUINT64_FORMAT,
                sequence, container->name, container->received);
        return FALSE;
    }
    return TRUE;
}

static void
take_log(BerthLink *link, const BerthFrame *frame)
{
    BerthField data = {0};
    if (frame->stream >= link->container_count) {
        link->counters.unknown++;
        return;
    }
    Container *container = &link->containers[frame->stream];
    guint64 sequence = berth_frame_u64(frame, BERTH_TAG_SEQUENCE, 0);
    guint64 fd = berth_frame_u64(frame, BERTH_TAG_FD, G_MAXUINT64);
    guint64 wall_us = berth_frame_u64(frame, BERTH_TAG_WALL_US, 0);
    berth_find_field(frame, BERTH_TAG_DATA, &data);
    if (!record_is_next(link, container, sequence, fd)) {
        return;
    }
    Unacked unacked = {sequence, data.size + BERTH_LOG_RECORD_COST};
    if (data.size > BERTH_LOG_RECORD_MAX || link->log_in_flight + unacked.cost > LOG_WINDOW) {
        violate(link, "the guest sent more log than it has credit for");
        return;
    }
    link_bucket_take(&link->log_bytes, link_now(link), (double)unacked.cost);
    container->received = sequence;
    if (container->state_held) {
        link_be_patient(link, &container->due_us);
    }
    link->log_in_flight += unacked.cost;
    g_array_append_val(container->unacked, unacked);
    gsize size = data.size;
    if (fd == 0) {
        size = (gsize)MIN(berth_frame_u64(frame, BERTH_TAG_SIZE, 0), G_MAXINT64);
    }
    if (link->watch.log != NULL) {
        link->watch.log(frame->stream, sequence, (gint64)MIN(wall_us, G_MAXINT64),
                        (BerthLinkStream)fd, fd == 0 ? NULL : data.data, size, link->user_data);
    }
    if (!link->freed) {
        link_hand_on_state(link, frame->stream);
    }
}

/* ---- execs -------------------------------------------------------------------------------------- */

static Exec *
find_exec(BerthLink *link, guint32 id)
{
    Exec *exec = g_hash_table_lookup(link->execs, GUINT_TO_POINTER(id));
    if (exec == NULL) {
        link->counters.unknown++;
    }
    return exec;
}

static void
tell_started(BerthLink *link, Exec *exec)
{
    if (!exec->started && link->watch.exec_started != NULL) {
        exec->started = TRUE;
        link->watch.exec_started(exec->id, link->user_data);
    }
}

/** Its slot in the guest is free when all output is acknowledged, so what is left is, whoever reads it. */
void
link_release_exec(BerthLink *link, const Exec *exec)
{
    for (int fd = 0; fd < 2; fd++) {
        guint8 payload[32];
        BerthWriter writer;
        berth_writer_init(&writer, payload, sizeof payload);
        berth_write_u64(&writer, BERTH_TAG_FD, (guint64)fd + 1);
        berth_write_u64(&writer, BERTH_TAG_OFFSET, exec->received[fd]);
        if (exec->told[fd] != exec->received[fd]) {
            link_push(link, BERTH_FRAME_OUTPUT_ACK, exec->id, &writer);
        }
    }
}

static void
end_when_complete(BerthLink *link, Exec *exec)
{
    if (!exec->ended || exec->received[0] < exec->ends[0] || exec->received[1] < exec->ends[1]) {
        return;
    }
    g_autoptr(GError) error = NULL;
    BerthProcessId id = exec->id;
    int exit_code = exec->exit_code;
    if (exec->failed) {
        error = g_error_new(BERTH_ERROR, BERTH_ERROR_INVALID, "%s", exec->text);
    } else {
        tell_started(link, exec);
    }
    if (link->freed) {
        return;
    }
    link_release_exec(link, exec);
    g_hash_table_remove(link->execs, GUINT_TO_POINTER(id));
    if (link->watch.exec_exited != NULL) {
        link->watch.exec_exited(id, exit_code, error, link->user_data);
    }
}

static void
take_exec_state(BerthLink *link, const BerthFrame *frame)
{
    guint64 state = berth_frame_u64(frame, BERTH_TAG_STATE, 0);
    Exec *exec = find_exec(link, frame->stream);
    if (exec == NULL || exec->ended) {
        return;
    }
    if (state == BERTH_PROCESS_RUNNING) {
        tell_started(link, exec);
    } else if (state == BERTH_PROCESS_EXITED || state == BERTH_PROCESS_FAILED) {
        exec->ended = TRUE;
        exec->failed = state == BERTH_PROCESS_FAILED;
        exec->exit_code = (int)(berth_frame_u64(frame, BERTH_TAG_EXIT_CODE, 0) & 255);
        exec->ends[0] = berth_frame_u64(frame, BERTH_TAG_STDOUT_END, 0);
        exec->ends[1] = berth_frame_u64(frame, BERTH_TAG_STDERR_END, 0);
        read_text(frame, BERTH_TAG_TEXT, exec->text, sizeof exec->text);
        link_be_patient(link, &exec->due_us);
        end_when_complete(link, exec);
    }
}

static void
take_state(BerthLink *link, const BerthFrame *frame)
{
    if (frame->stream < link->container_count) {
        take_container_state(link, frame);
    } else {
        take_exec_state(link, frame);
    }
}

static void
take_output(BerthLink *link, const BerthFrame *frame)
{
    BerthField data = {0};
    Exec *exec = find_exec(link, frame->stream);
    if (exec == NULL) {
        return;
    }
    berth_find_field(frame, BERTH_TAG_DATA, &data);
    int fd = berth_frame_u64(frame, BERTH_TAG_FD, 1) == 2;
    guint64 offset = berth_frame_u64(frame, BERTH_TAG_OFFSET, G_MAXUINT64);
    if (offset > exec->received[fd]) {
        violate(link, "the guest skipped output of an exec");
        return;
    }
    guint64 again = exec->received[fd] - offset;
    if (again >= data.size) {
        link->counters.duplicate++;
        return;
    }
    gsize size = data.size - (gsize)again;
    if (exec->received[fd] + size - exec->told[fd] > BERTH_OUTPUT_WINDOW) {
        violate(link, "the guest sent more output than it has credit for");
        return;
    }
    if (exec->received[fd] < exec->ends[fd]) {
        link_be_patient(link, &exec->due_us);
    }
    exec->received[fd] += size;
    tell_started(link, exec);
    if (!link->freed && link->watch.output != NULL) {
        link->watch.output(frame->stream, fd ? BERTH_STREAM_STDERR : BERTH_STREAM_STDOUT,
                           data.data + again, size, link->user_data);
    }
    /* The callback may have ended the link, and the exec with it. */
    exec = link->freed ? NULL : g_hash_table_lookup(link->execs, GUINT_TO_POINTER(frame->stream));
    if (exec != NULL) {
        end_when_complete(link, exec);
    }
}

static void
take_input_ack(BerthLink *link, const BerthFrame *frame)
{
    Input *input = link_input(link, frame->stream);
    guint64 consumed = berth_frame_u64(frame, BERTH_TAG_OFFSET, 0);
    if (input == NULL || consumed <= input->consumed) {
        link->counters.unknown++;
        return;
    }
    if (consumed > input->sent) {
        violate(link, "the guest consumed input that was never sent");
        return;
    }
    input->consumed = consumed;
    if (input->room_asked && link->watch.stdin_room != NULL) {
        link_flush(link); /* first make the room */
        input->room_asked = FALSE;
        link->watch.stdin_room(frame->stream, link->user_data);
    }
}

/* ---- the rest ----------------------------------------------------------------------------------- */

static void
take_usage(BerthLink *link, const BerthFrame *frame)
{
    BerthLinkUsage usage[BERTH_LINK_CONTAINERS_MAX] = {0};
    gsize count = 0;
    BerthReader reader;
    BerthField field;
    berth_reader_init(&reader, frame);
    while (berth_read_field(&reader, &field)) {
        guint64 value = MIN(berth_field_u64(&field), G_MAXINT64);
        BerthLinkUsage *last = count > 0 ? &usage[count - 1] : NULL;
        if (field.tag == BERTH_TAG_CONTAINER) {
            if (count == link->container_count || value >= link->container_count) {
                link->counters.unknown++;
                return;
            }
            usage[count++].container = (guint)value;
        } else if (last != NULL && field.tag == BERTH_TAG_CPU_US) {
            last->cpu_us = value;
        } else if (last != NULL && field.tag == BERTH_TAG_MEMORY) {
            last->memory_bytes = value;
        } else if (last != NULL && field.tag == BERTH_TAG_MEMORY_MAX) {
            last->memory_max_bytes = value;
        } else if (last != NULL && field.tag == BERTH_TAG_PIDS) {
            last->pids = value;
        }
    }
    if (link->watch.stats != NULL) {
        link->watch.stats(usage, count, link->user_data);
    }
}

static void
take_configured(BerthLink *link, const BerthFrame *frame)
{
    g_autoptr(GError) error = NULL;
    char text[161];
    guint64 errnum = berth_frame_u64(frame, BERTH_TAG_EXIT_CODE, 0);
    read_text(frame, BERTH_TAG_TEXT, text, sizeof text);
    if (errnum != 0) {
        error = g_error_new(BERTH_ERROR, BERTH_ERROR_INVALID, "the guest refused: %s", text);
    }
    if (link->watch.configured != NULL) {
        link->watch.configured(error, link->user_data);
    }
}

static void
take_numbered(BerthLink *link, const BerthFrame *frame)
{
    switch (frame->type) {
    case BERTH_FRAME_CONFIGURED:
        take_configured(link, frame);
        break;
    case BERTH_FRAME_STATE:
        take_state(link, frame);
        break;
    case BERTH_FRAME_INPUT_ACK:
        take_input_ack(link, frame);
        break;
    case BERTH_FRAME_USAGE:
        take_usage(link, frame);
        break;
    case BERTH_FRAME_BYE:
        link->bye = TRUE;
        link->bye_at = link_now(link) + 2 * G_USEC_PER_SEC;
        break;
    default:
        link->counters.unknown++;
        break;
    }
}

static void
take_in_session(BerthLink *link, const BerthFrame *frame)
{
    switch (berth_lane_accept(&link->lane, frame)) {
    case BERTH_LANE_DUPLICATE:
        link->counters.duplicate++;
        return;
    case BERTH_LANE_BROKEN:
        violate(link, "the guest's frame %u is out of order", frame->sequence);
        return;
    case BERTH_LANE_NEW:
        break;
    }
    if (frame->sequence != 0) {
        take_numbered(link, frame);
    } else if (frame->type == BERTH_FRAME_LOG) {
        take_log(link, frame);
    } else if (frame->type == BERTH_FRAME_OUTPUT) {
        take_output(link, frame);
    } else if (frame->type != BERTH_FRAME_ACK) {
        link->counters.unknown++;
    }
}

/** Acts on one whole frame of the guest. */
void
link_take_frame(BerthLink *link, const BerthFrame *frame)
{
    gint64 now = link_now(link);
    link->heard_us = now;
    if (link_bucket_take(&link->frames, now, 1) < 0) {
        violate(link, "the guest floods the link with frames");
    } else if (link->state == BERTH_LINK_READY && frame->type == BERTH_FRAME_HELLO) {
        link->counters.duplicate++; /* the answer to a greeting that was repeated */
    } else if (link->state == BERTH_LINK_READY) {
        take_in_session(link, frame);
    } else if (frame->type == BERTH_FRAME_HELLO) {
        take_hello(link, frame);
    } else {
        link->counters.unknown++;
    }
}
