/* The guest link's insides, shared by guest-link.c (channel, sessions, time), guest-link-send.c (what
 * the daemon says), guest-link-receive.c (what the guest says) and guest-link-late.c (what it never says). */
#pragma once

#include "base/alarm.h"
#include "base/error.h"
#include "drivers/guest-link.h"
#include "guest/lane.h"

#define LOG_WINDOW (256 * 1024)
/* Acknowledgements wait this long for more to come, unless a good part of the credit is used. */
#define ACK_DELAY_US 20000
#define ACK_LOG_COST (LOG_WINDOW / 8)
#define ACK_OUTPUT_BYTES (BERTH_OUTPUT_WINDOW / 4)
/* A guest may answer everything but what matters. So long it has to begin an exec, and for each piece of the
 * output or log that it announced when something ended. */
#define PATIENCE_US 30000000

/* Refills steadily up to a burst; may go below zero. */
typedef struct {
    double tokens, burst, per_s;
    gint64 filled_us;
} Bucket;

/* A frame that waits for credit. */
typedef struct {
    guint8 type;
    guint32 stream;
    GBytes *payload; /* owned */
} Message;

/* Input of one process that has not been consumed by it. */
typedef struct {
    GByteArray *waiting; /* owned; not sent yet; NULL when nothing ever came */
    guint64 sent, consumed;
    gboolean end_asked, end_sent, room_asked;
} Input;

typedef struct {
    guint64 sequence;
    gsize cost;
} Unacked;

typedef struct {
    char name[64];
    guint64 received, durable, told;
    GArray *unacked; /* owned, of Unacked; received and not durable */
    gint64 ack_at;
    gsize ack_cost; /* became durable since the last LOG_ACK */
    gboolean state_held;
    guint64 state_after; /* sequence that must have come before the state is handed on */
    gint64 due_us;       /* while held: when nobody waits for that any longer */
    BerthLinkContainer state;
    char text[161];
    Input input;
} Container;

typedef struct {
    BerthProcessId id;
    gboolean started, ended;
    guint64 received[2], acked[2], told[2];
    guint64 ends[2]; /* when ended: where its output ends */
    gint64 ack_at;
    gint64 due_us; /* when nobody waits for its start, or, once ended, for its output any longer */
    int exit_code;
    gboolean failed;
    char text[161];
    Input input;
} Exec;

struct BerthLink {
    BerthLinkOpen open;
    gpointer open_data;
    BerthClock *clock;
    BerthRandom *random;
    BerthLinkWatch watch;
    gpointer user_data;

    BerthLinkState state;
    BerthChannel *channel; /* owned; NULL: closed */
    guint depth;           /* callbacks in progress */
    gboolean freed;
    BerthAlarm *alarm; /* owned; berth_link_attach() */

    /* session */
    guint64 nonce, attempt, boot_nonce;
    BerthDecoder decoder;
    BerthLane lane;
    gboolean force, bye;
    gsize hunted;    /* bytes thrown away before this opening's HELLO */
    guint greetings; /* HELLOs said in this opening */

    /* time: monotonic; G_MAXINT64: not running */
    gint64 retry_at, backoff_us, hello_again_at, give_up_at, partial_at, ready_since;
    gint64 heard_us, ping_at, ack_at, bye_at;
    gint64 due_at; /* the first due_us; may be that of what has come since */

    GQueue pending; /* of Message* */
    Container containers[BERTH_LINK_CONTAINERS_MAX];
    guint container_count;
    gsize log_in_flight; /* cost of what is in the containers' unacked */
    GHashTable *execs;   /* owned; id -> Exec* */
    BerthProcessId next_exec;
    Bucket frames, log_bytes;
    BerthLinkCounters counters;
    GError *violation; /* owned; set while frames are read: the link is cut after that */
};

/* guest-link.c */
gint64 link_now(const BerthLink *link);
void link_rearm(BerthLink *link);
void link_end(BerthLink *link, const GError *error);
double link_bucket_take(Bucket *bucket, gint64 now, double amount);

/* guest-link-send.c */
void link_push(BerthLink *link, BerthFrameType type, guint32 stream, const BerthWriter *writer);
void link_send_hello(BerthLink *link);
void link_flush(BerthLink *link);
void link_reset_sending(BerthLink *link);
Input *link_input(BerthLink *link, BerthProcessId process);
void link_input_clear(Input *input);
void link_exec_free(gpointer data);
void link_message_free(gpointer data);

/* guest-link-receive.c */
void link_take_frame(BerthLink *link, const BerthFrame *frame);
void link_fail_execs(BerthLink *link, const char *why);
void link_hand_on_state(BerthLink *link, guint index);
void link_release_exec(BerthLink *link, const Exec *exec);

/* guest-link-late.c */
void link_be_patient(BerthLink *link, gint64 *due_us);
void link_give_up_late(BerthLink *link);
