/* YAML becomes the JSON value that YAML 1.2 says, or is refused by a stated limit. */
#include "cli/yaml.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"

static json_t *
parse(const char *text, GError **error)
{
    return berth_yaml_parse(text, strlen(text), error);
}

static void
assert_reads(const char *yaml, const char *json)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) value = parse(yaml, &error);
    g_assert_no_error(error);
    g_autofree char *text = berth_json_format(value);
    g_assert_cmpstr(text, ==, json);
}

static void
assert_refused(const char *yaml, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) value = parse(yaml, &error);
    g_assert_null(value);
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    if (strstr(error->message, part) == NULL) {
        g_error("'%s' does not say '%s'", error->message, part);
    }
}

static void
test_reads_the_core_schema(void)
{
    assert_reads("[null, ~, Null, true, False, 0, -7, +3, 0x1F, 0o17]",
                 "[[null,null,null,true,false,0,-7,3,31,15]]");
    assert_reads(
        "[1.5, -.5e3, 1e2, '1', \"true\", no, 0b1, 1_000, 12:30, 2001-01-01]",
        "[[1.5,-500.0,100.0,\"1\",\"true\",\"no\",\"0b1\",\"1_000\",\"12:30\",\"2001-01-01\"]]");
    assert_reads("!!str 12", "[\"12\"]");
    assert_reads("a: |\n  x\n  y\nb: >-\n  x\n  y\n", "[{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}]");
    assert_reads("a: 1\n---\nb: 2\n...\n", "[{\"a\":1},{\"b\":2}]");
    assert_reads("", "[]");
}

static void
test_expands_aliases(void)
{
    assert_reads("a: &x {b: [1]}\nc: *x\nd: *x\n",
                 "[{\"a\":{\"b\":[1]},\"c\":{\"b\":[1]},\"d\":{\"b\":[1]}}]");
    assert_refused("a: *x", "no anchor");
    assert_refused("a: &x 1\n---\nb: *x", "no anchor");
    assert_refused("&x [*x]", "inside of what it stands for");
    assert_refused("&x {a: *x}", "inside of what it stands for");
}

/* Nine levels of nine aliases: 387 million values in 300 bytes. */
static void
test_refuses_alias_bombs(void)
{
    g_autoptr(GString) bomb = g_string_new("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (char level = 'b'; level <= 'i'; level++) {
        char before = level - 1;
        g_string_append_printf(bomb, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", level,
                               level, before, before, before, before, before, before, before,
                               before, before);
    }
    gint64 began_us = g_get_monotonic_time();
    assert_refused(bomb->str, "once aliases are expanded");
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 2 * G_USEC_PER_SEC);
}

static void
test_refuses_many_aliases_and_depth_and_size(void)
{
    g_autoptr(GString) many = g_string_new("- &a x\n");
    for (int i = 0; i <= BERTH_YAML_ALIASES_MAX; i++) {
        g_string_append(many, "- *a\n");
    }
    assert_refused(many->str, "aliases");
    g_autofree char *deep = g_strnfill(100000, '[');
    assert_refused(deep, "deeper than 64");
    g_autoptr(GString) maps = g_string_new(NULL);
    for (int i = 0; i < 100; i++) {
        g_string_append_printf(maps, "%*sk:\n", i, "");
    }
    assert_refused(maps->str, "deeper than 64");
    g_autofree char *long_text = g_strnfill(BERTH_YAML_SIZE_MAX + 1, ' ');
    assert_refused(long_text, "larger than");
    g_autoptr(GString) documents = g_string_new(NULL);
    for (int i = 0; i <= BERTH_YAML_DOCUMENTS_MAX; i++) {
        g_string_append(documents, "--- 1\n");
    }
    assert_refused(documents->str, "documents");
}

