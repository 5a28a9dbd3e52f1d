/* Bad luck of a simulated run that comes from outside the daemon: hosts that go, guests that are silent, people with
 * virsh. */
#pragma once

#include "tests/simulation/site.h"

G_BEGIN_DECLS

#define SITES 3 /* "h1" to "h3" */

Site *luck_choose_site(void);

void luck_destroy_by_hand(void);
void luck_silence_guest(void);
void luck_lose_site(gboolean with_power);

/* Hosts are back, calls and pulls that were held up go on, guests speak again. */
void luck_end(void);

G_END_DECLS
