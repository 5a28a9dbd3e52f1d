/* The OCI distribution protocol: manifests and blobs of one repository.
 *
 * Invariants: a credential goes to the registry it is for and to that registry's token server (see
 * credentials.c), a token to the registry that asked for it, neither through a redirect to another host.
 * A hop (redirect, token server) may not lead further inside our networks than the registry itself
 * lies, nor from https to http. What is asked for is built from parsed names alone.
 *
 * One thread per object. Source: OCI distribution-spec.
 * Start at berth_registry_get_manifest(). */
#include "images/registry-private.h"

#include "base/error.h"
#include "images/credentials.h"

#include <string.h>

#define ACCEPTED                                                                                   \
    BERTH_MEDIA_OCI_INDEX ", " BERTH_MEDIA_OCI_MANIFEST ", " BERTH_MEDIA_DOCKER_INDEX              \
                          ", " BERTH_MEDIA_DOCKER_MANIFEST

static void
endpoint_free(gpointer data)
{
    BerthEndpoint *endpoint = data;
    g_free(endpoint->name);
    g_free(endpoint->base);
    g_free(endpoint->basic);
    g_free(endpoint->authorization);
    g_free(endpoint);
}

static guint
or_default(guint value, guint fallback)
{
    return value == 0 ? fallback : value;
}

static BerthRegistryOptions
fill_options(const BerthRegistryOptions *given)
{
    BerthRegistryOptions full = {0};
    if (given != NULL) {
        full = *given;
    }
    full.parallel = CLAMP(or_default(full.parallel, 3), 1, 16);
    full.redirects_max = or_default(full.redirects_max, 5);
    full.connect_timeout_ms = or_default(full.connect_timeout_ms, 15000);
    full.low_speed_bytes = or_default(full.low_speed_bytes, 1024);
    full.low_speed_s = or_default(full.low_speed_s, 30);
    full.small_deadline_s = or_default(full.small_deadline_s, 60);
    full.header_bytes_max = full.header_bytes_max == 0 ? 65536 : full.header_bytes_max;
    return full;
}

/* "localhost", "127.x", "[::1]", with or without a port. */
static gboolean
is_loopback_name(const char *name)
{
    g_autofree char *host = g_strndup(name, strcspn(name, name[0] == '[' ? "]" : ":"));
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1") == 0 ||
           (g_str_has_prefix(host, "127.") && strspn(host, "0123456789.") == strlen(host));
}

static gboolean
add_endpoint(BerthRegistry *registry, const char *name, const char *base, gboolean plain,
             GError **error)
{
    g_autofree char *basic = NULL;
    if (!berth_credentials_find(registry->options.docker_config, name, &basic, error)) {
        return FALSE;
    }
    BerthEndpoint *endpoint = g_new0(BerthEndpoint, 1);
    endpoint->name = g_strdup(name);
    endpoint->base = g_strdup(base);
    endpoint->basic = g_steal_pointer(&basic);
    endpoint->plain = plain;
    g_ptr_array_add(registry->endpoints, endpoint);
    return TRUE;
}

