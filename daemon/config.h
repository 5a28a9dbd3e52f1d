/* What berthd must know before the store opens: /etc/berth/berthd.conf (GKeyFile) and the command
 * line. Everything else is the kind Settings. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    /* [listen] */
    char *socket;                    /* "/run/berth/berthd.sock"; the option --socket */
    char *socket_group;              /* "berth" */
    char *tcp;                       /* "0.0.0.0:7420"; NULL: none */
    char *tls_certificate, *tls_key; /* PEM files; needed with tcp */
    char *tls_client_ca; /* PEM file: clients with a certificate of this CA are let in */
    char *token_file;    /* bearer tokens; this or tls_client_ca is needed with tcp */
    /* [state] */
    char *state;       /* folder, "/var/lib/berth"; the option --state */
    char *store;       /* "sqlite" */
    char *start_limit; /* seconds; berth_config_start_limit_s() */
    char *guest_os;    /* folder, "/usr/share/berth/guest-os"; the option --guest-os */
    /* [hosts] */
    char *tls_hosts; /* folder with the client certificate for qemu+tls; NULL: libvirt's own */
    /* [log] */
    char *log_level; /* "error", "warning", "info", "debug" */
    /* the command line alone */
    char *restore;       /* --restore FILE: put a backup into the empty state folder, then end */
    gboolean version;    /* --version */
    gboolean test_hosts; /* --test-hosts: private sockets and simulated hosts are let in */
} BerthConfig;

void berth_config_free(BerthConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthConfig, berth_config_free)

/* All defaults. */
BerthConfig *berth_config_new(void);
/* Reads @path over @config. An absent file is NOT_FOUND; an unknown group or key, or a bad value is INVALID
 * and names file and key. */
gboolean berth_config_read(BerthConfig *config, const char *path, GError **error);
/* The command line over the file it names (--config) or the default one, which may be absent. */
BerthConfig *berth_config_from_arguments(int *argc, char ***argv, GError **error);
/* Together: TCP needs TLS and a credential. */
gboolean berth_config_validate(const BerthConfig *config, GError **error);
/* How long a start may take. */
guint berth_config_start_limit_s(const BerthConfig *config);
/* (transfer full): the file with all keys, their defaults and documentation. */
char *berth_config_explain(void);

G_END_DECLS
