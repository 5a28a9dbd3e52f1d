/* A key is taken only when its base64 holds what its first word says (RFC 4253, 6.6: the blob
 * begins with the type as a string), so no other text can get into a file of known hosts. */
#include "model/ssh-key.h"

#include "base/error.h"

#include <string.h>

static const char *const types[] = {
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
    NULL};

static gboolean
holds_type(const guchar *blob, gsize size, const char *type)
{
    gsize length = strlen(type);
    return size > 4 + length && blob[0] == 0 && blob[1] == 0 && blob[2] == 0 && blob[3] == length &&
           memcmp(blob + 4, type, length) == 0;
}

/* glib's decoder skips what is not base64; a key with such characters in it is none. */
static gboolean
is_base64(const char *text)
{
    gsize length = strlen(text);
    gsize body = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    return length > 0 && length % 4 == 0 && length - body <= 2 &&
           strspn(text + body, "=") == length - body;
}

/**
 * berth_ssh_key_parse:
 * @text: "ssh-ed25519 AAAAC3…", with a comment perhaps
 *
 * Returns: (transfer full): "TYPE BASE64" alone. Errors: INVALID.
 */
char *
berth_ssh_key_parse(const char *text, GError **error)
{
    g_auto(GStrv) words = g_strsplit(text, " ", 3);
    if (g_strv_length(words) < 2 || !g_strv_contains(types, words[0]) || !is_base64(words[1])) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "one line as in /etc/ssh/ssh_host_ed25519_key.pub",
                           "no SSH public key: \"ssh-ed25519 AAAA…\" is wanted");
        return NULL;
    }
    gsize size = 0;
    g_autofree guchar *blob = g_base64_decode(words[1], &size);
    if (!holds_type(blob, size, words[0])) {
        berth_error_set(error, BERTH_ERROR_INVALID, "the SSH public key is damaged: it holds no %s",
                        words[0]);
        return NULL;
    }
    return g_strconcat(words[0], " ", words[1], NULL);
}

/** Returns: (transfer full): "SHA256:…" of a key that berth_ssh_key_parse() gave, as ssh-keygen
 * -l says it. */
char *
berth_ssh_key_fingerprint(const char *key)
{
    gsize size = 0, length = 32;
    guint8 digest[32];
    g_autofree guchar *blob = g_base64_decode(strchr(key, ' ') + 1, &size);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(sum, blob, (gssize)size);
    g_checksum_get_digest(sum, digest, &length);
    g_autofree char *text = g_base64_encode(digest, length);
    text[strcspn(text, "=")] = '\0';
    return g_strconcat("SHA256:", text, NULL);
}
