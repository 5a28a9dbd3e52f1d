/* Who reads the output of containers, and how long there may be more of it. Main loop only. */
#include "daemon/workload-viewer.h"

#include "base/error.h"

/** Returns: (nullable): the run that @viewer watches, borrowed. */
BerthWorkloadRun *
berth_viewer_run(const BerthViewer *viewer)
{
    return g_hash_table_lookup(viewer->controller->runs, viewer->uid);
}

/** Makes @viewer one of those that @wake is called for when something may have come. */
void
berth_viewer_init(BerthViewer *viewer, BerthWorkloadController *controller, BerthObject *object,
                  const char *container, guint index, void (*wake)(BerthViewer *viewer))
{
    BerthWorkloadRun *run = berth_workload_run_get(controller, object->uid);
    viewer->controller = controller;
    viewer->uid = g_strdup(object->uid);
    viewer->container = g_strdup(container);
    viewer->index = index;
    viewer->wake = wake;
    run->readers++;
    g_ptr_array_add(run->log_wakers, viewer);
}

/** Ends the watch; what @viewer owns is freed, not itself. */
void
berth_viewer_clear(BerthViewer *viewer)
{
    BerthWorkloadRun *run = berth_viewer_run(viewer);
    if (run != NULL && g_ptr_array_remove(run->log_wakers, viewer)) {
        run->readers--;
    }
    g_free(viewer->uid);
    g_free(viewer->container);
}

/** Something that viewers of @run may want to see happened. */
void
berth_workload_wake_logs(BerthWorkloadRun *run)
{
    g_autoptr(GPtrArray) all = g_ptr_array_copy(run->log_wakers, NULL, NULL);
    for (guint i = 0; i < all->len; i++) {
        if (g_ptr_array_find(run->log_wakers, all->pdata[i], NULL)) {
            ((BerthViewer *)all->pdata[i])->wake(all->pdata[i]);
        }
    }
}

/** The pod of @run has a link now: viewers that waited for it attach. */
void
berth_workload_logs_opened(BerthWorkloadRun *run)
{
    berth_workload_wake_logs(run);
}

/**
 * berth_workload_find_container:
 * @name: (nullable): NULL means the first
 * @index: (out): its place in the spec
 *
 * Returns: (nullable): the container of @object, borrowed. Errors: INVALID for a VM, NOT_FOUND
 */
const BerthContainerSpec *
berth_workload_find_container(BerthObject *object, const char *name, guint *index, GError **error)
{
    if (object->kind != &berth_kind_pod) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "berth console NAME",
                           "'%s' is a VM: it has no containers", object->name);
        return NULL;
    }
    const GPtrArray *containers = ((BerthPodSpec *)object->spec_data)->containers;
    for (guint i = 0; i < containers->len; i++) {
        BerthContainerSpec *container = containers->pdata[i];
        if (name == NULL || g_str_equal(container->name, name)) {
            *index = i;
            return container;
        }
    }
    berth_error_set(error, BERTH_ERROR_NOT_FOUND, "pod '%s' has no container '%s'", object->name,
                    name);
    return NULL;
}

static BerthObject *
object_of(const BerthViewer *viewer)
{
    return berth_catalog_get_uid(viewer->controller->control->catalog, viewer->uid);
}

/** Returns: whether the container can't write any more; @exit_code: (out): with what it ended. */
gboolean
berth_viewer_has_ended(const BerthViewer *viewer, int *exit_code)
{
    BerthObject *object = object_of(viewer);
    *exit_code = 137;
    if (object == NULL) {
        return TRUE;
    }
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    gboolean over = status->phase == BERTH_PHASE_SUCCEEDED || status->phase == BERTH_PHASE_FAILED ||
                    status->phase == BERTH_PHASE_STOPPED;
    /* Recorded as over while the power is on again: that is the end of an earlier life. */
    if (!over || object->power == BERTH_POWER_ON) {
        return FALSE;
    }
    if (status->containers != NULL && viewer->index < status->containers->len) {
        const BerthContainerStatus *container = status->containers->pdata[viewer->index];
        if (g_strcmp0(container->state, "Exited") == 0 ||
            g_strcmp0(container->state, "Failed") == 0) {
            *exit_code = (int)container->exit_code;
        }
    }
    return TRUE;
}
