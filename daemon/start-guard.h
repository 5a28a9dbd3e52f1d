/* A start that does not end says what it waits for, and gives up after its time. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct BerthStartGuard BerthStartGuard;

BerthStartGuard *berth_start_guard_new(const char *place, guint limit_s);
void berth_start_guard_step(BerthStartGuard *guard, const char *what);
void berth_start_guard_free(BerthStartGuard *guard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthStartGuard, berth_start_guard_free)

G_END_DECLS
