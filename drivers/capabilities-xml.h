/* What libvirt tells about a host, as parts of BerthInventory. Any thread. */
#pragma once

#include "drivers/host.h"

G_BEGIN_DECLS

/* What a library version number (9000000) means: "9.0.0". */
char *berth_version_format(gulong version);

gboolean berth_capabilities_read(BerthInventory *inventory, const char *xml, GError **error);
gboolean berth_sysinfo_read(BerthInventory *inventory, const char *xml, GError **error);
char **berth_cpu_models_read(const char *xml, char **fullest, GError **error);
char **berth_cpu_features_read(const char *xml, GError **error);
BerthPciDevice *berth_pci_device_parse(const char *xml, GError **error);
BerthHostNetwork *berth_host_network_parse(const char *xml, GError **error);
char *berth_host_pool_parse_target(const char *xml, GError **error);

G_END_DECLS
