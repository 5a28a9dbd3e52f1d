/* Channels into guests over libvirt streams. Two lanes a host, one for guest links and one for consoles;
 * a lane is a connection with one worker thread that opens, sends, finishes and aborts, in order.
 *
 * Why: a guest that does not read makes virStreamSend block, non-blocking stream or not, and with it
 * every call on that connection. So nothing but the worker sends; the main loop only receives, which
 * never blocks, and always drains. A worker that hangs for 15 seconds costs its lane: all channels of
 * the lane are told TIMEOUT, and the next one opened gets a new lane.
 *
 * Invariant: the fields under "main loop" are touched there only; the worker gets jobs that hold a
 * reference to their channel, and answers by sources of the main loop. A channel that its owner closed
 * calls nobody. Start at berth_virt_channel_open(). */
#include "drivers/host-libvirt-private.h"

#include <string.h>

#define QUEUE_MAX (256 * 1024) /* bytes that may wait for the worker, per channel */
#define RECEIVE_CHUNK (32 * 1024)
#define RECEIVE_ROUNDS 16 /* then the main loop gets its turn */
#define HANG_US (15 * G_USEC_PER_SEC)
#define WATCH_SECONDS 3

struct BerthVirtLane {
    gint refs;
    char *uri, *fleet; /* owned */
    const char *name;  /* static; for messages */
    GAsyncQueue *jobs; /* of Job* */
    gint outstanding;  /* jobs queued or under way; atomic */
    GMutex lock;
    gint64 busy_since_us;     /* guarded by lock; 0: idle */
    virConnectPtr connection; /* worker */
    /* Main loop */
    GPtrArray *channels; /* of VirtChannel*, borrowed: each leaves when it ends */
    guint watch;         /* source: looks whether the worker hangs */
    gboolean is_dead;
};

typedef struct {
    BerthChannel base; /* first: handed out as BerthChannel* */
    gint refs;
    BerthVirtLane *lane; /* owned reference */
    char *uuid, *port;   /* owned; port NULL: console */
    gboolean force;
    gint queued;         /* bytes waiting; atomic */
    gint is_cancelled;   /* atomic: the worker drops what waits */
    virStreamPtr stream; /* set by the worker before `opened` is told */
    /* Main loop */
    BerthChannelWatch watch;
    gpointer user_data;
    gboolean is_closed; /* by its owner */
    gboolean is_ended;  /* the other side ended it, or it broke */
    gboolean is_listening;
} VirtChannel;

typedef enum { JOB_OPEN, JOB_SEND, JOB_CLOSE, JOB_QUIT } JobKind;

typedef struct {
    JobKind kind;
    VirtChannel *channel; /* owned reference; NULL for QUIT */
    GBytes *bytes;        /* owned; SEND */
} Job;

/* ---- references ------------------------------------------------------------------------------ */

static BerthVirtLane *
lane_ref(BerthVirtLane *lane)
{
    g_atomic_int_inc(&lane->refs);
    return lane;
}

static void
lane_unref(BerthVirtLane *lane)
{
    if (!g_atomic_int_dec_and_test(&lane->refs)) {
        return;
    }
    g_async_queue_unref(lane->jobs);
    g_ptr_array_unref(lane->channels);
    g_mutex_clear(&lane->lock);
    g_free(lane->uri);
    g_free(lane->fleet);
    g_free(lane);
}

static VirtChannel *
channel_ref(VirtChannel *channel)
{
    g_atomic_int_inc(&channel->refs);
    return channel;
}

static void
channel_unref(void *data)
{
    VirtChannel *channel = data;
    if (!g_atomic_int_dec_and_test(&channel->refs)) {
        return;
    }
    lane_unref(channel->lane);
    g_free(channel->uuid);
    g_free(channel->port);
    g_free(channel);
}

/* ---- the worker ------------------------------------------------------------------------------ */

/* What the worker tells the main loop of a channel. */
typedef struct {
    VirtChannel *channel; /* owned reference */
    GError *error;        /* owned; NULL: it is open */
} Report;

static void
report_free(void *data)
{
    Report *report = data;
    channel_unref(report->channel);
    g_clear_error(&report->error);
    g_free(report);
}

static gboolean on_report(gpointer data);

static void
tell(VirtChannel *channel, GError *error)
{
    Report *report = g_new(Report, 1);
    *report = (Report){channel_ref(channel), error};
    g_main_context_invoke_full(NULL, G_PRIORITY_DEFAULT, on_report, report, report_free);
}

