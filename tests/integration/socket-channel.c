/* A channel over a unix socket. Start reading at socket_channel_open(). */
#include "tests/integration/socket-channel.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
    BerthChannel base;
    int fd;
    GSource *reader; /* owned */
    const BerthChannelWatch *watch;
    gpointer watch_data;
    BerthChannel **where;
} SocketChannel;

static void
send_all(BerthChannel *channel, GBytes *bytes)
{
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);
    while (size > 0) {
        gssize written = send(((SocketChannel *)channel)->fd, data, size, MSG_NOSIGNAL);
        if (written <= 0) {
            return;
        }
        data += written;
        size -= (gsize)written;
    }
}

static void
close_channel(BerthChannel *channel)
{
    SocketChannel *self = (SocketChannel *)channel;
    if (self->where != NULL && *self->where == channel) {
        *self->where = NULL;
    }
    g_source_destroy(self->reader);
    g_source_unref(self->reader);
    close(self->fd);
    g_free(self);
}

static gboolean
on_readable(int fd, GIOCondition condition, gpointer user_data)
{
    SocketChannel *self = user_data;
    guint8 data[65536];
    gssize got = recv(fd, data, sizeof data, MSG_DONTWAIT);
    if (got > 0) {
        self->watch->received(data, (gsize)got, self->watch_data);
    } else if (got == 0 || errno != EAGAIN) {
        self->watch->closed(NULL, self->watch_data);
    }
    return G_SOURCE_CONTINUE;
}

BerthChannel *
socket_channel_open(const char *path, const BerthChannelWatch *watch, gpointer data,
                    BerthChannel **where)
{
    static const BerthChannelOps ops = {send_all, close_channel};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return NULL;
    }
    SocketChannel *self = g_new0(SocketChannel, 1);
    *self = (SocketChannel){{&ops}, fd,   g_unix_fd_source_new(fd, G_IO_IN | G_IO_HUP),
                            watch,  data, where};
    g_source_set_callback(self->reader, (GSourceFunc)(void (*)(void))on_readable, self, NULL);
    g_source_attach(self->reader, NULL);
    if (where != NULL) {
        *where = &self->base;
    }
    return &self->base;
}

void
socket_channel_cut(BerthChannel *channel)
{
    shutdown(((SocketChannel *)channel)->fd, SHUT_RDWR);
}
