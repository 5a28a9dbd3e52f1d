/* Who a container runs as, by its own image's passwd and group files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USER_GROUPS_MAX 64

typedef struct {
    uint32_t uid, gid;
    uint32_t groups[USER_GROUPS_MAX];
    unsigned group_count;
} User;

int user_resolve(int rootfs, const char *wanted, User *user, char *text, size_t size);
char *user_fill_in(const char *json, const User *user);
