/* Boots the guest OS under plain QEMU and uses it through the daemon's end of the guest link.
 *
 *   guest-boot --machine q35|microvm --kernel FILE --initrd FILE --image SQUASHFS
 *
 * TAP on standard output. Every wait has a deadline, and QEMU is a child that ends with us. */
#include "drivers/pod-config.h"
#include "tests/integration/guest-rig.h"
#include "tests/integration/socket-channel.h"

#include <string.h>

static guint tests_done, tests_failed;

static void
result(gboolean ok, const char *name, const char *detail)
{
    tests_done++;
    tests_failed += !ok;
    g_print("%sok %u %s%s%s\n", ok ? "" : "not ", tests_done, name, ok || !detail ? "" : " # ",
            ok || !detail ? "" : detail);
}

/* ---- conditions --------------------------------------------------------------------------------- */

static gboolean
is_ready(Rig *rig, gpointer data)
{
    return rig->ready || rig->closed;
}

static gboolean
is_configured(Rig *rig, gpointer data)
{
    return rig->configured;
}

static gboolean
has_ended(Rig *rig, gpointer data)
{
    const Heard *heard = &rig->containers[GPOINTER_TO_UINT(data)];
    return heard->state >= BERTH_CONTAINER_EXITED;
}

static gboolean
is_running(Rig *rig, gpointer data)
{
    return rig->containers[GPOINTER_TO_UINT(data)].state >= BERTH_CONTAINER_RUNNING;
}

static gboolean
exec_has_ended(Rig *rig, gpointer data)
{
    return rig->exec_ended;
}

static gboolean
exec_says(Rig *rig, gpointer data)
{
    return strstr(rig->exec_out->str, data) != NULL || rig->exec_ended;
}

static gboolean
usage_came(Rig *rig, gpointer data)
{
    return rig->usage_came;
}

/* ---- the pod ------------------------------------------------------------------------------------ */

static const char *const image_env[] = {"PATH=/bin", NULL};
static const BerthImageConfig image_config = {.env = image_env, .workdir = "/work"};

enum { SPLIT, MAIN, MISSING, LOG, BOMB, MEMORY, FILL, AGAIN, TERMINAL };

static const struct {
    const char *name, *script;
    guint64 memory_mib, pids_max;
    gboolean tty;
} plans[RIG_CONTAINERS] = {
    [SPLIT] = {"split", "echo out; echo err >&2; exit 7", 0, 0, FALSE},
    [MAIN] = {"main",
              "trap 'exit 5' TERM; hostname; cat /etc/hosts; pwd; "
              "while :; do sleep 1; done",
              0, 0, FALSE},
    [MISSING] = {"missing", NULL, 0, 0, FALSE},
    [LOG] = {"log", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", 0, 0, FALSE},
    [BOMB] = {"bomb", "echo go; bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done", 0, 64,
              FALSE},
    [MEMORY] = {"memory", "tail /dev/zero; exit 9", 24, 0, FALSE},
    [FILL] = {"fill", "dd if=/dev/zero of=/big bs=1M count=2000; exit 8", 0, 0, FALSE},
    [AGAIN] = {"again", "echo run >> /runs; wc -l < /runs", 0, 0, FALSE},
    [TERMINAL] = {"terminal", "test -t 0 && echo is a terminal; read line; echo read $line", 0, 0,
                  TRUE},
};

static void
configure(Rig *rig)
{
    BerthLinkContainerPlan containers[RIG_CONTAINERS] = {0};
    BerthContainerSetup *setups[RIG_CONTAINERS];
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < RIG_CONTAINERS; i++) {
        const char *const shell[] = {"sh", "-c", plans[i].script, NULL};
        const char *const missing[] = {"/bin/there-is-no-such", NULL};
        BerthContainerWish wish = {.name = plans[i].name,
                                   .command = plans[i].script != NULL ? shell : missing,
                                   .memory_mib = plans[i].memory_mib,
                                   .pids_max = plans[i].pids_max,
                                   .tty = plans[i].tty};
        setups[i] = berth_container_setup_new(&image_config, &wish, &error);
        g_assert_no_error(error);
        containers[i] = (BerthLinkContainerPlan){.name = plans[i].name,
                                                 .image_serial = "img0",
                                                 .config = setups[i]->config,
                                                 .user = setups[i]->user,
                                                 .stop_signal = setups[i]->stop_signal,
                                                 .tty = plans[i].tty,
                                                 .stdin_open = plans[i].tty};
    }
    const char *const dns[] = {"10.0.2.3", NULL}, *const search[] = {"example.test", NULL};
    BerthLinkNic nic = {"52:54:00:00:00:07", "10.0.2.15/24", "10.0.2.2"};
    BerthLinkConfig config = {.id = 1,
                              .hostname = "box",
                              .dns = dns,
                              .search = search,
                              .nics = &nic,
                              .nic_count = 1,
                              .containers = containers,
                              .container_count = RIG_CONTAINERS};
    berth_link_configure(rig->link, &config, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < RIG_CONTAINERS; i++) {
        berth_container_setup_free(setups[i]);
    }
}

