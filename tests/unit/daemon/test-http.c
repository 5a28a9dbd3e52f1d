/* Requests made from parts, some of them hostile, over the unix socket and over TLS: each has one reading or is
 * refused; every answer is well-formed and alone on its connection; and no byte behind a request is ever read as
 * another one: a pod that such bytes ask to delete survives. Row A2 of the catalogue of failures. */
#include "tests/unit/daemon/api-fixture.h"

#include "base/fd.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define PODS "/v1/projects/default/pods"
#define POD                                                                                        \
    "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"docker.io/library/busybox:1\"}]}}"
#define SMUGGLED "DELETE " PODS "/victim HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
#define AT_ONCE 150

typedef enum {
    LINE,    /* instead of the request line */
    FIELD,   /* one more header line */
    FRAMING, /* instead of Content-Length, with the body that follows after '|' */
    HOST,    /* instead of Host */
    LINE_END /* instead of the CR LF of one line */
} Part;

typedef enum {
    GOOD,    /* 201 */
    REFUSED, /* 400, 414, 431, 501, 505 */
    EITHER /* one of both: it has one reading, which is stricter than, or as lenient as RFC 9112 */
} Verdict;

/* '~' stands for NUL. */
static const struct {
    Part part;
    Verdict verdict;
    const char *text;
} parts[] = {
    {LINE, REFUSED, "PUT http://a" PODS "/p HTTP/1.1"},
    {LINE, REFUSED, "PUT a:80 HTTP/1.1"},
    {LINE, REFUSED, "OPTIONS * HTTP/1.1"},
    {LINE, REFUSED, "PUT  " PODS "/p?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1  HTTP/1.1"},
    {LINE, REFUSED, "PUT\t" PODS "/p?dry_run=1\tHTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1 HTTP/1.1 "},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1 HTTP/1.2"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1 HTTP/0.9"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1 HTTP/2.0"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1 HTTP/11"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1 http/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1"},
    {LINE, REFUSED, "PUT " PODS "/p%00?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p%zz?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p%f?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p%ff?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p?dry_run=1#x HTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p~?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "PUT " PODS "/p\x7f?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "P(T " PODS "/p?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "P~T " PODS "/p?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, " PUT " PODS "/p?dry_run=1 HTTP/1.1"},
    {LINE, REFUSED, "\r\nPUT " PODS "/p?dry_run=1 HTTP/1.1"}, /* RFC 9112 2.2 allows to skip it */
    {FIELD, GOOD, "Accept: */*"},
    {FIELD, GOOD, "X-Empty:"},
    {FIELD, GOOD, "X-Spaced: \t b \t"},
    {FIELD, GOOD, "X-High: \xc3\xa4"},
    {FIELD, GOOD, "x!#$%&'*+-.^_`|: odd but a token"},
    {FIELD, REFUSED, "Transfer-Encoding: chunked"}, /* beside Content-Length */
    {FIELD, REFUSED, "transfer-encoding:\tChunked"},
    {FIELD, REFUSED, "Transfer-Encoding: gzip, chunked"},
    {FIELD, REFUSED, "Transfer-Encoding: identity"},
    {FIELD, REFUSED, "Transfer-Encoding: xchunked"},
    {FIELD, REFUSED, "Transfer-Encoding:"},
    {FIELD, REFUSED, "Transfer-Encoding : chunked"},
    {FIELD, REFUSED, "X-A: b\r\n Transfer-Encoding: chunked"},
    {FIELD, REFUSED, "X-A: b\r\n\tc"},
    {FIELD, REFUSED, "X-A: b\nX-B: c"},
    {FIELD, REFUSED, "X-A: b\rX-B: c"},
    {FIELD, REFUSED, "X-A: b~c"},
    {FIELD, REFUSED, "X~A: b"},
    {FIELD, REFUSED, "X-A: b\x01"},
    {FIELD, REFUSED, "X-A: b\x7f"},
    {FIELD, REFUSED, "X-A: \x1b[31m"},
    {FIELD, REFUSED, "X-A : b"},
    {FIELD, REFUSED, "X A: b"},
    {FIELD, REFUSED, "X(A): b"},
    {FIELD, REFUSED, ": b"},
    {FIELD, REFUSED, "X-A"},
    {FIELD, REFUSED, "Content-Length: 76"},
    {FIELD, REFUSED, "content-length: 0"},
    {FIELD, REFUSED, "Host: b"},
    {FIELD, REFUSED, "Host: a"},
    {FIELD, EITHER, "Expect: 100-continue"},
    {FIELD, EITHER, "Expect: nothing"},
    {FIELD, EITHER, "Connection: keep-alive"},
    {FIELD, EITHER, "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"},
    {HOST, REFUSED, "X-Host: a"},
    {HOST, REFUSED, " Host: a"},
    {HOST, REFUSED, "Host: a\r\nHost: a"},
    {FRAMING, GOOD, "Content-Length: 76|" POD},
    {FRAMING, GOOD, "Content-Length: 076|" POD},
    {FRAMING, GOOD, "Transfer-Encoding: chunked|4c\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, GOOD, "Transfer-Encoding: CHUNKED|04c\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, GOOD, "Transfer-Encoding: chunked|4c\r\n" POD "\r\n0\r\nX-Trailer: t\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4c;ext=1\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4c;ext=\"\r\n\"\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4c \r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4c\n" POD "\n0\n\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4c\r" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|0x4c\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|-4c\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|+4c\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4~c\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|1000000000000004c\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4c\r\n" POD "0\r\n\r\n"},
    {FRAMING, EITHER, "Transfer-Encoding: chunked|4b\r\n" POD "\r\n0\r\n\r\n"},
    {FRAMING, REFUSED, "Content-Length: 76, 76|" POD},
    {FRAMING, REFUSED, "Content-Length: +76|" POD},
    {FRAMING, REFUSED, "Content-Length: -76|" POD},
    {FRAMING, REFUSED, "Content-Length: 0x4c|" POD},
    {FRAMING, REFUSED, "Content-Length: 76.0|" POD},
    {FRAMING, REFUSED, "Content-Length: 7 6|" POD},
    {FRAMING, REFUSED, "Content-Length:|" POD},
    {FRAMING, REFUSED, "Content-Length: 76~|" POD},
    {FRAMING, REFUSED, "Content-Length: 18446744073709551692|" POD},
    {FRAMING, REFUSED, "Content-Length: 99999999999999999999|" POD},
    {FRAMING, REFUSED, "Content-Length: 76\r\nContent-Length: 77|" POD},
    {FRAMING, REFUSED, "Content-Length: 76\r\nTransfer-Encoding: chunked|" POD},
    {LINE_END, REFUSED, "\n"},
    {LINE_END, REFUSED, "\r"},
    {LINE_END, REFUSED, "\r\r\n"},
    {LINE_END, REFUSED, "\n\r"},
};

typedef struct {
    const char *line, *host, *framing, *line_end;
    GPtrArray *fields; /* of borrowed texts */
    Verdict verdict;
    GString *note; /* what is special about it */
} Draft;

static void
take_part(Draft *draft, guint i)
{
    const char *text = parts[i].text;
    const char **places[] = {&draft->line, NULL, &draft->framing, &draft->host, &draft->line_end};
    if (parts[i].part == FIELD) {
        g_ptr_array_add(draft->fields, (gpointer)text);
    } else {
        *places[parts[i].part] = text;
    }
    g_string_append_printf(draft->note, "'%s' ", text);
}

/* @first: a part that is there for sure. The others that come with it are good ones. */
static Draft
make_draft(GRand *random, guint first)
{
    Draft draft = {.line = "PUT " PODS "/p?dry_run=1 HTTP/1.1",
                   .host = "Host: a",
                   .framing = "Content-Length: 76|" POD,
                   .line_end = "\r\n",
                   .fields = g_ptr_array_new(),
                   .verdict = parts[first].verdict,
                   .note = g_string_new(NULL)};
    for (gint more = g_rand_int_range(random, 0, 4); more > 0; more--) {
        guint i = (guint)g_rand_int_range(random, 0, G_N_ELEMENTS(parts));
        if (parts[i].verdict == GOOD) {
            take_part(&draft, i);
        }
    }
    take_part(&draft, first);
    return draft;
}

static void
append(GString *bytes, const char *text, gsize size)
{
    for (gsize i = 0; i < size; i++) {
        g_string_append_c(bytes, text[i] == '~' ? '\0' : text[i]);
    }
}

/* The whole request, its headers in any order, and behind it one that must never be read. */
static GString *
write_draft(const Draft *draft, GRand *random, const char *authorization)
{
    GString *bytes = g_string_new(NULL);
    const char *body = strchr(draft->framing, '|');
    g_autofree char *framing = g_strndup(draft->framing, (gsize)(body - draft->framing));
    g_autoptr(GPtrArray) lines = g_ptr_array_new();
    g_ptr_array_add(lines, (gpointer)draft->host);
    g_ptr_array_add(lines, framing);
    g_ptr_array_add(lines, (gpointer) "Content-Type: application/json");
    for (guint i = 0; i < draft->fields->len; i++) {
        g_ptr_array_insert(lines, g_rand_int_range(random, 0, (gint)lines->len + 1),
                           draft->fields->pdata[i]);
    }
    if (authorization != NULL) {
        g_ptr_array_add(lines, (gpointer)authorization);
    }
    guint odd = (guint)g_rand_int_range(random, 0, (gint)lines->len + 1);
    append(bytes, draft->line, strlen(draft->line));
    g_string_append(bytes, odd == 0 ? draft->line_end : "\r\n");
    for (guint i = 0; i < lines->len; i++) {
        append(bytes, lines->pdata[i], strlen(lines->pdata[i]));
        g_string_append(bytes, odd == i + 1 ? draft->line_end : "\r\n");
    }
    g_string_append(bytes, "\r\n");
    append(bytes, body + 1, strlen(body + 1));
    g_string_append(bytes, SMUGGLED);
    return bytes;
}

static void
clear_draft(Draft *draft)
{
    g_ptr_array_unref(draft->fields);
    g_string_free(draft->note, TRUE);
}

/* ---- strict reading of answers ---- */

#define COMPLAIN(...)                                                                              \
    do {                                                                                           \
        g_test_message(__VA_ARGS__);                                                               \
        g_test_fail();                                                                             \
        return 0;                                                                                  \
    } while (0)

/* One status line, known header syntax, exactly the announced body, nothing after it. Returns: the status; 0 when
 * it is malformed. An interim 100 may come first. */
static guint
read_strictly(const char *bytes, gsize size, const char *note)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (size >= sizeof interim - 1 && memcmp(bytes, interim, sizeof interim - 1) == 0) {
        bytes += sizeof interim - 1;
        size -= sizeof interim - 1;
    }
    const char *end = g_strstr_len(bytes, (gssize)size, "\r\n\r\n");
    if (end == NULL || size < 14 || memcmp(bytes, "HTTP/1.1 ", 9) != 0 || bytes[12] != ' ') {
        COMPLAIN("%s: no answer but %zu bytes: %.80s", note, size, bytes);
    }
    g_autofree char *head = g_strndup(bytes, (gsize)(end - bytes));
    g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
    gint64 length = -1;
    gboolean closes = FALSE;
    for (char **line = lines + 1; *line != NULL; line++) {
        const char *colon = strchr(*line, ':');
        if (colon == NULL || colon == *line || strpbrk(*line, "\r\n\x1b") != NULL) {
            COMPLAIN("%s: a bad header '%s'", note, *line);
        }
        closes = closes || g_ascii_strcasecmp(*line, "Connection: close") == 0;
        if (g_ascii_strncasecmp(*line, "Content-Length: ", 16) == 0) {
            length = g_ascii_strtoll(*line + 16, NULL, 10);
        }
    }
    gsize body = size - (gsize)(end + 4 - bytes);
    if (!closes || length < 0 || (gsize)length != body) {
        COMPLAIN("%s: %s, %zu bytes of body:\n%s", note, closes ? "closes" : "does not close", body,
                 bytes);
    }
    return (guint)g_ascii_strtoull(bytes + 9, NULL, 10);
}

