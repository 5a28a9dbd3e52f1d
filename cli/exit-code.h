/* What berth's exit code says; documented by this table. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    BERTH_EXIT_OK = 0,
    BERTH_EXIT_FAILED = 1,
    BERTH_EXIT_USAGE = 2,
    BERTH_EXIT_NOT_FOUND = 3,
    BERTH_EXIT_REFUSED = 4,
    BERTH_EXIT_UNREACHABLE = 5,
    BERTH_EXIT_CONFLICT = 6,
    BERTH_EXIT_TIMEOUT = 7,
    BERTH_EXIT_RUN_FAILED = 125,
    BERTH_EXIT_NOT_EXECUTABLE = 126,
    BERTH_EXIT_NO_COMMAND = 127,
    BERTH_EXIT_SIGNAL = 128,
} BerthExitCode;

typedef struct {
    const char *code; /* NULL ends the table */
    const char *doc;
} BerthExitDoc;

extern const BerthExitDoc berth_exit_docs[];

BerthExitCode berth_exit_code_of(const GError *error);

G_END_DECLS
