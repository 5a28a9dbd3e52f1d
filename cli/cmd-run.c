/* berth run: as docker run, in a microVM of its own.
 *
 * The order is: image, pod, wait until there is something to attach to, attach from the first byte of its
 * log, exit code. --rm is in the pod's spec, so that the daemon keeps the promise when we are gone.
 * Start reading at run_run(). */
#include "cli/cmd.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/interrupt.h"
#include "cli/pull.h"
#include "cli/remote.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "model/kinds.h"

#define CONTAINER "main"
#define SEE_OFF_S 15 /* as long as its host answers, its power is cut by then */

/* ---- what is wanted ---- */

static gboolean
refuse_unsupported(const BerthArgs *args, GError **error)
{
    if (berth_args_has(args, "publish")) {
        berth_error_set_at(
            error, BERTH_ERROR_INVALID, NULL,
            "leave it out: the pod's own address (berth dominfo) is reachable from its "
            "network",
            "ports cannot be published yet");
        return FALSE;
    }
    if (berth_args_has(args, "volume")) {
        berth_error_set_at(
            error, BERTH_ERROR_INVALID, NULL,
            "put the files into the image: a host's folders are never given to guests",
            "volumes cannot be mounted into containers yet");
        return FALSE;
    }
    if (berth_args_has(args, "rm") && berth_args_has(args, "restart") &&
        strcmp(berth_args_get(args, "restart"), "no") != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "--rm and --restart exclude each other");
        return FALSE;
    }
    return TRUE;
}

/* docker's rule: a name alone takes the value from here, or nothing when it is not set here. */
static gboolean
put_env(json_t *container, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) env = json_array();
    for (char *const *one = berth_args_list(args, "env"); *one != NULL; one++) {
        if (strchr(*one, '=') != NULL) {
            json_array_append_new(env, json_string(*one));
        } else if (g_getenv(*one) != NULL) {
            g_autofree char *pair = g_strdup_printf("%s=%s", *one, g_getenv(*one));
            json_array_append_new(env, json_string(pair));
        }
    }
    for (char *const *file = berth_args_list(args, "env-file"); *file != NULL; file++) {
        gsize size;
        g_autofree char *text = berth_read_file(*file, BERTH_JSON_SIZE_MAX, &size, error);
        if (text == NULL) {
            return FALSE;
        }
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line != NULL; line++) {
            g_strchomp(*line);
            if (**line != '\0' && **line != '#') {
                json_array_append_new(env, json_string(*line));
            }
        }
    }
    if (json_array_size(env) > 0) {
        json_object_set(container, "env", env);
    }
    return TRUE;
}

static void
put_text(json_t *object, const char *member, const char *text)
{
    if (text != NULL) {
        json_object_set_new(object, member, json_string(text));
    }
}

static json_t *
make_container(const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) container =
        json_pack("{s:s, s:s}", "name", CONTAINER, "image", berth_args_get(args, "image"));
    if (!put_env(container, args, error)) {
        return NULL;
    }
    put_text(container, "workdir", berth_args_get(args, "workdir"));
    put_text(container, "user", berth_args_get(args, "user"));
    put_text(container, "stop_signal", berth_args_get(args, "stop-signal"));
    if (berth_args_has(args, "entrypoint")) {
        json_object_set_new(container, "command",
                            json_pack("[s]", berth_args_get(args, "entrypoint")));
    }
    char *const *words = berth_args_list(args, "command");
    if (*words != NULL) {
        json_t *list = json_array();
        for (; *words != NULL; words++) {
            json_array_append_new(list, json_string(*words));
        }
        json_object_set_new(container, "args", list);
    }
    static const char *const flags[][2] = {
        {"tty", "tty"}, {"interactive", "stdin_open"}, {"read-only", "read_only"}};
    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (berth_args_has(args, flags[i][0])) {
            json_object_set_new(container, flags[i][1], json_true());
        }
    }
    return g_steal_pointer(&container);
}

static const char *
restart_of(const BerthArgs *args)
{
    const char *policy = berth_args_get(args, "restart");
    return g_strcmp0(policy, "always") == 0       ? "Always"
           : g_strcmp0(policy, "on-failure") == 0 ? "OnFailure"
                                                  : "Never";
}

