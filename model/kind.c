/* The register of kinds: the only list of them in the tree. */
#include "model/object.h"

#include <string.h>

const BerthKind *const berth_kinds[] = {
    &berth_kind_host,       &berth_kind_vm,
    &berth_kind_pod,        &berth_kind_image,
    &berth_kind_network,    &berth_kind_volume,
    &berth_kind_project,    &berth_kind_task,
    &berth_kind_event,      &berth_kind_settings,
    &berth_kind_address,    &berth_kind_request_key,
    &berth_kind_fleet_mark, NULL,
};

static gboolean
is_called(const BerthKind *kind, const char *name)
{
    return g_ascii_strcasecmp(kind->name, name) == 0 ||
           g_ascii_strcasecmp(kind->plural, name) == 0 ||
           (kind->short_name != NULL && g_ascii_strcasecmp(kind->short_name, name) == 0);
}

const BerthKind *
berth_kind_find(const char *name)
{
    for (gsize i = 0; berth_kinds[i] != NULL; i++) {
        if (is_called(berth_kinds[i], name)) {
            return berth_kinds[i];
        }
    }
    return NULL;
}
