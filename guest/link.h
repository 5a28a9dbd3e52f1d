/* The guest link's port: found by name, never waited for. */
#pragma once

#include "guest/core.h"

int link_open(int epoll_fd);
void link_greet(BerthCore *core);
void link_serve(BerthCore *core);
