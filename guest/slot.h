/* The processes of containers and execs, and the streams between them and the core.
 *
 * Invariant: a slot's descriptors are in epoll exactly while they may be read or are waited for, so nothing
 * spins. */
#pragma once

#include "guest/core.h"

#include <stdbool.h>
#include <sys/types.h>

#define SLOTS (BERTH_POD_CONTAINERS_MAX + 2 * BERTH_POD_EXECS_MAX)

/* What an epoll event is about: a word each of class and index. */
typedef enum {
    EVENT_SIGNAL = 1,
    EVENT_PORT = 2,
    EVENT_STDIN = 3,
    EVENT_STDOUT = 4,
    EVENT_STDERR = 5,
    EVENT_CONSOLE = 6, /* crun offers a terminal */
} EventClass;

static inline uint64_t
event_pack(EventClass class, unsigned index)
{
    return (uint64_t) class << 32 | index;
}

typedef struct {
    int fd; /* -1: closed */
    bool watched;
} Stream;

typedef struct {
    bool used;
    uint32_t id; /* the core's */
    unsigned container;
    pid_t crun, pid;
    bool tty, ended, killed; /* ended: reaped; killed: SIGKILL came before its pid was known */
    int status;
    Stream in, out[2], console;
    unsigned rows, columns;
} Slot;

void slot_init(int epoll_fd);
void slot_set_core(BerthCore *core);

Slot *slot_new(uint32_t id, unsigned container, bool tty);
Slot *slot_find(uint32_t id);
Slot *slot_at(unsigned index);
Slot *slot_of_child(pid_t pid);
unsigned slot_index(const Slot *slot);
void slot_free(Slot *slot);

void slot_watch(Stream *stream, uint32_t events, EventClass class, const Slot *slot);
void slot_unwatch(Stream *stream);
void slot_close(Stream *stream);

void slot_await_output(Slot *slot);
void slot_read_output(Slot *slot, int fd);
bool slot_drain_output(Slot *slot);
long slot_write_input(Slot *slot, const uint8_t *data, size_t size);
void slot_end_input(Slot *slot);
void slot_resize_terminal(const Slot *slot);
void slot_take_terminal(Slot *slot);
