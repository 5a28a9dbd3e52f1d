/* See site.h. Invariant: every call is answered exactly once, on the main loop, whatever becomes of the
 * connection it was made on. Start at begin(). */
#include "tests/simulation/site.h"

#include "base/error.h"
#include "tests/simulation/fate.h"

#include <string.h>

#define SIZES 3

/* What one life of the daemon has of a site. */
typedef struct {
    BerthHost base; /* first */
    guint refs;     /* its owner, each call and each piece of news under way */
    Site *site;
    char *fleet; /* owned */
    BerthHostWatch watch;
    gpointer user_data;
    gboolean is_freed;
    SimPeer *peer;        /* owned; NULL: not connected */
    guint64 visits;       /* how often it was connected */
    GHashTable *channels; /* number -> Channel*, borrowed */
    guint32 next_channel;
} SiteHost;

typedef struct {
    SimPeer base;   /* first */
    SiteHost *host; /* borrowed */
} Peer;

static GHashTable *sites; /* name -> Site* */

static void
host_unref(SiteHost *host)
{
    if (--host->refs == 0) {
        g_hash_table_unref(host->channels);
        g_free(host->fleet);
        g_free(host);
    }
}

/* ---- channels ---------------------------------------------------------------------------------- */

typedef struct {
    BerthChannel base; /* first */
    SiteHost *host;    /* borrowed; NULL: its connection is over */
    guint32 number;
    BerthChannelWatch watch;
    gpointer user_data;
    GByteArray *to_guest, *to_daemon; /* owned */
    guint sending, receiving;         /* sources */
    gboolean is_ended, is_closed, is_telling;
    GError *problem; /* owned; why it ended; NULL: in order */
} Channel;

static void
free_channel(Channel *channel)
{
    g_byte_array_unref(channel->to_guest);
    g_byte_array_unref(channel->to_daemon);
    g_clear_error(&channel->problem);
    g_free(channel);
}

static SimOpener *
opener_of(const Channel *channel)
{
    return channel->host == NULL || channel->host->peer == NULL
               ? NULL
               : g_hash_table_lookup(channel->host->peer->openers,
                                     GUINT_TO_POINTER(channel->number));
}

/* Bytes first, then the end. The owner may close the channel from inside. */
static gboolean
receive(gpointer data)
{
    Channel *channel = data;
    channel->receiving = 0;
    channel->is_telling = TRUE;
    g_autoptr(GByteArray) news = channel->to_daemon;
    channel->to_daemon = g_byte_array_new();
    if (news->len > 0) {
        channel->watch.received(news->data, news->len, channel->user_data);
    }
    if (channel->is_ended && !channel->is_closed) {
        channel->watch.closed(channel->problem, channel->user_data);
    }
    const SimOpener *opener = channel->is_closed ? NULL : opener_of(channel);
    if (opener != NULL && opener->domain != NULL && opener->domain->guest != NULL) {
        sim_guest_kick(opener->domain->guest); /* it was held back while we did not read */
    }
    channel->is_telling = FALSE;
    if (channel->is_closed) {
        free_channel(channel);
    }
    return G_SOURCE_REMOVE;
}

static void
receive_soon(Channel *channel)
{
    if (channel->receiving == 0) {
        channel->receiving =
            g_timeout_add_full(G_PRIORITY_DEFAULT, (guint)fate_below(3), receive, channel, NULL);
    }
}

static void
end_channel(Channel *channel, const GError *error)
{
    if (!channel->is_ended) {
        channel->is_ended = TRUE;
        channel->problem = error != NULL ? g_error_copy(error) : NULL;
        receive_soon(channel);
    }
}

static gboolean
send_waiting(gpointer data)
{
    Channel *channel = data;
    channel->sending = 0;
    SimOpener *opener = opener_of(channel);
    if (opener != NULL && channel->to_guest->len > 0) {
        sim_opener_receive(opener, channel->to_guest->data, channel->to_guest->len);
    }
    g_byte_array_set_size(channel->to_guest, 0);
    return G_SOURCE_REMOVE;
}

