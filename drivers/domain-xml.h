/* Domains as libvirt's XML, both ways: from Berth's typed plan, and into Berth's record. Any thread. */
#pragma once

#include "drivers/host.h"

G_BEGIN_DECLS

/* How the q35 profile lays out its slots; part of the golden device plan, never to be changed for
 * machines that exist. */
#define BERTH_Q35_PORTS 8      /* root ports that every machine has */
#define BERTH_Q35_PORT_NICS 2  /* of those, the first are for network cards */
#define BERTH_Q35_PORT_DISKS 6 /* and the others for disks; what is free takes hot-plug */
#define BERTH_Q35_VCPUS_MAX 8  /* vCPUs a machine can be raised to while it runs */

#define BERTH_PLAN_DISKS_MAX 40
#define BERTH_PLAN_NICS_MAX 8
#define BERTH_PLAN_DEVICES_MAX 16
#define BERTH_PLAN_SERIAL_MAX 20 /* what virtio-blk carries */

char *berth_domain_xml_format(const BerthDomainPlan *plan, const char *kernel_path,
                              const char *initrd_path, GError **error);
BerthDomain *berth_domain_xml_parse(const char *xml, GError **error);
BerthDomainMark *berth_domain_mark_parse(const char *xml, GError **error);

G_END_DECLS
