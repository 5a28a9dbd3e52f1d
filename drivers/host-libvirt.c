/* A host behind libvirt: its connections, its events, and the table of its verbs.
 *
 * Invariant: whatever arrives from a connection that was closed or abandoned is dropped, by the epoch
 * that each connect() takes. Nothing of libvirt that may block runs on the main loop, closing a
 * connection included. The main program has called berth_libvirt_events_register() before, so libvirt's
 * events come on the default main context.
 * Threads: connect() and perform() on workers, the rest on the main loop. Start at perform(). */
#include "drivers/host-libvirt-private.h"

#include <string.h>

#define KEEPALIVE_SECONDS 5
#define KEEPALIVE_COUNT 5
#define LINE_IDLE_US (60 * G_USEC_PER_SEC)

/* ---- connections ----------------------------------------------------------------------------- */

/* A connection on its way out. */
typedef struct {
    virConnectPtr connection;
    BerthVirtCallbacks callbacks;
} Closing;

static void
close_on_worker(gpointer data, gpointer unused)
{
    g_autofree Closing *closing = data;
    const BerthVirtCallbacks *callbacks = &closing->callbacks;
    if (callbacks->domains >= 0) {
        virConnectDomainEventDeregisterAny(closing->connection, callbacks->domains);
    }
    if (callbacks->networks >= 0) {
        virConnectNetworkEventDeregisterAny(closing->connection, callbacks->networks);
    }
    if (callbacks->closed != NULL) {
        virConnectUnregisterCloseCallback(closing->connection, callbacks->closed);
    }
    virConnectClose(closing->connection);
}

/* Closing is a round trip that a hung host never answers: it is left to a thread. @connection may be
 * NULL. Any thread. */
void
berth_virt_close(virConnectPtr connection, BerthVirtCallbacks callbacks)
{
    static GThreadPool *pool;
    static gsize once;
    if (g_once_init_enter(&once)) {
        pool = g_thread_pool_new(close_on_worker, NULL, -1, FALSE, NULL);
        g_once_init_leave(&once, 1);
    }
    if (connection != NULL) {
        Closing *closing = g_new(Closing, 1);
        *closing = (Closing){connection, callbacks};
        g_thread_pool_push(pool, closing, NULL);
    }
}

static void
drop_libvirt_message(void *unused, virErrorPtr error)
{
}

/* Opens one connection with keepalive. Blocks. Never asks anybody for a password. */
virConnectPtr
berth_virt_open(const char *uri, GError **error)
{
    virConnectPtr connection = virConnectOpenAuth(uri, NULL, VIR_CONNECT_NO_ALIASES);
    if (connection == NULL) {
        berth_virt_error(error, "can't connect to '%s'", uri);
        return NULL;
    }
    if (virConnectSetKeepAlive(connection, KEEPALIVE_SECONDS, KEEPALIVE_COUNT) < 0) {
        berth_virt_error(error, "can't watch the connection to '%s'", uri);
        berth_virt_close(connection, BERTH_VIRT_NO_CALLBACKS);
        return NULL;
    }
    return connection;
}

static void
free_line(const BerthVirtSession *session, BerthVirtLine *line)
{
    if (line->connection != session->control) {
        berth_virt_close(line->connection, BERTH_VIRT_NO_CALLBACKS);
    }
    g_free(line);
}

BerthVirtSession *
berth_virt_session_ref(BerthVirtSession *session)
{
    g_atomic_int_inc(&session->refs);
    return session;
}

void
berth_virt_session_unref(BerthVirtSession *session)
{
    if (session == NULL || !g_atomic_int_dec_and_test(&session->refs)) {
        return;
    }
    for (BerthVirtLine *line; (line = g_queue_pop_head(&session->lines)) != NULL;) {
        free_line(session, line);
    }
    berth_virt_close(session->control, session->callbacks);
    g_mutex_clear(&session->lines_lock);
    g_free(session->uri);
    g_free(session->fleet);
    g_free(session);
}

/* ---- lines: one call each -------------------------------------------------------------------- */

static BerthVirtLine *
add_line(BerthVirtSession *session, virConnectPtr connection)
{
    BerthVirtLine *line = g_new0(BerthVirtLine, 1);
    line->connection = connection;
    line->fleet = session->fleet;
    return line;
}

/* Takes the last used idle line that serves. Uploads leave control alone: events come there. */
static BerthVirtLine *
take_idle(BerthVirtSession *session, gboolean is_upload)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&session->lines_lock);
    for (GList *item = session->lines.head; item != NULL;) {
        GList *next = item->next;
        BerthVirtLine *line = item->data;
        gboolean is_control = line->connection == session->control;
        if (is_control ? !is_upload : virConnectIsAlive(line->connection) == 1) {
            g_queue_delete_link(&session->lines, item);
            return line;
        }
        if (!is_control) {
            g_queue_delete_link(&session->lines, item);
            free_line(session, line);
        }
        item = next;
    }
    return NULL;
}

