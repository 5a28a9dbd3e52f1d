/* The store of simulations keeps the contract of stores. */
#include "drivers/store-memory.h"

#include "tests/conformance/store.h"

static void
turn(BerthStore *store)
{
    berth_store_memory_dispatch(store);
}

static void
test_crash_drops_callbacks_and_keeps_commits(void)
{
    g_autoptr(BerthStore) store = berth_store_memory_new();
    g_auto(BerthOutcome) outcome = {0};
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = {.verb = BERTH_STORE_PUT,
                       .kind = "Pod",
                       .project = "p",
                       .name = "a",
                       .uid = "u",
                       .body = "b",
                       .if_revision = BERTH_STORE_ABSENT};
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, berth_outcome_done, &outcome);
    berth_store_memory_crash(store);
    g_assert_cmpuint(berth_store_memory_dispatch(store), ==, 0);
    g_assert_false(outcome.told);
    g_autoptr(GPtrArray) rows = NULL;
    gint64 revision;
    g_assert_true(store->ops->load(store, &rows, &revision, NULL));
    g_assert_cmpuint(rows->len, ==, 1);
    g_assert_cmpint(revision, ==, 1);
}

int
main(int argc, char **argv)
{
    static BerthStoreSubject subject = {
        .name = "memory", .open = berth_store_memory_new, .turn = turn};
    g_test_init(&argc, &argv, NULL);
    berth_conformance_store_add(&subject);
    g_test_add_func("/store/memory/crash-drops-callbacks-and-keeps-commits",
                    test_crash_drops_callbacks_and_keeps_commits);
    return g_test_run();
}
