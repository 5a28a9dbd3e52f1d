/* Fault scripts: what they refuse, and that each action does what it says, no more. */
#include "base/error.h"
#include "drivers/faulty.h"

#include <string.h>
#include <glib/gstdio.h>
#include <unistd.h>

/* An inner driver that only counts. */
typedef struct {
    BerthHost base;
    guint performed, connected;
} CountingHost;

static CountingHost counting;

static gboolean
count_connect(BerthHost *host, GError **error)
{
    counting.connected++;
    return TRUE;
}

static gboolean
count_perform(BerthHost *host, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    counting.performed++;
    reply->text = g_strdup("answer");
    return TRUE;
}

static void
do_nothing(BerthHost *host)
{
}

static BerthHost *
counting_new(const BerthHostOptions *options, const BerthHostWatch *watch, gpointer user_data,
             GError **error)
{
    static const BerthHostOps ops = {.connect = count_connect,
                                     .perform = count_perform,
                                     .abandon = do_nothing,
                                     .free = do_nothing};
    g_assert_cmpstr(options->data, ==, "inner data");
    counting = (CountingHost){.base = {&ops}};
    return &counting.base;
}

typedef struct {
    BerthFaults *faults;
    BerthFaultyOptions options;
    BerthHost *host;
} Fixture;

static Fixture *
setup(const char *script)
{
    static char inner_data[] = "inner data";
    g_autoptr(GError) error = NULL;
    Fixture *fixture = g_new0(Fixture, 1);
    fixture->faults = berth_faults_parse(script, &error);
    g_assert_no_error(error);
    fixture->options = (BerthFaultyOptions){counting_new, inner_data, fixture->faults};
    fixture->host =
        berth_host_faulty_new(&(BerthHostOptions){.data = &fixture->options}, NULL, NULL, NULL);
    return fixture;
}

static void
teardown(Fixture *fixture)
{
    fixture->host->ops->free(fixture->host);
    berth_faults_free(fixture->faults);
    g_free(fixture);
}

/* Returns: the error's code, -1 for success. */
static int
call(const Fixture *fixture, BerthHostVerb verb)
{
    g_autoptr(GError) error = NULL;
    g_auto(BerthHostReply) reply = {0};
    const BerthHostCall wanted = {.verb = verb, .uuid = "u"};
    gboolean done = fixture->host->ops->perform(fixture->host, &wanted, &reply, &error);
    g_assert_true(done == (error == NULL));
    g_assert_true(done == (reply.text != NULL));
    return done ? -1 : error->code;
}

static void
test_empty_script_changes_nothing(void)
{
    Fixture *fixture = setup(" ; \n");
    g_assert_cmpint(call(fixture, BERTH_HOST_DOMAIN_START), ==, -1);
    g_assert_true(fixture->host->ops->connect(fixture->host, NULL));
    g_assert_cmpuint(counting.performed, ==, 1);
    g_assert_cmpuint(berth_faults_calls(fixture->faults), ==, 2);
    teardown(fixture);
}

static void
test_third_call_fails_without_being_made(void)
{
    Fixture *fixture = setup("fail start#3=exhausted");
    for (guint i = 1; i <= 4; i++) {
        g_assert_cmpint(call(fixture, BERTH_HOST_DOMAIN_DEFINE), ==, -1);
        g_assert_cmpint(call(fixture, BERTH_HOST_DOMAIN_START), ==,
                        i == 3 ? (int)BERTH_ERROR_EXHAUSTED : -1);
    }
    g_assert_cmpuint(counting.performed, ==, 7);
    teardown(fixture);
}

static void
test_dropped_answer_is_made_all_the_same(void)
{
    Fixture *fixture = setup("drop start=timeout");
    g_assert_cmpint(call(fixture, BERTH_HOST_DOMAIN_START), ==, BERTH_ERROR_TIMEOUT);
    g_assert_cmpuint(counting.performed, ==, 1);
    teardown(fixture);
}

static void
test_repeat_makes_it_twice_and_answers_once(void)
{
    Fixture *fixture = setup("repeat *");
    g_assert_cmpint(call(fixture, BERTH_HOST_DOMAIN_START), ==, -1);
    g_assert_cmpuint(counting.performed, ==, 2);
    teardown(fixture);
}

