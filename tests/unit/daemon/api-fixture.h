/* The API in a process of its own: SQLite store, catalog, routes and server on a socket in a temporary
 * folder, without controllers; and a raw HTTP client that says exactly the bytes it is told to.
 *
 * Its process has its own figures (VmHWM), can be killed, and reports leaks by its exit status. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <sys/types.h>

G_BEGIN_DECLS

typedef struct {
    char *folder, *socket;
    guint16 port; /* TLS on 127.0.0.1; 0: none */
    pid_t pid;
} ApiFixture;

/* Starts the API and waits until it listens. Call before the test program has threads. */
ApiFixture *api_start(void);
/* The same with TLS beside the socket; API_TOKEN lets in. NULL: there is no openssl to make a certificate. */
#define API_TOKEN "a-token-of-tests"
ApiFixture *api_start_tls(void);
/* Ends it in order; asserts that it exits with 0 (sanitizers make it 1 on a leak). */
void api_stop(ApiFixture *api);
/* kill -9, then a new process on the same folder. */
void api_crash_and_restart(ApiFixture *api);
/* Peak resident memory of the API's process, in KiB. */
gint64 api_peak_kib(const ApiFixture *api);

/* How much slower than alone the API's main loop and this process are, because others have the CPUs: 1 on an idle
 * machine. From the kernel's figures since the call with @load before: {0} at first. */
typedef struct {
    gint64 on[2], off[2];
} ApiLoad;
double api_stretch(const ApiFixture *api, ApiLoad *load);

/* A connected socket. */
int api_connect(const ApiFixture *api);
int api_connect_tcp(const ApiFixture *api);
void api_send(int fd, const void *bytes, gssize size);
/* Reads to the end of the connection (at most @timeout_ms without a byte). (transfer full). */
char *api_read_all(int fd, int timeout_ms, gsize *size);

typedef struct {
    guint status; /* 0: no answer */
    char *head, *body;
    json_t *json; /* of the body; NULL when it is none */
} ApiAnswer;

void api_answer_free(ApiAnswer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApiAnswer, api_answer_free)

/* Sends @size raw bytes (-1: a string) on a new connection and reads the answer. */
ApiAnswer *api_raw(const ApiFixture *api, const void *request, gssize size);
/* An ordinary request. @headers: (nullable): lines with CRLF. @body: (nullable). */
ApiAnswer *api_call(const ApiFixture *api, const char *method, const char *target,
                    const char *headers, const char *body);
ApiAnswer *api_parse(const char *bytes, gsize size);
/* Value of a header of the answer; (transfer full); NULL. */
char *api_header(const ApiAnswer *answer, const char *name);

G_END_DECLS
