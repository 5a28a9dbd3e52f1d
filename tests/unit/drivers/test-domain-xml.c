/* Domain XML: golden device plans of both profiles, hostile text in, hostile documents out. */
#include "base/error.h"
#include "base/json.h"
#include "drivers/domain-xml.h"
#include "drivers/xml.h"
#include "tests/golden/golden.h"

#include <string.h>

static BerthDomainMark mark = {
    .fleet = (char *)"0f1e2d3c",
    .uid = (char *)"7b45994e-e983-4e45-b7d3-6bc8a3cd0a0a",
    .kind = (char *)"Pod",
    .project = (char *)"default",
    .name = (char *)"web",
    .generation = 3,
    .spec = (char *)"{\"vcpus\": 1, \"memory_mib\": 256}",
    .labels = (char *)"{\"tier\": \"front\"}",
    .format = 1,
};

static const BerthDiskPlan image_disk = {
    .pool = "berth",
    .volume = "sha256-aa-01",
    .serial = "image-0",
    .format = "raw",
    .read_only = TRUE,
};

static const BerthNicPlan card = {.network = "default", .mac = "52:54:00:12:34:56"};

static BerthDomainPlan
make_pod(BerthProfile profile)
{
    return (BerthDomainPlan){
        .uuid = mark.uid,
        .name = "default.web-7b45994e",
        .title = "pod default/web",
        .profile = profile,
        .vcpus = 1,
        .memory_mib = 256,
        .kernel_pool = "berth",
        .kernel_volume = "kernel-01",
        .initrd_volume = "initrd-01",
        .cmdline = "console=ttyS0 quiet panic=-1 reboot=t",
        .disks = &image_disk,
        .disk_count = 1,
        .nics = &card,
        .nic_count = 1,
        .link = TRUE,
        .mark = &mark,
    };
}

static char *
format(const BerthDomainPlan *plan)
{
    g_autoptr(GError) error = NULL;
    char *xml =
        berth_domain_xml_format(plan, plan->kernel_volume != NULL ? "/pool/kernel-01" : NULL,
                                plan->initrd_volume != NULL ? "/pool/initrd-01" : NULL, &error);
    g_assert_no_error(error);
    return xml;
}

static void
test_pod_on_q35_has_the_fixed_device_plan(void)
{
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_Q35);
    g_autofree char *xml = format(&plan);
    golden_check("domain-pod-q35.xml", xml);
}

static void
test_pod_on_microvm_has_mmio_addresses_everywhere(void)
{
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_MICROVM);
    g_autofree char *xml = format(&plan);
    golden_check("domain-pod-microvm.xml", xml);
    g_assert_null(strstr(xml, "type=\"pci\""));
}

static void
test_vm_with_everything_boots_its_disk_under_kvm(void)
{
    const BerthDiskPlan disks[] = {
        {.pool = "berth", .volume = "vm-root", .serial = "root", .format = "qcow2"},
        {.pool = "berth",
         .volume = "vm-seed",
         .serial = "seed",
         .format = "raw",
         .read_only = TRUE},
        {.pool = "berth", .volume = "install", .format = "raw", .cdrom = TRUE},
    };
    const BerthNicPlan cards[] = {
        {.network = "default", .mac = "52:54:00:00:00:01"},
        {.bridge = "br0", .mac = "52:54:00:00:00:02"},
        {.bridge = "br1", .mac = "52:54:00:00:00:03"},
    };
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_Q35);
    plan.kernel_volume = plan.initrd_volume = plan.cmdline = NULL;
    plan.kvm = plan.agent = TRUE;
    plan.link = FALSE;
    plan.vcpus = 12;
    plan.disks = disks;
    plan.disk_count = G_N_ELEMENTS(disks);
    plan.nics = cards;
    plan.nic_count = G_N_ELEMENTS(cards);
    g_autofree char *xml = format(&plan);
    golden_check("domain-vm-q35-kvm.xml", xml);
}

