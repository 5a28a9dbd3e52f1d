/* The configuration document of an image: how it wants to be run.
 *
 * Invariant: every string that leaves here is bounded UTF-8 without NUL, environment names occur
 * once, the working folder is absolute and holds no "..". What the image says about volumes, health
 * checks and shells is left aside. Pure; thread-safe. Start at berth_image_config_parse(). */
#include "images/manifest.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

#define STRINGS_MAX 4096
#define STRING_MAX (128 * 1024) /* Linux: the longest single argument of execve */
#define USER_MAX 255
#define LABELS_MAX 4096

static gboolean
refuse(GError **error, const char *pointer, const char *what)
{
    berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL, "'%s' of the image's config %s",
                       pointer, what);
    return FALSE;
}

/* A string of the config, NULL when absent or null. A NUL inside would cut it for execve. */
static gboolean
read_string(const json_t *parent, const char *key, const char *pointer, gsize limit,
            const char **value, GError **error)
{
    const json_t *member = json_object_get(parent, key);
    *value = NULL;
    if (member == NULL || json_is_null(member)) {
        return TRUE;
    }
    if (!json_is_string(member)) {
        return refuse(error, pointer, "is not a string");
    }
    if (json_string_length(member) > limit) {
        return refuse(error, pointer, "is too long");
    }
    if (strlen(json_string_value(member)) != json_string_length(member)) {
        return refuse(error, pointer, "holds a NUL");
    }
    *value = json_string_value(member);
    return TRUE;
}

static gboolean
read_strings(const json_t *parent, const char *key, const char *pointer, char ***values,
             GError **error)
{
    const json_t *member = json_object_get(parent, key);
    g_auto(GStrv) list = g_new0(char *, json_array_size(member) + 1);
    if (member != NULL && !json_is_null(member) && !json_is_array(member)) {
        return refuse(error, pointer, "is not a list");
    }
    if (json_array_size(member) > STRINGS_MAX) {
        return refuse(error, pointer, "has too many entries");
    }
    for (gsize i = 0; i < json_array_size(member); i++) {
        const json_t *item = json_array_get(member, i);
        if (!json_is_string(item) || json_string_length(item) > STRING_MAX) {
            return refuse(error, pointer, "holds something that is not a string of usual size");
        }
        if (strlen(json_string_value(item)) != json_string_length(item)) {
            return refuse(error, pointer, "holds a NUL");
        }
        list[i] = g_strdup(json_string_value(item));
    }
    *values = g_steal_pointer(&list);
    return TRUE;
}

static gboolean
is_env_name(const char *text, gsize length)
{
    for (gsize i = 0; i < length; i++) {
        if (g_ascii_iscntrl(text[i])) {
            return FALSE;
        }
    }
    return length > 0;
}

/* Each NAME=value once; the last one wins, as in a shell. */
static gboolean
check_env(char **env, GError **error)
{
    g_autoptr(GHashTable) places = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    guint kept = 0;
    for (guint i = 0; env[i] != NULL; i++) {
        const char *equals = strchr(env[i], '=');
        if (equals == NULL || !is_env_name(env[i], (gsize)(equals - env[i]))) {
            for (guint rest = i + 1; env[rest] != NULL; rest++) {
                g_free(env[rest]);
            }
            g_free(env[i]);
            env[kept] = NULL;
            return refuse(error, "/config/Env", "holds an entry that is not NAME=value");
        }
        char *name = g_strndup(env[i], (gsize)(equals - env[i]));
        gpointer place = g_hash_table_lookup(places, name);
        if (place == NULL) {
            env[kept++] = env[i];
            g_hash_table_insert(places, name, GUINT_TO_POINTER(kept));
        } else {
            g_free(env[GPOINTER_TO_UINT(place) - 1]);
            env[GPOINTER_TO_UINT(place) - 1] = env[i];
            g_free(name);
        }
    }
    env[kept] = NULL;
    return TRUE;
}

/* NAME[:GROUP] or UID[:GID]. The guest looks names up in the image's own files, as data. */
static gboolean
is_user(const char *user)
{
    guint colons = 0;
    for (const char *p = user; *p != '\0'; p++) {
        colons += *p == ':' ? 1 : 0;
        if (g_ascii_iscntrl(*p) || *p == '/' || *p == ' ') {
            return FALSE;
        }
    }
    return colons <= 1;
}

