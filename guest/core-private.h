/* The core's insides, shared by core.c (sessions and sending), core-config.c (what the daemon sends)
 * and core-process.c (containers and execs). */
#pragma once

#include "guest/core.h"
#include "guest/lane.h"
#include "guest/ring.h"

/* With the link up a container is held back at this much unwritten log. */
#define LOG_HOLD (256 * 1024)

/* Execs of a session that ended keep their slots until they are dead. */
#define EXEC_SLOTS (2 * BERTH_POD_EXECS_MAX)

/* What goes to a process's standard input. */
typedef struct {
    uint64_t received, consumed, told; /* offsets */
    size_t used;
    bool end_asked, ended;
    uint8_t data[BERTH_INPUT_WINDOW];
} Input;

/* One stream of an exec toward the daemon: bytes acked … made are kept. */
typedef struct {
    uint64_t acked, sent, made; /* offsets */
    uint8_t *data;              /* owned; BERTH_OUTPUT_WINDOW bytes, or NULL */
} Output;

typedef struct {
    BerthProcessState state;
    bool told; /* this state is in the lane */
    uint32_t run;
    int exit_code;
    bool oom;
    int64_t wall_us;
    int64_t kill_at;        /* monotonic: SIGKILL then; INT64_MAX: no */
    int pending_signal;     /* asked for while it was starting; 0: none */
    unsigned rows, columns; /* of its TTY, as last asked for; 0: unknown */
    char text[160];
    Input *input; /* owned; made at the first byte */
} Process;

typedef struct {
    Process process;
    BerthRing ring;
} Container;

typedef struct {
    uint32_t id; /* 0: free slot */
    unsigned container;
    Process process;
    Output output[2];
    bool orphan; /* its session ended: nobody hears it */
    bool tty, input_open;
    char user[128];
    char *json; /* owned; until it starts */
    size_t json_size, json_used;
} Exec;

struct BerthCore {
    const BerthRuntime *ops; /* borrowed, static */
    void *runtime;           /* borrowed */
    BerthIdentity identity;

    /* link and session */
    BerthDecoder decoder;
    BerthLane lane;
    bool linked; /* HELLO was answered and the link is not known to be cut */
    bool hello_due, hello_resumed;
    uint64_t nonce, attempt;
    size_t window; /* cost of log that may be unacknowledged */
    int64_t partial_since;
    unsigned turn; /* whose log is next */

    /* pod */
    BerthPod pod, draft;                       /* draft: a configuration that is still coming */
    uint64_t resume[BERTH_POD_CONTAINERS_MAX]; /* of the draft: where the logs go on */
    bool configured_due;
    uint64_t configured_id;
    int configured_error;
    char configured_text[160];
    Container containers[BERTH_POD_CONTAINERS_MAX];
    Exec execs[EXEC_SLOTS];
    uint32_t refused[BERTH_UNACKED_FRAMES]; /* execs for which there was no slot; 0: none */

    bool usage_due;
    bool shutting_down, powered_off, bye_told;
    int64_t power_off_at;
};

/* core-config.c */
void core_handle(BerthCore *core, const BerthFrame *frame);
void core_drop_draft(BerthCore *core);
void core_clear_pod(BerthPod *pod);

/* core-process.c */
void core_clear_exec(Exec *exec);
void core_process_tick(BerthCore *core, int64_t now);
int64_t core_process_deadline(const BerthCore *core);
bool core_input_ack_is_due(const Process *process);
Process *core_process(BerthCore *core, uint32_t id);
Exec *core_exec(BerthCore *core, uint32_t id);
Exec *core_new_exec(BerthCore *core, uint32_t id);
void core_signal(BerthCore *core, uint32_t id, int signum);
void core_start_container(BerthCore *core, unsigned index, uint32_t run);
void core_start_exec(BerthCore *core, Exec *exec);
void core_stop(BerthCore *core, uint32_t id, int64_t timeout_us);
void core_take_input(BerthCore *core, const BerthFrame *frame);
void core_ack_output(BerthCore *core, const BerthFrame *frame);
void core_ack_log(BerthCore *core, const BerthFrame *frame);
void core_orphan_execs(BerthCore *core);
void core_release_exec(BerthCore *core, Exec *exec);
void core_clear_process(Process *process);
bool core_all_stopped(const BerthCore *core);
void core_wants_more(BerthCore *core);
