/* Faults on purpose: a decorator over any host driver. For tests and for daemons built for tests. */
#pragma once

#include "drivers/host.h"

G_BEGIN_DECLS

/**
 * BerthFaults: a script of faults, shared by any number of hosts. Thread-safe.
 *
 * Rules are separated by ';' or by lines: ACTION VERB[#N|%P][=CODE]
 *   fail         the call is not made; answers CODE (an error's name; "unavailable" when left out)
 *   drop         the call is made, its answer is lost: answers CODE
 *   hold         the call waits before it is made, until berth_faults_release()
 *   hang         the call is made and then waits likewise
 *   repeat       the call is made twice
 *   kill-before  the process is killed (SIGKILL) instead of making the call
 *   kill-after   … after it was made, before anybody learns its answer
 * VERB is a verb's name ("define"), "connect", "changes" for all that change something, or "*".
 * #N: only the N-th such call, from 1; %P: with a chance of P percent; neither: all of them.
 * Settings: seed=N for the chances, trace=FILE appends "number verb uuid" before each call.
 *
 * Example: "seed=7; fail define%10=exhausted; kill-before changes#17"
 */
typedef struct BerthFaults BerthFaults;

BerthFaults *berth_faults_parse(const char *script, GError **error);
void berth_faults_free(BerthFaults *faults);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthFaults, berth_faults_free)

void berth_faults_release(BerthFaults *faults);
guint berth_faults_waiting(BerthFaults *faults);
guint64 berth_faults_calls(BerthFaults *faults);

/* What BerthHostOptions.data points to for berth_host_faulty_new(). Borrowed, outlives the host. */
typedef struct {
    BerthHostFactory inner;
    gpointer inner_data; /* BerthHostOptions.data of the inner one */
    BerthFaults *faults;
} BerthFaultyOptions;

BerthHost *berth_host_faulty_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                                 gpointer user_data, GError **error);

G_END_DECLS
