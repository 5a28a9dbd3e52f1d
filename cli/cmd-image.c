/* Images: pull from registries, load files, list, delete. */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "cli/pull.h"
#include "cli/resolve.h"
#include "cli/terminal.h"
#include "cli/wait.h"
#include "model/kinds.h"

/* ---- pull ---- */

/* Pulls an Image that has a record already; answers with the Task. */
static json_t *
pull_again(BerthSession *session, const json_t *image, gint64 wait_s, GError **error)
{
    g_autofree char *path = berth_json_url(image, ":pull");
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "POST", path, NULL, error);
    if (reply == NULL) {
        return NULL;
    }
    if (wait_s > 0) {
        g_autoptr(json_t) task = berth_wait_task(session, reply->body, wait_s, error);
        if (task == NULL) {
            return NULL;
        }
    }
    return berth_get_object(session, &berth_kind_image, berth_json_name(image), error);
}

/* The record of an image that can't be had is taken back; one that may still come stays. */
static void
give_up(BerthSession *session, const json_t *image)
{
    g_autofree char *path = berth_json_url(image, "");
    g_autoptr(json_t) now = berth_client_get(session->client, path, NULL);
    if (now != NULL && strcmp(berth_json_phase(now), "Failed") == 0) {
        berth_delete(session, now, 0, NULL);
    }
}

/**
 * berth_pull:
 * @wait_s: 0: return at once
 *
 * Returns: (transfer full): the Image, ready when it was waited for.
 */
json_t *
berth_pull(BerthSession *session, const char *reference, gint64 wait_s, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(json_t) present = berth_resolve_image(session, reference, &problem);
    if (present != NULL) {
        return pull_again(session, present, wait_s, error);
    }
    if (!g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    g_autoptr(json_t) document = json_pack("{s:s, s:{}, s:{s:s, s:s}}", "kind", "Image", "metadata",
                                           "spec", "type", "oci", "reference", reference);
    const BerthRequestOptions options = {.body = document};
    g_autoptr(BerthReply) reply =
        berth_client_call(session->client, "POST", "/v1/images", &options, error);
    if (reply == NULL) {
        return NULL;
    }
    if (wait_s <= 0) {
        return g_steal_pointer(&reply->body);
    }
    json_t *settled = berth_wait_settled(session, reply->body, wait_s, error);
    if (settled == NULL) {
        give_up(session, reply->body);
    }
    return settled;
}

/**
 * berth_pull_by_policy:
 * @policy: (nullable): "missing" (the same as NULL), "always", "never"
 *
 * Makes sure that the image is there before a pod is made of it. Errors: NOT_FOUND with "never".
 */
gboolean
berth_pull_by_policy(BerthSession *session, const char *reference, const char *policy,
                     GError **error)
{
    g_autoptr(json_t) image = NULL;
    if (g_strcmp0(policy, "always") != 0) {
        g_autoptr(GError) problem = NULL;
        image = berth_resolve_image(session, reference, &problem);
        gboolean missing = g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND);
        if (image == NULL && (!missing || g_strcmp0(policy, "never") == 0)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
    }
    if (image == NULL) {
        if (isatty(STDERR_FILENO) && !session->quiet) {
            fprintf(stderr, "image '%s' is not here yet, pulling it\n", reference);
        }
        g_autoptr(json_t) pulled = berth_pull(session, reference, BERTH_WAIT_FOREVER, error);
        return pulled != NULL;
    }
    const char *phase = berth_json_phase(image);
    if (strcmp(phase, "Ready") == 0) {
        return TRUE;
    }
    if (strcmp(phase, "Failed") == 0) {
        g_autoptr(json_t) pulled = pull_again(session, image, BERTH_WAIT_FOREVER, error);
        return pulled != NULL;
    }
    g_autoptr(json_t) ready = berth_wait_settled(session, image, BERTH_WAIT_FOREVER, error);
    return ready != NULL;
}

static void
put_image(BerthSession *session, const json_t *image, const char *done)
{
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, image);
        return;
    }
    const char *digest = json_string_value(berth_json_at(image, "/status/digest"));
    berth_session_say(session, "Image '%s' %s%s%s", berth_json_name(image), done,
                      digest != NULL ? " " : "", digest != NULL ? digest : "");
}

static int
run_pull(BerthSession *session, const BerthArgs *args, GError **error)
{
    gint64 wait_s = berth_wait_option(args, BERTH_WAIT_FOREVER, BERTH_WAIT_DEFAULT_S);
    g_autoptr(json_t) image = berth_pull(session, berth_args_get(args, "reference"), wait_s, error);
    if (image == NULL) {
        return BERTH_FAILED;
    }
    put_image(session, image, wait_s > 0 ? "pulled" : "is being pulled");
    return BERTH_EXIT_OK;
}

static int
run_images(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) images = berth_list_objects(session, &berth_kind_image, NULL, error);
    if (images == NULL) {
        return BERTH_FAILED;
    }
    berth_session_put_objects(session, images, berth_kind_image.columns);
    return BERTH_EXIT_OK;
}

