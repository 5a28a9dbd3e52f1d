/* virsh's commands for domains, for VMs and pods alike. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/escape.h"
#include "cli/placement.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "model/kinds.h"

/* How long commands wait that virsh does not return from before it is done. */
#define VERB_WAIT_S 120

/* ---- the state in virsh's words ---- */

/* Phases as virsh calls them, where it has a word for them. */
static char *
state_of(const json_t *object)
{
    const char *phase = berth_json_phase(object);
    const char *code = json_string_value(berth_json_at(object, "/status/reason/code"));
    if (strcmp(phase, "Running") == 0 && g_strcmp0(code, "paused") == 0) {
        return g_strdup("paused");
    }
    if (strcmp(phase, "Stopped") == 0) {
        return g_strdup("shut off");
    }
    if (strcmp(phase, "Stopping") == 0) {
        return g_strdup("in shutdown");
    }
    return *phase == '\0' ? g_strdup("pending") : g_ascii_strdown(phase, -1);
}

static gboolean
is_active(const json_t *object)
{
    static const char *const active[] = {"Preparing", "Starting", "Running",
                                         "Stopping",  "Unknown",  NULL};
    return g_strv_contains(active, berth_json_phase(object));
}

static char *
short_id(const json_t *object)
{
    const char *uid = json_string_value(berth_json_at(object, "/metadata/uid"));
    return uid != NULL && is_active(object) ? g_strndup(uid, 8) : g_strdup("-");
}

/* ---- list ---- */

static int
compare_names(const void *a, const void *b)
{
    return strcmp(berth_json_name(*(json_t *const *)a), berth_json_name(*(json_t *const *)b));
}

/* All workloads of the project, by name. */
static json_t *
list_workloads(BerthSession *session, const char *query, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    g_autoptr(json_t) owner = json_array();
    for (guint i = 0; berth_kinds[i] != NULL; i++) {
        if (!berth_kinds[i]->workload) {
            continue;
        }
        g_autoptr(json_t) some = berth_list_objects(session, berth_kinds[i], query, error);
        if (some == NULL) {
            return NULL;
        }
        json_array_extend(owner, some);
    }
    gsize i;
    json_t *object;
    json_array_foreach (owner, i, object) {
        g_ptr_array_add(all, object);
    }
    g_ptr_array_sort(all, compare_names);
    json_t *sorted = json_array();
    for (guint at = 0; at < all->len; at++) {
        json_array_append(sorted, all->pdata[at]);
    }
    return sorted;
}

static void
add_list_row(BerthTable *table, const json_t *object, gint64 now_us)
{
    g_autofree char *id = short_id(object);
    g_autofree char *state = state_of(object);
    g_autofree char *age =
        berth_format_age(json_string_value(berth_json_at(object, "/metadata/created")), now_us);
    const char *image = json_string_value(berth_json_at(object, "/spec/containers/0/image"));
    if (image == NULL) {
        image = json_string_value(berth_json_at(object, "/spec/disks/0/image"));
    }
    const char *cells[] = {
        id,
        berth_json_name(object),
        state,
        berth_json_string(object, "kind"),
        json_string_value(berth_json_at(object, "/status/host")),
        json_string_value(berth_json_at(object, "/status/networks/0/ip")),
        image,
        age,
        json_string_value(berth_json_at(object, "/status/reason/message")),
    };
    berth_table_add(table, cells);
}

/* Who has no host, and why. */
static void
put_waiting(BerthSession *session, const json_t *list)
{
    static const BerthColumn columns[] = {
        {"Name", "/metadata/name"},           {"Kind", "/kind"},
        {"Priority", "/spec/priority"},       {"Age", "/metadata/created"},
        {"Reason", "/status/reason/message"}, {NULL}};
    g_autofree char *text = berth_print_objects(list, columns, FALSE, session->now_us);
    berth_session_put(session, text);
}

static void
put_list(BerthSession *session, const json_t *list)
{
    static const char *const narrow[] = {"Id", "Name", "State", "Kind", "Host", NULL};
    static const char *const wide[] = {"Id", "Name",  "State", "Kind",   "Host",
                                       "IP", "Image", "Age",   "Reason", NULL};
    gboolean is_wide = session->output == BERTH_OUTPUT_WIDE;
    g_autoptr(BerthTable) table = berth_table_new(is_wide ? wide : narrow);
    gsize i;
    json_t *object;
    json_array_foreach ((json_t *)list, i, object) {
        add_list_row(table, object, session->now_us);
    }
    g_autofree char *text = berth_table_format(table);
    berth_session_put(session, text);
}

