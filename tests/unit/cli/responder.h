/* A tiny HTTP server on a unix socket for tests: it reads one request and lets the test answer. */
#pragma once

#include <glib.h>

/* Called on a thread of its own with the whole request (head and body of a Content-Length). @fd is closed
 * afterwards. */
typedef void (*ResponderServe)(int fd, const char *request, gpointer user_data);

typedef struct Responder Responder;
Responder *responder_new(ResponderServe serve, gpointer user_data);
const char *responder_path(const Responder *responder);
guint responder_count(const Responder *responder);
void responder_free(Responder *responder);

void responder_write(int fd, const char *text);
void responder_answer(int fd, int status, const char *type, const char *body);

/* Forgets what the caller's environment says of daemons; before threads. */
void responder_clear_environment(void);
