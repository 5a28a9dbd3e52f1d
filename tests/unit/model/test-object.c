/* Documents become objects, objects become rows and JSON, and nothing is lost or let through. */
#include "model/kinds.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"

#define WHEN "2026-11-23T09:00:00Z"
#define POD "{'spec':{'containers':[{'name':'web','image':'nginx:1.27'}]}}"

/* JSON with ' for ". */
static json_t *
parse(const char *quoted)
{
    g_autofree char *text = g_strdelimit(g_strdup(quoted), "'", '"');
    g_autoptr(GError) error = NULL;
    json_t *json = berth_json_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    return json;
}

static BerthObject *
read_ok(const BerthKind *kind, const char *name, const char *text, const BerthObject *existing)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) json = parse(text);
    const char *project = kind->scope == BERTH_SCOPE_PROJECT ? "default" : "";
    BerthObject *object = berth_object_read(kind, project, name, json, existing, &error);
    g_assert_no_error(error);
    return object;
}

static void
assert_refused(const BerthKind *kind, const char *name, const char *text,
               const BerthObject *existing, BerthErrorCode code, const char *pointer,
               const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) json = parse(text);
    const char *project = kind->scope == BERTH_SCOPE_PROJECT ? "default" : "";
    g_autoptr(BerthObject) object = berth_object_read(kind, project, name, json, existing, &error);
    g_assert_null(object);
    g_assert_error(error, BERTH_ERROR, (int)code);
    g_assert_cmpstr(berth_error_pointer(error), ==, pointer);
    g_autofree char *all = g_strdup_printf("%s (%s)", error->message, berth_error_hint(error));
    if (strstr(all, part) == NULL) {
        g_test_message("\"%s\" does not say \"%s\"", all, part);
        g_test_fail();
    }
}

static BerthObject *
stored(const BerthObject *object, gint64 revision)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *body = berth_object_format_body(object);
    g_autofree char *status = object->status != NULL ? berth_json_format(object->status) : NULL;
    BerthObject *loaded = berth_object_load(object->kind->name, object->project, object->name,
                                            object->uid, revision, revision, body, status, &error);
    g_assert_no_error(error);
    return loaded;
}

static void
test_keeps_spec_verbatim(void)
{
    g_autoptr(BerthObject) pod = read_ok(&berth_kind_pod, "web", POD, NULL);
    const BerthPodSpec *spec = pod->spec_data;
    g_autofree char *text = berth_json_format(pod->spec);
    g_assert_cmpstr(text, ==, "{\"containers\":[{\"name\":\"web\",\"image\":\"nginx:1.27\"}]}");
    g_assert_cmpint(spec->workload.memory_mib, ==, 256);
    g_assert_cmpint(spec->workload.stop_timeout_s, ==, 30);
}

static void
test_power_comes_from_run(void)
{
    g_autoptr(BerthObject) pod = read_ok(&berth_kind_pod, "web", POD, NULL);
    g_autoptr(BerthObject) vm =
        read_ok(&berth_kind_vm, "db", "{'spec':{'disks':[{'name':'root','size_mib':64}]}}", NULL);
    g_autoptr(BerthObject) once =
        read_ok(&berth_kind_vm, "db",
                "{'spec':{'run':'Once','disks':[{'name':'root','size_mib':64}]}}", NULL);
    g_assert_cmpint(pod->power, ==, BERTH_POWER_ON);
    g_assert_cmpint(vm->power, ==, BERTH_POWER_OFF);
    g_assert_cmpint(once->power, ==, BERTH_POWER_ON);
}

