/* What the questions about placement share: the fleet that they assume, how they are asked, how no is said. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

#define BERTH_ADD_HOST_OPTION                                                                      \
    {                                                                                              \
        "add-host", 0, BERTH_OPTION_LIST, "like=HOST", "as if one more host like it were there"    \
    }
#define BERTH_ASSUMPTION_OPTIONS                                                                   \
    {"without-host",     0, BERTH_OPTION_LIST, "HOST", "as if the host were lost", NULL,           \
     BERTH_COMPLETE_HOST},                                                                         \
        BERTH_ADD_HOST_OPTION

void berth_question_add_names(json_t *question, const char *member, const BerthArgs *args,
                              const char *option);
gboolean berth_question_add_like(json_t *question, const BerthArgs *args, GError **error);
gboolean berth_question_add_hosts(json_t *question, const BerthArgs *args, GError **error);
json_t *berth_question_ask(BerthSession *session, const char *path, const json_t *question,
                           GError **error);
void berth_question_put_refusal(BerthSession *session, const json_t *placement);

G_END_DECLS
