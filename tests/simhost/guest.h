/* A simulated guest: the real protocol core of guest/, with scripted containers instead of crun. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct SimGuest SimGuest;

/**
 * SimGuestWatch: on the main loop.
 * @room: how many bytes the host's side of the port takes now; 0 while nobody has it open
 * @wrote: bytes for the daemon, at most what `room` allowed
 * @powered_off: the guest ended by itself; may free the guest
 */
typedef struct {
    gsize (*room)(gpointer user_data);
    void (*wrote)(const guint8 *data, gsize size, gpointer user_data);
    void (*powered_off)(gpointer user_data);
} SimGuestWatch;

SimGuest *sim_guest_new(guint boot_ms, const SimGuestWatch *watch, gpointer user_data);
void sim_guest_free(SimGuest *guest);
void sim_guest_receive(SimGuest *guest, const guint8 *data, gsize size);
void sim_guest_hang_up(SimGuest *guest);
void sim_guest_kick(SimGuest *guest);
void sim_guest_set_paused(SimGuest *guest, gboolean paused);
void sim_guest_power_button(SimGuest *guest);

G_END_DECLS
