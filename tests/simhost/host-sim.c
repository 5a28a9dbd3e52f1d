/* A simulated host as the daemon sees it: the same contract as host-libvirt, over a socket to the
 * process simhost. Calls are written by the worker that makes them; everything that comes back is read
 * on the main loop, so a host costs one socket and no thread. Start at perform(). */
#include "tests/simhost/host-sim.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "drivers/faulty.h"
#include "tests/simhost/pipe.h"
#include "tests/simhost/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define QUEUE_MAX (256 * 1024)
#define UPLOAD_CHUNK (1024 * 1024)

/* One connection. Counted: by the host, by each call in it, by its channels. */
typedef struct {
    gint refs;
    SimPipe *pipe;        /* owned */
    struct SimHost *host; /* owned reference */
    GMutex lock;
    GCond answered;
    GHashTable *waiting;  /* id -> Waiter*, borrowed; guarded by lock */
    guint64 next_id;      /* guarded by lock */
    gboolean is_over;     /* guarded by lock */
    GHashTable *channels; /* main loop: number -> SimChannel*, borrowed */
    guint32 next_channel; /* main loop */
} Session;

typedef struct SimHost {
    BerthHost base; /* first */
    gint refs;
    char *socket, *name, *fleet; /* owned */
    BerthHostWatch watch;
    gpointer user_data;
    gboolean is_freed; /* main loop */
    GMutex lock;
    guint64 epoch;    /* guarded by lock */
    Session *session; /* owned; guarded by lock */
} SimHost;

typedef struct {
    json_t *answer; /* owned; NULL: none yet */
    gboolean is_over;
} Waiter;

typedef struct {
    BerthChannel base; /* first */
    gint refs;
    Session *session; /* owned reference */
    guint32 number;
    BerthChannelWatch watch;
    gpointer user_data;
    gboolean is_closed, is_ended;
} SimChannel;

/* ---- references ------------------------------------------------------------------------------ */

static SimHost *
host_ref(SimHost *host)
{
    g_atomic_int_inc(&host->refs);
    return host;
}

static void
host_unref(SimHost *host)
{
    if (g_atomic_int_dec_and_test(&host->refs)) {
        g_mutex_clear(&host->lock);
        g_free(host->socket);
        g_free(host->name);
        g_free(host->fleet);
        g_free(host);
    }
}

static Session *
session_ref(Session *session)
{
    g_atomic_int_inc(&session->refs);
    return session;
}

/* On the main loop, so that the pipe can't be telling something at the same time. */
static gboolean
session_free(gpointer data)
{
    Session *session = data;
    if (session->pipe != NULL) {
        sim_pipe_close(session->pipe);
        sim_pipe_unref(session->pipe);
    }
    g_hash_table_unref(session->waiting);
    g_hash_table_unref(session->channels);
    g_mutex_clear(&session->lock);
    g_cond_clear(&session->answered);
    host_unref(session->host);
    g_free(session);
    return G_SOURCE_REMOVE;
}

static void
session_unref(Session *session)
{
    if (session != NULL && g_atomic_int_dec_and_test(&session->refs)) {
        g_idle_add_full(G_PRIORITY_DEFAULT, session_free, session, NULL);
    }
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Session, session_unref)

static void
channel_unref(gpointer data)
{
    SimChannel *channel = data;
    if (g_atomic_int_dec_and_test(&channel->refs)) {
        session_unref(channel->session);
        g_free(channel);
    }
}

static Session *
detach_session(SimHost *host)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&host->lock);
    host->epoch++;
    return g_steal_pointer(&host->session);
}

/* ---- what comes back, on the main loop -------------------------------------------------------- */

static void
set_error_from_json(GError **error, const json_t *value)
{
    const char *name = json_string_value(json_object_get(value, "code"));
    BerthErrorCode code = BERTH_ERROR_INVALID;
    while (code < BERTH_ERROR_INTERNAL && g_strcmp0(name, berth_error_code_name(code)) != 0) {
        code++;
    }
    berth_error_set(error, code, "%s", json_string_value(json_object_get(value, "message")));
}

typedef struct {
    SimChannel *channel; /* owned reference */
    GError *error;       /* owned; NULL: ended in order */
} Ending;

static void
ending_free(void *data)
{
    Ending *ending = data;
    channel_unref(ending->channel);
    g_clear_error(&ending->error);
    g_free(ending);
}

static gboolean
tell_ended(gpointer data)
{
    const Ending *ending = data;
    SimChannel *channel = ending->channel;
    if (!channel->is_closed) {
        channel->watch.closed(ending->error, channel->user_data);
    }
    return G_SOURCE_REMOVE;
}

