/* A two-way byte stream into a guest: the guest link's port, or a serial console.
 *
 * One contract for libvirt streams, the simulated host and tests. Everything here is called on the
 * main loop and never blocks: sending, finishing and aborting happen on the driver's link worker. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * BerthChannelWatch:
 * @received: bytes from the guest, to be consumed at once; called on the main loop
 * @closed: the stream ended; @error is NULL when the other side ended it in order. Called on the main
 *     loop at most once, never after berth_channel_close(); the owner still has to close
 *
 * Neither is called from inside a function of this header.
 */
typedef struct {
    void (*received)(const guint8 *data, gsize size, gpointer user_data);
    void (*closed)(const GError *error, gpointer user_data);
} BerthChannelWatch;

typedef struct BerthChannel BerthChannel;

/**
 * BerthChannelOps:
 * @send: queues @bytes in order; the channel takes its own reference. The caller bounds what it
 *     queues (the guest link by credit, the console by 16 KiB); the channel closes with EXHAUSTED
 *     when more than 256 KiB wait
 * @close: ends the stream and frees the channel; no callback comes afterwards, unsent bytes are dropped
 */
typedef struct {
    void (*send)(BerthChannel *channel, GBytes *bytes);
    void (*close)(BerthChannel *channel);
} BerthChannelOps;

struct BerthChannel {
    const BerthChannelOps *ops;
};

static inline void
berth_channel_send(BerthChannel *channel, GBytes *bytes)
{
    channel->ops->send(channel, bytes);
}

static inline void
berth_channel_close(BerthChannel *channel)
{
    channel->ops->close(channel);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthChannel, berth_channel_close)

G_END_DECLS
