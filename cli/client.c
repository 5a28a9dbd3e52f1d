/* Requests over libcurl, one easy handle each: the daemon closes after every answer, so nothing is gained by
 * keeping connections.
 *
 * Invariant: an answer that is not what a Berth daemon may send (too large, too deep, no JSON where JSON
 * was said) is an error and takes bounded memory; redirects and other protocols are never followed.
 * Start reading at berth_client_call(). */
#include "cli/client-private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "cli/interrupt.h"
#include "cli/problem.h"

/* The largest answer that is read into memory, and its depth. A list of 100,000 objects is paged. */
#define ANSWER_MAX (64 * 1024 * 1024)
#define LINE_MAX_BYTES (4 * 1024 * 1024)
#define DEFAULT_TIMEOUT_S 60
#define CONNECT_TIMEOUT_S 10
#define PAGE 500

void
berth_reply_free(BerthReply *answer)
{
    if (answer != NULL) {
        json_decref(answer->body);
        g_free(answer->text);
        g_free(answer->content_type);
        g_free(answer);
    }
}

/** Returns: (transfer full): a client; nothing is connected yet. */
BerthClient *
berth_client_new(const BerthSettings *settings, GError **error)
{
    static gsize once;
    if (g_once_init_enter(&once)) {
        gboolean ok = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
        g_once_init_leave(&once, ok ? 1 : 2);
    }
    if (once != 1) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "libcurl does not start");
        return NULL;
    }
    BerthClient *client = g_new0(BerthClient, 1);
    client->settings.socket = g_strdup(settings->socket);
    client->settings.url = g_strdup(settings->url != NULL ? settings->url : "http://localhost");
    client->settings.ca = g_strdup(settings->ca);
    client->settings.certificate = g_strdup(settings->certificate);
    client->settings.key = g_strdup(settings->key);
    client->host = g_strdup(strstr(client->settings.url, "://") + 3);
    /* A token never leaves over a unix socket: the socket's owner is told by the kernel who asks. */
    if (settings->token != NULL && settings->socket == NULL) {
        client->authorization = g_strconcat("Bearer ", settings->token, NULL);
    }
    return client;
}

void
berth_client_free(BerthClient *client)
{
    if (client == NULL) {
        return;
    }
    g_free(client->settings.socket);
    g_free(client->settings.url);
    g_free(client->settings.ca);
    g_free(client->settings.certificate);
    g_free(client->settings.key);
    g_free(client->host);
    g_free(client->authorization);
    g_free(client);
}

const char *
berth_client_host(const BerthClient *client)
{
    return client->host;
}

const char *
berth_client_authorization(const BerthClient *client)
{
    return client->authorization;
}

/** Returns: (transfer full): @text as one segment of a path or value of a query. */
char *
berth_url_escape(const char *text)
{
    return g_uri_escape_string(text, NULL, FALSE);
}

/* ---- errors ---- */

static void
set_unreachable(const BerthClient *client, const char *why, int errnum, GError **error)
{
    const char *socket = client->settings.socket;
    const char *where = socket != NULL ? socket : client->settings.url;
    if (socket != NULL && access(socket, F_OK) < 0 && errno == ENOENT) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL,
                           "start it with: systemctl start berthd; or name another with --connect",
                           "no daemon listens at '%s'", socket);
    } else if (socket != NULL && access(socket, W_OK) < 0 && errno == EACCES) {
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL,
                           "run it as root, or join the group: usermod -aG berth $USER",
                           "you may not speak to the daemon at '%s'", socket);
    } else {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL,
                           socket != NULL ? "is it running? systemctl status berthd" : NULL,
                           "cannot reach the daemon at '%s': %s", where, why);
    }
}

/** Sets @error for what curl says; @detail (nullable) is its text of this transfer. Returns: FALSE. */
gboolean
berth_client_fail(const BerthClient *client, CURL *curl, CURLcode code, const char *detail,
                  GError **error)
{
    long errnum = 0;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &errnum);
    const char *why = detail != NULL && *detail != '\0' ? detail : curl_easy_strerror(code);
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        berth_error_set(error, BERTH_ERROR_CANCELLED, "interrupted");
        break;
    case CURLE_OPERATION_TIMEDOUT:
        berth_error_set(error, BERTH_ERROR_TIMEOUT, "the daemon did not answer in time: %s", why);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL,
                           "set ca, certificate and key in the context, or BERTH_CA, "
                           "BERTH_CERTIFICATE and BERTH_KEY",
                           "no trusted connection to '%s': %s", client->settings.url, why);
        break;
    case CURLE_FILESIZE_EXCEEDED:
    case CURLE_WRITE_ERROR:
        berth_error_set(error, BERTH_ERROR_CORRUPT, "the answer is larger than any answer may be");
        break;
    default:
        set_unreachable(client, why, (int)errnum, error);
    }
    return FALSE;
}

