/* Where the daemon is and who we are to it: the configuration file, BERTH_* variables, options. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define BERTH_DEFAULT_SOCKET "/run/berth/berthd.sock"

typedef struct {
    char *socket;  /* path of the unix socket; NULL: TCP */
    char *url;     /* "https://host:port", without a slash at its end; NULL: the socket */
    char *project; /* never NULL */
    char *ca, *certificate, *key; /* PEM files; NULL: the system's, none, none */
    char *token;                  /* NULL: none */
    char *context;                /* name of the context that was used; NULL: none */
} BerthSettings;

/* What options of the command line say; NULL where they say nothing. */
typedef struct {
    const char *connect, *context, *project;
} BerthSettingsChoice;

BerthSettings *berth_settings_load(const BerthSettingsChoice *choice, GError **error);
void berth_settings_free(BerthSettings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthSettings, berth_settings_free)

char **berth_settings_contexts(void);
char *berth_settings_history_path(void);

G_END_DECLS