static void
test_changes_leave_reading_alone(void)
{
    Fixture *fixture = setup("fail changes=denied");
    g_assert_cmpint(call(fixture, BERTH_HOST_DOMAIN_LIST), ==, -1);
    g_assert_cmpint(call(fixture, BERTH_HOST_VOLUME_DELETE), ==, BERTH_ERROR_DENIED);
    g_assert_true(fixture->host->ops->connect(fixture->host, NULL));
    teardown(fixture);
}

static guint
count_failures(const char *script)
{
    Fixture *fixture = setup(script);
    guint failures = 0;
    for (guint i = 0; i < 1000; i++) {
        failures += call(fixture, BERTH_HOST_DOMAIN_START) != -1;
    }
    teardown(fixture);
    return failures;
}

static void
test_chances_follow_the_seed(void)
{
    guint failures = count_failures("seed=5; fail start%10");
    g_assert_cmpuint(failures, >, 60);
    g_assert_cmpuint(failures, <, 140);
    g_assert_cmpuint(count_failures("seed=5; fail start%10"), ==, failures);
}

static gpointer
call_on_thread(gpointer data)
{
    return GINT_TO_POINTER(call(data, BERTH_HOST_DOMAIN_START));
}

static void
assert_waits(const char *script, guint performed_meanwhile)
{
    Fixture *fixture = setup(script);
    GThread *thread = g_thread_new("call", call_on_thread, fixture);
    while (berth_faults_waiting(fixture->faults) == 0) {
        g_thread_yield();
    }
    g_assert_cmpuint(counting.performed, ==, performed_meanwhile);
    berth_faults_release(fixture->faults);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, -1);
    g_assert_cmpuint(counting.performed, ==, 1);
    teardown(fixture);
}

static void
test_hold_waits_before_and_hang_after(void)
{
    assert_waits("hold start#1", 0);
    assert_waits("hang start#1", 1);
}

static void
test_kill_after_dies_with_the_call_made(void)
{
    if (g_test_subprocess()) {
        Fixture *fixture = setup("kill-after start#2");
        call(fixture, BERTH_HOST_DOMAIN_START);
        call(fixture, BERTH_HOST_DOMAIN_START);
        g_assert_not_reached();
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr_unmatched("*ERROR*");
}

static void
test_trace_numbers_the_calls(void)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "berth-faulty-trace-XXXXXX", NULL);
    int fd = g_mkstemp(path);
    g_autofree char *script = g_strdup_printf("trace=%s", path);
    Fixture *fixture = setup(script);
    call(fixture, BERTH_HOST_DOMAIN_START);
    fixture->host->ops->connect(fixture->host, NULL);
    teardown(fixture);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "1 start u\n2 connect -\n");
    g_assert_true(g_close(fd, NULL));
    g_assert_cmpint(unlink(path), ==, 0);
}

static void
test_wrong_scripts_are_refused_by_rule(void)
{
    static const char *const scripts[] = {
        "fail",          "fail nothing", "break start", "fail start#0", "fail start%101",
        "fail start=ok", "seed=x",       "trace=",      "fail start#",  "fail start#1x",
    };
    for (guint i = 0; i < G_N_ELEMENTS(scripts); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *script = g_strdup_printf("repeat *; %s", scripts[i]);
        g_assert_null(berth_faults_parse(script, &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
        g_assert_nonnull(strstr(error->message, scripts[i]));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add_func("/drivers/faulty/" path, test)
    ADD("empty-script-changes-nothing", test_empty_script_changes_nothing);
    ADD("third-call-fails-without-being-made", test_third_call_fails_without_being_made);
    ADD("dropped-answer-is-made-all-the-same", test_dropped_answer_is_made_all_the_same);
    ADD("repeat-makes-it-twice-and-answers-once", test_repeat_makes_it_twice_and_answers_once);
    ADD("changes-leave-reading-alone", test_changes_leave_reading_alone);
    ADD("chances-follow-the-seed", test_chances_follow_the_seed);
    ADD("hold-waits-before-and-hang-after", test_hold_waits_before_and_hang_after);
    ADD("kill-after-dies-with-the-call-made", test_kill_after_dies_with_the_call_made);
    ADD("trace-numbers-the-calls", test_trace_numbers_the_calls);
    ADD("wrong-scripts-are-refused-by-rule", test_wrong_scripts_are_refused_by_rule);
    return g_test_run();
}
