/* A running pod: the guest link with its logs, its containers' states, execs and attached viewers.
 *
 * One per pod whose domain is on. It knows nothing of the store: the workload controller asks it for a
 * sight and tells it what to start. Main loop only. */
#pragma once

#include "base/random.h"
#include "daemon/logs.h"
#include "daemon/plan-workload.h"
#include "daemon/pod-session.h"

G_BEGIN_DECLS

typedef struct BerthPodRun BerthPodRun;

/**
 * BerthPodRunOptions:
 * @configure: fills the link's configuration when a fresh guest answers; called from the main loop;
 *     what it points to must live until it returns. FALSE with @error: the pod is reported as failed
 * @logged: a record was added to a log; called from the main loop
 * @changed: something the controller should look at; called from the main loop
 */
typedef struct {
    const char *uid;         /* copied */
    char *const *containers; /* names, NULL-terminated; copied */
    BerthRestart restart;
    BerthLinkOpen open;
    gpointer open_data;
    GDestroyNotify open_free;
    gboolean (*configure)(BerthLink *link, gpointer user_data, GError **error);
    void (*logged)(gpointer user_data);
    void (*changed)(gpointer user_data);
    gpointer user_data;
    GDestroyNotify user_free;
    BerthClock *clock;   /* borrowed, outlives this */
    BerthRandom *random; /* likewise */
    BerthLogs *logs;     /* likewise */
} BerthPodRunOptions;

BerthPodRun *berth_pod_run_new(const BerthPodRunOptions *options);
void berth_pod_run_free(BerthPodRun *run);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthPodRun, berth_pod_run_free)

void berth_pod_run_hurry(BerthPodRun *run);
void berth_pod_run_see(BerthPodRun *run, BerthWorkloadSight *sight);
void berth_pod_run_start_due(BerthPodRun *run);
void berth_pod_run_stop(BerthPodRun *run, guint timeout_ms);
void berth_pod_run_signal(BerthPodRun *run, guint container, int signum);
json_t *berth_pod_run_containers(BerthPodRun *run);
const char *berth_pod_run_failure(BerthPodRun *run);
gint64 berth_pod_run_ready_us(const BerthPodRun *run);
gint64 berth_pod_run_configured_us(const BerthPodRun *run);
gint64 berth_pod_run_first_byte_us(const BerthPodRun *run);

BerthPodSession *berth_pod_run_exec(BerthPodRun *run, const BerthLinkExec *exec,
                                    const BerthPodSessionWatch *watch, gpointer user_data,
                                    GError **error);
BerthPodSession *berth_pod_run_attach(BerthPodRun *run, guint container,
                                      const BerthPodSessionWatch *watch, gpointer user_data);

G_END_DECLS
