/* From what a person types to the object: our name, libvirt's name, UUID, or the short id of a list. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

json_t *berth_resolve_workload(BerthSession *session, const BerthKind *kind, const char *name,
                               GError **error);
const BerthKind *berth_resolve_kind(const char *name, GError **error);
json_t *berth_resolve_image(BerthSession *session, const char *name, GError **error);

json_t *berth_get_object(BerthSession *session, const BerthKind *kind, const char *name,
                         GError **error);
json_t *berth_list_objects(BerthSession *session, const BerthKind *kind, const char *query,
                           GError **error);

char *berth_collection_path(BerthSession *session, const BerthKind *kind);
char *berth_object_url(BerthSession *session, const BerthKind *kind, const char *name);
char *berth_json_url(const json_t *object, const char *suffix);

json_t *berth_post_verb(BerthSession *session, const json_t *object, const char *verb,
                        GError **error);

const char *berth_json_name(const json_t *object);
const BerthKind *berth_json_kind(const json_t *object);

char *berth_reference_normalise(const char *reference);

G_END_DECLS
