/* The suite. Start reading at the table in berth_conformance_store_add(). */
#include "tests/conformance/store.h"

#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"

/* POD() and DELETE() have defaults that a test may override. */
#pragma GCC diagnostic ignored "-Woverride-init"

typedef void (*StoreTest)(BerthStoreSubject *subject, BerthStore *store);

typedef struct {
    BerthStoreSubject *subject;
    StoreTest run;
} Case;

/* ---- talking to the store ---- */

void
berth_outcome_clear(BerthOutcome *outcome)
{
    g_clear_pointer(&outcome->changes, g_ptr_array_unref);
    g_clear_pointer(&outcome->message, g_free);
}

static gpointer
copy_change(gconstpointer item, gpointer data)
{
    const BerthChange *change = item;
    BerthChange *copy = g_new(BerthChange, 1);
    BerthRow *row = g_new(BerthRow, 1);
    *row = *change->row;
    row->kind = g_strdup(row->kind);
    row->project = g_strdup(row->project);
    row->name = g_strdup(row->name);
    row->uid = g_strdup(row->uid);
    row->body = g_strdup(row->body);
    row->status = g_strdup(row->status);
    *copy = (BerthChange){change->revision, change->deleted, row};
    return copy;
}

static void
free_change(gpointer change)
{
    berth_change_free(change);
}

void
berth_outcome_done(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
                   gpointer user_data)
{
    BerthOutcome *outcome = user_data;
    g_assert_false(outcome->told);
    g_assert_true((error == NULL) == (changes != NULL));
    g_assert_true(error == NULL || revision == 0);
    *outcome =
        (BerthOutcome){.told = TRUE, .revision = revision, .failed_op = failed_op, .code = -1};
    if (error != NULL) {
        g_assert_true(error->domain == BERTH_ERROR);
        outcome->code = error->code;
        outcome->message = g_strdup(error->message);
        return;
    }
    outcome->changes = g_ptr_array_new_with_free_func(free_change);
    for (guint i = 0; i < changes->len; i++) {
        g_ptr_array_add(outcome->changes, copy_change(changes->pdata[i], NULL));
    }
}

static void
wait_for(BerthStoreSubject *subject, BerthStore *store, const BerthOutcome *outcome)
{
    while (!outcome->told) {
        subject->turn(store);
    }
}

/* Commits @count steps together. */
static BerthOutcome
commit_all(BerthStoreSubject *subject, BerthStore *store, const BerthStoreOp *ops, gsize count)
{
    BerthOutcome outcome = {0};
    BerthTransaction *transaction = berth_transaction_new();
    for (gsize i = 0; i < count; i++) {
        berth_transaction_add(transaction, &ops[i]);
    }
    g_assert_cmpuint(berth_transaction_size(transaction), ==, count);
    store->ops->submit(store, transaction, berth_outcome_done, &outcome);
    wait_for(subject, store, &outcome);
    return outcome;
}

static BerthOutcome
commit(BerthStoreSubject *subject, BerthStore *store, BerthStoreOp op)
{
    return commit_all(subject, store, &op, 1);
}

#define POD(pod_name, ...)                                                                         \
    (BerthStoreOp)                                                                                 \
    {                                                                                              \
        .verb = BERTH_STORE_PUT, .kind = "Pod", .project = "p", .name = (pod_name),                \
        .if_revision = BERTH_STORE_ANY, __VA_ARGS__                                                \
    }
#define DELETE(pod_name, ...)                                                                      \
    (BerthStoreOp)                                                                                 \
    {                                                                                              \
        .verb = BERTH_STORE_DELETE, .kind = "Pod", .project = "p", .name = (pod_name),             \
        .if_revision = BERTH_STORE_ANY, __VA_ARGS__                                                \
    }

/* Commits what must succeed; returns its revision. */
static gint64
commit_ok(BerthStoreSubject *subject, BerthStore *store, BerthStoreOp op)
{
    g_auto(BerthOutcome) outcome = commit(subject, store, op);
    g_assert_cmpstr(outcome.message, ==, NULL);
    return outcome.revision;
}

