/* berth-bench: what Berth costs beside what is below it. docs/benchmarks.md tells what the figures mean.
 *
 *   berth-bench start [-n ROUNDS] [--profile q35|microvm] [--json] [--socket PATH] [--host NAME]
 *   berth-bench logs [-n ROUNDS] [--mb MB] [--profile …] [--json] [--socket PATH] [--host NAME]
 *   berth-bench idle [-n PODS] [--json]
 *
 * Without --socket it makes what it needs, for which it wants root, and takes it away again. */
#include "tests/bench/bench.h"

#include <string.h>

static int
run(const char *what, const BenchOptions *options)
{
    if (strcmp(what, "idle") == 0) {
        return bench_idle(options);
    }
    if (strcmp(what, "logs") == 0) {
        return bench_logs(options);
    }
    if (strcmp(what, "start") == 0) {
        return bench_start(options);
    }
    g_printerr("berth-bench: '%s' is none of 'start', 'logs', 'idle'\n", what);
    return 2;
}

int
main(int argc, char **argv)
{
    g_autofree char *socket = NULL, *host = NULL, *profile = NULL;
    BenchOptions options = {.megabytes = 20};
    const GOptionEntry entries[] = {
        {"count", 'n', 0, G_OPTION_ARG_INT, &options.count, "rounds, or stored pods", "N"},
        {"mb", 0, 0, G_OPTION_ARG_INT, &options.megabytes, "size of a log", "MB"},
        {"profile", 0, 0, G_OPTION_ARG_STRING, &profile, "machine profile", "q35|microvm"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "print JSON", NULL},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &socket, "of a berthd that is there", "PATH"},
        {"host", 0, 0, G_OPTION_ARG_STRING, &host, "where pods are placed", "NAME"},
        {NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("start|logs|idle");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc != 2 || options.count < 0 ||
        options.megabytes < 1) {
        g_printerr("berth-bench: %s\n",
                   error != NULL ? error->message : "'start', 'logs' or 'idle' is wanted");
        return 2;
    }
    options.socket = socket;
    options.host = host;
    options.profile = profile != NULL ? profile : "q35";
    bench_obey_signals();
    return run(argv[1], &options);
}
