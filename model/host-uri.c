/* libvirt's URIs can name programs to run and files to use in their query, so none of it is
 * passed on: an address is taken apart here, and the daemon builds the URI that libvirt gets
 * from the parts. Invariant: user and host begin with a letter, digit or colon, so neither can
 * become an option of ssh. */
#include "model/host-uri.h"

#include "base/error.h"
#include "model/schema.h"

#include <string.h>

#define PATTERN                                                                                    \
    "^qemu(?:\\+(?<transport>unix|ssh|tls|tcp))?://"                                               \
    "(?:(?<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?"                                                   \
    "(?:(?<host>[A-Za-z0-9][A-Za-z0-9.-]*)|\\[(?<six>[0-9a-fA-F:.]+)\\])?"                         \
    "(?::(?<port>[0-9]{1,5}))?/(?<path>system|session)(?:\\?socket=(?<socket>/[A-Za-z0-9._/"       \
    "-]+))?$"
#define SIMULATED "^sim:///[A-Za-z0-9._/-]+#[A-Za-z0-9-]+$"

/** Frees @uri; NULL is fine. */
void
berth_host_uri_free(BerthHostUri *uri)
{
    if (uri == NULL) {
        return;
    }
    g_free(uri->user);
    g_free(uri->host);
    g_free(uri->socket);
    g_free(uri);
}

/* Returns: (transfer full) (nullable): what the group @name matched; NULL when it is empty. */
static char *
part(const GMatchInfo *match, const char *name)
{
    char *text = g_match_info_fetch_named(match, name);
    if (text != NULL && *text == '\0') {
        g_clear_pointer(&text, g_free);
    }
    return text;
}

/* As libvirt reads it: a host without a transport is reached by TLS. */
static BerthTransport
transport_of(const char *name, gboolean has_host)
{
    static const char *const names[] = {"unix", "ssh", "tls", "tcp"};
    for (guint i = 0; name != NULL && i < G_N_ELEMENTS(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return BERTH_TRANSPORT_LOCAL + i;
        }
    }
    return has_host ? BERTH_TRANSPORT_TLS : BERTH_TRANSPORT_LOCAL;
}

static gboolean
fits_together(const BerthHostUri *uri, GError **error)
{
    gboolean local = uri->transport == BERTH_TRANSPORT_LOCAL;
    if (local && (uri->host != NULL || uri->user != NULL || uri->port != 0)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "qemu+ssh://USER@HOST/system",
                           "qemu+unix reaches this machine alone: no user, host or port");
        return FALSE;
    }
    if (!local && uri->host == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the address names no host");
        return FALSE;
    }
    if (!local && uri->socket != NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "?socket= is for hosts on this machine alone");
        return FALSE;
    }
    if (uri->user != NULL && uri->transport != BERTH_TRANSPORT_SSH) {
        berth_error_set(error, BERTH_ERROR_INVALID, "only qemu+ssh takes a user");
        return FALSE;
    }
    return TRUE;
}

static BerthHostUri *
take_parts(const GMatchInfo *match, GError **error)
{
    g_autoptr(BerthHostUri) uri = g_new0(BerthHostUri, 1);
    g_autofree char *transport = part(match, "transport");
    g_autofree char *port = part(match, "port");
    g_autofree char *path = part(match, "path");
    guint64 number = 0;
    uri->user = part(match, "user");
    uri->host = part(match, "host");
    if (uri->host == NULL) {
        uri->host = part(match, "six");
    }
    uri->socket = part(match, "socket");
    uri->session = strcmp(path, "session") == 0;
    uri->transport = transport_of(transport, uri->host != NULL);
    if (port != NULL && !g_ascii_string_to_unsigned(port, 10, 1, 65535, &number, NULL)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "there is no port %s", port);
        return NULL;
    }
    uri->port = (guint)number;
    return fits_together(uri, error) ? g_steal_pointer(&uri) : NULL;
}

/**
 * berth_host_uri_parse:
 * @text: qemu:///system, qemu+ssh://USER@HOST:PORT/system, qemu+tls://HOST/system; for tests also
 *     qemu+tcp://HOST/system, qemu:///system?socket=PATH and sim:///SOCKET#NAME
 *
 * Returns: (transfer full): its parts. Errors: INVALID.
 */
BerthHostUri *
berth_host_uri_parse(const char *text, GError **error)
{
    g_autoptr(GRegex) regex = g_regex_new(PATTERN, G_REGEX_DOLLAR_ENDONLY, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    if (g_regex_match(regex, text, 0, &match)) {
        return take_parts(match, error);
    }
    if (g_regex_match_simple(SIMULATED, text, G_REGEX_DOLLAR_ENDONLY, 0)) {
        BerthHostUri *uri = g_new0(BerthHostUri, 1);
        uri->transport = BERTH_TRANSPORT_SIM;
        return uri;
    }
    g_autofree char *quoted = berth_quote(text);
    berth_error_set_at(
        error, BERTH_ERROR_INVALID, NULL, "try qemu:///system or qemu+ssh://USER@HOST/system",
        strchr(text, '?') != NULL ? "%s is refused: parameters behind ? can name programs to run"
                                  : "%s is no address of a QEMU host",
        quoted);
    return NULL;
}
