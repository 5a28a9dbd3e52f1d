/* Sets of CPUs as text: what is read is what is written, and nothing else is taken. */
#include "base/error.h"
#include "model/cpu-set.h"

static void
test_read_and_written(void)
{
    static const struct {
        const char *text, *written;
        guint count;
    } cases[] = {
        {"0", "0", 1},
        {"4-15", "4-15", 12},
        {"7,1,3-4,2", "1-4,7", 5},
        {"2,4-7,^5", "2,4,6-7", 4},
        {"62-66,4095", "62-66,4095", 6},
        {"3,^3", "", 0},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        BerthCpuSet set;
        g_autoptr(GError) error = NULL;
        g_assert_true(berth_cpu_set_parse(cases[i].text, &set, &error));
        g_assert_no_error(error);
        g_autofree char *written = berth_cpu_set_format(&set);
        g_assert_cmpstr(written, ==, cases[i].written);
        g_assert_cmpuint(berth_cpu_set_count(&set), ==, cases[i].count);
    }
}

static void
test_anything_else_is_refused(void)
{
    static const char *const texts[] = {"",     "-",  "4-",     "-4",     "7-4",   "4,",  ",4",
                                        "4,,5", "^",  "4-^5",   "^4-5",   "4 - 5", "4;5", "0x4",
                                        "4096", "+4", "00001a", "4-15\n", "4-5-6", "all"};
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        BerthCpuSet set = {{7}};
        g_autoptr(GError) error = NULL;
        g_test_message("'%s'", texts[i]);
        g_assert_false(berth_cpu_set_parse(texts[i], &set, &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
        g_assert_cmpuint(set.words[0], ==, 7);
    }
}

static void
test_sets_meet(void)
{
    BerthCpuSet a, b;
    g_assert_true(berth_cpu_set_parse("0-7", &a, NULL));
    g_assert_true(berth_cpu_set_parse("6-100", &b, NULL));
    BerthCpuSet both = a, all = a, rest = a;
    berth_cpu_set_keep(&both, &b);
    berth_cpu_set_join(&all, &b);
    berth_cpu_set_take_out(&rest, &b);
    g_autofree char *x = berth_cpu_set_format(&both), *y = berth_cpu_set_format(&all);
    g_autofree char *z = berth_cpu_set_format(&rest);
    g_assert_cmpstr(x, ==, "6-7");
    g_assert_cmpstr(y, ==, "0-100");
    g_assert_cmpstr(z, ==, "0-5");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/model/cpu-set/read-and-written", test_read_and_written);
    g_test_add_func("/model/cpu-set/anything-else-is-refused", test_anything_else_is_refused);
    g_test_add_func("/model/cpu-set/sets-meet", test_sets_meet);
    return g_test_run();
}