static gboolean
run_to_end(Rig *rig, guint container, guint32 run, guint seconds)
{
    rig->containers[container].state = BERTH_CONTAINER_WAITING;
    berth_link_start(rig->link, container, run);
    return rig_wait(rig, has_ended, GUINT_TO_POINTER(container), seconds);
}

static BerthProcessId
begin_exec(Rig *rig, const char *script, const char *user, gboolean tty)
{
    const char *const command[] = {"sh", "-c", script, NULL};
    g_autoptr(GError) error = NULL;
    BerthContainerWish wish = {.name = plans[MAIN].name};
    g_autofree char *process =
        berth_exec_setup(&image_config, &wish, command, NULL, NULL, tty, &error);
    BerthLinkExec exec = {.container = MAIN,
                          .process = process,
                          .user = user,
                          .tty = tty,
                          .stdin_open = TRUE,
                          .rows = 24,
                          .columns = 80};
    g_string_truncate(rig->exec_out, 0);
    g_string_truncate(rig->exec_err, 0);
    rig->exec_started = rig->exec_ended = FALSE;
    g_clear_pointer(&rig->exec_error, g_free);
    BerthProcessId id = berth_link_exec(rig->link, &exec, &error);
    g_assert_no_error(error);
    return id;
}

static gboolean
exec_gives(Rig *rig, const char *script, const char *user, const char *out, int code)
{
    begin_exec(rig, script, user, FALSE);
    gboolean ended = rig_wait(rig, exec_has_ended, NULL, 30);
    gboolean ok = ended && rig->exec_code == code && g_str_equal(rig->exec_out->str, out);
    if (!ok) {
        g_print("# '%s': ended %d code %d out '%s' err '%s' error '%s'\n", script, ended,
                rig->exec_code, rig->exec_out->str, rig->exec_err->str,
                rig->exec_error ? rig->exec_error : "");
    }
    return ok;
}

static gboolean
answers(Rig *rig)
{
    rig->usage_came = FALSE;
    berth_link_stats(rig->link);
    return rig_wait(rig, usage_came, NULL, 20);
}

/* ---- the tests ---------------------------------------------------------------------------------- */

static void
test_streams_and_codes(Rig *rig)
{
    run_to_end(rig, SPLIT, 1, 60);
    Heard *split = &rig->containers[SPLIT];
    g_print("# init %.0f ms and port %.0f ms after the kernel began; hello after %.0f ms; first "
            "byte %.0f ms after hello, %.0f ms after QEMU's start\n",
            rig->hello.init_us / 1e3, rig->hello.port_us / 1e3,
            (rig->ready_us - rig->started_us) / 1e3, (split->first_byte_us - rig->ready_us) / 1e3,
            (split->first_byte_us - rig->started_us) / 1e3);
    result(g_str_equal(split->out->str, "out\n") && g_str_equal(split->err->str, "err\n"),
           "stdout and stderr come apart", split->text);
    result(split->state == BERTH_CONTAINER_EXITED && split->code == 7, "exit code is 7",
           split->text);
    run_to_end(rig, MISSING, 1, 30);
    Heard *missing = &rig->containers[MISSING];
    g_print("# missing program: %d '%s'\n", missing->code, missing->text ? missing->text : "");
    result(missing->state == BERTH_CONTAINER_FAILED && missing->code == 127,
           "a missing program is 127", missing->text);
    run_to_end(rig, AGAIN, 1, 30);
    run_to_end(rig, AGAIN, 2, 30);
    result(g_str_equal(rig->containers[AGAIN].out->str, "1\n2\n"),
           "a second run keeps what the first wrote", rig->containers[AGAIN].out->str);
}

static void
test_terminal_container(Rig *rig)
{
    berth_link_start(rig->link, TERMINAL, 1);
    berth_link_stdin(rig->link, TERMINAL, "hello\n", 6);
    gboolean ended = rig_wait(rig, has_ended, GUINT_TO_POINTER(TERMINAL), 30);
    const char *out = rig->containers[TERMINAL].out->str;
    result(ended && strstr(out, "is a terminal") && strstr(out, "read hello\r\n"),
           "a container with a terminal reads input", out);
}

