/* XML without its dangers: no document type, so no entities; no network; no files; a byte budget and
 * libxml2's depth limit of 256. Writing goes through the tree only, so text is escaped in one place.
 *
 * Invariant: a document that names a DTD is refused before anything in the DTD is read. Any thread.
 * Start at berth_xml_parse(). */
#include "drivers/xml.h"

#include "base/error.h"

#include <libxml/parser.h>
#include <string.h>

/* Called by the parser at "<!DOCTYPE", before it reads the subset. */
static void
refuse_document_type(void *context, const xmlChar *name, const xmlChar *id,
                     const xmlChar *system_id)
{
    xmlParserCtxt *parser = context;
    *(gboolean *)parser->_private = TRUE;
    xmlStopParser(parser);
}

static void
set_parse_error(GError **error, xmlParserCtxt *parser, gboolean has_type)
{
    const xmlError *reason = xmlCtxtGetLastError(parser);
    if (has_type) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "XML with a document type (<!DOCTYPE>) is not accepted: remove it");
        return;
    }
    /* libxml2 quotes the document: control characters and line ends must not get further. */
    g_autofree char *message =
        g_utf8_make_valid(reason != NULL ? reason->message : "empty document", -1);
    for (char *c = message; *c != '\0'; c++) {
        *c = g_ascii_iscntrl(*c) ? ' ' : *c;
    }
    berth_error_set(error, BERTH_ERROR_INVALID, "not well-formed XML, line %d: %s",
                    reason != NULL ? reason->line : 1, g_strstrip(message));
}

/**
 * berth_xml_parse:
 * @text: the document; at most BERTH_XML_SIZE_MAX bytes
 * @root: (nullable): the name its root element must have
 *
 * Returns: (transfer full) (nullable): the tree; INVALID when it is too large, not well-formed, has a
 *     document type or another root
 */
BerthXml *
berth_xml_parse(const char *text, const char *root, GError **error)
{
    gsize size = strlen(text);
    if (size > BERTH_XML_SIZE_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "XML has %" G_GSIZE_FORMAT " bytes, at most %d are accepted", size,
                        BERTH_XML_SIZE_MAX);
        return NULL;
    }
    gboolean has_type = FALSE;
    xmlParserCtxt *parser = xmlNewParserCtxt();
    parser->_private = &has_type;
    parser->sax->internalSubset = refuse_document_type;
    g_autoptr(BerthXml) document =
        xmlCtxtReadMemory(parser, text, (int)size, NULL, NULL,
                          XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (document == NULL || has_type) {
        set_parse_error(error, parser, has_type);
        xmlFreeParserCtxt(parser);
        return NULL;
    }
    xmlFreeParserCtxt(parser);
    const xmlNode *found = xmlDocGetRootElement(document);
    if (root != NULL && strcmp((const char *)found->name, root) != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "XML of <%s> wanted, not of <%s>", root,
                        (const char *)found->name);
        return NULL;
    }
    return g_steal_pointer(&document);
}

static xmlNode *
find_from(xmlNode *node, const char *name)
{
    for (; node != NULL; node = node->next) {
        if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0) {
            return node;
        }
    }
    return NULL;
}

/** Returns: (nullable): the first child element of @node called @name; @node may be NULL. */
xmlNode *
berth_xml_child(const xmlNode *node, const char *name)
{
    return node != NULL ? find_from(node->children, name) : NULL;
}

/** Returns: (nullable): the next sibling element of @node called @name. */
xmlNode *
berth_xml_next(const xmlNode *node, const char *name)
{
    return find_from(node->next, name);
}

/** Returns: (nullable): the element at @path below @node, as "host/cpu/arch". */
xmlNode *
berth_xml_find(const xmlNode *node, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    for (char **name = names; *name != NULL && node != NULL; name++) {
        node = berth_xml_child(node, *name);
    }
    return (xmlNode *)node;
}

static char *
take_xml_string(xmlChar *text)
{
    char *copy = g_strdup((const char *)text);
    xmlFree(text);
    return copy;
}

/** Returns: (transfer full) (nullable): the text in @node, NULL when there is none. */
char *
berth_xml_text(const xmlNode *node)
{
    if (node == NULL || node->children == NULL) {
        return NULL;
    }
    return take_xml_string(xmlNodeGetContent(node));
}

/** Returns: (transfer full) (nullable): the attribute @name of @node; @node may be NULL. */
char *
berth_xml_attribute(const xmlNode *node, const char *name)
{
    return node != NULL ? take_xml_string(xmlGetNoNsProp(node, (const xmlChar *)name)) : NULL;
}

/** Returns: whether @node has the attribute @name with exactly @value. */
gboolean
berth_xml_attribute_is(const xmlNode *node, const char *name, const char *value)
{
    g_autofree char *found = berth_xml_attribute(node, name);
    return g_strcmp0(found, value) == 0;
}

/**
 * berth_xml_number:
 * @attribute: (nullable): NULL: the number is the element's text
 *
 * Returns: the number, decimal or after 0x hexadecimal; @fallback when there is none or it does not fit
 */
guint64
berth_xml_number(const xmlNode *node, const char *attribute, guint64 fallback)
{
    g_autofree char *text =
        attribute != NULL ? berth_xml_attribute(node, attribute) : berth_xml_text(node);
    if (text == NULL) {
        return fallback;
    }
    g_strstrip(text);
    guint base = g_str_has_prefix(text, "0x") ? 16 : 10;
    guint64 number = 0;
    const char *digits = base == 16 ? text + 2 : text;
    return g_ascii_string_to_unsigned(digits, base, 0, G_MAXUINT64, &number, NULL) ? number
                                                                                   : fallback;
}

/** Returns: the new last child of @parent, with @text (nullable) in it as data. */
xmlNode *
berth_xml_add(xmlNode *parent, const char *name, const char *text)
{
    return xmlNewTextChild(parent, parent->ns, (const xmlChar *)name, (const xmlChar *)text);
}

/** Sets the attribute @name of @node. */
void
berth_xml_set(xmlNode *node, const char *name, const char *value)
{
    xmlNewProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

/** As berth_xml_set(), with the value made by @format. */
void
berth_xml_set_format(xmlNode *node, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *value = g_strdup_vprintf(format, args);
    va_end(args);
    berth_xml_set(node, name, value);
}

/** Returns: (transfer full): @root and what is below as indented text without the XML declaration. */
char *
berth_xml_format(const xmlNode *root)
{
    xmlBuffer *buffer = xmlBufferCreate();
    xmlNodeDump(buffer, root->doc, (xmlNode *)root, 0, 1);
    xmlBufferCCat(buffer, "\n");
    char *text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

/** Returns: whether @text is UTF-8 and of the characters that XML 1.0 has. */
gboolean
berth_xml_can_hold(const char *text)
{
    if (!g_utf8_validate(text, -1, NULL)) {
        return FALSE;
    }
    for (const char *at = text; *at != '\0'; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        gboolean is_control = character < 0x20 && strchr("\t\n\r", (int)character) == NULL;
        if (is_control || character == 0xFFFE || character == 0xFFFF) {
            return FALSE;
        }
    }
    return TRUE;
}
