/* The runtime under a real berth core: processes are lists of steps, and time is the main loop's.
 *
 * Invariant: the core is never called from inside one of its own calls: what a runtime function wants
 * is noted, and done from the next turn of the main loop (turn()). Start there. */
#include "tests/simhost/guest.h"

#include "base/json.h"
#include "base/random.h"
#include "guest/core.h"
#include "tests/simhost/script.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define INPUT_MAX 4096
#define BURST (64 * 1024) /* bytes a process writes before the others have their turn … */
#define BURST_US 5000     /* … and how long it rests then: a guest's CPU is not endless either */

typedef struct {
    guint32 id;
    GQueue steps;   /* of SimStep* */
    gsize written;  /* of the first step's text */
    gint64 counted; /* of a COUNT step */
    gint64 wake_us; /* of a SLEEP step, or of a rest; 0: none */
    GString *input;
    gboolean input_ended, is_tty, is_announced;
    int status;       /* so far */
    int ended_status; /* -1: runs */
} Process;

struct SimGuest {
    BerthCore *core;
    SimGuestWatch watch;
    gpointer user_data;
    GHashTable *processes; /* id -> Process* */
    guint idle, timer;
    gint64 boot_us; /* when it is up */
    gboolean is_paused, wants_power_off;
    SimGarbage garbage;
    GRand *noise; /* of a hostile guest */
    guint8 frame[BERTH_FRAME_MAX];
    gsize frame_size; /* its last sound frames */
    char hostname[64];
    GByteArray *early; /* came before it was up */
};

static void arm(SimGuest *guest);

/* ---- processes -------------------------------------------------------------------------------- */

static void
process_free(gpointer data)
{
    Process *process = data;
    g_queue_clear_full(&process->steps, (GDestroyNotify)sim_step_free);
    g_string_free(process->input, TRUE);
    g_free(process);
}

static void
pop_step(Process *process)
{
    sim_step_free(g_queue_pop_head(&process->steps));
    process->written = 0;
    process->counted = 0;
    process->wake_us = 0;
}

/* A TTY has one stream, and lines end as terminals want them. */
static int
stream_of(const Process *process, int fd)
{
    return process->is_tty ? 1 : fd;
}

/* Returns: bytes written; 0 when there is no room. */
static gsize
write_out(SimGuest *guest, const Process *process, int fd, const char *data, gsize size)
{
    int stream = stream_of(process, fd);
    gsize room = berth_core_output_room(guest->core, process->id, stream);
    gsize part = MIN(room, size);
    if (part > 0) {
        berth_core_output(guest->core, process->id, stream, (const guint8 *)data, part);
    }
    return part;
}

typedef enum { GO_ON, WAIT } Progress;

static Progress
say(SimGuest *guest, Process *process, const SimStep *step)
{
    gsize size = strlen(step->text);
    process->written +=
        write_out(guest, process, step->fd, step->text + process->written, size - process->written);
    if (process->written < size) {
        return WAIT;
    }
    pop_step(process);
    return GO_ON;
}

static Progress
rest(Process *process)
{
    process->wake_us = g_get_monotonic_time() + BURST_US;
    return WAIT;
}

static gboolean
is_resting(Process *process)
{
    if (process->wake_us > g_get_monotonic_time()) {
        return TRUE;
    }
    process->wake_us = 0;
    return FALSE;
}

static Progress
repeat(SimGuest *guest, Process *process, const SimStep *step)
{
    gsize size = strlen(step->text);
    if (is_resting(process)) {
        return WAIT;
    }
    for (gsize total = 0; total < BURST;) {
        gsize part = write_out(guest, process, step->fd, step->text + process->written,
                               size - process->written);
        if (part == 0) {
            return WAIT;
        }
        total += part;
        process->written = (process->written + part) % size;
    }
    return rest(process);
}

