/* The daemon takes nobody's word for who a host is: it shows in status.seen who answers, and
 * uses it once the spec says the same. Here a person says so, or names the fingerprint
 * beforehand. Main thread. */
#include "cli/host-trust.h"

#include "base/error.h"
#include "base/json.h"
#include "cli/resolve.h"
#include "model/kinds.h"
#include "model/ssh-key.h"

#include <string.h>

/* What is to be confirmed, and the change of the spec that does it. */
typedef struct {
    json_t *patch; /* of the spec; NULL: nothing to confirm */
    char *text;    /* what is shown */
} Offer;

static void
offer_clear(Offer *offer)
{
    json_decref(offer->patch);
    g_free(offer->text);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Offer, offer_clear)

/** Returns: whether @host waits for its first key to be confirmed. */
gboolean
berth_host_is_unconfirmed(const json_t *host)
{
    const char *code = json_string_value(berth_json_at(host, "/status/reason/code"));
    return g_strcmp0(code, "host-key-unknown") == 0;
}

/* The key that @wanted (a fingerprint or a key; NULL: the best one) names among those that were
 * shown. */
static const json_t *
choose_key(const json_t *keys, const char *wanted, GError **error)
{
    size_t i;
    json_t *shown;
    g_autofree char *key = wanted != NULL ? berth_ssh_key_parse(wanted, NULL) : NULL;
    json_array_foreach ((json_t *)keys, i, shown) {
        if (wanted == NULL ||
            g_strcmp0(berth_json_string(shown, key != NULL ? "key" : "fingerprint"),
                      key != NULL ? key : wanted) == 0) {
            return shown;
        }
    }
    const char *first = berth_json_string(json_array_get(keys, 0), "fingerprint");
    berth_error_set_at(error, BERTH_ERROR_DENIED, NULL,
                       "somebody may stand in between; ask who runs that host",
                       "the host shows %s, not %s", first != NULL ? first : "no key", wanted);
    return NULL;
}

static gboolean
make_offer(const json_t *host, const char *wanted, Offer *offer, GError **error)
{
    const json_t *seen = berth_json_at(host, "/status/seen");
    const json_t *keys = json_object_get(seen, "host_keys");
    const char *uuid = berth_json_string(seen, "uuid");
    const char *hostname = berth_json_string(seen, "hostname");
    if (keys != NULL) {
        const json_t *shown = choose_key(keys, wanted, error);
        const char *key = shown != NULL ? berth_json_string(shown, "key") : NULL;
        if (key == NULL) {
            return FALSE;
        }
        offer->patch = json_pack("{s:[s]}", "host_keys", key);
        offer->text = g_strdup_printf("host key %s (%.*s)", berth_json_string(shown, "fingerprint"),
                                      (int)strcspn(key, " "), key);
    } else if (uuid != NULL || hostname != NULL) {
        offer->patch = json_pack("{s:s*, s:s*}", "uuid", uuid, "hostname", hostname);
        offer->text = g_strdup_printf("%s%s%s", hostname != NULL ? hostname : "?",
                                      uuid != NULL ? ", UUID " : "", uuid != NULL ? uuid : "");
    } else {
        berth_error_set_at(error, BERTH_ERROR_CONFLICT, NULL, "berth host show says how it is",
                           "there is nothing to confirm about host '%s'", berth_json_name(host));
        return FALSE;
    }
    return TRUE;
}

/* Only a person at a terminal can be asked, and only a whole "yes" is one. */
static gboolean
ask(const json_t *host, const char *text, GError **error)
{
    const char *reason = json_string_value(berth_json_at(host, "/status/reason/message"));
    char line[16] = "";
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL,
                           "say it with --host-key FINGERPRINT, or --yes, or at a terminal",
                           "host '%s' shows %s, and nobody confirmed that", berth_json_name(host),
                           text);
        return FALSE;
    }
    fprintf(stderr, "%s%sHost '%s' shows %s.\nIs that the right one? (yes/no) ",
            reason != NULL ? reason : "", reason != NULL ? "\n" : "", berth_json_name(host), text);
    if (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "yes\n") == 0) {
        return TRUE;
    }
    berth_error_set(error, BERTH_ERROR_CANCELLED, "host '%s' was not confirmed",
                    berth_json_name(host));
    return FALSE;
}

/**
 * berth_host_confirm:
 * @wanted: (nullable): the SSH key or fingerprint it must show; "": whatever it shows; NULL: asks
 *
 * Makes who answers at the address of @host the one that is meant.
 *
 * Returns: (transfer full): the Host as stored. Errors: DENIED, CANCELLED; CONFLICT: there is
 * nothing to confirm.
 */
json_t *
berth_host_confirm(BerthSession *session, const json_t *host, const char *wanted, GError **error)
{
    g_auto(Offer) offer = {0};
    const char *named = wanted != NULL && *wanted != '\0' ? wanted : NULL;
    if (!make_offer(host, named, &offer, error) ||
        (wanted == NULL && !ask(host, offer.text, error))) {
        return NULL;
    }
    g_autoptr(json_t) patch = json_pack("{s:O}", "spec", offer.patch);
    const BerthRequestOptions options = {.body = patch,
                                         .content_type = "application/merge-patch+json"};
    g_autofree char *path = berth_object_url(session, &berth_kind_host, berth_json_name(host));
    g_autoptr(BerthReply) reply =
        berth_client_call(session->client, "PATCH", path, &options, error);
    return reply != NULL ? json_incref(reply->body) : NULL;
}
