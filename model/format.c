/* What strings must look like. Every text from outside passes here before anything else sees it;
 * messages quote the text escaped, so that a refusal stays one harmless line. Pure; thread-safe. */
#include "model/schema.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/error.h"

#define QUOTE_MAX 60 /* bytes of a value that a message shows */

/**
 * berth_quote:
 * @text: UTF-8
 *
 * Returns: (transfer full): @text in double quotes for a message: control characters, quotes and
 * backslashes escaped, cut after 60 bytes.
 */
char *
berth_quote(const char *text)
{
    GString *quoted = g_string_new("\"");
    const char *next = text;
    for (; *next != '\0' && next - text < QUOTE_MAX; next = g_utf8_next_char(next)) {
        gunichar c = g_utf8_get_char_validated(next, -1);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append_printf(quoted, "\\x%02x", (guchar)*next);
            g_string_append(quoted, "…");
            break;
        }
        if (c == '"' || c == '\\') {
            g_string_append_c(quoted, '\\');
            g_string_append_unichar(quoted, c);
        } else if (!g_unichar_isprint(c)) {
            g_string_append_printf(quoted, "\\u%04x", c);
        } else {
            g_string_append_unichar(quoted, c);
        }
    }
    g_string_append(quoted, *next != '\0' ? "…\"" : "\"");
    return g_string_free(quoted, FALSE);
}

