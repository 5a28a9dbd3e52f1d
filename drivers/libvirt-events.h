/* What libvirt waits for, on the default main context. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * berth_libvirt_events_register:
 *
 * Registers Berth's event loop with libvirt, instead of virEventRegisterDefaultImpl() and before any
 * other call of libvirt. It is that of the default main context; an event costs the same however many
 * hosts are connected, while libvirt's own has a source for each socket and each keepalive timer.
 */
void berth_libvirt_events_register(void);

G_END_DECLS
