/* Names become numbers by the image's own files, whatever those contain. */
#include "guest/user.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *folder;
    int fd;
} Root;

static char *
path_in(const Root *root, const char *name)
{
    return g_build_filename(root->folder, name, NULL);
}

static void
put(const Root *root, const char *name, const char *text)
{
    g_autofree char *path = path_in(root, name);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static Root
root_new(void)
{
    Root root = {g_dir_make_tmp("berth-user-XXXXXX", NULL), -1};
    g_autofree char *etc = path_in(&root, "etc");
    g_assert_cmpint(g_mkdir(etc, 0755), ==, 0);
    root.fd = open(root.folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root;
}

static void
root_free(Root *root)
{
    const char *const names[] = {"etc/passwd", "etc/group", "outside", "etc", ""};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = path_in(root, names[i]);
        g_remove(path);
    }
    close(root->fd);
    g_free(root->folder);
}

static int
resolve(const Root *root, const char *wanted, User *user)
{
    char text[160];
    return user_resolve(root->fd, wanted, user, text, sizeof text);
}

static void
test_finds_names_numbers_and_groups(void)
{
    Root root = root_new();
    User user;
    put(&root, "etc/passwd", "root:x:0:0:::\nbroken\n:x:5:5:::\nweb:x:33:34:w:/:/bin/sh\n");
    put(&root, "etc/group", "adm:x:4:sys,web\nweb:x:34:\nlog:x:9:webby\ntty:x:5:web\n");
    g_assert_cmpint(resolve(&root, "", &user), ==, 0);
    g_assert_cmpuint(user.uid, ==, 0);
    g_assert_cmpint(resolve(&root, "web", &user), ==, 0);
    g_assert_cmpuint(user.uid, ==, 33);
    g_assert_cmpuint(user.gid, ==, 34);
    g_assert_cmpuint(user.group_count, ==, 2);
    g_assert_cmpuint(user.groups[0], ==, 4);
    g_assert_cmpuint(user.groups[1], ==, 5);
    g_assert_cmpint(resolve(&root, "33", &user), ==, 0);
    g_assert_cmpuint(user.gid, ==, 34);
    g_assert_cmpint(resolve(&root, "web:log", &user), ==, 0);
    g_assert_cmpuint(user.gid, ==, 9);
    g_assert_cmpuint(user.group_count, ==, 0);
    g_assert_cmpint(resolve(&root, "4294967294:7", &user), ==, 0);
    g_assert_cmpuint(user.uid, ==, 4294967294u);
    g_assert_cmpuint(user.gid, ==, 7);
    root_free(&root);
}

static void
test_refuses_unknown_names_and_numbers_too_large(void)
{
    Root root = root_new();
    User user;
    g_assert_cmpint(resolve(&root, "1000", &user), ==, 0); /* no files at all */
    g_assert_cmpint(resolve(&root, "web", &user), ==, -ENOENT);
    g_assert_cmpint(resolve(&root, "0:nobody", &user), ==, -ENOENT);
    g_assert_cmpint(resolve(&root, "4294967295", &user), ==, -ENOENT);
    g_assert_cmpint(resolve(&root, "-1", &user), ==, -ENOENT);
    root_free(&root);
}

static void
test_does_not_follow_links_out_of_the_image(void)
{
    Root root = root_new();
    User user;
    g_autofree char *passwd = path_in(&root, "etc/passwd");
    g_assert_cmpint(symlink("../../../../../../etc/passwd", passwd), ==, 0);
    g_assert_cmpint(resolve(&root, "daemon", &user), ==, -ENOENT); /* the host has one */
    g_remove(passwd);
    g_assert_cmpint(symlink("/outside", passwd), ==, 0);
    put(&root, "outside", "in:x:8:8:::\n"); /* absolute, but inside the image's root */
    g_assert_cmpint(resolve(&root, "in", &user), ==, 0);
    g_remove(passwd);
    g_assert_cmpint(mkfifo(passwd, 0644), ==, 0); /* would block for ever */
    g_assert_cmpint(resolve(&root, "in", &user), ==, -ENOENT);
    root_free(&root);
}

static void
test_reads_a_bounded_part_of_huge_files(void)
{
    Root root = root_new();
    User user;
    g_autofree char *filler = g_strnfill(3 * 1024 * 1024, 'x');
    g_autofree char *text = g_strconcat("first:x:1:1:::\n", filler, "\nlast:x:2:2:::\n", NULL);
    put(&root, "etc/passwd", text);
    g_assert_cmpint(resolve(&root, "first", &user), ==, 0);
    g_assert_cmpint(resolve(&root, "last", &user), ==, -ENOENT);
    root_free(&root);
}

static void
test_fills_in_only_the_place_at_the_beginning(void)
{
    User user = {.uid = 5, .gid = 6, .groups = {7, 8}, .group_count = 2};
    char *filled =
        user_fill_in("{\"process\":{\"user\":{},\"args\":[\"\\\"user\\\":{}\"]}}", &user);
    g_assert_cmpstr(filled, ==,
                    "{\"process\":{\"user\":{\"uid\":5,\"gid\":6,\"additionalGids\":[7,8]},"
                    "\"args\":[\"\\\"user\\\":{}\"]}}");
    free(filled);
    g_assert_null(
        user_fill_in("{\"process\":{\"args\":[\"long enough a text\"],\"user\":{}}}", &user));
    g_assert_null(user_fill_in("", &user));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest/user/finds-names-numbers-and-groups",
                    test_finds_names_numbers_and_groups);
    g_test_add_func("/guest/user/refuses-unknown-names-and-numbers-too-large",
                    test_refuses_unknown_names_and_numbers_too_large);
    g_test_add_func("/guest/user/does-not-follow-links-out-of-the-image",
                    test_does_not_follow_links_out_of_the_image);
    g_test_add_func("/guest/user/reads-a-bounded-part-of-huge-files",
                    test_reads_a_bounded_part_of_huge_files);
    g_test_add_func("/guest/user/fills-in-only-the-place-at-the-beginning",
                    test_fills_in_only_the_place_at_the_beginning);
    return g_test_run();
}
