/* Small files of the kernel and of ours, read and written whole and bounded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

long file_read(int dirfd, const char *path, char *out, size_t size);
int file_write(const char *path, const char *text);
int file_make_folders(const char *path);
int file_remove_tree(int dirfd, const char *name, int depth);
uint64_t file_read_number(const char *path);
