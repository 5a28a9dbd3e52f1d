/* Strict, bounded JSON reading over jansson. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* The deepest nesting any JSON from outside may have. */
#define BERTH_JSON_DEPTH_MAX 64
/* The largest JSON document a request may carry. */
#define BERTH_JSON_SIZE_MAX (1024 * 1024)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

gboolean berth_json_check(const char *data, gsize size, guint depth_max, GError **error);
json_t *berth_json_parse(const char *data, gsize size, GError **error);
json_t *berth_json_parse_limited(const char *data, gsize size, gsize size_max, guint depth_max,
                                 GError **error);
char *berth_json_format(const json_t *value);

const char *berth_json_string(const json_t *object, const char *key);
gint64 berth_json_integer(const json_t *object, const char *key, gint64 fallback);

G_END_DECLS
