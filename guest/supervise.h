/* The real runtime behind the core: crun, pipes, terminals, cgroups, reaping. One per PID 1. */
#pragma once

#include "guest/core.h"

#include <stdbool.h>

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

extern const BerthRuntime supervise_runtime;

int supervise_init(int epoll_fd);
void supervise_set_core(BerthCore *core);
void supervise_event(EventClass class, unsigned index);
void supervise_reap(void);
bool supervise_wants_power_off(void);
int64_t supervise_now_us(void);
