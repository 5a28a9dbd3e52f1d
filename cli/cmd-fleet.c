/* The fleet: events, tasks, backup, version, raw. */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "cli/escape.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "config.h"
#include "model/kinds.h"

/* ---- events ---- */

typedef struct {
    BerthSession *session;
    const char *name; /* only of this object; NULL: of all */
} Events;

static gboolean
is_wanted(const Events *events, const json_t *event)
{
    const char *name = json_string_value(berth_json_at(event, "/spec/object_name"));
    return events->name == NULL || g_strcmp0(events->name, name) == 0;
}

static gboolean
put_event(const char *type, const json_t *event, gpointer user_data, GError **error)
{
    Events *events = user_data;
    if (strcmp(type, "tick") == 0) {
        return !berth_fd_is_abandoned(STDOUT_FILENO);
    }
    if (strcmp(type, "put") != 0 || !is_wanted(events, event)) {
        return TRUE;
    }
    if (events->session->output == BERTH_OUTPUT_JSON) {
        g_autofree char *line = berth_json_format(event);
        g_autofree char *safe = berth_escape_json(line);
        printf("%s\n", safe);
    } else {
        const json_t *spec = json_object_get(event, "spec");
        const char *parts[] = {
            berth_json_string(spec, "last"),        berth_json_string(spec, "severity"),
            berth_json_string(spec, "object_kind"), berth_json_string(spec, "object_name"),
            berth_json_string(spec, "reason"),      berth_json_string(spec, "message")};
        g_autoptr(GString) line = g_string_new(NULL);
        for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
            g_string_append_printf(line, "%s%s", i > 0 ? "  " : "",
                                   parts[i] != NULL ? parts[i] : "-");
        }
        g_autofree char *safe = berth_escape_text(line->str);
        printf("%s\n", safe);
    }
    return fflush(stdout) == 0;
}

/* In the order in which they were recorded, or counted again: times are whole seconds. */
static int
compare_revisions(const void *a, const void *b)
{
    json_int_t one = json_integer_value(berth_json_at(*(json_t *const *)a, "/metadata/revision"));
    json_int_t two = json_integer_value(berth_json_at(*(json_t *const *)b, "/metadata/revision"));
    return (one > two) - (one < two);
}

static int
run_events(BerthSession *session, const BerthArgs *args, GError **error)
{
    Events events = {session, berth_args_get(args, "name")};
    if (berth_args_has(args, "follow")) {
        return berth_follow(session, "kinds=events", put_event, &events, error) ? BERTH_EXIT_OK
                                                                                : BERTH_FAILED;
    }
    g_autoptr(json_t) all = berth_list_objects(session, &berth_kind_event, NULL, error);
    if (all == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(GPtrArray) order = g_ptr_array_new();
    gsize i;
    json_t *event;
    json_array_foreach (all, i, event) {
        if (is_wanted(&events, event)) {
            g_ptr_array_add(order, event);
        }
    }
    g_ptr_array_sort(order, compare_revisions);
    g_autoptr(json_t) sorted = json_array();
    for (guint at = 0; at < order->len; at++) {
        json_array_append(sorted, order->pdata[at]);
    }
    berth_session_put_objects(session, sorted, berth_kind_event.columns);
    return BERTH_EXIT_OK;
}

/* ---- tasks ---- */

static gboolean
is_finished(const json_t *task)
{
    static const char *const finished[] = {"Succeeded", "Failed", "Cancelled", NULL};
    return g_strv_contains(finished, berth_json_phase(task));
}

static int
run_tasks(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) all = berth_list_objects(session, &berth_kind_task, NULL, error);
    if (all == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) chosen = json_array();
    gsize i;
    json_t *task;
    json_array_foreach (all, i, task) {
        if (berth_args_has(args, "all") || !is_finished(task)) {
            json_array_append(chosen, task);
        }
    }
    berth_session_put_objects(session, chosen, berth_kind_task.columns);
    return BERTH_EXIT_OK;
}

