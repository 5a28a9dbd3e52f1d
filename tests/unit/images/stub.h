/* A web server for tests that answers from a script, honestly or not. */
#pragma once

#include "images/reference.h"

#include <gio/gio.h>

G_BEGIN_DECLS

typedef struct Stub Stub;

/* One request as it came. */
typedef struct {
    const char *path;          /* with the query */
    const char *authorization; /* NULL: none */
    guint64 offset;            /* of "Range: bytes=N-" */
} StubRequest;

/* Answers on the connection's own thread, by stub_write() and the like. */
typedef void (*StubHandler)(Stub *stub, GOutputStream *stream, const StubRequest *request,
                            gpointer user_data);

Stub *stub_new(StubHandler handler, gpointer user_data);
void stub_free(Stub *stub);
guint16 stub_port(const Stub *stub);
guint stub_count(Stub *stub, const char *part);
gboolean stub_is_stopping(const Stub *stub);
char *stub_authorization(Stub *stub, const char *part);

gboolean stub_write(GOutputStream *stream, const void *data, gsize size);
void stub_reply(GOutputStream *stream, const char *status, const char *headers, const void *body,
                gsize size);

/* An honest registry's content; its handler serves it under any repository. */
typedef struct {
    GHashTable *blobs; /* hex -> GBytes */
    char *manifest;    /* the document of every tag */
    const char *media_type;
    BerthDigest digest;   /* of manifest */
    guint chunk_delay_ms; /* between pieces of blobs */
    gint cut_after;       /* bytes of a blob after which the connection ends; 0: never */
    gint cuts;            /* how often that happens; counts down */
} StubRegistry;

void stub_registry_init(StubRegistry *registry, guint layers, gsize layer_size);
void stub_registry_clear(StubRegistry *registry);
void stub_registry_handle(Stub *stub, GOutputStream *stream, const StubRequest *request,
                          gpointer registry);

G_END_DECLS
