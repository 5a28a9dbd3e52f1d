/* JSON from outside is read strictly and within limits. */
#include "base/error.h"
#include "base/json.h"

static void
assert_refused(const char *text, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) value = berth_json_parse(text, strlen(text), &error);
    g_assert_null(value);
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, part));
}

static void
test_refuses_duplicate_keys(void)
{
    assert_refused("{\"a\":1,\"a\":2}", "duplicate");
}

static void
test_refuses_depth_before_parsing(void)
{
    g_autofree char *deep = g_strnfill(100000, '[');
    assert_refused(deep, "deeper than 64");
}

static void
test_brackets_in_strings_are_not_depth(void)
{
    g_autofree char *brackets = g_strnfill(1000, '[');
    g_autofree char *text = g_strdup_printf("[\"\\\"%s\"]", brackets);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) value = berth_json_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    g_assert_nonnull(value);
}

static void
test_refuses_size_over_the_limit(void)
{
    g_autofree char *spaces = g_strnfill(BERTH_JSON_SIZE_MAX + 1, ' ');
    assert_refused(spaces, "larger than");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/json/refuses-duplicate-keys", test_refuses_duplicate_keys);
    g_test_add_func("/base/json/refuses-depth-before-parsing", test_refuses_depth_before_parsing);
    g_test_add_func("/base/json/brackets-in-strings-are-not-depth",
                    test_brackets_in_strings_are_not_depth);
    g_test_add_func("/base/json/refuses-size-over-the-limit", test_refuses_size_over_the_limit);
    return g_test_run();
}
