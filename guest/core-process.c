/* Containers and execs: their states, input, output and ends. Invariant: a state that is not `told`
 * will be put into the lane; an exec's slot is freed when its end is told and its output acknowledged,
 * or, for one whose session ended, when it is dead. */
#include "guest/core-private.h"

#include "guest/text.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ORPHAN_GRACE_US 10000000
#define KILL_AGAIN_US 1000000

static bool
is_alive(const Process *process)
{
    return process->state == BERTH_PROCESS_STARTING || process->state == BERTH_PROCESS_RUNNING;
}

/** Returns: (nullable): the exec with @id. */
Exec *
core_exec(BerthCore *core, uint32_t id)
{
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        if (core->execs[i].id == id && id != 0) {
            return &core->execs[i];
        }
    }
    return NULL;
}

/** Returns: (nullable): the process that @id names. */
Process *
core_process(BerthCore *core, uint32_t id)
{
    if (id < BERTH_EXEC_ID_MIN) {
        return id < core->pod.container_count ? &core->containers[id].process : NULL;
    }
    Exec *exec = core_exec(core, id);
    return exec == NULL ? NULL : &exec->process;
}

/** Returns: (nullable): a slot for exec @id; NULL: none is free, and the daemon will be told. */
Exec *
core_new_exec(BerthCore *core, uint32_t id)
{
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        if (core->execs[i].id == 0) {
            core->execs[i] = (Exec){
                .id = id,
                .process = {.told = true, .kill_at = INT64_MAX},
            };
            return &core->execs[i];
        }
    }
    for (unsigned i = 0; i < BERTH_UNACKED_FRAMES; i++) {
        if (core->refused[i] == 0) {
            core->refused[i] = id;
            break;
        }
    }
    return NULL;
}

/** Frees what @process owns. */
void
core_clear_process(Process *process)
{
    free(process->input);
    process->input = NULL;
}

/** Frees @exec's slot. */
void
core_clear_exec(Exec *exec)
{
    core_clear_process(&exec->process);
    free(exec->output[0].data);
    free(exec->output[1].data);
    free(exec->json);
    memset(exec, 0, sizeof *exec);
}

/** Frees @exec's slot if nothing about it is left to say. */
void
core_release_exec(BerthCore *core, Exec *exec)
{
    bool ended =
        exec->process.state == BERTH_PROCESS_EXITED || exec->process.state == BERTH_PROCESS_FAILED;
    bool heard = exec->process.told && exec->output[0].acked == exec->output[0].made &&
                 exec->output[1].acked == exec->output[1].made;
    if (ended && (heard || exec->orphan)) {
        core_clear_exec(exec);
    }
}

static void
set_state(BerthCore *core, Process *process, BerthProcessState state)
{
    process->state = state;
    process->wall_us = core->ops->wall_us(core->runtime);
    process->told = false;
}

/* ---- beginning and end --------------------------------------------------------------------------- */

/** Starts run number @run of a container, unless that run was already started or one is alive. */
void
core_start_container(BerthCore *core, unsigned index, uint32_t run)
{
    if (index >= core->pod.container_count || core->shutting_down) {
        return;
    }
    Process *process = &core->containers[index].process;
    if (run <= process->run || is_alive(process)) {
        return;
    }
    process->run = run;
    process->exit_code = 0;
    process->oom = false;
    process->text[0] = '\0';
    process->kill_at = INT64_MAX;
    process->pending_signal = 0;
    if (process->input != NULL) {
        process->input->end_asked = process->input->ended = false;
    }
    set_state(core, process, BERTH_PROCESS_STARTING);
    core->ops->start(core->runtime, &core->pod, index);
}

