/* Frames over a non-blocking socket. Sending is allowed on any thread and never blocks: what does not
 * fit waits in memory and leaves from the main loop. Start at on_ready(). */
#include "tests/simhost/pipe.h"

#include "base/fd-watch.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK (64 * 1024)
#define HEADER 5

struct SimPipe {
    gint refs;
    int fd;
    BerthFdWatch *socket; /* owned */
    SimPipeWatch watch;
    gpointer user_data;
    GByteArray *in; /* main loop */
    GMutex lock;
    GByteArray *out; /* guarded by lock */
    gsize out_sent;  /* guarded by lock */
    gboolean is_closed;
};

SimPipe *
sim_pipe_ref(SimPipe *pipe)
{
    g_atomic_int_inc(&pipe->refs);
    return pipe;
}

void
sim_pipe_unref(SimPipe *pipe)
{
    if (!g_atomic_int_dec_and_test(&pipe->refs)) {
        return;
    }
    g_clear_pointer(&pipe->socket, berth_fd_watch_free);
    close(pipe->fd);
    g_byte_array_unref(pipe->in);
    g_byte_array_unref(pipe->out);
    g_mutex_clear(&pipe->lock);
    g_free(pipe);
}

/** Nothing is told afterwards; the socket closes with the last reference. Main loop. */
void
sim_pipe_close(SimPipe *pipe)
{
    g_mutex_lock(&pipe->lock);
    if (!pipe->is_closed) {
        pipe->is_closed = TRUE;
        g_clear_pointer(&pipe->socket, berth_fd_watch_free);
        shutdown(pipe->fd, SHUT_RDWR);
    }
    g_mutex_unlock(&pipe->lock);
}

static void
report_closed(SimPipe *pipe)
{
    if (!pipe->is_closed) {
        sim_pipe_close(pipe);
        pipe->watch.closed(pipe->user_data);
    }
}

/* Returns: FALSE when the other side is gone. Under the lock. */
static gboolean
write_some(SimPipe *pipe)
{
    while (pipe->out_sent < pipe->out->len) {
        gssize sent = send(pipe->fd, pipe->out->data + pipe->out_sent,
                           pipe->out->len - pipe->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EINTR) {
            return errno == EAGAIN;
        }
        pipe->out_sent += sent > 0 ? (gsize)sent : 0;
    }
    g_byte_array_set_size(pipe->out, 0);
    pipe->out_sent = 0;
    return TRUE;
}

static void
watch_for(SimPipe *pipe)
{
    GIOCondition wanted = G_IO_IN | (pipe->out->len > 0 ? G_IO_OUT : 0);
    berth_fd_watch_set(pipe->socket, wanted);
}

/** Queues one frame; any thread. */
void
sim_pipe_send(SimPipe *pipe, char type, const void *data, gsize size)
{
    guint32 length = GUINT32_TO_LE((guint32)size + 1);
    g_mutex_lock(&pipe->lock);
    if (!pipe->is_closed) {
        g_byte_array_append(pipe->out, (const guint8 *)&length, sizeof length);
        g_byte_array_append(pipe->out, (const guint8 *)&type, 1);
        g_byte_array_append(pipe->out, data, (guint)size);
        write_some(pipe); /* a failure is seen by reading */
        watch_for(pipe);
    }
    g_mutex_unlock(&pipe->lock);
}

/** Queues @value as one frame; any thread. */
void
sim_pipe_send_json(SimPipe *pipe, char type, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    sim_pipe_send(pipe, type, text, strlen(text));
    free(text);
}

/** Queues bytes of a channel; any thread. */
void
sim_pipe_send_data(SimPipe *pipe, guint32 channel, const void *data, gsize size)
{
    g_autoptr(GByteArray) frame = g_byte_array_new();
    guint32 number = GUINT32_TO_LE(channel);
    g_byte_array_append(frame, (const guint8 *)&number, sizeof number);
    g_byte_array_append(frame, data, (guint)size);
    sim_pipe_send(pipe, SIM_DATA, frame->data, frame->len);
}

/** Returns: bytes that wait for the other side to read; any thread. */
gsize
sim_pipe_queued(SimPipe *pipe)
{
    g_mutex_lock(&pipe->lock);
    gsize queued = pipe->out->len - pipe->out_sent;
    g_mutex_unlock(&pipe->lock);
    return queued;
}

/* Returns: FALSE when the stream is broken. */
static gboolean
take_frames(SimPipe *pipe)
{
    gsize used = 0;
    while (!pipe->is_closed && pipe->in->len - used > HEADER) {
        guint32 length;
        memcpy(&length, pipe->in->data + used, sizeof length);
        length = GUINT32_FROM_LE(length);
        if (length == 0 || length > SIM_FRAME_MAX) {
            return FALSE;
        }
        if (pipe->in->len - used < sizeof length + length) {
            break;
        }
        const guint8 *frame = pipe->in->data + used + sizeof length;
        used += sizeof length + length;
        pipe->watch.frame((char)frame[0], frame + 1, length - 1, pipe->user_data);
    }
    if (used > 0) {
        g_byte_array_remove_range(pipe->in, 0, (guint)used);
    }
    return TRUE;
}

static gboolean
read_some(SimPipe *pipe)
{
    guint old = pipe->in->len;
    g_byte_array_set_size(pipe->in, old + READ_CHUNK);
    gssize got = read(pipe->fd, pipe->in->data + old, READ_CHUNK);
    gboolean is_over = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    g_byte_array_set_size(pipe->in, old + (got > 0 ? (guint)got : 0));
    return !is_over && take_frames(pipe);
}

static void
on_ready(GIOCondition ready, gpointer data)
{
    SimPipe *pipe = sim_pipe_ref(data);
    gboolean is_fine = TRUE, is_drained = FALSE;
    if (ready & G_IO_OUT) {
        g_mutex_lock(&pipe->lock);
        is_fine = write_some(pipe);
        is_drained = pipe->out->len == 0;
        watch_for(pipe);
        g_mutex_unlock(&pipe->lock);
    }
    if (is_drained && !pipe->is_closed && pipe->watch.drained != NULL) {
        pipe->watch.drained(pipe->user_data);
    }
    if (!pipe->is_closed && (ready & (G_IO_IN | G_IO_HUP | G_IO_ERR))) {
        is_fine = read_some(pipe) && is_fine;
    }
    if (!is_fine) {
        report_closed(pipe);
    }
    sim_pipe_unref(pipe);
}

/**
 * sim_pipe_new:
 * @fd: (transfer full): a connected stream socket
 * @watch: copied
 *
 * Returns: (transfer full): to be closed with sim_pipe_close() and dropped with sim_pipe_unref(). Any
 *     thread; what is told is told on the default main context
 */
SimPipe *
sim_pipe_new(int fd, const SimPipeWatch *watch, gpointer user_data)
{
    SimPipe *pipe = g_new0(SimPipe, 1);
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    pipe->refs = 1;
    pipe->fd = fd;
    pipe->watch = *watch;
    pipe->user_data = user_data;
    pipe->in = g_byte_array_new();
    pipe->out = g_byte_array_new();
    g_mutex_init(&pipe->lock);
    g_mutex_lock(&pipe->lock); /* the main loop may tell at once */
    pipe->socket = berth_fd_watch_new(fd, G_IO_IN, on_ready, pipe);
    g_mutex_unlock(&pipe->lock);
    return pipe;
}
