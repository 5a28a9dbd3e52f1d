/* The daemon's end of the guest link: opening, sessions and time. Main loop only. Invariant: while
 * READY there is a channel, and the lane belongs to the session with the guest's boot_nonce; whatever
 * the guest does, this end holds one decoder, one lane, the log's window and what the owner queued.
 * Start reading at on_received() and berth_link_tick(). */
#include "drivers/guest-link-private.h"

#include <string.h>

#define BACKOFF_MIN_US 100000
#define BACKOFF_MAX_US 10000000
/* A link that held this long was sound: the next break starts with a short back-off again. */
#define SOUND_US 30000000
#define HELLO_AGAIN_US 5000000
#define PARTIAL_HUNT_US 200000
#define PARTIAL_READY_US 10000000
/* A guest that is quiet this long is asked; one that does not answer then is cut. */
#define PING_US 5000000
#define SILENT_US 15000000
#define BYE_US 2000000
#define HUNT_MAX (1024 * 1024)
/* Frames that cost the guest no credit, and log that does: more than this is held back or cut. */
#define FRAMES_PER_S 20000
#define LOG_BYTES_PER_S (64.0 * 1024 * 1024)

gint64
link_now(const BerthLink *link)
{
    return berth_clock_monotonic_us(link->clock);
}

/** Takes @amount. Returns: what is left; below zero the guest was too fast. */
double
link_bucket_take(Bucket *bucket, gint64 now, double amount)
{
    bucket->tokens += bucket->per_s * (double)(now - bucket->filled_us) / G_USEC_PER_SEC;
    bucket->filled_us = now;
    bucket->tokens = MIN(bucket->tokens, bucket->burst) - amount;
    return bucket->tokens;
}

static gint64
earliest(gint64 a, gint64 b)
{
    return a < b ? a : b;
}

/** Returns: when berth_link_tick() is needed next; G_MAXINT64: only after the next event. */
gint64
berth_link_deadline_us(const BerthLink *link)
{
    const gint64 times[] = {link->retry_at,   link->hello_again_at, link->give_up_at,
                            link->partial_at, link->ping_at,        link->ack_at,
                            link->bye_at,     link->due_at};
    gint64 deadline = G_MAXINT64;
    if (link->state == BERTH_LINK_ENDED) {
        return deadline;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(times); i++) {
        deadline = earliest(deadline, times[i]);
    }
    return deadline;
}

/** The next tick may be due at another time than before. */
void
link_rearm(BerthLink *link)
{
    if (link->alarm != NULL) {
        berth_alarm_set(link->alarm, berth_link_deadline_us(link));
    }
}

static void
close_channel(BerthLink *link)
{
    if (link->channel != NULL) {
        berth_channel_close(g_steal_pointer(&link->channel));
    }
    link->hello_again_at = link->partial_at = link->ping_at = G_MAXINT64;
    link->ack_at = link->bye_at = G_MAXINT64;
    berth_decoder_reset(&link->decoder);
}

static void
destroy(BerthLink *link)
{
    for (guint i = 0; i < BERTH_LINK_CONTAINERS_MAX; i++) {
        g_array_unref(link->containers[i].unacked);
        link_input_clear(&link->containers[i].input);
    }
    g_hash_table_unref(link->execs);
    g_queue_clear_full(&link->pending, link_message_free);
    g_clear_error(&link->violation);
    g_free(link);
}

/* Callbacks may free the link: nobody touches it behind leave(). */
static void
enter(BerthLink *link)
{
    link->depth++;
}

static void
leave(BerthLink *link)
{
    if (--link->depth == 0 && link->freed) {
        destroy(link);
    } else if (!link->freed) {
        link_rearm(link);
    }
}

/** The link is over: tells the owner; only berth_link_free() is left. */
void
link_end(BerthLink *link, const GError *error)
{
    if (link->state == BERTH_LINK_ENDED || link->freed) {
        return;
    }
    close_channel(link);
    link->state = BERTH_LINK_ENDED;
    link_fail_execs(link, "the guest link has ended");
    if (!link->freed && link->watch.closed != NULL) {
        link->watch.closed(error, link->user_data);
    }
}

