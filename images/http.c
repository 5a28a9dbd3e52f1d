/* One GET, with a guard at each door.
 *
 * Invariants: only http and https are spoken, https alone unless the request says otherwise; no
 * redirect is followed here; the address is checked when the socket is made, after the name was
 * resolved, so that a name can't turn into another address between check and use; headers, body, time
 * and slowness are bounded; the environment (proxies, .netrc) is not read. One thread per CURL.
 * Start at berth_http_get(). */
#include "images/http.h"

#include "base/error.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REFUSED_BODY_MAX 65536 /* of an answer that is not used */
#define HEADER_VALUE_MAX 8192

typedef struct {
    const BerthHttpRequest *request; /* borrowed */
    BerthHttpAnswer *answer;         /* borrowed */
    CURL *curl;
    gsize header_bytes;
    guint64 body_bytes;
    gint64 deadline_us;
    char *shown;   /* owned; the URL without its query, which may hold a secret */
    GError *error; /* owned; why a callback ended the transfer */
} Exchange;

static BerthAddressClass
classify4(guint32 address)
{
    static const struct {
        guint32 network, bits;
        BerthAddressClass is;
    } table[] = {
        {0xa9fe0000, 16, BERTH_ADDRESS_NEVER},   /* 169.254/16: link-local, cloud metadata */
        {0x646464c8, 32, BERTH_ADDRESS_NEVER},   /* 100.100.100.200: a cloud's metadata */
        {0xe0000000, 3, BERTH_ADDRESS_NEVER},    /* multicast and above */
        {0x7f000000, 8, BERTH_ADDRESS_LOOPBACK}, /* 127/8 */
        {0x00000000, 8, BERTH_ADDRESS_LOOPBACK}, /* 0/8: Linux takes 0.0.0.0 for itself */
        {0x0a000000, 8, BERTH_ADDRESS_PRIVATE},  /* 10/8 */
        {0xac100000, 12, BERTH_ADDRESS_PRIVATE}, /* 172.16/12 */
        {0xc0a80000, 16, BERTH_ADDRESS_PRIVATE}, /* 192.168/16 */
        {0x64400000, 10, BERTH_ADDRESS_PRIVATE}, /* 100.64/10: carriers' */
    };
    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        if (address >> (32 - table[i].bits) == table[i].network >> (32 - table[i].bits)) {
            return table[i].is;
        }
    }
    return BERTH_ADDRESS_PUBLIC;
}

static BerthAddressClass
classify6(const struct in6_addr *address)
{
    const guint8 *bytes = address->s6_addr;
    static const guint8 metadata[16] = {0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54};
    static const guint8 nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_V4COMPAT(address) ||
        memcmp(bytes, nat64, sizeof nat64) == 0) {
        if (IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address)) {
            return BERTH_ADDRESS_LOOPBACK;
        }
        guint32 inner;
        memcpy(&inner, bytes + 12, sizeof inner);
        return classify4(ntohl(inner));
    }
    if (IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address)) {
        return BERTH_ADDRESS_LOOPBACK;
    }
    if (IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_MULTICAST(address) ||
        memcmp(bytes, metadata, sizeof metadata) == 0) {
        return BERTH_ADDRESS_NEVER;
    }
    return (bytes[0] & 0xfe) == 0xfc ? BERTH_ADDRESS_PRIVATE : BERTH_ADDRESS_PUBLIC;
}

