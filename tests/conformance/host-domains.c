/* What every host driver must do with domains, and with the networks that they are in. */
#include "tests/conformance/peer.h"

#include "base/json.h"

#include <string.h>

static void
test_define_is_repeatable_and_keeps_the_mark(void)
{
    define(uuid_a, "conformance.a");
    define(uuid_a, "conformance.a");
    g_autoptr(BerthDomain) domain = get(uuid_a);
    g_assert_cmpint(domain->state, ==, BERTH_DOMAIN_SHUTOFF);
    g_assert_cmpint(domain->id, ==, -1);
    g_assert_cmpstr(domain->name, ==, "conformance.a");
    g_assert_cmpstr(domain->title, ==, "a <title> & more");
    g_assert_true(domain->persistent);
    g_assert_false(domain->autostart);
    g_assert_cmpuint(domain->vcpus, ==, 1);
    g_assert_cmpuint(domain->memory_max_kib, ==, 64 * 1024);
    g_assert_nonnull(domain->mark);
    g_assert_cmpstr(domain->mark->fleet, ==, FLEET);
    g_assert_cmpstr(domain->mark->uid, ==, uuid_a);
    g_assert_cmpstr(domain->mark->spec, ==, SPEC);
    g_assert_cmpint(domain->mark->generation, ==, 7);
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_XML, .uuid = uuid_a}, &reply),
                    ==, -1);
    g_assert_nonnull(strstr(reply.text, "conformance.a"));
    remove_domain(uuid_a);
    remove_domain(uuid_a);
}

static void
test_autostart_follows_the_plan(void)
{
    for (guint i = 0; i < 2; i++) {
        BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
        plan.autostart = i == 0;
        ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
        g_autoptr(BerthDomain) domain = get(uuid_a);
        g_assert_true(domain->autostart == (i == 0));
    }
    remove_domain(uuid_a);
}

static void
test_absent_domains_are_not_found(void)
{
    static const BerthHostVerb verbs[] = {
        BERTH_HOST_DOMAIN_GET,    BERTH_HOST_DOMAIN_START, BERTH_HOST_DOMAIN_SHUTDOWN,
        BERTH_HOST_DOMAIN_REBOOT, BERTH_HOST_DOMAIN_RESET, BERTH_HOST_DOMAIN_SUSPEND,
        BERTH_HOST_DOMAIN_RESUME, BERTH_HOST_DOMAIN_XML,
    };
    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
        ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = verbs[i], .uuid = nobody);
    }
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = nobody);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = nobody);
}

static void
test_power_on_and_off_is_repeatable_and_told(void)
{
    define(uuid_a, "conformance.a");
    g_ptr_array_set_size(own.events, 0);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STARTED, BERTH_STOP_UNKNOWN));
    g_autoptr(BerthDomain) running = get(uuid_a);
    g_assert_cmpint(running->state, ==, BERTH_DOMAIN_RUNNING);
    g_assert_cmpint(running->id, >, 0);
    ASSERT_CODE(BERTH_ERROR_CONFLICT, .verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_RESET, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_SHUTDOWN, .uuid = uuid_a); /* asked; firmware ignores it */
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STOPPED, BERTH_STOP_DESTROYED));
    g_autoptr(BerthDomain) stopped = get(uuid_a);
    g_assert_cmpint(stopped->state, ==, BERTH_DOMAIN_SHUTOFF);
    g_assert_cmpint(stopped->stop_reason, ==, BERTH_STOP_DESTROYED);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_SHUTDOWN, .uuid = uuid_a);
    remove_domain(uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_UNDEFINED, BERTH_STOP_UNKNOWN));
}

static void
test_pausing_is_repeatable(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_CODE(BERTH_ERROR_CONFLICT, .verb = BERTH_HOST_DOMAIN_SUSPEND, .uuid = uuid_a);
    ASSERT_CODE(BERTH_ERROR_CONFLICT, .verb = BERTH_HOST_DOMAIN_RESUME, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_DOMAIN_SUSPEND, .uuid = uuid_a);
        g_assert_cmpint(state_of(uuid_a), ==, BERTH_DOMAIN_PAUSED);
    }
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_DOMAIN_RESUME, .uuid = uuid_a);
        g_assert_cmpint(state_of(uuid_a), ==, BERTH_DOMAIN_RUNNING);
    }
    remove_domain(uuid_a);
}

static void
test_list_shows_all_domains(void)
{
    define(uuid_a, "conformance.a");
    define(uuid_b, "conformance.b");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_b);
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_LIST}, &reply), ==, -1);
    guint seen = 0;
    for (guint i = 0; i < reply.domains->len; i++) {
        const BerthDomain *domain = reply.domains->pdata[i];
        seen += g_str_equal(domain->uuid, uuid_a) && domain->state == BERTH_DOMAIN_SHUTOFF;
        seen += g_str_equal(domain->uuid, uuid_b) && domain->state == BERTH_DOMAIN_RUNNING;
    }
    g_assert_cmpuint(seen, ==, 2);
    remove_domain(uuid_a);
    remove_domain(uuid_b);
}

static void
test_a_taken_name_is_refused(void)
{
    define(uuid_a, "conformance.a");
    BerthDomainPlan plan = make_plan(uuid_b, "conformance.a");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    remove_domain(uuid_a);
}

static void
test_a_missing_kernel_is_refused(void)
{
    ensure_pool();
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    plan.kernel_pool = POOL;
    plan.kernel_volume = "no-such-kernel";
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_DOMAIN_GET, .uuid = uuid_a);
}

