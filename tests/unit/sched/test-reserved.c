/* The sums behind reservations follow every change of hosts, charges and reservations: beside them a count of all. */
#include "sched/forecast.h"
#include "sched/reserved.h"
#include "tests/unit/sched/random-fleet.h"

static const char *const projects[] = {"p0", "p1"};

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

static void
change_something(World *w, int *claim)
{
    BerthDecision decision;
    const char *project = projects[world_below(w, G_N_ELEMENTS(projects))];
    guint what = world_below(w, 8);
    if (what == 0) {
        world_change(w);
    } else if (what == 1 && w->live->len > 0) {
        world_release(w, world_below(w, w->live->len));
    } else if (what == 2) {
        berth_snapshot_set_reserved(w->snapshot, project, 1000 * world_below(w, 30),
                                    1024 * world_below(w, 30));
    } else if (what == 3 && world_below(w, 2) == 0) {
        berth_snapshot_set_reserved(w->snapshot, project, 0, 0);
    } else if (what == 4) {
        berth_snapshot_claim(w->snapshot, "p1", *claim * 1000, *claim * 512, 0, 0);
        *claim = -*claim;
    } else {
        Wish *wish = world_draw(w);
        if (berth_pick(w->snapshot, &wish->request, NULL, &decision)) {
            world_place(w, wish, &decision.placement);
        } else {
            g_free(wish);
        }
    }
}

static void
test_sums_follow(void)
{
    for (guint64 seed = 0; seed < 200; seed++) {
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
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/reserved/sums-follow-every-change", test_sums_follow);
    return g_test_run();
}
