/* What requests (client.c) and connections for WebSockets (connection.c) share. */
#pragma once

#include "cli/client.h"

#include <curl/curl.h>

struct BerthClient {
    BerthSettings settings; /* owned fields */
    char *host;             /* "localhost", "berth.example:7420" */
    char *authorization;    /* "Bearer …" or NULL */
};

void berth_client_set_target(const BerthClient *client, CURL *curl);
gboolean berth_client_fail(const BerthClient *client, CURL *curl, CURLcode code, const char *detail,
                           GError **error);