/* @error: (transfer full) (nullable). The owner is told later: this may be inside what it called. */
static void
end_channel(SimChannel *channel, GError *error)
{
    g_hash_table_remove(channel->session->channels, GUINT_TO_POINTER(channel->number));
    if (channel->is_ended || channel->is_closed) {
        g_clear_error(&error);
        return;
    }
    channel->is_ended = TRUE;
    g_atomic_int_inc(&channel->refs);
    Ending *ending = g_new(Ending, 1);
    *ending = (Ending){channel, error};
    g_idle_add_full(G_PRIORITY_DEFAULT, tell_ended, ending, ending_free);
}

static void
take_answer(Session *session, json_t *answer)
{
    guint64 id = (guint64)json_integer_value(json_object_get(answer, "id"));
    g_mutex_lock(&session->lock);
    Waiter *waiter = g_hash_table_lookup(session->waiting, &id);
    if (waiter != NULL && waiter->answer == NULL) {
        waiter->answer = json_incref(answer);
        g_cond_broadcast(&session->answered);
    }
    g_mutex_unlock(&session->lock);
}

static void
take_event(Session *session, const json_t *event)
{
    SimHost *host = session->host;
    if (!host->is_freed && !session->is_over) {
        host->watch.domain_event(
            json_string_value(json_object_get(event, "uuid")),
            (BerthDomainEvent)json_integer_value(json_object_get(event, "event")),
            (BerthStopReason)json_integer_value(json_object_get(event, "reason")), host->user_data);
    }
}

static SimChannel *
find_channel(const Session *session, guint32 number)
{
    return g_hash_table_lookup(session->channels, GUINT_TO_POINTER(number));
}

static void
take_data(const Session *session, const guint8 *data, gsize size)
{
    guint32 number;
    if (size <= sizeof number) {
        return;
    }
    memcpy(&number, data, sizeof number);
    SimChannel *channel = find_channel(session, GUINT32_FROM_LE(number));
    if (channel != NULL && !channel->is_ended) {
        channel->watch.received(data + sizeof number, size - sizeof number, channel->user_data);
    }
}

static void
take_closed(const Session *session, const json_t *value)
{
    SimChannel *channel =
        find_channel(session, (guint32)json_integer_value(json_object_get(value, "channel")));
    if (channel != NULL) {
        GError *error = NULL;
        if (json_object_get(value, "code") != NULL) {
            set_error_from_json(&error, value);
        }
        end_channel(channel, error);
    }
}

static void
on_frame(char type, const guint8 *data, gsize size, gpointer user_data)
{
    Session *session = user_data;
    if (type == SIM_DATA) {
        take_data(session, data, size);
        return;
    }
    g_autoptr(json_t) value = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (type == SIM_REPLY) {
        take_answer(session, value);
    } else if (type == SIM_EVENT) {
        take_event(session, value);
    } else if (type == SIM_CLOSED) {
        take_closed(session, value);
    }
}

/* Ends what depends on @session; main loop. */
static void
end_session(Session *session, const char *why)
{
    g_mutex_lock(&session->lock);
    session->is_over = TRUE;
    g_cond_broadcast(&session->answered);
    g_mutex_unlock(&session->lock);
    sim_pipe_close(session->pipe);
    g_autoptr(GList) channels = g_hash_table_get_values(session->channels);
    for (GList *item = channels; item != NULL; item = item->next) {
        end_channel(item->data, g_error_new_literal(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE, why));
    }
}

static void
on_pipe_closed(gpointer user_data)
{
    Session *session = session_ref(user_data);
    SimHost *host = session->host;
    end_session(session, "the simulated host is gone");
    g_mutex_lock(&host->lock);
    gboolean is_present = host->session == session;
    g_mutex_unlock(&host->lock);
    if (is_present) {
        session_unref(detach_session(host));
        if (!host->is_freed) {
            host->watch.closed("the simulated host is gone", host->user_data);
        }
    }
    session_unref(session);
}

/* ---- calls, on workers ------------------------------------------------------------------------ */

/* Returns: (transfer full) (nullable): the answer; UNAVAILABLE, or what the host said. */
static json_t *
ask(Session *session, json_t *question, GError **error)
{
    Waiter waiter = {NULL, FALSE};
    g_mutex_lock(&session->lock);
    guint64 id = ++session->next_id;
    g_hash_table_insert(session->waiting, &id, &waiter);
    json_object_set_new(question, "id", json_integer((json_int_t)id));
    sim_pipe_send_json(session->pipe, SIM_CALL, question);
    while (waiter.answer == NULL && !session->is_over) {
        g_cond_wait(&session->answered, &session->lock);
    }
    g_hash_table_remove(session->waiting, &id);
    g_mutex_unlock(&session->lock);
    if (waiter.answer == NULL) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "the simulated host is gone");
    } else if (json_object_get(waiter.answer, "code") != NULL) {
        set_error_from_json(error, waiter.answer);
        g_clear_pointer(&waiter.answer, json_decref);
    }
    return waiter.answer;
}

