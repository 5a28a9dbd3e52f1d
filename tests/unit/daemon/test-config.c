/* The configuration, the tokens and the log line. */
#include "base/error.h"
#include "daemon/auth.h"
#include "daemon/config.h"
#include "daemon/log.h"

#include <glib/gstdio.h>
#include <string.h>

static char *
write_file(const char *text, int mode)
{
    char *path = NULL;
    int fd = g_file_open_tmp("berth-config-XXXXXX", &path, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_close(fd, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_chmod(path, mode);
    return path;
}

static void
assert_refused(const char *text, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthConfig) config = berth_config_new();
    g_autofree char *path = write_file(text, 0600);
    gboolean good =
        berth_config_read(config, path, &error) && berth_config_validate(config, &error);
    g_assert_false(good);
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, part));
    g_unlink(path);
}

static void
test_an_unknown_key_names_file_and_key(void)
{
    assert_refused("[listen]\nsoket=/run/x\n", "no key 'soket' in [listen]");
    assert_refused("[lisen]\nsocket=/run/x\n", "no key 'socket' in [lisen]");
    assert_refused("[state]\nfolder=relative\n", "[state] folder");
    assert_refused("[log]\nlevel=loud\n", "loud");
    assert_refused("[state]\nstart_limit_s=0\n", "[state] start_limit_s");
    assert_refused("[state]\nstart_limit_s=soon\n", "[state] start_limit_s");
    assert_refused("no group\n", "no group");
}

static void
test_tcp_needs_tls_and_a_credential(void)
{
    assert_refused("[listen]\ntcp=0.0.0.0:7420\n", "TLS");
    assert_refused("[listen]\ntcp=0.0.0.0:7420\ntls_certificate=/c\ntls_key=/k\n", "credential");
}

static void
test_explained_keys_are_read(void)
{
    g_autofree char *all = berth_config_explain();
    g_autoptr(BerthConfig) config = berth_config_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *path = write_file(all, 0644);
    berth_config_read(config, path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(config->socket, ==, "/run/berth/berthd.sock");
    g_unlink(path);
}

static void
test_tokens_are_found_by_their_hash_alone(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *hash = berth_token_hash("secret");
    g_autofree char *text = g_strdup_printf("# comment\n\nci %s\n", hash);
    g_autofree char *path = write_file(text, 0600);
    g_autoptr(BerthTokens) tokens = berth_tokens_load(path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(berth_tokens_find(tokens, "secret"), ==, "ci");
    g_assert_null(berth_tokens_find(tokens, hash));
    g_assert_null(berth_tokens_find(tokens, ""));
    g_chmod(path, 0644);
    g_assert_null(berth_tokens_load(path, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_DENIED);
    g_unlink(path);
}

static void
test_a_value_never_begins_a_new_line(void)
{
    g_autofree char *line =
        berth_log_format("said", "text", "a\nb\x1b[31m \"c\"", "none", NULL, "plain", "x-1", NULL);
    g_assert_cmpstr(line, ==, "said text=\"a\\x0ab\\x1b[31m \\\"c\\\"\" plain=x-1");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/daemon/config/an-unknown-key-names-file-and-key",
                    test_an_unknown_key_names_file_and_key);
    g_test_add_func("/daemon/config/tcp-needs-tls-and-a-credential",
                    test_tcp_needs_tls_and_a_credential);
    g_test_add_func("/daemon/config/explained-keys-are-read", test_explained_keys_are_read);
    g_test_add_func("/daemon/auth/tokens-are-found-by-their-hash-alone",
                    test_tokens_are_found_by_their_hash_alone);
    g_test_add_func("/daemon/log/a-value-never-begins-a-new-line",
                    test_a_value_never_begins_a_new_line);
    return g_test_run();
}