static void
test_refuses_what_json_has_not(void)
{
    assert_refused("{[a]: b}", "key");
    assert_refused("{? : b}", "empty");
    assert_refused("{a: 1, a: 2}", "twice");
    assert_refused("{a: 1, 'a': 2}", "twice");
    assert_refused("a: .nan", "no JSON counterpart");
    assert_refused("a: -.inf", "no JSON counterpart");
    assert_refused("a: !!binary aGk=", "tag");
    assert_refused("a: !!python/object:os.system x", "tag");
    assert_refused("a: !!int abc", "tag");
    assert_refused("a: &b {c: 1}\nd:\n  <<: *b\n", "merge keys");
    assert_refused("a: 99999999999999999999", "64 bits");
    assert_refused("a: 1e999", "too large");
    assert_refused("a: \"x\\0y\"", "NUL");
    assert_refused("a: \"\xff\"", "line");
}

static void
test_errors_name_line_and_column(void)
{
    assert_refused("a: 1\nb: [1, 2\nc: 3\n", "line 3");
    assert_refused("a: 1\nb: *x\n", "line 2, column 4");
}

/* ---- writing ---- */

static void
assert_round_trip(const json_t *value)
{
    g_autofree char *text = berth_yaml_format(value);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) documents = parse(text, &error);
    if (error != NULL || !json_equal(json_array_get(documents, 0), value)) {
        g_error("%s\nis read as something else: %s", text,
                error != NULL ? error->message : "another value");
    }
}

static void
test_writes_what_it_reads(void)
{
    static const char *const texts[] = {"",
                                        "yes",
                                        "No",
                                        "null",
                                        "~",
                                        "1",
                                        "1.5",
                                        "0x10",
                                        "-",
                                        "- a",
                                        "a: b",
                                        "a:",
                                        "# a",
                                        "a #b",
                                        " a",
                                        "a ",
                                        "a\nb",
                                        "a\nb\n",
                                        "a\n\n",
                                        "\n",
                                        "\ta",
                                        "'",
                                        "\"",
                                        "\\",
                                        "@a",
                                        "`a",
                                        "%a",
                                        "!a",
                                        "&a",
                                        "*a",
                                        "?",
                                        "? a",
                                        "|",
                                        ">",
                                        "{a}",
                                        "[a]",
                                        "a, b",
                                        "\x1b[31m",
                                        "\u202e",
                                        "\xc2\x85"
                                        "x",
                                        "\u2028",
                                        "caf\u00e9",
                                        "12:30",
                                        "2001-01-01",
                                        "=",
                                        "<<",
                                        "...",
                                        "---",
                                        "--- a",
                                        "a\n---\nb\n",
                                        "  a\n b\n",
                                        "a\n\nb\n",
                                        "\U000e0001",
                                        "\ufeff",
                                        "true\n",
                                        "a\r\nb\n"};
    g_autoptr(json_t) list = json_array();
    g_autoptr(json_t) object = json_object();
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(json_t) one = json_string(texts[i]);
        assert_round_trip(one);
        json_array_append(list, one);
        json_object_set(object, *texts[i] != '\0' && strcmp(texts[i], "<<") != 0 ? texts[i] : "x",
                        one);
    }
    assert_round_trip(list);
    assert_round_trip(object);
    g_autoptr(json_t) nested = json_pack("{s:O, s:[O, [], {}, [O]], s:[[[i]]], s:n, s:{s:{}}}", "a",
                                         object, "b", object, list, "c", 1, "d", "e", "f");
    assert_round_trip(nested);
}

/* ---- the public test suite ---- */

