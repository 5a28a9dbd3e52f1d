/* Execs and attached viewers of one running pod: who is told what a process writes and how it ends.
 *
 * Main loop only. */
#pragma once

#include "drivers/guest-link.h"

G_BEGIN_DECLS

typedef struct BerthPodSessions BerthPodSessions;
typedef struct BerthPodSession BerthPodSession;

/**
 * BerthPodSessionWatch: told on the main loop; a session may be freed from inside.
 * @output: answered with berth_pod_session_ack() when passed on (execs; a viewer of a container reads
 *     the log as well and is told at most what it can take)
 * @exited: once; @error when it never started, CORRUPT when the guest kept back some of its output
 */
typedef struct {
    void (*output)(BerthLinkStream stream, const guint8 *data, gsize size, gpointer user_data);
    void (*stdin_room)(gpointer user_data);
    void (*exited)(int exit_code, const GError *error, gpointer user_data);
} BerthPodSessionWatch;

/* ---- for the pod --------------------------------------------------------------------------------- */

/**
 * BerthPodProcess: whose sessions are meant.
 * @is_main: a container's main process, which has viewers; otherwise an exec
 */
typedef struct {
    BerthProcessId id;
    gboolean is_main;
} BerthPodProcess;

BerthPodSessions *berth_pod_sessions_new(BerthLink *link);
void berth_pod_sessions_free(BerthPodSessions *sessions, const GError *error);
BerthPodSession *berth_pod_session_new(BerthPodSessions *sessions, BerthPodProcess process,
                                       const BerthPodSessionWatch *watch, gpointer user_data);
void berth_pod_sessions_output(BerthPodSessions *sessions, BerthPodProcess process,
                               BerthLinkStream stream, const guint8 *data, gsize size);
void berth_pod_sessions_room(BerthPodSessions *sessions, BerthPodProcess process);
void berth_pod_sessions_exited(BerthPodSessions *sessions, BerthPodProcess process, int exit_code,
                               const GError *error);
void berth_pod_sessions_end(BerthPodSessions *sessions, const GError *error);

/* ---- for whoever opened one ---------------------------------------------------------------------- */

void berth_pod_session_free(BerthPodSession *session);
void berth_pod_session_ack(BerthPodSession *session, BerthLinkStream stream, gsize size);
gsize berth_pod_session_stdin(BerthPodSession *session, const void *data, gsize size);
void berth_pod_session_stdin_eof(BerthPodSession *session);
void berth_pod_session_resize(BerthPodSession *session, guint rows, guint columns);
void berth_pod_session_signal(BerthPodSession *session, int signum);

G_END_DECLS