static json_t *
make_spec(const BerthArgs *args, GError **error)
{
    json_t *container = make_container(args, error);
    if (container == NULL) {
        return NULL;
    }
    const char *restart = restart_of(args);
    g_autoptr(json_t) spec =
        json_pack("{s:[o], s:s, s:s}", "containers", container, "restart", restart, "run",
                  strcmp(restart, "Always") == 0 ? "Always" : "Once");
    if (!berth_workload_options_put(spec, args, error)) {
        return NULL;
    }
    put_text(spec, "profile", berth_args_get(args, "profile"));
    put_text(spec, "hostname", berth_args_get(args, "hostname"));
    if (berth_args_has(args, "rm")) {
        json_object_set_new(spec, "remove_when_done", json_true());
    }
    return g_steal_pointer(&spec);
}

static json_t *
make_document(const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) labels = NULL;
    if (!berth_labels_parse(berth_args_list(args, "label"), &labels, error)) {
        return NULL;
    }
    json_t *spec = make_spec(args, error);
    if (spec == NULL) {
        return NULL;
    }
    json_t *metadata = json_pack("{s:O}", "labels", labels);
    put_text(metadata, "name", berth_args_get(args, "name"));
    return json_pack("{s:s, s:o, s:o}", "kind", "Pod", "metadata", metadata, "spec", spec);
}

static json_t *
create(BerthSession *session, const char *name, const json_t *document, GError **error)
{
    const BerthRequestOptions options = {.body = document, .create_only = name != NULL};
    g_autofree char *path = name != NULL ? berth_object_url(session, &berth_kind_pod, name)
                                         : berth_collection_path(session, &berth_kind_pod);
    g_autoptr(BerthReply) reply =
        berth_client_call(session->client, name != NULL ? "PUT" : "POST", path, &options, error);
    return reply != NULL ? g_steal_pointer(&reply->body) : NULL;
}

/* ---- until it runs ---- */

static const json_t *
container_of(const json_t *pod)
{
    return berth_json_at(pod, "/status/containers/0");
}

/* "Failed": it could not be started. */
static gboolean
is_container_over(const json_t *pod)
{
    const char *state = berth_json_string(container_of(pod), "state");
    return g_strcmp0(state, "Exited") == 0 || g_strcmp0(state, "Failed") == 0;
}

static gboolean
has_ended(const json_t *pod)
{
    const char *phase = berth_json_phase(pod);
    return is_container_over(pod) || strcmp(phase, "Succeeded") == 0 ||
           strcmp(phase, "Failed") == 0 || strcmp(phase, "Stopped") == 0;
}

/* What is only a step on the way; any other reason of a pod without a host means that it can't be placed. */
static gboolean
is_on_its_way(const json_t *pod)
{
    static const char *const codes[] = {"image-pulling", "back-off", "preempting", NULL};
    const char *code = json_string_value(berth_json_at(pod, "/status/reason/code"));
    return code == NULL || g_strv_contains(codes, code);
}

/* Why it can't be placed. It is not kept, so that asking why leads nowhere. */
static void
set_refusal(GError **error, const json_t *pod)
{
    g_autofree char *what = g_strdup_printf("pod '%s' cannot run", berth_json_name(pod));
    g_autoptr(GError) problem = NULL;
    berth_set_reason(&problem, pod, what);
    const char *hint = berth_error_hint(problem);
    if (hint != NULL && strstr(hint, "berth why") != NULL) {
        hint = "it was not kept; berth host list shows what is free, and berth apply makes pods "
               "that wait for room";
    }
    berth_error_set_at(error, berth_error_code_of(problem), NULL, hint, "%s", problem->message);
}

/* Over when there is something to attach to; fails when it can't be placed. */
static gboolean
has_started(const json_t *pod, gpointer user_data, GError **error)
{
    const char *phase = berth_json_phase(pod);
    const char *state = berth_json_string(container_of(pod), "state");
    gboolean runs = state != NULL ? strcmp(state, "Running") == 0 : strcmp(phase, "Running") == 0;
    if (pod == NULL || runs || has_ended(pod)) {
        return TRUE;
    }
    if (strcmp(phase, "Pending") == 0 && !is_on_its_way(pod)) {
        set_refusal(error, pod);
        return TRUE;
    }
    return FALSE;
}

static void
remove_pod(BerthSession *session, const json_t *pod)
{
    g_autofree char *path = berth_json_url(pod, "");
    g_autoptr(GError) problem = NULL;
    berth_interrupt_clear(); /* the deletion must get through; the next ^C ends it */
    g_autoptr(BerthReply) reply =
        berth_client_call(session->client, "DELETE", path, NULL, &problem);
    if (reply == NULL && !g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        berth_print_warning("pod '%s' is still there: %s", berth_json_name(pod), problem->message);
    }
}

/* A pod of which its user was told that it failed must not start later by surprise. */
static json_t *
wait_started(BerthSession *session, const json_t *pod, GError **error)
{
    json_t *started = berth_wait_object(session, pod, BERTH_WAIT_FOREVER, has_started, NULL, error);
    if (started == NULL) {
        remove_pod(session, pod);
    }
    return started;
}

