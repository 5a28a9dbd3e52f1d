/* Files in and out: an image's upload, and the backup. Invariant: an upload's file is removed unless it was
 * handed to the controller; free space is asked for before each MiB, so an upload never fills the disk. */
#include "daemon/routes-private.h"

#include "base/fd.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

/* What an upload must leave free for the store and the logs. */
#define RESERVE_BYTES ((guint64)256 * 1024 * 1024)
#define CHECK_EVERY ((guint64)1024 * 1024)
#define UPLOADS_MAX 8

typedef struct {
    BerthRoutes *routes;
    char *path; /* owned; NULL once handed over */
    int fd;
    guint64 written, checked;
    GError *error; /* the first; what follows is dropped */
} Upload;

/* Uploads hang on their requests by this key in Call. */
static Upload *
upload_of(Call *call)
{
    return call->upload;
}

void
upload_free(gpointer data)
{
    Upload *upload = data;
    if (upload->fd >= 0) {
        close(upload->fd);
    }
    if (upload->path != NULL) {
        unlink(upload->path);
        g_free(upload->path);
    }
    g_clear_error(&upload->error);
    upload->routes->uploads--;
    g_free(upload);
}

static gboolean
has_space(const Upload *upload, guint64 wanted, GError **error)
{
    struct statvfs space;
    if (fstatvfs(upload->fd, &space) != 0) {
        berth_error_set_errno(error, errno, "can't ask for free space");
        return FALSE;
    }
    guint64 available = (guint64)space.f_bavail * space.f_frsize;
    if (available < RESERVE_BYTES || available - RESERVE_BYTES < wanted) {
        berth_error_set_at(error, BERTH_ERROR_EXHAUSTED, NULL, "free space in the state folder",
                           "the upload needs %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
                           " are free beyond the reserve",
                           wanted, available > RESERVE_BYTES ? available - RESERVE_BYTES : 0);
        return FALSE;
    }
    return TRUE;
}

static Upload *
open_upload(BerthRoutes *routes, const char *id, GError **error)
{
    g_autofree char *folder = g_build_filename(routes->state, "uploads", NULL);
    if (g_mkdir_with_parents(folder, 0700) != 0) {
        berth_error_set_errno(error, errno, "can't make '%s'", folder);
        return NULL;
    }
    g_autofree char *path = g_build_filename(folder, id, NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "can't make '%s'", path);
        return NULL;
    }
    Upload *upload = g_new0(Upload, 1);
    *upload = (Upload){.routes = routes, .path = g_steal_pointer(&path), .fd = fd};
    routes->uploads++;
    return upload;
}

/* At the request's head: refuses what is hopeless before the body comes. */
gboolean
upload_begin(Call *call)
{
    BerthRoutes *routes = call->routes;
    g_autoptr(GError) error = NULL;
    if (call_find(call) == NULL) {
        return FALSE;
    }
    if (routes->ops == NULL || routes->ops->image_content == NULL) {
        call_refuse(call, 501, BERTH_ERROR_UNAVAILABLE, NULL, "this daemon takes no uploads");
        return FALSE;
    }
    if (routes->uploads >= UPLOADS_MAX) {
        call_refuse(call, 429, BERTH_ERROR_EXHAUSTED, "try again later",
                    "%u uploads are on their way already", routes->uploads);
        return FALSE;
    }
    call->upload = open_upload(routes, berth_request_id(call->request), &error);
    gint64 length = berth_request_content_length(call->request);
    if (call->upload == NULL ||
        !has_space(upload_of(call), length > 0 ? (guint64)length : 0, &error)) {
        call_fail(call, 0, error);
        return FALSE;
    }
    return TRUE;
}

void
upload_take(Call *call, const void *bytes, gsize size)
{
    Upload *upload = upload_of(call);
    if (upload->error != NULL) {
        return;
    }
    if (upload->written + size > upload->checked) {
        upload->checked = upload->written + size + CHECK_EVERY;
        if (!has_space(upload, size + CHECK_EVERY, &upload->error)) {
            return;
        }
    }
    if (berth_fd_write_all(upload->fd, bytes, size, &upload->error)) {
        upload->written += size;
    }
}

static void
finish_content(const char *text, const GError *error, gpointer data)
{
    Call *call = data;
    if (call->request == NULL) {
        /* nobody waits any more */
    } else if (error != NULL) {
        call_fail(call, 0, error);
    } else {
        BerthObject *image = call_find(call);
        if (image != NULL) {
            call_answer_object(call, 200, image);
        }
    }
    call_unref(call);
}

void
handle_upload(Call *call)
{
    Upload *upload = upload_of(call);
    BerthObject *image = call_find(call);
    if (image == NULL) {
        return;
    }
    if (upload->error != NULL) {
        call_fail(call, 0, upload->error);
        return;
    }
    g_autofree char *path = g_steal_pointer(&upload->path);
    const BerthWorkloadOps *ops = call->routes->ops;
    ops->image_content(ops->image_data, image, path, finish_content, call_ref(call));
}

/* ---- backup ---- */

typedef struct {
    Call *call; /* reference */
    BerthStore *store;
    char *path; /* owned */
    int fd;
    GError *error;
    GThread *thread;
} Backup;

static GBytes *
next_piece(gpointer data, gboolean *end)
{
    int fd = GPOINTER_TO_INT(data);
    g_autofree char *piece = g_malloc(64 * 1024);
    gssize got = read(fd, piece, 64 * 1024);
    *end = got <= 0;
    return got > 0 ? g_bytes_new_take(g_steal_pointer(&piece), (gsize)got) : NULL;
}

static void
close_file(gpointer data)
{
    close(GPOINTER_TO_INT(data));
}

/* Main loop: the file is complete. It is unlinked at once and lives until it was read. */
static gboolean
finish_backup(gpointer data)
{
    static const BerthStreamSource source = {next_piece, NULL, close_file};
    Backup *backup = data;
    Call *call = backup->call;
    g_thread_join(backup->thread);
    int fd = backup->error == NULL ? open(backup->path, O_RDONLY | O_CLOEXEC) : -1;
    unlink(backup->path);
    if (backup->error == NULL && fd < 0) {
        berth_error_set_errno(&backup->error, errno, "can't read the backup");
    }
    if (backup->error != NULL) {
        call_fail(call, 0, backup->error);
    } else if (call->request == NULL) {
        close(fd);
    } else {
        berth_request_answer_stream(call->request, 200, "application/octet-stream", &source,
                                    GINT_TO_POINTER(fd));
    }
    call->routes->backing_up = FALSE;
    call_unref(call);
    g_clear_error(&backup->error);
    g_free(backup->path);
    g_free(backup);
    return G_SOURCE_REMOVE;
}

/* Worker: blocks while the store copies. */
static gpointer
write_backup(gpointer data)
{
    Backup *backup = data;
    backup->store->ops->backup(backup->store, backup->path, &backup->error);
    g_main_context_invoke(NULL, finish_backup, backup);
    return NULL;
}

void
handle_backup(Call *call)
{
    BerthRoutes *routes = call->routes;
    if (routes->backing_up) {
        call_refuse(call, 429, BERTH_ERROR_EXHAUSTED, "try again later",
                    "a backup is being made already");
        return;
    }
    routes->backing_up = TRUE;
    Backup *backup = g_new0(Backup, 1);
    backup->call = call_ref(call);
    backup->store = berth_catalog_store(routes->catalog);
    backup->path = g_strdup_printf("%s/backup-%s", routes->state, berth_request_id(call->request));
    backup->thread = g_thread_new("backup", write_backup, backup);
}
