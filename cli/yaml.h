/* YAML to JSON values and back, within fixed limits. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* The largest file `apply -f` reads. */
#define BERTH_YAML_SIZE_MAX (4 * 1024 * 1024)
/* The deepest nesting; what the server takes. */
#define BERTH_YAML_DEPTH_MAX 64
/* Values in all documents of a file, aliases counted as often as they are used. */
#define BERTH_YAML_NODES_MAX 100000
/* Aliases in a file. */
#define BERTH_YAML_ALIASES_MAX 1000
/* Documents in a file. */
#define BERTH_YAML_DOCUMENTS_MAX 1000

json_t *berth_yaml_parse(const char *text, gsize size, GError **error);
char *berth_yaml_format(const json_t *value);

G_END_DECLS
