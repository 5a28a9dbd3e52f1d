/* JSON merge patch, RFC 7396: null deletes a member, an object is merged, all else replaces. Pure. */
#include "model/schema.h"

/**
 * berth_merge_patch:
 * @target: (nullable): what is patched; not changed
 * @patch: the patch; its depth is bounded by the JSON reader
 *
 * Returns: (transfer full): the patched copy.
 */
json_t *
berth_merge_patch(const json_t *target, const json_t *patch)
{
    if (!json_is_object(patch)) {
        return json_deep_copy(patch);
    }
    json_t *result = json_is_object(target) ? json_copy((json_t *)target) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)patch, key, value) {
        if (json_is_null(value)) {
            json_object_del(result, key);
        } else {
            json_object_set_new(result, key,
                                berth_merge_patch(json_object_get(result, key), value));
        }
    }
    return result;
}