/* Cuts the link and plans the next opening. Takes @error. */
static void
cut(BerthLink *link, GError *error)
{
    g_autoptr(GError) why = error;
    gint64 now = link_now(link);
    if (link->state == BERTH_LINK_ENDED || link->freed) {
        return;
    }
    if (link->bye) {
        link_end(link, NULL);
        return;
    }
    close_channel(link);
    if (link->state == BERTH_LINK_READY && now - link->ready_since >= SOUND_US) {
        link->backoff_us = BACKOFF_MIN_US;
    }
    link->state = BERTH_LINK_CONNECTING;
    link->force = g_error_matches(why, BERTH_ERROR, BERTH_ERROR_CONFLICT);
    link->retry_at = now + link->backoff_us;
    link->backoff_us = MIN(link->backoff_us * 2, BACKOFF_MAX_US);
    link->counters.reopened++;
    if (link->watch.broken != NULL) {
        link->watch.broken(why, link->user_data);
    }
}

/* ---- bytes -------------------------------------------------------------------------------------- */

static void
read_frames(BerthLink *link)
{
    BerthFrame frame;
    while (!link->freed && link->channel != NULL && link->violation == NULL &&
           berth_decoder_next(&link->decoder, &frame)) {
        link->counters.frames_in++;
        link_take_frame(link, &frame);
    }
}

static void
check_garbage(BerthLink *link, guint64 before)
{
    guint64 garbage = link->decoder.garbage - before;
    link->counters.garbage += garbage;
    link->hunted += garbage;
    if (garbage > 0 && link->state == BERTH_LINK_READY && link->violation == NULL) {
        berth_error_set(&link->violation, BERTH_ERROR_CORRUPT,
                        "the guest sent %" G_GUINT64_FORMAT " bytes that are no frame", garbage);
    } else if (link->hunted > HUNT_MAX && link->violation == NULL) {
        berth_error_set(&link->violation, BERTH_ERROR_CORRUPT,
                        "the guest sent %zu bytes without a greeting", link->hunted);
    }
}

static void
take_bytes(BerthLink *link, const guint8 *data, gsize size)
{
    while (size > 0 && !link->freed && link->channel != NULL && link->violation == NULL) {
        BerthLinkState before = link->state;
        guint64 garbage = link->decoder.garbage;
        gsize taken = berth_decoder_feed(&link->decoder, data, size);
        data += taken;
        size -= taken;
        read_frames(link);
        if (link->freed || link->channel == NULL) {
            return;
        }
        /* Remains of an older opener may lie before the greeting that came with the same bytes. */
        if (before == link->state) {
            check_garbage(link, garbage);
        }
    }
}

static void
watch_partial(BerthLink *link)
{
    gint64 wait = link->state == BERTH_LINK_READY ? PARTIAL_READY_US : PARTIAL_HUNT_US;
    if (link->channel == NULL || !berth_decoder_is_partial(&link->decoder)) {
        link->partial_at = G_MAXINT64;
    } else if (link->partial_at == G_MAXINT64) {
        link->partial_at = link_now(link) + wait;
    }
}

static void
settle(BerthLink *link)
{
    if (link->freed) {
        return;
    }
    if (link->violation != NULL) {
        cut(link, g_steal_pointer(&link->violation));
        return;
    }
    watch_partial(link);
    link_flush(link);
}

static void
on_received(const guint8 *data, gsize size, gpointer user_data)
{
    BerthLink *link = user_data;
    if (link->channel == NULL) {
        return;
    }
    enter(link);
    guint64 frames = link->counters.frames_in;
    link->counters.bytes_in += size;
    take_bytes(link, data, size);
    if (link->counters.frames_in != frames) {
        link->partial_at = G_MAXINT64; /* counts from the frame that has begun last */
    }
    settle(link);
    leave(link);
}

