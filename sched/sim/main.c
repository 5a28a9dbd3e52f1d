/* berth-sim: replays traces through the scheduler and prints figures. One subcommand a file, one line
 * here; `berth-sim COMMAND --help` lists its options. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "sched/sim/reassign.h"
#include "sched/sim/sim.h"

static const SimCommand commands[] = {
    {"lifetimes", "online placing of VMs that come and go; total waiting time", sim_lifetimes},
    {"gpu", "fragmentation of GPUs under arrivals", sim_gpu},
    {"topology", "racks, distinct hosts and fault domains", sim_topology},
    {"replay", "the placements of an exported fleet again", sim_replay},
    {"throughput", "decisions a second by size of the fleet", sim_throughput},
    {"reassign", "the machine reassignment challenge", berth_sim_reassign},
};

/**
 * sim_policy:
 *
 * Errors: INVALID, naming the policies there are
 */
const BerthPolicy *
sim_policy(const char *name, GError **error)
{
    const BerthPolicy *policy = name == NULL ? berth_policy_default() : berth_policy_find(name);
    if (policy == NULL) {
        g_autofree char *names = g_strjoinv(", ", (char **)berth_policy_names());
        berth_error_set(error, BERTH_ERROR_INVALID, "no policy '%s': there are %s", name, names);
    }
    return policy;
}

static void
print_value(const char *key, const json_t *value)
{
    g_autofree char *text = json_is_string(value)
                                ? g_strdup(json_string_value(value))
                                : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
    printf("%-28s %s\n", key, text);
}

/**
 * sim_print:
 * @object: (transfer full): figures; one line as JSON, or one line a figure
 */
void
sim_print(gboolean as_json, json_t *object)
{
    sim_progress_end();
    if (as_json) {
        g_autofree char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(10));
        printf("%s\n", text);
    } else {
        const char *key;
        json_t *value;
        json_object_foreach (object, key, value) {
            print_value(key, value);
        }
        printf("\n");
    }
    fflush(stdout);
    json_decref(object);
}

/* Says why on standard error; @error is consumed. */
int
sim_fail(GError *error)
{
    sim_progress_end();
    fprintf(stderr, "berth-sim: %s\n", error->message);
    g_error_free(error);
    return 1;
}

static int
usage(FILE *to)
{
    fprintf(to, "usage: berth-sim COMMAND [OPTION...]\n\n");
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].doc);
    }
    return to == stdout ? 0 : 2;
}

int
main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    if (argc < 2) {
        return usage(stderr);
    }
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (g_str_equal(argv[1], commands[i].name)) {
            g_autofree char *name = g_strconcat("berth-sim ", argv[1], NULL);
            g_set_prgname(name);
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    return usage(g_str_equal(argv[1], "--help") ? stdout : stderr);
}