/* "a/../../b" -> "/b": as chdir would see it below "/". */
static char *
clean_folder(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path == NULL ? "" : path, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();
    for (guint i = 0; parts[i] != NULL; i++) {
        if (strcmp(parts[i], "..") == 0) {
            g_ptr_array_set_size(kept, kept->len > 0 ? (int)kept->len - 1 : 0);
        } else if (parts[i][0] != '\0' && strcmp(parts[i], ".") != 0) {
            g_ptr_array_add(kept, parts[i]);
        }
    }
    g_autoptr(GString) clean = g_string_new(kept->len == 0 ? "/" : NULL);
    for (guint i = 0; i < kept->len; i++) {
        g_string_append_c(clean, '/');
        g_string_append(clean, kept->pdata[i]);
    }
    return g_string_free(g_steal_pointer(&clean), FALSE);
}

/* "SIGTERM", "TERM", "RTMIN+3" or a number; the guest knows the table. */
static gboolean
is_signal(const char *text)
{
    gsize length = strlen(text);
    return length > 0 && length <= 16 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-") == length;
}

static gboolean
read_ports(const json_t *run, BerthImageConfig *config, GError **error)
{
    json_t *ports = json_object_get(run, "ExposedPorts");
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    const char *key;
    json_t *value;
    if (json_object_size(ports) > STRINGS_MAX) {
        return refuse(error, "/config/ExposedPorts", "has too many entries");
    }
    json_object_foreach (ports, key, value) {
        if (strlen(key) > 32 || strspn(key, "0123456789-/tcpudsx") != strlen(key)) {
            return refuse(error, "/config/ExposedPorts",
                          "holds something that is not PORT/PROTOCOL");
        }
        g_ptr_array_add(list, g_strdup(key));
    }
    g_ptr_array_add(list, NULL);
    config->exposed_ports = (char **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
    return TRUE;
}

static gboolean
read_labels(const json_t *run, BerthImageConfig *config, GError **error)
{
    json_t *labels = json_object_get(run, "Labels");
    config->labels = json_object();
    if (json_object_size(labels) > LABELS_MAX) {
        return refuse(error, "/config/Labels", "has too many entries");
    }
    const char *key;
    json_t *value;
    json_object_foreach (labels, key, value) {
        if (!json_is_string(value)) {
            return refuse(error, "/config/Labels", "holds a value that is not a string");
        }
        json_object_set(config->labels, key, value);
    }
    return TRUE;
}

static gboolean
read_run(const json_t *run, BerthImageConfig *config, GError **error)
{
    const char *user, *workdir, *stop_signal;
    if (!read_strings(run, "Entrypoint", "/config/Entrypoint", &config->entrypoint, error) ||
        !read_strings(run, "Cmd", "/config/Cmd", &config->cmd, error) ||
        !read_strings(run, "Env", "/config/Env", &config->env, error) ||
        !check_env(config->env, error) ||
        !read_string(run, "User", "/config/User", USER_MAX, &user, error) ||
        !read_string(run, "WorkingDir", "/config/WorkingDir", 4095, &workdir, error) ||
        !read_string(run, "StopSignal", "/config/StopSignal", 16, &stop_signal, error)) {
        return FALSE;
    }
    if (user != NULL && !is_user(user)) {
        return refuse(error, "/config/User", "is not NAME[:GROUP] or UID[:GID]");
    }
    if (stop_signal != NULL && stop_signal[0] != '\0' && !is_signal(stop_signal)) {
        return refuse(error, "/config/StopSignal", "is not a signal");
    }
    config->user = g_strdup(user == NULL ? "" : user);
    config->workdir = clean_folder(workdir);
    config->stop_signal =
        g_strdup(stop_signal == NULL || stop_signal[0] == '\0' ? "SIGTERM" : stop_signal);
    return read_ports(run, config, error) && read_labels(run, config, error);
}

static gboolean
read_diff_ids(const json_t *root, BerthImageConfig *config, GError **error)
{
    const json_t *list = json_object_get(json_object_get(root, "rootfs"), "diff_ids");
    if (json_array_size(list) > BERTH_MANIFEST_LAYERS_MAX) {
        return refuse(error, "/rootfs/diff_ids", "has too many entries");
    }
    for (gsize i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        BerthDigest digest;
        if (!berth_digest_parse(json_string_value(item), json_string_length(item), &digest,
                                error)) {
            return FALSE;
        }
        g_array_append_val(config->diff_ids, digest);
    }
    return TRUE;
}

/**
 * berth_image_config_parse:
 * @data: the document
 * @size: bytes of @data
 *
 * Returns: (transfer full): the configuration, or NULL. It is not yet known to fit the manifest or our
 * platform: berth_image_config_check(). Errors: INVALID, with the place.
 */
BerthImageConfig *
berth_image_config_parse(const char *data, gsize size, GError **error)
{
    g_autoptr(json_t) root = berth_json_parse_limited(data, size, BERTH_MANIFEST_SIZE_MAX,
                                                      BERTH_MANIFEST_DEPTH_MAX, error);
    if (root == NULL) {
        g_prefix_error(error, "the image's config: ");
        return NULL;
    }
    g_autoptr(BerthImageConfig) config = g_new0(BerthImageConfig, 1);
    config->diff_ids = g_array_new(FALSE, FALSE, sizeof(BerthDigest));
    const json_t *run = json_object_get(root, "config");
    const char *os, *architecture;
    if (!json_is_object(root) || (run != NULL && !json_is_object(run) && !json_is_null(run))) {
        refuse(error, "/config", "is not an object");
        return NULL;
    }
    if (!read_run(run, config, error) || !read_diff_ids(root, config, error) ||
        !read_string(root, "os", "/os", 64, &os, error) ||
        !read_string(root, "architecture", "/architecture", 64, &architecture, error)) {
        return NULL;
    }
    config->os = g_strdup(os == NULL ? "" : os);
    config->architecture = g_strdup(architecture == NULL ? "" : architecture);
    return g_steal_pointer(&config);
}

/**
 * berth_image_config_check:
 * @layers: how many layers the manifest has
 *
 * Returns: whether @config belongs to a manifest of so many layers and to our platform.
 * Errors: INVALID.
 */
gboolean
berth_image_config_check(const BerthImageConfig *config, guint layers, GError **error)
{
    if (strcmp(config->os, BERTH_PLATFORM_OS) != 0 ||
        strcmp(config->architecture, BERTH_PLATFORM_ARCHITECTURE) != 0) {
        g_autofree char *os = g_strescape(config->os, NULL);
        g_autofree char *architecture = g_strescape(config->architecture, NULL);
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/architecture", NULL,
                           "the image is made for '%s/%s', not for %s/%s", os, architecture,
                           BERTH_PLATFORM_OS, BERTH_PLATFORM_ARCHITECTURE);
        return FALSE;
    }
    if (config->diff_ids->len != layers) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/rootfs/diff_ids", NULL,
                           "the image's config names %u layers, its manifest %u",
                           config->diff_ids->len, layers);
        return FALSE;
    }
    return TRUE;
}

