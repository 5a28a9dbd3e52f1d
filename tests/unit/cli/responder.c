/* One accepting thread, one thread a connection; all are joined at the end. */
#include "tests/unit/cli/responder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct Responder {
    ResponderServe serve;
    gpointer user_data;
    char *folder, *path;
    int fd;
    gint count;
    GThread *thread;
};

typedef struct {
    Responder *responder;
    int fd;
} Connection;

void
responder_write(int fd, const char *text)
{
    gsize size = strlen(text);
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        text += sent;
        size -= (gsize)sent;
    }
}

void
responder_answer(int fd, int status, const char *type, const char *body)
{
    g_autofree char *text =
        g_strdup_printf("HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                        "Connection: close\r\n\r\n%s",
                        status, type, strlen(body), body);
    responder_write(fd, text);
}

static gsize
body_size(const char *request)
{
    const char *header = strcasestr(request, "\r\ncontent-length:");
    return header != NULL ? strtoul(header + strlen("\r\ncontent-length:"), NULL, 10) : 0;
}

static char *
read_request(int fd)
{
    GString *text = g_string_new(NULL);
    char buffer[4096];
    ssize_t got;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        g_string_append_len(text, buffer, got);
        const char *end = strstr(text->str, "\r\n\r\n");
        if (end != NULL && text->len >= (gsize)(end + 4 - text->str) + body_size(text->str)) {
            break;
        }
    }
    return g_string_free(text, FALSE);
}

static gpointer
serve_one(gpointer data)
{
    Connection *connection = data;
    g_autofree char *request = read_request(connection->fd);
    if (*request != '\0') {
        connection->responder->serve(connection->fd, request, connection->responder->user_data);
    }
    close(connection->fd);
    g_free(connection);
    return NULL;
}

static gpointer
accept_all(gpointer data)
{
    Responder *responder = data;
    g_autoptr(GPtrArray) threads = g_ptr_array_new();
    int fd;
    while ((fd = accept(responder->fd, NULL, NULL)) >= 0) {
        Connection *connection = g_new(Connection, 1);
        *connection = (Connection){responder, fd};
        g_atomic_int_inc(&responder->count);
        g_ptr_array_add(threads, g_thread_new("serve", serve_one, connection));
    }
    for (guint i = 0; i < threads->len; i++) {
        g_thread_join(threads->pdata[i]);
    }
    return NULL;
}

Responder *
responder_new(ResponderServe serve, gpointer user_data)
{
    Responder *responder = g_new0(Responder, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    responder->serve = serve;
    responder->user_data = user_data;
    responder->folder = g_dir_make_tmp("berth-cli-XXXXXX", NULL);
    responder->path = g_build_filename(responder->folder, "sock", NULL);
    g_strlcpy(address.sun_path, responder->path, sizeof address.sun_path);
    responder->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(responder->fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(listen(responder->fd, 16), ==, 0);
    responder->thread = g_thread_new("responder", accept_all, responder);
    return responder;
}

const char *
responder_path(const Responder *responder)
{
    return responder->path;
}

/** Returns: connections accepted so far. */
guint
responder_count(const Responder *responder)
{
    return (guint)g_atomic_int_get(&responder->count);
}

void
responder_free(Responder *responder)
{
    shutdown(responder->fd, SHUT_RDWR);
    g_thread_join(responder->thread);
    close(responder->fd);
    unlink(responder->path);
    rmdir(responder->folder);
    g_free(responder->path);
    g_free(responder->folder);
    g_free(responder);
}

void
responder_clear_environment(void)
{
    static const char *const names[] = {"BERTH_SOCKET",  "BERTH_CONNECT", "BERTH_CONTEXT",
                                        "BERTH_PROJECT", "BERTH_CA",      "BERTH_CERTIFICATE",
                                        "BERTH_KEY",     "BERTH_TOKEN",   "BERTH_CONFIG"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_unsetenv(names[i]);
    }
    g_setenv("XDG_CONFIG_HOME", "/nonexistent", TRUE);
}