static Progress
count(SimGuest *guest, Process *process, const SimStep *step)
{
    if (is_resting(process)) {
        return WAIT;
    }
    for (gsize total = 0; total < BURST && process->counted < step->number;) {
        char line[32];
        gsize size =
            (gsize)g_snprintf(line, sizeof line, "%" G_GINT64_FORMAT "\n", process->counted + 1);
        gsize part =
            write_out(guest, process, step->fd, line + process->written, size - process->written);
        if (part == 0) {
            return WAIT;
        }
        total += part;
        process->written += part;
        if (process->written == size) {
            process->written = 0;
            process->counted++;
        }
    }
    if (process->counted < step->number) {
        return rest(process);
    }
    pop_step(process);
    return GO_ON;
}

static Progress
sleep_on(Process *process, const SimStep *step)
{
    gint64 now_us = g_get_monotonic_time();
    if (process->wake_us == 0) {
        process->wake_us = now_us + step->number;
    }
    if (process->wake_us > now_us) {
        return WAIT;
    }
    pop_step(process);
    return GO_ON;
}

static void
consume_input(SimGuest *guest, Process *process, gsize size)
{
    gboolean was_full = process->input->len >= INPUT_MAX;
    g_string_erase(process->input, 0, (gssize)size);
    if (was_full && size > 0) {
        berth_core_input_ready(guest->core, process->id);
    }
}

static Progress
copy(SimGuest *guest, Process *process, const SimStep *step)
{
    if (process->input->len > 0) {
        gsize part = write_out(guest, process, step->fd, process->input->str, process->input->len);
        consume_input(guest, process, part);
        return part > 0 ? GO_ON : WAIT;
    }
    if (!process->input_ended) {
        return WAIT;
    }
    pop_step(process);
    return GO_ON;
}

/* Puts the steps of one line before the shell's own step. */
static Progress
read_line(SimGuest *guest, Process *process)
{
    const char *end = strpbrk(process->input->str, "\r\n");
    if (end == NULL && !process->input_ended) {
        return WAIT;
    }
    if (end == NULL && process->input->len == 0) {
        pop_step(process);
        return GO_ON;
    }
    gsize length = end != NULL ? (gsize)(end - process->input->str) : process->input->len;
    g_autofree char *line = g_strndup(process->input->str, length);
    consume_input(guest, process, end != NULL ? length + 1 : length);
    const SimScriptContext context = {guest->hostname, NULL};
    SimStep *shell = g_queue_pop_head(&process->steps);
    sim_script_line(&process->steps, line, &context);
    g_queue_push_tail(&process->steps, shell);
    return GO_ON;
}

static Progress
run_step(SimGuest *guest, Process *process)
{
    SimStep *step = g_queue_peek_head(&process->steps);
    if (step == NULL) {
        process->ended_status = process->status;
        return WAIT;
    }
    switch (step->kind) {
    case SIM_STEP_SAY:
        return say(guest, process, step);
    case SIM_STEP_REPEAT:
        return repeat(guest, process, step);
    case SIM_STEP_COUNT:
        return count(guest, process, step);
    case SIM_STEP_SLEEP:
        return sleep_on(process, step);
    case SIM_STEP_COPY:
        return copy(guest, process, step);
    case SIM_STEP_SHELL:
        return read_line(guest, process);
    case SIM_STEP_STATUS:
        process->status = (int)step->number;
        pop_step(process);
        return GO_ON;
    case SIM_STEP_GARBAGE:
        guest->garbage = (SimGarbage)step->number;
        pop_step(process);
        return GO_ON;
    case SIM_STEP_EXIT:
        process->ended_status = step->number < 0 ? process->status : (int)(step->number & 255);
        return WAIT;
    case SIM_STEP_FOREVER:
        break;
    }
    return WAIT;
}

/* Returns: whether it goes on living. */
static gboolean
run_process(SimGuest *guest, Process *process)
{
    if (!process->is_announced) {
        process->is_announced = TRUE;
        berth_core_started(guest->core, process->id);
    }
    while (process->ended_status < 0 && run_step(guest, process) == GO_ON) {
    }
    return process->ended_status < 0;
}