/* The suite writes what can't be seen in visible characters. */
static char *
unmark(const char *text)
{
    static const char *const marks[][2] = {
        {"\u2423", " "},
        {"\u2014\u2014\u2014\u2014\u00bb", "\t"},
        {"\u2014\u2014\u2014\u00bb", "\t"},
        {"\u2014\u2014\u00bb", "\t"},
        {"\u2014\u00bb", "\t"},
        {"\u00bb", "\t"},
        {"\u2190", "\r"},
        {"\u21d4", "\ufeff"},
        {"\u21b5", ""},
        {"\u220e\n", ""},
    };
    g_autoptr(GString) out = g_string_new(text);
    for (gsize i = 0; i < G_N_ELEMENTS(marks); i++) {
        g_string_replace(out, marks[i][0], marks[i][1], 0);
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

/* 450 and 450.0 are one number to the suite. */
static gboolean
is_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        return fabs(json_number_value(a) - json_number_value(b)) < 1e-9;
    }
    if (json_typeof(a) != json_typeof(b)) {
        return FALSE;
    }
    if (json_is_array(a)) {
        gsize size = json_array_size(a);
        for (gsize i = 0; i < size && size == json_array_size(b); i++) {
            if (!is_same(json_array_get(a, i), json_array_get(b, i))) {
                return FALSE;
            }
        }
        return size == json_array_size(b);
    }
    if (json_is_object(a)) {
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)a, key, value) {
            const json_t *other = json_object_get(b, key);
            if (other == NULL || !is_same(value, other)) {
                return FALSE;
            }
        }
        return json_object_size(a) == json_object_size(b);
    }
    return json_equal(a, b);
}

/* The JSON values of a case, one behind the other. */
static json_t *
read_expected(const char *text)
{
    json_t *all = json_array();
    gsize at = 0, size = strlen(text);
    while (at < size) {
        json_error_t problem;
        json_t *value =
            json_loadb(text + at, size - at,
                       JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &problem);
        if (value == NULL) {
            break;
        }
        json_array_append_new(all, value);
        at += (gsize)problem.position;
    }
    return all;
}

typedef struct {
    guint same, refused, rejected_bad, lenient, unspecified, wrong;
    GHashTable *limits; /* a limit's text -> how often */
} Tally;

/* Why a valid case may be refused. What libyaml says is the limit "YAML as libyaml 0.2.5 reads it". */
static const char *
limit_of(const char *message)
{
    static const char *const limits[] = {
        "a key must be",       "a key must not be", "is there twice", "is not supported",
        "no JSON counterpart", "an alias used as",  "NUL character"};
    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (strstr(message, limits[i]) != NULL) {
            return limits[i];
        }
    }
    return "not read by libyaml";
}

static void
check_case(const char *id, const json_t *test, const char *yaml, const char *json, gboolean bad,
           Tally *tally)
{
    g_autofree char *text = unmark(yaml);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) documents = parse(text, &error);
    if (bad) {
        /* libyaml lets some broken documents pass; what they then mean is not specified. */
        *(documents == NULL ? &tally->rejected_bad : &tally->lenient) += 1;
        return;
    }
    if (documents == NULL) {
        const char *limit = limit_of(error->message);
        guint count = GPOINTER_TO_UINT(g_hash_table_lookup(tally->limits, limit));
        g_hash_table_insert(tally->limits, (gpointer)limit, GUINT_TO_POINTER(count + 1));
        tally->refused++;
        return;
    }
    if (json == NULL) {
        tally->unspecified++;
        return;
    }
    g_autoptr(json_t) expected = read_expected(json);
    if (is_same(documents, expected)) {
        tally->same++;
        return;
    }
    g_autofree char *got = berth_json_format(documents);
    g_autofree char *want = berth_json_format(expected);
    g_test_message("%s: %s\n  read %s\n  want %s", id, berth_json_string(test, "name"), got, want);
    tally->wrong++;
}

static void
check_file(const char *path, const char *id, Tally *tally)
{
    g_autofree char *text = NULL;
    gsize size;
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_get_contents(path, &text, &size, &error));
    g_autoptr(json_t) documents = berth_yaml_parse(text, size, &error);
    g_assert_no_error(error);
    const char *yaml = NULL, *json = NULL;
    gboolean bad = FALSE;
    gsize i;
    json_t *test;
    /* Later cases of a file say only what differs from the one before. */
    json_array_foreach (json_array_get(documents, 0), i, test) {
        json_t *fail = json_object_get(test, "fail"), *skip = json_object_get(test, "skip");
        const char *own = berth_json_string(test, "yaml");
        if (own != NULL) {
            yaml = own;
            json = NULL;
            bad = FALSE;
        }
        json_t *expected = json_object_get(test, "json");
        json = json_is_string(expected) ? json_string_value(expected)
               : expected != NULL       ? NULL
                                        : json;
        bad = fail != NULL ? json_is_true(fail) : bad;
        if (yaml != NULL && !json_is_true(skip)) {
            check_case(id, test, yaml, json, bad, tally);
        }
    }
}