static void
on_closed(const GError *error, gpointer user_data)
{
    BerthLink *link = user_data;
    if (link->channel == NULL) {
        return;
    }
    enter(link);
    cut(link, error != NULL ? g_error_copy(error)
                            : g_error_new(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE,
                                          "the guest's channel was closed"));
    leave(link);
}

/* ---- time --------------------------------------------------------------------------------------- */

static void
open_channel(BerthLink *link)
{
    static const BerthChannelWatch watch = {on_received, on_closed};
    link->retry_at = G_MAXINT64;
    link->attempt++;
    link->hunted = 0;
    link->greetings = 1;
    link->channel = link->open(link->force, &watch, link, link->open_data);
    if (link->channel == NULL) {
        cut(link, g_error_new(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE,
                              "the guest's channel can't be opened"));
        return;
    }
    link->hello_again_at = link_now(link) + HELLO_AGAIN_US;
    link_send_hello(link);
}

/* A frame that never ends. While hunting it is the remains of an older opener: look behind its head. */
static void
end_partial(BerthLink *link)
{
    link->partial_at = G_MAXINT64;
    if (link->state == BERTH_LINK_READY) {
        cut(link, g_error_new(BERTH_ERROR, BERTH_ERROR_TIMEOUT,
                              "the guest did not finish a frame in %d s",
                              PARTIAL_READY_US / (int)G_USEC_PER_SEC));
        return;
    }
    guint64 garbage = link->decoder.garbage;
    berth_decoder_skip(&link->decoder);
    read_frames(link);
    if (!link->freed && link->channel != NULL && link->state != BERTH_LINK_READY) {
        check_garbage(link, garbage);
    }
    settle(link);
}

static void
say_hello_again(BerthLink *link)
{
    /* The credit toward the guest holds for greetings too. */
    if (++link->greetings == BERTH_UNACKED_FRAMES) {
        cut(link, g_error_new(BERTH_ERROR, BERTH_ERROR_TIMEOUT, "the guest does not answer"));
        return;
    }
    link->hello_again_at = link_now(link) + HELLO_AGAIN_US;
    link_send_hello(link);
}

/* Every few seconds: ask a guest that is quiet, cut one that does not answer. */
static void
check_life(BerthLink *link, gint64 now)
{
    gint64 quiet = now - link->heard_us;
    link->ping_at = now + PING_US;
    if (quiet >= SILENT_US && !berth_lane_is_idle(&link->lane)) {
        cut(link,
            g_error_new(BERTH_ERROR, BERTH_ERROR_TIMEOUT, "the guest has not answered for %d s",
                        SILENT_US / (int)G_USEC_PER_SEC));
    } else if (quiet >= PING_US && berth_lane_is_idle(&link->lane)) {
        BerthWriter nothing = {0};
        link_push(link, BERTH_FRAME_ACK, 0, &nothing);
    }
}

static void
tick_ready(BerthLink *link, gint64 now)
{
    if (link->bye_at <= now) {
        link_end(link, NULL);
        return;
    }
    if (link->ping_at <= now) {
        check_life(link, now);
    }
    link_flush(link);
}

static void
tick_now(BerthLink *link, gint64 now)
{
    if (link->give_up_at <= now) {
        g_autoptr(GError) error = g_error_new(BERTH_ERROR, BERTH_ERROR_TIMEOUT,
                                              "the guest did not answer after its start");
        link_end(link, error);
    } else if (link->retry_at <= now) {
        open_channel(link);
    } else if (link->partial_at <= now) {
        end_partial(link);
    } else if (link->state == BERTH_LINK_READY) {
        tick_ready(link, now);
    } else if (link->hello_again_at <= now) {
        say_hello_again(link);
    }
}

