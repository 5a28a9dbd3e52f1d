/* Options win over BERTH_* variables, these over the context, this over the defaults.
 *
 * Invariant: a secret is read only from a file that nobody else can read; the check is made on the open
 * file, not on its name. Start reading at berth_settings_load(). */
#include "cli/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"

#define FILE_MAX (64 * 1024)

/* Reads a file that may hold secrets. NOT_FOUND when there is none, DENIED when others can read it. */
static char *
read_private(const char *path, GError **error)
{
    g_auto(BerthFd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0) {
        berth_error_set_errno(error, errno, "cannot read '%s'", path);
        return NULL;
    }
    if (!S_ISREG(info.st_mode) || info.st_size > FILE_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is not a file of at most %d bytes", path,
                        FILE_MAX);
        return NULL;
    }
    if ((info.st_mode & 077) != 0 || (info.st_uid != geteuid() && info.st_uid != 0)) {
        g_autofree char *hint = g_strdup_printf("chmod 600 %s", path);
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL, hint,
                           "'%s' may hold secrets, but others can read or write it (mode %04o)",
                           path, info.st_mode & 07777);
        return NULL;
    }
    g_autofree char *text = g_malloc(info.st_size + 1);
    gsize size = 0;
    ssize_t got = 1;
    while (got > 0 && size < (gsize)info.st_size) {
        got = read(fd, text + size, info.st_size - size);
        size += MAX(got, 0);
    }
    text[size] = '\0';
    return g_steal_pointer(&text);
}

static char *
config_path(void)
{
    const char *named = g_getenv("BERTH_CONFIG");
    return named != NULL ? g_strdup(named)
                         : g_build_filename(g_get_user_config_dir(), "berth", "config", NULL);
}

/* The configuration file; an empty one when there is none. */
static GKeyFile *
load_file(GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autofree char *path = config_path();
    g_autoptr(GError) problem = NULL;
    g_autofree char *text = read_private(path, &problem);
    if (text == NULL) {
        if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND) &&
            g_getenv("BERTH_CONFIG") == NULL) {
            return g_steal_pointer(&file);
        }
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    if (!g_key_file_load_from_data(file, text, strlen(text), G_KEY_FILE_NONE, &problem)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "'%s': %s", path, problem->message);
        return NULL;
    }
    return g_steal_pointer(&file);
}

/** Returns: (transfer full): names of the contexts, NULL-terminated; empty when the file can't be read. */
char **
berth_settings_contexts(void)
{
    g_autoptr(GKeyFile) file = load_file(NULL);
    g_auto(GStrv) groups = file != NULL ? g_key_file_get_groups(file, NULL) : NULL;
    GStrvBuilder *names = g_strv_builder_new();
    for (char **group = groups; group != NULL && *group != NULL; group++) {
        if (g_str_has_prefix(*group, "context ")) {
            g_strv_builder_add(names, *group + strlen("context "));
        }
    }
    char **all = g_strv_builder_end(names);
    g_strv_builder_unref(names);
    return all;
}

/** Returns: (transfer full): the file of the shell's history. */
char *
berth_settings_history_path(void)
{
    return g_build_filename(g_get_user_cache_dir(), "berth", "history", NULL);
}

/* ---- contexts ---- */

static gboolean
check_keys(GKeyFile *file, const char *group, GError **error)
{
    static const char *const known[] = {"connect", "project", "ca",         "certificate",
                                        "key",     "token",   "token_file", NULL};
    g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, NULL);
    for (char **key = keys; key != NULL && *key != NULL; key++) {
        if (!g_strv_contains(known, *key)) {
            g_autofree char *all = g_strjoinv(", ", (char **)known);
            berth_error_set(error, BERTH_ERROR_INVALID,
                            "configuration file, [%s]: there is no key '%s'; known are %s", group,
                            *key, all);
            return FALSE;
        }
    }
    return TRUE;
}

/* The group of the wanted context; NULL without @error: none is wanted. */
static char *
choose_context(GKeyFile *file, const char *chosen, char **name, GError **error)
{
    const char *named = chosen != NULL ? chosen : g_getenv("BERTH_CONTEXT");
    *name = named != NULL ? g_strdup(named) : g_key_file_get_string(file, "berth", "context", NULL);
    if (*name == NULL) {
        return NULL;
    }
    g_autofree char *group = g_strconcat("context ", *name, NULL);
    if (!g_key_file_has_group(file, group)) {
        g_autofree char *path = config_path();
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no context '%s' in '%s'", *name,
                        path);
        return NULL;
    }
    return check_keys(file, group, error) ? g_steal_pointer(&group) : NULL;
}

