/* What is held for those that displace others is enough, whoever comes meanwhile, and is the same from its record. */
#include "base/json.h"
#include "fixture.h"
#include "sched/fleet.h"
#include "sched/forecast.h"
#include "sched/holding.h"

#define HOSTS 3
#define MEMBERS_MAX 3

/* A request and what it points to; not to be copied. */
typedef struct {
    BerthRequest request;
    BerthDeviceNeed need;
    BerthAmount disk, count;
} Wish;

static BerthRequest *
draw_wish(GRand *dice, Wish *wish)
{
    static const char *const kinds[] = {"gpu", "nic"};
    *wish = (Wish){.request = {.cpu_millis = 1000 * g_rand_int_range(dice, 1, 4),
                               .memory_mib = 256 * g_rand_int_range(dice, 1, 12),
                               .overhead_mib = 64,
                               .numa = (BerthNumaPolicy)g_rand_int_range(dice, 0, 4),
                               .project = g_rand_boolean(dice) ? "p0" : "p1"},
                   .disk = {"local", 20480 * g_rand_int_range(dice, 0, 3)},
                   .count = {"licence", 1}};
    BerthRequest *r = &wish->request;
    guint kind = (guint)g_rand_int_range(dice, 0, 8);
    r->hugepage_kib = kind < 2 ? 2048 : 0;
    r->dedicated = kind == 1 || kind == 2;
    r->disks = &wish->disk;
    r->n_disks = wish->disk.amount > 0;
    r->counts = &wish->count;
    r->n_counts = kind == 3;
    if (kind > 4) {
        gboolean slice = kind == 7;
        wish->need = (BerthDeviceNeed){.kind = slice ? "gpu" : kinds[kind % 2],
                                       .count = slice ? 1 : (guint)g_rand_int_range(dice, 1, 3),
                                       .millis = slice ? 400 : 1000};
        r->devices = &wish->need;
        r->n_devices = 1;
    }
    return r;
}

static BerthSnapshot *
draw_fleet(GRand *dice)
{
    BerthSnapshot *s = berth_snapshot_new();
    for (guint h = 0; h < HOSTS; h++) {
        g_autofree char *name = g_strdup_printf("h%u", h);
        fixture_add(s, name);
    }
    for (guint i = 0; i < 30; i++) {
        Wish wish;
        g_autofree char *uid = g_strdup_printf("u%u", i);
        BerthRequest *r = draw_wish(dice, &wish);
        r->uid = uid;
        r->priority = g_rand_int_range(dice, 0, 3);
        r->preemptible = g_rand_int_range(dice, 0, 3) > 0;
        BerthDecision decision;
        berth_pick_and_charge(s, r, NULL, &decision, NULL);
    }
    return s;
}

static gboolean
fit_together(BerthSnapshot *s, const BerthRequest *requests, guint n, const BerthPreemption *p)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(s);
    g_autofree BerthRequest *pinned = g_memdup2(requests, n * sizeof(*requests));
    g_autofree BerthDecision *decisions = g_new0(BerthDecision, n);
    for (guint i = 0; p != NULL && i < n; i++) {
        pinned[i].host = berth_snapshot_host_name(s, p->placements[i].host);
    }
    return berth_pick_group(copy, pinned, n, NULL, decisions);
}

/* Others take whatever they get. */
static void
flood(BerthSnapshot *s, guint32 seed)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(seed);
    for (guint i = 0; i < 200; i++) {
        Wish wish;
        BerthDecision decision;
        berth_pick_and_charge(s, draw_wish(dice, &wish), NULL, &decision, NULL);
    }
}

static char *
rest_uid(guint i)
{
    return g_strdup_printf("rest%u", i);
}

static void
end_holds(BerthSnapshot *s, const BerthSnapshot *before, const BerthPreemption *p, guint n)
{
    for (guint v = 0; v < p->n_victims; v++) {
        berth_snapshot_release(s, berth_snapshot_charge_uid(before, p->victims[v]));
    }
    for (guint i = 0; i < n; i++) {
        g_autofree char *uid = rest_uid(i);
        berth_snapshot_release(s, uid);
    }
}

/* Whether those that asked find their room after a flood of others, with what is kept beside the victims or without. */
static gboolean
withstands(const BerthSnapshot *s, const BerthRequest *requests, guint n, const BerthPreemption *p,
           gboolean kept, guint32 seed)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(s);
    for (guint i = 0; kept && i < n; i++) {
        g_autofree char *uid = rest_uid(i);
        berth_holding_charge(copy, uid, p->placements[i].host,
                             json_object_get(json_array_get(p->rests, i), "holding"));
    }
    flood(copy, seed);
    end_holds(copy, s, p, n);
    return fit_together(copy, requests, n, p);
}