/* ---- one transfer ---- */

typedef struct {
    BerthClient *client;
    CURL *curl;
    struct curl_slist *headers;
    char detail[CURL_ERROR_SIZE];
    GString *text; /* what is collected: answers, or the error of a stream */
    /* a stream or download passes bytes on once the status is known to be good */
    BerthClientBytes bytes;
    BerthClientProgress progress;
    gpointer user_data;
    GError *error;    /* owned; from bytes() */
    gboolean stopped; /* bytes() wants no more */
    gint64 last_us;   /* when bytes() was last called */
    int upload_fd;
} Transfer;

static gboolean
is_good(CURL *curl)
{
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static size_t
on_bytes(char *data, size_t one, size_t size, void *user_data)
{
    Transfer *transfer = user_data;
    if (transfer->bytes == NULL || !is_good(transfer->curl)) {
        if (transfer->text->len + size > ANSWER_MAX) {
            return 0;
        }
        g_string_append_len(transfer->text, data, size);
        return size;
    }
    transfer->last_us = g_get_monotonic_time();
    if (!transfer->bytes(data, size, transfer->user_data, &transfer->error)) {
        transfer->stopped = TRUE;
        return 0;
    }
    return size;
}

static int
on_progress(void *user_data, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
            curl_off_t up)
{
    Transfer *transfer = user_data;
    if (berth_interrupted()) {
        return 1;
    }
    if (transfer->progress != NULL) {
        transfer->progress(transfer->upload_fd >= 0 ? up : down,
                           transfer->upload_fd >= 0 ? up_total : down_total, transfer->user_data);
    }
    gint64 now = g_get_monotonic_time();
    if (transfer->bytes != NULL && now - transfer->last_us > G_USEC_PER_SEC &&
        is_good(transfer->curl)) {
        transfer->last_us = now;
        if (!transfer->bytes(NULL, 0, transfer->user_data, &transfer->error)) {
            transfer->stopped = TRUE;
            return 1;
        }
    }
    return 0;
}

static void add_header(Transfer *transfer, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
add_header(Transfer *transfer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    transfer->headers = curl_slist_append(transfer->headers, line);
}

/** Where and as whom; the same for requests and WebSockets. */
void
berth_client_set_target(const BerthClient *client, CURL *curl)
{
    const BerthSettings *settings = &client->settings;
    if (settings->socket != NULL) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, settings->socket);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    } else {
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    }
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    if (settings->ca != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, settings->ca);
    }
    if (settings->certificate != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, settings->certificate);
        curl_easy_setopt(curl, CURLOPT_SSLKEY,
                         settings->key != NULL ? settings->key : settings->certificate);
    }
}

static void
transfer_init(Transfer *transfer, BerthClient *client, const char *method, const char *path)
{
    *transfer = (Transfer){.client = client, .upload_fd = -1};
    transfer->curl = curl_easy_init();
    transfer->text = g_string_new(NULL);
    transfer->last_us = g_get_monotonic_time();
    CURL *curl = transfer->curl;
    g_autofree char *url = g_strconcat(client->settings.url, path, NULL);
    berth_client_set_target(client, curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->detail);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "berth");
    add_header(transfer, "Accept: application/json");
    add_header(transfer, "Expect:");
    if (client->authorization != NULL) {
        add_header(transfer, "Authorization: %s", client->authorization);
    }
}

static void
transfer_clear(Transfer *transfer)
{
    curl_easy_cleanup(transfer->curl);
    curl_slist_free_all(transfer->headers);
    if (transfer->text != NULL) {
        g_string_free(transfer->text, TRUE);
    }
    g_clear_error(&transfer->error);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Transfer, transfer_clear)

static gboolean
says_json(CURL *curl)
{
    const char *type = NULL;
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    return type != NULL && (g_str_has_prefix(type, "application/json") ||
                            g_str_has_prefix(type, "application/problem+json"));
}

/** Reads JSON that a server sent. Errors: CORRUPT: the fault is not the user's. */
json_t *
berth_client_parse(const char *text, gsize size, GError **error)
{
    g_autoptr(GError) problem = NULL;
    json_t *value =
        berth_json_parse_limited(text, size, ANSWER_MAX, 2 * BERTH_JSON_DEPTH_MAX, &problem);
    if (value == NULL) {
        berth_error_set(error, BERTH_ERROR_CORRUPT, "the server's answer: %s", problem->message);
    }
    return value;
}

