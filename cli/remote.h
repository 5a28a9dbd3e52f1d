/* A process or console over there, its streams here. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

/**
 * BerthRemotePlan:
 * @path: of the WebSocket: "/v1/projects/default/pods/web:exec"
 * @start: (transfer none): the first message, without type, tty, stdin, columns and rows
 * @with_stdin: pass stdin on
 * @tty: the other end is a terminal: raw mode here, sizes passed on, one output stream
 * @forward_signals: SIGINT, SIGTERM … go to the other end
 * @detach: (nullable): keys that end the connection and leave the process alone; only with @tty
 */
typedef struct {
    const char *path;
    const json_t *start;
    gboolean with_stdin, tty, forward_signals;
    const char *detach;
} BerthRemotePlan;

typedef enum {
    BERTH_REMOTE_EXITED,
    BERTH_REMOTE_DETACHED,
    BERTH_REMOTE_FAILED, /* @error is set */
} BerthRemoteEnd;

#define BERTH_DETACH_DOCKER "\x10\x11" /* ^P ^Q */
#define BERTH_DETACH_VIRSH "\x1d"      /* ^] */

BerthRemoteEnd berth_remote_run(BerthSession *session, const BerthRemotePlan *plan, int *exit_code,
                                GError **error);

G_END_DECLS
