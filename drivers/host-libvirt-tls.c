/* Why a host's certificate was refused. libvirt says no more than that it was, so it is looked at once more by
 * a TLS client of our own, which trusts the same CA; nothing is sent over that connection.
 * Worker threads. Start at berth_virt_explain_tls(). */
#include "drivers/host-libvirt-private.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

#define TLS_PORT 16514 /* libvirt's */
#define SECONDS 5
#define LIBVIRT_CA "/etc/pki/CA/cacert.pem" /* as libvirt looks for it when there is no pkipath */

typedef struct {
    char *host; /* owned */
    guint16 port;
    char *ca; /* owned: file */
} Place;

static void
place_clear(Place *place)
{
    g_free(place->host);
    g_free(place->ca);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

/* Returns: whether @text is a qemu+tls URI, as daemon/host-access.c writes it. */
static gboolean
place_parse(const char *text, Place *place)
{
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_ENCODED_QUERY, NULL);
    if (uri == NULL || strcmp(g_uri_get_scheme(uri), "qemu+tls") != 0 ||
        g_uri_get_host(uri) == NULL) {
        return FALSE;
    }
    const char *query = g_uri_get_query(uri);
    g_autoptr(GHashTable) parameters =
        g_uri_parse_params(query != NULL ? query : "", -1, "&", G_URI_PARAMS_NONE, NULL);
    const char *pki = parameters != NULL ? g_hash_table_lookup(parameters, "pkipath") : NULL;
    place->host = g_strdup(g_uri_get_host(uri));
    place->port = g_uri_get_port(uri) > 0 ? (guint16)g_uri_get_port(uri) : TLS_PORT;
    place->ca = pki != NULL ? g_build_filename(pki, "cacert.pem", NULL) : g_strdup(LIBVIRT_CA);
    return TRUE;
}

/* ---- what is in a certificate ---------------------------------------------------------------- */

static char *
write_day(time_t when)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(when);
    return time != NULL ? g_date_time_format(time, "%Y-%m-%d %H:%M UTC") : g_strdup("?");
}

static char *
write_name(unsigned type, const char *bytes, size_t size)
{
    if (type == GNUTLS_SAN_IPADDRESS && (size == 4 || size == 16)) {
        g_autoptr(GInetAddress) address = g_inet_address_new_from_bytes(
            (const guint8 *)bytes, size == 4 ? G_SOCKET_FAMILY_IPV4 : G_SOCKET_FAMILY_IPV6);
        return g_inet_address_to_string(address);
    }
    g_autofree char *text = type == GNUTLS_SAN_DNSNAME ? g_strndup(bytes, size) : NULL;
    return text != NULL ? g_strescape(text, NULL) : NULL;
}

/* Whom @certificate is for: words of the other side, so they are escaped. */
static char *
write_names(gnutls_x509_crt_t certificate)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; i < 8; i++) {
        char bytes[256];
        size_t size = sizeof bytes;
        unsigned type = 0;
        int got = gnutls_x509_crt_get_subject_alt_name2(certificate, i, bytes, &size, &type, NULL);
        char *name = got >= 0 ? write_name(type, bytes, size) : NULL;
        if (got == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
            break;
        }
        if (name != NULL) {
            g_ptr_array_add(names, name);
        }
    }
    g_ptr_array_add(names, NULL);
    return names->len > 1 ? g_strjoinv("', '", (char **)names->pdata) : g_strdup("nobody");
}

static char *
write_issuer(gnutls_x509_crt_t certificate)
{
    char text[256];
    size_t size = sizeof text;
    return g_strescape(gnutls_x509_crt_get_issuer_dn(certificate, text, &size) == 0 ? text : "?",
                       NULL);
}