static gboolean
take_context(BerthSettings *settings, GKeyFile *file, const char *group, char **connect,
             GError **error)
{
    *connect = g_key_file_get_string(file, group, "connect", NULL);
    settings->project = g_key_file_get_string(file, group, "project", NULL);
    settings->ca = g_key_file_get_string(file, group, "ca", NULL);
    settings->certificate = g_key_file_get_string(file, group, "certificate", NULL);
    settings->key = g_key_file_get_string(file, group, "key", NULL);
    settings->token = g_key_file_get_string(file, group, "token", NULL);
    g_autofree char *token_file = g_key_file_get_string(file, group, "token_file", NULL);
    if (token_file != NULL) {
        g_free(settings->token);
        settings->token = read_private(token_file, error);
        if (settings->token == NULL) {
            return FALSE;
        }
        g_strstrip(settings->token);
    }
    return TRUE;
}

static void
override(char **field, const char *value)
{
    if (value != NULL) {
        g_free(*field);
        *field = g_strdup(value);
    }
}

static void
take_variables(BerthSettings *settings, char **connect)
{
    g_autofree char *socket = g_strdup(g_getenv("BERTH_SOCKET"));
    if (socket != NULL) {
        override(connect, socket);
    }
    override(connect, g_getenv("BERTH_CONNECT"));
    override(&settings->project, g_getenv("BERTH_PROJECT"));
    override(&settings->ca, g_getenv("BERTH_CA"));
    override(&settings->certificate, g_getenv("BERTH_CERTIFICATE"));
    override(&settings->key, g_getenv("BERTH_KEY"));
    override(&settings->token, g_getenv("BERTH_TOKEN"));
}

/* "unix:///run/x.sock", "/run/x.sock", "https://host:7420". Plain http would show tokens to everybody. */
static gboolean
take_connect(BerthSettings *settings, const char *connect, GError **error)
{
    if (g_str_has_prefix(connect, "unix://")) {
        connect += strlen("unix://");
    }
    if (*connect == '/') {
        settings->socket = g_strdup(connect);
        return TRUE;
    }
    if (g_str_has_prefix(connect, "https://")) {
        settings->url = g_strdup(connect);
        gsize length = strlen(settings->url);
        while (settings->url[length - 1] == '/') {
            settings->url[--length] = '\0';
        }
        if (strpbrk(settings->url + strlen("https://"), "/?#@ ") == NULL) {
            return TRUE;
        }
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                       "give a socket's path, unix:///PATH or https://HOST:PORT",
                       "cannot connect to '%s'", connect);
    return FALSE;
}

/**
 * berth_settings_load:
 * @choice: what the command line says
 *
 * Returns: (transfer full): the settings. Errors: INVALID, NOT_FOUND (context), DENIED (others can read
 * the file).
 */
BerthSettings *
berth_settings_load(const BerthSettingsChoice *choice, GError **error)
{
    g_autoptr(BerthSettings) settings = g_new0(BerthSettings, 1);
    g_autoptr(GKeyFile) file = load_file(error);
    if (file == NULL) {
        return NULL;
    }
    g_autoptr(GError) problem = NULL;
    g_autofree char *connect = NULL;
    g_autofree char *group = choose_context(file, choice->context, &settings->context, &problem);
    if (problem != NULL ||
        (group != NULL && !take_context(settings, file, group, &connect, &problem))) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    if (choice->context == NULL) {
        take_variables(settings, &connect);
    }
    override(&connect, choice->connect);
    override(&settings->project, choice->project);
    if (settings->project == NULL) {
        settings->project = g_strdup("default");
    }
    if (!take_connect(settings, connect != NULL ? connect : BERTH_DEFAULT_SOCKET, error)) {
        return NULL;
    }
    return g_steal_pointer(&settings);
}

void
berth_settings_free(BerthSettings *settings)
{
    if (settings == NULL) {
        return;
    }
    g_free(settings->socket);
    g_free(settings->url);
    g_free(settings->project);
    g_free(settings->ca);
    g_free(settings->certificate);
    g_free(settings->key);
    g_free(settings->token);
    g_free(settings->context);
    g_free(settings);
}
