/* See folder.h. */
#include "tests/folder.h"

#include <glib/gstdio.h>
#include <unistd.h>

void
folder_remove(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;
    while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK)) {
            folder_remove(child);
        } else {
            unlink(child);
        }
    }
    g_rmdir(path);
}