static void
judge(const Draft *draft, const char *bytes, gsize size)
{
    Verdict verdict = draft->verdict;
    /* The library closes without an answer when the framing itself is beyond reading. */
    if (size == 0 && verdict == EITHER) {
        return;
    }
    guint status = read_strictly(bytes, size, draft->note->str);
    gboolean refused = status == 400 || status == 413 || status == 414 || status == 417 ||
                       status == 426 || status == 431 || status == 501 || status == 505;
    gboolean accepted = status == 201;
    if ((verdict == GOOD && !accepted) || (verdict == REFUSED && !refused) ||
        (!accepted && !refused)) {
        g_test_message("%s: %u\n%s", draft->note->str, status, bytes);
        g_test_fail();
    }
}

static void
assert_victim(const ApiFixture *api)
{
    g_autoptr(ApiAnswer) victim = api_call(api, "GET", PODS "/victim", NULL, NULL);
    g_assert_cmpuint(victim->status, ==, 200);
}

static void
make_victim(const ApiFixture *api)
{
    g_autoptr(ApiAnswer) victim = api_call(api, "PUT", PODS "/victim", NULL, POD);
    g_assert_cmpuint(victim->status, ==, 201);
}

/* ---- the two ways in ---- */

static void
test_unix(void)
{
    ApiFixture *api = api_start();
    g_autoptr(GRand) random = g_rand_new_with_seed(20261128);
    guint rounds = g_test_slow() ? 200 : 25, total = rounds * G_N_ELEMENTS(parts);
    make_victim(api);
    for (guint done = 0; done < total; done += AT_ONCE) {
        Draft drafts[AT_ONCE];
        int fds[AT_ONCE];
        for (guint k = 0; k < AT_ONCE; k++) {
            drafts[k] = make_draft(random, (done + k) % G_N_ELEMENTS(parts));
            GString *bytes = write_draft(&drafts[k], random, NULL);
            fds[k] = api_connect(api);
            api_send(fds[k], bytes->str, (gssize)bytes->len);
            if (drafts[k].verdict == EITHER) { /* a body that is short must not be waited for */
                shutdown(fds[k], SHUT_WR);
            }
            g_string_free(bytes, TRUE);
        }
        for (guint k = 0; k < AT_ONCE; k++) {
            gsize size;
            g_autofree char *answer = api_read_all(fds[k], 15000, &size);
            judge(&drafts[k], answer, size);
            clear_draft(&drafts[k]);
            close(fds[k]);
        }
    }
    assert_victim(api);
    api_stop(api);
}

