/* The Prometheus text format (version 0.0.4) and the figures of /proc/self. */
#include "daemon/metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void
berth_metrics_head(GString *text, const char *name, const char *type, const char *help)
{
    g_string_append_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
append_value(GString *text, double value)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];
    g_string_append_printf(text, " %s\n", g_ascii_formatd(number, sizeof number, "%.15g", value));
}

void
berth_metrics_add(GString *text, const char *name, const char *type, const char *help, double value)
{
    berth_metrics_head(text, name, type, help);
    g_string_append(text, name);
    append_value(text, value);
}

void
berth_metrics_sample(GString *text, const char *name, const char *label, const char *label_value,
                     double value)
{
    g_string_append_printf(text, "%s{%s=\"", name, label);
    for (const char *next = label_value; *next != '\0'; next++) {
        if (*next == '\\' || *next == '"' || *next == '\n') {
            g_string_append_c(text, '\\');
        }
        g_string_append_c(text, *next == '\n' ? 'n' : *next);
    }
    g_string_append(text, "\"}");
    append_value(text, value);
}

/* Fields of /proc/self/statm count pages. */
static double
resident_bytes(void)
{
    g_autofree char *statm = NULL;
    unsigned long size = 0, resident = 0;
    if (g_file_get_contents("/proc/self/statm", &statm, NULL, NULL)) {
        sscanf(statm, "%lu %lu", &size, &resident);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static guint
count_entries(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    guint count = 0;
    while (folder != NULL && g_dir_read_name(folder) != NULL) {
        count++;
    }
    return count;
}

void
berth_metrics_process(GString *text)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    berth_metrics_add(text, "process_cpu_seconds_total", "counter", "CPU time used.", cpu);
    berth_metrics_add(text, "process_resident_memory_bytes", "gauge", "Resident memory.",
                      resident_bytes());
    berth_metrics_add(text, "process_open_fds", "gauge", "Open descriptors.",
                      count_entries("/proc/self/fd"));
    berth_metrics_add(text, "process_threads", "gauge", "Threads.",
                      count_entries("/proc/self/task"));
}