static json_t *
strings_to_json(char **strings)
{
    json_t *list = json_array();
    for (guint i = 0; strings[i] != NULL; i++) {
        json_array_append_new(list, json_string(strings[i]));
    }
    return list;
}

/**
 * berth_image_config_to_json:
 *
 * Returns: (transfer full): {"entrypoint", "cmd", "env", "user", "workdir", "stop_signal",
 * "exposed_ports", "labels"}, all present.
 */
json_t *
berth_image_config_to_json(const BerthImageConfig *config)
{
    return json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:O}", "entrypoint",
                     strings_to_json(config->entrypoint), "cmd", strings_to_json(config->cmd),
                     "env", strings_to_json(config->env), "user", config->user, "workdir",
                     config->workdir, "stop_signal", config->stop_signal, "exposed_ports",
                     strings_to_json(config->exposed_ports), "labels", config->labels);
}

/** Returns: (transfer full): a deep copy. */
BerthImageConfig *
berth_image_config_copy(const BerthImageConfig *config)
{
    BerthImageConfig *copy = g_new0(BerthImageConfig, 1);
    copy->entrypoint = g_strdupv(config->entrypoint);
    copy->cmd = g_strdupv(config->cmd);
    copy->env = g_strdupv(config->env);
    copy->user = g_strdup(config->user);
    copy->workdir = g_strdup(config->workdir);
    copy->stop_signal = g_strdup(config->stop_signal);
    copy->exposed_ports = g_strdupv(config->exposed_ports);
    copy->labels = json_deep_copy(config->labels);
    copy->diff_ids = g_array_copy(config->diff_ids);
    copy->os = g_strdup(config->os);
    copy->architecture = g_strdup(config->architecture);
    return copy;
}

void
berth_image_config_free(BerthImageConfig *config)
{
    if (config == NULL) {
        return;
    }
    g_strfreev(config->entrypoint);
    g_strfreev(config->cmd);
    g_strfreev(config->env);
    g_free(config->user);
    g_free(config->workdir);
    g_free(config->stop_signal);
    g_strfreev(config->exposed_ports);
    json_decref(config->labels);
    if (config->diff_ids != NULL) {
        g_array_unref(config->diff_ids);
    }
    g_free(config->os);
    g_free(config->architecture);
    g_free(config);
}
