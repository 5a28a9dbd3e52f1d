/* Who we are to a registry: basic credentials, and tokens of the server that a registry names.
 *
 * Invariant: a credential goes to the registry it is for and to that registry's token server (see
 * credentials.c), over https unless the registry itself speaks http. Source: Docker's token authentication.
 * Start at berth_registry_authenticate(). */
#include "images/registry-private.h"

#include "base/error.h"
#include "base/json.h"
#include "images/credentials.h"

#include <string.h>

#define TOKEN_ANSWER_MAX 65536
#define TOKEN_MAX 16384

/* The value of @name in `Bearer realm="…",service="…"`. */
static char *
read_parameter(const char *challenge, const char *name)
{
    const char *at = challenge;
    gsize length = strlen(name);
    while ((at = strstr(at, name)) != NULL) {
        gboolean starts = at > challenge && (at[-1] == ' ' || at[-1] == ',');
        if (starts && at[length] == '=' && at[length + 1] == '"') {
            const char *value = at + length + 2;
            const char *end = strchr(value, '"');
            return end == NULL ? NULL : g_strndup(value, (gsize)(end - value));
        }
        at += length;
    }
    return NULL;
}

static gboolean
set_query(CURLU *url, const char *name, const char *value)
{
    g_autofree char *pair = g_strconcat(name, "=", value, NULL);
    return curl_url_set(url, CURLUPART_QUERY, pair, CURLU_APPENDQUERY | CURLU_URLENCODE) ==
           CURLUE_OK;
}

/* Puts a value into a header, so nothing but a token's own characters may be in it. */
static gboolean
is_token(const char *text)
{
    gsize length = text == NULL ? 0 : strlen(text);
    return length > 0 && length <= TOKEN_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") ==
               length;
}

static gboolean
fetch_token(BerthRegistry *registry, BerthEndpoint *endpoint, const char *url, gboolean with_basic,
            gboolean plain, GCancellable *cancellable, GError **error)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    g_auto(BerthHttpAnswer) answer = {0};
    g_autofree char *basic = with_basic ? g_strconcat("Basic ", endpoint->basic, NULL) : NULL;
    BerthHttpRequest request = berth_registry_request(registry, url, cancellable);
    request.authorization = basic;
    request.plain = plain;
    request.deepest = endpoint->met;
    request.deadline_s = registry->options.small_deadline_s;
    request.body_max = TOKEN_ANSWER_MAX;
    request.sink = berth_registry_collect;
    request.sink_data = body;
    if (!berth_http_get(registry->curl, &request, &answer, error)) {
        return FALSE;
    }
    g_autoptr(json_t) json = berth_json_parse((const char *)body->data, body->len, NULL);
    const char *token = berth_json_string(json, "token");
    token = token == NULL ? berth_json_string(json, "access_token") : token;
    if (answer.status != 200 || !is_token(token)) {
        berth_error_set_at(
            error, BERTH_ERROR_DENIED, NULL, "check the name of the image, and the credentials",
            "the token server of '%s' gave no token (status %ld)", endpoint->name, answer.status);
        return FALSE;
    }
    g_free(endpoint->authorization);
    endpoint->authorization = g_strconcat("Bearer ", token, NULL);
    return TRUE;
}

/* May these credentials be shown to this token server? Without credentials anybody may be asked. */
static gboolean
check_realm(const BerthRegistry *registry, const BerthEndpoint *endpoint, const char *scheme,
            const char *host, GError **error)
{
    if (strcmp(scheme, "https") != 0 && !endpoint->plain) {
        berth_error_set(error, BERTH_ERROR_DENIED,
                        "'%s' names a token server that speaks plain http", endpoint->name);
        return FALSE;
    }
    if (endpoint->basic != NULL &&
        !berth_credentials_may_go_to(endpoint->name, host, registry->options.token_hosts)) {
        g_autofree char *shown = g_strescape(host, NULL);
        berth_error_set_at(
            error, BERTH_ERROR_DENIED, NULL,
            "allow the pair in the settings if you trust it, or remove the credentials",
            "'%s' wants its credentials shown to '%.200s', which is not its own host",
            endpoint->name, shown);
        return FALSE;
    }
    return TRUE;
}

static gboolean
answer_bearer(BerthRegistry *registry, BerthEndpoint *endpoint, const char *challenge,
              GCancellable *cancellable, GError **error)
{
    g_autofree char *realm = read_parameter(challenge, "realm");
    g_autofree char *service = read_parameter(challenge, "service");
    g_autofree char *scope = g_strconcat("repository:", registry->repository, ":pull", NULL);
    char *scheme = NULL, *host = NULL, *text = NULL;
    CURLU *url = berth_registry_parse_url(realm == NULL ? "" : realm, &scheme, &host, error);
    gboolean ok = url != NULL && check_realm(registry, endpoint, scheme, host, error);
    if (ok) {
        ok = (service == NULL || set_query(url, "service", service)) &&
             set_query(url, "scope", scope) &&
             curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK;
        if (!ok) {
            berth_error_set(error, BERTH_ERROR_CORRUPT, "'%s' sent a malformed challenge",
                            endpoint->name);
        }
    }
    ok = ok && fetch_token(registry, endpoint, text, endpoint->basic != NULL,
                           strcmp(scheme, "http") == 0, cancellable, error);
    curl_free(scheme);
    curl_free(host);
    curl_free(text);
    curl_url_cleanup(url);
    return ok;
}

/** Answers a 401 of @endpoint: what it wants is in its `authorization` then. Errors: DENIED when nothing we
 * have is wanted. */
gboolean
berth_registry_authenticate(BerthRegistry *registry, BerthEndpoint *endpoint,
                            const BerthHttpAnswer *answer, GCancellable *cancellable,
                            GError **error)
{
    const char *challenge = answer->authenticate;
    if (challenge != NULL && g_ascii_strncasecmp(challenge, "Bearer ", 7) == 0) {
        return answer_bearer(registry, endpoint, challenge, cancellable, error);
    }
    if (challenge != NULL && g_ascii_strncasecmp(challenge, "Basic", 5) == 0 &&
        endpoint->basic != NULL && endpoint->authorization == NULL) {
        endpoint->authorization = g_strconcat("Basic ", endpoint->basic, NULL);
        return TRUE;
    }
    berth_error_set_at(error, BERTH_ERROR_DENIED, NULL, "log in: docker login",
                       endpoint->basic == NULL ? "'%s' wants credentials and there are none"
                                               : "'%s' does not accept the credentials",
                       endpoint->name);
    return FALSE;
}
