/* problem+json, and what stands for it when a server sends none. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

gboolean berth_problem_set(GError **error, long status, const json_t *problem, const char *text);

G_END_DECLS
