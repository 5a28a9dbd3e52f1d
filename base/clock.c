/* The system clock, and one that moves only when told to. */
#include "base/clock.h"

static gint64
system_monotonic_us(BerthClock *clock)
{
    return g_get_monotonic_time();
}

static gint64
system_wall_us(BerthClock *clock)
{
    return g_get_real_time();
}

/** Returns: the machine's clock; static. */
BerthClock *
berth_clock_system(void)
{
    static BerthClock clock = {system_monotonic_us, system_wall_us};
    return &clock;
}

static gint64
manual_monotonic_us(BerthClock *clock)
{
    return ((BerthManualClock *)clock)->monotonic_us;
}

static gint64
manual_wall_us(BerthClock *clock)
{
    return ((BerthManualClock *)clock)->wall_us;
}

/**
 * berth_manual_clock_init:
 * @clock: filled in; owned by the caller
 * @wall_us: the wall time it starts at; its monotonic time starts at 1 s
 */
void
berth_manual_clock_init(BerthManualClock *clock, gint64 wall_us)
{
    *clock = (BerthManualClock){
        .base = {manual_monotonic_us, manual_wall_us},
        .monotonic_us = G_USEC_PER_SEC,
        .wall_us = wall_us,
    };
}

/** Moves both of the clock's times forward by @us (>= 0) microseconds. */
void
berth_manual_clock_advance(BerthManualClock *clock, gint64 us)
{
    g_return_if_fail(us >= 0);
    clock->monotonic_us += us;
    clock->wall_us += us;
}

/** Returns: (transfer full): @wall_us as RFC 3339 in UTC with whole seconds, "2026-11-23T09:00:00Z". */
char *
berth_time_format(gint64 wall_us)
{
    g_autoptr(GDateTime) when = g_date_time_new_from_unix_utc(wall_us / G_USEC_PER_SEC);
    return g_date_time_format(when, "%Y-%m-%dT%H:%M:%SZ");
}
