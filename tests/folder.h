/* Folders that tests make for themselves. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Removes @path with all that is below it; symbolic links are not followed. */
void folder_remove(const char *path);

G_END_DECLS
