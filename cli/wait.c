/* A watch that begins with the present state can't miss anything: what happened before it began is in
 * that state. When the daemon restarts meanwhile, the watch is begun anew. Main thread. */
#include "cli/wait.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/interrupt.h"
#include "cli/problem.h"
#include "cli/resolve.h"
#include "cli/terminal.h"
#include "model/kinds.h"

#define RETRY_MS 500
#define RETRY_S 60 /* how long a daemon may be away while we wait */

const char *
berth_json_phase(const json_t *object)
{
    const char *phase = json_string_value(berth_json_at(object, "/status/phase"));
    return phase != NULL ? phase : "";
}

static BerthErrorCode
code_of_reason(const char *code)
{
    static const char *const refusals[] = {"host-key-unknown", "host-key-changed", "same-machine",
                                           "same-uuid",        "other-machine",    NULL};
    if (g_strcmp0(code, "no-capacity") == 0) {
        return BERTH_ERROR_EXHAUSTED;
    }
    if (code != NULL && g_strv_contains(refusals, code)) {
        return BERTH_ERROR_DENIED;
    }
    for (guint i = 0; code != NULL && i <= BERTH_ERROR_INTERNAL; i++) {
        if (g_ascii_strcasecmp(code, berth_error_code_name(i)) == 0) {
            return i;
        }
    }
    return BERTH_ERROR_INTERNAL; /* exit code 1: failed, and no code says more */
}

/** Sets @error from the reason in @object's status; @what begins the message. */
void
berth_set_reason(GError **error, const json_t *object, const char *what)
{
    const json_t *reason = berth_json_at(object, "/status/reason");
    const char *message = berth_json_string(reason, "message");
    if (message == NULL) {
        message = json_string_value(berth_json_at(object, "/status/message"));
    }
    berth_error_set_at(error, code_of_reason(berth_json_string(reason, "code")), NULL,
                       berth_json_string(reason, "hint"), "%s: %s", what,
                       message != NULL ? message : "no reason was given");
}

/* ---- following ---- */

typedef struct {
    gboolean (*change)(const char *type, const json_t *object, gpointer user_data, GError **error);
    gpointer user_data;
    gboolean failed; /* by the change: not to be tried again */
    gboolean over;
} Follow;

static gboolean
follow_line(const char *line, gpointer user_data, GError **error)
{
    Follow *follow = user_data;
    if (line == NULL) {
        follow->over = !follow->change("tick", NULL, follow->user_data, error);
        return !follow->over;
    }
    g_autoptr(json_t) change = berth_client_parse(line, strlen(line), error);
    const char *type = berth_json_string(change, "type");
    if (type == NULL) {
        if (change != NULL) {
            berth_error_set(error, BERTH_ERROR_CORRUPT,
                            "the server's watch has a line without type");
        }
        follow->over = TRUE;
        return FALSE;
    }
    if (strcmp(type, "error") == 0) {
        follow->over = TRUE;
        return berth_problem_set(error, 500, json_object_get(change, "error"), NULL);
    }
    follow->over =
        !follow->change(type, json_object_get(change, "object"), follow->user_data, error);
    return !follow->over;
}

/**
 * berth_follow:
 * @query: of /v1/watch
 * @change: gets "put" and "deleted" with the object, "bookmark", and "tick" each second of silence; returns
 *     FALSE to end
 *
 * Begins with the present objects. A daemon that goes away is waited for.
 */
gboolean
berth_follow(BerthSession *session, const char *query,
             gboolean (*change)(const char *type, const json_t *object, gpointer user_data,
                                GError **error),
             gpointer user_data, GError **error)
{
    Follow follow = {change, user_data, FALSE, FALSE};
    g_autofree char *path = g_strconcat("/v1/watch?", query, NULL);
    gint64 lost_us = 0;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        gboolean ok = berth_client_lines(session->client, path, follow_line, &follow, &problem);
        if (follow.over || berth_interrupted()) {
            if (problem != NULL) {
                g_propagate_error(error, g_steal_pointer(&problem));
                return FALSE;
            }
            return TRUE;
        }
        gint64 now = g_get_monotonic_time();
        if (ok) {
            lost_us = 0;
        } else if (lost_us == 0) {
            lost_us = now;
        }
        gboolean again = ok || g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_UNAVAILABLE);
        if (!again || (lost_us != 0 && now - lost_us > RETRY_S * G_USEC_PER_SEC)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        g_usleep(RETRY_MS * 1000); /* the daemon is restarting: nothing tells when it is back */
    }
}

/* ---- waiting ---- */

typedef struct {
    BerthSession *session;
    const char *uid; /* of the object that is waited for */
    const char *name;
    gint64 timeout_s, deadline_us;
    BerthWaitCheck check;
    gpointer user_data;
    json_t *last; /* owned; the last state seen */
    BerthProgress progress;
} Wait;

