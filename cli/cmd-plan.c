/* Questions about placement: why, plan, rebalance, fleet export; cmd-capacity.c has how much is left. */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "cli/document.h"
#include "cli/escape.h"
#include "cli/placement.h"
#include "cli/question.h"
#include "cli/resolve.h"
#include "model/kinds.h"

/* ---- why ----------------------------------------------------------------------------------------- */

static gboolean
is_tied(const json_t *placement)
{
    const json_t *winner = json_object_get(placement, "winner");
    const json_t *second = json_object_get(placement, "runner_up");
    return second != NULL &&
           json_equal(json_object_get(winner, "score"), json_object_get(second, "score"));
}

static void
put_why(BerthSession *session, const json_t *why)
{
    const json_t *placement = json_object_get(why, "placement");
    const json_t *reason = json_object_get(why, "reason");
    const char *host = berth_json_string(why, "host");
    const char *message = berth_json_string(reason, "message");
    const char *hint = berth_json_string(reason, "hint");
    berth_session_tell(session, "%s '%s' is %s%s%s", berth_json_string(why, "kind"),
                       berth_json_string(why, "name"), berth_json_string(why, "phase"),
                       host != NULL ? " on host " : "", host != NULL ? host : "");
    gboolean refused = host == NULL && json_is_false(json_object_get(placement, "fits"));
    /* For want of room the table says it with all numbers. */
    gboolean told = refused && g_strcmp0(berth_json_string(reason, "code"), "no-capacity") == 0;
    if (message != NULL && !told) {
        berth_session_tell(session, "%s%s%s%s", message, hint != NULL ? " (" : "",
                           hint != NULL ? hint : "", hint != NULL ? ")" : "");
    }
    if (refused) {
        berth_question_put_refusal(session, placement);
        const char *fix = json_string_value(berth_json_at(placement, "/fix/kind"));
        gboolean is_small = g_strcmp0(fix, "none") != 0 && g_strcmp0(fix, "add-host") != 0;
        /* A hint that leads here leads nowhere. */
        if (told && hint != NULL && strstr(hint, "berth why") == NULL && !is_small) {
            berth_session_tell(session, "What may help: %s.", hint);
        }
        return;
    }
    g_autofree char *scores = berth_placement_scores(placement);
    if (scores != NULL) {
        berth_session_put(session, "\n");
        berth_session_put(session, scores);
    }
    if (is_tied(placement)) {
        berth_session_put(session, "Both are equally good for it: the first one was taken.\n\n");
    }
    g_autofree char *others = berth_placement_groups(placement);
    if (others != NULL) {
        g_autofree char *text = g_strconcat("Hosts that could not take it:\n\n", others, NULL);
        berth_session_put(session, text);
    }
    if (host == NULL && placement != NULL) {
        berth_session_tell(session, "By itself it %s.", berth_json_string(placement, "summary"));
    }
}

static int
run_why(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) object =
        berth_resolve_workload(session, NULL, berth_args_get(args, "domain"), error);
    if (object == NULL) {
        return BERTH_FAILED;
    }
    g_autofree char *path = berth_json_url(object, ":why");
    g_autoptr(json_t) why = berth_client_get(session->client, path, error);
    if (why == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, why);
    } else {
        put_why(session, why);
    }
    return BERTH_EXIT_OK;
}

/* ---- plan ---------------------------------------------------------------------------------------- */

/* "spec.vcpus: 1 -> 2" */
static void
put_changes(const json_t *changes)
{
    gsize i;
    json_t *change;
    json_array_foreach ((json_t *)changes, i, change) {
        const json_t *before = json_object_get(change, "before");
        const json_t *after = json_object_get(change, "after");
        const char *path = berth_json_string(change, "path");
        g_autofree char *name = g_strdelimit(g_strdup(path != NULL ? path + 1 : ""), "/", '.');
        g_autofree char *one = json_is_null(before) ? g_strdup("-") : berth_json_format(before);
        g_autofree char *two = json_is_null(after) ? g_strdup("-") : berth_json_format(after);
        g_autofree char *line = g_strdup_printf("    %s: %s -> %s", name, one, two);
        g_autofree char *safe = berth_escape_text(line);
        printf("%s\n", safe);
    }
}

static void
add_row(BerthTable *table, const json_t *step)
{
    const json_t *fits = json_object_get(step, "fits");
    const char *host = berth_json_string(step, "host"), *from = berth_json_string(step, "from");
    g_autofree char *moved =
        from != NULL ? g_strdup_printf("%s, was on %s", host != NULL ? host : "no room", from)
                     : NULL;
    gboolean waits = json_object_get(step, "waits") != NULL;
    const char *where = waits ? "waits" : json_is_false(fits) ? "no room" : host;
    const char *cells[] = {berth_json_string(step, "kind"), berth_json_string(step, "name"),
                           berth_json_string(step, "outcome"), moved != NULL ? moved : where};
    berth_table_add(table, cells);
}

