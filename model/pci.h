/* How PCI devices are named in Host documents and inventories. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * BerthPciAddress: "0000:41:00.0"
 */
typedef struct {
    guint domain, bus, slot, function;
} BerthPciAddress;

gboolean berth_pci_address_parse(const char *text, BerthPciAddress *address);
gboolean berth_pci_id_check(const char *text);

G_END_DECLS
