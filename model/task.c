/* Task: a long verb on its way. */
#include "model/kinds.h"

#define TASK(member, kind, ...) BERTH_FIELD(BerthTaskSpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    TASK(verb, STRING, .required = TRUE, .mutability = BERTH_MUTABLE_NEVER,
         .doc = "What is done: pull, prepare, reboot and so on."),
    TASK(target_kind, STRING, .doc = "Kind of the object it is done to."),
    TASK(target_project, STRING, .doc = "Project of that object."),
    TASK(target_name, STRING, .doc = "Name of that object."),
    TASK(target_uid, STRING, .doc = "Identity of that object."),
    TASK(arguments, JSON, .doc = "What the verb was given."),
    TASK(actor, STRING, .doc = "Who asked for it."),
    TASK(request_id, STRING, .doc = "The request that asked for it."),
    TASK(cancel, BOOL, .doc = "Whether somebody asked it to stop."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("TaskSpec", BerthTaskSpec, spec_fields, "What was asked for.");

static const char *const phase_names[] = {"Waiting", "Running",   "Succeeded",
                                          "Failed",  "Cancelled", NULL};

#define STATUS(member, kind, ...) BERTH_FIELD(BerthTaskStatus, member, kind, __VA_ARGS__)

static const BerthField status_fields[] = {
    STATUS(phase, STRING, .choices = phase_names, .fallback_text = "Waiting",
           .doc = "How far it has come."),
    STATUS(step, STRING, .doc = "The step it is at."),
    STATUS(percent, INT, .minimum = 0, .maximum = 100, .unit = "%", .doc = "How much is done."),
    STATUS(message, STRING, .maximum = 65536, .doc = "What happens now, for people."),
    STATUS(reason, OBJECT, .schema = &berth_reason_schema, .doc = "Why it failed."),
    STATUS(result, JSON, .doc = "What came out of it."),
    STATUS(started, STRING, .doc = "When it began."),
    STATUS(finished, STRING, .doc = "When it ended."),
};
static const BerthSchema status_schema =
    BERTH_SCHEMA("TaskStatus", BerthTaskStatus, status_fields, "How far the task has come.");

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"Verb", "/spec/verb"},
    {"Target", "/spec/target_name"},
    {"State", "/status/phase"},
    {"Percent", "/status/percent"},
    {"Message", "/status/reason/message|/status/message"},
    {"Age", "/metadata/created"},
    {"Kind", "/spec/target_kind", TRUE},
    {"Project", "/spec/target_project", TRUE},
    {"Actor", "/spec/actor", TRUE},
    {"Step", "/status/step", TRUE},
    {NULL},
};

const BerthKind berth_kind_task = {
    .name = "Task",
    .plural = "tasks",
    .scope = BERTH_SCOPE_FLEET,
    .read_only = TRUE,
    .spec = &spec_schema,
    .status = &status_schema,
    .columns = columns,
    .doc = "A long verb on its way: its progress, and how it ended.",
};