/* ---- files ---- */

static void
on_sent(guint64 done, guint64 total, gpointer user_data)
{
    g_autofree char *so_far = berth_format_bytes((gint64)done);
    g_autofree char *all = berth_format_bytes((gint64)total);
    berth_progress_set(user_data, "sending: %s of %s", so_far, all);
}

/* An OCI layout is a folder; it travels as a tar file that tar(1) writes into a pipe. */
static int
open_folder(const char *path, GPid *child, GError **error)
{
    char *const words[] = {(char *)"tar", (char *)"-C", (char *)path, (char *)"-cf",
                           (char *)"-",   (char *)".",  NULL};
    g_autoptr(GError) problem = NULL;
    int fd = -1;
    if (!g_spawn_async_with_pipes(NULL, (char **)words, NULL,
                                  G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                                  child, NULL, &fd, NULL, &problem)) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "cannot read the folder '%s': %s", path,
                        problem->message);
        return -1;
    }
    return fd;
}

static int
open_content(const char *path, guint64 *size, GPid *child, GError **error)
{
    struct stat info;
    *size = G_MAXUINT64;
    if (strcmp(path, "-") == 0) {
        return dup(STDIN_FILENO);
    }
    g_auto(BerthFd) fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) < 0) {
        berth_error_set_errno(error, errno, "cannot read '%s'", path);
        return -1;
    }
    if (S_ISDIR(info.st_mode)) {
        return open_folder(path, child, error);
    }
    if (S_ISREG(info.st_mode)) {
        *size = (guint64)info.st_size;
    }
    return berth_fd_steal(&fd);
}

static gboolean
upload(BerthSession *session, const json_t *image, const char *file, GError **error)
{
    GPid child = 0;
    guint64 size;
    g_auto(BerthFd) fd = open_content(file, &size, &child, error);
    if (fd < 0) {
        return FALSE;
    }
    g_auto(BerthProgress) progress;
    berth_progress_begin(&progress, session->quiet);
    g_autofree char *path = berth_json_url(image, "/content");
    g_autoptr(BerthReply) reply =
        berth_client_upload(session->client, path, fd, size, on_sent, &progress, error);
    if (child != 0) {
        g_spawn_close_pid(child);
    }
    return reply != NULL;
}

/* The record first, then the content; a record whose content did not arrive is taken back. */
static json_t *
create_and_upload(BerthSession *session, const char *name, const json_t *spec, const char *file,
                  GError **error)
{
    g_autoptr(json_t) document =
        json_pack("{s:s, s:{s:s}, s:O}", "kind", "Image", "metadata", "name", name, "spec", spec);
    const BerthRequestOptions options = {.body = document, .create_only = TRUE};
    g_autofree char *path = berth_object_url(session, &berth_kind_image, name);
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "PUT", path, &options, error);
    if (reply == NULL) {
        return NULL;
    }
    if (!upload(session, reply->body, file, error)) {
        berth_delete(session, reply->body, 0, NULL);
        return NULL;
    }
    return g_steal_pointer(&reply->body);
}

/* A name for an image file: its own, as far as names allow. */
static char *
name_of_file(const char *file)
{
    g_autofree char *base = g_path_get_basename(file);
    char *dot = strchr(base, '.');
    if (dot != NULL && dot != base) {
        *dot = '\0';
    }
    GString *name = g_string_new(NULL);
    for (const char *p = base; *p != '\0' && name->len < 50; p++) {
        char c = g_ascii_tolower(*p);
        gboolean fits = g_ascii_isalnum(c);
        if (fits || (name->len > 0 && name->str[name->len - 1] != '-')) {
            g_string_append_c(name, fits ? c : '-');
        }
    }
    while (name->len > 0 && name->str[name->len - 1] == '-') {
        g_string_truncate(name, name->len - 1);
    }
    return g_string_free(name, FALSE);
}

static int
load(BerthSession *session, const BerthArgs *args, const char *name, const json_t *spec,
     GError **error)
{
    g_autoptr(json_t) image =
        create_and_upload(session, name, spec, berth_args_get(args, "file"), error);
    if (image == NULL) {
        return BERTH_FAILED;
    }
    gint64 wait_s = berth_wait_option(args, BERTH_WAIT_FOREVER, BERTH_WAIT_DEFAULT_S);
    if (wait_s > 0) {
        json_t *ready = berth_wait_settled(session, image, wait_s, error);
        json_decref(image);
        image = ready;
    }
    if (image == NULL) {
        return BERTH_FAILED;
    }
    put_image(session, image, wait_s > 0 ? "loaded" : "is being loaded");
    return BERTH_EXIT_OK;
}

static char *
choose_name(const BerthArgs *args, GError **error)
{
    const char *given = berth_args_get(args, "name");
    g_autofree char *name =
        given != NULL ? g_strdup(given) : name_of_file(berth_args_get(args, "file"));
    g_autoptr(GError) problem = NULL;
    if (!berth_name_check(name, &problem)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "give one with --name", "%s",
                           problem->message);
        return NULL;
    }
    return g_steal_pointer(&name);
}