static virDomainPtr
find_own(BerthVirtLane *lane, const char *uuid, GError **error)
{
    if (lane->connection != NULL && virConnectIsAlive(lane->connection) != 1) {
        berth_virt_close(g_steal_pointer(&lane->connection), BERTH_VIRT_NO_CALLBACKS);
    }
    if (lane->connection == NULL) {
        lane->connection = berth_virt_open(lane->uri, error);
    }
    return lane->connection != NULL
               ? berth_virt_own_domain(lane->connection, lane->fleet, uuid, error)
               : NULL;
}

static int
open_stream(virDomainPtr domain, const VirtChannel *channel, virStreamPtr stream)
{
    return channel->port != NULL
               ? virDomainOpenChannel(domain, channel->port, stream,
                                      channel->force ? VIR_DOMAIN_CHANNEL_FORCE : 0)
               : virDomainOpenConsole(domain, NULL, stream,
                                      channel->force ? VIR_DOMAIN_CONSOLE_FORCE : 0);
}

/* libvirt says "operation failed" when somebody else has the channel open, and only then on a domain
 * that runs: that is a conflict, to be taken by force. */
static void
set_open_error(const VirtChannel *channel, virDomainPtr domain, GError **error)
{
    gboolean is_taken = berth_virt_last_code() == VIR_ERR_OPERATION_FAILED;
    g_autoptr(GError) problem = NULL;
    berth_virt_error(&problem, "can't open %s of domain '%s'",
                     channel->port != NULL ? channel->port : "the console",
                     virDomainGetName(domain));
    if (is_taken && virDomainIsActive(domain) == 1) {
        problem->code = BERTH_ERROR_CONFLICT;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
}

static gboolean
open_channel(VirtChannel *channel, GError **error)
{
    g_autoptr(BerthVirDomain) domain = find_own(channel->lane, channel->uuid, error);
    if (domain == NULL) {
        return FALSE;
    }
    virStreamPtr stream = virStreamNew(channel->lane->connection, VIR_STREAM_NONBLOCK);
    if (stream == NULL || open_stream(domain, channel, stream) < 0) {
        set_open_error(channel, domain, error);
        if (stream != NULL) {
            virStreamFree(stream);
        }
        return FALSE;
    }
    channel->stream = stream;
    return TRUE;
}

static gboolean
send_bytes(const VirtChannel *channel, GBytes *bytes, GError **error)
{
    gsize size = 0;
    const char *data = g_bytes_get_data(bytes, &size);
    for (gsize sent = 0; sent < size;) {
        int part = virStreamSend(channel->stream, data + sent, size - sent);
        if (part == -2) {
            berth_error_set(error, BERTH_ERROR_EXHAUSTED, "the guest does not read");
            return FALSE;
        }
        if (part < 0) {
            berth_virt_error(error, "can't send to domain '%s'", channel->uuid);
            return FALSE;
        }
        sent += (gsize)part;
    }
    return TRUE;
}

static void
close_stream(VirtChannel *channel)
{
    if (channel->stream != NULL) {
        virStreamAbort(channel->stream);
        virStreamFree(channel->stream);
        channel->stream = NULL;
    }
}

static void
run_job(Job *job)
{
    VirtChannel *channel = job->channel;
    gboolean is_cancelled = g_atomic_int_get(&channel->is_cancelled);
    GError *error = NULL;
    switch (job->kind) {
    case JOB_OPEN:
        if (!is_cancelled) {
            open_channel(channel, &error);
            tell(channel, error);
        }
        break;
    case JOB_SEND:
        if (!is_cancelled && channel->stream != NULL && !send_bytes(channel, job->bytes, &error)) {
            tell(channel, error);
        }
        g_atomic_int_add(&channel->queued, -(gint)g_bytes_get_size(job->bytes));
        break;
    case JOB_CLOSE:
        close_stream(channel);
        break;
    case JOB_QUIT:
        break;
    }
}

static void
job_free(Job *job)
{
    g_clear_pointer(&job->bytes, g_bytes_unref);
    g_clear_pointer(&job->channel, channel_unref);
    g_free(job);
}

static void
set_busy(BerthVirtLane *lane, gint64 since_us)
{
    g_mutex_lock(&lane->lock);
    lane->busy_since_us = since_us;
    g_mutex_unlock(&lane->lock);
}

static gpointer
run_lane(gpointer data)
{
    BerthVirtLane *lane = data;
    gboolean is_over = FALSE;
    while (!is_over) {
        Job *job = g_async_queue_pop(lane->jobs);
        is_over = job->kind == JOB_QUIT;
        if (!is_over) {
            set_busy(lane, g_get_monotonic_time());
            run_job(job);
            set_busy(lane, 0);
        }
        job_free(job);
        g_atomic_int_add(&lane->outstanding, -1);
    }
    berth_virt_close(lane->connection, BERTH_VIRT_NO_CALLBACKS);
    lane_unref(lane);
    return NULL;
}

/* ---- lanes, on the main loop ------------------------------------------------------------------ */

static void
push(BerthVirtLane *lane, JobKind kind, VirtChannel *channel, GBytes *bytes)
{
    Job *job = g_new(Job, 1);
    *job = (Job){
        .kind = kind,
        .channel = channel != NULL ? channel_ref(channel) : NULL,
        .bytes = bytes != NULL ? g_bytes_ref(bytes) : NULL,
    };
    g_atomic_int_inc(&lane->outstanding);
    g_async_queue_push(lane->jobs, job);
}

static void end_channel(VirtChannel *channel, const GError *error);

/* A channel leaves the lane's list when it ends. */
static void
end_all(BerthVirtLane *lane, const GError *why)
{
    while (lane->channels->len > 0) {
        end_channel(lane->channels->pdata[lane->channels->len - 1], why);
    }
}

/* Gives the lane up: its channels end, its worker leaves when it comes back. */
static void
kill_lane(BerthVirtLane *lane, const GError *why)
{
    lane->is_dead = TRUE;
    g_clear_handle_id(&lane->watch, g_source_remove);
    end_all(lane, why);
    push(lane, JOB_QUIT, NULL, NULL);
    lane_unref(lane);
}

static gboolean
look_for_hang(gpointer data)
{
    BerthVirtLane *lane = data;
    g_mutex_lock(&lane->lock);
    gint64 since_us = lane->busy_since_us;
    g_mutex_unlock(&lane->lock);
    if (since_us == 0 || g_get_monotonic_time() - since_us < HANG_US) {
        if (g_atomic_int_get(&lane->outstanding) > 0) {
            return G_SOURCE_CONTINUE;
        }
        lane->watch = 0;
        return G_SOURCE_REMOVE;
    }
    lane->watch = 0;
    lane->is_dead = TRUE; /* whoever opens the next channel replaces it */
    g_autoptr(GError) why = g_error_new(
        BERTH_ERROR, BERTH_ERROR_TIMEOUT,
        "the host's %s hang: a guest does not read, or libvirtd does not answer", lane->name);
    end_all(lane, why);
    return G_SOURCE_REMOVE;
}

static BerthVirtLane *
lane_new(BerthVirtHost *host, const char *name)
{
    BerthVirtLane *lane = g_new0(BerthVirtLane, 1);
    lane->refs = 1;
    lane->uri = g_strdup(host->uri);
    lane->fleet = g_strdup(host->fleet);
    lane->name = name;
    lane->jobs = g_async_queue_new();
    lane->channels = g_ptr_array_new();
    g_mutex_init(&lane->lock);
    g_thread_unref(g_thread_new("berth-lane", run_lane, lane_ref(lane)));
    return lane;
}

static BerthVirtLane *
take_lane(BerthVirtHost *host, gboolean is_console)
{
    BerthVirtLane **lane = is_console ? &host->consoles : &host->links;
    if (*lane != NULL && (*lane)->is_dead) {
        kill_lane(g_steal_pointer(lane), NULL);
    }
    if (*lane == NULL) {
        *lane = lane_new(host, is_console ? "consoles" : "guest links");
    }
    return *lane;
}

/* Ends every channel of @host with @why; main loop. */
void
berth_virt_lanes_close(BerthVirtHost *host, const GError *why)
{
    if (host->links != NULL) {
        kill_lane(g_steal_pointer(&host->links), why);
    }
    if (host->consoles != NULL) {
        kill_lane(g_steal_pointer(&host->consoles), why);
    }
}

/* ---- channels, on the main loop --------------------------------------------------------------- */

static void
stop_channel(VirtChannel *channel)
{
    if (channel->is_listening) {
        channel->is_listening = FALSE;
        virStreamEventRemoveCallback(channel->stream);
        g_atomic_int_add(&channel->refs, -1); /* the callback's; the caller holds another */
    }
    if (g_ptr_array_remove_fast(channel->lane->channels, channel)) {
        g_atomic_int_set(&channel->is_cancelled, TRUE);
        push(channel->lane, JOB_CLOSE, channel, NULL);
    }
}

typedef struct {
    VirtChannel *channel; /* owned reference */
    GError *error;        /* owned; NULL: ended in order */
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
    VirtChannel *channel = ending->channel;
    if (!channel->is_closed) {
        channel->watch.closed(ending->error, channel->user_data);
    }
    return G_SOURCE_REMOVE;
}

/* The owner is told later, since this may run inside a function that the owner called. */
static void
end_channel(VirtChannel *channel, const GError *error)
{
    stop_channel(channel);
    if (channel->is_ended || channel->is_closed) {
        return;
    }
    channel->is_ended = TRUE;
    Ending *ending = g_new(Ending, 1);
    *ending = (Ending){channel_ref(channel), error != NULL ? g_error_copy(error) : NULL};
    g_idle_add_full(G_PRIORITY_DEFAULT, tell_ended, ending, ending_free);
}

/* Returns: whether there may be more. */
static gboolean
receive_once(VirtChannel *channel)
{
    char buffer[RECEIVE_CHUNK];
    int got = virStreamRecv(channel->stream, buffer, sizeof buffer);
    if (got > 0) {
        channel->watch.received((const guint8 *)buffer, (gsize)got, channel->user_data);
        return !channel->is_closed && !channel->is_ended;
    }
    if (got == 0) {
        end_channel(channel, NULL);
    } else if (got != -2) {
        g_autoptr(GError) error = NULL;
        berth_virt_error(&error, "the stream of domain '%s' broke", channel->uuid);
        end_channel(channel, error);
    }
    return FALSE;
}

static void
on_readable(virStreamPtr stream, int events, void *data)
{
    VirtChannel *channel = channel_ref(data);
    for (guint i = 0; i < RECEIVE_ROUNDS && channel->is_listening; i++) {
        if (!receive_once(channel)) {
            break;
        }
    }
    channel_unref(channel);
}

static gboolean
on_report(gpointer data)
{
    Report *report = data;
    VirtChannel *channel = report->channel;
    if (report->error != NULL) {
        end_channel(channel, report->error);
    } else if (!channel->is_closed && !channel->is_ended && !channel->is_listening) {
        /* READABLE only: a registered WRITABLE fires without end. The callback holds a reference,
         * dropped with it by us: not every libvirt calls its free function. */
        channel->is_listening = TRUE;
        channel_ref(channel);
        if (virStreamEventAddCallback(channel->stream, VIR_STREAM_EVENT_READABLE, on_readable,
                                      channel, NULL) < 0) {
            g_autoptr(GError) error = NULL;
            berth_virt_error(&error, "can't receive from domain '%s'", channel->uuid);
            end_channel(channel, error);
        }
    }
    return G_SOURCE_REMOVE;
}

static void
send_on_channel(BerthChannel *base, GBytes *bytes)
{
    VirtChannel *channel = (VirtChannel *)base;
    BerthVirtLane *lane = channel->lane;
    if (channel->is_ended) {
        return;
    }
    gsize size = g_bytes_get_size(bytes);
    if (size > QUEUE_MAX || (gsize)g_atomic_int_get(&channel->queued) + size > QUEUE_MAX) {
        g_autoptr(GError) error = g_error_new(BERTH_ERROR, BERTH_ERROR_EXHAUSTED,
                                              "more than %d bytes wait for domain '%s', which does "
                                              "not read",
                                              QUEUE_MAX, channel->uuid);
        end_channel(channel, error);
        return;
    }
    g_atomic_int_add(&channel->queued, (gint)size);
    push(lane, JOB_SEND, channel, bytes);
    if (lane->watch == 0) {
        lane->watch = g_timeout_add_seconds(WATCH_SECONDS, look_for_hang, lane);
    }
}

static void
close_channel(BerthChannel *base)
{
    VirtChannel *channel = (VirtChannel *)base;
    channel->is_closed = TRUE;
    stop_channel(channel);
    channel_unref(channel);
}

static const BerthChannelOps ops = {.send = send_on_channel, .close = close_channel};

/* See BerthHostOps.channel_open. What goes wrong comes through watch->closed. */
BerthChannel *
berth_virt_channel_open(BerthHost *base, const char *uuid, const char *port, gboolean force,
                        const BerthChannelWatch *watch, gpointer user_data)
{
    BerthVirtLane *lane = take_lane((BerthVirtHost *)base, port == NULL);
    VirtChannel *channel = g_new0(VirtChannel, 1);
    channel->base.ops = &ops;
    channel->refs = 1;
    channel->lane = lane_ref(lane);
    channel->uuid = g_strdup(uuid);
    channel->port = g_strdup(port);
    channel->force = force;
    channel->watch = *watch;
    channel->user_data = user_data;
    g_ptr_array_add(lane->channels, channel);
    push(lane, JOB_OPEN, channel, NULL);
    if (lane->watch == 0) {
        lane->watch = g_timeout_add_seconds(WATCH_SECONDS, look_for_hang, lane);
    }
    return &channel->base;
}