static void
test_bound_vm_has_its_cells_and_pages(void)
{
    const BerthDiskPlan root = {
        .pool = "berth", .volume = "vm-root", .serial = "root", .format = "qcow2"};
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_Q35);
    plan.kernel_volume = plan.initrd_volume = plan.cmdline = NULL;
    plan.kvm = TRUE;
    plan.link = FALSE;
    plan.disks = &root;
    plan.cpuset = "0,1,4,5";
    plan.nodeset = "0";
    plan.huge_pages_kib = 2048;
    g_autofree char *one = format(&plan);
    golden_check("domain-vm-one-cell.xml", one);
    plan.cpuset = "0,1,2,3,4,5,6,7";
    plan.nodeset = "0,1";
    plan.interleave = TRUE;
    plan.huge_pages_kib = 0;
    g_autofree char *two = format(&plan);
    golden_check("domain-vm-two-cells.xml", two);
}

static void
test_pinned_pod_has_its_cpus(void)
{
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_Q35);
    plan.vcpus = 3;
    plan.cpuset = "4-5,12";
    plan.pins = "4,5,12";
    plan.emulator_cpuset = "0-3";
    plan.nodeset = "0,1";
    plan.interleave = TRUE;
    g_autofree char *xml = format(&plan);
    golden_check("domain-pod-pinned.xml", xml);
    plan.pins = "4,\x01";
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_domain_xml_format(&plan, "/kernel", "/initrd", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
}

static void
test_cpus_are_those_asked_for(void)
{
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_MICROVM);
    plan.cpu_features = "aes,erms";
    g_autofree char *emulated = format(&plan);
    g_assert_nonnull(strstr(emulated, "<cpu mode=\"maximum\">"));
    g_assert_nonnull(strstr(emulated, "<feature policy=\"require\" name=\"aes\"/>"));
    g_assert_nonnull(strstr(emulated, "<feature policy=\"require\" name=\"erms\"/>"));
    g_assert_null(strstr(emulated, "disable"));
    plan.kvm = TRUE;
    plan.cpu_model = "EPYC-Rome";
    plan.cpu_features = "avx2";
    g_autofree char *xml = format(&plan);
    golden_check("domain-pod-cpu.xml", xml);
    plan.cpu_model = "EPYC\x01";
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_domain_xml_format(&plan, "/kernel", "/initrd", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
}

static void
test_pod_has_devices_of_its_host(void)
{
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_Q35);
    plan.host_devices = "0000:41:00.0,0001:c2:1f.7";
    g_autofree char *xml = format(&plan);
    golden_check("domain-pod-devices.xml", xml);
    static const char *const wrong[] = {"0000:41:00.0,", "41:00.0", "0000:41:20.0", "0000:41:00.8",
                                        "0000:41:00.0'"};
    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        plan.host_devices = wrong[i];
        g_assert_null(berth_domain_xml_format(&plan, "/kernel", "/initrd", &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    }
    plan = make_pod(BERTH_PROFILE_MICROVM);
    plan.host_devices = "0000:41:00.0";
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_domain_xml_format(&plan, "/kernel", "/initrd", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
}

/* Hot-plug and cold start must agree: more disks never move those that are there. */
static void
test_more_disks_do_not_move_the_first_ones(void)
{
    BerthDiskPlan disks[BERTH_PLAN_DISKS_MAX];
    for (guint i = 0; i < G_N_ELEMENTS(disks); i++) {
        disks[i] = image_disk;
    }
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_Q35);
    g_autofree char *one = format(&plan);
    plan.disks = disks;
    plan.disk_count = G_N_ELEMENTS(disks);
    g_autofree char *many = format(&plan);
    const char *end = strstr(one, "</disk>");
    const char *begin = strstr(one, "<disk ");
    g_autofree char *first_disk = g_strndup(begin, (gsize)(end - begin));
    g_assert_nonnull(strstr(many, first_disk));
    g_assert_nonnull(strstr(many, "dev=\"vdan\"")); /* the 40th */
    g_assert_nonnull(strstr(many, "index=\"48\""));
}

static void
assert_refused(const BerthDomainPlan *plan, const char *word)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_domain_xml_format(plan, "/k", "/i", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, word));
}