/* ---- the end ---- */

static gboolean
is_over(const json_t *pod, gpointer user_data, GError **error)
{
    return pod == NULL || has_ended(pod);
}

/* The exit code that the pod's status tells. */
static int
exit_code_in(const json_t *pod, GError **error)
{
    const json_t *code = json_object_get(container_of(pod), "exit_code");
    if (json_is_integer(code) && is_container_over(pod)) {
        return (int)(json_integer_value(code) & 0xff);
    }
    g_autofree char *what = g_strdup_printf("pod '%s' did not run", berth_json_name(pod));
    berth_set_reason(error, pod, what);
    return BERTH_FAILED;
}

/* Says why a container could not be started: its program could not say anything. The pod may be on its way
 * out already, then there is nothing to be said. */
static void
explain_start(BerthSession *session, const json_t *pod, int code)
{
    if (code < BERTH_EXIT_RUN_FAILED || code > BERTH_EXIT_NO_COMMAND) {
        return;
    }
    g_autofree char *path = berth_json_url(pod, "");
    g_autoptr(json_t) now = berth_client_get(session->client, path, NULL);
    const char *why = json_string_value(berth_json_at(now, "/status/reason/message"));
    if (g_strcmp0(berth_json_string(container_of(now), "state"), "Failed") != 0) {
        return;
    }
    if (why == NULL) {
        why = code == BERTH_EXIT_NO_COMMAND       ? "there is no such program in the image"
              : code == BERTH_EXIT_NOT_EXECUTABLE ? "its program cannot be executed"
                                                  : "the runtime in the guest failed";
    }
    g_autoptr(GError) problem = NULL;
    berth_error_set(&problem, BERTH_ERROR_INVALID, "the container could not be started: %s", why);
    berth_print_error(problem);
}

static int
finish(BerthSession *session, const json_t *pod, GError **error)
{
    g_autoptr(json_t) last =
        berth_wait_object(session, pod, BERTH_WAIT_FOREVER, is_over, NULL, error);
    return last != NULL ? exit_code_in(last, error) : BERTH_FAILED;
}

/* Who reads that it ended may use its name again. The daemon would remove it a little later by itself. */
static void
see_off(BerthSession *session, const json_t *pod)
{
    remove_pod(session, pod);
    berth_wait_gone(session, pod, SEE_OFF_S, NULL);
}

static int
attach(BerthSession *session, const BerthArgs *args, const json_t *pod, GError **error)
{
    g_autofree char *path = berth_json_url(pod, ":attach");
    g_autoptr(json_t) start = json_pack("{s:s, s:i}", "container", CONTAINER, "history", -1);
    gboolean tty = berth_args_has(args, "tty");
    const BerthRemotePlan plan = {.path = path,
                                  .start = start,
                                  .with_stdin = berth_args_has(args, "interactive"),
                                  .tty = tty,
                                  .forward_signals = TRUE,
                                  .detach = BERTH_DETACH_DOCKER};
    int code = 0;
    switch (berth_remote_run(session, &plan, &code, error)) {
    case BERTH_REMOTE_EXITED:
        explain_start(session, pod, code);
        if (berth_args_has(args, "rm")) {
            see_off(session, pod);
        }
        return code;
    case BERTH_REMOTE_DETACHED:
        fprintf(stderr, "\nstill running; berth attach %s\n", berth_json_name(pod));
        return BERTH_EXIT_OK;
    default:
        return BERTH_FAILED;
    }
}

static int
run_foreground(BerthSession *session, const BerthArgs *args, const json_t *pod, GError **error)
{
    g_autoptr(json_t) started = wait_started(session, pod, error);
    if (started == NULL) {
        return BERTH_FAILED;
    }
    if (container_of(started) == NULL && has_ended(started)) {
        return exit_code_in(started, error);
    }
    g_autoptr(GError) problem = NULL;
    int code = attach(session, args, started, &problem);
    if (code != BERTH_FAILED) {
        return code;
    }
    /* It ended between the two, and its guest with it: the record has the code. */
    if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_CONFLICT) && has_ended(started)) {
        return finish(session, started, error);
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return BERTH_FAILED;
}

static int
run_detached(BerthSession *session, const json_t *pod, GError **error)
{
    g_autoptr(json_t) started = wait_started(session, pod, error);
    if (started == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, started);
    } else {
        printf("%s\n", berth_json_name(started));
    }
    return BERTH_EXIT_OK;
}

