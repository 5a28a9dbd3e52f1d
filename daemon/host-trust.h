/* Whether a Host is the machine that its record means: SSH host keys before the connection, UUID
 * and name after it. Main loop only. Shared by the files of the host controller. */
#pragma once

#include "daemon/control.h"

G_BEGIN_DECLS

/* Why a host is not used; all owned. */
typedef struct {
    char *code;    /* stable: "host-key-unknown", "host-key-changed", "same-machine", … */
    char *message; /* one line */
    char *hint;    /* the remedy; may be NULL */
    json_t *seen;  /* who answers there: host_keys, uuid, hostname; NULL: nothing to show */
} BerthHostProblem;

typedef struct BerthHostTrust BerthHostTrust;

/* @changed: what is known about the host @name changed. */
BerthHostTrust *berth_host_trust_new(BerthControl *control,
                                     void (*changed)(const char *name, gpointer user_data),
                                     gpointer user_data);
void berth_host_trust_free(BerthHostTrust *trust);

const BerthHostProblem *berth_host_trust_problem(const BerthHostTrust *trust, const char *name);
char *berth_host_trust_take(BerthHostTrust *trust, BerthObject *object);
char *berth_host_trust_accept(BerthHostTrust *trust, BerthFleetHost *host,
                              const BerthInventory *inventory);
void berth_host_trust_look(BerthHostTrust *trust, BerthFleetHost *host);
void berth_host_trust_refuse(BerthHostTrust *trust, const BerthObject *object, const char *code,
                             const GError *error);
void berth_host_trust_forget(BerthHostTrust *trust, const char *name);

/* ---- host-status.c ---- */

/* What is known of a host now; all borrowed. */
typedef struct {
    BerthFleetHost *host;            /* NULL while it is not connected to */
    const BerthHostProblem *problem; /* why it is not used; NULL: it is */
    const char *uncountable;         /* why the scheduler can't count it; NULL: it can */
    json_t *proof;                   /* status members that a preparation found out; NULL: none */
} BerthHostSight;

json_t *berth_host_status_write(BerthControl *control, const BerthObject *object,
                                const BerthHostSight *sight);

G_END_DECLS