static BerthVirtLine *
take_line(BerthVirtSession *session, gboolean is_upload, GError **error)
{
    BerthVirtLine *line = take_idle(session, is_upload);
    if (line == NULL) {
        virConnectPtr connection = berth_virt_open(session->uri, error);
        line = connection != NULL ? add_line(session, connection) : NULL;
    }
    return line;
}

/* Those that a rush of calls left are closed a while after it. */
static void
give_back(BerthVirtSession *session, BerthVirtLine *line)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&session->lines_lock);
    line->used_us = g_get_monotonic_time();
    g_queue_push_head(&session->lines, line);
    for (GList *item = session->lines.tail; item != NULL;) {
        GList *previous = item->prev;
        BerthVirtLine *idle = item->data;
        if (line->used_us - idle->used_us > LINE_IDLE_US && idle->connection != session->control) {
            g_queue_delete_link(&session->lines, item);
            free_line(session, idle);
        }
        item = previous;
    }
}

/* ---- the host -------------------------------------------------------------------------------- */

BerthVirtHost *
berth_virt_host_ref(BerthVirtHost *host)
{
    g_atomic_int_inc(&host->refs);
    return host;
}

void
berth_virt_host_unref(BerthVirtHost *host)
{
    if (!g_atomic_int_dec_and_test(&host->refs)) {
        return;
    }
    g_mutex_clear(&host->lock);
    g_free(host->uri);
    g_free(host->fleet);
    g_free(host);
}

/* Makes the present session a past one. Returns: (transfer full) (nullable): it. Any thread. */
static BerthVirtSession *
detach_session(BerthVirtHost *host)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&host->lock);
    host->epoch++;
    return g_steal_pointer(&host->session);
}

/* What a callback of libvirt holds: the host, counted, and which session it speaks of. */
typedef struct {
    BerthVirtHost *host;
    guint64 epoch;
    int reason;
} Notice;

static Notice *
notice_new(BerthVirtHost *host, guint64 epoch, int reason)
{
    Notice *notice = g_new(Notice, 1);
    *notice = (Notice){berth_virt_host_ref(host), epoch, reason};
    return notice;
}

static void
notice_free(void *data)
{
    Notice *notice = data;
    berth_virt_host_unref(notice->host);
    g_free(notice);
}

static const char *
closed_why(int reason)
{
    switch (reason) {
    case VIR_CONNECT_CLOSE_REASON_EOF:
        return "libvirtd closed the connection";
    case VIR_CONNECT_CLOSE_REASON_KEEPALIVE:
        return "libvirtd does not answer";
    case VIR_CONNECT_CLOSE_REASON_CLIENT:
        return "the connection was closed";
    default:
        return "the connection broke";
    }
}

static gboolean
tell_closed(gpointer data)
{
    const Notice *notice = data;
    BerthVirtHost *host = notice->host;
    g_mutex_lock(&host->lock);
    gboolean is_present = host->epoch == notice->epoch && host->session != NULL;
    g_mutex_unlock(&host->lock);
    if (!is_present || host->is_freed) {
        return G_SOURCE_REMOVE;
    }
    berth_virt_session_unref(detach_session(host));
    g_autoptr(GError) why =
        g_error_new_literal(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE, closed_why(notice->reason));
    berth_virt_lanes_close(host, why);
    host->watch.closed(why->message, host->user_data);
    return G_SOURCE_REMOVE;
}

/* Comes on whatever thread noticed the end. */
static void
on_closed(virConnectPtr connection, int reason, void *data)
{
    const Notice *known = data;
    g_mutex_lock(&known->host->lock);
    if (known->host->session != NULL && known->host->epoch == known->epoch) {
        known->host->session->is_closed = TRUE;
    }
    g_mutex_unlock(&known->host->lock);
    g_main_context_invoke_full(NULL, G_PRIORITY_DEFAULT, tell_closed,
                               notice_new(known->host, known->epoch, reason), notice_free);
}

/* ---- events ---------------------------------------------------------------------------------- */

static BerthDomainEvent
event_of(int event)
{
    switch (event) {
    case VIR_DOMAIN_EVENT_DEFINED:
        return BERTH_DOMAIN_EVENT_DEFINED;
    case VIR_DOMAIN_EVENT_UNDEFINED:
        return BERTH_DOMAIN_EVENT_UNDEFINED;
    case VIR_DOMAIN_EVENT_STARTED:
        return BERTH_DOMAIN_EVENT_STARTED;
    case VIR_DOMAIN_EVENT_STOPPED:
        return BERTH_DOMAIN_EVENT_STOPPED;
    default:
        return BERTH_DOMAIN_EVENT_OTHER;
    }
}

