/* Time as a value that is passed in, so that simulations and tests own it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * BerthClock:
 * @monotonic_us: microseconds that never step back; for deadlines, leases and back-off
 * @wall_us: microseconds since 1970-01-01 UTC; for display only
 *
 * Both may be called from any thread.
 */
typedef struct BerthClock BerthClock;
struct BerthClock {
    gint64 (*monotonic_us)(BerthClock *clock);
    gint64 (*wall_us)(BerthClock *clock);
};

BerthClock *berth_clock_system(void);

typedef struct {
    BerthClock base;
    gint64 monotonic_us;
    gint64 wall_us;
} BerthManualClock;

void berth_manual_clock_init(BerthManualClock *clock, gint64 wall_us);
void berth_manual_clock_advance(BerthManualClock *clock, gint64 us);

static inline gint64
berth_clock_monotonic_us(BerthClock *clock)
{
    return clock->monotonic_us(clock);
}

static inline gint64
berth_clock_wall_us(BerthClock *clock)
{
    return clock->wall_us(clock);
}

char *berth_time_format(gint64 wall_us);

G_END_DECLS