static int
run_task_cancel(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *name = berth_args_get(args, "task");
    g_autofree char *url = berth_object_url(session, &berth_kind_task, name);
    g_autofree char *path = g_strconcat(url, ":cancel", NULL);
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "POST", path, NULL, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    berth_session_say(session, "Task '%s' is asked to stop", name);
    return BERTH_EXIT_OK;
}

static int
run_task_wait(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) task =
        berth_get_object(session, &berth_kind_task, berth_args_get(args, "task"), error);
    g_autoptr(json_t) ended =
        task != NULL ? berth_wait_task(session, task, BERTH_WAIT_FOREVER, error) : NULL;
    if (ended == NULL) {
        return BERTH_FAILED;
    }
    berth_session_say(session, "Task '%s' %s", berth_json_name(ended), "succeeded");
    return BERTH_EXIT_OK;
}

/* ---- backup ---- */

/* Into a new file beside the target, which takes its name when it is complete. */
static int
run_backup(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *file = berth_args_get(args, "file");
    if (strcmp(file, "-") == 0) {
        fflush(stdout);
        return berth_client_download(session->client, "POST", "/v1/backup", STDOUT_FILENO, NULL,
                                     NULL, error)
                   ? BERTH_EXIT_OK
                   : BERTH_FAILED;
    }
    g_autofree char *part = g_strconcat(file, ".part", NULL);
    unlink(part); /* of an attempt that was cut: who may read it is not known */
    g_auto(BerthFd) fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "cannot write '%s'", part);
        return BERTH_FAILED;
    }
    gboolean ok =
        berth_client_download(session->client, "POST", "/v1/backup", fd, NULL, NULL, error);
    if (ok && (fsync(fd) < 0 || rename(part, file) < 0)) {
        berth_error_set_errno(error, errno, "cannot write '%s'", file);
        ok = FALSE;
    }
    if (!ok) {
        unlink(part);
        return BERTH_FAILED;
    }
    berth_session_say(session, "Backup written to '%s'", file);
    return BERTH_EXIT_OK;
}

static int
run_restore(BerthSession *session, const BerthArgs *args, GError **error)
{
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                       "stop berthd, then: berthd --state NEW_EMPTY_FOLDER --restore FILE",
                       "a backup is restored by the daemon, into an empty state folder");
    return BERTH_FAILED;
}

/* ---- version, raw ---- */

static int
run_version(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(json_t) daemon = berth_client_get(session->client, "/v1/version", &problem);
    if (berth_session_wants_value(session)) {
        g_autoptr(json_t) both =
            json_pack("{s:s, s:O?}", "client", PACKAGE_VERSION, "daemon", daemon);
        berth_session_put_value(session, both);
    } else {
        const char *version = berth_json_string(daemon, "version");
        berth_session_tell(session, "berth %s", PACKAGE_VERSION);
        if (version != NULL) {
            berth_session_tell(session, "berthd %s", version);
        }
    }
    if (daemon == NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return BERTH_FAILED;
    }
    return BERTH_EXIT_OK;
}

/* "-d @file", "-d -", or the JSON itself. */
static gboolean
read_data(const char *data, json_t **body, GError **error)
{
    gsize size = strlen(data);
    g_autofree char *text = g_strdup(data);
    if (*data == '@' || strcmp(data, "-") == 0) {
        g_free(g_steal_pointer(&text));
        text = berth_read_file(*data == '@' ? data + 1 : data, BERTH_JSON_SIZE_MAX, &size, error);
        if (text == NULL) {
            return FALSE;
        }
    }
    *body = berth_json_parse(text, size, error);
    return *body != NULL;
}

static gboolean
put_raw(const char *data, gsize size, gpointer user_data, GError **error)
{
    gboolean *terminal = user_data;
    if (*terminal && size > 0) {
        g_autofree char *copy = g_strndup(data, size);
        g_autofree char *safe = berth_escape_lines(copy);
        fputs(safe, stdout);
    } else {
        fwrite(data, 1, size, stdout);
    }
    return fflush(stdout) == 0;
}