static gboolean
add_mirrors(BerthRegistry *registry, const char *name, GError **error)
{
    g_autofree char *prefix = g_strconcat(name, "=", NULL);
    const char *const *mirrors = registry->options.mirrors;
    for (guint i = 0; mirrors != NULL && mirrors[i] != NULL; i++) {
        if (!g_str_has_prefix(mirrors[i], prefix)) {
            continue;
        }
        const char *url = mirrors[i] + strlen(prefix);
        gboolean plain = g_str_has_prefix(url, "http://");
        if (!plain && !g_str_has_prefix(url, "https://")) {
            berth_error_set(error, BERTH_ERROR_INVALID,
                            "the mirror '%s' is not of the form registry=https://host", mirrors[i]);
            return FALSE;
        }
        const char *host = strstr(url, "://") + 3;
        g_autofree char *mirror = g_strndup(host, strcspn(host, "/"));
        g_autofree char *base = g_strndup(url, (gsize)(host - url) + strlen(mirror));
        if (!add_endpoint(registry, mirror, base, plain, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
add_registry(BerthRegistry *registry, const char *name, GError **error)
{
    const char *const *insecure = registry->options.insecure;
    gboolean plain =
        is_loopback_name(name) || (insecure != NULL && g_strv_contains(insecure, name));
    const char *host = strcmp(name, "docker.io") == 0 ? "registry-1.docker.io" : name;
    g_autofree char *base = g_strconcat(plain ? "http://" : "https://", host, NULL);
    return add_endpoint(registry, name, base, plain, error);
}

/**
 * berth_registry_new:
 * @reference: names registry and repository; copied
 * @options: (nullable): defaults where 0 or NULL; its strings must outlive the object
 *
 * Loopback and insecure registries are asked over http, all others over https only.
 *
 * Returns: (transfer full): the conversation, nothing sent yet; or NULL. Errors: DENIED, INVALID for the file of
 * credentials or a mirror.
 */
BerthRegistry *
berth_registry_new(const BerthReference *reference, const BerthRegistryOptions *options,
                   GError **error)
{
    g_autoptr(BerthRegistry) registry = g_new0(BerthRegistry, 1);
    registry->options = fill_options(options);
    registry->repository = g_strdup(reference->repository);
    registry->endpoints = g_ptr_array_new_with_free_func(endpoint_free);
    registry->curl = berth_http_new();
    if (!add_mirrors(registry, reference->registry, error) ||
        !add_registry(registry, reference->registry, error)) {
        return NULL;
    }
    return g_steal_pointer(&registry);
}

/** Returns: (transfer full): the same conversation for another thread, with what was learned so far. */
BerthRegistry *
berth_registry_copy(const BerthRegistry *registry)
{
    BerthRegistry *copy = g_new0(BerthRegistry, 1);
    copy->options = registry->options;
    copy->repository = g_strdup(registry->repository);
    copy->current = registry->current;
    copy->endpoints = g_ptr_array_new_with_free_func(endpoint_free);
    copy->curl = berth_http_new();
    for (guint i = 0; i < registry->endpoints->len; i++) {
        const BerthEndpoint *from = registry->endpoints->pdata[i];
        BerthEndpoint *to = g_memdup2(from, sizeof *from);
        to->name = g_strdup(from->name);
        to->base = g_strdup(from->base);
        to->basic = g_strdup(from->basic);
        to->authorization = g_strdup(from->authorization);
        g_ptr_array_add(copy->endpoints, to);
    }
    return copy;
}

void
berth_registry_free(BerthRegistry *registry)
{
    if (registry == NULL) {
        return;
    }
    g_ptr_array_unref(registry->endpoints);
    curl_easy_cleanup(registry->curl);
    g_free(registry->repository);
    g_free(registry);
}

/**
 * berth_registry_request:
 * @url: borrowed by the request
 *
 * Returns: a request with what the options say of all; who is asked and what is taken is the caller's.
 */
BerthHttpRequest
berth_registry_request(BerthRegistry *registry, const char *url, GCancellable *cancellable)
{
    const BerthRegistryOptions *options = &registry->options;
    BerthHttpRequest request = {
        .url = url,
        .proxy = options->proxy,
        .ca_file = options->ca_file,
        .connect_timeout_ms = options->connect_timeout_ms,
        .low_speed_bytes = options->low_speed_bytes,
        .low_speed_s = options->low_speed_s,
        .header_bytes_max = options->header_bytes_max,
        .cancellable = cancellable,
    };
    return request;
}

/** A sink: appends to a GByteArray. */
gboolean
berth_registry_collect(const void *data, gsize size, gpointer user_data, GError **error)
{
    g_byte_array_append(user_data, data, (guint)size);
    return TRUE;
}

/**
 * berth_registry_parse_url:
 * @text: an address that somebody else named
 * @scheme: (out): "http" or "https"; for curl_free(), also when NULL is returned
 * @host: (out): for curl_free()
 *
 * Returns: (transfer full): the address, which has a host and no user; NULL with DENIED otherwise
 */
CURLU *
berth_registry_parse_url(const char *text, char **scheme, char **host, GError **error)
{
    CURLU *url = curl_url();
    char *user = NULL;
    gboolean ok = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_SCHEME, scheme, 0) == CURLUE_OK &&
                  (strcmp(*scheme, "http") == 0 || strcmp(*scheme, "https") == 0) &&
                  curl_url_get(url, CURLUPART_HOST, host, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_USER, &user, 0) != CURLUE_OK;
    curl_free(user);
    if (!ok) {
        g_autofree char *shown = g_strescape(text, NULL);
        berth_error_set(error, BERTH_ERROR_DENIED,
                        "the registry names '%.200s', which is no web address", shown);
        curl_url_cleanup(url);
        return NULL;
    }
    return url;
}

/* ---- one resource ---- */

/* What is asked for, over all its hops. */
typedef struct {
    BerthRegistry *registry; /* borrowed, as all here */
    BerthEndpoint *endpoint;
    const char *path; /* "/v2/…" */
    const char *accept;
    guint64 offset, body_max;
    guint deadline_s;
    BerthHttpSink sink;
    gpointer sink_data;
    GCancellable *cancellable;
} Fetch;

/* Whether the address @url is on the endpoint itself, so that its token may go there. */
static gboolean
is_own(const BerthEndpoint *endpoint, const char *url)
{
    gsize length = strlen(endpoint->base);
    return strncmp(url, endpoint->base, length) == 0 && (url[length] == '/' || url[length] == '\0');
}

static gboolean
send_one(Fetch *fetch, const char *url, BerthHttpAnswer *answer, GError **error)
{
    BerthEndpoint *endpoint = fetch->endpoint;
    gboolean own = is_own(endpoint, url);
    BerthHttpRequest request = berth_registry_request(fetch->registry, url, fetch->cancellable);
    request.authorization = own ? endpoint->authorization : NULL;
    request.accept = fetch->accept;
    request.offset = fetch->offset;
    request.plain = g_str_has_prefix(url, "http://");
    request.deepest = own ? BERTH_ADDRESS_LOOPBACK : endpoint->met;
    request.deadline_s = fetch->deadline_s;
    request.body_max = fetch->body_max;
    request.sink = fetch->sink;
    request.sink_data = fetch->sink_data;
    gboolean ok = berth_http_get(fetch->registry->curl, &request, answer, error);
    if (own) {
        endpoint->met = MAX(endpoint->met, answer->met);
    }
    return ok;
}

static gboolean
is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The place a redirect leads to, relative ones made whole. */
static gboolean
resolve_redirect(const BerthHttpAnswer *answer, char **url, GError **error)
{
    CURLU *place = curl_url();
    char *text = NULL, *scheme = NULL, *host = NULL;
    gboolean ok = answer->location != NULL &&
                  curl_url_set(place, CURLUPART_URL, *url, 0) == CURLUE_OK &&
                  curl_url_set(place, CURLUPART_URL, answer->location, 0) == CURLUE_OK &&
                  curl_url_get(place, CURLUPART_URL, &text, 0) == CURLUE_OK;
    curl_url_cleanup(place);
    if (!ok) {
        berth_error_set(error, BERTH_ERROR_DENIED, "'%.200s' redirects to nowhere", *url);
        return FALSE;
    }
    CURLU *parsed = berth_registry_parse_url(text, &scheme, &host, error);
    ok = parsed != NULL;
    if (ok && g_str_has_prefix(*url, "https://") && strcmp(scheme, "https") != 0) {
        berth_error_set(error, BERTH_ERROR_DENIED, "'%.200s' redirects from https to %s", *url,
                        scheme);
        ok = FALSE;
    }
    if (ok) {
        g_free(*url);
        *url = g_strdup(text);
    }
    curl_url_cleanup(parsed);
    curl_free(scheme);
    curl_free(host);
    curl_free(text);
    return ok;
}

/* Follows redirects and answers one challenge; ends with an answer that is neither. */
static gboolean
follow(Fetch *fetch, BerthHttpAnswer *answer, GError **error)
{
    g_autofree char *url = g_strconcat(fetch->endpoint->base, fetch->path, NULL);
    gboolean challenged = FALSE;
    guint hops = 0;
    for (;;) {
        if (!send_one(fetch, url, answer, error)) {
            return FALSE;
        }
        if (answer->status == 401 && !challenged && is_own(fetch->endpoint, url)) {
            challenged = TRUE;
            if (!berth_registry_authenticate(fetch->registry, fetch->endpoint, answer,
                                             fetch->cancellable, error)) {
                return FALSE;
            }
        } else if (!is_redirect(answer->status)) {
            return TRUE;
        } else if (++hops > fetch->registry->options.redirects_max) {
            berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "'%s' redirects more than %u times",
                            fetch->endpoint->name, fetch->registry->options.redirects_max);
            return FALSE;
        } else if (!resolve_redirect(answer, &url, error)) {
            return FALSE;
        }
        berth_http_answer_clear(answer);
    }
}

static gboolean
check_status(const Fetch *fetch, const BerthHttpAnswer *answer, GError **error)
{
    BerthErrorCode code = BERTH_ERROR_UNAVAILABLE;
    const char *says = "answered";
    switch (answer->status) {
    case 200:
    case 206:
        return TRUE;
    case 401:
    case 403:
        code = BERTH_ERROR_DENIED;
        says = "denies";
        break;
    case 404:
        code = BERTH_ERROR_NOT_FOUND;
        says = "does not have";
        break;
    case 429:
        says = "has had too many requests for";
        break;
    default:
        break;
    }
    berth_error_set(error, code, "'%s' %s '%s/%s' (status %ld)", fetch->endpoint->name, says,
                    fetch->registry->repository, strrchr(fetch->path, '/') + 1, answer->status);
    return FALSE;
}

/* ---- manifests ---- */

static gboolean
fetch_manifest(BerthRegistry *registry, BerthEndpoint *endpoint, const char *path,
               GCancellable *cancellable, GByteArray *body, char **content_type, GError **error)
{
    Fetch fetch = {.registry = registry,
                   .endpoint = endpoint,
                   .path = path,
                   .accept = ACCEPTED,
                   .body_max = BERTH_MANIFEST_SIZE_MAX,
                   .deadline_s = registry->options.small_deadline_s,
                   .sink = berth_registry_collect,
                   .sink_data = body,
                   .cancellable = cancellable};
    g_auto(BerthHttpAnswer) answer = {0};
    g_byte_array_set_size(body, 0);
    if (!follow(&fetch, &answer, error) || !check_status(&fetch, &answer, error)) {
        return FALSE;
    }
    g_free(*content_type);
    *content_type = NULL;
    if (answer.content_type != NULL) {
        *content_type =
            g_ascii_strdown(answer.content_type, (gssize)strcspn(answer.content_type, "; "));
    }
    return TRUE;
}

static gboolean
check_digest(const GByteArray *body, const BerthDigest *expected, GError **error)
{
    BerthDigest found;
    berth_digest_of_bytes(body->data, body->len, &found);
    if (expected != NULL && !berth_digest_equal(&found, expected)) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the registry sent a manifest with the digest sha256:%s, not sha256:%s",
                        found.hex, expected->hex);
        return FALSE;
    }
    return TRUE;
}