static gboolean
tell(Session *session, json_t *question, GError **error)
{
    g_autoptr(json_t) owned = question;
    g_autoptr(json_t) answer = ask(session, owned, error);
    return answer != NULL;
}

static gboolean
check_source(const BerthHostCall *call, GError **error)
{
    struct stat status;
    if (stat(call->path, &status) < 0) {
        berth_error_set_errno(error, errno, "can't open '%s'", call->path);
        return FALSE;
    }
    if (!S_ISREG(status.st_mode) || (guint64)status.st_size != call->size) {
        berth_error_set(error, BERTH_ERROR_CORRUPT, "'%s' has %" G_GINT64_FORMAT " bytes",
                        call->path, (gint64)status.st_size);
        return FALSE;
    }
    return TRUE;
}

/* Bytes are counted, not carried; a volume is partial until all are there, as on a real host. */
static gboolean
upload(Session *session, const BerthHostCall *call, GError **error)
{
    if (!check_source(call, error) || !tell(session, sim_call_to_json(call), error)) {
        return FALSE;
    }
    for (guint64 done = 0; done < call->size;) {
        guint64 part = MIN(call->size - done, UPLOAD_CHUNK);
        json_t *chunk = json_pack("{s:s, s:s, s:s, s:I}", "verb", "upload-chunk", "pool",
                                  call->pool, "volume", call->volume, "size", (json_int_t)part);
        if (!tell(session, chunk, error)) {
            return FALSE;
        }
        done += part;
        if (call->progress != NULL) {
            call->progress(done, call->size, call->progress_data);
        }
    }
    return TRUE;
}

static gboolean
perform(BerthHost *base, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimHost *host = (SimHost *)base;
    g_mutex_lock(&host->lock);
    g_autoptr(Session) session = host->session != NULL ? session_ref(host->session) : NULL;
    g_mutex_unlock(&host->lock);
    if (session == NULL) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "not connected to '%s'", host->name);
        return FALSE;
    }
    if (call->verb == BERTH_HOST_VOLUME_UPLOAD) {
        return upload(session, call, error);
    }
    g_autoptr(json_t) question = sim_call_to_json(call);
    g_autoptr(json_t) answer = ask(session, question, error);
    if (answer == NULL) {
        return FALSE;
    }
    sim_reply_from_json(reply, answer);
    return TRUE;
}

static int
open_socket(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_auto(BerthFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "can't connect to '%s': %s", path,
                        g_strerror(errno));
        return -1;
    }
    return berth_fd_steal(&fd);
}

static Session *
session_new(SimHost *host, GError **error)
{
    static const SimPipeWatch watch = {.frame = on_frame, .closed = on_pipe_closed};
    int fd = open_socket(host->socket, error);
    if (fd < 0) {
        return NULL;
    }
    Session *session = g_new0(Session, 1);
    session->refs = 1;
    session->host = host_ref(host);
    session->waiting = g_hash_table_new(g_int64_hash, g_int64_equal);
    session->channels = g_hash_table_new(NULL, NULL);
    g_mutex_init(&session->lock);
    g_cond_init(&session->answered);
    session->pipe = sim_pipe_new(fd, &watch, session);
    return session;
}

/* Installed before the host is greeted, so that a close can never be missed. */
static gboolean
connect_host(BerthHost *base, GError **error)
{
    SimHost *host = (SimHost *)base;
    session_unref(detach_session(host));
    g_mutex_lock(&host->lock);
    guint64 epoch = host->epoch;
    g_mutex_unlock(&host->lock);
    g_autoptr(Session) session = session_new(host, error);
    if (session == NULL) {
        return FALSE;
    }
    g_mutex_lock(&host->lock);
    gboolean is_wanted = host->epoch == epoch;
    if (is_wanted) {
        host->session = session_ref(session);
    }
    g_mutex_unlock(&host->lock);
    if (!is_wanted) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "the attempt to connect was abandoned");
        return FALSE;
    }
    return tell(
        session,
        json_pack("{s:s, s:s, s:s}", "verb", "hello", "host", host->name, "fleet", host->fleet),
        error);
}

/* ---- channels, on the main loop ---------------------------------------------------------------- */

static void
send_on_channel(BerthChannel *base, GBytes *bytes)
{
    SimChannel *channel = (SimChannel *)base;
    gsize size = 0;
    const void *data = g_bytes_get_data(bytes, &size);
    if (channel->is_ended) {
        return;
    }
    if (size > QUEUE_MAX || sim_pipe_queued(channel->session->pipe) + size > 16 * QUEUE_MAX) {
        end_channel(channel, g_error_new_literal(BERTH_ERROR, BERTH_ERROR_EXHAUSTED,
                                                 "too many bytes wait for the guest"));
        return;
    }
    sim_pipe_send_data(channel->session->pipe, channel->number, data, size);
}