/* ---- what the core asks for -------------------------------------------------------------------- */

static int64_t
rt_monotonic_us(void *runtime)
{
    return g_get_monotonic_time();
}

static int64_t
rt_wall_us(void *runtime)
{
    return g_get_real_time();
}

static int
rt_configure(void *runtime, const BerthPod *pod, char *text, size_t text_size)
{
    SimGuest *guest = runtime;
    g_strlcpy(guest->hostname, pod->hostname, sizeof guest->hostname);
    return 0;
}

static GStrv
read_strings(const json_t *array)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    for (gsize i = 0; i < json_array_size(array); i++) {
        const char *text = json_string_value(json_array_get(array, i));
        g_strv_builder_add(builder, text != NULL ? text : "");
    }
    return g_strv_builder_end(builder);
}

/* @process_json: the "process" part of crun's configuration */
static void
launch(SimGuest *guest, guint32 id, const json_t *process_json, gboolean tty)
{
    g_auto(GStrv) args = read_strings(json_object_get(process_json, "args"));
    g_auto(GStrv) env = read_strings(json_object_get(process_json, "env"));
    const SimScriptContext context = {guest->hostname, (const char *const *)env};
    Process *process = g_new0(Process, 1);
    process->id = id;
    process->input = g_string_new(NULL);
    process->is_tty = tty;
    process->ended_status = -1;
    g_queue_init(&process->steps);
    sim_script_command(&process->steps, (const char *const *)args, &context);
    g_hash_table_replace(guest->processes, GUINT_TO_POINTER(id), process);
    sim_guest_kick(guest);
}

static void
rt_start(void *runtime, const BerthPod *pod, unsigned container)
{
    SimGuest *guest = runtime;
    const BerthPodContainer *plan = &pod->containers[container];
    g_autoptr(json_t) config = json_loads(plan->config, 0, NULL);
    if (config == NULL) {
        berth_core_failed(guest->core, container, 125, "config.json can't be read");
        return;
    }
    launch(guest, container, json_object_get(config, "process"), plan->tty);
}

static void
rt_exec(void *runtime, const BerthPod *pod, const BerthPodExec *exec)
{
    SimGuest *guest = runtime;
    g_autoptr(json_t) process = json_loads(exec->process, 0, NULL);
    if (process == NULL) {
        berth_core_failed(guest->core, exec->id, 125, "process.json can't be read");
        return;
    }
    launch(guest, exec->id, process, exec->tty);
}

static Process *
find_process(SimGuest *guest, uint32_t id)
{
    return g_hash_table_lookup(guest->processes, GUINT_TO_POINTER(id));
}

static void
rt_signal(void *runtime, uint32_t id, int signum)
{
    Process *process = find_process(runtime, id);
    if (process != NULL && process->ended_status < 0 && signum != 0 && signum != SIGWINCH &&
        signum != SIGCHLD) {
        process->ended_status = 128 + signum;
        sim_guest_kick(runtime);
    }
}

static void
rt_resize(void *runtime, uint32_t id, unsigned rows, unsigned columns)
{
}

static long
rt_input(void *runtime, uint32_t id, const uint8_t *data, size_t size)
{
    Process *process = find_process(runtime, id);
    if (process == NULL || process->input_ended) {
        return -EPIPE;
    }
    gsize part = MIN(size, INPUT_MAX - MIN(process->input->len, INPUT_MAX));
    g_string_append_len(process->input, (const char *)data, (gssize)part);
    sim_guest_kick(runtime);
    return (long)part;
}

static void
rt_input_end(void *runtime, uint32_t id)
{
    Process *process = find_process(runtime, id);
    if (process != NULL) {
        process->input_ended = TRUE;
        sim_guest_kick(runtime);
    }
}

static void
rt_output_wanted(void *runtime, uint32_t id)
{
    sim_guest_kick(runtime);
}

static int
rt_usage(void *runtime, unsigned container, BerthPodUsage *usage)
{
    *usage = (BerthPodUsage){1000, 4096, 8192, 1};
    return 0;
}

