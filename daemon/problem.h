/* Errors as HTTP tells them: application/problem+json (RFC 9457) with a stable code. Pure. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* (transfer full): @hint, @pointer, @request_id may be NULL and are then left out. */
json_t *berth_problem_new(const char *code, guint status, const char *detail, const char *hint,
                          const char *pointer, const char *request_id);
/* (transfer full): @status 0: by the error's code. */
json_t *berth_problem_from_error(const GError *error, guint status, const char *request_id);
/* "Not Found" for 404; never NULL. */
const char *berth_status_title(guint status);

G_END_DECLS