static void
assert_refused(BerthStoreSubject *subject, BerthStore *store, BerthStoreOp op, BerthErrorCode code)
{
    g_auto(BerthOutcome) outcome = commit(subject, store, op);
    g_assert_cmpint(outcome.code, ==, (int)code);
    g_assert_cmpint(outcome.failed_op, ==, 0);
}

static GPtrArray *
changes_ok(BerthStore *store, gint64 since, guint limit)
{
    g_autoptr(GError) error = NULL;
    GPtrArray *changes = store->ops->changes_since(store, since, limit, &error);
    g_assert_no_error(error);
    return changes;
}

static const BerthRow *
find_row(const GPtrArray *rows, const char *name)
{
    for (guint i = 0; i < rows->len; i++) {
        const BerthRow *row = rows->pdata[i];
        if (strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* ---- one step ---- */

static void
test_put_then_change(BerthStoreSubject *subject, BerthStore *store)
{
    g_auto(BerthOutcome) made =
        commit(subject, store, POD("web", .uid = "u1", .body = "{\"a\":1}"));
    g_assert_cmpint(made.code, ==, -1);
    g_assert_cmpint(made.failed_op, ==, -1);
    g_assert_cmpint(made.revision, ==, 1);
    g_assert_cmpuint(made.changes->len, ==, 1);
    const BerthChange *change = made.changes->pdata[0];
    g_assert_cmpint(change->revision, ==, 1);
    g_assert_false(change->deleted);
    g_assert_cmpstr(change->row->kind, ==, "Pod");
    g_assert_cmpstr(change->row->project, ==, "p");
    g_assert_cmpstr(change->row->name, ==, "web");
    g_assert_cmpstr(change->row->uid, ==, "u1");
    g_assert_cmpstr(change->row->body, ==, "{\"a\":1}");
    g_assert_null(change->row->status);
    g_assert_cmpint(change->row->revision, ==, 1);
    g_assert_cmpint(change->row->body_revision, ==, 1);
}

static void
test_halves_are_written_apart(BerthStoreSubject *subject, BerthStore *store)
{
    commit_ok(subject, store, POD("web", .uid = "u1", .body = "body 1", .status = "status 1"));
    g_auto(BerthOutcome) status = commit(subject, store, POD("web", .status = "status 2"));
    const BerthRow *row = ((BerthChange *)status.changes->pdata[0])->row;
    g_assert_cmpstr(row->body, ==, "body 1");
    g_assert_cmpstr(row->status, ==, "status 2");
    g_assert_cmpint(row->revision, ==, 2);
    g_assert_cmpint(row->body_revision, ==, 1);
    g_auto(BerthOutcome) body = commit(subject, store, POD("web", .body = "body 2"));
    row = ((BerthChange *)body.changes->pdata[0])->row;
    g_assert_cmpstr(row->body, ==, "body 2");
    g_assert_cmpstr(row->status, ==, "status 2");
    g_assert_cmpint(row->body_revision, ==, 3);
    g_assert_cmpstr(row->uid, ==, "u1");
}

static void
test_status_writes_do_not_disturb_if_revision(BerthStoreSubject *subject, BerthStore *store)
{
    gint64 seen = commit_ok(subject, store, POD("web", .uid = "u1", .body = "1"));
    commit_ok(subject, store, POD("web", .status = "s"));
    gint64 second = commit_ok(subject, store, POD("web", .body = "2", .if_revision = seen));
    assert_refused(subject, store, POD("web", .body = "3", .if_revision = seen),
                   BERTH_ERROR_CONFLICT);
    commit_ok(subject, store, POD("web", .body = "3", .if_revision = second));
    assert_refused(subject, store, DELETE("web", .if_revision = second), BERTH_ERROR_CONFLICT);
}

static void
test_conditions(BerthStoreSubject *subject, BerthStore *store)
{
    assert_refused(subject, store, POD("web", .body = "1"), BERTH_ERROR_NOT_FOUND);
    assert_refused(subject, store, POD("web", .status = "1"), BERTH_ERROR_NOT_FOUND);
    assert_refused(subject, store, POD("web", .uid = "u", .body = "1", .if_revision = 1),
                   BERTH_ERROR_NOT_FOUND);
    assert_refused(subject, store, POD("web", .uid = "u", .body = "1", .if_uid = "u"),
                   BERTH_ERROR_NOT_FOUND);
    assert_refused(subject, store, DELETE("web"), BERTH_ERROR_NOT_FOUND);
    commit_ok(subject, store,
              POD("web", .uid = "u1", .body = "1", .if_revision = BERTH_STORE_ABSENT));
    assert_refused(subject, store,
                   POD("web", .uid = "u2", .body = "1", .if_revision = BERTH_STORE_ABSENT),
                   BERTH_ERROR_EXISTS);
    assert_refused(subject, store, POD("web", .uid = "u2", .body = "1"), BERTH_ERROR_EXISTS);
    assert_refused(subject, store, POD("web", .status = "1", .if_uid = "u2"),
                   BERTH_ERROR_NOT_FOUND);
    assert_refused(subject, store, DELETE("web", .if_uid = "u2"), BERTH_ERROR_NOT_FOUND);
    assert_refused(subject, store, POD("web", .body = "2", .if_revision = 99),
                   BERTH_ERROR_CONFLICT);
    commit_ok(subject, store, POD("web", .status = "1", .if_uid = "u1"));
    commit_ok(subject, store, DELETE("web", .if_uid = "u1"));
    assert_refused(subject, store, DELETE("web"), BERTH_ERROR_NOT_FOUND);
}

static void
test_check_changes_nothing(BerthStoreSubject *subject, BerthStore *store)
{
    BerthStoreOp check = {.verb = BERTH_STORE_CHECK,
                          .kind = "VM",
                          .project = "p",
                          .name = "web",
                          .if_revision = BERTH_STORE_ABSENT};
    gint64 before = commit_ok(subject, store, POD("web", .uid = "u1", .body = "1"));
    g_auto(BerthOutcome) outcome = commit(subject, store, check);
    g_assert_cmpint(outcome.code, ==, -1);
    g_assert_cmpint(outcome.revision, ==, before);
    g_assert_cmpuint(outcome.changes->len, ==, 0);
    check.kind = "Pod";
    assert_refused(subject, store, check, BERTH_ERROR_EXISTS);
    check.if_revision = BERTH_STORE_ANY;
    check.if_uid = "u1";
    g_auto(BerthOutcome) same = commit(subject, store, check);
    g_assert_cmpint(same.code, ==, -1);
}

static void
test_kind_project_and_name_are_the_key(BerthStoreSubject *subject, BerthStore *store)
{
    BerthStoreOp ops[] = {
        POD("x", .uid = "1", .body = "pod in p"), POD("x", .uid = "2", .body = "vm in p"),
        POD("x", .uid = "3", .body = "pod in q"), POD("x", .uid = "4", .body = "of the fleet")};
    ops[1].kind = "VM";
    ops[2].project = "q";
    ops[3].project = "";
    g_auto(BerthOutcome) outcome = commit_all(subject, store, ops, G_N_ELEMENTS(ops));
    g_assert_cmpstr(outcome.message, ==, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(ops); i++) {
        const BerthChange *change = outcome.changes->pdata[i];
        g_assert_cmpstr(change->row->body, ==, ops[i].body);
        g_assert_cmpstr(change->row->project, ==, ops[i].project);
    }
}

static void
test_any_text_comes_back(BerthStoreSubject *subject, BerthStore *store)
{
    static const char *const texts[] = {
        "",     "'", "\"; DROP TABLE objects; --", "\xc3\xa4\xf0\x9f\x9a\xa2", "\x01\n\r\t\x7f",
        "%s%n", "\\"};
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *name = g_strdup_printf("n%zu", i);
        g_auto(BerthOutcome) outcome =
            commit(subject, store, POD(name, .uid = "u", .body = texts[i], .status = texts[i]));
        const BerthRow *row = ((BerthChange *)outcome.changes->pdata[0])->row;
        g_assert_cmpstr(row->body, ==, texts[i]);
        g_assert_cmpstr(row->status, ==, texts[i]);
    }
    g_autoptr(GPtrArray) changes = changes_ok(store, 0, 100);
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_assert_cmpstr(((BerthChange *)changes->pdata[i])->row->body, ==, texts[i]);
    }
}

static void
test_delete_tells_the_last_row(BerthStoreSubject *subject, BerthStore *store)
{
    commit_ok(subject, store, POD("web", .uid = "u1", .body = "b", .status = "s"));
    g_auto(BerthOutcome) outcome = commit(subject, store, DELETE("web"));
    const BerthChange *change = outcome.changes->pdata[0];
    g_assert_true(change->deleted);
    g_assert_cmpint(change->revision, ==, 2);
    g_assert_cmpint(change->row->revision, ==, 1);
    g_assert_cmpstr(change->row->body, ==, "b");
    g_assert_cmpstr(change->row->status, ==, "s");
    gint64 again = commit_ok(subject, store, POD("web", .uid = "u2", .body = "n"));
    g_assert_cmpint(again, ==, 3);
}

/* ---- several steps, several transactions ---- */

static void
test_transactions_are_whole(BerthStoreSubject *subject, BerthStore *store)
{
    commit_ok(subject, store, POD("old", .uid = "u0", .body = "b"));
    BerthStoreOp ops[] = {POD("a", .uid = "u1", .body = "1"), DELETE("old"),
                          POD("b", .uid = "u2", .body = "2", .if_revision = 7)};
    g_auto(BerthOutcome) refused = commit_all(subject, store, ops, 3);
    g_assert_cmpint(refused.code, ==, BERTH_ERROR_NOT_FOUND);
    g_assert_cmpint(refused.failed_op, ==, 2);
    g_assert_cmpint(refused.revision, ==, 0);
    commit_ok(subject, store, POD("old", .status = "still there"));
    assert_refused(subject, store, POD("a", .status = "x"), BERTH_ERROR_NOT_FOUND);
    ops[2].if_revision = BERTH_STORE_ABSENT;
    g_auto(BerthOutcome) done = commit_all(subject, store, ops, 3);
    g_assert_cmpint(done.code, ==, -1);
    g_assert_cmpint(done.revision, ==, 3);
    g_assert_cmpuint(done.changes->len, ==, 3);
    for (guint i = 0; i < 3; i++) {
        g_assert_cmpint(((BerthChange *)done.changes->pdata[i])->revision, ==, 3);
    }
}

static void
test_steps_see_the_former_ones(BerthStoreSubject *subject, BerthStore *store)
{
    BerthStoreOp ops[] = {POD("a", .uid = "u1", .body = "1"), POD("a", .status = "s"), DELETE("a"),
                          POD("a", .uid = "u2", .body = "2", .if_revision = BERTH_STORE_ABSENT)};
    g_auto(BerthOutcome) outcome = commit_all(subject, store, ops, 4);
    g_assert_cmpstr(outcome.message, ==, NULL);
    g_assert_cmpuint(outcome.changes->len, ==, 4);
    g_assert_cmpstr(((BerthChange *)outcome.changes->pdata[1])->row->body, ==, "1");
    g_assert_cmpstr(((BerthChange *)outcome.changes->pdata[3])->row->uid, ==, "u2");
    g_autoptr(GPtrArray) changes = changes_ok(store, 0, 1);
    g_assert_cmpuint(changes->len, ==, 4);
    g_assert_true(((BerthChange *)changes->pdata[2])->deleted);
}

static void
test_an_empty_transaction_is_done(BerthStoreSubject *subject, BerthStore *store)
{
    g_auto(BerthOutcome) outcome = commit_all(subject, store, NULL, 0);
    g_assert_cmpint(outcome.code, ==, -1);
    g_assert_cmpint(outcome.revision, ==, 0);
}

typedef struct {
    gint64 last;
    guint told, refused;
} Order;

static void
note_order(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
           gpointer user_data)
{
    Order *order = user_data;
    order->told++;
    if (error != NULL) {
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_EXISTS);
        order->refused++;
        return;
    }
    g_assert_cmpint(revision, ==, order->last + 1);
    order->last = revision;
}

