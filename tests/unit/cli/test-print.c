/* Tables have virsh's shape, and nothing in any output acts on a terminal. */
#include "cli/print.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/escape.h"
#include "cli/log-stream.h"
#include "cli/placement.h"
#include "cli/resolve.h"
#include "cli/yaml.h"
#include "model/kinds.h"

/* Byte for byte what virsh 9.0 prints for its test driver. */
static void
test_tables_are_as_virsh_draws_them(void)
{
    static const char *const titles[] = {"Id", "Name", "State", NULL};
    static const char *const row[] = {"1", "test", "running"};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    berth_table_add(table, row);
    g_autofree char *text = berth_table_format(table);
    g_assert_cmpstr(text, ==,
                    " Id   Name   State\n"
                    "----------------------\n"
                    " 1    test   running\n"
                    "\n");
}

static void
test_wide_characters_keep_columns(void)
{
    static const char *const titles[] = {"A", "B", NULL};
    static const char *const rows[][2] = {{"\u6e2f", "x"}, {"e\u0301", "y"}, {NULL, ""}};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        berth_table_add(table, rows[i]);
    }
    g_autofree char *text = berth_table_format(table);
    g_assert_cmpstr(text, ==,
                    " A    B\n"
                    "---------\n"
                    " \u6e2f   x\n"
                    " e\u0301    y\n"
                    " -    -\n"
                    "\n");
}

static void
test_escapes_what_terminals_obey(void)
{
    static const char *const pairs[][2] = {
        {"plain", "plain"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"a\nb\tc\r", "a\\nb\\tc\\r"},
        {"\x7f\x01", "\\x7f\\x01"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"},
        {"\u202egpj.exe", "\\u202egpj.exe"},
        {"a\u200bb", "a\\u200bb"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"caf\u00e9 \u6e2f", "caf\u00e9 \u6e2f"},
        {"\U000e0041", "\\U000e0041"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *safe = berth_escape_text(pairs[i][0]);
        g_assert_cmpstr(safe, ==, pairs[i][1]);
    }
}

static void
assert_harmless(const char *text)
{
    g_assert_true(g_utf8_validate(text, -1, NULL));
    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        g_assert_true(c == '\n' || !berth_escape_is_unsafe(c));
    }
}

/* One text through every way out: table, facts, JSON and YAML, which must also keep the value. */
static void
check_text(const char *text)
{
    static const char *const titles[] = {"Text", NULL};
    const char *cells[] = {text};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    berth_table_add(table, cells);
    g_autofree char *drawn = berth_table_format(table);
    assert_harmless(drawn);
    g_auto(GStrv) lines = g_strsplit(drawn, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 5); /* title, dashes, row, empty, end */
    g_autoptr(BerthFacts) facts = berth_facts_new();
    berth_facts_add(facts, "Text", "%s", text);
    g_autofree char *told = berth_facts_format(facts);
    assert_harmless(told);

    g_autoptr(json_t) value = json_pack("{s:s, s:[s]}", "value", text, "list", text);
    g_autoptr(json_t) as_key = json_pack("{s:s}", *text != '\0' ? text : "k", "v");
    json_object_set(value, "key", as_key);
    g_autofree char *json = berth_print_value(value, BERTH_OUTPUT_JSON);
    assert_harmless(json);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) again = berth_json_parse(json, strlen(json), &error);
    g_assert_no_error(error);
    g_assert_true(json_equal(value, again));
    g_autofree char *yaml = berth_print_value(value, BERTH_OUTPUT_YAML);
    assert_harmless(yaml);
    g_autoptr(json_t) documents = berth_yaml_parse(yaml, strlen(yaml), &error);
    g_assert_no_error(error);
    g_assert_true(json_equal(value, json_array_get(documents, 0)));
}