/** Starts an exec whose command has arrived. */
void
core_start_exec(BerthCore *core, Exec *exec)
{
    BerthPodExec wish = {
        .id = exec->id,
        .container = exec->container,
        .process = exec->json,
        .user = exec->user[0] != '\0' ? exec->user : core->pod.containers[exec->container].user,
        .tty = exec->tty,
        .input_open = exec->input_open,
        .rows = exec->process.rows,
        .columns = exec->process.columns,
    };
    if (exec->process.state != BERTH_PROCESS_WAITING) {
        return;
    }
    exec->process.state = BERTH_PROCESS_STARTING;
    core->ops->exec(core->runtime, &core->pod, &wish);
    exec = core_exec(core, wish.id);
    free(exec->json);
    exec->json = NULL;
}

static void push_input(BerthCore *core, uint32_t id, Process *process);

/** The runtime has started @process. */
void
berth_core_started(BerthCore *core, uint32_t id)
{
    Process *process = core_process(core, id);
    if (process == NULL || process->state != BERTH_PROCESS_STARTING) {
        return;
    }
    set_state(core, process, BERTH_PROCESS_RUNNING);
    if (process->rows > 0 && process->columns > 0) {
        core->ops->resize(core->runtime, id, process->rows, process->columns);
    }
    push_input(core, id, process);
    if (process->pending_signal != 0) {
        core->ops->signal(core->runtime, id, process->pending_signal);
        process->pending_signal = 0;
    }
}

static void
end_process(BerthCore *core, uint32_t id, BerthProcessState state, int exit_code)
{
    Process *process = core_process(core, id);
    process->exit_code = exit_code & 255;
    process->kill_at = INT64_MAX;
    process->pending_signal = 0;
    set_state(core, process, state);
    push_input(core, id, process);
    Exec *exec = core_exec(core, id);
    if (exec != NULL) {
        core_release_exec(core, exec);
    }
}

/**
 * berth_core_failed:
 * @exit_code: 125 the runtime failed, 126 it can't be executed, 127 there is no such program
 * @text: (nullable): one line; cut when long
 */
void
berth_core_failed(BerthCore *core, uint32_t id, int exit_code, const char *text)
{
    Process *process = core_process(core, id);
    if (process == NULL) {
        return;
    }
    text_copy(process->text, sizeof process->text, text);
    end_process(core, id, BERTH_PROCESS_FAILED, exit_code);
}

/** @id has ended and all its output was handed over; @exit_code is 128 + signal when one ended it. */
void
berth_core_exited(BerthCore *core, uint32_t id, int exit_code, bool oom)
{
    Process *process = core_process(core, id);
    if (process == NULL || !is_alive(process)) {
        return;
    }
    process->oom = oom;
    end_process(core, id, BERTH_PROCESS_EXITED, exit_code);
}

/** Sends a signal now, or as soon as the process runs. */
void
core_signal(BerthCore *core, uint32_t id, int signum)
{
    Process *process = core_process(core, id);
    if (process == NULL || signum <= 0) {
        return;
    }
    if (process->state == BERTH_PROCESS_RUNNING) {
        core->ops->signal(core->runtime, id, signum);
    } else if (process->state == BERTH_PROCESS_STARTING) {
        process->pending_signal = signum;
    }
}

/** The stop signal, then SIGKILL after @timeout_us. */
void
core_stop(BerthCore *core, uint32_t id, int64_t timeout_us)
{
    Process *process = core_process(core, id);
    if (process == NULL || !is_alive(process)) {
        return;
    }
    int64_t kill_at = core->ops->monotonic_us(core->runtime) + timeout_us;
    if (kill_at < process->kill_at) {
        process->kill_at = kill_at;
    }
    int signum = id < BERTH_EXEC_ID_MIN ? core->pod.containers[id].stop_signal : SIGHUP;
    core_signal(core, id, timeout_us <= 0 ? SIGKILL : signum != 0 ? signum : SIGTERM);
}

/** The session ended: nobody listens to its execs any more. They are hung up, then killed. */
void
core_orphan_execs(BerthCore *core)
{
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        Exec *exec = &core->execs[i];
        if (exec->id == 0 || exec->orphan) {
            continue;
        }
        exec->orphan = true;
        for (int fd = 0; fd < 2; fd++) {
            exec->output[fd].acked = exec->output[fd].sent = exec->output[fd].made;
        }
        if (is_alive(&exec->process)) {
            core_stop(core, exec->id, ORPHAN_GRACE_US);
            core->ops->output_wanted(core->runtime, exec->id);
        } else {
            core_clear_exec(exec);
        }
    }
}