/* S6: 1,000 at one instant, each name twice. */
static void
test_one_wins_per_name(BerthStoreSubject *subject, BerthStore *store)
{
    Order order = {0};
    for (guint i = 0; i < 1000; i++) {
        g_autofree char *name = g_strdup_printf("n%u", i / 2);
        g_autofree char *uid = g_strdup_printf("u%u", i);
        BerthTransaction *transaction = berth_transaction_new();
        BerthStoreOp op = POD(name, .uid = uid, .body = "b", .if_revision = BERTH_STORE_ABSENT);
        berth_transaction_add(transaction, &op);
        store->ops->submit(store, transaction, note_order, &order);
        g_assert_cmpuint(order.told, ==, 0); /* never from inside submit() */
    }
    while (order.told < 1000) {
        subject->turn(store);
    }
    g_assert_cmpint(order.last, ==, 500);
    g_assert_cmpuint(order.refused, ==, 500);
}

typedef struct {
    BerthStore *store;
    BerthOutcome inner;
} Nested;

static void
submit_again(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
             gpointer user_data)
{
    Nested *nested = user_data;
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = POD("second", .uid = "u2", .body = "b");
    g_autoptr(GPtrArray) known = changes_ok(nested->store, 0, 10);
    g_assert_cmpuint(known->len, ==, 1); /* what is told is known to changes_since() */
    berth_transaction_add(transaction, &op);
    nested->store->ops->submit(nested->store, transaction, berth_outcome_done, &nested->inner);
}

