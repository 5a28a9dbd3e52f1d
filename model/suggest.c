/* "Did you mean …?": the nearest of a few known words. Pure; thread-safe. */
#include "model/schema.h"

#include <string.h>

#define WORD_MAX 40 /* longer words get no suggestion */

/* memoryMib, memory-mib and MEMORY_MIB are memory_mib to a person. */
static gsize
fold(const char *word, char *folded)
{
    gsize length = 0;
    for (const char *c = word; *c != '\0' && length < WORD_MAX; c++) {
        if (*c != '_' && *c != '-') {
            folded[length++] = g_ascii_tolower(*c);
        }
    }
    return length;
}

/* Letters to replace, add, leave out, or swap with their neighbour (optimal string alignment). */
static guint
distance(const char *a, gsize a_length, const char *b, gsize b_length)
{
    guint rows[WORD_MAX + 1][WORD_MAX + 1];
    for (guint i = 0; i <= a_length; i++) {
        rows[i][0] = i;
        for (guint j = 1; j <= b_length; j++) {
            if (i == 0) {
                rows[i][j] = j;
                continue;
            }
            guint replaced = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            rows[i][j] = MIN(replaced, 1 + MIN(rows[i - 1][j], rows[i][j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                rows[i][j] = MIN(rows[i][j], 1 + rows[i - 2][j - 2]);
            }
        }
    }
    return rows[a_length][b_length];
}

/**
 * berth_suggest:
 * @word: what somebody wrote
 * @known: (array zero-terminated=1): what there is
 *
 * Returns: (nullable): the one of @known that @word most likely means, borrowed; NULL when none is
 * near (a third of its letters, or one contains the other).
 */
const char *
berth_suggest(const char *word, const char *const *known)
{
    char wanted[WORD_MAX], have[WORD_MAX];
    gsize wanted_length = fold(word, wanted);
    const char *best = NULL;
    guint best_distance = G_MAXUINT;
    if (strlen(word) >= WORD_MAX || wanted_length == 0) {
        return NULL;
    }
    for (gsize i = 0; known[i] != NULL; i++) {
        gsize length = fold(known[i], have);
        guint far = distance(wanted, wanted_length, have, length);
        if (wanted_length >= 3 && length > wanted_length &&
            memcmp(wanted, have, wanted_length) == 0) {
            far = MIN(far, 1); /* "mem" for memory_mib */
        }
        if (far < best_distance && far <= MAX(1, MAX(wanted_length, length) / 3)) {
            best = known[i];
            best_distance = far;
        }
    }
    return best;
}
