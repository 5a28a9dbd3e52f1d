/* What the questions about placement share: the fleet that they assume, how they are asked, how no is said. */
#include "cli/question.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/placement.h"

/** Adds the names that the option @option gives as @question's @member. */
void
berth_question_add_names(json_t *question, const char *member, const BerthArgs *args,
                         const char *option)
{
    json_t *hosts = json_array();
    json_object_set_new(question, member, hosts);
    for (char *const *host = berth_args_list(args, option); *host != NULL; host++) {
        json_array_append_new(hosts, json_string(*host));
    }
}

/** Adds --add-host. Errors: INVALID. */
gboolean
berth_question_add_like(json_t *question, const BerthArgs *args, GError **error)
{
    json_t *like = json_array();
    json_object_set_new(question, "add_hosts_like", like);
    for (char *const *host = berth_args_list(args, "add-host"); *host != NULL; host++) {
        if (!g_str_has_prefix(*host, "like=") || strlen(*host) == strlen("like=")) {
            berth_error_set_at(
                error, BERTH_ERROR_INVALID, NULL, "--add-host like=HOST",
                "option --add-host: '%s' does not say which host the new one is like", *host);
            return FALSE;
        }
        json_array_append_new(like, json_string(*host + strlen("like=")));
    }
    return TRUE;
}

/** Adds --without-host and --add-host. Errors: INVALID. */
gboolean
berth_question_add_hosts(json_t *question, const BerthArgs *args, GError **error)
{
    berth_question_add_names(question, "without_hosts", args, "without-host");
    return berth_question_add_like(question, args, error);
}

/** Returns: (transfer full): the answer of POST @path. */
json_t *
berth_question_ask(BerthSession *session, const char *path, const json_t *question, GError **error)
{
    const BerthRequestOptions options = {.body = question};
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "POST", path, &options, error);
    return reply != NULL ? json_incref(reply->body) : NULL;
}

/** Says which hosts refuse and what would help. */
void
berth_question_put_refusal(BerthSession *session, const json_t *placement)
{
    g_autofree char *table =
        berth_placement_refusals(placement, session->output == BERTH_OUTPUT_WIDE);
    g_autofree char *fix = berth_placement_fix(placement);
    if (table != NULL) {
        berth_session_put(session, "\n");
        berth_session_put(session, table);
    }
    berth_session_tell(session, "%s", fix);
}
