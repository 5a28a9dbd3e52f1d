/* Groups are all or none, batches put the largest first, preemption harms least. */
#include "fixture.h"
#include "sched/fleet.h"
#include "sched/forecast.h"
#include "sched/group.h"
#include "sched/mix-typical.h"

static guint32
add_plain(BerthSnapshot *s, const char *name, gint64 vcpus)
{
    BerthHost host = {
        .name = name, .cpu_millis = vcpus * 1000, .memory_mib = 65536, .state = BERTH_HOST_READY};
    guint32 index = BERTH_HOST_NONE;
    berth_snapshot_put_host(s, &host, &index, NULL);
    return index;
}

static void
test_group_is_all_or_none(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    add_plain(s, "h1", 4);
    add_plain(s, "h2", 4);
    BerthRelation apart = {.kind = BERTH_RELATION_APART, .group = "db"};
    BerthRequest member = {.cpu_millis = 1000,
                           .memory_mib = 1024,
                           .group = "db",
                           .relations = &apart,
                           .n_relations = 1};
    BerthRequest three[] = {member, member, member};
    BerthDecision decisions[3];
    g_assert_false(berth_pick_group(s, three, 3, NULL, decisions));
    for (guint32 h = 0; h < 2; h++) {
        BerthUsage usage;
        berth_snapshot_host_usage(s, h, &usage);
        g_assert_cmpuint(usage.workloads, ==, 0);
    }
    g_assert_true(berth_pick_group(s, three, 2, NULL, decisions));
    g_assert_cmpuint(decisions[0].placement.host, !=, decisions[1].placement.host);
}

/* Both halves of the second one need what the first one would rather have. */
static void
test_a_preference_refuses_no_fellow(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHostCell cell = {.cpu_millis = 4000, .memory_mib = 8192}, cells[] = {cell, cell};
    BerthHost host = {.name = "h1",
                      .cpu_millis = 8000,
                      .memory_mib = 16384,
                      .cells = cells,
                      .n_cells = 2,
                      .state = BERTH_HOST_READY};
    berth_snapshot_put_host(s, &host, NULL, NULL);
    BerthRequest both[] = {
        {.cpu_millis = 4000, .memory_mib = 6000, .numa = BERTH_NUMA_PREFER_ONE},
        {.cpu_millis = 4000, .memory_mib = 4000, .numa = BERTH_NUMA_TWO},
    };
    BerthDecision decisions[2];
    g_assert_true(berth_pick_group(s, both, 2, NULL, decisions));
    g_assert_cmpuint(decisions[0].placement.cells[0], ==, BERTH_CELL_NONE);
    g_assert_cmpuint(decisions[1].placement.cells[1], !=, BERTH_CELL_NONE);
    BerthUsage usage;
    berth_snapshot_host_usage(s, 0, &usage);
    g_assert_cmpuint(usage.workloads, ==, 2);
}

/* Its members' places are tried and given up: nothing is learned from that. */
static void
test_a_refused_group_leaves_no_trace(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    add_plain(s, "h1", 64);
    for (guint i = 0; i < 31; i++) {
        BerthRequest r = {.cpu_millis = 1000, .memory_mib = 1024};
        BerthDecision decision;
        g_assert_true(berth_pick_and_charge(s, &r, NULL, &decision, NULL));
    }
    BerthRequest half = {.cpu_millis = 20000, .memory_mib = 8192, .image = "i"};
    BerthRequest both[] = {half, half};
    BerthDecision decisions[2];
    guint64 version = s->version;
    BerthMix *before = berth_mix_copy(s->mix);
    g_assert_false(berth_pick_group(s, both, 2, NULL, decisions));
    g_assert_cmpuint(s->version, ==, version);
    g_assert_cmpmem(s->mix, sizeof(BerthMix), before, sizeof(BerthMix));
    g_assert_true(s->images[0] == NULL || s->images[0][0] == 0);
    berth_mix_free(before);
}

static void
test_batch_places_more_than_one_by_one(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    add_plain(s, "h1", 4);
    add_plain(s, "h2", 4);
    BerthRequest small = {.cpu_millis = 1000, .memory_mib = 1024};
    BerthRequest large = {.cpu_millis = 4000, .memory_mib = 1024};
    BerthRequest batch[] = {small, small, small, small, large};
    batch[0].host = "h1";
    BerthDecision decisions[5];
    g_assert_cmpuint(berth_pick_batch(s, batch, 5, NULL, decisions), >=, 4);
    g_assert_true(decisions[4].placed);
}