static void
test_get_edit_put_works(void)
{
    g_autoptr(BerthObject) new = read_ok(&berth_kind_pod, "web", POD, NULL);
    g_autoptr(BerthObject) first = stored(new, 7);
    g_autoptr(json_t) status = json_pack("{s:s}", "phase", "Running");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) running = berth_object_with_status(first, status, &error);
    g_assert_no_error(error);
    running->revision = 9; /* as after a write of the status */
    g_autoptr(json_t) document = berth_object_to_json(running);
    g_autoptr(json_t) patch = parse("{'metadata':{'labels':{'a':'b'}},'spec':{'memory_mib':512}}");
    g_autoptr(json_t) edited = berth_merge_patch(document, patch);
    g_autoptr(BerthObject) second =
        berth_object_read(&berth_kind_pod, "default", "web", edited, running, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(second->uid, ==, first->uid);
    g_assert_cmpstr(second->created, ==, first->created);
    g_assert_cmpint(second->generation, ==, 2);
    g_assert_cmpstr(berth_json_string(second->labels, "a"), ==, "b");
    g_assert_cmpstr(berth_json_string(second->status, "phase"), ==, "Running");
}

static void
test_put_without_change_keeps_the_generation(void)
{
    g_autoptr(BerthObject) new = read_ok(&berth_kind_pod, "web", POD, NULL);
    g_autoptr(BerthObject) first = stored(new, 7);
    g_autoptr(BerthObject) again = read_ok(&berth_kind_pod, "web", POD, first);
    g_assert_cmpint(again->generation, ==, 1);
}

static void
test_refuses_what_the_server_owns(void)
{
    g_autoptr(BerthObject) new = read_ok(&berth_kind_pod, "web", POD, NULL);
    g_autoptr(BerthObject) old = stored(new, 7);
    const BerthKind *pod = &berth_kind_pod;
#define WITH(metadata)                                                                             \
    "{'metadata':" metadata ",'spec':{'containers':[{'name':'web','image':'a'}]}}"
    assert_refused(pod, "web", WITH("{'revision':6}"), old, BERTH_ERROR_CONFLICT,
                   "/metadata/revision", "get the object again");
    assert_refused(pod, "web", WITH("{'revision':8}"), old, BERTH_ERROR_CONFLICT,
                   "/metadata/revision", "changed");
    assert_refused(pod, "web", WITH("{'uid':'4d3f0ee2-5b1c-4c0e-9d2e-111111111111'}"), old,
                   BERTH_ERROR_CONFLICT, "/metadata/uid", "");
    assert_refused(pod, "web", WITH("{'generation':9}"), old, BERTH_ERROR_CONFLICT,
                   "/metadata/generation", "");
    assert_refused(pod, "web", WITH("{'created':'2020-01-01T00:00:00Z'}"), old, BERTH_ERROR_INVALID,
                   "/metadata/created", "server");
    assert_refused(pod, "web", WITH("{'deleting':'2020-01-01T00:00:00Z'}"), NULL,
                   BERTH_ERROR_INVALID, "/metadata/deleting", "server");
    assert_refused(pod, "web", WITH("{'revision':6}"), NULL, BERTH_ERROR_CONFLICT,
                   "/metadata/revision", "new object");
    assert_refused(pod, "web", "{'power':'off','spec':{'containers':[{'name':'a','image':'a'}]}}",
                   old, BERTH_ERROR_INVALID, "/power", "start and shutdown");
}

