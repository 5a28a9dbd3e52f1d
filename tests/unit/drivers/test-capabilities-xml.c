/* A host's inventory from documents as libvirt writes them: sizes, cells, huge pages, devices. */
#include "base/error.h"
#include "drivers/capabilities-xml.h"
#include "tests/golden/golden.h"

#include <string.h>

static BerthInventory *
read_capabilities(const char *name)
{
    g_autofree char *xml = golden_read(name);
    g_autoptr(GError) error = NULL;
    BerthInventory *inventory = berth_inventory_new();
    g_assert_true(berth_capabilities_read(inventory, xml, &error));
    g_assert_no_error(error);
    return inventory;
}

static void
test_one_cell_without_kvm(void)
{
    g_autoptr(BerthInventory) inventory = read_capabilities("capabilities-one-cell.xml");
    g_assert_cmpstr(inventory->uuid, ==, "0a0b0c0d-1111-4222-8333-444455556666");
    g_assert_cmpstr(inventory->cpu_model, ==, "Haswell-noTSX");
    g_assert_cmpuint(inventory->tsc_khz, ==, 2400123);
    g_assert_cmpuint(inventory->cpus, ==, 2);
    g_assert_cmpuint(inventory->memory_kib, ==, 8000000);
    /* The 32-bit guest claims KVM; the host's own architecture does not. */
    g_assert_false(inventory->claims_kvm);
    g_assert_true(g_strv_contains((const char *const *)inventory->machine_types, "microvm"));
    g_assert_false(g_strv_contains((const char *const *)inventory->machine_types, "isapc"));
}

static void
test_two_cells_with_huge_pages(void)
{
    g_autoptr(BerthInventory) inventory = read_capabilities("capabilities-two-cells.xml");
    g_assert_true(inventory->claims_kvm);
    g_assert_cmpuint(inventory->tsc_khz, ==, 0);
    g_assert_cmpuint(inventory->cells->len, ==, 2);
    const BerthCell *first = inventory->cells->pdata[0], *second = inventory->cells->pdata[1];
    g_assert_cmpuint(first->cpu_count, ==, 3);
    g_assert_cmpuint(first->cpus[2], ==, 4);
    g_assert_cmpuint(first->huge_page_kinds, ==, 2);
    g_assert_cmpuint(first->huge_pages[0].size_kib, ==, 2048);
    g_assert_cmpuint(first->huge_pages[0].count, ==, 4096);
    g_assert_cmpuint(first->huge_pages[1].count, ==, 8);
    g_assert_cmpuint(second->id, ==, 1);
    g_assert_cmpuint(second->memory_kib, ==, 16384000);
    g_assert_cmpuint(inventory->memory_kib, ==, 32768000 + 16384000);
}

static void
assert_names(char **names, const char *expected)
{
    g_autofree char *all = g_strjoinv(" ", names);
    g_assert_cmpstr(all, ==, expected);
}