static void
channel_send(BerthChannel *base, GBytes *bytes)
{
    Channel *channel = (Channel *)base;
    gsize size = 0;
    const guint8 *data = g_bytes_get_data(bytes, &size);
    g_byte_array_append(channel->to_guest, data, (guint)size);
    if (channel->sending == 0) {
        channel->sending = g_timeout_add_full(G_PRIORITY_DEFAULT, (guint)fate_below(3),
                                              send_waiting, channel, NULL);
    }
}

static void
channel_close(BerthChannel *base)
{
    Channel *channel = (Channel *)base;
    channel->is_closed = TRUE;
    g_clear_handle_id(&channel->sending, g_source_remove);
    g_clear_handle_id(&channel->receiving, g_source_remove);
    if (channel->host != NULL) {
        g_hash_table_remove(channel->host->channels, GUINT_TO_POINTER(channel->number));
        if (channel->host->peer != NULL) {
            g_hash_table_remove(channel->host->peer->openers, GUINT_TO_POINTER(channel->number));
        }
    }
    if (!channel->is_telling) {
        free_channel(channel);
    }
}

static BerthChannel *
channel_open(BerthHost *base, const char *uuid, const char *port, gboolean force,
             const BerthChannelWatch *watch, gpointer user_data)
{
    static const BerthChannelOps ops = {channel_send, channel_close};
    SiteHost *host = (SiteHost *)base;
    if (host->peer == NULL) {
        return NULL;
    }
    Channel *channel = g_new0(Channel, 1);
    channel->base.ops = &ops;
    channel->host = host;
    channel->number = ++host->next_channel;
    channel->watch = *watch;
    channel->user_data = user_data;
    channel->to_guest = g_byte_array_new();
    channel->to_daemon = g_byte_array_new();
    g_hash_table_insert(host->channels, GUINT_TO_POINTER(channel->number), channel);
    SimOpener *opener = g_new0(SimOpener, 1);
    opener->peer = host->peer;
    opener->number = channel->number;
    opener->is_console = port == NULL;
    g_hash_table_insert(host->peer->openers, GUINT_TO_POINTER(channel->number), opener);
    g_autoptr(GError) error = NULL;
    if (!sim_opener_open(opener, uuid, force, &error)) {
        end_channel(channel, error);
    }
    return &channel->base;
}

/* ---- what the machine tells -------------------------------------------------------------------- */

typedef struct {
    SiteHost *host;
    guint64 visit;
    char *uuid;
    BerthDomainEvent event;
    BerthStopReason reason;
} News;

static gboolean
tell_news(gpointer data)
{
    News *news = data;
    SiteHost *host = news->host;
    if (!host->is_freed && host->peer != NULL && host->visits == news->visit) {
        host->watch.domain_event(news->uuid, news->event, news->reason, host->user_data);
    }
    host_unref(host);
    g_free(news->uuid);
    g_free(news);
    return G_SOURCE_REMOVE;
}

static void
on_event(SimPeer *peer, const char *uuid, BerthDomainEvent event, BerthStopReason reason)
{
    SiteHost *host = ((Peer *)peer)->host;
    if (fate_strikes(10)) {
        return; /* events are hints */
    }
    News *news = g_new(News, 1);
    *news = (News){host, host->visits, g_strdup(uuid), event, reason};
    host->refs++;
    g_timeout_add_full(G_PRIORITY_DEFAULT, 1 + (guint)fate_below(5), tell_news, news, NULL);
}

static Channel *
find_channel(SimPeer *peer, guint32 number)
{
    return g_hash_table_lookup(((Peer *)peer)->host->channels, GUINT_TO_POINTER(number));
}

static void
on_data(SimPeer *peer, guint32 number, const guint8 *data, gsize size)
{
    Channel *channel = find_channel(peer, number);
    if (channel != NULL && !channel->is_ended) {
        g_byte_array_append(channel->to_daemon, data, (guint)size);
        receive_soon(channel);
    }
}

static void
on_closed(SimPeer *peer, guint32 number, const GError *error)
{
    Channel *channel = find_channel(peer, number);
    if (channel != NULL) {
        end_channel(channel, error);
    }
}

