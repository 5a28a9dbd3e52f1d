/* Reservations on random fleets, beside a count of all: the sums behind them follow every change of hosts, charges and
 * reservations; nothing is placed that is kept for others, and nothing refused for them that isn't. */
#include "sched/explain.h"
#include "sched/forecast.h"
#include "sched/reserved.h"
#include "tests/unit/sched/random-fleet.h"

static const char *const projects[] = {"p0", "p1"};
static guint refused_for_others;

static void
count_free(const BerthSnapshot *s, gint64 *cpu_millis, gint64 *memory_mib)
{
    *cpu_millis = *memory_mib = 0;
    for (guint32 h = 0; h < s->end; h++) {
        if (!berth_host_is_schedulable(s, h)) {
            continue;
        }
        BerthUsage usage;
        berth_snapshot_host_usage(s, h, &usage);
        *cpu_millis += usage.cpu_millis - usage.cpu_used_millis;
        *memory_mib += usage.memory_mib - usage.memory_used_mib;
        for (guint cell = 0; cell < s->n_cells[h]; cell++) {
            *memory_mib += 2 * berth_snapshot_free_pages(s, h, cell, 2048) +
                           1024 * berth_snapshot_free_pages(s, h, cell, 1048576);
        }
        for (guint i = 0; i < s->n_stocks[h]; i++) {
            const BerthStock *stock = &berth_stocks(s, h)[i];
            *cpu_millis +=
                stock->kind == BERTH_STOCK_CPU ? 1000 * (stock->capacity - stock->used) : 0;
        }
    }
}

static void
assert_counted(const BerthSnapshot *s)
{
    gint64 cpu_millis, memory_mib, open_cpu_millis = 0, open_memory_mib = 0;
    guint reserving = 0;
    for (guint i = 0; i < G_N_ELEMENTS(projects); i++) {
        gpointer symbol = g_hash_table_lookup(s->symbols.ids, projects[i]);
        const BerthShare *share = berth_snapshot_share(s, GPOINTER_TO_UINT(symbol));
        if (share != NULL) {
            open_cpu_millis += MAX(0, share->reserved_cpu_millis - MAX(0, share->cpu_used_millis));
            open_memory_mib += MAX(0, share->reserved_memory_mib - MAX(0, share->memory_used_mib));
            reserving += share->reserved_cpu_millis > 0 || share->reserved_memory_mib > 0;
        }
    }
    g_assert_cmpint(s->reserved != NULL, ==, reserving > 0);
    if (s->reserved != NULL) {
        count_free(s, &cpu_millis, &memory_mib);
        g_assert_cmpint(s->reserved->free_cpu_millis, ==, cpu_millis);
        g_assert_cmpint(s->reserved->free_memory_mib, ==, memory_mib);
        g_assert_cmpint(s->reserved->open_cpu_millis, ==, open_cpu_millis);
        g_assert_cmpint(s->reserved->open_memory_mib, ==, open_memory_mib);
    }
}

/* What a request that asks for so much has to leave alone, and what would be left. */
typedef struct {
    gint64 free_cpu_millis, free_memory_mib; /* of the fleet */
    gint64 own_cpu_millis, own_memory_mib;   /* reserved for its project, and not held */
    gint64 others_cpu_millis, others_memory_mib;
} Due;

static Due
count_due(const BerthSnapshot *s, const char *project)
{
    Due due = {0};
    count_free(s, &due.free_cpu_millis, &due.free_memory_mib);
    for (guint i = 0; i < G_N_ELEMENTS(projects); i++) {
        gpointer symbol = g_hash_table_lookup(s->symbols.ids, projects[i]);
        const BerthShare *share = berth_snapshot_share(s, GPOINTER_TO_UINT(symbol));
        gboolean own = g_strcmp0(projects[i], project) == 0;
        if (share != NULL) {
            gint64 cpu = MAX(0, share->reserved_cpu_millis - MAX(0, share->cpu_used_millis));
            gint64 memory = MAX(0, share->reserved_memory_mib - MAX(0, share->memory_used_mib));
            *(own ? &due.own_cpu_millis : &due.others_cpu_millis) += cpu;
            *(own ? &due.own_memory_mib : &due.others_memory_mib) += memory;
        }
    }
    return due;
}

