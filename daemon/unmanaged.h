/* Domains on the hosts that no record of Berth stands for. */
#pragma once

#include "daemon/control.h"

G_BEGIN_DECLS

gboolean berth_domain_is_probe(const BerthDomain *domain);
gboolean berth_domain_is_lost(BerthControl *control, const BerthDomain *domain);
gboolean berth_domain_is_unmanaged(BerthControl *control, const BerthDomain *domain);

json_t *berth_unmanaged_list(BerthControl *control, BerthFleetHost *host);
gboolean berth_unmanaged_has_lost(BerthControl *control, BerthFleetHost *host);
void berth_unmanaged_tell(BerthControl *control, BerthFleetHost *host);
void berth_unmanaged_charge(BerthControl *control, BerthFleetHost *host, GHashTable *charged);
void berth_unmanaged_release(BerthControl *control, const char *host, GHashTable *charged);

G_END_DECLS
