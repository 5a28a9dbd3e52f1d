/* What PID 1 of a pod does, without doing it: the protocol's guest side, the containers' and execs'
 * states, logs and flow control. The runtime, a table of functions, does the real things: crun in
 * guest/supervise.c, scripted containers in tests. No I/O, no threads, no clock of its own; every
 * buffer is bounded. Start reading at berth_core_receive() and berth_core_transmit(). */
#pragma once

#include "guest/protocol.h"

/* ---- the pod, as the daemon described it -------------------------------------------------------- */

typedef struct {
    char mac[18], address[64], gateway[64]; /* "" for none */
} BerthPodNic;

typedef struct {
    char name[64], image_serial[24], scratch_serial[24], user[128];
    int stop_signal;
    bool defined, tty, input_open;
    char *config; /* owned; crun's config.json, NUL-terminated */
    size_t config_size, config_used;
} BerthPodContainer;

typedef struct {
    uint64_t id; /* 0: nothing configured */
    char hostname[64];
    char dns[8][46];
    char search[8][254];
    char *hosts; /* owned, nullable; lines for /etc/hosts */
    bool exec_denied;
    unsigned dns_count, search_count, nic_count, container_count;
    BerthPodNic nics[BERTH_POD_NICS_MAX];
    BerthPodContainer containers[BERTH_POD_CONTAINERS_MAX];
} BerthPod;

/* An exec that is to be started. All borrowed during the call. */
typedef struct {
    uint32_t id;
    unsigned container;
    const char *process; /* crun's process.json */
    const char *user;    /* "": the container's */
    bool tty, input_open;
    unsigned rows, columns;
} BerthPodExec;

typedef struct {
    uint64_t cpu_us, memory_bytes, memory_max_bytes, pids;
} BerthPodUsage;

/* ---- what does the real things ------------------------------------------------------------------ */

/**
 * BerthRuntime: called by the core. None may block, and none may call back into the core, but for
 *     @start and @exec, which may answer with berth_core_failed() at once.
 * @monotonic_us, @wall_us: clocks
 * @set_wall_us, @seed: (nullable): what the daemon says about time, and randomness from it
 * @configure: sets up host name, network and names. Returns 0 or -errno and a line in @text
 * @start: begins to start a container; berth_core_started() or berth_core_failed() follows
 * @exec: the same for an exec
 * @signal, @resize: to a running process; unknown ones are ignored
 * @input: offers bytes for its standard input; returns how many were taken; fewer than @size: the
 *     runtime calls berth_core_input_ready() when more fit. Negative: nobody reads any more
 * @input_end: closes it
 * @output_wanted: berth_core_output_room() has grown
 * @usage: returns 0 or -errno
 * @power_off: everything is stopped
 */
typedef struct {
    int64_t (*monotonic_us)(void *runtime);
    int64_t (*wall_us)(void *runtime);
    void (*set_wall_us)(void *runtime, int64_t wall_us);
    void (*seed)(void *runtime, const uint8_t *data, size_t size);
    int (*configure)(void *runtime, const BerthPod *pod, char *text, size_t text_size);
    void (*start)(void *runtime, const BerthPod *pod, unsigned container);
    void (*exec)(void *runtime, const BerthPod *pod, const BerthPodExec *exec);
    void (*signal)(void *runtime, uint32_t process, int signum);
    void (*resize)(void *runtime, uint32_t process, unsigned rows, unsigned columns);
    long (*input)(void *runtime, uint32_t process, const uint8_t *data, size_t size);
    void (*input_end)(void *runtime, uint32_t process);
    void (*output_wanted)(void *runtime, uint32_t process);
    int (*usage)(void *runtime, unsigned container, BerthPodUsage *usage);
    void (*power_off)(void *runtime);
} BerthRuntime;

/* The most output that is taken at once. */
#define BERTH_OUTPUT_MAX 65536

/* What the guest says of itself in HELLO. */
typedef struct {
    uint64_t boot_nonce; /* not 0 */
    char os_digest[65], kernel[65];
    uint64_t init_us, port_us;
} BerthIdentity;

typedef struct BerthCore BerthCore;

BerthCore *berth_core_new(const BerthRuntime *ops, void *runtime, const BerthIdentity *identity);
void berth_core_free(BerthCore *core);

/* ---- the link: bytes in, bytes out -------------------------------------------------------------- */

void berth_core_link_down(BerthCore *core);
void berth_core_receive(BerthCore *core, const uint8_t *data, size_t size);
size_t berth_core_transmit(BerthCore *core, uint8_t *out, size_t size);
bool berth_core_is_linked(const BerthCore *core);

/* ---- processes: a container is named by its index, an exec by its id ------------------------------ */

void berth_core_started(BerthCore *core, uint32_t process);
void berth_core_failed(BerthCore *core, uint32_t process, int exit_code, const char *text);
void berth_core_exited(BerthCore *core, uint32_t process, int exit_code, bool oom);
size_t berth_core_output_room(const BerthCore *core, uint32_t process, int fd);
void berth_core_output(BerthCore *core, uint32_t process, int fd, const uint8_t *data, size_t size);
void berth_core_input_ready(BerthCore *core, uint32_t process);

/* ---- time --------------------------------------------------------------------------------------- */

void berth_core_tick(BerthCore *core);
int64_t berth_core_deadline_us(const BerthCore *core);
void berth_core_shut_down(BerthCore *core, int64_t timeout_us);
