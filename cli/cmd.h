/* What the command files share: their tables, and options that many commands have. */
#pragma once

#include "cli/session.h"
#include "model/workload.h"

G_BEGIN_DECLS

extern const BerthCommand berth_workload_commands[], berth_run_commands[], berth_stream_commands[],
    berth_console_commands[], berth_image_commands[], berth_object_commands[],
    berth_apply_commands[], berth_host_commands[], berth_network_commands[], berth_vm_commands[],
    berth_placement_commands[], berth_capacity_commands[], berth_set_commands[],
    berth_fleet_commands[], berth_shell_commands[];

#define BERTH_WAIT_OPTION                                                                          \
    {                                                                                              \
        "wait", 0, BERTH_OPTION_WAIT, NULL, "wait until it is done, at most so long"               \
    }

/* What VMs and pods have in common; berth_workload_options_put() reads them. */
#define BERTH_WORKLOAD_OPTIONS                                                                     \
    {"host", 0, BERTH_OPTION_TEXT, "HOST", "run on this host", NULL, BERTH_COMPLETE_HOST},         \
        {"network",                                                                                \
         0,                                                                                        \
         BERTH_OPTION_LIST,                                                                        \
         "NETWORK",                                                                                \
         "network card in this Network",                                                           \
         NULL,                                                                                     \
         BERTH_COMPLETE_NETWORK},                                                                  \
        {"numa",                                                                                   \
         0,                                                                                        \
         BERTH_OPTION_CHOICE,                                                                      \
         NULL,                                                                                     \
         "NUMA cells of its host that it is bound to; prefer-one: one, else two, else any",        \
         berth_numa_names},                                                                        \
        {"huge-pages", 0, BERTH_OPTION_SIZE, "SIZE", "its memory is of huge pages: 2m, 1g"},       \
        {"cpu-model", 0, BERTH_OPTION_TEXT, "MODEL", "CPU model that it sees, EPYC for example"},  \
        {"cpu-feature", 0, BERTH_OPTION_LIST, "NAME", "feature that its CPU must have: avx2"},     \
        {"dedicated-cpus", 0, BERTH_OPTION_FLAG, NULL, "each virtual CPU has a CPU of its host"},  \
        {"device", 0, BERTH_OPTION_LIST, "CLASS[=N]",                                              \
         "PCI devices of its host, by class: gpu, nic=2"},                                         \
        {"resource", 0, BERTH_OPTION_LIST, "NAME[=N]",                                             \
         "what else it takes of its host, as Hosts name it"},                                      \
        {"priority", 0, BERTH_OPTION_TEXT, "N", "-1000 to 1000, or 0; higher is placed first"},    \
    {                                                                                              \
        "preemptible", 0, BERTH_OPTION_FLAG, NULL, "one of higher priority may take its room"      \
    }

#define BERTH_GROUP_WORKLOADS "Workloads (VMs and pods)"
#define BERTH_GROUP_CONTAINERS "Containers"
#define BERTH_GROUP_IMAGES "Images"
#define BERTH_GROUP_OBJECTS "Objects"
#define BERTH_GROUP_HOSTS "Hosts and networks"
#define BERTH_GROUP_PLACEMENT "Placement"
#define BERTH_GROUP_FLEET "Fleet"
#define BERTH_GROUP_SHELL "Shell"

/* How long --wait says; @fallback without it. 0: not at all. */
static inline gint64
berth_wait_option(const BerthArgs *args, gint64 fallback_s, gint64 default_s)
{
    return berth_args_has(args, "wait") ? berth_args_number(args, "wait", default_s) : fallback_s;
}

gboolean berth_workload_options_put(json_t *spec, const BerthArgs *args, GError **error);
gboolean berth_labels_parse(char *const *pairs, json_t **labels, GError **error);

/* Reads a file, or stdin for "-"; at most @limit bytes. */
char *berth_read_file(const char *path, gsize limit, gsize *size, GError **error);

G_END_DECLS
