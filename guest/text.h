/* Bounded text. */
#pragma once

#include <stddef.h>

void text_copy(char *out, size_t size, const char *text);
