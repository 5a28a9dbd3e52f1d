/* Whole guests: a pod is booted from uploaded files, speaks on its link, runs a container, powers off. */
#include "tests/conformance/peer.h"

#include "drivers/guest-link.h"

#include <glib/gstdio.h>
#include <string.h>

/* What a pod said over its link. */
typedef struct {
    BerthLink *link;
    guint ready, configured, closed;
    BerthContainerState state;
    int exit_code;
    GString *streams[3]; /* by BerthLinkStream */
} Pod;

static void
on_ready(const BerthLinkHello *hello, gpointer data)
{
    g_test_message("kernel %s, init after %" G_GUINT64_FORMAT " ms, port after %" G_GUINT64_FORMAT
                   " ms",
                   hello->kernel, hello->init_us / 1000, hello->port_us / 1000);
    ((Pod *)data)->ready++;
}

static void
on_configured(const GError *error, gpointer data)
{
    g_assert_no_error(error);
    ((Pod *)data)->configured++;
}

static void
on_log(guint container, guint64 sequence, gint64 wall_us, BerthLinkStream stream,
       const guint8 *data, gsize size, gpointer user_data)
{
    Pod *pod = user_data;
    g_string_append_len(pod->streams[stream], (const char *)data, (gssize)size);
    berth_link_log_ack(pod->link, container, sequence);
}

static void
on_container(guint container, const BerthLinkContainer *state, gpointer data)
{
    Pod *pod = data;
    pod->state = state->state;
    pod->exit_code = state->exit_code;
}

static void
on_broken(const GError *error, gpointer data)
{
    g_test_message("link: %s", error != NULL ? error->message : "ended");
}

static void
on_link_closed(const GError *error, gpointer data)
{
    ((Pod *)data)->closed++;
}

static BerthChannel *
open_link(gboolean force, const BerthChannelWatch *watch, gpointer watch_data, gpointer data)
{
    return own.host->ops->channel_open(own.host, uuid_a, BERTH_LINK_PORT, force, watch, watch_data);
}

static void
upload_guest_os(const char *folder, const char *file)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    GStatBuf status;
    g_assert_cmpint(g_stat(path, &status), ==, 0);
    ASSERT_OK(.verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL, .volume = file, .path = path,
              .size = (guint64)status.st_size);
}

/* One container whose image disk nobody attached: only a simulated guest runs it all the same. */
static void
run_container(Pod *pod)
{
    const BerthLinkContainerPlan container = {
        .name = "main",
        .image_serial = "image-0",
        .config = "{\"process\": {\"args\": [\"sh\", \"-c\","
                  " \"echo out; echo err >&2; exit 7\"]}}",
        .user = "",
    };
    const BerthLinkConfig config = {
        .id = 1, .hostname = "pod", .containers = &container, .container_count = 1};
    g_autoptr(GError) error = NULL;
    g_assert_true(berth_link_configure(pod->link, &config, &error));
    berth_link_start(pod->link, 0, 1);
    RUN_UNTIL(pod->state == BERTH_CONTAINER_EXITED || pod->state == BERTH_CONTAINER_FAILED);
    g_assert_cmpuint(pod->configured, ==, 1);
    if (!g_str_has_prefix(g_getenv("BERTH_HOST_URI"), "sim:")) {
        g_assert_cmpint(pod->state, ==, BERTH_CONTAINER_FAILED);
        return;
    }
    g_assert_cmpint(pod->state, ==, BERTH_CONTAINER_EXITED);
    g_assert_cmpint(pod->exit_code, ==, 7);
    g_assert_cmpstr(pod->streams[BERTH_STREAM_STDOUT]->str, ==, "out\n");
    g_assert_cmpstr(pod->streams[BERTH_STREAM_STDERR]->str, ==, "err\n");
}

static void
boot_pod(BerthProfile profile, const char *cmdline)
{
    static const BerthLinkWatch watch = {
        .ready = on_ready,
        .configured = on_configured,
        .log = on_log,
        .container = on_container,
        .broken = on_broken,
        .closed = on_link_closed,
    };
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    const BerthNicPlan nic = {.network = "default", .mac = "52:54:00:c0:ff:0a"};
    plan.profile = profile;
    plan.memory_mib = 256;
    plan.kernel_pool = POOL;
    plan.kernel_volume = "vmlinuz";
    plan.initrd_volume = "initramfs";
    plan.cmdline = cmdline;
    plan.nics = &nic;
    plan.nic_count = 1;
    gint64 begin_us = g_get_monotonic_time();
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    gint64 defined_us = g_get_monotonic_time();
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    gint64 started_us = g_get_monotonic_time();
    Pod pod = {0};
    for (guint i = 0; i < G_N_ELEMENTS(pod.streams); i++) {
        pod.streams[i] = g_string_new(NULL);
    }
    const BerthLinkOptions options = {
        .open = open_link, .clock = berth_clock_system(), .random = berth_random_system()};
    pod.link = berth_link_new(&options, &watch, &pod);
    berth_link_attach(pod.link);
    RUN_UNTIL(pod.ready > 0);
    g_test_message("define %d ms, start %d ms, answered after %d ms more",
                   (int)(defined_us - begin_us) / 1000, (int)(started_us - defined_us) / 1000,
                   (int)(g_get_monotonic_time() - started_us) / 1000);
    run_container(&pod);
    g_ptr_array_set_size(own.events, 0);
    berth_link_shutdown(pod.link, 1000);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STOPPED, BERTH_STOP_SHUTDOWN));
    berth_link_free(pod.link);
    for (guint i = 0; i < G_N_ELEMENTS(pod.streams); i++) {
        g_string_free(pod.streams[i], TRUE);
    }
    g_autoptr(BerthDomain) domain = get(uuid_a);
    g_assert_cmpint(domain->state, ==, BERTH_DOMAIN_SHUTOFF);
    g_assert_cmpint(domain->stop_reason, ==, BERTH_STOP_SHUTDOWN);
    remove_domain(uuid_a);
}

static void
test_pods_answer_on_their_link_and_power_off(void)
{
    const char *folder = g_getenv("BERTH_GUEST_OS");
    if (folder == NULL) {
        g_test_skip("there is no guest OS: run 'make guest-os'");
        return;
    }
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_INVENTORY}, &reply), ==, -1);
    ensure_pool();
    upload_guest_os(folder, "vmlinuz");
    upload_guest_os(folder, "initramfs");
    boot_pod(BERTH_PROFILE_Q35, "console=ttyS0 quiet panic=-1 reboot=t");
    g_autofree char *cmdline =
        g_strdup_printf("console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=%" G_GUINT64_FORMAT,
                        reply.inventory->tsc_khz);
    boot_pod(BERTH_PROFILE_MICROVM, cmdline);
}

void
add_guest_tests(void)
{
    ADD("pods-answer-on-their-link-and-power-off", test_pods_answer_on_their_link_and_power_off);
}