static int
run_image_load(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autofree char *name = choose_name(args, error);
    if (name == NULL) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) spec = json_pack("{s:s, s:s}", "type", "oci", "source", "load");
    if (berth_args_has(args, "reference")) {
        json_object_set_new(spec, "reference", json_string(berth_args_get(args, "reference")));
    }
    return load(session, args, name, spec, error);
}

static int
run_image_import(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *file = berth_args_get(args, "file"), *format = berth_args_get(args, "format");
    g_autofree char *name = choose_name(args, error);
    if (name == NULL) {
        return BERTH_FAILED;
    }
    if (format == NULL) {
        format = g_str_has_suffix(file, ".qcow2")                                   ? "qcow2"
                 : g_str_has_suffix(file, ".raw") || g_str_has_suffix(file, ".img") ? "raw"
                                                                                    : NULL;
    }
    if (format == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "--format qcow2 or --format raw",
                           "the format of '%s' is never guessed from its content", file);
        return BERTH_FAILED;
    }
    g_autoptr(json_t) spec =
        json_pack("{s:s, s:s, s:s}", "type", "disk", "source", "upload", "format", format);
    return load(session, args, name, spec, error);
}

static json_t *
begin_delete(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    g_autoptr(json_t) image = berth_resolve_image(session, name, error);
    return image != NULL && berth_delete(session, image, 0, error) ? g_steal_pointer(&image) : NULL;
}

static gboolean
end_delete(BerthSession *session, const BerthArgs *args, const json_t *image, GError **error)
{
    if (!berth_wait_gone(session, image, BERTH_WAIT_DEFAULT_S, error)) {
        return FALSE;
    }
    berth_session_say(session, "Image '%s' deleted", berth_json_name(image));
    return TRUE;
}

static int
run_image_delete(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_delete, end_delete};
    return berth_each_name(session, args, "image", &verb, error);
}

/* ---- the table ---- */

static const char *const disk_formats[] = {"qcow2", "raw", NULL};

static const BerthArgument reference[] = {
    {"reference", "name[:tag] or name@digest, with the registry before it unless it is docker.io"},
    {NULL},
};
static const BerthArgument file[] = {
    {"file", "a file, or - for stdin", .complete = BERTH_COMPLETE_FILE},
    {NULL},
};
static const BerthArgument images[] = {
    {"image", "name or reference", .rest = TRUE, .complete = BERTH_COMPLETE_IMAGE},
    {NULL},
};
static const BerthOption wait_option[] = {BERTH_WAIT_OPTION, {NULL}};
static const BerthOption load_options[] = {
    {"name", 0, BERTH_OPTION_TEXT, "NAME", "name of the Image; without it the file's"},
    {"reference", 0, BERTH_OPTION_TEXT, "REFERENCE", "what containers call it: shop/web:1.4"},
    BERTH_WAIT_OPTION,
    {NULL},
};
static const BerthOption import_options[] = {
    {"name", 0, BERTH_OPTION_TEXT, "NAME", "name of the Image; without it the file's"},
    {"format", 0, BERTH_OPTION_CHOICE, NULL, "format of the file", disk_formats},
    BERTH_WAIT_OPTION,
    {NULL},
};

const BerthCommand berth_image_commands[] = {
    {.name = "pull",
     .group = BERTH_GROUP_IMAGES,
     .doc = "pull a container image from its registry",
     .run = run_pull,
     .arguments = reference,
     .options = wait_option,
     .alias = "image pull",
     .about =
         "Waits until it is there; --wait=0 returns at once. The daemon pulls: registry logins are "
         "those of the daemon's ~/.docker/config.json.",
     .example = "berth pull nginx:1.27\nberth pull ghcr.io/example/app@sha256:…"},
    {.name = "images",
     .group = BERTH_GROUP_IMAGES,
     .doc = "list images",
     .run = run_images,
     .alias = "image list"},
    {.name = "image load",
     .group = BERTH_GROUP_IMAGES,
     .doc = "load a container image from an OCI layout or a docker-archive",
     .run = run_image_load,
     .arguments = file,
     .options = load_options,
     .about = "The file is a tar file (as docker save writes), or a folder with an OCI layout.",
     .example = "docker save shop/web | berth image load - --name web --reference shop/web"},
    {.name = "image import",
     .group = BERTH_GROUP_IMAGES,
     .doc = "import a disk image for VMs",
     .run = run_image_import,
     .arguments = file,
     .options = import_options,
     .example = "berth image import debian-12-genericcloud-amd64.qcow2 --name debian-12"},
    {.name = "image delete",
     .group = BERTH_GROUP_IMAGES,
     .doc = "delete images",
     .run = run_image_delete,
     .arguments = images,
     .alias = "rmi"},
    {NULL},
};
