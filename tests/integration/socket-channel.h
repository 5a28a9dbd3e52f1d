/* A guest's port of a QEMU that was started without libvirt: a unix socket. */
#pragma once

#include "drivers/channel.h"

/**
 * socket_channel_open:
 * @path: of the socket that QEMU listens at
 * @watch: borrowed, outlives the channel
 * @where: (nullable): holds the channel while it is open, NULL afterwards
 *
 * Sends at once: who answers reads as fast as it is written. Main loop.
 *
 * Returns: (transfer full) (nullable): the channel, or NULL when nobody listens
 */
BerthChannel *socket_channel_open(const char *path, const BerthChannelWatch *watch, gpointer data,
                                  BerthChannel **where);

/** Breaks the connection under its users, as a host's fault does. */
void socket_channel_cut(BerthChannel *channel);