static void
rt_power_off(void *runtime)
{
    SimGuest *guest = runtime;
    guest->wants_power_off = TRUE;
    sim_guest_kick(guest);
}

static const BerthRuntime runtime = {
    .monotonic_us = rt_monotonic_us,
    .wall_us = rt_wall_us,
    .configure = rt_configure,
    .start = rt_start,
    .exec = rt_exec,
    .signal = rt_signal,
    .resize = rt_resize,
    .input = rt_input,
    .input_end = rt_input_end,
    .output_wanted = rt_output_wanted,
    .usage = rt_usage,
    .power_off = rt_power_off,
};

/* ---- the turn ---------------------------------------------------------------------------------- */

static void
run_processes(SimGuest *guest)
{
    GHashTableIter iter;
    gpointer value;
    g_autoptr(GPtrArray) ended = g_ptr_array_new();
    g_hash_table_iter_init(&iter, guest->processes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (!run_process(guest, value)) {
            g_ptr_array_add(ended, value);
        }
    }
    for (guint i = 0; i < ended->len; i++) {
        const Process *process = ended->pdata[i];
        guint32 id = process->id;
        int status = process->ended_status;
        g_hash_table_remove(guest->processes, GUINT_TO_POINTER(id));
        berth_core_exited(guest->core, id, status, FALSE);
    }
}

static gsize
make_garbage(SimGuest *guest, guint8 *bytes, gsize room)
{
    for (gsize i = 0; i + 4 <= room; i += 4) {
        guint32 word = guest->garbage == SIM_GARBAGE_HUGE && i % 64 != 0 ? G_MAXUINT32
                                                                         : g_rand_int(guest->noise);
        memcpy(bytes + i, &word, 4);
    }
    if (guest->garbage == SIM_GARBAGE_REPEAT && guest->frame_size > 0) {
        memcpy(bytes, guest->frame, guest->frame_size);
        return guest->frame_size;
    }
    return room;
}

/* As much as is taken, but not all day: others have their turn on this one thread. */
static void
transmit_garbage(SimGuest *guest)
{
    guint8 bytes[16 * 1024];
    for (guint i = 0; i < 16 && guest->garbage != SIM_GARBAGE_SILENT; i++) {
        if (guest->watch.room(guest->user_data) < sizeof bytes) {
            return;
        }
        guest->watch.wrote(bytes, make_garbage(guest, bytes, sizeof bytes), guest->user_data);
    }
}

static void
transmit(SimGuest *guest)
{
    guint8 frames[2 * BERTH_FRAME_MAX];
    if (guest->garbage != SIM_GARBAGE_NONE) {
        transmit_garbage(guest);
        return;
    }
    while (guest->watch.room(guest->user_data) >= sizeof frames) {
        gsize size = berth_core_transmit(guest->core, frames, sizeof frames);
        if (size == 0) {
            return;
        }
        guest->frame_size = MIN(size, sizeof guest->frame);
        memcpy(guest->frame, frames, guest->frame_size);
        guest->watch.wrote(frames, size, guest->user_data);
    }
}

static void
hear_early(SimGuest *guest)
{
    if (guest->early->len > 0) {
        berth_core_receive(guest->core, guest->early->data, guest->early->len);
        g_byte_array_set_size(guest->early, 0);
    }
}

static gboolean
turn(gpointer data)
{
    SimGuest *guest = data;
    guest->idle = 0;
    if (guest->is_paused || g_get_monotonic_time() < guest->boot_us) {
        arm(guest);
        return G_SOURCE_REMOVE;
    }
    hear_early(guest);
    run_processes(guest);
    berth_core_tick(guest->core);
    transmit(guest);
    if (guest->wants_power_off) {
        guest->wants_power_off = FALSE;
        guest->watch.powered_off(guest->user_data);
        return G_SOURCE_REMOVE; /* the guest may be gone */
    }
    arm(guest);
    return G_SOURCE_REMOVE;
}

