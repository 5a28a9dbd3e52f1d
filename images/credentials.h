/* Users and passwords of registries, from a file as `docker login` writes it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

gboolean berth_credentials_find(const char *docker_config, const char *registry, char **basic,
                                GError **error);
gboolean berth_credentials_may_go_to(const char *registry, const char *realm_host,
                                     const char *const *token_hosts);

G_END_DECLS