static void
read_all_tls(gnutls_session_t session, GString *answer)
{
    char piece[16384];
    for (;;) {
        gssize got = gnutls_record_recv(session, piece, sizeof piece);
        if (got > 0) {
            g_string_append_len(answer, piece, got);
        } else if (got != GNUTLS_E_INTERRUPTED) {
            return;
        }
    }
}

/* Sends @bytes on a new TLS connection; gives what was answered. */
static GString *
speak_tls(const ApiFixture *api, gnutls_certificate_credentials_t credentials, const GString *bytes,
          gboolean half_close)
{
    gnutls_session_t session;
    g_auto(BerthFd) fd = api_connect_tcp(api);
    GString *answer = g_string_new(NULL);
    g_assert_cmpint(gnutls_init(&session, GNUTLS_CLIENT), ==, 0);
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(session, fd);
    gnutls_handshake_set_timeout(session, 20000);
    gnutls_record_set_timeout(session, 20000);
    g_assert_cmpint(gnutls_handshake(session), ==, 0);
    for (gsize sent = 0; sent < bytes->len;) {
        gssize part = gnutls_record_send(session, bytes->str + sent, bytes->len - sent);
        g_assert_cmpint(part, >, 0);
        sent += (gsize)part;
    }
    if (half_close) {
        gnutls_bye(session, GNUTLS_SHUT_WR);
    }
    read_all_tls(session, answer);
    gnutls_deinit(session);
    return answer;
}

