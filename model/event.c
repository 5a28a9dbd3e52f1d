/* Event: something that happened to an object, and who did it. */
#include "model/kinds.h"

static const char *const severity_names[] = {"info", "warning", "error", NULL};

#define EVENT(member, kind, ...) BERTH_FIELD(BerthEventSpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    EVENT(object_kind, STRING, .doc = "Kind of the object."),
    EVENT(object_project, STRING, .doc = "Project of the object."),
    EVENT(object_name, STRING, .doc = "Name of the object."),
    EVENT(object_uid, STRING, .doc = "Identity of the object."),
    EVENT(reason, STRING, .required = TRUE, .doc = "Stable code of what happened."),
    EVENT(message, STRING, .maximum = 65536, .doc = "What happened, for people."),
    EVENT(severity, STRING, .choices = severity_names, .fallback_text = "info",
          .doc = "How much it matters."),
    EVENT(actor, STRING, .doc = "Who did it: a user, guest or external."),
    EVENT(origin, STRING, .doc = "Where the request came from."),
    EVENT(request_id, STRING, .doc = "The request that caused it."),
    EVENT(count, INT, .fallback = 1, .minimum = 1, .maximum = G_MAXINT64,
          .doc = "How often it happened."),
    EVENT(first, STRING, .doc = "When it first happened."),
    EVENT(last, STRING, .doc = "When it last happened."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("EventSpec", BerthEventSpec, spec_fields, "What happened.");

static const BerthColumn columns[] = {
    {"Last", "/spec/last|/metadata/created"},
    {"Severity", "/spec/severity"},
    {"Kind", "/spec/object_kind"},
    {"Object", "/spec/object_name"},
    {"Reason", "/spec/reason"},
    {"Message", "/spec/message"},
    {"Count", "/spec/count", TRUE},
    {"Project", "/spec/object_project", TRUE},
    {"Actor", "/spec/actor", TRUE},
    {"Origin", "/spec/origin", TRUE},
    {"Name", "/metadata/name", TRUE},
    {NULL},
};

const BerthKind berth_kind_event = {
    .name = "Event",
    .plural = "events",
    .short_name = "ev",
    .scope = BERTH_SCOPE_FLEET,
    .read_only = TRUE,
    .spec = &spec_schema,
    .columns = columns,
    .doc = "Something that happened to an object, and who did it.",
};
