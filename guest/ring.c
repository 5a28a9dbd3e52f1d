/* The circular log of one container. Invariant: the `used` bytes from `head` on are the records first …
 * next - 1, each a 16-byte head and its data; those before `cursor` are sent. */
#include "guest/ring.h"

#include "guest/protocol.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_HEAD 16
#define CAPACITY_MIN 16384
/* Enough for a flood that the daemon keeps up with: pages given back would have to be cleared again. */
#define CAPACITY_KEPT (512 * 1024)

/** @limit: bytes it may grow to, at least one record of BERTH_LOG_RECORD_MAX. */
void
berth_ring_init(BerthRing *ring, size_t limit)
{
    *ring = (BerthRing){.limit = limit, .first = 1, .next = 1, .cursor = 1};
}

/** Frees what it holds; may be initialised again. */
void
berth_ring_clear(BerthRing *ring)
{
    free(ring->data);
    berth_ring_init(ring, ring->limit);
}

static void
copy_in(BerthRing *ring, size_t at, const void *data, size_t size)
{
    at %= ring->capacity;
    size_t first = ring->capacity - at < size ? ring->capacity - at : size;
    memcpy(ring->data + at, data, first);
    if (size > first) {
        memcpy(ring->data, (const uint8_t *)data + first, size - first);
    }
}

static void
copy_out(const BerthRing *ring, size_t at, void *data, size_t size)
{
    at %= ring->capacity;
    size_t first = ring->capacity - at < size ? ring->capacity - at : size;
    memcpy(data, ring->data + at, first);
    if (size > first) {
        memcpy((uint8_t *)data + first, ring->data, size - first);
    }
}

typedef struct {
    uint32_t size;
    uint8_t fd;
    int64_t wall_us;
} Head;

static Head
read_head(const BerthRing *ring, size_t at)
{
    uint8_t bytes[RECORD_HEAD];
    copy_out(ring, at, bytes, sizeof bytes);
    uint64_t word = berth_load_u64(bytes);
    return (Head){
        .size = (uint32_t)word,
        .fd = (uint8_t)(word >> 32),
        .wall_us = (int64_t)berth_load_u64(bytes + 8),
    };
}

static void
write_head(BerthRing *ring, size_t at, const Head *head)
{
    uint8_t bytes[RECORD_HEAD];
    berth_store_u64(bytes, head->size | (uint64_t)head->fd << 32);
    berth_store_u64(bytes + 8, (uint64_t)head->wall_us);
    copy_in(ring, at, bytes, sizeof bytes);
}

static size_t
drop_oldest(BerthRing *ring)
{
    Head head = read_head(ring, ring->head);
    size_t taken = RECORD_HEAD + head.size;
    if (ring->first < ring->cursor) {
        ring->in_flight -= head.size + BERTH_LOG_RECORD_COST;
    } else {
        ring->unsent -= taken;
    }
    ring->head = (ring->head + taken) % ring->capacity;
    ring->used -= taken;
    ring->first++;
    if (ring->used == 0) {
        ring->head = 0; /* so that a log that is read in time keeps touching the same few pages */
    }
    return head.size;
}

static bool
grow(BerthRing *ring, size_t wanted)
{
    size_t capacity = ring->capacity == 0 ? CAPACITY_MIN : ring->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    if (capacity > ring->limit) {
        capacity = ring->limit;
    }
    if (capacity < wanted || capacity <= ring->capacity) {
        return wanted <= ring->capacity;
    }
    uint8_t *data = malloc(capacity);
    if (data == NULL) {
        return false;
    }
    if (ring->used > 0) {
        copy_out(ring, ring->head, data, ring->used);
    }
    free(ring->data);
    ring->data = data;
    ring->capacity = capacity;
    ring->head = 0;
    return true;
}

static void
note_loss(BerthRing *ring, uint64_t sequence, size_t bytes)
{
    ring->lost_until = sequence;
    ring->lost_bytes += bytes;
}