static void
test_naughty_strings_stay_texts(void)
{
    const char *given = g_getenv("BERTH_CORPORA"), *source = g_getenv("TOP_SRCDIR");
    g_autofree char *archive = given != NULL
                                   ? g_build_filename(given, "naughty-strings.tar.xz", NULL)
                                   : g_build_filename(source != NULL ? source : ".", "..", "shared",
                                                      "corpora", "naughty-strings.tar.xz", NULL);
    if (!g_file_test(archive, G_FILE_TEST_EXISTS)) {
        g_autofree char *why = g_strdup_printf("%s is not there", archive);
        g_test_skip(why);
        return;
    }
    const char *words[] = {"tar", "-xJOf", archive, "strings/blns/blns.json", NULL};
    g_autofree char *text = NULL;
    g_assert_true(g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &text,
                               NULL, NULL, NULL));
    g_autoptr(json_t) strings = json_loads(text, JSON_ALLOW_NUL, NULL);
    g_assert_cmpuint(json_array_size(strings), >, 500);
    gsize i;
    json_t *string;
    json_array_foreach (strings, i, string) {
        check_text(json_string_value(string));
    }
    check_text("\x1b]0;title\x07");
    check_text("\u202e\u2066");
    check_text("\xc2\x9b");
}

static void
test_logs_on_terminals_keep_colours_alone(void)
{
    static const char *const pairs[][2] = {
        {"\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n"},
        {"\x1b]0;title\x07", "\\x1b]0;title\\x07"},
        {"\x1b[2J\x1b[H", "\\x1b[2J\\x1b[H"},
        {"a\r\nb\rc", "a\nb\\x0dc"},
        {"tab\there", "tab\there"},
        {"\xff", "\\xff"},
        {"\x1b[", "\\x1b["},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *clean = berth_log_clean(pairs[i][0], strlen(pairs[i][0]));
        g_assert_cmpstr(clean, ==, pairs[i][1]);
    }
    g_autofree char *nul = berth_log_clean("a\0b", 3);
    g_assert_cmpstr(nul, ==, "a\\x00b");
}

static void
test_left_out_numbers_have_their_defaults(void)
{
    static const BerthColumn columns[] = {
        {"vCPUs", "/spec/vcpus"}, {"Memory", "/spec/memory_mib"}, {"Other", "/spec/other"}, {NULL}};
    g_autoptr(json_t) pods = json_pack("[{s:s, s:{}}, {s:s, s:{s:i}}]", "kind", "Pod", "spec",
                                       "kind", "Pod", "spec", "vcpus", 7);
    g_autofree char *text = berth_print_objects(pods, columns, FALSE, 0);
    g_autofree char *memory =
        berth_format_mib(berth_schema_find(berth_kind_pod.spec, "memory_mib")->fallback);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_assert_true(g_str_has_prefix(lines[2], " 1 ") && strstr(lines[2], memory) != NULL);
    g_assert_true(g_str_has_prefix(lines[3], " 7 ") && strstr(lines[3], memory) != NULL);
    g_assert_true(g_str_has_suffix(lines[2], "-"));
}

static void
test_columns_come_from_the_kind(void)
{
    g_autoptr(json_t) host = json_pack(
        "{s:s, s:{s:s, s:s}, s:{s:s}, s:{s:s, s:{s:i, s:i}, s:{s:i, s:i}, s:i,"
        " s:[{s:s, s:b}, {s:s, s:b}]}}",
        "kind", "Host", "metadata", "name", "h1", "created", "2026-11-24T00:00:00Z", "spec", "uri",
        "qemu:///system", "status", "phase", "Ready", "used", "vcpus", 2, "memory_mib", 1536,
        "free", "vcpus", 6, "memory_mib", 2048, "pods", 3, "conditions", "type", "Ready", "value",
        TRUE, "type", "Schedulable", "value", FALSE);
    g_autoptr(json_t) hosts = json_pack("[O]", host);
    gint64 now_us = G_GINT64_CONSTANT(1795482000000000); /* 2026-11-24T01:00:00Z */
    g_autofree char *text = berth_print_objects(hosts, berth_kind_host.columns, FALSE, now_us);
    g_assert_nonnull(
        strstr(text, " Name   State   Open   vCPUs used   free   Memory used   free "));
    g_assert_nonnull(strstr(text, " h1     Ready   no "));
    g_assert_nonnull(strstr(text, "1.5 GiB"));
    g_assert_nonnull(strstr(text, "2 GiB"));
    g_assert_null(strstr(text, "qemu:///system"));
    g_autofree char *wide = berth_print_objects(hosts, berth_kind_host.columns, TRUE, now_us);
    g_assert_nonnull(strstr(wide, "qemu:///system"));
    g_assert_nonnull(strstr(wide, "60m"));
}

