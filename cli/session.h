/* What a command works with: who it speaks to, how it prints, what it may ask of the terminal. */
#pragma once

#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/exit-code.h"
#include "cli/print.h"

G_BEGIN_DECLS

struct BerthSession {
    BerthSettings *settings; /* owned */
    BerthClient *client;     /* owned */
    BerthOutput output;
    gboolean quiet;
    gboolean in_shell;
    gint64 now_us; /* wall clock when the command began; for ages */
};

BerthSession *berth_session_new(const BerthArgs *globals, const BerthArgs *args, gboolean in_shell,
                                GError **error);
void berth_session_free(BerthSession *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthSession, berth_session_free)

/* Results: on stdout, as the user wants them. */
void berth_session_put(BerthSession *session, const char *text);
void berth_session_say(BerthSession *session, const char *format, ...) G_GNUC_PRINTF(2, 3);
void berth_session_tell(BerthSession *session, const char *format, ...) G_GNUC_PRINTF(2, 3);
gboolean berth_session_wants_value(const BerthSession *session);
void berth_session_put_value(BerthSession *session, const json_t *value);
void berth_session_put_objects(BerthSession *session, const json_t *objects,
                               const BerthColumn *columns);

void berth_print_error(const GError *error);
void berth_print_warning(const char *format, ...) G_GNUC_PRINTF(1, 2);

/**
 * BerthNameVerb: what a command does to each of its names
 * @begin: asks for it. Returns: (transfer full): what @end gets; NULL with @error
 * @end: waits for it, if that is wanted, and says so; once all names were asked for
 */
typedef struct {
    json_t *(*begin)(BerthSession *session, const BerthArgs *args, const char *name,
                     GError **error);
    gboolean (*end)(BerthSession *session, const BerthArgs *args, const json_t *begun,
                    GError **error);
} BerthNameVerb;
int berth_each_name(BerthSession *session, const BerthArgs *args, const char *argument,
                    const BerthNameVerb *verb, GError **error);
void berth_note_problem(GError *problem, GError **error);

int berth_run_words(const BerthArgs *globals, char **words, gboolean in_shell);

G_END_DECLS