static void
put_steps(BerthSession *session, const json_t *steps)
{
    static const char *const titles[] = {"Kind", "Name", "Would be", "On host", NULL};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *step;
    json_array_foreach ((json_t *)steps, i, step) {
        add_row(table, step);
    }
    if (json_array_size(steps) == 0) {
        berth_session_put(session, "Nothing would be placed, moved or changed.\n\n");
        return;
    }
    g_autofree char *text = berth_table_format(table);
    printf("%s", text);
}

/* The last word of a long answer. */
static void
put_sum(BerthSession *session, const json_t *steps)
{
    gsize without = 0, i;
    json_t *step;
    json_array_foreach ((json_t *)steps, i, step) {
        without +=
            json_is_false(json_object_get(step, "fits")) && json_object_get(step, "waits") == NULL;
    }
    if (without > 0) {
        berth_session_tell(session, "%zu of %zu have no room.", without, json_array_size(steps));
    }
}

/* Changes and refusals, each under the name of its object. */
static void
put_details(BerthSession *session, const json_t *steps)
{
    gsize i;
    json_t *step;
    json_array_foreach ((json_t *)steps, i, step) {
        const json_t *changes = json_object_get(step, "changes");
        const char *waits = berth_json_string(step, "waits");
        gboolean refused = json_is_false(json_object_get(step, "fits"));
        if (json_array_size(changes) == 0 && !refused) {
            continue;
        }
        berth_session_tell(session, "%s '%s'%s", berth_json_string(step, "kind"),
                           berth_json_string(step, "name"),
                           waits != NULL || !refused ? ":" : " has no room:");
        put_changes(changes);
        if (waits != NULL) {
            berth_session_tell(session, "    %s", waits);
        } else if (refused) {
            berth_question_put_refusal(session, json_object_get(step, "placement"));
        }
        printf("\n");
    }
}

static void
put_loads(const json_t *hosts)
{
    static const BerthColumn columns[] = {{"Host", "/name"},
                                          {"vCPUs used", "/used/vcpus"},
                                          {"of", "/capacity/vcpus"},
                                          {"Memory used", "/used/memory_mib"},
                                          {"of", "/capacity/memory_mib"},
                                          {NULL}};
    if (json_array_size(hosts) > 0) {
        g_autoptr(json_t) sorted = berth_sort_by_name(hosts, "name");
        g_autofree char *text = berth_print_objects(sorted, columns, FALSE, 0);
        printf("Hosts as they would be then:\n\n%s", text);
    }
}

static int
run_plan(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) documents =
        berth_documents_read_all(berth_args_list(args, "filename"), error);
    if (documents == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) question =
        json_pack("{s:O, s:s}", "documents", documents, "project", session->settings->project);
    if (!berth_question_add_hosts(question, args, error)) {
        return BERTH_FAILED;
    }
    if (json_array_size(documents) == 0 && !berth_args_has(args, "without-host") &&
        !berth_args_has(args, "add-host")) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "berth plan -f FILE, or berth plan --without-host HOST",
                           "there is nothing to plan");
        return BERTH_FAILED;
    }
    g_autoptr(json_t) plan = berth_question_ask(session, "/v1/plan", question, error);
    if (plan == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, plan);
    } else {
        put_steps(session, json_object_get(plan, "steps"));
        put_details(session, json_object_get(plan, "steps"));
        put_loads(json_object_get(plan, "hosts"));
        put_sum(session, json_object_get(plan, "steps"));
    }
    return json_is_true(json_object_get(plan, "fits")) ? BERTH_EXIT_OK : BERTH_EXIT_REFUSED;
}

/* ---- rebalance ----------------------------------------------------------------------------------- */

static void
put_moves(const json_t *moves)
{
    static const BerthColumn columns[] = {{"Kind", "/kind"},
                                          {"Name", "/name"},
                                          {"From", "/from"},
                                          {"To", "/to"},
                                          {"Because", "/reason"},
                                          {"Copy s", "/copy_s"},
                                          {NULL}};
    if (json_array_size(moves) > 0) {
        g_autofree char *text = berth_print_objects(moves, columns, FALSE, 0);
        printf("%s", text);
    }
}

static void
put_stuck(BerthSession *session, const json_t *stuck)
{
    gsize i;
    json_t *one;
    json_array_foreach ((json_t *)stuck, i, one) {
        berth_session_tell(session, "%s '%s' stays on host %s: %s", berth_json_string(one, "kind"),
                           berth_json_string(one, "name"), berth_json_string(one, "host"),
                           berth_json_string(one, "why"));
    }
}

static void
put_rebalance(BerthSession *session, const json_t *plan)
{
    const json_t *moves = json_object_get(plan, "moves");
    put_moves(moves);
    put_stuck(session, json_object_get(plan, "stuck"));
    if (json_array_size(moves) == 0) {
        berth_session_tell(session, "Nothing is worth moving.");
        return;
    }
    berth_session_tell(
        session, "%s%zu move%s, one after the other, about %" G_GINT64_FORMAT " s of copying.",
        json_is_true(json_object_get(plan, "limited")) ? "The first " : "", json_array_size(moves),
        json_array_size(moves) == 1 ? "" : "s", berth_json_integer(plan, "copy_s", 0));
}