static void
test_callbacks_may_submit(BerthStoreSubject *subject, BerthStore *store)
{
    Nested nested = {.store = store};
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = POD("first", .uid = "u1", .body = "b");
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, submit_again, &nested);
    wait_for(subject, store, &nested.inner);
    g_assert_cmpint(nested.inner.revision, ==, 2);
    berth_outcome_clear(&nested.inner);
}

static void
test_the_doers_callback_may_be_absent(BerthStoreSubject *subject, BerthStore *store)
{
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = POD("first", .uid = "u1", .body = "b");
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, NULL, NULL);
    g_assert_cmpint(commit_ok(subject, store, POD("first", .status = "s")), ==, 2);
}

/* ---- changes ---- */

static void
make_history(BerthStoreSubject *subject, BerthStore *store)
{
    BerthStoreOp pair[] = {POD("b", .uid = "u2", .body = "1"), POD("c", .uid = "u3", .body = "1")};
    commit_ok(subject, store, POD("a", .uid = "u1", .body = "1"));
    g_auto(BerthOutcome) second = commit_all(subject, store, pair, 2);
    commit_ok(subject, store, POD("a", .status = "s"));
    commit_ok(subject, store, DELETE("b"));
    g_assert_cmpint(second.revision, ==, 2);
}

static void
assert_changes(BerthStore *store, gint64 since, guint limit, const char *wanted)
{
    g_autoptr(GPtrArray) changes = changes_ok(store, since, limit);
    GString *found = g_string_new(NULL);
    for (guint i = 0; i < changes->len; i++) {
        const BerthChange *change = changes->pdata[i];
        g_string_append_printf(found, "%s%" G_GINT64_FORMAT "%s%s", i > 0 ? " " : "",
                               change->revision, change->deleted ? "-" : "+", change->row->name);
    }
    g_assert_cmpstr(found->str, ==, wanted);
    g_string_free(found, TRUE);
}

