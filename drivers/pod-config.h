/* What a container is started with: the image's configuration and the user's wishes become crun's
 * config.json. Pure: no I/O, no clock, no randomness.
 *
 * The guest fills in what only the image knows: numeric uid, gid and groups. For that the JSON begins
 * with an empty user object (see guest/user.h). */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* From the image's config; all borrowed, all nullable. */
typedef struct {
    const char *const *entrypoint, *const *cmd; /* NULL-terminated */
    const char *const *env;                     /* NAME=value */
    const char *user, *workdir, *stop_signal;
} BerthImageConfig;

/* From the pod's spec; all borrowed, all nullable, 0 meaning not said. */
typedef struct {
    const char *name;           /* of the container: DNS label */
    const char *const *command; /* replaces the entrypoint, and with it the image's cmd */
    const char *const *args;    /* replaces the cmd */
    const char *const *env;     /* added to the image's; same name replaces */
    const char *user, *workdir, *stop_signal;
    gboolean tty, read_only;
    guint64 memory_mib; /* limit; 0: the pod's */
    guint64 pids_max;   /* 0: 4096 */
} BerthContainerWish;

typedef struct {
    char *config;    /* owned: crun's config.json, compact */
    char *user;      /* owned: "" for root */
    int stop_signal; /* number; SIGTERM by default */
} BerthContainerSetup;

/* INVALID: no command anywhere, an unknown signal, a bad variable, more than 256 KiB. */
BerthContainerSetup *berth_container_setup_new(const BerthImageConfig *image,
                                               const BerthContainerWish *wish, GError **error);
void berth_container_setup_free(BerthContainerSetup *setup);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthContainerSetup, berth_container_setup_free)

/* An exec in such a container: @image and @wish as for the container; @command is NULL-terminated,
 * @env is added, @workdir may be NULL. Returns crun's process.json; INVALID as above. */
char *berth_exec_setup(const BerthImageConfig *image, const BerthContainerWish *wish,
                       const char *const *command, const char *const *env, const char *workdir,
                       gboolean tty, GError **error);

/* "SIGTERM", "term", "15" -> 15; 0 when unknown. */
int berth_signal_parse(const char *text);

G_END_DECLS
