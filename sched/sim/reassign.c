/*
 * berth-sim reassign: the machine reassignment challenge (ROADEF/EURO 2012) with the scheduler's own
 * search. The clock is here, not in the search: it runs in small helpings, and this file looks at the
 * time between them. Time counts from the start of the command, so reading the files is included.
 */
#include "sched/sim/reassign.h"

#include "base/clock.h"
#include "base/error.h"
#include "sched/reassign.h"
#include "sched/sim/reassign-check.h"
#include "sched/sim/reassign-file.h"
#include "sched/sim/sim.h"

#include <stdio.h>

/* Steps between two looks at the clock: under a millisecond, in the first sweeps a few. */
#define HELPING 1024

static const double marks_s[] = {1, 10, 60};

typedef struct {
    char *model, *assignment, *out; /* owned by GOption */
    double seconds;
    gint64 seed;
    gboolean json;
} Options;

typedef struct {
    gint64 initial, at_mark[G_N_ELEMENTS(marks_s)], final;
    guint32 moves;
    gboolean feasible;
} Figures;

static void
clear_options(Options *options)
{
    g_free(options->model);
    g_free(options->assignment);
    g_free(options->out);
}

static gboolean
parse_options(int *argc, char ***argv, Options *options, GError **error)
{
    GOptionEntry entries[] = {
        {"model", 0, 0, G_OPTION_ARG_FILENAME, &options->model, "The instance", "FILE"},
        {"assignment", 0, 0, G_OPTION_ARG_FILENAME, &options->assignment, "Where the processes are",
         "FILE"},
        {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &options->seconds, "Wall time (300)", "S"},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &options->seed, "Same seed, same moves (1)", "K"},
        {"out", 0, 0, G_OPTION_ARG_FILENAME, &options->out, "Write the solution here", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &options->json, "One JSON object", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- the machine reassignment challenge");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, error)) {
        return FALSE;
    }
    if (options->model == NULL || options->assignment == NULL || *argc > 1) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "reassign needs --model FILE and --assignment FILE, and nothing else");
        return FALSE;
    }
    if (!(options->seconds >= 0 && options->seconds <= 1e6)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "--seconds must be between 0 and 1000000");
        return FALSE;
    }
    return TRUE;
}

/* Runs the search until the time is over. A mark that is never reached gets the final cost. */
static void
run_search(BerthReassign *search, gint64 started_us, double seconds, Figures *figures)
{
    BerthClock *clock = berth_clock_system();
    guint mark = 0;
    for (;;) {
        double elapsed = (berth_clock_monotonic_us(clock) - started_us) / 1e6;
        for (; mark < G_N_ELEMENTS(marks_s) && elapsed >= marks_s[mark]; mark++) {
            figures->at_mark[mark] = berth_reassign_cost(search);
        }
        if (elapsed >= seconds) {
            break;
        }
        sim_progress("%.0f of %.0f s: cost %" G_GINT64_FORMAT, elapsed, seconds,
                     berth_reassign_cost(search));
        berth_reassign_run(search, HELPING);
    }
    for (; mark < G_N_ELEMENTS(marks_s); mark++) {
        figures->at_mark[mark] = berth_reassign_cost(search);
    }
}

static void
print_json(const Figures *f)
{
    printf("{\"initial_cost\":%" G_GINT64_FORMAT ",\"cost_1s\":%" G_GINT64_FORMAT
           ",\"cost_10s\":%" G_GINT64_FORMAT ",\"cost_60s\":%" G_GINT64_FORMAT
           ",\"cost\":%" G_GINT64_FORMAT ",\"moves\":%u,\"feasible\":%s}\n",
           f->initial, f->at_mark[0], f->at_mark[1], f->at_mark[2], f->final, f->moves,
           f->feasible ? "true" : "false");
}

static void
print_table(const Figures *f)
{
    printf("initial cost %16" G_GINT64_FORMAT "\n", f->initial);
    for (guint i = 0; i < G_N_ELEMENTS(marks_s); i++) {
        printf("after %3.0f s  %16" G_GINT64_FORMAT "\n", marks_s[i], f->at_mark[i]);
    }
    printf("final cost   %16" G_GINT64_FORMAT "\nmoves        %16u\nfeasible     %16s\n", f->final,
           f->moves, f->feasible ? "yes" : "no");
}

/* Asks the checker about the result; what the search believes of its cost must agree. */
static gboolean
judge(const BerthReassignModel *model, const guint32 *home, const BerthReassign *search,
      Figures *figures, GError **error)
{
    const guint32 *at = berth_reassign_best(search);
    figures->feasible = berth_reassign_check(model, home, at, &figures->final, error);
    figures->moves = berth_reassign_count_moves(model, home, at);
    if (figures->feasible && figures->final != berth_reassign_cost(search)) {
        figures->feasible = FALSE;
        berth_error_set(error, BERTH_ERROR_INTERNAL,
                        "the search says the cost is %" G_GINT64_FORMAT
                        ", the checker says %" G_GINT64_FORMAT,
                        berth_reassign_cost(search), figures->final);
    }
    return figures->feasible;
}

static gboolean
solve(const Options *options, gint64 started_us, GError **error)
{
    g_autoptr(BerthReassignModel) model = berth_reassign_file_read_model(options->model, error);
    if (model == NULL) {
        return FALSE;
    }
    g_autofree guint32 *home =
        berth_reassign_file_read_assignment(options->assignment, model, error);
    Figures figures = {0};
    if (home == NULL || !berth_reassign_model_validate(model, home, error) ||
        !berth_reassign_check(model, home, home, &figures.initial, error)) {
        g_prefix_error(error, "the assignment given: ");
        return FALSE;
    }
    g_autoptr(BerthReassign) search = berth_reassign_new(model, home, (guint64)options->seed);
    run_search(search, started_us, options->seconds, &figures);
    sim_progress_end();
    gboolean good = judge(model, home, search, &figures, error);
    if (options->json) {
        print_json(&figures);
    } else {
        print_table(&figures);
    }
    return good &&
           (options->out == NULL || berth_reassign_file_write_assignment(
                                        options->out, model, berth_reassign_best(search), error));
}

/**
 * berth_sim_reassign:
 * @argv: the subcommand's name first
 *
 * Returns: the exit status: 0, 1 when the result is not allowed or a file is bad
 */
int
berth_sim_reassign(int argc, char **argv)
{
    gint64 started_us = berth_clock_monotonic_us(berth_clock_system());
    Options options = {.seconds = 300, .seed = 1};
    g_autoptr(GError) error = NULL;
    gboolean good =
        parse_options(&argc, &argv, &options, &error) && solve(&options, started_us, &error);
    clear_options(&options);
    if (!good) {
        fprintf(stderr, "berth-sim reassign: %s\n", error->message);
    }
    return good ? 0 : 1;
}
