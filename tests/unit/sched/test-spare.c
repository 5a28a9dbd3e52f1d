/* N+1 told by bounds is the same as N+1 played through for every host, whatever happened before. */
#include "fixture.h"
#include "sched/fleet.h"
#include "sched/forecast.h"
#include "sched/rules.h"

#include <string.h>

extern const BerthRule berth_rule_reserve;

/* ---- the plain version -------------------------------------------------------------------------- */

/* In the order of packing: memory, CPU, then disk, licences, huge pages, dedicated CPUs, whole GPUs and NICs, shares. */
enum { MEMORY, CPU, DISK, LICENCES, PAGES, DEDICATED, GPUS, NICS, SHARES, AMOUNTS };

typedef struct {
    gint64 of[AMOUNTS];
    gint64 rounded[AMOUNTS];
} Plain;

static gint64
plain_round(gint64 amount)
{
    for (gint64 octave = 16;; octave *= 2) {
        for (gint64 k = 8; k <= 16; k++) {
            if (octave == 16 && amount <= 16) {
                return amount;
            }
            if (k * octave / 8 >= amount && amount > octave) {
                return k * octave / 8;
            }
        }
    }
}

static void
round_all(Plain *plain)
{
    for (guint i = 0; i < AMOUNTS; i++) {
        gboolean millis = i == CPU || i == SHARES;
        gint64 amount = millis ? (plain->of[i] + 124) / 125 : plain->of[i];
        plain->rounded[i] = plain_round(amount) * (millis ? 125 : 1);
    }
}

static int
compare_plain(gconstpointer a, gconstpointer b)
{
    const Plain *x = a, *y = b;
    for (guint i = 0; i < AMOUNTS; i++) {
        if (x->rounded[i] != y->rounded[i]) {
            return x->rounded[i] > y->rounded[i] ? -1 : 1;
        }
    }
    for (guint i = 0; i < AMOUNTS; i++) {
        if (x->of[i] != y->of[i]) {
            return x->of[i] > y->of[i] ? -1 : 1;
        }
    }
    return 0;
}

static Plain
plain_request(const BerthRequest *r)
{
    Plain plain = {.of = {[MEMORY] = r->overhead_mib}};
    plain.of[r->hugepage_kib > 0 ? PAGES : MEMORY] +=
        r->hugepage_kib > 0 ? (r->memory_mib + 1) / 2 : r->memory_mib;
    plain.of[r->dedicated ? DEDICATED : CPU] = r->dedicated ? r->cpu_millis / 1000 : r->cpu_millis;
    for (guint i = 0; i < r->n_disks; i++) {
        plain.of[DISK] += r->disks[i].amount;
    }
    for (guint i = 0; i < r->n_counts; i++) {
        plain.of[LICENCES] += r->counts[i].amount;
    }
    for (guint i = 0; i < r->n_devices; i++) {
        const BerthDeviceNeed *need = &r->devices[i];
        if (need->millis < 1000) {
            plain.of[SHARES] += need->millis;
        } else {
            plain.of[g_str_equal(need->kind, "gpu") ? GPUS : NICS] += need->count;
        }
    }
    round_all(&plain);
    return plain;
}

static guint
stock_of(BerthStockKind kind)
{
    return kind == BERTH_STOCK_POOL       ? DISK
           : kind == BERTH_STOCK_COUNT    ? LICENCES
           : kind == BERTH_STOCK_HUGEPAGE ? PAGES
                                          : DEDICATED;
}

static gboolean
is_gpu(const BerthSnapshot *s, const BerthSlot *slot)
{
    return g_str_equal(berth_symbols_name(&s->symbols, slot->kind), "gpu");
}

static Plain
plain_charge(const BerthSnapshot *s, const BerthCharge *charge)
{
    Plain plain = {.of = {[MEMORY] = charge->memory_mib, [CPU] = charge->cpu_millis}};
    for (guint i = 0; i < charge->n_stocks; i++) {
        plain.of[stock_of(charge->stocks[i].kind)] += charge->stocks[i].amount;
    }
    for (guint i = 0; i < charge->n_slots; i++) {
        const BerthSlot *slot = &berth_slots(s, charge->host)[charge->slots[i].slot];
        gint64 millis = charge->slots[i].millis;
        guint whole = is_gpu(s, slot) ? GPUS : NICS;
        plain.of[millis < 1000 ? SHARES : whole] += millis < 1000 ? millis : 1;
    }
    round_all(&plain);
    return plain;
}