/** Gives the guest a turn soon. */
void
sim_guest_kick(SimGuest *guest)
{
    if (guest->idle == 0) {
        guest->idle = g_idle_add_full(G_PRIORITY_DEFAULT, turn, guest, NULL);
    }
}

static gboolean
on_timer(gpointer data)
{
    SimGuest *guest = data;
    guest->timer = 0;
    sim_guest_kick(guest);
    return G_SOURCE_REMOVE;
}

static gint64
next_us(const SimGuest *guest)
{
    gint64 now_us = g_get_monotonic_time();
    if (now_us < guest->boot_us) {
        return guest->boot_us;
    }
    if (guest->garbage != SIM_GARBAGE_NONE) {
        return now_us + 5000;
    }
    gint64 due_us = berth_core_deadline_us(guest->core);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, guest->processes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Process *process = value;
        if (process->wake_us != 0) {
            due_us = MIN(due_us, process->wake_us);
        }
    }
    return due_us;
}

static void
arm(SimGuest *guest)
{
    g_clear_handle_id(&guest->timer, g_source_remove);
    gint64 wait_us = next_us(guest) - g_get_monotonic_time();
    if (!guest->is_paused && wait_us < (gint64)3600 * G_USEC_PER_SEC) {
        guest->timer = g_timeout_add((guint)(MAX(wait_us, 0) / 1000 + 1), on_timer, guest);
    }
}

/* ---- the face ---------------------------------------------------------------------------------- */

/**
 * sim_guest_new:
 * @boot_ms: until it answers
 *
 * Returns: (transfer full): a guest that boots
 */
SimGuest *
sim_guest_new(guint boot_ms, const SimGuestWatch *watch, gpointer user_data)
{
    BerthIdentity identity = {.init_us = boot_ms * 1000, .port_us = boot_ms * 1000};
    identity.boot_nonce = berth_random_u64(berth_random_system()) | 1;
    g_strlcpy(identity.kernel, "6.1.0-simhost", sizeof identity.kernel);
    SimGuest *guest = g_new0(SimGuest, 1);
    guest->noise = g_rand_new_with_seed(20261128);
    guest->core = berth_core_new(&runtime, guest, &identity);
    guest->watch = *watch;
    guest->user_data = user_data;
    guest->processes = g_hash_table_new_full(NULL, NULL, NULL, process_free);
    guest->boot_us = g_get_monotonic_time() + (gint64)boot_ms * 1000;
    guest->early = g_byte_array_new();
    arm(guest);
    return guest;
}

void
sim_guest_free(SimGuest *guest)
{
    if (guest == NULL) {
        return;
    }
    g_clear_handle_id(&guest->idle, g_source_remove);
    g_clear_handle_id(&guest->timer, g_source_remove);
    berth_core_free(guest->core);
    g_rand_free(guest->noise);
    g_hash_table_unref(guest->processes);
    g_byte_array_unref(guest->early);
    g_free(guest);
}

/** Bytes from the daemon. What comes while it boots or pauses waits, at most 256 KiB of it. */
void
sim_guest_receive(SimGuest *guest, const guint8 *data, gsize size)
{
    if (guest->early->len + size <= 256 * 1024) {
        g_byte_array_append(guest->early, data, (guint)size);
        sim_guest_kick(guest);
    }
}

/** The other side closed the port. */
void
sim_guest_hang_up(SimGuest *guest)
{
    g_byte_array_set_size(guest->early, 0);
    if (berth_core_is_linked(guest->core)) {
        berth_core_link_down(guest->core);
    }
    sim_guest_kick(guest);
}

void
sim_guest_set_paused(SimGuest *guest, gboolean paused)
{
    guest->is_paused = paused;
    sim_guest_kick(guest);
}

void
sim_guest_power_button(SimGuest *guest)
{
    berth_core_shut_down(guest->core, 10 * G_USEC_PER_SEC);
    sim_guest_kick(guest);
}