static void
show_progress(Wait *wait)
{
    const json_t *object = wait->last;
    const char *text = json_string_value(berth_json_at(object, "/status/message"));
    if (text == NULL) {
        text = json_string_value(berth_json_at(object, "/status/reason/message"));
    }
    gint64 percent = berth_json_integer(json_object_get(object, "status"), "percent", -1);
    g_autofree char *share =
        percent > 0 ? g_strdup_printf(" %" G_GINT64_FORMAT "%%", percent) : g_strdup("");
    berth_progress_set(&wait->progress, "%s: %s%s%s%s", wait->name, berth_json_phase(object), share,
                       text != NULL ? ": " : "", text != NULL ? text : "");
}

static gboolean
on_change(const char *type, const json_t *object, gpointer user_data, GError **error)
{
    Wait *wait = user_data;
    const char *uid = json_string_value(berth_json_at(object, "/metadata/uid"));
    gboolean ours = object != NULL && g_strcmp0(uid, wait->uid) == 0;
    if (ours) {
        json_decref(wait->last);
        wait->last = json_deep_copy(object);
        gboolean gone = strcmp(type, "deleted") == 0;
        g_autoptr(GError) problem = NULL;
        if (wait->check(gone ? NULL : object, wait->user_data, &problem) || problem != NULL) {
            if (problem != NULL) {
                g_propagate_error(error, g_steal_pointer(&problem));
            }
            return FALSE;
        }
        if (gone) {
            berth_error_set(error, BERTH_ERROR_NOT_FOUND, "'%s' was deleted", wait->name);
            return FALSE;
        }
    }
    show_progress(wait);
    if (g_get_monotonic_time() > wait->deadline_us) {
        const char *why = json_string_value(berth_json_at(wait->last, "/status/reason/message"));
        const char *code = json_string_value(berth_json_at(wait->last, "/status/reason/code"));
        gboolean refused = g_strcmp0(code, "no-capacity") == 0;
        g_autofree char *hint = refused
                                    ? g_strdup_printf("it waits for room; berth why %s", wait->name)
                                    : g_strdup("it goes on; berth get shows how far");
        berth_error_set_at(error, BERTH_ERROR_TIMEOUT, NULL, hint,
                           "'%s' is still %s after %" G_GINT64_FORMAT " s%s%s", wait->name,
                           berth_json_phase(wait->last), wait->timeout_s, why != NULL ? ": " : "",
                           why != NULL ? why : "");
        return FALSE;
    }
    return TRUE;
}

static char *
watch_query(const json_t *object)
{
    const BerthKind *kind = berth_json_kind(object);
    const char *project = json_string_value(berth_json_at(object, "/metadata/project"));
    g_autofree char *name = berth_url_escape(berth_json_name(object));
    if (kind->scope == BERTH_SCOPE_FLEET || project == NULL) {
        return g_strdup_printf("kinds=%s&name=%s", kind->plural, name);
    }
    g_autofree char *escaped = berth_url_escape(project);
    return g_strdup_printf("kinds=%s&project=%s&name=%s", kind->plural, escaped, name);
}

/**
 * berth_wait_object:
 * @object: any state of it
 * @timeout_s: or BERTH_WAIT_FOREVER
 * @check: is asked with the present state first, then with each change
 *
 * Shows progress on a terminal. Returns: (transfer full): the last state seen, also of an object that is
 * gone by then. Errors: @check's; TIMEOUT; CANCELLED by ^C; NOT_FOUND: it is gone and @check did not
 * expect it.
 */
json_t *
berth_wait_object(BerthSession *session, const json_t *object, gint64 timeout_s,
                  BerthWaitCheck check, gpointer user_data, GError **error)
{
    if (berth_json_kind(object) == NULL) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the server's answer is no object of a known kind");
        return NULL;
    }
    gint64 now = g_get_monotonic_time();
    Wait wait = {.session = session,
                 .uid = json_string_value(berth_json_at(object, "/metadata/uid")),
                 .name = berth_json_name(object),
                 .timeout_s = timeout_s,
                 .deadline_us = timeout_s >= G_MAXINT64 / (2 * G_USEC_PER_SEC)
                                    ? G_MAXINT64
                                    : now + timeout_s * G_USEC_PER_SEC,
                 .check = check,
                 .user_data = user_data,
                 .last = json_deep_copy(object)};
    berth_progress_begin(&wait.progress, session->quiet);
    g_autofree char *query = watch_query(object);
    g_autoptr(GError) problem = NULL;
    gboolean ok = berth_follow(session, query, on_change, &wait, &problem);
    berth_progress_end(&wait.progress);
    if (ok && berth_interrupted()) {
        berth_error_set(&problem, BERTH_ERROR_CANCELLED, "interrupted");
    }
    if (problem != NULL) {
        json_decref(wait.last);
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    return wait.last;
}

static gboolean
task_is_over(const json_t *task, gpointer user_data, GError **error)
{
    const char *phase = berth_json_phase(task);
    if (task == NULL || strcmp(phase, "Succeeded") == 0) {
        return TRUE;
    }
    gboolean cancelled = strcmp(phase, "Cancelled") == 0;
    if (!cancelled && strcmp(phase, "Failed") != 0) {
        return FALSE;
    }
    const char *verb = json_string_value(berth_json_at(task, "/spec/verb"));
    const char *target = json_string_value(berth_json_at(task, "/spec/target_name"));
    g_autofree char *what =
        g_strdup_printf("%s of '%s' %s", verb != NULL ? verb : "task",
                        target != NULL ? target : "?", cancelled ? "was cancelled" : "failed");
    berth_set_reason(error, task, what);
    return TRUE;
}

