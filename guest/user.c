/* Names to numbers. The image is not trusted: its files are opened inside its own root, must be regular
 * and are read up to a limit; a line that is no entry is skipped. */
#include "guest/user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MAX (1024 * 1024)
#define ID_MAX 4294967294u
/* The daemon puts the empty user object before anything that a user wrote. */
#define USER_OBJECT "\"user\":{}"
#define USER_OBJECT_WITHIN 32

/* Returns: (nullable): the file's text, to be freed; NULL when there is none worth reading. */
static char *
read_in_root(int rootfs, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    struct stat about;
    int fd = (int)syscall(SYS_openat2, rootfs, path, &how, sizeof how);
    if (fd < 0) {
        return NULL;
    }
    char *text = NULL;
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
        text = malloc(FILE_MAX + 1);
    }
    size_t used = 0;
    ssize_t got = 1;
    while (text != NULL && used < FILE_MAX && got > 0) {
        got = read(fd, text + used, FILE_MAX - used);
        used += got > 0 ? (size_t)got : 0;
    }
    if (text != NULL) {
        text[used] = '\0';
    }
    close(fd);
    return text;
}

static bool
parse_id(const char *text, uint32_t *id)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != '\0' || errno != 0 || value > ID_MAX) {
        return false;
    }
    *id = (uint32_t)value;
    return true;
}

/* Splits "a:b:c" in place; missing fields are "". */
static void
split(char *line, char *fields[], int count)
{
    for (int i = 0; i < count; i++) {
        fields[i] = line;
        line += strcspn(line, ":");
        if (*line != '\0') {
            *line++ = '\0';
        }
    }
}

/* In passwd: by name, or by number when it is one. Fills in uid and gid; @name becomes the entry's. */
static bool
find_user(char *passwd, const char *wanted, User *user, char *name, size_t name_size)
{
    uint32_t number;
    bool is_number = parse_id(wanted, &number);
    for (char *line; passwd != NULL && (line = strsep(&passwd, "\n")) != NULL;) {
        char *fields[4];
        uint32_t uid, gid;
        split(line, fields, 4);
        if (!parse_id(fields[2], &uid) || !parse_id(fields[3], &gid) || fields[0][0] == '\0') {
            continue;
        }
        if (is_number ? uid == number : strcmp(fields[0], wanted) == 0) {
            user->uid = uid;
            user->gid = gid;
            snprintf(name, name_size, "%s", fields[0]);
            return true;
        }
    }
    if (is_number) {
        user->uid = number;
        user->gid = 0;
    }
    return is_number;
}

static bool
find_group(char *group, const char *wanted, uint32_t *gid)
{
    if (parse_id(wanted, gid)) {
        return true;
    }
    for (char *line; group != NULL && (line = strsep(&group, "\n")) != NULL;) {
        char *fields[3];
        split(line, fields, 3);
        if (strcmp(fields[0], wanted) == 0 && parse_id(fields[2], gid)) {
            return true;
        }
    }
    return false;
}

static bool
is_member(char *members, const char *name)
{
    for (char *each; (each = strsep(&members, ",")) != NULL;) {
        if (strcmp(each, name) == 0) {
            return true;
        }
    }
    return false;
}

static void
collect_groups(char *group, const char *name, User *user)
{
    for (char *line; group != NULL && (line = strsep(&group, "\n")) != NULL;) {
        char *fields[4];
        uint32_t gid;
        split(line, fields, 4);
        if (parse_id(fields[2], &gid) && user->group_count < USER_GROUPS_MAX &&
            is_member(fields[3], name)) {
            user->groups[user->group_count++] = gid;
        }
    }
}

static int
resolve(char *passwd, char *group, const char *wanted, User *user, char *text, size_t size)
{
    char name[128] = "", first[128];
    snprintf(first, sizeof first, "%s", wanted);
    char *second = strchr(first, ':');
    if (second != NULL) {
        *second++ = '\0';
    }
    if (!find_user(passwd, first[0] == '\0' ? "0" : first, user, name, sizeof name)) {
        snprintf(text, size, "the image has no user '%s'", first);
        return -ENOENT;
    }
    if (second != NULL && second[0] != '\0') {
        if (!find_group(group, second, &user->gid)) {
            snprintf(text, size, "the image has no group '%s'", second);
            return -ENOENT;
        }
    } else if (name[0] != '\0') {
        collect_groups(group, name, user);
    }
    return 0;
}

/**
 * user_resolve:
 * @rootfs: folder of the container's root
 * @wanted: "", "name", "1000", "name:group", "1000:1000"
 * @user: (out)
 * @text: (out): why it failed
 *
 * Returns: 0, or -ENOENT when the image knows no such name.
 */
int
user_resolve(int rootfs, const char *wanted, User *user, char *text, size_t size)
{
    char *passwd = read_in_root(rootfs, "/etc/passwd");
    char *group = read_in_root(rootfs, "/etc/group");
    *user = (User){0};
    int result = resolve(passwd, group, wanted, user, text, size);
    free(passwd);
    free(group);
    return result;
}

/** Returns: (nullable): @json with @user in its user object, to be freed; NULL when it has none. */
char *
user_fill_in(const char *json, const User *user)
{
    size_t length = strlen(json);
    const char *at = memmem(json, length < USER_OBJECT_WITHIN ? length : USER_OBJECT_WITHIN,
                            USER_OBJECT, sizeof USER_OBJECT - 1);
    size_t size = length + 128 + 12 * (size_t)user->group_count;
    char *out = at == NULL ? NULL : malloc(size);
    if (out == NULL) {
        return NULL;
    }
    size_t used =
        (size_t)snprintf(out, size, "%.*s\"user\":{\"uid\":%u,\"gid\":%u,\"additionalGids\":[",
                         (int)(at - json), json, user->uid, user->gid);
    for (unsigned i = 0; i < user->group_count; i++) {
        used +=
            (size_t)snprintf(out + used, size - used, "%s%u", i > 0 ? "," : "", user->groups[i]);
    }
    snprintf(out + used, size - used, "]}%s", at + sizeof USER_OBJECT - 1);
    return out;
}
