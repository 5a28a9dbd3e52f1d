/* libvirt's XML of a domain as Berth's record: identity, size, and the ownership mark. Foreign domains
 * are read just as well; what is missing in them stays unknown. Any thread.
 * Start at berth_domain_xml_parse(). */
#include "drivers/domain-xml.h"

#include "base/error.h"
#include "drivers/xml.h"

#include <string.h>

/* libvirt's scaled integers; it writes KiB itself, people write anything. */
static guint64
bytes_of_unit(const char *unit)
{
    static const struct {
        const char *name;
        guint64 bytes;
    } units[] = {
        {"b", 1},
        {"bytes", 1},
        {"KB", 1000},
        {"k", 1024},
        {"KiB", 1024},
        {"MB", 1000000},
        {"M", 1048576},
        {"MiB", 1048576},
        {"GB", 1000000000},
        {"G", 1073741824},
        {"GiB", 1073741824},
        {"TB", 1000000000000},
        {"T", 1099511627776},
        {"TiB", 1099511627776},
    };
    for (guint i = 0; i < G_N_ELEMENTS(units); i++) {
        if (strcmp(unit, units[i].name) == 0) {
            return units[i].bytes;
        }
    }
    return 1024;
}

/* Returns: the memory in KiB, rounded down; 0 when absent, and G_MAXUINT64 / 1024 at most. */
static guint64
read_memory_kib(const xmlNode *node)
{
    g_autofree char *unit = berth_xml_attribute(node, "unit");
    guint64 bytes = 0;
    guint64 scale = unit != NULL ? bytes_of_unit(unit) : 1024;
    if (__builtin_mul_overflow(berth_xml_number(node, NULL, 0), scale, &bytes)) {
        bytes = G_MAXUINT64;
    }
    return bytes / 1024;
}

static guint
clamp_to_uint(guint64 number)
{
    return (guint)MIN(number, G_MAXINT);
}

static char *
text_of_child(const xmlNode *node, const char *name)
{
    return berth_xml_text(berth_xml_child(node, name));
}

/* An element of another format is still a mark: whoever wrote it, it is not ours to overwrite. */
static BerthDomainMark *
read_mark(const xmlNode *node)
{
    g_autofree char *generation = text_of_child(node, "generation");
    BerthDomainMark *mark = g_new(BerthDomainMark, 1);
    *mark = (BerthDomainMark){
        .fleet = text_of_child(node, "fleet"),
        .uid = text_of_child(node, "uid"),
        .kind = text_of_child(node, "kind"),
        .project = text_of_child(node, "project"),
        .name = text_of_child(node, "name"),
        .generation = generation != NULL ? g_ascii_strtoll(generation, NULL, 10) : 0,
        .spec = text_of_child(node, "spec"),
        .labels = text_of_child(node, "labels"),
        .format = clamp_to_uint(berth_xml_number(node, "format", 0)),
    };
    return mark;
}

static gboolean
is_mark(const xmlNode *node)
{
    return node->ns != NULL && strcmp((const char *)node->ns->href, BERTH_METADATA_URI) == 0;
}

static BerthDomainMark *
find_mark(const xmlNode *domain)
{
    const xmlNode *node = berth_xml_child(berth_xml_child(domain, "metadata"), "domain");
    for (; node != NULL; node = berth_xml_next(node, "domain")) {
        if (is_mark(node)) {
            return read_mark(node);
        }
    }
    return NULL;
}

/* <memory> is the most that the guest starts with, <maxMemory> what plugging can make of it. */
static void
read_size(const xmlNode *root, BerthDomain *domain)
{
    const xmlNode *vcpu = berth_xml_child(root, "vcpu");
    guint64 most = berth_xml_number(vcpu, NULL, 1);
    domain->vcpus_max = clamp_to_uint(most);
    domain->vcpus = clamp_to_uint(berth_xml_number(vcpu, "current", most));
    guint64 memory = read_memory_kib(berth_xml_child(root, "memory"));
    guint64 plugged = read_memory_kib(berth_xml_child(root, "maxMemory"));
    guint64 current = read_memory_kib(berth_xml_child(root, "currentMemory"));
    domain->memory_max_kib = MAX(memory, plugged);
    domain->memory_kib = current != 0 ? current : memory;
}

/**
 * berth_domain_xml_parse:
 * @xml: what virDomainGetXMLDesc gave
 *
 * Returns: (transfer full) (nullable): identity, size, machine and mark; the state stays SHUTOFF, the
 *     caller knows better. INVALID for XML that is no domain with a name and a UUID
 */
BerthDomain *
berth_domain_xml_parse(const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "domain", error);
    if (document == NULL) {
        return NULL;
    }
    const xmlNode *root = xmlDocGetRootElement(document);
    g_autoptr(BerthDomain) domain = g_new0(BerthDomain, 1);
    domain->uuid = text_of_child(root, "uuid");
    domain->name = text_of_child(root, "name");
    if (domain->uuid == NULL || domain->name == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "domain XML without a name and a UUID");
        return NULL;
    }
    domain->title = text_of_child(root, "title");
    domain->id = (int)MIN(berth_xml_number(root, "id", G_MAXUINT64), (guint64)G_MAXUINT);
    domain->machine = berth_xml_attribute(berth_xml_find(root, "os/type"), "machine");
    read_size(root, domain);
    domain->mark = find_mark(root);
    return g_steal_pointer(&domain);
}

/**
 * berth_domain_mark_parse:
 * @xml: the element that virDomainGetMetadata gave for BERTH_METADATA_URI; libvirt leaves the
 *     namespace's declaration in or out, as its version likes
 *
 * Returns: (transfer full) (nullable): the mark; INVALID when it is no such element
 */
BerthDomainMark *
berth_domain_mark_parse(const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "domain", error);
    return document != NULL ? read_mark(xmlDocGetRootElement(document)) : NULL;
}
