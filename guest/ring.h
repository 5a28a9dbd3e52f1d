/* A container's output that the daemon has not written down yet. Records are numbered without gaps;
 * when the ring is full the oldest go and are counted. libc only, no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BERTH_RING_MAX (4u * 1024 * 1024)

typedef struct {
    uint64_t sequence;
    int64_t wall_us;
    uint8_t fd;    /* 0: a gap; 1 stdout; 2 stderr */
    uint64_t lost; /* gap: bytes that are missing */
    size_t size;   /* bytes of data */
} BerthRecord;

/* Zeroed, then next = first = cursor = 1: berth_ring_init(). Memory comes as it is needed. */
typedef struct {
    uint8_t *data; /* owned; circular */
    size_t capacity, limit;
    size_t head, used;   /* oldest record's place; bytes taken */
    size_t unsent;       /* bytes from the end that belong to records at and after the cursor */
    uint64_t first;      /* sequence of the oldest record */
    uint64_t next;       /* sequence that the next record will get */
    uint64_t cursor;     /* sequence that is sent next */
    uint64_t lost_until; /* the last sequence lost and not known to the daemon; 0: none */
    uint64_t lost_bytes;
    size_t in_flight; /* cost of records before the cursor: sent, not acknowledged */
} BerthRing;

void berth_ring_init(BerthRing *ring, size_t limit);
void berth_ring_clear(BerthRing *ring);
void berth_ring_push(BerthRing *ring, uint8_t fd, int64_t wall_us, const void *data, size_t size);
bool berth_ring_has_unsent(const BerthRing *ring);
size_t berth_ring_next_size(const BerthRing *ring);
bool berth_ring_take(BerthRing *ring, BerthRecord *record, uint8_t *data);
void berth_ring_ack(BerthRing *ring, uint64_t sequence);
void berth_ring_rewind(BerthRing *ring, uint64_t received);
