/* JSON from outside is read strictly and within limits. */
#include "base/json.h"

#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"

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

/* ---- the corpus: nst/JSONTestSuite ---- */

/* Well-formed documents that have no one meaning: they pass the grammar, and are refused as input. */
static const char *const ambiguous[] = {
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
    "y_object_escaped_null_in_key.json",
    NULL,
};

/* What RFC 8259 leaves open and Berth accepts; every other i_ document is refused. */
static const char *const accepted[] = {
    "i_number_double_huge_neg_exp.json", /* reads as 0 */
    "i_number_real_underflow.json",      /* reads as 0 */
    NULL,
};

typedef struct {
    guint yes, no, open;
} Tally;

static void
check_document(const char *name, const char *text, gsize size, Tally *tally)
{
    g_autoptr(GError) error = NULL, grammar = NULL;
    g_autoptr(json_t) value = berth_json_parse(text, size, &error);
    gboolean well_formed = berth_json_check(text, size, BERTH_JSON_DEPTH_MAX, &grammar);
    g_assert_true(well_formed || value == NULL);
    g_assert_true((value == NULL) == (error != NULL));
    if (error != NULL) {
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
        g_assert_null(strpbrk(error->message, "\r\n"));
    }
    gboolean wanted = name[0] == 'y' ? !g_strv_contains(ambiguous, name)
                                     : name[0] == 'i' && g_strv_contains(accepted, name);
    if (wanted != (value != NULL) || (name[0] == 'y' && !well_formed) ||
        (name[0] == 'n' && well_formed)) {
        g_test_message("%s: %s", name, error != NULL ? error->message : "accepted");
        g_test_fail();
    }
    tally->yes += name[0] == 'y' && well_formed;
    tally->no += name[0] == 'n' && value == NULL;
    tally->open += name[0] == 'i';
}

static void
check_folder(const char *path, Tally *tally)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_autofree char *text = NULL;
        gsize size;
        g_assert_true(g_file_get_contents(file, &text, &size, NULL));
        check_document(name, text, size, tally);
        g_assert_cmpint(g_unlink(file), ==, 0);
    }
    g_assert_cmpint(g_rmdir(path), ==, 0);
}

static char *
corpus_path(void)
{
    const char *corpora = g_getenv("BERTH_CORPORA"), *top = g_getenv("TOP_SRCDIR");
    return corpora != NULL ? g_build_filename(corpora, "json-test-suite.tar.xz", NULL)
                           : g_build_filename(top != NULL ? top : ".", "..", "shared", "corpora",
                                              "json-test-suite.tar.xz", NULL);
}

static void
test_corpus(void)
{
    g_autofree char *archive = corpus_path();
    g_autoptr(GError) error = NULL;
    if (!g_file_test(archive, G_FILE_TEST_EXISTS)) {
        g_test_skip("the corpus json-test-suite.tar.xz is not there; set BERTH_CORPORA");
        return;
    }
    g_autofree char *folder = g_dir_make_tmp("berth-json-XXXXXX", &error);
    g_assert_no_error(error);
    const char *argv[] = {"tar",
                          "xf",
                          archive,
                          "-C",
                          folder,
                          "--strip-components=3",
                          "json/JSONTestSuite/test_parsing",
                          NULL};
    int status;
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, &status, &error));
    g_assert_cmpint(status, ==, 0);
    Tally tally = {0};
    check_folder(folder, &tally);
    g_assert_cmpuint(tally.yes, ==, 95);
    g_assert_cmpuint(tally.no, ==, 188);
    g_assert_cmpuint(tally.open, ==, 35);
}

/* Whatever is cut or changed in a document, the grammar accepts no less than the reader. */
static void
test_grammar_agrees_with_the_reader(void)
{
    static const char seed[] = "{\"a\":[1,-2.5e+3,true,null,\"x\\u00e4\\n\"],\"b\":{\"c\":[]}}";
    static const char bytes[] = "{}[]\",:\\u0189-+.eEtfn \n\x01\xff";
    for (int i = 0; i < 200000; i++) {
        char text[sizeof seed];
        memcpy(text, seed, sizeof seed);
        for (int j = g_test_rand_int_range(1, 4); j > 0; j--) {
            text[g_test_rand_int_range(0, sizeof seed - 1)] =
                bytes[g_test_rand_int_range(0, sizeof bytes - 1)];
        }
        gsize size = (gsize)g_test_rand_int_range(1, sizeof seed);
        json_error_t problem;
        g_autoptr(json_t) value =
            json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
        gboolean well_formed = berth_json_check(text, size, BERTH_JSON_DEPTH_MAX, NULL);
        if (value != NULL && !well_formed) {
            g_test_message("jansson accepts, the grammar does not: %.*s", (int)size, text);
            g_test_fail();
        }
    }
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
    g_test_add_func("/base/json/corpus-is-accepted-and-refused-as-decided", test_corpus);
    g_test_add_func("/base/json/grammar-agrees-with-the-reader",
                    test_grammar_agrees_with_the_reader);
    return g_test_run();
}
