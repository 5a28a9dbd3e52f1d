/* The one error domain: codes by what the caller can do, with the place (JSON pointer) and the remedy
 * (hint) kept beside the message. Foreign errors (virError, sqlite, errno, curl) are converted where
 * they enter the process and keep their original text. Thread-safe: errors are plain values. */
#include "base/error.h"

#include <errno.h>

typedef struct {
    char *pointer; /* owned; JSON pointer of the offending field, or NULL */
    char *hint;    /* owned; what to do next, or NULL */
} BerthErrorPrivate;

static void
berth_error_private_init(BerthErrorPrivate *priv)
{
}

static void
berth_error_private_copy(const BerthErrorPrivate *src, BerthErrorPrivate *dest)
{
    dest->pointer = g_strdup(src->pointer);
    dest->hint = g_strdup(src->hint);
}

static void
berth_error_private_clear(BerthErrorPrivate *priv)
{
    g_free(priv->pointer);
    g_free(priv->hint);
}

G_DEFINE_EXTENDED_ERROR(BerthError, berth_error)

/* Indexed by BerthErrorCode. Names are part of the API ("code" in problem+json): never change them. */
static const struct {
    const char *name;
    int http;
    gboolean retryable;
} codes[] = {
    [BERTH_ERROR_INVALID] = {"invalid", 400, FALSE},
    [BERTH_ERROR_NOT_FOUND] = {"not-found", 404, FALSE},
    [BERTH_ERROR_EXISTS] = {"exists", 409, FALSE},
    [BERTH_ERROR_CONFLICT] = {"conflict", 409, TRUE},
    [BERTH_ERROR_DENIED] = {"denied", 403, FALSE},
    [BERTH_ERROR_EXHAUSTED] = {"exhausted", 507, TRUE},
    [BERTH_ERROR_UNAVAILABLE] = {"unavailable", 503, TRUE},
    [BERTH_ERROR_TIMEOUT] = {"timeout", 504, TRUE},
    [BERTH_ERROR_CORRUPT] = {"corrupt", 422, FALSE},
    [BERTH_ERROR_CANCELLED] = {"cancelled", 409, FALSE},
    [BERTH_ERROR_GONE] = {"gone", 410, FALSE},
    [BERTH_ERROR_INTERNAL] = {"internal", 500, FALSE},
};

static void
set_full(GError **error, BerthErrorCode code, const char *pointer, const char *hint, char *message)
{
    if (error != NULL) {
        g_return_if_fail(*error == NULL);
        *error = g_error_new_literal(BERTH_ERROR, (int)code, message);
        BerthErrorPrivate *priv = berth_error_get_private(*error);
        priv->pointer = g_strdup(pointer);
        priv->hint = g_strdup(hint);
    }
    g_free(message);
}

/**
 * berth_error_set:
 * @error: (nullable): as in GLib; *error must be NULL
 * @code: what the caller can do
 * @format: one line, lower case, quotes the offending value, names the remedy when there is one
 */
void
berth_error_set(GError **error, BerthErrorCode code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_full(error, code, NULL, NULL, g_strdup_vprintf(format, args));
    va_end(args);
}

/**
 * berth_error_set_at:
 * @pointer: (nullable): JSON pointer of the offending field ("/spec/vcpus"); copied
 * @hint: (nullable): what to do next, as a sentence or a command; copied
 *
 * As berth_error_set(), with the place and the remedy.
 */
void
berth_error_set_at(GError **error, BerthErrorCode code, const char *pointer, const char *hint,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_full(error, code, pointer, hint, g_strdup_vprintf(format, args));
    va_end(args);
}

static BerthErrorCode
code_from_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return BERTH_ERROR_NOT_FOUND;
    case EEXIST:
        return BERTH_ERROR_EXISTS;
    case EACCES:
    case EPERM:
        return BERTH_ERROR_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return BERTH_ERROR_EXHAUSTED;
    case ETIMEDOUT:
        return BERTH_ERROR_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EAGAIN:
        return BERTH_ERROR_UNAVAILABLE;
    case EINVAL:
    case ENAMETOOLONG:
        return BERTH_ERROR_INVALID;
    default:
        return BERTH_ERROR_INTERNAL;
    }
}

/**
 * berth_error_set_errno:
 * @errnum: an errno value
 * @format: what was tried, on which name; ": <strerror>" is appended
 */
void
berth_error_set_errno(GError **error, int errnum, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    set_full(error, code_from_errno(errnum), NULL, NULL,
             g_strdup_printf("%s: %s", what, g_strerror(errnum)));
}

/** Returns: (nullable): the JSON pointer of @error, borrowed from it. */
const char *
berth_error_pointer(const GError *error)
{
    return error->domain == BERTH_ERROR ? berth_error_get_private(error)->pointer : NULL;
}

/** Returns: (nullable): the remedy of @error, borrowed from it. */
const char *
berth_error_hint(const GError *error)
{
    return error->domain == BERTH_ERROR ? berth_error_get_private(error)->hint : NULL;
}

/**
 * berth_error_point:
 * @error: a BERTH_ERROR; its pointer becomes @prefix + pointer
 * @prefix: e.g. "/spec"
 *
 * Lets a nested parser report places relative to its own root.
 */
void
berth_error_point(GError *error, const char *prefix)
{
    g_return_if_fail(error->domain == BERTH_ERROR);
    BerthErrorPrivate *priv = berth_error_get_private(error);
    char *joined = g_strconcat(prefix, priv->pointer, NULL);
    g_free(priv->pointer);
    priv->pointer = joined;
}

/** Returns: the stable name of @code as used in the API ("not-found"); static. */
const char *
berth_error_code_name(BerthErrorCode code)
{
    return codes[code].name;
}

/** Returns: the code of @error; BERTH_ERROR_INTERNAL for a foreign domain. */
BerthErrorCode
berth_error_code_of(const GError *error)
{
    return error->domain == BERTH_ERROR ? (BerthErrorCode)error->code : BERTH_ERROR_INTERNAL;
}

/** Returns: the HTTP status that answers @error; 500 for a foreign domain. */
int
berth_error_http_status(const GError *error)
{
    return codes[berth_error_code_of(error)].http;
}

/** Returns: whether the same call may succeed later without the caller changing it. */
gboolean
berth_error_is_retryable(const GError *error)
{
    return codes[berth_error_code_of(error)].retryable;
}