/**
 * berth_registry_get_manifest:
 * @tag_or_digest: of a parsed reference or descriptor
 * @expected: (nullable): the digest the answer must have
 * @data: (out): (transfer full): the document, with a NUL behind it
 * @size: (out): bytes in @data, at most BERTH_MANIFEST_SIZE_MAX
 * @content_type: (out) (nullable): (transfer full): what it was served as, or NULL
 *
 * Asks the mirrors, then the registry.
 *
 * Errors: NOT_FOUND, DENIED, UNAVAILABLE, TIMEOUT, CORRUPT, CANCELLED; of the last that was asked.
 */
gboolean
berth_registry_get_manifest(BerthRegistry *registry, const char *tag_or_digest,
                            const BerthDigest *expected, GCancellable *cancellable, char **data,
                            gsize *size, char **content_type, GError **error)
{
    g_autofree char *path =
        g_strconcat("/v2/", registry->repository, "/manifests/", tag_or_digest, NULL);
    g_autoptr(GByteArray) body = g_byte_array_new();
    g_autoptr(GError) problem = NULL;
    g_autofree char *type = NULL;
    gboolean ok = FALSE;
    for (guint i = 0; i < registry->endpoints->len && !ok; i++) {
        g_clear_error(&problem);
        ok = fetch_manifest(registry, registry->endpoints->pdata[i], path, cancellable, body, &type,
                            &problem) &&
             check_digest(body, expected, &problem);
        registry->current = i;
        if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_CANCELLED)) {
            break;
        }
    }
    if (!ok) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    *size = body->len;
    g_byte_array_append(body, (const guint8 *)"", 1);
    *data = (char *)g_byte_array_free(g_steal_pointer(&body), FALSE);
    if (content_type != NULL) {
        *content_type = g_steal_pointer(&type);
    }
    return TRUE;
}

