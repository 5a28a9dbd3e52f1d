/* The client of tests/simhost: a BerthHost behind a URI sim:///path/to/socket#name. Tests only. */
#pragma once

#include "drivers/host.h"

G_BEGIN_DECLS

/* As berth_host_libvirt_new(), for URIs of the scheme "sim". With the variable BERTH_FAULTS set to a
 * script (drivers/faulty.h), its calls suffer those faults. */
BerthHost *berth_host_sim_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                              gpointer user_data, GError **error);

/* libvirt's driver under BERTH_FAULTS, likewise. */
BerthHost *berth_host_libvirt_faulty_new(const BerthHostOptions *options,
                                         const BerthHostWatch *watch, gpointer user_data,
                                         GError **error);

G_END_DECLS
