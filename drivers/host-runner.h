/* The asynchronous face of a host: what controllers use. Main loop only. */
#pragma once

#include "base/clock.h"
#include "drivers/host.h"

G_BEGIN_DECLS

typedef struct BerthHostRunner BerthHostRunner;

typedef enum {
    BERTH_HOST_CONNECTING,
    BERTH_HOST_CONNECTED,
    BERTH_HOST_DISCONNECTED, /* tries again by itself with back-off */
} BerthHostState;

/**
 * BerthHostListener: told on the main loop.
 * @state: @why is NULL when connected. After every CONNECTED the listener lists again
 * @domain_event, @inventory_event: hints, as in BerthHostWatch
 * @stuck: a domain's call outlived its deadline (TRUE), or returned at last (FALSE); @uuid may be
 *     NULL for host-level calls
 */
typedef struct {
    void (*state)(BerthHostState state, const char *why, gpointer user_data);
    void (*domain_event)(const char *uuid, BerthDomainEvent event, BerthStopReason reason,
                         gpointer user_data);
    void (*inventory_event)(gpointer user_data);
    void (*stuck)(const char *uuid, gboolean stuck, gpointer user_data);
} BerthHostListener;

/**
 * BerthHostDone: the end of one call; on the main loop, never from inside submit.
 * @reply: (nullable): what came back, borrowed (steal fields at will); NULL on error
 * @error: (nullable): TIMEOUT when the deadline passed: the effect is unknown, look again
 */
typedef void (*BerthHostDone)(BerthHostReply *reply, const GError *error, gpointer user_data);

BerthHostRunner *berth_host_runner_new(BerthHostFactory factory, const BerthHostOptions *options,
                                       BerthClock *clock, const BerthHostListener *listener,
                                       gpointer user_data, GError **error);
void berth_host_runner_free(BerthHostRunner *runner);

/* @call and all it points to are copied. */
void berth_host_runner_submit(BerthHostRunner *runner, const BerthHostCall *call, guint deadline_s,
                              BerthHostDone done, gpointer user_data);
BerthChannel *berth_host_runner_channel_open(BerthHostRunner *runner, const char *uuid,
                                             const char *port, gboolean force,
                                             const BerthChannelWatch *watch, gpointer user_data);

/* What is due by the clock; runs by itself, and by the hand of tests that own the clock. */
void berth_host_runner_tick(BerthHostRunner *runner);
BerthHostState berth_host_runner_state(const BerthHostRunner *runner, const char **why);
guint berth_host_runner_stuck_calls(const BerthHostRunner *runner);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthHostRunner, berth_host_runner_free)

G_END_DECLS
