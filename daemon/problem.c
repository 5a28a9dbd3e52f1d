/* problem+json from errors. Start reading at berth_problem_from_error(). */
#include "daemon/problem.h"

#include "base/error.h"

#include <microhttpd.h>

const char *
berth_status_title(guint status)
{
    return MHD_get_reason_phrase_for(status);
}

/** See the header. */
json_t *
berth_problem_new(const char *code, guint status, const char *detail, const char *hint,
                  const char *pointer, const char *request_id)
{
    /* Texts may quote what came in; JSON takes only UTF-8. */
    g_autofree char *safe_detail = g_utf8_make_valid(detail, -1);
    g_autofree char *safe_hint = hint != NULL ? g_utf8_make_valid(hint, -1) : NULL;
    g_autofree char *safe_pointer = pointer != NULL ? g_utf8_make_valid(pointer, -1) : NULL;
    return json_pack("{s:s, s:s, s:i, s:s, s:s*, s:s*, s:s*}", "code", code, "title",
                     berth_status_title(status), "status", (int)status, "detail", safe_detail,
                     "hint", safe_hint, "pointer", safe_pointer, "request_id", request_id);
}

/** See the header. */
json_t *
berth_problem_from_error(const GError *error, guint status, const char *request_id)
{
    return berth_problem_new(berth_error_code_name(berth_error_code_of(error)),
                             status != 0 ? status : (guint)berth_error_http_status(error),
                             error->message, berth_error_hint(error), berth_error_pointer(error),
                             request_id);
}