static guint32
run(BerthSnapshot *s, const char *uid, gint64 vcpus, gint priority, gboolean preemptible,
    guint32 host)
{
    BerthRequest r = {.uid = uid,
                      .cpu_millis = vcpus * 1000,
                      .memory_mib = 1024,
                      .priority = priority,
                      .preemptible = preemptible};
    return berth_snapshot_charge_on(s, &r, host);
}

static void
test_preemption_harms_least(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = add_plain(s, "h1", 4), h2 = add_plain(s, "h2", 4);
    run(s, "a", 4, 3, TRUE, h1);
    run(s, "b", 1, 5, FALSE, h2);
    guint32 c = run(s, "c", 2, 1, TRUE, h2);
    run(s, "d", 1, 2, TRUE, h2);
    BerthRequest r = {.cpu_millis = 2000, .memory_mib = 1024, .priority = 10};
    BerthPreemption p;
    g_assert_false(fits(s, &r));
    g_assert_true(berth_preempt_plan(s, &r, 1, NULL, &p));
    g_assert_cmpuint(p.n_victims, ==, 1);
    g_assert_cmpuint(p.victims[0], ==, c);
    g_assert_cmpuint(p.placements[0].host, ==, h2);
    berth_preemption_clear(&p);
    r.priority = 1;
    g_assert_false(berth_preempt_plan(s, &r, 1, NULL, &p));
    berth_preemption_clear(&p);
}

/* There is room, but it is kept for another project: who is lesser makes way all the same. */
static void
test_what_is_reserved_displaces_others(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = add_plain(s, "h1", 4), h2 = add_plain(s, "h2", 4);
    guint32 a = run(s, "a", 2, 1, TRUE, h1);
    run(s, "b", 1, 5, FALSE, h2);
    berth_snapshot_set_reserved(s, "p", 5000, 0);
    BerthRequest r = {.cpu_millis = 2000, .memory_mib = 1024, .priority = 10};
    BerthPreemption p;
    g_assert_false(fits(s, &r));
    g_assert_true(berth_preempt_plan(s, &r, 1, NULL, &p));
    g_assert_cmpuint(p.n_victims, ==, 1);
    g_assert_cmpuint(p.victims[0], ==, a);
    berth_preemption_clear(&p);
    berth_snapshot_set_reserved(s, "p", 6000, 0); /* 7 are left without the victim */
    g_assert_false(berth_preempt_plan(s, &r, 1, NULL, &p));
    berth_preemption_clear(&p);
}

/* Random fleets: with the victims gone it fits, with any of them back it doesn't, and nothing else changed. */
static void
test_preemption_names_no_one_too_many(void)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(7);
    guint found = 0;
    for (guint round = 0; round < 200; round++) {
        g_autoptr(BerthSnapshot) s = berth_snapshot_new();
        for (guint h = 0; h < 4; h++) {
            g_autofree char *name = g_strdup_printf("h%u", h);
            add_plain(s, name, 8);
        }
        for (guint i = 0; i < 40; i++) {
            g_autofree char *uid = g_strdup_printf("u%u", i);
            run(s, uid, g_rand_int_range(dice, 1, 4), g_rand_int_range(dice, 0, 5),
                g_rand_boolean(dice), (guint32)g_rand_int_range(dice, 0, 4));
        }
        BerthRequest r = {.cpu_millis = 1000 * g_rand_int_range(dice, 1, 7),
                          .memory_mib = 1024,
                          .priority = g_rand_int_range(dice, 0, 5)};
        BerthPreemption p;
        if (fits(s, &r) || !berth_preempt_plan(s, &r, 1, NULL, &p)) {
            continue;
        }
        found++;
        for (guint back = 0; back <= p.n_victims; back++) {
            g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(s);
            for (guint v = 0; v < p.n_victims; v++) {
                const BerthCharge *charge = berth_charge(s, p.victims[v]);
                g_assert_true(charge->preemptible && charge->priority < r.priority);
                g_assert_cmpuint(charge->host, ==, p.placements[0].host);
                if (v != back) {
                    berth_snapshot_release(copy, charge->uid);
                }
            }
            r.host = berth_snapshot_host_name(s, p.placements[0].host);
            g_assert_cmpint(fits(copy, &r), ==, back == p.n_victims);
            r.host = NULL;
        }
        g_assert_false(fits(s, &r));
        berth_preemption_clear(&p);
    }
    g_assert_cmpuint(found, >, 20);
}

/* ---- several together -------------------------------------------------------------------------- */

