/* A set of a host's CPUs, written as libvirt does: "4-15,20,^7". A plain value. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* CPU numbers are below this, as in libvirt. */
#define BERTH_CPU_MAX 4096

typedef struct {
    guint64 words[BERTH_CPU_MAX / 64];
} BerthCpuSet;

static inline gboolean
berth_cpu_set_has(const BerthCpuSet *set, guint cpu)
{
    return cpu < BERTH_CPU_MAX && (set->words[cpu / 64] >> cpu % 64 & 1) != 0;
}

static inline void
berth_cpu_set_add(BerthCpuSet *set, guint cpu)
{
    if (cpu < BERTH_CPU_MAX) {
        set->words[cpu / 64] |= G_GUINT64_CONSTANT(1) << cpu % 64;
    }
}

static inline void
berth_cpu_set_remove(BerthCpuSet *set, guint cpu)
{
    if (cpu < BERTH_CPU_MAX) {
        set->words[cpu / 64] &= ~(G_GUINT64_CONSTANT(1) << cpu % 64);
    }
}

gboolean berth_cpu_set_parse(const char *text, BerthCpuSet *set, GError **error);
char *berth_cpu_set_format(const BerthCpuSet *set);
guint berth_cpu_set_count(const BerthCpuSet *set);
void berth_cpu_set_join(BerthCpuSet *set, const BerthCpuSet *other);
void berth_cpu_set_keep(BerthCpuSet *set, const BerthCpuSet *other);
void berth_cpu_set_take_out(BerthCpuSet *set, const BerthCpuSet *other);

G_END_DECLS