/** Returns: how far inside @address lies; NEVER for anything but IPv4 and IPv6. */
BerthAddressClass
berth_address_classify(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        return classify4(ntohl(in->sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        return classify6(&((const struct sockaddr_in6 *)address)->sin6_addr);
    }
    return BERTH_ADDRESS_NEVER;
}

static curl_socket_t
open_socket(void *user_data, curlsocktype purpose, struct curl_sockaddr *address)
{
    Exchange *exchange = user_data;
    /* Behind a proxy the addresses are the proxy's, which the administrator chose. */
    if (exchange->request->proxy == NULL) {
        BerthAddressClass is = berth_address_classify(&address->addr);
        if (is == BERTH_ADDRESS_NEVER || is > exchange->request->deepest) {
            if (exchange->error == NULL) {
                berth_error_set(&exchange->error, BERTH_ERROR_DENIED,
                                "'%.200s' leads to an address inside our own networks",
                                exchange->shown);
            }
            return CURL_SOCKET_BAD;
        }
        exchange->answer->met = MAX(exchange->answer->met, is);
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int
report_progress(void *user_data, curl_off_t total, curl_off_t now, curl_off_t up_total,
                curl_off_t up_now)
{
    Exchange *exchange = user_data;
    if (exchange->error == NULL && g_cancellable_is_cancelled(exchange->request->cancellable)) {
        berth_error_set(&exchange->error, BERTH_ERROR_CANCELLED, "cancelled");
    }
    if (exchange->error == NULL && exchange->deadline_us != 0 &&
        g_get_monotonic_time() > exchange->deadline_us) {
        berth_error_set(&exchange->error, BERTH_ERROR_TIMEOUT,
                        "'%.200s' did not answer within %u s", exchange->shown,
                        exchange->request->deadline_s);
    }
    return exchange->error == NULL ? 0 : 1;
}

static void
forget_headers(BerthHttpAnswer *answer)
{
    g_clear_pointer(&answer->content_type, g_free);
    g_clear_pointer(&answer->authenticate, g_free);
    g_clear_pointer(&answer->location, g_free);
    g_clear_pointer(&answer->content_range, g_free);
}

static void
keep_header(BerthHttpAnswer *answer, const char *line, gsize size)
{
    const struct {
        const char *name;
        char **value;
    } wanted[] = {{"content-type:", &answer->content_type},
                  {"www-authenticate:", &answer->authenticate},
                  {"location:", &answer->location},
                  {"content-range:", &answer->content_range}};
    for (guint i = 0; i < G_N_ELEMENTS(wanted); i++) {
        gsize length = strlen(wanted[i].name);
        if (size > length && size < HEADER_VALUE_MAX &&
            g_ascii_strncasecmp(line, wanted[i].name, length) == 0 &&
            memchr(line, '\0', size) == NULL) {
            char *value = g_strstrip(g_strndup(line + length, size - length));
            /* Of several challenges the one that gives tokens is wanted. */
            gboolean better = *wanted[i].value == NULL ||
                              g_ascii_strncasecmp(value, "bearer", strlen("bearer")) == 0;
            if (better) {
                g_free(*wanted[i].value);
                *wanted[i].value = value;
            } else {
                g_free(value);
            }
        }
    }
}

static size_t
take_header(char *line, size_t size, size_t count, void *user_data)
{
    Exchange *exchange = user_data;
    gsize bytes = size * count;
    exchange->header_bytes += bytes;
    if (exchange->header_bytes > exchange->request->header_bytes_max) {
        berth_error_set(&exchange->error, BERTH_ERROR_CORRUPT,
                        "'%.200s' sent more than %zu bytes of headers", exchange->shown,
                        exchange->request->header_bytes_max);
        return 0;
    }
    if (bytes > 5 && memcmp(line, "HTTP/", 5) == 0) {
        forget_headers(exchange->answer);
        exchange->answer->status = 0;
    } else {
        keep_header(exchange->answer, line, bytes);
    }
    return bytes;
}

static gboolean
is_good(long status)
{
    return status == 200 || status == 206;
}

static size_t
take_body(char *data, size_t size, size_t count, void *user_data)
{
    Exchange *exchange = user_data;
    const BerthHttpRequest *request = exchange->request;
    gsize bytes = size * count;
    if (exchange->answer->status == 0) {
        curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &exchange->answer->status);
    }
    exchange->body_bytes += bytes;
    if (!is_good(exchange->answer->status)) {
        return exchange->body_bytes > REFUSED_BODY_MAX ? 0 : bytes;
    }
    if (exchange->body_bytes > request->body_max) {
        berth_error_set(&exchange->error, BERTH_ERROR_CORRUPT,
                        "'%.200s' sent more than %" G_GUINT64_FORMAT " bytes", exchange->shown,
                        request->body_max);
        return 0;
    }
    return request->sink(data, bytes, request->sink_data, &exchange->error) ? bytes : 0;
}

static gpointer
init_curl(gpointer data)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return NULL;
}

/** Returns: (transfer full): a handle that keeps connections between calls; curl_easy_cleanup() ends it. */
CURL *
berth_http_new(void)
{
    static GOnce once = G_ONCE_INIT;
    g_once(&once, init_curl, NULL);
    return curl_easy_init();
}

static void
set_limits(CURL *curl, const BerthHttpRequest *request)
{
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)request->low_speed_bytes);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)request->low_speed_s);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, request->plain ? "http,https" : "https");
    curl_easy_setopt(curl, CURLOPT_PROXY, request->proxy == NULL ? "" : request->proxy);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 131072L);
    curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, 4L);
    if (request->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
    }
}

