/* What guests hold of a host besides ordinary memory: PCI devices, CPUs of their own, huge pages, and their distance
 * from others. */
#pragma once

#include "model/object.h"
#include "tests/simhost/world.h"

G_BEGIN_DECLS

/* The machine's running guests, @domains (of SimDomain*), by what their domains were given. */
void holdings_check_machine(const SimMachine *machine, const GPtrArray *domains);

/* What is charged to one host by the records, @workloads (of BerthObject*). */
void holdings_check_host(const GPtrArray *workloads);

/* Returns: (transfer full) (nullable): what the host's record says is used or free, and differs from the sum over
 * @workloads, all that is charged there, and a foreign domain of @foreign_vcpus and @foreign_mib; NULL: nothing. */
char *holdings_find_difference(const BerthObject *host, const GPtrArray *workloads,
                               gint64 foreign_vcpus, gint64 foreign_mib);

/* Whether the workload wants any of it, so that room is more than memory for it. */
gboolean holdings_has_any(const BerthObject *workload);

/* MiB of huge pages that the workload has instead of ordinary memory. */
gint64 holdings_huge_mib(const BerthObject *workload);

G_END_DECLS
