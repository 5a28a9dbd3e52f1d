/* Both real ends of the guest link, joined by a wire that the test cuts where it likes. Time and chance are the
 * test's. */
#pragma once

#include "base/error.h"
#include "drivers/guest-link.h"
#include "guest/core.h"

typedef struct Wire Wire;

/* One pod with two scripted containers; container 0's log is what say() wrote. */
struct Wire {
    BerthManualClock clock;
    BerthSeededRandom random;
    GRand *rand;
    BerthCore *core; /* NULL: the test plays the guest by hand */
    BerthLink *link;
    struct FakeChannel *channel; /* NULL: closed */
    const BerthChannelWatch *watch;
    gpointer watch_data;
    GByteArray *to_guest, *to_daemon;
    gboolean ack_logs, ack_output;
    /* the guest's world */
    guint starts, configures, powered_off;
    int last_signal;
    guint signals, signals_sent; /* numbered 1 … 60 over and over, so that order shows */
    gboolean signals_in_order;
    GString *input;
    gsize input_limit;
    gboolean input_ended;
    guint said;
    /* what the daemon heard */
    guint64 next_sequence, gaps, lost_until;
    GString *log[3], *output[3];
    guint readies, resumed, brokens, closeds, exec_starts;
    gboolean unreachable; /* the host of the guest: no channel can be had */
    guint opens;
    int exec_code, container_code;
    guint container_ended, container_failed;
    char *container_text;
    guint32 heard; /* the last sequence that came to a guest played by hand */
    BerthLinkHello hello;
    char *error;
    BerthLinkUsage usage;
};

/* @real_guest: a core with a scripted runtime at the other end; else the test plays the guest by hand. */
Wire *wire_new(guint32 seed, gboolean real_guest);
void wire_free(Wire *wire);
/* A daemon begins (again), which has the log up to @sequence. */
void wire_connect(Wire *wire, guint64 sequence);
/* The guest boots (again). */
void wire_boot(Wire *wire);
/* Some bytes of one direction arrive. FALSE: nothing was under way. */
gboolean wire_move_a_piece(Wire *wire);
void wire_pass_time(Wire *wire, gint64 us);
/* Until nothing moves any more, then past the delays of acknowledgements, a few times over. */
void wire_settle(Wire *wire);
/* The stream ends wherever it happens to be; what is under way is lost, or its head stays behind. */
void wire_cut(Wire *wire);
void wire_configure(Wire *wire, gboolean exec_denied);
/* Configures the pod and runs its first container. */
void wire_run_pod(Wire *wire);
/* A line of container 0, as far as it is not held back. */
gboolean wire_say(Wire *wire);
/* What was said is what the daemon heard. */
void wire_assert_whole_log(const Wire *wire);
gsize wire_memory_in_use(void);
/* Since wire_memory_in_use() gave @before. */
void wire_assert_grew_at_most(gsize before, gsize bytes);
