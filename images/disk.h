/* VM disk images: what a header may say before any other program reads the file. */
#pragma once

#include <gio/gio.h>
#include <glib.h>

G_BEGIN_DECLS

/* The largest disk a guest may see. */
#define BERTH_DISK_VIRTUAL_MAX (G_GUINT64_CONSTANT(64) << 40)

typedef enum { BERTH_DISK_RAW, BERTH_DISK_QCOW2 } BerthDiskFormat;

typedef struct {
    BerthDiskFormat format;
    guint64 virtual_size; /* bytes the guest sees */
} BerthDiskInfo;

gboolean berth_disk_format_parse(const char *text, BerthDiskFormat *format, GError **error);
const char *berth_disk_format_name(BerthDiskFormat format);
gboolean berth_disk_inspect(int fd, BerthDiskFormat format, BerthDiskInfo *info, GError **error);
gboolean berth_disk_check(int fd, BerthDiskFormat format, GCancellable *cancellable,
                          BerthDiskInfo *info, GError **error);

G_END_DECLS
