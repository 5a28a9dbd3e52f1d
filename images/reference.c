/* References to images ("docker.io/library/busybox:1.36@sha256:…") and sha256 digests.
 *
 * Invariant: a BerthDigest holds 64 lower-case hex digits whatever was parsed, so it may name a file.
 * Pure; thread-safe. Start at berth_reference_parse(). */
#include "images/reference.h"

#include "base/error.h"

#include <string.h>

#define DEFAULT_REGISTRY "docker.io"
#define DEFAULT_TAG "latest"
#define TAG_MAX 128

/**
 * berth_digest_parse:
 * @text: "sha256:" and 64 lower-case hex digits; need not be NUL-terminated
 * @size: bytes of @text
 * @digest: (out): set on success only
 *
 * Other algorithms are refused: nothing Berth runs needs them, and a weak one would be a way in.
 *
 * Errors: INVALID.
 */
gboolean
berth_digest_parse(const char *text, gsize size, BerthDigest *digest, GError **error)
{
    static const char prefix[] = "sha256:";
    const gsize skip = sizeof prefix - 1;
    gboolean ok = text != NULL && size == skip + 64 && memcmp(text, prefix, skip) == 0;
    for (gsize i = skip; ok && i < size; i++) {
        ok = g_ascii_isdigit(text[i]) || (text[i] >= 'a' && text[i] <= 'f');
    }
    if (!ok) {
        g_autofree char *shown = g_strndup(text == NULL ? "" : text, MIN(size, 100));
        g_autofree char *escaped = g_strescape(shown, NULL);
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "'%s' is not a digest of the form sha256:<64 lower-case hex digits>",
                        escaped);
        return FALSE;
    }
    memcpy(digest->hex, text + skip, 64);
    digest->hex[64] = '\0';
    return TRUE;
}

/** Returns: (transfer full): "sha256:<hex>". */
char *
berth_digest_format(const BerthDigest *digest)
{
    return g_strconcat("sha256:", digest->hex, NULL);
}

/** Sets @digest to the sha256 of @data. */
void
berth_digest_of_bytes(const void *data, gsize size, BerthDigest *digest)
{
    g_autofree char *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
    g_strlcpy(digest->hex, hex, sizeof digest->hex);
}

gboolean
berth_digest_equal(const BerthDigest *a, const BerthDigest *b)
{
    return strcmp(a->hex, b->hex) == 0;
}

static gboolean
is_lower_alnum(char c)
{
    return g_ascii_isdigit(c) || (c >= 'a' && c <= 'z');
}

/* One part of a repository between slashes: runs of a-z 0-9 joined by one '.', one or two '_', or
 * any number of '-'. */
static gboolean
is_repository_part(const char *part)
{
    gsize length = strlen(part);
    if (length == 0 || !is_lower_alnum(part[0]) || !is_lower_alnum(part[length - 1])) {
        return FALSE;
    }
    for (const char *p = part; *p != '\0';) {
        if (is_lower_alnum(*p)) {
            p++;
            continue;
        }
        gsize dots = strspn(p, "."), bars = strspn(p, "_"), dashes = strspn(p, "-");
        gsize run = MAX(MAX(dots, bars), dashes);
        if (run == 0 || dots > 1 || bars > 2 || !is_lower_alnum(p[run])) {
            return FALSE;
        }
        p += run;
    }
    return TRUE;
}

static gboolean
is_repository(const char *name)
{
    if (strlen(name) > BERTH_REPOSITORY_MAX) {
        return FALSE;
    }
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    for (guint i = 0; parts[i] != NULL; i++) {
        if (!is_repository_part(parts[i])) {
            return FALSE;
        }
    }
    return parts[0] != NULL;
}