/* Invariant I5: nobody touches what carries another fleet's mark. */
static void
test_domains_of_others_are_left_alone(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    for (guint verb = BERTH_HOST_DOMAIN_START; verb <= BERTH_HOST_DOMAIN_UNDEFINE; verb++) {
        const BerthHostCall wanted = {.verb = (BerthHostVerb)verb, .uuid = uuid_a};
        g_assert_cmpint(call_as(&stranger, &wanted, NULL), ==, BERTH_ERROR_DENIED);
    }
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    BerthDomainMark theirs = *plan.mark;
    theirs.fleet = (char *)"another-fleet";
    plan.mark = &theirs;
    const BerthHostCall over = {.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan};
    g_assert_cmpint(call_as(&stranger, &over, NULL), ==, BERTH_ERROR_EXISTS);
    g_autoptr(BerthDomain) domain = get(uuid_a);
    g_assert_cmpint(domain->state, ==, BERTH_DOMAIN_RUNNING);
    g_assert_cmpstr(domain->mark->fleet, ==, FLEET);
    /* Reading is free to all. */
    const BerthHostCall read = {.verb = BERTH_HOST_DOMAIN_GET, .uuid = uuid_a};
    g_assert_cmpint(call_as(&stranger, &read, NULL), ==, -1);
    remove_domain(uuid_a);
}

/* The host's last CPU for the vCPU, its first one for the rest of QEMU. */
static void
test_pinned_domain_starts(void)
{
    g_auto(BerthHostReply) seen = {0}, reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_INVENTORY}, &seen), ==, -1);
    const GPtrArray *cells = seen.inventory->cells;
    const BerthCell *first = cells->pdata[0], *last = cells->pdata[cells->len - 1];
    g_autofree char *pin = g_strdup_printf("%u", last->cpus[last->cpu_count - 1]);
    g_autofree char *rest = g_strdup_printf("%u", first->cpus[0]);
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    plan.cpuset = plan.pins = pin;
    plan.emulator_cpuset = rest;
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_XML, .uuid = uuid_a}, &reply),
                    ==, -1);
    g_autofree char *text = g_strdelimit(g_strdup(reply.text), "\"", '\'');
    g_autofree char *vcpu = g_strdup_printf("<vcpupin vcpu='0' cpuset='%s'/>", pin);
    g_autofree char *emulator = g_strdup_printf("<emulatorpin cpuset='%s'/>", rest);
    g_assert_nonnull(strstr(text, vcpu));
    g_assert_nonnull(strstr(text, emulator));
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid_a);
    remove_domain(uuid_a);
}

/* Which need not be there before it starts. */
static void
test_domain_with_devices_is_defined(void)
{
    g_auto(BerthHostReply) reply = {0};
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    plan.host_devices = "0000:41:00.0,0000:42:1f.7";
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_XML, .uuid = uuid_a}, &reply),
                    ==, -1);
    g_autofree char *text = g_strdelimit(g_strdup(reply.text), "\"", '\'');
    g_assert_nonnull(strstr(text, "<hostdev mode='subsystem' type='pci' managed='yes'>"));
    g_assert_nonnull(
        strstr(text, "<address domain='0x0000' bus='0x42' slot='0x1f' function='0x7'/>"));
    remove_domain(uuid_a);
}

static void
test_networks_are_started_and_reserve_addresses(void)
{
    const char *mac = "52:54:00:c0:ff:01";
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_NETWORK_ENSURE, .network = "default");
        ASSERT_OK(.verb = BERTH_HOST_DHCP_RESERVE, .network = "default", .mac = mac,
                  .ip = "192.168.122.50", .name = "conformance");
    }
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_NETWORK_ENSURE, .network = "nowhere");
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_DHCP_RESERVE, .network = "nowhere",
                .mac = mac, .ip = "192.168.122.50");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DHCP_RESERVE, .network = "default",
                .mac = mac, .ip = "192.168.122.51");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DHCP_RESERVE, .network = "default",
                .mac = "52:54:00:c0:ff:02", .ip = "192.168.122.50");
    /* Not ours to release. */
    ASSERT_OK(.verb = BERTH_HOST_DHCP_RELEASE, .network = "default", .mac = "52:54:00:c0:ff:02",
              .ip = "192.168.122.50");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DHCP_RESERVE, .network = "default",
                .mac = "52:54:00:c0:ff:02", .ip = "192.168.122.50");
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_DHCP_RELEASE, .network = "default", .mac = mac,
                  .ip = "192.168.122.50");
    }
    ASSERT_OK(.verb = BERTH_HOST_DHCP_RESERVE, .network = "default", .mac = "52:54:00:c0:ff:02",
              .ip = "192.168.122.50");
    ASSERT_OK(.verb = BERTH_HOST_DHCP_RELEASE, .network = "default", .mac = "52:54:00:c0:ff:02",
              .ip = "192.168.122.50");
}

void
add_domain_tests(void)
{
    ADD("define-is-repeatable-and-keeps-the-mark", test_define_is_repeatable_and_keeps_the_mark);
    ADD("autostart-follows-the-plan", test_autostart_follows_the_plan);
    ADD("absent-domains-are-not-found", test_absent_domains_are_not_found);
    ADD("power-on-and-off-is-repeatable-and-told", test_power_on_and_off_is_repeatable_and_told);
    ADD("pausing-is-repeatable", test_pausing_is_repeatable);
    ADD("list-shows-all-domains", test_list_shows_all_domains);
    ADD("a-taken-name-is-refused", test_a_taken_name_is_refused);
    ADD("a-missing-kernel-is-refused", test_a_missing_kernel_is_refused);
    ADD("domains-of-others-are-left-alone", test_domains_of_others_are_left_alone);
    ADD("pinned-domain-starts", test_pinned_domain_starts);
    ADD("domain-with-devices-is-defined", test_domain_with_devices_is_defined);
    ADD("networks-are-started-and-reserve-addresses",
        test_networks_are_started_and_reserve_addresses);
}
