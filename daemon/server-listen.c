/* Where clients come from: the unix socket, sockets that systemd passes, TCP with TLS.
 * Start at berth_server_listen(). */
#include "daemon/server-private.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <grp.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define ACCEPTS_PER_TURN 64
#define LISTEN_FDS_START 3

typedef struct {
    BerthServer *server;
    int fd;
    gboolean tls;
    char *unlink_path; /* owned; NULL: not ours to remove */
    GSource *source;
} Listener;

/* No descriptor is left: the waiting client is accepted with the spare one and closed, or it would keep the
 * listener busy for ever. */
static void
shed_one(BerthServer *server, int listener)
{
    if (server->spare_fd >= 0) {
        close(server->spare_fd);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            server->figures.refused++;
            gate_refuse(fd, 503, "exhausted", "the server has no descriptor left", TRUE);
            close(fd);
        }
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static gboolean
accept_waiting(int fd, GIOCondition condition, gpointer data)
{
    Listener *listener = data;
    for (guint i = 0; i < ACCEPTS_PER_TURN; i++) {
        int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted >= 0) {
            server_accept(listener->server, accepted, listener->tls);
        } else if (errno == EMFILE || errno == ENFILE) {
            shed_one(listener->server, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
    return G_SOURCE_CONTINUE;
}

/* A GDestroyNotify. */
void
listener_free(gpointer data)
{
    Listener *listener = data;
    g_source_destroy(listener->source);
    g_source_unref(listener->source);
    close(listener->fd);
    if (listener->unlink_path != NULL) {
        unlink(listener->unlink_path);
        g_free(listener->unlink_path);
    }
    g_free(listener);
}

static Listener *
add_listener(BerthServer *server, int fd, gboolean tls)
{
    Listener *listener = g_new0(Listener, 1);
    listener->server = server;
    listener->fd = fd;
    listener->tls = tls;
    listener->source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(listener->source, G_SOURCE_FUNC(accept_waiting), listener, NULL);
    g_source_attach(listener->source, g_main_context_get_thread_default());
    g_ptr_array_add(server->listeners, listener);
    return listener;
}

/** Serves on @fd, a listening unix socket, which is taken over. */
gboolean
berth_server_listen_fd(BerthServer *server, int fd, GError **error)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 || address.ss_family != AF_UNIX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "descriptor %d is no unix socket", fd);
        return FALSE;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    add_listener(server, fd, FALSE);
    return TRUE;
}

/* A socket file that nobody answers on is left from a crash and may go. */
static gboolean
clear_stale(const struct sockaddr_un *address, GError **error)
{
    g_auto(BerthFd) probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "another berthd serves '%s' already",
                        address->sun_path);
        return FALSE;
    }
    if (errno == ECONNREFUSED) {
        unlink(address->sun_path);
    }
    return TRUE;
}

/** Serves on a new unix socket at @path: mode 0600 until a group is set. */
gboolean
berth_server_listen_unix(BerthServer *server, const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the socket path '%s' is longer than %zu bytes",
                        path, sizeof address.sun_path - 1);
        return FALSE;
    }
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (!clear_stale(&address, error)) {
        return FALSE;
    }
    g_auto(BerthFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    int bound = fd >= 0 ? bind(fd, (struct sockaddr *)&address, sizeof address) : -1;
    umask(before);
    if (bound != 0 || listen(fd, BACKLOG) != 0) {
        berth_error_set_errno(error, errno, "can't listen on '%s'", path);
        return FALSE;
    }
    add_listener(server, berth_fd_steal(&fd), FALSE)->unlink_path = g_strdup(path);
    return TRUE;
}

static void
give_to_group(const char *path, const char *name)
{
    const struct group *group = getgrnam(name);
    if (group == NULL) {
        berth_log(BERTH_LOG_WARNING, "the socket is for root only: its group does not exist",
                  "group", name, "socket", path, NULL);
    } else if (chown(path, (uid_t)-1, group->gr_gid) != 0 || chmod(path, 0660) != 0) {
        berth_log(BERTH_LOG_WARNING, "the socket could not be given to its group", "group", name,
                  "error", g_strerror(errno), NULL);
    }
}

/* How many sockets systemd passed to us (sd_listen_fds(3)). */
static guint
passed_sockets(void)
{
    const char *pid = g_getenv("LISTEN_PID"), *count = g_getenv("LISTEN_FDS");
    if (pid == NULL || count == NULL || g_ascii_strtoull(pid, NULL, 10) != (guint64)getpid()) {
        return 0;
    }
    guint passed = (guint)g_ascii_strtoull(count, NULL, 10);
    g_unsetenv("LISTEN_PID");
    g_unsetenv("LISTEN_FDS");
    return MIN(passed, 16);
}

static gboolean
listen_tcp(BerthServer *server, const BerthConfig *config, GError **error)
{
    const char *colon = strrchr(config->tcp, ':');
    if (colon == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "[listen] tcp: '%s' is not ADDRESS:PORT",
                        config->tcp);
        return FALSE;
    }
    g_autofree char *host = g_strndup(config->tcp, (gsize)(colon - config->tcp));
    char *bare = host;
    if (*bare == '[' && g_str_has_suffix(bare, "]")) {
        bare[strlen(bare) - 1] = '\0';
        bare++;
    }
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(*bare != '\0' ? bare : NULL, colon + 1, &hints, &found) != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "[listen] tcp: '%s' is not ADDRESS:PORT",
                        config->tcp);
        return FALSE;
    }
    g_auto(BerthFd) fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    gboolean listening =
        fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    int problem = errno;
    freeaddrinfo(found);
    if (!listening) {
        berth_error_set_errno(error, problem, "can't listen on '%s'", config->tcp);
        return FALSE;
    }
    add_listener(server, berth_fd_steal(&fd), TRUE);
    return TRUE;
}

static gboolean
serve_tcp(BerthServer *server, const BerthConfig *config, GError **error)
{
    if (!berth_config_validate(config, error)) {
        return FALSE;
    }
    if (config->token_file != NULL) {
        server->tokens = berth_tokens_load(config->token_file, error);
        if (server->tokens == NULL) {
            return FALSE;
        }
    }
    return tls_init(server, config, error) && listen_tcp(server, config, error);
}

/** See the header. */
gboolean
berth_server_listen(BerthServer *server, const BerthConfig *config, GError **error)
{
    guint passed = passed_sockets();
    for (guint i = 0; i < passed; i++) {
        if (!berth_server_listen_fd(server, LISTEN_FDS_START + (int)i, error)) {
            return FALSE;
        }
    }
    if (passed == 0) {
        g_autofree char *folder = g_path_get_dirname(config->socket);
        g_mkdir_with_parents(folder, 0755);
        if (!berth_server_listen_unix(server, config->socket, error)) {
            return FALSE;
        }
        give_to_group(config->socket, config->socket_group);
    }
    return config->tcp == NULL || serve_tcp(server, config, error);
}