/* ---- blobs ---- */

/* Between curl and the caller's sink: the first bytes tell whether the rest comes or the whole. */
typedef struct {
    BerthRegistrySink sink;
    gpointer user_data;
    const BerthHttpAnswer *answer; /* borrowed */
    guint64 offset;                /* that was asked for */
    gboolean begun;
    gboolean *restarted; /* borrowed */
} BlobSink;

static gboolean
check_range(const BlobSink *to, GError **error)
{
    g_autofree char *wanted = g_strdup_printf("bytes %" G_GUINT64_FORMAT "-", to->offset);
    const char *range = to->answer->content_range;
    if (to->answer->status == 206 && (range == NULL || !g_str_has_prefix(range, wanted))) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "the registry sent another part of a blob than was asked for");
        return FALSE;
    }
    return TRUE;
}

static gboolean
pass_on(const void *data, gsize size, gpointer user_data, GError **error)
{
    BlobSink *to = user_data;
    if (!to->begun) {
        to->begun = TRUE;
        if (!check_range(to, error)) {
            return FALSE;
        }
        if (to->answer->status == 200 && to->offset > 0) {
            *to->restarted = TRUE;
        }
    }
    return to->sink(data, size, to->user_data, error);
}

/* A server that can't continue there (416) is asked for the whole. */
static gboolean
fetch_blob(Fetch *fetch, BlobSink *to, BerthHttpAnswer *answer, GError **error)
{
    if (!follow(fetch, answer, error)) {
        return FALSE;
    }
    if (answer->status == 416 && fetch->offset > 0) {
        berth_http_answer_clear(answer);
        fetch->offset = to->offset = 0;
        *to->restarted = TRUE;
        if (!follow(fetch, answer, error)) {
            return FALSE;
        }
    }
    return check_status(fetch, answer, error);
}

