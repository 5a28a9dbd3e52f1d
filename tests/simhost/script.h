/* What a scripted container does: a list of steps, from a command line as in an image's configuration. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    SIM_STEP_SAY,     /* writes text once */
    SIM_STEP_REPEAT,  /* writes text for ever */
    SIM_STEP_COUNT,   /* writes the numbers from 1 to `number`, a line each */
    SIM_STEP_SLEEP,   /* for `number` microseconds */
    SIM_STEP_COPY,    /* input to output until the input ends */
    SIM_STEP_FOREVER, /* until a signal */
    SIM_STEP_SHELL,   /* reads lines from its input and does them */
    SIM_STEP_STATUS,  /* the exit status so far is `number` */
    SIM_STEP_GARBAGE, /* the guest turns hostile: SimGarbage `number` */
    SIM_STEP_EXIT,    /* ends with `number`, or with the status so far when it is -1 */
} SimStepKind;

/* What a hostile guest writes to its port instead of frames (failures.md G1-G3). */
typedef enum {
    SIM_GARBAGE_NONE,
    SIM_GARBAGE_NOISE,  /* random bytes, as fast as they are taken */
    SIM_GARBAGE_HUGE,   /* heads that announce the largest sizes there are */
    SIM_GARBAGE_REPEAT, /* one sound frame again and again */
    SIM_GARBAGE_SILENT, /* nothing */
} SimGarbage;

typedef struct {
    SimStepKind kind;
    int fd;     /* 1 or 2 */
    char *text; /* owned */
    gint64 number;
} SimStep;

void sim_step_free(SimStep *step);

/* What scripts can ask about. Borrowed. */
typedef struct {
    const char *hostname;
    const char *const *env; /* (nullable) */
} SimScriptContext;

void sim_script_line(GQueue *steps, const char *line, const SimScriptContext *context);
void sim_script_command(GQueue *steps, const char *const *args, const SimScriptContext *context);

G_END_DECLS