/* Whether all of @requests have room, each on the host that it was given, but for the victim @back that stays. */
static gboolean
fit_together(const BerthSnapshot *s, const BerthRequest *requests, guint n,
             const BerthPreemption *p, guint back)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(s);
    g_autofree BerthRequest *pinned = g_memdup2(requests, n * sizeof(*requests));
    g_autofree BerthDecision *decisions = g_new0(BerthDecision, n);
    for (guint v = 0; v < p->n_victims; v++) {
        if (v != back) {
            berth_snapshot_release(copy, berth_charge(s, p->victims[v])->uid);
        }
    }
    for (guint i = 0; i < n; i++) {
        pinned[i].host = berth_snapshot_host_name(s, p->placements[i].host);
    }
    return berth_pick_group(copy, pinned, n, NULL, decisions);
}

static void
check_together(const BerthSnapshot *s, const BerthRequest *requests, guint n,
               const BerthPreemption *p)
{
    for (guint v = 0; v < p->n_victims; v++) {
        const BerthCharge *charge = berth_charge(s, p->victims[v]);
        const BerthRequest *asker = &requests[p->askers[v]];
        g_assert_true(charge->preemptible && charge->priority < asker->priority);
        g_assert_cmpuint(charge->host, ==, p->placements[p->askers[v]].host);
        g_assert_false(fit_together(s, requests, n, p, v));
    }
    g_assert_true(fit_together(s, requests, n, p, G_MAXUINT));
}

/* Whether there would be room if all that are less than the least of them were gone. */
static gboolean
could_fit(const BerthSnapshot *s, const BerthRequest *requests, guint n)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(s);
    g_autofree BerthDecision *decisions = g_new0(BerthDecision, n);
    gint least = G_MAXINT;
    for (guint i = 0; i < n; i++) {
        least = MIN(least, requests[i].priority);
    }
    for (guint c = 0; c < s->charges->len; c++) {
        const BerthCharge *charge = berth_charge(s, c);
        if (charge->uid != NULL && charge->preemptible && charge->priority < least) {
            berth_snapshot_release(copy, charge->uid);
        }
    }
    return berth_pick_group(copy, requests, n, NULL, decisions);
}

static gboolean
fits_now(const BerthSnapshot *s, const BerthRequest *requests, guint n)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(s);
    g_autofree BerthDecision *decisions = g_new0(BerthDecision, n);
    return berth_pick_group(copy, requests, n, NULL, decisions);
}

#define MEMBERS_MAX 4

static guint
draw_group(GRand *dice, BerthRequest *requests, const BerthRelation *relation)
{
    guint n = (guint)g_rand_int_range(dice, 2, MEMBERS_MAX + 1);
    gboolean related = g_rand_int_range(dice, 0, 3) == 0;
    for (guint i = 0; i < n; i++) {
        requests[i] = (BerthRequest){.cpu_millis = 1000 * g_rand_int_range(dice, 1, 6),
                                     .memory_mib = 1024,
                                     .group = "db",
                                     .priority = g_rand_int_range(dice, 1, 6),
                                     .preemptible = g_rand_boolean(dice),
                                     .relations = relation,
                                     .n_relations = related};
    }
    return n;
}

static BerthSnapshot *
draw_fleet(GRand *dice)
{
    BerthSnapshot *s = berth_snapshot_new();
    for (guint h = 0; h < 4; h++) {
        g_autofree char *name = g_strdup_printf("h%u", h);
        add_plain(s, name, 8);
    }
    for (guint i = 0; i < 16; i++) {
        g_autofree char *uid = g_strdup_printf("u%u", i);
        run(s, uid, g_rand_int_range(dice, 1, 5), g_rand_int_range(dice, 0, 5),
            g_rand_int_range(dice, 0, 4) > 0, i % 4);
    }
    return s;
}

static void
add_sized(BerthSnapshot *s, const char *name, const char *rack, gint64 vcpus)
{
    BerthLabel label = {"size", name};
    BerthHost host = {.name = name,
                      .cpu_millis = 1000 * vcpus,
                      .memory_mib = 65536,
                      .rack = rack,
                      .labels = &label,
                      .n_labels = 1,
                      .state = BERTH_HOST_READY};
    g_assert_true(berth_snapshot_put_host(s, &host, NULL, NULL));
}

