/* The REST API: one table of routes over the catalog, the watch hub and the controllers' ops.
 *
 * Main loop only. Start reading at the table in routes.c. */
#pragma once

#include "daemon/catalog.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "daemon/workload-ops.h"

G_BEGIN_DECLS

typedef struct BerthRoutes BerthRoutes;

/* @state: the state folder (uploads, backups). @ops: borrowed, may be NULL (501 for what needs it). */
BerthRoutes *berth_routes_new(BerthCatalog *catalog, BerthWatchHub *hub, const char *state,
                              const BerthWorkloadOps *ops);
void berth_routes_free(BerthRoutes *routes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthRoutes, berth_routes_free)

/* For berth_server_new(): the ops, with the BerthRoutes as their data. */
const BerthServerOps *berth_routes_server_ops(void);

/* What a verb's check says: NULL error and TRUE goes on to make the Task. @arguments: the request's
 * JSON object, may be NULL. */
typedef gboolean (*BerthVerbCheck)(BerthCatalog *catalog, BerthObject *object,
                                   const json_t *arguments, GError **error);

/**
 * berth_routes_add_verb:
 * @kind: whose objects have the verb
 * @verb: "reboot": POST …/NAME:reboot
 * @check: (nullable): refuses before a Task is made
 * @doc: one sentence; static
 *
 * Every verb makes a Task {verb, target, arguments} and answers 202 with it (409 when the object has an
 * unfinished Task). Who watches Tasks executes it. start, shutdown and destroy are built in: the
 * same, and the power is set in the same transaction; destroy has "force": true in its arguments.
 */
void berth_routes_add_verb(BerthRoutes *routes, const BerthKind *kind, const char *verb,
                           BerthVerbCheck check, const char *doc);

/* Kinds whose deletion a controller finishes (it calls berth_catalog_delete()); objects of the others are
 * removed at once. */
void berth_routes_set_finalised(BerthRoutes *routes, const BerthKind *kind);

/* (transfer full): the OpenAPI 3.1 document of this table. */
json_t *berth_routes_openapi(BerthRoutes *routes);

G_END_DECLS
