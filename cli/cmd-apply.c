/* apply, edit: documents to objects. */
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
#include "cli/interrupt.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "cli/yaml.h"
#include "model/kinds.h"

/* ---- apply ---- */

static const char *
outcome_of(const json_t *before, const json_t *after)
{
    if (before == NULL) {
        return "created";
    }
    gboolean same = json_equal(json_object_get(before, "spec"), json_object_get(after, "spec")) &&
                    json_equal(berth_json_at(before, "/metadata/labels"),
                               berth_json_at(after, "/metadata/labels")) &&
                    json_equal(berth_json_at(before, "/metadata/annotations"),
                               berth_json_at(after, "/metadata/annotations"));
    return same ? "unchanged" : "changed";
}

/* The object at @path; NULL without @error when there is none. */
static gboolean
get_present(BerthSession *session, const char *path, json_t **present, GError **error)
{
    g_autoptr(GError) problem = NULL;
    *present = berth_client_get(session->client, path, &problem);
    if (*present == NULL && !g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return TRUE;
}

typedef struct {
    gboolean dry_run;
    gint64 wait_s;
    json_t *answers;     /* what was answered; borrowed */
    GPtrArray *outcomes; /* of char*: what that means, for each answer; borrowed */
} Apply;

static void
say_outcome(BerthSession *session, const json_t *object, const Apply *apply, const char *outcome)
{
    if (!berth_session_wants_value(session)) {
        berth_session_say(session, "%s '%s' %s%s", berth_json_string(object, "kind"),
                          berth_json_name(object), apply->dry_run ? "would be " : "", outcome);
    }
}

static gboolean
apply_one(BerthSession *session, const json_t *document, Apply *apply, GError **error)
{
    g_autofree char *path = berth_document_path(session, document, error);
    g_autoptr(json_t) before = NULL;
    if (path == NULL || !get_present(session, path, &before, error)) {
        return FALSE;
    }
    g_autofree char *target = g_strconcat(path, apply->dry_run ? "?dry_run=1" : "", NULL);
    const BerthRequestOptions options = {.body = document};
    g_autoptr(BerthReply) reply =
        berth_client_call(session->client, "PUT", target, &options, error);
    if (reply == NULL) {
        return FALSE;
    }
    const char *outcome = outcome_of(before, reply->body);
    json_array_append(apply->answers, reply->body);
    g_ptr_array_add(apply->outcomes, (gpointer)outcome);
    if (apply->wait_s == 0) {
        say_outcome(session, reply->body, apply, outcome);
    }
    return TRUE;
}

/* Waits for all, once all were sent: they start side by side, and members of a group need each other. */
static void
settle(BerthSession *session, const Apply *apply, GError **error)
{
    for (gsize i = 0; i < json_array_size(apply->answers) && !berth_interrupted(); i++) {
        GError *problem = NULL;
        json_t *settled =
            berth_wait_settled(session, json_array_get(apply->answers, i), apply->wait_s, &problem);
        if (settled != NULL) {
            say_outcome(session, settled, apply, apply->outcomes->pdata[i]);
            json_array_set_new(apply->answers, i, settled);
        }
        berth_note_problem(problem, error);
    }
}

/* Whether the daemon would take @document. What it misses may come with an earlier one. */
static gboolean
try_one(BerthSession *session, const json_t *document, Apply *unused, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *path = berth_document_path(session, document, &problem);
    g_autofree char *target = g_strconcat(path != NULL ? path : "", "?dry_run=1", NULL);
    const BerthRequestOptions options = {.body = document};
    g_autoptr(BerthReply) reply =
        path != NULL ? berth_client_call(session->client, "PUT", target, &options, &problem) : NULL;
    if (reply == NULL && !g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return TRUE;
}

typedef gboolean (*Visit)(BerthSession *session, const json_t *document, Apply *apply,
                          GError **error);

/* Of several documents, an error names the one. */
static gboolean
each_document(BerthSession *session, const json_t *documents, Visit visit, Apply *apply,
              GError **error)
{
    gsize i;
    json_t *document;
    json_array_foreach (documents, i, document) {
        g_autoptr(GError) problem = NULL;
        if (visit(session, document, apply, &problem)) {
            continue;
        }
        if (json_array_size(documents) > 1) {
            const char *kind = berth_json_string(document, "kind");
            const char *name = berth_json_name(document);
            g_autofree char *which =
                g_strdup_printf("document %zu (%s '%s') ", i + 1, kind != NULL ? kind : "no kind",
                                name != NULL ? name : "");
            berth_error_point(problem, which);
        }
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return TRUE;
}

/* Of several, all are tried before anything is sent: a slip in the last document changes nothing. */
static int
run_apply(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) documents =
        berth_documents_read_all(berth_args_list(args, "filename"), error);
    g_autoptr(json_t) answers = json_array();
    g_autoptr(GPtrArray) outcomes = g_ptr_array_new();
    gboolean dry_run = berth_args_has(args, "dry-run");
    gint64 wait_s = dry_run ? 0 : berth_wait_option(args, 0, BERTH_WAIT_DEFAULT_S);
    Apply apply = {dry_run, wait_s, answers, outcomes};
    if (documents != NULL && json_array_size(documents) == 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "berth apply -f FILE, or -f - for stdin", "no document was given");
    }
    if (json_array_size(documents) == 0) {
        return BERTH_FAILED;
    }
    gboolean is_tried = json_array_size(documents) == 1 || apply.dry_run ||
                        each_document(session, documents, try_one, &apply, error);
    if (!is_tried || !each_document(session, documents, apply_one, &apply, error)) {
        return BERTH_FAILED;
    }
    if (wait_s > 0) {
        settle(session, &apply, error);
    }
    if (*error != NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, json_array_size(answers) == 1 ? json_array_get(answers, 0)
                                                                       : answers);
    }
    return BERTH_EXIT_OK;
}

