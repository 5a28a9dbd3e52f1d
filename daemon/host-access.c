/* The SSH side of hosts. Invariant: libvirt runs ssh only through the script `ssh`, which reads
 * `config` and nothing else, so neither root's own settings nor a URI decide which key is shown
 * and who is trusted. known_hosts holds exactly the keys of the Hosts' specs; ssh itself never
 * adds one. Start at berth_host_access_uri(). */
#include "daemon/host-access.h"

#include "base/error.h"
#include "base/fd.h"
#include "model/ssh-key.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#define KEY_FILE_MAX (64 * 1024)
#define SCAN_SECONDS "5"

struct BerthHostAccess {
    char *folder, *pki; /* owned; pki may be NULL */
    gboolean test_hosts;
    char *public_key;  /* owned; NULL: none could be made */
    char *problem;     /* owned; why not */
    GHashTable *known; /* Host name -> its lines of known_hosts, both owned */
};

/* ---- files ---- */

static gboolean
write_file(const BerthHostAccess *access, const char *name, const char *text, int mode,
           GError **error)
{
    g_autofree char *path = g_build_filename(access->folder, name, NULL);
    return berth_fd_write_file(AT_FDCWD, path, text, strlen(text), mode, error);
}

/* @path as a word of ssh's configuration, where % begins an expansion. */
static char *
config_path(const BerthHostAccess *access, const char *name)
{
    g_autofree char *path = g_build_filename(access->folder, name, NULL);
    g_auto(GStrv) parts = g_strsplit(path, "%", -1);
    g_autofree char *escaped = g_strjoinv("%%", parts);
    return g_strconcat("\"", escaped, "\"", NULL);
}

static gboolean
write_config(const BerthHostAccess *access, GError **error)
{
    g_autofree char *key = config_path(access, "id_ed25519");
    g_autofree char *known = config_path(access, "known_hosts");
    g_autofree char *text = g_strdup_printf("# Written by berthd at each start.\n"
                                            "IdentityFile %s\n"
                                            "IdentitiesOnly yes\n"
                                            "PreferredAuthentications publickey\n"
                                            "UserKnownHostsFile %s\n"
                                            "GlobalKnownHostsFile /dev/null\n"
                                            "StrictHostKeyChecking yes\n"
                                            "UpdateHostKeys no\n"
                                            "CheckHostIP no\n"
                                            "BatchMode yes\n"
                                            "ClearAllForwardings yes\n"
                                            "ConnectTimeout 10\n"
                                            "ServerAliveInterval 5\n"
                                            "ServerAliveCountMax 5\n"
                                            "LogLevel ERROR\n",
                                            key, known);
    return write_file(access, "config", text, 0600, error);
}

/* libvirt can be told the program to run, but none of its options. */
static gboolean
write_program(const BerthHostAccess *access, GError **error)
{
    g_autofree char *path = g_build_filename(access->folder, "config", NULL);
    g_autofree char *quoted = g_shell_quote(path);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\nexec ssh -F %s \"$@\"\n", quoted);
    return write_file(access, "ssh", text, 0700, error);
}

/* ---- the key ---- */

static gboolean
run_keygen(const char *path, GError **error)
{
    g_autofree char *comment = g_strdup_printf("berth@%s", g_get_host_name());
    const char *argv[] = {"ssh-keygen", "-q",    "-t", "ed25519", "-N", "",
                          "-C",         comment, "-f", path,      NULL};
    g_autofree char *said = NULL;
    int status = -1;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
                      NULL, NULL, NULL, &said, &status, error)) {
        return FALSE;
    }
    if (!g_spawn_check_wait_status(status, error)) {
        g_prefix_error(error, "%s: ", g_strstrip(said));
        return FALSE;
    }
    return TRUE;
}

/* Copies the file @from to @to, durably. */
static gboolean
keep_file(const BerthHostAccess *access, const char *from, const char *to, GError **error)
{
    g_autofree char *text = NULL;
    return berth_fd_read_file(AT_FDCWD, from, KEY_FILE_MAX, &text, NULL, error) &&
           write_file(access, to, text, 0600, error);
}

/* The private half is put in place last: who finds it finds both. */
static gboolean
make_key(const BerthHostAccess *access, GError **error)
{
    g_autofree char *fresh = g_build_filename(access->folder, "new", NULL);
    g_autofree char *fresh_public = g_strconcat(fresh, ".pub", NULL);
    g_unlink(fresh);
    g_unlink(fresh_public);
    gboolean made = run_keygen(fresh, error) &&
                    keep_file(access, fresh_public, "id_ed25519.pub", error) &&
                    keep_file(access, fresh, "id_ed25519", error);
    g_unlink(fresh);
    g_unlink(fresh_public);
    return made;
}

