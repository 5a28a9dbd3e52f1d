/* A serial console: kept open while the vessel is on, with a bounded history on disk. */
#pragma once

#include "daemon/control.h"

G_BEGIN_DECLS

typedef struct BerthConsole BerthConsole;

BerthConsole *berth_console_new(BerthControl *control, const char *uid, const char *host,
                                const char *uuid);
void berth_console_free(BerthConsole *console);
BerthStreamHandle *berth_console_attach(BerthConsole *console, gint64 history,
                                        BerthStreamPeer *peer);

G_END_DECLS
