/* SSH public keys as known_hosts and authorized_keys carry them: "TYPE BASE64". Pure; any
 * thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

char *berth_ssh_key_parse(const char *text, GError **error);
char *berth_ssh_key_fingerprint(const char *key);

G_END_DECLS
