/* Reading is bounded and strict (yaml.c); what a document means is the server's to say: only kind and
 * name are looked at here, for the path. */
#include "cli/document.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "cli/cmd.h"
#include "cli/resolve.h"
#include "cli/yaml.h"

/**
 * berth_read_file:
 * @path: "-" is stdin
 *
 * Returns: (transfer full): all of it, NUL-terminated. Errors: INVALID when it is larger than @limit;
 * those of open and read.
 */
char *
berth_read_file(const char *path, gsize limit, gsize *size, GError **error)
{
    gboolean is_stdin = strcmp(path, "-") == 0;
    g_auto(BerthFd) fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        berth_error_set_errno(error, errno, "cannot read '%s'", path);
        return NULL;
    }
    g_autoptr(GByteArray) all = g_byte_array_new();
    guint8 buffer[16 * 1024];
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) != 0) {
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            berth_error_set_errno(error, errno, "cannot read '%s'", path);
            return NULL;
        }
        if (all->len + (gsize)got > limit) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is larger than %zu bytes", path,
                            limit);
            return NULL;
        }
        g_byte_array_append(all, buffer, (guint)got);
    }
    *size = all->len;
    g_byte_array_append(all, (const guint8 *)"", 1);
    return (char *)g_byte_array_free(g_steal_pointer(&all), FALSE);
}

/* JSON first where it looks like it: libyaml does not know all of JSON's escapes. */
static json_t *
parse(const char *text, gsize size, GError **error)
{
    gsize blank = strspn(text, " \t\r\n");
    if (text[blank] == '{' || text[blank] == '[') {
        json_t *value =
            berth_json_parse_limited(text, size, BERTH_YAML_SIZE_MAX, BERTH_YAML_DEPTH_MAX, NULL);
        if (value != NULL && json_is_array(value)) {
            return value;
        }
        if (value != NULL) {
            return json_pack("[o]", value);
        }
    }
    return berth_yaml_parse(text, size, error);
}

/**
 * berth_documents_read:
 * @path: a file, or "-" for stdin
 *
 * Returns: (transfer full): an array of the documents that are objects; empty ones are left out, the
 * items of a list {"items": […]} are taken one by one. Errors: INVALID with file and line.
 */
json_t *
berth_documents_read(const char *path, GError **error)
{
    gsize size;
    g_autofree char *text = berth_read_file(path, BERTH_YAML_SIZE_MAX, &size, error);
    g_autoptr(json_t) all = text != NULL ? parse(text, size, error) : NULL;
    if (all == NULL) {
        if (text != NULL) {
            g_prefix_error(error, "%s: ", path);
        }
        return NULL;
    }
    g_autoptr(json_t) documents = json_array();
    gsize i;
    json_t *document;
    json_array_foreach (all, i, document) {
        json_t *items = json_object_get(document, "items");
        if (json_is_array(items)) {
            json_array_extend(documents, items);
        } else if (!json_is_null(document)) {
            json_array_append(documents, document);
        }
    }
    return g_steal_pointer(&documents);
}

/**
 * berth_documents_read_all:
 * @paths: NULL-terminated
 *
 * Returns: (transfer full): the documents of all of them, as berth_documents_read() has them
 */
json_t *
berth_documents_read_all(char *const *paths, GError **error)
{
    g_autoptr(json_t) all = json_array();
    for (; *paths != NULL; paths++) {
        g_autoptr(json_t) some = berth_documents_read(*paths, error);
        if (some == NULL) {
            return NULL;
        }
        json_array_extend(all, some);
    }
    return g_steal_pointer(&all);
}

/**
 * berth_document_path:
 *
 * Returns: (transfer full): where @document is PUT to. Errors: INVALID, with the place.
 */
char *
berth_document_path(BerthSession *session, const json_t *document, GError **error)
{
    const char *kind_name = berth_json_string(document, "kind");
    const char *name = json_string_value(berth_json_at(document, "/metadata/name"));
    if (!json_is_object(document) || kind_name == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/kind", "berth explain lists the kinds",
                           "a document needs a kind");
        return NULL;
    }
    const BerthKind *kind = berth_resolve_kind(kind_name, error);
    if (kind == NULL) {
        return NULL;
    }
    if (name == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/metadata/name", NULL,
                           "%s needs a name to be applied", kind->name);
        return NULL;
    }
    const char *project = json_string_value(berth_json_at(document, "/metadata/project"));
    if (kind->scope == BERTH_SCOPE_PROJECT && project != NULL) {
        g_autofree char *one = berth_url_escape(project);
        g_autofree char *two = berth_url_escape(name);
        return g_strdup_printf("/v1/projects/%s/%s/%s", one, kind->plural, two);
    }
    return berth_object_url(session, kind, name);
}