static gboolean
is_waiting(const json_t *object)
{
    return strcmp(berth_json_phase(object), "Pending") == 0 &&
           berth_json_at(object, "/status/host") == NULL;
}

/* What --all, --inactive, --waiting and the kinds leave. */
static json_t *
choose(const json_t *all, const BerthArgs *args)
{
    gboolean every = berth_args_has(args, "all"), inactive = berth_args_has(args, "inactive");
    gboolean waiting = berth_args_has(args, "waiting");
    const char *kind = berth_args_has(args, "pods")  ? "Pod"
                       : berth_args_has(args, "vms") ? "VM"
                                                     : NULL;
    json_t *chosen = json_array();
    gsize i;
    json_t *object;
    json_array_foreach ((json_t *)all, i, object) {
        gboolean fits = waiting ? is_waiting(object) : every || is_active(object) != inactive;
        if (fits && (kind == NULL || g_strcmp0(kind, berth_json_string(object, "kind")) == 0)) {
            json_array_append(chosen, object);
        }
    }
    return chosen;
}

static char *
label_query(const BerthArgs *args)
{
    const char *label = berth_args_get(args, "label");
    g_autofree char *escaped = label != NULL ? berth_url_escape(label) : NULL;
    return escaped != NULL ? g_strconcat("label=", escaped, NULL) : NULL;
}

static void
put_column(BerthSession *session, const json_t *list, const char *pointer)
{
    gsize i;
    json_t *object;
    json_array_foreach ((json_t *)list, i, object) {
        const char *text = json_string_value(berth_json_at(object, pointer));
        berth_session_tell(session, "%s", text != NULL ? text : "-");
    }
}

static int
run_list(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autofree char *query = label_query(args);
    g_autoptr(json_t) all = list_workloads(session, query, error);
    if (all == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) list = choose(all, args);
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, list);
    } else if (berth_args_has(args, "name") || session->output == BERTH_OUTPUT_NAME) {
        put_column(session, list, "/metadata/name");
    } else if (berth_args_has(args, "uuid")) {
        put_column(session, list, "/metadata/uid");
    } else if (berth_args_has(args, "waiting")) {
        put_waiting(session, list);
    } else {
        put_list(session, list);
    }
    return BERTH_EXIT_OK;
}

/* ---- verbs ---- */

typedef struct {
    const char *command; /* its name */
    const char *verb;    /* of the API */
    const char *at_once; /* what is said when it isn't waited for */
    const char *done;    /* what is said when it is done */
    gint64 wait_s;       /* without --wait */
} Verb;

static const Verb verbs[] = {
    {"start", "start", "is being started", "started", VERB_WAIT_S},
    {"shutdown", "shutdown", "is being shut down", "was shut down", 0},
    {"destroy", "destroy", "is being destroyed", "destroyed", VERB_WAIT_S},
    {"reboot", "reboot", "is being rebooted", "was rebooted", 0},
    {"reset", "reset", "is being reset", "was reset", VERB_WAIT_S},
    {"suspend", "suspend", "is being suspended", "suspended", VERB_WAIT_S},
    {"resume", "resume", "is being resumed", "resumed", VERB_WAIT_S},
};

static const Verb *
find_verb(const BerthArgs *args)
{
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (strcmp(verbs[i].command, berth_args_command(args)->name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

/* What is told of at the end: the object and the answer, a Task or the object again. */
static json_t *
begin_verb(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    json_t *object = berth_resolve_workload(session, NULL, name, error);
    json_t *answer =
        object != NULL ? berth_post_verb(session, object, find_verb(args)->verb, error) : NULL;
    if (answer == NULL) {
        json_decref(object);
        return NULL;
    }
    return json_pack("[o, o]", object, answer);
}

static gboolean
end_verb(BerthSession *session, const BerthArgs *args, const json_t *begun, GError **error)
{
    const Verb *verb = find_verb(args);
    const json_t *object = json_array_get(begun, 0), *answer = json_array_get(begun, 1);
    gint64 wait_s = berth_wait_option(args, verb->wait_s, BERTH_WAIT_DEFAULT_S);
    if (wait_s > 0 && g_strcmp0(berth_json_string(answer, "kind"), "Task") == 0) {
        g_autoptr(json_t) ended = berth_wait_task(session, answer, wait_s, error);
        if (ended == NULL) {
            return FALSE;
        }
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, answer);
    } else {
        berth_session_say(session, "%s '%s' %s", berth_json_string(object, "kind"),
                          berth_json_name(object), wait_s > 0 ? verb->done : verb->at_once);
    }
    return TRUE;
}

static int
run_verb(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_verb, end_verb};
    return berth_each_name(session, args, "domain", &verb, error);
}

static int
run_undefine(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) object =
        berth_resolve_workload(session, NULL, berth_args_get(args, "domain"), error);
    if (object == NULL) {
        return BERTH_FAILED;
    }
    if (is_active(object)) {
        berth_error_set_at(error, BERTH_ERROR_CONFLICT, NULL,
                           "berth destroy, then undefine; or berth delete does both",
                           "%s '%s' is running", berth_json_string(object, "kind"),
                           berth_json_name(object));
        return BERTH_FAILED;
    }
    gint64 wait_s = berth_wait_option(args, VERB_WAIT_S, BERTH_WAIT_DEFAULT_S);
    if (!berth_delete(session, object, wait_s, error)) {
        return BERTH_FAILED;
    }
    berth_session_say(session, "%s '%s' has been undefined", berth_json_string(object, "kind"),
                      berth_json_name(object));
    return BERTH_EXIT_OK;
}