static void
test_tls(void)
{
    ApiFixture *api = api_start_tls();
    if (api == NULL) {
        g_test_skip("openssl is not installed");
        return;
    }
    gnutls_certificate_credentials_t credentials;
    g_assert_cmpint(gnutls_certificate_allocate_credentials(&credentials), ==, 0);
    g_autoptr(GRand) random = g_rand_new_with_seed(20261129);
    guint rounds = g_test_slow() ? 40 : 2;
    make_victim(api);
    for (guint i = 0; i < rounds * G_N_ELEMENTS(parts); i++) {
        Draft draft = make_draft(random, i % G_N_ELEMENTS(parts));
        GString *bytes = write_draft(&draft, random, "Authorization: Bearer " API_TOKEN);
        GString *answer = speak_tls(api, credentials, bytes, draft.verdict == EITHER);
        judge(&draft, answer->str, answer->len);
        g_string_free(answer, TRUE);
        g_string_free(bytes, TRUE);
        clear_draft(&draft);
    }
    assert_victim(api);
    gnutls_certificate_free_credentials(credentials);
    api_stop(api);
}

/* A MiB in, a MiB out, through blocks, credit and lingering; the answer is not cut off. */
static void
test_tls_large(void)
{
    ApiFixture *api = api_start_tls();
    if (api == NULL) {
        g_test_skip("openssl is not installed");
        return;
    }
    gnutls_certificate_credentials_t credentials;
    g_assert_cmpint(gnutls_certificate_allocate_credentials(&credentials), ==, 0);
    g_autofree char *script = g_strnfill(30 * 1024, 'n');
    g_autoptr(GString) pod = g_string_new("{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
                                          "\"b\",\"args\":[");
    for (guint i = 0; i < 30; i++) {
        g_string_append_printf(pod, "\"%s\",", script);
    }
    g_string_append(pod, "\"\"]}]}}");
    for (guint i = 0; i < 5; i++) {
        g_autoptr(GString) request = g_string_new(NULL);
        g_string_append_printf(request,
                               "PUT " PODS
                               "/large HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " API_TOKEN
                               "\r\nContent-Length: %zu\r\n\r\n%s",
                               pod->len, pod->str);
        GString *answer = speak_tls(api, credentials, request, FALSE);
        guint status = read_strictly(answer->str, answer->len, "large");
        g_assert_cmpuint(status, ==, i == 0 ? 201 : 200);
        g_assert_nonnull(strstr(answer->str, script));
        g_string_free(answer, TRUE);
    }
    gnutls_certificate_free_credentials(credentials);
    api_stop(api);
}

