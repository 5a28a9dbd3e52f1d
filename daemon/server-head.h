/* A request's head, judged byte by byte before anything else reads it: one reading or a refusal. Pure. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Returns: the length of the head up to and with the empty line; 0: not complete yet. @scanned: bytes already
 * looked at by an earlier call; updated. */
gsize berth_head_find_end(const char *bytes, gsize size, gsize *scanned);

/**
 * berth_head_check:
 * @head: the whole head with its empty line; may hold any byte
 * @status: the HTTP status to refuse with
 *
 * Accepts: "METHOD SP /target SP HTTP/1.0|1.1 CRLF", then fields "token: value CRLF". Refuses: bare CR or
 * LF, folded lines, blanks before the colon, control characters, more than one or no Host (1.1), more
 * than one Content-Length or anything but digits in it, any Transfer-Encoding but one "chunked", both of
 * them, other versions, a target that is not an absolute path.
 *
 * Errors: INVALID; says what.
 */
gboolean berth_head_check(const char *head, gsize size, guint *status, GError **error);

G_END_DECLS
