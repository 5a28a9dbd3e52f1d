/* Ranks of hosts. Invariant: a block's maximum is that of its hosts' ranks, a top's that of its blocks,
 * but between writing to ranks and berth_ranks_set_all. Start at berth_ranks_set. */
#include "sched/ranks.h"

#include "sched/wide.h"

static guint32
round_up(guint32 n)
{
    return (n + BERTH_RANKS_BLOCK - 1) / BERTH_RANKS_BLOCK * BERTH_RANKS_BLOCK;
}

static guint32
block_count(const BerthRanks *r)
{
    return round_up(r->room / BERTH_RANKS_BLOCK);
}

static guint32
top_count(const BerthRanks *r)
{
    return block_count(r) / BERTH_RANKS_BLOCK;
}

/**
 * berth_ranks_init:
 * @room: number of hosts there may be
 */
void
berth_ranks_init(BerthRanks *r, guint32 room)
{
    r->room = round_up(room);
    r->ranks = g_new0(guint16, r->room);
    r->blocks = g_new0(guint16, block_count(r));
    r->tops = g_new0(guint16, top_count(r));
}

void
berth_ranks_clear(BerthRanks *r)
{
    g_clear_pointer(&r->ranks, g_free);
    g_clear_pointer(&r->blocks, g_free);
    g_clear_pointer(&r->tops, g_free);
}

gsize
berth_ranks_bytes(const BerthRanks *r)
{
    return sizeof(guint16) * ((gsize)r->room + block_count(r) + top_count(r));
}

BERTH_WIDE static guint16
maximum(const guint16 *values, guint n)
{
    guint16 best = 0;
    for (guint i = 0; i < n; i++) {
        best = values[i] > best ? values[i] : best;
    }
    return best;
}

/* The block's best has gone: finds the next, and the same above when that was the best there too. */
static void
lower_block(BerthRanks *r, guint32 block)
{
    guint16 old = r->blocks[block];
    guint32 top = block / BERTH_RANKS_BLOCK;
    r->blocks[block] = maximum(r->ranks + block * BERTH_RANKS_BLOCK, BERTH_RANKS_BLOCK);
    if (r->blocks[block] != old && r->tops[top] == old) {
        r->tops[top] = maximum(r->blocks + top * BERTH_RANKS_BLOCK, BERTH_RANKS_BLOCK);
    }
}

void
berth_ranks_set(BerthRanks *r, guint32 host, guint16 rank)
{
    guint16 old = r->ranks[host];
    guint32 block = host / BERTH_RANKS_BLOCK, top = block / BERTH_RANKS_BLOCK;
    r->ranks[host] = rank;
    if (rank >= r->blocks[block]) {
        r->blocks[block] = rank;
        r->tops[top] = MAX(r->tops[top], rank);
    } else if (old == r->blocks[block]) {
        lower_block(r, block);
    }
}

/**
 * berth_ranks_set_all:
 *
 * Brings the maxima up to date after ranks were written.
 */
void
berth_ranks_set_all(BerthRanks *r)
{
    for (guint32 block = 0; block < r->room / BERTH_RANKS_BLOCK; block++) {
        r->blocks[block] = maximum(r->ranks + block * BERTH_RANKS_BLOCK, BERTH_RANKS_BLOCK);
    }
    for (guint32 top = 0; top < top_count(r); top++) {
        r->tops[top] = maximum(r->blocks + top * BERTH_RANKS_BLOCK, BERTH_RANKS_BLOCK);
    }
}

/** Returns: the highest rank, 0 when there is none. */
guint16
berth_ranks_best(const BerthRanks *r)
{
    return maximum(r->tops, top_count(r));
}

/* Returns where @value, which must be there, is first. */
BERTH_WIDE static guint
find_first(const guint16 *values, guint16 value)
{
    guint16 first = BERTH_RANKS_BLOCK;
    for (guint16 i = 0; i < BERTH_RANKS_BLOCK; i++) {
        guint16 at = values[i] == value ? i : BERTH_RANKS_BLOCK;
        first = at < first ? at : first;
    }
    return first;
}

/**
 * berth_ranks_best_host:
 *
 * Returns: the best host, the lowest among equals, or BERTH_HOST_NONE
 */
guint32
berth_ranks_best_host(const BerthRanks *r)
{
    guint32 at = 0;
    guint16 best = berth_ranks_best(r);
    if (best == 0) {
        return BERTH_HOST_NONE;
    }
    while (r->tops[at] != best) {
        at++;
    }
    at = at * BERTH_RANKS_BLOCK + find_first(r->blocks + at * BERTH_RANKS_BLOCK, best);
    return at * BERTH_RANKS_BLOCK + find_first(r->ranks + at * BERTH_RANKS_BLOCK, best);
}
