/* What streams: ps, exec, attach, console, logs. */
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/escape.h"
#include "cli/log-stream.h"
#include "cli/remote.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "model/kinds.h"

#define COMMAND_WIDTH 30

/* ---- ps ---- */

/* docker's words for how a container is. */
static char *
container_state(const json_t *pod, const json_t *container, gint64 now_us)
{
    const char *state = berth_json_string(container, "state");
    const char *time = NULL;
    if (g_strcmp0(state, "Running") == 0) {
        time = berth_json_string(container, "started");
        g_autofree char *age = berth_format_age(time, now_us);
        return g_strdup_printf("Up%s%s", age != NULL ? " " : "", age != NULL ? age : "");
    }
    if (g_strcmp0(state, "Exited") == 0) {
        time = berth_json_string(container, "finished");
        g_autofree char *age = berth_format_age(time, now_us);
        return g_strdup_printf(
            "Exited (%" G_GINT64_FORMAT ")%s%s%s", berth_json_integer(container, "exit_code", 0),
            age != NULL ? " " : "", age != NULL ? age : "", age != NULL ? " ago" : "");
    }
    return g_strdup(*berth_json_phase(pod) != '\0' ? berth_json_phase(pod) : "Pending");
}

static char *
join_words(const json_t *list)
{
    GString *text = g_string_new(NULL);
    gsize i;
    json_t *word;
    json_array_foreach ((json_t *)list, i, word) {
        g_string_append_printf(text, "%s%s", i > 0 ? " " : "", json_string_value(word));
    }
    return g_string_free(text, FALSE);
}

static const json_t *
status_of_container(const json_t *pod, const char *name)
{
    gsize i;
    json_t *status;
    json_array_foreach ((json_t *)berth_json_at(pod, "/status/containers"), i, status) {
        if (g_strcmp0(berth_json_string(status, "name"), name) == 0) {
            return status;
        }
    }
    return NULL;
}

/* A command line is as long as it likes; a table is not. */
static char *
shorten(const char *line)
{
    if (g_utf8_strlen(line, -1) <= COMMAND_WIDTH) {
        return g_strdup(line);
    }
    g_autofree char *start = g_utf8_substring(line, 0, COMMAND_WIDTH - 1);
    return g_strconcat(start, "…", NULL);
}

static void
add_containers(BerthTable *table, const json_t *pod, gboolean all, gboolean wide, gint64 now_us)
{
    gsize i;
    json_t *spec;
    json_array_foreach ((json_t *)berth_json_at(pod, "/spec/containers"), i, spec) {
        const char *name = berth_json_string(spec, "name");
        const json_t *status = status_of_container(pod, name);
        const char *state = berth_json_string(status, "state");
        if (!all && g_strcmp0(state, "Exited") == 0) {
            continue;
        }
        g_autofree char *shown = container_state(pod, status, now_us);
        g_autofree char *command = join_words(json_object_get(spec, "command"));
        g_autofree char *words = join_words(json_object_get(spec, "args"));
        g_autofree char *whole =
            g_strdup_printf("%s%s%s", command, *command != '\0' ? " " : "", words);
        g_autofree char *line = wide ? g_strdup(whole) : shorten(whole);
        g_autofree char *age =
            berth_format_age(json_string_value(berth_json_at(pod, "/metadata/created")), now_us);
        const char *cells[] = {berth_json_name(pod),
                               name,
                               berth_json_string(spec, "image"),
                               line,
                               shown,
                               json_string_value(berth_json_at(pod, "/status/host")),
                               age};
        berth_table_add(table, cells);
    }
}

static gboolean
is_at_rest(const json_t *pod)
{
    static const char *const rest[] = {"Stopped", "Succeeded", "Failed", NULL};
    return g_strv_contains(rest, berth_json_phase(pod));
}