/* @before, @after: of what was just placed. */
static void
assert_left_to_others(const Due *before, const Due *after)
{
    gint64 cpu = before->free_cpu_millis - after->free_cpu_millis;
    gint64 memory = before->free_memory_mib - after->free_memory_mib;
    g_assert_true(cpu <= before->own_cpu_millis ||
                  after->free_cpu_millis >= after->others_cpu_millis);
    g_assert_true(memory <= before->own_memory_mib ||
                  after->free_memory_mib >= after->others_memory_mib);
}

/* Who is refused for others has asked for more than they leave; one more host, if that is the remedy, is enough. */
static void
assert_refused_rightly(World *w, const Wish *wish, const Due *due)
{
    BerthDecision decision;
    g_autoptr(BerthExplanation) e = berth_explain(w->snapshot, &wish->request, NULL);
    g_assert_false(e->fits);
    for (guint i = 0; i < e->refusals->len; i++) {
        const BerthRefusal *r = &g_array_index(e->refusals, BerthRefusal, i);
        if (g_str_equal(r->code, "unreserved")) {
            gboolean cpu = g_str_equal(r->dimension, "cpu_millis");
            gint64 left = cpu ? due->free_cpu_millis - due->others_cpu_millis
                              : due->free_memory_mib - due->others_memory_mib;
            g_assert_cmpint(r->have, ==, left);
            g_assert_cmpint(r->need, >, MAX(left, cpu ? due->own_cpu_millis : due->own_memory_mib));
            refused_for_others++;
        }
    }
    if (e->fix.kind == BERTH_FIX_ADD_HOST) {
        g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(w->snapshot);
        berth_forecast_add_like(copy, e->fix.host, NULL);
        g_assert_true(berth_pick(copy, &wish->request, NULL, &decision));
    }
}

static void
ask_for_a_place(World *w)
{
    BerthDecision decision;
    Wish *wish = world_draw(w);
    Due before = count_due(w->snapshot, wish->request.project);
    if (berth_pick(w->snapshot, &wish->request, NULL, &decision)) {
        const char *project = wish->request.project;
        world_place(w, wish, &decision.placement);
        Due after = count_due(w->snapshot, project);
        assert_left_to_others(&before, &after);
    } else {
        assert_refused_rightly(w, wish, &before);
        g_free(wish);
    }
}

static void
change_something(World *w, int *claim)
{
    const char *project = projects[world_below(w, G_N_ELEMENTS(projects))];
    guint what = world_below(w, 8);
    if (what == 0) {
        world_change(w);
    } else if (what == 1 && w->live->len > 0) {
        world_release(w, world_below(w, w->live->len));
    } else if (what == 2) {
        berth_snapshot_set_reserved(w->snapshot, project, 1000 * world_below(w, 200),
                                    1024 * world_below(w, 200));
    } else if (what == 3 && world_below(w, 2) == 0) {
        berth_snapshot_set_reserved(w->snapshot, project, 0, 0);
    } else if (what == 4) {
        berth_snapshot_claim(w->snapshot, "p1", *claim * 1000, *claim * 512, 0, 0);
        *claim = -*claim;
    } else {
        ask_for_a_place(w);
    }
}

static void
test_random_fleets(void)
{
    for (guint64 seed = 0; seed < 1000; seed++) {
        World w;
        int claim = 1; /* and given back by the next, -1 */
        world_init(&w, seed);
        for (guint turn = 0; turn < 60; turn++) {
            change_something(&w, &claim);
            assert_counted(w.snapshot);
        }
        g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(w.snapshot);
        assert_counted(copy);
        world_clear(&w);
    }
    g_test_message("%u hosts refused for others", refused_for_others);
    g_assert_cmpuint(refused_for_others, >, 10000);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/reserved/on-random-fleets", test_random_fleets);
    return g_test_run();
}