/**
 * berth_registry_get_blob:
 * @blob: its size bounds what is taken
 * @offset: bytes that are there already
 * @sink: gets the rest, in order
 * @restarted: (out): set to TRUE, before the sink's first call, when the whole blob comes instead of the
 *   rest
 *
 * One attempt. The content is not checked here: BerthBlobWriter does that.
 *
 * Errors: as berth_registry_get_manifest(), and the sink's own.
 */
gboolean
berth_registry_get_blob(BerthRegistry *registry, const BerthDescriptor *blob, guint64 offset,
                        BerthRegistrySink sink, gpointer user_data, gboolean *restarted,
                        GCancellable *cancellable, GError **error)
{
    g_autofree char *path =
        g_strconcat("/v2/", registry->repository, "/blobs/sha256:", blob->digest.hex, NULL);
    g_auto(BerthHttpAnswer) answer = {0};
    BlobSink to = {.sink = sink,
                   .user_data = user_data,
                   .answer = &answer,
                   .offset = offset,
                   .restarted = restarted};
    Fetch fetch = {.registry = registry,
                   .endpoint = registry->endpoints->pdata[registry->current],
                   .path = path,
                   .offset = offset,
                   .body_max = blob->size,
                   .sink = pass_on,
                   .sink_data = &to,
                   .cancellable = cancellable};
    *restarted = FALSE;
    gboolean ok = fetch_blob(&fetch, &to, &answer, error);
    if (!ok && registry->current + 1 < registry->endpoints->len) {
        registry->current++; /* the mirror may lack it: the next attempt asks further up */
    }
    return ok;
}