/* ---- edit ---- */

static gboolean
run_editor(const char *path, GError **error)
{
    const char *editor = g_getenv("VISUAL") != NULL ? g_getenv("VISUAL") : g_getenv("EDITOR");
    g_auto(GStrv) words = NULL;
    g_autoptr(GError) problem = NULL;
    if (!g_shell_parse_argv(editor != NULL ? editor : "vi", NULL, &words, &problem)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "EDITOR: %s", problem->message);
        return FALSE;
    }
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    for (char **word = words; *word != NULL; word++) {
        g_ptr_array_add(argv, *word);
    }
    g_ptr_array_add(argv, (gpointer)path);
    g_ptr_array_add(argv, NULL);
    int status;
    if (!g_spawn_sync(NULL, (char **)argv->pdata, NULL,
                      G_SPAWN_SEARCH_PATH | G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL,
                      &status, &problem) ||
        !g_spawn_check_wait_status(status, &problem)) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "the editor failed: %s", problem->message);
        return FALSE;
    }
    return TRUE;
}

/* What a user may change: no status, no server-owned members. */
static json_t *
editable(const json_t *object)
{
    json_t *copy = json_object(), *metadata = json_object();
    static const char *const kept[] = {"name", "project", "labels", "annotations"};
    for (gsize i = 0; i < G_N_ELEMENTS(kept); i++) {
        json_t *value = json_object_get(json_object_get(object, "metadata"), kept[i]);
        if (value != NULL) {
            json_object_set(metadata, kept[i], value);
        }
    }
    json_object_set(copy, "kind", json_object_get(object, "kind"));
    json_object_set_new(copy, "metadata", metadata);
    json_object_set(copy, "spec", json_object_get(object, "spec"));
    return copy;
}

static json_t *
edit_document(const json_t *before, GError **error)
{
    g_autofree char *path = NULL;
    g_autoptr(GError) problem = NULL;
    g_auto(BerthFd) fd = g_file_open_tmp("berth-XXXXXX.yaml", &path, &problem);
    if (fd < 0) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "%s", problem->message);
        return NULL;
    }
    g_autofree char *text = berth_yaml_format(before);
    json_t *after = NULL;
    if (berth_fd_write_all(fd, text, strlen(text), error) && run_editor(path, error)) {
        g_autoptr(json_t) documents = berth_documents_read(path, error);
        after = json_incref(json_array_get(documents, 0));
        if (documents != NULL && after == NULL) {
            berth_error_set(error, BERTH_ERROR_CANCELLED, "the document is empty: nothing changed");
        }
    }
    unlink(path);
    return after;
}

static int
run_edit(BerthSession *session, const BerthArgs *args, GError **error)
{
    const BerthKind *kind = berth_resolve_kind(berth_args_get(args, "kind"), error);
    g_autoptr(json_t) object =
        kind != NULL ? berth_get_object(session, kind, berth_args_get(args, "name"), error) : NULL;
    if (object == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) before = editable(object);
    g_autoptr(json_t) after = edit_document(before, error);
    if (after == NULL) {
        return BERTH_FAILED;
    }
    if (json_equal(before, after)) {
        berth_session_say(session, "%s '%s' unchanged", kind->name, berth_json_name(object));
        return BERTH_EXIT_OK;
    }
    g_autofree char *path = berth_json_url(object, "");
    g_autofree char *revision =
        g_strdup_printf("%" G_GINT64_FORMAT,
                        berth_json_integer(json_object_get(object, "metadata"), "revision", 0));
    const BerthRequestOptions options = {.body = after, .if_match = revision};
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "PUT", path, &options, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    berth_session_say(session, "%s '%s' changed", kind->name, berth_json_name(object));
    return BERTH_EXIT_OK;
}

/* ---- the table ---- */

static const BerthOption apply_options[] = {
    {"filename", 'f', BERTH_OPTION_LIST, "FILE", "YAML or JSON; - is stdin", NULL,
     BERTH_COMPLETE_FILE},
    {"dry-run", 0, BERTH_OPTION_FLAG, NULL, "only say what would happen"},
    BERTH_WAIT_OPTION,
    {NULL},
};
static const BerthArgument edit_arguments[] = {
    {"kind", "pod, vm, host …", .complete = BERTH_COMPLETE_KIND},
    {"name", "name of the object", .complete = BERTH_COMPLETE_OBJECT},
    {NULL},
};

const BerthCommand berth_apply_commands[] = {
    {.name = "apply",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "create or change objects as documents say",
     .run = run_apply,
     .options = apply_options,
     .about = "Several documents in a file are divided by ---. All are tried before the first is "
              "applied, and all are applied before --wait waits for the first.",
     .example = "berth apply -f web.yaml --wait\nberth get pod web -o yaml | berth apply -f -"},
    {.name = "edit",
     .group = BERTH_GROUP_OBJECTS,
     .doc = "change an object in the editor",
     .run = run_edit,
     .arguments = edit_arguments},
    {NULL},
};
