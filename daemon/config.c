/* The configuration file and command line, from one table of keys. Invariant: what is not in the table is an
 * error that names file and key, so a misspelt key never passes silently. */
#include "daemon/config.h"

#include "base/error.h"
#include "daemon/log.h"

#include <string.h>

#ifndef BERTH_GUEST_OS_DIR
#define BERTH_GUEST_OS_DIR "/usr/share/berth/guest-os"
#endif
#define CONFIG_DEFAULT_PATH "/etc/berth/berthd.conf"

typedef struct {
    const char *group, *key;
    gsize offset; /* of the char * in BerthConfig */
    const char *fallback;
    gboolean path; /* must be absolute */
    const char *doc;
} Key;

#define AT(member) offsetof(BerthConfig, member)

static const Key keys[] = {
    {"listen", "socket", AT(socket), "/run/berth/berthd.sock", TRUE,
     "Unix socket of the API; systemd socket activation goes before it."},
    {"listen", "socket_group", AT(socket_group), "berth", FALSE,
     "Group that may use the socket; being in it equals being root."},
    {"listen", "tcp", AT(tcp), NULL, FALSE,
     "Address and port for TLS, \"0.0.0.0:7420\" or \"[::]:7420\"; without it there is no TCP."},
    {"listen", "tls_certificate", AT(tls_certificate), NULL, TRUE,
     "PEM file with the server's certificate; needed with tcp."},
    {"listen", "tls_key", AT(tls_key), NULL, TRUE, "PEM file with its key; needed with tcp."},
    {"listen", "tls_client_ca", AT(tls_client_ca), NULL, TRUE,
     "PEM file: who shows a certificate of this CA is let in under its CN."},
    {"listen", "token_file", AT(token_file), NULL, TRUE,
     "File (mode 0600) of \"name sha256hex\" lines: bearer tokens that are let in."},
    {"state", "folder", AT(state), "/var/lib/berth", TRUE,
     "Where objects, images and logs are kept."},
    {"state", "store", AT(store), "sqlite", FALSE, "The store: sqlite."},
    {"state", "start_limit_s", AT(start_limit), "300", FALSE,
     "Seconds that a start may wait for the state file's disk; then berthd ends with an error."},
    {"state", "guest_os", AT(guest_os), BERTH_GUEST_OS_DIR, TRUE,
     "Folder with the guest OS that pods boot from: vmlinuz, initramfs, manifest.json."},
    {"hosts", "tls_folder", AT(tls_hosts), NULL, TRUE,
     "Folder with cacert.pem, clientcert.pem and clientkey.pem for qemu+tls; libvirt's own without "
     "it."},
    {"log", "level", AT(log_level), "info", FALSE, "error, warning, info or debug."},
};

static char **
member(BerthConfig *config, const Key *key)
{
    return (char **)((char *)config + key->offset);
}

/** Returns: (transfer full): the defaults. */
BerthConfig *
berth_config_new(void)
{
    BerthConfig *config = g_new0(BerthConfig, 1);
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        *member(config, &keys[i]) = g_strdup(keys[i].fallback);
    }
    return config;
}

void
berth_config_free(BerthConfig *config)
{
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_free(*member(config, &keys[i]));
    }
    g_free(config->restore);
    g_free(config);
}

static const Key *
find_key(const char *group, const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].group, group) == 0 && strcmp(keys[i].key, name) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

static gboolean
read_group(BerthConfig *config, GKeyFile *file, const char *path, const char *group, GError **error)
{
    g_auto(GStrv) names = g_key_file_get_keys(file, group, NULL, NULL);
    for (char **name = names; *name != NULL; name++) {
        const Key *key = find_key(group, *name);
        g_autofree char *value = g_key_file_get_string(file, group, *name, NULL);
        if (key == NULL) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                               "berthd --help lists the keys of the file",
                               "%s: there is no key '%s' in [%s]", path, *name, group);
            return FALSE;
        }
        if (value == NULL || *value == '\0' || (key->path && !g_path_is_absolute(value))) {
            berth_error_set(error, BERTH_ERROR_INVALID, "%s: [%s] %s: %s", path, group, *name,
                            key->path ? "must be an absolute path" : "must not be empty");
            return FALSE;
        }
        g_free(*member(config, key));
        *member(config, key) = g_steal_pointer(&value);
    }
    return TRUE;
}