static gsize
count_queued(SimPeer *peer)
{
    gsize sum = 0;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, ((Peer *)peer)->host->channels);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        sum += ((Channel *)value)->to_daemon->len;
    }
    return sum;
}

/* ---- connections ------------------------------------------------------------------------------- */

static void
connect_peer(SiteHost *host)
{
    static const SimPeerOps ops = {on_event, on_data, on_closed, count_queued};
    Peer *peer = g_new0(Peer, 1);
    peer->host = host;
    peer->base.ops = &ops;
    peer->base.machine = host->site->machine;
    peer->base.fleet = g_strdup(host->fleet);
    peer->base.openers = g_hash_table_new_full(NULL, NULL, NULL, sim_opener_free);
    g_ptr_array_add(host->site->machine->peers, peer);
    host->peer = &peer->base;
    host->visits++;
}

static void
disconnect_peer(SiteHost *host)
{
    SimPeer *peer = g_steal_pointer(&host->peer);
    if (peer == NULL) {
        return;
    }
    g_autoptr(GError) gone = NULL;
    berth_error_set(&gone, BERTH_ERROR_UNAVAILABLE, "the connection to the host broke");
    g_autoptr(GList) channels = g_hash_table_get_values(host->channels);
    g_hash_table_remove_all(host->channels);
    for (GList *item = channels; item != NULL; item = item->next) {
        Channel *channel = item->data;
        channel->host = NULL;
        end_channel(channel, gone);
    }
    g_hash_table_unref(peer->openers);
    g_ptr_array_remove_fast(peer->machine->peers, peer);
    g_free(peer->fleet);
    g_free(peer);
}

/* ---- calls ------------------------------------------------------------------------------------- */

typedef enum { CALL_WELL, CALL_FAIL, CALL_LOSE_ANSWER, CALL_TWICE, CALL_HALF } CallFate;

typedef struct {
    SiteHost *host;
    const BerthHostCall *call; /* borrowed until the answer; NULL: connect */
    BerthHostReply *reply;
    GError **error;
    BerthHostAnswer answer;
    gpointer user_data;
    CallFate fate;
    guint answer_ms;
    guint source;
    gboolean is_done, is_tried;
} Pending;

gboolean
site_perform(Site *site, const char *fleet, const BerthHostCall *call, BerthHostReply *reply,
             GError **error)
{
    SimPeer peer = {.machine = site->machine, .fleet = (char *)fleet};
    if (!sim_machine_perform(&peer, call, reply, error)) {
        site->exhausted += call->verb == BERTH_HOST_DOMAIN_START && *error != NULL &&
                           g_error_matches(*error, BERTH_ERROR, BERTH_ERROR_EXHAUSTED);
        return FALSE;
    }
    return call->verb != BERTH_HOST_VOLUME_UPLOAD ||
           sim_machine_upload_chunk(&peer, call->pool, call->volume, call->size, error);
}

static const char *
subject_of(const BerthHostCall *call)
{
    return call->uuid != NULL     ? call->uuid
           : call->plan != NULL   ? call->plan->uuid
           : call->volume != NULL ? call->volume
                                  : "";
}

static void
note_call(const Pending *pending, const char *what)
{
    const BerthHostCall *call = pending->call;
    fate_note("%s %s %s: %s%s%s", pending->host->site->machine->name,
              call != NULL ? berth_host_verb_name(call->verb) : "connect",
              call != NULL ? subject_of(call) : "", what, *pending->error != NULL ? " " : "",
              *pending->error != NULL ? (*pending->error)->message : "");
}

static void
fail(Pending *pending, const char *why)
{
    g_clear_error(pending->error);
    berth_host_reply_clear(pending->reply);
    berth_error_set(pending->error, BERTH_ERROR_UNAVAILABLE, "%s", why);
    pending->is_done = FALSE;
}

static gboolean
do_connect(Pending *pending)
{
    if (pending->host->is_freed) {
        fail(pending, "nobody wants the connection any more");
        return FALSE;
    }
    disconnect_peer(pending->host);
    connect_peer(pending->host);
    return TRUE;
}