static int
run_ps(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const char *const titles[] = {"Pod",   "Container", "Image", "Command",
                                         "State", "Host",      "Age",   NULL};
    gboolean all = berth_args_has(args, "all");
    g_autoptr(json_t) pods = berth_list_objects(session, &berth_kind_pod, NULL, error);
    if (pods == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) chosen = json_array();
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *pod;
    json_array_foreach (pods, i, pod) {
        if (all || !is_at_rest(pod)) {
            json_array_append(chosen, pod);
            add_containers(table, pod, all, session->output == BERTH_OUTPUT_WIDE, session->now_us);
        }
    }
    if (session->output == BERTH_OUTPUT_TABLE || session->output == BERTH_OUTPUT_WIDE) {
        g_autofree char *text = berth_table_format(table);
        berth_session_put(session, text);
    } else {
        berth_session_put_objects(session, chosen, berth_kind_pod.columns);
    }
    return BERTH_EXIT_OK;
}

/* ---- exec, attach, console ---- */

static int
run_remote(BerthSession *session, const BerthRemotePlan *plan, GError **error)
{
    int code = 0;
    switch (berth_remote_run(session, plan, &code, error)) {
    case BERTH_REMOTE_EXITED:
        return code;
    case BERTH_REMOTE_DETACHED:
        fprintf(stderr, "\n");
        return BERTH_EXIT_OK;
    default:
        if (code == 0) {
            return BERTH_FAILED;
        }
        berth_print_error(*error);
        g_clear_error(error);
        return code;
    }
}

static json_t *
words_of(const BerthArgs *args, const char *name)
{
    json_t *list = json_array();
    for (char *const *word = berth_args_list(args, name); *word != NULL; word++) {
        json_array_append_new(list, json_string(*word));
    }
    return list;
}

static void
copy_text(json_t *object, const BerthArgs *args, const char *name)
{
    const char *text = berth_args_get(args, name);
    if (text != NULL) {
        json_object_set_new(object, name, json_string(text));
    }
}

static int
run_exec(BerthSession *session, const BerthArgs *args, GError **error)
{
    gboolean tty = berth_args_has(args, "tty"), with_stdin = berth_args_has(args, "interactive");
    if (tty && with_stdin && !isatty(STDIN_FILENO)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "leave out -t",
                           "-t with -i needs a terminal, and stdin is none");
        return BERTH_FAILED;
    }
    g_autoptr(json_t) pod =
        berth_resolve_workload(session, &berth_kind_pod, berth_args_get(args, "pod"), error);
    if (pod == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) start = json_pack("{s:o}", "command", words_of(args, "command"));
    copy_text(start, args, "workdir");
    copy_text(start, args, "user");
    copy_text(start, args, "container");
    if (berth_args_has(args, "env")) {
        json_object_set_new(start, "env", words_of(args, "env"));
    }
    g_autofree char *path = berth_json_url(pod, ":exec");
    const BerthRemotePlan plan = {.path = path,
                                  .start = start,
                                  .with_stdin = with_stdin,
                                  .tty = tty,
                                  .forward_signals = TRUE};
    return run_remote(session, &plan, error);
}

static int
run_attach(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) pod =
        berth_resolve_workload(session, &berth_kind_pod, berth_args_get(args, "pod"), error);
    if (pod == NULL) {
        return BERTH_FAILED;
    }
    const json_t *container = berth_json_at(pod, "/spec/containers/0");
    gboolean tty = json_is_true(json_object_get(container, "tty"));
    gboolean logs = berth_args_has(args, "logs");
    g_autoptr(json_t) start = json_pack("{s:i}", "history", logs ? -1 : 0);
    copy_text(start, args, "container");
    g_autofree char *path = berth_json_url(pod, ":attach");
    const BerthRemotePlan plan = {.path = path,
                                  .start = start,
                                  .with_stdin =
                                      !berth_args_has(args, "no-stdin") &&
                                      json_is_true(json_object_get(container, "stdin_open")),
                                  .tty = tty,
                                  .forward_signals = !berth_args_has(args, "no-signals"),
                                  .detach = BERTH_DETACH_DOCKER};
    return run_remote(session, &plan, error);
}

