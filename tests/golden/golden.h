/* Golden files: what a writer produced when somebody last looked at it. With BERTH_GOLDEN_WRITE=1 the
 * test writes the file instead of comparing; the difference is then reviewed as any other change. */
#pragma once

#include <glib.h>

static inline char *
golden_read(const char *name)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "golden", name, NULL);
    g_autoptr(GError) error = NULL;
    char *text = NULL;
    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

static inline void
golden_check(const char *name, const char *got)
{
    if (g_strcmp0(g_getenv("BERTH_GOLDEN_WRITE"), "1") == 0) {
        g_autofree char *path = g_test_build_filename(G_TEST_DIST, "golden", name, NULL);
        g_autoptr(GError) error = NULL;
        g_file_set_contents(path, got, -1, &error);
        g_assert_no_error(error);
        return;
    }
    g_autofree char *wanted = golden_read(name);
    g_assert_cmpstr(got, ==, wanted);
}
