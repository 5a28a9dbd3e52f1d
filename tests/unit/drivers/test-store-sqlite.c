/* The embedded store keeps the contract of stores. */
#include "drivers/store.h"

#include <glib/gstdio.h>

#include "tests/conformance/store.h"

static BerthStoreSubject subject;

static BerthStore *
open_at(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "state.db", NULL);
    g_autoptr(GError) error = NULL;
    BerthStore *store = berth_store_sqlite_open(path, &error);
    g_assert_no_error(error);
    return store;
}

static void
empty_folder(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_assert_cmpint(g_unlink(path), ==, 0);
    }
}

static BerthStore *
open_new(void)
{
    empty_folder(subject.folder);
    return open_at(subject.folder);
}

static BerthStore *
reopen(BerthStore *store)
{
    berth_store_free(store);
    return open_at(subject.folder);
}

static void
turn(BerthStore *store)
{
    g_main_context_iteration(NULL, TRUE);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    subject = (BerthStoreSubject){.name = "sqlite",
                                  .open = open_new,
                                  .reopen = reopen,
                                  .turn = turn,
                                  .has_backup = TRUE,
                                  .folder = g_dir_make_tmp("berth-store-XXXXXX", NULL)};
    berth_conformance_store_add(&subject);
    int result = g_test_run();
    empty_folder(subject.folder);
    g_rmdir(subject.folder);
    g_free(subject.folder);
    return result;
}