static int
run_console(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) object =
        berth_resolve_workload(session, NULL, berth_args_get(args, "domain"), error);
    if (object == NULL) {
        return BERTH_FAILED;
    }
    gboolean tty = isatty(STDIN_FILENO);
    g_autoptr(json_t) start =
        json_pack("{s:I}", "history", (json_int_t)berth_args_number(args, "history", 4096));
    g_autofree char *path = berth_json_url(object, ":console");
    if (tty && !session->quiet) {
        fprintf(stderr, "Connected to '%s'\nEscape character is ^] (Ctrl + ])\n",
                berth_json_name(object));
    }
    const BerthRemotePlan plan = {
        .path = path, .start = start, .with_stdin = TRUE, .tty = tty, .detach = BERTH_DETACH_VIRSH};
    return run_remote(session, &plan, error);
}

/* ---- logs ---- */

/* "5m" ago, or a time as it is. */
static char *
since_time(const char *text, gint64 now_us, GError **error)
{
    gint64 seconds;
    if (strchr(text, '-') != NULL) {
        g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
        g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, utc);
        g_autoptr(GDateTime) in_utc = time != NULL ? g_date_time_to_utc(time) : NULL;
        if (in_utc == NULL) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                               "for example 5m, or 2026-11-24T09:00:00Z", "'%s' is no time", text);
            return NULL;
        }
        return g_date_time_format_iso8601(in_utc);
    }
    if (!berth_duration_parse(text, &seconds, error)) {
        return NULL;
    }
    g_autoptr(GDateTime) then = g_date_time_new_from_unix_utc(now_us / G_USEC_PER_SEC - seconds);
    return g_date_time_format_iso8601(then);
}

static char *
log_query(BerthSession *session, const BerthArgs *args, GError **error)
{
    GString *query = g_string_new(berth_args_has(args, "follow") ? "follow=1" : "follow=0");
    const char *container = berth_args_get(args, "container");
    if (container != NULL) {
        g_autofree char *escaped = berth_url_escape(container);
        g_string_append_printf(query, "&container=%s", escaped);
    }
    if (berth_args_has(args, "tail")) {
        g_string_append_printf(query, "&tail=%" G_GINT64_FORMAT,
                               berth_args_number(args, "tail", 0));
    }
    const char *since = berth_args_get(args, "since");
    if (since != NULL) {
        g_autofree char *time = since_time(since, session->now_us, error);
        if (time == NULL) {
            g_string_free(query, TRUE);
            return NULL;
        }
        g_autofree char *escaped = berth_url_escape(time);
        g_string_append_printf(query, "&since=%s", escaped);
    }
    if (berth_args_has(args, "timestamps")) {
        g_string_append(query, "&timestamps=1");
    }
    return g_string_free(query, FALSE);
}

static int
run_logs(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) pod =
        berth_resolve_workload(session, &berth_kind_pod, berth_args_get(args, "pod"), error);
    g_autofree char *query = pod != NULL ? log_query(session, args, error) : NULL;
    if (query == NULL) {
        return BERTH_FAILED;
    }
    g_autofree char *path = berth_json_url(pod, "/logs?");
    g_autofree char *full = g_strconcat(path, query, NULL);
    const BerthLogPlan plan = {.timestamps = berth_args_has(args, "timestamps"),
                               .raw = berth_args_has(args, "raw")};
    return berth_log_stream(session, full, &plan, error) ? BERTH_EXIT_OK : BERTH_FAILED;
}

/* ---- the table ---- */

