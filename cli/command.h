/* The shape of a command: one table entry from which parsing, help, the man page and completion come.
 *
 * Invariant: what a command takes is written down here and nowhere else. Start reading at BerthCommand. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct BerthSession BerthSession; /* cli/session.h */
typedef struct BerthArgs BerthArgs;

/* What can stand at a place: for completion. */
typedef enum {
    BERTH_COMPLETE_NOTHING,
    BERTH_COMPLETE_FILE,
    BERTH_COMPLETE_COMMAND,
    BERTH_COMPLETE_KIND,
    BERTH_COMPLETE_FIELD, /* KIND.field */
    BERTH_COMPLETE_WORKLOAD,
    BERTH_COMPLETE_POD,
    BERTH_COMPLETE_VM,
    BERTH_COMPLETE_HOST,
    BERTH_COMPLETE_IMAGE,     /* names of Image objects */
    BERTH_COMPLETE_REFERENCE, /* references of container images */
    BERTH_COMPLETE_NETWORK,
    BERTH_COMPLETE_PROJECT,
    BERTH_COMPLETE_TASK,
    BERTH_COMPLETE_CONTEXT,
    BERTH_COMPLETE_OBJECT, /* an object of the kind that stands before it */
} BerthComplete;

typedef enum {
    BERTH_OPTION_FLAG,
    BERTH_OPTION_TEXT,
    BERTH_OPTION_LIST,    /* may be given several times */
    BERTH_OPTION_NUMBER,  /* a whole number from 0 */
    BERTH_OPTION_SIZE,    /* MiB, or with k, m, g, t behind it; kept in MiB */
    BERTH_OPTION_SECONDS, /* seconds, or with s, m, h, d behind it */
    BERTH_OPTION_WAIT,    /* as SECONDS, the value may be missing: --wait, --wait=30 */
    BERTH_OPTION_CHOICE,  /* one of .choices */
} BerthOptionType;

typedef struct {
    const char *name; /* "all": --all; NULL ends a table */
    char letter;      /* 'a': -a; 0: none */
    BerthOptionType type;
    const char *value; /* what help calls its value: "FILE"; NULL for flags */
    const char *doc;   /* one phrase */
    const char *const *choices;
    BerthComplete complete;
} BerthOption;

typedef struct {
    const char
        *name; /* "domain": shown as <domain>, may be given as --domain too; NULL ends a table */
    const char *doc;
    gboolean optional;
    gboolean rest; /* takes all that is left; only the last one */
    BerthComplete complete;
} BerthArgument;

typedef struct {
    const char *name;  /* one word or two: "start", "host add"; NULL ends a table */
    const char *group; /* heading in the help */
    const char *doc;   /* one line, for lists of commands */
    int (*run)(BerthSession *session, const BerthArgs *args, GError **error);
    const BerthArgument *arguments; /* NULL: none */
    const BerthOption *options;     /* NULL: none */
    const char *about;              /* more, as paragraphs; NULL: .doc is all */
    const char *example;            /* lines, without the prompt; NULL: none */
    const char *alias;              /* another name; NULL: none */
    gboolean
        verbatim; /* options end at the first argument: the rest is somebody else's command line */
    gboolean hidden;
} BerthCommand;

/* A run function returns an exit code and leaves @error alone, or sets it and returns this. */
#define BERTH_FAILED (-1)

/* All commands, NULL-terminated tables in the order of the help; in commands.c. */
extern const BerthCommand *const berth_command_tables[];
extern const BerthOption berth_global_options[];

/* For loops: @position is NULL at first. */
const BerthCommand *berth_command_next(const BerthCommand *command, guint *table);
#define BERTH_EACH_COMMAND(command)                                                                \
    guint command##_table = 0;                                                                     \
    for (const BerthCommand *command = berth_command_next(NULL, &command##_table);                 \
         command != NULL; command = berth_command_next(command, &command##_table))

const BerthCommand *berth_command_find(char **words, guint *used);
gboolean berth_command_is_group(const char *word);
const BerthOption *berth_option_find(const BerthOption *table, const char *name);
const BerthOption *berth_option_find_letter(const BerthOption *table, char letter);

/* ---- what was given ---- */

BerthArgs *berth_args_parse_globals(char **words, guint *used, GError **error);
BerthArgs *berth_args_parse(const BerthCommand *command, char **words, GError **error);
void berth_args_free(BerthArgs *args);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthArgs, berth_args_free)

const BerthCommand *berth_args_command(const BerthArgs *args);
gboolean berth_args_has(const BerthArgs *args, const char *name);
const char *berth_args_get(const BerthArgs *args, const char *name);
char *const *berth_args_list(const BerthArgs *args, const char *name);
gint64 berth_args_number(const BerthArgs *args, const char *name, gint64 fallback);

gboolean berth_size_parse(const char *text, gint64 *mib, GError **error);
gboolean berth_duration_parse(const char *text, gint64 *seconds, GError **error);

G_END_DECLS
