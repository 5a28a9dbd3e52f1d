/* A socket that carries frames, on the default main context; both ends of the simulated host's wire.
 *
 * A frame is u32 size (little endian, of what follows), u8 type, bytes. */
#pragma once

#include <gio/gio.h>
#include <jansson.h>

G_BEGIN_DECLS

#define SIM_FRAME_MAX (16 * 1024 * 1024)

/* Types of frames. */
enum {
    SIM_CALL = 'c',   /* client: JSON {"id", "verb", …} */
    SIM_REPLY = 'r',  /* server: JSON {"id", …} or {"id", "code", "message"} */
    SIM_EVENT = 'e',  /* server: JSON {"uuid", "event", "reason"} */
    SIM_OPEN = 'o',   /* client: JSON {"channel", "uuid", "port", "force"} */
    SIM_DATA = 'd',   /* both: u32 channel, bytes */
    SIM_CLOSE = 'x',  /* client: JSON {"channel"} */
    SIM_CLOSED = 'z', /* server: JSON {"channel"} and, for an error, {"code", "message"} */
};

/* Both on the main loop; after @closed nothing more is told. */
typedef struct {
    void (*frame)(char type, const guint8 *data, gsize size, gpointer user_data);
    void (*closed)(gpointer user_data);
    void (*drained)(gpointer user_data); /* (nullable): all that was sent has left */
} SimPipeWatch;

typedef struct SimPipe SimPipe;

SimPipe *sim_pipe_new(int fd, const SimPipeWatch *watch, gpointer user_data);
SimPipe *sim_pipe_ref(SimPipe *pipe);
void sim_pipe_unref(SimPipe *pipe);
void sim_pipe_close(SimPipe *pipe);
void sim_pipe_send(SimPipe *pipe, char type, const void *data, gsize size);
void sim_pipe_send_json(SimPipe *pipe, char type, const json_t *value);
void sim_pipe_send_data(SimPipe *pipe, guint32 channel, const void *data, gsize size);
gsize sim_pipe_queued(SimPipe *pipe);

G_END_DECLS
