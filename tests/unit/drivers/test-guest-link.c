/* The guest link with a sound guest: commands are done once, logs arrive complete and in order, whatever is cut. */
#include "tests/unit/drivers/guest-wire.h"

#include <string.h>

static void
test_greets_configures_and_runs_to_the_exit_code(void)
{
    Wire *wire = wire_new(1, TRUE);
    wire_run_pod(wire);
    g_assert_cmpstr(wire->hello.kernel, ==, "6.1");
    g_assert_cmpuint(wire->hello.config_id, ==, 0);
    g_assert_cmpuint(wire->configures, ==, 1);
    wire_say(wire);
    berth_core_output(wire->core, 0, 2, (const guint8 *)"oops", 4);
    berth_core_exited(wire->core, 0, 7, FALSE);
    wire_settle(wire);
    wire_assert_whole_log(wire);
    g_assert_cmpstr(wire->log[2]->str, ==, "oops");
    g_assert_cmpint(wire->container_code, ==, 7);
    berth_link_start(wire->link, 0, 1); /* the same run: not again */
    wire_settle(wire);
    g_assert_cmpuint(wire->starts, ==, 1);
    berth_link_start(wire->link, 0, 2);
    wire_settle(wire);
    g_assert_cmpuint(wire->starts, ==, 2);
    wire_free(wire);
}

static void
test_loses_and_doubles_nothing_over_random_cuts(void)
{
    guint32 seeds = g_test_thorough() ? 100000 : 10000;
    for (guint32 seed = 1; seed <= seeds; seed++) {
        Wire *wire = wire_new(seed, TRUE);
        wire_run_pod(wire);
        wire->signals_in_order = TRUE;
        for (int step = 0; step < 60; step++) {
            int what = g_rand_int_range(wire->rand, 0, 20);
            if (what < 9) {
                wire_say(wire);
            } else if (what == 9) {
                wire_cut(wire);
            } else if (what <= 11) {
                berth_link_signal(wire->link, 0, 1 + (int)(wire->signals_sent++ % 60));
            } else if (what == 12) {
                wire_pass_time(wire, 30000);
            } else {
                wire_move_a_piece(wire);
            }
        }
        for (int round = 0; round < 3 && wire->signals < wire->signals_sent; round++) {
            wire_settle(wire);
            wire_pass_time(wire, 11 * G_USEC_PER_SEC);
        }
        g_assert_cmpuint(wire->signals, ==, wire->signals_sent);
        g_assert_true(wire->signals_in_order);
        berth_core_exited(wire->core, 0, 3, FALSE);
        for (int round = 0; round < 3 && wire->container_ended == 0; round++) {
            wire_settle(wire);
            wire_pass_time(wire, 11 * G_USEC_PER_SEC);
        }
        wire_settle(wire);
        wire_assert_whole_log(wire);
        g_assert_cmpint(wire->container_code, ==, 3);
        g_assert_cmpuint(wire->gaps, ==, 0);
        g_assert_cmpuint(wire->readies, ==, wire->resumed + 1);
        wire_free(wire);
    }
}

static void
test_daemon_restart_goes_on_after_what_was_written(void)
{
    for (guint32 seed = 1; seed <= 500; seed++) {
        Wire *wire = wire_new(seed, TRUE);
        wire_run_pod(wire);
        for (int step = 0; step < 40; step++) {
            wire_say(wire);
            wire_move_a_piece(wire);
            if (step == 20) {
                /* killed: what was received but not acknowledged by its log file is forgotten */
                guint64 written = wire->next_sequence - 1;
                berth_link_free(wire->link);
                for (int lines = 0; lines < 5; lines++) {
                    wire_say(wire);
                }
                wire_connect(wire, written);
            }
        }
        wire_settle(wire);
        g_assert_cmpuint(wire->hello.config_id, ==, 9);
        wire_assert_whole_log(wire);
        g_assert_cmpuint(wire->configures, ==, 1);
        berth_link_stop(wire->link, 0, 1000);
        wire_settle(wire);
        g_assert_cmpint(wire->last_signal, ==, 15);
        wire_free(wire);
    }
}

