/* Errors keep their place and remedy through copies, and map to one HTTP status each. */
#include "base/error.h"

#include <errno.h>

static void
test_keeps_pointer_and_hint_through_a_copy(void)
{
    g_autoptr(GError) error = NULL;
    berth_error_set_at(&error, BERTH_ERROR_INVALID, "/vcpus", "use 1 to 64", "vcpus is %d", 0);
    g_autoptr(GError) copy = g_error_copy(error);
    berth_error_point(copy, "/spec");
    g_assert_cmpstr(berth_error_pointer(copy), ==, "/spec/vcpus");
    g_assert_cmpstr(berth_error_pointer(error), ==, "/vcpus");
    g_assert_cmpstr(berth_error_hint(copy), ==, "use 1 to 64");
    g_assert_cmpstr(copy->message, ==, "vcpus is 0");
}

static void
test_full_disk_is_exhausted_and_retryable(void)
{
    g_autoptr(GError) error = NULL;
    berth_error_set_errno(&error, ENOSPC, "can't write '%s'", "x");
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_EXHAUSTED);
    g_assert_cmpint(berth_error_http_status(error), ==, 507);
    g_assert_true(berth_error_is_retryable(error));
}

static void
test_foreign_error_is_internal(void)
{
    g_autoptr(GError) error = g_error_new(G_FILE_ERROR, G_FILE_ERROR_IO, "disk on fire");
    g_assert_cmpint(berth_error_http_status(error), ==, 500);
    g_assert_null(berth_error_hint(error));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/error/keeps-pointer-and-hint-through-a-copy",
                    test_keeps_pointer_and_hint_through_a_copy);
    g_test_add_func("/base/error/full-disk-is-exhausted-and-retryable",
                    test_full_disk_is_exhausted_and_retryable);
    g_test_add_func("/base/error/foreign-error-is-internal", test_foreign_error_is_internal);
    return g_test_run();
}
