/* The strict judge of request heads (RFC 9112, sections 2-6, without its leniencies). Invariant: a head that
 * passes has one meaning only, whoever parses it next. Start reading at berth_head_check(). */
#include "daemon/server-head.h"

#include "base/error.h"

#include <string.h>

#define TARGET_MAX 8192
#define FIELDS_MAX 100

typedef struct {
    guint hosts, lengths, codings;
    gboolean http10;
    guint fields;
} Seen;

gsize
berth_head_find_end(const char *bytes, gsize size, gsize *scanned)
{
    gsize from = *scanned > 3 ? *scanned - 3 : 0;
    const char *end = memmem(bytes + from, size - from, "\r\n\r\n", 4);
    *scanned = size;
    return end != NULL ? (gsize)(end - bytes) + 4 : 0;
}

static gboolean
refuse(guint *status, guint code, GError **error, const char *what)
{
    *status = code;
    berth_error_set(error, BERTH_ERROR_INVALID, "%s", what);
    return FALSE;
}

static gboolean
is_token(const char *text, gsize size)
{
    for (gsize i = 0; i < size; i++) {
        if (!g_ascii_isalnum(text[i]) && (text[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", text[i]))) {
            return FALSE;
        }
    }
    return size > 0;
}

static gboolean
check_target(const char *target, gsize size, guint *status, GError **error)
{
    if (size > TARGET_MAX) {
        return refuse(status, 414, error, "the request target is longer than 8192 bytes");
    }
    for (gsize i = 0; i < size; i++) {
        if (target[i] <= ' ' || target[i] >= 0x7f) {
            return refuse(status, 400, error, "the request target holds a character to escape");
        }
    }
    if (size == 0 || target[0] != '/' || memchr(target, '#', size) != NULL) {
        return refuse(status, 400, error, "the request target is not a path beginning with '/'");
    }
    return TRUE;
}

static gboolean
check_version(const char *version, gsize size, Seen *seen, guint *status, GError **error)
{
    if (size == 8 && memcmp(version, "HTTP/1.1", 8) == 0) {
        return TRUE;
    }
    if (size == 8 && memcmp(version, "HTTP/1.0", 8) == 0) {
        seen->http10 = TRUE;
        return TRUE;
    }
    gboolean other = size == 8 && memcmp(version, "HTTP/", 5) == 0;
    return refuse(status, other ? 505 : 400, error, "the request is not HTTP/1.1");
}

static gboolean
check_request_line(const char *line, gsize size, Seen *seen, guint *status, GError **error)
{
    const char *first = memchr(line, ' ', size);
    const char *last = memrchr(line, ' ', size);
    if (first == NULL || first == last) {
        return refuse(status, 400, error, "the request line is not 'METHOD /path HTTP/1.1'");
    }
    gsize method = (gsize)(first - line);
    if (!is_token(line, method) || method > 32) {
        return refuse(status, 400, error, "the method is no token");
    }
    return check_target(first + 1, (gsize)(last - first - 1), status, error) &&
           check_version(last + 1, size - (gsize)(last + 1 - line), seen, status, error);
}

static gboolean
name_is(const char *name, gsize size, const char *wanted)
{
    return size == strlen(wanted) && g_ascii_strncasecmp(name, wanted, size) == 0;
}

static gboolean
check_length(const char *value, gsize size, Seen *seen, guint *status, GError **error)
{
    for (gsize i = 0; i < size; i++) {
        if (!g_ascii_isdigit(value[i])) {
            return refuse(status, 400, error, "Content-Length is not a number");
        }
    }
    if (size == 0 || size > 18) {
        return refuse(status, 400, error, "Content-Length is empty or too large");
    }
    if (++seen->lengths > 1) {
        return refuse(status, 400, error, "there is more than one Content-Length");
    }
    return TRUE;
}

static gboolean
check_value(const char *value, gsize size, guint *status, GError **error)
{
    for (gsize i = 0; i < size; i++) {
        guchar c = (guchar)value[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return refuse(status, 400, error, "a header holds a control character");
        }
    }
    return TRUE;
}

static gboolean
check_framing(const char *name, gsize name_size, const char *value, gsize size, Seen *seen,
              guint *status, GError **error)
{
    if (name_is(name, name_size, "host") && ++seen->hosts > 1) {
        return refuse(status, 400, error, "there is more than one Host");
    }
    if (name_is(name, name_size, "content-length")) {
        return check_length(value, size, seen, status, error);
    }
    if (!name_is(name, name_size, "transfer-encoding")) {
        return TRUE;
    }
    if (++seen->codings > 1) {
        return refuse(status, 400, error, "there is more than one Transfer-Encoding");
    }
    return name_is(value, size, "chunked") ||
           refuse(status, 501, error, "the only Transfer-Encoding known here is chunked");
}

static gboolean
check_field(const char *line, gsize size, Seen *seen, guint *status, GError **error)
{
    const char *colon = memchr(line, ':', size);
    if (colon == NULL || !is_token(line, (gsize)(colon - line))) {
        return refuse(status, 400, error,
                      "a header line is not 'Name: value' (folded lines and blanks before the "
                      "colon are refused)");
    }
    if (++seen->fields > FIELDS_MAX) {
        return refuse(status, 431, error, "there are more than 100 headers");
    }
    const char *value = colon + 1, *end = line + size;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    return check_value(value, (gsize)(end - value), status, error) &&
           check_framing(line, (gsize)(colon - line), value, (gsize)(end - value), seen, status,
                         error);
}

static gboolean
check_whole(const Seen *seen, guint *status, GError **error)
{
    if (seen->hosts == 0 && !seen->http10) {
        return refuse(status, 400, error, "there is no Host");
    }
    if (seen->lengths > 0 && seen->codings > 0) {
        return refuse(status, 400, error, "there are both Content-Length and Transfer-Encoding");
    }
    if (seen->codings > 0 && seen->http10) {
        return refuse(status, 400, error, "HTTP/1.0 knows no Transfer-Encoding");
    }
    return TRUE;
}

/** See the header. */
gboolean
berth_head_check(const char *head, gsize size, guint *status, GError **error)
{
    Seen seen = {0};
    gboolean first = TRUE;
    const char *next = head, *end = head + size;
    while (next < end) {
        const char *cr = memchr(next, '\r', (gsize)(end - next));
        const char *lf = memchr(next, '\n', (gsize)(end - next));
        if (cr == NULL || lf != cr + 1) {
            return refuse(status, 400, error, "a line does not end with CR LF");
        }
        gsize length = (gsize)(cr - next);
        if (length == 0 && lf + 1 == end && !first) {
            return check_whole(&seen, status, error);
        }
        if (first ? !check_request_line(next, length, &seen, status, error)
                  : !check_field(next, length, &seen, status, error)) {
            return FALSE;
        }
        first = FALSE;
        next = lf + 1;
    }
    return refuse(status, 400, error, "the head has no end");
}