static void
test_holds_the_container_back_while_nobody_writes_its_log(void)
{
    Wire *wire = wire_new(3, TRUE);
    wire_run_pod(wire);
    wire->ack_logs = FALSE;
    while (wire_say(wire)) {
        wire_move_a_piece(wire);
    }
    wire_settle(wire);
    g_assert_false(wire_say(wire));
    g_assert_cmpuint(wire->log[1]->len, <=, 256 * 1024);
    g_assert_cmpuint(wire->brokens, ==, 0);
    wire->ack_logs = TRUE;
    berth_link_log_ack(wire->link, 0, wire->next_sequence - 1);
    wire_settle(wire);
    g_assert_true(wire_say(wire));
    wire_settle(wire);
    wire_assert_whole_log(wire);
    g_assert_cmpuint(wire->gaps, ==, 0);
    wire_free(wire);
}

static void
test_counts_what_a_full_ring_drops_while_the_link_is_down(void)
{
    guint8 block[8000];
    Wire *wire = wire_new(4, TRUE);
    wire_run_pod(wire);
    wire_say(wire);
    wire_settle(wire);
    berth_link_free(wire->link);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 1000; i++) {
        g_assert_cmpuint(berth_core_output_room(wire->core, 0, 1), >=, sizeof block);
        berth_core_output(wire->core, 0, 1, block, sizeof block);
    }
    wire_connect(wire, 1);
    wire_settle(wire);
    gsize got = wire->log[1]->len - strlen("line 0 of the log\n");
    g_assert_cmpuint(wire->gaps, >, 0);
    g_assert_cmpuint(got + wire->gaps, ==, 1000 * sizeof block);
    g_assert_cmpuint(got, >, 4 * 1000 * 1000);
    g_assert_cmpuint(wire->next_sequence, ==, 1002);
    wire_free(wire);
}

static void
test_execs_have_streams_input_and_an_exit_code(void)
{
    for (guint32 seed = 1; seed <= 200; seed++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) sent = g_string_new(NULL);
        g_autoptr(GString) made = g_string_new(NULL);
        Wire *wire = wire_new(seed, TRUE);
        wire_run_pod(wire);
        BerthLinkExec wish = {.process = "{\"user\":{}}", .user = "", .stdin_open = TRUE};
        BerthProcessId id = berth_link_exec(wire->link, &wish, &error);
        g_assert_no_error(error);
        for (int i = 0; i < 4000; i++) {
            g_string_append_printf(sent, "in %d\n", i);
        }
        gsize offered = berth_link_stdin(wire->link, id, sent->str, sent->len);
        g_assert_cmpuint(offered, ==, sent->len);
        berth_link_stdin_eof(wire->link, id);
        wire_settle(wire);
        g_assert_cmpuint(wire->starts, ==, 2);
        wire->input_limit = 10000;
        berth_core_started(wire->core, id);
        for (int i = 0; i < 200; i++) {
            char line[32];
            int size = g_snprintf(line, sizeof line, "out %d\n", i);
            if (berth_core_output_room(wire->core, id, 1) >= (gsize)size) {
                berth_core_output(wire->core, id, 1, (guint8 *)line, (gsize)size);
                g_string_append(made, line);
            }
            wire_move_a_piece(wire);
            if (i % 50 == 30) {
                wire_cut(wire);
            }
        }
        g_assert_cmpuint(wire->input->len, <=, 10000);
        wire->input_limit = G_MAXSIZE;
        berth_core_input_ready(wire->core, id);
        wire_settle(wire);
        berth_core_exited(wire->core, id, 42, FALSE);
        wire_settle(wire);
        g_assert_cmpstr(wire->input->str, ==, sent->str);
        g_assert_true(wire->input_ended);
        g_assert_cmpstr(wire->output[1]->str, ==, made->str);
        g_assert_cmpuint(wire->exec_starts, ==, 1);
        g_assert_cmpint(wire->exec_code, ==, 42);
        wire_free(wire);
    }
}

