/* Tables, formats, merge patch, label selectors, and that every kind's tables are complete. */
#include "model/kinds.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "model/address.h"

static json_t *
parse(const char *quoted)
{
    g_autofree char *text = g_strdelimit(g_strdup(quoted), "'", '"');
    g_autoptr(GError) error = NULL;
    json_t *json = berth_json_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    return json;
}

/* ---- a table of every type ---- */

typedef struct {
    char *name;
    gint64 count;
} Part;

typedef struct {
    gboolean flag;
    gint64 number, free_number;
    char *text, *choice, *address;
    int mode;
    char **list;
    json_t *map, *counts, *any;
    Part part;
    GPtrArray *parts;
} Thing;

static const char *const modes[] = {"Fast", "Slow", NULL};
static const BerthField part_fields[] = {
    BERTH_FIELD(Part, name, STRING, .required = TRUE, .format = BERTH_FORMAT_NAME,
                .mutability = BERTH_MUTABLE_NEVER, .doc = "Name."),
    BERTH_FIELD(Part, count, INT, .fallback = 2, .minimum = 1, .maximum = 9, .unit = "MiB",
                .doc = "Count."),
};
static const BerthSchema part_schema = BERTH_SCHEMA("Part", Part, part_fields, "A part.");
static const BerthField thing_fields[] = {
    BERTH_FIELD(Thing, flag, BOOL, .fallback = TRUE, .doc = "Flag."),
    BERTH_FIELD(Thing, number, INT, .fallback = 5, .minimum = -3, .maximum = 7, .doc = "Number."),
    BERTH_FIELD(Thing, free_number, INT, .doc = "Any."),
    BERTH_FIELD(Thing, text, STRING, .fallback_text = "x", .minimum = 1, .maximum = 4,
                .doc = "Text."),
    BERTH_FIELD(Thing, choice, STRING, .choices = modes, .doc = "Choice."),
    BERTH_FIELD(Thing, address, STRING, .format = BERTH_FORMAT_IP, .doc = "Address."),
    BERTH_FIELD(Thing, mode, ENUM, .choices = modes, .fallback = 1,
                .mutability = BERTH_MUTABLE_NEVER, .doc = "Mode."),
    BERTH_FIELD(Thing, list, STRINGS, .maximum = 2, .format = BERTH_FORMAT_NAME, .doc = "List."),
    BERTH_FIELD(Thing, map, MAP, .maximum = 2, .doc = "Map."),
    BERTH_FIELD(Thing, counts, COUNTS, .minimum = 1, .maximum = 9, .doc = "Counts."),
    BERTH_FIELD(Thing, any, JSON, .doc = "Any."),
    BERTH_FIELD(Thing, part, OBJECT, .schema = &part_schema, .doc = "Part."),
    BERTH_FIELD(Thing, parts, OBJECTS, .schema = &part_schema, .maximum = 3, .doc = "Parts."),
};
static const BerthSchema thing_schema = BERTH_SCHEMA("Thing", Thing, thing_fields, "A thing.");

