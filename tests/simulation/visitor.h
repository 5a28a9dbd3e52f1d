/* Users of a simulated run: requests over the daemon's own socket, without waiting for the answers, and one
 * watch that takes up where it was cut. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* @status: 0 when no answer came; @body: borrowed, NULL when it is no JSON. */
typedef void (*VisitorAnswered)(guint status, const json_t *body, gpointer user_data);

/* @headers: complete lines, or "". */
void visitor_ask(const char *socket, const char *method, const char *path, const char *headers,
                 const json_t *body, VisitorAnswered answered, gpointer user_data);

/* Each line of GET @path, from now on until the answer ends; @ended is told once. */
void visitor_follow(const char *socket, const char *path,
                    void (*line)(const json_t *line, gpointer user_data),
                    void (*ended)(guint status, gpointer user_data), gpointer user_data);

/* Every connection is cut; who waits for an answer gets none. */
void visitor_cut_all(void);

G_END_DECLS