/** Waits until @task succeeded. Errors: its reason; as berth_wait_object(). */
json_t *
berth_wait_task(BerthSession *session, const json_t *task, gint64 timeout_s, GError **error)
{
    return berth_wait_object(session, task, timeout_s, task_is_over, NULL, error);
}

/* Whether the controllers have caught up with the spec. */
static gboolean
is_observed(const json_t *object)
{
    const BerthKind *kind = berth_json_kind(object);
    if (kind == NULL || kind->status == NULL ||
        berth_schema_find(kind->status, "observed_generation") == NULL) {
        return TRUE;
    }
    return berth_json_integer(json_object_get(object, "status"), "observed_generation", 0) >=
           berth_json_integer(json_object_get(object, "metadata"), "generation", 0);
}

/** A BerthWaitCheck: whether @object is what its spec says. Errors: its reason. */
gboolean
berth_check_settled(const json_t *object, gpointer user_data, GError **error)
{
    static const char *const good[] = {"Running",    "Succeeded", "Stopped", "Ready",
                                       "Unprepared", "Available", NULL};
    const char *phase = berth_json_phase(object);
    const BerthKind *kind = object != NULL ? berth_json_kind(object) : NULL;
    if (kind == NULL || kind->status == NULL || berth_schema_find(kind->status, "phase") == NULL) {
        return TRUE; /* nothing about it takes time */
    }
    if (!is_observed(object)) {
        return FALSE;
    }
    /* A host that can't be reached is tried again for ever; who adds it wants to know the first answer. */
    gboolean stuck = strcmp(phase, "Unreachable") == 0 || strcmp(phase, "Refused") == 0 ||
                     (kind == &berth_kind_host && strcmp(phase, "Connecting") == 0 &&
                      berth_json_at(object, "/status/reason/code") != NULL);
    if (strcmp(phase, "Failed") == 0 || stuck) {
        g_autofree char *what = g_strdup_printf("%s '%s'", kind->name, berth_json_name(object));
        berth_set_reason(error, object, what);
        return TRUE;
    }
    return g_strv_contains(good, phase);
}

/** Waits until @object is what its spec says: a pod runs, an image is ready. Errors: its reason. */
json_t *
berth_wait_settled(BerthSession *session, const json_t *object, gint64 timeout_s, GError **error)
{
    return berth_wait_object(session, object, timeout_s, berth_check_settled, NULL, error);
}

/* ---- gone ---- */

/* What is still needed goes later: that is not worth waiting for, but to be said. */
static gboolean
is_gone(const json_t *object, gpointer user_data, GError **error)
{
    const json_t *reason = berth_json_at(object, "/status/reason");
    if (g_strcmp0(berth_json_string(reason, "code"), "in-use") == 0) {
        berth_error_set_at(error, BERTH_ERROR_CONFLICT, NULL, berth_json_string(reason, "hint"),
                           "%s '%s' is not gone yet: %s", berth_json_string(object, "kind"),
                           berth_json_name(object), berth_json_string(reason, "message"));
        return FALSE;
    }
    return object == NULL;
}

/**
 * berth_delete:
 * @wait_s: how long to wait until it is gone; 0: it is only asked for
 *
 * Asks for the end of @object. Errors: also CONFLICT when it stays until others don't need it any more.
 */
gboolean
berth_delete(BerthSession *session, const json_t *object, gint64 wait_s, GError **error)
{
    g_autofree char *path = berth_json_url(object, "");
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "DELETE", path, NULL, error);
    return reply != NULL && (wait_s <= 0 || berth_wait_gone(session, object, wait_s, error));
}

/** Waits until @object is deleted. Errors: CONFLICT when others still need it. */
gboolean
berth_wait_gone(BerthSession *session, const json_t *object, gint64 timeout_s, GError **error)
{
    /* A watch that begins behind the deletion would tell of nothing: ask once first. Between the two it
     * can vanish still, so ask again when the watch is silent: done by the short turns below. */
    g_autofree char *path = berth_json_url(object, "");
    gint64 left = timeout_s;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        g_autoptr(json_t) now = berth_client_get(session->client, path, &problem);
        if (now == NULL && g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
            return TRUE;
        }
        const char *uid = json_string_value(berth_json_at(now, "/metadata/uid"));
        if (now != NULL &&
            g_strcmp0(uid, json_string_value(berth_json_at(object, "/metadata/uid"))) != 0) {
            return TRUE; /* another one has its name by now */
        }
        if (now == NULL && !g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_UNAVAILABLE)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        g_clear_error(&problem);
        if (!is_gone(now, NULL, &problem) && problem != NULL) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        gint64 turn = MIN(left, 5);
        g_autoptr(json_t) last = berth_wait_object(session, object, turn, is_gone, NULL, &problem);
        if (last != NULL) {
            return TRUE;
        }
        left -= turn;
        if (!g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_TIMEOUT) || left <= 0) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
    }
}
