/* What every host driver must do, run against one real implementation: BERTH_HOST_URI says which
 * (qemu… through libvirt, sim… against tests/simhost). tests/conformance/run-host starts both kinds.
 *
 * BERTH_HOST_POOL is a folder of the host for a pool of ours; BERTH_HOST_POOL_SEEN the same folder as this
 * program sees it, or unset. */
#include "drivers/libvirt-events.h"
#include "tests/conformance/peer.h"

#include <libvirt/libvirt.h>
#include <signal.h>

static void
test_inventory_tells_size_and_names(void)
{
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_INVENTORY}, &reply), ==, -1);
    const BerthInventory *inventory = reply.inventory;
    g_assert_cmpuint(inventory->cpus, >, 0);
    g_assert_cmpuint(inventory->memory_kib, >, 256 * 1024);
    g_assert_nonnull(inventory->hostname);
    g_assert_nonnull(inventory->uuid);
    g_assert_cmpstr(inventory->arch, ==, "x86_64");
    g_assert_nonnull(inventory->libvirt_version);
    g_assert_true(g_strv_contains((const char *const *)inventory->machine_types, "q35"));
    g_assert_cmpuint(inventory->cells->len, >, 0);
    guint64 cells_kib = 0;
    for (guint i = 0; i < inventory->cells->len; i++) {
        cells_kib += ((BerthCell *)inventory->cells->pdata[i])->memory_kib;
    }
    g_assert_cmpuint(cells_kib, <=, inventory->memory_kib);
    gboolean has_default = FALSE;
    for (guint i = 0; i < inventory->networks->len; i++) {
        const BerthHostNetwork *network = inventory->networks->pdata[i];
        has_default = has_default || g_str_equal(network->name, "default");
    }
    g_assert_true(has_default);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (g_getenv("BERTH_HOST_URI") == NULL) {
        g_print("1..0 # SKIP BERTH_HOST_URI is not set: run tests/conformance/run-host\n");
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* libvirt writes to sockets that the other side has closed */
    berth_libvirt_events_register();
    open_peer(&own, FLEET);
    open_peer(&stranger, "another-fleet");
    ADD("inventory-tells-size-and-names", test_inventory_tells_size_and_names);
    add_volume_tests();
    add_domain_tests();
    add_channel_tests();
    add_guest_tests();
    int failed = g_test_run();
    own.host->ops->free(own.host);
    stranger.host->ops->free(stranger.host);
    return failed;
}
