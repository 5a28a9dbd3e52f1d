/* HTTP to the daemon: requests, line streams, uploads, downloads, WebSockets. Blocking, with ^C. */
#pragma once

#include <jansson.h>

#include "cli/settings.h"

G_BEGIN_DECLS

typedef struct BerthClient BerthClient;

/* What may go with a request; zeros are fine. */
typedef struct {
    const json_t *body;       /* borrowed; NULL: none */
    const char *content_type; /* NULL: application/json */
    const char *if_match;     /* a revision, or NULL */
    gboolean create_only;     /* If-None-Match: * */
    guint wait_s;             /* Prefer: wait=N */
    guint timeout_s;          /* for the whole answer; 0: 60 s and wait_s */
} BerthRequestOptions;

typedef struct {
    long status;
    json_t *body;       /* owned; NULL when the answer is no JSON */
    char *text;         /* owned; the answer's bytes, NUL-terminated */
    gsize size;         /* of text */
    char *content_type; /* owned; NULL: not said */
} BerthReply;

void berth_reply_free(BerthReply *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthReply, berth_reply_free)

BerthClient *berth_client_new(const BerthSettings *settings, GError **error);
void berth_client_free(BerthClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthClient, berth_client_free)

BerthReply *berth_client_call(BerthClient *client, const char *method, const char *path,
                              const BerthRequestOptions *options, GError **error);
json_t *berth_client_get(BerthClient *client, const char *path, GError **error);
json_t *berth_client_list(BerthClient *client, const char *path, GError **error);

/* Returns FALSE to end the stream; then the stream's call succeeds, unless @error was set. @size 0: nothing
 * came for a while (once a second), so that the callee can show progress or give up. */
typedef gboolean (*BerthClientBytes)(const char *data, gsize size, gpointer user_data,
                                     GError **error);
gboolean berth_client_stream(BerthClient *client, const char *path, BerthClientBytes bytes,
                             gpointer user_data, GError **error);
gboolean berth_client_lines(BerthClient *client, const char *path,
                            gboolean (*line)(const char *line, gpointer user_data, GError **error),
                            gpointer user_data, GError **error);

typedef void (*BerthClientProgress)(guint64 done, guint64 total, gpointer user_data);
BerthReply *berth_client_upload(BerthClient *client, const char *path, int fd, guint64 size,
                                BerthClientProgress progress, gpointer user_data, GError **error);
gboolean berth_client_download(BerthClient *client, const char *method, const char *path, int fd,
                               BerthClientProgress progress, gpointer user_data, GError **error);

/* A connection of its own for a WebSocket: curl makes it (with TLS), we speak on it. */
typedef struct BerthConnection BerthConnection;
BerthConnection *berth_client_connect(BerthClient *client, GError **error);
void berth_connection_free(BerthConnection *connection);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthConnection, berth_connection_free)
int berth_connection_fd(const BerthConnection *connection);
gssize berth_connection_send(BerthConnection *connection, const void *data, gsize size,
                             GError **error);
gssize berth_connection_receive(BerthConnection *connection, void *data, gsize size,
                                GError **error);
const char *berth_client_host(const BerthClient *client);
const char *berth_client_authorization(const BerthClient *client);

json_t *berth_client_parse(const char *text, gsize size, GError **error);
char *berth_url_escape(const char *text);

G_END_DECLS