static void
close_channel(BerthChannel *base)
{
    SimChannel *channel = (SimChannel *)base;
    channel->is_closed = TRUE;
    g_hash_table_remove(channel->session->channels, GUINT_TO_POINTER(channel->number));
    g_autoptr(json_t) value = json_pack("{s:I}", "channel", (json_int_t)channel->number);
    sim_pipe_send_json(channel->session->pipe, SIM_CLOSE, value);
    channel_unref(channel);
}

static BerthChannel *
channel_open(BerthHost *base, const char *uuid, const char *port, gboolean force,
             const BerthChannelWatch *watch, gpointer user_data)
{
    static const BerthChannelOps ops = {.send = send_on_channel, .close = close_channel};
    SimHost *host = (SimHost *)base;
    g_mutex_lock(&host->lock);
    Session *session = host->session != NULL ? session_ref(host->session) : NULL;
    g_mutex_unlock(&host->lock);
    if (session == NULL) {
        return NULL;
    }
    SimChannel *channel = g_new0(SimChannel, 1);
    *channel = (SimChannel){.base = {&ops},
                            .refs = 1,
                            .session = session,
                            .number = ++session->next_channel,
                            .watch = *watch,
                            .user_data = user_data};
    g_hash_table_insert(session->channels, GUINT_TO_POINTER(channel->number), channel);
    g_autoptr(json_t) value =
        json_pack("{s:I, s:s, s:s?, s:b}", "channel", (json_int_t)channel->number, "uuid", uuid,
                  "port", port, "force", force);
    sim_pipe_send_json(session->pipe, SIM_OPEN, value);
    return &channel->base;
}

/* ---- the host ---------------------------------------------------------------------------------- */

static void
abandon(BerthHost *base)
{
    Session *session = detach_session((SimHost *)base);
    if (session != NULL) {
        end_session(session, "the connection to the host is replaced");
        session_unref(session);
    }
}

static void
free_host(BerthHost *base)
{
    SimHost *host = (SimHost *)base;
    host->is_freed = TRUE;
    abandon(base);
    host_unref(host);
}

/* "sim:///run/sim.socket#h17" */
static gboolean
parse_uri(SimHost *host, const char *text, GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_NONE, NULL);
    const char *path = uri != NULL ? g_uri_get_path(uri) : "";
    if (uri == NULL || g_strcmp0(g_uri_get_scheme(uri), "sim") != 0 || *path != '/') {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "'%s' is no simulated host: write sim:///path/to/socket#name", text);
        return FALSE;
    }
    const char *name = g_uri_get_fragment(uri);
    host->socket = g_strdup(path);
    host->name = g_strdup(name != NULL ? name : "h1");
    return TRUE;
}

static BerthHost *
make_host(const BerthHostOptions *options, const BerthHostWatch *watch, gpointer user_data,
          GError **error)
{
    static const BerthHostOps ops = {
        .connect = connect_host,
        .perform = perform,
        .channel_open = channel_open,
        .abandon = abandon,
        .free = free_host,
    };
    SimHost *host = g_new0(SimHost, 1);
    host->base.ops = &ops;
    host->refs = 1;
    host->fleet = g_strdup(options->fleet);
    host->watch = *watch;
    host->user_data = user_data;
    g_mutex_init(&host->lock);
    if (!parse_uri(host, options->uri, error)) {
        host_unref(host);
        return NULL;
    }
    return &host->base;
}

/* One script for all hosts of the process, so that the N-th call is the N-th of the process. */
static BerthHost *
make_faulty(BerthHostFactory inner, const BerthHostOptions *options, const BerthHostWatch *watch,
            gpointer user_data, GError **error)
{
    static BerthFaults *faults; /* lives as long as the process */
    const char *script = g_getenv("BERTH_FAULTS");
    if (script == NULL) {
        return inner(options, watch, user_data, error);
    }
    if (faults == NULL) {
        faults = berth_faults_parse(script, error);
    }
    if (faults == NULL) {
        return NULL;
    }
    BerthFaultyOptions faulty = {inner, options->data, faults};
    BerthHostOptions outer = *options;
    outer.data = &faulty;
    return berth_host_faulty_new(&outer, watch, user_data, error);
}

BerthHost *
berth_host_sim_new(const BerthHostOptions *options, const BerthHostWatch *watch, gpointer user_data,
                   GError **error)
{
    return make_faulty(make_host, options, watch, user_data, error);
}

BerthHost *
berth_host_libvirt_faulty_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                              gpointer user_data, GError **error)
{
    return make_faulty(berth_host_libvirt_new, options, watch, user_data, error);
}