static int
run_run(BerthSession *session, const BerthArgs *args, GError **error)
{
    gboolean detach = berth_args_has(args, "detach");
    if (!refuse_unsupported(args, error)) {
        return BERTH_FAILED;
    }
    if (!detach && berth_args_has(args, "tty") && berth_args_has(args, "interactive") &&
        !isatty(STDIN_FILENO)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "leave out -t",
                           "-t with -i needs a terminal, and stdin is none");
        return BERTH_FAILED;
    }
    g_autoptr(json_t) document = make_document(args, error);
    if (document == NULL || !berth_pull_by_policy(session, berth_args_get(args, "image"),
                                                  berth_args_get(args, "pull"), error)) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) pod = create(session, berth_args_get(args, "name"), document, error);
    if (pod == NULL) {
        return BERTH_FAILED;
    }
    return detach ? run_detached(session, pod, error) : run_foreground(session, args, pod, error);
}

/* ---- the table ---- */

static const char *const pull_policies[] = {"missing", "always", "never", NULL};
static const char *const restart_policies[] = {"no", "on-failure", "always", NULL};
static const char *const profiles[] = {"q35", "microvm", NULL};

static const BerthArgument run_arguments[] = {
    {"image", "reference of the image", .complete = BERTH_COMPLETE_REFERENCE},
    {"command", "replaces the image's command", .optional = TRUE, .rest = TRUE},
    {NULL},
};

static const BerthOption run_options[] = {
    {"detach", 'd', BERTH_OPTION_FLAG, NULL, "print the name and return once it runs"},
    {"interactive", 'i', BERTH_OPTION_FLAG, NULL, "connect stdin"},
    {"tty", 't', BERTH_OPTION_FLAG, NULL, "give it a terminal; ^P ^Q leaves it running"},
    {"rm", 0, BERTH_OPTION_FLAG, NULL, "delete the pod when it has ended, whatever happens to us"},
    {"name", 0, BERTH_OPTION_TEXT, "NAME", "name of the pod; without it one is made up"},
    {"env", 'e', BERTH_OPTION_LIST, "NAME[=VALUE]", "set a variable, or pass on ours"},
    {"env-file", 0, BERTH_OPTION_LIST, "FILE", "set variables from a file", NULL,
     BERTH_COMPLETE_FILE},
    {"workdir", 'w', BERTH_OPTION_TEXT, "DIR", "working directory"},
    {"user", 'u', BERTH_OPTION_TEXT, "USER[:GROUP]", "user to run as"},
    {"entrypoint", 0, BERTH_OPTION_TEXT, "PROGRAM", "replaces the image's entrypoint"},
    {"hostname", 'h', BERTH_OPTION_TEXT, "NAME", "host name inside"},
    {"label", 'l', BERTH_OPTION_LIST, "KEY=VALUE", "label of the pod"},
    {"memory", 'm', BERTH_OPTION_SIZE, "SIZE", "memory of the pod: 256m, 1g"},
    {"cpus", 0, BERTH_OPTION_NUMBER, "N", "virtual CPUs of the pod"},
    {"profile", 0, BERTH_OPTION_CHOICE, NULL, "machine profile", profiles},
    BERTH_WORKLOAD_OPTIONS,
    {"restart", 0, BERTH_OPTION_CHOICE, NULL, "when it is started again", restart_policies},
    {"stop-signal", 0, BERTH_OPTION_TEXT, "SIGNAL", "signal of a graceful stop"},
    {"read-only", 0, BERTH_OPTION_FLAG, NULL, "make its root file system read-only"},
    {"pull", 0, BERTH_OPTION_CHOICE, NULL, "when to pull the image", pull_policies},
    {"publish", 'p', BERTH_OPTION_LIST, "PORTS", "refused: not there yet"},
    {"volume", 'v', BERTH_OPTION_LIST, "MOUNT", "refused: not there yet"},
    {NULL},
};

const BerthCommand berth_run_commands[] = {
    {.name = "run",
     .group = BERTH_GROUP_CONTAINERS,
     .doc = "run a container in a microVM of its own",
     .run = run_run,
     .arguments = run_arguments,
     .options = run_options,
     .verbatim = TRUE,
     .about =
         "Works as docker run. In the foreground the container's output goes to stdout and stderr, "
         "signals go to the container, and its exit code becomes ours. ^C pressed three times "
         "kills "
         "what does not listen to it.\n\nOptions stand before the image; what follows the image is "
         "the container's.",
     .example = "berth run --rm alpine uname -r\nberth run -it --rm alpine sh\n"
                "berth run -d --name web --memory 512m nginx"},
    {NULL},
};