static void
test_an_exec_that_nobody_reads_is_held_back_alone(void)
{
    g_autoptr(GError) error = NULL;
    guint8 block[1000] = {0};
    Wire *wire = wire_new(6, TRUE);
    wire_run_pod(wire);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    BerthProcessId id = berth_link_exec(wire->link, &wish, &error);
    wire_settle(wire);
    berth_core_started(wire->core, id);
    wire->ack_output = FALSE;
    gsize total = 0;
    while (berth_core_output_room(wire->core, id, 1) >= sizeof block) {
        berth_core_output(wire->core, id, 1, block, sizeof block);
        total += sizeof block;
        wire_settle(wire);
    }
    g_assert_cmpuint(total, <=, 32768);
    g_assert_true(wire_say(wire));
    wire_settle(wire);
    wire_assert_whole_log(wire);
    wire->ack_output = TRUE;
    berth_link_output_ack(wire->link, id, BERTH_STREAM_STDOUT, total);
    wire_settle(wire);
    g_assert_cmpuint(berth_core_output_room(wire->core, id, 1), ==, 32768);
    g_assert_cmpuint(wire->brokens, ==, 0);
    wire_free(wire);
}

static void
test_execs_of_a_daemon_that_is_gone_are_hung_up(void)
{
    Wire *wire = wire_new(12, TRUE);
    wire_run_pod(wire);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    BerthProcessId old = berth_link_exec(wire->link, &wish, NULL);
    wire_settle(wire);
    berth_core_started(wire->core, old);
    berth_core_output(wire->core, old, 1, (const guint8 *)"for nobody", 10);
    berth_link_free(wire->link);
    wire_connect(wire, 1);
    wire_settle(wire);
    g_assert_cmpint(wire->last_signal, ==, 1);
    g_assert_cmpuint(berth_core_output_room(wire->core, old, 1), >, 0); /* not held back either */
    wire_pass_time(wire, 11 * G_USEC_PER_SEC);
    g_assert_cmpint(wire->last_signal, ==, 9);
    BerthProcessId new = berth_link_exec(wire->link, &wish, NULL);
    g_assert_cmpuint(new, !=, old);
    wire_settle(wire);
    berth_core_exited(wire->core, old, 137, FALSE);
    wire_settle(wire);
    g_assert_cmpstr(wire->output[1]->str, ==, "");
    g_assert_cmpint(wire->exec_code, ==, -1);
    berth_core_started(wire->core, new);
    berth_core_exited(wire->core, new, 0, FALSE);
    wire_settle(wire);
    g_assert_cmpint(wire->exec_code, ==, 0);
    wire_free(wire);
}

static void
test_the_guest_itself_denies_exec_when_the_pod_says_so(void)
{
    Wire *wire = wire_new(13, TRUE);
    wire_settle(wire);
    wire_configure(wire, TRUE);
    berth_link_start(wire->link, 0, 1);
    wire_settle(wire);
    berth_core_started(wire->core, 0);
    BerthLinkExec wish = {.process = "{\"user\":{}}", .user = ""};
    berth_link_exec(wire->link, &wish, NULL);
    wire_settle(wire);
    g_assert_cmpuint(wire->starts, ==, 1);
    g_assert_cmpint(wire->exec_code, ==, 126);
    g_assert_nonnull(strstr(wire->error, "denied"));
    wire_free(wire);
}

