/* N+1: refuses what would not survive the loss of any one host. The loss is played through in vCPUs,
 * dedicated CPUs and memory: the workloads of the lost host, largest first, go to the first other host with room. That
 * is sufficient, not necessary: what it admits survives, and a few that a perfect packing could save
 * are refused. Asked for by a setting of the fleet. */
#include "sched/place.h"
#include "sched/rules.h"

typedef struct {
    gint64 cpu, mem, cpus;
} Load;

static gboolean
asked(const BerthAsk *ask)
{
    return ask->snapshot->survivable;
}

static int
compare_loads(gconstpointer a, gconstpointer b)
{
    const Load *x = a, *y = b;
    gint64 d = y->mem != x->mem ? y->mem - x->mem : y->cpu - x->cpu;
    return d < 0 ? -1 : d > 0;
}

static Load
load_of(const BerthCharge *charge)
{
    Load load = {charge->cpu_millis, charge->memory_mib, 0};
    for (guint i = 0; i < charge->n_stocks; i++) {
        load.cpus += charge->stocks[i].kind == BERTH_STOCK_CPU ? charge->stocks[i].amount : 0;
    }
    return load;
}

static GArray *
list_loads(const BerthAsk *ask, guint32 lost, guint32 target)
{
    const BerthSnapshot *s = ask->snapshot;
    GArray *loads = g_array_new(FALSE, FALSE, sizeof(Load));
    for (guint32 c = s->charge_head[lost]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        Load load = load_of(berth_charge(s, c));
        g_array_append_val(loads, load);
    }
    if (lost == target) {
        Load load = {ask->cpu_millis, ask->memory_mib, ask->cpus};
        g_array_append_val(loads, load);
    }
    g_array_sort(loads, compare_loads);
    return loads;
}

/* Room of every host once the request is on @target, and the sum of it. */
static Load
list_room(const BerthAsk *ask, guint32 target, Load *room)
{
    const BerthSnapshot *s = ask->snapshot;
    Load sum = {0, 0, 0};
    for (guint32 h = 0; h < s->end; h++) {
        room[h] = (Load){0, 0, 0};
        if (berth_host_is_schedulable(s, h)) {
            gint64 taken = h == target;
            room[h].cpu = MAX(0, s->cpu_free[h] - taken * ask->cpu_millis);
            room[h].mem = MAX(0, s->mem_free[h] - taken * ask->memory_mib);
            room[h].cpus =
                MAX(0, berth_place_cpus_free(ask, h, BERTH_CELL_NONE) - taken * ask->cpus);
        }
        sum.cpu += room[h].cpu;
        sum.mem += room[h].mem;
    }
    return sum;
}

/* All that is charged to @lost would need. */
static Load
sum_loads(const BerthAsk *ask, guint32 lost, guint32 target)
{
    const BerthSnapshot *s = ask->snapshot;
    gint64 more = lost == target;
    return (Load){s->cpu_cap[lost] - s->cpu_free[lost] + more * ask->cpu_millis,
                  s->mem_cap[lost] - s->mem_free[lost] + more * ask->memory_mib};
}

/* Packs the workloads of @lost into the others; @room is as it was when it returns. */
static gboolean
survives_loss(const BerthAsk *ask, guint32 lost, guint32 target, Load *room)
{
    g_autoptr(GArray) loads = list_loads(ask, lost, target);
    g_autofree guint32 *taken = g_new(guint32, loads->len + 1);
    Load own = room[lost];
    guint placed = 0;
    room[lost] = (Load){0, 0, 0};
    for (guint32 h = 0; placed < loads->len; placed++) {
        const Load *load = &g_array_index(loads, Load, placed);
        for (h = 0; h < ask->snapshot->end; h++) {
            if (room[h].cpu >= load->cpu && room[h].mem >= load->mem &&
                room[h].cpus >= load->cpus && h != lost) {
                break;
            }
        }
        if (h == ask->snapshot->end) {
            break;
        }
        taken[placed] = h;
        room[h].cpu -= load->cpu;
        room[h].mem -= load->mem;
        room[h].cpus -= load->cpus;
    }
    gboolean survives = placed == loads->len;
    while (placed-- > 0) {
        const Load *load = &g_array_index(loads, Load, placed);
        room[taken[placed]].cpu += load->cpu;
        room[taken[placed]].mem += load->mem;
        room[taken[placed]].cpus += load->cpus;
    }
    room[lost] = own;
    return survives;
}

/* Sums are looked at for every host before anything is packed: most refusals show in them. */
static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthSnapshot *s = ask->snapshot;
    g_autofree Load *room = g_new(Load, s->end);
    Load sum = list_room(ask, host, room);
    for (guint32 lost = 0; lost < s->end; lost++) {
        Load need = sum_loads(ask, lost, host);
        if (s->name[lost] != 0 &&
            (need.cpu > sum.cpu - room[lost].cpu || need.mem > sum.mem - room[lost].mem)) {
            return berth_refuse(refusal, berth_snapshot_host_name(s, lost), 0, 0);
        }
    }
    for (guint32 lost = 0; lost < s->end; lost++) {
        gboolean empty = s->charge_head[lost] == BERTH_CHARGE_NONE && lost != host;
        if (s->name[lost] != 0 && !empty && !survives_loss(ask, lost, host, room)) {
            return berth_refuse(refusal, berth_snapshot_host_name(s, lost), 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_reserve = {
    .code = "reserve",
    .doc = "Every workload finds another host when any one host is lost.",
    .reach = BERTH_REACH_FLEET,
    .remedy = BERTH_REMEDY_NONE,
    .asked = asked,
    .admits = admits,
};