/* The fixture's hosts have GPUs in groups of their own, and two NICs in one. */
static void
plain_room(const BerthSnapshot *s, guint32 host, gint64 *room)
{
    memset(room, 0, AMOUNTS * sizeof(*room));
    if (s->name[host] == 0 || s->state[host] != BERTH_HOST_READY) {
        return;
    }
    gboolean nic = FALSE, nic_used = FALSE;
    room[MEMORY] = MAX(0, s->mem_free[host]);
    room[CPU] = MAX(0, s->cpu_free[host]);
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        const BerthStock *stock = &berth_stocks(s, host)[i];
        room[stock_of(stock->kind)] += MAX(0, stock->capacity - stock->used);
    }
    for (guint i = 0; i < s->n_slots[host]; i++) {
        const BerthSlot *slot = &berth_slots(s, host)[i];
        if (is_gpu(s, slot)) {
            room[GPUS] += slot->used == 0;
            room[SHARES] += 1000 - slot->used;
        } else {
            nic = TRUE;
            nic_used |= slot->used > 0;
        }
    }
    room[NICS] = nic && !nic_used;
}

static gboolean
plain_takes(gint64 *room, const gint64 *load)
{
    for (guint i = 0; i < AMOUNTS; i++) {
        if (room[i] < load[i]) {
            return FALSE;
        }
    }
    for (guint i = 0; i < AMOUNTS; i++) {
        room[i] -= load[i];
    }
    return TRUE;
}

