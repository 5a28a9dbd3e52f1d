/* The daemon's end of the guest link: one per running pod, over a BerthChannel. Main loop only.
 *
 * The guest is not trusted. Everything it says is bounded, checked and handed on as data; who it is
 * follows from the channel alone. The link opens its channel by itself, opens it again with back-off
 * when it breaks, and resumes where it stopped: commands are neither lost nor done twice while both
 * ends live, and logs go on after the last sequence that was received. guest/protocol.h describes the
 * wire.
 *
 * Time: the link has no timers of its own. Its owner calls berth_link_tick() at berth_link_deadline_us()
 * (simulations do), or once berth_link_attach(), which does that from the default main context. */
#pragma once

#include "base/clock.h"
#include "base/random.h"
#include "drivers/channel.h"

G_BEGIN_DECLS

/* The most containers a pod may have; containers are named by their index below it. */
#define BERTH_LINK_CONTAINERS_MAX 16

typedef struct BerthLink BerthLink;

/* A process in the guest: a container's index stands for its main process, other ids are execs. */
typedef guint32 BerthProcessId;

typedef enum {
    BERTH_LINK_CONNECTING, /* no answer from the guest yet, or the channel is broken */
    BERTH_LINK_READY,
    BERTH_LINK_ENDED, /* gave up: see watch->closed; only free is left */
} BerthLinkState;

typedef enum {
    BERTH_STREAM_GAP = 0, /* log only: bytes are missing here; see BerthLinkWatch.log */
    BERTH_STREAM_STDOUT = 1,
    BERTH_STREAM_STDERR = 2,
} BerthLinkStream;

/* What the guest said of itself: data, not proof. Strings hold printable ASCII only. */
typedef struct {
    guint major, minor; /* its protocol version */
    char os_digest[65]; /* sha256 of its guest OS, hexadecimal; "" unknown */
    char kernel[65];    /* uname -r */
    guint64 boot_nonce; /* differs after each boot of the guest */
    gboolean resumed;  /* the same session went on: nothing was lost, nothing is to be said again */
    guint64 config_id; /* of the configuration it has; 0: none yet, call berth_link_configure() */
    guint64 init_us, port_us; /* since the kernel started: PID 1 ran, the link's port was open */
} BerthLinkHello;

typedef enum {
    BERTH_CONTAINER_WAITING, /* configured, never started */
    BERTH_CONTAINER_STARTING,
    BERTH_CONTAINER_RUNNING,
    BERTH_CONTAINER_EXITED,
    /* Could not be started, or its log is not all there: exit_code is 125, 126 or 127, text says why. */
    BERTH_CONTAINER_FAILED,
} BerthContainerState;

/* A container's state as the guest reports it; told after every ready and on every change. */
typedef struct {
    BerthContainerState state;
    guint32 run;   /* the number of berth_link_start() this speaks of; 0: never started */
    int exit_code; /* 0 to 255; 128 + signal when a signal ended it */
    gboolean oom;  /* the kernel killed in it for lack of memory */
    gboolean
        is_cut_short; /* FAILED after its end: the guest never sent the log that it announced */
    gint64 wall_us;   /* the guest's clock when the state began */
    const char *text; /* (nullable) why it failed: one line, printable; borrowed during the call */
} BerthLinkContainer;

typedef struct {
    guint container;
    guint64 cpu_us, memory_bytes, memory_max_bytes, pids; /* clamped to INT64_MAX; 0: unknown */
} BerthLinkUsage;

/**
 * BerthLinkWatch: told on the main loop, never from inside a function of this header. Every function
 *     here, berth_link_free() too, may be called from inside these.
 * @ready: the guest answered; a state of each configured container follows
 * @configured: (nullable @error) end of berth_link_configure()
 * @log: a record of a container's output. @sequence counts up by one for each record of a container,
 *     over restarts and reboots. To be answered with berth_link_log_ack() once it is written, or the
 *     container is held back. For BERTH_STREAM_GAP, @sequence is the last one lost, @data is NULL and
 *     @size the number of bytes lost; it is acknowledged like the others
 * @container: a state, after all output that was written before it
 * @output: bytes of an exec; to be answered with berth_link_output_ack() once they are passed on
 * @exec_started, @exec_exited: @error when it could not be started (then no exec_started came), or when
 *     the guest sent nothing for 30 s of the output that it announced with the end
 * @stdin_room: a process takes more input again; after berth_link_stdin() took less than offered
 * @stats: answer to berth_link_stats()
 * @broken: the link is cut and will be opened again; a hint for status. Exec processes go on
 * @closed: the link has ended for good (protocol version, shutdown, no answer before the deadline)
 */
typedef struct {
    void (*ready)(const BerthLinkHello *hello, gpointer user_data);
    void (*configured)(const GError *error, gpointer user_data);
    void (*log)(guint container, guint64 sequence, gint64 wall_us, BerthLinkStream stream,
                const guint8 *data, gsize size, gpointer user_data);
    void (*container)(guint container, const BerthLinkContainer *state, gpointer user_data);
    void (*output)(BerthProcessId exec, BerthLinkStream stream, const guint8 *data, gsize size,
                   gpointer user_data);
    void (*exec_started)(BerthProcessId exec, gpointer user_data);
    void (*exec_exited)(BerthProcessId exec, int exit_code, const GError *error,
                        gpointer user_data);
    void (*stdin_room)(BerthProcessId process, gpointer user_data);
    void (*stats)(const BerthLinkUsage *usage, gsize count, gpointer user_data);
    void (*broken)(const GError *error, gpointer user_data);
    void (*closed)(const GError *error, gpointer user_data);
} BerthLinkWatch;

