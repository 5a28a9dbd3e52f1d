/* What a host answers late never overwrites newer knowledge: the fleet above a driver whose calls the test answers, in
 * the order that it likes. Nothing sleeps: the main loop runs until a call is there. */
#include "daemon/fleet.h"

#include "base/error.h"

#define PATIENCE_US (20 * G_USEC_PER_SEC)

/* ---- a driver in the test's hands --------------------------------------------------------------- */

/* A call that was not answered yet; @call NULL: connect. */
typedef struct {
    const BerthHostCall *call;
    BerthHostReply *reply;
    GError **error;
    BerthHostAnswer answer;
    gpointer user_data;
} Asked;

static GPtrArray *asked; /* of Asked, owned */

static void
begin(BerthHost *host, const BerthHostCall *call, BerthHostReply *reply, GError **error,
      BerthHostAnswer answer, gpointer user_data)
{
    Asked *one = g_new(Asked, 1);
    *one = (Asked){call, reply, error, answer, user_data};
    g_ptr_array_add(asked, one);
}

static void
ignore(BerthHost *host)
{
}

static BerthHost *
new_host(const BerthHostOptions *options, const BerthHostWatch *watch, gpointer user_data,
         GError **error)
{
    static const BerthHostOps ops = {.abandon = ignore, .free = ignore, .begin = begin};
    static BerthHost host = {&ops};
    return &host;
}

static Asked *
find(gboolean connect, BerthHostVerb verb)
{
    for (guint i = 0; i < asked->len; i++) {
        Asked *one = asked->pdata[i];
        if (connect ? one->call == NULL : one->call != NULL && one->call->verb == verb) {
            return one;
        }
    }
    return NULL;
}

/* The oldest call of @verb that waits for its answer; it is the caller's to answer. */
static Asked *
wait_for(gboolean connect, BerthHostVerb verb)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    while (find(connect, verb) == NULL) {
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        g_main_context_iteration(NULL, FALSE);
    }
    Asked *one = find(connect, verb);
    g_ptr_array_remove(asked, one);
    return one;
}

