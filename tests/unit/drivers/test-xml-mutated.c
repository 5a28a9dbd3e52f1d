/* Whatever a libvirtd says about a domain, a mark, its host, devices, networks or pools: it is read, or refused with a
 * reason of one line. Golden documents are the seeds; bytes, tags and attributes are changed, cut and doubled. */
#include "base/error.h"
#include "drivers/capabilities-xml.h"
#include "drivers/domain-xml.h"
#include "tests/golden/golden.h"

#include <string.h>

#define ROUNDS 1500

static gboolean
read_domain(const char *xml, GError **error)
{
    g_autoptr(BerthDomain) domain = berth_domain_xml_parse(xml, error);
    return domain != NULL;
}

static gboolean
read_mark(const char *xml, GError **error)
{
    g_autoptr(BerthDomainMark) mark = berth_domain_mark_parse(xml, error);
    return mark != NULL;
}

static gboolean
read_capabilities(const char *xml, GError **error)
{
    g_autoptr(BerthInventory) inventory = berth_inventory_new();
    return berth_capabilities_read(inventory, xml, error);
}

static gboolean
read_device(const char *xml, GError **error)
{
    g_autoptr(BerthPciDevice) device = berth_pci_device_parse(xml, error);
    return device != NULL;
}

static gboolean
read_network(const char *xml, GError **error)
{
    g_autoptr(BerthHostNetwork) network = berth_host_network_parse(xml, error);
    return network != NULL;
}

static const struct {
    const char *name, *seed;
    gboolean (*read)(const char *xml, GError **error);
    gboolean is_read; /* the seed itself */
} readers[] = {
    {"domain-of-a-pod", "domain-pod-q35.xml", read_domain, TRUE},
    {"foreign-domain", "domain-foreign.xml", read_domain, TRUE},
    {"mark", "domain-pod-q35.xml", read_mark, TRUE},
    {"capabilities", "capabilities-two-cells.xml", read_capabilities, TRUE},
    {"device", "device-gpu.xml", read_device, TRUE},
    {"network", "network-nat.xml", read_network, TRUE},
};

static const char *const words[] = {
    "<domain>",
    "</domain>",
    "<memory unit='EiB'>",
    "99999999999999999999",
    "-1",
    "1e400",
    "NaN",
    "&#0;",
    "&#xFFFF;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "<!DOCTYPE a>",
    "<?xml?>",
    "&lt;",
    "xmlns:q='urn:'",
    "unit='kB'",
    "\xff",
    "<cell id='-5'>",
    "<cpu/>",
    "'",
    "\"",
    "<",
    ">",
    "/",
    "{\"a\":[",
    "<vcpu>x</vcpu>",
};

static void
mutate(GString *text, GRand *random)
{
    for (gint i = g_rand_int_range(random, 1, 4); i > 0 && text->len > 1; i--) {
        gssize at = g_rand_int_range(random, 0, (gint32)text->len);
        gssize other = g_rand_int_range(random, 0, (gint32)text->len);
        switch (g_rand_int_range(random, 0, 5)) {
        case 0:
            text->str[at] = (char)g_rand_int_range(random, 1, 256);
            break;
        case 1:
            g_string_insert(text, at,
                            words[g_rand_int_range(random, 0, (gint32)G_N_ELEMENTS(words))]);
            break;
        case 2:
            g_string_erase(text, MIN(at, other), MAX(at, other) - MIN(at, other));
            break;
        case 3:
            g_string_truncate(text, (gsize)at);
            break;
        default: {
            g_autofree char *part = g_strndup(text->str + MIN(at, other),
                                              (gsize)MIN(MAX(at, other) - MIN(at, other), 2000));
            g_string_insert(text, at, part);
        }
        }
    }
}

static void
test_mutated(gconstpointer data)
{
    guint i = GPOINTER_TO_UINT(data);
    g_autofree char *seed = golden_read(readers[i].seed);
    g_autoptr(GRand) random = g_rand_new_with_seed(20261128 + i);
    guint read = 0;
    g_assert_true(readers[i].read(seed, NULL) == readers[i].is_read);
    for (guint round = 0; round < ROUNDS; round++) {
        g_autoptr(GString) text = g_string_new(seed);
        g_autoptr(GError) error = NULL;
        mutate(text, random);
        gboolean is_read = readers[i].read(text->str, &error);
        g_assert_true(is_read == (error == NULL));
        if (error != NULL && (strpbrk(error->message, "\n\r\x1b") != NULL ||
                              !g_utf8_validate(error->message, -1, NULL))) {
            g_error("%s says '%s'", readers[i].name, error->message);
        }
        read += is_read;
    }
    g_test_message("%s: %u of %u were read", readers[i].name, read, ROUNDS);
    g_assert_cmpuint(read, <, ROUNDS);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(readers); i++) {
        g_autofree char *path = g_strconcat("/drivers/xml-mutated/", readers[i].name, NULL);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_mutated);
    }
    return g_test_run();
}
