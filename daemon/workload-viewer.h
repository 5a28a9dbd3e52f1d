/* Those who read the output of a container: log readers and attached streams. Shared by the files of the
 * workload controller that serve them. Main loop only. */
#pragma once

#include "daemon/workload-run.h"

G_BEGIN_DECLS

/* Embedded in its reader, which owns it. @wake: something may have come, or the workload ended. */
typedef struct BerthViewer BerthViewer;
struct BerthViewer {
    BerthWorkloadController *controller;
    char *uid, *container; /* owned */
    guint index;           /* of the container in the spec */
    void (*wake)(BerthViewer *viewer);
};

void berth_viewer_init(BerthViewer *viewer, BerthWorkloadController *controller,
                       BerthObject *object, const char *container, guint index,
                       void (*wake)(BerthViewer *viewer));
void berth_viewer_clear(BerthViewer *viewer);
BerthWorkloadRun *berth_viewer_run(const BerthViewer *viewer);
gboolean berth_viewer_has_ended(const BerthViewer *viewer, int *exit_code);
const BerthContainerSpec *berth_workload_find_container(BerthObject *object, const char *name,
                                                        guint *index, GError **error);

/* Of BerthWorkloadOps; @data is the controller. */
BerthLogReader *berth_workload_logs_open(gpointer data, BerthObject *object,
                                         const BerthLogQuery *query,
                                         void (*wake)(gpointer user_data), gpointer user_data,
                                         GError **error);
BerthStreamHandle *berth_workload_attach_open(gpointer data, BerthObject *object,
                                              const BerthStreamQuery *query, BerthStreamPeer *peer,
                                              GError **error);
BerthStreamHandle *berth_workload_exec_open(gpointer data, BerthObject *object,
                                            const BerthStreamQuery *query, BerthStreamPeer *peer,
                                            GError **error);

G_END_DECLS
