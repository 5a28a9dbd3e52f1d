/* See registry.h. The daemon's workers are turned into timers, so that a run is the same with the same seed; the
 * functions below stand before GLib's and, by the linker's --wrap, before the one of images/. */
#include "tests/simulation/registry.h"

#include "base/error.h"
#include "images/pull.h"
#include "tests/simulation/fate.h"

#include <string.h>

#define FILE_SIZE 4096

typedef struct {
    GTask *task; /* owned */
    GTaskThreadFunc work;
    guint source;
} Pull;

static const char *pulled;
static GPtrArray *pulls; /* of Pull*, owned: not begun yet */

gboolean __wrap_berth_image_pull(BerthBlobs *blobs, const char *reference,
                                 const BerthImageOptions *options, GCancellable *cancellable,
                                 BerthImageResult **result, GError **error);

void
registry_begin(const char *folder)
{
    pulled = folder;
    pulls = g_ptr_array_new();
}

static gboolean
work(gpointer data)
{
    Pull *pull = data;
    g_ptr_array_remove(pulls, pull);
    pull->work(pull->task, g_task_get_source_object(pull->task), g_task_get_task_data(pull->task),
               g_task_get_cancellable(pull->task));
    g_object_unref(pull->task);
    g_free(pull);
    return G_SOURCE_REMOVE;
}

void
g_task_run_in_thread(GTask *task, GTaskThreadFunc function)
{
    Pull *pull = g_new(Pull, 1);
    guint delay_ms = fate_strikes(10) ? (guint)fate_below(60 * 1000) : (guint)fate_below(2000);
    *pull = (Pull){g_object_ref(task), function, 0};
    pull->source = g_timeout_add_full(G_PRIORITY_DEFAULT, delay_ms, work, pull, NULL);
    g_ptr_array_add(pulls, pull);
}

void
registry_hurry(void)
{
    for (guint i = 0; i < pulls->len; i++) {
        Pull *pull = pulls->pdata[i];
        g_source_remove(pull->source);
        pull->source = g_timeout_add_full(G_PRIORITY_DEFAULT, 1 + i, work, pull, NULL);
    }
}

/* Each reference has a content of its own. */
static void
fill(BerthImageResult *image, const char *reference)
{
    static const char config[] =
        "{\"architecture\": \"amd64\", \"os\": \"linux\", \"config\": "
        "{\"Entrypoint\": [\"sleep\"]}, \"rootfs\": {\"type\": \"layers\", "
        "\"diff_ids\": []}}";
    g_autoptr(GError) error = NULL;
    g_autofree char *content = g_malloc0(FILE_SIZE);
    g_strlcpy(content, reference, FILE_SIZE);
    berth_digest_of_bytes(reference, strlen(reference), &image->manifest);
    berth_digest_of_bytes(content, FILE_SIZE, &image->squashfs);
    g_autofree char *digest = berth_digest_format(&image->squashfs);
    image->reference = g_strdup(reference);
    image->squashfs_path = g_strdup_printf("%s/%s.squashfs", pulled, strchr(digest, ':') + 1);
    image->squashfs_size = FILE_SIZE;
    image->config = berth_image_config_parse(config, strlen(config), &error);
    g_assert_no_error(error);
    g_assert_true(g_file_set_contents(image->squashfs_path, content, FILE_SIZE, NULL));
}

gboolean
__wrap_berth_image_pull(BerthBlobs *blobs, const char *reference, const BerthImageOptions *options,
                        GCancellable *cancellable, BerthImageResult **result, GError **error)
{
    if (g_cancellable_set_error_if_cancelled(cancellable, error)) {
        return FALSE;
    }
    if (fate_strikes(40)) {
        berth_error_set(error, fate_chance(50) ? BERTH_ERROR_UNAVAILABLE : BERTH_ERROR_TIMEOUT,
                        "the registry does not answer on purpose");
        fate_note("pull of %s: failed", reference);
        return FALSE;
    }
    fate_note("pull of %s: ok", reference);
    *result = g_new0(BerthImageResult, 1);
    fill(*result, reference);
    return TRUE;
}