/* What --@option says, as member @member; absent: the daemon's own. */
static void
add_number(const BerthArgs *args, const char *option, const char *member, json_t *question)
{
    if (berth_args_has(args, option)) {
        json_object_set_new(question, member, json_integer(berth_args_number(args, option, 0)));
    }
}

static int
run_rebalance(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) question =
        json_pack("{s:b}", "repair_only", berth_args_has(args, "repair-only"));
    berth_question_add_names(question, "empty_hosts", args, "empty");
    if (!berth_question_add_like(question, args, error)) {
        return BERTH_FAILED;
    }
    add_number(args, "moves", "moves_max", question);
    add_number(args, "link", "link_mib_s", question);
    g_autoptr(json_t) plan = berth_question_ask(session, "/v1/rebalance", question, error);
    if (plan == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, plan);
    } else {
        put_rebalance(session, plan);
    }
    return json_array_size(json_object_get(plan, "stuck")) == 0 ? BERTH_EXIT_OK
                                                                : BERTH_EXIT_REFUSED;
}

/* ---- fleet export -------------------------------------------------------------------------------- */

static int
run_fleet_export(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *path = berth_args_get(args, "file");
    g_auto(BerthFd) file = -1;
    int fd = STDOUT_FILENO;
    if (path != NULL && strcmp(path, "-") != 0) {
        file = fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0) {
            berth_error_set_errno(error, errno, "cannot write '%s'", path);
            return BERTH_FAILED;
        }
    }
    fflush(stdout);
    return berth_client_download(session->client, "GET", "/v1/fleet", fd, NULL, NULL, error)
               ? BERTH_EXIT_OK
               : BERTH_FAILED;
}

/* ---- the table ----------------------------------------------------------------------------------- */

static const BerthArgument why_arguments[] = {
    {"domain", "name, libvirt's name, or UUID", .complete = BERTH_COMPLETE_WORKLOAD},
    {NULL},
};
static const BerthArgument export_arguments[] = {
    {"file", "the file to write; without it, and for -, stdout", .optional = TRUE,
     .complete = BERTH_COMPLETE_FILE},
    {NULL},
};
static const BerthOption plan_options[] = {
    {"filename", 'f', BERTH_OPTION_LIST, "FILE", "YAML or JSON; - is stdin", NULL,
     BERTH_COMPLETE_FILE},
    BERTH_ASSUMPTION_OPTIONS,
    {NULL},
};
static const BerthOption rebalance_options[] = {
    {"empty", 0, BERTH_OPTION_LIST, "HOST", "everything is to leave the host", NULL,
     BERTH_COMPLETE_HOST},
    {"repair-only", 0, BERTH_OPTION_FLAG, NULL,
     "only what must leave its host or breaks a rule there"},
    {"moves", 0, BERTH_OPTION_NUMBER, "N", "at most so many moves (100)"},
    {"link", 0, BERTH_OPTION_NUMBER, "MIB", "MiB a second that one migration copies (1000)"},
    BERTH_ADD_HOST_OPTION,
    {NULL},
};

const BerthCommand berth_placement_commands[] = {
    {.name = "why",
     .group = BERTH_GROUP_PLACEMENT,
     .doc = "why a workload is where it is, or is not placed",
     .run = run_why,
     .arguments = why_arguments,
     .about =
         "For a workload without a host: what each host refuses it for, and the smallest change "
         "that would let it fit. -o wide shows every host of a large fleet. For one that was "
         "placed: the score's parts of its host and of the runner-up, as they were then."},
    {.name = "plan",
     .group = BERTH_GROUP_PLACEMENT,
     .doc = "what apply would change, and where workloads would run",
     .run = run_plan,
     .options = plan_options,
     .about = "Several documents are planned together, one after the other. With --without-host, "
              "what runs there is placed elsewhere first; with --add-host, what waits for room. "
              "Nothing is changed. Exits with 4 when something has no room.",
     .example = "berth plan -f web.yaml\nberth plan --without-host h3\n"
                "berth plan -f batch.yaml --add-host like=h1 --add-host like=h1"},
    {.name = "rebalance",
     .group = BERTH_GROUP_PLACEMENT,
     .doc = "which live migrations would make the fleet better",
     .run = run_rebalance,
     .options = rebalance_options,
     .about = "A plan: nothing is moved. In its order no move breaks a rule, each workload having "
              "room at both ends while it is copied. Hosts above 80 % of their vCPUs or memory are "
              "relieved, and hosts that have room in only one of them. With --empty, everything "
              "leaves a host. Exits with 4 when something must leave its host and can't.",
     .example = "berth rebalance\nberth rebalance --empty h3 --repair-only\n"
                "berth rebalance --add-host like=h1"},
    {.name = "fleet export",
     .group = BERTH_GROUP_PLACEMENT,
     .doc = "write the fleet as the scheduler sees it, for berth-sim replay",
     .run = run_fleet_export,
     .arguments = export_arguments,
     .about = "Hosts, and workloads in the order of their placements, those gone since included. "
              "Names of projects, groups and labels are in it, nothing of what runs inside.",
     .example = "berth fleet export fleet.json"},
    {NULL},
};