/** Does what time asks for. */
void
berth_link_tick(BerthLink *link)
{
    gint64 now = link_now(link);
    enter(link);
    if (link->due_at <= now) {
        link_give_up_late(link);
    }
    if (link->state != BERTH_LINK_ENDED && !link->freed) {
        tick_now(link, now);
    }
    leave(link);
}

/** The way to the guest is open again: a reopening that waits is due now. */
void
berth_link_hurry(BerthLink *link)
{
    if (link->state == BERTH_LINK_CONNECTING && link->retry_at != G_MAXINT64) {
        link->backoff_us = BACKOFF_MIN_US;
        link->retry_at = link_now(link);
        link_rearm(link);
    }
}

static void
tick(gpointer data)
{
    berth_link_tick(data);
}

/** From now on the default main context calls berth_link_tick() when it is due; for the system clock. */
void
berth_link_attach(BerthLink *link)
{
    if (link->alarm == NULL) {
        link->alarm = berth_alarm_new(tick, link);
        link_rearm(link);
    }
}

/* ---- life --------------------------------------------------------------------------------------- */

static void
start_clocks(BerthLink *link, const BerthLinkOptions *options)
{
    gint64 now = link_now(link);
    link->hello_again_at = link->partial_at = link->ping_at = G_MAXINT64;
    link->ack_at = link->bye_at = link->due_at = G_MAXINT64;
    link->backoff_us = BACKOFF_MIN_US;
    link->retry_at = now;
    link->give_up_at =
        options->hello_deadline_us > 0 ? now + options->hello_deadline_us : G_MAXINT64;
    link->frames = (Bucket){FRAMES_PER_S, FRAMES_PER_S, FRAMES_PER_S, now};
    link->log_bytes = (Bucket){LOG_BYTES_PER_S / 4, LOG_BYTES_PER_S / 4, LOG_BYTES_PER_S, now};
}

/**
 * berth_link_new:
 * @watch: copied
 *
 * Makes a link and opens its channel at the first tick. Returns: (transfer full).
 */
BerthLink *
berth_link_new(const BerthLinkOptions *options, const BerthLinkWatch *watch, gpointer user_data)
{
    BerthLink *link = g_new0(BerthLink, 1);
    link->open = options->open;
    link->open_data = options->open_data;
    link->clock = options->clock;
    link->random = options->random;
    link->watch = *watch;
    link->user_data = user_data;
    link->nonce = berth_random_u64(link->random) | 1;
    /* Execs of the daemon before may still be dying in the guest: their ids must not come again. */
    link->next_exec = BERTH_EXEC_ID_MIN + (guint32)berth_random_below(link->random, 1u << 30);
    link->execs = g_hash_table_new_full(NULL, NULL, NULL, link_exec_free);
    berth_lane_init(&link->lane);
    for (guint i = 0; i < BERTH_LINK_CONTAINERS_MAX; i++) {
        link->containers[i].unacked = g_array_new(FALSE, FALSE, sizeof(Unacked));
        link->containers[i].ack_at = G_MAXINT64;
    }
    link->container_count = (guint)MIN(options->resume_count, BERTH_LINK_CONTAINERS_MAX);
    for (guint i = 0; i < link->container_count; i++) {
        Container *container = &link->containers[i];
        g_strlcpy(container->name, options->resume[i].container, sizeof container->name);
        container->received = container->durable = container->told = options->resume[i].sequence;
    }
    start_clocks(link, options);
    return link;
}

/** Closes the channel and forgets the session; the pod goes on. No callback comes afterwards. */
void
berth_link_free(BerthLink *link)
{
    if (link == NULL || link->freed) {
        return;
    }
    close_channel(link);
    link->freed = TRUE;
    g_clear_pointer(&link->alarm, berth_alarm_free);
    if (link->depth == 0) {
        destroy(link);
    }
}

BerthLinkState
berth_link_state(const BerthLink *link)
{
    return link->state;
}

/** Returns: (transfer none): what came and went so far. */
const BerthLinkCounters *
berth_link_counters(const BerthLink *link)
{
    return &link->counters;
}