static gboolean
consists_of(const char *text, const char *others)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (!g_ascii_isalnum(*c) && strchr(others, *c) == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_text(const char *text)
{
    return g_utf8_validate(text, -1, NULL);
}

static gboolean
is_line(const char *text)
{
    if (!is_text(text)) {
        return FALSE;
    }
    for (const char *next = text; *next != '\0'; next = g_utf8_next_char(next)) {
        gunichar c = g_utf8_get_char(next);
        if (g_unichar_iscntrl(c) || c == 0x2028 || c == 0x2029) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_name(const char *text)
{
    gsize length = strlen(text);
    if (length < 1 || length > 63 || text[0] == '-' || text[length - 1] == '-') {
        return FALSE;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (!g_ascii_islower(*c) && !g_ascii_isdigit(*c) && *c != '-') {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_image(const char *text)
{
    gsize length = strlen(text);
    return length >= 1 && length <= 512 && g_ascii_isalnum(text[0]) &&
           consists_of(text, "._-/:@+") && strstr(text, "..") == NULL && strstr(text, "//") == NULL;
}

static gboolean
is_hex(const char *text, gsize length)
{
    for (gsize i = 0; i < length; i++) {
        if (!g_ascii_isxdigit(text[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_uuid(const char *text)
{
    return strlen(text) == 36 && is_hex(text, 8) && text[8] == '-' && is_hex(text + 9, 4) &&
           text[13] == '-' && is_hex(text + 14, 4) && text[18] == '-' && is_hex(text + 19, 4) &&
           text[23] == '-' && is_hex(text + 24, 12);
}

/* Group addresses (lowest bit of the first octet) can't be a card's own. */
static gboolean
is_mac(const char *text)
{
    if (strlen(text) != 17) {
        return FALSE;
    }
    for (int i = 0; i < 6; i++) {
        if (!is_hex(text + i * 3, 2) || (i < 5 && text[i * 3 + 2] != ':')) {
            return FALSE;
        }
    }
    return g_ascii_xdigit_value(text[1]) % 2 == 0;
}

static gboolean
is_ip(const char *text)
{
    guint8 bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static gboolean
is_cidr(const char *text)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL || slash[1] == '\0' || strlen(slash + 1) > 3) {
        return FALSE;
    }
    for (const char *c = slash + 1; *c != '\0'; c++) {
        if (!g_ascii_isdigit(*c)) {
            return FALSE;
        }
    }
    g_autofree char *address = g_strndup(text, (gsize)(slash - text));
    guint64 bits = g_ascii_strtoull(slash + 1, NULL, 10);
    return is_ip(address) && bits <= (strchr(address, ':') != NULL ? 128 : 32);
}

static gboolean
digits_at(const char *text, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (!g_ascii_isdigit(text[i])) {
            return FALSE;
        }
        *value = *value * 10 + (text[i] - '0');
    }
    return TRUE;
}

static gboolean
is_time(const char *text)
{
    int year, month, day, hour, minute, second;
    if (strlen(text) < 20 || strlen(text) > 30 || !digits_at(text, 4, &year) || text[4] != '-' ||
        !digits_at(text + 5, 2, &month) || text[7] != '-' || !digits_at(text + 8, 2, &day) ||
        text[10] != 'T' || !digits_at(text + 11, 2, &hour) || text[13] != ':' ||
        !digits_at(text + 14, 2, &minute) || text[16] != ':' || !digits_at(text + 17, 2, &second)) {
        return FALSE;
    }
    const char *rest = text + 19;
    if (*rest == '.') {
        rest++;
        gsize fraction = strspn(rest, "0123456789");
        if (fraction == 0) {
            return FALSE;
        }
        rest += fraction;
    }
    return strcmp(rest, "Z") == 0 && month >= 1 && month <= 12 && year >= 1 &&
           g_date_valid_dmy((GDateDay)day, (GDateMonth)month, (GDateYear)year) && hour < 24 &&
           minute < 60 && second <= 60;
}

static gboolean
is_digest(const char *text)
{
    return g_str_has_prefix(text, "sha256:") && strlen(text) == 7 + 64 &&
           strspn(text + 7, "0123456789abcdef") == 64;
}

static gboolean
is_env(const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || !is_text(text)) {
        return FALSE;
    }
    g_autofree char *name = g_strndup(text, (gsize)(equals - text));
    return consists_of(name, "_.-");
}

static gboolean
is_device(const char *text)
{
    gsize length = strlen(text);
    return length >= 1 && length <= 15 && consists_of(text, "_.-") && text[0] != '-' &&
           strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static gboolean
is_libvirt(const char *text)
{
    gsize length = strlen(text);
    return length >= 1 && length <= 127 && consists_of(text, "_.-") && text[0] != '-' &&
           text[0] != '.';
}

/* Indexed by BerthFormat. @is completes "… is not"; @pattern is what OpenAPI says, where it can. */
static const struct {
    gboolean (*holds)(const char *text);
    const char *is;
} formats[] = {
    [BERTH_FORMAT_TEXT] = {is_text, "UTF-8 text"},
    [BERTH_FORMAT_LINE] = {is_line, "one line of UTF-8 text without control characters"},
    [BERTH_FORMAT_NAME] = {is_name, "a name (1 to 63 of a-z, 0-9 and -, with a letter or digit at "
                                    "both ends)"},
    [BERTH_FORMAT_IMAGE] = {is_image, "an image reference (as docker.io/library/nginx:1.27)"},
    [BERTH_FORMAT_UUID] = {is_uuid, "a UUID"},
    [BERTH_FORMAT_MAC] = {is_mac, "a network card's MAC address (as 52:54:00:12:34:56)"},
    [BERTH_FORMAT_IP] = {is_ip, "an IPv4 or IPv6 address"},
    [BERTH_FORMAT_CIDR] = {is_cidr, "an address range (as 192.168.122.0/24)"},
    [BERTH_FORMAT_TIME] = {is_time, "a time in UTC (as 2026-11-23T09:00:00Z)"},
    [BERTH_FORMAT_DIGEST] = {is_digest, "a digest (sha256: and 64 hexadecimal digits)"},
    [BERTH_FORMAT_ENV] = {is_env, "a variable (NAME=value, NAME of letters, digits, _, . and -)"},
    [BERTH_FORMAT_DEVICE] = {is_device, "an interface name (1 to 15 letters, digits, _, . and -)"},
    [BERTH_FORMAT_LIBVIRT] = {is_libvirt, "a libvirt name (1 to 127 letters, digits, _, . and -, "
                                          "not beginning with - or .)"},
};

/** Returns: what a string of @format is, to follow "is": "a UUID"; static. */
const char *
berth_format_doc(BerthFormat format)
{
    return formats[format].is;
}

/**
 * berth_format_check:
 * @text: NUL-terminated bytes of any kind
 *
 * Returns: whether @text is of @format. Errors: INVALID, quoting @text and saying what is wanted.
 */
gboolean
berth_format_check(BerthFormat format, const char *text, GError **error)
{
    if (formats[format].holds(text)) {
        return TRUE;
    }
    g_autofree char *quoted = berth_quote(text);
    berth_error_set(error, BERTH_ERROR_INVALID, "%s is not %s", quoted, formats[format].is);
    return FALSE;
}

static gboolean
is_label_word(const char *word, gsize length)
{
    return length >= 1 && length <= 63 && g_ascii_isalnum(word[0]) &&
           g_ascii_isalnum(word[length - 1]) && consists_of(word, "_.-");
}

/**
 * berth_label_key_check:
 * @key: NUL-terminated bytes of any kind
 *
 * Returns: whether @key is NAME or PREFIX/NAME with NAME of at most 63 letters, digits, _, . and -,
 * and PREFIX a lower-case DNS name of at most 253. Errors: INVALID.
 */
gboolean
berth_label_key_check(const char *key, GError **error)
{
    const char *slash = strchr(key, '/');
    const char *word = slash != NULL ? slash + 1 : key;
    gboolean good = is_label_word(word, strlen(word));
    if (slash != NULL) {
        g_autofree char *prefix = g_strndup(key, (gsize)(slash - key));
        g_auto(GStrv) parts = g_strsplit(prefix, ".", -1);
        good = good && strlen(prefix) >= 1 && strlen(prefix) <= 253;
        for (gsize i = 0; parts[i] != NULL; i++) {
            good = good && is_name(parts[i]);
        }
    }
    if (!good) {
        g_autofree char *quoted = berth_quote(key);
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "%s is not a label key (NAME or example.org/NAME, with NAME of 1 to 63 "
                        "letters, digits, _, . and -)",
                        quoted);
    }
    return good;
}
