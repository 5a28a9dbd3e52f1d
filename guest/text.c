/* Bounded text: always ended by a NUL, cut when too long. */
#include "guest/text.h"

#include <string.h>

/** Copies @text, cut to fit @size bytes with its NUL; NULL counts as "". */
void
text_copy(char *out, size_t size, const char *text)
{
    size_t length = text == NULL ? 0 : strnlen(text, size - 1);
    if (length > 0) {
        memcpy(out, text, length);
    }
    out[length] = '\0';
}
