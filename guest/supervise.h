/* The real runtime behind the core: crun, pipes, terminals, cgroups, reaping. One per PID 1. */
#pragma once

#include "guest/slot.h"

extern const BerthRuntime supervise_runtime;

int supervise_init(int epoll_fd);
void supervise_set_core(BerthCore *core);
void supervise_event(EventClass class, unsigned index);
void supervise_reap(void);
bool supervise_wants_power_off(void);
int64_t supervise_now_us(void);
