/* Documents that users write: YAML or JSON, one or several in a file. */
#pragma once

#include <jansson.h>

#include "cli/session.h"

G_BEGIN_DECLS

json_t *berth_documents_read(const char *path, GError **error);
json_t *berth_documents_read_all(char *const *paths, GError **error);
char *berth_document_path(BerthSession *session, const json_t *document, GError **error);

G_END_DECLS
