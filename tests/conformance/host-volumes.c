/* What every host driver must do with pools and volumes. */
#include "tests/conformance/peer.h"

#include <glib/gstdio.h>
#include <string.h>

static const char *
pool_path(void)
{
    const char *path = g_getenv("BERTH_HOST_POOL");
    return path != NULL ? path : "/var/lib/libvirt/berth-conformance";
}

void
ensure_pool(void)
{
    ASSERT_OK(.verb = BERTH_HOST_POOL_ENSURE, .pool = POOL, .path = pool_path());
}

static const BerthVolume *
find_volume(const BerthHostReply *reply, const char *name)
{
    for (guint i = 0; i < reply->volumes->len; i++) {
        const BerthVolume *volume = reply->volumes->pdata[i];
        if (g_str_equal(volume->name, name)) {
            return volume;
        }
    }
    return NULL;
}

static void
list_volumes(BerthHostReply *reply)
{
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_VOLUME_LIST, .pool = POOL}, reply), ==,
                    -1);
}

static void
test_pool_is_made_once_and_only_there(void)
{
    ensure_pool();
    ensure_pool();
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_POOL_ENSURE, .pool = POOL,
                .path = "/var/lib/libvirt/elsewhere");
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_LIST, .pool = "no-such-pool");
}

static void
test_volume_is_created_once_and_deleted_twice(void)
{
    ensure_pool();
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL, .volume = "base",
                  .format = "qcow2", .size = 8 * 1024 * 1024);
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL, .volume = "marker.ok",
                  .format = "raw", .size = 0);
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL, .volume = "overlay",
                  .format = "qcow2", .size = 16 * 1024 * 1024, .backing = "base",
                  .backing_format = "qcow2");
    }
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL,
                .volume = "base", .format = "qcow2", .size = 4 * 1024 * 1024);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL,
                .volume = "other", .format = "qcow2", .size = 4096, .backing = "nothing",
                .backing_format = "qcow2");
    ASSERT_CODE(BERTH_ERROR_INVALID, .verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL,
                .volume = "other", .format = "vmdk", .size = 4096);
    g_auto(BerthHostReply) reply = {0};
    list_volumes(&reply);
    g_assert_cmpuint(find_volume(&reply, "overlay")->capacity, ==, 16 * 1024 * 1024);
    g_assert_cmpuint(find_volume(&reply, "marker.ok")->capacity, ==, 0);
    static const char *const names[] = {"overlay", "base", "marker.ok", "overlay"};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_DELETE, .pool = POOL, .volume = names[i]);
    }
    berth_host_reply_clear(&reply);
    list_volumes(&reply);
    g_assert_null(find_volume(&reply, "base"));
}

static guint64 last_progress;

static void
on_progress(guint64 done, guint64 total, gpointer data)
{
    g_assert_cmpuint(done, >=, last_progress);
    g_assert_cmpuint(done, <=, total);
    last_progress = done;
}

static void
assert_content(const char *volume, const char *content, gsize size)
{
    const char *seen = g_getenv("BERTH_HOST_POOL_SEEN");
    if (seen == NULL) {
        return;
    }
    g_autofree char *path = g_build_filename(seen, volume, NULL);
    g_autofree char *data = NULL;
    gsize length = 0;
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    g_assert_cmpmem(data, length, content, size);
}

static void
test_upload_arrives_whole_or_not_at_all(void)
{
    ensure_pool();
    gsize size = 3 * 1024 * 1024 + 17;
    g_autofree char *content = g_malloc(size);
    for (gsize i = 0; i < size; i++) {
        content[i] = (char)(i * 2654435761U >> 24);
    }
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("berth-upload-XXXXXX", &path, NULL);
    g_assert_true(g_close(fd, NULL));
    g_assert_true(g_file_set_contents(path, content, (gssize)size, NULL));
    for (guint i = 0; i < 2; i++) { /* once more: what is there is written again */
        last_progress = 0;
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL, .volume = "up", .path = path,
                  .size = size, .progress = on_progress);
        g_assert_cmpuint(last_progress, ==, size);
        assert_content("up", content, size);
    }
    ASSERT_CODE(BERTH_ERROR_CORRUPT, .verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL,
                .volume = "short", .path = path, .size = size + 1);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL,
                .volume = "none", .path = "/no/such/file", .size = 1);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_UPLOAD, .pool = "no-such-pool",
                .volume = "none", .path = path, .size = size);
    g_auto(BerthHostReply) reply = {0};
    list_volumes(&reply);
    g_assert_cmpuint(find_volume(&reply, "up")->capacity, ==, size);
    g_assert_null(find_volume(&reply, "short"));
    ASSERT_OK(.verb = BERTH_HOST_VOLUME_DELETE, .pool = POOL, .volume = "up");
    g_remove(path);
}

/* libvirt looks into files: it says of a qcow2 file how large the disk in it is, not the file. */
static void
test_a_disk_image_is_uploaded_by_its_bytes(void)
{
    ensure_pool();
    static const guint8 header[104] = {'Q',
                                       'F',
                                       'I',
                                       0xfb,
                                       0,
                                       0,
                                       0,
                                       3,
                                       [23] = 16,
                                       /* the disk's size: 48 MiB */[28] = 3,
                                       [103] = 104};
    gsize size = 65536;
    g_autofree char *content = g_malloc0(size);
    memcpy(content, header, sizeof header);
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("berth-upload-XXXXXX", &path, NULL);
    g_assert_true(g_close(fd, NULL));
    g_assert_true(g_file_set_contents(path, content, (gssize)size, NULL));
    for (guint i = 0; i < 2; i++) { /* the second time, the list has made libvirt look */
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL, .volume = "disk", .path = path,
                  .size = size);
        assert_content("disk", content, size);
        g_auto(BerthHostReply) reply = {0};
        list_volumes(&reply);
        g_assert_nonnull(find_volume(&reply, "disk"));
    }
    ASSERT_OK(.verb = BERTH_HOST_VOLUME_DELETE, .pool = POOL, .volume = "disk");
    g_remove(path);
}

void
add_volume_tests(void)
{
    ADD("pool-is-made-once-and-only-there", test_pool_is_made_once_and_only_there);
    ADD("volume-is-created-once-and-deleted-twice", test_volume_is_created_once_and_deleted_twice);
    ADD("upload-arrives-whole-or-not-at-all", test_upload_arrives_whole_or_not_at_all);
    ADD("a-disk-image-is-uploaded-by-its-bytes", test_a_disk_image_is_uploaded_by_its_bytes);
}