/** Returns: TRUE when neither a container nor an exec is alive. */
bool
core_all_stopped(const BerthCore *core)
{
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        if (is_alive(&core->containers[i].process)) {
            return false;
        }
    }
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        if (core->execs[i].id != 0 && is_alive(&core->execs[i].process)) {
            return false;
        }
    }
    return true;
}

static void
kill_when_due(BerthCore *core, uint32_t id, Process *process, int64_t now)
{
    if (is_alive(process) && now >= process->kill_at) {
        process->kill_at = now + KILL_AGAIN_US;
        core_signal(core, id, SIGKILL);
    }
}

/** Kills what did not stop in time. */
void
core_process_tick(BerthCore *core, int64_t now)
{
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        kill_when_due(core, i, &core->containers[i].process, now);
    }
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        if (core->execs[i].id != 0) {
            kill_when_due(core, core->execs[i].id, &core->execs[i].process, now);
        }
    }
}

/** Returns: when core_process_tick() is needed next; INT64_MAX: never. */
int64_t
core_process_deadline(const BerthCore *core)
{
    int64_t deadline = INT64_MAX;
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        const Process *process = &core->containers[i].process;
        deadline = process->kill_at < deadline ? process->kill_at : deadline;
    }
    for (unsigned i = 0; i < EXEC_SLOTS; i++) {
        const Exec *exec = &core->execs[i];
        deadline =
            exec->id != 0 && exec->process.kill_at < deadline ? exec->process.kill_at : deadline;
    }
    return deadline;
}

/* ---- input --------------------------------------------------------------------------------------- */

static void
consume(Input *input, size_t size)
{
    input->consumed += size;
    input->used -= size;
    memmove(input->data, input->data + size, input->used);
}

/* As much as the process takes; what nobody will read is thrown away. */
static void
push_input(BerthCore *core, uint32_t id, Process *process)
{
    Input *input = process->input;
    if (input == NULL || process->state == BERTH_PROCESS_STARTING) {
        return;
    }
    if (process->state != BERTH_PROCESS_RUNNING || input->ended) {
        consume(input, input->used);
        return;
    }
    if (input->used > 0) {
        long taken = core->ops->input(core->runtime, id, input->data, input->used);
        consume(input, taken < 0 ? input->used : (size_t)taken);
    }
    if (input->used == 0 && input->end_asked) {
        input->ended = true;
        core->ops->input_end(core->runtime, id);
    }
}

/** The process takes input again. */
void
berth_core_input_ready(BerthCore *core, uint32_t id)
{
    Process *process = core_process(core, id);
    if (process != NULL) {
        push_input(core, id, process);
    }
}

/** An INPUT frame. More than the window allows is the daemon's fault and is dropped. */
void
core_take_input(BerthCore *core, const BerthFrame *frame)
{
    BerthField data = {0};
    Process *process = core_process(core, frame->stream);
    if (process == NULL) {
        return;
    }
    if (process->input == NULL && (process->input = calloc(1, sizeof *process->input)) == NULL) {
        return;
    }
    Input *input = process->input;
    if (berth_find_field(frame, BERTH_TAG_DATA, &data) &&
        data.size <= sizeof input->data - input->used) {
        memcpy(input->data + input->used, data.data, data.size);
        input->used += data.size;
        input->received += data.size;
    }
    if (berth_frame_u64(frame, BERTH_TAG_EOF, 0) != 0) {
        input->end_asked = true;
    }
    push_input(core, frame->stream, process);
}

/** Returns: TRUE when the daemon should hear how much input was consumed. */
bool
core_input_ack_is_due(const Process *process)
{
    const Input *input = process->input;
    return input != NULL && input->consumed != input->told &&
           (input->used == 0 || input->consumed - input->told >= BERTH_INPUT_WINDOW / 4);
}

