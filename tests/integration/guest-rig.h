/* A guest under plain QEMU, its end of the guest link, and what was heard over it. */
#pragma once

#include "drivers/guest-link.h"

#define RIG_CONTAINERS 9

/* Of one container. */
typedef struct {
    GString *out, *err;
    BerthContainerState state;
    guint32 run;
    int code;
    gboolean oom;
    char *text;
    guint64 sequence;
    gint64 first_byte_us;
} Heard;

typedef struct {
    const char *machine, *kernel, *initrd, *image;
    char *folder, *socket_path, *console_path;
    GPid qemu;
    gboolean qemu_ended;
    gint64 started_us, ready_us;
    BerthLink *link;
    BerthChannel *channel; /* of the link, while it is open */
    gboolean ready, configured, closed, usage_came;
    guint readies, brokens;
    BerthLinkHello hello;
    Heard containers[RIG_CONTAINERS];
    GString *exec_out, *exec_err;
    gboolean exec_started, exec_ended;
    int exec_code;
    char *exec_error;
    BerthLinkUsage usage[RIG_CONTAINERS];
} Rig;

typedef gboolean (*Condition)(Rig *rig, gpointer data);

/**
 * rig_new:
 * @machine: "q35" or "microvm"
 *
 * Starts QEMU, which ends with this process, and listens to its guest. The texts are borrowed.
 */
Rig *rig_new(const char *machine, const char *kernel, const char *initrd, const char *image);

/** Ends QEMU if it runs, and removes its files. */
void rig_free(Rig *rig);

/** Runs the main loop until @condition holds. Returns: FALSE after @seconds. */
gboolean rig_wait(Rig *rig, Condition condition, gpointer data, guint seconds);

/** A condition: QEMU has ended. */
gboolean rig_has_ended(Rig *rig, gpointer data);