static void
test_changes_since(BerthStoreSubject *subject, BerthStore *store)
{
    assert_changes(store, 0, 10, "");
    make_history(subject, store);
    assert_changes(store, 0, 100, "1+a 2+b 2+c 3+a 4-b");
    assert_changes(store, 1, 100, "2+b 2+c 3+a 4-b");
    assert_changes(store, 4, 100, "");
    assert_changes(store, 0, 1, "1+a");
    assert_changes(store, 1, 1, "2+b 2+c"); /* never a part of a revision */
    assert_changes(store, 0, 2, "1+a 2+b 2+c");
    assert_changes(store, 2, 1, "3+a");
    g_autoptr(GError) error = NULL;
    g_assert_null(store->ops->changes_since(store, 5, 10, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_GONE);
}

static void
test_changes_wait_for_the_callback(BerthStoreSubject *subject, BerthStore *store)
{
    BerthOutcome outcome = {0};
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = POD("a", .uid = "u", .body = "b");
    commit_ok(subject, store, POD("z", .uid = "u", .body = "b"));
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, berth_outcome_done, &outcome);
    for (int i = 0; i < 20; i++) {
        assert_changes(store, 0, 10, "1+z");
        g_thread_yield();
    }
    wait_for(subject, store, &outcome);
    assert_changes(store, 0, 10, "1+z 2+a");
    berth_outcome_clear(&outcome);
}

