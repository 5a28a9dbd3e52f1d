/* File descriptors on the main loop, any number of them behind one epoll; see alarm.h for why. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Tells on the default main context what a descriptor is ready for, as long as it is. */
typedef struct BerthFdWatch BerthFdWatch;
typedef void (*BerthFdReady)(GIOCondition ready, gpointer user_data);

BerthFdWatch *berth_fd_watch_new(int fd, GIOCondition wanted, BerthFdReady ready,
                                 gpointer user_data);
void berth_fd_watch_set(BerthFdWatch *watch, GIOCondition wanted);
void berth_fd_watch_free(BerthFdWatch *watch);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthFdWatch, berth_fd_watch_free)

G_END_DECLS
