/* Randomness as a value that is passed in: the system's, or a seeded stream for simulations. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * BerthRandom:
 * @fill: writes @size random bytes to @data
 *
 * Not thread-safe unless it is the system's.
 */
typedef struct BerthRandom BerthRandom;
struct BerthRandom {
    void (*fill)(BerthRandom *random, void *data, gsize size);
};

BerthRandom *berth_random_system(void);

typedef struct {
    BerthRandom base;
    guint64 state;
} BerthSeededRandom;

void berth_seeded_random_init(BerthSeededRandom *random, guint64 seed);

guint64 berth_random_u64(BerthRandom *random);
guint64 berth_random_below(BerthRandom *random, guint64 bound);
char *berth_random_hex(BerthRandom *random, gsize bytes);

G_END_DECLS