static gboolean
do_half_upload(Pending *pending)
{
    SimPeer peer = {.machine = pending->host->site->machine, .fleet = pending->host->fleet};
    const BerthHostCall *call = pending->call;
    if (sim_machine_perform(&peer, call, pending->reply, pending->error)) {
        sim_machine_upload_chunk(&peer, call->pool, call->volume, call->size / 2, pending->error);
    }
    fail(pending, "the upload broke on purpose");
    return FALSE;
}

static gboolean
do_call(Pending *pending)
{
    Site *site = pending->host->site;
    if (pending->call == NULL) {
        return do_connect(pending);
    }
    if (pending->fate == CALL_HALF && pending->call->verb == BERTH_HOST_VOLUME_UPLOAD) {
        return do_half_upload(pending);
    }
    gboolean done =
        site_perform(site, pending->host->fleet, pending->call, pending->reply, pending->error);
    if (done && pending->fate == CALL_TWICE) {
        berth_host_reply_clear(pending->reply);
        done =
            site_perform(site, pending->host->fleet, pending->call, pending->reply, pending->error);
    }
    return done;
}

static gboolean
answer_pending(gpointer data)
{
    Pending *pending = data;
    SiteHost *host = pending->host;
    g_ptr_array_remove(host->site->pending, pending);
    pending->answer(pending->is_done, pending->user_data);
    host_unref(host);
    g_free(pending);
    return G_SOURCE_REMOVE;
}

static void
try(Pending *pending)
{
    pending->is_tried = TRUE;
    if (!pending->host->site->is_reachable) {
        fail(pending, "no route to the host");
    } else if (pending->fate == CALL_FAIL) {
        fail(pending, "the call fails on purpose");
    } else {
        pending->is_done = do_call(pending);
        if (pending->is_done && pending->fate == CALL_LOSE_ANSWER && pending->call != NULL) {
            fail(pending, "the answer is lost on purpose");
        }
    }
    note_call(pending, pending->is_done ? "ok" : "failed");
}

static gboolean
on_tried(gpointer data)
{
    Pending *pending = data;
    try(pending);
    pending->source =
        g_timeout_add_full(G_PRIORITY_DEFAULT, pending->answer_ms, answer_pending, pending, NULL);
    return G_SOURCE_REMOVE;
}

static CallFate
choose_fate(void)
{
    return fate_strikes(4)   ? CALL_FAIL
           : fate_strikes(4) ? CALL_LOSE_ANSWER
           : fate_strikes(2) ? CALL_TWICE
           : fate_strikes(8) ? CALL_HALF
                             : CALL_WELL;
}

/* A libvirt that is held up answers after seconds; now and then after the deadline. */
static guint
choose_delay_ms(void)
{
    return fate_strikes(2) ? (guint)fate_below(90 * 1000) : 1 + (guint)fate_below(8);
}

static void
begin(BerthHost *base, const BerthHostCall *call, BerthHostReply *reply, GError **error,
      BerthHostAnswer answer, gpointer user_data)
{
    SiteHost *host = (SiteHost *)base;
    Pending *pending = g_new(Pending, 1);
    *pending = (Pending){.host = host,
                         .call = call,
                         .reply = reply,
                         .error = error,
                         .answer = answer,
                         .user_data = user_data,
                         .fate = choose_fate()};
    host->refs++;
    g_ptr_array_add(host->site->pending, pending);
    guint try_ms = choose_delay_ms();
    pending->answer_ms = choose_delay_ms();
    pending->source = g_timeout_add_full(G_PRIORITY_DEFAULT, try_ms, on_tried, pending, NULL);
}

/* The connection under all calls of the site breaks: what was sent is done or not, who knows. */
static void
break_calls(Site *site)
{
    for (guint i = 0; i < site->pending->len; i++) {
        Pending *pending = site->pending->pdata[i];
        if (!pending->is_tried) {
            pending->fate = pending->call == NULL || fate_chance(50) ? CALL_FAIL : CALL_LOSE_ANSWER;
            try(pending);
        }
        fail(pending, "the connection to the host broke");
        g_source_remove(pending->source);
        pending->source = g_timeout_add_full(G_PRIORITY_DEFAULT, 1, answer_pending, pending, NULL);
    }
}