static void
test_formats_ages_and_sizes(void)
{
    gint64 now_us = G_GINT64_CONSTANT(1795482000000000);
    static const char *const ages[][2] = {{"2026-11-24T00:59:30Z", "30s"},
                                          {"2026-11-24T00:30:00Z", "30m"},
                                          {"2026-11-23T20:00:00Z", "5h"},
                                          {"2026-11-14T01:00:00Z", "10d"},
                                          {"2026-11-24T02:00:00Z", "0s"}};
    for (gsize i = 0; i < G_N_ELEMENTS(ages); i++) {
        g_autofree char *age = berth_format_age(ages[i][0], now_us);
        g_assert_cmpstr(age, ==, ages[i][1]);
    }
    g_assert_null(berth_format_age("yesterday", now_us));
    g_autofree char *small = berth_format_mib(256), *even = berth_format_mib(4096);
    g_autofree char *odd = berth_format_mib(1536);
    g_assert_cmpstr(small, ==, "256 MiB");
    g_assert_cmpstr(even, ==, "4 GiB");
    g_assert_cmpstr(odd, ==, "1.5 GiB");
}

static void
test_references_compare_as_registries_know_them(void)
{
    static const char *const pairs[][2] = {
        {"nginx", "docker.io/library/nginx:latest"},
        {"nginx:1.27", "docker.io/library/nginx:1.27"},
        {"user/app", "docker.io/user/app:latest"},
        {"localhost/app", "localhost/app:latest"},
        {"localhost:5000/app:2", "localhost:5000/app:2"},
        {"ghcr.io/a/b@sha256:00", "ghcr.io/a/b@sha256:00"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *full = berth_reference_normalise(pairs[i][0]);
        g_assert_cmpstr(full, ==, pairs[i][1]);
    }
}

#define REFUSAL(host, code, need, short_by)                                                        \
    "{\"host\": \"" host "\", \"code\": \"" code "\", \"dimension\": \"" code                      \
    "_mib\", \"need\": " #need ", \"have\": 0, \"short_by\": " #short_by "}"

static void
assert_refusals(const char *refusals, gboolean wide, const char *rows)
{
    g_autofree char *json = g_strdup_printf("{\"refusals\": [%s]}", refusals);
    g_autoptr(json_t) placement = berth_json_parse(json, strlen(json), NULL);
    g_autofree char *table = berth_placement_refusals(placement, wide);
    g_assert_true(g_str_has_suffix(table, rows));
}

static void
test_hosts_that_say_the_same_share_a_row(void)
{
#define SAME(host) REFUSAL(host, "memory", 512, 512)
    assert_refusals(SAME("h10") "," SAME("h9"), FALSE,
                    " all 2   memory       -       512 MiB   0 MiB   512 MiB\n\n");
    assert_refusals(SAME("h10") "," SAME("h9"), TRUE,
                    " h9     memory       -       512 MiB   0 MiB   512 MiB\n"
                    " h10    memory       -       512 MiB   0 MiB   512 MiB\n\n");
    assert_refusals(SAME("h10") "," REFUSAL("h2", "memory", 512,
                                            8) "," SAME("h1") "," SAME("h3") "," SAME("h4"),
                    FALSE,
                    " h1, h3, h4, 1 more   memory       -       512 MiB   0 MiB   512 MiB\n"
                    " h2                   memory       -       512 MiB   0 MiB   8 MiB\n\n");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/print/tables-are-as-virsh-draws-them",
                    test_tables_are_as_virsh_draws_them);
    g_test_add_func("/cli/print/left-out-numbers-have-their-defaults",
                    test_left_out_numbers_have_their_defaults);
    g_test_add_func("/cli/print/wide-characters-keep-columns", test_wide_characters_keep_columns);
    g_test_add_func("/cli/print/escapes-what-terminals-obey", test_escapes_what_terminals_obey);
    g_test_add_func("/cli/print/naughty-strings-stay-texts", test_naughty_strings_stay_texts);
    g_test_add_func("/cli/print/logs-on-terminals-keep-colours-alone",
                    test_logs_on_terminals_keep_colours_alone);
    g_test_add_func("/cli/print/columns-come-from-the-kind", test_columns_come_from_the_kind);
    g_test_add_func("/cli/print/hosts-that-say-the-same-share-a-row",
                    test_hosts_that_say_the_same_share_a_row);
    g_test_add_func("/cli/print/formats-ages-and-sizes", test_formats_ages_and_sizes);
    g_test_add_func("/cli/print/references-compare-as-registries-know-them",
                    test_references_compare_as_registries_know_them);
    return g_test_run();
}
