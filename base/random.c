/* Random bytes: from the kernel, or from a seed (splitmix64: Steele, Lea, Flood, OOPSLA 2014). */
#include "base/random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static void
fill_from_system(BerthRandom *random, void *data, gsize size)
{
    guint8 *next = data;
    while (size > 0) {
        gssize got = getrandom(next, size, 0);
        if (got < 0) {
            g_assert(errno == EINTR);
            continue;
        }
        next += got;
        size -= (gsize)got;
    }
}

/** Returns: the kernel's generator; static, thread-safe. */
BerthRandom *
berth_random_system(void)
{
    static BerthRandom random = {fill_from_system};
    return &random;
}

static guint64
next_seeded(BerthSeededRandom *random)
{
    guint64 z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void
fill_from_seed(BerthRandom *random, void *data, gsize size)
{
    guint8 *next = data;
    while (size > 0) {
        guint64 word = next_seeded((BerthSeededRandom *)random);
        gsize part = MIN(size, sizeof word);
        memcpy(next, &word, part);
        next += part;
        size -= part;
    }
}

/** Makes @random the stream that @seed names: the same bytes on every machine of this endianness. */
void
berth_seeded_random_init(BerthSeededRandom *random, guint64 seed)
{
    *random = (BerthSeededRandom){.base = {fill_from_seed}, .state = seed};
}

/** Returns: 64 random bits. */
guint64
berth_random_u64(BerthRandom *random)
{
    guint64 value;
    random->fill(random, &value, sizeof value);
    return value;
}

/** Returns: a number in [0, @bound), @bound > 0; the bias is below 2^-32 for bounds under 2^32. */
guint64
berth_random_below(BerthRandom *random, guint64 bound)
{
    return berth_random_u64(random) % bound;
}

/** Returns: (transfer full): @bytes random bytes as lower-case hexadecimal. */
char *
berth_random_hex(BerthRandom *random, gsize bytes)
{
    g_autofree guint8 *raw = g_malloc(bytes);
    random->fill(random, raw, bytes);
    GString *hex = g_string_sized_new(bytes * 2);
    for (gsize i = 0; i < bytes; i++) {
        g_string_append_printf(hex, "%02x", raw[i]);
    }
    return g_string_free(hex, FALSE);
}
