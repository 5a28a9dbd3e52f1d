/* tar2sqfs at the end of a socket.
 *
 * Invariant: the child gets an environment and arguments of our own making, limits on file size, CPU
 * and cores, and never outlives the object. A socket and not a pipe, so that a dead child is an
 * error here and not a SIGPIPE. One thread. Start at berth_squash_start(). */
#define _GNU_SOURCE /* prlimit, memfd_create */
#include "images/squash.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define PROGRAM "tar2sqfs"

struct BerthSquash {
    GSubprocess *process; /* owned */
    BerthFd input, messages;
    gint64 deadline_us;
    GCancellable *cancellable; /* owned reference */
};

static void
limit(pid_t pid, int what, guint64 value)
{
    struct rlimit limits = {.rlim_cur = value, .rlim_max = value};
    prlimit(pid, what, &limits, NULL);
}

static void
limit_child(GSubprocess *process, const BerthSquashOptions *options)
{
    const char *identifier = g_subprocess_get_identifier(process);
    if (identifier == NULL) {
        return; /* gone already; waiting for it tells why */
    }
    pid_t pid = (pid_t)g_ascii_strtoll(identifier, NULL, 10);
    gint64 seconds = (options->deadline_us - g_get_monotonic_time()) / G_USEC_PER_SEC + 1;
    limit(pid, RLIMIT_FSIZE, options->size_max);
    limit(pid, RLIMIT_CORE, 0);
    limit(pid, RLIMIT_CPU, (guint64)MAX(seconds, 1) * MAX(options->jobs, 1) * 2);
}

static GSubprocess *
spawn(const BerthSquashOptions *options, int input, int messages, GError **error)
{
    static const char *const environment[] = {"LC_ALL=C", "PATH=/usr/bin:/bin",
                                              "SOURCE_DATE_EPOCH=0", NULL};
    g_autofree char *program = g_find_program_in_path(PROGRAM);
    if (program == NULL) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL, "install squashfs-tools-ng",
                           "the program '%s' is not installed", PROGRAM);
        return NULL;
    }
    g_autofree char *jobs = g_strdup_printf("%u", CLAMP(options->jobs, 1, 64));
    const char *argv[] = {program,
                          "--quiet",
                          "--no-skip",
                          "--compressor",
                          "zstd",
                          "--comp-extra",
                          "level=3",
                          "--num-jobs",
                          jobs,
                          "--defaults",
                          "uid=0,gid=0,mode=0755,mtime=0",
                          options->output,
                          NULL};
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
    g_subprocess_launcher_set_environ(launcher, (char **)environment);
    g_subprocess_launcher_set_cwd(launcher, options->folder);
    g_subprocess_launcher_take_stdin_fd(launcher, input);
    g_subprocess_launcher_take_stderr_fd(launcher, messages);
    g_autoptr(GError) problem = NULL;
    GSubprocess *process = g_subprocess_launcher_spawnv(launcher, argv, &problem);
    if (process == NULL) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "can't start '%s': %s", program,
                        problem->message);
    }
    return process;
}

/**
 * berth_squash_start:
 * @options: borrowed for the call
 *
 * Returns: (transfer full): the run, or NULL. Errors: UNAVAILABLE when the program is missing; by errno.
 */
BerthSquash *
berth_squash_start(const BerthSquashOptions *options, GError **error)
{
    g_autoptr(BerthSquash) squash = g_new0(BerthSquash, 1);
    squash->input = squash->messages = -1;
    squash->deadline_us = options->deadline_us;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        berth_error_set_errno(error, errno, "can't make a socket");
        return NULL;
    }
    squash->input = ends[0];
    squash->messages = memfd_create("messages", MFD_CLOEXEC);
    int messages = squash->messages < 0 ? -1 : dup(squash->messages);
    if (messages < 0) {
        berth_error_set_errno(error, errno, "can't make a file for messages");
        close(ends[1]);
        return NULL;
    }
    if (options->cancellable != NULL) {
        squash->cancellable = g_object_ref(options->cancellable);
    }
    squash->process = spawn(options, ends[1], messages, error);
    if (squash->process == NULL) {
        return NULL;
    }
    limit_child(squash->process, options);
    return g_steal_pointer(&squash);
}

static gboolean
check_time(BerthSquash *squash, GError **error)
{
    if (g_cancellable_is_cancelled(squash->cancellable)) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (g_get_monotonic_time() > squash->deadline_us) {
        berth_error_set(error, BERTH_ERROR_TIMEOUT, "making the squashfs took too long");
        return FALSE;
    }
    return TRUE;
}

/* The last words of the program. They may quote names of the image: made printable. */
static void
set_failure(BerthSquash *squash, GError **error)
{
    char text[400] = {0};
    off_t end = lseek(squash->messages, 0, SEEK_END);
    off_t start = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
    if (end <= 0 || pread(squash->messages, text, sizeof text - 1, start) <= 0) {
        g_strlcpy(text, "it gave no reason", sizeof text);
    }
    g_autofree char *shown = g_strescape(g_strstrip(text), NULL);
    BerthErrorCode code =
        strstr(text, "No space left") != NULL ? BERTH_ERROR_EXHAUSTED : BERTH_ERROR_INTERNAL;
    berth_error_set(error, code, "'%s' failed: %s", PROGRAM, shown);
}

/** Gives @size more bytes of the tar stream. Errors: CANCELLED, TIMEOUT, EXHAUSTED, INTERNAL with the
 * program's own words. */
gboolean
berth_squash_write(BerthSquash *squash, const void *data, gsize size, GError **error)
{
    const char *next = data;
    while (size > 0) {
        if (!check_time(squash, error)) {
            return FALSE;
        }
        gssize sent = send(squash->input, next, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            next += sent;
            size -= (gsize)sent;
        } else if (errno == EAGAIN || errno == EINTR) {
            struct pollfd ready = {.fd = squash->input, .events = POLLOUT};
            poll(&ready, 1, 200);
        } else {
            g_subprocess_wait(squash->process, NULL, NULL);
            set_failure(squash, error);
            return FALSE;
        }
    }
    return TRUE;
}

/** Ends the stream and waits for the program. */
gboolean
berth_squash_finish(BerthSquash *squash, GError **error)
{
    static const char end_blocks[1024];
    if (!berth_squash_write(squash, end_blocks, sizeof end_blocks, error)) {
        return FALSE;
    }
    berth_fd_clear(&squash->input);
    /* The CPU limit bounds this wait. */
    if (!g_subprocess_wait(squash->process, squash->cancellable, NULL)) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (!g_subprocess_get_successful(squash->process)) {
        set_failure(squash, error);
        return FALSE;
    }
    return TRUE;
}

/** Ends the program if it still runs. */
void
berth_squash_free(BerthSquash *squash)
{
    if (squash == NULL) {
        return;
    }
    if (squash->process != NULL) {
        g_subprocess_force_exit(squash->process);
        g_subprocess_wait(squash->process, NULL, NULL);
        g_object_unref(squash->process);
    }
    berth_fd_clear(&squash->input);
    berth_fd_clear(&squash->messages);
    g_clear_object(&squash->cancellable);
    g_free(squash);
}