/* ---- questions ---- */

static void
add_text(BerthFacts *facts, const char *name, const json_t *object, const char *pointer)
{
    const char *text = json_string_value(berth_json_at(object, pointer));
    berth_facts_add(facts, name, "%s", text != NULL ? text : "-");
}

/* What it holds of its host beside vCPUs and memory. */
static void
add_hardware(BerthFacts *facts, const json_t *object)
{
    static const char *const lists[][2] = {
        {"NUMA cells", "cells"}, {"Own CPUs", "cpus"}, {"Devices", "devices"}};
    gint64 page_kib = berth_json_integer(json_object_get(object, "spec"), "huge_pages_kib", 0);
    if (page_kib > 0) {
        g_autofree char *size = berth_format_bytes(1024 * page_kib);
        berth_facts_add(facts, "Huge pages", "of %s", size);
    }
    const char *name;
    json_t *count;
    json_object_foreach ((json_t *)berth_json_at(object, "/spec/resources"), name, count) {
        berth_facts_add(facts, "Resource", "%" G_GINT64_FORMAT " %s",
                        (gint64)json_integer_value(count), name);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_autofree char *text =
            berth_placement_list(berth_json_at(object, "/status/placement"), lists[i][1]);
        if (text != NULL) {
            berth_facts_add(facts, lists[i][0], "%s", text);
        }
    }
}

/* virsh's lines first, in its order; then what virsh does not know. */
static void
put_dominfo(BerthSession *session, const json_t *object)
{
    g_autoptr(BerthFacts) facts = berth_facts_new();
    g_autofree char *id = short_id(object);
    g_autofree char *state = state_of(object);
    const json_t *spec = json_object_get(object, "spec");
    const json_t *status = json_object_get(object, "status");
    gboolean is_pod = g_strcmp0(berth_json_string(object, "kind"), "Pod") == 0;
    gint64 memory_kib = 1024 * berth_json_integer(spec, "memory_mib", is_pod ? 256 : 1024);
    berth_facts_add(facts, "Id", "%s", id);
    berth_facts_add(facts, "Name", "%s", berth_json_name(object));
    add_text(facts, "UUID", object, "/metadata/uid");
    berth_facts_add(facts, "OS Type", "%s", is_pod ? "linux" : "hvm");
    berth_facts_add(facts, "State", "%s", state);
    berth_facts_add(facts, "CPU(s)", "%" G_GINT64_FORMAT, berth_json_integer(spec, "vcpus", 1));
    berth_facts_add(facts, "Max memory", "%" G_GINT64_FORMAT " KiB", memory_kib);
    berth_facts_add(facts, "Charged memory", "%" G_GINT64_FORMAT " KiB",
                    1024 * berth_json_integer(status, "used_memory_mib", 0));
    berth_facts_add(facts, "Persistent", "yes");
    add_text(facts, "Kind", object, "/kind");
    add_text(facts, "Project", object, "/metadata/project");
    add_text(facts, "Power", object, "/power");
    add_text(facts, "Host", object, "/status/host");
    add_hardware(facts, object);
    add_text(facts, "Domain", object, "/status/domain/name");
    add_text(facts, "IP", object, "/status/networks/0/ip");
    berth_facts_add(facts, "Restarts", "%" G_GINT64_FORMAT,
                    berth_json_integer(status, "restarts", 0));
    if (berth_json_at(object, "/status/reason/message") != NULL) {
        add_text(facts, "Reason", object, "/status/reason/message");
    }
    g_autofree char *text = berth_facts_format(facts);
    berth_session_put(session, text);
}