static const BerthArgument pod_argument[] = {
    {"pod", "name or UUID of the pod", .complete = BERTH_COMPLETE_POD},
    {NULL},
};
static const BerthArgument exec_arguments[] = {
    {"pod", "name or UUID of the pod", .complete = BERTH_COMPLETE_POD},
    {"command", "program and its arguments", .rest = TRUE},
    {NULL},
};
static const BerthArgument console_arguments[] = {
    {"domain", "name, libvirt's name, or UUID", .complete = BERTH_COMPLETE_WORKLOAD},
    {NULL},
};
static const BerthOption ps_options[] = {
    {"all", 'a', BERTH_OPTION_FLAG, NULL, "those that ended, too"},
    {NULL},
};
static const BerthOption exec_options[] = {
    {"interactive", 'i', BERTH_OPTION_FLAG, NULL, "connect stdin"},
    {"tty", 't', BERTH_OPTION_FLAG, NULL, "give it a terminal"},
    {"env", 'e', BERTH_OPTION_LIST, "NAME=VALUE", "set a variable"},
    {"workdir", 'w', BERTH_OPTION_TEXT, "DIR", "working directory"},
    {"user", 'u', BERTH_OPTION_TEXT, "USER[:GROUP]", "user to run as"},
    {"container", 0, BERTH_OPTION_TEXT, "NAME", "container of the pod; without it the first"},
    {NULL},
};
static const BerthOption attach_options[] = {
    {"container", 0, BERTH_OPTION_TEXT, "NAME", "container of the pod; without it the first"},
    {"logs", 0, BERTH_OPTION_FLAG, NULL, "begin with what it has written so far"},
    {"no-stdin", 0, BERTH_OPTION_FLAG, NULL, "don't connect stdin"},
    {"no-signals", 0, BERTH_OPTION_FLAG, NULL, "^C ends attach, not the container"},
    {NULL},
};
static const BerthOption console_options[] = {
    {"history", 0, BERTH_OPTION_NUMBER, "BYTES", "begin with the last bytes; 4096 without it"},
    {NULL},
};
static const BerthOption logs_options[] = {
    {"follow", 'f', BERTH_OPTION_FLAG, NULL, "go on with what is written from now on"},
    {"tail", 'n', BERTH_OPTION_NUMBER, "LINES", "only the last lines"},
    {"since", 0, BERTH_OPTION_TEXT, "TIME", "only what is younger: 5m, or an RFC 3339 time"},
    {"timestamps", 't', BERTH_OPTION_FLAG, NULL, "with the time of each line"},
    {"container", 0, BERTH_OPTION_TEXT, "NAME", "container of the pod; without it the only one"},
    {"raw", 0, BERTH_OPTION_FLAG, NULL, "leave control characters as they are, also on a terminal"},
    {NULL},
};

const BerthCommand berth_stream_commands[] = {
    {.name = "ps",
     .group = BERTH_GROUP_CONTAINERS,
     .doc = "list containers",
     .run = run_ps,
     .options = ps_options},
    {.name = "exec",
     .group = BERTH_GROUP_CONTAINERS,
     .doc = "run a command in a running container",
     .run = run_exec,
     .arguments = exec_arguments,
     .options = exec_options,
     .verbatim = TRUE,
     .example = "berth exec web cat /etc/os-release\nberth exec -it web sh"},
    {.name = "attach",
     .group = BERTH_GROUP_CONTAINERS,
     .doc = "connect to a container's main process",
     .run = run_attach,
     .arguments = pod_argument,
     .options = attach_options,
     .about = "^P ^Q leaves it running when it has a terminal."},
    {.name = "logs",
     .group = BERTH_GROUP_CONTAINERS,
     .doc = "what a container has written",
     .run = run_logs,
     .arguments = pod_argument,
     .options = logs_options,
     .about =
         "Its stdout goes to stdout, its stderr to stderr. On a terminal, control characters other "
         "than colours are shown, not obeyed; --raw leaves them."},
    {NULL},
};

const BerthCommand berth_console_commands[] = {
    {.name = "console",
     .group = BERTH_GROUP_WORKLOADS,
     .doc = "connect to the serial console",
     .run = run_console,
     .arguments = console_arguments,
     .options = console_options,
     .about = "^] ends the connection."},
    {NULL},
};
