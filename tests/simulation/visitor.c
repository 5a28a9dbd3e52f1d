/* See visitor.h. A small HTTP client on the main loop, for the answers our server gives: a length or chunks,
 * then the end of the connection. Start at visitor_ask(). */
#include "tests/simulation/visitor.h"

#include "base/fd.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_S 90

typedef struct {
    int fd;
    guint source, timer;
    GString *bytes; /* owned; what was not looked at yet */
    GString *body;  /* owned; decoded */
    guint status;   /* 0: no head yet */
    gboolean chunked;
    gsize chunk_left;
    VisitorAnswered answered; /* NULL: followed by lines */
    void (*line)(const json_t *line, gpointer user_data);
    void (*ended)(guint status, gpointer user_data);
    gpointer user_data;
} Visit;

static GPtrArray *visits; /* of Visit*, borrowed */

/* @is_whole: the server ended it. */
static void
end(Visit *visit, gboolean is_whole)
{
    g_ptr_array_remove(visits, visit);
    g_clear_handle_id(&visit->source, g_source_remove);
    g_clear_handle_id(&visit->timer, g_source_remove);
    close(visit->fd);
    guint status = is_whole ? visit->status : 0;
    if (visit->answered != NULL) {
        json_t *body = json_loadb(visit->body->str, visit->body->len, 0, NULL);
        visit->answered(status, body, visit->user_data);
        json_decref(body);
    } else {
        visit->ended(status, visit->user_data);
    }
    g_string_free(visit->bytes, TRUE);
    g_string_free(visit->body, TRUE);
    g_free(visit);
}

static gboolean
take_head(Visit *visit)
{
    const char *rest = strstr(visit->bytes->str, "\r\n\r\n");
    if (rest == NULL) {
        return FALSE;
    }
    g_autofree char *head = g_strndup(visit->bytes->str, (gsize)(rest - visit->bytes->str));
    visit->status = (guint)g_ascii_strtoull(head + strlen("HTTP/1.1 "), NULL, 10);
    visit->chunked = strstr(head, "chunked") != NULL;
    g_string_erase(visit->bytes, 0, rest + 4 - visit->bytes->str);
    return TRUE;
}

static gboolean
take_chunk(Visit *visit)
{
    if (visit->chunk_left == 0) {
        const char *bytes = visit->bytes->str;
        const char *from = g_str_has_prefix(bytes, "\r\n") ? bytes + 2 : bytes;
        const char *rest = strstr(from, "\r\n");
        if (rest == NULL) {
            return FALSE;
        }
        visit->chunk_left = g_ascii_strtoull(from, NULL, 16);
        g_string_erase(visit->bytes, 0, rest + 2 - bytes);
    }
    gsize part = MIN(visit->chunk_left, visit->bytes->len);
    g_string_append_len(visit->body, visit->bytes->str, (gssize)part);
    g_string_erase(visit->bytes, 0, (gssize)part);
    visit->chunk_left -= part;
    return part > 0;
}

static void
take_lines(Visit *visit)
{
    const char *rest;
    while ((rest = strchr(visit->body->str, '\n')) != NULL) {
        gsize size = (gsize)(rest + 1 - visit->body->str);
        json_t *line = json_loadb(visit->body->str, size, 0, NULL);
        g_string_erase(visit->body, 0, (gssize)size);
        if (line != NULL) {
            visit->line(line, visit->user_data);
            json_decref(line);
        }
    }
}

static void
take_bytes(Visit *visit)
{
    if (visit->status == 0 && !take_head(visit)) {
        return;
    }
    if (visit->chunked) {
        while (take_chunk(visit)) {
        }
    } else {
        g_string_append_len(visit->body, visit->bytes->str, (gssize)visit->bytes->len);
        g_string_truncate(visit->bytes, 0);
    }
    if (visit->answered == NULL) {
        take_lines(visit);
    }
}

static gboolean
on_readable(gint fd, GIOCondition condition, gpointer data)
{
    Visit *visit = data;
    char piece[65536];
    gssize got = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return G_SOURCE_CONTINUE;
    }
    if (got <= 0) {
        visit->source = 0;
        end(visit, got == 0);
        return G_SOURCE_REMOVE;
    }
    g_string_append_len(visit->bytes, piece, got);
    take_bytes(visit);
    return G_SOURCE_CONTINUE;
}

static gboolean
lose_patience(gpointer data)
{
    Visit *visit = data;
    visit->timer = 0;
    end(visit, FALSE);
    return G_SOURCE_REMOVE;
}

static int
connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    g_auto(BerthFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return berth_fd_steal(&fd);
}

static Visit *
begin(const char *socket, const char *method, const char *path, const char *headers,
      const char *body)
{
    g_autofree char *text = g_strdup_printf("%s %s HTTP/1.1\r\nHost: simulation\r\n%s"
                                            "Content-Length: %zu\r\n\r\n%s",
                                            method, path, headers, strlen(body), body);
    Visit *visit = g_new0(Visit, 1);
    visit->fd = connect_to(socket);
    visit->bytes = g_string_new(NULL);
    visit->body = g_string_new(NULL);
    visit->source = g_unix_fd_add(visit->fd, G_IO_IN | G_IO_HUP, on_readable, visit);
    g_assert_true(berth_fd_write_all(visit->fd, text, strlen(text), NULL));
    if (visits == NULL) {
        visits = g_ptr_array_new();
    }
    g_ptr_array_add(visits, visit);
    return visit;
}

void
visitor_ask(const char *socket, const char *method, const char *path, const char *headers,
            const json_t *body, VisitorAnswered answered, gpointer user_data)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    Visit *visit = begin(socket, method, path, headers, text != NULL ? text : "");
    free(text);
    visit->answered = answered;
    visit->user_data = user_data;
    visit->timer = g_timeout_add_seconds(PATIENCE_S, lose_patience, visit);
}

void
visitor_follow(const char *socket, const char *path,
               void (*line)(const json_t *line, gpointer user_data),
               void (*ended)(guint status, gpointer user_data), gpointer user_data)
{
    Visit *visit = begin(socket, "GET", path, "", "");
    visit->line = line;
    visit->ended = ended;
    visit->user_data = user_data;
}

void
visitor_cut_all(void)
{
    while (visits != NULL && visits->len > 0) {
        end(visits->pdata[0], FALSE);
    }
}
