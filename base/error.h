/* The one error domain of Berth, by what the caller can do about it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * BerthErrorCode:
 * @BERTH_ERROR_INVALID: the input is wrong; trying again unchanged never helps
 * @BERTH_ERROR_NOT_FOUND: the named thing does not exist (any more)
 * @BERTH_ERROR_EXISTS: the name is taken
 * @BERTH_ERROR_CONFLICT: somebody changed the thing meanwhile; read again, then retry
 * @BERTH_ERROR_DENIED: the caller may not do this
 * @BERTH_ERROR_EXHAUSTED: out of capacity, space or quota; helps after something is freed
 * @BERTH_ERROR_UNAVAILABLE: the other side can't be reached now; try again later
 * @BERTH_ERROR_TIMEOUT: the answer did not come in time; the effect is unknown
 * @BERTH_ERROR_CORRUPT: stored or received data contradicts itself (digest, checksum, format)
 * @BERTH_ERROR_CANCELLED: somebody asked for the operation to stop
 * @BERTH_ERROR_GONE: the asked-for revision was compacted away; list again
 * @BERTH_ERROR_INTERNAL: a defect in Berth
 */
typedef enum {
    BERTH_ERROR_INVALID,
    BERTH_ERROR_NOT_FOUND,
    BERTH_ERROR_EXISTS,
    BERTH_ERROR_CONFLICT,
    BERTH_ERROR_DENIED,
    BERTH_ERROR_EXHAUSTED,
    BERTH_ERROR_UNAVAILABLE,
    BERTH_ERROR_TIMEOUT,
    BERTH_ERROR_CORRUPT,
    BERTH_ERROR_CANCELLED,
    BERTH_ERROR_GONE,
    BERTH_ERROR_INTERNAL,
} BerthErrorCode;

#define BERTH_ERROR (berth_error_quark())
GQuark berth_error_quark(void);

void berth_error_set(GError **error, BerthErrorCode code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

void berth_error_set_at(GError **error, BerthErrorCode code, const char *pointer, const char *hint,
                        const char *format, ...) G_GNUC_PRINTF(5, 6);

void berth_error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

const char *berth_error_pointer(const GError *error);
const char *berth_error_hint(const GError *error);
void berth_error_point(GError *error, const char *prefix);

const char *berth_error_code_name(BerthErrorCode code);
BerthErrorCode berth_error_code_of(const GError *error);
int berth_error_http_status(const GError *error);
gboolean berth_error_is_retryable(const GError *error);

G_END_DECLS
