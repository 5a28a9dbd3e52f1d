/* Credentials of registries, and to whom they may be shown.
 *
 * Invariant: the file is read only when nobody else can read it; programs that it names (credential
 * helpers) are never run. Thread-safe. Start at berth_credentials_find(). */
#include "images/credentials.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (1024 * 1024)

/* "https://index.docker.io/v1/" -> "docker.io"; the file's keys come in several spellings. */
static char *
normalize(const char *key)
{
    const char *scheme = strstr(key, "://");
    const char *host = scheme == NULL ? key : scheme + 3;
    g_autofree char *name = g_ascii_strdown(host, (gssize)strcspn(host, "/"));
    if (strcmp(name, "index.docker.io") == 0 || strcmp(name, "registry-1.docker.io") == 0) {
        return g_strdup("docker.io");
    }
    return g_steal_pointer(&name);
}

/* An entry holds {"auth": base64("user:password")}, or both in the clear. */
static char *
read_entry(const json_t *entry)
{
    const char *auth = berth_json_string(entry, "auth");
    const char *user = berth_json_string(entry, "username");
    const char *password = berth_json_string(entry, "password");
    if (auth != NULL && auth[0] != '\0') {
        gsize size;
        g_autofree guchar *plain = g_base64_decode(auth, &size);
        return memchr(plain, ':', size) == NULL ? NULL : g_base64_encode(plain, size);
    }
    if (user != NULL && password != NULL) {
        g_autofree char *plain = g_strconcat(user, ":", password, NULL);
        return g_base64_encode((const guchar *)plain, strlen(plain));
    }
    return NULL;
}

static gboolean
check_mode(const char *path, gboolean *missing, GError **error)
{
    struct stat info;
    *missing = stat(path, &info) != 0 && errno == ENOENT;
    if (!*missing && (info.st_mode & 077) != 0) {
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL, "chmod 600 it",
                           "'%s' holds passwords and can be read by others", path);
        return FALSE;
    }
    return TRUE;
}

/**
 * berth_credentials_find:
 * @docker_config: (nullable): a file like ~/.docker/config.json; missing is the same as NULL
 * @registry: "docker.io", "localhost:5000"
 * @basic: (out): what stands behind "Basic " in the header, the caller's; NULL when there is none
 *
 * Errors: DENIED when others can read the file; INVALID when it is no JSON.
 */
gboolean
berth_credentials_find(const char *docker_config, const char *registry, char **basic,
                       GError **error)
{
    gboolean missing;
    g_autofree char *text = NULL;
    gsize size;
    *basic = NULL;
    if (docker_config == NULL) {
        return TRUE;
    }
    if (!check_mode(docker_config, &missing, error)) {
        return FALSE;
    }
    if (missing) {
        return TRUE;
    }
    if (!berth_fd_read_file(AT_FDCWD, docker_config, FILE_MAX, &text, &size, error)) {
        return FALSE;
    }
    g_autoptr(json_t) root = berth_json_parse(text, size, error);
    if (root == NULL) {
        g_prefix_error(error, "'%s': ", docker_config);
        return FALSE;
    }
    g_autofree char *wanted = normalize(registry);
    const char *key;
    json_t *entry;
    json_object_foreach (json_object_get(root, "auths"), key, entry) {
        g_autofree char *name = normalize(key);
        if (*basic == NULL && strcmp(name, wanted) == 0) {
            *basic = read_entry(entry);
        }
    }
    return TRUE;
}

/* "host:port" without the port. */
static char *
host_only(const char *text)
{
    const char *colon = strrchr(text, ':');
    gboolean port = colon != NULL && strchr(colon, ']') == NULL;
    return g_ascii_strdown(text, port ? colon - text : -1);
}

/* Who owns example.com can answer for registry.example.com; not the other way round. */
static gboolean
is_parent_domain(const char *parent, const char *host)
{
    gsize length = strlen(host), parent_length = strlen(parent);
    return strchr(parent, '.') != NULL && length > parent_length + 1 &&
           strcmp(host + length - parent_length, parent) == 0 &&
           host[length - parent_length - 1] == '.' && strspn(host, "0123456789.") != length;
}

/**
 * berth_credentials_may_go_to:
 * @registry: whose credentials they are, "host[:port]"
 * @realm_host: the host of the token server that the registry named, without port
 * @token_hosts: (nullable): "registry=host" that the administrator allows besides
 *
 * Returns: whether @realm_host may see the credentials: it is the registry's own host, or a domain
 * above it (gitlab.com for registry.gitlab.com), or Docker's own pair, or allowed by name.
 */
gboolean
berth_credentials_may_go_to(const char *registry, const char *realm_host,
                            const char *const *token_hosts)
{
    g_autofree char *host = host_only(registry);
    g_autofree char *realm = g_ascii_strdown(realm_host, -1);
    if (strcmp(host, realm) == 0 || is_parent_domain(realm, host) ||
        (strcmp(host, "docker.io") == 0 && strcmp(realm, "auth.docker.io") == 0)) {
        return TRUE;
    }
    g_autofree char *pair = g_strconcat(registry, "=", realm, NULL);
    return token_hosts != NULL && g_strv_contains(token_hosts, pair);
}
