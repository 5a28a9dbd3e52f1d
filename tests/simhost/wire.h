/* Calls and replies of BerthHost as JSON, by one table of fields. */
#pragma once

#include "drivers/host.h"

#include <jansson.h>

G_BEGIN_DECLS

json_t *sim_call_to_json(const BerthHostCall *call);
BerthHostCall *sim_call_from_json(const json_t *value);
json_t *sim_reply_to_json(const BerthHostReply *reply);
void sim_reply_from_json(BerthHostReply *reply, const json_t *value);

G_END_DECLS