static BerthStopReason
stop_reason_of(int event, int detail)
{
    if (event != VIR_DOMAIN_EVENT_STOPPED) {
        return BERTH_STOP_UNKNOWN;
    }
    switch (detail) {
    case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
        return BERTH_STOP_SHUTDOWN;
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
        return BERTH_STOP_DESTROYED;
    case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
        return BERTH_STOP_CRASHED;
    case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
        return BERTH_STOP_MIGRATED;
    case VIR_DOMAIN_EVENT_STOPPED_SAVED:
        return BERTH_STOP_SAVED;
    case VIR_DOMAIN_EVENT_STOPPED_FAILED:
        return BERTH_STOP_FAILED;
    default:
        return BERTH_STOP_UNKNOWN;
    }
}

/* Whether what @known speaks of is the present session. Main loop. */
static gboolean
is_present(const Notice *known)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&known->host->lock);
    return known->host->epoch == known->epoch && !known->host->is_freed;
}

/* libvirt calls this and the next from its event loop, which is our main loop. */
static int
on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *data)
{
    const Notice *known = data;
    BerthVirtHost *host = known->host;
    char uuid[VIR_UUID_STRING_BUFLEN];
    if (is_present(known) && virDomainGetUUIDString(domain, uuid) == 0) {
        host->watch.domain_event(uuid, event_of(event), stop_reason_of(event, detail),
                                 host->user_data);
    }
    return 0;
}

static void
on_network(virConnectPtr connection, virNetworkPtr network, int event, int detail, void *data)
{
    const Notice *known = data;
    if (is_present(known)) {
        known->host->watch.inventory_event(known->host->user_data);
    }
}

/* Without libvirt's network driver there are no such events, and no networks either. */
static void
watch_networks(BerthVirtHost *host, BerthVirtSession *session)
{
    Notice *notice = notice_new(host, session->epoch, 0);
    session->callbacks.networks = virConnectNetworkEventRegisterAny(
        session->control, NULL, VIR_NETWORK_EVENT_ID_LIFECYCLE,
        VIR_NETWORK_EVENT_CALLBACK(on_network), notice, notice_free);
    if (session->callbacks.networks < 0) {
        notice_free(notice);
    }
}

static gboolean
register_callbacks(BerthVirtHost *host, BerthVirtSession *session, GError **error)
{
    Notice *for_close = notice_new(host, session->epoch, 0);
    if (virConnectRegisterCloseCallback(session->control, on_closed, for_close, notice_free) < 0) {
        notice_free(for_close);
        berth_virt_error(error, "can't watch the connection to '%s'", session->uri);
        return FALSE;
    }
    session->callbacks.closed = on_closed;
    Notice *for_events = notice_new(host, session->epoch, 0);
    session->callbacks.domains = virConnectDomainEventRegisterAny(
        session->control, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), for_events, notice_free);
    if (session->callbacks.domains < 0) {
        notice_free(for_events);
        berth_virt_error(error, "can't receive events of '%s'", session->uri);
        return FALSE;
    }
    watch_networks(host, session);
    return TRUE;
}

/* ---- connect, perform ------------------------------------------------------------------------ */

static BerthVirtSession *
open_session(BerthVirtHost *host, guint64 epoch, GError **error)
{
    g_autoptr(BerthVirtSession) session = g_new0(BerthVirtSession, 1);
    session->refs = 1;
    session->callbacks = BERTH_VIRT_NO_CALLBACKS;
    session->epoch = epoch;
    session->uri = g_strdup(host->uri);
    session->fleet = g_strdup(host->fleet);
    g_mutex_init(&session->lines_lock);
    session->control = berth_virt_open(host->uri, error);
    if (session->control == NULL) {
        berth_virt_explain_tls(host->uri, error);
        return NULL;
    }
    g_queue_push_head(&session->lines, add_line(session, session->control));
    return g_steal_pointer(&session);
}

/* Installs @session, unless something newer happened meanwhile. */
static gboolean
install_session(BerthVirtHost *host, BerthVirtSession *session, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&host->lock);
    if (host->epoch != session->epoch) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "the attempt to connect was abandoned");
        return FALSE;
    }
    host->session = berth_virt_session_ref(session);
    return TRUE;
}

/* Installed before its callbacks are registered, so that a close can never be missed. */
static gboolean
connect_host(BerthHost *base, GError **error)
{
    BerthVirtHost *host = (BerthVirtHost *)base;
    berth_virt_session_unref(detach_session(host));
    g_mutex_lock(&host->lock);
    guint64 epoch = host->epoch;
    g_mutex_unlock(&host->lock);
    g_autoptr(BerthVirtSession) session = open_session(host, epoch, error);
    if (session == NULL || !install_session(host, session, error)) {
        return FALSE;
    }
    if (!register_callbacks(host, session, error)) {
        berth_virt_session_unref(detach_session(host));
        return FALSE;
    }
    return TRUE;
}