static int
run_raw(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autofree char *method = g_ascii_strup(berth_args_get(args, "method"), -1);
    const char *path = berth_args_get(args, "path"), *data = berth_args_get(args, "data");
    g_autoptr(json_t) body = NULL;
    gboolean terminal = isatty(STDOUT_FILENO);
    if (*path != '/') {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is no path: it begins with /", path);
        return BERTH_FAILED;
    }
    if (data != NULL && !read_data(data, &body, error)) {
        return BERTH_FAILED;
    }
    if (strcmp(method, "GET") == 0) {
        return berth_client_stream(session->client, path, put_raw, &terminal, error) ? BERTH_EXIT_OK
                                                                                     : BERTH_FAILED;
    }
    const BerthRequestOptions options = {
        .body = body,
        .content_type = strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : NULL};
    g_autoptr(BerthReply) reply = berth_client_call(session->client, method, path, &options, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    put_raw(reply->text, reply->size, &terminal, NULL);
    if (reply->size > 0 && reply->text[reply->size - 1] != '\n' && !terminal) {
        printf("\n");
    }
    return BERTH_EXIT_OK;
}

/* ---- the table ---- */

static const BerthArgument event_arguments[] = {
    {"name", "only of the object of this name", .optional = TRUE,
     .complete = BERTH_COMPLETE_WORKLOAD},
    {NULL},
};
static const BerthArgument task_argument[] = {
    {"task", "name of the task", .complete = BERTH_COMPLETE_TASK},
    {NULL},
};
static const BerthArgument backup_arguments[] = {
    {"file", "the file to write; - is stdout", .complete = BERTH_COMPLETE_FILE},
    {NULL},
};
static const BerthArgument restore_arguments[] = {
    {"file", "the backup", .optional = TRUE, .complete = BERTH_COMPLETE_FILE},
    {NULL},
};
static const BerthArgument raw_arguments[] = {
    {"method", "GET, PUT, POST, PATCH or DELETE"},
    {"path", "path and query: /v1/hosts?limit=10"},
    {NULL},
};
static const BerthOption events_options[] = {
    {"follow", 'f', BERTH_OPTION_FLAG, NULL, "go on with what happens from now on"},
    {NULL},
};
static const BerthOption tasks_options[] = {
    {"all", 'a', BERTH_OPTION_FLAG, NULL, "finished ones, too"},
    {NULL},
};
static const BerthOption raw_options[] = {
    {"data", 'd', BERTH_OPTION_TEXT, "JSON", "body; @FILE reads it from a file, - from stdin"},
    {NULL},
};

const BerthCommand berth_fleet_commands[] = {
    {.name = "events",
     .group = BERTH_GROUP_FLEET,
     .doc = "what happened",
     .run = run_events,
     .arguments = event_arguments,
     .options = events_options},
    {.name = "tasks",
     .group = BERTH_GROUP_FLEET,
     .doc = "what is being done",
     .run = run_tasks,
     .options = tasks_options},
    {.name = "task wait",
     .group = BERTH_GROUP_FLEET,
     .doc = "wait until a task is done",
     .run = run_task_wait,
     .arguments = task_argument},
    {.name = "task cancel",
     .group = BERTH_GROUP_FLEET,
     .doc = "ask a task to stop",
     .run = run_task_cancel,
     .arguments = task_argument},
    {.name = "backup",
     .group = BERTH_GROUP_FLEET,
     .doc = "write all records of the daemon to a file",
     .run = run_backup,
     .arguments = backup_arguments,
     .about =
         "The daemon goes on meanwhile. The file holds what the daemon knows, also secrets; it is "
         "readable by you alone."},
    {.name = "restore",
     .group = BERTH_GROUP_FLEET,
     .doc = "how to restore a backup",
     .run = run_restore,
     .arguments = restore_arguments},
    {.name = "version",
     .group = BERTH_GROUP_FLEET,
     .doc = "versions of the command and of the daemon",
     .run = run_version},
    {.name = "raw",
     .group = BERTH_GROUP_FLEET,
     .doc = "any request to the API",
     .run = run_raw,
     .arguments = raw_arguments,
     .options = raw_options,
     .example = "berth raw GET /v1/hosts\nberth raw GET '/v1/watch?kinds=pods'\n"
                "berth raw PATCH /v1/hosts/h1 -d '{\"spec\": {\"cordoned\": true}}'"},
    {NULL},
};
