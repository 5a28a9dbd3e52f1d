/* The key is made once, known_hosts holds what Hosts say and nothing else, and libvirt gets only
 * URIs that were built here. */
#include "base/error.h"
#include "daemon/host-access.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6c/L0XqmkrUOXlSeWEVC9+1yvvf80uPkah9ELtfjFz"

typedef struct {
    char *state;
    BerthHostAccess *access;
} Fixture;

static BerthHostAccess *
open_access(Fixture *f, const char *pki, gboolean test_hosts)
{
    g_autoptr(GError) error = NULL;
    const BerthHostAccessOptions options = {f->state, pki, test_hosts};
    BerthHostAccess *access = berth_host_access_new(&options, &error);
    g_assert_no_error(error);
    return access;
}

static void
set_up(Fixture *f, gconstpointer unused)
{
    f->state = g_dir_make_tmp("berth%access-XXXXXX", NULL);
    f->access = open_access(f, NULL, FALSE);
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
    static const char *const files[] = {"id_ed25519", "id_ed25519.pub", "config", "ssh",
                                        "known_hosts"};
    berth_host_access_free(f->access);
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(f->state, "ssh", files[i], NULL);
        g_unlink(path);
    }
    g_autofree char *folder = g_build_filename(f->state, "ssh", NULL);
    g_assert_cmpint(g_rmdir(folder), ==, 0); /* nothing else was left there */
    g_assert_cmpint(g_rmdir(f->state), ==, 0);
    g_free(f->state);
}

static char *
contents(Fixture *f, const char *name)
{
    g_autofree char *path = g_build_filename(f->state, "ssh", name, NULL);
    char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static int
mode_of(Fixture *f, const char *name)
{
    g_autofree char *path = g_build_filename(f->state, "ssh", name, NULL);
    GStatBuf seen;
    g_assert_cmpint(g_stat(path, &seen), ==, 0);
    return seen.st_mode & 0777;
}

static void
test_the_key_is_made_once(Fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    const char *key = berth_host_access_public_key(f->access, &error);
    g_autofree char *ssh_keygen = g_find_program_in_path("ssh-keygen");
    if (ssh_keygen == NULL) {
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_UNAVAILABLE);
        g_test_skip("ssh-keygen is not installed");
        return;
    }
    g_assert_no_error(error);
    g_assert_true(g_str_has_prefix(key, "ssh-ed25519 AAAA"));
    g_assert_cmpint(mode_of(f, "id_ed25519"), ==, 0600);
    g_assert_cmpint(mode_of(f, "ssh"), ==, 0700);
    g_autoptr(BerthHostAccess) again = open_access(f, NULL, FALSE);
    g_assert_cmpstr(berth_host_access_public_key(again, NULL), ==, key);
}

static void
trust(Fixture *f, const char *name, const char *address, char **keys)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthHostUri) uri = berth_host_uri_parse(address, &error);
    g_assert_no_error(error);
    g_assert_true(berth_host_access_trust(f->access, name, uri, keys, &error));
    g_assert_no_error(error);
}

static void
test_known_hosts_is_what_hosts_say(Fixture *f, gconstpointer unused)
{
    char *keys[] = {(char *)KEY " root@h2", NULL};
    trust(f, "h2", "qemu+ssh://root@H2.example/system", keys);
    trust(f, "h3", "qemu+ssh://root@[fe80::1]:2222/system", keys);
    g_autofree char *both = contents(f, "known_hosts");
    g_assert_nonnull(strstr(both, "h2.example " KEY "\n"));
    g_assert_nonnull(strstr(both, "[fe80::1]:2222 " KEY "\n"));
    g_assert_cmpint(mode_of(f, "known_hosts"), ==, 0600);
    trust(f, "h2", "qemu+ssh://root@other/system", keys);
    g_assert_true(berth_host_access_trust(f->access, "h3", NULL, NULL, NULL));
    g_autofree char *one = contents(f, "known_hosts");
    g_assert_cmpstr(one, ==, "other " KEY "\n");
    /* What was trusted in another life is so no more until its Host is read. */
    g_autoptr(BerthHostAccess) again = open_access(f, NULL, FALSE);
    g_autofree char *none = contents(f, "known_hosts");
    g_assert_cmpstr(none, ==, "");
}

static void
assert_uri(BerthHostAccess *access, const char *spec, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *uri = berth_host_access_uri(access, spec, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(uri, ==, expected);
}

static void
test_uris_are_built_here(Fixture *f, gconstpointer unused)
{
    assert_uri(f->access, "qemu:///system", "qemu+unix:///system");
    assert_uri(f->access, "qemu:///session", "qemu+unix:///session");
    assert_uri(f->access, "qemu://h3/system", "qemu+tls://h3/system");
    g_autoptr(BerthHostAccess) pki = open_access(f, "/etc/berth/a b&c", FALSE);
    assert_uri(pki, "qemu+tls://h3:1/system",
               "qemu+tls://h3:1/system?pkipath=/etc/berth/a%20b%26c");
    assert_uri(pki, "qemu:///system", "qemu+unix:///system");
    g_autofree char *ssh_keygen = g_find_program_in_path("ssh-keygen");
    if (ssh_keygen == NULL) {
        g_test_skip("ssh-keygen is not installed");
        return;
    }
    g_autofree char *program = g_build_filename(f->state, "ssh/ssh", NULL);
    g_autofree char *escaped = g_uri_escape_string(program, "/", FALSE);
    g_autofree char *expected =
        g_strdup_printf("qemu+ssh://root@[fe80::1]:22/system?command=%s&no_tty=1", escaped);
    assert_uri(f->access, "qemu+ssh://root@[fe80::1]:22/system", expected);
    g_autofree char *config = contents(f, "config");
    g_assert_nonnull(strstr(config, "berth%%access-"));
    g_assert_nonnull(strstr(config, "StrictHostKeyChecking yes\n"));
}

static void
test_test_hosts_need_the_flag(Fixture *f, gconstpointer unused)
{
    static const char *const texts[] = {"qemu:///system?socket=/run/x", "qemu+tcp://h/system",
                                        "sim:///run/x#h1"};
    g_autoptr(BerthHostAccess) testing = open_access(f, NULL, TRUE);
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(berth_host_access_uri(f->access, texts[i], &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
        g_assert_nonnull(strstr(error->message, "--test-hosts"));
        g_autofree char *uri = berth_host_access_uri(testing, texts[i], NULL);
        g_assert_nonnull(uri);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    TEST("/daemon/host-access/the-key-is-made-once", test_the_key_is_made_once);
    TEST("/daemon/host-access/known-hosts-is-what-hosts-say", test_known_hosts_is_what_hosts_say);
    TEST("/daemon/host-access/uris-are-built-here", test_uris_are_built_here);
    TEST("/daemon/host-access/test-hosts-need-the-flag", test_test_hosts_need_the_flag);
    return g_test_run();
}
