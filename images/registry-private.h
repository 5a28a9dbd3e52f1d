/* What the registry client's files share.
 *
 *   registry.c       requests, redirects, manifests, blobs
 *   registry-auth.c  credentials and tokens */
#pragma once

#include "images/http.h"
#include "images/registry.h"

/* A place to ask: a mirror or the registry itself. */
typedef struct {
    char *name;            /* owned; whose credentials: "docker.io", "mirror.example:5000" */
    char *base;            /* owned; "https://registry-1.docker.io" */
    char *basic;           /* owned; NULL: anonymous */
    char *authorization;   /* owned; what worked last; NULL: nothing yet */
    gboolean plain;        /* it may speak http */
    BerthAddressClass met; /* how far inside it lies, once it was met */
} BerthEndpoint;

struct BerthRegistry {
    BerthRegistryOptions options; /* all set; strings borrowed */
    char *repository;             /* owned */
    GPtrArray *endpoints;         /* owned, of BerthEndpoint; mirrors first */
    guint current;                /* the one that answered last */
    CURL *curl;                   /* owned */
};

BerthHttpRequest berth_registry_request(BerthRegistry *registry, const char *url,
                                        GCancellable *cancellable);
gboolean berth_registry_collect(const void *data, gsize size, gpointer user_data, GError **error);
CURLU *berth_registry_parse_url(const char *text, char **scheme, char **host, GError **error);
gboolean berth_registry_authenticate(BerthRegistry *registry, BerthEndpoint *endpoint,
                                     const BerthHttpAnswer *answer, GCancellable *cancellable,
                                     GError **error);