static void
test_points_at_what_is_wrong(void)
{
    const BerthKind *pod = &berth_kind_pod, *vm = &berth_kind_vm;
    const BerthErrorCode invalid = BERTH_ERROR_INVALID;
    assert_refused(pod, "web", "[]", NULL, invalid, "", "object");
    assert_refused(pod, "web", "{'kind':'VM'}", NULL, invalid, "/kind", "VM");
    assert_refused(pod, "web", "{'metdata':{}}", NULL, invalid, "/metdata", "metadata");
    assert_refused(pod, "web", "{'containers':[]}", NULL, invalid, "/containers", "into spec");
    assert_refused(pod, "web", "{'spec':[]}", NULL, invalid, "/spec", "object");
    assert_refused(pod, "web", "{'metadata':{'name':'other'}}", NULL, invalid, "/metadata/name",
                   "path says");
    assert_refused(pod, "web", "{'metadata':{'project':'x'}}", NULL, invalid, "/metadata/project",
                   "default");
    assert_refused(pod, "web", "{'metadata':{'labels':{'a b':'c'}}}", NULL, invalid,
                   "/metadata/labels/a b", "label key");
    assert_refused(pod, "web", "{'metadata':{'labels':{'a':1}}}", NULL, invalid,
                   "/metadata/labels/a", "string");
    assert_refused(pod, "web", "{'spec':{}}", NULL, invalid, "/spec/containers", "required");
    assert_refused(pod, "web", "{'spec':{'containers':[]}}", NULL, invalid, "/spec/containers",
                   "at least 1");
    assert_refused(pod, "web", "{'spec':{'containers':[{'name':'a'}]}}", NULL, invalid,
                   "/spec/containers/0/image", "required");
    assert_refused(pod, "web", "{'spec':{'containers':[{'name':'a','image':'b','memoryMib':1}]}}",
                   NULL, invalid, "/spec/containers/0/memoryMib", "memory_mib");
    assert_refused(pod, "web",
                   "{'spec':{'containers':[{'name':'a','image':'b'},{'name':'a','image':'b'}]}}",
                   NULL, invalid, "/spec/containers/1/name", "twice");
    assert_refused(pod, "web",
                   "{'spec':{'containers':[{'name':'a','image':'b','memory_mib':300}]}}", NULL,
                   invalid, "/spec/containers/0/memory_mib", "256 MiB");
    assert_refused(
        pod, "web",
        "{'spec':{'placement':{'spread':'rack'},'containers':[{'name':'a','image':'b'}]}}", NULL,
        invalid, "/spec/placement/spread", "group");
    assert_refused(pod, "web",
                   "{'spec':{'huge_pages_kib':3000,'containers':[{'name':'a','image':'b'}]}}", NULL,
                   invalid, "/spec/huge_pages_kib", "no processor");
    assert_refused(pod, "web",
                   "{'spec':{'huge_pages_kib':1048576,'containers':[{'name':'a','image':'b'}]}}",
                   NULL, invalid, "/spec/huge_pages_kib", "whole number");
    assert_refused(pod, "web", "{'spec':{'numa':'three','containers':[{'name':'a','image':'b'}]}}",
                   NULL, invalid, "/spec/numa", "prefer-one");
    assert_refused(vm, "db", "{'spec':{'disks':[{'name':'a'}]}}", NULL, invalid, "/spec/disks/0",
                   "needs an image");
    assert_refused(vm, "db", "{'spec':{'profile':'microvm','disks':[{'name':'a','size_mib':1}]}}",
                   NULL, invalid, "/spec/profile", "q35");
    assert_refused(&berth_kind_host, "h1", "{'metadata':{'project':'x'}}", NULL, invalid,
                   "/metadata/project", "fleet");
    assert_refused(&berth_kind_host, "h1",
                   "{'spec':{'uri':'qemu:///system','dedicated_cpus':'4-'}}", NULL, invalid,
                   "/spec/dedicated_cpus", "4-15");
#define OFFER(devices) "{'spec':{'uri':'qemu:///system','devices':[" devices "]}}"
    assert_refused(&berth_kind_host, "h1", OFFER("{'class':'gpu'}"), NULL, invalid,
                   "/spec/devices/0", "pci or ids");
    assert_refused(&berth_kind_host, "h1", OFFER("{'class':'gpu','pci':['41:00.0']}"), NULL,
                   invalid, "/spec/devices/0/pci/0", "0000:41:00.0");
    assert_refused(&berth_kind_host, "h1", OFFER("{'class':'gpu','ids':['0x10de:20b0']}"), NULL,
                   invalid, "/spec/devices/0/ids/0", "10de:20b0");
    assert_refused(&berth_kind_host, "h1",
                   OFFER("{'class':'a','ids':['10de:20b0']},{'class':'b','ids':['10DE:20B0']}"),
                   NULL, invalid, "/spec/devices/1/ids/0", "twice");
    assert_refused(pod, "web", "{'spec':{'devices':[{'class':'gpu','count':17}],'containers':[]}}",
                   NULL, invalid, "/spec/devices/0/count", "16");
#define DEVICES(more) "{'spec':{" more ",'containers':[{'name':'a','image':'b'}]}}"
    assert_refused(pod, "web", DEVICES("'devices':[{'class':'a'},{'class':'a'}]"), NULL, invalid,
                   "/spec/devices/1/class", "count");
    assert_refused(pod, "web",
                   DEVICES("'devices':[{'class':'a','count':9},{'class':'b','count':8}]"), NULL,
                   invalid, "/spec/devices", "17");
    assert_refused(pod, "web", DEVICES("'profile':'microvm','devices':[{'class':'a'}]"), NULL,
                   invalid, "/spec/devices", "q35");
    assert_refused(&berth_kind_settings, "x", "{}", NULL, invalid, "/metadata/name", "fleet");
    assert_refused(pod, NULL, POD, NULL, invalid, "/metadata/name", "required");
    assert_refused(pod, "Web", POD, NULL, invalid, "/metadata/name", "\"Web\" is not a name");
}