static void
test_execs(Rig *rig)
{
    berth_link_start(rig->link, MAIN, 1);
    result(rig_wait(rig, is_running, GUINT_TO_POINTER(MAIN), 30), "a second container runs", NULL);
    result(exec_gives(rig, "echo a; echo b >&2; exit 3", "", "a\n", 3) &&
               g_str_equal(rig->exec_err->str, "b\n"),
           "exec has streams and a code", NULL);
    result(exec_gives(rig, "id -u; id -g", "nobody", "65534\n65534\n", 0), "exec as a user by name",
           NULL);
    result(exec_gives(rig, "id -G", "tom", "1000 7\n", 0), "groups come from the image", NULL);
    result(
        exec_gives(rig, "grep -c CapEff:.0000000000000000 /proc/self/status", "nobody", "1\n", 0),
        "others than root have no capabilities", NULL);
    result(exec_gives(rig, "grep CapEff /proc/self/status", "", "CapEff:\t00000000a80425fb\n", 0),
           "root has the usual capabilities", NULL);
    result(exec_gives(rig, "cat /proc/self/oom_score_adj /proc/1/oom_score_adj", "", "0\n0\n", 0),
           "the kernel may choose containers when memory is short", NULL);
    result(exec_gives(rig,
                      "hostname; pwd; ip -4 -o addr show eth0 | grep -c 10.0.2.15/24; "
                      "ip route | grep -c 'default via 10.0.2.2'; cat /etc/resolv.conf",
                      "", "box\n/work\n1\n1\nnameserver 10.0.2.3\nsearch example.test\n", 0),
           "host name, folder, address, route and resolver", NULL);
    begin_exec(rig, "nothing", "nosuchuser", FALSE);
    rig_wait(rig, exec_has_ended, NULL, 30);
    result(rig->exec_error && strstr(rig->exec_error, "no user 'nosuchuser'"),
           "an unknown user is refused", rig->exec_error);
    BerthProcessId id = begin_exec(rig, "wc -c", "", FALSE);
    g_autofree char *block = g_strnfill(60000, 'x');
    berth_link_stdin(rig->link, id, block, 60000);
    berth_link_stdin_eof(rig->link, id);
    result(rig_wait(rig, exec_has_ended, NULL, 30) && g_str_equal(rig->exec_out->str, "60000\n"),
           "exec reads its input to the end", rig->exec_out->str);
    begin_exec(rig, "i=0; while [ $i -lt 5000 ]; do echo line $i of the output; i=$((i+1)); done",
               "", FALSE);
    result(rig_wait(rig, exec_has_ended, NULL, 60) && rig->exec_out->len == 5000 * 20 + 18890 &&
               g_str_has_suffix(rig->exec_out->str, "line 4999 of the output\n"),
           "exec's output is whole", rig->exec_out->str + MAX(0, (int)rig->exec_out->len - 40));
}

static void
test_terminals_and_signals(Rig *rig)
{
    /* Its size reaches a terminal a moment after the program has it. */
    BerthProcessId id = begin_exec(rig,
                                   "until [ \"$(stty size 2>/dev/null)\" = '24 80' ]; do :; done; "
                                   "trap 'stty size; exit 4' WINCH; stty size; "
                                   "while :; do sleep 0.2; done",
                                   "", TRUE);
    result(rig_wait(rig, exec_says, (gpointer) "24 80\r\n", 30),
           "exec has a terminal of the size asked for", rig->exec_out->str);
    berth_link_resize(rig->link, id, 50, 132);
    result(rig_wait(rig, exec_has_ended, NULL, 30) && strstr(rig->exec_out->str, "50 132") &&
               rig->exec_code == 4,
           "a resize reaches the program", rig->exec_out->str);
    id = begin_exec(rig, "trap 'echo got it; exit 6' USR1; echo up; while :; do sleep 0.2; done",
                    "", FALSE);
    rig_wait(rig, exec_says, (gpointer) "up\n", 30);
    berth_link_signal(rig->link, id, SIGUSR1);
    result(rig_wait(rig, exec_has_ended, NULL, 30) && rig->exec_code == 6, "a signal arrives",
           rig->exec_out->str);
    id = begin_exec(rig, "echo up; sleep 100", "", FALSE);
    rig_wait(rig, exec_says, (gpointer) "up\n", 30);
    berth_link_signal(rig->link, id, SIGKILL);
    result(rig_wait(rig, exec_has_ended, NULL, 30) && rig->exec_code == 137, "a killed exec is 137",
           NULL);
}