/* Unpacks the archive into a new folder. NULL: the test was skipped. */
static char *
unpack(const char *name)
{
    const char *given = g_getenv("BERTH_CORPORA"), *source = g_getenv("TOP_SRCDIR");
    g_autofree char *folder = given != NULL ? g_strdup(given)
                                            : g_build_filename(source != NULL ? source : ".", "..",
                                                               "shared", "corpora", NULL);
    g_autofree char *archive = g_build_filename(folder, name, NULL);
    if (!g_file_test(archive, G_FILE_TEST_EXISTS)) {
        g_autofree char *why = g_strdup_printf("%s is not there", archive);
        g_test_skip(why);
        return NULL;
    }
    char *target = g_dir_make_tmp("berth-corpus-XXXXXX", NULL);
    const char *words[] = {"tar", "-xJf", archive, "-C", target, NULL};
    int status;
    g_assert_true(g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, &status, NULL));
    g_assert_true(g_spawn_check_wait_status(status, NULL));
    return target;
}

static void
remove_folder(const char *path)
{
    const char *words[] = {"rm", "-rf", "--", path, NULL};
    g_assert_true(g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, NULL, NULL));
}

static void
test_agrees_with_the_test_suite(void)
{
    g_autofree char *target = unpack("yaml-test-suite.tar.xz");
    if (target == NULL) {
        return;
    }
    g_autofree char *folder = g_build_filename(target, "yaml", "yaml-test-suite", "src", NULL);
    Tally tally = {.limits = g_hash_table_new(g_str_hash, g_str_equal)};
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_assert_nonnull(dir);
    const char *name;
    guint files = 0;
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        check_file(path, name, &tally);
        files++;
    }
    g_test_message(
        "%u files: %u the same value, %u refused by a limit, %u without a JSON value, %u "
        "broken ones refused, %u broken ones that libyaml reads, %u wrong",
        files, tally.same, tally.refused, tally.unspecified, tally.rejected_bad, tally.lenient,
        tally.wrong);
    GHashTableIter iter;
    gpointer limit, count;
    g_hash_table_iter_init(&iter, tally.limits);
    while (g_hash_table_iter_next(&iter, &limit, &count)) {
        g_test_message("  limit '%s': %u", (char *)limit, GPOINTER_TO_UINT(count));
    }
    g_hash_table_unref(tally.limits);
    remove_folder(target);
    g_assert_cmpuint(files, >, 300);
    g_assert_cmpuint(tally.same, >, 200);
    g_assert_cmpuint(tally.wrong, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/yaml/reads-the-core-schema", test_reads_the_core_schema);
    g_test_add_func("/cli/yaml/expands-aliases", test_expands_aliases);
    g_test_add_func("/cli/yaml/refuses-alias-bombs", test_refuses_alias_bombs);
    g_test_add_func("/cli/yaml/refuses-many-aliases-and-depth-and-size",
                    test_refuses_many_aliases_and_depth_and_size);
    g_test_add_func("/cli/yaml/refuses-what-json-has-not", test_refuses_what_json_has_not);
    g_test_add_func("/cli/yaml/errors-name-line-and-column", test_errors_name_line_and_column);
    g_test_add_func("/cli/yaml/writes-what-it-reads", test_writes_what_it_reads);
    g_test_add_func("/cli/yaml/agrees-with-the-test-suite", test_agrees_with_the_test_suite);
    return g_test_run();
}