/* ---- output -------------------------------------------------------------------------------------- */

/**
 * berth_core_output_room:
 * @fd: 1 stdout, 2 stderr
 *
 * Returns: how many bytes of @id's output may be handed over now; 0: hold it back until
 * ops->output_wanted.
 */
size_t
berth_core_output_room(const BerthCore *core, uint32_t id, int fd)
{
    if (id < BERTH_EXEC_ID_MIN) {
        const BerthRing *ring = &core->containers[id % BERTH_POD_CONTAINERS_MAX].ring;
        bool held = core->linked && ring->used >= LOG_HOLD;
        return held ? 0 : BERTH_OUTPUT_MAX;
    }
    const Exec *exec = core_exec((BerthCore *)core, id);
    if (exec == NULL || exec->orphan) {
        return BERTH_OUTPUT_MAX;
    }
    const Output *output = &exec->output[fd == 2];
    return BERTH_OUTPUT_WINDOW - (size_t)(output->made - output->acked);
}

static void
keep_output(Output *output, const uint8_t *data, size_t size)
{
    size_t used = (size_t)(output->made - output->acked);
    if (output->data == NULL) {
        output->data = malloc(BERTH_OUTPUT_WINDOW);
    }
    if (output->data == NULL || BERTH_OUTPUT_WINDOW - used < size) {
        return;
    }
    memcpy(output->data + used, data, size);
    output->made += size;
}

static void
push_log(BerthCore *core, unsigned container, int fd, const uint8_t *data, size_t size)
{
    int64_t wall_us = core->ops->wall_us(core->runtime);
    for (size_t at = 0; at < size;) {
        size_t part = size - at < BERTH_LOG_RECORD_MAX ? size - at : BERTH_LOG_RECORD_MAX;
        berth_ring_push(&core->containers[container].ring, (uint8_t)fd, wall_us, data + at, part);
        at += part;
    }
}

/** Output of a process: @size is at most what berth_core_output_room() said, or, for a container that
 * is dead, at most BERTH_OUTPUT_MAX. */
void
berth_core_output(BerthCore *core, uint32_t id, int fd, const uint8_t *data, size_t size)
{
    if (id < BERTH_EXEC_ID_MIN) {
        push_log(core, id % BERTH_POD_CONTAINERS_MAX, fd, data, size);
        return;
    }
    Exec *exec = core_exec(core, id);
    if (exec != NULL && !exec->orphan) {
        keep_output(&exec->output[fd == 2], data, size);
    }
}

/** An OUTPUT_ACK frame: an exec's bytes have reached who asked for them. */
void
core_ack_output(BerthCore *core, const BerthFrame *frame)
{
    Exec *exec = core_exec(core, frame->stream);
    if (exec == NULL) {
        return;
    }
    Output *output = &exec->output[berth_frame_u64(frame, BERTH_TAG_FD, 1) == 2];
    uint64_t offset = berth_frame_u64(frame, BERTH_TAG_OFFSET, 0);
    if (offset <= output->acked || offset > output->sent) {
        return;
    }
    size_t left = (size_t)(output->made - offset);
    memmove(output->data, output->data + (offset - output->acked), left);
    output->acked = offset;
    core->ops->output_wanted(core->runtime, exec->id);
    core_release_exec(core, exec);
}

/** A LOG_ACK frame: a container's log is written up to here. */
void
core_ack_log(BerthCore *core, const BerthFrame *frame)
{
    if (frame->stream >= core->pod.container_count) {
        return;
    }
    BerthRing *ring = &core->containers[frame->stream].ring;
    uint64_t sequence = berth_frame_u64(frame, BERTH_TAG_SEQUENCE, 0);
    if (sequence < ring->cursor) {
        berth_ring_ack(ring, sequence);
        core->ops->output_wanted(core->runtime, frame->stream);
    }
}

/** Every process may have more room than before: the link went down. */
void
core_wants_more(BerthCore *core)
{
    for (unsigned i = 0; i < core->pod.container_count; i++) {
        core->ops->output_wanted(core->runtime, i);
    }
}