static gboolean
find_key(BerthHostAccess *access, GError **error)
{
    g_autofree char *path = g_build_filename(access->folder, "id_ed25519", NULL);
    g_autofree char *public = g_strconcat(path, ".pub", NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS) && !make_key(access, error)) {
        return FALSE;
    }
    if (!berth_fd_read_file(AT_FDCWD, public, KEY_FILE_MAX, &access->public_key, NULL, error)) {
        return FALSE;
    }
    g_strstrip(access->public_key);
    return TRUE;
}

/* ---- life ---- */

/**
 * berth_host_access_new:
 *
 * Makes the key at the first start. Without ssh-keygen there is none, and qemu+ssh answers why.
 * Returns: (transfer full). Errors: the folder can't be written.
 */
BerthHostAccess *
berth_host_access_new(const BerthHostAccessOptions *options, GError **error)
{
    g_autoptr(BerthHostAccess) access = g_new0(BerthHostAccess, 1);
    access->folder = g_build_filename(options->state, "ssh", NULL);
    access->pki = g_strdup(options->pki);
    access->test_hosts = options->test_hosts;
    access->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (g_mkdir_with_parents(access->folder, 0700) != 0) {
        berth_error_set_errno(error, errno, "can't make the folder '%s'", access->folder);
        return NULL;
    }
    g_autoptr(GError) problem = NULL;
    if (!find_key(access, &problem)) {
        access->problem = g_strdup(problem->message);
    }
    if (!write_config(access, error) || !write_program(access, error) ||
        !write_file(access, "known_hosts", "", 0600, error)) {
        return NULL;
    }
    return g_steal_pointer(&access);
}

void
berth_host_access_free(BerthHostAccess *access)
{
    g_free(access->folder);
    g_free(access->pki);
    g_free(access->public_key);
    g_free(access->problem);
    g_hash_table_destroy(access->known);
    g_free(access);
}

/** Returns: the line for authorized_keys, borrowed. Errors: UNAVAILABLE: there is no key. */
const char *
berth_host_access_public_key(const BerthHostAccess *access, GError **error)
{
    if (access->public_key == NULL) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL,
                           "install the package openssh-client, then restart berthd",
                           "there is no SSH key: %s", access->problem);
    }
    return access->public_key;
}

/* ---- addresses ---- */

/** Errors: INVALID: hosts of that kind are let in for tests alone. */
gboolean
berth_host_access_check(const BerthHostAccess *access, const BerthHostUri *uri, GError **error)
{
    const char *what = uri->socket != NULL                     ? "a private socket"
                       : uri->transport == BERTH_TRANSPORT_TCP ? "qemu+tcp, which is in the clear,"
                       : uri->transport == BERTH_TRANSPORT_SIM ? "a simulated host"
                                                               : NULL;
    if (what == NULL || access->test_hosts) {
        return TRUE;
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/uri",
                       "use qemu:///system, qemu+ssh://USER@HOST/system or qemu+tls://HOST/system",
                       "%s is for tests: berthd was not started with --test-hosts", what);
    return FALSE;
}

static void
add_authority(GString *text, const BerthHostUri *uri)
{
    gboolean six = strchr(uri->host, ':') != NULL;
    if (uri->user != NULL) {
        g_string_append_printf(text, "%s@", uri->user);
    }
    g_string_append_printf(text, six ? "[%s]" : "%s", uri->host);
    if (uri->port != 0) {
        g_string_append_printf(text, ":%u", uri->port);
    }
}

static void
add_parameter(GString *text, const char *name, const char *value)
{
    g_string_append_printf(text, "%c%s=", strchr(text->str, '?') != NULL ? '&' : '?', name);
    g_string_append_uri_escaped(text, value, "/", FALSE);
}

/**
 * berth_host_access_uri:
 * @spec: a Host's address
 *
 * Returns: (transfer full): what libvirt (or the simulated host's driver) is given.
 * Errors: INVALID; UNAVAILABLE: there is no key.
 */