static void
test_compaction(BerthStoreSubject *subject, BerthStore *store)
{
    make_history(subject, store);
    g_assert_cmpint(store->ops->oldest(store), ==, 0);
    store->ops->compact(store, 2);
    commit_ok(subject, store,
              POD("c", .status = "s")); /* compaction is done in the queue's order */
    g_assert_cmpint(store->ops->oldest(store), ==, 2);
    g_autoptr(GError) error = NULL;
    g_assert_null(store->ops->changes_since(store, 1, 10, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_GONE);
    g_assert_nonnull(strstr(error->message, "list again"));
    assert_changes(store, 2, 10, "3+a 4-b 5+c");
    store->ops->compact(store, 1); /* never back */
    commit_ok(subject, store, POD("a", .status = "t"));
    g_assert_cmpint(store->ops->oldest(store), ==, 2);
    store->ops->compact(store, 1000); /* never ahead */
    commit_ok(subject, store, POD("a", .status = "u"));
    g_assert_cmpint(store->ops->oldest(store), ==, 6);
    assert_changes(store, 6, 10, "7+a");
    gint64 kept = commit_ok(subject, store, POD("c", .body = "2", .if_uid = "u3"));
    g_assert_cmpint(kept, ==, 8); /* objects are not touched */
}

/* ---- load, free, reopen, backup ---- */

static void
test_load_an_empty_store(BerthStoreSubject *subject, BerthStore *store)
{
    g_autoptr(GPtrArray) rows = NULL;
    g_autoptr(GError) error = NULL;
    gint64 revision = -1;
    g_assert_true(store->ops->load(store, &rows, &revision, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(rows->len, ==, 0);
    g_assert_cmpint(revision, ==, 0);
}

static BerthStore *
reopen(BerthStoreSubject *subject, BerthStore *store, GPtrArray **rows, gint64 *revision)
{
    g_autoptr(GError) error = NULL;
    store = subject->reopen(store);
    g_assert_true(store->ops->load(store, rows, revision, &error));
    g_assert_no_error(error);
    return store;
}

static void
test_survives_its_end(BerthStoreSubject *subject, BerthStore *store)
{
    g_autoptr(GPtrArray) rows = NULL;
    gint64 revision;
    if (subject->reopen == NULL) {
        berth_store_free(store);
        g_test_skip("this store is made to forget");
        return;
    }
    make_history(subject, store);
    store->ops->compact(store, 1);
    store = reopen(subject, store, &rows, &revision);
    g_assert_cmpint(revision, ==, 4);
    g_assert_cmpuint(rows->len, ==, 2);
    g_assert_cmpstr(find_row(rows, "a")->status, ==, "s");
    g_assert_cmpint(find_row(rows, "a")->body_revision, ==, 1);
    g_assert_cmpint(find_row(rows, "a")->revision, ==, 3);
    g_assert_cmpint(store->ops->oldest(store), ==, 1);
    assert_changes(store, 1, 10, "2+b 2+c 3+a 4-b");
    g_assert_cmpint(commit_ok(subject, store, POD("d", .uid = "u", .body = "b")), ==, 5);
    berth_store_free(store);
}

/* The revision never steps back, even when what had the highest one is gone and compacted. */
static void
test_revision_survives_deletion(BerthStoreSubject *subject, BerthStore *store)
{
    g_autoptr(GPtrArray) rows = NULL;
    gint64 revision;
    if (subject->reopen == NULL) {
        berth_store_free(store);
        g_test_skip("this store is made to forget");
        return;
    }
    commit_ok(subject, store, POD("a", .uid = "u", .body = "b"));
    commit_ok(subject, store, DELETE("a"));
    store->ops->compact(store, 2);
    store = reopen(subject, store, &rows, &revision);
    g_assert_cmpint(revision, ==, 2);
    g_assert_cmpuint(rows->len, ==, 0);
    berth_store_free(store);
}

static void
submit_late(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer user_data)
{
    Nested *nested = user_data;
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = POD("late", .uid = "u2", .body = "b");
    g_assert_cmpint(revision, ==, 1);
    berth_transaction_add(transaction, &op);
    nested->store->ops->submit(nested->store, transaction, berth_outcome_done, &nested->inner);
}

static void
test_free_commits_what_waits(BerthStoreSubject *subject, BerthStore *store)
{
    Nested nested = {.store = store};
    BerthTransaction *transaction = berth_transaction_new();
    BerthStoreOp op = POD("a", .uid = "u1", .body = "b");
    berth_transaction_add(transaction, &op);
    store->ops->submit(store, transaction, submit_late, &nested);
    berth_store_free(store);
    g_assert_true(nested.inner.told);
    g_assert_cmpint(nested.inner.code, ==, BERTH_ERROR_UNAVAILABLE);
    berth_outcome_clear(&nested.inner);
}

static void
test_backup(BerthStoreSubject *subject, BerthStore *store)
{
    g_autoptr(GError) error = NULL;
    if (!subject->has_backup) {
        g_assert_false(store->ops->backup(store, "/nowhere/x", &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
        return;
    }
    make_history(subject, store);
    g_autofree char *path = g_build_filename(subject->folder, "copy", NULL);
    g_assert_true(store->ops->backup(store, path, &error));
    g_assert_no_error(error);
    g_assert_false(store->ops->backup(store, path, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_EXISTS);
    commit_ok(subject, store, POD("d", .uid = "u", .body = "b"));
    g_assert_cmpint(g_unlink(path), ==, 0);
}

/* ---- the suite ---- */

static void
run_case(gconstpointer data)
{
    const Case *test = data;
    BerthStore *store = test->subject->open();
    test->run(test->subject, store);
    /* These end the store themselves. */
    if (test->run != test_survives_its_end && test->run != test_revision_survives_deletion &&
        test->run != test_free_commits_what_waits) {
        berth_store_free(store);
    }
}

static void
add(BerthStoreSubject *subject, const char *sentence, StoreTest run)
{
    Case *test = g_new(Case, 1);
    *test = (Case){subject, run};
    g_autofree char *path = g_strdup_printf("/store/%s/%s", subject->name, sentence);
    g_test_add_data_func_full(path, test, run_case, g_free);
}

void
berth_conformance_store_add(BerthStoreSubject *subject)
{
    add(subject, "put-tells-the-whole-row", test_put_then_change);
    add(subject, "halves-are-written-apart", test_halves_are_written_apart);
    add(subject, "status-writes-do-not-disturb-if-revision",
        test_status_writes_do_not_disturb_if_revision);
    add(subject, "conditions-refuse-with-their-code", test_conditions);
    add(subject, "check-changes-nothing", test_check_changes_nothing);
    add(subject, "kind-project-and-name-are-the-key", test_kind_project_and_name_are_the_key);
    add(subject, "any-text-comes-back", test_any_text_comes_back);
    add(subject, "delete-tells-the-last-row", test_delete_tells_the_last_row);
    add(subject, "transactions-are-whole-and-have-one-revision", test_transactions_are_whole);
    add(subject, "steps-see-the-former-ones", test_steps_see_the_former_ones);
    add(subject, "an-empty-transaction-is-done", test_an_empty_transaction_is_done);
    add(subject, "of-1000-at-once-one-wins-per-name-in-order", test_one_wins_per_name);
    add(subject, "callbacks-may-submit", test_callbacks_may_submit);
    add(subject, "a-callback-is-not-needed", test_the_doers_callback_may_be_absent);
    add(subject, "changes-since-never-splits-a-revision", test_changes_since);
    add(subject, "changes-since-never-runs-ahead-of-callbacks", test_changes_wait_for_the_callback);
    add(subject, "compaction-makes-old-revisions-gone", test_compaction);
    add(subject, "an-empty-store-loads", test_load_an_empty_store);
    add(subject, "everything-survives-its-end", test_survives_its_end);
    add(subject, "the-revision-never-steps-back", test_revision_survives_deletion);
    add(subject, "free-commits-what-waits", test_free_commits_what_waits);
    add(subject, "backup-copies-and-never-overwrites", test_backup);
}