static const BerthVirtVerb verbs[BERTH_HOST_VERBS] = {
    [BERTH_HOST_INVENTORY] = berth_virt_inventory,
    [BERTH_HOST_DOMAIN_LIST] = berth_virt_domain_list,
    [BERTH_HOST_DOMAIN_GET] = berth_virt_domain_get,
    [BERTH_HOST_DOMAIN_DEFINE] = berth_virt_define,
    [BERTH_HOST_DOMAIN_START] = berth_virt_start,
    [BERTH_HOST_DOMAIN_SHUTDOWN] = berth_virt_shutdown,
    [BERTH_HOST_DOMAIN_REBOOT] = berth_virt_reboot,
    [BERTH_HOST_DOMAIN_RESET] = berth_virt_reset,
    [BERTH_HOST_DOMAIN_DESTROY] = berth_virt_destroy,
    [BERTH_HOST_DOMAIN_SUSPEND] = berth_virt_suspend,
    [BERTH_HOST_DOMAIN_RESUME] = berth_virt_resume,
    [BERTH_HOST_DOMAIN_UNDEFINE] = berth_virt_undefine,
    [BERTH_HOST_DOMAIN_XML] = berth_virt_domain_xml,
    [BERTH_HOST_POOL_ENSURE] = berth_virt_pool_ensure,
    [BERTH_HOST_VOLUME_LIST] = berth_virt_volume_list,
    [BERTH_HOST_VOLUME_CREATE] = berth_virt_volume_create,
    [BERTH_HOST_VOLUME_UPLOAD] = berth_virt_volume_upload,
    [BERTH_HOST_VOLUME_DELETE] = berth_virt_volume_delete,
    [BERTH_HOST_NETWORK_ENSURE] = berth_virt_network_ensure,
    [BERTH_HOST_DHCP_RESERVE] = berth_virt_dhcp_reserve,
    [BERTH_HOST_DHCP_RELEASE] = berth_virt_dhcp_release,
};

static BerthVirtSession *
take_session(BerthVirtHost *host, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&host->lock);
    if (host->session == NULL || host->session->is_closed) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "not connected to '%s'", host->uri);
        return NULL;
    }
    return berth_virt_session_ref(host->session);
}

static gboolean
perform(BerthHost *base, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    BerthVirtHost *host = berth_virt_host_ref((BerthVirtHost *)base);
    gboolean done = FALSE;
    g_autoptr(BerthVirtSession) session = take_session(host, error);
    BerthVirtLine *line =
        session != NULL ? take_line(session, call->verb == BERTH_HOST_VOLUME_UPLOAD, error) : NULL;
    if (line != NULL) {
        virResetLastError();
        done = verbs[call->verb](line, call, reply, error);
        give_back(session, line);
    }
    berth_virt_host_unref(host);
    return done;
}

static void
abandon(BerthHost *base)
{
    BerthVirtHost *host = (BerthVirtHost *)base;
    g_autoptr(GError) why = g_error_new_literal(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE,
                                                "the connections to the host are replaced");
    berth_virt_session_unref(detach_session(host));
    berth_virt_lanes_close(host, why);
}

static void
free_host(BerthHost *base)
{
    BerthVirtHost *host = (BerthVirtHost *)base;
    host->is_freed = TRUE;
    abandon(base);
    berth_virt_host_unref(host);
}

static const BerthHostOps ops = {
    .connect = connect_host,
    .perform = perform,
    .channel_open = berth_virt_channel_open,
    .abandon = abandon,
    .free = free_host,
};

/**
 * berth_host_libvirt_new:
 * @options: a libvirt URI as the daemon built it, and the fleet whose domains are ours
 * @watch: copied
 *
 * Returns: (transfer full): a host that is not connected yet. berth_libvirt_events_register() must have
 *     been called, SIGPIPE be ignored, and the default main context run
 */
BerthHost *
berth_host_libvirt_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                       gpointer user_data, GError **error)
{
    static gsize once;
    if (g_once_init_enter(&once)) {
        virSetErrorFunc(NULL, drop_libvirt_message); /* errors are returned, not printed */
        g_once_init_leave(&once, 1);
    }
    BerthVirtHost *host = g_new0(BerthVirtHost, 1);
    host->base.ops = &ops;
    host->refs = 1;
    host->uri = g_strdup(options->uri);
    host->fleet = g_strdup(options->fleet);
    host->watch = *watch;
    host->user_data = user_data;
    g_mutex_init(&host->lock);
    return &host->base;
}
