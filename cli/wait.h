/* Waiting for objects, by watching them. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

/* Without a time of its own, --wait waits this long. */
#define BERTH_WAIT_DEFAULT_S 600
#define BERTH_WAIT_FOREVER G_MAXINT64

/**
 * BerthWaitCheck:
 * @object: as it is now; NULL: it is gone
 *
 * Returns: TRUE when the waiting is over; with @error set it failed.
 */
typedef gboolean (*BerthWaitCheck)(const json_t *object, gpointer user_data, GError **error);

json_t *berth_wait_object(BerthSession *session, const json_t *object, gint64 timeout_s,
                          BerthWaitCheck check, gpointer user_data, GError **error);
json_t *berth_wait_task(BerthSession *session, const json_t *task, gint64 timeout_s,
                        GError **error);
json_t *berth_wait_settled(BerthSession *session, const json_t *object, gint64 timeout_s,
                           GError **error);
gboolean berth_check_settled(const json_t *object, gpointer user_data, GError **error);
gboolean berth_delete(BerthSession *session, const json_t *object, gint64 wait_s, GError **error);
gboolean berth_wait_gone(BerthSession *session, const json_t *object, gint64 timeout_s,
                         GError **error);

gboolean berth_follow(BerthSession *session, const char *query,
                      gboolean (*change)(const char *type, const json_t *object, gpointer user_data,
                                         GError **error),
                      gpointer user_data, GError **error);

const char *berth_json_phase(const json_t *object);
void berth_set_reason(GError **error, const json_t *object, const char *what);

G_END_DECLS