/* ---- the driver -------------------------------------------------------------------------------- */

static void
abandon(BerthHost *base)
{
    disconnect_peer((SiteHost *)base);
}

static void
free_host(BerthHost *base)
{
    SiteHost *host = (SiteHost *)base;
    host->is_freed = TRUE;
    disconnect_peer(host);
    g_ptr_array_remove(host->site->hosts, host);
    host_unref(host);
}

BerthHost *
site_host_new(const BerthHostOptions *options, const BerthHostWatch *watch, gpointer user_data,
              GError **error)
{
    static const BerthHostOps ops = {
        .channel_open = channel_open, .abandon = abandon, .free = free_host, .begin = begin};
    const char *name = strrchr(options->uri, '#');
    SiteHost *host = g_new0(SiteHost, 1);
    host->base.ops = &ops;
    host->refs = 1;
    host->site = site_get(name != NULL ? name + 1 : options->uri);
    host->fleet = g_strdup(options->fleet);
    host->watch = *watch;
    host->user_data = user_data;
    host->channels = g_hash_table_new(NULL, NULL);
    g_ptr_array_add(host->site->hosts, host);
    return &host->base;
}

/* ---- sites ------------------------------------------------------------------------------------- */

static const SimSettings *
settings(void)
{
    static SimSettings chosen = {.pool_mib = 200 * 1024, .boot_ms = 300};
    static const SimSize sizes[SIZES] = {
        {32, 1, 2, 4096, 0}, {64, 2, 3, 9216, 128}, {32, 1, 0, 3072, 0}};
    if (chosen.sizes == NULL) {
        chosen.sizes = g_array_new(FALSE, FALSE, sizeof(SimSize));
        g_array_append_vals(chosen.sizes, sizes, SIZES);
    }
    return &chosen;
}

Site *
site_get(const char *name)
{
    if (sites == NULL) {
        sites = g_hash_table_new(g_str_hash, g_str_equal);
    }
    Site *site = g_hash_table_lookup(sites, name);
    if (site == NULL) {
        site = g_new0(Site, 1);
        site->machine = sim_machine_new(name, settings());
        site->is_reachable = TRUE;
        site->hosts = g_ptr_array_new();
        site->pending = g_ptr_array_new();
        g_hash_table_insert(sites, site->machine->name, site);
    }
    return site;
}

gboolean
site_is_connected(const Site *site)
{
    for (guint i = 0; i < site->hosts->len; i++) {
        if (((SiteHost *)site->hosts->pdata[i])->peer != NULL) {
            return TRUE;
        }
    }
    return FALSE;
}

void
site_leave(Site *site)
{
    site->is_reachable = TRUE; /* calls on their way may still arrive */
    break_calls(site);
    site->is_reachable = FALSE;
    for (guint i = 0; i < site->hosts->len; i++) {
        SiteHost *host = site->hosts->pdata[i];
        if (host->peer != NULL) {
            disconnect_peer(host);
            host->watch.closed("the connection to the host broke", host->user_data);
        }
    }
}

void
site_come_back(Site *site)
{
    site->is_reachable = TRUE;
}

void
site_hurry(Site *site)
{
    for (guint i = 0; i < site->pending->len; i++) {
        Pending *pending = site->pending->pdata[i];
        g_source_remove(pending->source);
        pending->answer_ms = 1 + (guint)fate_below(8);
        pending->source =
            g_timeout_add_full(G_PRIORITY_DEFAULT, (guint)fate_below(1000),
                               pending->is_tried ? answer_pending : on_tried, pending, NULL);
    }
}

void
site_lose_power(Site *site)
{
    site_leave(site);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, site->machine->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (sim_domain_is_active(value)) {
            sim_domain_stop(value, BERTH_STOP_UNKNOWN);
        }
    }
}

void
site_cut_daemon(void)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, sites);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        break_calls(value);
    }
}

void
site_free_all(void)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, sites);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Site *site = value;
        sim_machine_free(site->machine);
        g_ptr_array_unref(site->hosts);
        g_ptr_array_unref(site->pending);
        g_free(site);
    }
    g_clear_pointer(&sites, g_hash_table_unref);
}
