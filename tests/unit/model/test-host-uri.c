/* Addresses of hosts come apart, and nothing in them can name a program, a file or an option.
 * And SSH keys. */
#include "base/error.h"
#include "model/host-uri.h"
#include "model/ssh-key.h"

#include <string.h>

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6c/L0XqmkrUOXlSeWEVC9+1yvvf80uPkah9ELtfjFz"
#define FINGERPRINT "SHA256:rDlh5cFZKD6MDIIB5hkNPVUd/1C1XPl4QpS5pHycIcA"

static void
test_parts(void)
{
    static const struct {
        const char *text, *user, *host, *socket;
        BerthTransport transport;
        guint port;
        gboolean session;
    } rows[] = {
        {"qemu:///system", NULL, NULL, NULL, BERTH_TRANSPORT_LOCAL, 0, FALSE},
        {"qemu+unix:///session", NULL, NULL, NULL, BERTH_TRANSPORT_LOCAL, 0, TRUE},
        {"qemu:///system?socket=/run/x/sock", NULL, NULL, "/run/x/sock", BERTH_TRANSPORT_LOCAL, 0,
         FALSE},
        {"qemu+ssh://root@h2.example/system", "root", "h2.example", NULL, BERTH_TRANSPORT_SSH, 0,
         FALSE},
        {"qemu+ssh://h2:2222/system", NULL, "h2", NULL, BERTH_TRANSPORT_SSH, 2222, FALSE},
        {"qemu+ssh://a_b.c@[fe80::1]:22/system", "a_b.c", "fe80::1", NULL, BERTH_TRANSPORT_SSH, 22,
         FALSE},
        {"qemu+tls://h3/system", NULL, "h3", NULL, BERTH_TRANSPORT_TLS, 0, FALSE},
        {"qemu://h3/system", NULL, "h3", NULL, BERTH_TRANSPORT_TLS, 0, FALSE},
        {"qemu+tcp://10.0.0.3/system", NULL, "10.0.0.3", NULL, BERTH_TRANSPORT_TCP, 0, FALSE},
        {"sim:///run/x/sock#h17", NULL, NULL, NULL, BERTH_TRANSPORT_SIM, 0, FALSE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BerthHostUri) uri = berth_host_uri_parse(rows[i].text, &error);
        g_test_message("%s", rows[i].text);
        g_assert_no_error(error);
        g_assert_cmpint(uri->transport, ==, rows[i].transport);
        g_assert_cmpstr(uri->user, ==, rows[i].user);
        g_assert_cmpstr(uri->host, ==, rows[i].host);
        g_assert_cmpstr(uri->socket, ==, rows[i].socket);
        g_assert_cmpuint(uri->port, ==, rows[i].port);
        g_assert_cmpint(uri->session, ==, rows[i].session);
    }
}

static void
test_refused(void)
{
    static const char *const texts[] = {
        "",
        "qemu:///",
        "qemu:///system ",
        "qemu:///system\n",
        "qemu:///system/x",
        "qemu:///system#x",
        "test:///default",
        "lxc:///system",
        "qemu+ext:///system",
        "qemu+ssh:///system",
        "qemu+tls:///system",
        "qemu+unix://h2/system",
        "qemu+unix://root@/system",
        "qemu+tls://root@h2/system",
        "qemu+ssh://-oProxyCommand=x/system",
        "qemu+ssh://-x@h2/system",
        "qemu+ssh://h2:0/system",
        "qemu+ssh://h2:65536/system",
        "qemu+ssh://root:secret@h2/system",
        "qemu+ssh://h2/system?command=/bin/sh",
        "qemu+ssh://h2/system?socket=/run/x",
        "qemu:///system?socket=/run/x&command=/bin/sh",
        "qemu:///system?pkipath=/etc",
        "qemu:///system?socket=/run/%41",
        "qemu+ssh://h2/system?no_verify=1",
        "sim:///run/x/sock",
        "qemu+ssh://h\xc3\xa9/system",
    };
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", texts[i]);
        g_assert_null(berth_host_uri_parse(texts[i], &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
        g_assert_null(strchr(error->message, '\n'));
    }
}

static void
test_keys(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *plain = berth_ssh_key_parse(KEY, &error);
    g_assert_no_error(error);
    g_autofree char *with_comment = berth_ssh_key_parse(KEY " root@h2 of old", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(plain, ==, KEY);
    g_assert_cmpstr(with_comment, ==, KEY);
    g_autofree char *fingerprint = berth_ssh_key_fingerprint(plain);
    g_assert_cmpstr(fingerprint, ==, FINGERPRINT);
}

static void
test_no_keys(void)
{
    static const char *const texts[] = {
        "",
        "ssh-ed25519",
        "ssh-ed25519 ",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=A",
        "ssh-ed25519\tAAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\nevil ssh-ed25519 AAAA",
        "@cert-authority * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "h2 " KEY,
    };
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", texts[i]);
        g_assert_null(berth_ssh_key_parse(texts[i], &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/model/host-uri/comes-apart", test_parts);
    g_test_add_func("/model/host-uri/names-no-program-file-or-option", test_refused);
    g_test_add_func("/model/ssh-key/has-its-fingerprint", test_keys);
    g_test_add_func("/model/ssh-key/is-nothing-else", test_no_keys);
    return g_test_run();
}
