/* berth-sim: traces in, figures out. What the subcommands share. */
#pragma once

#include <jansson.h>

#include "sched/pick.h"
#include "sched/sim/verify.h"

G_BEGIN_DECLS

typedef struct {
    const char *name;
    const char *doc;
    int (*run)(int argc, char **argv);
} SimCommand;

int sim_lifetimes(int argc, char **argv);
int sim_gpu(int argc, char **argv);
int sim_topology(int argc, char **argv);
int sim_replay(int argc, char **argv);
int sim_throughput(int argc, char **argv);

/**
 * SimCsv: a comma-separated file with a header line, in memory
 */
typedef struct {
    char *path; /* owned */
    char *data; /* owned; fields point into it */
    GPtrArray *header;
    GPtrArray *rows; /* char **, n_fields each */
    GArray *lines;   /* guint: line of each row */
    guint n_fields;
} SimCsv;

/**
 * SimField: what the numbers of a column may be
 * @optional: the column, or a field of it, may be left out, which reads as 0
 */
typedef struct {
    const char *name;
    double least, most;
    gboolean optional;
} SimField;

/* Beyond what any machine has, and sums of it are still exact. */
#define SIM_VCPUS_MAX 1e6
#define SIM_GIB_MAX 1e6
#define SIM_SECONDS_MAX 1e12
#define SIM_HOSTS_MAX 1000000

SimCsv *sim_csv_read(const char *path, GError **error);
void sim_csv_free(SimCsv *csv);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SimCsv, sim_csv_free)
gboolean sim_csv_check(const SimCsv *csv, const SimField *fields, GError **error);
gint sim_csv_column(const SimCsv *csv, const char *name);
const char *sim_csv_text(const SimCsv *csv, guint row, gint column);
double sim_csv_number(const SimCsv *csv, guint row, gint column);

GArray *sim_numbers_read(const char *path, guint least, guint most, GError **error);
GArray *sim_numbers_parse(const char *text, const char *where, guint least, guint most,
                          GError **error);

const BerthPolicy *sim_policy(const char *name, GError **error);
void sim_print(gboolean as_json, json_t *object);
int sim_fail(GError *error);

void sim_progress(const char *format, ...) G_GNUC_PRINTF(1, 2);
void sim_progress_end(void);

G_END_DECLS