static gboolean
plain_survives(const BerthSnapshot *s, const BerthRequest *r, guint32 target, guint32 lost)
{
    g_autofree gint64(*rooms)[AMOUNTS] = g_malloc_n(s->end, sizeof(*rooms));
    g_autoptr(GArray) loads = g_array_new(FALSE, FALSE, sizeof(Plain));
    Plain wants = plain_request(r);
    for (guint32 h = 0; h < s->end; h++) {
        plain_room(s, h, rooms[h]);
    }
    for (guint i = 0; i < AMOUNTS; i++) {
        rooms[target][i] = MAX(0, rooms[target][i] - wants.of[i]);
    }
    for (guint32 c = s->charge_head[lost]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        if (!berth_charge(s, c)->fixed) {
            Plain load = plain_charge(s, berth_charge(s, c));
            g_array_append_val(loads, load);
        }
    }
    if (lost == target && !r->fixed) {
        g_array_append_val(loads, wants);
    }
    g_array_sort(loads, compare_plain);
    for (guint i = 0; i < loads->len; i++) {
        guint32 h = 0;
        while (h < s->end &&
               (h == lost || !plain_takes(rooms[h], g_array_index(loads, Plain, i).of))) {
            h++;
        }
        if (h == s->end) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
plain_admits(const BerthSnapshot *s, const BerthRequest *r, guint32 target)
{
    for (guint32 lost = 0; lost < s->end; lost++) {
        if (s->name[lost] != 0 && !plain_survives(s, r, target, lost)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- random fleets ------------------------------------------------------------------------------- */

/* A request and what it points to; not to be copied. */
typedef struct {
    BerthRequest request;
    BerthDeviceNeed need;
    BerthAmount disk, count;
} Wish;

static BerthRequest *
draw_wish(GRand *dice, Wish *wish, gboolean goods)
{
    static const char *const kinds[] = {"gpu", "nic"};
    gboolean large = g_rand_int_range(dice, 0, 6) == 0;
    *wish = (Wish){.request = {.cpu_millis = 250 * g_rand_int_range(dice, 1, large ? 24 : 8),
                               .memory_mib = 50 * g_rand_int_range(dice, 1, large ? 150 : 20),
                               .overhead_mib = 64,
                               .fixed = g_rand_int_range(dice, 0, 8) == 0},
                   .disk = {"local", 10000 * g_rand_int_range(dice, 0, 4)},
                   .count = {"licence", 1}};
    BerthRequest *r = &wish->request;
    guint kind = goods ? (guint)g_rand_int_range(dice, 0, 10) : 9;
    r->hugepage_kib = kind < 2 ? 2048 : 0;
    r->dedicated = kind == 1 || kind == 2;
    r->cpu_millis = r->dedicated ? 1000 * g_rand_int_range(dice, 1, 4) : r->cpu_millis;
    r->disks = &wish->disk;
    r->n_disks = goods && wish->disk.amount > 0;
    r->counts = &wish->count;
    r->n_counts = kind == 3;
    if (kind > 3 && kind < 7) {
        gboolean slice = kind == 6;
        wish->need = (BerthDeviceNeed){
            .kind = slice ? "gpu" : kinds[kind % 2], .count = 1, .millis = slice ? 300 : 1000};
        r->devices = &wish->need;
        r->n_devices = 1;
    }
    return r;
}

/* A host comes, goes, closes or opens. */
static void
shake(BerthSnapshot *s, GRand *dice, guint round)
{
    guint32 host = (guint32)g_rand_int_range(dice, 0, (gint)s->end);
    guint what = (guint)g_rand_int_range(dice, 0, 20);
    if (what == 0) {
        g_autofree char *name = g_strdup_printf("more%u", round);
        fixture_add(s, name);
    } else if (what < 3 && s->name[host] != 0) {
        berth_snapshot_set_state(s, host, what == 1 ? BERTH_HOST_READY : 0);
    } else if (what == 3 && s->name[host] != 0 && berth_snapshot_host_count(s) > 3) {
        berth_forecast_lose(s, host);
    } else if (what < 12 && s->charges->len > 0) {
        guint32 charge = (guint32)g_rand_int_range(dice, 0, (gint)s->charges->len);
        if (berth_charge(s, charge)->host != BERTH_HOST_NONE) {
            berth_snapshot_release_charge(s, charge);
        }
    }
}

/* Asks about every host, and compares. */
static void
compare(BerthSnapshot *s, const BerthRequest *r, guint *admitted, guint *refused)
{
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, r);
    for (guint32 host = 0; host < s->end; host++) {
        if (s->name[host] != 0) {
            gboolean admits = berth_rule_reserve.admits(&ask, host, NULL);
            g_assert_cmpint(admits, ==, plain_admits(s, r, host));
            *(admits ? admitted : refused) += 1;
        }
    }
}

static void
try_fleet(guint32 seed, gboolean goods, guint *admitted, guint *refused)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(seed);
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint hosts = (guint)g_rand_int_range(dice, 2, 7);
    for (guint h = 0; h < hosts; h++) {
        g_autofree char *name = g_strdup_printf("h%u", h);
        fixture_add(s, name);
    }
    berth_snapshot_set_survivable(s, TRUE);
    for (guint round = 0; round < 60; round++) {
        Wish wish;
        BerthRequest *r = draw_wish(dice, &wish, goods);
        BerthDecision decision;
        compare(s, r, admitted, refused);
        /* Now and then without the rule: a fleet may be beyond what it can lose. */
        if (g_rand_int_range(dice, 0, 4) > 0) {
            berth_pick_and_charge(s, r, NULL, &decision, NULL);
        } else {
            guint32 host = (guint32)g_rand_int_range(dice, 0, (gint)s->end);
            if (s->name[host] != 0) {
                berth_snapshot_charge_on(s, r, host);
            }
        }
        shake(s, dice, round);
    }
}

static void
test_equals_the_plain_version(gconstpointer goods)
{
    guint admitted = 0, refused = 0;
    for (guint32 seed = 0; seed < 60; seed++) {
        try_fleet(seed, GPOINTER_TO_INT(goods), &admitted, &refused);
    }
    g_assert_cmpuint(admitted, >, 2000);
    g_assert_cmpuint(refused, >, 2000);
}

/* ---- what it looks at ------------------------------------------------------------------------------ */

/* Two hosts, each with two GPUs: with three of them in use, one loss would leave somebody without. */
static void
test_devices_are_counted(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthDeviceNeed one = {.kind = "gpu", .count = 1, .millis = 1000};
    BerthRequest r = fixture_request();
    r.devices = &one;
    r.n_devices = 1;
    fixture_add(s, "h1");
    fixture_add(s, "h2");
    berth_snapshot_set_survivable(s, TRUE);
    for (guint i = 0; i < 2; i++) {
        BerthDecision decision;
        g_assert_true(berth_pick_and_charge(s, &r, NULL, &decision, NULL));
    }
    g_assert_false(fits(s, &r));
    fixture_add(s, "h3");
    g_assert_true(fits(s, &r));
    berth_forecast_lose(s, 2);
    g_assert_false(fits(s, &r));
    berth_snapshot_set_survivable(s, FALSE);
    g_assert_true(fits(s, &r));
}

/* Who has no other host to go to needs no room there. */
static void
test_the_fixed_need_no_room(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthRequest r = fixture_request();
    fixture_add(s, "h1");
    berth_snapshot_set_survivable(s, TRUE);
    g_assert_cmpstr(refused_by(s, &r), ==, "reserve");
    r.fixed = TRUE;
    g_assert_true(fits(s, &r));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/sched/spare/equals-the-plain-version", GINT_TO_POINTER(TRUE),
                         test_equals_the_plain_version);
    g_test_add_data_func("/sched/spare/equals-the-plain-version-for-cpu-and-memory",
                         GINT_TO_POINTER(FALSE), test_equals_the_plain_version);
    g_test_add_func("/sched/spare/devices-are-counted", test_devices_are_counted);
    g_test_add_func("/sched/spare/the-fixed-need-no-room", test_the_fixed_need_no_room);
    return g_test_run();
}
