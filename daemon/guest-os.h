/* The guest OS files that pods boot from: where they are here, and what they are known by. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    char *path;
    char sha256[65];
    guint64 size;
} BerthGuestFile;

typedef struct {
    BerthGuestFile kernel, initramfs;
    char *version; /* of the recipe's output; shown */
    char *cmdline; /* what the kernel is always given */
} BerthGuestOs;

BerthGuestOs *berth_guest_os_open(const char *folder, GError **error);
void berth_guest_os_free(BerthGuestOs *os);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthGuestOs, berth_guest_os_free)

G_END_DECLS
