/* Reading XML that comes from outside, and small steps over its tree. Any thread. */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

G_BEGIN_DECLS

/* libvirt's own limit for a string in its protocol. */
#define BERTH_XML_SIZE_MAX (4 * 1024 * 1024)

typedef xmlDoc BerthXml;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthXml, xmlFreeDoc)

BerthXml *berth_xml_parse(const char *text, const char *root, GError **error);

xmlNode *berth_xml_child(const xmlNode *node, const char *name);
xmlNode *berth_xml_next(const xmlNode *node, const char *name);
xmlNode *berth_xml_find(const xmlNode *node, const char *path);
char *berth_xml_text(const xmlNode *node);
char *berth_xml_attribute(const xmlNode *node, const char *name);
gboolean berth_xml_attribute_is(const xmlNode *node, const char *name, const char *value);
guint64 berth_xml_number(const xmlNode *node, const char *attribute, guint64 fallback);

xmlNode *berth_xml_add(xmlNode *parent, const char *name, const char *text);
void berth_xml_set(xmlNode *node, const char *name, const char *value);
void berth_xml_set_format(xmlNode *node, const char *name, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
char *berth_xml_format(const xmlNode *root);
gboolean berth_xml_can_hold(const char *text);

G_END_DECLS