static void
test_defaults(void)
{
    g_autoptr(GError) error = NULL;
    Thing *thing = berth_schema_read(&thing_schema, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(thing->flag);
    g_assert_cmpint(thing->number, ==, 5);
    g_assert_cmpstr(thing->text, ==, "x");
    g_assert_cmpint(thing->mode, ==, 1);
    g_assert_cmpint(thing->part.count, ==, 2);
    g_assert_null(thing->list);
    g_assert_null(thing->parts);
    berth_schema_free(&thing_schema, thing);
}

static void
test_reads_and_writes_every_type(void)
{
    g_autoptr(GError) error = NULL;
    const char *text = "{'flag':false,'number':-3,'free_number':-9223372036854775808,'text':'abcd',"
                       "'choice':'Slow','address':'::1','mode':'Fast','list':['a','b'],"
                       "'map':{'k':'v'},'counts':{'a/"
                       "b':1,'c':9},'any':[1,null,{'x':1.5}],'part':{'name':'p','count':9},"
                       "'parts':[{'name':'q','count':1}]}";
    g_autoptr(json_t) json = parse(text);
    Thing *thing = berth_schema_read(&thing_schema, json, &error);
    g_assert_no_error(error);
    g_autoptr(json_t) written = berth_schema_write(&thing_schema, thing);
    g_assert_true(json_equal(json, written));
    berth_schema_free(&thing_schema, thing);
}

static void
test_refuses_with_the_pointer(void)
{
    static const struct {
        const char *text, *pointer, *part;
    } cases[] = {
        {"[]", NULL, "must be an object, not a list"},
        {"{'flag':1}", "/flag", "true or false"},
        {"{'flag':null}", "/flag", "leave the member out"},
        {"{'number':8}", "/number", "8 is not between -3 and 7"},
        {"{'number':-4}", "/number", "-4 is not"},
        {"{'number':1.0}", "/number", "whole number"},
        {"{'number':1e2}", "/number", "whole number"},
        {"{'number':'5'}", "/number", "without quotes"},
        {"{'text':''}", "/text", "empty"},
        {"{'text':'abcde'}", "/text", "at most 4"},
        {"{'text':'a\\u0000'}", "/text", "NUL"},
        {"{'choice':'Sloww'}", "/choice", "did you mean \"Slow\"?"},
        {"{'address':'1.2.3'}", "/address", "\"1.2.3\" is not an IPv4"},
        {"{'mode':'slow'}", "/mode", "did you mean \"Slow\"?"},
        {"{'mode':1}", "/mode", "a string"},
        {"{'list':'a'}", "/list", "list of strings"},
        {"{'list':['a',1]}", "/list/1", "a string"},
        {"{'list':['a','B']}", "/list/1", "not a name"},
        {"{'list':['a','b','c']}", "/list", "at most 2"},
        {"{'map':{'a':1}}", "/map/a", "a string"},
        {"{'map':{'a/b/c':'x'}}", "/map/a~1b~1c", "label key"},
        {"{'map':{'a':'','b':'','c':''}}", "/map", "at most 2"},
        {"{'counts':[]}", "/counts", "an object of whole numbers"},
        {"{'counts':{'a':'1'}}", "/counts/a", "without quotes"},
        {"{'counts':{'a':0}}", "/counts/a", "0 is not between 1 and 9"},
        {"{'counts':{'a/b/c':1}}", "/counts/a~1b~1c", "label key"},
        {"{'part':{}}", "/part/name", "is required"},
        {"{'part':{'name':'p','count':10}}", "/part/count", "10 MiB is not between 1 and 9 MiB"},
        {"{'parts':[{'name':'p'},{'name':'p','size':1}]}", "/parts/1/size", "known here"},
        {"{'parts':{}}", "/parts", "list of objects"},
        {"{'lfag':true}", "/lfag", "did you mean \"flag\"?"},
        {"{'Flag':true}", "/Flag", "did you mean \"flag\"?"},
        {"{'freeNumber':1}", "/freeNumber", "did you mean \"free_number\"?"},
        {"{'part.name':1}", "/part.name", "unknown member"},
        {"{'~/':1}", "/~0~1", "unknown member"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_t) json = parse(cases[i].text);
        g_assert_null(berth_schema_read(&thing_schema, json, &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
        g_autofree char *all = g_strconcat(
            error->message, " ", berth_error_hint(error) ? berth_error_hint(error) : "", NULL);
        if (g_strcmp0(berth_error_pointer(error), cases[i].pointer) != 0 ||
            strstr(all, cases[i].part) == NULL) {
            g_test_message("%s: %s %s", cases[i].text, berth_error_pointer(error), all);
            g_test_fail();
        }
    }
}

/* A6: amounts beyond their type are refused by the reader of JSON or by the range. */
static void
test_refuses_odd_amounts(void)
{
    static const char *const amounts[] = {"-1",
                                          "0",
                                          "1e400",
                                          "1E2",
                                          "18446744073709551616",
                                          "9223372036854775808",
                                          "9223372036854775807",
                                          "-9223372036854775809",
                                          "\"16EiB\"",
                                          "\" 1G\"",
                                          "\"512\"",
                                          "1.5",
                                          "true",
                                          "null",
                                          "[1]",
                                          "{}",
                                          "16777217",
                                          "63"};
    for (gsize i = 0; i < G_N_ELEMENTS(amounts); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strdup_printf(
            "{\"spec\":{\"memory_mib\":%s,\"containers\":[{\"name\":\"a\",\"image\":\"b\"}]}}",
            amounts[i]);
        g_autoptr(json_t) json = berth_json_parse(text, strlen(text), &error);
        if (json != NULL) {
            g_assert_null(berth_object_read(&berth_kind_pod, "default", "web", json, NULL, &error));
            g_assert_cmpstr(berth_error_pointer(error), ==, "/spec/memory_mib");
        }
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    }
}

static void
test_changes(void)
{
    static const struct {
        const char *before, *after, *pointer;
    } cases[] = {
        {"{}", "{'mode':'Slow','number':5}", NULL}, /* the default written out */
        {"{}", "{'mode':'Fast'}", "/mode"},
        {"{'mode':'Fast'}", "{}", "/mode"},
        {"{'part':{'name':'a'}}", "{'part':{'name':'b'}}", "/part/name"},
        {"{'part':{'name':'a'}}", "{'part':{'name':'a','count':3}}", NULL},
        {"{'parts':[{'name':'a'},{'name':'b'}]}", "{'parts':[{'name':'b','count':4}]}", NULL},
        {"{'parts':[{'name':'a'}]}", "{'parts':[{'name':'c'},{'name':'a'}]}", NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_t) before = parse(cases[i].before), after = parse(cases[i].after);
        gboolean good = berth_schema_check_change(&thing_schema, before, after, &error);
        g_assert_true(good == (cases[i].pointer == NULL));
        if (!good) {
            g_assert_cmpstr(berth_error_pointer(error), ==, cases[i].pointer);
        }
    }
}

/* ---- formats ---- */

static void
test_formats(void)
{
    static const struct {
        BerthFormat format;
        const char *good, *bad; /* separated by blanks */
    } cases[] = {
        {BERTH_FORMAT_NAME, "a 0 a-b web-1 a--b", "A -a a- a.b a_b .. ../x a/b ä"},
        {BERTH_FORMAT_IMAGE,
         "nginx nginx:1.27 docker.io/library/nginx:1.27 localhost:5000/a/b@sha256:ab",
         "/etc/passwd -x a..b a//b a|b ä http://x"},
        {BERTH_FORMAT_UUID, "4d3f0ee2-5b1c-4c0e-9d2e-111111111111",
         "4d3f0ee2 4d3f0ee25b1c-4c0e-9d2e-1111111111111 x"},
        {BERTH_FORMAT_MAC, "52:54:00:12:34:56 00:00:00:00:00:00",
         "01:00:5e:00:00:01 52-54-00-12-34-56 52:54:00:12:34 52:54:00:12:34:5g"},
        {BERTH_FORMAT_IP, "1.2.3.4 ::1 fe80::1",
         "1.2.3 1.2.3.256 01.2.3.4 fe80::1%eth0 1.2.3.4/8 x"},
        {BERTH_FORMAT_CIDR, "10.0.0.0/8 0.0.0.0/0 fd00::/64 ::/128",
         "10.0.0.0 10.0.0.0/33 ::/129 10.0.0.0/ 10.0.0.0/-1 10.0.0.0/8x"},
        {BERTH_FORMAT_TIME, "2026-11-23T09:00:00Z 2024-02-29T23:59:60Z 2026-11-23T09:00:00.123456Z",
         "2026-11-23 2026-02-29T00:00:00Z 2026-11-23T24:00:00Z 2026-11-23T09:00:00+01:00 "
         "2026-11-23T09:00:00.Z"},
        {BERTH_FORMAT_DIGEST,
         "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "sha256:a sha512:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
         "sha256:../aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        {BERTH_FORMAT_ENV, "A=b A= a.b-c_D=x=y", "A =x A{}=b ä=b"},
        {BERTH_FORMAT_DEVICE, "br0 virbr0-nic eth0.5", "-x . .. a/b abcdefghijklmnop"},
        {BERTH_FORMAT_LIBVIRT, "default my_net A.b-c", "-x .x a/b ä"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(GStrv) good = g_strsplit(cases[i].good, " ", -1);
        g_auto(GStrv) bad = g_strsplit(cases[i].bad, " ", -1);
        for (gsize j = 0; good[j] != NULL; j++) {
            g_autoptr(GError) error = NULL;
            berth_format_check(cases[i].format, good[j], &error);
            g_assert_no_error(error);
        }
        for (gsize j = 0; bad[j] != NULL; j++) {
            g_autoptr(GError) error = NULL;
            if (berth_format_check(cases[i].format, bad[j], &error)) {
                g_test_message("\"%s\" is not %s", bad[j], berth_format_doc(cases[i].format));
                g_test_fail();
            }
        }
        g_assert_false(berth_format_check(cases[i].format, "", NULL));
    }
    g_assert_true(berth_format_check(BERTH_FORMAT_LINE, "a\xc3\xa4", NULL));
    g_assert_false(berth_format_check(BERTH_FORMAT_LINE, "a\nb", NULL));
    g_assert_false(berth_format_check(BERTH_FORMAT_LINE, "a\xe2\x80\xa8", NULL));
    g_assert_false(berth_format_check(BERTH_FORMAT_TEXT, "\xff", NULL));
    g_assert_true(berth_format_check(BERTH_FORMAT_TEXT, "a\n\x1b", NULL));
}

static void
test_quotes_are_harmless(void)
{
    g_autofree char *escape = berth_quote("a\x1b[31m\n\"\\");
    g_assert_cmpstr(escape, ==, "\"a\\u001b[31m\\u000a\\\"\\\\\"");
    g_autofree char *broken = berth_quote("a\xff");
    g_assert_true(g_utf8_validate(broken, -1, NULL));
    g_autofree char *rtl = berth_quote("\xe2\x80\xae");
    g_assert_cmpstr(rtl, ==, "\"\\u202e\"");
    g_autofree char *ship = g_strnfill(500, 's');
    g_autofree char *cut = berth_quote(ship);
    g_assert_cmpuint(strlen(cut), <, 70);
}

static void
test_addresses(void)
{
    BerthIp a, b, c;
    guint prefix;
    g_assert_true(berth_ip_parse("10.0.0.255", &a));
    g_assert_true(berth_ip_next(&a));
    g_autofree char *text = berth_ip_format(&a);
    g_assert_cmpstr(text, ==, "10.0.1.0");
    g_assert_true(berth_ip_parse("255.255.255.255", &b));
    g_assert_false(berth_ip_next(&b));
    g_assert_true(berth_cidr_parse("10.0.0.0/23", &c, &prefix));
    g_assert_true(berth_cidr_contains(&c, prefix, &a));
    g_assert_false(berth_cidr_contains(&c, prefix, &b));
    g_assert_cmpint(berth_ip_count(&c, &a), ==, 257);
    g_assert_cmpint(berth_ip_count(&a, &c), ==, 0);
    g_assert_true(berth_ip_parse("::", &a));
    g_assert_true(berth_ip_parse("ffff::", &b));
    g_assert_cmpint(berth_ip_count(&a, &b), ==, G_MAXINT64);
    g_autofree char *name = berth_address_name("lan", "FD00::1");
    g_assert_cmpstr(name, ==, "lan.fd00--1");
}

/* ---- merge patch and selectors ---- */

/* The examples of RFC 7396, appendix A. */
static void
test_merge_patch(void)
{
    static const char *const cases[][3] = {
        {"{'a':'b'}", "{'a':'c'}", "{'a':'c'}"},
        {"{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}"},
        {"{'a':'b'}", "{'a':null}", "{}"},
        {"{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}"},
        {"{'a':['b']}", "{'a':'c'}", "{'a':'c'}"},
        {"{'a':'c'}", "{'a':['b']}", "{'a':['b']}"},
        {"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}"},
        {"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}"},
        {"['a','b']", "['c','d']", "['c','d']"},
        {"{'a':'b'}", "['c']", "['c']"},
        {"{'a':'foo'}", "null", "null"},
        {"{'a':'foo'}", "'bar'", "'bar'"},
        {"{'e':null}", "{'a':1}", "{'e':null,'a':1}"},
        {"[1,2]", "{'a':'b','c':null}", "{'a':'b'}"},
        {"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) target = parse(cases[i][0]), patch = parse(cases[i][1]);
        g_autoptr(json_t) before = json_deep_copy(target), wanted = parse(cases[i][2]);
        g_autoptr(json_t) result = berth_merge_patch(target, patch);
        g_assert_true(json_equal(result, wanted));
        g_assert_true(json_equal(target, before));
    }
}

static void
test_selectors(void)
{
    static const struct {
        const char *selector;
        int matches; /* -1: refused */
    } cases[] = {
        {"", 1},
        {"tier", 1},
        {"!tier", 0},
        {"!nope", 1},
        {"tier=front", 1},
        {"tier==front", 1},
        {"tier = front", 1},
        {"tier=back", 0},
        {"tier!=back", 1},
        {"nope!=x", 1},
        {"nope=x", 0},
        {"tier=front,zone=a b", 1},
        {"tier=front,!tier", 0},
        {"tier in (back,front)", 1},
        {"tier in (back)", 0},
        {"tier notin (back)", 1},
        {"tier notin (front)", 0},
        {"nope in (a)", 0},
        {"nope notin (a)", 1},
        {"in=1", 1},
        {"x.org/y=z", 1},
        {"odd=\"a,b)\\\"\"", 1},
        {"empty=", 1},
        {"tier in front", -1},
        {"tier in (front", -1},
        {"=x", -1},
        {"tier tier", -1},
        {"!", -1},
        {",", -1},
        {"tier=\"front", -1},
        {"nope=x,a b", -1},
    };
    g_autoptr(json_t) labels = parse("{'tier':'front','zone':'a b','in':'1','x.org/y':'z',"
                                     "'odd':'a,b)\\\"','empty':''}");
    json_object_set_new(labels, "odd", json_string("a,b)\""));
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        gboolean matches = berth_labels_match(labels, cases[i].selector, &error);
        int found = error != NULL ? -1 : matches;
        if (found != cases[i].matches) {
            g_test_message("%s: %d", cases[i].selector, found);
            g_test_fail();
        }
    }
    g_assert_true(berth_labels_match(NULL, "!a", NULL));
}

/* ---- the kinds ---- */

static void check_field(const BerthSchema *schema, const BerthField *field, guint depth);

static void
check_schema(const BerthSchema *schema, guint depth)
{
    g_assert_cmpuint(depth, <, 8);
    g_assert_nonnull(schema->name);
    g_assert_nonnull(schema->doc);
    for (gsize i = 0; i < schema->count; i++) {
        check_field(schema, &schema->fields[i], depth);
        for (gsize j = 0; j < i; j++) {
            g_assert_cmpstr(schema->fields[i].name, !=, schema->fields[j].name);
            g_assert_cmpuint(schema->fields[i].offset, !=, schema->fields[j].offset);
        }
    }
}

static void
check_field(const BerthSchema *schema, const BerthField *field, guint depth)
{
    gint64 minimum, maximum;
    g_autofree char *where = g_strdup_printf("%s.%s", schema->name, field->name);
    if (field->doc == NULL || !g_str_has_suffix(field->doc, ".")) {
        g_test_message("%s has no sentence", where);
        g_test_fail();
    }
    g_assert_cmpuint(field->offset, <, schema->size);
    for (const char *c = field->name; *c != '\0'; c++) {
        g_assert_true(g_ascii_islower(*c) || g_ascii_isdigit(*c) || *c == '_');
    }
    berth_field_limits(field, &minimum, &maximum);
    g_assert_cmpint(minimum, <=, maximum);
    gboolean units = g_str_has_suffix(field->name, "_mib") || g_str_has_suffix(field->name, "_s") ||
                     g_str_has_suffix(field->name, "_percent");
    g_assert_true(!units || field->unit != NULL);
    g_assert_true((field->type == BERTH_FIELD_OBJECT || field->type == BERTH_FIELD_OBJECTS) ==
                  (field->schema != NULL));
    g_assert_true(field->type != BERTH_FIELD_ENUM || field->choices != NULL);
    if (field->type == BERTH_FIELD_INT && !field->required) {
        g_assert_true((field->fallback >= minimum && field->fallback <= maximum));
    }
    if (field->fallback_text != NULL) {
        g_assert_true(berth_format_check(field->format, field->fallback_text, NULL));
        g_assert_true(field->choices == NULL ||
                      g_strv_contains(field->choices, field->fallback_text));
    }
    if (field->schema != NULL) {
        check_schema(field->schema, depth + 1);
    }
}

static void
check_columns(const BerthKind *kind)
{
    g_assert_nonnull(kind->columns);
    for (const BerthColumn *column = kind->columns; column->title != NULL; column++) {
        g_auto(GStrv) pointers = g_strsplit(column->pointer, "|", -1);
        for (gsize i = 0; pointers[i] != NULL; i++) {
            g_auto(GStrv) parts = g_strsplit(pointers[i], "/", -1);
            const BerthSchema *schema = strcmp(parts[1], "metadata") == 0 ? &berth_metadata_schema
                                        : strcmp(parts[1], "spec") == 0   ? kind->spec
                                        : strcmp(parts[1], "status") == 0 ? kind->status
                                                                          : NULL;
            const BerthField *field = NULL;
            for (gsize j = 2; parts[j] != NULL; j++) {
                if (field != NULL && field->type == BERTH_FIELD_OBJECTS) {
                    field = NULL; /* an item: its number, or the type of a condition */
                    continue;
                }
                field = berth_schema_find(schema, parts[j]);
                if (field == NULL) {
                    g_error("%s has no %s", kind->name, pointers[i]);
                }
                schema = field->schema;
            }
        }
    }
}

static void
test_kinds_are_complete(void)
{
    check_schema(&berth_metadata_schema, 0);
    for (gsize i = 0; berth_kinds[i] != NULL; i++) {
        const BerthKind *kind = berth_kinds[i];
        g_assert_true(berth_kind_find(kind->name) == kind);
        g_assert_true(berth_kind_find(kind->plural) == kind);
        g_assert_nonnull(kind->doc);
        check_schema(kind->spec, 0);
        if (kind->status != NULL) {
            check_schema(kind->status, 0);
            gpointer empty = berth_schema_read(kind->status, NULL, NULL);
            g_assert_nonnull(empty); /* an object without a status has all defaults */
            g_autoptr(json_t) written = berth_schema_write(kind->status, empty);
            gpointer again = berth_schema_read(kind->status, written, NULL);
            g_assert_nonnull(again);
            berth_schema_free(kind->status, again);
            berth_schema_free(kind->status, empty);
        }
        check_columns(kind);
    }
    g_assert_true(berth_kind_find("PODS") == &berth_kind_pod);
    g_assert_true(berth_kind_find("po") == &berth_kind_pod);
    g_assert_null(berth_kind_find("ship"));
}

static void
test_explain_and_openapi(void)
{
    g_autoptr(GError) error = NULL;
    static const char *const paths[] = {"pod",
                                        "vm.metadata",
                                        "pod.spec",
                                        "pod.spec.containers",
                                        "po.spec.containers.env",
                                        "vm.status.phase"};
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *text = berth_kind_explain(paths[i], &error);
        g_assert_no_error(error);
        g_assert_true(g_str_has_suffix(text, "\n"));
    }
    g_autofree char *memory = berth_kind_explain("pod.spec.memory_mib", &error);
    g_assert_nonnull(strstr(memory, "64 to 16777216 MiB, default 256, changes at the next boot"));
    static const char *const wrong[] = {
        "", "ship", "pod.what", "pod.spec.nope", "pod.spec.vcpus.x", "project.status", "pod."};
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) problem = NULL;
        g_assert_null(berth_kind_explain(wrong[i], &problem));
        g_assert_error(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND);
    }
    for (gsize i = 0; berth_kinds[i] != NULL; i++) {
        g_autoptr(json_t) schema = berth_kind_openapi(berth_kinds[i]);
        g_assert_nonnull(schema);
        g_assert_cmpstr(berth_json_string(schema, "title"), ==, berth_kinds[i]->name);
        const json_t *spec = json_object_get(json_object_get(schema, "properties"), "spec");
        g_assert_cmpuint(json_object_size(json_object_get(spec, "properties")), ==,
                         berth_kinds[i]->spec->count);
    }
}

static void
assert_spec(const BerthKind *kind, const char *spec, const char *pointer)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) json = parse(spec);
    g_autoptr(BerthObject) object = berth_object_make(
        kind, kind->scope == BERTH_SCOPE_PROJECT ? "p" : "", "x", json, NULL, &error);
    if (pointer == NULL) {
        g_assert_no_error(error);
        return;
    }
    g_assert_null(object);
    g_assert_cmpstr(berth_error_pointer(error), ==, pointer);
}