static void
test_hostile_containers(Rig *rig)
{
    begin_exec(rig, "kill -9 -1; echo alive", "", FALSE);
    rig_wait(rig, exec_has_ended, NULL, 30);
    result(answers(rig) && rig->containers[MAIN].state == BERTH_CONTAINER_RUNNING,
           "kill -9 -1 inside harms nothing outside", NULL);
    run_to_end(rig, MEMORY, 1, 60);
    g_print("# memory: state %d code %d oom %d\n", rig->containers[MEMORY].state,
            rig->containers[MEMORY].code, rig->containers[MEMORY].oom);
    result(rig->containers[MEMORY].oom && answers(rig), "out of memory is seen and survived", NULL);
    run_to_end(rig, FILL, 1, 120);
    g_print("# fill: code %d oom %d %s\n", rig->containers[FILL].code, rig->containers[FILL].oom,
            rig->containers[FILL].err->str);
    result(rig->containers[FILL].state == BERTH_CONTAINER_EXITED && answers(rig),
           "a full root file system is survived", rig->containers[FILL].text);
    berth_link_start(rig->link, BOMB, 1);
    rig_wait(rig, is_running, GUINT_TO_POINTER(BOMB), 30);
    result(exec_gives(rig, "echo here", "", "here\n", 0), "a neighbour works beside a fork bomb",
           NULL);
    berth_link_stop(rig->link, BOMB, 500);
    result(rig_wait(rig, has_ended, GUINT_TO_POINTER(BOMB), 40) &&
               rig->containers[BOMB].code == 137,
           "a fork bomb is stopped", rig->containers[BOMB].text);
}

static gboolean
log_has_grown(Rig *rig, gpointer data)
{
    return rig->containers[LOG].out->len >= GPOINTER_TO_SIZE(data) ||
           rig->containers[LOG].state >= BERTH_CONTAINER_EXITED;
}

static void
test_log_over_cuts(Rig *rig)
{
    g_autoptr(GString) expected = g_string_new(NULL);
    for (int i = 0; i < 20000; i++) {
        g_string_append_printf(expected, "line %d\n", i);
    }
    guint brokens = rig->brokens;
    berth_link_start(rig->link, LOG, 1);
    for (gsize cut = 1; cut <= 5; cut++) {
        rig_wait(rig, log_has_grown, GSIZE_TO_POINTER(cut * expected->len / 7), 60);
        if (rig->channel != NULL) {
            socket_channel_cut(rig->channel);
        }
    }
    gboolean ended = rig_wait(rig, has_ended, GUINT_TO_POINTER(LOG), 60);
    g_print("# log: %zu of %zu bytes, %u cuts, %u sessions resumed\n",
            rig->containers[LOG].out->len, expected->len, rig->brokens - brokens, rig->readies - 1);
    result(ended && rig->brokens > brokens && g_string_equal(expected, rig->containers[LOG].out),
           "a log over a broken link is whole and in order", NULL);
}

static void
test_stop_and_power_off(Rig *rig)
{
    berth_link_stop(rig->link, MAIN, 10000);
    result(rig_wait(rig, has_ended, GUINT_TO_POINTER(MAIN), 30) && rig->containers[MAIN].code == 5,
           "the stop signal ends a container in its own way", NULL);
    berth_link_shutdown(rig->link, 2000);
    result(rig_wait(rig, rig_has_ended, NULL, 30), "a shutdown powers the machine off", NULL);
    result(rig->closed || rig_wait(rig, is_ready, NULL, 1), "the link ends in order", NULL);
}

static gboolean
boot(Rig *rig)
{
    if (!rig_wait(rig, is_ready, NULL, 90) || !rig->ready) {
        g_autofree char *console = NULL;
        g_file_get_contents(rig->console_path, &console, NULL, NULL);
        g_print("# console: %s\n", console ? g_strdelimit(console, "\r\n", ' ') : "");
        return FALSE;
    }
    configure(rig);
    return rig_wait(rig, is_configured, NULL, 30);
}

static void
run_all(Rig *rig)
{
    gboolean booted = boot(rig);
    result(booted, "the guest answers and takes its configuration", rig->hello.kernel);
    if (booted) {
        test_streams_and_codes(rig);
        test_terminal_container(rig);
        test_execs(rig);
        test_terminals_and_signals(rig);
        test_hostile_containers(rig);
        test_log_over_cuts(rig);
        test_stop_and_power_off(rig);
    }
}

int
main(int argc, char **argv)
{
    char *machine = NULL, *kernel = NULL, *initrd = NULL, *image = NULL;
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {
        {"machine", 0, 0, G_OPTION_ARG_STRING, &machine, "q35 or microvm", NULL},
        {"kernel", 0, 0, G_OPTION_ARG_FILENAME, &kernel, NULL, NULL},
        {"initrd", 0, 0, G_OPTION_ARG_FILENAME, &initrd, NULL, NULL},
        {"image", 0, 0, G_OPTION_ARG_FILENAME, &image, "squashfs with busybox", NULL},
        {NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !machine || !kernel || !initrd ||
        !image) {
        g_printerr("guest-boot: %s\n", error ? error->message : "an option is missing");
        return 2;
    }
    Rig *rig = rig_new(machine, kernel, initrd, image);
    run_all(rig);
    rig_free(rig);
    g_print("1..%u\n", tests_done);
    return tests_failed > 0;
}
