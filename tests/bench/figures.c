/* What the benchmarks measure: series of numbers, and what a process has used. */
#include "tests/bench/bench.h"

#include <string.h>
#include <unistd.h>

static int
compare_doubles(gconstpointer a, gconstpointer b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/** @values: of double; sorted by this. @part: 0.5 for the median. Returns: 0 when there are none. */
double
bench_percentile(GArray *values, double part)
{
    if (values->len == 0) {
        return 0;
    }
    g_array_sort(values, compare_doubles);
    double at = part * (values->len - 1);
    guint low = (guint)at, high = MIN(low + 1, values->len - 1);
    double first = g_array_index(values, double, low), second = g_array_index(values, double, high);
    return first + (second - first) * (at - low);
}

/** Returns: CPU time of @pid in ms, in the kernel's ticks; schedstat is finer but stays 0 on some kernels. */
double
bench_cpu_ms(GPid pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *text = NULL;
    const char *rest = g_file_get_contents(path, &text, NULL, NULL) ? strrchr(text, ')') : NULL;
    g_auto(GStrv) fields = g_strsplit(rest != NULL ? rest : "", " ", 16);
    if (g_strv_length(fields) < 14) {
        return 0;
    }
    guint64 ticks = g_ascii_strtoull(fields[12], NULL, 10) + g_ascii_strtoull(fields[13], NULL, 10);
    return (double)ticks * 1000 / (double)sysconf(_SC_CLK_TCK);
}

/** @what: "VmRSS" or "VmHWM", the most it ever had. Returns: MB (10^6 bytes). */
double
bench_memory_mb(GPid pid, const char *what)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;
    const char *line = g_file_get_contents(path, &text, NULL, NULL) ? strstr(text, what) : NULL;
    return line != NULL
               ? (double)g_ascii_strtoull(line + 6 + strspn(line + 6, " \t"), NULL, 10) * 1024 / 1e6
               : 0;
}