static void
answer(Asked *one)
{
    one->answer(*one->error == NULL, one->user_data);
    g_free(one);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* @names: of the volumes that are there, split by spaces. */
static void
answer_volumes(Asked *list, const char *names)
{
    g_auto(GStrv) words = g_strsplit(names, " ", -1);
    list->reply->volumes = g_ptr_array_new_with_free_func((GDestroyNotify)berth_volume_free);
    for (guint i = 0; words[i] != NULL; i++) {
        BerthVolume *volume = g_new0(BerthVolume, 1);
        volume->name = g_strdup(words[i]);
        volume->capacity = 1024;
        g_ptr_array_add(list->reply->volumes, volume);
    }
    answer(list);
}

/* ---- a fleet of one host -------------------------------------------------------------------------- */

typedef struct {
    BerthFleet *fleet;
    BerthFleetHost *host;
} Fixture;

static char *
accept_any(BerthFleetHost *host, const BerthInventory *inventory, gpointer user_data)
{
    return NULL;
}

static void
hear_host(BerthFleetHost *host, gpointer user_data)
{
}

static void
hear_domain(BerthFleetHost *host, const char *uuid, gpointer user_data)
{
}

static void
set_up(Fixture *f, gconstpointer unused)
{
    static const BerthHostDriver drivers[] = {{"fake", new_host}, {NULL, NULL}};
    static const BerthFleetListener listener = {accept_any, hear_host, hear_domain, hear_host};
    g_autoptr(GError) error = NULL;
    asked = g_ptr_array_new();
    f->fleet = berth_fleet_new("f1", "berth", drivers, berth_clock_system(), &listener, NULL);
    berth_fleet_put(f->fleet, "h1", "fake:///h1", &error);
    g_assert_no_error(error);
    answer(wait_for(TRUE, 0));
    Asked *inventory = wait_for(FALSE, BERTH_HOST_INVENTORY);
    inventory->reply->inventory = g_new0(BerthInventory, 1);
    answer(inventory);
    Asked *domains = wait_for(FALSE, BERTH_HOST_DOMAIN_LIST);
    domains->reply->domains = g_ptr_array_new();
    answer(domains);
    answer_volumes(wait_for(FALSE, BERTH_HOST_VOLUME_LIST), "stays goes");
    f->host = berth_fleet_get(f->fleet, "h1");
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
    berth_fleet_free(f->fleet);
    g_ptr_array_set_free_func(asked, g_free);
    g_ptr_array_unref(asked);
}

static gboolean
knows(const Fixture *f, const char *volume)
{
    return g_hash_table_contains(f->host->volumes, volume);
}

/* ---- tests --------------------------------------------------------------------------------------- */

/* Asked for while the volume is being deleted, answered with it: the host had not come to that yet. */
static void
test_list_during_a_deletion(Fixture *f, gconstpointer unused)
{
    g_assert_true(knows(f, "goes") && knows(f, "stays"));
    berth_fleet_volume_leaves(f->host, "goes");
    g_assert_false(knows(f, "goes"));
    berth_fleet_list_volumes(f->host);
    answer_volumes(wait_for(FALSE, BERTH_HOST_VOLUME_LIST), "stays goes");
    g_assert_true(knows(f, "stays"));
    g_assert_false(knows(f, "goes"));
    berth_fleet_volume_left(f->host, "goes", TRUE);
    g_assert_false(knows(f, "goes"));
    /* A new one of that name is seen as any is. */
    berth_fleet_list_volumes(f->host);
    answer_volumes(wait_for(FALSE, BERTH_HOST_VOLUME_LIST), "stays goes");
    g_assert_true(knows(f, "goes"));
}

/* Asked for while the volume is being deleted, answered only after that. */
static void
test_list_that_outlasts_a_deletion(Fixture *f, gconstpointer unused)
{
    berth_fleet_volume_leaves(f->host, "goes");
    berth_fleet_list_volumes(f->host);
    Asked *list = wait_for(FALSE, BERTH_HOST_VOLUME_LIST);
    berth_fleet_volume_left(f->host, "goes", TRUE);
    answer_volumes(list, "stays goes");
    g_assert_true(knows(f, "stays"));
    g_assert_false(knows(f, "goes"));
}

/* The deletion failed: whether the volume is there is for the next list to say, and in doubt until then. */
static void
test_deletion_that_failed(Fixture *f, gconstpointer unused)
{
    berth_fleet_volume_leaves(f->host, "goes");
    berth_fleet_volume_left(f->host, "goes", FALSE);
    g_assert_true(berth_fleet_is_doubtful(f->host));
    g_assert_false(knows(f, "goes"));
    answer_volumes(wait_for(FALSE, BERTH_HOST_VOLUME_LIST), "stays goes");
    g_assert_false(berth_fleet_is_doubtful(f->host));
    g_assert_true(knows(f, "goes"));
}

/* A volume that was made after the list was asked for is not lost by it. */
static void
test_list_that_is_older_than_a_volume(Fixture *f, gconstpointer unused)
{
    berth_fleet_list_volumes(f->host);
    Asked *list = wait_for(FALSE, BERTH_HOST_VOLUME_LIST);
    berth_fleet_note_volume(f->host, "new", 1024);
    answer_volumes(list, "stays goes");
    g_assert_true(knows(f, "new") && knows(f, "stays"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add("/daemon/fleet/" path, Fixture, NULL, set_up, test, tear_down)
    ADD("a-list-during-a-deletion-does-not-bring-the-volume-back", test_list_during_a_deletion);
    ADD("a-list-that-outlasts-a-deletion-neither", test_list_that_outlasts_a_deletion);
    ADD("a-deletion-that-failed-is-in-doubt-until-the-next-list", test_deletion_that_failed);
    ADD("a-list-that-is-older-than-a-volume-does-not-lose-it",
        test_list_that_is_older_than_a_volume);
    return g_test_run();
}