/** Appends a record of @size <= BERTH_LOG_RECORD_MAX bytes; the oldest go when there is no room. */
void
berth_ring_push(BerthRing *ring, uint8_t fd, int64_t wall_us, const void *data, size_t size)
{
    size_t taken = RECORD_HEAD + size;
    while (!grow(ring, ring->used + taken)) {
        if (ring->used == 0) { /* no memory at all */
            note_loss(ring, ring->next, size);
            ring->first = ++ring->next;
            return;
        }
        uint64_t sequence = ring->first;
        note_loss(ring, sequence, drop_oldest(ring));
    }
    size_t at = ring->head + ring->used;
    write_head(ring, at, &(Head){.size = (uint32_t)size, .fd = fd, .wall_us = wall_us});
    copy_in(ring, at + RECORD_HEAD, data, size);
    ring->used += taken;
    ring->unsent += taken;
    ring->next++;
}

/** Returns: TRUE when berth_ring_take() would give something. */
bool
berth_ring_has_unsent(const BerthRing *ring)
{
    return ring->cursor < ring->next;
}

/** Returns: data bytes of what berth_ring_take() gives next; 0 for a gap or nothing. */
size_t
berth_ring_next_size(const BerthRing *ring)
{
    if (ring->unsent == 0 || ring->cursor < ring->first) {
        return 0;
    }
    return read_head(ring, ring->head + ring->used - ring->unsent).size;
}

/**
 * berth_ring_take:
 * @record: (out)
 * @data: (out): BERTH_LOG_RECORD_MAX bytes
 *
 * The next record to send, or the gap before it. It stays in the ring until acknowledged.
 * Returns: FALSE when everything was sent.
 */
bool
berth_ring_take(BerthRing *ring, BerthRecord *record, uint8_t *data)
{
    if (!berth_ring_has_unsent(ring)) {
        return false;
    }
    if (ring->cursor < ring->first) {
        *record = (BerthRecord){.sequence = ring->first - 1, .lost = ring->lost_bytes};
        ring->cursor = ring->first;
        return true;
    }
    size_t at = ring->head + ring->used - ring->unsent;
    Head head = read_head(ring, at);
    copy_out(ring, at + RECORD_HEAD, data, head.size);
    *record = (BerthRecord){
        .sequence = ring->cursor,
        .wall_us = head.wall_us,
        .fd = head.fd,
        .size = head.size,
    };
    ring->unsent -= RECORD_HEAD + head.size;
    ring->in_flight += head.size + BERTH_LOG_RECORD_COST;
    ring->cursor++;
    return true;
}

/** The daemon has everything up to @sequence safely; more than was ever made counts as all. */
void
berth_ring_ack(BerthRing *ring, uint64_t sequence)
{
    while (ring->used > 0 && ring->first <= sequence) {
        drop_oldest(ring);
    }
    if (ring->cursor <= sequence && sequence < ring->next) {
        ring->cursor = sequence + 1;
    }
    if (sequence >= ring->lost_until) {
        ring->lost_until = 0;
        ring->lost_bytes = 0;
    }
    if (ring->used == 0 && ring->capacity > CAPACITY_KEPT) {
        free(ring->data);
        ring->data = NULL;
        ring->capacity = 0;
    }
}

/**
 * berth_ring_rewind:
 * @received: the last sequence that the daemon has, written or not; 0: none
 *
 * After a break: goes on behind @received. A daemon that has more than was ever made here remembers an
 * earlier boot of this guest: numbering goes on from there.
 */
void
berth_ring_rewind(BerthRing *ring, uint64_t received)
{
    if (received >= ring->next) {
        berth_ring_ack(ring, received);
        ring->first = ring->next = received + 1;
    }
    ring->cursor = received + 1;
    ring->unsent = 0;
    ring->in_flight = 0;
    size_t at = ring->head;
    for (uint64_t each = ring->first; each < ring->next && ring->used > 0; each++) {
        Head head = read_head(ring, at);
        if (each < ring->cursor) {
            ring->in_flight += head.size + BERTH_LOG_RECORD_COST;
        } else {
            ring->unsent += RECORD_HEAD + head.size;
        }
        at += RECORD_HEAD + head.size;
    }
    if (received >= ring->lost_until) {
        ring->lost_until = 0;
        ring->lost_bytes = 0;
    }
}