static void
test_points_at_placement_rules_that_make_no_sense(void)
{
    static const struct {
        const char *rule, *pointer, *part;
    } cases[] = {
        {"'relations':[{'kind':'apart','to':'group=A b'}]", "relations/0/to", "group=NAME"},
        {"'relations':[{'kind':'near','to':'db'}]", "relations/0/kind", "together"},
        {"'relations':[{'kind':'apart','to':'db','within':'row'}]", "relations/0/within", "rack"},
        {"'relations':[{'kind':'apart','to':'db','weight':101}]", "relations/0/weight", "100"},
        {"'host_rules':[{'key':'a'}]", "host_rules/0/values", "need a value"},
        {"'host_rules':[{'key':'a','operator':'Exists','values':['b']}]", "host_rules/0/values",
         "no values"},
        {"'host_rules':[{'key':'a','operator':'Less','values':['x']}]", "host_rules/0/values",
         "whole number"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = g_strdup_printf(
            "{'spec':{'containers':[{'name':'a','image':'b'}],'placement':{%s}}}", cases[i].rule);
        g_autofree char *pointer = g_strconcat("/spec/placement/", cases[i].pointer, NULL);
        assert_refused(&berth_kind_pod, "web", text, NULL, BERTH_ERROR_INVALID, pointer,
                       cases[i].part);
    }
}

static void
test_name_may_come_from_the_document(void)
{
    g_autoptr(BerthObject) pod = read_ok(
        &berth_kind_pod, NULL,
        "{'metadata':{'name':'web'},'spec':{'containers':[{'name':'a','image':'b'}]}}", NULL);
    g_assert_cmpstr(pod->name, ==, "web");
}

static void
test_refuses_changes_to_fixed_fields(void)
{
#define VM_WITH(profile, disk, size)                                                               \
    "{'spec':{'run':'Manual'," profile "'disks':[{'name':'" disk "','size_mib':" size "}]}}"
    g_autoptr(BerthObject) new =
        read_ok(&berth_kind_pod, "web", "{'spec':{'containers':[{'name':'a','image':'b'}]}}", NULL);
    g_autoptr(BerthObject) pod = stored(new, 3);
    assert_refused(&berth_kind_pod, "web",
                   "{'spec':{'profile':'microvm','containers':[{'name':'a','image':'b'}]}}", pod,
                   BERTH_ERROR_INVALID, "/spec/profile", "anew");
    g_autoptr(BerthObject) spelt =
        read_ok(&berth_kind_pod, "web",
                "{'spec':{'profile':'q35','containers':[{'name':'a','image':'c'}]}}", pod);
    g_assert_cmpint(spelt->generation, ==, 2); /* the default written out is no change of profile */
    g_autoptr(BerthObject) fresh_vm = read_ok(
        &berth_kind_vm, "db",
        "{'spec':{'disks':[{'name':'root','image':'debian'},{'name':'data','size_mib':64}]}}",
        NULL);
    g_autoptr(BerthObject) vm = stored(fresh_vm, 4);
    assert_refused(&berth_kind_vm, "db",
                   "{'spec':{'disks':[{'name':'data','size_mib':64},{'name':'root','image':'x'}]}}",
                   vm, BERTH_ERROR_INVALID, "/spec/disks/1/image", "anew");
    g_autoptr(BerthObject) grown =
        read_ok(&berth_kind_vm, "db",
                "{'spec':{'disks':[{'name':'root','image':'debian','size_mib':9}]}}", vm);
    g_assert_nonnull(grown);
}

static void
test_rows_load_as_they_were(void)
{
    g_autoptr(BerthObject) new = read_ok(
        &berth_kind_pod, "web",
        "{'metadata':{'labels':{'a':'b'},'annotations':{'x.org/y':'z'}},'spec':{'containers':"
        "[{'name':'a','image':'b'}]}}",
        NULL);
    g_autoptr(json_t) labels = parse("{'c':'d'}");
    g_autoptr(BerthObject) marked = berth_object_with_deleting(new, WHEN);
    g_autoptr(BerthObject) off = berth_object_with_power(marked, BERTH_POWER_OFF);
    g_autoptr(BerthObject) labelled = berth_object_with_labels(off, labels);
    g_autoptr(BerthObject) loaded = stored(labelled, 12);
    g_autofree char *path = berth_object_path(loaded);
    g_assert_cmpstr(path, ==, "/v1/projects/default/pods/web");
    g_assert_cmpint(loaded->power, ==, BERTH_POWER_OFF);
    g_assert_cmpstr(loaded->deleting, ==, WHEN);
    g_assert_cmpstr(loaded->created, ==, new->created);
    g_assert_cmpstr(berth_json_string(loaded->labels, "c"), ==, "d");
    g_assert_null(json_object_get(loaded->labels, "a"));
    g_assert_cmpstr(berth_json_string(loaded->annotations, "x.org/y"), ==, "z");
    g_assert_cmpint(loaded->body_revision, ==, 12);
}

static void
test_rows_that_do_not_read_are_corrupt(void)
{
    static const char *const bodies[] = {"",
                                         "{",
                                         "[]",
                                         "{}",
                                         "{\"spec\":{}}",
                                         "{\"spec\":{\"containers\":1}}",
                                         "{\"labels\":1,\"spec\":{}}"};
    for (gsize i = 0; i < G_N_ELEMENTS(bodies); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(
            berth_object_load("Pod", "default", "web", "u", 1, 1, bodies[i], NULL, &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_CORRUPT);
        g_assert_nonnull(strstr(error->message, "default/web"));
        g_assert_nonnull(strstr(berth_error_hint(error), "berth restore"));
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_object_load("Ship", "", "x", "u", 1, 1, "{}", NULL, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_CORRUPT);
}

static void
test_addresses_may_have_composed_names(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) spec = parse("{'network':'lan','ip':'10.0.0.5','owner_uid':"
                                   "'4d3f0ee2-5b1c-4c0e-9d2e-111111111111'}");
    g_autoptr(BerthObject) address =
        berth_object_make(&berth_kind_address, "", "lan.10-0-0-5", spec, WHEN, &error);
    g_assert_no_error(error);
    g_autoptr(BerthObject) loaded = stored(address, 5);
    g_assert_cmpstr(((BerthAddressSpec *)loaded->spec_data)->ip, ==, "10.0.0.5");
}

/* Any text comes back byte for byte through document, row and answer. */
static void
assert_round_trip(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *variable = g_strconcat("V=", text, NULL);
    g_autoptr(json_t) document = json_pack(
        "{s:{s:{s:s}}, s:{s:[{s:s, s:s, s:[s], s:[s]}]}}", "metadata", "labels", "k", text, "spec",
        "containers", "name", "a", "image", "b", "env", variable, "args", text);
    g_assert_nonnull(document);
    g_autofree char *wire = berth_json_format(document);
    g_autoptr(json_t) received = berth_json_parse(wire, strlen(wire), &error);
    g_assert_no_error(error);
    g_autoptr(BerthObject) read =
        berth_object_read(&berth_kind_pod, "default", "web", received, NULL, &error);
    g_assert_no_error(error);
    g_autoptr(BerthObject) loaded = stored(read, 1);
    g_autoptr(json_t) answer = berth_object_to_json(loaded);
    g_autofree char *sent = berth_json_format(answer);
    g_autoptr(json_t) seen = berth_json_parse(sent, strlen(sent), &error);
    g_assert_no_error(error);
    const json_t *labels = json_object_get(json_object_get(seen, "metadata"), "labels");
    g_assert_cmpstr(berth_json_string(labels, "k"), ==, text);
    const BerthContainerSpec *container =
        ((const BerthPodSpec *)loaded->spec_data)->containers->pdata[0];
    g_assert_cmpstr(container->env[0], ==, variable);
    g_assert_cmpstr(container->args[0], ==, text);
}

static void
assert_no_name(const char *text)
{
    g_autoptr(GError) error = NULL;
    if (berth_name_check(text, &error)) {
        for (const char *c = text; *c != '\0'; c++) { /* "true", "null": names like others */
            g_assert_true(g_ascii_islower(*c) || g_ascii_isdigit(*c) || *c == '-');
        }
        return;
    }
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    g_assert_null(strpbrk(error->message, "\n\r\x1b"));
    g_assert_cmpuint(strlen(error->message), <, 400);
}

static void
test_naughty_strings(void)
{
    g_autofree char *archive = g_build_filename(
        g_getenv("BERTH_CORPORA") != NULL ? g_getenv("BERTH_CORPORA") : "../shared/corpora",
        "naughty-strings.tar.xz", NULL);
    if (g_getenv("BERTH_CORPORA") == NULL && g_getenv("TOP_SRCDIR") != NULL) {
        g_free(archive);
        archive = g_build_filename(g_getenv("TOP_SRCDIR"), "..", "shared", "corpora",
                                   "naughty-strings.tar.xz", NULL);
    }
    if (!g_file_test(archive, G_FILE_TEST_EXISTS)) {
        g_test_skip("the corpus naughty-strings.tar.xz is not there; set BERTH_CORPORA");
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    const char *argv[] = {"tar", "xOf", archive, "strings/blns/blns.json", NULL};
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &text, NULL, NULL,
                 &error);
    g_assert_no_error(error);
    g_autoptr(json_t) strings = berth_json_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    g_assert_cmpuint(json_array_size(strings), ==, 515);
    for (gsize i = 0; i < json_array_size(strings); i++) {
        assert_no_name(json_string_value(json_array_get(strings, i)));
        assert_round_trip(json_string_value(json_array_get(strings, i)));
    }
}

static void
test_values_refuse_nul(void)
{
    assert_refused(&berth_kind_pod, "web", "{'metadata':{'labels':{'a':'x\\u0000y'}}}", NULL,
                   BERTH_ERROR_INVALID, "/metadata/labels/a", "NUL");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(path, function) g_test_add_func("/model/object/" path, function)
    TEST("keeps-spec-verbatim-and-defaults-apart", test_keeps_spec_verbatim);
    TEST("first-power-comes-from-run", test_power_comes_from_run);
    TEST("get-edit-put-works", test_get_edit_put_works);
    TEST("put-without-change-keeps-the-generation", test_put_without_change_keeps_the_generation);
    TEST("refuses-what-the-server-owns", test_refuses_what_the_server_owns);
    TEST("points-at-what-is-wrong", test_points_at_what_is_wrong);
    TEST("points-at-placement-rules-that-make-no-sense",
         test_points_at_placement_rules_that_make_no_sense);
    TEST("name-may-come-from-the-document", test_name_may_come_from_the_document);
    TEST("refuses-changes-to-fixed-fields", test_refuses_changes_to_fixed_fields);
    TEST("rows-load-as-they-were", test_rows_load_as_they_were);
    TEST("rows-that-do-not-read-are-corrupt", test_rows_that_do_not_read_are_corrupt);
    TEST("addresses-may-have-composed-names", test_addresses_may_have_composed_names);
    TEST("naughty-strings-are-values-and-no-names", test_naughty_strings);
    TEST("values-refuse-nul", test_values_refuse_nul);
    return g_test_run();
}
