/* The pod's network: static addresses, a default route, and the files that name things. */
#pragma once

#include "guest/core.h"

int net_bring_up_loopback(void);
int net_configure(const BerthPod *pod, char *text, size_t size);