static void
test_wrong_plans_are_refused_by_name(void)
{
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_MICROVM);
    BerthDiskPlan disk = image_disk;
    plan.disks = &disk;
    disk.format = "vmdk";
    assert_refused(&plan, "vmdk");
    disk.format = "raw";
    disk.cdrom = TRUE;
    assert_refused(&plan, "CD-ROM");
    disk.cdrom = FALSE;
    disk.serial = "longer-than-twenty-characters";
    assert_refused(&plan, "longer-than");
    disk.serial = "image-0";
    plan.cmdline = "a\001b";
    assert_refused(&plan, "a\\001b");
    plan.cmdline = NULL;
    plan.mark = NULL;
    assert_refused(&plan, "mark");
    plan.mark = &mark;
    plan.vcpus = 0;
    assert_refused(&plan, "vCPUs");
    plan.vcpus = 1;
    const BerthNicPlan both = {.network = "default", .bridge = "br0", .mac = "52:54:00:12:34:56"};
    plan.nics = &both;
    assert_refused(&plan, "either a network or a bridge");
}

static void
assert_round_trip(const char *value)
{
    g_autoptr(json_t) spec = json_pack("{s: {s: s}}", "env", value, "x");
    if (spec == NULL || *value == '\0') {
        spec = spec != NULL ? spec : json_object();
    }
    json_object_set_new(spec, "value", json_string(value));
    g_autofree char *text = berth_json_format(spec);
    BerthDomainMark own = mark;
    own.spec = text;
    own.labels = text;
    BerthDomainPlan plan = make_pod(BERTH_PROFILE_Q35);
    plan.mark = &own;
    plan.title = value;
    g_autofree char *xml = format(&plan);

    g_autoptr(GError) error = NULL;
    g_autoptr(BerthDomain) domain = berth_domain_xml_parse(xml, &error);
    g_assert_no_error(error);
    g_autoptr(json_t) back = json_loads(domain->mark->spec, 0, NULL);
    g_assert_true(json_equal(spec, back));
    g_autoptr(json_t) labels = json_loads(domain->mark->labels, 0, NULL);
    g_assert_true(json_equal(spec, labels));
    g_assert_cmpstr(domain->mark->fleet, ==, mark.fleet);
    g_assert_cmpint(domain->mark->generation, ==, 3);
    if (g_str_is_ascii(value) && *value != '\0' && strpbrk(value, "\t\n\r\v\f") == NULL) {
        gboolean has_control = FALSE;
        for (const char *at = value; *at != '\0'; at++) {
            has_control = has_control || (guchar)*at < 0x20;
        }
        if (!has_control) {
            g_assert_cmpstr(domain->title, ==, value);
        }
    }
}

static json_t *
load_naughty_strings(void)
{
    g_autofree char *corpora = g_strdup(g_getenv("BERTH_CORPORA"));
    if (corpora == NULL) {
        const char *top = g_getenv("TOP_SRCDIR");
        corpora = g_build_filename(top != NULL ? top : ".", "..", "shared", "corpora", NULL);
    }
    g_autofree char *archive = g_build_filename(corpora, "naughty-strings.tar.xz", NULL);
    const char *argv[] = {"tar", "-xJOf", archive, "strings/blns/blns.json", NULL};
    g_autofree char *text = NULL;
    int status = -1;
    if (!g_file_test(archive, G_FILE_TEST_EXISTS) ||
        !g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &text, NULL,
                      &status, NULL) ||
        status != 0) {
        return NULL;
    }
    return json_loads(text, 0, NULL);
}

static void
test_any_text_comes_back_from_the_mark(void)
{
    static const char *const own[] = {
        "]]>",          "&lt;&#10;",        "<!--", "\r\n\t x ", "\001\x1f",
        "\uFFFE\uFFFF", "\xF0\x9F\x9A\xA2", "'\"",  "&amp;",     "%s%n"};
    for (guint i = 0; i < G_N_ELEMENTS(own); i++) {
        assert_round_trip(own[i]);
    }
    g_autoptr(json_t) strings = load_naughty_strings();
    if (strings == NULL) {
        g_test_skip("the corpus naughty-strings.tar.xz is not there; set BERTH_CORPORA");
        return;
    }
    g_assert_cmpuint(json_array_size(strings), >, 500);
    size_t index;
    json_t *value;
    json_array_foreach (strings, index, value) {
        assert_round_trip(json_string_value(value));
    }
}