/* Clients that say nothing, nonsense, or half a greeting; others are served, and these are gone in 10 s. */
static void
test_tls_stalled(void)
{
    static const char half[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    ApiFixture *api = api_start_tls();
    if (api == NULL) {
        g_test_skip("openssl is not installed");
        return;
    }
    gnutls_certificate_credentials_t credentials;
    g_assert_cmpint(gnutls_certificate_allocate_credentials(&credentials), ==, 0);
    int fds[300];
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = api_connect_tcp(api);
        if (i % 3 == 1) {
            api_send(fds[i], half, sizeof half - 1);
        } else if (i % 3 == 2) {
            api_send(fds[i], "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", -1);
        }
    }
    g_autoptr(GString) request = g_string_new("GET /healthz HTTP/1.1\r\nHost: a\r\nAuthorization: "
                                              "Bearer " API_TOKEN "\r\n\r\n");
    GString *answer = speak_tls(api, credentials, request, FALSE);
    g_assert_cmpuint(read_strictly(answer->str, answer->len, "beside stalled ones"), ==, 200);
    g_string_free(answer, TRUE);
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        struct pollfd poller = {fds[i], POLLIN, 0};
        char byte;
        while (poll(&poller, 1, 15000) == 1 && recv(fds[i], &byte, 1, 0) > 0) {
        }
        g_assert_cmpint(recv(fds[i], &byte, 1, MSG_DONTWAIT), <=, 0);
        g_assert_cmpint(errno, !=, EAGAIN);
        close(fds[i]);
    }
    gnutls_certificate_free_credentials(credentials);
    api_stop(api);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/daemon/http/one-reading-or-a-refusal-on-the-unix-socket", test_unix);
    g_test_add_func("/daemon/http/one-reading-or-a-refusal-over-tls", test_tls);
    g_test_add_func("/daemon/http/large-bodies-pass-through-tls", test_tls_large);
    g_test_add_func("/daemon/http/stalled-handshakes-are-cut", test_tls_stalled);
    return g_test_run();
}
