/* The insides of a host's asynchronous face, shared by host-runner.c (slots, deadlines, connections) and
 * host-operation.c (one call). */
#pragma once

#include "drivers/host-runner.h"

#include "base/alarm.h"
#include "base/error.h"

G_BEGIN_DECLS

typedef enum { CLASS_DOMAIN, CLASS_HOST, CLASS_BULK, CLASS_CONNECT } OperationClass;

/* One call, or one attempt to connect. */
typedef struct {
    BerthHostRunner *runner; /* owned reference */
    OperationClass class;
    BerthHostCall *call; /* owned; NULL for CONNECT */
    BerthHostDone done;
    gpointer user_data;
    gint64 deadline_us;
    gboolean is_stuck; /* main loop: answered TIMEOUT while it ran */
    gboolean is_old;   /* main loop: its connection was replaced; it holds no slot */
    GMutex lock;       /* guards is_abandoned against the thread's progress */
    gboolean is_abandoned;
    void (*progress)(guint64 done, guint64 total, gpointer user_data);
    gpointer progress_data;
    /* Filled in by the thread */
    gboolean ok;
    BerthHostReply reply;
    GError *error;
} Operation;

struct BerthHostRunner {
    gint refs; /* the owner, and each operation on a thread */
    BerthHost *host;
    BerthClock *clock;
    BerthHostListener listener;
    gpointer user_data;
    gboolean is_freed;
    BerthHostState state;
    char *why;                         /* owned; NULL when connected */
    gint64 connected_us, reconnect_us; /* monotonic; reconnect_us 0: none planned */
    gint64 backoff_us;
    GQueue waiting;        /* of Operation*: not on a thread yet */
    GPtrArray *running;    /* of Operation*: on a thread, with a slot */
    GPtrArray *old;        /* of Operation*: on a thread, without */
    GPtrArray *unanswered; /* of Operation*: failed before they ran; told from `flush` */
    Operation *connecting; /* borrowed from running */
    gboolean closed_early; /* the connection broke before connect's answer was seen */
    guint flush, kick;     /* sources */
    BerthAlarm *alarm;     /* owned */
    gint64 alarm_due_us;   /* by `clock`; 0: not set */
};

static inline gint64
now_us(const BerthHostRunner *runner)
{
    return berth_clock_monotonic_us(runner->clock);
}

/* ---- host-operation.c -------------------------------------------------------------------------- */

void berth_host_runner_unref(BerthHostRunner *runner);
Operation *berth_host_operation_new(BerthHostRunner *runner, OperationClass class,
                                    gint64 deadline_us);
void berth_host_operation_free(Operation *operation);
void berth_host_operation_start(Operation *operation);
void berth_host_operation_abandon(Operation *operation);
void berth_host_operation_pass_progress(guint64 done, guint64 total, gpointer operation);
void berth_host_operation_answer(Operation *operation, BerthHostReply *reply, const GError *error);
void berth_host_operation_refuse(Operation *operation, BerthErrorCode code, const char *why);
void berth_host_runner_refuse_all(BerthHostRunner *runner, const char *why);

/* ---- host-runner.c ----------------------------------------------------------------------------- */

void berth_host_operation_returned(Operation *operation);

G_END_DECLS
