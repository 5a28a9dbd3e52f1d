/* A connection for a WebSocket: curl makes it, with TLS where it is due, and passes bytes. */
#include "cli/client-private.h"

#include "base/error.h"

struct BerthConnection {
    CURL *curl;
    curl_socket_t fd;
    char detail[CURL_ERROR_SIZE];
};

/** Returns: (transfer full): an open connection that speaks nothing yet; its socket does not block. */
BerthConnection *
berth_client_connect(BerthClient *client, GError **error)
{
    g_autoptr(BerthConnection) connection = g_new0(BerthConnection, 1);
    connection->curl = curl_easy_init();
    berth_client_set_target(client, connection->curl);
    curl_easy_setopt(connection->curl, CURLOPT_URL, client->settings.url);
    curl_easy_setopt(connection->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(connection->curl, CURLOPT_ERRORBUFFER, connection->detail);
    curl_easy_setopt(connection->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(connection->curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
    CURLcode code = curl_easy_perform(connection->curl);
    if (code != CURLE_OK ||
        curl_easy_getinfo(connection->curl, CURLINFO_ACTIVESOCKET, &connection->fd) != CURLE_OK) {
        berth_client_fail(client, connection->curl, code, connection->detail, error);
        return NULL;
    }
    return g_steal_pointer(&connection);
}

void
berth_connection_free(BerthConnection *connection)
{
    if (connection != NULL) {
        curl_easy_cleanup(connection->curl);
        g_free(connection);
    }
}

int
berth_connection_fd(const BerthConnection *connection)
{
    return connection->fd;
}

/** Returns: bytes written; 0: the socket takes nothing now; -1 with UNAVAILABLE. */
gssize
berth_connection_send(BerthConnection *connection, const void *data, gsize size, GError **error)
{
    size_t sent = 0;
    CURLcode code = curl_easy_send(connection->curl, data, size, &sent);
    if (code == CURLE_OK || code == CURLE_AGAIN) {
        return (gssize)sent;
    }
    berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "the connection to the daemon broke: %s",
                    curl_easy_strerror(code));
    return -1;
}

/** Returns: bytes read; 0: nothing is there now; -1 with UNAVAILABLE, also at the end of the stream. */
gssize
berth_connection_receive(BerthConnection *connection, void *data, gsize size, GError **error)
{
    size_t got = 0;
    CURLcode code = curl_easy_recv(connection->curl, data, size, &got);
    if (code == CURLE_AGAIN || (code == CURLE_OK && got > 0)) {
        return (gssize)got;
    }
    berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "the connection to the daemon broke: %s",
                    code == CURLE_OK ? "it was closed" : curl_easy_strerror(code));
    return -1;
}
