/* Execs and attached viewers of one running pod. Main loop only.
 *
 * Invariant: nobody is told anything after freeing a session, also when that happens while others are told;
 * one whose pod is gone stays harmless until it is freed. Start at each_session(). */
#include "daemon/pod-session.h"

struct BerthPodSessions {
    BerthLink *link; /* borrowed */
    GPtrArray *open; /* of BerthPodSession*, borrowed: their openers own them */
};

struct BerthPodSession {
    BerthPodSessions *all; /* NULL once the pod is gone */
    BerthPodProcess process;
    BerthPodSessionWatch watch;
    gpointer user_data;
};

/* What is told to a session. */
typedef struct {
    BerthLinkStream stream;
    const guint8 *data;
    gsize size;
    int exit_code;
    const GError *error;
} News;

typedef void (*Tell)(BerthPodSession *session, const News *news);

/* Tells each session of @process, or every one when it is NULL; sessions may be freed meanwhile. */
static void
each_session(BerthPodSessions *sessions, const BerthPodProcess *process, Tell tell,
             const News *news)
{
    g_autoptr(GPtrArray) all = g_ptr_array_copy(sessions->open, NULL, NULL);
    for (guint i = 0; i < all->len; i++) {
        BerthPodSession *session = all->pdata[i];
        if (g_ptr_array_find(sessions->open, session, NULL) &&
            (process == NULL || (session->process.id == process->id &&
                                 session->process.is_main == process->is_main))) {
            tell(session, news);
        }
    }
}

static void
tell_output(BerthPodSession *session, const News *news)
{
    session->watch.output(news->stream, news->data, news->size, session->user_data);
}

static void
tell_room(BerthPodSession *session, const News *news)
{
    session->watch.stdin_room(session->user_data);
}

static void
tell_exited(BerthPodSession *session, const News *news)
{
    session->watch.exited(news->exit_code, news->error, session->user_data);
}

/** @link: borrowed, outlives the sessions. */
BerthPodSessions *
berth_pod_sessions_new(BerthLink *link)
{
    BerthPodSessions *sessions = g_new0(BerthPodSessions, 1);
    sessions->link = link;
    sessions->open = g_ptr_array_new();
    return sessions;
}

/** Ends each session with @error; those that are not freed by it are cut loose. */
void
berth_pod_sessions_free(BerthPodSessions *sessions, const GError *error)
{
    berth_pod_sessions_end(sessions, error);
    for (guint i = 0; i < sessions->open->len; i++) {
        ((BerthPodSession *)sessions->open->pdata[i])->all = NULL;
    }
    g_ptr_array_unref(sessions->open);
    g_free(sessions);
}

/** Returns: (transfer full): a session that is told of @process from now on. */
BerthPodSession *
berth_pod_session_new(BerthPodSessions *sessions, BerthPodProcess process,
                      const BerthPodSessionWatch *watch, gpointer user_data)
{
    BerthPodSession *session = g_new0(BerthPodSession, 1);
    *session = (BerthPodSession){sessions, process, *watch, user_data};
    g_ptr_array_add(sessions->open, session);
    return session;
}

/** @process wrote @size bytes. */
void
berth_pod_sessions_output(BerthPodSessions *sessions, BerthPodProcess process,
                          BerthLinkStream stream, const guint8 *data, gsize size)
{
    News news = {.stream = stream, .data = data, .size = size};
    each_session(sessions, &process, tell_output, &news);
}

/** @process takes more input. */
void
berth_pod_sessions_room(BerthPodSessions *sessions, BerthPodProcess process)
{
    each_session(sessions, &process, tell_room, NULL);
}

/** @process ended; @error as in BerthPodSessionWatch. */
void
berth_pod_sessions_exited(BerthPodSessions *sessions, BerthPodProcess process, int exit_code,
                          const GError *error)
{
    News news = {.exit_code = exit_code, .error = error};
    each_session(sessions, &process, tell_exited, &news);
}

/** The guest is gone: every session is told that its process was killed. */
void
berth_pod_sessions_end(BerthPodSessions *sessions, const GError *error)
{
    News news = {.exit_code = 137, .error = error};
    each_session(sessions, NULL, tell_exited, &news);
}

/** Ends a session; the process of an exec gets SIGHUP. */
void
berth_pod_session_free(BerthPodSession *session)
{
    if (session->all != NULL) {
        g_ptr_array_remove(session->all->open, session);
        if (!session->process.is_main) {
            berth_link_signal(session->all->link, session->process.id, 1);
        }
    }
    g_free(session);
}

/** @size bytes of @stream were passed on: the guest may send as many more. */
void
berth_pod_session_ack(BerthPodSession *session, BerthLinkStream stream, gsize size)
{
    if (session->all != NULL && !session->process.is_main) {
        berth_link_output_ack(session->all->link, session->process.id, stream, size);
    }
}

/** Returns: how many bytes were taken; less than @size: wait for stdin_room. */
gsize
berth_pod_session_stdin(BerthPodSession *session, const void *data, gsize size)
{
    return session->all == NULL
               ? size
               : berth_link_stdin(session->all->link, session->process.id, data, size);
}

/** Closes the process's input after what was sent. */
void
berth_pod_session_stdin_eof(BerthPodSession *session)
{
    if (session->all != NULL) {
        berth_link_stdin_eof(session->all->link, session->process.id);
    }
}

/** Tells the TTY its new size. */
void
berth_pod_session_resize(BerthPodSession *session, guint rows, guint columns)
{
    if (session->all != NULL) {
        berth_link_resize(session->all->link, session->process.id, rows, columns);
    }
}

/** Sends @signum to the process. */
void
berth_pod_session_signal(BerthPodSession *session, int signum)
{
    if (session->all != NULL) {
        berth_link_signal(session->all->link, session->process.id, signum);
    }
}