/* Opens the channel; as BerthHostOps.channel_open, with domain and port already chosen. @force: take
 * it from another opener (set after an attempt that ended with CONFLICT). May return NULL: broken. */
typedef BerthChannel *(*BerthLinkOpen)(gboolean force, const BerthChannelWatch *watch,
                                       gpointer watch_data, gpointer open_data);

/* Where to go on with a container's log: the last sequence that is safely written, 0 for none. One for
 * each container of the pod, in the order of its configuration. */
typedef struct {
    const char *container; /* its name */
    guint64 sequence;
} BerthLinkResume;

/* Borrowed during berth_link_new(). */
typedef struct {
    BerthLinkOpen open;
    gpointer open_data;
    BerthClock *clock;             /* borrowed, outlives the link */
    BerthRandom *random;           /* borrowed, outlives the link */
    const BerthLinkResume *resume; /* (nullable) */
    gsize resume_count;
    gint64
        hello_deadline_us; /* from now until the first answer; 0: for ever. Then closed with TIMEOUT */
} BerthLinkOptions;

BerthLink *berth_link_new(const BerthLinkOptions *options, const BerthLinkWatch *watch,
                          gpointer user_data);
void berth_link_free(BerthLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthLink, berth_link_free)

BerthLinkState berth_link_state(const BerthLink *link);
void berth_link_tick(BerthLink *link);
void berth_link_hurry(BerthLink *link);
gint64 berth_link_deadline_us(const BerthLink *link);
void berth_link_attach(BerthLink *link);

/* ---- configuration ---------------------------------------------------------------------------- */

typedef struct {
    const char *mac;     /* how the guest finds the card */
    const char *address; /* "192.168.122.17/24"; NULL: only brought up */
    const char *gateway; /* (nullable) */
} BerthLinkNic;

typedef struct {
    const char *name;           /* DNS label, unique in the pod */
    const char *image_serial;   /* serial of the disk that holds the image's squashfs */
    const char *scratch_serial; /* (nullable): disk for what it writes; NULL: memory */
    const char *config;         /* crun's config.json, from berth_container_setup_new() */
    const char *user;           /* "", "name", "1000", "1000:1000", "name:group" */
    int stop_signal;            /* 0: SIGTERM */
    gboolean tty, stdin_open;
} BerthLinkContainerPlan;

typedef struct {
    guint64 id; /* not 0; tells configurations apart, for instance the generation */
    const char *hostname;
    const char *const *dns;    /* (nullable) name servers, NULL-terminated, at most 8 */
    const char *const *search; /* (nullable) at most 8 */
    const char *const *hosts;  /* (nullable) more lines of /etc/hosts, at most 64 */
    gboolean exec_denied;      /* the guest refuses exec itself */
    const BerthLinkNic *nics;
    gsize nic_count;
    const BerthLinkContainerPlan *containers; /* index in here names the container from now on */
    gsize container_count;
} BerthLinkConfig;

/* Once per boot of the guest, from `ready` when config_id is 0; repeating the same id does nothing. */
gboolean berth_link_configure(BerthLink *link, const BerthLinkConfig *config, GError **error);

/* ---- containers -------------------------------------------------------------------------------- */

/* Starts run number @run (1, 2, …): a run that was already started is not started again. May directly
 * follow berth_link_configure(). */
void berth_link_start(BerthLink *link, guint container, guint32 run);
/* The stop signal, then after @timeout_ms SIGKILL. */
void berth_link_stop(BerthLink *link, guint container, guint timeout_ms);
void berth_link_log_ack(BerthLink *link, guint container, guint64 sequence);
void berth_link_stats(BerthLink *link);
/* Stops all containers as berth_link_stop(), then powers the guest off. */
void berth_link_shutdown(BerthLink *link, guint timeout_ms);

/* ---- processes: execs, and containers by their index ------------------------------------------- */

typedef struct {
    guint container;
    const char *process; /* crun's process.json, from berth_exec_setup() */
    const char *user;    /* "" as the container's */
    gboolean tty, stdin_open;
    guint rows, columns; /* of the TTY; 0: unknown */
} BerthLinkExec;

/* The most input that may wait for one process. */
#define BERTH_LINK_STDIN_MAX (64 * 1024)

/* Returns the exec's id; 0 on error (EXHAUSTED: 16 execs at once, INVALID). */
BerthProcessId berth_link_exec(BerthLink *link, const BerthLinkExec *exec, GError **error);
/* Returns how many bytes were taken; less than @size: wait for stdin_room. */
gsize berth_link_stdin(BerthLink *link, BerthProcessId process, const void *data, gsize size);
void berth_link_stdin_eof(BerthLink *link, BerthProcessId process);
void berth_link_resize(BerthLink *link, BerthProcessId process, guint rows, guint columns);
void berth_link_signal(BerthLink *link, BerthProcessId process, int signum);
void berth_link_output_ack(BerthLink *link, BerthProcessId exec, BerthLinkStream stream,
                           gsize size);

/* ---- what it saw ------------------------------------------------------------------------------- */

typedef struct {
    guint64 frames_in, bytes_in, frames_out, bytes_out, reopened;
    guint64 unknown, duplicate, garbage; /* frames dropped; bytes dropped */
} BerthLinkCounters;

const BerthLinkCounters *berth_link_counters(const BerthLink *link);

G_END_DECLS
