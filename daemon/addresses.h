/* Addresses on networks: assigned with the placement, kept as records, freed with the workload. */
#pragma once

#include "daemon/catalog.h"

G_BEGIN_DECLS

json_t *berth_addresses_assign(BerthCatalog *catalog, const BerthObject *workload,
                               BerthTransaction *transaction, GError **error);
void berth_addresses_release(BerthCatalog *catalog, const BerthObject *workload,
                             BerthTransaction *transaction);
GPtrArray *berth_addresses_networks(BerthCatalog *catalog, const BerthObject *workload);
char *berth_mac_for(const char *uid, guint card);
const BerthNetworkSpec *berth_addresses_network(BerthCatalog *catalog, const char *project,
                                                const char *name);
guint berth_network_prefix_length(const BerthNetworkSpec *network);

G_END_DECLS