static void
test_stops_with_a_time_limit_and_powers_off(void)
{
    Wire *wire = wire_new(5, TRUE);
    wire_run_pod(wire);
    berth_link_shutdown(wire->link, 3000);
    wire_settle(wire);
    g_assert_cmpint(wire->last_signal, ==, 15);
    wire_pass_time(wire, 4 * G_USEC_PER_SEC);
    g_assert_cmpint(wire->last_signal, ==, 9);
    berth_core_exited(wire->core, 0, 137, FALSE);
    wire_settle(wire);
    wire_settle(wire);
    g_assert_cmpint(wire->container_code, ==, 137);
    g_assert_cmpuint(wire->powered_off, ==, 1);
    wire_pass_time(wire, 3 * G_USEC_PER_SEC);
    g_assert_cmpuint(wire->closeds, ==, 1);
    g_assert_null(wire->error);
    wire_free(wire);
}

static void
test_a_rebooted_guest_is_a_new_session_with_the_log_going_on(void)
{
    Wire *wire = wire_new(8, TRUE);
    wire_run_pod(wire);
    wire_say(wire);
    wire_settle(wire);
    berth_core_free(g_steal_pointer(&wire->core));
    wire_cut(wire);
    wire_boot(wire);
    wire_settle(wire);
    g_assert_cmpuint(wire->readies, ==, 2);
    g_assert_cmpuint(wire->resumed, ==, 0);
    g_assert_cmpuint(wire->hello.config_id, ==, 0);
    wire_configure(wire, FALSE);
    berth_link_start(wire->link, 0, 2);
    wire_settle(wire);
    berth_core_started(wire->core, 0);
    wire_say(wire);
    wire_settle(wire);
    wire_assert_whole_log(wire); /* on_log() holds that numbers go on */
    wire_free(wire);
}

static void
test_clamps_statistics(void)
{
    Wire *wire = wire_new(9, TRUE);
    wire_run_pod(wire);
    berth_link_stats(wire->link);
    wire_settle(wire);
    g_assert_cmpuint(wire->usage.container, ==, 1);
    g_assert_cmpuint(wire->usage.cpu_us, ==, 7);
    g_assert_cmpuint(wire->usage.memory_bytes, ==, G_MAXINT64);
    wire_free(wire);
}

static void
test_gives_up_a_guest_that_never_answers(void)
{
    Wire *wire = wire_new(10, FALSE);
    for (int second = 0; second < 70; second++) {
        wire_pass_time(wire, G_USEC_PER_SEC);
        g_assert_cmpuint(wire->to_guest->len, <=, 16384);
    }
    g_assert_cmpuint(wire->closeds, ==, 1);
    g_assert_nonnull(strstr(wire->error, "did not answer"));
    wire_free(wire);
}

static void
test_cuts_a_guest_that_falls_silent(void)
{
    Wire *wire = wire_new(11, TRUE);
    wire_run_pod(wire);
    BerthCore *core = g_steal_pointer(&wire->core);
    for (int second = 0; second < 30 && wire->brokens == 0; second++) {
        wire_pass_time(wire, G_USEC_PER_SEC);
    }
    g_assert_cmpuint(wire->brokens, ==, 1);
    g_assert_nonnull(strstr(wire->error, "has not answered"));
    berth_core_free(core);
    wire_free(wire);
}

/* Who waited long for a host is there at once when the host is. */
static void
test_hurries_when_the_way_is_open_again(void)
{
    Wire *wire = wire_new(31, TRUE);
    wire_run_pod(wire);
    wire->unreachable = TRUE;
    g_autoptr(GError) error = g_error_new(BERTH_ERROR, BERTH_ERROR_UNAVAILABLE, "gone");
    wire->watch->closed(error, wire->watch_data);
    for (int i = 0; i < 60; i++) {
        wire_pass_time(wire, G_USEC_PER_SEC);
    }
    guint before = wire->opens;
    gint64 now = berth_clock_monotonic_us(&wire->clock.base);
    g_assert_cmpint(berth_link_deadline_us(wire->link), >, now);
    wire->unreachable = FALSE;
    berth_link_hurry(wire->link);
    g_assert_cmpint(berth_link_deadline_us(wire->link), ==, now);
    berth_link_tick(wire->link);
    g_assert_cmpuint(wire->opens, ==, before + 1);
    wire_settle(wire);
    g_assert_cmpint(berth_link_state(wire->link), ==, BERTH_LINK_READY);
    berth_link_hurry(wire->link); /* changes nothing about a link that is there */
    wire_settle(wire);
    g_assert_cmpuint(wire->opens, ==, before + 1);
    wire_free(wire);
}