static void
test_guests_can_have_usable_models_and_required_features(void)
{
    g_autofree char *xml = golden_read("domain-capabilities.xml");
    g_autofree char *expanded = golden_read("cpu-expanded.xml"), *fullest = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) models = berth_cpu_models_read(xml, &fullest, &error);
    g_assert_no_error(error);
    assert_names(models, "qemu64 EPYC");
    g_auto(GStrv) own = berth_cpu_features_read(fullest, &error);
    g_assert_no_error(error);
    assert_names(own, "x2apic");
    g_assert_nonnull(strstr(fullest, "<model fallback=\"forbid\">EPYC</model>"));
    g_auto(GStrv) features = berth_cpu_features_read(expanded, &error);
    g_assert_no_error(error);
    assert_names(features, "aes x2apic");
    g_assert_null(berth_cpu_models_read(expanded, &fullest, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
}

static void
test_gpu_has_address_class_group_and_cell(void)
{
    g_autofree char *xml = golden_read("device-gpu.xml");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthPciDevice) device = berth_pci_device_parse(xml, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(device->address, ==, "0000:41:00.0");
    g_assert_cmpstr(device->vendor_id, ==, "0x10de");
    g_assert_cmpstr(device->product_id, ==, "0x20b0");
    g_assert_cmpstr(device->class_id, ==, "0x030200");
    g_assert_cmpstr(device->product, ==, "Accelerator 40 GB");
    g_assert_cmpint(device->iommu_group, ==, 27);
    g_assert_cmpint(device->numa_cell, ==, 1);
}

static void
test_network_tells_its_ipv4_side(void)
{
    g_autofree char *xml = golden_read("network-nat.xml");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthHostNetwork) network = berth_host_network_parse(xml, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(network->forward, ==, "nat");
    g_assert_cmpstr(network->bridge, ==, "virbr0");
    g_assert_cmpstr(network->cidr, ==, "10.20.0.1/22");
    g_assert_cmpstr(network->dhcp_start, ==, "10.20.1.2");
    g_assert_cmpstr(network->dhcp_end, ==, "10.20.1.254");
}

static void
test_isolated_network_has_no_forward(void)
{
    g_autoptr(BerthHostNetwork) network =
        berth_host_network_parse("<network><name>n</name></network>", NULL);
    g_assert_null(network->forward);
    g_assert_null(network->cidr);
    g_assert_null(network->dhcp_start);
}

static void
test_only_dir_pools_are_folders(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *target = berth_host_pool_parse_target(
        "<pool type='dir'><name>p</name><target><path>/x</path></target></pool>", NULL);
    g_assert_cmpstr(target, ==, "/x");
    g_assert_null(berth_host_pool_parse_target("<pool type='iscsi'><name>p</name></pool>", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
}

static void
test_maker_names_the_processor_best(void)
{
    g_autoptr(BerthInventory) inventory = read_capabilities("capabilities-one-cell.xml");
    g_assert_true(berth_sysinfo_read(inventory,
                                     "<sysinfo type='smbios'><processor><entry name='version'>"
                                     " Fast CPU 3.0GHz </entry></processor></sysinfo>",
                                     NULL));
    g_assert_cmpstr(inventory->cpu_model, ==, "Fast CPU 3.0GHz");
}

static void
test_lies_are_refused_or_clamped(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthInventory) inventory = berth_inventory_new();
    g_assert_false(berth_capabilities_read(inventory, "<capabilities/>", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_autoptr(BerthInventory) liar = berth_inventory_new();
    g_assert_true(berth_capabilities_read(
        liar,
        "<capabilities><host><uuid>u</uuid><cpu><arch>x86_64</arch></cpu><topology><cells>"
        "<cell id='-1'><memory>18446744073709551615</memory></cell>"
        "<cell id='99999999999'><memory>18446744073709551615</memory></cell>"
        "</cells></topology></host></capabilities>",
        NULL));
    g_assert_cmpuint(liar->memory_kib, ==, G_MAXUINT64);
    g_assert_cmpuint(((BerthCell *)liar->cells->pdata[1])->id, ==, G_MAXINT);
    g_assert_cmpuint(liar->cpus, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drivers/capabilities-xml/one-cell-without-kvm", test_one_cell_without_kvm);
    g_test_add_func("/drivers/capabilities-xml/two-cells-with-huge-pages",
                    test_two_cells_with_huge_pages);
    g_test_add_func("/drivers/capabilities-xml/guests-can-have-usable-models",
                    test_guests_can_have_usable_models_and_required_features);
    g_test_add_func("/drivers/capabilities-xml/gpu-has-address-class-group-and-cell",
                    test_gpu_has_address_class_group_and_cell);
    g_test_add_func("/drivers/capabilities-xml/network-tells-its-ipv4-side",
                    test_network_tells_its_ipv4_side);
    g_test_add_func("/drivers/capabilities-xml/isolated-network-has-no-forward",
                    test_isolated_network_has_no_forward);
    g_test_add_func("/drivers/capabilities-xml/only-dir-pools-are-folders",
                    test_only_dir_pools_are_folders);
    g_test_add_func("/drivers/capabilities-xml/maker-names-the-processor-best",
                    test_maker_names_the_processor_best);
    g_test_add_func("/drivers/capabilities-xml/lies-are-refused-or-clamped",
                    test_lies_are_refused_or_clamped);
    return g_test_run();
}
