/* Shared by the files of the fleet. */
#pragma once

#include "daemon/fleet.h"

G_BEGIN_DECLS

struct BerthFleet {
    char *id, *pool; /* owned */
    const BerthHostDriver *drivers;
    BerthClock *clock;
    BerthFleetListener listener;
    gpointer user_data;
    GHashTable *hosts; /* name -> BerthFleetHost, owned */
};

/* ---- fleet-ask.c ------------------------------------------------------------------------------- */

void berth_fleet_tell_domain(BerthFleetHost *host, const char *uuid);
void berth_fleet_tell_host(BerthFleetHost *host);
void berth_fleet_ask_inventory(BerthFleetHost *host);
void berth_fleet_ask_inventory_in(BerthFleetHost *host, guint ms);
void berth_fleet_list_domains(BerthFleetHost *host);

G_END_DECLS
