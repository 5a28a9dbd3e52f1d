/* Hosts and requests as JSON: the fleet file that a daemon exports and berth-sim replays. */
#pragma once

#include <jansson.h>

#include "sched/snapshot.h"

G_BEGIN_DECLS

#define BERTH_FLEET_FORMAT "berth-fleet-1"

/**
 * BerthFleetFile: {"format": "berth-fleet-1", "hosts": [...], "workloads": [...], "changes": [...]}
 * @hosts, @requests: in the file's order; their pointers are owned by the file
 * @placed_on: host of each request, "" when it has none
 * @found: it was there and stays there; else it is to be decided where it goes
 * @holding: room that is kept and has no request of its own, as berth_holding_of() tells it; else NULL. Borrowed
 * @on: of a found one, the cells and devices that it is known to have; its host is not set
 * @at, @released_at: when each was charged, and released, in events before; G_MAXINT64 while it is there
 * @changes: what hosts were at @changed_at, from the first one on; one that went has only a name, in @gone, else
 *   NULL. None: hosts always were as they are
 */
typedef struct {
    guint n_hosts;
    BerthHost *hosts;
    guint n_requests;
    BerthRequest *requests;
    const char **placed_on;
    gboolean *found;
    const json_t **holding;
    json_t *json; /* owned: what holdings are borrowed from */
    BerthPlacement *on;
    gint64 *at, *released_at;
    guint n_changes;
    BerthHost *changes;
    const char **gone;
    gint64 *changed_at;
    GPtrArray *arena;
} BerthFleetFile;

json_t *berth_fleet_host_to_json(const BerthHost *host);
json_t *berth_fleet_request_to_json(const BerthRequest *request, const char *placed_on);
json_t *berth_fleet_to_json(json_t *hosts, json_t *workloads);
BerthFleetFile *berth_fleet_from_json(const json_t *json, GError **error);
void berth_fleet_file_free(BerthFleetFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthFleetFile, berth_fleet_file_free)

G_END_DECLS