/* The first would like a host best where the others have no room. One belongs to nobody. */
static void
try_each_place(BerthScope scope)
{
    static const char *const small = "small";
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    add_sized(s, "small", "r1", 3);
    add_sized(s, "large", "r2", 8);
    BerthRelation together = {.kind = BERTH_RELATION_TOGETHER, .scope = scope, .group = "db"};
    BerthExpression likes = {.key = "size",
                             .operator= BERTH_OPERATOR_IN,
                             .values = &small,
                             .n_values = 1,
                             .weight = 100};
    BerthRequest r = {.cpu_millis = 2000,
                      .memory_mib = 1024,
                      .group = "db",
                      .relations = &together,
                      .n_relations = 1,
                      .selectors = &likes,
                      .n_selectors = 1};
    BerthRequest three[] = {r, r, {.cpu_millis = 1500, .memory_mib = 512}};
    BerthDecision decisions[3];
    g_assert_true(berth_pick(s, &r, NULL, &decisions[0]));
    g_assert_cmpuint(decisions[0].placement.host, ==, 0);
    g_assert_true(berth_pick_group(s, three, 3, NULL, decisions));
    g_assert_true(decisions[0].led);
    g_assert_cmpuint(decisions[0].placement.host, ==, 1);
    g_assert_cmpuint(decisions[1].placement.host, ==, 1);
    g_assert_cmpuint(s->charge_count[0] + s->charge_count[1], ==, 3);
    /* Two more of four vCPUs belong to those that are there, and only one has room. */
    three[0].cpu_millis = three[1].cpu_millis = 3000;
    guint there = s->charge_count[1];
    g_assert_false(berth_pick_group(s, three, 2, NULL, decisions));
    g_assert_false(decisions[0].placed);
    g_assert_cmpuint(s->charge_count[1], ==, there);
}

static void
test_those_who_belong_together_try_each_place(void)
{
    try_each_place(BERTH_SCOPE_HOST);
    try_each_place(BERTH_SCOPE_RACK);
}

/* Random fleets and groups, some of whose members belong together or apart: with the victims gone all of them fit, with
 * any of them back they don't, a way is found whenever stopping everybody would make one, and nothing changed. */
static void
test_groups_displace_no_one_too_many(void)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(11);
    guint found = 0, spread = 0;
    for (guint round = 0; round < 2000; round++) {
        g_autoptr(BerthSnapshot) s = draw_fleet(dice);
        BerthRelation relation = {.kind = g_rand_boolean(dice) ? BERTH_RELATION_APART
                                                               : BERTH_RELATION_TOGETHER,
                                  .group = "db"};
        BerthRequest requests[MEMBERS_MAX];
        guint n = draw_group(dice, requests, &relation);
        BerthPreemption p;
        guint64 version = s->version;
        if (fits_now(s, requests, n)) {
            continue;
        }
        if (!berth_preempt_plan(s, requests, n, NULL, &p)) {
            g_assert_false(could_fit(s, requests, n));
            berth_preemption_clear(&p);
            continue;
        }
        found++;
        spread += berth_charge(s, p.victims[0])->host !=
                  berth_charge(s, p.victims[p.n_victims - 1])->host;
        check_together(s, requests, n, &p);
        g_assert_cmpuint(s->version, ==, version);
        berth_preemption_clear(&p);
    }
    g_assert_cmpuint(found, >, 300);
    g_assert_cmpuint(spread, >, 100);
}

/* Random fleets: all of a group get one host whenever there is one with room for all. */
static void
test_one_host_is_found_whenever_there_is_one(void)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(13);
    const BerthRelation together = {.kind = BERTH_RELATION_TOGETHER, .group = "db"};
    guint led = 0, refused = 0;
    for (guint round = 0; round < 500; round++) {
        g_autoptr(BerthSnapshot) s = berth_snapshot_new();
        for (guint h = 0; h < 4; h++) {
            g_autofree char *name = g_strdup_printf("h%u", h);
            add_plain(s, name, 8);
            run(s, name, g_rand_int_range(dice, 0, 8), 0, FALSE, h);
        }
        BerthRequest requests[MEMBERS_MAX];
        BerthDecision decisions[MEMBERS_MAX];
        guint n = draw_group(dice, requests, &together);
        gint64 cpu = 0;
        gboolean possible = FALSE;
        for (guint i = 0; i < n; i++) {
            requests[i].cpu_millis = MIN(requests[i].cpu_millis, 2000);
            requests[i].relations = &together;
            requests[i].n_relations = 1;
            cpu += requests[i].cpu_millis;
        }
        for (guint32 h = 0; h < s->end; h++) {
            possible |= s->cpu_free[h] >= cpu;
        }
        guint32 before = s->charge_count[0] + s->charge_count[1];
        g_assert_cmpint(berth_pick_group(s, requests, n, NULL, decisions), ==, possible);
        led += possible && decisions[0].led;
        refused += !possible;
        g_assert_true(possible || s->charge_count[0] + s->charge_count[1] == before);
    }
    g_assert_cmpuint(led, >, 20);
    g_assert_cmpuint(refused, >, 20);
}

