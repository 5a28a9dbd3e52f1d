/* What a guest owes and never sends: the start of an exec, the output or log that it announced when something
 * ended. It is given up after PATIENCE_US without a piece of it, and who waits is told. Start reading at
 * link_give_up_late(). */
#include "drivers/guest-link-private.h"

#include <signal.h>

/** The guest has its time anew for what is due at @due_us. */
void
link_be_patient(BerthLink *link, gint64 *due_us)
{
    *due_us = link_now(link) + PATIENCE_US;
    link->due_at = MIN(link->due_at, *due_us);
}

static gboolean
is_waited_for(const Exec *exec)
{
    return !exec->started || exec->ended;
}

/* Whether it may send what it announced; else somebody at this end has not taken what came before. */
static gboolean
may_send_rest(const Exec *exec)
{
    for (int fd = 0; fd < 2; fd++) {
        if (exec->received[fd] < exec->ends[fd] &&
            exec->received[fd] - exec->told[fd] < BERTH_OUTPUT_WINDOW) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
may_send_log(const BerthLink *link)
{
    return link->log_in_flight + BERTH_LOG_RECORD_MAX + BERTH_LOG_RECORD_COST <= LOG_WINDOW;
}

static GError *
describe_late_exec(const Exec *exec)
{
    const int patience_s = PATIENCE_US / (int)G_USEC_PER_SEC;
    if (!exec->ended) {
        return g_error_new(BERTH_ERROR, BERTH_ERROR_TIMEOUT,
                           "the guest did not start the command in %d s", patience_s);
    }
    for (int fd = 0; fd < 2; fd++) {
        if (exec->received[fd] < exec->ends[fd]) {
            return g_error_new(
                BERTH_ERROR, BERTH_ERROR_CORRUPT,
                "the guest announced %" G_GUINT64_FORMAT
                " bytes of the command's %s and sent %" G_GUINT64_FORMAT "; nothing came for %d s",
                exec->ends[fd], fd ? "stderr" : "stdout", exec->received[fd], patience_s);
        }
    }
    return NULL;
}

/* Ends it here, and in the guest, should it begin there after all. */
static void
give_up_exec(BerthLink *link, Exec *exec)
{
    BerthProcessId id = exec->id;
    g_autoptr(GError) error = describe_late_exec(exec);
    if (exec->ended) {
        link_release_exec(link, exec);
    } else {
        berth_link_signal(link, id, SIGKILL);
    }
    g_hash_table_remove(link->execs, GUINT_TO_POINTER(id));
    if (link->watch.exec_exited != NULL) {
        link->watch.exec_exited(id, 137, error, link->user_data);
    }
}

/* The state is told without the log that belongs before it, as that of a container which failed. */
static void
give_up_log(BerthLink *link, guint index)
{
    Container *container = &link->containers[index];
    g_snprintf(container->text, sizeof container->text,
               "the guest announced log record %" G_GUINT64_FORMAT
               " of the container and sent %" G_GUINT64_FORMAT "; nothing came for %d s",
               container->state_after, container->received, PATIENCE_US / (int)G_USEC_PER_SEC);
    container->state.state = BERTH_CONTAINER_FAILED;
    container->state.exit_code = 125;
    container->state.is_cut_short = TRUE;
    container->state_after = 0;
    link_hand_on_state(link, index);
}

/* What is not to be given up is due anew. */
static gboolean
is_late(BerthLink *link, gint64 *due_us, gboolean may_come)
{
    if (*due_us <= link_now(link)) {
        if (may_come) {
            return TRUE;
        }
        link_be_patient(link, due_us);
    }
    link->due_at = MIN(link->due_at, *due_us);
    return FALSE;
}

/** Ends what the guest has not begun or not sent in time, and looks when the next is due. */
void
link_give_up_late(BerthLink *link)
{
    g_autoptr(GList) ids = g_hash_table_get_keys(link->execs);
    link->due_at = G_MAXINT64;
    for (GList *each = ids; each != NULL && !link->freed; each = each->next) {
        Exec *exec = g_hash_table_lookup(link->execs, each->data);
        if (exec != NULL && is_waited_for(exec) &&
            is_late(link, &exec->due_us, !exec->ended || may_send_rest(exec))) {
            give_up_exec(link, exec);
        }
    }
    for (guint i = 0; i < link->container_count && !link->freed; i++) {
        Container *container = &link->containers[i];
        if (container->state_held && is_late(link, &container->due_us, may_send_log(link))) {
            give_up_log(link, i);
        }
    }
}
