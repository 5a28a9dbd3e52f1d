/* Small files, whole. Nothing here follows a path of a container: those are user.c's alone. */
#include "guest/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/** Reads at most @size - 1 bytes and ends them with a NUL. Returns: bytes or -errno. */
long
file_read(int dirfd, const char *path, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    while (used < size - 1) {
        ssize_t got = read(fd, out + used, size - 1 - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
    }
    close(fd);
    out[used] = '\0';
    return (long)used;
}

/** Replaces the content of @path, in one write as kernel files want it. Returns: 0 or -errno. */
int
file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    size_t left = strlen(text);
    int result = 0;
    while (left > 0 && result == 0) {
        ssize_t written = write(fd, text, left);
        if (written < 0 && errno != EINTR) {
            result = -errno;
        } else if (written > 0) {
            text += written;
            left -= (size_t)written;
        }
    }
    close(fd);
    return result;
}

/** Makes @path and the folders above it. Returns: 0 or -errno. */
int
file_make_folders(const char *path)
{
    char part[256];
    size_t length = strlen(path);
    if (length >= sizeof part) {
        return -ENAMETOOLONG;
    }
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] == '/' || part[i] == '\0') {
            char kept = part[i];
            part[i] = '\0';
            if (mkdir(part, 0755) < 0 && errno != EEXIST) {
                return -errno;
            }
            part[i] = kept;
        }
    }
    return 0;
}

/** Removes @name and what is in it, at most @depth folders deep; also a tree of cgroups. */
int
file_remove_tree(int dirfd, const char *name, int depth)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return -error;
    }
    struct dirent *entry;
    while (depth > 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (entry->d_type == DT_DIR) {
            file_remove_tree(fd, entry->d_name, depth - 1);
        } else {
            unlinkat(fd, entry->d_name, 0);
        }
    }
    closedir(dir);
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/** Returns: the number at the beginning of a file; 0 without one, UINT64_MAX never. */
uint64_t
file_read_number(const char *path)
{
    char text[64];
    if (file_read(AT_FDCWD, path, text, sizeof text) <= 0) {
        return 0;
    }
    unsigned long long number = strtoull(text, NULL, 10);
    return number == UINT64_MAX ? 0 : number;
}