static int
run_dominfo(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) object =
        berth_resolve_workload(session, NULL, berth_args_get(args, "domain"), error);
    if (object == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, object);
    } else {
        put_dominfo(session, object);
    }
    return BERTH_EXIT_OK;
}

static int
run_domstate(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) object =
        berth_resolve_workload(session, NULL, berth_args_get(args, "domain"), error);
    if (object == NULL) {
        return BERTH_FAILED;
    }
    g_autofree char *state = state_of(object);
    const char *reason = json_string_value(berth_json_at(object, "/status/reason/message"));
    if (berth_args_has(args, "reason") && reason != NULL) {
        berth_session_tell(session, "%s (%s)", state, reason);
    } else {
        berth_session_tell(session, "%s", state);
    }
    return BERTH_EXIT_OK;
}

static int
run_dumpxml(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) object =
        berth_resolve_workload(session, NULL, berth_args_get(args, "domain"), error);
    if (object == NULL) {
        return BERTH_FAILED;
    }
    g_autofree char *path = berth_json_url(object, ":xml");
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "GET", path, NULL, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    g_autofree char *safe = berth_escape_lines(reply->text);
    berth_session_put(session, safe);
    return BERTH_EXIT_OK;
}

/* ---- the table ---- */

static const BerthArgument domain[] = {
    {"domain", "name, libvirt's name, or UUID", .complete = BERTH_COMPLETE_WORKLOAD},
    {NULL},
};
static const BerthArgument domains[] = {
    {"domain", "name, libvirt's name, or UUID", .rest = TRUE, .complete = BERTH_COMPLETE_WORKLOAD},
    {NULL},
};
static const BerthOption wait_option[] = {BERTH_WAIT_OPTION, {NULL}};

static const BerthOption list_options[] = {
    {"all", 'a', BERTH_OPTION_FLAG, NULL, "those that are off or ended, too"},
    {"inactive", 0, BERTH_OPTION_FLAG, NULL, "only those that are off or ended"},
    {"waiting", 0, BERTH_OPTION_FLAG, NULL, "only those that wait for a host, and why"},
    {"pods", 0, BERTH_OPTION_FLAG, NULL, "only pods"},
    {"vms", 0, BERTH_OPTION_FLAG, NULL, "only VMs"},
    {"label", 'l', BERTH_OPTION_TEXT, "SELECTOR",
     "only those with these labels: tier=front,env!=test"},
    {"name", 0, BERTH_OPTION_FLAG, NULL, "only names"},
    {"uuid", 0, BERTH_OPTION_FLAG, NULL, "only UUIDs"},
    {NULL},
};
static const BerthOption domstate_options[] = {
    {"reason", 0, BERTH_OPTION_FLAG, NULL, "with the reason"},
    {NULL},
};

#define VERB(word, text)                                                                           \
    {                                                                                              \
        .name = (word), .group = BERTH_GROUP_WORKLOADS, .doc = (text), .run = run_verb,            \
        .arguments = domains, .options = wait_option                                               \
    }

const BerthCommand berth_workload_commands[] = {
    {.name = "list",
     .group = BERTH_GROUP_WORKLOADS,
     .doc = "list VMs and pods",
     .run = run_list,
     .options = list_options,
     .alias = "ls",
     .about =
         "Without options those that run. The Id is the beginning of the UUID and stands for it.",
     .example = "berth list --all\nberth list --waiting\nberth list --label tier=front -o wide"},
    VERB("start", "start VMs or pods that are off"),
    VERB("shutdown", "ask them to power off, and cut the power when they don't in time"),
    VERB("destroy", "cut the power at once"),
    VERB("reboot", "shut down and start again"),
    VERB("reset", "start again at once, as with the reset button"),
    VERB("suspend", "stop the virtual CPUs"),
    VERB("resume", "let the virtual CPUs go on"),
    {.name = "undefine",
     .group = BERTH_GROUP_WORKLOADS,
     .doc = "delete a VM or pod that is off",
     .run = run_undefine,
     .arguments = domain,
     .options = wait_option},
    {.name = "dominfo",
     .group = BERTH_GROUP_WORKLOADS,
     .doc = "the main facts about a VM or pod",
     .run = run_dominfo,
     .arguments = domain},
    {.name = "domstate",
     .group = BERTH_GROUP_WORKLOADS,
     .doc = "the state of a VM or pod in one word",
     .run = run_domstate,
     .arguments = domain,
     .options = domstate_options},
    {.name = "dumpxml",
     .group = BERTH_GROUP_WORKLOADS,
     .doc = "the domain XML of a VM or pod",
     .run = run_dumpxml,
     .arguments = domain},
    {NULL},
};
