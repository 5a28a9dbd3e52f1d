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
    char *data; /* owned; fields point into it */
    GPtrArray *header;
    GPtrArray *rows; /* char **, n_fields each */
    guint n_fields;
} SimCsv;

SimCsv *sim_csv_read(const char *path, GError **error);
void sim_csv_free(SimCsv *csv);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SimCsv, sim_csv_free)
gint sim_csv_column(const SimCsv *csv, const char *name);
const char *sim_csv_text(const SimCsv *csv, guint row, gint column);
double sim_csv_number(const SimCsv *csv, guint row, gint column);

GArray *sim_numbers_read(const char *path, GError **error);
GArray *sim_numbers_parse(const char *text);

const BerthPolicy *sim_policy(const char *name, GError **error);
void sim_print(gboolean as_json, json_t *object);
int sim_fail(GError *error);

void sim_progress(const char *format, ...) G_GNUC_PRINTF(1, 2);
void sim_progress_end(void);

G_END_DECLS
