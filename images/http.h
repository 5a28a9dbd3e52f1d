/* One GET over http or https from a server that is not trusted. */
#pragma once

#include <curl/curl.h>
#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/* How far inside our own networks an address lies. */
typedef enum {
    BERTH_ADDRESS_PUBLIC,
    BERTH_ADDRESS_PRIVATE,
    BERTH_ADDRESS_LOOPBACK,
    BERTH_ADDRESS_NEVER, /* link-local and cloud metadata: no registry lives there */
} BerthAddressClass;

typedef gboolean (*BerthHttpSink)(const void *data, gsize size, gpointer user_data, GError **error);

/* One request. Strings are borrowed for the time of the call. */
typedef struct {
    const char *url;
    const char *authorization; /* the header's value; NULL: none */
    const char *accept;        /* NULL: none */
    guint64 offset;            /* first byte wanted; 0: no range is asked for */
    gboolean plain;            /* http is allowed, not only https */
    BerthAddressClass deepest; /* addresses further inside are refused */
    const char *proxy, *ca_file;
    guint connect_timeout_ms, low_speed_bytes, low_speed_s;
    guint deadline_s; /* for the whole exchange; 0: only the low speed ends it */
    gsize header_bytes_max;
    guint64 body_max;   /* of a good answer */
    BerthHttpSink sink; /* gets the body of a 200 or 206 */
    gpointer sink_data;
    GCancellable *cancellable;
} BerthHttpRequest;

typedef struct {
    long status;
    char *content_type, *authenticate, *location, *content_range; /* owned; NULL: not sent */
    BerthAddressClass met; /* the deepest address that was connected to */
} BerthHttpAnswer;

gboolean berth_http_get(CURL *curl, const BerthHttpRequest *request, BerthHttpAnswer *answer,
                        GError **error);
void berth_http_answer_clear(BerthHttpAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthHttpAnswer, berth_http_answer_clear)

CURL *berth_http_new(void);
BerthAddressClass berth_address_classify(const struct sockaddr *address);

G_END_DECLS
