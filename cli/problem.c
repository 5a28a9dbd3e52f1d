/* What a daemon says was wrong, as our error. */
#include "cli/problem.h"

#include "base/error.h"
#include "base/json.h"

static gboolean
find_code(const char *name, BerthErrorCode *code)
{
    for (guint i = 0; i <= BERTH_ERROR_INTERNAL; i++) {
        if (g_strcmp0(name, berth_error_code_name(i)) == 0) {
            *code = i;
            return TRUE;
        }
    }
    return FALSE;
}

static BerthErrorCode
code_of_status(long status)
{
    switch (status) {
    case 401:
    case 403:
        return BERTH_ERROR_DENIED;
    case 404:
        return BERTH_ERROR_NOT_FOUND;
    case 409:
    case 412:
        return BERTH_ERROR_CONFLICT;
    case 410:
        return BERTH_ERROR_GONE;
    case 429:
    case 507:
        return BERTH_ERROR_EXHAUSTED;
    case 502:
    case 503:
        return BERTH_ERROR_UNAVAILABLE;
    case 504:
        return BERTH_ERROR_TIMEOUT;
    default:
        return status < 500 ? BERTH_ERROR_INVALID : BERTH_ERROR_INTERNAL;
    }
}

/**
 * berth_problem_set:
 * @status: of the answer; not 2xx
 * @problem: (nullable): problem+json
 * @text: (nullable): the answer when it is no JSON
 *
 * Sets @error as the daemon meant it: code, message, place, hint. Returns: FALSE.
 */
gboolean
berth_problem_set(GError **error, long status, const json_t *problem, const char *text)
{
    BerthErrorCode code;
    if (!find_code(berth_json_string(problem, "code"), &code)) {
        code = code_of_status(status);
    }
    const char *detail = berth_json_string(problem, "detail");
    const char *pointer = berth_json_string(problem, "pointer");
    const char *hint = berth_json_string(problem, "hint");
    if (detail == NULL) {
        detail = berth_json_string(problem, "title");
    }
    if (detail == NULL) {
        g_autofree char *line = g_strndup(text != NULL ? text : "", 200);
        berth_error_set_at(error, code, NULL, "is that a Berth daemon?",
                           "the server answers %ld%s%s", status, *line != '\0' ? ": " : "",
                           g_strchomp(line));
        return FALSE;
    }
    berth_error_set_at(error, code, pointer, hint, "%s", detail);
    return FALSE;
}
