/* What every host driver must do with channels into guests, and with its connections. */
#include "tests/conformance/peer.h"

#include <string.h>

typedef struct {
    BerthChannel *channel;
    guint closed;
    int code; /* of the error; -1: ended in order */
    gsize received;
} Ear;

static void
on_received(const guint8 *data, gsize size, gpointer user_data)
{
    ((Ear *)user_data)->received += size;
}

static void
on_channel_closed(const GError *error, gpointer user_data)
{
    Ear *ear = user_data;
    ear->closed++;
    ear->code = error != NULL ? error->code : -1;
    if (error != NULL) {
        g_test_message("channel: %s", error->message);
    }
}

static void
open_ear(Peer *peer, Ear *ear, const char *uuid, const char *port, gboolean force)
{
    static const BerthChannelWatch watch = {on_received, on_channel_closed};
    *ear = (Ear){.code = -2};
    ear->channel = peer->host->ops->channel_open(peer->host, uuid, port, force, &watch, ear);
    g_assert_nonnull(ear->channel);
    g_assert_cmpuint(ear->closed, ==, 0);
}

static void
assert_ends(Ear *ear, int code)
{
    RUN_UNTIL(ear->closed == 1);
    g_assert_cmpint(ear->code, ==, code);
    berth_channel_close(ear->channel);
}

static void
test_channels_that_cannot_be_opened_say_why(void)
{
    Ear ear;
    open_ear(&own, &ear, nobody, BERTH_LINK_PORT, FALSE);
    assert_ends(&ear, BERTH_ERROR_NOT_FOUND);
    define(uuid_a, "conformance.a");
    open_ear(&own, &ear, uuid_a, BERTH_LINK_PORT, FALSE);
    assert_ends(&ear, BERTH_ERROR_CONFLICT); /* it is off */
    open_ear(&stranger, &ear, uuid_a, BERTH_LINK_PORT, TRUE);
    assert_ends(&ear, BERTH_ERROR_DENIED);
    remove_domain(uuid_a);
}

/* A round through the host: what was asked of a channel before has been done when this is answered. */
static void
settle(void)
{
    Ear ear;
    open_ear(&own, &ear, nobody, BERTH_LINK_PORT, FALSE);
    assert_ends(&ear, BERTH_ERROR_NOT_FOUND);
    open_ear(&own, &ear, nobody, NULL, FALSE);
    assert_ends(&ear, BERTH_ERROR_NOT_FOUND);
}

static void
check_one_opener(const char *port)
{
    Ear first, second, third;
    open_ear(&own, &first, uuid_a, port, FALSE);
    settle();
    g_assert_cmpuint(first.closed, ==, 0);
    open_ear(&own, &second, uuid_a, port, FALSE);
    assert_ends(&second, BERTH_ERROR_CONFLICT);
    open_ear(&own, &third, uuid_a, port, TRUE);
    RUN_UNTIL(first.closed == 1); /* it was taken away */
    berth_channel_close(first.channel);
    settle();
    g_assert_cmpuint(third.closed, ==, 0);
    berth_channel_close(third.channel);
    settle();
    g_assert_cmpuint(third.closed, ==, 0); /* nothing is told after close */
}

static void
test_one_opener_at_a_time_unless_by_force(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    check_one_opener(BERTH_LINK_PORT);
    check_one_opener(NULL);
    remove_domain(uuid_a);
}

static void
test_a_channel_ends_with_its_domain(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    Ear link, console;
    open_ear(&own, &link, uuid_a, BERTH_LINK_PORT, FALSE);
    open_ear(&own, &console, uuid_a, NULL, FALSE);
    settle();
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid_a);
    RUN_UNTIL(link.closed == 1 && console.closed == 1);
    berth_channel_close(link.channel);
    berth_channel_close(console.channel);
    remove_domain(uuid_a);
}

static void
test_what_waits_for_a_guest_is_bounded(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    Ear ear;
    open_ear(&own, &ear, uuid_a, BERTH_LINK_PORT, FALSE);
    g_autofree char *zeros = g_malloc0(300 * 1024);
    g_autoptr(GBytes) few = g_bytes_new_static(zeros, 1024);
    berth_channel_send(ear.channel, few);
    settle();
    g_assert_cmpuint(ear.closed, ==, 0);
    g_autoptr(GBytes) many = g_bytes_new_static(zeros, 300 * 1024);
    berth_channel_send(ear.channel, many);
    g_assert_cmpuint(ear.closed, ==, 0);
    assert_ends(&ear, BERTH_ERROR_EXHAUSTED);
    remove_domain(uuid_a);
}

static void
test_abandoned_connections_come_back(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    Ear ear;
    open_ear(&own, &ear, uuid_a, BERTH_LINK_PORT, FALSE);
    settle();
    guint closed = own.closed;
    own.host->ops->abandon(own.host);
    assert_ends(&ear, BERTH_ERROR_UNAVAILABLE);
    ASSERT_CODE(BERTH_ERROR_UNAVAILABLE, .verb = BERTH_HOST_DOMAIN_LIST);
    g_assert_cmpint(call(NULL, NULL), ==, -1);
    g_assert_cmpint(state_of(uuid_a), ==, BERTH_DOMAIN_RUNNING);
    g_assert_cmpuint(own.closed, ==, closed); /* who abandons is not told */
    g_ptr_array_set_size(own.events, 0);
    remove_domain(uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STOPPED, BERTH_STOP_DESTROYED));
}

void
add_channel_tests(void)
{
    ADD("channels-that-cannot-be-opened-say-why", test_channels_that_cannot_be_opened_say_why);
    ADD("one-opener-at-a-time-unless-by-force", test_one_opener_at_a_time_unless_by_force);
    ADD("a-channel-ends-with-its-domain", test_a_channel_ends_with_its_domain);
    ADD("what-waits-for-a-guest-is-bounded", test_what_waits_for_a_guest_is_bounded);
    ADD("abandoned-connections-come-back", test_abandoned_connections_come_back);
}