/* The one that is more than the victim asks for it, and the other comes along. */
static void
test_one_victim_makes_room_for_two(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = add_plain(s, "h1", 4);
    guint32 lesser = run(s, "lesser", 4, 2, TRUE, h1);
    BerthRequest member = {
        .cpu_millis = 2000, .memory_mib = 1024, .group = "db", .priority = 1, .preemptible = TRUE};
    BerthRequest two[] = {member, member};
    BerthPreemption p;
    g_assert_false(berth_preempt_plan(s, two, 2, NULL, &p));
    berth_preemption_clear(&p);
    two[1].priority = 3;
    g_assert_true(berth_preempt_plan(s, two, 2, NULL, &p));
    g_assert_cmpuint(p.n_victims, ==, 1);
    g_assert_cmpuint(p.victims[0], ==, lesser);
    g_assert_cmpuint(p.askers[0], ==, 1);
    g_assert_cmpuint(p.placements[0].host, ==, h1);
    berth_preemption_clear(&p);
}

/* A member that has its place stays, whatever its priority. */
static void
test_no_one_displaces_a_fellow(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = add_plain(s, "h1", 4);
    BerthRequest fellow = {.uid = "fellow",
                           .cpu_millis = 3000,
                           .memory_mib = 1024,
                           .group = "db",
                           .preemptible = TRUE};
    BerthRequest more = {
        .uid = "more", .cpu_millis = 3000, .memory_mib = 1024, .group = "db", .priority = 5};
    BerthPreemption p;
    berth_snapshot_charge_on(s, &fellow, h1);
    g_assert_false(berth_preempt_plan(s, &more, 1, NULL, &p));
    more.group = "web";
    g_assert_true(berth_preempt_plan(s, &more, 1, NULL, &p));
    berth_preemption_clear(&p);
}

/* Who is taken away for a trial is away for the rules about others, too, also for those that name one. */
static void
test_displaces_one_that_it_must_be_apart_from(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = add_plain(s, "h1", 4);
    BerthLabel name = {"name", "old"};
    BerthRequest old = {.uid = "old",
                        .cpu_millis = 1000,
                        .memory_mib = 1024,
                        .preemptible = TRUE,
                        .labels = &name,
                        .n_labels = 1};
    BerthRelation relation = {.kind = BERTH_RELATION_APART, .label = {"name", "old"}};
    BerthRequest r = {.cpu_millis = 1000,
                      .memory_mib = 1024,
                      .priority = 1,
                      .relations = &relation,
                      .n_relations = 1};
    BerthPreemption p;
    guint32 charge = berth_snapshot_charge_on(s, &old, h1);
    g_assert_true(berth_preempt_plan(s, &r, 1, NULL, &p));
    g_assert_cmpuint(p.n_victims, ==, 1);
    g_assert_cmpuint(p.victims[0], ==, charge);
    berth_preemption_clear(&p);
    relation.kind = BERTH_RELATION_TOGETHER;
    r.cpu_millis = 4000;                                   /* so it would have to go */
    g_assert_true(berth_preempt_plan(s, &r, 1, NULL, &p)); /* and then this one is the first */
    berth_preemption_clear(&p);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/group/is-all-or-none", test_group_is_all_or_none);
    g_test_add_func("/sched/group/preference-refuses-no-fellow",
                    test_a_preference_refuses_no_fellow);
    g_test_add_func("/sched/group/leaves-no-trace", test_a_refused_group_leaves_no_trace);
    g_test_add_func("/sched/batch/places-the-largest-first",
                    test_batch_places_more_than_one_by_one);
    g_test_add_func("/sched/group/tries-each-place", test_those_who_belong_together_try_each_place);
    g_test_add_func("/sched/group/finds-one-host-whenever-there-is-one",
                    test_one_host_is_found_whenever_there_is_one);
    g_test_add_func("/sched/preempt/harms-least", test_preemption_harms_least);
    g_test_add_func("/sched/preempt/names-no-one-too-many", test_preemption_names_no_one_too_many);
    g_test_add_func("/sched/preempt/groups-displace-no-one-too-many",
                    test_groups_displace_no_one_too_many);
    g_test_add_func("/sched/preempt/one-victim-makes-room-for-two",
                    test_one_victim_makes_room_for_two);
    g_test_add_func("/sched/preempt/displaces-one-that-it-must-be-apart-from",
                    test_displaces_one_that_it_must_be_apart_from);
    g_test_add_func("/sched/preempt/what-is-reserved-displaces-others",
                    test_what_is_reserved_displaces_others);
    g_test_add_func("/sched/preempt/no-one-displaces-a-fellow", test_no_one_displaces_a_fellow);
    return g_test_run();
}