static void
test_reads_a_foreign_domain_by_its_maximum(void)
{
    g_autofree char *xml = golden_read("domain-foreign.xml");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthDomain) domain = berth_domain_xml_parse(xml, &error);
    g_assert_no_error(error);
    g_assert_null(domain->mark);
    g_assert_cmpint(domain->id, ==, 7);
    g_assert_cmpstr(domain->machine, ==, "pc-i440fx-7.2");
    g_assert_cmpuint(domain->vcpus, ==, 2);
    g_assert_cmpuint(domain->vcpus_max, ==, 4);
    g_assert_cmpuint(domain->memory_kib, ==, 1048576);
    g_assert_cmpuint(domain->memory_max_kib, ==, 4 * 1048576);
}

static void
assert_not_read(const char *xml, const char *word)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_domain_xml_parse(xml, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, word));
}

static void
test_hostile_documents_are_refused(void)
{
    assert_not_read("<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>", "document type");
    assert_not_read("<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain>&a;</domain>",
                    "document type");
    assert_not_read("<!DOCTYPE d [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><domain>&b;</domain>",
                    "document type");
    assert_not_read("<domain>&unknown;</domain>", "not well-formed");
    assert_not_read("<domain><name>x</name>", "not well-formed");
    assert_not_read("", "not well-formed");
    assert_not_read("<network/>", "<network>");
    assert_not_read("<domain><name>x</name></domain>", "UUID");
}

static void
test_deep_and_large_documents_are_refused(void)
{
    g_autoptr(GString) deep = g_string_new(NULL);
    for (guint i = 0; i < 20000; i++) {
        g_string_append(deep, "<domain>");
    }
    assert_not_read(deep->str, "not well-formed");
    g_autofree char *large = g_malloc(BERTH_XML_SIZE_MAX + 2);
    memset(large, 0x20, BERTH_XML_SIZE_MAX + 1);
    large[BERTH_XML_SIZE_MAX + 1] = '\0';
    assert_not_read(large, "at most");
}

static void
test_absurd_sizes_are_clamped(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthDomain) domain = berth_domain_xml_parse(
        "<domain><name>x</name><uuid>u</uuid><vcpu current='-3'>99999999999</vcpu>"
        "<memory unit='TiB'>18446744073709551615</memory></domain>",
        &error);
    g_assert_no_error(error);
    g_assert_cmpuint(domain->vcpus_max, ==, G_MAXINT);
    g_assert_cmpuint(domain->memory_max_kib, ==, G_MAXUINT64 / 1024);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drivers/domain-xml/pod-on-q35-has-the-fixed-device-plan",
                    test_pod_on_q35_has_the_fixed_device_plan);
    g_test_add_func("/drivers/domain-xml/pod-on-microvm-has-mmio-addresses-everywhere",
                    test_pod_on_microvm_has_mmio_addresses_everywhere);
    g_test_add_func("/drivers/domain-xml/vm-with-everything-boots-its-disk-under-kvm",
                    test_vm_with_everything_boots_its_disk_under_kvm);
    g_test_add_func("/drivers/domain-xml/bound-vm-has-its-cells-and-pages",
                    test_bound_vm_has_its_cells_and_pages);
    g_test_add_func("/drivers/domain-xml/pinned-pod-has-its-cpus", test_pinned_pod_has_its_cpus);
    g_test_add_func("/drivers/domain-xml/cpus-are-those-asked-for", test_cpus_are_those_asked_for);
    g_test_add_func("/drivers/domain-xml/pod-has-devices-of-its-host",
                    test_pod_has_devices_of_its_host);
    g_test_add_func("/drivers/domain-xml/more-disks-do-not-move-the-first-ones",
                    test_more_disks_do_not_move_the_first_ones);
    g_test_add_func("/drivers/domain-xml/wrong-plans-are-refused-by-name",
                    test_wrong_plans_are_refused_by_name);
    g_test_add_func("/drivers/domain-xml/any-text-comes-back-from-the-mark",
                    test_any_text_comes_back_from_the_mark);
    g_test_add_func("/drivers/domain-xml/reads-a-foreign-domain-by-its-maximum",
                    test_reads_a_foreign_domain_by_its_maximum);
    g_test_add_func("/drivers/domain-xml/hostile-documents-are-refused",
                    test_hostile_documents_are_refused);
    g_test_add_func("/drivers/domain-xml/deep-and-large-documents-are-refused",
                    test_deep_and_large_documents_are_refused);
    g_test_add_func("/drivers/domain-xml/absurd-sizes-are-clamped", test_absurd_sizes_are_clamped);
    return g_test_run();
}