/* Runs @transfer; a status that is not 2xx becomes the error that the daemon tells. */
static gboolean
perform(Transfer *transfer, json_t **body, GError **error)
{
    curl_easy_setopt(transfer->curl, CURLOPT_HTTPHEADER, transfer->headers);
    CURLcode code = curl_easy_perform(transfer->curl);
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->error != NULL) {
        g_propagate_error(error, g_steal_pointer(&transfer->error));
        return FALSE;
    }
    if (transfer->stopped) {
        return TRUE;
    }
    /* A daemon that refuses an upload answers and closes before it took all of it. */
    gboolean refused = code == CURLE_SEND_ERROR && status >= 400;
    if (code != CURLE_OK && !refused) {
        return berth_client_fail(transfer->client, transfer->curl, code, transfer->detail, error);
    }
    g_autoptr(json_t) json = NULL;
    if (transfer->text->len > 0 && says_json(transfer->curl)) {
        json = berth_client_parse(transfer->text->str, transfer->text->len, error);
        if (json == NULL) {
            return FALSE;
        }
    }
    if (status < 200 || status >= 300) {
        return berth_problem_set(error, status, json, transfer->text->str);
    }
    if (body != NULL) {
        *body = g_steal_pointer(&json);
    }
    return TRUE;
}

static BerthReply *
take_reply(Transfer *transfer, json_t *body)
{
    BerthReply *answer = g_new0(BerthReply, 1);
    const char *type = NULL;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_easy_getinfo(transfer->curl, CURLINFO_CONTENT_TYPE, &type);
    answer->content_type = g_strdup(type);
    answer->body = body;
    answer->size = transfer->text->len;
    answer->text = g_string_free(g_steal_pointer(&transfer->text), FALSE);
    return answer;
}

static void
set_options(Transfer *transfer, const BerthRequestOptions *options)
{
    guint wait_s = options->wait_s;
    guint timeout_s = options->timeout_s != 0 ? options->timeout_s : DEFAULT_TIMEOUT_S + wait_s;
    curl_easy_setopt(transfer->curl, CURLOPT_TIMEOUT, (long)timeout_s);
    if (wait_s != 0) {
        add_header(transfer, "Prefer: wait=%u", wait_s);
    }
    if (options->if_match != NULL) {
        add_header(transfer, "If-Match: \"%s\"", options->if_match);
    }
    if (options->create_only) {
        add_header(transfer, "If-None-Match: *");
    }
}

/**
 * berth_client_call:
 * @path: path and query, escaped
 * @options: (nullable): body, preconditions, waiting
 *
 * Returns: (transfer full): the answer, which is a 2xx. Errors: what the daemon said; UNAVAILABLE, DENIED,
 * TIMEOUT of the connection; CORRUPT; CANCELLED by ^C.
 */
BerthReply *
berth_client_call(BerthClient *client, const char *method, const char *path,
                  const BerthRequestOptions *options, GError **error)
{
    static const BerthRequestOptions none;
    options = options != NULL ? options : &none;
    g_auto(Transfer) transfer;
    transfer_init(&transfer, client, method, path);
    set_options(&transfer, options);
    g_autofree char *body = NULL;
    if (options->body != NULL) {
        body = berth_json_format(options->body);
        add_header(&transfer, "Content-Type: %s",
                   options->content_type != NULL ? options->content_type : "application/json");
        curl_easy_setopt(transfer.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(transfer.curl, CURLOPT_POSTFIELDS, body);
    } else if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        curl_easy_setopt(transfer.curl, CURLOPT_POSTFIELDS, "");
        add_header(&transfer, "Content-Type:");
    }
    json_t *json = NULL;
    return perform(&transfer, &json, error) ? take_reply(&transfer, json) : NULL;
}

/** Returns: (transfer full): the JSON at @path. Errors: as berth_client_call(); CORRUPT: no JSON. */
json_t *
berth_client_get(BerthClient *client, const char *path, GError **error)
{
    g_autoptr(BerthReply) answer = berth_client_call(client, "GET", path, NULL, error);
    if (answer == NULL) {
        return NULL;
    }
    if (answer->body == NULL) {
        berth_error_set(error, BERTH_ERROR_CORRUPT, "the server's answer to %s is no JSON", path);
    }
    return g_steal_pointer(&answer->body);
}

/**
 * berth_client_list:
 * @path: of a collection, with or without a query
 *
 * Returns: (transfer full): an array of all objects, page after page.
 */