char *
berth_host_access_uri(const BerthHostAccess *access, const char *spec, GError **error)
{
    static const char *const names[] = {"unix", "ssh", "tls", "tcp"};
    g_autoptr(BerthHostUri) uri = berth_host_uri_parse(spec, error);
    if (uri == NULL || !berth_host_access_check(access, uri, error)) {
        return NULL;
    }
    if (uri->transport == BERTH_TRANSPORT_SIM) {
        return g_strdup(spec);
    }
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_printf(text, "qemu+%s://", names[uri->transport]);
    if (uri->host != NULL) {
        add_authority(text, uri);
    }
    g_string_append(text, uri->session ? "/session" : "/system");
    if (uri->socket != NULL) {
        add_parameter(text, "socket", uri->socket);
    }
    if (uri->transport == BERTH_TRANSPORT_TLS && access->pki != NULL) {
        add_parameter(text, "pkipath", access->pki);
    }
    if (uri->transport == BERTH_TRANSPORT_SSH) {
        if (berth_host_access_public_key(access, error) == NULL) {
            return NULL;
        }
        g_autofree char *program = g_build_filename(access->folder, "ssh", NULL);
        add_parameter(text, "command", program);
        add_parameter(text, "no_tty", "1");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* ---- who is trusted ---- */

static char *
known_lines(const BerthHostUri *uri, char **keys)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autofree char *host = g_ascii_strdown(uri->host, -1);
    gboolean named = uri->port != 0 && uri->port != 22;
    g_autofree char *place = named ? g_strdup_printf("[%s]:%u", host, uri->port) : g_strdup(host);
    for (guint i = 0; keys[i] != NULL; i++) {
        g_autofree char *key = berth_ssh_key_parse(keys[i], NULL);
        if (key != NULL) {
            g_string_append_printf(lines, "%s %s\n", place, key);
        }
    }
    return g_string_free(g_steal_pointer(&lines), FALSE);
}

/**
 * berth_host_access_trust:
 * @name: of the Host
 * @uri: its address; not looked at when @keys is NULL
 * @keys: (nullable): the SSH keys that it may show from now on; NULL: none
 *
 * Rewrites known_hosts when that changes something.
 */
gboolean
berth_host_access_trust(BerthHostAccess *access, const char *name, const BerthHostUri *uri,
                        char **keys, GError **error)
{
    g_autofree char *lines = keys != NULL ? known_lines(uri, keys) : NULL;
    if (g_strcmp0(lines, g_hash_table_lookup(access->known, name)) == 0) {
        return TRUE;
    }
    if (lines != NULL) {
        g_hash_table_replace(access->known, g_strdup(name), g_steal_pointer(&lines));
    } else {
        g_hash_table_remove(access->known, name);
    }
    g_autoptr(GString) text = g_string_new(NULL);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, access->known);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        g_string_append(text, value);
    }
    return write_file(access, "known_hosts", text->str, 0600, error);
}

/* ---- asking a host for its keys ---- */

typedef struct {
    BerthHostKeysDone done;
    gpointer user_data;
    char *place; /* owned; for messages */
} Scan;

static gint
compare_keys(gconstpointer a, gconstpointer b)
{
    /* "ssh-ed25519" before "ecdsa-…", "ssh-rsa" last. */
    const char *keys[] = {*(char *const *)a, *(char *const *)b};
    int ranks[2];
    for (guint i = 0; i < 2; i++) {
        ranks[i] = g_str_has_prefix(keys[i], "ssh-ed") ? 0 : *keys[i] == 'e' ? 1 : 2;
    }
    return ranks[0] != ranks[1] ? ranks[0] - ranks[1] : strcmp(keys[0], keys[1]);
}

/* Lines are "HOST TYPE BASE64"; what the other side made of them is not trusted. */
static GPtrArray *
read_scan(const char *output)
{
    GPtrArray *keys = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) lines = g_strsplit(output, "\n", 64);
    for (char **line = lines; *line != NULL; line++) {
        const char *blank = strchr(*line, ' ');
        g_autofree char *key =
            **line != '#' && blank != NULL ? berth_ssh_key_parse(blank + 1, NULL) : NULL;
        if (key != NULL && keys->len < 8) {
            g_ptr_array_add(keys, g_steal_pointer(&key));
        }
    }
    g_ptr_array_sort(keys, compare_keys);
    return keys;
}

static void
on_scanned(GObject *process, GAsyncResult *result, gpointer data)
{
    Scan *scan = data;
    g_autofree char *output = NULL;
    g_autoptr(GError) error = NULL;
    g_subprocess_communicate_utf8_finish(G_SUBPROCESS(process), result, &output, NULL, &error);
    g_autoptr(GPtrArray) keys = read_scan(output != NULL ? output : "");
    if (error == NULL && keys->len == 0) {
        berth_error_set(&error, BERTH_ERROR_UNAVAILABLE, "no SSH server answers at %s",
                        scan->place);
    }
    g_ptr_array_add(keys, NULL);
    scan->done(error == NULL ? (char **)keys->pdata : NULL, error, scan->user_data);
    g_free(scan->place);
    g_free(scan);
}

/** Asks the SSH server at @uri for its keys; takes @done's word later, within some 10 s. */
void
berth_host_access_scan(const BerthHostUri *uri, BerthHostKeysDone done, gpointer user_data)
{
    g_autofree char *port = g_strdup_printf("%u", uri->port != 0 ? uri->port : 22);
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocess) process =
        g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error,
                         "ssh-keyscan", "-T", SCAN_SECONDS, "-p", port, uri->host, NULL);
    if (process == NULL) {
        done(NULL, error, user_data);
        return;
    }
    Scan *scan = g_new0(Scan, 1);
    *scan = (Scan){done, user_data, g_strdup_printf("%s:%s", uri->host, port)};
    g_subprocess_communicate_utf8_async(process, NULL, NULL, on_scanned, scan);
}
