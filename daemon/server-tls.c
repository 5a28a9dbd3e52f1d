/* Who a TLS client is: its certificate's CN, or its bearer token's name. Invariant: a certificate counts only
 * when it verifies against tls_client_ca; without either the answer is 401. */
#include "daemon/server-private.h"

#include "base/error.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

static char *
common_name(gnutls_session_t session)
{
    guint count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t certificate;
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(&certificate) != 0) {
        return NULL;
    }
    char name[256];
    size_t size = sizeof name;
    char *found = NULL;
    if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
        gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name,
                                      &size) == 0 &&
        strlen(name) == size && size > 0) {
        found = g_utf8_make_valid(name, (gssize)size);
    }
    gnutls_x509_crt_deinit(certificate);
    return found;
}

static char *
name_from_certificate(BerthRequest *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    gnutls_session_t session = info->tls_session;
    guint flaws = ~0u;
    if (gnutls_certificate_verify_peers2(session, &flaws) != 0 || flaws != 0) {
        return NULL;
    }
    return common_name(session);
}

static const char *
name_from_token(BerthServer *server, BerthRequest *request)
{
    const char *header = berth_request_header(request, "Authorization");
    if (server->tokens == NULL || header == NULL ||
        g_ascii_strncasecmp(header, "Bearer ", 7) != 0) {
        return NULL;
    }
    return berth_tokens_find(server->tokens, header + 7);
}

/** Returns: (transfer full): an actor with the proved name. Errors: DENIED. */
BerthActor *
tls_actor(BerthServer *server, BerthRequest *request, GError **error)
{
    g_autofree char *name = server->client_certificates ? name_from_certificate(request) : NULL;
    if (name == NULL) {
        name = g_strdup(name_from_token(server, request));
    }
    if (name == NULL) {
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL,
                           "send a client certificate of the server's CA or a bearer token",
                           "this request has no valid credential");
        return NULL;
    }
    BerthActor *actor = g_new0(BerthActor, 1);
    actor->name = g_steal_pointer(&name);
    return actor;
}
