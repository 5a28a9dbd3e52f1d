/* The client of tests/simhost: a BerthHost behind a URI sim:///path/to/socket#name. */
#pragma once

#include "drivers/host.h"

G_BEGIN_DECLS

/* As berth_host_libvirt_new(), for URIs of the scheme "sim". Tests only. */
BerthHost *berth_host_sim_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                              gpointer user_data, GError **error);

G_END_DECLS
