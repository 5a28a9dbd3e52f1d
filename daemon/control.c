/* Small shared parts of controllers: edits of status documents. */
#include "daemon/control.h"

#include "base/json.h"

/** Returns: (transfer full): a deep copy of @object's status to be changed; {} when there is none. */
json_t *
berth_status_copy(const BerthObject *object)
{
    return object->status != NULL ? json_deep_copy(object->status) : json_object();
}

/** Sets @key of @status to @text, or removes it when @text is NULL. */
void
berth_status_set_text(json_t *status, const char *key, const char *text)
{
    if (text == NULL) {
        json_object_del(status, key);
    } else {
        json_object_set_new(status, key, json_string(text));
    }
}

/**
 * berth_status_set_reason:
 * @name: the object's name, which stands for NAME in @hint, so that the hint can be typed as it is
 * @code: (nullable): NULL removes the reason
 *
 * Sets status.reason.
 */
void
berth_status_set_reason(json_t *status, const char *name, const char *code, const char *message,
                        const char *hint)
{
    if (code == NULL) {
        json_object_del(status, "reason");
        return;
    }
    g_autoptr(GString) text = g_string_new(hint);
    g_string_replace(text, "NAME", name, 0);
    json_object_set_new(status, "reason",
                        json_pack("{s:s, s:s*, s:s*}", "code", code, "message", message, "hint",
                                  hint == NULL ? NULL : text->str));
}

/* Returns: where @type is among the conditions of @status; their number when it is not. */
static size_t
find_condition(const json_t *status, const char *type)
{
    const json_t *conditions = json_object_get(status, "conditions");
    size_t i = 0;
    while (i < json_array_size(conditions) &&
           g_strcmp0(berth_json_string(json_array_get(conditions, i), "type"), type) != 0) {
        i++;
    }
    return i;
}

/**
 * berth_status_set_condition:
 * @reason: (nullable): stable code
 * @message: (nullable): one line for people
 * @now: as berth_control_now() gives it
 *
 * Sets the condition @type in @status; its time stays while value and reason stay.
 */
void
berth_status_set_condition(json_t *status, const char *type, gboolean value, const char *reason,
                           const char *message, const char *now)
{
    if (json_object_get(status, "conditions") == NULL) {
        json_object_set_new(status, "conditions", json_array());
    }
    json_t *conditions = json_object_get(status, "conditions");
    size_t index = find_condition(status, type);
    const json_t *before = json_array_get(conditions, index);
    gboolean same = before != NULL && json_is_true(json_object_get(before, "value")) == value &&
                    g_strcmp0(berth_json_string(before, "reason"), reason) == 0;
    const char *since = same ? berth_json_string(before, "since") : NULL;
    json_t *after = json_pack("{s:s, s:b, s:s*, s:s*, s:s}", "type", type, "value", value, "reason",
                              reason, "message", message, "since", since != NULL ? since : now);
    if (before != NULL) {
        json_array_set_new(conditions, index, after);
    } else {
        json_array_append_new(conditions, after);
    }
}

/** Removes the condition @type from @status. */
void
berth_status_drop_condition(json_t *status, const char *type)
{
    json_array_remove(json_object_get(status, "conditions"), find_condition(status, type));
}

/** Returns: (transfer full): the wall time as objects carry it. */
char *
berth_control_now(BerthControl *control)
{
    return berth_time_format(berth_clock_wall_us(control->clock));
}