static void
test_carries_100_mb_of_log_complete_and_in_order(void)
{
    Wire *wire = wire_new(30, TRUE);
    wire_run_pod(wire);
    guint8 block[8192];
    guint64 made = 0, target = 100 * 1000 * 1000;
    gsize before = wire_memory_in_use();
    GChecksum *sent = g_checksum_new(G_CHECKSUM_SHA1), *got = g_checksum_new(G_CHECKSUM_SHA1);
    while (made < target || wire->next_sequence <= made / sizeof block) {
        while (made < target && berth_core_output_room(wire->core, 0, 1) >= sizeof block) {
            memset(block, (int)(made / sizeof block), sizeof block);
            berth_core_output(wire->core, 0, 1, block, sizeof block);
            g_checksum_update(sent, block, sizeof block);
            made += sizeof block;
        }
        if (!wire_move_a_piece(wire)) {
            wire_pass_time(wire, 20000);
        }
        g_checksum_update(got, (guint8 *)wire->log[1]->str, (gssize)wire->log[1]->len);
        g_string_truncate(wire->log[1], 0);
    }
    g_assert_cmpstr(g_checksum_get_string(sent), ==, g_checksum_get_string(got));
    wire_assert_grew_at_most(before, 8 * 1024 * 1024);
    g_checksum_free(sent);
    g_checksum_free(got);
    wire_free(wire);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/drivers/guest-link/" path, function)
    ADD("greets-configures-and-runs-to-the-exit-code",
        test_greets_configures_and_runs_to_the_exit_code);
    ADD("loses-and-doubles-nothing-over-random-cuts",
        test_loses_and_doubles_nothing_over_random_cuts);
    ADD("daemon-restart-goes-on-after-what-was-written",
        test_daemon_restart_goes_on_after_what_was_written);
    ADD("holds-the-container-back-while-nobody-writes-its-log",
        test_holds_the_container_back_while_nobody_writes_its_log);
    ADD("counts-what-a-full-ring-drops-while-the-link-is-down",
        test_counts_what_a_full_ring_drops_while_the_link_is_down);
    ADD("execs-have-streams-input-and-an-exit-code",
        test_execs_have_streams_input_and_an_exit_code);
    ADD("an-exec-that-nobody-reads-is-held-back-alone",
        test_an_exec_that_nobody_reads_is_held_back_alone);
    ADD("execs-of-a-daemon-that-is-gone-are-hung-up",
        test_execs_of_a_daemon_that_is_gone_are_hung_up);
    ADD("the-guest-itself-denies-exec-when-the-pod-says-so",
        test_the_guest_itself_denies_exec_when_the_pod_says_so);
    ADD("stops-with-a-time-limit-and-powers-off", test_stops_with_a_time_limit_and_powers_off);
    ADD("a-rebooted-guest-is-a-new-session-with-the-log-going-on",
        test_a_rebooted_guest_is_a_new_session_with_the_log_going_on);
    ADD("clamps-statistics", test_clamps_statistics);
    ADD("gives-up-a-guest-that-never-answers", test_gives_up_a_guest_that_never_answers);
    ADD("cuts-a-guest-that-falls-silent", test_cuts_a_guest_that_falls_silent);
    ADD("hurries-when-the-way-is-open-again", test_hurries_when_the_way_is_open_again);
    ADD("carries-100-mb-of-log-complete-and-in-order",
        test_carries_100_mb_of_log_complete_and_in_order);
#undef ADD
    return g_test_run();
}