static void
test_rules_across_fields(void)
{
    const BerthKind *host = &berth_kind_host, *image = &berth_kind_image;
    const BerthKind *network = &berth_kind_network, *volume = &berth_kind_volume;
    assert_spec(host, "{'uri':'qemu:///system'}", NULL);
    assert_spec(host, "{'uri':'http://x'}", "/spec/uri");
    assert_spec(host, "{'uri':'qemu:///system','reserve':{'vcpus':-1}}", "/spec/reserve/vcpus");
    assert_spec(host, "{'uri':'qemu:///system','acceleration':'xen'}", "/spec/acceleration");
    assert_spec(image, "{'type':'oci','reference':'nginx'}", NULL);
    assert_spec(image, "{'type':'oci'}", "/spec/reference");
    assert_spec(image, "{'type':'oci','source':'load'}", NULL);
    assert_spec(image, "{'type':'oci','reference':'a','format':'raw'}", "/spec/format");
    assert_spec(image, "{'type':'disk'}", "/spec/format");
    assert_spec(image, "{'type':'disk','format':'qcow2'}", NULL);
    assert_spec(image, "{'type':'disk','format':'vmdk'}", "/spec/format");
    assert_spec(network, "{'libvirt':'default'}", NULL);
    assert_spec(network, "{}", "/spec");
    assert_spec(network, "{'libvirt':'a','bridge':'b'}", "/spec");
    assert_spec(network, "{'bridge':'br0'}", "/spec");
    assert_spec(network, "{'bridge':'br0','dhcp':true}", NULL);
#define RANGE(first, last)                                                                         \
    "{'libvirt':'a','cidr':'10.0.0.0/24','range_start':'" first "','range_end':'" last "'}"
    assert_spec(network, RANGE("10.0.0.10", "10.0.0.20"), NULL);
    assert_spec(network, RANGE("10.0.0.20", "10.0.0.10"), "/spec/range_end");
    assert_spec(network, RANGE("10.0.1.1", "10.0.0.10"), "/spec/range_start");
    assert_spec(network, RANGE("10.0.0.1", "fd00::1"), "/spec/range_end");
    assert_spec(network, "{'libvirt':'a','range_start':'10.0.0.1'}", "/spec/range_end");
    assert_spec(network, "{'libvirt':'a','range_start':'10.0.0.1','range_end':'10.0.0.2'}",
                "/spec/cidr");
    assert_spec(network, "{'libvirt':'a','cidr':'10.0.0.0/24','gateway':'10.1.0.1'}",
                "/spec/gateway");
    assert_spec(volume, "{}", "/spec/size_mib");
    assert_spec(volume, "{'size_mib':10}", NULL);
    assert_spec(&berth_kind_vm, "{'disks':[{'name':'a','image':'b','volume':'c'}]}",
                "/spec/disks/0");
    assert_spec(&berth_kind_vm, "{'disks':[{'name':'a','volume':'c','size_mib':1}]}",
                "/spec/disks/0");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(path, function) g_test_add_func("/model/" path, function)
    TEST("schema/fills-in-defaults", test_defaults);
    TEST("schema/reads-and-writes-every-type", test_reads_and_writes_every_type);
    TEST("schema/refuses-with-the-pointer-and-a-hint", test_refuses_with_the_pointer);
    TEST("schema/refuses-odd-amounts", test_refuses_odd_amounts);
    TEST("schema/refuses-changes-to-fixed-fields", test_changes);
    TEST("format/accepts-and-refuses", test_formats);
    TEST("format/quotes-are-harmless", test_quotes_are_harmless);
    TEST("address/counts-and-contains", test_addresses);
    TEST("patch/follows-rfc-7396", test_merge_patch);
    TEST("labels/selectors-match", test_selectors);
    TEST("kinds/are-complete", test_kinds_are_complete);
    TEST("kinds/explain-and-openapi", test_explain_and_openapi);
    TEST("kinds/rules-across-fields", test_rules_across_fields);
    return g_test_run();
}
