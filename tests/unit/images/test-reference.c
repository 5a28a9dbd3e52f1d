/* References and digests. */
#include "images/reference.h"

#include "base/error.h"
#include "tests/unit/images/scratch.h"

#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
    const char *text, *canonical, *familiar;
} good[] = {
    {"busybox", "docker.io/library/busybox:latest", "busybox:latest"},
    {"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
    {"user/app", "docker.io/user/app:latest", "user/app:latest"},
    {"docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"},
    {"index.docker.io/library/busybox:x", "docker.io/library/busybox:x", "busybox:x"},
    {"localhost/app:1", "localhost/app:1", "localhost/app:1"},
    {"localhost:5000/a/b/c:1", "localhost:5000/a/b/c:1", "localhost:5000/a/b/c:1"},
    {"127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"},
    {"[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"},
    {"Quay.IO/x/y__z-a.b", "quay.io/x/y__z-a.b:latest", "quay.io/x/y__z-a.b:latest"},
    {"app@sha256:" HEX, "docker.io/library/app@sha256:" HEX, "app@sha256:" HEX},
    {"a/b:t@sha256:" HEX, "docker.io/a/b:t@sha256:" HEX, "a/b:t@sha256:" HEX},
    {"docker.io/library/a.b/c", "docker.io/library/a.b/c:latest", "docker.io/library/a.b/c:latest"},
};

static void
test_good(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BerthReference) reference = berth_reference_parse(good[i].text, &error);
        g_assert_no_error(error);
        g_autofree char *canonical = berth_reference_format(reference);
        g_autofree char *familiar = berth_reference_format_familiar(reference);
        g_assert_cmpstr(canonical, ==, good[i].canonical);
        g_assert_cmpstr(familiar, ==, good[i].familiar);
        g_autoptr(BerthReference) again = berth_reference_parse(familiar, &error);
        g_assert_no_error(error);
        g_autofree char *twice = berth_reference_format(again);
        g_assert_cmpstr(twice, ==, canonical);
    }
}

static const char *const bad[] = {
    "",
    " ",
    "Busybox",
    "a//b",
    "/a",
    "a/",
    "a/../b",
    "../a",
    "./a",
    "a..b",
    "a___b",
    "-a",
    "a-",
    "a:",
    "a:-x",
    "a:x y",
    "a:x/y:z@",
    "a@",
    "a@sha256:",
    "a@sha256:" HEX "0",
    "a@sha512:" HEX,
    "a@sha256:" HEX "@sha256:" HEX,
    "a@sha256:" HEX ":tag",
    "host.example:0/a",
    "host.example:99999/a",
    "host.example:/a",
    "ho st.example/a",
    "-host.example/a",
    "[::1/a",
    "[evil]/a",
    "http://a/b",
    "file:///etc/passwd",
    "user:secret@host.example/a",
    "a\nb",
    "a\033[2J",
    "a%2fb",
    "h.example/a?x=1",
    "h.example/a#x",
    "\xff\xfe",
};

static void
test_bad(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BerthReference) reference = berth_reference_parse(bad[i], &error);
        if (reference != NULL) {
            g_error("'%s' was accepted", bad[i]);
        }
        scratch_assert_error(error, BERTH_ERROR_INVALID, "");
    }
    g_autofree char *longest = g_strnfill(BERTH_REFERENCE_MAX + 1, 'a');
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_reference_parse(longest, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "1 to 512");
}

/* Whatever bytes come, what is accepted has one canonical form and only harmless characters. */
static void
test_random(void)
{
    static const char alphabet[] = "ab0.-_/:@[]%\\\n sha256:Z~\xff";
    guint accepted = 0;
    for (guint round = 0; round < 200000; round++) {
        char text[24] = {0};
        guint length = (guint)g_test_rand_int_range(1, 23);
        for (guint i = 0; i < length; i++) {
            text[i] = alphabet[g_test_rand_int_range(0, sizeof alphabet - 1)];
        }
        g_autoptr(BerthReference) reference = berth_reference_parse(text, NULL);
        if (reference != NULL) {
            accepted++;
            g_autofree char *once = berth_reference_format(reference);
            g_autoptr(BerthReference) again = berth_reference_parse(once, NULL);
            g_assert_nonnull(again);
            g_autofree char *twice = berth_reference_format(again);
            g_assert_cmpstr(once, ==, twice);
            g_assert_null(strstr(reference->repository, ".."));
            g_assert_null(strstr(reference->registry, ".."));
            g_assert_null(strpbrk(once, "\\%\n ~\xff"));
        }
    }
    g_assert_cmpuint(accepted, >, 100);
}

static void
test_digest(void)
{
    BerthDigest digest;
    g_autoptr(GError) error = NULL;
    g_assert_true(berth_digest_parse("sha256:" HEX, 71, &digest, &error));
    g_assert_cmpstr(digest.hex, ==, HEX);
    g_assert_false(berth_digest_parse("sha256:" HEX "\n", 72, &digest, NULL));
    g_assert_false(berth_digest_parse("sha256:" HEX, 70, &digest, NULL));
    g_assert_false(berth_digest_parse("SHA256:" HEX, 71, &digest, NULL));
    g_assert_false(berth_digest_parse(NULL, 0, &digest, NULL));
    berth_digest_of_bytes("", 0, &digest);
    g_assert_cmpstr(digest.hex, ==,
                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/images/reference/gets-docker-defaults-and-one-canonical-form", test_good);
    g_test_add_func("/images/reference/refuses-what-is-no-reference", test_bad);
    g_test_add_func("/images/reference/survives-random-bytes", test_random);
    g_test_add_func("/images/digest/is-sha256-in-lower-case-only", test_digest);
    return g_test_run();
}