json_t *
berth_client_list(BerthClient *client, const char *path, GError **error)
{
    g_autoptr(json_t) all = json_array();
    g_autofree char *from = NULL;
    const char *mark = strchr(path, '?') == NULL ? "?" : "&";
    do {
        g_autofree char *escaped = from != NULL ? berth_url_escape(from) : NULL;
        g_autofree char *page_path =
            g_strdup_printf("%s%slimit=%d%s%s", path, mark, PAGE,
                            escaped != NULL ? "&continue=" : "", escaped != NULL ? escaped : "");
        g_autoptr(json_t) page = berth_client_get(client, page_path, error);
        const json_t *items = json_object_get(page, "items");
        if (page == NULL) {
            return NULL;
        }
        if (!json_is_array(items)) {
            berth_error_set(error, BERTH_ERROR_CORRUPT, "the server's answer to %s is no list",
                            path);
            return NULL;
        }
        json_array_extend(all, (json_t *)items);
        g_free(from);
        from = g_strdup(berth_json_string(page, "continue"));
    } while (from != NULL && *from != '\0');
    return g_steal_pointer(&all);
}

/**
 * berth_client_stream:
 * @bytes: gets what comes, until the server ends it or it says enough
 *
 * No time limit: a stream may be silent for ever.
 */
gboolean
berth_client_stream(BerthClient *client, const char *path, BerthClientBytes bytes,
                    gpointer user_data, GError **error)
{
    g_auto(Transfer) transfer;
    transfer_init(&transfer, client, "GET", path);
    transfer.bytes = bytes;
    transfer.user_data = user_data;
    return perform(&transfer, NULL, error);
}

typedef struct {
    GString *rest;
    gboolean (*line)(const char *line, gpointer user_data, GError **error);
    gpointer user_data;
} Lines;

static gboolean
split_lines(const char *data, gsize size, gpointer user_data, GError **error)
{
    Lines *lines = user_data;
    if (size == 0) {
        return lines->line(NULL, lines->user_data, error);
    }
    g_string_append_len(lines->rest, data, size);
    gsize start = 0;
    char *end;
    while ((end = memchr(lines->rest->str + start, '\n', lines->rest->len - start)) != NULL) {
        *end = '\0';
        if (!lines->line(lines->rest->str + start, lines->user_data, error)) {
            return FALSE;
        }
        start = end + 1 - lines->rest->str;
    }
    g_string_erase(lines->rest, 0, start);
    if (lines->rest->len > LINE_MAX_BYTES) {
        berth_error_set(error, BERTH_ERROR_CORRUPT, "the server sends a line without an end");
        return FALSE;
    }
    return TRUE;
}

/** As berth_client_stream(), line by line; the line is NULL when nothing came for a second. */
gboolean
berth_client_lines(BerthClient *client, const char *path,
                   gboolean (*line)(const char *line, gpointer user_data, GError **error),
                   gpointer user_data, GError **error)
{
    g_autoptr(GString) rest = g_string_new(NULL);
    Lines lines = {rest, line, user_data};
    return berth_client_stream(client, path, split_lines, &lines, error);
}

/* ---- files ---- */

static size_t
on_upload(char *buffer, size_t one, size_t size, void *user_data)
{
    const Transfer *transfer = user_data;
    ssize_t got;
    do {
        got = read(transfer->upload_fd, buffer, one * size);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

/**
 * berth_client_upload:
 * @fd: read from where it is, to its end
 * @size: bytes that are left in it; G_MAXUINT64: not known, sent in chunks
 */
BerthReply *
berth_client_upload(BerthClient *client, const char *path, int fd, guint64 size,
                    BerthClientProgress progress, gpointer user_data, GError **error)
{
    g_auto(Transfer) transfer;
    transfer_init(&transfer, client, "PUT", path);
    transfer.upload_fd = fd;
    transfer.progress = progress;
    transfer.user_data = user_data;
    add_header(&transfer, "Content-Type: application/octet-stream");
    curl_easy_setopt(transfer.curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(transfer.curl, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(transfer.curl, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(transfer.curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
    if (size != G_MAXUINT64) {
        curl_easy_setopt(transfer.curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    }
    json_t *body = NULL;
    return perform(&transfer, &body, error) ? take_reply(&transfer, body) : NULL;
}

typedef struct {
    int fd;
} Download;

static gboolean
write_download(const char *data, gsize size, gpointer user_data, GError **error)
{
    const Download *download = user_data;
    return size == 0 || berth_fd_write_all(download->fd, data, size, error);
}

/** Writes the answer's bytes to @fd. */
gboolean
berth_client_download(BerthClient *client, const char *method, const char *path, int fd,
                      BerthClientProgress progress, gpointer user_data, GError **error)
{
    Download download = {fd};
    g_auto(Transfer) transfer;
    transfer_init(&transfer, client, method, path);
    if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(transfer.curl, CURLOPT_POSTFIELDS, "");
        add_header(&transfer, "Content-Type:");
    }
    transfer.bytes = write_download;
    transfer.user_data = &download;
    return perform(&transfer, NULL, error);
}