/* Nothing is kept twice: with the victims still there, no more is charged than the larger of both. */
static void
check_no_more(const BerthSnapshot *s, guint n, const BerthPreemption *p)
{
    for (guint i = 0; i < n; i++) {
        const json_t *holding = json_object_get(json_array_get(p->rests, i), "holding");
        guint32 host = p->placements[i].host;
        g_assert_cmpint(json_integer_value(json_object_get(holding, "cpu_millis")), <=,
                        MAX(0, s->cpu_free[host]));
        g_assert_cmpint(json_integer_value(json_object_get(holding, "memory_mib")), <=,
                        MAX(0, s->mem_free[host]));
    }
}

/* Random fleets: whatever others ask for while the victims stop, those that asked have room in the end. */
static void
test_room_withstands_a_flood(void)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(3);
    guint found = 0, in_vain = 0;
    for (guint round = 0; round < 600; round++) {
        g_autoptr(BerthSnapshot) s = draw_fleet(dice);
        guint n = (guint)g_rand_int_range(dice, 1, MEMBERS_MAX + 1);
        Wish wishes[MEMBERS_MAX];
        BerthRequest requests[MEMBERS_MAX];
        for (guint i = 0; i < n; i++) {
            requests[i] = *draw_wish(dice, &wishes[i]);
            requests[i].priority = 5;
            requests[i].project = "p0";
            /* Placed anew, it may find another way than was planned, which a fellow needs. */
            if (n > 1 && requests[i].numa == BERTH_NUMA_PREFER_ONE) {
                requests[i].numa = BERTH_NUMA_ANY;
            }
        }
        BerthPreemption p = {0};
        guint32 seed = g_rand_int(dice);
        if (!fit_together(s, requests, n, NULL) && berth_preempt_plan(s, requests, n, NULL, &p)) {
            found++;
            check_no_more(s, n, &p);
            g_assert_true(withstands(s, requests, n, &p, TRUE, seed));
            in_vain += !withstands(s, requests, n, &p, FALSE, seed);
        }
        berth_preemption_clear(&p);
    }
    g_assert_cmpuint(found, >, 150);
    g_assert_cmpuint(in_vain, >, 50);
}

/* A charge that is made anew from its holding is the same in every column. */
static void
test_holdings_are_exact(void)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(5);
    for (guint round = 0; round < 100; round++) {
        g_autoptr(BerthSnapshot) s = draw_fleet(dice);
        g_autoptr(BerthSnapshot) again = berth_snapshot_new();
        for (guint h = 0; h < HOSTS; h++) {
            fixture_add(again, berth_snapshot_host_name(s, h));
        }
        for (guint c = 0; c < s->charges->len; c++) {
            json_t *holding = berth_holding_of(s, c);
            const char *uid = berth_snapshot_charge_uid(s, c);
            berth_holding_charge(again, uid, berth_snapshot_charge_host(s, c), holding);
            json_t *copy = berth_holding_of(again, berth_snapshot_find_charge(again, uid));
            g_assert_true(json_equal(copy, holding));
            json_decref(copy);
            json_decref(holding);
        }
        g_assert_cmpmem(again->cpu_free, HOSTS * sizeof(gint32), s->cpu_free,
                        HOSTS * sizeof(gint32));
        g_assert_cmpmem(again->mem_free, HOSTS * sizeof(gint32), s->mem_free,
                        HOSTS * sizeof(gint32));
        for (guint h = 0; h < HOSTS; h++) {
            g_assert_cmpmem(berth_cells(again, h), 2 * sizeof(BerthCell), berth_cells(s, h),
                            2 * sizeof(BerthCell));
            for (guint i = 0; i < s->n_stocks[h]; i++) {
                g_assert_cmpint(berth_stocks(again, h)[i].used, ==, berth_stocks(s, h)[i].used);
            }
            for (guint i = 0; i < s->n_slots[h]; i++) {
                g_assert_cmpint(berth_slots(again, h)[i].used, ==, berth_slots(s, h)[i].used);
            }
        }
    }
}

/* Of the quota all is kept that is not given back by those of the same project. */
static void
test_quota_is_claimed_in_all_parts(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h = fixture_add(s, "h1");
    const BerthDeviceNeed needs[] = {{.kind = "gpu", .count = 1, .millis = 1000},
                                     {.kind = "nic", .count = 1, .millis = 1000}};
    BerthRequest r = fixture_request();
    r.project = "p";
    r.devices = needs;
    r.n_devices = 1;
    guint32 leaving = berth_snapshot_charge_on(s, &r, h);
    r.n_devices = 2;
    guint32 asker = berth_snapshot_charge_on(s, &r, h);
    g_autoptr(json_t) rests = berth_holding_rest(s, &asker, 1, &leaving, 1);
    json_t *claim = json_object_get(json_array_get(rests, 0), "claim");
    g_autoptr(json_t) left = json_pack("{s:i}", "device_millis", 1000);
    g_assert_true(json_equal(claim, left));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/holding/withstands-a-flood", test_room_withstands_a_flood);
    g_test_add_func("/sched/holding/claims-all-parts-of-a-quota",
                    test_quota_is_claimed_in_all_parts);
    g_test_add_func("/sched/holding/is-exact", test_holdings_are_exact);
    return g_test_run();
}
