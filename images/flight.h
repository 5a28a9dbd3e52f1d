/* One piece of work, many who want it: the first does it, the others wait for its end. */
#pragma once

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/* Works under way, by key. Thread-safe. */
typedef struct BerthFlights BerthFlights;

BerthFlights *berth_flights_new(void);
void berth_flights_free(BerthFlights *flights);

gboolean berth_flights_join(BerthFlights *flights, const char *key, GCancellable *cancellable,
                            gboolean *leads, char **outcome, GError **error);
void berth_flights_land(BerthFlights *flights, const char *key, const char *outcome,
                        const GError *failure);

G_END_DECLS
