/* Small shared parts of controllers: edits of status documents. */
#include "daemon/control.h"

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

/** Returns: (transfer full): the wall time as objects carry it. */
char *
berth_control_now(BerthControl *control)
{
    return berth_time_format(berth_clock_wall_us(control->clock));
}