static void
set_callbacks(CURL *curl, Exchange *exchange)
{
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, report_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
}

static struct curl_slist *
add_header(struct curl_slist *headers, const char *name, const char *value)
{
    if (value == NULL) {
        return headers;
    }
    g_autofree char *line = g_strconcat(name, ": ", value, NULL);
    return curl_slist_append(headers, line);
}

/* How curl calls a line of headers over its own limit. */
#if LIBCURL_VERSION_NUM >= 0x080600
#define TOO_LARGE CURLE_TOO_LARGE
#else
#define TOO_LARGE CURLE_OUT_OF_MEMORY
#endif

/* Words for what went wrong between us and the server. */
static void
set_curl_error(Exchange *exchange, CURLcode code, const char *details, GError **error)
{
    BerthErrorCode as = BERTH_ERROR_UNAVAILABLE;
    if (code == CURLE_OPERATION_TIMEDOUT) {
        as = BERTH_ERROR_TIMEOUT;
    } else if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT) {
        as = BERTH_ERROR_DENIED;
    } else if (code == CURLE_WEIRD_SERVER_REPLY) {
        as = BERTH_ERROR_CORRUPT;
    }
    if (code == TOO_LARGE) {
        as = BERTH_ERROR_CORRUPT;
        details = "a header is too long";
    }
    g_autofree char *text =
        g_strescape(details[0] == '\0' ? curl_easy_strerror(code) : details, NULL);
    berth_error_set(error, as, "'%.200s': %.200s", exchange->shown, text);
}

/**
 * berth_http_get:
 * @curl: from berth_http_new(); used by this thread alone
 * @answer: (out): filled whenever there was an answer of any status; to be cleared by the caller
 *
 * Sends one GET. Only the body of a 200 or 206 goes to the sink.
 *
 * Returns: whether there was a whole answer, of whatever status. Errors: UNAVAILABLE, TIMEOUT, DENIED for an
 * address or scheme that is not allowed, CORRUPT beyond a limit, CANCELLED, and the sink's own.
 */
gboolean
berth_http_get(CURL *curl, const BerthHttpRequest *request, BerthHttpAnswer *answer, GError **error)
{
    Exchange exchange = {.request = request, .answer = answer, .curl = curl};
    char details[CURL_ERROR_SIZE] = "";
    if (request->deadline_s > 0) {
        exchange.deadline_us =
            g_get_monotonic_time() + (gint64)request->deadline_s * G_USEC_PER_SEC;
    }
    memset(answer, 0, sizeof *answer);
    curl_easy_reset(curl);
    set_limits(curl, request);
    set_callbacks(curl, &exchange);
    struct curl_slist *headers = curl_slist_append(NULL, "User-Agent: berth");
    headers = add_header(headers, "Accept", request->accept);
    headers = add_header(headers, "Authorization", request->authorization);
    if (request->offset > 0) {
        g_autofree char *range = g_strdup_printf("bytes=%" G_GUINT64_FORMAT "-", request->offset);
        headers = add_header(headers, "Range", range);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, details);
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    exchange.shown = g_strndup(request->url, strcspn(request->url, "?#"));
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    gboolean unused_body = code == CURLE_WRITE_ERROR && exchange.error == NULL;
    if (code == CURLE_OK || unused_body) {
        g_free(exchange.shown);
        g_clear_error(&exchange.error); /* one of several addresses was refused, another worked */
        return TRUE;
    }
    if (exchange.error != NULL) {
        g_propagate_error(error, exchange.error);
    } else {
        set_curl_error(&exchange, code, details, error);
    }
    g_free(exchange.shown);
    return FALSE;
}

void
berth_http_answer_clear(BerthHttpAnswer *answer)
{
    forget_headers(answer);
}