static gboolean
is_tag(const char *tag)
{
    gsize length = strlen(tag);
    if (length == 0 || length > TAG_MAX || tag[0] == '.' || tag[0] == '-') {
        return FALSE;
    }
    for (const char *p = tag; *p != '\0'; p++) {
        if (!g_ascii_isalnum(*p) && strchr("_.-", *p) == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_port(const char *text)
{
    guint64 port;
    return text[0] != '0' && g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL);
}

static gboolean
is_host_label(const char *label)
{
    gsize length = strlen(label);
    if (length == 0 || length > 63 || label[0] == '-' || label[length - 1] == '-') {
        return FALSE;
    }
    return strspn(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ==
           length;
}

/* A host name or IPv4 address, or an IPv6 address in brackets. */
static gboolean
is_host(const char *host)
{
    gsize length = strlen(host);
    if (host[0] == '[') {
        return length > 3 && host[length - 1] == ']' &&
               strspn(host + 1, "0123456789abcdefABCDEF:.") == length - 2;
    }
    if (length == 0 || length > 253) {
        return FALSE;
    }
    g_auto(GStrv) labels = g_strsplit(host, ".", -1);
    for (guint i = 0; labels[i] != NULL; i++) {
        if (!is_host_label(labels[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_registry(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon != NULL && strchr(colon, ']') == NULL) {
        g_autofree char *host = g_strndup(text, (gsize)(colon - text));
        return is_port(colon + 1) && is_host(host);
    }
    return is_host(text);
}

/* Docker's rule: the part before the first slash is a registry when it can't be a user's name. */
static gboolean
looks_like_registry(const char *first)
{
    return strpbrk(first, ".:[") != NULL || strcmp(first, "localhost") == 0;
}

/* Cuts "@digest" and ":tag" off @rest and fills them in. */
static gboolean
take_version(char *rest, BerthReference *reference, GError **error)
{
    char *at = strchr(rest, '@');
    if (at != NULL) {
        if (!berth_digest_parse(at + 1, strlen(at + 1), &reference->digest, error)) {
            return FALSE;
        }
        reference->has_digest = TRUE;
        *at = '\0';
    }
    char *slash = strrchr(rest, '/');
    char *colon = strchr(slash == NULL ? rest : slash, ':');
    if (colon != NULL) {
        if (!is_tag(colon + 1)) {
            g_autofree char *shown = g_strescape(colon + 1, NULL);
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is not a tag of an image", shown);
            return FALSE;
        }
        reference->tag = g_strdup(colon + 1);
        *colon = '\0';
    } else if (at == NULL) {
        reference->tag = g_strdup(DEFAULT_TAG);
    }
    return TRUE;
}

static gboolean
take_name(const char *name, BerthReference *reference, GError **error)
{
    const char *slash = strchr(name, '/');
    g_autofree char *first = slash == NULL ? NULL : g_strndup(name, (gsize)(slash - name));
    if (first != NULL && looks_like_registry(first)) {
        reference->registry = g_ascii_strdown(first, -1);
        name = slash + 1;
    } else {
        reference->registry = g_strdup(DEFAULT_REGISTRY);
    }
    if (strcmp(reference->registry, "index.docker.io") == 0 ||
        strcmp(reference->registry, "registry-1.docker.io") == 0) {
        g_free(reference->registry);
        reference->registry = g_strdup(DEFAULT_REGISTRY);
    }
    gboolean official =
        strcmp(reference->registry, DEFAULT_REGISTRY) == 0 && strchr(name, '/') == NULL;
    reference->repository = official ? g_strconcat("library/", name, NULL) : g_strdup(name);
    if (!is_registry(reference->registry) || !is_repository(reference->repository)) {
        g_autofree char *shown = g_strescape(name, NULL);
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "use [REGISTRY/]REPOSITORY[:TAG][@sha256:…], all in lower case",
                           "'%s' is not the name of an image", shown);
        return FALSE;
    }
    return TRUE;
}

/**
 * berth_reference_parse:
 * @text: "busybox", "user/app:1", "localhost:5000/app", "quay.io/x/y@sha256:…"
 *
 * Reads a reference with Docker's defaults: registry docker.io, there "library/" for names without
 * a slash, tag "latest" when neither a tag nor a digest is given.
 *
 * Returns: (transfer full): the reference, or NULL. Errors: INVALID.
 */
BerthReference *
berth_reference_parse(const char *text, GError **error)
{
    gsize length = text == NULL ? 0 : strlen(text);
    if (length == 0 || length > BERTH_REFERENCE_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "a reference to an image has 1 to %d characters, not %zu",
                        BERTH_REFERENCE_MAX, length);
        return NULL;
    }
    g_autoptr(BerthReference) reference = g_new0(BerthReference, 1);
    g_autofree char *rest = g_strdup(text);
    if (!take_version(rest, reference, error) || !take_name(rest, reference, error)) {
        return NULL;
    }
    return g_steal_pointer(&reference);
}

static char *
format_from(const char *name, const BerthReference *reference)
{
    return g_strconcat(name, reference->tag == NULL ? "" : ":",
                       reference->tag == NULL ? "" : reference->tag,
                       reference->has_digest ? "@sha256:" : "",
                       reference->has_digest ? reference->digest.hex : "", NULL);
}

/** Returns: (transfer full): the one canonical spelling, "docker.io/library/busybox:latest". */
char *
berth_reference_format(const BerthReference *reference)
{
    g_autofree char *name = g_strconcat(reference->registry, "/", reference->repository, NULL);
    return format_from(name, reference);
}

/** Returns: (transfer full): as people write it, "busybox:latest"; parses to the same reference. */
char *
berth_reference_format_familiar(const BerthReference *reference)
{
    if (strcmp(reference->registry, DEFAULT_REGISTRY) != 0) {
        return berth_reference_format(reference);
    }
    const char *name = reference->repository;
    if (g_str_has_prefix(name, "library/")) {
        name += strlen("library/");
        /* "library/a.b/c" must keep its prefix, or "a.b" would be read as a registry. */
        return strchr(name, '/') == NULL ? format_from(name, reference)
                                         : berth_reference_format(reference);
    }
    g_autofree char *first = g_strndup(name, strcspn(name, "/"));
    return looks_like_registry(first) ? berth_reference_format(reference)
                                      : format_from(name, reference);
}

void
berth_reference_free(BerthReference *reference)
{
    if (reference == NULL) {
        return;
    }
    g_free(reference->registry);
    g_free(reference->repository);
    g_free(reference->tag);
    g_free(reference);
}