/* What speaks against @certificate, whose @flaws GnuTLS found. Returns: (transfer full) (nullable). */
static char *
write_flaw(const Place *place, gnutls_x509_crt_t certificate, unsigned flaws)
{
    if (flaws & GNUTLS_CERT_SIGNER_NOT_FOUND) {
        g_autofree char *issuer = write_issuer(certificate);
        return g_strdup_printf("its certificate is from another CA, '%s', not from that in '%s'",
                               issuer, place->ca);
    }
    if (flaws & GNUTLS_CERT_EXPIRED) {
        g_autofree char *day = write_day(gnutls_x509_crt_get_expiration_time(certificate));
        return g_strdup_printf("its certificate has expired at %s", day);
    }
    if (flaws & GNUTLS_CERT_NOT_ACTIVATED) {
        g_autofree char *day = write_day(gnutls_x509_crt_get_activation_time(certificate));
        return g_strdup_printf("its certificate is not valid before %s", day);
    }
    if (flaws & GNUTLS_CERT_UNEXPECTED_OWNER) {
        g_autofree char *names = write_names(certificate);
        return g_strdup_printf("its certificate is for '%s', not for '%s'", names, place->host);
    }
    return flaws != 0 ? g_strdup("its certificate is not valid") : NULL;
}

/* ---- looking at it --------------------------------------------------------------------------- */

static char *
judge_peer(const Place *place, gnutls_session_t session)
{
    unsigned count = 0, flaws = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t certificate;
    if (chain == NULL || count == 0 ||
        gnutls_certificate_verify_peers3(session, place->host, &flaws) != 0 ||
        gnutls_x509_crt_init(&certificate) != 0) {
        return NULL;
    }
    char *flaw = gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) == 0
                     ? write_flaw(place, certificate, flaws)
                     : NULL;
    gnutls_x509_crt_deinit(certificate);
    return flaw;
}

/* @fd: a connected socket. GSocket makes it non-blocking, GnuTLS is to wait, but not for ever. */
static char *
shake_hands(const Place *place, int fd, gnutls_certificate_credentials_t credentials)
{
    gnutls_session_t session;
    if (fcntl(fd, F_SETFL, 0) != 0 || gnutls_init(&session, GNUTLS_CLIENT) != 0) {
        return NULL;
    }
    char *flaw = NULL;
    gnutls_transport_set_int(session, fd);
    gnutls_handshake_set_timeout(session, SECONDS * 1000);
    if (gnutls_set_default_priority(session) == 0 &&
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials) == 0 &&
        gnutls_handshake(session) == 0) {
        flaw = judge_peer(place, session);
    }
    gnutls_deinit(session);
    return flaw;
}

static char *
find_flaw(const Place *place)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_socket_client_set_timeout(client, SECONDS);
    g_socket_client_set_enable_proxy(client, FALSE);
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect_to_host(client, place->host, place->port, NULL, NULL);
    gnutls_certificate_credentials_t credentials;
    if (connection == NULL || gnutls_certificate_allocate_credentials(&credentials) != 0) {
        return NULL;
    }
    int fd = g_socket_get_fd(g_socket_connection_get_socket(connection));
    char *flaw =
        gnutls_certificate_set_x509_trust_file(credentials, place->ca, GNUTLS_X509_FMT_PEM) > 0
            ? shake_hands(place, fd, credentials)
            : NULL;
    gnutls_certificate_free_credentials(credentials);
    return flaw;
}

/**
 * berth_virt_explain_tls:
 * @uri: what libvirt was given
 * @error: (inout): why it could not connect
 *
 * When @uri goes over TLS and the host's certificate is the reason, says what is wrong with it. Blocks for
 * some 10 s at most.
 */
void
berth_virt_explain_tls(const char *uri, GError **error)
{
    g_auto(Place) place = {0};
    if (!g_error_matches(*error, BERTH_ERROR, BERTH_ERROR_DENIED) || !place_parse(uri, &place)) {
        return;
    }
    g_autofree char *flaw = find_flaw(&place);
    if (flaw != NULL) {
        g_clear_error(error);
        berth_error_set(error, BERTH_ERROR_DENIED, "can't connect to '%s': %s", uri, flaw);
    }
}
