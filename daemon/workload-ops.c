/* What the HTTP side asks about workloads (workload-ops.h): why, XML, console, figures, and their streams.
 * Start at berth_workload_controller_fill_ops(). Main loop only. */
#include "daemon/workload-viewer.h"

#include "base/error.h"
#include "base/json.h"

static void
answer_why(gpointer data, BerthObject *object, BerthAnswer answer, gpointer user_data)
{
    BerthWorkloadController *controller = data;
    BerthControl *control = controller->control;
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    json_t *why = json_pack("{s:s, s:s, s:s*}", "kind", object->kind->name, "name", object->name,
                            "host", status->host);
    json_object_set_new(why, "phase", json_string(berth_phase_name((BerthPhase)status->phase)));
    if (status->host == NULL) {
        g_auto(BerthNeeds) needs = {0};
        berth_workload_needs_init(&needs, control, object);
        json_object_set_new(why, "placement",
                            berth_ledger_explain(control->ledger, object, &needs));
    } else if (status->placement != NULL) {
        json_object_set(why, "placement", status->placement);
    }
    if (status->preempting.host != NULL) {
        json_object_set(why, "preempting", json_object_get(object->status, "preempting"));
    }
    if (status->reason.code != NULL) {
        json_object_set_new(why, "reason",
                            json_pack("{s:s, s:s*, s:s*}", "code", status->reason.code, "message",
                                      status->reason.message, "hint", status->reason.hint));
    }
    g_autofree char *text = berth_json_format(why);
    json_decref(why);
    answer(text, NULL, user_data);
}

typedef struct {
    BerthAnswer answer;
    gpointer user_data;
} Question;

static void
on_xml(BerthHostReply *reply, const GError *error, gpointer data)
{
    Question *question = data;
    question->answer(error == NULL ? reply->text : NULL, error, question->user_data);
    g_free(question);
}

static void
answer_xml(gpointer data, BerthObject *object, BerthAnswer answer, gpointer user_data)
{
    BerthWorkloadController *controller = data;
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    BerthFleetHost *host = berth_fleet_get(controller->control->fleet, status->host);
    if (host == NULL || !host->connected) {
        g_autoptr(GError) error = NULL;
        berth_error_set_at(&error, BERTH_ERROR_UNAVAILABLE, NULL, "berth start NAME",
                           "'%s' has no domain that can be asked for now", object->name);
        answer(NULL, error, user_data);
        return;
    }
    Question *question = g_new0(Question, 1);
    *question = (Question){answer, user_data};
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_XML, .uuid = status->domain.uuid};
    berth_host_runner_submit(host->runner, &call, 30, on_xml, question);
}

static void
write_metrics(gpointer data, GString *text)
{
    BerthWorkloadController *controller = data;
    g_string_append_printf(text,
                           "# TYPE berth_queue_length gauge\n"
                           "berth_queue_length{queue=\"workloads\"} %u\n"
                           "# TYPE berth_workloads_waiting gauge\n"
                           "berth_workloads_waiting %u\n",
                           berth_queue_length(controller->queue),
                           berth_ledger_waiting(controller->control->ledger));
    GHashTableIter iter;
    gpointer value;
    g_string_append(text, "# TYPE berth_host_connected gauge\n"
                          "# TYPE berth_host_stuck_calls gauge\n");
    g_hash_table_iter_init(&iter, berth_fleet_hosts(controller->control->fleet));
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthFleetHost *host = value;
        g_string_append_printf(text,
                               "berth_host_connected{host=\"%s\"} %d\n"
                               "berth_host_stuck_calls{host=\"%s\"} %u\n",
                               host->name, host->connected, host->name,
                               berth_host_runner_stuck_calls(host->runner));
    }
}

static BerthStreamHandle *
console_open(gpointer data, BerthObject *object, const BerthStreamQuery *query,
             BerthStreamPeer *peer, GError **error)
{
    BerthWorkloadController *controller = data;
    BerthWorkloadRun *run = berth_workload_run_get(controller, object->uid);
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    if (run->console == NULL && status->host != NULL) {
        run->console = berth_console_new(controller->control, object->uid, status->host,
                                         berth_workload_domain_uuid(object));
    }
    if (run->console == NULL) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL, "berth start NAME",
                           "'%s' has no console: it is not on a host", object->name);
        return NULL;
    }
    return berth_console_attach(run->console, query->history, peer);
}

/** Fills in the ops that @controller answers. */
void
berth_workload_controller_fill_ops(BerthWorkloadController *controller, BerthWorkloadOps *ops)
{
    ops->data = controller;
    ops->why = answer_why;
    ops->xml = answer_xml;
    ops->logs_open = berth_workload_logs_open;
    ops->attach_open = berth_workload_attach_open;
    ops->exec_open = berth_workload_exec_open;
    ops->console_open = console_open;
    ops->metrics = write_metrics;
}