/** Reads the file @path over @config. Errors: NOT_FOUND, INVALID. */
gboolean
berth_config_read(BerthConfig *config, const char *path, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) problem = NULL;
    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &problem)) {
        gboolean absent = g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        berth_error_set(error, absent ? BERTH_ERROR_NOT_FOUND : BERTH_ERROR_INVALID, "%s: %s", path,
                        problem->message);
        return FALSE;
    }
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    for (char **group = groups; *group != NULL; group++) {
        if (!read_group(config, file, path, *group, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/** Returns: seconds, 0 when it is no valid number of them. */
guint
berth_config_start_limit_s(const BerthConfig *config)
{
    guint64 seconds = 0;
    g_ascii_string_to_unsigned(config->start_limit, 10, 1, 86400, &seconds, NULL);
    return (guint)seconds;
}

/** Errors: INVALID when the settings do not fit together. */
gboolean
berth_config_validate(const BerthConfig *config, GError **error)
{
    BerthLogLevel level;
    if (!berth_log_parse_level(config->log_level, &level)) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "log level '%s' is none of error, warning, info, debug", config->log_level);
        return FALSE;
    }
    if (strcmp(config->store, "sqlite") != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "store '%s' is unknown: only sqlite",
                        config->store);
        return FALSE;
    }
    if (berth_config_start_limit_s(config) == 0) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "[state] start_limit_s must be a whole number from 1 to 86400, not '%s'",
                        config->start_limit);
        return FALSE;
    }
    if (config->tcp == NULL) {
        return TRUE;
    }
    if (config->tls_certificate == NULL || config->tls_key == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "set tls_certificate and tls_key in [listen]",
                           "[listen] tcp is served over TLS only");
        return FALSE;
    }
    if (config->tls_client_ca == NULL && config->token_file == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "set tls_client_ca or token_file in [listen]",
                           "[listen] tcp lets nobody in without a credential");
        return FALSE;
    }
    return TRUE;
}

/** Returns: (transfer full): a configuration file with each key, its default and its meaning. */
char *
berth_config_explain(void)
{
    GString *text = g_string_new(NULL);
    const char *group = "";
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(group, keys[i].group) != 0) {
            group = keys[i].group;
            g_string_append_printf(text, "%s[%s]\n", i == 0 ? "" : "\n", group);
        }
        g_string_append_printf(text, "# %s\n#%s=%s\n", keys[i].doc, keys[i].key,
                               keys[i].fallback != NULL ? keys[i].fallback : "");
    }
    return g_string_free(text, FALSE);
}

static gboolean
read_file_of_arguments(BerthConfig *config, const char *path, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (berth_config_read(config, path != NULL ? path : CONFIG_DEFAULT_PATH, &problem)) {
        return TRUE;
    }
    /* Only the default file may be absent. */
    if (path == NULL && g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static void
override(char **target, char *value)
{
    if (value != NULL) {
        g_free(*target);
        *target = value;
    }
}

static gboolean
parse_options(GOptionEntry *entries, int *argc, char ***argv, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autofree char *file = berth_config_explain();
    g_autofree char *description = g_strdup_printf(
        "The file %s, with every key and its default:\n\n%s", CONFIG_DEFAULT_PATH, file);
    g_option_context_set_summary(context, "berthd runs VMs and containers on libvirt hosts.");
    g_option_context_set_description(context, description);
    g_option_context_add_main_entries(context, entries, NULL);
    g_autoptr(GError) problem = NULL;
    if (!g_option_context_parse(context, argc, argv, &problem)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "berthd --help", "%s",
                           problem->message);
        return FALSE;
    }
    if (*argc > 1) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "berthd --help",
                           "unexpected argument '%s'", (*argv)[1]);
        return FALSE;
    }
    return TRUE;
}

/** Returns: (transfer full): the command line over the file. --help prints and exits. */
BerthConfig *
berth_config_from_arguments(int *argc, char ***argv, GError **error)
{
    g_autoptr(BerthConfig) config = berth_config_new();
    g_autofree char *path = NULL;
    char *state = NULL, *socket = NULL, *level = NULL, *guest_os = NULL;
    GOptionEntry entries[] = {
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &path, "Configuration file", "FILE"},
        {"state", 0, 0, G_OPTION_ARG_FILENAME, &state, "State folder", "FOLDER"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &socket, "Unix socket of the API", "PATH"},
        {"guest-os", 0, 0, G_OPTION_ARG_FILENAME, &guest_os, "Folder of the guest OS", "FOLDER"},
        {"log-level", 0, 0, G_OPTION_ARG_STRING, &level, "error, warning, info or debug", "LEVEL"},
        {"restore", 0, 0, G_OPTION_ARG_FILENAME, &config->restore,
         "Put a backup into the empty state folder, then end", "FILE"},
        {"test-hosts", 0, 0, G_OPTION_ARG_NONE, &config->test_hosts,
         "For tests: lets in hosts behind private sockets, qemu+tcp, and simulated ones", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &config->version, "Print the version", NULL},
        {NULL},
    };
    gboolean parsed = parse_options(entries, argc, argv, error);
    gboolean read = parsed && (config->version || read_file_of_arguments(config, path, error));
    override(&config->state, state);
    override(&config->socket, socket);
    override(&config->log_level, level);
    override(&config->guest_os, guest_os);
    if (!read || !berth_config_validate(config, error)) {
        return NULL;
    }
    return g_steal_pointer(&config);
}
