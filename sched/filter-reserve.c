/* N+1: refuses what would not survive the loss of any one host. The loss is played through in vCPUs and
 * memory: the workloads of the lost host, largest first, go to the first other host with room. That
 * is sufficient, not necessary: what it admits survives, and a few that a perfect packing could save
 * are refused. Asked for by a setting of the fleet. */
#include "sched/rules.h"

typedef struct {
    gint64 cpu, mem;
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

static GArray *
list_loads(const BerthAsk *ask, guint32 lost, guint32 target)
{
    const BerthSnapshot *s = ask->snapshot;
    GArray *loads = g_array_new(FALSE, FALSE, sizeof(Load));
    for (guint32 c = s->charge_head[lost]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        Load load = {berth_charge(s, c)->cpu_millis, berth_charge(s, c)->memory_mib};
        g_array_append_val(loads, load);
    }
    if (lost == target) {
        Load load = {berth_ask_cpu_on(ask, target), ask->memory_mib};
        g_array_append_val(loads, load);
    }
    g_array_sort(loads, compare_loads);
    return loads;
}

static gboolean
survives_loss(const BerthAsk *ask, guint32 lost, guint32 target, Load *room)
{
    const BerthSnapshot *s = ask->snapshot;
    for (guint32 h = 0; h < s->end; h++) {
        gboolean usable = berth_host_is_schedulable(s, h) && h != lost;
        room[h] = usable ? (Load){s->cpu_free[h], s->mem_free[h]} : (Load){0, 0};
        if (usable && h == target) {
            room[h].cpu -= berth_ask_cpu_on(ask, target);
            room[h].mem -= ask->memory_mib;
        }
    }
    g_autoptr(GArray) loads = list_loads(ask, lost, target);
    for (guint i = 0; i < loads->len; i++) {
        const Load *load = &g_array_index(loads, Load, i);
        guint32 h = 0;
        while (h < s->end && (room[h].cpu < load->cpu || room[h].mem < load->mem)) {
            h++;
        }
        if (h == s->end) {
            return FALSE;
        }
        room[h].cpu -= load->cpu;
        room[h].mem -= load->mem;
    }
    return TRUE;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    const BerthSnapshot *s = ask->snapshot;
    g_autofree Load *room = g_new(Load, s->end);
    for (guint32 lost = 0; lost < s->end; lost++) {
        if (s->name[lost] != 0 && !survives_loss(ask, lost, host, room)) {
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
